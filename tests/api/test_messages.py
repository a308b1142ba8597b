"""Anthropic's Messages: what each event says, at every split, and beside the official client."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api.answer import Answer, MalformedAnswer, Said, StreamError, Token, Usage
from bench.api.cause import Cause
from bench.api.framing import EventStream
from bench.api.interface import AnswerLimit, BodyOptions
from bench.api.messages import API, LOOK
from bench.api.quick import QuickReader
from bench.api.tier import TierClass
from bench.plan.target import Target
from bench.record.samples import Outcome
from tests.api.test_seam import flown
from tests.support.both_readings import agree, at_every_split
from tests.support.reference_stream import pieces


@pytest.mark.parametrize(
    ("base", "messages", "models"),
    [
        ("https://h", "https://h/v1/messages", "https://h/v1/models"),
        ("https://h/v1/", "https://h/v1/messages", "https://h/v1/models"),
        ("https://h/v1/messages", "https://h/v1/messages", "https://h/v1/models"),
        ("https://h/anthropic", "https://h/anthropic/v1/messages", "https://h/anthropic/v1/models"),
        ("https://h/a/v2", "https://h/a/v2/messages", "https://h/a/v2/models"),
        (
            "https://r.services.ai.azure.com",
            "https://r.services.ai.azure.com/anthropic/v1/messages",
            "https://r.services.ai.azure.com/anthropic/v1/models",
        ),
        (
            "https://bedrock-mantle.us-east-1.api.aws",
            "https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages",
            "https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/models",
        ),
    ],
)
def test_urls(base: str, messages: str, models: str) -> None:
    """With or without /v1, with the whole path, below a prefix."""
    target = Target(description="d", name="t", api="messages", base_url=base, model="m")
    assert (target.request_url, target.ready_url) == (messages, models)


@pytest.mark.parametrize(
    ("api", "path", "other"),
    [
        ("messages", "/v1/chat/completions", "chat"),
        ("messages", "/v1beta/models/m:streamGenerateContent", "gemini"),
        ("gemini", "/v1/messages", "messages"),
        ("chat", "/v1beta/models/m:generateContent", "gemini"),
    ],
)
def test_the_whole_path_of_another_api_is_refused(api: str, path: str, other: str) -> None:
    """With both names in the sentence."""
    with pytest.raises(ValueError, match=f'api = "{other}" and the target speaks "{api}"'):
        Target(description="d", name="t", api=api, base_url=f"https://h{path}", model="m")


# ---- events by hand


def delta(kind: str, **fields: Any) -> dict[str, Any]:
    """A content_block_delta."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **fields}}


def start(**usage: Any) -> dict[str, Any]:
    """A message_start."""
    message = {"id": "m-1", "type": "message", "role": "assistant", "content": [], "model": "c-5"}
    return {"type": "message_start", "message": message | {"stop_reason": None, "usage": usage}}


def block(kind: str, **fields: Any) -> dict[str, Any]:
    """A content_block_start."""
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **fields}}


def stop(reason: str | None, **usage: Any) -> dict[str, Any]:
    """A message_delta."""
    gone = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": gone, "usage": usage}


