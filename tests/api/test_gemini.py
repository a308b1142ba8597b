"""Google's generateContent: what each response says, at every split, and beside the official
client.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from bench.api.answer import MalformedAnswer, Said, StreamError, Token, Usage
from bench.api.cause import Cause
from bench.api.gemini import API
from bench.api.interface import AnswerLimit, BodyOptions
from bench.api.tier import TierClass
from bench.plan.target import Target
from bench.record.samples import Outcome
from tests.api.test_seam import flown
from tests.support.both_readings import at_every_split, facts
from tests.support.reference_stream import pieces

HOME = "https://generativelanguage.googleapis.com"
VERTEX = "https://europe-west4-aiplatform.googleapis.com"
PLACE = "/v1/projects/p-1/locations/europe-west4"


@pytest.mark.parametrize(
    ("base", "whole"),
    [
        (HOME, "/v1beta/models/g-3"),
        (f"{HOME}/v1", "/v1/models/g-3"),
        (f"{HOME}/v1beta/models", "/v1beta/models/g-3"),
        (f"{HOME}/v1beta/models/other", "/v1beta/models/other"),
        (f"{HOME}/v1beta/models/other:generateContent", "/v1beta/models/other"),
        (f"{HOME}/v1beta/models/other:streamGenerateContent", "/v1beta/models/other"),
        ("https://gateway/gemini", "/gemini/v1beta/models/g-3"),
        (f"{VERTEX}{PLACE}", f"{PLACE}/publishers/google/models/g-3"),
        (f"{VERTEX}{PLACE}/publishers/google", f"{PLACE}/publishers/google/models/g-3"),
        (f"{VERTEX}{PLACE}/publishers/google/models/x-2", f"{PLACE}/publishers/google/models/x-2"),
        (f"{VERTEX}{PLACE}/endpoints/77", f"{PLACE}/endpoints/77"),
        (f"{VERTEX}/v1/publishers/google", "/v1/publishers/google/models/g-3"),
        ("https://aiplatform.googleapis.com", "/v1/publishers/google/models/g-3"),
    ],
)
def test_urls(base: str, whole: str) -> None:
    """Of both services, from a host to the whole path, which keeps its model."""
    for stream, method in ((True, "streamGenerateContent?alt=sse"), (False, "generateContent")):
        for model in ("g-3", "models/g-3"):
            target = Target(
                description="d", name="t", api="gemini", base_url=base, model=model, stream=stream
            )
            host = base.partition("/v1")[0].removesuffix("/gemini")
            assert target.request_url == f"{host}{whole}:{method}"
            assert target.ready_url.endswith("/models")


# ---- responses by hand


def response(*parts: dict[str, Any], finish: str | None = None, **top: Any) -> dict[str, Any]:
    """A response of one candidate."""
    candidate: dict[str, Any] = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **top}


CALL = {"functionCall": {"name": "f", "args": {}}}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (response({"text": "a"}, modelVersion="g-3"), Said(token=Token.text, model="g-3")),
        (response({"text": "h", "thought": True}), Said(token=Token.reasoning)),
        (response({"text": "h", "thought": True}, {"text": "a"}), Said(token=Token.text)),
        (response({"text": "h", "thought": True}, CALL), Said(token=Token.tool_call)),
        (response(CALL), Said(token=Token.tool_call)),
        (response({"executableCode": {"code": "1"}}), Said(token=Token.tool_call)),
        (response({"inlineData": {"data": "x"}}), Said(token=Token.text)),
        (response({"text": "", "thoughtSignature": "s"}), Said()),
        (response(), Said()),
        (response({"text": ""}, finish="STOP"), Said(finish="STOP")),
        (response(finish="SAFETY"), Said(finish="SAFETY")),
        (response({"text": "a"}, finish="FINISH_REASON_UNSPECIFIED"), Said(token=Token.text)),
        (
            response(
                {"text": "a"},
                usageMetadata={
                    "promptTokenCount": 10,
                    "toolUsePromptTokenCount": 4,
                    "candidatesTokenCount": 5,
                    "thoughtsTokenCount": 7,
                    "cachedContentTokenCount": 3,
                    "totalTokenCount": 26,
                    "trafficType": "ON_DEMAND_PRIORITY",
                },
            ),
            Said(token=Token.text, usage=Usage(14, 12, 7, 3), tier="ON_DEMAND_PRIORITY"),
        ),
        (
            {"usageMetadata": {"promptTokenCount": 10, "thoughtsTokenCount": 7}},
            Said(usage=Usage(10, 7, 7)),
        ),
        ({"usageMetadata": {"promptTokenCount": 10}}, Said(usage=Usage(10))),
        (
            {"promptFeedback": {"blockReason": "SAFETY"}},
            Said(error="prompt blocked: SAFETY", error_code="BLOCKED_PROMPT"),
        ),
        (
            {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
            Said(error="overloaded", error_code="UNAVAILABLE"),
        ),
        ({"candidates": {}}, Said(malformed="candidates is not a list")),
        ({"candidates": [5]}, Said(malformed="a candidate is not an object")),
    ],
)
def test_what_a_response_says(made: dict[str, Any], said: Said) -> None:
    """Each kind, and nothing that it does not say."""
    assert API.read_event("", json.dumps(made).encode()) == said


# ---- streams


def sse(*made: dict[str, Any], indent: int | None = None) -> bytes:
    """Responses as Google writes them."""
    return b"".join(
        b"data: "
        + json.dumps(each, indent=indent).encode().replace(b"\n", b"\r\ndata: ")
        + b"\r\n\r\n"
        for each in made
    )


def used(answer: int, thoughts: int = 0, **more: Any) -> dict[str, Any]:
    """A usage so far; zeros are left out."""
    counts = {"candidatesTokenCount": answer, "thoughtsTokenCount": thoughts}
    total = 10 + answer + thoughts
    kept = {name: value for name, value in counts.items() if value}
    return {"promptTokenCount": 10, **kept, "totalTokenCount": total, **more}


THOUGHT = response({"text": "h", "thought": True}, usageMetadata=used(0, 4), modelVersion="g-3")
PART = response({"text": "a"}, usageMetadata=used(1, 4), modelVersion="g-3")
LAST = response(
    {"text": "."},
    finish="STOP",
    usageMetadata=used(2, 4, trafficType="ON_DEMAND"),
    modelVersion="g-3",
)
FAILED = {"error": {"code": 503, "message": "overloaded {", "status": "UNAVAILABLE"}}
BARE = json.dumps(FAILED, indent=2).encode()

#: name -> (stream, chunks, output, finish, tier, error)
STREAMS: dict[str, tuple[bytes, int, int, str | None, str | None, str | None]] = {
    "thoughts and text": (sse(THOUGHT, PART, LAST), 3, 6, "STOP", "ON_DEMAND", None),
    "over several lines": (sse(THOUGHT, PART, LAST, indent=1), 3, 6, "STOP", "ON_DEMAND", None),
    "all spent on thoughts": (
        sse(THOUGHT, response(finish="MAX_TOKENS", usageMetadata=used(0, 9), modelVersion="g-3")),
        1,
        9,
        "MAX_TOKENS",
        None,
        None,
    ),
    "a call": (
        sse(PART, response(CALL, finish="STOP", usageMetadata=used(8))),
        2,
        8,
        "STOP",
        None,
        None,
    ),
    "usage after the finish": (
        sse(PART, response({"text": "."}, finish="STOP"), {"usageMetadata": used(3)}),
        2,
        3,
        "STOP",
        None,
        None,
    ),
    "cut": (sse(THOUGHT, PART), 2, 5, None, None, None),
    "an error as an event": (sse(PART, FAILED), 1, 5, None, None, "overloaded {"),
    "an error as bare JSON": (sse(PART) + BARE, 1, 5, None, None, "overloaded {"),
    "an error as bare JSON, and a line end": (
        sse(PART) + BARE + b"\r\n",
        1,
        5,
        None,
        None,
        "overloaded {",
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_read_the_same_at_every_split(name: str) -> None:
    """Counted by hand; wherever the bytes are cut."""
    stream, chunks, output, finish, tier, error = STREAMS[name]
    found = at_every_split(API, stream)
    assert (found.chunks, found.prompt_tokens, found.output_tokens) == (chunks, 10, output)
    assert (found.finish, found.tier, found.error, found.model) == (finish, tier, error, "g-3")
    assert found.complete is (finish is not None)
    assert found.code == ("UNAVAILABLE" if error else "")


# ---- the official client, on the same bytes


@pytest.fixture(scope="module")
def vendor() -> Any:
    """Google's package: it takes a second to import."""
    from google import genai

    return genai


