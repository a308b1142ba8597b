"""Amazon Bedrock Converse and ConverseStream.

In: options and texts; events of a stream, or a whole body. Out: bodies; what was said. Must stay
true: `messageStop` ends a message, and `metadata` only counts it; what was read from the cache is
part of the prompt; an exception inside a stream is an error, an unknown event is none.

Source: Amazon Bedrock API reference, "Converse", "ConverseStream" and "ServiceTier"
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html), read on
30 November 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from bench.api.answer import Answer, MalformedAnswer, Said, Token, Usage
from bench.api.cause import Cause
from bench.api.converse_stream import DELTA, ConverseReader
from bench.api.decoding import count, decode, error_text, text_or_none
from bench.api.eventstream import THROWN, EventFrames
from bench.api.failures import failure_in, reason_of
from bench.api.interface import (
    GATEWAY_HEADERS,
    AnswerLimit,
    Api,
    BodyOptions,
    HeaderFact,
    in_turns,
    limit_of,
)
from bench.api.openai_family import refuse_path_of_another
from bench.api.openai_parts import text_of
from bench.api.tier import BY_NAME, TierAsk, TierClass
from bench.units import MS

_STREAM, _PLAIN = "/converse-stream", "/converse"
_WITH_MODEL = re.compile(r"(.*)/model/(.+?)(?:/converse(?:-stream)?)?")
_USER, _ASSISTANT = (
    b'{"role":"user","content":[{"text":"',
    b'{"role":"assistant","content":[{"text":"',
)
_LENGTH = "maxTokens"

#: Exceptions of Bedrock and of the sign-in before it.
_CAUSES: Mapping[str, Cause] = {
    "throttlingexception": Cause.quota,
    "servicequotaexceededexception": Cause.quota,
    "serviceunavailableexception": Cause.capacity,
    "modelnotreadyexception": Cause.capacity,
    "modelstreamerrorexception": Cause.server,
    "modelerrorexception": Cause.server,
    "modeltimeoutexception": Cause.server,
    "internalserverexception": Cause.server,
    "internalfailure": Cause.server,
    "validationexception": Cause.request,
    "resourcenotfoundexception": Cause.request,
    "unknownoperationexception": Cause.request,
    **dict.fromkeys(
        (
            "accessdeniedexception",
            "expiredtokenexception",
            "incompletesignatureexception",
            "invalidsignatureexception",
            "missingauthenticationtokenexception",
            "unrecognizedclientexception",
        ),
        Cause.auth,
    ),
}


class Converse(Api):
    """`POST …/model/ID/converse-stream`, `…/converse`."""

    name = "converse"
    provider, operation = "aws.bedrock", "chat"
    vllm_backend = "converse"
    own_keys = ("messages", "modelId")
    auth = "sigv4"
    stream_type = "application/vnd.amazon.eventstream"
    framing = EventFrames
    cut_note = "stream ended without messageStop"
    response_headers = {
        **GATEWAY_HEADERS,
        b"x-amzn-errortype": HeaderFact.error_code,
    }
    served_tiers = {
        "reserved": TierClass.dedicated,
        "priority": TierClass.priority,
        "optimized": TierClass.priority,
        "default": TierClass.standard,
        "standard": TierClass.standard,
        "flex": TierClass.flex,
    }
    tiers = {
        **{
            word: TierAsk({"serviceTier": {"type": word}})
            for word in ("priority", "default", "flex", "reserved")
        },
        "standard": TierAsk({"serviceTier": {"type": "default"}}),
        "optimized": TierAsk({"performanceConfig": {"latency": "optimized"}}),
        # bought as a model with an ARN of its own
        "provisioned": BY_NAME,
    }
    server_time_at_end = True
    error_codes = _CAUSES

    def path(self, base: str, model: str, stream: bool) -> str:
        """A model in the user's URL stays; each is one segment, whatever its ARN holds."""
        refuse_path_of_another(base, self.name)
        found = _WITH_MODEL.fullmatch(base)
        before, named = found.groups() if found else (base, model)
        ending = _STREAM if stream else _PLAIN
        return f"{before}/model/{quote(unquote(named), safe='${}')}{ending}"

    def ready_path(self, base: str, model: str) -> str:
        """The service lists no models there; what it says to a GET is an answer too."""
        return self.path(base, model, stream=False)

    def body_format(self, options: BodyOptions) -> ConverseBody:
        return ConverseBody(options)

    def answer_limit(
        self,
        extra_body: Mapping[str, Any],
        max_tokens_field: str,
    ) -> AnswerLimit:
        settings = extra_body.get("inferenceConfig")
        return limit_of(settings if isinstance(settings, dict) else {}, (_LENGTH,), (_LENGTH,))

    def read_event(self, name: str, payload: bytes) -> Said:
        if name.startswith(THROWN):
            return _thrown(name.removeprefix(THROWN), payload)
        event = decode(payload) if payload else {}
        if name == DELTA:
            delta = event.get("delta")
            return Said(token=_token(delta) if isinstance(delta, dict) else None)
        if name == "messageStop":
            return Said(finish=reason_of(event.get("stopReason")), end=True)
        return _about(event) if name == "metadata" else Said()

    def read_body(self, body: bytes) -> Said:
        answer = decode(body)
        output = answer.get("output")
        failed = failure_in(answer, answers=isinstance(output, dict))
        if failed is not None:
            return failed
        said = _about(answer)
        said.finish = reason_of(answer.get("stopReason"))
        message = output.get("message") if isinstance(output, dict) else None
        blocks = message.get("content") if isinstance(message, dict) else None
        if not isinstance(blocks, list):
            said.malformed = "answer without output.message.content"
            return said
        tokens = [_token(block) for block in blocks if isinstance(block, dict)]
        seen = [token for token in tokens if token is not None]
        # Of several blocks, what is seen counts.
        said.token = next((token for token in seen if token is not Token.reasoning), None)
        said.token = said.token or (Token.reasoning if seen else None)
        if said.token is None and said.finish is None:
            said.malformed = "an answer of nothing: no content and no stop reason"
        return said

    def text_of_event(self, name: str, payload: bytes) -> str:
        delta = decode(payload).get("delta") if name == DELTA and payload else None
        return text_or_none(delta.get("text")) or "" if isinstance(delta, dict) else ""

    def text_of_body(self, body: bytes) -> str:
        output = decode(body).get("output")
        return text_of(output.get("message")) if isinstance(output, dict) else ""

    def error_message(self, body: bytes) -> str:
        """Its sign-in writes `Message` where the service itself writes `message`.

        Of a signature that is wrong only the first sentences: all that was signed follows, and with
        it a session token.
        """
        said = super().error_message(body)
        if not said and b'"Message"' in body:
            said = str(decode(body).get("Message") or "")
        return said.partition("\n\n")[0]

    def cause(self, status: int, code: str, message: str) -> Cause:
        """The name of an exception may come with its namespace or with a URL behind it."""
        name = code.rpartition("#")[2].partition(":")[0]
        if status == 503 and not name:
            return Cause.capacity
        return super().cause(status, name, message)

    def looks_streamed(self, begin: bytes, labelled: bool) -> bool | None:
        """A frame begins with its length, of which the first byte is nought."""
        if begin[:1] == b"\0":
            return True
        return False if begin.lstrip()[:1] in (b"{", b"<") else None

    def stream_reader(self, answer: Answer) -> ConverseReader:
        return ConverseReader(answer, EventFrames(), self.read_event)


