"""Google's generateContent, as the Gemini API and Vertex AI answer it.

In: bodies of requests; what was served. Out: what they ask for; bytes of answers. Must stay true:
each event is a whole response whose usage counts all so far; Vertex AI is known by its paths.

Sources, read on 30 November 2026: https://ai.google.dev/api/generate-content,
https://ai.google.dev/gemini-api/docs/priority-inference.md,
https://ai.google.dev/gemini-api/docs/troubleshooting,
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/priority-paygo,
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/provisioned-throughput/use-provisioned-throughput.
"""

from __future__ import annotations

import json
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
    http_chunk,
    json_object,
    length_of,
    part_texts,
    texts_of,
)

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
#: What Google says in place of a message of ours.
_MESSAGES = {
    Trouble.quota: "You exceeded your current quota, please check your plan and billing details.",
    Trouble.capacity: "Resource exhausted. Please try again later.",
    Trouble.overload: "The model is overloaded. Please try again later.",
}
_ASKS: dict[str, TierName] = {
    "standard": "standard",
    "priority": "priority",
    "flex": "flex",
    # of Vertex AI's headers
    "dedicated": "dedicated",
    "shared": "standard",
}
_VERTEX_WORDS: dict[TierName, str] = {
    "dedicated": "PROVISIONED_THROUGHPUT",
    "priority": "ON_DEMAND_PRIORITY",
    "standard": "ON_DEMAND",
    "flex": "ON_DEMAND_FLEX",
}
_WORDS: dict[TierName, str] = {"priority": "priority", "standard": "standard", "flex": "flex"}


class Gemini(GatewayApi):
    """`POST …/models/M:streamGenerateContent?alt=sse`, `:generateContent`."""

    name = "gemini"
    stream_type = "text/event-stream"
    tier_asks = _ASKS

    def __init__(self, *, vertex: bool):
        """`vertex`: below `/projects` or `/publishers`, with tiers by headers and traffic type."""
        self._vertex = vertex
        self.tier_words = _VERTEX_WORDS if vertex else _WORDS
        self.tier_unasked = self.tier_words["standard"]
        if vertex:
            self.tier_renamed = {word: _VERTEX_WORDS[tier] for word, tier in _ASKS.items()}

    def parse(self, incoming: Incoming) -> Asked:
        data = json_object(incoming.body)
        texts = texts_of(data.get("contents"), "contents", "parts")
        system = data.get("systemInstruction", data.get("system_instruction"))
        if isinstance(system, dict) and isinstance(system.get("parts"), list):
            texts += part_texts(system["parts"])
        config = data.get("generationConfig", data.get("generation_config", {}))
        if not isinstance(config, dict):
            raise RequestError(400, "Invalid value at 'generation_config'")
        prompt = "\n".join(texts)
        word = data.get("serviceTier", data.get("service_tier"))
        if self._vertex:
            word = incoming.headers.get("x-vertex-ai-llm-request-type")
            word = incoming.headers.get("x-vertex-ai-llm-shared-request-type", word)
        return Asked(
            incoming.model,
            prompt,
            len(prompt.split()),
            length_of(config, "maxOutputTokens", "max_output_tokens"),
            incoming.stream,
            tier=self.tier_asked(word, "service_tier"),
        )

    def frames(self, served: Served) -> GeminiFrames:
        return GeminiFrames(served, self.usage(served))

    def plain(self, served: Served) -> bytes:
        usage = self.usage(served) | _output(served, served.output_tokens)
        return json.dumps(_response(served, answer_text(served.output_tokens), usage)).encode()

    def usage(self, served: Served) -> dict[str, Any]:
        """What usage says from the start."""
        usage: dict[str, Any] = {"promptTokenCount": served.asked.prompt_tokens}
        if served.cached_tokens:
            usage["cachedContentTokenCount"] = served.cached_tokens
        if self._vertex and served.tier:
            usage["trafficType"] = served.tier
        return usage

    def headers(self, served: Served) -> Headers:
        headers: Headers = []
        if served.server_ns >= 0:
            headers.append(("server-timing", f"gfet4t7; dur={served.server_ms}"))
        if served.tier and not self._vertex:
            headers.append(("x-gemini-service-tier", served.tier))
        return headers

    def refuse(self, error: RequestError, request_id: str) -> Refusal:
        return Refusal(error.status, compact(error_of(error)))

    def models(self, names: list[str], created: int) -> bytes:
        methods = ["generateContent", "streamGenerateContent"]
        listed = [
            {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}
            for name in names
        ]
        return json.dumps({"models": listed}).encode()

    def limit_headers(self, allowance: Allowance, wall_ns: int) -> Headers:
        """Google has no header for what is left of a limit."""
        return []


def error_of(error: RequestError) -> dict[str, Any]:
    """An error as Google writes it."""
    status = _STATUSES.get(error.status, "INTERNAL")
    message = _MESSAGES.get(error.trouble, error.message)
    return {"error": {"code": error.status, "message": message, "status": status}}


def _output(served: Served, tokens: int) -> dict[str, int]:
    total = served.asked.prompt_tokens + tokens
    return {"candidatesTokenCount": tokens, "totalTokenCount": total}


def _response(
    served: Served, text: str, usage: dict[str, Any], finish: str = "MAX_TOKENS"
) -> dict[str, Any]:
    content = {"parts": [{"text": text}], "role": "model"}
    candidate = {"content": content, "finishReason": finish, "index": 0}
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": served.model,
        "responseId": f"{served.number:016x}",
    }


class GeminiFrames:
    """The bytes of one streamed answer."""

    def __init__(self, served: Served, usage: dict[str, Any]):
        self._served = served
        self._usage = usage
        model, answer = compact(served.model), b"%016x" % served.number
        self._middle = (
            b'"}],"role":"model"},"index":0}],"usageMetadata":' + compact(usage)[:-1] + b","
        )
        self._tail = b'},"modelVersion":%b,"responseId":"%b"}\r\n\r\n' % (model, answer)

    def begin(self) -> bytes:
        return b""

    def token(self, index: int) -> bytes:
        total = self._served.asked.prompt_tokens + index + 1
        return http_chunk(
            b'data: {"candidates":[{"content":{"parts":[{"text":"%b'
            b'%b"candidatesTokenCount":%d,"totalTokenCount":%d%b'
            % (WORDS[index % len(WORDS)].encode(), self._middle, index + 1, total, self._tail)
        )

    def end(self) -> bytes:
        usage = self._usage | _output(self._served, self._served.output_tokens)
        return http_chunk(b"data: %b\r\n\r\n" % compact(_response(self._served, "", usage)))

    def garbage(self) -> bytes:
        return http_chunk(b'data: {"candidates":[\xff\xfe{{{\r\n\r\n')

    def error(self, error: RequestError) -> bytes:
        return http_chunk(b"data: %b\r\n\r\n" % compact(error_of(error)))


API = Gemini(vertex=False)
VERTEX = Gemini(vertex=True)
