"""A part of a run: a worker, a shard, a node's shard or a sitting. Which rows are its own, and what
is said of those that it took with it.

In: the schedule, the samples that came back. Out: masks; samples without a hole. Must stay true: a
part is whole sessions, and caps are divided so that the parts add up to the plan's; a row that may
have been begun is cut off, any other is never sent; both say why, whichever kind of part was lost.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bench.record.pieces import settle
from bench.record.samples import Bool, Int, Outcome, Table
from bench.record.sittings import due_again_ns


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


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Rows put back where the schedule has them, with the texts that they number."""

    schedule: Table
    samples: Table
    strings: dict[str, list[str]]

    def cut_off(self, rows: Bool, why: str, shift_ns: int = 0) -> None:
        """Rows that may have been under way when their part was lost: due when they were, in a
        sitting that is so much later than planned.
        """
        due_ns = due_again_ns(self.schedule, self.samples, shift_ns)[rows]
        settle(self.samples, self.strings, rows, Outcome.censored, why)
        self.samples["due_ns"][rows] = due_ns

    def never_sent(self, rows: Bool, why: str) -> None:
        """Rows that their part had not begun: due when they were planned, where that is known."""
        settle(self.samples, self.strings, rows, Outcome.never_sent, why)
        unknown = rows & (self.samples["due_ns"] < 0)
        self.samples["due_ns"][unknown] = _planned_ns(self.schedule)[unknown]


def _planned_ns(schedule: Table) -> Int:
    due_ns: Int = schedule["due_ns"].astype(np.int64)
    return due_ns