def failure(kind: str, message: str) -> dict[str, Any]:
    """An error, as an event or as a body."""
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            start(
                input_tokens=9,
                cache_read_input_tokens=5,
                cache_creation_input_tokens=2,
                output_tokens=1,
                service_tier="standard",
                inference_geo="eu",
            ),
            Said(
                usage=Usage(cached_tokens=5, fresh_tokens=9, written_tokens=2),
                model="c-5",
                tier="standard",
                region="eu",
            ),
        ),
        (
            start(input_tokens=9, service_tier="standard", speed="fast"),
            Said(usage=Usage(fresh_tokens=9), model="c-5", tier="fast"),
        ),
        (start(), Said(usage=Usage(), model="c-5")),
        ({"type": "message_start"}, Said(malformed="message_start without message")),
        ({"type": "ping"}, Said()),
        ({"type": "one of tomorrow", "delta": {"type": "text_delta", "text": "a"}}, Said()),
        (block("text", text=""), Said()),
        (block("text", text="whole"), Said(token=Token.text)),
        (block("thinking", thinking="", signature=""), Said()),
        (block("redacted_thinking", data="xyz"), Said(token=Token.reasoning)),
        (block("tool_use", id="t", name="f", input={}), Said()),
        (delta("text_delta", text="a"), Said(token=Token.text)),
        (delta("text_delta", text=""), Said()),
        (delta("thinking_delta", thinking="h"), Said(token=Token.reasoning)),
        (delta("signature_delta", signature="s"), Said()),
        (delta("citations_delta", citation={"type": "c"}), Said()),
        (delta("input_json_delta", partial_json=""), Said(token=Token.tool_call)),
        (delta("input_json_delta", partial_json='{"a'), Said(token=Token.tool_call)),
        (delta("delta of tomorrow", text="a"), Said()),
        ({"type": "content_block_delta"}, Said(malformed="content_block_delta without delta")),
        ({"type": "content_block_stop", "index": 0}, Said()),
        (
            stop("end_turn", output_tokens=7, output_tokens_details={"thinking_tokens": 3}),
            Said(usage=Usage(output_tokens=7, reasoning_tokens=3), finish="end_turn"),
        ),
        (stop("refusal", output_tokens=0), Said(usage=Usage(output_tokens=0), finish="refusal")),
        (stop(None, output_tokens=4), Said(usage=Usage(output_tokens=4))),
        ({"type": "message_stop"}, Said(end=True)),
        (
            failure("overloaded_error", "Overloaded"),
            Said(error="Overloaded", error_code="overloaded_error"),
        ),
        ({"error": {"message": "odd"}}, Said(error="odd")),
    ],
)
def test_what_an_event_says(event: dict[str, Any], said: Said) -> None:
    """Each kind of event, and nothing that it does not say."""
    assert API.read_event(str(event.get("type", "")), json.dumps(event).encode()) == said


def test_what_is_no_event() -> None:
    """The chunks of another API are named as such; an error event counts whatever it holds."""
    with pytest.raises(MalformedAnswer, match="no stream of the Messages API"):
        API.read_event("", b'{"object":"chat.completion.chunk","choices":[]}')
    with pytest.raises(MalformedAnswer):
        API.read_event("message_stop", b"[1]")
    assert API.read_event("error", b"upstream gone") == Said(error="upstream gone")
    assert API.read_event("message_stop", b"{}") == Said(end=True)
    assert API.read_event("ping", b"  ") == Said()


# ---- streams


def sse(*events: dict[str, Any], end: str = "\n") -> bytes:
    """Events as the API writes them."""
    made = [
        f"event: {event['type']}{end}data: {json.dumps(event, separators=(',', ':'))}{end}{end}"
        for event in events
    ]
    return "".join(made).encode()


def type_last(event: dict[str, Any]) -> dict[str, Any]:
    """The same with its keys in another order."""
    others = {key: value for key, value in event.items() if key != "type"}
    return {**others, "type": event["type"]}


BEGIN = start(input_tokens=9, cache_read_input_tokens=5, output_tokens=1, service_tier="standard")
STOP = {"type": "content_block_stop", "index": 0}
END = {"type": "message_stop"}
PING = {"type": "ping"}
TEXT = [block("text", text=""), *(delta("text_delta", text=f" t{n}") for n in range(4)), STOP]
TOOL = [
    block("tool_use", id="t-1", name="weather", input={}),
    delta("input_json_delta", partial_json=""),
    delta("input_json_delta", partial_json='{"city": "Z\\"'),
    delta("input_json_delta", partial_json='rich"}'),
    STOP,
]
THINKING = [
    block("thinking", thinking="", signature=""),
    *(delta("thinking_delta", thinking=f"h{n}") for n in range(3)),
    delta("signature_delta", signature="EqQB"),
    STOP,
]
DONE = stop("end_turn", output_tokens=6)

