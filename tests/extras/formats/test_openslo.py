"""OpenSLO: what goes out comes back, what is another's stays a definition, what is malformed is
named.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.errors import UserError
from bench.extras.formats.openslo import LOSSY, from_openslo, to_openslo
from bench.extras.formats.yamlfile import parse_documents, write_documents
from bench.plan.clause import RECORDED
from bench.plan.contract import Contract, load_contract
from bench.userfile import builtin_names

ROOT = Path(__file__).resolve().parents[3]
OUR_UPTIME = {"type": "tailproof", "spec": {"metric": "uptime"}}
THEIRS = {"type": "Prometheus", "spec": {"query": "sum(rate(requests_total[5m]))", "step": 30}}


def contract(*clauses: dict[str, Any], **keys: Any) -> Contract:
    return Contract.model_validate(
        {"title": "made", "name": "made", "clause": list(clauses), **keys}
    )


def shipped(name: str) -> Contract:
    """A built-in contract, of one whose limits differ by model that of the first."""
    made = load_contract(name)
    models = next((clause.models for clause in made.clauses if clause.models), ("m",))
    return made.for_models(models[:1])


def there_and_back(made: Contract) -> Contract:
    text = write_documents(to_openslo(made)[0])
    back, notes = from_openslo(parse_documents(text, "f.yaml"), "f.yaml")
    assert notes == []
    return back


@pytest.mark.parametrize("name", builtin_names("contracts"))
def test_every_shipped_contract_comes_back_whole(name: str) -> None:
    """With our annotations a contract is the same after a journey through YAML text."""
    assert there_and_back(shipped(name)) == shipped(name)


@pytest.mark.parametrize("name", builtin_names("contracts"))
def test_without_annotations_only_what_was_named_is_lost(name: str) -> None:
    """A tool that drops annotations loses the fields listed as lossy, and no other."""
    made = shipped(name)
    documents, _ = to_openslo(made)
    listed = [
        json.loads(document["metadata"].get("annotations", {}).get(LOSSY, "[]"))
        for document in documents
    ]
    kept = [clause for clause in made.clauses if clause.limit or clause.at_least or clause.share]
    for document in documents:
        document["metadata"].pop("annotations", None)
    back, _ = from_openslo(documents, "f")
    assert len(back.clauses) == len(kept)
    for before, after, lost in [
        (made, back, {*listed[0], "clause"}),
        *zip(kept, back.clauses, (x for x in listed[2::2]), strict=True),
    ]:
        old, new = (model.model_dump(mode="json", by_alias=True) for model in (before, after))
        assert {key: value for key, value in old.items() if key not in lost} == {
            key: value for key, value in new.items() if key not in lost
        }


THRESHOLD = {"op": "lte", "value": 800, "target": 0.99}


@pytest.mark.parametrize(
    ("clause", "method", "objective"),
    [
        ({"metric": "e2e", "quantile": "99%", "limit": "800ms"}, "Occurrences", THRESHOLD),
        (
            {"metric": "ttft", "quantile": "99.9%", "limit": "1.5ms", "operator": "<"},
            "Occurrences",
            {"op": "lt", "value": 1.5, "target": 0.999},
        ),
        (
            {"metric": "output_tps", "quantile": "95%", "at_least": "50/s"},
            "Occurrences",
            {"op": "gte", "value": 50, "target": 0.95},
        ),
        (
            {
                "metric": "output_tps",
                "statistic": "share_of_windows",
                "window": "5min",
                "at_least": "80/s",
                "operator": ">",
                "share": "99%",
            },
            "Timeslices",
            {
                "op": "gt",
                "value": 80,
                "target": 0.99,
                "timeSliceTarget": 1.0,
                "timeSliceWindow": "5m",
            },
        ),
        (
            {
                "metric": "e2e",
                "statistic": "share_of_windows",
                "window": "90s",
                "limit": "800ms",
                "share": "99%",
            },
            "Timeslices",
            {**THRESHOLD, "timeSliceTarget": 1.0, "timeSliceWindow": 1.5},
        ),
        ({"metric": "uptime", "share": "99.95%"}, "Occurrences", {"target": 0.9995}),
        ({"metric": "error_share", "share": "0.1%"}, "Occurrences", {"target": 0.999}),
        (
            {"metric": "uptime", "share": "99.9%", "method": "mean_of_intervals", "window": "5min"},
            "RatioTimeslices",
            {"target": 0.999, "timeSliceWindow": "5m"},
        ),
        (
            {
                "metric": "uptime",
                "share": "99.5%",
                "method": "downtime_minutes",
                "error_rate": "5%",
                "minutes": 5,
            },
            "Timeslices",
            {"target": 0.995, "timeSliceWindow": "1m", "timeSliceTarget": 0.95},
        ),
        (
            {
                "metric": "uptime",
                "share": "99%",
                "method": "slice_ok",
                "window": "1h",
                "slice_share": "90%",
            },
            "Timeslices",
            {"target": 0.99, "timeSliceWindow": "60m", "timeSliceTarget": 0.9},
        ),
        (
            {"metric": "uptime", "share": "99%", "method": "minute_all_fail"},
            "Timeslices",
            {"target": 0.99, "timeSliceWindow": "1m", "timeSliceTarget": 1e-9},
        ),
    ],
)
def test_each_definition_has_its_budgeting_method(
    clause: dict[str, Any], method: str, objective: dict[str, Any]
) -> None:
    """The mapping of methods 2.2, and back through text without loss."""
    made = contract(clause)
    (_, sli, slo), _ = to_openslo(made)
    assert slo["spec"]["budgetingMethod"] == method
    (written,) = slo["spec"]["objectives"]
    assert {key: value for key, value in written.items() if key != "displayName"} == objective
    (kind,) = sli["spec"]
    assert kind == (
        "ratioMetric" if clause["metric"] in ("uptime", "error_share") else "thresholdMetric"
    )
    assert there_and_back(made) == made


@pytest.mark.parametrize(
    ("period", "window"),
    [
        ({"kind": "rolling", "days": 28}, {"duration": "28d", "isRolling": True}),
        (
            {"kind": "calendar_month", "time_zone": "UTC"},
            {
                "duration": "1M",
                "isRolling": False,
                "calendar": {"startTime": "2026-01-01 00:00:00", "timeZone": "UTC"},
            },
        ),
        (
            {"kind": "quarter", "time_zone": "Asia/Tokyo"},
            {
                "duration": "1Q",
                "isRolling": False,
                "calendar": {"startTime": "2026-01-01 00:00:00", "timeZone": "Asia/Tokyo"},
            },
        ),
        (
            {"kind": "billing_cycle", "time_zone": "UTC", "starts_on_day": 15},
            {
                "duration": "1M",
                "isRolling": False,
                "calendar": {"startTime": "2026-01-15 00:00:00", "timeZone": "UTC"},
            },
        ),
    ],
)
def test_periods_are_time_windows(period: dict[str, Any], window: dict[str, Any]) -> None:
    """Months, quarters, cycles and rolling days have a place in OpenSLO: nothing is annotated."""
    made = contract({"metric": "uptime", "share": "99%"}, period=period)
    documents, lossy = to_openslo(made)
    assert documents[2]["spec"]["timeWindow"] == [window]
    assert lossy == []
    assert there_and_back(made) == made


def slo(name: str = "one", **spec: Any) -> dict[str, Any]:
    held = {
        "service": "chat",
        "budgetingMethod": "Occurrences",
        "objectives": [{"target": 0.999}],
        "indicator": {"metadata": {"name": "i"}, "spec": ratio(OUR_UPTIME)},
        **spec,
    }
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": name},
        "spec": {key: value for key, value in held.items() if value is not None},
    }


def ratio(source: dict[str, Any]) -> dict[str, Any]:
    return {
        "ratioMetric": {
            "counter": True,
            "good": {"metricSource": source},
            "total": {"metricSource": source},
        }
    }


def sli(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "openslo/v1", "kind": "SLI", "metadata": {"name": name}, "spec": spec}


def test_references_and_data_sources_are_resolved_wherever_they_stand() -> None:
    """An SLI by name, a data source that says the type, objectives of their own: as good as
    inline.
    """
    source = {
        "apiVersion": "openslo/v1",
        "kind": "DataSource",
        "metadata": {"name": "probe"},
        "spec": {"type": "tailproof"},
    }
    by_name = {"metricSourceRef": "probe", "spec": {"metric": "availability"}}
    composite = [
        {"target": 0.99, "indicatorRef": "up"},
        {"targetPercent": 99.9, "indicator": {"spec": ratio(OUR_UPTIME)}},
    ]
    made, notes = from_openslo(
        [
            slo(indicator=None, indicatorRef="up"),
            slo("two", indicator=None, objectives=composite),
            sli("up", ratio(by_name)),
            source,
        ],
        "f",
    )
    assert [clause.text for clause in made.clauses] == [
        f"uptime, request ratio ≥ {share} %" for share in ("99.9", "99", "99.9")
    ]
    assert (made.name, made.title, notes) == ("chat", "chat", [])


def test_a_query_of_another_system_is_a_definition_only() -> None:
    """It becomes an attested term that keeps target, window and every field of the query; nothing
    is judged.
    """
    window = [{"duration": "4w", "isRolling": True}]
    made, notes = from_openslo([slo(indicator={"spec": ratio(THEIRS)}, timeWindow=window)], "f")
    assert made.clauses == []
    (term,) = made.attested
    for part in (
        "99.9 % by Occurrences",
        '"duration": "4w"',
        "sum(rate(requests_total[5m]))",
        '"step": 30',
        "is not run here",
    ):
        assert part in term.term
    assert notes == ["f: SLO one: not measured by tailproof, taken as a definition only"]


def test_what_the_document_says_wins_over_the_annotations() -> None:
    """Whoever edits target, slice or window of an exported file gets the contract that the file now
    says.
    """
    documents, _ = to_openslo(load_contract("google-gemini-vertex"))
    spec = documents[2]["spec"]
    spec["objectives"][0] |= {"target": 0.999, "timeSliceTarget": 0.9}
    spec["timeWindow"][0]["calendar"]["timeZone"] = "Europe/Paris"
    made, _ = from_openslo(documents, "f")
    (clause,) = made.clauses
    assert (clause.method, clause.minutes) == ("downtime_minutes", 5)
    assert (clause.share, clause.error_rate) == (Fraction(999, 1000), Fraction(1, 10))
    assert made.period is not None
    assert made.period.time_zone == "Europe/Paris"


def test_one_service_of_several_is_chosen_by_name() -> None:
    """A file of many services is a file of many contracts."""
    documents = [slo(), slo("two", service="batch", objectives=[{"target": 0.9}])]
    with pytest.raises(UserError, match="choose by --service: chat, batch"):
        from_openslo(documents, "f")
    assert from_openslo(documents, "f", "batch")[0].clauses[0].share == Fraction(9, 10)
    with pytest.raises(UserError, match="has no service 'chatt'; there is chat, batch"):
        from_openslo(documents, "f", "chatt")


LATENCY = {
    "spec": {"thresholdMetric": {"metricSource": {"type": "tailproof", "spec": {"metric": "e2e"}}}}
}
TIMES = {"duration": "1M", "calendar": {"startTime": "2026-01-01 00:00:00", "timeZone": "UTC"}}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"objectives": [{"target": 1}]}, "SLO one: objective 1: target must lie below 100 %"),
        ({"objectives": [{"targetPercent": 100}]}, "target must lie below 100 %"),
        (
            {"objectives": [{"target": 0.9, "targetPercent": 90}]},
            "needs one of target, targetPercent",
        ),
        ({"objectives": [{}]}, "needs one of target, targetPercent"),
        ({"objectives": [{"target": "0.9"}]}, "target must be a number, and is '0.9'"),
        ({"objectives": [{"target": float("nan")}]}, "target must be a finite number"),
        ({"objectives": []}, "SLO one: needs objectives"),
        ({"indicator": None}, "needs one of indicator, indicatorRef"),
        ({"indicatorRef": "up"}, "needs one of indicator, indicatorRef"),
        ({"indicator": None, "indicatorRef": "up"}, "indicatorRef 'up' names no SLI of this file"),
        ({"indicator": {"spec": {}}}, "its indicator needs one of thresholdMetric, ratioMetric"),
        (
            {"indicator": {"spec": {"ratioMetric": {"raw": {"metricSource": THEIRS}}}}},
            "a raw ratio needs rawType",
        ),
        (
            {"indicator": {"spec": {"ratioMetric": {"good": {"metricSource": THEIRS}}}}},
            "a ratioMetric is good and total, bad and total, or raw",
        ),
        (
            {
                "indicator": LATENCY,
                "objectives": [
                    {"op": "lte", "value": 1, "target": 0.9},
                    {"op": "lte", "value": 2, "target": 0.99},
                ],
            },
            "a thresholdMetric allows one objective only",
        ),
        (
            {"indicator": LATENCY, "objectives": [{"value": 1, "target": 0.9}]},
            "op must be one of lte, gte, lt, gt",
        ),
        (
            {"indicator": LATENCY, "objectives": [{"op": "gte", "value": 1, "target": 0.9}]},
            'operator ">=" points the wrong way',
        ),
        (
            {"indicator": LATENCY, "objectives": [{"op": "lte", "target": 0.9}]},
            "value must be a number, and is None",
        ),
        (
            {"indicator": LATENCY, "objectives": [{"op": "lte", "value": 0, "target": 0.9}]},
            "limit must be above zero",
        ),
        ({"budgetingMethod": "Weekly"}, "budgetingMethod 'Weekly' is not known"),
        (
            {
                "budgetingMethod": "RatioTimeslices",
                "objectives": [{"target": 0.9, "timeSliceWindow": "5s"}],
            },
            "write 5m, 1h or 1d",
        ),
        (
            {
                "budgetingMethod": "timeSlices",
                "objectives": [{"target": 0.9, "timeSliceWindow": 5}],
            },
            "timeSliceTarget must be a number",
        ),
        ({"timeWindow": []}, "timeWindow needs exactly one entry"),
        ({"timeWindow": [{"duration": "12h"}]}, "timeWindow duration '12h' is not whole days"),
        (
            {"timeWindow": [{**TIMES, "duration": "1Y"}]},
            "a calendar window of 1Y has no counterpart",
        ),
        (
            {"timeWindow": [{**TIMES, "calendar": {"startTime": "soon"}}]},
            "startTime 'soon' is no time",
        ),
        (
            {"timeWindow": [{**TIMES, "calendar": {"startTime": "2026-01-01"}}]},
            'add time_zone = "..."',
        ),
    ],
)
def test_malformed_objectives_are_named(spec: dict[str, Any], text: str) -> None:
    """Object and field at fault stand in the sentence."""
    with pytest.raises(UserError) as caught:
        from_openslo([slo(**spec)], "f")
    assert str(caught.value).startswith("f")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("documents", "text"),
    [
        ([], "f: holds 0 services; an OpenSLO file has Service or SLO documents"),
        (["SLO"], "document 1: must be a table of keys"),
        (
            [{**slo(), "apiVersion": "openslo/v1alpha"}],
            "document 1: is not openslo/v1 (apiVersion 'openslo/v1alpha', kind 'SLO')",
        ),
        ([slo(), slo()], "document 2: needs a metadata.name of its own"),
        (
            [slo(timeWindow=[{"duration": "28d"}]), slo("two", timeWindow=[{"duration": "30d"}])],
            "different time windows",
        ),
        (
            [{**slo(), "metadata": {"name": "one", "annotations": {"tailproof/terms": "{"}}}],
            "annotation tailproof/terms: is not JSON",
        ),
        (
            [{**slo(), "metadata": {"name": "one", "annotations": {"tailproof/terms": "[1]"}}}],
            "must be a table of keys",
        ),
    ],
)
def test_files_that_hold_no_contract_are_refused(documents: list[Any], text: str) -> None:
    """Another version, two of one name, windows that no single contract has."""
    with pytest.raises(UserError) as caught:
        from_openslo(documents, "f")
    assert text in str(caught.value)


SHARES = st.integers(1, 9_999).map(lambda n: Fraction(n, 10_000))
WINDOWS = st.integers(1, 500).map(lambda n: f"{n}min")
LIMITS = st.integers(1, 10**12).map(lambda n: f"{n}ns")
BASICS = {
    "report_only": st.booleans(),
    "phase": st.none() | st.sampled_from(["burst", "quiet"]),
    "excluding": st.lists(st.sampled_from(["http_4xx", "rate_limited"]), max_size=1),
}
LATENCIES = {
    "metric": st.sampled_from(["e2e", "ttft", "tpot"]),
    "view": st.sampled_from(["response", "service"]),
    "operator": st.sampled_from([None, "<", "<="]),
    **BASICS,
}
CLAUSES = st.one_of(
    st.fixed_dictionaries({**LATENCIES, "quantile": SHARES, "limit": LIMITS}),
    st.fixed_dictionaries({**LATENCIES, "quantile": SHARES, "report_only": st.just(True)}),
    st.fixed_dictionaries(
        {
            **LATENCIES,
            "statistic": st.just("share_of_windows"),
            "window": LIMITS,
            "limit": LIMITS,
            "share": SHARES,
            "of_window": st.sampled_from(["p50", "p99", "mean"]),
        }
    ),
    st.fixed_dictionaries(
        {
            **BASICS,
            "metric": st.just("output_tps"),
            "statistic": st.just("share_of_requests"),
            "at_least": st.integers(1, 10**6).map(lambda n: Fraction(n, 100)),
            "share": SHARES,
            "with_ttft": st.booleans(),
            "min_output_tokens": st.integers(1, 99),
        }
    ),
    st.fixed_dictionaries(
        {**BASICS, "metric": st.sampled_from(["uptime", "error_share"]), "share": SHARES}
    ),
    st.fixed_dictionaries(
        {
            **BASICS,
            # In a phase, time without requests is another phase's, and never up.
            "phase": st.none(),
            "metric": st.just("uptime"),
            "share": SHARES,
            "window": WINDOWS,
            "method": st.just("mean_of_intervals"),
            "empty": st.just("excluded"),
        }
    ),
    st.fixed_dictionaries(
        {
            **BASICS,
            "metric": st.just("uptime"),
            "share": SHARES,
            "method": st.just("downtime_minutes"),
            "error_rate": SHARES,
            "minutes": st.integers(1, 9),
        }
    ),
)
#: Control characters and odd line breaks are YAML's own trouble.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20
)
CONTRACTS = st.fixed_dictionaries(
    {
        "title": TEXTS,
        "name": TEXTS,
        "clause": st.lists(CLAUSES, max_size=4),
        "source": TEXTS,
        "confidence": st.sampled_from(["95%", "99%"]),
        "period": st.sampled_from(
            [
                None,
                {"kind": "rolling", "days": 28},
                {"kind": "billing_cycle", "time_zone": "UTC", "starts_on_day": 1},
            ]
        ),
        "attested": st.lists(st.fixed_dictionaries({"term": st.just("support")}), max_size=1),
        "back_off": st.sampled_from([None, {"first_wait": "1s", "cap": "32s"}]),
    }
).map(Contract.model_validate)


@given(CONTRACTS)
@settings(max_examples=50)
def test_any_contract_comes_back_whole(made: Contract) -> None:
    """By way of YAML text, and by way of what the manifest keeps: every clause kind, operator, odd
    title and period.
    """
    assert there_and_back(made) == made
    kept = json.loads(json.dumps(made.model_dump(mode="json", by_alias=True)))
    assert Contract.model_validate(kept, context=RECORDED) == made


@given(CONTRACTS)
def test_names_are_those_that_openslo_allows(made: Contract) -> None:
    """RFC 1123 labels of at most 63 characters, one for each object; texts within their lengths."""
    documents, _ = to_openslo(made)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) for _, name in names)
    assert all(
        isinstance(note, str)
        for document in documents
        for note in document["metadata"].get("annotations", {}).values()
    )


def places(held: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside nested tables and lists."""
    inner = (
        held.items()
        if isinstance(held, dict)
        else enumerate(held)
        if isinstance(held, list)
        else ()
    )
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


