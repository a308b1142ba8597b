"""Anthropic's Messages API, as Anthropic, Bedrock, Foundry, Vertex AI and imitators speak it.

In: options and texts; events of a stream, or a whole body. Out: bodies; what was said. Must stay
true: the first token is the first `content_block_delta` of text, thinking or tool input, and an
event that is not known is none; the prompt is input + cache read + cache creation, as billed; a
tool call's first delta, mostly empty, counts as its name.

Sources, read on 2026-11-30: https://platform.claude.com/docs/en/build-with-claude/streaming,
https://platform.claude.com/docs/en/api/errors, https://platform.claude.com/docs/en/api/service-tiers,
https://platform.claude.com/docs/en/build-with-claude/fast-mode; the types of anthropic 2.14.0.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from bench.api import google_facts
from bench.api.address import ending_in_version
from bench.api.answer import Answer, MalformedAnswer, Said, Token, Usage
from bench.api.cause import Cause
from bench.api.chat import ChatBody
from bench.api.decoding import count, decode, text_or_none
from bench.api.failures import broken_off, failure_in, named_failure, names_failure, reason_of
from bench.api.framing import EventStream
from bench.api.interface import GATEWAY_HEADERS, AnswerLimit, Api, BodyOptions, HeaderFact, limit_of
from bench.api.openai_family import refuse_path_of_another
from bench.api.openai_parts import text_of
from bench.api.quick import Look, QuickReader
from bench.api.tier import BY_NAME, TierAsk, TierClass

_PATH = "/messages"
#: Vertex AI: the model stands in the path, the version in the body.
_RAW = re.compile(r":(?:streamRawPredict|rawPredict)$")
_OF_MODEL = re.compile(r"/publishers/anthropic/models/[^/]+$")
_VERTEX_VERSION = "vertex-2023-10-16"
_MANTLE = re.compile(r"bedrock-mantle\..*\.api\.aws")
_FAST = TierAsk({"speed": "fast"}, (("anthropic-beta", "fast-mode-2026-02-01"),))
#: Deltas that hold tokens, and whether the key of their text must not be empty. Signatures and
#: citations are no tokens.
_DELTAS = {
    "text_delta": (Token.text, "text"),
    "thinking_delta": (Token.reasoning, "thinking"),
    "input_json_delta": (Token.tool_call, None),
}
#: Blocks that may stand whole in the event that begins them.
_WHOLE_BLOCKS = {
    "text": (Token.text, "text"),
    "thinking": (Token.reasoning, "thinking"),
    "redacted_thinking": (Token.reasoning, "data"),
}
_PLAIN_BLOCKS = {
    **_WHOLE_BLOCKS,
    "tool_use": (Token.tool_call, "name"),
    "server_tool_use": (Token.tool_call, "name"),
    "mcp_tool_use": (Token.tool_call, "name"),
}
_DELTA = re.compile(
    rb'\{\s*"type"\s*:\s*"content_block_delta"\s*,\s*"index"\s*:\s*\d+\s*,\s*"delta"\s*:\s*'
    rb'\{\s*"type"\s*:\s*"(text_delta|thinking_delta|input_json_delta)"\s*,\s*'
    rb'"(text|thinking|partial_json)"\s*:\s*'
    rb'"([^"\\\x00-\x1f]*(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*)*)"\s*\}\s*\}\s*'
)


class Messages(Api):
    """`POST …/messages`."""

    name = "messages"
    provider, operation = "anthropic", "chat"
    vllm_backend = "anthropic-messages"
    own_keys = ("model", "messages", "stream")
    auth = "x-api-key"
    headers = (("anthropic-version", "2023-06-01"),)
    cut_note = "stream ended without message_stop"
    response_headers: Mapping[bytes, HeaderFact] = {
        **GATEWAY_HEADERS,
        b"anthropic-ratelimit-requests-remaining": HeaderFact.requests_left,
        b"anthropic-ratelimit-tokens-remaining": HeaderFact.tokens_left,
        b"anthropic-ratelimit-input-tokens-remaining": HeaderFact.tokens_left,
        b"anthropic-ratelimit-output-tokens-remaining": HeaderFact.tokens_left,
    }
    served_tiers: Mapping[str, TierClass] = {
        "priority": TierClass.priority,
        "fast": TierClass.priority,
        "standard": TierClass.standard,
        "batch": TierClass.flex,
    }
    error_codes = google_facts.ERROR_CODES
    tiers: Mapping[str, TierAsk] = {
        "auto": TierAsk({"service_tier": "auto"}),
        # Capacity that was bought is used by auto alone.
        "priority": TierAsk({"service_tier": "auto"}),
        "standard": TierAsk({"service_tier": "standard_only"}),
        "standard_only": TierAsk({"service_tier": "standard_only"}),
        "fast": _FAST,
        **dict.fromkeys(("dedicated", "provisioned", "reserved", "shared", "pro"), BY_NAME),
    }

    def base_path(self, base: str, host: str, query: str, model: str) -> str:
        """Foundry and Bedrock have it below a path of its own, Vertex AI below a location."""
        if google_facts.ADDRESS.search(f"{host}{base}"):
            whole = _RAW.sub("", base)
            if not _OF_MODEL.search(whole):
                name = quote(model.rpartition("/")[2], safe="@:.-_")
                home = whole.removesuffix("/models").removesuffix("/publishers/anthropic")
                whole = f"{home}/publishers/anthropic/models/{name}"
            return f"{whole}:rawPredict"
        below = host.endswith(".services.ai.azure.com") or _MANTLE.fullmatch(host)
        return "/anthropic" if below and not base else base

    def path(self, base: str, model: str, stream: bool) -> str:
        refuse_path_of_another(base, self.name)
        if _RAW.search(base):
            return _RAW.sub(":streamRawPredict" if stream else ":rawPredict", base)
        return ending_in_version(base, _PATH)

    def ready_path(self, base: str, model: str) -> str:
        if _RAW.search(base):
            return _OF_MODEL.sub("/publishers/anthropic/models", _RAW.sub("", base))
        return ending_in_version(base, _PATH).removesuffix(_PATH) + "/models"

    def body_format(self, options: BodyOptions) -> ChatBody:
        """The body of a chat, whose length has one name and whose usage always comes."""
        ours = dataclasses.replace(options, include_usage=False, max_tokens_field="max_tokens")
        if not _RAW.search(urlsplit(options.url).path):
            return ChatBody(ours)
        body = {"anthropic_version": _VERTEX_VERSION, **options.extra_body}
        return ChatBody(dataclasses.replace(ours, model="", extra_body=body))

    def tiers_at(self, base_url: str) -> Mapping[str, TierAsk]:
        """By `service_tier` and `speed`; by headers in Vertex AI."""
        return google_facts.TIERS if google_facts.ADDRESS.search(base_url) else self.tiers

    def cause(self, status: int, code: str, message: str) -> Cause:
        """A lack of credit comes as a request that is no good."""
        if code == "invalid_request_error" and "credit balance" in message.lower():
            return Cause.spend
        found = google_facts.cause_in_words(code, message)
        return found or super().cause(status, code, message)

    def answer_limit(
        self,
        extra_body: Mapping[str, Any],
        max_tokens_field: str,
    ) -> AnswerLimit:
        """By `max_tokens`, which counts thinking too."""
        return limit_of(extra_body, ("max_tokens",), ("max_tokens",))

    def read_event(self, name: str, payload: bytes) -> Said:
        if names_failure(name):
            return named_failure(name, payload)
        text = payload.strip()
        if not text or text.startswith(b"[DONE]"):
            # No mark of this API: gateways put it behind any stream.
            return Said()
        event = decode(payload)
        kind = text_or_none(event.get("type")) or name
        if kind == "content_block_delta":
            delta = event.get("delta")
            if isinstance(delta, dict):
                return Said(token=_token(_DELTAS, delta))
            return Said(malformed="content_block_delta without delta")
        failed = failure_in(event, answers=bool(kind))
        if failed is not None:
            return failed
        if kind == "message_start":
            return _begun(event.get("message"))
        if kind == "content_block_start":
            return Said(token=_token(_WHOLE_BLOCKS, event.get("content_block")))
        if kind == "message_delta":
            said = _about(event)
            delta = event.get("delta")
            said.finish = reason_of(delta.get("stop_reason")) if isinstance(delta, dict) else None
            return _broken_off(said)
        if not kind:
            raise MalformedAnswer("event without type: no stream of the Messages API")
        return _ended(event) if kind == "message_stop" else Said()

    def read_body(self, body: bytes) -> Said:
        answer = decode(body)
        blocks = answer.get("content")
        failed = failure_in(answer, answers=isinstance(blocks, list))
        if failed is not None:
            return failed
        said = _about(answer)
        if not isinstance(blocks, list):
            said.malformed = "answer without content"
            return said
        said.finish = reason_of(answer.get("stop_reason"))
        for block in blocks:
            token = _token(_PLAIN_BLOCKS, block)
            # Of several blocks, what is seen counts.
            if said.token is None or (token is not None and said.token is Token.reasoning):
                said.token = token
        if said.token is None and said.finish is None:
            said.malformed = "an answer of nothing: no content and no stop reason"
        return _broken_off(said)

    def text_of_event(self, name: str, payload: bytes) -> str:
        if not payload.lstrip().startswith(b"{"):
            return ""
        event = decode(payload)
        part = event.get("delta") or event.get("content_block")
        if not isinstance(part, dict) or part.get("type") not in ("text_delta", "text"):
            return ""
        return text_or_none(part.get("text")) or ""

    def text_of_body(self, body: bytes) -> str:
        return text_of(decode(body))

    def stream_reader(self, answer: Answer) -> QuickReader:
        return QuickReader(answer, EventStream(), self.read_event, LOOK)


def _token(kinds: Mapping[str, tuple[Token, str | None]], holder: Any) -> Token | None:
    """What a delta or block of one of these kinds holds."""
    kind = text_or_none(holder.get("type")) if isinstance(holder, dict) else None
    token, key = kinds.get(kind or "", (None, None))
    if key is None or holder.get(key):
        return token
    return None


def _begun(message: Any) -> Said:
    """What the message of a `message_start` says. The output that it begins with is no length: a
    stream that is cut is counted by its deltas.
    """
    if not isinstance(message, dict):
        return Said(malformed="message_start without message")
    said = _about(message)
    said.reason_due = "stop_reason" in message
    if said.usage is not None:
        said.usage = said.usage._replace(output_tokens=-1)
    return said


def _broken_off(said: Said) -> Said:
    if broken_off(said.finish):
        return Said(error=f"stop reason {said.finish!r}", error_code=str(said.finish))
    return said


def _ended(event: dict[str, Any]) -> Said:
    """The end of a message; Bedrock counts it there."""
    said = Said(end=True)
    counted = event.get("amazon-bedrock-invocationMetrics")
    if isinstance(counted, dict):
        said.usage = Usage(
            output_tokens=count(counted.get("outputTokenCount")),
            cached_tokens=count(counted.get("cacheReadInputTokenCount")),
            fresh_tokens=count(counted.get("inputTokenCount")),
            written_tokens=count(counted.get("cacheWriteInputTokenCount")),
        )
    return said


def _about(message: dict[str, Any]) -> Said:
    """What a message, or a delta of one, says beside its content."""
    said = Said(model=text_or_none(message.get("model")))
    usage = message.get("usage")
    if isinstance(usage, dict):
        said.usage = _usage(usage)
        said.region = text_or_none(usage.get("inference_geo"))
        # What is called speed is a tier with a price of its own; the service tier beside it stays
        # `standard`.
        fast = usage.get("speed") == "fast"
        said.tier = "fast" if fast else text_or_none(usage.get("service_tier"))
    return said


def _usage(usage: dict[str, Any]) -> Usage:
    details = usage.get("output_tokens_details")
    return Usage(
        output_tokens=count(usage.get("output_tokens")),
        reasoning_tokens=count(details.get("thinking_tokens")) if isinstance(details, dict) else -1,
        cached_tokens=count(usage.get("cache_read_input_tokens")),
        fresh_tokens=count(usage.get("input_tokens")),
        written_tokens=count(usage.get("cache_creation_input_tokens")),
    )


def _glance(payload: bytes) -> bool | None:
    """What a delta in the API's own order of keys holds (`Look.glance`)."""
    found = _DELTA.fullmatch(payload)
    if found is None:
        return None
    kind, key, text = found.groups()
    if kind == b"text_delta" and key == b"text" and text:
        return True
    if kind == b"thinking_delta" and key == b"thinking" and text:
        return False
    return True if kind == b"input_json_delta" else None


def _text_places(payload: bytes) -> Iterator[tuple[int, int]]:
    """Where its text stands (`Look.places`)."""
    found = _DELTA.fullmatch(payload)
    if found is not None:
        yield found.span(3)


LOOK = Look(_text_places, _glance, "content_block_delta")

API = Messages()
