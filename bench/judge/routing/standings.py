"""Routes side by side: whose tail is the longest?

In: a run with routes. Out: records with sentences. Must stay true: one p99 is called longer than
another only where `compare` tells the two lanes apart, superblocks of time resampled together, and
the bound beside it is the one that says so; a route is held against its first leg alone where that
is a lane of the same stage; a p99 here is one of answered requests, so the share that was answered
stands beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.judge.compare.arms import Arm
from bench.judge.compare.compare import Question, enough, ratios_of, sampled_arms
from bench.judge.compare.decision import ALPHA, Limits
from bench.judge.stats.groups import LEAST_SESSIONS, sessions_of
from bench.judge.stats.tail import quantile_ci_ranks, quantile_nearest_rank
from bench.quantiles import P50, P99, P999, by_key
from bench.record.records.comparisons import ArmFacts
from bench.record.records.manifest import LaneRecord
from bench.record.records.routes import LaneTail, Standing
from bench.record.records.verdicts import Interval
from bench.record.run_folder import Run
from bench.record.samples import Columns, latency_ns
from bench.units import MS, show_bound, show_list, show_ratio, show_share

Against = Literal["longer", "shorter", "not told apart"]
#: A difference is asked for in both directions.
_EACH_SIDE = ALPHA / 2
_ASKED = Question()


def standings(run: Run) -> list[Standing]:
    """One record for each stage that holds a route beside another lane, its longest p99 first."""
    found = []
    for stage in dict.fromkeys(lane.stage for lane in run.lanes if lane.route):
        lanes = [
            lane_of(lane, run.columns.lane(index).measured())
            for index, lane in enumerate(run.lanes)
            if lane.stage == stage
        ]
        if len(lanes) > 1:
            found.append(standing(stage, lanes))
    return found


@dataclass(frozen=True)
class Lane:
    """A lane's tail, and its answered rows as an arm of a comparison."""

    tail: LaneTail
    arm: Arm


def lane_of(lane: LaneRecord, columns: Columns) -> Lane:
    """p50, p99 and p99.9 (ms) of the lane's answered rows; the p99's 95 % interval, None where it
    has no such limit.
    """
    rows = columns.where(columns.ok)
    latency = latency_ns(rows.samples, "e2e")
    ordered = np.sort(latency)
    n = len(ordered)
    ranks = quantile_ci_ranks(n, P99, _EACH_SIDE) if n else (0, 1)
    found = {
        f"{key}_ms": int(quantile_nearest_rank(ordered, q)) / MS if n else None
        for key, q in by_key(P50, P99, P999).items()
    }
    low, high = (int(ordered[rank - 1]) / MS if 1 <= rank <= n else None for rank in ranks)
    tail = LaneTail(
        target=lane.name,
        routed=bool(lane.route),
        of=lane.target,
        legs=[leg.name for leg in lane.legs],
        requests=len(columns),
        success=n / len(columns) if len(columns) else None,
        **found,
        interval=(low, high),
    )
    at_ns = np.maximum(rows.samples["due_ns"] - lane.start_ns, 0)
    nothing = np.zeros(n, np.int64)
    length = max(lane.end_ns - lane.start_ns, int(at_ns.max(initial=0)) + 1)
    arm = Arm(
        lane.name,
        "e2e",
        at_ns,
        latency.astype(np.float64),
        nothing,
        nothing,
        0,
        ArmFacts(spans=[("", 0, length)]),
        session=sessions_of(rows, closed_loop=lane.closed_loop),
    )
    return Lane(tail, arm)


@dataclass(frozen=True)
class Apart:
    """One lane's p99 over another's, with its two-sided limits."""

    ratio: float
    limits: Limits

    @property
    def word(self) -> Against:
        """What the limits prove."""
        if self.limits.low > 1:
            return "longer"
        return "shorter" if self.limits.high < 1 else "not told apart"

    @property
    def bound(self) -> tuple[Interval, float]:
        """The ends that say so, and their confidence."""
        low, high = (end if 0 < end < math.inf else None for end in self.limits)
        if self.word == "longer":
            return (low, None), 1 - _EACH_SIDE
        if self.word == "shorter":
            return (None, high), 1 - _EACH_SIDE
        return (low, high), 1 - 2 * _EACH_SIDE

    def turned(self) -> Apart:
        """The other lane's over the first's."""
        return Apart(1 / self.ratio, Limits(_inverse(self.limits.high), _inverse(self.limits.low)))


def _inverse(limit: float) -> float:
    return 1 / limit if limit > 0 else math.inf


