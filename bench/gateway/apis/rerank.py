"""Reranking, as vLLM and Jina (`/v1/rerank`) and Cohere (`/v2/rerank`) answer it.

In: bodies of requests; what was served. Out: what they ask for; bytes of answers. Must stay true: a
score for each document, the best first; the query's tokens count once for each document.

Sources, read on 30 November 2026: Cohere's API reference, "V2 Rerank API"; vLLM's "Re-rank API".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.gateway.apis.openai import OpenAi
from bench.gateway.apis.seam import Asked, GatewayApi, Incoming, Refusal, Served
from bench.gateway.tiers import TierName
from bench.gateway.wire import RequestError, json_object, model_of


class Rerank(OpenAi, GatewayApi):
    """`POST …/rerank`."""

    name = "rerank"
    makes_tokens = False
    tier_asks: Mapping[str, TierName] = {}

    def __init__(self, *, cohere: bool):
        """`cohere`: its usage, and errors with a message and no code."""
        self._cohere = cohere

    def parse(self, incoming: Incoming) -> Asked:
        data = json_object(incoming.body)
        query = data.get("query")
        if not isinstance(query, str):
            raise RequestError(400, "query must be a text.", param="query", code="invalid_type")
        texts = [_text(document) for document in _documents(data)]
        tokens = sum(len(text.split()) for text in texts) + len(texts) * len(query.split())
        return Asked(
            model_of(data),
            query,
            tokens,
            1,
            stream=False,
            items=len(texts),
        )

    def plain(self, served: Served) -> bytes:
        number = served.asked.items
        results = [
            {"index": index, "relevance_score": (number - index) / (number + 1)}
            for index in range(number)
        ]
        tokens = served.asked.prompt_tokens
        answer: dict[str, Any] = {"id": f"rerank-{served.number:012x}", "results": results}
        if self._cohere:
            billed = {"search_units": 1}
            answer["meta"] = {"billed_units": billed, "tokens": {"input_tokens": tokens}}
        else:
            answer["model"] = served.model
            answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json.dumps(answer).encode()

    def refuse(self, error: RequestError, request_id: str) -> Refusal:
        if not self._cohere:
            return super().refuse(error, request_id)
        body = json.dumps({"id": request_id, "message": error.message}).encode()
        return Refusal(error.status, body)


def _documents(data: dict[str, Any]) -> list[Any]:
    documents = data.get("documents")
    if not isinstance(documents, list) or not documents:
        raise RequestError(400, "documents must be a list with at least one.", param="documents")
    return documents


def _text(document: Any) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise RequestError(400, "a document must be a text.", param="documents")
    return text


API = Rerank(cohere=False)
COHERE = Rerank(cohere=True)
