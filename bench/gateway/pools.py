"""Pools whose times are drawn from a law, with slots, a queue, and slots that start cold.

In: jobs and moments. Out: moments written into the jobs, and events through the world. Must
stay true: a slot is given back exactly once for each time it was taken; waiting jobs are served by
priority, then in order of arrival.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from bench.gateway.jobs import INSTEAD, SLOW_TAIL, Event, Job
from bench.gateway.laws import Sampler, sampler
from bench.gateway.scenarios import Change, FaultKind, Pool

NEVER_NS = 1 << 62
Action = Callable[[int, Any], None]


class Surroundings(Protocol):
    """What a pool needs of the world."""

    def push(self, due_ns: int, action: Action, subject: Any) -> None:
        """Call `action(due_ns, subject)` when time has come to `due_ns`."""

    def notify(self, job: Job, event: Event, due_ns: int) -> None:
        """Pass an event of the job to its owner, now."""


class Conditions:
    """What holds for one pool at a moment: its own law and the changes that are on."""

    def __init__(self, pool: Pool, changes: list[Change]):
        self._pool = pool
        self._changes = [change for change in changes if change.covers(pool)]
        self.until_ns = -1
        self.faults: list[tuple[FaultKind, float]] = []
        self.slowdown = self.neighbours = 1.0
        #: when the outage that is on began; None without one
        self.outage_since_ns: int | None = None
        self.e2e: Sampler | None = None
        self.ttft: Sampler | None = None
        self.gap: Sampler | None = None

    def at(self, now_ns: int) -> Conditions:
        """Bring everything up to `now_ns`, which never goes back."""
        if now_ns >= self.until_ns:
            self._refresh(now_ns)
        return self

    def add(self, change: Change) -> None:
        """One more change, from now on."""
        if change.covers(self._pool):
            self._changes.append(change)
            self.until_ns = -1

    def _refresh(self, now_ns: int) -> None:
        edges = (change.next_edge_ns(now_ns) for change in self._changes)
        self.until_ns = min((edge for edge in edges if edge is not None), default=NEVER_NS)
        on = [change for change in self._changes if change.holds(now_ns)]
        e2e = self._pool.e2e
        ttft = self._pool.ttft
        gap = self._pool.gap
        self.slowdown = self.neighbours = 1.0
        for change in on:
            if change.e2e is not None or change.ttft is not None:
                e2e = change.e2e
                ttft = change.ttft
            gap = change.gap if change.gap is not None else gap
            self.slowdown *= float(change.slowdown)
            self.neighbours *= float(change.neighbours)
        self.faults = [
            (change.fault, float(change.share)) for change in on if change.fault is not None
        ]
        self.outage_since_ns = min(
            (now_ns - change.since_ns(now_ns) for change in on if change.outage), default=None
        )
        self.e2e = sampler(e2e, self.slowdown) if e2e else None
        self.ttft = sampler(ttft, self.slowdown) if ttft else None
        self.gap = sampler(gap, self.slowdown) if gap else None


class Queue:
    """Waiting jobs, by priority, then by arrival. Those given up are skipped."""

    def __init__(self, limit: int | None):
        self._limit, self._order = limit, itertools.count()
        self._heap: list[tuple[int, int, Job]] = []
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def put(self, job: Job) -> bool:
        """False when the queue is full."""
        if self._limit is not None and self._waiting >= self._limit:
            return False
        self._waiting += 1
        job.queued = True
        heapq.heappush(self._heap, (-job.model.priority, next(self._order), job))
        return True

    def give_up(self, job: Job) -> None:
        """Take a job that is no longer wanted out of the count."""
        if job.queued:
            job.queued = False
            self._waiting -= 1

    def head(self) -> Job | None:
        """The next job; None when none waits."""
        while self._heap and not self._heap[0][2].live:
            heapq.heappop(self._heap)
        if self._heap:
            return self._heap[0][2]
        return None

    def pop(self) -> Job | None:
        """Remove and return the next job; None when none waits."""
        job = self.head()
        if job is not None:
            self._waiting -= 1
            job.queued = False
            heapq.heappop(self._heap)
        return job


def strike(job: Job, conditions: Conditions, rng: Random) -> bool:
    """Draw the faults that hold; True when one of them comes in place of the answer."""
    if conditions.outage_since_ns is not None:
        job.strike("http_503")
    else:
        for kind, share in conditions.faults:
            if rng.random() < share:
                job.strike(kind)
    return job.fault in INSTEAD


class LawPool:
    """A pool with drawn times."""

    def __init__(
        self,
        pool: Pool,
        changes: list[Change],
        seed: str,
        world: Surroundings,
    ):
        self.file = pool
        self.conditions = Conditions(pool, changes)
        self._world = world
        self._rng = Random(f"{seed}/{pool.name}")
        self._fault_rng = Random(f"{seed}/{pool.name}/faults")
        self.queue = Queue(pool.queue_limit)
        if pool.warm is not None:
            self._warm = pool.warm
        else:
            self._warm = pool.slots or 0
        self._cold_start = sampler(pool.cold_start) if pool.cold_start else None
        self._cold_share = float(pool.cold_share or 0)
        #: moments since which free slots are free; the last freed is used first
        self._idle = [0] * self._warm
        self._up = self._warm
        self._starting = 0

    def submit(self, job: Job, now_ns: int) -> None:
        """A job arrives: it begins, waits, or fails."""
        if strike(job, self.conditions.at(now_ns), self._fault_rng):
            self._refuse(job, now_ns)
        elif self.file.slots is None:
            self._begin(job, now_ns)
        elif self._idle:
            self._idle.pop()
            self._begin(job, now_ns)
        elif self.queue.put(job):
            self._start_slot(now_ns)
        else:
            job.strike("http_503")
            self._refuse(job, now_ns)

    def cancel(self, job: Job, now_ns: int) -> None:
        """The job, still unfinished, is no longer wanted: its slot is free at once."""
        self.queue.give_up(job)
        self._release(job, now_ns)

    def _refuse(self, job: Job, now_ns: int) -> None:
        self._world.push(now_ns + job.distance_ns, self._send_fault, job)

    def _send_fault(self, due_ns: int, job: Job) -> None:
        if job.live:
            job.live = False
            self._world.notify(job, Event.FAULT, due_ns)

    def _send_start(self, due_ns: int, job: Job) -> None:
        if job.live:
            self._world.notify(job, Event.START, due_ns)

    def _start_slot(self, now_ns: int) -> None:
        """Start one more slot, unless enough are starting for all that wait."""
        if (
            self._cold_start is not None
            and self._up + self._starting < (self.file.slots or 0)
            and self._starting < len(self.queue)
        ):
            self._starting += 1
            self._world.push(now_ns + self._cold_start(self._rng), self._slot_up, None)

    def _slot_up(self, due_ns: int, _: None) -> None:
        self._starting -= 1
        self._up += 1
        waiting = self.queue.head()
        if waiting is not None:
            waiting.cold = True
        self._slot_free(due_ns)

    def _slot_free(self, now_ns: int) -> None:
        job = self.queue.pop()
        if job is not None:
            self._begin(job, now_ns)
            return
        self._idle.append(now_ns)
        if self._up > self._warm:
            self._world.push(now_ns + self.file.keep_alive, self._slot_idle, None)

    def _slot_idle(self, due_ns: int, _: None) -> None:
        """Stop the slot that has been free longest, if that is long enough."""
        if self._up > self._warm and self._idle and self._idle[0] + self.file.keep_alive <= due_ns:
            self._idle.pop(0)
            self._up -= 1

    def _begin(self, job: Job, now_ns: int) -> None:
        law = self.conditions.at(now_ns)
        rng = self._rng
        first = self.file.prefill_per_token * job.prompt_tokens
        if self._cold_share and rng.random() < self._cold_share:
            assert self._cold_start is not None
            job.cold = True
            first += self._cold_start(rng)
        until_first, rest = self._answer_ns(law, job.output_tokens)
        first += until_first
        if job.fault == "slow_tail":
            rest *= SLOW_TAIL
        job.start_ns = now_ns
        job.held = self.file.slots is not None
        job.first_ns = now_ns + first + job.distance_ns
        job.last_ns = job.first_ns + rest
        world = self._world
        if job.stream:
            world.push(now_ns + job.distance_ns, self._send_start, job)
            world.push(job.first_ns, self._emit, job)
        elif not job.cut_short:
            world.push(job.last_ns, self._emit, job)
        else:
            job.emitted = job.fault_at
            world.push(job.token_ns(job.fault_at), self._emit, job)
        if job.held and job.distance_ns:
            if job.cut_short:
                end_ns = job.token_ns(job.fault_at)
            else:
                end_ns = job.last_ns
            world.push(end_ns - job.distance_ns, self._served, job)

    def _answer_ns(self, law: Conditions, tokens: int) -> tuple[int, int]:
        """Time to the first token and from it to the last, drawn from what holds now."""
        if law.e2e is None:
            assert law.ttft is not None
            until_first = law.ttft(self._rng)
            if law.gap is None:
                return until_first, 0
            return until_first, law.gap(self._rng) * (tokens - 1)
        whole = law.e2e(self._rng)
        if tokens == 1:
            return whole, 0
        until_first = int(whole * self.file.first_at)
        return until_first, whole - until_first

    def _emit(self, due_ns: int, job: Job) -> None:
        if not job.live:
            return
        if job.emitted == job.fault_at and (job.stream or job.cut_short):
            if job.fault == "garbage":
                self._world.notify(job, Event.FAULT, due_ns)
            elif job.fault == "stall":
                # nothing more, and the slot stays taken until the client gives up
                self._world.notify(job, Event.FAULT, due_ns)
                return
            else:
                self._end(job, Event.FAULT, due_ns)
                return
        if not job.stream or job.emitted + 1 == job.output_tokens:
            job.emitted = job.output_tokens
            self._end(job, Event.LAST, due_ns)
            return
        job.emitted += 1
        self._world.push(job.token_ns(job.emitted), self._emit, job)
        self._world.notify(job, Event.TOKEN, due_ns)

    def _end(self, job: Job, event: Event, due_ns: int) -> None:
        job.live = False
        self._world.notify(job, event, due_ns)
        if not job.distance_ns:
            self._release(job, due_ns)

    def _served(self, due_ns: int, job: Job) -> None:
        """The pool is done with a job whose answer is still on its way to a distant client."""
        if job.fault != "stall" or not job.live:
            self._release(job, due_ns)

    def _release(self, job: Job, now_ns: int) -> None:
        if job.held:
            job.held = False
            self._slot_free(now_ns)