#: name -> (stream, chunks, prompt, output, finish, error)
STREAMS: dict[str, tuple[bytes, int, int, int, str | None, str | None]] = {
    "text": (sse(BEGIN, PING, *TEXT, DONE, END), 4, 14, 6, "end_turn", None),
    "text, CR LF": (sse(BEGIN, *TEXT, DONE, END, end="\r\n"), 4, 14, 6, "end_turn", None),
    "thinking": (
        sse(BEGIN, *THINKING, *({**each, "index": 1} for each in TEXT), DONE, END),
        7,
        14,
        6,
        "end_turn",
        None,
    ),
    "a tool": (
        sse(BEGIN, *TOOL, stop("tool_use", output_tokens=20), END),
        3,
        14,
        20,
        "tool_use",
        None,
    ),
    "refused": (sse(BEGIN, stop("refusal", output_tokens=0), END), 0, 14, 0, "refusal", None),
    "counts that grow": (
        sse(
            start(input_tokens=3, cache_creation_input_tokens=4, output_tokens=1),
            *TEXT,
            stop(None, input_tokens=8, output_tokens=5),
            stop("end_turn", input_tokens=10, cache_read_input_tokens=2, output_tokens=9),
            END,
        ),
        4,
        16,
        9,
        "end_turn",
        None,
    ),
    "counts at the end alone": (
        sse(
            start(input_tokens=0, output_tokens=0),
            *TEXT,
            stop("max_tokens", input_tokens=34, output_tokens=5),
            END,
        ),
        4,
        34,
        5,
        "max_tokens",
        None,
    ),
    "overloaded": (
        sse(BEGIN, *TEXT[:3], failure("overloaded_error", "Overloaded")),
        2,
        14,
        -1,
        None,
        "Overloaded",
    ),
    "cut": (sse(BEGIN, *TEXT, DONE), 4, 14, 6, "end_turn", None),
    "a comment and another order of keys": (
        b": hi\n\n" + sse(BEGIN, *map(type_last, TEXT), DONE, END),
        4,
        14,
        6,
        "end_turn",
        None,
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_read_the_same_at_every_split(name: str) -> None:
    """Counted by hand; the quick reader sees what decoding sees, wherever the bytes are cut."""
    stream, chunks, prompt, output, finish, error = STREAMS[name]
    found = at_every_split(API, stream)
    assert (found.chunks, found.prompt_tokens, found.output_tokens) == (chunks, prompt, output)
    assert (found.finish, found.error, found.model) == (finish, error, "c-5")
    assert found.complete is (stream.find(b"message_stop") > 0)
    assert found.code == ("overloaded_error" if error else "")


TEXTS = st.one_of(st.text(max_size=6), st.sampled_from(['"', "\\", '","type":"x', "\n\n", "é"]))
DELTAS = st.one_of(
    st.builds(lambda text: delta("text_delta", text=text), TEXTS),
    st.builds(lambda text: delta("thinking_delta", thinking=text), TEXTS),
    st.builds(lambda text: delta("input_json_delta", partial_json=text), TEXTS),
    st.builds(lambda text: delta("text_delta", text=text, thinking=text), TEXTS),
    st.builds(lambda text: delta("thinking_delta", text=text), TEXTS),
    st.builds(lambda text: {**delta("text_delta", text=text), "type": "other"}, TEXTS),
    st.sampled_from(
        [PING, STOP, DONE, END, BEGIN, failure("api_error", "x"), block("text", text="a")]
    ),
)


@given(
    st.lists(DELTAS, max_size=6),
    st.booleans(),
    st.sampled_from([None, (",", ":")]),
    st.booleans(),
    st.data(),
)
@settings(deadline=None, max_examples=40)
def test_any_events_at_any_splits(
    made: list[dict[str, Any]],
    ascii_only: bool,
    separators: tuple[str, str] | None,
    named: bool,
    data: st.DataObject,
) -> None:
    """Whatever texts hold and however JSON is written: the quick reader sees what decoding sees."""
    stream = b"".join(
        (f"event: {event['type']}\n" if named else "").encode()
        + b"data: "
        + json.dumps(event, ensure_ascii=ascii_only, separators=separators).encode()
        + b"\n\n"
        for event in [BEGIN, *TEXT[:3], *made]
    )
    ends = [at + 2 for at in range(len(stream)) if stream.startswith(b"\n\n", at)][:-1]
    agree(API, stream, ends)
    cuts = data.draw(st.lists(st.integers(1, len(stream) - 1), max_size=4, unique=True))
    agree(API, stream, cuts)


def test_events_of_a_known_shape_are_counted_without_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a long answer, thinking and text, a handful of deltas are decoded."""
    decoded: list[str] = []
    read = API.read_event

    def counted(name: str, payload: bytes) -> Said:
        decoded.append(name)
        return read(name, payload)

    answer = Answer()
    reader = QuickReader(answer, EventStream(), counted, LOOK)
    for event in (BEGIN, *THINKING[:2], *[THINKING[2]] * 500, *TEXT[:2], *[TEXT[2]] * 500):
        reader.feed(sse(event), 1)
    assert answer.chunks == 1002
    # A shape is learned from two more readings: with another text, and with none.
    assert len(decoded) <= 12


# ---- the official client, on the same bytes


@pytest.fixture(scope="module")
def vendor() -> Any:
    """Anthropic's package: it takes two seconds to import."""
    import anthropic

    return anthropic


def official(vendor: Any, reply: httpx2.Response, seen: list[httpx2.Request]) -> Any:
    """Anthropic's client, which is answered by `reply`."""

    def serve(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return reply

    return vendor.Anthropic(
        api_key="key-1",
        base_url="https://h",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(serve)),
    )


ASK: dict[str, Any] = {
    "model": "c-5",
    "max_tokens": 7,
    "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": 'c"'},
    ],
}


