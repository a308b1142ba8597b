"""A cluster without an engine: every seat is an agent in this process, its shard a real process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from bench.load.cluster.agent import Agent
from bench.load.cluster.seat import SeatLost
from bench.load.shard import Vantage


class LocalSeat:
    """Calls the agent on a thread of its own, one call at a time, as an engine would."""

    def __init__(self, place: Vantage, node_id: str, agent: Agent):
        self.place, self.node_id, self.agent = place, node_id, agent
        self._thread = ThreadPoolExecutor(1)
        self.lost: str | None = None

    def ask(self, method: str, *args: Any) -> Future[Any]:
        """The agent's answer; of a lost seat, that it is lost."""
        return self._thread.submit(self._call, method, *args)

    def _call(self, method: str, *args: Any) -> Any:
        if self.lost is None:
            answer = getattr(self.agent, method)(*args)
        if self.lost is not None:
            raise SeatLost(self.lost)
        return answer

    def kill(self, why: str = "the node died") -> None:
        """What a power cut does: the sender and the agent are gone at once."""
        self.lost = why
        if self.agent.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.agent.pid, signal.SIGKILL)


class LocalCluster:
    """So many nodes; seats are dealt to them in turn."""

    def __init__(self, *places: Vantage, make_agent: Callable[[], Agent] = Agent):
        self.places, self._make_agent = places, make_agent
        self.given: list[LocalSeat] = []

    @property
    def nodes(self) -> int:
        """How many there are."""
        return len(self.places)

    def seats(self, count: int) -> list[LocalSeat]:
        """A seat each."""
        self.given = [
            LocalSeat(self.places[n % self.nodes], f"id-{n % self.nodes}", self._make_agent()) for n in range(count)
        ]
        return self.given

    def seat_on(self, node_id: str, place: Vantage) -> LocalSeat:
        """A further agent."""
        return LocalSeat(place, node_id, self._make_agent())

    def close(self) -> None:
        """Nothing is held."""
