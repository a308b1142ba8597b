"""Bedrock Converse: URLs, bodies, what each event says, and botocore's reading beside ours."""

from __future__ import annotations

import itertools
import json
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import botocore.validate
import pytest
from botocore.eventstream import EventStream
from botocore.exceptions import EventStreamError
from hypothesis import given
from hypothesis import strategies as st

from bench.api.answer import Answer, MalformedAnswer, Said, StreamError, Token, Usage
from bench.api.cause import Cause
from bench.api.converse import API
from bench.api.converse_stream import ConverseReader
from bench.api.eventstream import THROWN, EventFrames
from bench.api.framing import Event
from bench.api.interface import AnswerLimit, BodyOptions
from bench.api.reading import Reader
from bench.api.tier import TierClass
from bench.load.request import Request
from bench.plan.target import Target
from bench.record.samples import Outcome
from tests.support.aws_frames import answer, delta, error, event
from tests.support.reference_stream import NAMES, pieces

ARN = "arn:aws:bedrock:eu-west-1:1234:inference-profile/eu.amazon.nova-pro-v1:0"
ENCODED = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A1234%3Ainference-profile%2Feu.amazon.nova-pro-v1%3A0"
SERVICE = botocore.model.ServiceModel(
    botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2")
)
URL = "/model/m/converse"
HOST = "https://bedrock-runtime.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("base", "model", "path"),
    [
        (HOST, "amazon.nova-pro-v1:0", "/model/amazon.nova-pro-v1%3A0"),
        (HOST + "/", ARN, f"/model/{ENCODED}"),
        (HOST, ENCODED, f"/model/{ENCODED}"),
        (HOST + "/model/m-1/converse-stream", "x", "/model/m-1"),
        (HOST + "/model/m-1/converse", "x", "/model/m-1"),
        (HOST + "/model/m-1/", "x", "/model/m-1"),
        (f"{HOST}/model/{ARN}/converse", "x", f"/model/{ENCODED}"),
        (f"{HOST}/model/{ENCODED}/converse", "x", f"/model/{ENCODED}"),
        (HOST + "/proxy/v2", "m", "/proxy/v2/model/m"),
    ],
)
@pytest.mark.parametrize(("stream", "ending"), [(True, "/converse-stream"), (False, "/converse")])
def test_urls_are_completed_and_model_ids_are_one_segment(
    base: str, model: str, path: str, stream: bool, ending: str
) -> None:
    """Whole paths stay but for what `stream` says; ARNs are encoded once, pasted or named."""
    target = Target(
        description="d", name="t", api="converse", base_url=base, model=model, stream=stream
    )
    assert target.request_url == HOST + path + ending
    assert target.ready_url == HOST + path + "/converse"


def test_the_path_of_another_api_is_refused() -> None:
    """Either way round."""
    for api, ending, other in (("converse", "/v1/messages", "messages"), ("chat", URL, "converse")):
        with pytest.raises(ValueError, match=f'path of api = "{other}"'):
            Target(description="d", name="t", api=api, base_url=HOST + ending, model="m")


def body(texts: Sequence[bytes] = (b"hi",), **options: Any) -> Any:
    """A body of 9 tokens, decoded."""
    given_options = {
        "model": "m",
        "stream": True,
        "include_usage": True,
        "max_tokens_field": "max_tokens",
        "extra_body": {},
    }
    format_ = API.body_format(BodyOptions(**{**given_options, **options}))
    assert not format_.drop_refused("anything")
    return json.loads(format_.write(texts, 9))


def said_by(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"text": text}]}


