"""Responses: bodies, and what each kind of event says, beside the official client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import ResponseCompletedEvent, ResponseIncompleteEvent

from bench.api.answer import MalformedAnswer, Said, StreamError, Token, Usage
from bench.api.interface import AnswerLimit, BodyOptions
from bench.api.responses import API
from tests.support.vendor_client import client_of, each_split, read, told

USAGE = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 32, "cache_write_tokens": 0},
    "output_tokens": 87,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 123,
}
WITHOUT = Usage(36, 87, 64, 32)


def response(status: str, **more: Any) -> dict[str, Any]:
    made = {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "error": None}
    made |= {"incomplete_details": None, "model": "gpt-5.6", "output": [], "service_tier": "auto"}
    return made | {"parallel_tool_calls": True, "tools": [], "tool_choice": "auto"} | more


def events(*made: dict[str, Any]) -> bytes:
    """As OpenAI writes them: a name, and the same as `type` with a number."""
    return "".join(
        f"event: {each['type']}\ndata: {json.dumps({**each, 'sequence_number': number})}\n\n"
        for number, each in enumerate(made)
    ).encode()


def delta(kind: str, text: Any, **more: Any) -> dict[str, Any]:
    where = {"item_id": "i", "output_index": 0, "content_index": 0}
    return {"type": f"response.{kind}.delta", "delta": text, **where, **more}


CREATED = {"type": "response.created", "response": response("in_progress")}
CALL = {"type": "function_call", "id": "f", "call_id": "c", "name": "look_up", "arguments": ""}
STREAM = events(
    CREATED,
    {"type": "response.in_progress", "response": response("in_progress")},
    delta("reasoning_summary_text", "Hm", summary_index=0),
    delta("output_text", "", logprobs=[]),
    delta("output_text", "Hällo", logprobs=[]),
    delta("output_text", ' "x"\n', logprobs=[]),
    {"type": "response.output_item.added", "output_index": 1, "item": CALL},
    delta("function_call_arguments", '{"a":'),
    delta("function_call_arguments", "1}"),
    {
        "type": "response.incomplete",
        "response": response(
            "incomplete",
            incomplete_details={"reason": "max_output_tokens"},
            usage=USAGE,
            service_tier="priority",
        ),
    },
)


def test_a_stream_is_what_the_official_client_reads_at_every_split() -> None:
    """Deltas with text and the name of a call are tokens; the end says tier, usage and why."""
    client, asked = client_of(STREAM, size=5)
    tokens, last = 0, None
    for event in client.responses.create(model="m", input="p", stream=True):
        tokens += bool(isinstance(getattr(event, "delta", None), str) and event.delta)  # type: ignore[union-attr]
        tokens += event.type == "response.output_item.added" and event.item.type == "function_call"
        if isinstance(event, (ResponseCompletedEvent, ResponseIncompleteEvent)):
            last = event.response
    assert last is not None
    assert last.usage is not None
    assert last.incomplete_details is not None
    whole = read(API, STREAM)
    assert told(whole) == (
        tokens,
        last.usage.input_tokens,
        last.usage.output_tokens,
        last.usage.output_tokens_details.reasoning_tokens,
        last.usage.input_tokens_details.cached_tokens,
        last.incomplete_details.reason,
        last.model,
        last.service_tier,
        True,
    )
    assert all(told(answer) == told(whole) for answer in each_split(API, STREAM))
    assert asked[0].url.path == API.path("/v1", "m", True)
    assert set(json.loads(asked[0].content)) <= set(json.loads(body()))


def test_reasoning_comes_before_the_first_token_of_the_answer() -> None:
    """Event by event: the summary is the first token, the text the first of the answer."""
    ends = [at + 2 for at in range(len(STREAM)) if STREAM.startswith(b"\n\n", at)]
    answer = read(API, STREAM, *ends[:-1])
    assert (answer.first_token_ns, answer.first_answer_token_ns, answer.last_token_ns) == (2, 4, 8)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (CREATED, Said(model="gpt-5.6")),
        ({"type": "response.queued", "response": {}}, Said()),
        (delta("output_text", "a"), Said(token=Token.text)),
        (delta("output_text", ""), Said()),
        (delta("refusal", "no"), Said(token=Token.refusal)),
        (delta("reasoning_text", "h"), Said(token=Token.reasoning)),
        (delta("custom_tool_call_input", "x"), Said(token=Token.tool_call)),
        (delta("mcp_call_arguments", "x"), Said(token=Token.tool_call)),
        (delta("shell_call_output_content", {"stdout": "x"}), Said()),
        (delta("audio.transcript", "x"), Said(token=Token.text)),
        (
            {"type": "response.output_item.added", "item": {"type": "message", "content": []}},
            Said(),
        ),
        ({"type": "response.output_item.added", "item": CALL}, Said(token=Token.tool_call)),
        ({"type": "response.output_text.done", "text": "all"}, Said()),
        (
            {
                "type": "response.completed",
                "response": response("completed", usage=USAGE, service_tier="default"),
            },
            Said(usage=WITHOUT, finish="completed", model="gpt-5.6", tier="default", end=True),
        ),
        (
            {
                "type": "response.incomplete",
                "response": {"incomplete_details": {"reason": "content_filter"}},
            },
            Said(finish="content_filter", end=True),
        ),
        (
            {
                "type": "response.failed",
                "response": response("failed", error={"code": "server_error", "message": "sorry"}),
            },
            Said(error="sorry"),
        ),
        (
            {"type": "response.failed", "response": response("failed")},
            Said(error="the response is failed"),
        ),
        (
            {"type": "error", "code": "x", "message": "slow down", "param": None},
            Said(error="slow down"),
        ),
        ({"type": "error", "error": {"message": "slow down"}}, Said(error="slow down")),
        ({"error": {"message": "from a gateway"}}, Said(error="from a gateway")),
    ],
)
def test_what_an_event_says(event: dict[str, Any], said: Said) -> None:
    """Each kind; what a beginning repeats of the request is not what served it."""
    found = API.read_event("", json.dumps(event).encode())
    assert (found.token, found.usage, found.finish, found.model) == (
        said.token,
        said.usage,
        said.finish,
        said.model,
    )
    assert (found.tier, found.end, found.error) == (said.tier, said.end, said.error)


def test_an_event_may_be_known_by_its_name_alone() -> None:
    """Servers that leave out `type` name the event; some end with chat's word."""
    assert API.read_event("response.output_text.delta", b'{"delta":"a"}') == Said(token=Token.text)
    assert API.read_event("", b"[DONE]") == Said(end=True)
    with pytest.raises(MalformedAnswer):
        API.read_event("", b"nothing")


