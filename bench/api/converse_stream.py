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
_BACKSLASH = 0x5C
#: Lengths of frames, and endings of payloads, that are remembered.
_REMEMBERED = 1024


class ConverseReader(StreamReader):
    """Counts deltas of text without decoding them.

    Frames of one content block differ in their length, text and padding alone. What stands before
    the text is learned from one that was looked at and compared with those that follow.
    """

    __slots__ = ("_before",)
    frames: EventFrames

    def __init__(self, answer: Answer, frames: EventFrames, read: Read):
        super().__init__(answer, frames, read)
        #: length of a frame's headers as it is written, the headers, the payload up to the text
        self._before = b""

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""
        if self._before:
            opening, checksum = _opening(len(data), self._before)
            begin = len(opening)
            # No quote within the text; one that is escaped has a backslash before it.
            if (
                data.startswith(opening)
                and begin < (end := data.find(b'"', begin))
                and data[end - 1] != _BACKSLASH
                and _is_behind(data[end:-4])
                and crc32(data[begin:-4], checksum) == int.from_bytes(data[-4:])
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
                    self._before = data[4:8] + data[12 : -4 - len(payload)] + found[1]
            else:
                self.event(name, payload, stamp_ns)
        # What is wrong with the bytes behind these events counts after them.
        self.frames.check()


@functools.lru_cache(_REMEMBERED)
def _opening(size: int, before: bytes) -> tuple[bytes, int]:
    """How a frame of `size` bytes begins, up to the text, and the checksum of that."""
    lengths = size.to_bytes(4) + before[:4]
    opening = lengths + crc32(lengths).to_bytes(4) + before[4:]
    return opening, crc32(opening)


@functools.lru_cache(_REMEMBERED)
def _is_behind(ending: bytes) -> bool:
    """Whether a payload may end so behind its text."""
    return _WHOLE_ENDING.fullmatch(ending) is not None


_WHOLE_ENDING = re.compile(_BEHIND)