def streamed(content: bytes) -> httpx2.Response:
    """A stream as a response."""
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=content)


@pytest.mark.parametrize("name", [name for name in STREAMS if "order of keys" not in name])
def test_the_official_client_reads_the_same(name: str, vendor: Any) -> None:
    """Tokens, usage, finish and error: as anthropic's own stream accumulates them."""
    stream = STREAMS[name][0]
    found = agree(API, stream)
    seen = error = None
    message: Any = None
    counted = {"text": 0, "thinking": 0, "input_json": 0}
    try:
        with official(vendor, streamed(stream), []).messages.stream(**ASK) as events:
            for event in events:
                if event.type in counted:
                    counted[event.type] += 1
                message = events.current_message_snapshot
    except vendor.APIStatusError as caught:
        error, seen = caught.body["error"]["message"], caught.body["error"]["type"]
    assert (found.error, found.code) == (error, seen or "")
    assert found.chunks == sum(counted.values())
    usage = message.usage
    parts = (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    assert found.prompt_tokens == sum(part or 0 for part in parts)
    # The client shows the first message's count of 1 until there is a last one.
    assert found.output_tokens == (-1 if error else usage.output_tokens)
    assert (found.finish, found.model) == (message.stop_reason, message.model)
    assert found.tier == usage.service_tier


@pytest.mark.parametrize("name", ["text", "text, CR LF", "a tool"])
def test_the_official_decoder_cuts_the_same_events_at_every_split(name: str, vendor: Any) -> None:
    """Name and data of each event, wherever the bytes are cut."""
    stream = STREAMS[name][0]
    for cut in range(1, len(stream)):
        parts = pieces(stream, [cut])
        ours, events = EventStream(), list[tuple[str, str]]()
        for part in parts:
            events += ((name, data.decode()) for name, data in ours.feed(part))
        theirs = [
            (event.event, event.data)
            for event in vendor._streaming.SSEDecoder().iter_bytes(iter(parts))
        ]
        assert events == theirs


@pytest.mark.parametrize("stream", [True, False])
def test_requests_are_the_official_clients(stream: bool, vendor: Any) -> None:
    """URL and body, but for how JSON is spaced; the version is the one that imitators know."""
    requests: list[httpx2.Request] = []
    whole = {"type": "message", "content": [], "usage": {}}
    reply = streamed(b"") if stream else httpx2.Response(200, json=whole)
    official(vendor, reply, requests).messages.create(**ASK, stream=stream, service_tier="auto")
    (request,) = requests
    options = BodyOptions(
        "c-5", stream, True, "max_completion_tokens", {}, {"service_tier": "auto"}
    )
    body = API.body_format(options).write([b"a", b"b", b'c\\"'], 7)
    assert json.loads(body) == json.loads(request.content)
    target = Target(description="d", name="t", api="messages", base_url="https://h", model="c-5")
    assert target.request_url == str(request.url)
    assert "anthropic-version" in request.headers
    assert dict(API.headers) == {"anthropic-version": "2023-06-01"}


VERTEX = "https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "base",
    [
        VERTEX,
        f"{VERTEX}/publishers/anthropic",
        f"{VERTEX}/publishers/anthropic/models/c-5@1:rawPredict",
        f"{VERTEX}/publishers/anthropic/models/c-5@1:streamRawPredict",
    ],
)
def test_requests_to_vertex_are_the_official_clients(base: str, stream: bool, vendor: Any) -> None:
    """The model stands in the path, a version of Google's own in the body."""
    requests: list[httpx2.Request] = []
    whole = {"type": "message", "content": [], "usage": {}}
    reply = streamed(b"") if stream else httpx2.Response(200, json=whole)

    def serve(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return reply

    client = vendor.AnthropicVertex(
        project_id="p",
        region="eu",
        access_token="token",  # noqa: S106 none
        base_url="https://eu-aiplatform.googleapis.com/v1",
        http_client=httpx2.Client(transport=httpx2.MockTransport(serve)),
    )
    client.messages.create(**{**ASK, "model": "c-5@1"}, stream=stream)
    target = Target(
        description="d",
        name="t",
        api="messages",
        base_url=base,
        model="c-5@1",
        stream=stream,
        auth="google",
    )
    options = BodyOptions("c-5@1", stream, True, "max_tokens", {}, url=target.request_url)
    body = API.body_format(options).write([b"a", b"b", b'c\\"'], 7)
    ours, theirs = json.loads(body), json.loads(requests[0].content)
    # The client writes its own newest version; this one is Google's, which older models know too.
    assert ours.pop("anthropic_version") == "vertex-2023-10-16"
    assert theirs.pop("anthropic_version")
    assert ours == theirs
    assert target.request_url == str(requests[0].url)
    assert target.ready_url == f"{VERTEX}/publishers/anthropic/models"
    dedicated = API.ask_tier("dedicated", target.base_url)
    assert dedicated.headers == (("X-Vertex-AI-LLM-Request-Type", "dedicated"),)


@pytest.mark.parametrize(
    ("content", "token", "finish"),
    [
        ([{"type": "text", "text": "hi"}], Token.text, "end_turn"),
        ([{"type": "thinking", "thinking": "h", "signature": "s"}], Token.reasoning, "max_tokens"),
        (
            [
                {"type": "thinking", "thinking": "h", "signature": "s"},
                {"type": "text", "text": "a"},
            ],
            Token.text,
            "end_turn",
        ),
        ([{"type": "tool_use", "id": "t", "name": "f", "input": {}}], Token.tool_call, "tool_use"),
        ([], None, "refusal"),
    ],
)
def test_plain_answers(
    content: list[dict[str, Any]], token: Token | None, finish: str, vendor: Any
) -> None:
    """Usage, finish and content, as the official client reads the same body."""
    usage = {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 5}
    body: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "model": "c-5"}
    body["content"] = content
    body |= {"stop_reason": finish, "usage": {**usage, "service_tier": "priority"}}
    said = API.read_body(json.dumps(body).encode())
    message = official(vendor, httpx2.Response(200, json=body), []).messages.create(**ASK)
    assert said.token is token
    assert (said.finish, said.model) == (message.stop_reason, message.model)
    assert said.tier == message.usage.service_tier
    answer, reader = API.open(False)
    reader.feed(json.dumps(body).encode(), 3)
    reader.close()
    assert (answer.prompt_tokens, answer.output_tokens, answer.cached_tokens) == (7, 5, 4)


