"""Routes side by side: whose tail is the longest, and did the answers come that a suite rehearses?

In: a run with routes, their records. Out: records with sentences. Must stay true: one p99 is
called longer than another only where their intervals lie apart; a route is held against its first
leg alone where that is a lane of the same stage; a p99 here is one of answered requests, so the
share that was answered stands beside it; what was never seen meets no expectation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.judge.stats.tail import quantile_ci_ranks, quantile_nearest_rank, verdict_counts
from bench.plan.route import RouteExpect
from bench.quantiles import P50, P99, P999, by_key
from bench.record.records.manifest import LaneRecord
from bench.record.records.routes import DrillRecord, LaneTail, Standing
from bench.record.records.verdicts import Expectation
from bench.record.run_folder import Run
from bench.record.samples import Columns, Outcome, latency_ns
from bench.units import MS, show_duration, show_share

#: Error of each side: intervals of 95 %, verdicts at 95 %.
_EACH_SIDE, _OF_A_VERDICT = 0.025, 0.05


def standings(run: Run) -> list[Standing]:
    """One record for each stage that holds a route beside another lane, its longest p99 first."""
    found = []
    for stage in dict.fromkeys(lane.stage for lane in run.lanes if lane.route):
        lanes = [
            (lane, run.columns.lane(index).measured())
            for index, lane in enumerate(run.lanes)
            if lane.stage == stage
        ]
        if len(lanes) > 1:
            found.append(standing(stage, [lane_tail(lane, columns) for lane, columns in lanes]))
    return found


def lane_tail(lane: LaneRecord, columns: Columns) -> LaneTail:
    """p50, p99 and p99.9 (ms) of the lane's answered rows; the p99's 95 % interval, None where it
    has no such limit.
    """
    ordered = np.sort(latency_ns(columns.samples[columns.ok], "e2e"))
    n = len(ordered)
    ranks = quantile_ci_ranks(n, P99, _EACH_SIDE) if n else (0, 1)
    found = {
        f"{key}_ms": int(quantile_nearest_rank(ordered, q)) / MS if n else None
        for key, q in by_key(P50, P99, P999).items()
    }
    low, high = (int(ordered[rank - 1]) / MS if 1 <= rank <= n else None for rank in ranks)
    return LaneTail(
        target=lane.name,
        routed=bool(lane.route),
        of=lane.target,
        legs=[leg.name for leg in lane.legs],
        requests=len(columns),
        success=n / len(columns) if len(columns) else None,
        **found,
        interval=(low, high),
    )


def standing(stage: str, lanes: list[LaneTail]) -> Standing:
    """The lanes by their p99, the longest first, and what may be said of them."""
    lanes = sorted(lanes, key=lambda lane: -(lane.p99_ms or 0))
    routes = [lane for lane in lanes if lane.routed]
    first = routes[0]
    others = routes[1:]
    worst = bool(others) and all(longer(first, other) for other in others)
    says = []
    if worst:
        says.append(
            f"{first.target} has the longest p99 of the routes: {_p99(first)} against"
            f" {', '.join(map(_named, others))}"
        )
    elif others:
        says.append(
            f"no route's p99 is told apart as the longest: {', '.join(map(_named, routes))}"
        )
    compared = []
    for lane in lanes:
        alone = _first_leg_alone(lane, lanes)
        if alone is None:
            against = None
        else:
            against = _against(lane, alone)
        compared.append(lane.replace(against_first_leg=against))
        if alone is not None and against == "longer":
            says.append(
                f"{lane.target} makes the tail worse than no route at all: p99 {_p99(lane)}"
                f" against {_p99(alone)} of {alone.target} alone, with {_answered(lane)} of the"
                f" requests answered against {_answered(alone)}"
            )
    return Standing(
        stage=stage,
        lanes=compared,
        worst=first.target if worst else None,
        says=says,
    )


def _first_leg_alone(lane: LaneTail, lanes: list[LaneTail]) -> LaneTail | None:
    """The lane, without a route, of the target that is the first leg of this one."""
    first = lane.legs[0] if lane.legs else None
    return next((other for other in lanes if not other.routed and other.of == first), None)


def longer(one: LaneTail, other: LaneTail) -> bool:
    """True where the whole interval of the one lies above the other's."""
    low = one.interval[0]
    high = other.interval[1]
    return low is not None and high is not None and low > high


def _against(one: LaneTail, other: LaneTail) -> str:
    if longer(one, other):
        return "longer"
    if longer(other, one):
        return "shorter"
    return "not told apart"


def _p99(lane: LaneTail) -> str:
    low, high = (None if limit is None else f"{limit:,.0f}" for limit in lane.interval)
    inside = f" ({low} – {high})" if low and high else f" (≥ {low})" if low else ""
    return "nothing answered" if lane.p99_ms is None else f"{lane.p99_ms:,.0f} ms{inside}"


