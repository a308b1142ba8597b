"""A scenario being played: its world, its keys and tiers, its truth, and the moment it began.

In: requests in order of arrival, changes. Out: scenario time, events passed to those that own
them. Must stay true: scenario time begins with the first request.
"""

from __future__ import annotations

import json
from typing import TextIO

from bench.clock import monotonic_ns
from bench.errors import UserError
from bench.gateway.jobs import Event, Job
from bench.gateway.keys import KeyBook
from bench.gateway.scenarios import Change, Gateway, Scenario
from bench.gateway.serving import World
from bench.gateway.tiers import Downgrades
from bench.gateway.truth import TruthBook
from bench.gateway.wire import RequestError
from bench.units import S
from bench.userfile import parse_model


class Play:
    """One scenario being played: its world, its truth, and the moment it began."""

    def __init__(self, scenario: Scenario, log: TextIO | None):
        self.scenario = scenario
        self.world = World(scenario.gateway, scenario.seed, self._on_event)
        self.truth = TruthBook(scenario.name, log)
        self.keys = KeyBook(scenario.gateway.key_lifetime)
        self.tiers = Downgrades(scenario.gateway.downgrade, str(scenario.seed))
        #: tokens in a block of the prefix cache that a model's requests may meet
        self.prefix_block = _prefix_blocks(scenario.gateway)
        self.requests = self.under_way = 0
        #: the first request's moment: scenario time zero
        self.origin_ns: int | None = None

    def _on_event(self, job: Job, event: Event, due_ns: int) -> None:
        assert self.origin_ns is not None
        job.owner.happen(event, self.origin_ns + due_ns)

    def count(self, read_ns: int) -> tuple[int, int]:
        """The number of a request that has just been read, from 1, and its scenario time."""
        if self.origin_ns is None:
            self.origin_ns = read_ns
        self.requests += 1
        return self.requests, self.scenario_ns(read_ns)

    def scenario_ns(self, now_ns: int) -> int:
        """Monotonic ns as ns since the scenario began."""
        assert self.origin_ns is not None
        return now_ns - self.origin_ns

    def change(self, body: bytes) -> bytes:
        """Add a timeline entry, whose `at` counts from now. Raises RequestError."""
        try:
            change = parse_model(Change, json.loads(body), "change")
            self.scenario.gateway.check(change)
        except (ValueError, UserError) as error:
            raise RequestError(400, str(error)[:500]) from None
        if self.origin_ns is not None:
            now_ns = self.scenario_ns(monotonic_ns())
        else:
            now_ns = 0
        self.world.change(change, now_ns)
        return json.dumps(
            {"changed": self.scenario.name, "at_s": (now_ns + change.at) / S}
        ).encode()

    def advance(self, now_ns: int) -> None:
        """Run everything that is due by `now_ns`."""
        if self.origin_ns is not None:
            self.world.advance(now_ns - self.origin_ns)

    def due_ns(self) -> int | None:
        """When the next event is due, in monotonic ns."""
        due_ns = self.world.next_ns()
        if due_ns is None or self.origin_ns is None:
            return None
        return self.origin_ns + due_ns


def _prefix_blocks(gateway: Gateway) -> dict[str, int]:
    """Model -> tokens in a block of the first of its pools that has a prefix cache."""
    of_pool: dict[str, int] = {}
    for pool in gateway.pool:
        if pool.batch is not None and pool.batch.prefix_blocks:
            of_pool[pool.name] = pool.batch.prefix_block
    found: dict[str, int] = {}
    for model in gateway.model:
        for name in model.pool:
            if name in of_pool:
                found.setdefault(model.name, of_pool[name])
    return found