def test_bodies() -> None:
    """Roles in turn, the plan's length, the extra body and the tier; one's own settings stay."""
    assert body() == {"messages": [said_by("user", "hi")], "inferenceConfig": {"maxTokens": 9}}
    turns = body([b"a\\n", b"b", b"c"])["messages"]
    assert turns == [said_by("user", "a\n"), said_by("assistant", "b"), said_by("user", "c")]
    extra = {"inferenceConfig": {"temperature": 0, "stopSequences": ["%d"]}, "system": []}
    mixed = body(extra_body=extra, tier_body={"serviceTier": {"type": "flex"}})
    assert mixed["inferenceConfig"] == {"temperature": 0, "stopSequences": ["%d"], "maxTokens": 9}
    assert (mixed["system"], mixed["serviceTier"]) == ([], {"type": "flex"})
    own = body(extra_body={"inferenceConfig": {"maxTokens": 3}, "requestMetadata": {"a": "b"}})
    assert (own["inferenceConfig"], own["requestMetadata"]) == ({"maxTokens": 3}, {"a": "b"})
    with pytest.raises(TypeError, match="inferenceConfig"):
        body(extra_body={"inferenceConfig": 5})


def test_awss_own_client_writes_the_same_request() -> None:
    """Path and body, for a model with an ARN, settings and a tier; its validator takes ours."""
    extra = {"inferenceConfig": {"temperature": 0}, "system": [{"text": "s"}]}
    asked = {"tier_body": API.ask_tier("reserved", HOST).body, "extra_body": extra}
    ours = body([b"a", b"b", b"c"], **asked)
    for stream, operation in ((True, "ConverseStream"), (False, "Converse")):
        model = SERVICE.operation_model(operation)
        given = {"modelId": ARN, **ours}
        botocore.validate.validate_parameters(given, model.input_shape)
        serializer = botocore.serialize.create_serializer("rest-json")
        theirs = serializer.serialize_to_request(given, model)
        assert theirs["url_path"] == API.path("", ARN, stream)
        assert json.loads(theirs["body"]) == ours


@pytest.mark.parametrize(
    ("extra", "limit"),
    [
        ({}, AnswerLimit()),
        ({"inferenceConfig": {"topP": 1}}, AnswerLimit()),
        ({"inferenceConfig": {"maxTokens": 7}}, AnswerLimit(1, (7,), planned=False)),
        (
            {"inferenceConfig": {"maxTokens": "${N}"}},
            AnswerLimit(1, (), planned=False, unbounded=True),
        ),
    ],
)
def test_how_long_answers_may_be(extra: dict[str, Any], limit: AnswerLimit) -> None:
    """By the extra body's own length, or by the plan's."""
    assert API.answer_limit(extra, "max_tokens") == limit


def piece(**held: Any) -> bytes:
    """A delta's payload."""
    return json.dumps({"contentBlockIndex": 0, "delta": held}).encode()


USAGE = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}