EXPORTED = to_openslo(shipped("google-gemini-provisioned"))[0]


@given(
    st.sampled_from(places(EXPORTED)[1:]),
    st.sampled_from([None, True, -1, 1e300, "", "x", [], {}, [1], {"a": 1}]),
)
@settings(deadline=None)
def test_rubbish_anywhere_in_a_file_is_the_users_error(
    place: tuple[Any, ...], rubbish: Any
) -> None:
    """Whatever stands in whichever place, the answer is a contract or one sentence, never a
    traceback.
    """
    documents = copy.deepcopy(EXPORTED)
    holder: Any = documents
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = rubbish
    try:
        made, _ = from_openslo(documents, "f")
    except UserError:
        return
    assert isinstance(made, Contract)


def test_the_commands_go_from_toml_to_openslo_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`export` names on standard error what has no place, `import-openslo` writes a TOML file that
    loads equal.
    """
    exported, back = tmp_path / "c.yaml", tmp_path / "c.toml"
    assert main(["export", "aws-bedrock", "--format", "openslo", "--out", str(exported)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "clause 1, uptime, mean of 5 min intervals ≥ 99.9 %: credit, source" in said.err
    assert [document["kind"] for document in yaml.safe_load_all(exported.read_text())] == [
        "Service",
        "SLI",
        "SLO",
    ]
    assert main(["import-openslo", str(exported), "--out", str(back)]) == 0
    assert load_contract(str(back)) == load_contract("aws-bedrock")
    assert tomllib.loads(back.read_text())["clause"][0]["window"] == "5 min"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["openai-fast-mode"], "contract openai-fast-mode: has terms by model; add --model NAME\n"),
        (["openai-fast-mode", "--model", "m"], "clause 2: has no limit for model 'm'"),
        (["startup", "--model", "m"], "contract startup: has the same terms for all models"),
    ],
)
def test_limits_by_model_are_written_for_one(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither format can choose by model, so the user does; a model says nothing elsewhere."""
    for form in ("openslo", "prometheus-rules"):
        assert main(["export", *words, "--format", form]) == 2
        out, err = capsys.readouterr()
        assert (out, said in err) == ("", True)
    exported = tmp_path / "c.yaml"
    chosen = ["openai-fast-mode", "--model", "gpt-5.6-sol", "--format", "openslo"]
    assert main(["export", *chosen, "--out", str(exported)]) == 0
    slo = list(yaml.safe_load_all(exported.read_text()))[-1]
    assert slo["spec"]["objectives"][0]["value"] == 80