def test_plain_answers_that_are_none() -> None:
    """An error inside a 200, and what is no message."""
    for body, error, text in (
        (failure("api_error", "gone"), StreamError, "gone"),
        ({"type": "message", "usage": {"input_tokens": 1}}, MalformedAnswer, "without content"),
    ):
        _, reader = API.open(False)
        reader.feed(json.dumps(body).encode(), 1)
        with pytest.raises(error, match=text):
            reader.close()


# ---- rows, tiers, causes, bounds


def test_what_a_row_keeps() -> None:
    """Outcome, cause, the vendor's code and id, and what is left of the buyer's limits."""
    headers = (
        (b"request-id", b"req_1"),
        (b"anthropic-ratelimit-requests-remaining", b"7"),
        (b"anthropic-ratelimit-input-tokens-remaining", b"1000"),
        (b"anthropic-ratelimit-tokens-remaining", b"900"),
        (b"anthropic-ratelimit-output-tokens-remaining", b"950"),
    )
    request, ends = flown(API, STREAMS["text"][0], b"text/event-stream", *headers, cut=40)
    assert ends == [(Outcome.ok, "")]
    assert (request.request_id, request.requests_left, request.tokens_left) == (b"req_1", 7, 900)
    _, ends = flown(API, STREAMS["cut"][0], b"text/event-stream; charset=utf-8", cut=40)
    assert ends == [(Outcome.truncated, "stream ended without message_stop")]
    request, ends = flown(API, STREAMS["overloaded"][0], b"text/event-stream", cut=40)
    assert ends == [(Outcome.stream_error, "Overloaded")]
    assert (request.error_code, request.cause(*ends[0])) == ("overloaded_error", Cause.overload)