@pytest.mark.parametrize(
    ("name", "payload", "said"),
    [
        ("messageStart", b'{"role":"assistant"}', Said()),
        ("contentBlockStart", b'{"start":{"toolUse":{"name":"f","toolUseId":"1"}}}', Said()),
        ("contentBlockDelta", piece(text="a"), Said(token=Token.text)),
        ("contentBlockDelta", piece(text=""), Said()),
        ("contentBlockDelta", piece(toolUse={"input": '{"a'}), Said(token=Token.tool_call)),
        ("contentBlockDelta", piece(toolUse={"input": ""}), Said()),
        ("contentBlockDelta", piece(reasoningContent={"text": "h"}), Said(token=Token.reasoning)),
        (
            "contentBlockDelta",
            piece(reasoningContent={"redactedContent": "aGk="}),
            Said(token=Token.reasoning),
        ),
        ("contentBlockDelta", piece(reasoningContent={"signature": "s"}), Said()),
        ("contentBlockDelta", piece(citation={"title": "t"}), Said()),
        ("contentBlockDelta", b"{}", Said()),
        ("contentBlockStop", b'{"contentBlockIndex":0}', Said()),
        ("messageStop", b'{"stopReason":"max_tokens"}', Said(finish="max_tokens", end=True)),
        (
            "messageStop",
            b'{"stopReason":"guardrail_intervened"}',
            Said(finish="guardrail_intervened", end=True),
        ),
        ("somethingNew", b'{"text":"a"}', Said()),
        ("initial-response", b"", Said()),
        (
            "metadata",
            json.dumps(
                {"usage": USAGE, "metrics": {"latencyMs": 12}, "serviceTier": {"type": "priority"}}
            ).encode(),
            Said(usage=Usage(5, 3), server_ns=12_000_000, tier="priority"),
        ),
        # What was read from the cache or written to it is not among inputTokens.
        (
            "metadata",
            json.dumps(
                {"usage": {**USAGE, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 20}}
            ).encode(),
            Said(usage=Usage(125, 3, cached_tokens=100)),
        ),
        ("metadata", b'{"performanceConfig":{"latency":"optimized"}}', Said(tier="optimized")),
        ("metadata", b'{"performanceConfig":{"latency":"standard"}}', Said(tier="standard")),
        (
            "metadata",
            b'{"performanceConfig":{"latency":"standard"},"serviceTier":{"type":"flex"}}',
            Said(tier="flex"),
        ),
        ("metadata", b'{"trace":{"promptRouter":{"invokedModelId":"m"}}}', Said(model="m")),
        ("metadata", b'{"usage":5,"metrics":[],"serviceTier":"x"}', Said()),
        (
            THROWN + "throttlingException",
            b'{"message":"slow down"}',
            Said(error="throttlingException: slow down", error_code="throttlingException"),
        ),
        (
            THROWN + "modelStreamErrorException",
            b'{"message":"m","originalStatusCode":500,"originalMessage":"o"}',
            Said(error="modelStreamErrorException: m", error_code="modelStreamErrorException"),
        ),
        (THROWN + "newException", b"", Said(error="newException", error_code="newException")),
        (THROWN + "oddOne", b"no JSON", Said(error="oddOne: no JSON", error_code="oddOne")),
    ],
)
def test_what_an_event_says(name: str, payload: bytes, said: Said) -> None:
    """Each kind of event, and nothing that it does not say."""
    assert API.read_event(name, payload) == said


def test_what_a_plain_answer_says() -> None:
    """Of text, reasoning and tool calls, what is seen counts."""
    hidden = {"reasoningContent": {"reasoningText": {"text": "h", "signature": "s"}}}
    call = {"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}
    for blocks, token in (
        ([hidden, {"text": "a"}], Token.text),
        ([hidden, call], Token.tool_call),
        ([hidden], Token.reasoning),
        ([], None),
    ):
        whole = {
            "output": {"message": {"role": "assistant", "content": blocks}},
            "stopReason": "end_turn",
            "usage": USAGE,
            "metrics": {"latencyMs": 5},
            "serviceTier": {"type": "reserved"},
        }
        assert API.read_body(json.dumps(whole).encode()) == Said(
            token=token, usage=Usage(5, 3), finish="end_turn", tier="reserved", server_ns=5_000_000
        )
    odd = API.read_body(b'{"usage":{"inputTokens":1},"output":{}}')
    assert (odd.malformed, odd.usage) == ("answer without output.message.content", Usage(1))


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (429, "ThrottlingException", Cause.quota),
        (200, "throttlingException", Cause.quota),
        (503, "ServiceUnavailableException:http://internal.amazon.com/x/", Cause.capacity),
        (503, "", Cause.capacity),
        (429, "ModelNotReadyException", Cause.capacity),
        (200, "modelStreamErrorException", Cause.server),
        (500, "InternalServerException", Cause.server),
        (400, "com.amazon.coral.validate#ValidationException", Cause.request),
        (404, "ResourceNotFoundException", Cause.request),
        (403, "ExpiredTokenException", Cause.auth),
        (403, "", Cause.auth),
        (200, "somethingNew", Cause.unknown),
    ],
)
def test_whose_fault_an_error_is(status: int, code: str, cause: Cause) -> None:
    """By the exception's name, with what AWS writes round it; else by the status."""
    assert API.cause(status, code, "") is cause


