"""The files that ship: each loads, says what it is in one line, and holds the stated facts."""

from __future__ import annotations

import json
import re
import tomllib
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from bench.plan.contract import Contract, load_contract
from bench.plan.profile import Amount, Profile, load_profile
from bench.plan.target import Target, load_target
from bench.plan.traces import read_trace
from bench.userfile import builtin_names, builtin_root

SHARED = Path(__file__).resolve().parents[2] / "../shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared facts are not here")

PROFILES = {
    "steady",
    "poisson",
    "chat",
    "code",
    "bursty",
    "square",
    "ramp",
    "reasoning",
    "long-context",
    "trace",
    *("aa-1k", "aa-10k", "aa-100k", "agent", "rag"),
}
TARGETS = {"standard", "pro", "default", "fallback", "premium", "gpt-4o"}
CONTRACTS = {"startup", "enterprise", "standard-tier", "pro-channel"}
#: which table of quantiles.json each profile's sizes come from
TABLES = {
    "chat": "azure2023_conv",
    "code": "azure2023_code",
    "bursty": "servegen_language_m_large",
    "square": "servegen_language_m_large",
    "ramp": "servegen_language_m_large",
    "reasoning": "servegen_reason_deepseek_r1",
    "long-context": "mooncake_conversation",
}


def loaded(kind: str) -> dict[str, Profile | Target | Contract]:
    names = builtin_names(kind)
    if kind == "load":
        return {name: load_profile(name) for name in names}
    if kind == "targets":
        return {name: load_target(name) for name in names}
    return {name: load_contract(name) for name in names}


@pytest.mark.parametrize(
    ("kind", "names"), [("load", PROFILES), ("targets", TARGETS), ("contracts", CONTRACTS)]
)
def test_all_built_in_files_load_under_their_own_name(kind: str, names: set[str]) -> None:
    """Every promised file ships, loads, and carries its file's name."""
    files = loaded(kind)
    assert names <= set(files)
    assert all(record.name == name for name, record in files.items())


@pytest.mark.parametrize("kind", ["load", "targets", "contracts"])
def test_one_plain_line_describes_each(kind: str) -> None:
    """Each description (a contract's title) is one non-empty line that a list can print."""
    for path in (builtin_root() / kind).glob("*.toml"):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        line = data["title" if kind == "contracts" else "description"]
        assert 10 < len(line) <= 120, path.name
        assert "\n" not in line
        assert line == line.strip()


def test_no_built_in_profile_draws_forever() -> None:
    """Each profile ends by itself within five minutes as shipped, so each can be tried."""
    for name, profile in loaded("load").items():
        assert isinstance(profile, Profile)
        if profile.arrivals.kind != "trace":
            assert profile.duration is not None, name
            assert profile.duration <= 300 * 10**9, name


def test_gaps_have_the_stated_burstiness() -> None:
    """chat has CV 1.05, code 10, bursty 3: burstiness is 1/CV² as other tools mean it."""
    for name, cv in (("chat", 1.05), ("code", 10), ("bursty", 3)):
        assert load_profile(name).arrivals.burstiness == pytest.approx(1 / cv**2, rel=1e-3)


def test_square_and_ramp_have_their_shapes() -> None:
    """square bursts 8 times a fifth of the time, as 60 s in 5 min is; each ramp edge is +50 %."""
    quiet, burst = load_profile("square").phases
    assert [quiet.burst, burst.burst] == [Fraction(1), Fraction(8)]
    assert burst.duration * 4 == quiet.duration
    edges = [phase.burst for phase in load_profile("ramp").phases]
    assert [b / a for a, b in pairwise(edges)] == [Fraction(3, 2)] * 4


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("aa-1k", (1000, 1000)), ("aa-10k", (10_000, 1500)), ("aa-100k", (100_000, 2000))],
)
def test_published_workloads_have_their_published_sizes(name: str, tokens: tuple[int, int]) -> None:
    """Input and output tokens, as the method's page has them."""
    profile = load_profile(name)
    assert (profile.prompt_tokens[0].fixed, profile.output_tokens[0].fixed) == tokens