def apart(one: Arm, other: Arm) -> Apart | None:
    """The p99 of one lane over that of another; None where rows, superblocks or sessions are too
    few to hold them against each other.
    """
    if not enough(other, one, P99) or _few_sessions(one, other):
        return None
    sampled = sampled_arms(other, one, _ASKED)
    if not sampled:
        return None
    ratio = ratios_of(sampled, {"p99": P99}, _ASKED.seed)["p99"]
    if not ratio.baseline or not ratio.other:
        return None
    return Apart(ratio.value, ratio.limits(_EACH_SIDE))


def _few_sessions(one: Arm, other: Arm) -> bool:
    return min(one.sessions_worth, other.sessions_worth) < LEAST_SESSIONS


_Pairs = Mapping[tuple[str, str], Apart | None]


def _pairs(lanes: Sequence[Lane]) -> _Pairs:
    """Every lane against every other, by their names."""
    found: dict[tuple[str, str], Apart | None] = {}
    for one, other in itertools.combinations(lanes, 2):
        names = one.tail.target, other.tail.target
        seen = apart(one.arm, other.arm)
        found[names] = seen
        found[names[::-1]] = None if seen is None else seen.turned()
    return found


def standing(stage: str, lanes: Sequence[Lane]) -> Standing:
    """The lanes by their p99, the longest first, and what may be said of them."""
    pairs = _pairs(lanes)
    tails = sorted((lane.tail for lane in lanes), key=lambda tail: -(tail.p99_ms or 0))
    compared = [_against_others(tail, tails, pairs) for tail in tails]
    routes = [tail for tail in compared if tail.routed]
    first, others = routes[0], routes[1:]
    worst = bool(others) and all(other.target in first.longer_than for other in others)
    says = []
    if worst:
        times = (_times(pairs[first.target, other.target], other) for other in others)
        says.append(
            f"{first.target} has the longest p99 of the routes: {_p99(first)},"
            f" {show_list(list(times))}"
        )
    elif others:
        named = ", ".join(f"{_p99(route)} of {route.target}" for route in routes)
        says.append(f"no route's p99 is told apart as the longest: {named}")
    for tail in compared:
        alone = _first_leg_alone(tail, compared)
        if alone is not None and tail.against_first_leg == "longer":
            says.append(
                f"{tail.target} makes the tail worse than no route at all: p99 {_p99(tail)},"
                f" {_times(pairs[tail.target, alone.target], alone)} alone, with {_answered(tail)}"
                f" of the requests answered against {_answered(alone)}"
            )
    return Standing(
        stage=stage,
        lanes=compared,
        worst=first.target if worst else None,
        says=says,
    )


def _against_others(tail: LaneTail, tails: Sequence[LaneTail], pairs: _Pairs) -> LaneTail:
    """The lane with what is shown of it beside its first leg and beside the others."""
    longer = [
        other.target
        for other in tails
        if (seen := pairs.get((tail.target, other.target))) is not None and seen.word == "longer"
    ]
    tail = tail.replace(longer_than=longer)
    alone = _first_leg_alone(tail, tails)
    if alone is None:
        return tail
    seen = pairs[tail.target, alone.target]
    if seen is None:
        return tail.replace(against_first_leg="not told apart")
    bound, confidence = seen.bound
    return tail.replace(
        against_first_leg=seen.word,
        ratio_to_first_leg=seen.ratio,
        bound=bound,
        bound_confidence=confidence,
    )


def _first_leg_alone(tail: LaneTail, tails: Sequence[LaneTail]) -> LaneTail | None:
    """The lane, without a route, of the target that is the first leg of this one."""
    first = tail.legs[0] if tail.legs else None
    return next((other for other in tails if not other.routed and other.of == first), None)


def told_apart(one: LaneTail, other: LaneTail) -> Against:
    """What a stage's record shows of two of its lanes."""
    if other.target in one.longer_than:
        return "longer"
    return "shorter" if one.target in other.longer_than else "not told apart"


def _p99(tail: LaneTail) -> str:
    return "nothing answered" if tail.p99_ms is None else f"{tail.p99_ms:,.0f} ms"


def _times(seen: Apart | None, other: LaneTail) -> str:
    """`at least 1.320 times (97.5 %) the 4,060 ms of default`."""
    assert seen is not None
    ends, confidence = seen.bound
    bound = show_bound(*ends, lambda end: f"{show_ratio(end)} times", confidence)
    return f"{bound} the {_p99(other)} of {other.target}"


def _answered(tail: LaneTail) -> str:
    return show_share(tail.success or 0, 2)