def test_error_messages() -> None:
    """The service writes `message`, its sign-in `Message`; what was signed is not repeated."""
    assert API.error_message(b'{"message":"no such model"}') == "no such model"
    assert API.error_message(b'{"Message":"Authentication failed"}') == "Authentication failed"
    assert API.error_message(b"<html>busy</html>") == "busy"
    told = b'{"message":"The signature does not match.\\n\\nThe Canonical String was\\nPOST token"}'
    assert API.error_message(told) == "The signature does not match."


def test_tiers() -> None:
    """What is asked for, and what the words of an answer are worth."""
    assert API.ask_tier("Priority", HOST).body == {"serviceTier": {"type": "priority"}}
    assert API.ask_tier("standard", HOST).body == {"serviceTier": {"type": "default"}}
    assert API.ask_tier("optimized", HOST).body == {"performanceConfig": {"latency": "optimized"}}
    with pytest.raises(ValueError, match="fast"):
        API.ask_tier("fast", HOST)
    words = {word: API.tier_class(word) for word in ("reserved", "priority", "default", "x")}
    assert words == {
        "reserved": TierClass.dedicated,
        "priority": TierClass.priority,
        "default": TierClass.standard,
        "x": TierClass.unknown,
    }


# ---- streams: ours, a slow reading of ours, and botocore's


def facts(reader: Reader, found: Answer, parts: Sequence[bytes]) -> dict[str, Any]:
    """What a reader saw of a stream in pieces that came a ns apart, and its error."""
    told = ""
    try:
        for stamp, part in enumerate(parts):
            reader.feed(part, stamp)
        reader.close()
    except StreamError as thrown:
        told = f"{thrown.code} {thrown}"
    except MalformedAnswer as fault:
        told = f"malformed {fault}"
    seen = {name: getattr(found, name) for name in (*NAMES, "tier", "server_ns")}
    return seen | {"gaps": list(found.gaps or ()), "error": told}


def quick(parts: Sequence[bytes]) -> dict[str, Any]:
    found, reader = API.open(True, array("q"))
    assert isinstance(reader, ConverseReader)
    return facts(reader, found, parts)


def slow(parts: Sequence[bytes]) -> dict[str, Any]:
    """Every frame cut and every event decoded, one at a time: what counts is when it was whole."""
    found, whole, at, stamps = Answer(array("q")), b"".join(parts), 0, list[int]()
    for stamp, part in enumerate(parts):
        stamps += [stamp] * len(part)
    told = ""
    if whole:
        found.first_byte_ns = stamps[0]
    try:
        while at < len(whole):
            size = int.from_bytes(whole[at : at + 4], "big")
            for name, payload in EventFrames().feed(whole[at : at + size]):
                found.add(API.read_event(name, payload), stamps[at + size - 1])
            at += max(size, 1)
    except StreamError as thrown:
        told = f"{thrown.code} {thrown}"
    except MalformedAnswer as fault:
        told = f"malformed {fault}"
    seen = {name: getattr(found, name) for name in (*NAMES, "tier", "server_ns")}
    return seen | {"gaps": list(found.gaps or ()), "error": told}