def test_an_agent_s_context_grows_as_published() -> None:
    """30 calls a session; by its last call 80,000 tokens at the median, 84,482 on average.

    From the profile's numbers alone: what is shared, and what each call and answer adds.
    """
    profile = load_profile("agent")
    assert profile.sessions is not None
    assert profile.shared_prefix is not None
    assert profile.sessions.turns.quantiles is not None
    added = profile.prompt_tokens[0].lognormal
    assert added is not None
    law = stats.lognorm(added.sigma, scale=np.exp(added.mu))
    assert law.ppf([0.50, 0.90, 0.99]) == pytest.approx([793, 3700, 12_800], rel=0.02)
    assert law.mean() == pytest.approx(1600, rel=0.03)
    assert profile.output_tokens[0].fixed == round(17_239 / 33) == 522
    last = profile.shared_prefix.tokens + 33 * (law.mean() + 522)
    assert last == pytest.approx(84_482, rel=0.05)


def test_every_table_states_its_source_and_licence() -> None:
    """No quantile table ships without the data set and the licence it may be copied under."""
    for name in TABLES:
        profile = load_profile(name)
        for amount in (*profile.prompt_tokens, *profile.output_tokens):
            assert amount.quantiles is not None
            assert re.search(
                r"(Azure/AzurePublicDataset.*CC BY 4\.0|(Mooncake|ServeGen).*Apache-2\.0)",
                amount.source,
            )


@needs_shared
@pytest.mark.parametrize("name", sorted(TABLES))
def test_quantile_tables_are_those_of_the_traces(name: str) -> None:
    """The shipped tables equal quantiles.json at every point, to the two decimals they are written
    in.
    """
    facts = json.loads((SHARED / "traces/quantiles.json").read_text())["traces"][TABLES[name]]
    profile = load_profile(name)
    for side, amounts in (("input", profile.prompt_tokens), ("output", profile.output_tokens)):
        (amount,) = amounts
        expected = facts[f"{side}_tokens"]["quantiles"]
        assert amount.quantiles is not None
        assert amount.quantiles.keys() == expected.keys()
        for percent, value in expected.items():
            assert amount.quantiles[percent] == pytest.approx(value, abs=0.0051)


@needs_shared
def test_rates_and_the_chat_curve_are_those_of_azure() -> None:
    """chat and code run at the recorded mean rates; chat's curve is the recorded one, minute by
    minute.
    """
    traces = json.loads((SHARED / "traces/quantiles.json").read_text())["traces"]
    for name in ("chat", "code"):
        recorded = traces[TABLES[name]]["arrivals"]["rate_rps"]
        assert float(load_profile(name).arrivals.rate or 0) == pytest.approx(recorded, rel=2e-3)
    curve = load_profile("chat").rate_curve
    assert curve is not None
    assert curve.step == 60 * 10**9
    assert curve.factors == traces["azure2023_conv"]["arrivals"]["rate_per_minute"]["normalised"]
    assert "CC BY 4.0" in curve.source


