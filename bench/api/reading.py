"""The reader of one answer: framing and meaning put together.

In: body bytes as they came, each with the stamp (ns) of the read that brought them. Out: an
`Answer`, filled. Must stay true: nothing is decoded before it is stamped; an event is stamped by
the bytes that completed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bench.api.answer import Answer, MalformedAnswer, Said
from bench.api.decoding import Unseparated
from bench.api.framing import Framing, WholeBody

#: The meaning of one event, by name and payload. May raise MalformedAnswer.
Read = Callable[[str, bytes], Said]
#: So much may come, blanks or half a word, before a body's label decides what it is.
_MOST_UNDECIDED_BYTES = 4096


class Reader(Protocol):
    """Reads one body into an `Answer`."""

    answer: Answer

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
            try:
                self.event(name, payload, self._fed_ns)
            except Unseparated:
                raise
            except MalformedAnswer:
                continue


class Sniffer:
    """Reads the beginning of a body, until it shows what it is, whatever its header calls it.

    A content type is a label: streams come as JSON, plain text or bytes, and errors as streams.
    """

    __slots__ = ("_begun_ns", "_choose", "_kept", "_labelled", "_looks")

    def __init__(
        self,
        labelled: bool,
        looks: Callable[[bytes, bool], bool | None],
        choose: Callable[[bool], Reader],
    ):
        """`labelled`: its header says that it is a stream; `looks`: what its first bytes show, None
        where they show nothing yet; `choose` is told once, and gives the reader of the rest.
        """
        self._labelled = labelled
        self._looks = looks
        self._choose = choose
        self._kept = b""
        self._begun_ns = -1

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""
        if not data:
            return
        if self._begun_ns < 0:
            self._begun_ns = stamp_ns
        self._kept += data
        streamed = self._looks(self._kept, self._labelled)
        if streamed is None and len(self._kept) < _MOST_UNDECIDED_BYTES:
            return
        self._decide(self._labelled if streamed is None else streamed, stamp_ns)

    def _decide(self, streamed: bool, stamp_ns: int) -> Reader:
        reader = self._choose(streamed)
        if self._kept:
            reader.answer.first_byte_ns = self._begun_ns
            reader.feed(self._kept, stamp_ns)
        return reader

    def close(self) -> None:
        """The body ended without a word. Raises MalformedAnswer or StreamError."""
        self._decide(self._labelled, self._begun_ns).close()


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
