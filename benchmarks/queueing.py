"""Load processes as queues: when each request of a schedule leaves, if every event costs a worker
its measured time.

In: a schedule's due times and who plays each row, what an event costs, when answers come. Out: the
harness lag of each row, how busy the workers were. Must stay true: a worker does one thing at a
time, in the order in which things came to it; each row is sent once and each token read once; an
answer begins after its request has left, so what leaves late is also answered late; no clock, no
socket, no random number.

Time passes in windows no longer than the quickest first token. Whatever arrives in one was caused
before it, so a window's events are known when it begins and all workers go through theirs at once,
exactly (Lindley's recursion).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from bench.plan.schedule import Table
from bench.record.parts import Share
from bench.record.samples import Bool, Int

#: A window of a plan without answers.
_WINDOW_NS = 100_000_000


@dataclasses.dataclass(frozen=True)
class Chore:
    """What a worker does besides requests: so long, once in so long, each worker at a moment of its
    own.
    """

    every_ns: int
    cost_ns: int


@dataclasses.dataclass(frozen=True)
class Work:
    """What a worker's CPU takes for each event, in ns: a request's send, its first read, each
    further token's read.
    """

    send_ns: int
    first_ns: int = 0
    token_ns: int = 0
    #: reads of an answer, 0 to leave answers out; the first comes with the first token, the next
    #: each after a gap
    tokens: int = 0
    gap_ns: int = 0
    chores: tuple[Chore, ...] = ()

    @property
    def request_ns(self) -> int:
        """All that one request costs."""
        return self.send_ns + (
            self.first_ns + (self.tokens - 1) * self.token_ns if self.tokens else 0
        )

    @property
    def chores_share(self) -> float:
        """Of a worker's time, what its chores take."""
        return sum(chore.cost_ns / chore.every_ns for chore in self.chores)


@dataclasses.dataclass(frozen=True)
class Played:
    """What came of it."""

    #: from due to the end of the send's own work, by row
    lag_ns: Int
    #: the same without that work
    wait_ns: Int
    #: how often each row was sent, how many of its tokens were read
    sent: Int
    read: Int
    #: time spent on requests and chores, by worker
    busy_ns: Int
    #: when the last event ended
    end_ns: int


def owners(schedule: Table, workers: int) -> Int:
    """Who plays each row: worker k the rows of `Share` k of as many, asked about one session of
    each remainder.
    """
    first = np.zeros(workers, schedule.dtype)
    first["session"] = np.arange(workers)
    of = np.full(workers, -1, np.int64)
    for number in range(workers):
        mine = Share(shard=number, shards=workers).rows(first)
        assert (of[mine] == -1).all()
        of[mine] = number
    found: Int = of[schedule["session"] % workers]
    return found


def play(due_ns: Int, worker: Int, workers: int, ttft_ns: Int, work: Work) -> Played:
    """Send every row when it is due or its worker is free, and read its answer.

    `due_ns` is sorted, times are ns.
    """
    rows = len(due_ns)
    window = int(ttft_ns.min()) if work.tokens and rows else _WINDOW_NS
    assert window > 0
    lag, sent, read = (
        np.full(rows, -1, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
    )
    free, busy = np.zeros(workers, np.int64), np.zeros(workers, np.int64)
    #: tokens on their way: when they arrive, of which row, whether they are an answer's first
    coming: tuple[Int, Int, Bool] = (
        np.empty(0, np.int64),
        np.empty(0, np.int64),
        np.empty(0, bool),
    )
    start, done = 0, 0
    while done < rows or len(coming[0]):
        until = start + window
        upto = int(np.searchsorted(due_ns, until))
        sends = np.arange(done, upto)
        now = coming[0] < until
        arrived, row, first = (part[now] for part in coming)
        later = [tuple(part[~now] for part in coming)]
        chores = list(_chores(work.chores, workers, start, until)) if done < rows else []
        at = np.concatenate([due_ns[sends], arrived, *(when for when, _, _ in chores)])
        who = np.concatenate([worker[sends], worker[row], *(whose for _, whose, _ in chores)])
        cost = np.concatenate(
            [
                np.full(len(sends), work.send_ns),
                np.where(first, work.first_ns, work.token_ns),
                *(took for _, _, took in chores),
            ]
        )
        ends = _served(at, who, cost, free, start, window)
        busy += np.bincount(who, weights=cost, minlength=workers).astype(np.int64)
        left = ends[: len(sends)]
        lag[sends] = left - due_ns[sends]
        sent[sends] += 1
        np.add.at(read, row, 1)
        if work.tokens:
            later.append(_answers(left, sends, ttft_ns, work))
        coming = tuple(np.concatenate(parts) for parts in zip(*later, strict=True))  # type: ignore[assignment]
        start, done = until, upto
    return Played(lag, lag - work.send_ns, sent, read, busy, int(free.max(initial=0)))


def _answers(left: Int, sends: Int, ttft_ns: Int, work: Work) -> tuple[Int, Int, Bool]:
    """The tokens that requests which left at `left` will bring."""
    steps = np.arange(work.tokens) * work.gap_ns
    at = ((left + ttft_ns[sends])[:, None] + steps).reshape(-1)
    return at, np.repeat(sends, work.tokens), np.tile(np.arange(work.tokens) == 0, len(sends))


def _chores(
    chores: Sequence[Chore], workers: int, start: int, until: int
) -> Iterator[tuple[Int, Int, Int]]:
    """Chores due in a window: when, whose, how long.

    Workers are spread evenly over the time between two.
    """
    for chore in chores:
        offset = np.arange(workers) * chore.every_ns // workers
        first = -(-(start - offset) // chore.every_ns)
        times = -(-(until - offset) // chore.every_ns) - first
        whose = np.repeat(np.arange(workers), times)
        nth = np.arange(len(whose)) - np.repeat(np.cumsum(times) - times, times)
        yield (
            offset[whose] + (first[whose] + nth) * chore.every_ns,
            whose,
            np.full(len(whose), chore.cost_ns),
        )


def _served(at: Int, who: Int, cost: Int, free: Int, start: int, window: int) -> Int:
    """When each event ends, each worker taking its own in order of arrival; `free` is moved on to
    when each is idle.

    start[i] = before[i] + max over j <= i of (arrival[j] - before[j]), `before` being the work
    ahead of an event. The running maximum of all workers at once keeps them apart by an offset that
    no time comes near.
    """
    if not len(at):
        return np.empty(0, np.int64)
    order = np.argsort(who * np.int64(window) + (at - start), kind="stable")
    mine, took = who[order], cost[order]
    before = np.cumsum(took) - took
    heads = np.flatnonzero(np.diff(mine, prepend=-1))
    slack = at[order] - start - before
    slack[heads] = np.maximum(slack[heads], free[mine[heads]] - start - before[heads])
    apart = mine * np.int64(slack.max() - slack.min() + 1)
    ends = np.maximum.accumulate(slack + apart) - apart + before + took + start
    free[mine[heads]] = ends[np.append(heads[1:], len(ends)) - 1]
    found: npt.NDArray[np.int64] = np.empty_like(ends)
    found[order] = ends
    return found