def share_below(amount: Amount, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    percent, value = zip(*amount.quantile_points(), strict=True)
    below: npt.NDArray[np.float64] = np.interp(tokens, value, percent) / 100
    return below


def test_shipped_trace_is_drawn_from_chat() -> None:
    """trace-example.csv has 200 rows whose sizes and gaps follow chat's laws (KS)."""
    source = load_profile("trace").arrivals.trace
    assert source is not None
    trace = read_trace(source, 1)
    assert (len(trace.due_ns), trace.rows_skipped) == (200, 0)
    chat = load_profile("chat")
    assert (
        stats.kstest(share_below(chat.prompt_tokens[0], trace.prompt_tokens), "uniform").pvalue
        > 0.01
    )
    assert (
        stats.kstest(share_below(chat.output_tokens[0], trace.output_tokens), "uniform").pvalue
        > 0.01
    )
    gaps = np.diff(trace.due_ns) / 1e9
    assert stats.kstest(gaps, "expon", args=(0, 1 / 5.53)).pvalue > 0.01


@needs_shared
def test_shipped_trace_is_not_copied() -> None:
    """No run of three consecutive size pairs of the example occurs in the Azure
    conversation trace.
    """

    def triples(lines: list[str]) -> set[tuple[str, ...]]:
        sizes = [line.strip().split(",", 1)[1] for line in lines[1:] if line.strip()]
        return {tuple(sizes[i : i + 3]) for i in range(len(sizes) - 2)}

    example = (builtin_root() / "load/trace-example.csv").read_text().splitlines()
    recorded = (SHARED / "traces/azure_llm_2023_conv.csv").read_text().splitlines()
    assert triples(example).isdisjoint(triples(recorded))


def facts_text() -> str:
    return (SHARED / "mission-facts.md").read_text(encoding="utf-8")


@needs_shared
def test_prices_and_models_are_the_stated_ones() -> None:
    """Each row of the price table is a target with that model and price; no other target has a
    price.
    """
    table = facts_text().split("## Models, prices")[1].split("Router as published")[0]
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split("|")]
        for line in table.splitlines()
        if line.startswith("|")
    ][2:]
    roles = {role.split()[0]: (model.split(",")[0], Decimal(price)) for role, model, price in rows}
    targets = {name: load_target(name) for name in TARGETS}
    for role, name in (
        ("default", "default"),
        ("fallback", "fallback"),
        ("premium", "premium"),
        ("comparison", "gpt-4o"),
    ):
        prices = targets.pop(name).prices
        assert prices is not None
        assert prices.input_usd_per_million == prices.output_usd_per_million == roles[role][1]
        assert "one price" in prices.source
        assert prices.as_of.isoformat() == "2026-11-23"
        assert load_target(name).model.lower() == roles[role][0].lower().replace(
            "gpt-4o, direct", "gpt-4o"
        )
    assert {name: target.prices for name, target in targets.items()} == {
        "standard": None,
        "pro": None,
    }
    assert f"`{targets['pro'].model}`" in facts_text()
    assert targets["pro"].model == f"Pro/{targets['standard'].model}"


def test_only_the_direct_target_leaves_the_machine() -> None:
    """gpt-4o is real and names its key by environment variable; all others are embedded."""
    for name in TARGETS:
        target = load_target(name)
        assert target.embedded == (name != "gpt-4o")
        assert target.api_key_env == (None if target.embedded else "OPENAI_API_KEY")


JUDGED = {
    "startup": {"uptime, request ratio ≥ 99.5 %"},
    "enterprise": {"response e2e p99 ≤ 800 ms", "uptime, request ratio ≥ 99.9 %"},
    "standard-tier": set(),
    "pro-channel": {"uptime, request ratio ≥ 99.9 %"},
}


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_contracts_judge_what_was_promised_and_no_more(name: str) -> None:
    """The judged clauses are exactly the promises; e2e and TTFT p99 always stand beside them."""
    contract = load_contract(name)
    assert {clause.text for clause in contract.clauses if not clause.report_only} == JUDGED[name]
    shown = {clause.text.split(" ≤")[0] for clause in contract.clauses}
    assert {"response e2e p99", "response TTFT p99"} <= shown
    assert len(contract.attested) >= 5


@needs_shared
def test_contract_figures_are_the_stated_ones() -> None:
    """The limits and shares, and every number in an attested term, stand in the facts they come
    from.
    """
    text = facts_text()
    assert "`response e2e p99 ≤ 800 ms`" in text
    assert "99.5 % effective is accepted" in text
    assert "99.9 % at least" in text
    assert "| uptime | best effort | 99.9 % guaranteed |" in text
    assert "seven-figure breach" in text
    assert load_contract("enterprise").breach_cost_usd == Decimal(10**6)
    known = set(re.findall(r"\d+(?:\.\d+)?", text))
    for name in CONTRACTS:
        for term in load_contract(name).attested:
            assert set(re.findall(r"\d+(?:\.\d+)?", term.term)) <= known
