"""Amazon Bedrock's Converse and ConverseStream.

In: bodies of requests; what was served. Out: what they ask for; bytes of answers. Must stay true:
every frame has both its checksums; errors are named in a header or a frame, never in a body.

Sources, read on 30 November 2026: API reference of Amazon Bedrock,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html; encoding of
event streams, https://smithy.io/2.0/aws/amazon-eventstream.html.
"""

from __future__ import annotations

import json
import struct
from typing import Any
from zlib import crc32

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

_ERRORS = {
    Trouble.request: (400, "ValidationException"),
    Trouble.length: (400, "ValidationException"),
    Trouble.model: (400, "ValidationException"),
    Trouble.key: (403, "MissingAuthenticationTokenException"),
    Trouble.expired: (403, "ExpiredTokenException"),
    Trouble.forbidden: (403, "AccessDeniedException"),
    Trouble.quota: (429, "ThrottlingException"),
    Trouble.capacity: (503, "ServiceUnavailableException"),
    Trouble.overload: (503, "ServiceUnavailableException"),
}
_ASKS: dict[str, TierName] = {
    "default": "standard",
    "priority": "priority",
    "flex": "flex",
    "reserved": "dedicated",
    # of performanceConfig
    "optimized": "priority",
    "standard": "standard",
}
_WORDS: dict[TierName, str] = {
    "dedicated": "reserved",
    "priority": "priority",
    "standard": "default",
    "flex": "flex",
}
_PADDING = "abcdefghijklmnopqrstuvwxyz"


def _header(name: str, text: str) -> bytes:
    """A header of type 7, a text."""
    return b"%c%b\x07%b%b" % (
        len(name),
        name.encode(),
        struct.pack(">H", len(text)),
        text.encode(),
    )


def frame(name: str, payload: bytes, kind: str = "event") -> bytes:
    """A message of an event stream."""
    headers = (
        _header(f":{kind}-type", name)
        + _header(":content-type", "application/json")
        + _header(":message-type", kind)
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    begun = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return begun + struct.pack(">I", crc32(begun))


def _delta(word: str) -> bytes:
    said = {"contentBlockIndex": 0, "delta": {"text": word}, "p": _PADDING[: 2 * len(word)]}
    return frame("contentBlockDelta", compact(said))


_TOKENS = tuple(http_chunk(_delta(word)) for word in WORDS)
#: A frame whose payload was changed behind its checksum's back.
_SPOILT = http_chunk(_delta(WORDS[0]).replace(b'"text"', b'"tExt"'))


class Converse(GatewayApi):
    """`POST /model/ID/converse-stream`, `/model/ID/converse`."""

    name = "converse"
    stream_type = "application/vnd.amazon.eventstream"
    id_header = "x-amzn-requestid"
    tier_asks = _ASKS
    tier_words = _WORDS
    tier_unasked = "default"

    def parse(self, incoming: Incoming) -> Asked:
        data = json_object(incoming.body)
        texts = texts_of(data.get("messages"))
        system = data.get("system")
        texts += part_texts(system) if isinstance(system, list) else []
        settings = _table(data, "inferenceConfig")
        prompt = "\n".join(texts)
        tier = self.tier_asked(_table(data, "serviceTier").get("type"), "serviceTier")
        latency = self.tier_asked(_table(data, "performanceConfig").get("latency"), "latency")
        return Asked(
            incoming.model,
            prompt,
            len(prompt.split()),
            length_of(settings, "maxTokens"),
            incoming.stream,
            tier="optimized" if latency == "optimized" else tier,
        )

    def frames(self, served: Served) -> ConverseFrames:
        return ConverseFrames(served)

    def plain(self, served: Served) -> bytes:
        message = {"role": "assistant", "content": [{"text": answer_text(served.output_tokens)}]}
        end = {"output": {"message": message}, "stopReason": "max_tokens", **metadata(served)}
        return json.dumps(end).encode()

    def refuse(self, error: RequestError, request_id: str) -> Refusal:
        """The service's own failures keep their status."""
        server = "ServiceUnavailableException" if error.status == 503 else "InternalServerException"
        status, name = _ERRORS.get(error.trouble, (error.status, server))
        body = compact({"message": error.message})
        return Refusal(status, body, [("x-amzn-errortype", name)])

    def broken(self, error: RequestError, served: Served) -> Refusal:
        """A whole answer that fails has not begun: its status says so."""
        return self.refuse(error, served.request_id)

    def models(self, names: list[str], created: int) -> bytes:
        """Bedrock lists its models elsewhere."""
        return compact({"modelSummaries": [{"modelId": name} for name in names]})

    def limit_headers(self, allowance: Allowance, wall_ns: int) -> Headers:
        """Bedrock says nothing of its limits."""
        return []


def _table(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise RequestError(400, f"{key} must be an object.", param=key)
    return value


def metadata(served: Served) -> dict[str, Any]:
    """What an answer's end says; what came from the cache counts beside `inputTokens`."""
    prompt, output = served.asked.prompt_tokens, served.output_tokens
    cached = served.cached_tokens or 0
    usage = {
        "inputTokens": prompt - cached,
        "outputTokens": output,
        "totalTokens": prompt + output,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": 0,
    }
    said: dict[str, Any] = {"usage": usage, "metrics": {"latencyMs": max(0, served.server_ms)}}
    if served.asked.tier == "optimized":
        honoured = served.tier == "optimized"
        said["performanceConfig"] = {"latency": "optimized" if honoured else "standard"}
        said["serviceTier"] = {"type": "default"}
    elif served.tier:
        said["serviceTier"] = {"type": served.tier}
    return said


class ConverseFrames:
    """The bytes of one streamed answer."""

    def __init__(self, served: Served):
        self._served = served

    def begin(self) -> bytes:
        return http_chunk(frame("messageStart", compact({"role": "assistant", "p": "abcd"})))

    def token(self, index: int) -> bytes:
        return _TOKENS[index % len(_TOKENS)]

    def end(self) -> bytes:
        return http_chunk(
            frame("contentBlockStop", compact({"contentBlockIndex": 0, "p": "ab"}))
            + frame("messageStop", compact({"stopReason": "max_tokens", "p": "abc"}))
            + frame("metadata", compact(metadata(self._served)))
        )

    def garbage(self) -> bytes:
        return _SPOILT

    def error(self, error: RequestError) -> bytes:
        overloaded = error.trouble is Trouble.overload
        name = "serviceUnavailableException" if overloaded else "modelStreamErrorException"
        return http_chunk(frame(name, compact({"message": error.message}), "exception"))


API = Converse()
