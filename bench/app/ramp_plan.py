"""What a ramp goes about: the suite at one rate and another, and the bounds of the search.

In: a suite of one target, the terms of a ramp. Out: the suite that is ramped, its search. Must stay
true: what has no rate to find, or no clause that a probe decides, is refused before anything is
sent; every run is judged at its part of the error allowed.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.judge.contract.sizing import Assumed, LaneSize, size_plan
from bench.judge.ramp.search import Search, least_ns
from bench.plan.contract import Contract
from bench.plan.profile import override_profile
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Suite
from bench.units import S, show_rate

#: A probe far from the boundary has so many times the requests that PASS needs without a single
#: miss. One near it has those that decide half, or twice, the allowed share, and grows to at most
#: so many times as many.
_FIRST, _MOST = 2, 128


@dataclasses.dataclass(frozen=True)
class Terms:
    """How a ramp goes about it; rates in requests per second, caps over all of its runs
    together.
    """

    seed: int
    lowest: Fraction | None = None
    highest: Fraction | None = None
    resolution: Fraction = Fraction(1, 10)
    max_probes: int = 24
    max_requests: int | None = None
    max_cost_usd: Fraction | None = None
    #: of load, pauses left out; nobody waits for what is computed
    max_time_ns: int | None = None
    cool_down_ns: int = 5 * S
    workers: int | None = None
    stop_rule: bool = True
    folder: Path | None = None
    repeat_command: str = ""


def ramping(suite: Suite, target: str | None) -> Suite:
    """The suite as it is ramped: one stage, one target, nothing rehearsed.

    Raises UserError for what has no rate to find.
    """
    where = f"suite {suite.name}"
    pairs = [
        (stage, each)
        for stage in suite.stages
        for each in stage.targets
        if target in (None, each.name)
    ]
    if len(pairs) != 1:
        names = (
            ", ".join(dict.fromkeys(each.name for stage in suite.stages for each in stage.targets))
            or "none"
        )
        raise UserError(
            f"a ramp has one stage with one target, and {len(pairs)} of this suite"
            f" {'have that name' if target else 'could be it'}",
            where=where,
            remedy=f"choose one with --target ({names}), or write a suite of one stage",
        )
    stage, chosen = pairs[0]
    if stage.contract is None:
        raise UserError(
            "has no contract, and a ramp needs one", where=where, remedy="add --contract or --slo"
        )
    if stage.profile.arrivals.rate is None:
        raise UserError(
            f'arrivals of kind "{stage.profile.arrivals.kind}" have no rate to search',
            where=where,
            remedy="use a profile with a rate, such as --profile poisson",
        )
    if stage.drills:
        raise UserError(
            "has drills, which change the target during the search",
            where=where,
            remedy="leave them out",
        )
    alone: dict[str, Any] = {
        "targets": [chosen],
        "contract": stage.contract_of(chosen),
        "expect": [],
        "compare": [],
        "expect_route": [],
        "profile": stage.profile.model_copy(update={"seed": None}),
    }
    return suite.model_copy(update={"stages": [stage.model_copy(update=alone)], "months": []})


def at_rate(suite: Suite, rate: Fraction, contract: Contract) -> Suite:
    """The suite at another rate, under this contract."""
    (stage,) = suite.stages
    profile = override_profile(stage.profile, f"stage {stage.name!r}", rate=rate)
    return suite.model_copy(
        update={"stages": [stage.model_copy(update={"profile": profile, "contract": contract})]}
    )


def strict(contract: Contract, runs: int) -> Contract:
    """The contract with its error shared among so many runs."""
    return contract.model_copy(update={"confidence": 1 - (1 - contract.confidence) / runs})


def begun_plan(suite: Suite, terms: Terms) -> Plan:
    """The suite at the rate at which the search begins, each run held to its part of the error.

    Raises UserError for bounds that leave that rate out.
    """
    stage = suite.stages[0]
    assert stage.contract is not None
    start, lowest = _start(suite, terms), _lowest(suite, terms)
    if not lowest <= start:
        raise UserError(
            f"{show_rate(lowest)} is above {show_rate(start)}, at which the search begins",
            where="--min-rate",
            remedy="lower it, or begin higher with --rate",
        )
    return compile_plan(
        at_rate(suite, start, strict(stage.contract, terms.max_probes + 1)), terms.seed
    )


def search_for(suite: Suite, terms: Terms, begun: Plan) -> Search:
    """The bounds of the search, by its `begun_plan`.

    Raises UserError for a clause that no probe can decide.
    """
    contract = suite.stages[0].contract
    assert contract is not None
    (lane,) = size_plan(begun, Assumed()).lanes
    first, close = _sizes(lane)
    return Search(
        _start(suite, terms),
        _lowest(suite, terms),
        terms.highest,
        terms.resolution,
        terms.max_probes,
        first=first,
        close=close,
        most=_MOST * close,
        least_ns=least_ns(contract.tightest_limit_ns, terms.resolution),
    )


def _start(suite: Suite, terms: Terms) -> Fraction:
    rate = suite.stages[0].profile.arrivals.rate
    assert rate is not None
    return rate if terms.highest is None else min(rate, terms.highest)


def _lowest(suite: Suite, terms: Terms) -> Fraction:
    return _start(suite, terms) / 64 if terms.lowest is None else terms.lowest


def plan_probe(begun: Plan, suite: Suite, seed: int, requests: int) -> Plan:
    """The plan of so many measured requests of `suite`, which is that of `begun` at another
    rate.
    """
    (stage,), (lane,) = suite.stages, begun.lanes
    length_ns = None
    if stage.profile.phases:
        # Phases end a plan by its length alone: give them more of it than the count can need.
        rate, begun_rate = stage.profile.arrivals.rate, lane.profile.arrivals.rate
        assert rate is not None
        assert begun_rate is not None
        held = max(1, int(lane.requests * rate / begun_rate))
        length_ns = 2 * (lane.end_ns * (1 + requests // held) + S)
    profile = override_profile(
        stage.profile, f"stage {stage.name!r}", requests=requests, duration_ns=length_ns
    )
    longer = stage.model_copy(update={"profile": profile})
    return compile_plan(suite.model_copy(update={"stages": [longer]}), seed)


def scenario_length(begun: Plan, probe: Plan) -> dict[str, int]:
    """How long (ns) the scenario of `begun` is, by its name, where a probe's plan is longer: its
    timeline begins again that often.
    """
    (lane,), (longer,) = begun.lanes, probe.lanes
    if lane.scenario is None or lane.profile.closed_loop:
        return {}
    length_ns = lane.end_ns - lane.start_ns
    return {lane.scenario: length_ns} if longer.end_ns - longer.start_ns > length_ns else {}


def _sizes(lane: LaneSize) -> tuple[int, int]:
    """Requests of a probe far from the boundary and of one near it, by the clause that
    needs most.
    """
    if not lane.clauses:
        raise UserError(
            "has no clause that is judged",
            where=f"contract {lane.contract}",
            remedy="add one, such as --slo 'e2e:p99<800ms'",
        )
    first = close = 0
    for clause in lane.clauses:
        if (
            clause.unit != "requests"
            or clause.least is None
            or clause.load is None
            or not clause.planned
        ):
            raise UserError(
                "cannot be decided by probes of a few minutes",
                where=f"contract {lane.contract}: {clause.text}",
                remedy=(
                    "ramp on clauses of requests that the load has, such as --slo 'e2e:p99<800ms'"
                ),
            )
        share = Fraction(lane.load.requests, clause.planned)
        first = max(first, int(_FIRST * clause.least * share) + 1)
        close = max(close, clause.load.requests)
    return first, max(first, close)
