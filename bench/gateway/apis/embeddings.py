"""OpenAI's embeddings.

In: bodies of requests; what was served. Out: what they ask for; bytes of answers. Must stay true: a
vector for each text, of as many numbers as were asked for.

Source: OpenAI's API reference, "Create embeddings", read on 30 November 2026.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any

from bench.gateway.apis.openai import OpenAi
from bench.gateway.apis.seam import Asked, GatewayApi, Incoming, Served
from bench.gateway.tiers import TierName
from bench.gateway.wire import RequestError, json_object, model_of

_DIMENSIONS = 16
_MAX_DIMENSIONS = 4096
_MAX_TEXTS = 2048


class Embeddings(OpenAi, GatewayApi):
    """`POST …/embeddings`."""

    name = "embeddings"
    makes_tokens = False
    tier_asks: Mapping[str, TierName] = {}

    def parse(self, incoming: Incoming) -> Asked:
        data = json_object(incoming.body)
        texts = data.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        if (
            not isinstance(texts, list)
            or not 1 <= len(texts) <= _MAX_TEXTS
            or not all(isinstance(text, str) for text in texts)
        ):
            raise RequestError(
                400,
                f"input must be a text or a list of 1 to {_MAX_TEXTS} texts.",
                param="input",
                code="invalid_type",
            )
        prompt = "\n".join(texts)
        return Asked(
            incoming.model or model_of(data),
            prompt,
            len(prompt.split()),
            1,
            stream=False,
            items=len(texts),
            dimensions=_dimensions(data),
            base64=data.get("encoding_format") == "base64",
        )

    def plain(self, served: Served) -> bytes:
        data = []
        for index in range(served.asked.items):
            vector: Any = _vector(index, served.asked.dimensions)
            if served.asked.base64:
                vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        tokens = served.asked.prompt_tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": served.model, "usage": usage}
        return json.dumps(answer).encode()


def _dimensions(data: dict[str, Any]) -> int:
    dimensions = data.get("dimensions", _DIMENSIONS)
    if not isinstance(dimensions, int) or not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise RequestError(
            400, f"dimensions must lie between 1 and {_MAX_DIMENSIONS}.", param="dimensions"
        )
    return dimensions


def _vector(index: int, dimensions: int) -> list[float]:
    """One of length 1: a one at the text's place, zeros elsewhere."""
    return [1.0 if place == index % dimensions else 0.0 for place in range(dimensions)]


API = Embeddings()
