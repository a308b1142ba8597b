"""Anthropic's Messages.

In: bodies of requests; what was served. Out: what they ask for; bytes of answers. Must stay true:
`input_tokens` leaves out what came from the cache; the output of `message_start` is no length,
that of `message_delta` counts all so far.

Sources, read on 30 November 2026: https://platform.claude.com/docs/en/api/messages,
https://platform.claude.com/docs/en/build-with-claude/streaming,
https://platform.claude.com/docs/en/api/errors, https://platform.claude.com/docs/en/api/service-tiers,
https://platform.claude.com/docs/en/build-with-claude/fast-mode,
https://platform.claude.com/docs/en/api/rate-limits.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from bench.gateway.apis.seam import Asked, GatewayApi, Headers, Incoming, Refusal, Served
from bench.gateway.keys import Allowance
from bench.gateway.tiers import TierName
from bench.gateway.wire import (
    WORDS,
    RequestError,
    Trouble,
    answer_text,
    compact,
    flag,
    http_chunk,
    json_object,
    length_of,
    model_of,
    texts_of,
)
from bench.units import S

_OVERLOADED = 529
_TYPES = {
    Trouble.request: "invalid_request_error",
    Trouble.length: "invalid_request_error",
    Trouble.model: "not_found_error",
    Trouble.key: "authentication_error",
    Trouble.expired: "authentication_error",
    Trouble.forbidden: "permission_error",
    Trouble.quota: "rate_limit_error",
    Trouble.capacity: "overloaded_error",
    Trouble.overload: "overloaded_error",
    Trouble.server: "api_error",
}
_ASKS: dict[str, TierName] = {
    "auto": "priority",
    "standard_only": "standard",
    # of `speed`
    "fast": "priority",
    "standard": "standard",
}
_WORDS: dict[TierName, str] = {"priority": "priority", "standard": "standard"}
_TOKENS = tuple(
    http_chunk(
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"%b"}}\n\n' % word.encode()
    )
    for word in WORDS
)


class Messages(GatewayApi):
    """`POST /v1/messages`; at Vertex AI the model stands in the path."""

    name = "messages"
    id_header = "request-id"
    tier_asks = _ASKS
    tier_words = _WORDS
    tier_renamed = {"auto": "priority", "standard_only": "standard"}
    tier_unasked = "standard"

    def parse(self, incoming: Incoming) -> Asked:
        data = json_object(incoming.body)
        if incoming.model:  # Vertex AI
            if not data.get("anthropic_version"):
                raise RequestError(400, "anthropic_version: Field required")
        elif "anthropic-version" not in incoming.headers:
            raise RequestError(400, "anthropic-version: header is required")
        if data.get("max_tokens") is None:
            raise RequestError(400, "max_tokens: Field required", param="max_tokens")
        texts = texts_of(data.get("messages"))
        system = data.get("system")
        if system is not None:
            texts += texts_of([{"role": "system", "content": system}], "system")
        prompt = "\n".join(texts)
        speed = self.tier_asked(data.get("speed"), "speed")
        tier = self.tier_asked(data.get("service_tier"), "service_tier")
        return Asked(
            incoming.model or model_of(data),
            prompt,
            len(prompt.split()),
            length_of(data, "max_tokens"),
            flag(data, "stream"),
            tier="fast" if speed == "fast" else tier,
        )

    def frames(self, served: Served) -> MessageFrames:
        return MessageFrames(served)

    def plain(self, served: Served) -> bytes:
        message = _message(served, answer_text(served.output_tokens))
        message["stop_reason"] = "max_tokens"
        message["usage"] = _usage(served, served.output_tokens)
        return json.dumps(message).encode()

    def refuse(self, error: RequestError, request_id: str) -> Refusal:
        overloaded = error.trouble in (Trouble.overload, Trouble.capacity)
        return Refusal(_OVERLOADED if overloaded else error.status, _error(error, request_id))

    def models(self, names: list[str], created: int) -> bytes:
        since = _moment(created * S)
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": since}
            for name in names
        ]
        first, last = (names[0], names[-1]) if names else (None, None)
        listed = {"data": data, "has_more": False, "first_id": first, "last_id": last}
        return json.dumps(listed).encode()

    def limit_headers(self, allowance: Allowance, wall_ns: int) -> Headers:
        prefix = "anthropic-ratelimit-requests"
        headers = [
            (f"{prefix}-limit", str(allowance.limit)),
            (f"{prefix}-remaining", str(allowance.remaining)),
            (f"{prefix}-reset", _moment(wall_ns + allowance.reset_ns)),
        ]
        if not allowance.allowed:
            headers.append(("retry-after", str(-(-allowance.retry_after_ns // S))))
            headers.append(("x-should-retry", "true"))
        return headers


def _moment(wall_ns: int) -> str:
    """By RFC 3339, in whole seconds."""
    return datetime.fromtimestamp(wall_ns // S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _error(error: RequestError, request_id: str) -> bytes:
    said = {"type": _TYPES[error.trouble], "message": error.message}
    return compact({"type": "error", "error": said, "request_id": request_id})


def _usage(served: Served, output_tokens: int) -> dict[str, Any]:
    cached = served.cached_tokens or 0
    usage = {
        "input_tokens": served.asked.prompt_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": output_tokens,
        "service_tier": "standard" if served.asked.tier == "fast" else served.tier,
    }
    if served.asked.tier == "fast":
        usage["speed"] = served.tier
    return usage


def _message(served: Served, text: str) -> dict[str, Any]:
    return {
        "id": f"msg_{served.number:024x}",
        "type": "message",
        "role": "assistant",
        "model": served.model,
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(served, 1),
    }


class MessageFrames:
    """The bytes of one streamed answer."""

    def __init__(self, served: Served):
        self._served = served

    def begin(self) -> bytes:
        block = {"index": 0, "content_block": {"type": "text", "text": ""}}
        return (
            _event("message_start", {"message": _message(self._served, "")})
            + _event("content_block_start", block)
            + _event("ping", {})
        )

    def token(self, index: int) -> bytes:
        return _TOKENS[index % len(_TOKENS)]

    def end(self) -> bytes:
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        usage = {"output_tokens": self._served.output_tokens}
        return (
            _event("content_block_stop", {"index": 0})
            + _event("message_delta", {"delta": delta, "usage": usage})
            + _event("message_stop", {})
        )

    def garbage(self) -> bytes:
        return http_chunk(b'event: content_block_delta\ndata: {"type":"\xff\xfe{{{\n\n')

    def error(self, error: RequestError) -> bytes:
        return http_chunk(b"event: error\ndata: %b\n\n" % _error(error, self._served.request_id))


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    data = compact({"type": kind, **fields})
    return http_chunk(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))


API = Messages()
