"""The reader of one answer: framing and meaning put together.

In: body bytes as they came, each with the stamp (ns) of the read that brought them. Out: an
`Answer`, filled. Must stay true: nothing is decoded before it is stamped; an event is stamped by
the bytes that completed it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from bench.api.answer import Answer, MalformedAnswer, Said
from bench.api.framing import Framing, WholeBody

#: The meaning of one event, by name and payload. May raise MalformedAnswer.
Read = Callable[[str, bytes], Said]


class Reader(Protocol):
    """Reads one body into an `Answer`."""

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""

    def close(self) -> None:
        """The body ended. Raises MalformedAnswer or StreamError."""


class StreamReader:
    """Reads a stream, event by event."""

    __slots__ = ("_fed_ns", "_read", "answer", "frames")

    def __init__(self, answer: Answer, frames: Framing, read: Read):
        self.answer = answer
        self.frames = frames
        self._read = read
        self._fed_ns = -1

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""
        if not data:
            return
        if self.answer.first_byte_ns < 0:
            self.answer.first_byte_ns = stamp_ns
        self._fed_ns = stamp_ns
        for name, payload in self.frames.feed(data):
            self.event(name, payload, stamp_ns)

    def event(self, name: str, payload: bytes, stamp_ns: int) -> None:
        """One event is complete."""
        self.answer.add(self._read(name, payload), stamp_ns)

    def close(self) -> None:
        """The stream ended. Raises StreamError; one that was cut raises nothing, it is not
        `complete`.
        """
        for name, payload in self.frames.close():
            # Without its end it counts if it is whole, stamped by its last bytes.
            with suppress(MalformedAnswer):
                self.event(name, payload, self._fed_ns)


class PlainReader:
    """Reads a body that is one JSON answer."""

    __slots__ = ("_frames", "_read", "answer")

    def __init__(self, answer: Answer, read: Callable[[bytes], Said]):
        self.answer = answer
        self._read = read
        self._frames = WholeBody()

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer for too many."""
        if data:
            if self.answer.first_byte_ns < 0:
                self.answer.first_byte_ns = stamp_ns
            self._frames.feed(data)

    def close(self) -> None:
        """The body is whole. Raises MalformedAnswer for one that is no answer, StreamError for one
        that holds an error.
        """
        for _, body in self._frames.close():
            self.answer.add(self._read(body), None)
        self.answer.complete = True
