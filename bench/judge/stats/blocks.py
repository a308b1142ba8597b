"""A run cut into blocks of equal time, so that what depends on each other is counted together.

In: due times and flags a row, in order of time. Out: row indices that cut them, counts a block.
Must stay true: pauses that no block could hold count for no more than the longest phase that one
can; parts without a row vanish; each row lies in one block.

Source: methods 3.5.
"""

from __future__ import annotations

import numpy as np

from bench.record.samples import Bool, Int

#: Blocks of a run whose slow phases are short: a thirtieth each, the shortest that methods 3.5
#: allows, and enough of them to draw from.
BLOCKS = 30
#: A block is as long as this many slow phases of mean length.
PHASES_A_BLOCK = 5


def watched_ns(at_ns: Int) -> Int:
    """Due times after the first, with pauses cut down to the longest phase that blocks of run/30
    can hold.

    A clause on one phase of a profile, or a night without load, leaves holes that hold no
    evidence. The run's length is itself what is left without them, hence the rounds.
    """
    gaps = np.diff(at_ns)
    parts = PHASES_A_BLOCK * BLOCKS
    longest = max(int(at_ns[-1] - at_ns[0]) // parts, 1)
    if gaps.max(initial=0) <= longest:
        return np.asarray(at_ns - at_ns[0], np.int64)
    for _ in range(2):
        length = int(np.minimum(gaps, longest).sum())
        longest = max(length // parts, 1)
    watched = np.zeros(len(at_ns), np.int64)
    np.cumsum(np.minimum(gaps, longest), out=watched[1:])
    return watched


def equal_times(watched: Int, parts: int) -> Int:
    """Row indices that cut the watched time into equal parts; parts without a row vanish."""
    length = (int(watched[-1]) + 1) / parts
    first_rows = np.searchsorted(watched, np.arange(parts) * length)
    return np.unique(np.append(first_rows, len(watched)))


def count_within(flags: Bool, edges: Int) -> Int:
    return np.add.reduceat(flags, edges[:-1], dtype=np.int64)
