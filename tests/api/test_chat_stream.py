"""Bytes with stamps become token events: the same at every split, bounded, and right by a second
reading.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.api.answer import Answer, MalformedAnswer, StreamError
from bench.api.chat import API
from bench.api.framing import MAX_EVENT_BYTES, MAX_PLAIN_BYTES, EventStream
from bench.api.quick import QuickReader
from tests.support.reference_stream import Reading, agree, feed, pieces, read

CAPTURES = Path(__file__).resolve().parents[2] / ".." / "shared" / "captures"
#: content chunks, prompt, output, cached, finish, model, done: read off the files by eye and grep
CAPTURED: dict[str, tuple[int, int, int, int, str | None, str, bool]] = {
    "llama_stream_usage": (8, 34, 8, 0, "length", "smollm2-135m", True),
    "llama_stream_nousage": (4, -1, -1, -1, "length", "smollm2-135m", True),
    "nginx_h2_stream": (4, 34, 4, 33, "length", "smollm2-135m", True),
    "litellm_stream_usage": (8, 34, 8, 33, "length", "chat-backup", True),
    "litellm_stream_after_fallback": (8, 34, 8, 33, "length", "chat-backup", True),
    "litellm_stream_upstream_died": (5, -1, -1, -1, None, "chat-primary", False),
}


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **top: Any) -> bytes:
    """One event in OpenAI's shape."""
    body = {
        "model": "m",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}],
        **top,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 3,
    "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
ROLE, DONE = chunk({"role": "assistant", "content": ""}), b"data: [DONE]\n\n"
PLAIN = ROLE + chunk({"content": "a"}) + chunk({"content": "b"}) + chunk(finish="stop")
TOOL = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}
ARGUMENTS = {"tool_calls": [{"index": 0, "function": {"arguments": '{"content":"x'}}]}

