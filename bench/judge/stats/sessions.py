"""Sessions: rows that belong together, and what they are worth.

In: a lane's rows, or the session of each row. Out: codes, beginnings, a number of sessions. Must
stay true: a user of a closed loop is no session, and rows that are each one of their own are none.
"""

from __future__ import annotations

import numpy as np

from bench.record.samples import Columns, Int

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
