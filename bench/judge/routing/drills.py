"""How lanes bore a cut: when it was noticed, what was lost, when all was as before.

In: a lane's rows and attempts, the drills of its stage. Out: a record a cut, a timeline a lane.
Must stay true: latency is the row's, from its due time; a cut that failed has a record and no
figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from bench.judge.routing.calls import billed_calls, billed_twice, cost_of, winners
from bench.quantiles import P50, P99, by_key
from bench.record.records.events import DrillEvent, LegChange
from bench.record.records.manifest import LaneRecord, LegRecord
from bench.record.records.routes import (
    AddedLatency,
    DrillRecord,
    LegAnswers,
    LegState,
    Timeline,
)
from bench.record.samples import Columns, Int, Outcome, Reason, Table, latency_ns
from bench.units import MS, nearest_rank

#: Parts into which a timeline cuts a stage.
BINS = 48
_REACTIONS = (
    Reason.retry,
    Reason.error,
    Reason.slow,
    Reason.deadline,
    Reason.hedge,
    Reason.rerouted,
)


def drill_records(
    columns: Columns,
    attempts: Table,
    rows: Int,
    events: Sequence[DrillEvent],
    changes: Sequence[LegChange],
    legs: Sequence[LegRecord] = (),
) -> list[DrillRecord]:
    """One record for each cut of a stage, as one lane bore it.

    `rows` are the numbers of `columns`' rows in the run, `events` the stage's drills in order,
    `changes` those of the lane's `legs`; without legs there is no `cost`. Times count from when the
    cut was really done; its window ends when it was healed, at the next cut, or with the run. A cut
    that failed has a record and no figures, a healing that failed healed nothing.
    """
    marks = [event for event in events if event.do in ("cut", "heal") and event.done_ns >= 0]
    records = [_never_cut(mark) for mark in marks if mark.do == "cut" and not mark.ok]
    marks = [mark for mark in marks if mark.ok]
    end_of_run = int(columns.samples["due_ns"].max(initial=0)) + 1
    before_ns = 0
    for number, cut in enumerate(marks):
        if cut.do == "heal":
            before_ns = cut.done_ns
            continue
        if number + 1 < len(marks):
            following = marks[number + 1]
        else:
            following = None
        if following and following.do == "heal":
            healed = following.done_ns
        else:
            healed = None
        window = _Window(
            before_ns=before_ns,
            begin=cut.done_ns,
            end=following.done_ns if following else end_of_run,
            healed_ns=healed,
            next_cut=next(
                (mark.done_ns for mark in marks[number + 1 :] if mark.do == "cut"),
                end_of_run,
            ),
        )
        records.append(_drill(cut.name, window, columns, attempts, rows, changes, legs))
    return records


@dataclass(frozen=True)
class _Window:
    """The time of a cut, ns after the run's start."""

    #: the healing before it, or the run's start
    before_ns: int
    begin: int
    #: healed, cut again, or the run's end
    end: int
    healed_ns: int | None
    next_cut: int


def _drill(
    event: str,
    window: _Window,
    columns: Columns,
    attempts: Table,
    rows: Int,
    changes: Sequence[LegChange],
    legs: Sequence[LegRecord],
) -> DrillRecord:
    """What a cut that was carried out did to one lane."""
    due = columns.samples["due_ns"]
    begin = window.begin
    inside_window = (due >= begin) & (due < window.end)
    during = columns.where(inside_window)
    hit = np.isin(attempts["row"], rows[inside_window])
    inside = attempts[hit]
    billed = billed_calls(attempts[hit])
    planned = during.schedule[np.searchsorted(rows[inside_window], inside["row"])]
    detect_ms, detected_by = _detected(attempts, window, changes)
    healed = window.healed_ns
    suffered = _suffered(columns.where((due >= window.before_ns) & (due < begin)), during)
    return DrillRecord(
        target="",
        stage="",
        event=event,
        at_ns=begin,
        ok=True,
        healed_ns=healed,
        detect_ms=detect_ms,
        detected_by=detected_by,
        switch_ms=_switched_ms(attempts, begin, window.end),
        fail_back_ms=(
            None if healed is None else _failed_back_ms(attempts, begin, healed, window.next_cut)
        ),
        requests=len(during),
        lost=suffered.lost,
        unknown=suffered.unknown,
        delayed=suffered.delayed,
        added_ms=suffered.added_ms,
        double_billed=billed_twice(inside, billed),
        cost=cost_of(inside, planned, billed, winners(inside), legs) if legs else None,
    )


def _never_cut(cut: DrillEvent) -> DrillRecord:
    figures = DrillRecord.model_fields.keys() - {"target", "stage", "event", "at_ns", "ok"}
    return DrillRecord(
        target="",
        stage="",
        event=cut.name,
        at_ns=cut.done_ns,
        ok=False,
        **dict.fromkeys(figures),
    )