#: name -> (stream, chunks, output tokens, finish, error)
STREAMS: dict[str, tuple[bytes, int, int, str | None, str | None]] = {
    "role-only first, usage with no choices": (
        PLAIN + chunk(choices=[], usage=USAGE) + DONE,
        2,
        3,
        "stop",
        None,
    ),
    "usage beside an empty choice": (
        PLAIN + chunk(choices=[{"index": 0, "delta": {}}], usage=USAGE) + DONE,
        2,
        3,
        "stop",
        None,
    ),
    "reasoning": (chunk({"reasoning": "h"}) + PLAIN, 3, -1, "stop", None),
    "reasoning_content": (
        chunk({"reasoning_content": "h", "content": None}) * 2 + PLAIN,
        4,
        -1,
        "stop",
        None,
    ),
    "reasoning and content in one": (
        chunk({"reasoning": "h"}) + chunk({"reasoning": "i", "content": "a"}),
        2,
        -1,
        None,
        None,
    ),
    "tool calls": (
        ROLE + chunk(TOOL) + chunk(ARGUMENTS) + chunk(finish="tool_calls"),
        2,
        -1,
        "tool_calls",
        None,
    ),
    "error inside": (
        PLAIN + chunk(error={"message": "no"}, choices=[]) + DONE,
        2,
        -1,
        "stop",
        "stream_error",
    ),
    "error as an object of its own": (
        b'data: {"object":"error","message":"no","code":400}\n\n' + DONE,
        0,
        -1,
        None,
        "stream_error",
    ),
    "null error is none": (chunk({"content": "a"}, error=None) * 3, 3, -1, None, None),
    "no [DONE]": (PLAIN, 2, -1, "stop", None),
    "no finish": (ROLE + chunk({"content": "a"}), 1, -1, None, None),
    "CR LF": ((PLAIN + DONE).replace(b"\n", b"\r\n"), 2, -1, "stop", None),
    "lone CR": ((PLAIN + DONE).replace(b"\n", b"\r"), 2, -1, "stop", None),
    "CR LF before LF": ((PLAIN + DONE).replace(b"\n\n", b"\r\n\n"), 2, -1, "stop", None),
    "LF before CR LF": ((PLAIN + DONE).replace(b"\n\n", b"\n\r\n"), 2, -1, "stop", None),
    "comments and pings": (
        b": ping\n\n" + PLAIN.replace(b"\n\n", b"\n\n: keep-alive\n\n:\n\n") + DONE,
        2,
        -1,
        "stop",
        None,
    ),
    "pings that are events": (
        PLAIN.replace(b"\n\n", b'\n\nevent: ping\ndata: {"type":"ping"}\n\n') + DONE,
        2,
        -1,
        "stop",
        None,
    ),
    "several tokens in one chunk": (
        chunk({"content": "a b c"}) + chunk(finish="stop", usage=USAGE),
        1,
        3,
        "stop",
        None,
    ),
    "other fields": (
        b"retry: 10\nid: 1\nevent: x\n" + PLAIN.replace(b"\n\n", b"\nid: 2\n\n"),
        2,
        -1,
        "stop",
        None,
    ),
    "data over several lines": (
        PLAIN.replace(b'"choices":', b'\ndata: "choices":\ndata:'),
        2,
        -1,
        "stop",
        None,
    ),
    "an empty data line": (b"data\n\ndata:\n\n" + PLAIN, 2, -1, "stop", None),
    "BOM": (b"\xef\xbb\xbf" + PLAIN, 2, -1, "stop", None),
    "nothing but half a BOM": (b"\xef\xbb", 0, -1, None, None),
    "no space after data:": (PLAIN.replace(b"data: ", b"data:"), 2, -1, "stop", None),
    "JSON with spaces": (PLAIN.replace(b'":', b'" : ').replace(b',"', b', "'), 2, -1, "stop", None),
    "more blank lines than needed": (PLAIN.replace(b"\n\n", b"\n\n\n\n\n"), 2, -1, "stop", None),
    "last event without its blank line": (PLAIN.rstrip(b"\n"), 2, -1, "stop", None),
    "a last token without its blank line": (
        PLAIN + chunk({"content": "c"}).rstrip(b"\n"),
        3,
        -1,
        "stop",
        None,
    ),
    "cut inside an event": (PLAIN[:-30], 2, -1, None, None),
    "two choices in one chunk": (
        chunk(choices=[{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]) * 3,
        3,
        -1,
        None,
        None,
    ),
    "usage in every chunk": (
        chunk({"content": "a"}, usage={"completion_tokens": 1})
        + chunk({"content": "b"}, usage=USAGE),
        2,
        3,
        None,
        None,
    ),
    "garbage": (PLAIN + b"data: {not json}\n\n", 2, -1, "stop", "malformed"),
    "an array": (b"data: [1]\n\n", 0, -1, None, "malformed"),
    "an empty stream": (b"", 0, -1, None, None),
}


@pytest.mark.parametrize("name", STREAMS)
def test_hand_written_streams_say_what_was_written(name: str) -> None:
    """Token chunks, usage, finish and error of each stream, counted by hand."""
    stream, chunks, output, finish, error = STREAMS[name]
    facts, found = feed([stream], [7])
    assert (facts["chunks"], facts["output_tokens"], facts["finish"], found) == (
        chunks,
        output,
        finish,
        error,
    )


@pytest.mark.parametrize("name", STREAMS)
def test_hand_written_streams_read_the_same_at_every_split(name: str) -> None:
    """One cut at every byte, and a cut at every byte at once, change no count and no stamp's
    meaning.
    """
    every_split(STREAMS[name][0])


def every_split(stream: bytes) -> Reading:
    """Compare with the reference whole, at each single cut, and byte by byte."""
    reading = read(stream)
    agree(stream, [], reading)
    for cut in range(1, len(stream)):
        agree(stream, [cut], reading)
    agree(stream, range(1, len(stream)), reading)
    return reading


@pytest.mark.parametrize("name", CAPTURED)
def test_recorded_streams_of_real_servers(name: str) -> None:
    """llama.cpp, LiteLLM and nginx as recorded: the counts seen in the files, at every split."""
    path = CAPTURES / f"{name}.txt"
    if not path.is_file():
        pytest.skip("recorded answers are not here")
    body = path.read_bytes().split(b"\r\n\r\n", 1)[1]
    facts, error = feed([body], [7])
    found = tuple(
        facts[key]
        for key in (
            "chunks",
            "prompt_tokens",
            "output_tokens",
            "cached_tokens",
            "finish",
            "model",
            "complete",
        )
    )
    assert found == CAPTURED[name]
    assert error == ("stream_error" if "died" in name else None)
    every_split(body)


def test_stamps_are_those_of_the_byte_that_completed_the_event() -> None:
    """With one stamp a byte, a token is stamped by the end of the line that ends its event."""
    stream = ROLE + chunk({"reasoning": "h"}) + chunk({"content": "a"}) + chunk({"content": "b"})
    ends = [index + 2 for index in range(len(stream)) if stream[index : index + 2] == b"\n\n"]
    facts, _ = feed(pieces(stream, range(1, len(stream))), range(1, len(stream) + 1))
    assert facts["first_byte_ns"] == 1
    assert (facts["first_token_ns"], facts["first_answer_token_ns"], facts["last_token_ns"]) == (
        ends[1],
        ends[2],
        ends[3],
    )
    assert facts["gaps"] == [ends[2] - ends[1], ends[3] - ends[2]]
    assert facts["gap_max_ns"] == max(facts["gaps"])


def test_tokens_of_one_read_share_a_stamp_and_are_counted() -> None:
    """Reads with several tokens are counted once each; only the first token's own read marks it."""
    one = chunk({"content": "a"})
    later, _ = feed([one, one * 3, one, one * 2], [10, 20, 30, 40])
    assert (later["shared_reads"], later["first_shared"], later["gaps"]) == (
        2,
        False,
        [10, 0, 0, 10, 10, 0],
    )
    first, _ = feed([ROLE + one * 2, one], [10, 20])
    assert (first["shared_reads"], first["first_shared"]) == (1, True)


def test_a_stream_is_complete_by_its_own_word_only() -> None:
    """A finish reason, or [DONE] behind an answer, completes a stream; bytes that merely stop do
    not.
    """
    for stream, complete in (
        (PLAIN, True),
        (ROLE + DONE, False),
        (DONE, False),
        (chunk({"content": "a"}, "") + DONE, True),
        (ROLE + chunk({"content": "a"}), False),
        (b"", False),
    ):
        answer, reader = API.open(True)
        reader.feed(stream, 1)
        reader.close()
        assert answer.complete is complete


# ---- against the reference, on made streams

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            '"',
            "\\",
            '\\"',
            '"content":"x"',
            '"finish_reason":"stop"',
            '","error":{"a":1}',
            "data: [DONE]\n\n",
            "\n\n",
            "\r",
            "\u2028",
            "é",
            "\x00",
            "[DONE]",
            "}",
            '"tool_calls":[',
            '"object":"error"',
        ]
    ),
)
MAYBE_TEXT = st.one_of(st.none(), st.just(""), TEXTS)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": MAYBE_TEXT,
        "refusal": MAYBE_TEXT,
        "reasoning": MAYBE_TEXT,
        "reasoning_content": MAYBE_TEXT,
        "tool_calls": st.one_of(
            st.none(),
            st.lists(
                st.fixed_dictionaries({"function": st.fixed_dictionaries({"arguments": TEXTS})}),
                max_size=1,
            ),
        ),
    },
)
CHOICES = st.lists(
    st.fixed_dictionaries(
        {"delta": DELTAS},
        optional={
            "finish_reason": st.sampled_from([None, "stop", "length"]),
            "logprobs": st.fixed_dictionaries(
                {"content": st.lists(st.fixed_dictionaries({"token": TEXTS}), max_size=1)}
            ),
        },
    ),
    max_size=2,
)
CHUNKS = st.fixed_dictionaries(
    {"choices": CHOICES, "model": st.just("m")},
    optional={
        "usage": st.sampled_from([None, USAGE]),
        "error": st.sampled_from([None, {"message": "x"}]),
        "id": TEXTS,
    },
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """One event with a payload and line ends of any allowed kind."""
    text = json.dumps(
        draw(CHUNKS),
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([None, (",", ":")])),
    )
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    before = draw(st.sampled_from([b"", b": note" + end, b"event: e" + end, b":" + end + end]))
    blank = end if end == b"\r" else draw(st.sampled_from([end, b"\n", b"\r"]))
    return before + draw(st.sampled_from([b"data:", b"data: "])) + text.encode() + end + blank


