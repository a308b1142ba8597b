"""The serving model: a discrete-event world without I/O and without a clock of its own.

In: requests and moments, in ns since the scenario began. Out: events passed to a sink, each with
the moment at which it was due; whether a key's rate limit lets a request pass. Must stay true: the
same seed, requests and moments give the same events (limits count in whole numbers for that);
nothing here knows whether time is real, so the live server and the virtual-time loop are the same
model.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

from bench.gateway.batching import BatchPool
from bench.gateway.jobs import Event, Job
from bench.gateway.keys import Allowance, TokenBuckets
from bench.gateway.pools import NEVER_NS, Action, Conditions, LawPool
from bench.gateway.scenarios import Change, Gateway, Model, Neighbours
from bench.units import S

#: Called with each event of a job that has an owner, and the moment at which it was due.
Sink = Callable[[Job, Event, int], None]


class World:
    """Pools, limits and one heap of everything that will happen."""

    def __init__(self, gateway: Gateway, seed: int, sink: Sink):
        self._gateway, self._sink, self._seed = gateway, sink, str(seed)
        #: True inside `advance`, which runs up to `until_ns`; an action may bring that nearer
        self.advancing = False
        self.until_ns = 0
        self._heap: list[tuple[int, int, Action, Any]] = []
        self._order = itertools.count()
        self._pools: dict[str, BatchPool | LawPool] = {}
        for pool in gateway.pool:
            if pool.batch:
                self._pools[pool.name] = BatchPool(pool, gateway.timeline, self._seed, self)
            else:
                self._pools[pool.name] = LawPool(pool, gateway.timeline, self._seed, self)
        distances = {region.name: region.distance for region in gateway.region}
        self._distance = {pool.name: distances.get(pool.region, 0) for pool in gateway.pool}
        #: the pools of each model, nearest first
        self._routes = {
            model.name: sorted(model.pool, key=self._distance.__getitem__)
            for model in gateway.model
        }
        self._limits = {
            model.name: TokenBuckets(model.rate_limit)
            for model in gateway.model
            if model.rate_limit
        }
        self._common = TokenBuckets(gateway.rate_limit) if gateway.rate_limit else None
        self._conditions = [pool.conditions for pool in self._pools.values()]
        self._begin_neighbours()

    def take(self, model: Model, key: str, now_ns: int) -> Allowance | None:
        """Ask the rate limit that holds for this model; None where there is none."""
        buckets = self._limits.get(model.name, self._common)
        if buckets is not None:
            return buckets.take(key, now_ns)
        return None

    def submit(self, job: Job, region: str | None = None, pool_name: str | None = None) -> None:
        """A request arrives at `job.arrived_ns`, not before any that was submitted earlier.

        What is due by then happens first. The sink may be called before this returns. With
        `region`, only pools of that region answer, where there are any; with `pool_name` that one.
        """
        if not self.advancing:
            self.advance(job.arrived_ns)
        name = pool_name or self._route(job.model, region, job.arrived_ns)
        pool = self._pools[name]
        job.pool = pool.file
        job.distance_ns = self._distance[name]
        pool.submit(job, job.arrived_ns)

    def _route(self, model: Model, region: str | None, now_ns: int) -> str:
        names = self._routes[model.name]
        if region is not None:
            names = [name for name in names if self._pools[name].file.region == region] or names
        after_ns = self._gateway.failover_after
        if after_ns is None or len(names) == 1:
            return names[0]
        for name in names:
            since_ns = self._pools[name].conditions.at(now_ns).outage_since_ns
            if since_ns is None or now_ns - since_ns < after_ns:
                return name
        return names[0]

    def cancel(self, job: Job, now_ns: int) -> None:
        """The client has gone: what was still due for the job will not happen."""
        if job.live:
            job.live = False
            self._pools[job.pool.name].cancel(job, now_ns)

    def change(self, change: Change, now_ns: int) -> None:
        """Add a change while the world runs; its `at` counts from `now_ns`."""
        moved = change.model_copy(update={"at": change.at + now_ns})
        for conditions in self._conditions:
            conditions.add(moved)

    def next_ns(self) -> int | None:
        """The moment of the next event, or None when nothing is due."""
        if self._heap:
            return self._heap[0][0]
        return None

    def advance(self, now_ns: int) -> None:
        """Let everything happen that is due by `now_ns`, in order."""
        heap = self._heap
        pop = heapq.heappop
        self.advancing = True
        self.until_ns = now_ns
        while heap and heap[0][0] <= self.until_ns:
            due_ns, _, action, subject = pop(heap)
            action(due_ns, subject)
        self.advancing = False

    def push(self, due_ns: int, action: Action, subject: Any) -> None:
        """Call `action(due_ns, subject)` when time has come to `due_ns`."""
        heapq.heappush(self._heap, (due_ns, next(self._order), action, subject))

    def notify(self, job: Job, event: Event, due_ns: int) -> None:
        """Pass an event to the sink, unless the job has no owner."""
        if job.owner is not None:
            self._sink(job, event, due_ns)

    def _begin_neighbours(self) -> None:
        for pool in self._gateway.pool:
            if pool.neighbours is not None:
                # a model of the neighbours' own, which no request can name
                model = Model(name="", pool=[pool.name])
                # conditions of their own, since they look ahead of the pool's
                conditions = Conditions(pool, self._gateway.timeline)
                self._conditions.append(conditions)
                traffic = Traffic(
                    pool.neighbours,
                    conditions,
                    f"{self._seed}/{pool.name}/neighbours",
                )
                self.push(traffic.next_ns(0), self._neighbour, (traffic, model))

    def _neighbour(self, due_ns: int, source: tuple[Traffic, Model]) -> None:
        traffic, model = source
        size = traffic.neighbours
        job = Job(model, size.prompt_tokens, size.output_tokens, due_ns, owner=None)
        pool = self._pools[model.pool[0]]
        job.pool = pool.file
        pool.submit(job, due_ns)
        self.push(traffic.next_ns(due_ns), self._neighbour, source)


class Traffic:
    """The neighbours' arrivals: a renewal process whose rate the timeline may multiply."""

    def __init__(self, neighbours: Neighbours, conditions: Conditions, seed: str):
        self.neighbours, self._conditions, self._rng = neighbours, conditions, Random(seed)

    def next_ns(self, now_ns: int) -> int:
        """The arrival after the one at `now_ns`.

        The gap is drawn at rate 1 and used up at whatever rate holds along the way.
        """
        shape = self.neighbours.burstiness
        rate = float(self.neighbours.rate) / S
        left = self._rng.gammavariate(shape, 1.0 / shape)
        while True:
            conditions = self._conditions.at(now_ns)
            pace = rate * conditions.neighbours
            due_ns = now_ns + int(left / pace) + 1 if pace else NEVER_NS
            if due_ns <= conditions.until_ns or conditions.until_ns >= NEVER_NS:
                return min(due_ns, NEVER_NS)
            left -= (conditions.until_ns - now_ns) * pace
            now_ns = conditions.until_ns
