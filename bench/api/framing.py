"""How a body is cut into events, whatever they mean; here: not at all, one JSON body.

In: body bytes, cut anywhere. Out: `Event`s. Must stay true: the same events at every split; what
is kept is bounded whatever the server sends; a framing knows no vendor.
"""

from __future__ import annotations

from typing import Protocol

from bench.api.answer import MalformedAnswer

#: One event, or a whole plain body, may hold this much; more is malformed.
MAX_EVENT_BYTES = 4 << 20
MAX_PLAIN_BYTES = 16 << 20
#: (name, payload): the name as the framing carries it (`event:` of SSE, `:event-type` or
#: `:exception-type` of AWS), empty where it has none.
Event = tuple[str, bytes]


class Framing(Protocol):
    """Cuts one body."""

    #: no byte of an unfinished event is kept
    between_events: bool

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete. Raises MalformedAnswer."""

    def close(self) -> list[Event]:
        """The body ended: what is left, where that can be an event."""


class WholeBody:
    """A body that is one event, complete when the body is."""

    __slots__ = ("_kept", "between_events")

    def __init__(self) -> None:
        self._kept = bytearray()
        self.between_events = False

    def feed(self, data: bytes) -> list[Event]:
        """Nothing yet. Raises MalformedAnswer for a body above the bound."""
        self._kept += data
        if len(self._kept) > MAX_PLAIN_BYTES:
            raise MalformedAnswer(f"plain answer above {MAX_PLAIN_BYTES >> 20} MiB")
        return []

    def close(self) -> list[Event]:
        """The body, empty or not."""
        return [("", bytes(self._kept))]