def _thrown(name: str, payload: bytes) -> Said:
    try:
        message = error_text(decode(payload)) if payload else ""
    except MalformedAnswer:
        message = payload[:200].decode("utf-8", "replace")
    return Said(error=f"{name}: {message}" if message else name, error_code=name)


def _about(answer: dict[str, Any]) -> Said:
    """What an answer's end says beside its text."""
    said = Said()
    usage = answer.get("usage")
    metrics = answer.get("metrics")
    if isinstance(usage, dict):
        said.usage = _usage(usage)
    if isinstance(metrics, dict) and (spent := count(metrics.get("latencyMs"))) >= 0:
        said.server_ns = spent * MS
    said.tier = _tier(answer.get("serviceTier"), answer.get("performanceConfig"))
    trace = answer.get("trace")
    router = trace.get("promptRouter") if isinstance(trace, dict) else None
    if isinstance(router, dict):  # a prompt router chooses among models
        said.model = text_or_none(router.get("invokedModelId"))
    return said


def _usage(usage: dict[str, Any]) -> Usage:
    """`inputTokens` leaves out what was read from the cache or written to it."""
    prompt = count(usage.get("inputTokens"))
    cached = count(usage.get("cacheReadInputTokens"))
    if prompt >= 0:
        prompt += max(cached, 0) + max(count(usage.get("cacheWriteInputTokens")), 0)
    return Usage(prompt, count(usage.get("outputTokens")), cached_tokens=cached)


def _tier(service: Any, performance: Any) -> str | None:
    """The service tier, unless the answer says that it was optimized for latency: either falls back
    to the standard one in silence.
    """
    tier = text_or_none(service.get("type")) if isinstance(service, dict) else None
    latency = text_or_none(performance.get("latency")) if isinstance(performance, dict) else None
    return latency if latency == "optimized" else tier or latency


def _token(block: dict[str, Any]) -> Token | None:
    """What a content block or a piece of one holds."""
    if block.get("text"):
        return Token.text
    call = block.get("toolUse")
    reasoning = block.get("reasoningContent")
    if isinstance(call, dict) and (call.get("input") or call.get("name")):
        return Token.tool_call
    if isinstance(reasoning, dict):
        whole = reasoning.get("reasoningText")
        hidden = whole.get("text") if isinstance(whole, dict) else reasoning.get("text")
        if hidden or reasoning.get("redactedContent"):
            return Token.reasoning
        return None
    return None


class ConverseBody:
    """Writes bodies: all but the texts and the length is JSON before the run."""

    def __init__(self, options: BodyOptions):
        """Raises TypeError or ValueError where the extra body cannot be written as JSON."""
        fixed: dict[str, Any] = {**options.tier_body, **options.extra_body}
        settings = fixed.pop("inferenceConfig", {})
        if not isinstance(settings, dict):
            raise TypeError("inferenceConfig is no table")
        self._planned = _LENGTH not in settings
        self._before = b'],"inferenceConfig":' + json.dumps(settings, allow_nan=False).encode()
        if self._planned:
            comma = b"," if settings else b""
            self._before = self._before[:-1] + comma + b'"maxTokens":'
        rest = json.dumps(fixed, allow_nan=False).encode()[1:]
        self._tail = (b"}" if self._planned else b"") + (b"," + rest if fixed else b"}")

    def write(self, texts: Sequence[bytes], output_tokens: int) -> bytes:
        """A body of the user's and the assistant's texts in turn."""
        messages = in_turns(texts, _USER, _ASSISTANT, b'"}]}')
        length = b"%d" % output_tokens if self._planned else b""
        return b'{"messages":[' + messages + self._before + length + self._tail

    def drop_refused(self, message: str) -> bool:
        """Nothing that is sent may be left out."""
        return False


API = Converse()
