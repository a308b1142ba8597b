"""A run in more than one sitting: what broke off, what of it is left to play, and the time between.

In: the schedule, the samples so far, the manifest's `sittings`. Out: masks, moments, a table. Must
stay true: a row that may have been begun is never played again; rows that are played later keep
their distances; the time between two sittings stays a gap, in the axis of time as in the manifest.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.record.records.manifest import Manifest, SittingRecord
from bench.record.samples import Bool, Int, Outcome, Table
from bench.units import S

#: Pieces and marks are sealed twice a second: what was begun within this of the last mark may be on
#: no disk.
UNSEALED_NS = 1 * S
UNDER_WAY = "under way when the record ends"
LOST_TURN = "the turn before it was lost when the run broke off"
_NEVER = np.iinfo(np.int64).max


def due_again_ns(schedule: Table, samples: Table, shift: int) -> Int:
    """When each row is due (ns after the run's start) in the latest sitting; beyond all time where
    its predecessor has not ended.
    """
    planned = schedule["due_ns"]
    due = np.where(planned >= 0, planned + shift, _NEVER)
    waits = np.flatnonzero(_waits(schedule))
    predecessor = schedule["after_row"][waits]
    ended = samples["done_ns"][predecessor]
    due[waits] = np.where(ended >= 0, ended + schedule["think_ns"][waits], _NEVER)
    return due


def _waits(schedule: Table) -> Bool:
    """Rows that are due some time after another was answered."""
    mask: Bool = (schedule["due_ns"] < 0) & (schedule["after_row"] >= 0)
    return mask


def untouched(samples: Table) -> Bool:
    """Rows of which nothing is recorded but perhaps when they were due."""
    unsent = samples["outcome"] == Outcome.never_sent
    mask: Bool = unsent & (samples["note"] < 0)
    return mask


@dataclass(frozen=True)
class Rest:
    """What a later sitting plays."""

    #: the schedule with due times after the run's start; all other rows are struck out: neither due
    #: nor waiting
    table: Table
    #: how much later than planned its rows are due
    shift_ns: int
    #: the planned moment at which it takes up
    from_planned_ns: int


def lost_turns(schedule: Table, samples: Table) -> Bool:
    """Rows that wait, directly or not, for one that was cut off or never sent."""
    open_ = untouched(samples)
    unanswered = np.isin(samples["outcome"], (Outcome.censored, Outcome.never_sent))
    lost = unanswered & ~open_
    waits = _waits(schedule) & open_
    found = np.zeros(len(schedule), bool)
    while True:
        after_lost = (lost | found)[schedule["after_row"]]
        more = waits & after_lost & ~found
        if not more.any():
            return found
        found |= more


def rest_of(
    schedule: Table,
    samples: Table,
    shift: int,
    playable: Bool,
    begins_ns: int,
) -> Rest | None:
    """The `playable` rows that nothing is on record of, the first of them due at `begins_ns`; None
    where none is left.

    `samples` are settled: what may have begun, and what waits for it, has its outcome and note.
    """
    left = untouched(samples) & playable
    due = due_again_ns(schedule, samples, shift)
    known = left & (due < _NEVER)
    if not known.any():
        return None
    first = int(due[known].min())
    later_ns = begins_ns - first
    table = schedule.copy()
    table["due_ns"] = np.where(known, due + later_ns, -1)
    table["after_row"] = np.where(left & ~known, schedule["after_row"], -1)
    return Rest(table, shift + later_ns, first - shift)


def in_run_time(planned_ns: int, sittings: Sequence[SittingRecord]) -> int:
    """Where a planned moment came to lie in the run's time."""
    begun = [sitting for sitting in sittings if sitting.from_planned_ns <= planned_ns]
    if not begun:
        return planned_ns
    latest = max(begun, key=lambda sitting: sitting.from_planned_ns)
    return planned_ns + latest.shift_ns


def cut_spans(
    spans: Sequence[tuple[int, int]], sittings: Sequence[SittingRecord]
) -> list[tuple[int, int, int]]:
    """Planned stretches in the run's time, as (number, start, end): one that a break falls into
    becomes two.
    """
    cuts = [sitting.from_planned_ns for sitting in sittings[1:]]
    found = []
    for number, (start, end) in enumerate(spans):
        edges = [start, *(cut for cut in cuts if start < cut < end), end]
        for begin, stop in itertools.pairwise(edges):
            moved = in_run_time(begin, sittings) - begin
            found.append((number, begin + moved, stop + moved))
    return found


def gaps_ns(manifest: Manifest, until_ns: int | None) -> list[tuple[int, int]]:
    """Stretches of the run's time in which nothing was sent or seen though it was planned: between
    sittings, and from `until_ns`, where the record of a run that broke off ends, to the planned
    end.
    """
    gaps = []
    for one, two in itertools.pairwise(manifest.sittings):
        if one.until_ns is not None:
            gaps.append((one.until_ns, two.began_ns))
    ends = [lane.end_ns for lane in manifest.lanes if not lane.simulated]
    end_ns = max(ends, default=0)
    if until_ns is not None and until_ns < end_ns:
        gaps.append((until_ns, end_ns))
    return gaps
