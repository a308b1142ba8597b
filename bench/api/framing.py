"""How a body is cut into events, whatever they mean: not at all (one JSON body), or as server-sent
events.

In: body bytes, cut anywhere. Out: `Event`s. Must stay true: the same events at every split; what
is kept is bounded whatever the server sends; a framing knows no vendor.

Source: WHATWG HTML, 9.2.6 (event stream interpretation). `id`, `retry` and comments are dropped.
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


_BOM = b"\xef\xbb\xbf"
_SPACE = 0x20
_NO_EVENTS: list[Event] = []


#: How a stream may begin.
_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:")


def looks_like_events(begin: bytes) -> bool | None:
    """Whether a body begins as an event stream does; None as long as it may yet.

    False only for JSON and for HTML: any other line, above all a comment, may stand before an
    event.
    """
    text = begin.removeprefix(_BOM).lstrip(b" \t\r\n")
    if text.startswith(_BEGINNINGS):
        return True
    if text[:1] == b":":
        lines = text.replace(b"\r", b"\n").split(b"\n")
        return any(line.startswith(_BEGINNINGS) for line in lines) or None
    if text[:1] in (b"{", b"[", b"<"):
        return False
    return None


class EventStream:
    """Cuts one event stream."""

    __slots__ = ("_kept", "_skip_lf", "_started", "between_events", "line")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._skip_lf = self._started = False
        #: where a byte that is no line end may be put; empty where any byte may mean more
        self.line = bytearray()
        #: no byte of an unfinished event is kept, nor a line end that may have a second half
        self.between_events = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete. Raises MalformedAnswer for one above the bound."""
        if self.between_events:
            # One whole event of one line is what nearly every read brings.
            if (
                data.startswith(b"data:")
                and data.endswith(b"\n\n")
                and data.find(b"\n") == len(data) - 2
                and b"\r" not in data
            ):
                return [("", data[6:-2] if data[5] == _SPACE else data[5:-2])]
        elif (line := self.line) and (
            data > b"\r" if len(data) == 1 else b"\n" not in data and b"\r" not in data
        ):
            # More of a line: nothing to look at but how much is kept.
            line += data
            if len(line) <= MAX_EVENT_BYTES:
                return _NO_EVENTS
            data = b""
        return self._cut(data)

    def _cut(self, data: bytes) -> list[Event]:
        """Bytes cut anywhere: complete what was begun, keep what is incomplete."""
        if not self._started:
            data = bytes(self._kept) + data
            self._kept.clear()
            if len(data) < 3 and _BOM.startswith(data):
                self._kept += data
                return []
            self._started = True
            data = data.removeprefix(_BOM)
        if self._skip_lf or b"\r" in data:
            data = self._unify_line_ends(data)
        kept = self._kept
        # A blank line within these bytes, or half before them.
        if b"\n\n" in data or (data[:1] == b"\n" and kept[-1:] == b"\n"):
            parts = (bytes(kept) + data).split(b"\n\n")
            self._kept = kept = bytearray(parts.pop())
        else:
            kept += data
            parts = []
        if len(kept) > MAX_EVENT_BYTES:
            raise MalformedAnswer(f"one event above {MAX_EVENT_BYTES >> 20} MiB")
        self.between_events = not self._kept and not self._skip_lf
        self.line = bytearray() if self._skip_lf else self._kept
        events: list[Event] = []
        for part in parts:
            if part.startswith(b"data:") and b"\n" not in part:
                events.append(("", part[6:] if part.startswith(b"data: ") else part[5:]))
            elif (event := self._event(part)) is not None:
                events.append(event)
        return events

    def _unify_line_ends(self, data: bytes) -> bytes:
        """CR LF and lone CR become LF; a CR at the very end may have its LF still to come."""
        if self._skip_lf:
            data = data.removeprefix(b"\n")
        self._skip_lf = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def close(self) -> list[Event]:
        """A last event without its blank line."""
        tail = bytes(self._kept)
        self._kept.clear()
        event = self._event(tail)
        return [] if event is None else [event]

    def _event(self, lines: bytes) -> Event | None:
        """An event of any lines: its name, its data lines joined; None without data."""
        name, data = "", []
        for line in lines.split(b"\n"):
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif line == b"data":
                data.append(b"")
            elif line.startswith(b"event:"):
                name = line[6:].removeprefix(b" ").decode("utf-8", "replace")
            elif line == b"event":
                name = ""
        if data:
            return (name, b"\n".join(data))
        return None