def official(vendor: Any, reply: httpx2.Response, seen: list[httpx2.Request]) -> Any:
    """Google's client, which is answered by `reply`."""

    def serve(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return reply

    options = {"httpx_client": httpx2.Client(transport=httpx2.MockTransport(serve))}
    return vendor.Client(api_key="key-1", http_options=options)


def streamed(content: bytes) -> httpx2.Response:
    """A stream as a response."""
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=content)


@pytest.mark.parametrize("name", STREAMS)
def test_the_official_client_reads_the_same(name: str, vendor: Any) -> None:
    """Parts, usage, finish and error, as google-genai gives them."""
    stream = STREAMS[name][0]
    found = facts(API, [stream])
    error, code, chunks = None, "", 0
    counts, tier, finish, model = {}, None, None, None
    try:
        client = official(vendor, streamed(stream), [])
        for chunk in client.models.generate_content_stream(model="g-3", contents="a"):
            for candidate in chunk.candidates or ():
                parts = candidate.content.parts if candidate.content else None
                chunks += any(part.text or part.function_call for part in parts or ())
                finish = candidate.finish_reason.value if candidate.finish_reason else finish
            if (usage := chunk.usage_metadata) is not None:
                counts = usage.model_dump()
                tier = usage.traffic_type.value if usage.traffic_type else tier
            model = chunk.model_version or model
    except vendor.errors.APIError as caught:
        error, code = caught.message, caught.status or ""
    assert (found.error, found.code) == (error, code)
    assert (found.chunks, found.finish, found.tier, found.model) == (chunks, finish, tier, model)
    # By the definition of its total: what is neither prompt nor a tool's result is output.
    assert found.prompt_tokens == counts["prompt_token_count"]
    assert found.output_tokens == counts["total_token_count"] - counts["prompt_token_count"]


