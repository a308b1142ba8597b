"""AWS event streams: binary frames cut anywhere -> (name, payload) of each message.

In: body bytes as they came. Out: `Event`s; the name of an exception or error begins with `THROWN`.
Must stay true: the same events at every split, and the same fault after them; both checksums of
every frame are verified; memory is bounded whatever a frame claims; no vendor's payload is read.

Source: Smithy specification, "Amazon Event Stream encoding": length of the message and of its
headers (4 bytes each, big-endian), CRC-32 of these 8 bytes; headers; payload; CRC-32 of all before.
"""

from __future__ import annotations

import functools
import json
import struct
from zlib import crc32

from bench.api.answer import MalformedAnswer
from bench.api.framing import MAX_EVENT_BYTES, Event

#: Before the name of an exception or error, so that it is not taken for an event of that name.
THROWN = "!"
_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
#: What a frame without headers and payload holds.
_LEAST = _PRELUDE.size + _CHECKSUM.size
_MAX_HEADER_BYTES = 128 << 10
#: Headers repeat from frame to frame; longer ones are read again each time.
_REMEMBERED_BYTES = 1 << 10
#: Length of a header's value by its type; types 6 and 7 (bytes, text) state their own.
_VALUE_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7


class EventFrames:
    """Cuts one stream of frames."""

    __slots__ = ("_enough", "_fault", "_kept", "between_events")

    def __init__(self) -> None:
        self._kept = bytearray()
        #: so many bytes are needed before anything more can be said
        self._enough = _PRELUDE.size
        self._fault: MalformedAnswer | None = None
        #: no byte of an unfinished frame is kept
        self.between_events = True

    def feed(self, data: bytes) -> list[Event]:
        """The messages that these bytes complete.

        Raises MalformedAnswer for a frame that is none. If messages were completed before it in the
        same bytes they are returned, and `check`, the next `feed` or `close` raises.
        """
        self.check()
        if self._kept:
            self._kept += data
            if len(self._kept) < self._enough:
                return []
            data = bytes(self._kept)
            self._kept.clear()
        events: list[Event] = []
        begin = 0
        try:
            while (end := self._end_of_frame(data, begin)) <= len(data):
                events.append(_message(data, begin, end))
                begin = end
        except MalformedAnswer as fault:
            self._fault = fault
            self.between_events = False
            if not events:
                raise
            return events
        self._enough = end - begin
        if begin < len(data):
            self._kept += memoryview(data)[begin:]
        self.between_events = begin == len(data)
        return events

    def _end_of_frame(self, data: bytes, begin: int) -> int:
        """Where the frame ends that begins there, or its prelude if that is not complete."""
        if len(data) - begin < _PRELUDE.size:
            return begin + _PRELUDE.size
        size, header_size, checksum = _PRELUDE.unpack_from(data, begin)
        if crc32(data[begin : begin + 8]) != checksum:
            raise MalformedAnswer("event stream: the checksum of a frame's lengths is wrong")
        if not _LEAST <= size <= MAX_EVENT_BYTES or header_size > _MAX_HEADER_BYTES:
            raise MalformedAnswer(
                f"event stream: a frame of {size} bytes with {header_size} bytes of headers; at"
                f" most {MAX_EVENT_BYTES >> 20} MiB and {_MAX_HEADER_BYTES >> 10} KiB can be"
            )
        if header_size > size - _LEAST:
            raise MalformedAnswer("event stream: headers longer than their frame")
        return begin + int(size)

    def check(self) -> None:
        """Raises the MalformedAnswer that `feed` found behind complete messages."""
        if self._fault is not None:
            raise self._fault

    def close(self) -> list[Event]:
        """Nothing: a frame that was cut is no message. Raises MalformedAnswer as `check`."""
        self.check()
        return []


def _message(data: bytes, begin: int, end: int) -> Event:
    (checksum,) = _CHECKSUM.unpack_from(data, end - 4)
    if crc32(data[begin : end - 4]) != checksum:
        raise MalformedAnswer("event stream: the checksum of a frame is wrong")
    headers_end = begin + _PRELUDE.size + _PRELUDE.unpack_from(data, begin)[1]
    headers = data[begin + _PRELUDE.size : headers_end]
    name, text = (_known_name if len(headers) <= _REMEMBERED_BYTES else _name)(headers)
    return name, data[headers_end : end - 4] or text


def _name(headers: bytes) -> Event:
    """The message's name, and what stands for the payload of an error, which has none."""
    texts = header_texts(headers)
    kind = texts.get(":message-type", "event")
    if kind == "event":
        return texts.get(":event-type", ""), b""
    if kind == "exception":
        return THROWN + texts.get(":exception-type", ""), b""
    if kind == "error":
        message = json.dumps({"message": texts.get(":error-message", "")}).encode()
        return THROWN + texts.get(":error-code", ""), message
    raise MalformedAnswer(f"event stream: a message of type {kind[:80]!r}")


_known_name = functools.lru_cache(256)(_name)


def header_texts(headers: bytes) -> dict[str, str]:
    """Names and values of the headers that are texts. Raises MalformedAnswer.

    A header is its name's length (1 byte), the name, the value's type (1 byte), the value.
    """
    texts: dict[str, str] = {}
    names: set[bytes] = set()
    at = 0
    while at < len(headers):
        value_at = at + 2 + headers[at]
        name = headers[at + 1 : value_at - 1]
        kind = headers[value_at - 1] if value_at <= len(headers) else -1
        length = _VALUE_BYTES.get(kind, -1)
        if kind in (_BYTES, _TEXT) and value_at + 2 <= len(headers):
            length = int.from_bytes(headers[value_at : value_at + 2])
            value_at += 2
        at = value_at + length
        if length < 0 or at > len(headers):
            raise MalformedAnswer("event stream: headers of a frame cannot be read")
        if name in names:
            raise MalformedAnswer(f"event stream: a frame has the header {name[:80]!r} twice")
        names.add(name)
        if kind == _TEXT:
            texts[name.decode("utf-8", "replace")] = headers[value_at:at].decode("utf-8", "replace")
    return texts
