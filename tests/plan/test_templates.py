"""Templates of vendors' terms: figures, tiers and dates as published; limits by model."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from bench.api.registry import MODULES, api_named
from bench.api.tier import TierClass
from bench.cli import main
from bench.errors import UserError
from bench.plan.clause import Clause
from bench.plan.contract import Contract, load_contract, stale
from bench.plan.schedule import compile_plan
from bench.plan.target import Target
from bench.plan.terms import entry_of
from bench.record.records.manifest import LaneRecord
from bench.userfile import builtin_names, parse_model
from tests.support.planned import STEADY, profile, stage, suite, target

#: Models by tokens per second, as the pages of 30 November 2026 have them.
FLOORS: dict[str, dict[int, str]] = {
    "openai-fast-mode": {
        50: "gpt-5.5 gpt-5.4 gpt-5.2 gpt-5.1 gpt-5.1-codex gpt-5 gpt-5-codex",
        70: "gpt-5.6-terra",
        80: "gpt-5.6-sol gpt-5-mini gpt-4.1 gpt-4o o3",
        90: "gpt-4.1-mini gpt-4o-mini o4-mini",
        100: "gpt-5.6-luna gpt-5.4-mini gpt-4.1-nano",
    },
    "openai-reserved-tier": {70: "gpt-5.6-terra", 80: "gpt-5.6-sol", 100: "gpt-5.6-luna"},
    "openai-scale-tier": {
        50: "gpt-5",
        80: "gpt-5-mini gpt-4.1 gpt-4o o3",
        90: "gpt-4.1-mini o4-mini",
        100: "gpt-4.1-nano",
    },
    "azure-openai-priority": {
        50: "gpt-5.6-sol gpt-5.5 gpt-5.4 gpt-5.2 gpt-5.1",
        70: "gpt-5.6-terra",
        80: "gpt-4.1",
        100: "gpt-5.4-mini",
    },
    "azure-openai-provisioned": {
        40: "gpt-6-astra",
        50: ("gpt-5.5 gpt-5.4 gpt-5.3-codex gpt-5.2 gpt-5.2-codex gpt-5.1 gpt-5.1-codex gpt-5"),
        70: "gpt-5.6-terra",
        80: "gpt-6-sol gpt-5.6-sol gpt-5-mini gpt-4.1 o3",
        90: "gpt-4.1-mini o4-mini",
        100: "gpt-5.6-luna gpt-5.4-mini gpt-4.1-nano",
    },
    "google-gemini-provisioned": {
        60: "gemini-2.5-pro",
        80: "gemini-2.5-flash",
        110: "gemini-2.5-flash-lite",
    },
}
#: A model that each of them does not list.
ABSENT = {
    "openai-fast-mode": "gpt-5.5-pro",
    "openai-reserved-tier": "gpt-5.5",
    "openai-scale-tier": "gpt-5.6-sol",
    "azure-openai-priority": "gpt-5.6-luna",
    "azure-openai-provisioned": "gpt-4o",
    "google-gemini-provisioned": "gemini-3.5-flash",
}
#: The word of the vendor's answers for the tier that each is about.
TIERS = {
    "openai-fast-mode": "priority",
    "openai-reserved-tier": "priority",
    "openai-scale-tier": "scale",
    "azure-openai-priority": "priority",
    "azure-openai-provisioned": "provisioned",
    "google-gemini-vertex": "",
    "google-gemini-vertex-priority": "ON_DEMAND_PRIORITY",
    "google-gemini-provisioned": "PROVISIONED_THROUGHPUT",
    "google-gemini-priority": "priority",
    "aws-bedrock": "",
    "aws-bedrock-priority": "priority",
    "aws-bedrock-reserved": "reserved",
    "anthropic": "",
}
BY_MODEL = {"gpt-5.4": "50/s", "gpt-5.4-mini": "100/s", "gpt-4*": "80/s"}
SPEED: dict[str, Any] = {
    "metric": "output_tps",
    "statistic": "share_of_requests",
    "share": "99%",
    "at_least_by_model": BY_MODEL,
}
TTFT: dict[str, Any] = {"metric": "ttft", "quantile": "99%"}
LONG: dict[str, Any] = {"reason": "long", "kind": "long_context", "above_prompt_tokens": 9}


def contract(*clauses: dict[str, Any], **keys: Any) -> Contract:
    fields = {"title": "made", "name": "c", "clause": list(clauses), **keys}
    return parse_model(Contract, fields, "c.toml")


@pytest.mark.parametrize("name", FLOORS)
def test_each_floor_is_the_published_one(name: str) -> None:
    """For every model of the page its own figure, for its snapshot too, and none for a model that
    the page does not list.
    """
    floors = {model: floor for floor, models in FLOORS[name].items() for model in models.split()}
    made = load_contract(name)
    (speed,) = (clause for clause in made.clauses if clause.models)
    assert {model: int(floor) for model, floor in speed.at_least_by_model.items()} == floors
    for model, floor in floors.items():
        for asked in (model, f"{model}-2026-07-09"):
            held = made.for_models([asked])
            (clause,) = (each for each in held.clauses if each.metric == "output_tps")
            assert clause.at_least == floor
            assert not held.by_model
    with pytest.raises(UserError, match=f"has no limit for model '{ABSENT[name]}', only for "):
        made.for_models([ABSENT[name]])


@pytest.mark.parametrize("name", TIERS)
def test_the_tier_is_a_word_that_answers_have(name: str) -> None:
    """What a contract calls its tier is what some API is served by, so that a downgrade shows; a
    deployment of one's own names none, and says that it spilled over.
    """
    made = load_contract(name)
    assert made.scope.tier == TIERS[name]
    classes = {api_named(api).tier_class(made.scope.tier) for api in MODULES}
    if made.scope.tier not in ("", "provisioned"):
        assert classes - {TierClass.unknown}
        assert [rule.kind for rule in made.exclusions].count("served_elsewhere") == 1


@pytest.mark.parametrize("name", ["anthropic", "google-gemini-priority"])
def test_where_nothing_is_promised_nothing_can_pass(name: str) -> None:
    """Every clause is only shown; what the vendor says of itself stands as attested."""
    made = load_contract(name)
    assert all(clause.report_only and clause.credit is None for clause in made.clauses)
    assert made.attested
    assert made.not_stated


def test_long_context_is_that_of_the_model() -> None:
    """Azure's priority processing ends at 272,000 prompt tokens for GPT-5.6, at 128,000 for
    GPT-5.4, and nowhere for GPT-5.5.
    """
    made = load_contract("azure-openai-priority")
    limits = {
        model: [
            rule.above_prompt_tokens
            for rule in made.for_models([model]).exclusions
            if rule.kind == "long_context"
        ]
        for model in ("gpt-5.6-sol", "gpt-5.4", "gpt-5.5")
    }
    assert limits == {"gpt-5.6-sol": [272_000], "gpt-5.4": [128_000], "gpt-5.5": []}


def test_the_old_name_leads_to_the_successor() -> None:
    """Priority processing is Fast mode since 30 July 2026; GPT-4.1 is still promised 80."""
    old = load_contract("openai-priority")
    assert old == load_contract("openai-fast-mode")
    assert "openai-priority" not in builtin_names("contracts")
    assert old.for_models(["gpt-4.1"]).clauses[1].text == (
        "output speed p50 > 80 tokens/s in ≥ 99 % of 5 min windows"
    )


def test_templates_say_when_they_have_grown_old(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the document that was read last: silent for 180 days, and named from the next on; the
    field guide's contracts have no documents and stay silent.
    """
    made = {name: load_contract(name) for name in ("openai-fast-mode", "startup")}
    newest = date(2026, 11, 30)
    assert stale(made, newest + timedelta(days=180)) == {}
    assert stale(made, newest + timedelta(days=181)) == {"openai-fast-mode": newest}
    for today, said in ((date(2026, 11, 30), ""), (date(2027, 6, 30), "aws-bedrock (2026-11-23)")):
        monkeypatch.setattr("bench.clock.today", lambda today=today: today)
        assert main(["profiles", "contracts"]) == 0
        assert said in (err := capsys.readouterr().err)
        assert bool(err) == bool(said)
        assert "startup" not in err


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-5.4", "gpt-5.4"),
        ("GPT-5.4", "gpt-5.4"),
        ("gpt-5.4-2026-03-05", "gpt-5.4"),
        ("gpt-5.4-mini", "gpt-5.4-mini"),
        ("gpt-5.4-mini-20260317", "gpt-5.4-mini"),
        ("gpt-5.4-nano", None),
        ("gpt-5.45", None),
        ("gpt-4.1-nano", "gpt-4*"),
        ("openai/gpt-4.1", None),
        ("", None),
    ],
)
def test_a_name_means_its_snapshots_and_no_sibling(model: str, name: str | None) -> None:
    """A figure for one model is never held against another whose name begins alike."""
    assert entry_of(model, BY_MODEL) == name