TEXT = st.text(max_size=6) | st.sampled_from(['"', "\\", '\\"', '"},"p":"', "\n", " token"])
DELTAS = st.one_of(
    st.builds(delta, TEXT, st.integers(0, 80), st.integers(0, 2)),
    # the other order of keys, other spacing, raw UTF-8, a key more
    TEXT.map(lambda text: event("contentBlockDelta", {"delta": {"text": text}})),
    TEXT.map(
        lambda text: event("contentBlockDelta", {"delta": {"text": text}, "contentBlockIndex": 1})
    ),
    TEXT.map(lambda text: event("contentBlockDelta", piece(text=text))),
    st.text(max_size=6)
    .map(lambda text: json.dumps({"delta": {"text": text}}, ensure_ascii=False))
    .filter(lambda text: text.isprintable())
    .map(lambda text: event("contentBlockDelta", text.encode("utf-8", "surrogatepass"))),
    TEXT.map(lambda text: event("contentBlockDelta", {"delta": {"text": text}, "more": "x"})),
)
OTHERS = st.sampled_from(
    [
        event("messageStart", {"role": "assistant"}),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("contentBlockDelta", piece(toolUse={"input": "{"})),
        event("contentBlockDelta", piece(reasoningContent={"text": "h"})),
        event("messageStop", {"stopReason": "end_turn"}),
        event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 3}}),
        event("metadata", {"serviceTier": {"type": "priority"}}),
    ]
)
THROWN_ONES = st.sampled_from(
    [
        event("throttlingException", {"message": "slow"}, "exception"),
        event("modelStreamErrorException", {"message": "m"}, "exception"),
        error("InternalFailure", "an error of the service"),
    ]
)
STREAMS = st.tuples(
    st.lists(DELTAS | OTHERS, max_size=8).map(b"".join), st.just(b"") | THROWN_ONES
).map(b"".join)


@given(st.lists(DELTAS, max_size=3).map(b"".join), STREAMS, st.data())
def test_the_quick_reader_sees_what_decoding_every_event_sees(
    begin: bytes, rest: bytes, data: Any
) -> None:
    """Frames whole in a read and cut anywhere: counts, instants, gaps, usage, tier and errors."""
    stream = begin + rest
    frames = list(edges(stream))
    cuts = data.draw(st.lists(st.sampled_from([*frames, *range(len(stream) + 1)]), max_size=9))
    for parts in (pieces(stream, cuts), pieces(stream, frames[:-1]), pieces(stream, range(1, 0))):
        assert quick(parts) == slow(parts)


def edges(stream: bytes) -> Iterator[int]:
    """Where frames end."""
    at = 0
    while at < len(stream):
        at += int.from_bytes(stream[at : at + 4], "big")
        yield at