@pytest.mark.parametrize("name", STREAMS)
def test_the_official_decoder_cuts_the_same_events_at_every_split(name: str, vendor: Any) -> None:
    """Every JSON object of the stream, wherever the bytes are cut."""
    response_class = vendor._api_client.HttpResponse
    stream = STREAMS[name][0]
    for cut in range(1, len(stream)):
        frames, ours = API.framing(), list[Any]()
        for part in pieces(stream, [cut]):
            ours += (json.loads(data) for _, data in frames.feed(part))
        ours += (json.loads(data) for _, data in frames.close())
        content = iter(pieces(stream, [cut]))
        theirs = list(response_class({}, httpx2.Response(200, content=content)).segments())
        assert ours == theirs


def asked(vendor: Any, config: dict[str, Any], stream: bool) -> httpx2.Request:
    """What google-genai sends for a conversation of three turns."""
    requests: list[httpx2.Request] = []
    client = official(vendor, httpx2.Response(200, json=response()), requests)
    turns = [
        {"role": role, "parts": [{"text": text}]}
        for role, text in (("user", "a"), ("model", "b"), ("user", 'c"'))
    ]
    models = client.models
    if stream:
        list(models.generate_content_stream(model="g-3", contents=turns, config=config))
    else:
        models.generate_content(model="g-3", contents=turns, config=config)
    return requests[0]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("config", "extra", "tier"),
    [
        ({"max_output_tokens": 7}, {}, ""),
        (
            {"max_output_tokens": 7, "temperature": 0.5, "service_tier": "priority"},
            {"generationConfig": {"temperature": 0.5}},
            "priority",
        ),
        (
            {"max_output_tokens": 9, "system_instruction": "be brief"},
            {
                "generationConfig": {"maxOutputTokens": 9},
                "systemInstruction": {"parts": [{"text": "be brief"}], "role": "user"},
            },
            "",
        ),
    ],
)
def test_requests_are_the_official_clients(
    stream: bool, config: dict[str, Any], extra: dict[str, Any], tier: str, vendor: Any
) -> None:
    """URL, key and body, but for how JSON is spaced; the client says v1 of its own."""
    request = asked(vendor, config, stream)
    asks = API.ask_tier(tier, HOME).body if tier else {}
    options = BodyOptions("g-3", stream, True, "max_tokens", extra, asks)
    body = API.body_format(options).write([b"a", b"b", b'c\\"'], 7)
    assert json.loads(body) == json.loads(request.content)
    base = f"{HOME}/v1"
    target = Target(
        description="d", name="t", api="gemini", base_url=base, model="g-3", stream=stream
    )
    assert target.request_url == str(request.url)
    assert request.headers[API.auth] == "key-1"


