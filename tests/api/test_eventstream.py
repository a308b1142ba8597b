"""AWS event streams: botocore reads the same messages, at every split; what is no frame is told."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st

from bench.api.answer import MalformedAnswer
from bench.api.eventstream import THROWN, EventFrames, header_texts
from bench.api.framing import MAX_EVENT_BYTES, Event
from tests.support.aws_frames import checksum, error, event, header, sealed
from tests.support.reference_stream import pieces

EVERY_TYPE = b"".join(
    [
        b"\x01a\x00",
        b"\x01b\x01",
        b"\x01c\x02\xff",
        b"\x01d\x03\x80\x00",
        b"\x01e\x04\x80\x00\x00\x00",
        header("f", -5),
        header("g", b"\x00\xff"),
        header(":event-type", "metadata"),
        b"\x01h\x08\x00\x00\x01\x8e\x00\x00\x00\x00",
        b"\x01i\x09" + bytes(range(16)),
        header("leer", ""),
        header("größe", "größer"),
    ]
)


def read(parts: list[bytes]) -> tuple[list[Event], str | None]:
    """Our messages, and why the bytes behind them are none."""
    frames, found = EventFrames(), list[Event]()
    try:
        for part in parts:
            found += frames.feed(part)
        found += frames.close()
    except MalformedAnswer as fault:
        return found, str(fault)
    return found, None


def read_by_botocore(parts: list[bytes]) -> tuple[list[Event], str | None]:
    """The same of botocore, in our words."""
    buffer, found = EventStreamBuffer(), list[Event]()
    try:
        for part in parts:
            buffer.add_data(part)
            for message in buffer:  # what it read before a fault counts
                found.append(in_our_words(message.to_response_dict()))
    except ParserError as fault:
        return found, type(fault).__name__
    return found, None


def in_our_words(message: dict[str, Any]) -> Event:
    texts, body = message["headers"], message["body"]
    kind = texts.get(":message-type", "event")
    if kind == "error":
        return THROWN + texts[":error-code"], b""
    name = texts.get(f":{kind}-type", "")
    return (THROWN + name if message["status_code"] == 400 else name), body


NAMES = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=9)
VALUES = st.text(max_size=9) | st.binary(max_size=9) | st.integers(-(2**63), 2**63 - 1)
MESSAGES = st.builds(
    lambda kind, name, others, payload: sealed(
        b"".join(
            header(*pair)
            for pair in {":message-type": kind, f":{kind}-type": name, **others}.items()
        ),
        payload,
    ),
    st.sampled_from(["event", "exception"]),
    st.text(max_size=9),
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.binary(max_size=40),
)


@given(st.lists(MESSAGES, max_size=4).map(b"".join), st.data())
def test_botocore_reads_the_same_messages_whatever_the_reads(stream: bytes, data: Any) -> None:
    """Headers of any kind, payloads of any bytes, cuts anywhere, and an end in the middle."""
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    assert read(pieces(stream, cuts)) == read_by_botocore([stream])


@given(st.lists(MESSAGES, min_size=1, max_size=3).map(b"".join), st.data())
def test_a_flipped_bit_is_found_behind_the_same_messages(stream: bytes, data: Any) -> None:
    """One bit of a stream changed: what stood before it counts, as botocore has it; the frame it
    hits is never a message. Cuts change neither.
    """
    at = data.draw(st.integers(0, 8 * len(stream) - 1))
    torn = bytearray(stream)
    torn[at // 8] ^= 1 << at % 8
    found, fault = read([bytes(torn)])
    assert found == read_by_botocore([bytes(torn)])[0]
    assert fault is not None
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    assert read(pieces(bytes(torn), cuts)) == (found, fault)


def test_headers_of_every_type_are_passed_over_and_texts_read() -> None:
    """The name stands among values of nine other types."""
    assert header_texts(EVERY_TYPE) == {":event-type": "metadata", "leer": "", "größe": "größer"}
    assert read([sealed(EVERY_TYPE, b"{}")]) == read_by_botocore([sealed(EVERY_TYPE, b"{}")])


def test_what_is_thrown_is_told_from_what_happened() -> None:
    """An exception and an event may share a name; an error has its text in headers."""
    both = event("x", {}) + event("x", {"message": "full"}, "exception") + error("Busy", 'a "b"')
    assert read([both])[0] == [
        ("x", b"{}"),
        (THROWN + "x", b'{"message":"full"}'),
        (THROWN + "Busy", b'{"message": "a \\"b\\""}'),
    ]
    # Without a type of its own a message is an event, as for botocore.
    assert read([sealed(header(":event-type", "y"), b"")])[0] == [("y", b"")]


def lengths(size: int, header_size: int) -> bytes:
    begun = size.to_bytes(4, "big") + header_size.to_bytes(4, "big")
    return begun + checksum(begun)


WHOLE = event("x", {})


@pytest.mark.parametrize(
    ("torn", "why"),
    [
        (WHOLE[:8] + b"\0\0\0\0" + WHOLE[12:], "the checksum of a frame's lengths is wrong"),
        (WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]), "the checksum of a frame is wrong"),
        (b"HTTP/1.1 200 OK\r\n", "the checksum of a frame's lengths is wrong"),
        (lengths(MAX_EVENT_BYTES + 1, 0), f"a frame of {MAX_EVENT_BYTES + 1} bytes"),
        (lengths(2**32 - 1, 2**32 - 1), "a frame of 4294967295 bytes"),
        (lengths(15, 0), "a frame of 15 bytes"),
        (lengths(200_000, 150_000), "150000 bytes of headers"),
        (lengths(20, 9), "headers longer than their frame"),
        (sealed(b"\x05ab", b""), "headers of a frame cannot be read"),
        (sealed(b"\x01a\x07\x00\x09b", b""), "headers of a frame cannot be read"),
        (sealed(b"\x01a\x07\x00", b""), "headers of a frame cannot be read"),
        (sealed(b"\x01a\x0a", b""), "headers of a frame cannot be read"),
        (sealed(b"\x01", b""), "headers of a frame cannot be read"),
        (sealed(header("a", 1) * 2, b""), "has the header b'a' twice"),
        (sealed(header(":message-type", "song"), b""), "a message of type 'song'"),
    ],
)
def test_what_is_no_frame_is_told_in_a_sentence_behind_what_was_whole(
    torn: bytes, why: str
) -> None:
    """The message before it counts at every split; nothing behind it is read."""
    stream = WHOLE + torn + WHOLE
    for parts in ([stream], [stream[at : at + 1] for at in range(len(stream))], [WHOLE, torn]):
        found, fault = read(parts)
        assert found == [("x", b"{}")]
        assert fault is not None
        assert why in fault


def test_a_fault_behind_messages_is_kept_until_it_is_asked_for() -> None:
    """Reads that bring both return the messages first."""
    frames = EventFrames()
    assert frames.feed(WHOLE + b"x" * 12) == [("x", b"{}")]
    assert not frames.between_events
    for again in (frames.check, frames.close, lambda: frames.feed(WHOLE)):
        with pytest.raises(MalformedAnswer):
            again()


def test_a_cut_frame_is_no_message_and_only_it_is_kept() -> None:
    """Between events nothing is kept; a last frame without its last byte says nothing."""
    frames = EventFrames()
    between = [frames.between_events]
    assert frames.feed(WHOLE + WHOLE[:-1]) == [("x", b"{}")]
    between.append(frames.between_events)
    assert frames.close() == []
    assert frames.feed(WHOLE[-1:]) == [("x", b"{}")]
    assert [*between, frames.between_events] == [True, False, True]