FIRST = chunk({"reasoning": "h"})


@pytest.mark.slow("hundreds of drawn streams, each read twice")
@given(st.lists(events(), max_size=5), st.sampled_from([b"", FIRST, PLAIN]), st.data())
@settings(deadline=None, max_examples=300)
def test_any_stream_at_any_splits_agrees_with_the_slow_reading(
    made: list[bytes], before: bytes, data: st.DataObject
) -> None:
    """The quick count of chunks between the first token and the end sees what full decoding
    sees.
    """
    stream = before + b"".join(made)
    cuts = data.draw(st.lists(st.integers(1, max(1, len(stream) - 1)), max_size=6, unique=True))
    agree(stream, [cut for cut in cuts if cut < len(stream)])


@given(
    st.lists(TEXTS, max_size=8),
    st.sampled_from(["content", "reasoning"]),
    st.booleans(),
    st.sampled_from([None, (",", ":")]),
)
@settings(deadline=None, max_examples=200)
def test_chunks_of_one_shape_are_counted_by_their_texts(
    texts: list[str], key: str, ascii_only: bool, separators: tuple[str, str] | None
) -> None:
    """A server's chunks differ in their text alone: whatever it holds or escapes, empty ones are no
    tokens.
    """
    made = [
        {"model": "m", "choices": [{"index": 0, "delta": {key: text}, "finish_reason": None}]}
        for text in ["a", "b", *texts]
    ]
    stream = b"".join(
        b"data: "
        + json.dumps(body, ensure_ascii=ascii_only, separators=separators).encode()
        + b"\n\n"
        for body in made
    )
    agree(
        stream,
        [index + 2 for index in range(len(stream)) if stream.startswith(b"\n\n", index)][:-1],
    )
    assert feed([stream], [1])[0]["chunks"] == 2 + sum(bool(text) for text in texts)


