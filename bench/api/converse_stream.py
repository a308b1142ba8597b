"""A quick reader of ConverseStream.

In: body bytes as they came, each with the stamp of its read. Out: an `Answer`, filled. Must stay
true: it sees what decoding each event sees, at every split of the bytes; both checksums of every
frame are verified here too.
"""

from __future__ import annotations

import functools
import re
from zlib import crc32

from bench.api.answer import Answer
from bench.api.eventstream import EventFrames
from bench.api.reading import Read, StreamReader

DELTA = "contentBlockDelta"
#: A delta of text and nothing else, in either order of its keys, with or without the padding `p`
#: by which the service hides the length of a token: what stands before the text, and behind it.
_INDEX = rb'"contentBlockIndex":\d{1,9}'
_BEFORE = rb"\{(?:" + _INDEX + rb',)?"delta":\{"text":"'
_BEHIND = rb'"\}(?:,' + _INDEX + rb')?(?:,"p":"[0-9A-Za-z]*")?\}'
_ESCAPED = rb'(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*'
_TEXT_DELTA = re.compile(rb"(" + _BEFORE + rb')([^"\\\x00-\x1f]*' + _ESCAPED + rb")" + _BEHIND)
_ENDING = re.compile(_BEHIND)
_BACKSLASH, _QUOTE = 0x5C, b'"'
#: Behind a text's quote as the service writes it, by length: its padding is the beginning of these
#: letters.
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_KNOWN = [b"}}", *(b'},"p":"%s"}' % _LETTERS[:length] for length in range(len(_LETTERS) + 1))]
_known_of_length = {len(ending): ending for ending in _KNOWN}.get
#: Frames longer than this, and beginnings, are not remembered.
_REMEMBERED_BYTES = 2048


class Openings(dict[int, tuple[bytes, int]]):
    """Length of a frame -> how it begins, up to its text, and the checksum of that."""

    def __init__(self, before: bytes):
        """`before`: the length of its headers as written, the headers, the payload to the text."""
        super().__init__()
        self.before = before

    def __missing__(self, size: int) -> tuple[bytes, int]:
        lengths = size.to_bytes(4) + self.before[:4]
        opening = lengths + crc32(lengths).to_bytes(4) + self.before[4:]
        found = opening, crc32(opening)
        if size <= _REMEMBERED_BYTES:
            self[size] = found
        return found


#: Answers of a model begin alike: what one has computed serves all.
_openings_of = functools.lru_cache(64)(Openings)


class ConverseReader(StreamReader):
    """Counts deltas of text without decoding them.

    Frames of one content block differ in their length, text and padding alone. What stands before
    the text is learned from one that was looked at, and compared with those that follow.
    """

    __slots__ = ("_openings",)
    frames: EventFrames

    def __init__(self, answer: Answer, frames: EventFrames, read: Read):
        super().__init__(answer, frames, read)
        #: None: it has seen no frame that it could learn from
        self._openings: Openings | None = None

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""
        if self._openings is not None:
            size = len(data)
            opening, checksum = self._openings[size]
            rest = data.removeprefix(opening)
            checked = rest[:-4]
            # No quote within the text; one that is escaped has a backslash before it.
            text, quote, ending = checked.partition(_QUOTE)
            if (
                (_known_of_length(len(ending)) == ending or _ENDING.fullmatch(quote + ending))
                and text
                and text[-1] != _BACKSLASH
                and len(rest) < size
                and rest[-4:] == crc32(checked, checksum).to_bytes(4)
                and self.frames.between_events
            ):
                self.answer.token(stamp_ns, True)
                return
        self._cut(data, stamp_ns)

    def _cut(self, data: bytes, stamp_ns: int) -> None:
        if not data:
            return
        if self.answer.first_byte_ns < 0:
            self.answer.first_byte_ns = stamp_ns
        whole = self.frames.between_events
        events = self.frames.feed(data)
        for name, payload in events:
            if name == DELTA and (found := _TEXT_DELTA.fullmatch(payload)) and found[2]:
                self.answer.token(stamp_ns, True)
                if whole and len(events) == 1 and self.frames.between_events:
                    self._learn(data[4:8] + data[12 : -4 - len(payload)] + found[1])
            else:
                self.event(name, payload, stamp_ns)
        # What is wrong with the bytes behind these events counts after them.
        self.frames.check()

    def _learn(self, before: bytes) -> None:
        known = self._openings is not None and self._openings.before == before
        if not known and len(before) <= _REMEMBERED_BYTES:
            self._openings = _openings_of(before)
