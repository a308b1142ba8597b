"""Chat completions: URLs, bodies' bounds, and what each kind of chunk says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.api.address import complete_url
from bench.api.answer import Answer, MalformedAnswer, Said, Token, Usage
from bench.api.chat import API
from bench.api.interface import AnswerLimit
from tests.support.vendor_client import client_of, each_split, read, told


@pytest.mark.parametrize(
    ("base", "own", "url"),
    [
        ("https://h/d?api-version=7", "/x", "https://h/d/x?api-version=7"),
        ("https://h/d/?a=b?c", "/x?alt=sse", "https://h/d/x?a=b?c&alt=sse"),
        ("https://[::1]:8/", "/x?alt=sse", "https://[::1]:8/x?alt=sse"),
        ("${TP_URL}/v1", "/x", "${TP_URL}/v1/x"),
    ],
)
def test_queries_of_the_user_and_of_the_api_are_both_kept(base: str, own: str, url: str) -> None:
    """The path is completed before the query; host, port and variables stay as written."""
    assert complete_url(base, lambda path: path + own) == url


def event(delta: dict[str, Any] | None, finish: str | None = None, **top: Any) -> bytes:
    """A chunk's payload."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return json.dumps({"choices": choices, **top}).encode()


CALL = {"tool_calls": [{"function": {"name": "f", "arguments": ""}}]}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"[DONE]", Said(end=True)),
        (b" [DONE] ", Said(end=True)),
        (b"  ", Said()),
        (event({"role": "assistant", "content": ""}), Said()),
        (event({"content": "a"}, model="m"), Said(token=Token.text, model="m")),
        (event({"refusal": "no"}), Said(token=Token.refusal)),
        (event(CALL), Said(token=Token.tool_call)),
        (event({"tool_calls": [{"function": {}}, 5]}), Said()),
        (event({"reasoning": "h", "content": None}), Said(token=Token.reasoning)),
        (event({"reasoning_content": "h", "content": "a"}), Said(token=Token.text)),
        (event({}, "stop"), Said(finish="stop")),
        (
            event(None, usage={"prompt_tokens": 5, "completion_tokens": 3}, service_tier="flex"),
            Said(usage=Usage(5, 3), tier="flex"),
        ),
        (event(None, error={"message": "full"}), Said(error="full")),
        (b'{"object":"error","message":"full"}', Said(error="full")),
        (
            b'{"choices":5,"usage":{"prompt_tokens":1}}',
            Said(usage=Usage(1), malformed="choices is not a list"),
        ),
    ],
)
def test_what_an_event_says(payload: bytes, said: Said) -> None:
    """Each kind of chunk, and nothing that it does not say."""
    assert API.read_event("", payload) == said


def test_what_comes_again_replaces_what_was_known_and_the_rest_stays() -> None:
    """Usage in pieces adds up by its latest words; what served the request is what was named
    first.
    """
    answer = Answer()
    for said in (
        Said(usage=Usage(prompt_tokens=7), model="a"),
        Said(usage=Usage(output_tokens=1), model="b", tier="flex"),
        Said(usage=Usage(output_tokens=5, cached_tokens=2), region="east"),
    ):
        answer.add(said, 1)
    counts = (answer.prompt_tokens, answer.output_tokens, answer.reasoning_tokens)
    assert (*counts, answer.cached_tokens) == (7, 5, -1, 2)
    assert (answer.model, answer.tier, answer.region, answer.chunks) == ("a", "flex", "east", 0)
    with pytest.raises(MalformedAnswer, match="odd"):
        answer.add(Said(usage=Usage(8), malformed="odd", token=Token.text), 2)
    assert (answer.prompt_tokens, answer.chunks) == (8, 0)


@pytest.mark.parametrize(
    ("extra", "field", "limit"),
    [
        ({}, "max_tokens", AnswerLimit()),
        ({"n": 3, "max_tokens": 7}, "max_tokens", AnswerLimit(3, (7,), planned=False)),
        ({"max_completion_tokens": 9}, "max_tokens", AnswerLimit(1, (9,))),
        (
            {"max_tokens": "x"},
            "max_tokens",
            AnswerLimit(1, (), planned=False, unbounded=True),
        ),
        ({"n": "two"}, "max_tokens", AnswerLimit()),
    ],
)
def test_how_long_answers_may_be(extra: dict[str, Any], field: str, limit: AnswerLimit) -> None:
    """By the extra body's own lengths, or by the plan's."""
    assert API.answer_limit(extra, field) == limit


def test_a_stream_is_what_the_official_client_reads_at_every_split() -> None:
    """Azure's filter results before the first choice, reasoning, texts, a call in pieces, usage."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    piece = {"index": 0, "function": {"arguments": '{"a":1}'}}
    top: dict[str, Any] = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
    }
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 9,
        "total_tokens": 14,
        "completion_tokens_details": {"reasoning_tokens": 4},
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    payloads = [
        event(None, prompt_filter_results=[], **top),
        event({"role": "assistant", "content": ""}, **top),
        event({"reasoning_content": "hm"}, **top),
        event({"content": 'say "content":"x"'}, **top),
        event({"content": " ü"}, **top),
        event({"tool_calls": [call]}, **top),
        event({"tool_calls": [piece]}, **top),
        event({}, "tool_calls", **top),
        event(None, usage=usage, service_tier="default", **top),
        b"[DONE]",
    ]
    body = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    client, asked = client_of(body, size=3)
    tokens, finish, tier, counted = 0, None, None, None
    messages: Any = [{"role": "user", "content": "p"}]
    for chunk in client.chat.completions.create(model="m", messages=messages, stream=True):
        tier, counted = chunk.service_tier or tier, chunk.usage or counted
        for choice in chunk.choices:
            found = choice.delta
            tokens += bool(found.content or getattr(found, "reasoning_content", None))
            tokens += bool(found.tool_calls)
            finish = choice.finish_reason or finish
    assert counted is not None
    whole = read(API, body)
    known = (counted.prompt_tokens, counted.completion_tokens, 4, 2)
    assert told(whole) == (tokens, *known, finish, "m-1", tier, True)
    assert tokens == 5
    assert all(told(answer) == told(whole) for answer in each_split(API, body))
    assert asked[0].url.path == API.path("/v1", "m", True)
