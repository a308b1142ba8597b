"""Routes side by side: whose tail is the longest, and did the answers come that a suite rehearses?

In: a run with routes, their records. Out: JSON records with sentences. Must stay true: one p99 is
called longer than another only where their intervals lie apart; a route is held against its first
leg alone where that is a lane of the same stage; a p99 here is one of answered requests, so the
share that was answered stands beside it; what was never seen meets no expectation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.judge.stats.tail import quantile_ci_ranks, quantile_nearest_rank, verdict_counts
from bench.plan.route import RouteExpect
from bench.quantiles import P50, P99, P999, by_key
from bench.record.run_folder import Run
from bench.record.samples import Columns, Outcome, latency_ns
from bench.units import MS, show_duration, show_share

Record = dict[str, Any]
#: Error of each side: intervals of 95 %, verdicts at 95 %.
_EACH_SIDE, _OF_A_VERDICT = 0.025, 0.05


def standings(run: Run) -> list[Record]:
    """One record for each stage that holds a route beside another lane, its longest p99 first."""
    found = []
    for stage in dict.fromkeys(lane["stage"] for lane in run.lanes if lane.get("route")):
        lanes = [
            (lane, run.columns.lane(index).measured())
            for index, lane in enumerate(run.lanes)
            if lane["stage"] == stage
        ]
        if len(lanes) > 1:
            found.append(standing(stage, [lane_tail(lane, columns) for lane, columns in lanes]))
    return found


def lane_tail(lane: Record, columns: Columns) -> Record:
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
    return {
        "target": lane["name"],
        "routed": bool(lane.get("route")),
        "of": lane["target"],
        "legs": [leg["name"] for leg in lane.get("legs") or []],
        "requests": len(columns),
        "success": n / len(columns) if len(columns) else None,
        **found,
        "interval": [int(ordered[rank - 1]) / MS if 1 <= rank <= n else None for rank in ranks],
    }


def standing(stage: str, lanes: list[Record]) -> Record:
    """{"stage", "lanes" (longest p99 first), "worst" (the route beyond all others, or None),
    "says"}.
    """
    lanes = sorted(lanes, key=lambda lane: -(lane["p99_ms"] or 0))
    routes = [lane for lane in lanes if lane["routed"]]
    first, others = routes[0], routes[1:]
    worst = bool(others) and all(longer(first, other) for other in others)
    says = []
    if worst:
        says.append(
            f"{first['target']} has the longest p99 of the routes: {_p99(first)} against"
            f" {', '.join(map(_named, others))}"
        )
    elif others:
        says.append(
            f"no route's p99 is told apart as the longest: {', '.join(map(_named, routes))}"
        )
    for lane in lanes:
        alone = next(
            (
                other
                for other in lanes
                if not other["routed"] and other["of"] == (lane["legs"] or [None])[0]
            ),
            None,
        )
        lane["against_first_leg"] = None if alone is None else _against(lane, alone)
        if alone is not None and lane["against_first_leg"] == "longer":
            says.append(
                f"{lane['target']} makes the tail worse than no route at all: p99 {_p99(lane)}"
                f" against {_p99(alone)} of {alone['target']} alone, with {_answered(lane)} of the"
                f" requests answered against {_answered(alone)}"
            )
    return {
        "stage": stage,
        "lanes": lanes,
        "worst": first["target"] if worst else None,
        "says": says,
    }


def longer(one: Record, other: Record) -> bool:
    """True where the whole interval of the one lies above the other's."""
    low, high = one["interval"][0], other["interval"][1]
    return low is not None and high is not None and low > high


def _against(one: Record, other: Record) -> str:
    return "longer" if longer(one, other) else "shorter" if longer(other, one) else "not told apart"


def _p99(lane: Record) -> str:
    low, high = (None if limit is None else f"{limit:,.0f}" for limit in lane["interval"])
    inside = f" ({low} – {high})" if low and high else f" (≥ {low})" if low else ""
    return "nothing answered" if lane["p99_ms"] is None else f"{lane['p99_ms']:,.0f} ms{inside}"


