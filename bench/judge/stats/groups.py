"""Rows that are counted together because they may depend on each other: blocks of equal time, and
sessions.

In: due times and flags a row, in order of time; the session of each row. Out: row indices that cut
the blocks, counts a block; sessions' codes, beginnings and number. Must stay true: pauses that no
block could hold count for no more than the longest phase that one can; parts without a row vanish;
each row lies in one block; a user of a closed loop is no session, and rows that are each one of
their own are none.

Source: methods 3.5.
"""

from __future__ import annotations

import numpy as np

from bench.record.samples import Bool, Columns, Int

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


#: Sessions of equal size below which nothing is said of rows that come in sessions.
LEAST_SESSIONS = 30


def sessions_of(columns: Columns, *, closed_loop: bool) -> Int | None:
    """The session of each row, a number of its own where it has none; None where no session has
    several rows, and where all rows bear one number, which is no number.
    """
    sessions = columns.schedule["session"].astype(np.int64)
    sessions = np.where(sessions < 0, -1 - np.arange(len(sessions)), sessions)
    if closed_loop or len(np.unique(sessions)) in (1, len(sessions)):
        return None
    return sessions


def worth_of(sessions: Int) -> float:
    """Sessions of equal size that rows are worth (Kish)."""
    sizes = np.unique(sessions, return_counts=True)[1].astype(np.float64)
    return len(sessions) ** 2 / float(sizes @ sizes)


def begun_ns(at_ns: Int, sessions: Int) -> Int:
    """When the session of each row began."""
    codes = np.unique(sessions, return_inverse=True)[1]
    began = np.full(int(codes.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(began, codes, at_ns)
    return np.asarray(began[codes], np.int64)


def in_order(at_ns: Int, sessions: Int | None) -> Int:
    """Place of each row's session in the order in which they began, from 0; a row without one is
    its own.
    """
    if sessions is None:
        return np.asarray(np.argsort(np.argsort(at_ns, kind="stable")), np.int64)
    codes = np.unique(sessions, return_inverse=True)[1]
    began = np.full(int(codes.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(began, codes, at_ns)
    order = np.argsort(began, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[codes], np.int64)
