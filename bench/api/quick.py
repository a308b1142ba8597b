"""A reader that counts most token events without decoding them.

In: bytes of a stream of server-sent events, with stamps; from an API, how its token events look.
Out: the same `Answer` that decoding every event gives, at every split of the bytes. Must stay true:
an event is counted undecoded only where it differs in one text alone from one that was decoded, and
decoding has shown what that text decides; or where the API says for certain what it holds.

The first token and the first one that is seen are always decoded. After them only the number of
tokens counts, and the events of one answer mostly differ in their text alone: what stands before
and after it is learned from one that was looked at and compared with those that follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bench.api.answer import Answer, MalformedAnswer, Said, Token
from bench.api.framing import MAX_EVENT_BYTES, EventStream
from bench.api.reading import Read, StreamReader

#: Stands for a shape that was not learned yet; no answer's text begins with this byte.
_NO_SHAPE = b"\xff"
_MOST_LESSONS = 16
#: What a JSON string may hold but for quotes; that it is UTF-8 is not looked at.
_text_at = re.compile(
    rb'[^"\\\x00-\x1f]*+(?:\\(?:[\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*+)*+'
).match


def _nothing_for_certain(_payload: bytes) -> None:
    return None


class Look(NamedTuple):
    """How the token events of an API look, undecoded."""

    #: where texts begin and end, one of which may make the event what it is
    places: Callable[[bytes], Iterable[tuple[int, int]]]
    #: True: it holds nothing but tokens, some of them seen; False: nothing but tokens of reasoning;
    #: None: decode it
    glance: Callable[[bytes], bool | None] = _nothing_for_certain
    #: what such events are named, where they have a name
    name: str = ""


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
        "_name",
        "_read_after",
        "_read_before",
        "_read_shape_known",
        "_visible",
    )

    frames: EventStream

    def __init__(self, answer: Answer, frames: EventStream, read: Read, look: Look):
        super().__init__(answer, frames, read)
        self._look = look
        #: shapes that are still worth learning: events that differ in more never repeat one
        self._lessons = _MOST_LESSONS
        self._forget()

    def _forget(self) -> None:
        #: round the text in a payload, and in a read that brings one whole event
        self._before = self._after = self._read_before = self._read_after = _NO_SHAPE
        self._read_shape_known = False
        #: the events of this shape are seen; behind their text stands no other
        self._visible = True
        self._bare = False
        #: the name of the events of this shape
        self._name = ""

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""
        if len(data) == 1:
            # A byte more of a line: a long event may come in millions of them.
            if data > b"\r" and (line := self.frames.line):
                line += data
                self._fed_ns = stamp_ns
                if len(line) <= MAX_EVENT_BYTES:
                    return
                data = b" "
        elif data.startswith(self._read_before) and self.frames.between_events:
            start = len(self._read_before)
            # No quote, line end or broken escape within the text.
            text = _text_at(data, start)
            if text is not None and start < (end := text.end()):
                tail = data[end:]
                if tail == self._read_after or self._padded(tail, self._read_after):
                    self.answer.token(stamp_ns, self._visible)
                    return
        _feed(self, data, stamp_ns)

    def _padded(self, tail: bytes, known: bytes) -> bool:
        """A tail without text that differs from the known one in spaces alone: Anthropic pads."""
        return self._bare and tail.translate(None, b" ") == known

    def event(self, name: str, payload: bytes, stamp_ns: int) -> None:
        """One event is complete."""
        if payload.startswith(self._before) and name == self._name:
            start = len(self._before)
            text = _text_at(payload, start)
            if text is not None and start < (end := text.end()):
                tail = payload[end:]
                if tail == self._after or self._padded(tail, self._after):
                    if not self._read_shape_known:
                        self._learn_reads(name)
                    self.answer.token(stamp_ns, self._visible)
                    return
        answer = self.answer
        if answer.first_token_ns >= 0 and name in ("", self._look.name):
            visible = self._look.glance(payload)
            if visible is not None and (answer.first_answer_token_ns >= 0 or not visible):
                answer.token(stamp_ns, visible)
                if self._lessons:
                    self._lessons -= 1
                    self._learn(name, payload, visible)
                return
        said = self._read(name, payload)
        tier = answer.tier
        answer.add(said, stamp_ns)
        if not answer.of_one_choice:
            # Each event may now revoke an end, or belong to another choice.
            self._forget()
            self._lessons = 0
            return
        if answer.tier != tier:
            self._forget()
        if said.token is not None and self._lessons:
            self._lessons -= 1
            self._learn(name, payload, said.token is not Token.reasoning)

    def _learn(self, name: str, payload: bytes, visible: bool) -> None:
        """Learn the shape of a token event, where a text decides that it is one and no more."""
        for begin, end in self._look.places(payload):
            before, after = payload[:begin], payload[end:]
            if self._decides(name, before, after, visible=visible):
                bare = after.count(b'"') == 1
                self._forget()
                self._before = before
                self._after = after.translate(None, b" ") if bare else after
                self._visible, self._bare, self._name = visible, bare, name
                return

    def _decides(self, name: str, before: bytes, after: bytes, *, visible: bool) -> bool:
        """Whether any text between them makes a token of this kind, and nothing else of note."""
        try:
            some = self._read(name, before + b"x" + after)
            none = self._read(name, before + after)
        except MalformedAnswer:
            return False
        if some.token is None or (some.token is not Token.reasoning) != visible:
            return False
        return none.token is None and _says_no_more(some)

    def _learn_reads(self, name: str) -> None:
        """The shape held for a second event: look for it before a read is cut into events."""
        if b"\n" not in self._before and b"\n" not in self._after:
            head = f"event: {name}\n".encode() if name else b""
            self._read_before = head + b"data: " + self._before
            self._read_after = self._after + b"\n\n"
        self._read_shape_known = True
        self._lessons = _MOST_LESSONS


def _says_no_more(said: Said) -> bool:
    """Whether an event changes nothing but the tokens; what serves the request was known."""
    return (
        said.usage is None
        and said.finish is None
        and said.error is None
        and said.malformed is None
        and said.server_ns is None
        and not (said.end or said.ended)
        and said.choices in ((), (0,))
    )