@given(st.data())
def test_a_flipped_bit_in_a_token_is_never_counted(data: Any) -> None:
    """In the frame that the quick path would take, too: it verifies both checksums."""
    frames = [delta(" token", n) for n in (3, 9, 3)]
    at = data.draw(st.integers(0, 8 * len(frames[2]) - 1))
    torn = bytearray(frames[2])
    torn[at // 8] ^= 1 << at % 8
    seen = quick([*frames[:2], bytes(torn), frames[0]])
    assert seen["chunks"] == 2
    assert seen["error"].startswith("malformed event stream: ")


OUTPUT = SERVICE.operation_model("ConverseStream").get_event_stream_output()
PARSER: Any = botocore.parsers.create_parser("rest-json")


class Raw:
    """A body as botocore takes it."""

    def __init__(self, parts: Sequence[bytes]):
        self._parts = parts

    def stream(self) -> Iterator[bytes]:
        yield from self._parts

    def close(self) -> None:
        return


def by_botocore(parts: Sequence[bytes]) -> dict[str, Any]:
    """What AWS's own client makes of it."""
    tokens, told = 0, ""
    usage, stopped, tier, latency = dict[str, int](), None, None, -1
    stream = EventStream(Raw(parts), OUTPUT, PARSER._event_stream_parser, "ConverseStream")
    try:
        for said in stream:
            held = said.get("contentBlockDelta", {}).get("delta", {})
            hidden = held.get("reasoningContent", {}).get("text")
            tokens += bool(held.get("text") or held.get("toolUse", {}).get("input") or hidden)
            stopped = said.get("messageStop", {}).get("stopReason", stopped)
            metadata = said.get("metadata", {})
            usage |= metadata.get("usage", {})
            tier = metadata.get("serviceTier", {}).get("type", tier)
            latency = metadata.get("metrics", {}).get("latencyMs", latency)
    except EventStreamError as thrown:
        told = thrown.response["Error"]["Code"]
    return {
        "chunks": tokens,
        "prompt_tokens": usage.get("inputTokens", -1),
        "output_tokens": usage.get("outputTokens", -1),
        "finish": stopped,
        "tier": tier,
        "server_ns": latency * 1_000_000 if latency >= 0 else -1,
        "error": told,
    }


@given(STREAMS, st.data())
def test_awss_own_client_reads_the_same(stream: bytes, data: Any) -> None:
    """Tokens, usage, finish, tier, server time and exceptions, whatever the reads."""
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    theirs, ours = by_botocore([stream]), quick(pieces(stream, cuts))
    ours["error"] = ours["error"].partition(" ")[0]
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_a_whole_answer(size: int) -> None:
    """By hand: three tokens, usage, the tier, the server's own time; without its end it was cut."""
    stream = answer("Hello", " wor", "ld", tier="priority")
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    seen = quick(parts)
    counted = (seen["chunks"], seen["prompt_tokens"], seen["output_tokens"], seen["finish"])
    assert counted == (3, 7, 3, "end_turn")
    assert (seen["tier"], seen["server_ns"], seen["complete"]) == ("priority", 321_000_000, True)
    *_, before_stop, _, _ = itertools.chain([0], edges(stream))
    assert not quick([stream[: before_stop + 20]])["complete"]


def test_tokens_in_one_read_share_its_stamp() -> None:
    """As with any API, and the first is marked."""
    frames = [delta(text, 5) for text in "abcd"]
    seen = quick([frames[0] + frames[1], frames[2], frames[3]])
    assert (seen["first_shared"], seen["shared_reads"], seen["gaps"]) == (True, 1, [0, 1, 1])


def test_most_tokens_are_not_decoded() -> None:
    """After the first of a block, whole frames are counted by what surrounds their text."""
    cut: list[bytes] = []

    class Watched(EventFrames):
        def feed(self, data: bytes) -> list[Event]:
            cut.append(data)
            return super().feed(data)

    found = Answer(array("q"))
    reader = ConverseReader(found, Watched(), API.read_event)
    for number in range(200):
        reader.feed(delta(" t", number % 63), number)
    assert (found.chunks, len(cut)) == (200, 1)


@pytest.mark.parametrize(
    ("status", "kind", "said", "outcome", "code", "cause"),
    [
        (
            429,
            b"ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/",
            b'{"message":"Too many requests, please wait before trying again."}',
            Outcome.rate_limited,
            "ThrottlingException",
            Cause.quota,
        ),
        (503, b"ServiceUnavailableException", b"{}", Outcome.http_5xx, None, Cause.capacity),
        (403, b"ExpiredTokenException", b"{}", Outcome.http_4xx, None, Cause.auth),
        (400, b"ValidationException", b'{"message":"x"}', Outcome.http_4xx, None, Cause.request),
    ],
)
def test_an_error_status_names_its_exception_in_a_header(
    status: int, kind: bytes, said: bytes, outcome: Outcome, code: str | None, cause: Cause
) -> None:
    """Its body holds no code; the id of the request and the tier are headers too."""
    ends: list[tuple[Outcome, str]] = []
    request = Request(0, None, 0, True, array("q"), lambda _, how, note: ends.append((how, note)))
    request.api = API
    request.on_sent(10, False)
    headers = [(b"x-amzn-requestid", b"id-1"), (b"x-amzn-bedrock-service-tier", b"priority")]
    request.on_head(status, [*headers, (b"x-amzn-errortype", kind)], 20, False)
    request.on_body(said, 30)
    request.on_done(40)
    ((ended, note),) = ends
    assert (ended, request.cause(ended, note)) == (outcome, cause)
    assert request.error_code == (code or kind.decode())
    assert (request.request_id, request.served_tier) == (b"id-1", "priority")