# ---- plain answers and errors


def test_plain_answers() -> None:
    """A whole response; one without candidates is none."""
    body = json.dumps(response({"text": "a"}, finish="STOP", usageMetadata=used(3))).encode()
    assert API.read_body(body) == Said(token=Token.text, finish="STOP", usage=Usage(10, 3))
    assert API.read_body(b"{}").malformed == "answer without candidates"


def test_an_array_instead_of_events_is_refused_with_one_sentence() -> None:
    """What the server sends when alt=sse got lost; its errors come in such an array too."""
    body = json.dumps([THOUGHT, LAST]).encode()
    assert not API.is_stream(b"application/json; charset=utf-8", True)
    with pytest.raises(MalformedAnswer, match=r"dropped alt=sse from the URL$"):
        API.read_body(body)
    said = API.read_body(json.dumps([FAILED]).encode())
    assert (said.error, said.error_code) == ("overloaded {", "UNAVAILABLE")
    array = json.dumps([FAILED], indent=2).encode()
    assert (API.error_message(array), API.error_code(array)) == ("overloaded {", "UNAVAILABLE")
    assert (API.error_message(BARE), API.error_code(BARE)) == ("overloaded {", "UNAVAILABLE")
    assert (API.error_message(b"[1]"), API.error_code(b"[")) == ("[1]", "")


def test_what_a_row_keeps() -> None:
    """The tier by its header, the server's time, and an error that stands between the events."""
    headers = ((b"x-gemini-service-tier", b"standard"), (b"server-timing", b"gfet4t7; dur=77"))
    stream = STREAMS["all spent on thoughts"][0]
    request, ends = flown(API, stream, b"text/event-stream", *headers, cut=40)
    assert ends == [(Outcome.ok, "")]
    assert (request.served_tier, request.server_ns) == ("standard", 77_000_000)
    _, ends = flown(API, STREAMS["cut"][0], b"text/event-stream", cut=40)
    assert ends == [(Outcome.truncated, "stream ended without finishReason")]
    request, ends = flown(API, sse(PART) + BARE, b"text/event-stream", cut=40)
    assert ends == [(Outcome.stream_error, "overloaded {")]
    assert (request.error_code, request.cause(*ends[0])) == ("UNAVAILABLE", Cause.overload)


def test_a_blocked_prompt_is_a_filters_work() -> None:
    """Nothing was served: the row fails, and its cause is the filter."""
    found = facts(API, [sse({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})])
    assert (found.error, found.chunks) == ("prompt blocked: PROHIBITED_CONTENT", 0)
    assert API.cause(200, found.code, found.error or "") is Cause.filter
    _, reader = API.open(False)
    reader.feed(b'{"promptFeedback":{"blockReason":"SAFETY"}}', 1)
    with pytest.raises(StreamError, match="prompt blocked: SAFETY"):
        reader.close()


