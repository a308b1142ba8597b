"""What OpenAI's APIs share: errors, tiers, usage, lists of models, headers.

In: refusals, what was served. Out: bytes and headers. Must stay true: every error has the four keys
message, type, param and code; an answer names its tier where the request named one.

Sources, read on 30 November 2026: OpenAI's API reference ("Create chat completion", "Debugging
requests", "Error codes"); Azure's guide to spillover
(https://learn.microsoft.com/en-us/azure/foundry/openai/how-to/spillover-traffic-management).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.gateway.apis.seam import Headers, Refusal, Served
from bench.gateway.tiers import TierName
from bench.gateway.wire import RequestError, flag

DONE = b"e\r\ndata: [DONE]\n\n\r\n"
_ASKS: dict[str, TierName] = {
    "auto": "standard",
    "default": "standard",
    "flex": "flex",
    "scale": "dedicated",
    "reserved": "dedicated",
    "priority": "priority",
    "fast": "priority",
    "ultrafast": "priority",
    # Groq's
    "on_demand": "standard",
    "performance": "priority",
}
_WORDS: dict[TierName, str] = {
    "dedicated": "scale",
    "priority": "priority",
    "standard": "default",
    "flex": "flex",
}


class OpenAi:
    """What a `GatewayApi` of OpenAI's has from it."""

    tier_asks: Mapping[str, TierName] = _ASKS
    tier_words: Mapping[TierName, str] = _WORDS
    tier_renamed: Mapping[str, str] = {"auto": "default", "fast": "priority"}

    def refuse(self, error: RequestError, request_id: str) -> Refusal:
        return Refusal(error.status, error.body)

    def headers(self, served: Served) -> Headers:
        headers: Headers = []
        if served.server_ns >= 0:
            headers.append(("openai-processing-ms", str(served.server_ms)))
        if served.spilled:
            headers += [
                ("x-ms-is-spilled-over", "true"),
                ("x-ms-spillover-from-deployment", served.asked.model),
                ("x-ms-deployment-name", f"{served.asked.model}-standard"),
            ]
        return headers

    def models(self, names: list[str], created: int) -> bytes:
        data = [
            {"id": name, "object": "model", "created": created, "owned_by": "simulated"}
            for name in names
        ]
        return json.dumps({"object": "list", "data": data}).encode()


def stream_options(data: dict[str, Any], stream: bool) -> bool:
    """Whether a stream shall end with usage. Raises RequestError."""
    options = data.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise RequestError(
            400,
            "stream_options must be an object.",
            param="stream_options",
            code="invalid_type",
        )
    if options is not None and not stream:
        raise RequestError(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return flag(options or {}, "include_usage")


def usage(served: Served) -> dict[str, Any]:
    """The usage object of an answer; with cached tokens where a prefix cache could have helped."""
    prompt = served.asked.prompt_tokens
    counts: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": served.output_tokens,
        "total_tokens": prompt + served.output_tokens,
    }
    if served.cached_tokens is None:
        return counts
    return counts | {"prompt_tokens_details": {"cached_tokens": served.cached_tokens}}