def test_a_place_that_cannot_be_written_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is not there: exit 2, no traceback."""
    assert (
        main(["export", "startup", "--format", "openslo", "--out", str(tmp_path / "no" / "c.yaml")])
        == 2
    )
    assert "No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "c.yaml: is not valid YAML: "),
        ("!!python/object/apply:os.getcwd []", "is not valid YAML: could not determine"),
        ("", "holds 0 services"),
        ("kind: SLO", "document 1: is not openslo/v1"),
    ],
)
def test_files_that_are_no_openslo_end_with_one_sentence(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken YAML, tags that would make objects, empty files: exit 2, nothing on standard
    output.
    """
    (tmp_path / "c.yaml").write_text(text)
    assert main(["import-openslo", str(tmp_path / "c.yaml")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_without_the_library_the_remedy_is_named() -> None:
    """In a base install the command says which extra to install."""
    program = (
        "import sys; sys.modules['yaml'] = None; from bench.cli import main;"
        " sys.exit(main(sys.argv[1:]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, "export", "startup", "--format", "openslo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr == "tailproof: YAML: needs PyYAML; pip install 'tailproof[openslo]'\n"


def _laughs(levels: int) -> str:
    lines = [f"a0: &a0 [{', '.join(['lol'] * 10)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_laughs(9), "stands for more than"),
        ("[" * 20_000 + "]" * 20_000, "nests deeper than"),
        ("{a: " * 150 + "1" + "}" * 150, "nests deeper than"),
        ("&a {spec: *a}", "refers to itself"),
        ("- &o [1, [*o]]", "refers to itself"),
    ],
)
def test_a_yaml_bomb_is_refused_before_it_is_built(text: str, said: str) -> None:
    """Few bytes that stand for values without bound."""
    with pytest.raises(UserError, match=said):
        parse_documents(text, "bomb.yaml")


def test_references_that_stand_for_little_are_read() -> None:
    """An anchor may be referred to, also one that is given anew."""
    text = "a: &x [1, 2]\nb: *x\n---\nc: &x 3\nd: *x\n"
    assert parse_documents(text, "x.yaml") == [{"a": [1, 2], "b": [1, 2]}, {"c": 3, "d": 3}]