def _named(lane: LaneTail) -> str:
    return f"{_p99(lane)} of {lane.target}"


def _answered(lane: LaneTail) -> str:
    return show_share(lane.success or 0, 2)


# ---- known answers


def expectations(
    run: Run,
    stages: Sequence[Standing],
    drills: Sequence[DrillRecord],
) -> list[Expectation]:
    """Each answer that `expect_route` tables rehearse, and whether it came."""
    found: list[Expectation] = []
    for index, lane in enumerate(run.lanes):
        if lane.expect_route:
            columns = run.columns.lane(index).measured()
        else:
            columns = None
        for table in lane.expect_route:
            wanted = RouteExpect.model_validate(table)
            answers = _Answers(lane.name, found)
            if wanted.p99_above:
                here = [stage.lanes for stage in stages if stage.stage == lane.stage]
                _above(answers, lane.target, wanted.p99_above, here[0] if here else [])
            if wanted.p99_within is not None and columns is not None:
                _within(answers, columns, wanted.p99_within)
            mine = [drill for drill in drills if drill.target == lane.name]
            done = [drill for drill in mine if drill.ok]
            for clause, limit_ns, times in (
                ("time to detect", wanted.detect_within, [cut.detect_ms for cut in done]),
                ("time to switch", wanted.switch_within, [cut.switch_ms for cut in done]),
                ("time to fail back", wanted.fail_back_within, [cut.fail_back_ms for cut in done]),
            ):
                if limit_ns is not None:
                    _time(answers, clause, times, limit_ns, cuts=len(mine))
            if wanted.lost_at_most is not None:
                _lost(answers, mine, wanted.lost_at_most)
    return found


@dataclass(frozen=True)
class _Answers:
    """Collects what a lane was expected to do, and what it did."""

    target: str
    found: list[Expectation]

    def add(
        self,
        clause: str,
        expected: str,
        got: str,
        *,
        met: bool,
    ) -> None:
        """One rehearsed answer."""
        self.found.append(
            Expectation(
                target=self.target,
                clause=clause,
                expected=expected,
                got=got,
                met=met,
            )
        )


def _above(
    answers: _Answers,
    target: str,
    names: Sequence[str],
    lanes: Sequence[LaneTail],
) -> None:
    of = {lane.of: lane for lane in lanes}
    seen = {name: _against(of[target], of[name]) for name in names if {target, name} <= set(of)}
    wrong = [
        f"{seen.get(name, 'not measured')}: {name}" for name in names if seen.get(name) != "longer"
    ]
    clause = f"e2e p99 against {', '.join(names)}"
    answers.add(clause, "longer", ", ".join(wrong) or "longer", met=not wrong)


def _within(answers: _Answers, columns: Columns, limit_ns: int) -> None:
    """Rows count as independent: a rehearsal of this run, no verdict on a provider."""
    outcomes = columns.samples["outcome"]
    unknown = int((outcomes == Outcome.censored).sum())
    over = int((~columns.ok & (outcomes != Outcome.censored)).sum())
    over += int((latency_ns(columns.samples[columns.ok], "e2e") > limit_ns).sum())
    counts = verdict_counts(len(columns), 1 - P99, _OF_A_VERDICT)
    got = "INCONCLUSIVE"
    if over + unknown <= counts.k_pass:
        got = "PASS"
    elif over >= counts.k_fail:
        got = "FAIL"
    clause = f"response e2e p99 ≤ {show_duration(limit_ns)}"
    answers.add(clause, "PASS", got, met=got == "PASS")


def _time(
    answers: _Answers,
    clause: str,
    times: Sequence[float | None],
    limit_ns: int,
    *,
    cuts: int,
) -> None:
    """`times` are those of the cuts that were carried out, of `cuts` in all."""
    slowest = max((ms for ms in times if ms is not None), default=None)
    never = not times or None in times or len(times) < cuts
    got = "never"
    if not times:
        got = "no cut was carried out"
    elif not never and slowest is not None:
        got = show_duration(slowest * MS)
    met = not never and slowest is not None and slowest * MS <= limit_ns
    answers.add(clause, f"≤ {show_duration(limit_ns)}", got, met=met)


def _lost(answers: _Answers, drills: Sequence[DrillRecord], most: int) -> None:
    done = [drill for drill in drills if drill.ok]
    lost = sum(drill.lost or 0 for drill in done)
    unknown = sum(drill.unknown or 0 for drill in done)
    got = f"{lost:,}" + (f", {unknown:,} unknown" if unknown else "")
    met = bool(drills) and len(done) == len(drills) and lost + unknown <= most
    answers.add("requests lost", f"≤ {most:,}", got if done else "no cut was carried out", met=met)
