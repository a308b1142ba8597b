"""One run of its parts: what workers, sittings, shards and a cluster's nodes left, put together.

In: parts, the schedule. Out: the run's samples, attempts, harness record and events. Must stay
true: a row that may have been begun is cut off, any other is never sent; both say why, whichever
kind of part was lost; of many shards so many rows at a time are in memory as are asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np

from bench.record.histogram import Histogram
from bench.record.parts import APART, Part, all_evidence, rows_of_shards
from bench.record.pieces import SealedFiles, Strings, Texts, settle, writers_in
from bench.record.records.calibration import CeilingShare
from bench.record.records.events import LegChange
from bench.record.records.harness import Harness, HarnessShards, ProcessRecord, State
from bench.record.records.record import Json
from bench.record.records.served import LaneEvidence
from bench.record.samples import (
    SAMPLE_DTYPE,
    SCHEDULE_DTYPE,
    Int,
    Outcome,
    Table,
    empty_attempts,
    empty_samples,
    in_order,
)
from bench.record.sittings import UNDER_WAY, due_again_ns


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Rows put back where the schedule has them, with the texts that they number."""

    schedule: Table
    samples: Table
    strings: Strings

    def account_for(
        self,
        mine: Int,
        *,
        begun_until_ns: int | None,
        begun_note: str = UNDER_WAY,
        unsent_note: str | None = None,
        shift_ns: int = 0,
    ) -> None:
        """Say of the rows `mine` what became of those on no record. Of a part that died at work
        (`begun_until_ns`): begun, where they were due by that moment, in a sitting that is
        `shift_ns` later than planned. Any other was never sent; `unsent_note` None: nothing is said
        of it.
        """
        samples, never_sent = self.samples, Outcome.never_sent
        gone = mine[(samples["outcome"][mine] == never_sent) & (samples["note"][mine] < 0)]
        if begun_until_ns is not None:
            gone = gone[samples["due_ns"][gone] < 0]
            due_ns = due_again_ns(self.schedule, samples, shift_ns)[gone]
            begun = due_ns <= begun_until_ns
            settle(samples, self.strings, gone[begun], Outcome.censored, begun_note)
            samples["due_ns"][gone[begun]] = due_ns[begun]
            gone = gone[~begun]
        if unsent_note is not None:
            settle(samples, self.strings, gone, never_sent, unsent_note)
            unknown = gone[samples["due_ns"][gone] < 0]
            samples["due_ns"][unknown] = self.schedule["due_ns"][unknown]


def gather(
    parts: Sequence[Part], schedule: Table, texts: Texts, at_once: int | None = None
) -> Iterator[Table]:
    """The samples of all parts in the schedule's order, so many rows at once (None: all).

    Raises RunFolderError naming a piece that cannot be read.
    """
    before = [0] * len(parts)
    step = max(len(schedule) if at_once is None else at_once, 1)
    sealed = [part for part in parts if isinstance(part.files, SealedFiles)]
    # Whole tables of all shards leave no row out.
    whole_tables = bool(sealed) and len(sealed) == sealed[0].of
    for start in range(0, max(len(schedule), 1), step):
        planned = schedule[start : start + step]
        count = len(planned)
        samples = np.empty(count, SAMPLE_DTYPE) if whole_tables else empty_samples(count)
        planned_for = _planned_for(parts, planned)
        for index, (part, mine) in enumerate(zip(parts, planned_for, strict=True)):
            part.put(samples, mine, before[index], texts)
            before[index] += len(mine)
        gathered = Gathered(planned, samples, texts.lists)
        for part, mine in zip(parts, planned_for, strict=True):
            if part.unsent_note is not None:
                gathered.account_for(
                    mine,
                    begun_until_ns=part.begun_until_ns,
                    begun_note=part.begun_note,
                    unsent_note=part.unsent_note,
                )
        yield samples


def _planned_for(parts: Sequence[Part], planned: Table) -> list[Int]:
    """Where the rows of each part lie among these; nowhere, where its pieces say all there is."""
    shards = {part.of for part in parts if part.kind in APART}
    (of,) = shards or {1}
    by_shard = rows_of_shards(planned, of) if shards else []
    found = []
    for part in parts:
        if part.kind in APART:
            found.append(by_shard[part.number - 1])
        elif part.unsent_note is not None and part.share is not None:
            found.append(np.flatnonzero(part.share.rows(planned)))
        else:
            found.append(np.empty(0, np.int64))
    return found


def gather_attempts(parts: Iterable[Part], texts: Texts, schedule: Table | None = None) -> Table:
    """What the routes of all parts tried, numbered by `texts`, which are those of `gather`; texts
    that attempts alone hold are added to them. Parts that number rows by themselves need the run's
    `schedule`.
    """
    tried = [table for part in parts for table in part.attempts(texts, schedule)]
    return in_order(np.concatenate([empty_attempts(), *tried]))


class OfAll(TypedDict, total=False):
    """What is known of the processes of a run together."""

    state: State
    workers: int
    dead_workers: list[int]
    calibration: CeilingShare | None
    shards: HarnessShards


def harness_of(by_worker: Sequence[ProcessRecord], **of_all: Unpack[OfAll]) -> Harness:
    """What several processes did: the worst of each number, the first of what must be equal."""
    worst: Json = {}
    for process in by_worker:
        for name, value in process.to_json().items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if name not in worst or (is_number and abs(value) > abs(worst[name] or 0)):
                worst[name] = value
    return Harness(**{**worst, **of_all, "by_worker": list(by_worker)})


def gather_evidence(parts: Iterable[Part], schedule: Table | None = None) -> list[LaneEvidence]:
    """What all parts kept for the vendors, by lane; `schedule` as for `gather_attempts`."""
    return all_evidence(part.evidence(schedule) for part in parts)


def gather_harness(parts: Iterable[Part], **of_all: Unpack[OfAll]) -> Harness:
    """What the processes of all parts did."""
    parts = list(parts)
    of_all["dead_workers"] = [
        part.first_worker + dead for part in parts for dead in part.dead_workers
    ]
    return harness_of([process for part in parts for process in part.harness.by_worker], **of_all)


def gather_leg_events(parts: Iterable[Part]) -> list[LegChange]:
    """Changes of the breakers of all parts' routes, in the order of the run's time."""
    events = [
        event.replace(
            at_ns=event.at_ns + part.shift_ns,
            worker=event.worker + part.first_worker,
        )
        for part in parts
        for event in part.leg_events
    ]
    return sorted(events, key=lambda event: event.at_ns)


def gather_gaps(parts: Iterable[Part], phases: Sequence[int]) -> list[list[Histogram]]:
    """The gaps between chunks of all parts, of lanes with so many phases."""
    total = [[Histogram() for _ in range(count)] for count in phases]
    for part in parts:
        for lane, theirs in zip(total, part.gaps, strict=False):
            for histogram, more in zip(lane, theirs, strict=True):
                histogram.add(more)
    return total


# ---- parts that share one folder


def parts_in(folder: Path) -> list[Part]:
    """The workers, of all sittings, that sealed pieces in a run's folder."""
    return [Part.of_pieces(files) for files in writers_in(folder)]


def gather_pieces(folder: Path, rows: int) -> tuple[Table, Strings]:
    """(samples, texts) of all pieces in a folder, in one table of `rows`; what has none never
    began.
    """
    texts = Texts()
    (samples,) = gather(parts_in(folder), np.zeros(rows, SCHEDULE_DTYPE), texts)
    return samples, texts.lists