@pytest.mark.parametrize(
    ("tier", "body", "headers"),
    [
        ("auto", {"service_tier": "auto"}, ()),
        ("Priority", {"service_tier": "auto"}, ()),
        ("standard", {"service_tier": "standard_only"}, ()),
        ("fast", {"speed": "fast"}, (("anthropic-beta", "fast-mode-2026-02-01"),)),
        ("provisioned", {}, ()),
    ],
)
def test_tiers_are_asked_for(tier: str, body: dict[str, str], headers: tuple[Any, ...]) -> None:
    """By service tier, by speed, or by what was deployed."""
    assert API.ask_tier(tier, "https://h") == (body, headers)


def test_tiers_that_are_none_and_what_served_ones_are_worth() -> None:
    """A tier that cannot be asked for is refused with those that can."""
    with pytest.raises(ValueError, match=r"'flex' cannot be asked for in 'messages'.*standard"):
        API.ask_tier("flex", "https://h")
    assert [API.tier_class(word) for word in ("priority", "fast", "standard", "batch", "new")] == [
        TierClass.priority,
        TierClass.priority,
        TierClass.standard,
        TierClass.flex,
        TierClass.unknown,
    ]


@pytest.mark.parametrize(
    ("status", "kind", "cause"),
    [
        (400, "invalid_request_error", Cause.request),
        (401, "authentication_error", Cause.auth),
        (402, "billing_error", Cause.spend),
        (403, "permission_error", Cause.auth),
        (404, "not_found_error", Cause.request),
        (413, "request_too_large", Cause.request),
        (429, "rate_limit_error", Cause.quota),
        (500, "api_error", Cause.server),
        (504, "timeout_error", Cause.server),
        (529, "overloaded_error", Cause.overload),
        (200, "overloaded_error", Cause.overload),
    ],
)
def test_whose_fault_errors_are(status: int, kind: str, cause: Cause) -> None:
    """By type, also inside a stream (https://platform.claude.com/docs/en/api/errors)."""
    body = json.dumps(failure(kind, "m")).encode()
    assert (API.error_code(body), API.error_message(body)) == (kind, "m")
    assert API.cause(status, kind, "m") is cause
    credit = "Your credit balance is too low to access the Anthropic API."
    assert API.cause(400, "invalid_request_error", credit) is Cause.spend


@pytest.mark.parametrize(
    ("extra", "limit"),
    [
        ({}, AnswerLimit()),
        ({"max_tokens": 9}, AnswerLimit(lengths=(9,), planned=False)),
        ({"max_tokens": "9"}, AnswerLimit(planned=False, unbounded=True)),
    ],
)
def test_how_long_answers_may_be(extra: dict[str, Any], limit: AnswerLimit) -> None:
    """`max_tokens` has one name, whatever the target calls it."""
    assert API.answer_limit(extra, "max_completion_tokens") == limit