def test_a_stream_that_fails_or_stops_is_no_answer() -> None:
    """An error inside a 200 is the server's; without its last event a stream was cut."""
    failed = {"type": "response.failed", "response": response("failed", error={"message": "no"})}
    with pytest.raises(StreamError, match="no"):
        read(API, events(CREATED, failed))
    assert not read(API, events(CREATED, delta("output_text", "a"))).complete


def message(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(content)}


@pytest.mark.parametrize(
    ("output", "token"),
    [
        ([], None),
        ([{"type": "reasoning", "summary": []}], Token.reasoning),
        ([{"type": "reasoning"}, CALL], Token.tool_call),
        ([CALL, message({"type": "refusal", "refusal": "no"})], Token.refusal),
        ([CALL, message({"type": "output_text", "text": "a"})], Token.text),
        ([5, message(), {"type": "message", "content": "x"}], None),
    ],
)
def test_a_plain_answer_is_what_is_seen_of_it(output: list[Any], token: Token | None) -> None:
    """Of several kinds of output the text counts before the refusal, the call and the
    reasoning.
    """
    found = API.read_body(json.dumps(response("completed", output=output, usage=USAGE)).encode())
    assert (found.token, found.usage, found.finish) == (token, WITHOUT, "completed")


def test_a_plain_answer_that_is_none() -> None:
    """Failed, still running in the background, or another server's."""
    failed = response("failed", error={"code": "server_error", "message": "sorry"})
    assert API.read_body(json.dumps(failed).encode()).error == "sorry"
    assert API.read_body(b'{"object":"error","message":"full"}').error == "full"
    queued = API.read_body(json.dumps(response("queued")).encode())
    assert queued.malformed == "the answer is still queued: leave `background` out of the body"
    assert API.read_body(b'{"choices":[]}').malformed == "answer without output"


def body(*texts: bytes, **extra: Any) -> bytes:
    options = BodyOptions("m", True, True, "max_tokens", extra)
    return API.body_format(options).write(texts or (b"one two",), 9)


def test_bodies_hold_a_text_or_turns() -> None:
    """The length has one name here; the user's own wins."""
    assert json.loads(body(store=False)) == {
        "model": "m",
        "input": "one two",
        "max_output_tokens": 9,
        "stream": True,
        "store": False,
    }
    made = json.loads(body(b"a", b"b", b"c", max_output_tokens=3))
    assert made["max_output_tokens"] == 3
    assert made["input"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]


@pytest.mark.parametrize(
    ("extra", "limit"),
    [
        ({}, AnswerLimit()),
        ({"max_output_tokens": 7}, AnswerLimit(1, (7,), planned=False)),
        ({"max_output_tokens": None}, AnswerLimit(1, (), planned=False, unbounded=True)),
    ],
)
def test_how_long_answers_may_be(extra: dict[str, Any], limit: AnswerLimit) -> None:
    """By its own name of the length, whatever the target calls it."""
    assert API.answer_limit(extra, "max_completion_tokens") == limit
