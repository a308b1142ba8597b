"""What the driver asks of an engine: a seat on a node for each shard, and a way to call the `Agent`
that sits there.

In: a number of seats. Out: seats. Must stay true: a call is sent once and never again; a seat that
is lost says so in each answer that it owes; where a shard sits is settled before the run and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from bench.load.shard import Place


class SeatLost(Exception):
    """The node, the agent or the way to it is gone; says how it was noticed."""


class Seat(Protocol):
    """A place for one shard."""

    @property
    def place(self) -> Place:
        """What the node is called in this run, and its region where it is labelled with one."""

    @property
    def node_id(self) -> str:
        """What the engine knows the node by."""

    def ask(self, method: str, *args: Any) -> Future[Any]:
        """Call a method of the `Agent`; the future raises SeatLost."""


class Engine(Protocol):
    """A cluster that somebody has started."""

    @property
    def nodes(self) -> int:
        """How many machines it has now."""

    def seats(self, count: int) -> Sequence[Seat]:
        """So many seats, a core each, spread over the nodes.

        Raises UserError where there are not so many.
        """

    def seat_on(self, node_id: str, place: Place) -> Seat:
        """One more agent on a node, without a core of its own.

        Its answers raise SeatLost where the node is gone.
        """

    def close(self) -> None:
        """Give the seats back."""
