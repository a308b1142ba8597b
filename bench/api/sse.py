"""Server-sent events: bytes cut anywhere -> (name, data) of each event.

In: body bytes as they came. Out: `Event`s. Must stay true: the same at every split of the bytes;
memory is bounded whatever the server sends; what the data means is not looked at.

Source: WHATWG HTML, 9.2.6 (event stream interpretation). `id`, `retry` and comments are dropped.
"""

from __future__ import annotations

from bench.api.answer import MalformedAnswer
from bench.api.framing import MAX_EVENT_BYTES, Event

_BOM = b"\xef\xbb\xbf"
_SPACE = 0x20


class EventStream:
    """Cuts one event stream."""

    __slots__ = ("_skip_lf", "_started", "_tail", "between_events")

    def __init__(self) -> None:
        self._tail = b""
        self._skip_lf = self._started = False
        #: no byte of an unfinished event is kept, nor a line end that may have a second half
        self.between_events = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete. Raises MalformedAnswer for one above the bound."""
        # One whole event of one line is what nearly every read brings.
        if (
            self.between_events
            and data.startswith(b"data:")
            and data.endswith(b"\n\n")
            and data.find(b"\n") == len(data) - 2
            and b"\r" not in data
        ):
            return [("", data[6:-2] if data[5] == _SPACE else data[5:-2])]
        return self._cut(data)

    def _cut(self, data: bytes) -> list[Event]:
        """Bytes cut anywhere: complete what was begun, keep what is incomplete."""
        if not self._started:
            data = self._tail + data
            if len(data) < 3 and _BOM.startswith(data):
                self._tail = data
                return []
            self._started = True
            self._tail = b""
            data = data.removeprefix(_BOM)
        if self._skip_lf or b"\r" in data:
            data = self._unify_line_ends(data)
        if self._tail:
            data = self._tail + data
        parts = data.split(b"\n\n")
        self._tail = parts.pop()
        if len(self._tail) > MAX_EVENT_BYTES:
            raise MalformedAnswer(f"one event above {MAX_EVENT_BYTES >> 20} MiB")
        self.between_events = not self._tail and not self._skip_lf
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
        if not self._tail:
            return []
        tail = self._tail
        self._tail = b""
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