@given(st.binary(max_size=60), st.data())
@settings(deadline=None)
@example(b"data: \xff\n\n", None)
@example(b'data: {"choices":5}\n\n', None)
@example(b'data: {"choices":[5]}\n\n', None)
@example(b"data: " + b"[" * 100_000 + b"\n\n", None)
@example(b'data: {"usage":{"completion_tokens":' + b"9" * 5_000 + b"}}\n\n", None)
def test_garbage_is_malformed_or_nothing_and_never_another_error(
    noise: bytes, data: st.DataObject | None
) -> None:
    """Whatever bytes come, the parser ends by itself or says malformed, at any split alike."""
    stream = PLAIN + noise
    cut = data.draw(st.integers(0, len(stream))) if data is not None else 1
    whole, error = feed([stream], [1])
    split, again = feed([stream[:cut], stream[cut:]], [1, 1])
    assert error in (None, "malformed", "stream_error")
    assert (whole, error) == (split, again)


# ---- bounds


@pytest.mark.parametrize("streamed", [True, False])
def test_an_endless_event_or_answer_is_refused_before_it_fills_the_memory(streamed: bool) -> None:
    """A body that never ends raises MalformedAnswer with the read that passes the stated bound."""
    _, reader = API.open(streamed)
    block = b"data: x " * (1 << 15)
    bound = MAX_EVENT_BYTES if streamed else MAX_PLAIN_BYTES
    for _ in range(bound // len(block)):
        reader.feed(block, 1)
    with pytest.raises(MalformedAnswer):
        reader.feed(block, 1)


def test_a_long_stream_keeps_nothing_of_its_events() -> None:
    """After a hundred thousand events no more than the last unfinished one is held."""
    answer, reader = API.open(True)
    block = chunk({"content": "word "}) * 1000
    for _ in range(100):
        reader.feed(block, 1)
    assert answer.chunks == 100_000
    assert isinstance(reader, QuickReader)
    assert isinstance(reader.frames, EventStream)
    kept = [
        getattr(holder, name)
        for holder in (answer, reader, reader.frames)
        for name in type(holder).__slots__
    ]
    assert max(len(value) for value in kept if isinstance(value, (bytes, str, list))) < 100


# ---- whole answers


def plain(body: bytes, *cuts: int) -> Answer:
    """A finished plain answer."""
    answer, reader = API.open(False)
    for part in pieces(body, cuts):
        reader.feed(part, 3)
    reader.close()
    return answer


def test_a_plain_answer_gives_usage_finish_and_model_but_no_token_times() -> None:
    """An unstreamed body has counts and no instants of tokens."""
    body = json.dumps(
        {
            "model": "m",
            "usage": USAGE,
            "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        }
    ).encode()
    for cut in range(len(body)):
        answer = plain(body, cut)
        assert (
            answer.prompt_tokens,
            answer.output_tokens,
            answer.cached_tokens,
            answer.reasoning_tokens,
        ) == (
            5,
            3,
            2,
            1,
        )
        assert (answer.finish, answer.model, answer.chunks, answer.complete) == (
            "stop",
            "m",
            1,
            True,
        )
        assert (answer.first_token_ns, answer.last_token_ns, answer.first_byte_ns) == (-1, -1, 3)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"choices":["a"]}', b"\xff\xfe", b"nul"],
)
def test_a_plain_body_that_is_no_answer_is_malformed(body: bytes) -> None:
    """HTML, other JSON and nothing at all are not answers of this API."""
    with pytest.raises(MalformedAnswer):
        plain(body)


@pytest.mark.parametrize(
    "body",
    [b'{"error":{"message":"full"}}', b'{"object":"error","message":"full"}', b'{"error":"full"}'],
)
def test_a_plain_200_that_holds_an_error_is_one(body: bytes) -> None:
    """The status line does not make an error an answer; its own words are kept."""
    with pytest.raises(StreamError, match="full"):
        plain(body)


@pytest.mark.parametrize("count", [-1, 2**31, True, "5", 1.5, None])
def test_nonsense_in_usage_leaves_what_was_known(count: object) -> None:
    """A count that is none is ignored, also where a sound one came before."""
    stream = chunk({"content": "a"}, usage=USAGE) + chunk(
        usage={"completion_tokens": count, "prompt_tokens_details": {}}
    )
    facts, error = feed([stream], [1])
    assert (facts["output_tokens"], facts["cached_tokens"], error) == (3, 2, None)
