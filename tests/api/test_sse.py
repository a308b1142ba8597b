"""Server-sent events are cut by the letter of WHATWG HTML 9.2.6, alike at every split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.api.framing import Event, EventStream
from tests.support.reference_stream import pieces


def by_the_letter(stream: bytes) -> list[Event]:
    """Line by line, as the standard words it; an event without its blank line is kept here."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: list[Event] = []
    name, data = "", list[bytes]()
    for line in [*text.split(b"\n"), b""]:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data:
                found.append((name, b"\n".join(data)))
            name, data = "", []
        elif field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return found


def cut(parts: list[bytes]) -> list[Event]:
    """What the product makes of it."""
    stream, found = EventStream(), list[Event]()
    for part in parts:
        found += stream.feed(part)
    return found + stream.close()


LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data:  two spaces",
        b"data",
        b"data:",
        b"event: ping",
        b"event:x",
        b"event",
        b": comment",
        b"id: 7",
        b"retry: 10",
        b"dataset: no",
        b'data: {"a":"data: "}',
        b"",
        b"",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(
    st.lists(st.tuples(LINES, ENDS), max_size=12).map(lambda made: b"".join(map(b"".join, made))),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"data: first\n\n"]),
    st.data(),
)
def test_any_stream_at_any_splits(made: bytes, before: bytes, data: st.DataObject) -> None:
    """Names, data and their order; comments, ids and other fields leave no trace."""
    stream = before + made
    cuts = data.draw(st.lists(st.integers(1, max(1, len(stream) - 1)), max_size=5, unique=True))
    assert cut(pieces(stream, [each for each in cuts if each < len(stream)])) == by_the_letter(
        stream
    )


@pytest.mark.parametrize(
    ("stream", "between"),
    [
        (b"", False),
        (b"data: a\n\n", True),
        (b"data: a\n", False),
        (b"data: a\n\nd", False),
        (b"data: a\r\r", False),
        (b"data: a\r\n\r\n", True),
        (b"\xef\xbb", False),
    ],
)
def test_it_knows_when_nothing_of_an_event_is_left(stream: bytes, between: bool) -> None:
    """Only then may a quicker reader look at the next bytes by itself: a lone CR may still be half
    a line end, and so may half a byte order mark.
    """
    made = EventStream()
    made.feed(stream)
    assert made.between_events is between