def test_the_narrowest_name_counts() -> None:
    """A model's own entry goes before a pattern, a longer pattern before a shorter."""
    names = ["gpt-5*", "gpt-5.4*", "gpt-5.4"]
    assert [entry_of(model, names) for model in ("gpt-5.4", "gpt-5.4-mini", "gpt-5.5")] == [
        "gpt-5.4",
        "gpt-5.4*",
        "gpt-5*",
    ]


@pytest.mark.parametrize(
    ("clause", "text"),
    [
        (SPEED, "output speed ≥ 50 to 100 tokens/s by model for ≥ 99 % of requests"),
        (
            {**SPEED, "at_least_by_model": {"a": "50/s", "b": "50/s"}},
            "output speed ≥ 50 tokens/s by model for ≥ 99 % of requests",
        ),
        (
            {**TTFT, "limit_by_model": {"a": "2s", "b": "800ms"}},
            "response TTFT p99 ≤ 800 ms to 2 s by model",
        ),
    ],
)
def test_a_clause_by_model_says_its_range(clause: dict[str, Any], text: str) -> None:
    """Before a model is known the text has the least and the greatest limit."""
    assert parse_model(Clause, clause, "c").text == text


@pytest.mark.parametrize(
    ("clause", "text"),
    [
        ({**SPEED, "at_least": "50/s"}, "at_least_by_model replaces at_least"),
        ({**TTFT, "limit": "1s", "limit_by_model": {"a": "1s"}}, "limit_by_model replaces limit"),
        ({**TTFT, "at_least_by_model": BY_MODEL}, "no other metric has it"),
        ({**SPEED, "limit_by_model": {"a": "1s"}}, "has a floor, at_least, and no limit"),
        ({**TTFT, "limit_by_model": {"a": "0s"}}, "limit must be above zero"),
        ({**TTFT, "limit_by_model": {"a": 800}}, "limit_by_model.a: 800 is not a duration"),
        ({**TTFT, "limit_by_model": {"g*t": "1s"}}, "'g*t' is no model's name"),
        ({**TTFT, "limit_by_model": {" ": "1s"}}, "' ' is no model's name"),
        (
            {**TTFT, "limits": {"<=1K": "1s"}, "limit_by_model": {"a": "1s"}},
            "write one or the other",
        ),
        (
            {"metric": "uptime", "share": "99%", "at_least_by_model": BY_MODEL},
            "at_least_by_model says nothing in a clause of method",
        ),
    ],
)
def test_tables_by_model_that_cannot_be_are_refused(clause: dict[str, Any], text: str) -> None:
    """One limit or a table of them, of the metric's own unit, for names that mean something."""
    with pytest.raises(UserError) as caught:
        contract(clause)
    assert text in str(caught.value)


