"""OpenAI's legacy completions.

In: bodies of requests; what was served. Out: what they ask for; bytes of answers. Must stay true: a
token costs one formatting of bytes.

Source: OpenAI's API reference, "Create completion", read on 30 November 2026.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.gateway.apis.openai import DONE, OpenAi, stream_options, usage
from bench.gateway.apis.seam import Asked, GatewayApi, Incoming, Served
from bench.gateway.tiers import TierName
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
)


class Completions(OpenAi, GatewayApi):
    """`POST …/completions`."""

    name = "completions"
    tier_asks: Mapping[str, TierName] = {}

    def parse(self, incoming: Incoming) -> Asked:
        data = json_object(incoming.body)
        stream = flag(data, "stream")
        prompt, tokens = _prompt(data.get("prompt"))
        return Asked(
            incoming.model or model_of(data),
            prompt,
            tokens,
            length_of(data, "max_tokens"),
            stream,
            stream_options(data, stream),
        )

    def frames(self, served: Served) -> CompletionFrames:
        return CompletionFrames(served)

    def plain(self, served: Served) -> bytes:
        choice = {
            "text": answer_text(served.output_tokens),
            "index": 0,
            "logprobs": None,
            "finish_reason": "length",
        }
        answer = {**_about(served), "choices": [choice], "usage": usage(served)}
        return json.dumps(answer).encode()


def _about(served: Served) -> dict[str, Any]:
    return {
        "id": f"cmpl-{served.number:012x}",
        "object": "text_completion",
        "created": served.created,
        "model": served.model,
    }


def _prompt(prompt: Any) -> tuple[str, int]:
    """A text or a list with one, or token numbers; and how many tokens that is."""
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt, len(prompt.split())
    if isinstance(prompt, list) and prompt and all(isinstance(each, int) for each in prompt):
        return " ".join(map(str, prompt)), len(prompt)
    raise RequestError(
        400, "prompt must be a text or a list of tokens.", param="prompt", code="invalid_type"
    )


class CompletionFrames:
    """The bytes of one streamed answer."""

    def __init__(self, served: Served):
        self._served = served
        self._start = b"data: " + compact(_about(served))[:-1]
        self._middle = b',"choices":[{"text":"'
        self._tail = b'","index":0,"logprobs":null,"finish_reason":null}]}\n\n'

    def begin(self) -> bytes:
        return b""

    def token(self, index: int) -> bytes:
        word = WORD_BYTES[index % len(WORD_BYTES)]
        return http_chunk(b"%b%b%b%b" % (self._start, self._middle, word, self._tail))

    def end(self) -> bytes:
        last = self._start + self._middle + self._tail.replace(b"null}", b'"length"}')
        counts = b""
        if self._served.asked.include_usage:
            counted = compact(usage(self._served))
            counts = http_chunk(self._start + b',"choices":[],"usage":' + counted + b"}\n\n")
        return http_chunk(last) + counts + DONE

    def garbage(self) -> bytes:
        return http_chunk(b'data: {"id":"cmpl-\xff\xfe{{{"choices":[}\n\n')

    def error(self, error: RequestError) -> bytes:
        return http_chunk(b"data: " + error.body + b"\n\n")


API = Completions()
