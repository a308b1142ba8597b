"""A reader that counts most token events without decoding them.

In: bytes of a stream of server-sent events, with stamps; from an API, how its token events look.
Out: the same `Answer` that decoding every event gives, at every split of the bytes. Must stay true:
an event is counted undecoded only where it differs from one that was looked at in its text alone,
or where the API says for certain what it holds.

The first token and the first one that is seen are always decoded. After them only the number of
tokens counts, and the events of one answer mostly differ in their text alone: what stands before
and after it is learned from one that was looked at and compared with those that follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench.api.answer import Answer
from bench.api.framing import Framing
from bench.api.reading import Read, StreamReader

#: Stands for a shape that was not learned yet; no answer's text begins with this byte.
_NO_SHAPE = b"\xff"
_MOST_LESSONS = 16


class Look(NamedTuple):
    """How the token events of an API look, undecoded."""

    #: True: it holds nothing but tokens, some of them seen; False: nothing but tokens of reasoning;
    #: None: decode it
    glance: Callable[[bytes], bool | None]
    #: where a text begins and ends that makes an event seen, or reasoning: any other text in its
    #: place, but none, would make it the same. None where that is not plain
    text_at: Callable[[bytes, bool], tuple[int, int] | None]


#: Called for most reads that are not counted at once: by name, for `super()` costs a tenth of one.
_feed = StreamReader.feed


class QuickReader(StreamReader):
    """Reads a stream, event by event, most of them by their shape."""

    __slots__ = (
        "_after",
        "_bare",
        "_before",
        "_lessons",
        "_look",
        "_read_after",
        "_read_before",
        "_read_shape_known",
        "_visible",
    )

    def __init__(self, answer: Answer, frames: Framing, read: Read, look: Look):
        self.answer = answer
        self.frames = frames
        self._read = read
        self._fed_ns = -1
        self._look = look
        #: round the text in a payload, and in a read that brings one whole event
        self._before = self._after = self._read_before = self._read_after = _NO_SHAPE
        self._read_shape_known = False
        #: the events of this shape are seen; behind their text stands no other
        self._visible = True
        self._bare = False
        #: shapes that are still worth learning: events that differ in more never repeat one
        self._lessons = _MOST_LESSONS

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""
        if data.startswith(self._read_before) and self.frames.between_events:
            start = len(self._read_before)
            # No quote within the text, no line end before the event's own.
            end = data.find(b'"', start)
            if (
                start < end
                and (data[end:] == self._read_after or self._padded(data[end:], self._read_after))
                and data.find(b"\n", start, end) < 0
                and data.find(b"\r", start, end) < 0
            ):
                self.answer.token(stamp_ns, self._visible)
                return
        _feed(self, data, stamp_ns)

    def _padded(self, tail: bytes, known: bytes) -> bool:
        """A tail without text that differs from the known one in spaces alone: Anthropic pads."""
        return self._bare and tail.translate(None, b" ") == known

    def event(self, name: str, payload: bytes, stamp_ns: int) -> None:
        """One event is complete."""
        if payload.startswith(self._before):
            start = len(self._before)
            end = payload.find(b'"', start)
            if start < end and (
                payload[end:] == self._after or self._padded(payload[end:], self._after)
            ):
                if not self._read_shape_known:
                    self._learn_reads(name)
                self.answer.token(stamp_ns, self._visible)
                return
        answer = self.answer
        if answer.first_token_ns >= 0:
            visible = self._look.glance(payload)
            if visible is not None and (answer.first_answer_token_ns >= 0 or not visible):
                answer.token(stamp_ns, visible)
                if self._lessons:
                    self._learn(payload, visible)
                return
        answer.add(self._read(name, payload), stamp_ns)

    def _learn(self, payload: bytes, visible: bool) -> None:
        self._lessons -= 1
        if (place := self._look.text_at(payload, visible)) is not None:
            self._before = payload[: place[0]]
            self._after = payload[place[1] :]
            bare = self._after.count(b'"') == 1
            if bare:
                self._after = self._after.translate(None, b" ")
            self._read_shape_known = False
            if (visible, bare) != (self._visible, self._bare):
                self._visible = visible
                self._bare = bare
                self._read_before = self._read_after = _NO_SHAPE

    def _learn_reads(self, name: str) -> None:
        """The shape held for a second event: look for it before a read is cut into events."""
        if b"\n" not in self._before:
            head = f"event: {name}\n".encode() if name else b""
            self._read_before = head + b"data: " + self._before
            self._read_after = self._after + b"\n\n"
        self._read_shape_known = True
        self._lessons = _MOST_LESSONS
