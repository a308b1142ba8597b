"""OpenAI's chat completions.

In: bodies of requests; what was served. Out: what they ask for; bytes of answers. Must stay true:
a token costs one formatting of bytes and no JSON, for thousands of streams are written at once.
"""

from __future__ import annotations

import json
from typing import Any

from bench.gateway.apis.openai import DONE, OpenAi, stream_options, usage
from bench.gateway.apis.seam import Asked, GatewayApi, Incoming, Served
from bench.gateway.wire import (
    WORD_BYTES,
    RequestError,
    answer_text,
    compact,
    flag,
    http_chunk,
    json_object,
    length_of,
    model_of,
    texts_of,
)


class Chat(OpenAi, GatewayApi):
    """`POST …/chat/completions`."""

    name = "chat"

    def parse(self, incoming: Incoming) -> Asked:
        return parse_chat(incoming.body, incoming.model)

    def frames(self, served: Served) -> ChatFrames:
        return ChatFrames(served)

    def plain(self, served: Served) -> bytes:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer_text(served.output_tokens)},
            "finish_reason": "length",
        }
        answer: dict[str, Any] = {
            "id": f"chatcmpl-{served.number:012x}",
            "object": "chat.completion",
            "created": served.created,
            "model": served.model,
            "choices": [choice],
            "usage": usage(served),
        }
        if served.tier:
            answer["service_tier"] = served.tier
        return json.dumps(answer).encode()


def parse_chat(body: bytes, deployment: str = "") -> Asked:
    """Read a body; at a deployment of Azure's it need not name a model. Raises RequestError."""
    data = json_object(body)
    model = deployment or model_of(data)
    stream = flag(data, "stream")
    include_usage = stream_options(data, stream)
    if data.get("n") not in (None, 1):
        raise RequestError(
            400,
            "This gateway gives one choice a request: n must be 1.",
            param="n",
            code="unsupported_value",
        )
    prompt = "\n".join(texts_of(data.get("messages")))
    return Asked(
        model,
        prompt,
        len(prompt.split()),
        length_of(data, "max_completion_tokens", "max_tokens"),
        stream,
        include_usage,
        API.tier_asked(data.get("service_tier"), "service_tier"),
    )


class ChatFrames:
    """The bytes of one streamed answer, each event one HTTP chunk."""

    def __init__(self, served: Served):
        self._served = served
        tier = b',"service_tier":' + json.dumps(served.tier).encode() if served.tier else b""
        self._start = (
            b'data: {"id":"chatcmpl-%012x","object":"chat.completion.chunk",'
            b'"created":%d,"model":%b%b'
            % (served.number, served.created, json.dumps(served.model).encode(), tier)
        )
        self._fixed = len(self._start) + len(
            b',"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}\n\n'
        )

    def begin(self) -> bytes:
        """The first event: a role and no content."""
        return self._event(
            b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]'
        )

    def token(self, index: int) -> bytes:
        """Content event number `index`."""
        word = WORD_BYTES[index % len(WORD_BYTES)]
        return (
            b'%x\r\n%b,"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n\r\n'
            % (self._fixed + len(word), self._start, word)
        )

    def end(self) -> bytes:
        """The finish reason (every answer runs to its maximum), usage where it was asked for, and
        `[DONE]`.
        """
        finish = self._event(b'[{"index":0,"delta":{},"finish_reason":"length"}]')
        counts = b""
        if self._served.asked.include_usage:
            counts = self._event(b"[]", b',"usage":' + compact(usage(self._served)))
        return finish + counts + DONE

    def garbage(self) -> bytes:
        """An event that is not JSON."""
        return http_chunk(b'data: {"id":"chatcmpl-\xff\xfe{{{"choices":[}\n\n')

    def error(self, error: RequestError) -> bytes:
        """An error inside a stream that began with status 200."""
        return http_chunk(b"data: " + error.body + b"\n\n")

    def _event(self, choices: bytes, more: bytes = b"") -> bytes:
        return http_chunk(b'%b,"choices":%b%b}\n\n' % (self._start, choices, more))


API = Chat()