def _named(lane: Record) -> str:
    return f"{_p99(lane)} of {lane['target']}"


def _answered(lane: Record) -> str:
    return show_share(lane["success"] or 0, 2)


# ---- known answers


def expectations(run: Run, stages: Sequence[Record], drills: Sequence[Record]) -> list[Record]:
    """{"target", "clause", "expected", "got", "met"} for each answer that `expect_route` tables
    rehearse.
    """
    found = []
    for index, lane in enumerate(run.lanes):
        mine = [drill for drill in drills if drill["target"] == lane["name"]]
        for table in lane.get("expect_route") or []:
            wanted = RouteExpect.model_validate(table)
            said = []
            if wanted.p99_above:
                here: list[Record] = next(
                    (stage["lanes"] for stage in stages if stage["stage"] == lane["stage"]), []
                )
                said.append(_above(lane["target"], wanted.p99_above, here))
            if wanted.p99_within is not None:
                said.append(_within(run.columns.lane(index).measured(), wanted.p99_within))
            for clause, key, limit_ns in (
                ("time to detect", "detect_ms", wanted.detect_within),
                ("time to switch", "switch_ms", wanted.switch_within),
                ("time to fail back", "fail_back_ms", wanted.fail_back_within),
            ):
                if limit_ns is not None:
                    said.append(_time(mine, clause, key, limit_ns))
            if wanted.lost_at_most is not None:
                said.append(_lost(mine, wanted.lost_at_most))
            found += [{"target": lane["name"], **each} for each in said]
    return found


def _above(target: str, names: Sequence[str], lanes: Sequence[Record]) -> Record:
    of = {lane["of"]: lane for lane in lanes}
    said = {name: _against(of[target], of[name]) for name in names if {target, name} <= set(of)}
    wrong = [
        f"{said.get(name, 'not measured')}: {name}" for name in names if said.get(name) != "longer"
    ]
    return {
        "clause": f"e2e p99 against {', '.join(names)}",
        "expected": "longer",
        "got": ", ".join(wrong) or "longer",
        "met": not wrong,
    }


def _within(columns: Columns, limit_ns: int) -> Record:
    """Rows count as independent: a rehearsal of this run, no verdict on a provider."""
    outcomes = columns.samples["outcome"]
    unknown = int((outcomes == Outcome.censored).sum())
    over = int((~columns.ok & (outcomes != Outcome.censored)).sum())
    over += int((latency_ns(columns.samples[columns.ok], "e2e") > limit_ns).sum())
    counts = verdict_counts(len(columns), 1 - P99, _OF_A_VERDICT)
    got = (
        "PASS"
        if over + unknown <= counts.k_pass
        else "FAIL"
        if over >= counts.k_fail
        else "INCONCLUSIVE"
    )
    return {
        "clause": f"response e2e p99 ≤ {show_duration(limit_ns)}",
        "expected": "PASS",
        "got": got,
        "met": got == "PASS",
    }


def _time(drills: Sequence[Record], clause: str, key: str, limit_ns: int) -> Record:
    times = [drill[key] for drill in drills if drill["ok"]]
    slowest = max((ms for ms in times if ms is not None), default=None)
    never = not times or None in times or len(times) < len(drills)
    got = (
        "no cut was carried out"
        if not times
        else "never"
        if never or slowest is None
        else show_duration(slowest * MS)
    )
    return {
        "clause": clause,
        "expected": f"≤ {show_duration(limit_ns)}",
        "got": got,
        "met": not never and slowest is not None and slowest * MS <= limit_ns,
    }


def _lost(drills: Sequence[Record], most: int) -> Record:
    lost, unknown = (
        sum(drill[key] for drill in drills if drill["ok"]) for key in ("lost", "unknown")
    )
    got = f"{lost:,}" + (f", {unknown:,} unknown" if unknown else "")
    return {
        "clause": "requests lost",
        "expected": f"≤ {most:,}",
        "got": got if any(drill["ok"] for drill in drills) else "no cut was carried out",
        "met": bool(drills) and all(drill["ok"] for drill in drills) and lost + unknown <= most,
    }
