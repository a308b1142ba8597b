"""What a route did for its users and to the bill, and how it bore a drill.

In: a run with routed lanes: rows, attempts, events, prices. Out: `Routes`, no verdict. Must
stay true: warm-up is left out; latency is the row's, from its due time; every token that a provider
could bill is counted once, on the attempt that caused it; what cannot be known is None with its
reason, never a number made from nothing. For residency every response counts, warm-up and losing
calls included, for data has left with each; one that names no region is counted as such and never
as one at home.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import numpy as np

from bench.judge.routing.calls import (
    billed_calls,
    billed_twice,
    cost_of,
    counts,
    tokens_of,
    winners,
)
from bench.judge.routing.drills import drill_records, timeline
from bench.judge.routing.policies import expectations
from bench.judge.routing.standings import standings
from bench.judge.summary import view_ms
from bench.metrics import HEADLINES
from bench.record.records.events import DrillEvent
from bench.record.records.manifest import LaneRecord, LegRecord
from bench.record.records.routes import (
    DrillRecord,
    FailedEvent,
    LegCalls,
    ResidencyRecord,
    RouteRecord,
    Routes,
    Timeline,
)
from bench.record.run_folder import Run
from bench.record.samples import CAUSES, AttemptFlag, Columns, Int, Outcome, Reason, Table


def route_run(run: Run) -> Routes | None:
    """routes.json; None for a run without routes, drills and allowed regions."""
    routed = any(lane.route for lane in run.lanes)
    events = run.manifest.events
    regions = residency(run)
    if not routed and not events and not regions:
        return None
    attempts = run.attempts
    stages = standings(run)
    routes: dict[str, RouteRecord] = {}
    timelines: dict[str, Timeline] = {}
    drills: list[DrillRecord] = []
    for index, lane in enumerate(run.lanes):
        rows = np.nonzero(
            (run.columns.schedule["lane"] == index) & ~run.columns.schedule["warmup"]
        )[0]
        own = attempts[np.isin(attempts["row"], rows)]
        columns = run.columns.where(rows)
        if lane.route:
            planned = run.columns.schedule[own["row"]]
            routes[lane.name] = route_record(
                columns,
                own,
                planned,
                lane,
                run.strings,
            )
        changes = [change for change in run.manifest.leg_events if change.lane == lane.name]
        here = [event for event in events if event.stage == lane.stage]
        found = drill_records(columns, own, rows, here, changes, lane.legs)
        drills += [record.replace(target=lane.name, stage=lane.stage) for record in found]
        if found:
            timelines[lane.name] = timeline(columns, own, rows, lane, changes)
    return Routes(
        format=Routes.FORMAT,
        run=run.manifest.run,
        routes=routes,
        stages=stages,
        drills=drills,
        failed=[_failed(event) for event in events if not event.ok],
        timelines=timelines,
        residency=regions,
        expects=expectations(run, stages, drills),
    )


def _failed(event: DrillEvent) -> FailedEvent:
    return FailedEvent(
        name=event.name,
        stage=event.stage,
        do=event.do,
        detail=event.detail,
    )


# ---- one policy


def route_record(
    columns: Columns,
    attempts: Table,
    planned: Table,
    lane: LaneRecord,
    strings: Callable[[str], list[str]],
) -> RouteRecord:
    """One routed lane; `planned` are the schedule's rows of the attempts, `strings` gives the texts
    of a column.
    """
    answered = columns.samples[columns.ok]
    won = winners(attempts)
    billed = billed_calls(attempts)
    served = _by_word(answered["served_model"], strings("served_model"))
    tiers = strings("served_tier")
    legs = []
    for number, leg in enumerate(lane.legs):
        mine = attempts["leg"] == number
        answers = int((won & mine).sum())
        legs.append(_leg(leg, number, attempts[mine], answers, len(answered), tiers))
    return RouteRecord(
        requests=len(columns),
        ok=len(answered),
        success=len(answered) / len(columns) if len(columns) else None,
        response_ms=view_ms(columns.where(columns.ok), HEADLINES),
        attempts=len(attempts),
        attempts_per_request=len(attempts) / len(columns) if len(columns) else None,
        by_reason=counts(attempts["reason"], Reason),
        cancelled=int(((attempts["flags"] & AttemptFlag.CANCELLED) != 0).sum()),
        legs=legs,
        served_models={model: times / len(answered) for model, times in served.items()},
        tokens=tokens_of(attempts, planned, billed, won),
        double_billed=billed_twice(attempts, billed),
        cost=cost_of(attempts, planned, billed, won, lane.legs),
    )


def _leg(
    leg: LegRecord,
    number: int,
    calls: Table,
    won: int,
    answered: int,
    tiers: Sequence[str],
) -> LegCalls:
    failed = calls[~np.isin(calls["outcome"], (Outcome.ok, Outcome.censored))]
    causes = np.bincount(failed["cause"][failed["cause"] >= 0], minlength=len(CAUSES))
    return LegCalls(
        leg=number,
        name=leg.name,
        model=leg.model,
        calls=len(calls),
        answered=won,
        share_answered=won / answered if answered else None,
        outcomes=counts(calls["outcome"], Outcome),
        tiers=_by_word(calls["served_tier"][calls["outcome"] == Outcome.ok], tiers),
        causes={cause: int(n) for cause, n in zip(CAUSES, causes, strict=True) if n},
    )


def _by_word(numbers: Int, words: Sequence[str]) -> dict[str, int]:
    """How often a column names each text."""
    known = numbers[(numbers >= 0) & (numbers < len(words))]
    times = np.bincount(known, minlength=len(words)).tolist()
    return {word: n for word, n in zip(words, times, strict=True) if n}


def residency(run: Run) -> dict[str, ResidencyRecord]:
    """By lane; lanes without an allowed list are left out.

    Allowed are the regions of the contract's scope (a name may end in `*`), else the target's own;
    of a route its legs', each call held to its own leg's.
    """
    texts = run.strings("served_region")
    found: dict[str, ResidencyRecord] = {}
    if any(lane.legs for lane in run.lanes):
        attempts = run.attempts
    else:
        attempts = None
    for index, lane in enumerate(run.lanes):
        legs: Sequence[LegRecord | LaneRecord] = lane.legs or [lane]
        scope = ((lane.contract_written or {}).get("scope") or {}).get("regions") or []
        allowed = [scope or ([leg.region] if leg.region else []) for leg in legs]
        if not all(allowed):
            continue
        rows = run.columns.schedule["lane"] == index
        if lane.legs and attempts is not None:
            calls = attempts[rows[attempts["row"]]]
            parts = [(calls[calls["leg"] == leg], names) for leg, names in enumerate(allowed)]
        else:
            parts = [(run.columns.samples[rows], allowed[0])]
        found[lane.name] = _by_region(parts, texts, by="contract" if scope else "target")
    return found


def _by_region(
    parts: Sequence[tuple[Table, Sequence[str]]], texts: Sequence[str], *, by: str
) -> ResidencyRecord:
    """Responses by region, and how many came from outside what is allowed to each part.

    An error that names no region is no answer from anywhere.
    """
    by_region: dict[str, int] = {}
    elsewhere = unnamed = 0
    for calls, allowed in parts:
        unnamed += int(((calls["served_region"] < 0) & (calls["status"] // 100 == 2)).sum())
        for region, times in _by_word(calls["served_region"], texts).items():
            by_region[region] = by_region.get(region, 0) + times
            elsewhere += 0 if any(fnmatchcase(region, name) for name in allowed) else times
    return ResidencyRecord(
        allowed=sorted({name for _, allowed in parts for name in allowed}),
        by=by,
        checked=sum(by_region.values()),
        elsewhere=elsewhere,
        unnamed=unnamed,
        by_region=by_region,
    )