@pytest.mark.parametrize(
    ("status", "code", "message", "cause"),
    [
        (429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later.", Cause.capacity),
        (429, "RESOURCE_EXHAUSTED", "Quota exceeded for requests per minute", Cause.quota),
        (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, ...", Cause.quota),
        (429, "RESOURCE_EXHAUSTED", "Exceeded the Provisioned Throughput.", Cause.quota),
        (429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.", Cause.spend),
        (200, "RESOURCE_EXHAUSTED", "try again later", Cause.capacity),
        (503, "UNAVAILABLE", "The model is overloaded.", Cause.overload),
        (500, "INTERNAL", "m", Cause.server),
        (504, "DEADLINE_EXCEEDED", "m", Cause.server),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", Cause.auth),
        (400, "INVALID_ARGUMENT", "m", Cause.request),
        (400, "FAILED_PRECONDITION", "location is not supported", Cause.request),
        (401, "UNAUTHENTICATED", "m", Cause.auth),
        (403, "PERMISSION_DENIED", "m", Cause.auth),
        (404, "NOT_FOUND", "models/x is not found", Cause.request),
    ],
)
def test_whose_fault_errors_are(status: int, code: str, message: str, cause: Cause) -> None:
    """A 429 is the buyer's quota only where it says so."""
    assert API.cause(status, code, f"HTTP {status}: {message}") is cause


# ---- tiers and bounds


@pytest.mark.parametrize(
    ("tier", "base", "body", "headers"),
    [
        ("priority", HOME, {"serviceTier": "priority"}, {}),
        ("Flex", HOME, {"serviceTier": "flex"}, {}),
        ("dedicated", f"{VERTEX}{PLACE}", {}, {"Request-Type": "dedicated"}),
        ("provisioned", f"{VERTEX}{PLACE}", {}, {"Request-Type": "dedicated"}),
        (
            "priority",
            "http://localhost:1/v1/projects/p/locations/l",
            {},
            {"Request-Type": "shared", "Shared-Request-Type": "priority"},
        ),
        ("standard", f"{VERTEX}{PLACE}", {}, {"Request-Type": "shared"}),
    ],
)
def test_tiers_are_asked_for(
    tier: str, base: str, body: dict[str, str], headers: dict[str, str]
) -> None:
    """By a key of the body at the Gemini API, by headers at Vertex AI."""
    asked = API.ask_tier(tier, base)
    named = {f"X-Vertex-AI-LLM-{name}": value for name, value in headers.items()}
    assert (asked.body, dict(asked.headers)) == (body, named)


def test_tiers_that_are_none_and_what_served_ones_are_worth() -> None:
    """The Gemini API sells no throughput of one's own; `trafficType` and the header's words."""
    with pytest.raises(ValueError, match=r"'dedicated' cannot be asked for in 'gemini'"):
        API.ask_tier("dedicated", HOME)
    words = ["PROVISIONED_THROUGHPUT", "ON_DEMAND", "ON_DEMAND_FLEX", "priority", "later"]
    assert [API.tier_class(word) for word in words] == [
        TierClass.dedicated,
        TierClass.standard,
        TierClass.flex,
        TierClass.priority,
        TierClass.unknown,
    ]


@pytest.mark.parametrize(
    ("extra", "limit"),
    [
        ({}, AnswerLimit()),
        ({"generationConfig": {"temperature": 0}}, AnswerLimit()),
        (
            {"generation_config": {"max_output_tokens": 9, "candidate_count": 2}},
            AnswerLimit(choices=2, lengths=(9,), planned=False),
        ),
        (
            {"generationConfig": {"maxOutputTokens": None}},
            AnswerLimit(planned=False, unbounded=True),
        ),
    ],
)
def test_how_long_answers_may_be(extra: dict[str, Any], limit: AnswerLimit) -> None:
    """By either spelling of the generation's settings, which their body keeps."""
    assert API.answer_limit(extra, "max_tokens") == limit
    options = BodyOptions("m", True, True, "max_tokens", extra)
    body = json.loads(API.body_format(options).write([b"a"], 5))
    (name,) = set(body) - {"contents"}
    planned = {"maxOutputTokens": 5} if limit.planned else {}
    assert body[name] == planned | dict(next(iter(extra.values()), {}))
