"""Legacy completions: bodies, and what each kind of chunk says, beside the official client."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.api.answer import Said, Token, Usage
from bench.api.chat import API as CHAT
from bench.api.completions import API
from bench.api.interface import AnswerLimit, BodyOptions
from tests.support.vendor_client import client_of, each_split, read, told


def chunk(text: str, finish: str | None = None, **top: Any) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    return {"id": "c", "object": "text_completion", "created": 1, "model": "m-1", **top} | {
        "choices": [choice]
    }


def events(*chunks: dict[str, Any]) -> bytes:
    lines = [f"data: {json.dumps(each)}\n\n" for each in chunks]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 3,
    "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 4},
}
STREAM = events(
    chunk("", service_tier="flex"),
    chunk('say "content":"x"'),
    chunk(" ü"),
    chunk("!", "length"),
    {**chunk(""), "choices": [], "usage": USAGE},
)


def test_a_stream_is_what_the_official_client_reads_at_every_split() -> None:
    """Its texts are our chunks, its usage and finish reason ours."""
    client, asked = client_of(STREAM, size=7)
    texts, finish, usage = [], None, None
    for each in client.completions.create(model="m", prompt="p", stream=True):
        texts += [choice.text for choice in each.choices if choice.text]
        finish = next((str(c.finish_reason) for c in each.choices if c.finish_reason), finish)
        usage = each.usage or usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    whole = read(API, STREAM)
    assert told(whole) == (
        len(texts),
        usage.prompt_tokens,
        usage.completion_tokens,
        -1,
        usage.prompt_tokens_details.cached_tokens,
        finish,
        "m-1",
        "flex",
        True,
    )
    assert all(told(answer) == told(whole) for answer in each_split(API, STREAM))
    assert asked[0].url.path == API.path("/v1", "m", True)
    assert set(json.loads(asked[0].content)) <= set(json.loads(body()))


CAPTURE = Path(__file__).parents[3] / "shared" / "captures" / "llama_stream_usage.txt"


@pytest.mark.skipif(not CAPTURE.is_file(), reason="recorded answers are not here")
def test_a_recorded_stream_in_this_shape_is_read_as_chat_reads_it() -> None:
    """llama.cpp's chunks, each delta's content in `text`: the same tokens, usage and end."""
    recorded = CAPTURE.read_bytes().partition(b"\r\n\r\n")[2]
    made = re.sub(rb'"delta":\{"content":("(?:[^"\\]|\\.)*")\}', rb'"text":\1', recorded)
    assert made.count(b'"text"') == read(CHAT, recorded).chunks > 1
    assert told(read(API, made)) == told(read(CHAT, recorded))


def body(*texts: bytes, stream: bool = True, **extra: Any) -> bytes:
    options = BodyOptions("m", stream, True, "max_completion_tokens", extra)
    return API.body_format(options).write(texts or (b"one two",), 9)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"[DONE]", Said(end=True)),
        (b'{"choices":[{"text":"a"}]}', Said(token=Token.text)),
        (b'{"choices":[{"text":""}]}', Said()),
        (b'{"choices":[{"text":"","finish_reason":"stop"}]}', Said(finish="stop")),
        (
            b'{"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}',
            Said(usage=Usage(2, 1)),
        ),
        (b'{"error":{"message":"full"}}', Said(error="full")),
    ],
)
def test_what_an_event_says(payload: bytes, said: Said) -> None:
    """A text is a token, an empty one is none."""
    assert API.read_event("", payload) == said


def test_a_plain_answer_has_the_shape_of_a_chunk() -> None:
    """Text, finish reason and usage at once, without instants."""
    plain = json.dumps({**chunk("abc", "stop"), "usage": USAGE}).encode()
    answer = read(API, plain, stream=False)
    assert (answer.chunks, answer.first_token_ns, answer.finish) == (1, -1, "stop")
    assert (answer.prompt_tokens, answer.output_tokens, answer.complete) == (5, 3, True)


def test_bodies_hold_one_prompt_and_the_only_name_of_its_length() -> None:
    """Turns follow one another; the user's keys win; usage is asked for in streams alone."""
    made = json.loads(body(b"one", b"", b"two\\n", temperature=0))
    assert made == {
        "model": "m",
        "prompt": "one two\n",
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
    }
    assert json.loads(body(stream=False, max_tokens=3)) == {
        "model": "m",
        "prompt": "one two",
        "max_tokens": 3,
        "stream": False,
    }


def test_a_server_without_usage_in_streams_is_asked_without_once() -> None:
    """Only what it names is left out."""
    form = API.body_format(BodyOptions("m", True, True, "max_tokens", {}))
    assert not form.drop_refused("unknown model")
    assert form.drop_refused("unrecognized request argument: stream_options")
    assert "stream_options" not in json.loads(form.write((b"a",), 1))
    assert not form.drop_refused("unrecognized request argument: stream_options")


def test_the_best_of_several_is_billed_for_all() -> None:
    """`best_of` answers are made, whatever `n` shows."""
    found = API.answer_limit({"n": 2, "best_of": 5, "max_tokens": 7}, "max_completion_tokens")
    assert found == AnswerLimit(5, (7,), planned=False)
    assert API.answer_limit({}, "max_completion_tokens") == AnswerLimit()