def test_the_models_of_a_contract_are_named_once() -> None:
    """Limits by model say which models are covered, so the scope does not say it again."""
    with pytest.raises(UserError, match=r"leave the models of \[scope\] out"):
        contract(SPEED, scope={"models": ["gpt-5.4"]})


def test_models_with_terms_of_their_own_are_held_one_at_a_time() -> None:
    """A route over snapshots of one model has one limit; one over two models has none."""
    made = contract(SPEED)
    held = made.for_models(["gpt-5.4", "gpt-5.4-2026-03-05", "gpt-5.4"])
    assert held.clauses[0].at_least == 50
    assert held.scope.models == ["gpt-5.4", "gpt-5.4-2026-03-05"]
    assert held.for_models(["anything"]) == held
    with pytest.raises(UserError, match=r"has other terms for gpt-5\.4 than for gpt-4\.1"):
        made.for_models(["gpt-5.4", "gpt-4.1"])
    ruled = contract({**TTFT, "limit": "1s"}, exclusion=[{**LONG, "models": ["gpt-5.4"]}])
    assert [len(ruled.for_models([model]).exclusions) for model in ("gpt-5.4", "m")] == [1, 0]
    with pytest.raises(UserError, match="than for m"):
        ruled.for_models(["gpt-5.4", "m"])


def test_the_tightest_limit_is_that_of_any_model() -> None:
    """Until a model is known the harness is held to the smallest limit."""
    made = contract({**TTFT, "limit_by_model": {"a": "2s", "b": "800ms"}})
    assert made.tightest_limit_ns == 800_000_000
    assert made.for_models(["a"]).tightest_limit_ns == 2_000_000_000


def asking(*models: str) -> list[Target]:
    return [target(f"t{at}", model=model) for at, model in enumerate(models)]


def test_each_target_is_planned_under_the_limit_of_its_model() -> None:
    """Two models side by side under one contract: the manifest keeps each with its own floor."""
    targets = asking("gpt-5.6-sol", "gpt-5.6-terra")
    made = stage(profile(**STEADY), *targets, contract=load_contract("openai-fast-mode"))
    lanes = compile_plan(suite(made), 1).lanes
    records = [LaneRecord.model_validate(lane.record()) for lane in lanes]
    assert [record.contract and record.contract.clauses[1].at_least for record in records] == [
        80,
        70,
    ]
    assert [record.contract and record.contract.scope.models for record in records] == [
        ["gpt-5.6-sol"],
        ["gpt-5.6-terra"],
    ]


def test_a_model_without_a_limit_is_refused_before_anything_is_sent() -> None:
    """One sentence names the contract, the clause, the model and those that have one."""
    made = stage(profile(**STEADY), *asking("m"), contract=contract(SPEED))
    with pytest.raises(UserError) as caught:
        compile_plan(suite(made), 1)
    assert str(caught.value) == (
        "contract c: clause 1: has no limit for model 'm', only for gpt-5.4, gpt-5.4-mini, gpt-4*;"
        " copy the contract and name the model there, or judge by another one"
    )