def _detected(
    attempts: Table,
    window: _Window,
    changes: Sequence[LegChange],
) -> tuple[float | None, str | None]:
    """When (ms after the cut) the route first did something that it had not done before, and what:
    a breaker opened, or a call was made for a reason not seen until then. What it does all the time
    anyway marks no moment.
    """
    started = attempts["start_ns"]
    begin = window.begin
    end = window.end
    before = (started >= window.before_ns) & (started < begin)
    usual = set(attempts["reason"][before].tolist())
    moments = [
        (int(change.at_ns), "breaker")
        for change in changes
        if change.state == "open" and begin <= change.at_ns < end
    ]
    for reason in _REACTIONS:
        new = started[(attempts["reason"] == reason) & (started >= begin) & (started < end)]
        if reason not in usual and len(new):
            moments.append((int(new.min()), reason.name))
    if not moments:
        return None, None
    at_ns, by = min(moments)
    return (at_ns - begin) / MS, by


def _switched_ms(attempts: Table, begin: int, end: int) -> float | None:
    """When a row first began on another leg than planned, because the planned one was left
    alone.
    """
    moved = attempts["start_ns"][
        (attempts["reason"] == Reason.rerouted) & (attempts["start_ns"] >= begin)
    ]
    moved = moved[moved < end]
    if len(moved):
        return (int(moved.min()) - begin) / MS
    return None


def _failed_back_ms(
    attempts: Table,
    begin: int,
    heal: int,
    last: int,
) -> float | None:
    """When rows began on their planned legs for good: the first such after the last that was
    rerouted.
    """
    started = attempts["start_ns"]
    here = (started >= begin) & (started < last)
    moved = started[here & (attempts["reason"] == Reason.rerouted)]
    if not len(moved):
        return None
    planned = started[here & (attempts["reason"] == Reason.first) & (started > moved.max())]
    if len(planned):
        return (max(int(planned.min()), heal) - heal) / MS
    return None


class _Suffered(NamedTuple):
    """What a cut cost the rows that were due between it and its healing."""

    lost: int
    unknown: int
    #: slower than 99 of 100 before the cut
    delayed: int | None = None
    added_ms: AddedLatency | None = None


def _suffered(before: Columns, during: Columns) -> _Suffered:
    outcomes = during.samples["outcome"]
    unknown = outcomes == Outcome.censored
    usual, then = (np.sort(latency_ns(each.samples[each.ok], "e2e")) for each in (before, during))
    found = _Suffered(int((~during.ok & ~unknown).sum()), int(unknown.sum()))
    if not len(usual) or not len(then):
        return found
    p99 = int(_at(usual, P99))
    added = {name: (_at(then, q) - _at(usual, q)) / MS for name, q in by_key(P50, P99).items()}
    return found._replace(
        delayed=int((then > p99).sum()),
        added_ms=AddedLatency(mean=float(then.mean() - usual.mean()) / MS, **added),
    )


def _at(ordered: Int, q: Fraction) -> int:
    return int(ordered[nearest_rank(len(ordered), q) - 1])


def timeline(
    columns: Columns,
    attempts: Table,
    rows: Int,
    lane: LaneRecord,
    changes: Sequence[LegChange],
) -> Timeline:
    """How one lane's stage went, in `BINS` equal parts by due time: who answered, who was not
    answered, and the p99 (ms).

    p99_ms is None where nothing was answered; `states` are the changes of the legs' breakers.
    """
    samples = columns.samples
    ok = columns.ok
    width = max(-(-(lane.end_ns - lane.start_ns) // BINS), 1)
    bins = np.clip((samples["due_ns"] - lane.start_ns) // width, 0, BINS - 1)
    p99 = [np.sort(latency_ns(samples[ok & (bins == number)], "e2e")) for number in range(BINS)]
    won = attempts[winners(attempts)]
    of_row = bins[np.searchsorted(rows, won["row"])]
    return Timeline(
        stage=lane.stage,
        of=lane.target,
        start_ns=lane.start_ns,
        bin_ns=width,
        requests=np.bincount(bins, minlength=BINS).tolist(),
        lost=np.bincount(
            bins[~ok & (samples["outcome"] != Outcome.censored)], minlength=BINS
        ).tolist(),
        p99_ms=[_at(values, P99) / MS if len(values) else None for values in p99],
        legs=[
            LegAnswers(
                name=leg.name,
                answered=np.bincount(of_row[won["leg"] == number], minlength=BINS).tolist(),
            )
            for number, leg in enumerate(lane.legs)
        ],
        states=[
            LegState(leg=change.leg, at_ns=change.at_ns, state=change.state) for change in changes
        ],
    )
