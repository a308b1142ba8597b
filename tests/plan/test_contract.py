"""Contracts: clauses that can be decided, in words that are exact."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.plan import terms
from bench.plan.clause import RECORDED, Clause, parse_slo
from bench.plan.contract import Contract, load_contract
from bench.quantiles import quantile_name
from bench.userfile import UserModel, builtin_names, parse_model

SHARED = Path(__file__).resolve().parents[2] / "../shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared facts are not here")

E2E: dict[str, Any] = {"metric": "e2e", "quantile": "99%", "limit": "800ms"}
TPS: dict[str, Any] = {"metric": "output_tps", "at_least": "50/s", "share": "99%"}
UPTIME: dict[str, Any] = {"metric": "uptime", "share": "99.9%"}
DOWN: dict[str, Any] = {
    "metric": "uptime",
    "share": "99.5%",
    "method": "downtime_minutes",
    "error_rate": "5%",
    "minutes": 5,
}
#: Contracts that quote a provider or a benchmark: every term of theirs has its source.
TEMPLATES = (
    "anthropic",
    "aws-bedrock",
    "aws-bedrock-priority",
    "aws-bedrock-reserved",
    "azure-openai-priority",
    "azure-openai-provisioned",
    "google-gemini-priority",
    "google-gemini-provisioned",
    "google-gemini-vertex",
    "google-gemini-vertex-priority",
    "openai-fast-mode",
    "openai-reserved-tier",
    "openai-scale-tier",
    "mlperf-server",
    "mlperf-interactive",
)


def contract(*clauses: dict[str, Any], **keys: Any) -> Contract:
    return parse_model(Contract, {"title": "made", "clause": list(clauses), **keys}, "c.toml")


def refusal(*clauses: dict[str, Any], **keys: Any) -> str:
    with pytest.raises(UserError) as caught:
        contract(*clauses, **keys)
    return str(caught.value)


@pytest.mark.parametrize(
    ("clause", "text", "allowed"),
    [
        (E2E, "response e2e p99 ≤ 800 ms", Fraction(1, 100)),
        (
            {**E2E, "view": "service", "quantile": 0.999},
            "service e2e p99.9 ≤ 800 ms",
            Fraction(1, 1000),
        ),
        (
            {**E2E, "metric": "ttft", "limit": "1.2345s"},
            "response TTFT p99 ≤ 1.2345 s",
            Fraction(1, 100),
        ),
        (
            {**E2E, "phase": "burst", "bucket": ">32K"},
            "response e2e p99 ≤ 800 ms (phase burst, context >32K)",
            Fraction(1, 100),
        ),
        (
            {"metric": "uptime", "share": "99.95%"},
            "uptime, request ratio ≥ 99.95 %",
            Fraction(1, 2000),
        ),
        (
            {"metric": "uptime", "share": "99.999999%"},
            "uptime, request ratio ≥ 99.999999 %",
            Fraction(1, 10**8),
        ),
        ({"metric": "error_share", "share": "1%"}, "error share ≤ 1 %", Fraction(1, 100)),
        (
            {"metric": "e2el", "quantile": "50%", "limit": "2min"},
            "response e2e p50 ≤ 2 min",
            Fraction(1, 2),
        ),
        (
            {"metric": "time_to_first_token", "quantile": "99%", "report_only": True},
            "response TTFT p99",
            Fraction(1, 100),
        ),
        ({**E2E, "operator": "<"}, "response e2e p99 < 800 ms", Fraction(1, 100)),
        (
            {"metric": "ttfat", "quantile": "95%", "limit": "2s"},
            "response TTFT of the answer p95 ≤ 2 s",
            Fraction(1, 20),
        ),
        (
            {"metric": "e2e", "statistic": "share_of_requests", "limit": "1s", "share": "98%"},
            "response e2e ≤ 1 s for ≥ 98 % of requests",
            Fraction(1, 50),
        ),
        (
            {**TPS, "statistic": "share_of_requests", "operator": ">"},
            "output speed > 50 tokens/s for ≥ 99 % of requests",
            Fraction(1, 100),
        ),
        (
            {**TPS, "statistic": "share_of_windows", "window": "5min"},
            "output speed p50 ≥ 50 tokens/s in ≥ 99 % of 5 min windows",
            Fraction(1, 100),
        ),
        (
            {
                "metric": "e2e",
                "statistic": "share_of_windows",
                "window": "1h",
                "of_window": "p99",
                "limit": "10ms",
                "share": "99.9%",
            },
            "response e2e p99 ≤ 10 ms in ≥ 99.9 % of 1 h windows",
            Fraction(1, 1000),
        ),
        # the slow tail of a speed lies below: 99 % of the requests are at least this fast
        (
            {"metric": "output_tps", "quantile": "99%", "at_least": "50/s"},
            "output speed p1 ≥ 50 tokens/s",
            Fraction(1, 100),
        ),
        (
            {
                "metric": "uptime",
                "share": "99.9%",
                "method": "mean_of_intervals",
                "window": "5min",
                "operator": ">",
            },
            "uptime, mean of 5 min intervals > 99.9 %",
            Fraction(1, 1000),
        ),
        (
            {**DOWN, "minutes": 1},
            "uptime, minutes without over 5 % errors ≥ 99.5 %",
            Fraction(1, 200),
        ),
        (
            DOWN,
            "uptime, minutes without over 5 % errors in runs of 5 or more ≥ 99.5 %",
            Fraction(1, 200),
        ),
        (
            {"metric": "uptime", "share": "99%", "method": "minute_all_fail"},
            "uptime, minutes not failing whole ≥ 99 %",
            Fraction(1, 100),
        ),
        (
            {
                "metric": "uptime",
                "share": "99%",
                "method": "slice_ok",
                "window": "5min",
                "slice_share": "95%",
            },
            "uptime, 5 min slices with 95 % served ≥ 99 %",
            Fraction(1, 100),
        ),
    ],
)
def test_a_clause_says_what_it_promises_without_rounding(
    clause: dict[str, Any], text: str, allowed: Fraction
) -> None:
    """The text holds every digit of limit and share, and p0 is the exact share that may break the
    promise.
    """
    made = parse_model(Clause, clause, "c")
    assert made.text == text
    assert made.allowed_share == allowed


@pytest.mark.parametrize(
    ("clause", "text"),
    [
        ({"metric": "e2e", "quantile": "99%"}, 'needs a limit such as "800ms"'),
        ({"metric": "e2e", "limit": "1s"}, 'metric "e2e" needs quantile and limit'),
        ({**E2E, "share": "99%"}, 'share says nothing in a clause of statistic = "quantile"'),
        ({**E2E, "quantile": 99}, 'per cent are written with their sign: "99%"'),
        ({**E2E, "quantile": "100%"}, "no finite run can prove 100 %"),
        ({**E2E, "limit": 800}, "clause[0].limit: 800 is not a duration"),
        ({**E2E, "limit": "0ms"}, "limit must be above zero"),
        ({"metric": "uptime", "share": "100%"}, "no finite run can prove a share of 0 % or 100 %"),
        ({"metric": "uptime", "quantile": "99%", "limit": "1s"}, "quantile says nothing in"),
        (
            {"metric": "uptime", "share": "99%", "view": "service"},
            "view says nothing in a clause of",
        ),
        (
            {"metric": "speed", "share": "99%"},
            "clause[0].metric: 'speed' is not known here; write 'ttft'",
        ),
        ({**E2E, "metrc": "e2e"}, "clause[0].metrc: unknown key; did you mean 'metric'?"),
        ({**E2E, "bucket": "huge"}, "write one of ≤1K, 1K–8K, 8K–32K, >32K"),
        ({**E2E, "excluding": ["timeouts"]}, "write 'http_4xx', 'rate_limited' or 'wrong_answer'"),
        (
            {"metric": "e2e", "limit": "1s", "statistic": "share_of_requests"},
            'needs share and limit with statistic = "share_of_requests"',
        ),
        ({**E2E, "window": "5min"}, 'window says nothing in a clause of statistic = "quantile"'),
        (
            {**TPS, "statistic": "share_of_windows"},
            'statistic = "share_of_windows" needs window',
        ),
        (
            {**TPS, "statistic": "share_of_requests", "at_least": None},
            'metric "output_tps" needs at_least = "50/s"',
        ),
        (
            {**TPS, "statistic": "share_of_requests", "limit": "1s"},
            "has a floor, at_least, and no limit",
        ),
        ({**TPS, "statistic": "share_of_requests", "at_least": "0/s"}, "is not a rate above zero"),
        ({**E2E, "at_least": "50/s"}, "no other metric has it"),
        ({**E2E, "operator": ">="}, 'operator ">=" points the wrong way for metric "e2e"'),
        ({**UPTIME, "operator": "<"}, 'operator "<" points the wrong way for metric "uptime"'),
        ({**UPTIME, "at_least": "50/s"}, "at_least says nothing in a clause of method"),
        (
            {**E2E, "error_rate": "5%", "minutes": 5},
            'error_rate says nothing in a clause of statistic = "quantile", it belongs to method',
        ),
        ({**E2E, "method": "minute_all_fail"}, "method says nothing in a clause of statistic"),
        (
            {"metric": "error_share", "share": "1%", "method": "minute_all_fail"},
            'method says nothing in a clause of metric = "error_share"',
        ),
        (
            {"metric": "error_share", "share": "0%"},
            "no finite run can prove a share of 0 % or 100 %",
        ),
        ({**E2E, "quantile": "99.99999999%"}, "99.99999999 % is out of reach of any run"),
        ({"metric": "error_share", "share": "0.00000001%"}, "out of reach of any run"),
        ({**E2E, "quantile": "0.00000001%"}, "no run could find a breach"),
        ({"metric": "error_share", "share": "99.99999999%"}, "no run could find a breach"),
        (
            {**E2E, "min_requests": 20},
            'min_requests says nothing in a clause of statistic = "quantile", it belongs to',
        ),
        ({**E2E, "with_ttft": True}, 'with_ttft belongs to metric = "output_tps"; leave it out'),
        (
            {**UPTIME, "method": "minute_all_fail", "empty": "up", "phase": "burst"},
            'empty = "up" says nothing in a clause on a phase',
        ),
        ({**UPTIME, "method": "mean_of_intervals"}, 'method "mean_of_intervals" needs window'),
        (
            {**UPTIME, "method": "downtime_minutes", "minutes": 5},
            'method "downtime_minutes" needs error_rate and minutes',
        ),
        (
            {**UPTIME, "method": "slice_ok", "window": "5min"},
            'method "slice_ok" needs slice_share and window',
        ),
        (
            {**UPTIME, "window": "5min"},
            'window says nothing in a clause of method = "request_ratio"',
        ),
        (
            {**UPTIME, "method": "mean_of_intervals", "window": "90s"},
            "window must be whole minutes",
        ),
        ({**DOWN, "error_rate": "100%"}, "nothing could break it"),
        (
            {**UPTIME, "method": "slice_ok", "window": "5min", "slice_share": "0%"},
            "nothing could break it",
        ),
        ({**UPTIME, "statistic": "share_of_requests"}, "statistic says nothing in a clause of"),
        ({**E2E, "limits": {"<=1K": "1s"}}, "write one or the other"),
        ({"metric": "e2e", "quantile": "99%", "limits": {"1K": "1s"}}, "'1K' is no context bucket"),
        (
            {"metric": "e2e", "quantile": "99%", "limits": {"<=1K": "0s"}},
            "each context bucket has one limit, above zero",
        ),
        (
            {"metric": "e2e", "quantile": "99%", "limits": {"<=1K": "1s", "≤1K": "2s"}},
            "each context bucket has one limit",
        ),
        ({**UPTIME, "credit": []}, "the credit ladder is empty"),
        (
            {**UPTIME, "credit": [{"below": "99.95%", "credit": "10%"}]},
            "the credit ladder pays below 99.95 %, where the clause itself is kept from 99.9 % on",
        ),
    ],
)
def test_clauses_that_cannot_be_decided_are_refused(clause: dict[str, Any], text: str) -> None:
    """Half a clause, a promise of 100 %, a unit left out: refused by key path."""
    assert text in refusal(clause)
    assert refusal(clause).startswith("c.toml: clause[0]")


def test_buckets_can_be_typed_on_any_keyboard() -> None:
    """`<=1K` and `8K-32K` are the buckets that reports print as ≤1K and 8K–32K."""
    assert [
        parse_model(Clause, {**E2E, "bucket": typed}, "c").bucket
        for typed in ("<=1K", "8K-32K", "1K–8K")
    ] == [
        "≤1K",
        "8K–32K",
        "1K–8K",
    ]


@pytest.mark.parametrize("confidence", ["50%", "100%", "10%"])
def test_confidence_is_above_a_coin_toss_and_below_certainty(confidence: str) -> None:
    """A confidence of 50 % or 100 % decides nothing."""
    assert "between 50 % and 100 %" in refusal(E2E, confidence=confidence)


def test_the_tightest_limit_is_over_all_clauses() -> None:
    """The harness is held against the smallest latency limit; shares have none."""
    clauses = [
        E2E,
        {**E2E, "metric": "ttft", "limit": "300ms"},
        {"metric": "uptime", "share": "99%"},
    ]
    assert contract(*clauses).tightest_limit_ns == 300_000_000
    assert contract(*clauses[2:]).tightest_limit_ns is None


def test_limits_by_context_bucket_are_a_clause_each() -> None:
    """One table of limits stands for as many clauses, each judged within its bucket."""
    made = contract(
        {"metric": "ttft", "quantile": "99%", "limits": {"<=1K": "500ms", ">32K": "5s"}}
    )
    assert [clause.text for clause in made.clauses] == [
        "response TTFT p99 ≤ 500 ms (context ≤1K)",
        "response TTFT p99 ≤ 5 s (context >32K)",
    ]


def test_by_time_and_strictness_follow_the_definition() -> None:
    """Windows and minutes are units of time, requests are not; only > and < leave the limit itself
    out.
    """
    clauses = contract(
        E2E,
        UPTIME,
        DOWN,
        {**TPS, "statistic": "share_of_windows", "window": "5min", "operator": ">"},
    ).clauses
    assert [clause.by_time for clause in clauses] == [False, False, True, True]
    assert [clause.unit_ns for clause in clauses[2:]] == [60 * 10**9, 300 * 10**9]
    assert [clause.strict for clause in clauses] == [False, False, False, True]


@pytest.mark.parametrize("name", builtin_names("contracts"))
def test_a_contract_survives_being_written_and_read(name: str) -> None:
    """What the manifest keeps, through JSON text, parses back to the same contract; so does what
    differs from the defaults.
    """
    made = load_contract(name)
    for written, context in (
        (made.model_dump(mode="json", by_alias=True), RECORDED),
        (made.model_dump(mode="json", by_alias=True, exclude_defaults=True), None),
    ):
        again = json.loads(json.dumps(written))
        assert Contract.model_validate(again, context=context) == made


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_term_of_a_template_has_its_source(name: str) -> None:
    """No clause, exclusion, scope, credit or attested term stands without an entry that has an
    address and a date.
    """
    made = load_contract(name)
    terms: list[Any] = [
        *made.clauses,
        *made.exclusions,
        *made.attested,
        made.back_off,
        made.credits,
    ]
    terms += [term for term in (made.scope, made.requests) if term != type(term)()]
    assert all(term.source in made.sources for term in terms if term is not None)
    assert all(
        source.url.startswith("https://") and source.retrieved >= date(2026, 11, 23)
        for source in made.sources.values()
    )
    unnamed = made.period is not None and made.period.source is None
    assert not unnamed or any("period" in term for term in made.not_stated)
    assert set(made.sources) == {
        term.source for term in [*terms, made.period] if term is not None
    } - {None}


@needs_shared
def test_credit_ladders_are_those_of_the_vectors() -> None:
    """Google's and AWS's ladders credit what the reference says at every uptime it lists, bounds
    half-open.
    """
    vectors = json.loads((SHARED / "stats_reference.json").read_text())["credit_vectors"]
    for name, column in (
        ("google-gemini-vertex", "google_genai"),
        ("google-gemini-provisioned", "google_genai"),
        ("aws-bedrock", "aws_bedrock"),
    ):
        clause = load_contract(name).clauses[0]
        assert clause.credit is not None
        for row in vectors["rows"]:
            attained = Fraction(row["uptime"]) / 100
            due = max(
                (step.credit for step in clause.credit if attained < step.below),
                default=Fraction(0),
            )
            assert due * 100 == row[column], (name, row)


@needs_shared
def test_promises_of_the_templates_are_the_stated_ones() -> None:
    """Uptime targets, speeds and definitions stand in the row of the methods page that they come
    from.
    """
    rows = {
        row.split("|")[1]: row
        for row in (SHARED / "methods.md").read_text().splitlines()
        if row.startswith("| ")
    }
    row = {
        key: next(text for head, text in rows.items() if key in head)
        for key in (
            "Gemini on Vertex",
            "AWS Bedrock**",
            "OpenAI Scale Tier",
            "OpenAI Priority",
            "provisioned**",
        )
    }
    assert "5 % server-side error rate" in row["Gemini on Vertex"]
    assert "5 or more consecutive minutes" in row["Gemini on Vertex"]
    assert promises("google-gemini-vertex") == [
        "uptime, minutes without over 5 % errors in runs of 5 or more ≥ 99.5 %"
    ]
    assert "60 / 80 / 110 tokens/s" in row["Gemini on Vertex"]
    assert (
        promises("google-gemini-provisioned", "gemini-2.5-pro")[1]
        == "output speed ≥ 60 tokens/s for ≥ 99 % of requests"
    )
    assert "**mean of the intervals**" in row["AWS Bedrock**"]
    assert promises("aws-bedrock") == ["uptime, mean of 5 min intervals ≥ 99.9 %"]
    for name, key in (
        ("openai-scale-tier", "OpenAI Scale Tier"),
        ("openai-fast-mode", "OpenAI Priority"),
        ("azure-openai-provisioned", "provisioned**"),
    ):
        assert "| 99.9 %" in row[key]
        assert promises(name, "gpt-4.1") == [
            "uptime, request ratio ≥ 99.9 %",
            "output speed p50 > 80 tokens/s in ≥ 99 % of 5 min windows",
        ]
    assert "99 % > 50 / 80 / 90 / 100 TPS, p50 per 5 min" in row["provisioned**"]


def test_mlperf_limits_are_those_of_its_load_generator() -> None:
    """`ttft_latency` and `tpot_latency` of Llama 2 70B in mlperf.conf: 2000 and 200, interactive
    450 and 40, at the 99th percentile.
    """
    assert promises("mlperf-server") == ["response TTFT p99 ≤ 2 s", "response TPOT p99 ≤ 200 ms"]
    assert promises("mlperf-interactive") == [
        "response TTFT p99 ≤ 450 ms",
        "response TPOT p99 ≤ 40 ms",
    ]


def promises(name: str, model: str = "m") -> list[str]:
    held = load_contract(name).for_models([model])
    return [clause.text for clause in held.clauses if not clause.report_only]


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("ttft:p99<800ms", "response TTFT p99 ≤ 800 ms"),
        ("ttft:p99<=800ms", "response TTFT p99 ≤ 800 ms"),
        ("TTFT : P99 < 1.5s", "response TTFT p99 ≤ 1.5 s"),
        ("e2e:p(99.9)<2s", "response e2e p99.9 ≤ 2 s"),
        ("time_to_first_token:p99:lt:800", "response TTFT p99 ≤ 800 ms"),
        ("request_latency:p50:le:2000", "response e2e p50 ≤ 2 s"),
        ("tpot:p90<50ms", "response TPOT p90 ≤ 50 ms"),
        ("uptime>=99.9%", "uptime, request ratio ≥ 99.9 %"),
        ("availability > 99.95 %", "uptime, request ratio ≥ 99.95 %"),
        ("error_rate<1%", "error share ≤ 1 %"),
    ],
)
def test_one_line_slos_are_read_as_other_tools_write_them(text: str, clause: str) -> None:
    """Names and separators of vLLM, AIPerf and k6, and AIPerf's bare milliseconds, mean what they
    mean there.
    """
    assert parse_slo(text).text == clause


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("ttft", "write metric:pNN<limit"),
        ("speed:p99<1s", "metrics: ttft"),
        ("ttft:p99>800ms", "write metric:pNN<limit"),
        ("ttft:p100<1s", "no finite run can prove 100 %"),
        ("ttft:p101<1s", "outside 0 % to 100 %"),
        ("ttft:p99<1x", "is not a duration"),
        ("uptime>=99.9", "uptime>=99.9%"),
        ("uptime<=99.9%", "uptime>=99.9%"),
        ("uptime>=100%", "no finite run can prove"),
        ("ttft:p99<0ms", "limit must be above zero"),
        ("", "write metric:pNN<limit"),
        ("ttft:p99<1.2.3", "is not a duration"),
        ("ttft:p99<800", "'800' is not a duration; write a number and its unit, such as \"800ms\""),
    ],
)
def test_one_line_slos_that_mean_nothing_are_refused(text: str, part: str) -> None:
    """The sentence quotes what was typed and shows a form that works."""
    with pytest.raises(UserError) as caught:
        parse_slo(text)
    assert str(caught.value).startswith(f"--slo {text!r}: ")
    assert part in str(caught.value)


@given(st.integers(1, 99_999))
def test_quantile_names_keep_their_digits(thousandths: int) -> None:
    """p99.999 is not p100: the name reads back as the quantile."""
    quantile = Fraction(thousandths, 100_000)
    assert Fraction(quantile_name(quantile).removeprefix("p")) / 100 == quantile


TABLES = [
    table
    for table in vars(terms).values()
    if isinstance(table, type) and issubclass(table, UserModel)
]
DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/contracts.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL))
def test_every_example_of_the_document_is_a_contract(example: str) -> None:
    """What docs/contracts.md shows can be pasted."""
    data = tomllib.loads(example)
    parse_model(Contract, {"title": "made", **data}, "docs/contracts.md")


@pytest.mark.parametrize("model", [Contract, Clause, *TABLES])
def test_the_document_leaves_no_key_out(model: type[UserModel]) -> None:
    """Each key of the language stands in docs/contracts.md, as code or in an example."""
    names = {field.alias or name for name, field in model.model_fields.items()}
    assert {
        name
        for name in names
        if not re.search(rf"`{name}\b|^\[?\[?{name}\b|{{ {name} =", DOCUMENT, re.MULTILINE)
    } == set()
