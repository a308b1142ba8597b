"""A part of a run: a share of the plan's rows that is started by itself, writes its rows and is
gathered.

There are four kinds, by where and when a part is started: a worker here, a sitting later, a shard
elsewhere, and a shard there, on a node of a cluster.

In: the schedule, a part's files. Out: masks, its rows as the run has them, the vendor's own names
of requests that failed or were slow. Must stay true: a part is whole sessions, and caps are divided
so that the parts add up to the plan's; what it took with it when it was lost is said in words of
its own; such names are bounded, however many parts there are. `gather` makes a run of parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.record.histogram import Histogram
from bench.record.pieces import (
    STRING_KINDS,
    PieceFiles,
    SealedFiles,
    Texts,
    by_row,
)
from bench.record.records.events import DrillEvent, LegChange
from bench.record.records.harness import Harness, State
from bench.record.records.manifest import ClockRecord, Manifest, PlaceRecord, StartRecord
from bench.record.records.served import LaneEvidence
from bench.record.samples import (
    ATTEMPT_STRINGS,
    LENGTHS,
    Bool,
    Int,
    Table,
)
from bench.record.sittings import UNDER_WAY

#: Kept a lane: failed requests of each cause, and slow ones.
FAILED_MOST, SLOW_MOST = 50, 50


def all_evidence(parts: Iterable[Sequence[LaneEvidence]]) -> list[LaneEvidence]:
    """What all parts kept, lane by lane."""
    by_lane: list[list[LaneEvidence]] = []
    for part in parts:
        by_lane += ([] for _ in range(len(part) - len(by_lane)))
        for kept, lane in zip(by_lane, part, strict=False):
            kept.append(lane)
    return [_together(kept) for kept in by_lane]


def _together(kept: Sequence[LaneEvidence]) -> LaneEvidence:
    causes = sorted({cause for each in kept for cause in each.failed})
    failed = {
        cause: sorted({pair for each in kept for pair in each.failed.get(cause, ())})[:FAILED_MOST]
        for cause in causes
    }
    slow = sorted({one for each in kept for one in each.slow}, reverse=True)[:SLOW_MOST]
    return LaneEvidence(
        requests_left=_least(each.requests_left for each in kept),
        tokens_left=_least(each.tokens_left for each in kept),
        failed=failed,
        slow=slow,
    )


def _least(counts: Iterable[int | None]) -> int | None:
    return min((count for count in counts if count is not None), default=None)


def renumbered(lanes: Sequence[LaneEvidence], rows: Int) -> list[LaneEvidence]:
    """Of a part that numbers its rows by itself, as the run does: `rows` are where they lie."""

    def moved(row: int) -> int:
        return int(rows[row])

    known = range(len(rows))
    return [
        lane.replace(
            failed={
                cause: [(moved(row), name) for row, name in pairs if row in known]
                for cause, pairs in lane.failed.items()
            },
            slow=[(took, moved(row), name) for took, row, name in lane.slow if row in known],
        )
        for lane in lanes
    ]


Kind = Literal["here", "later", "elsewhere", "there"]
#: Those that number their rows by themselves, in a folder of their own.
APART = ("elsewhere", "there")
_CALLED = {"here": "worker", "later": "sitting", "elsewhere": "shard", "there": "shard"}


@dataclasses.dataclass(frozen=True)
class Share:
    """Worker `worker` of `workers` in shard `shard` of `shards`, counted from 0; shards may differ
    in their workers.
    """

    worker: int = 0
    workers: int = 1
    shard: int = 0
    shards: int = 1

    @property
    def parts(self) -> int:
        """How many processes share the run, if all shards have as many workers as ours."""
        return self.workers * self.shards

    @property
    def _part(self) -> int:
        return self.shard + self.shards * self.worker

    def rows(self, schedule: Table) -> Bool:
        """Mask of the rows that are ours: every n-th session of each lane."""
        mask: Bool = schedule["session"] % self.parts == self._part
        return mask

    def cap(self, whole: int | None) -> int | None:
        """Our part of an in-flight cap; the parts add up to the whole, those of a shard's workers
        to the shard's.
        """
        return None if whole is None else whole // self.parts + (self._part < whole % self.parts)


ALONE = Share()


def rows_of_shards(table: Table, of: int) -> list[Int]:
    """The rows of each of `of` shards in their order, as `Share.rows` has them, by one sort instead
    of a look at every row for each.
    """
    shard = (table["session"] % of).astype(np.uint16 if of < 1 << 16 else np.uint32)
    rows = np.argsort(shard, kind="stable")
    return np.split(rows, np.searchsorted(shard[rows], np.arange(1, of)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a run, and what it left."""

    kind: Kind
    #: counted from 1; a worker from 0, as in its rows and the names of its files
    number: int
    #: how many of its kind there are
    of: int = 1
    #: its rows of the plan; None: known by its pieces alone
    share: Share | None = None
    #: where its rows stand; None: nothing of it is here
    files: PieceFiles | SealedFiles | None = None
    #: its own manifest, of a part that is a run by itself
    manifest: Manifest | None = None

    #: complete, or interrupted: by Ctrl-C, or by the death of a part that is a run by itself
    state: State = "complete"
    #: how far its record reaches (ns after its time zero); None: to its plan's end
    until_ns: int | None = None
    #: why its process or its node was lost
    lost: str | None = None

    #: its time zero after that of the run
    shift_ns: int = 0
    #: the number of its first worker among all
    first_worker: int = 0
    #: where it was sent from, and that machine's clock against the others'
    place: PlaceRecord | None = None
    clock: ClockRecord | None = None

    #: what its processes did
    harness: Harness = dataclasses.field(default_factory=Harness)
    #: drills, and changes of routes' breakers
    events: Sequence[DrillEvent] = ()
    leg_events: Sequence[LegChange] = ()
    #: between chunks of answers, by lane and phase, where no file of its own has them
    gaps: Sequence[Sequence[Histogram]] = ()

    #: of its rows that are on no record, those due by this moment had been begun: what is said of
    #: them; None: none had
    begun_until_ns: int | None = None
    begun_note: str = UNDER_WAY
    #: what is said of all others; None: nothing
    unsent_note: str | None = None

    @property
    def name(self) -> str:
        """`worker 3`, `shard 2 of 3`."""
        of = f" of {self.of}" if self.kind in APART else ""
        return f"{_CALLED[self.kind]} {self.number}{of}"

    @property
    def own(self) -> Manifest:
        """The manifest of a part that is a run by itself."""
        assert self.manifest is not None
        return self.manifest

    @property
    def folder(self) -> Path:
        """Its folder."""
        assert self.files is not None
        return self.files.folder

    @property
    def start(self) -> StartRecord:
        """Its time zero."""
        assert self.own.start is not None
        return self.own.start

    @property
    def whole_sha256(self) -> str | None:
        """Digest of the whole plan's table."""
        return None if self.own.shard is None else self.own.shard.whole_sha256

    @property
    def whole(self) -> bool:
        """Whether it came to its plan's end."""
        early = self.manifest is not None and self.manifest.ended_early
        return self.files is not None and self.state == "complete" and not early

    @property
    def dead_workers(self) -> list[int]:
        """Numbers of its processes that died, of all of its own."""
        return self.harness.dead_workers

    @property
    def workers(self) -> int:
        """How many processes it had; of one that was killed, as many as its rows tell of."""
        known = self.harness.workers
        if known is not None or not isinstance(self.files, SealedFiles):
            return known or 0
        return int(self.files.table["worker"].max(initial=0)) + 1

    @classmethod
    def of_pieces(cls, files: PieceFiles, share: Share | None = None, **facts: Any) -> Part:
        """A worker's, or what an earlier sitting had settled; `share` where it is known."""
        if files.worker is None:
            return cls(kind="later", number=files.sitting, files=files, **facts)
        workers = 1 if share is None else share.workers
        return cls(kind="here", number=files.worker, of=workers, share=share, files=files, **facts)

    @classmethod
    def of_sitting(cls, number: int, manifest: Manifest) -> Part:
        """An earlier sitting's and those before it: what the run's manifest says of them."""
        return cls(kind="later", number=number, **_facts(manifest))

    @classmethod
    def of_shard(
        cls, kind: Kind, number: int, of: int, manifest: Manifest | None = None, **facts: Any
    ) -> Part:
        """A shard's; `manifest` is that of its folder, where there is one."""
        share = Share(shard=number - 1, shards=of)
        if manifest is not None:
            facts = _facts(manifest) | {"manifest": manifest} | facts
        return cls(kind=kind, number=number, of=of, share=share, **facts)

    def put(self, samples: Table, mine: Int, before: int, texts: Texts) -> None:
        """Put its rows where they belong. `mine` is where those planned for it lie, of which
        `before` came earlier.
        """
        if self.files is None:
            return
        for rows, kept in self.files.samples(mine, before, len(samples)):
            moved = self._moved(kept, texts, STRING_KINDS)
            by_row(samples)[rows] = by_row(moved)

    def attempts(self, texts: Texts, schedule: Table | None) -> Iterator[Table]:
        """What its routes tried, as the run has it."""
        for kept in self.files.attempts() if self.files is not None else ():
            moved = self._moved(kept, texts, ATTEMPT_STRINGS)
            if isinstance(self.files, SealedFiles):
                assert self.share is not None
                assert schedule is not None
                moved["row"] = np.flatnonzero(self.share.rows(schedule))[moved["row"]]
            yield moved

    def evidence(self, schedule: Table | None) -> Sequence[LaneEvidence]:
        """What it kept for the vendors, as the run numbers its rows."""
        kept = self.files.evidence if self.files is not None else ()
        if kept and isinstance(self.files, SealedFiles):
            assert self.share is not None
            assert schedule is not None
            return renumbered(kept, np.flatnonzero(self.share.rows(schedule)))
        return kept

    def _moved(self, kept: Table, texts: Texts, kinds: Sequence[str]) -> Table:
        assert self.files is not None
        moved = texts.renumbered(kept, self.files.texts, kinds)
        if self.first_worker:
            moved["worker"][moved["worker"] >= 0] += self.first_worker
        for name in moved.dtype.names or () if self.shift_ns else ():
            if name.endswith("_ns") and name not in LENGTHS:
                moved[name][moved[name] >= 0] += self.shift_ns
        return moved


def _facts(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says of whose it is."""
    return {
        "harness": manifest.harness,
        "events": manifest.events,
        "leg_events": manifest.leg_events,
    }
