"""One endpoint of a lane: its bodies, its sender, its pool of connections.

In: a flight that is due. Out: its request on the wire. Must stay true: what connecting takes is
the network's, so it moves `slot_free`; a server that refuses an option it does not know gets the
row once more without it, at most twice.
"""

from __future__ import annotations

from typing import Protocol

from bench.load.flight import Flight
from bench.load.request import BodyWriter
from bench.load.transport.sender import Sender
from bench.record.samples import Flag


class Outlet(Protocol):
    """Where a lane's rows go: an endpoint, or a route over several."""

    def send(self, flight: Flight, request_id: str) -> None:
        """Begin; the flight hears what comes of it."""

    def send_again(self, flight: Flight, note: str, now_ns: int, request_id: str) -> bool:
        """True when a flight that ended as http_4xx was sent once more instead, without an option
        that was refused.
        """

    async def close(self) -> None:
        """Close every connection."""

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""


class Endpoint:
    """Sends the flights of one target."""

    __slots__ = ("sender", "writer")

    def __init__(self, sender: Sender, writer: BodyWriter):
        self.sender, self.writer = sender, writer

    def send(self, flight: Flight, request_id: str) -> None:
        """Begin; the flight hears what comes of it."""
        counted = max(flight.connect_ns, 0) + max(flight.tls_ns, 0)

        def carried(carrier: object) -> bool:
            """The connection is there; the time it took to open is the network's, not ours."""
            if flight.ended:
                return False
            flight.carrier = carrier  # type: ignore[assignment]
            nonlocal counted
            connecting = max(flight.connect_ns, 0) + max(flight.tls_ns, 0)
            flight.slot_free_ns += connecting - counted
            counted = connecting
            return True

        flight.body_version = self.writer.version
        self.sender.start(self.writer.body(flight.row), request_id, flight, carried)

    def send_again(self, flight: Flight, note: str, now_ns: int, request_id: str) -> bool:
        """One row, two attempts, both counted: the refused one was the server's doing, not our
        lateness.
        """
        if flight.status not in (400, 422) or flight.attempts > 2:
            return False
        if not self.writer.drop_refused(note, flight.body_version):
            return False
        flight.begin_again(now_ns)
        flight.flags |= Flag.OPTION_DROPPED
        self.send(flight, request_id)
        return True

    async def close(self) -> None:
        """Close every connection."""
        await self.sender.close()

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""
        return self.sender.facts()
