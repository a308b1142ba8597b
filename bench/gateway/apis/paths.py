"""Which API a path belongs to.

In: a path below a scenario's, and headers. Out: the API, and what the path itself says. Must stay
true: a path belongs to at most one API; base URLs of every vendor's own client lead here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from bench.gateway.apis import (
    chat,
    completions,
    converse,
    embeddings,
    gemini,
    messages,
    rerank,
    responses,
)
from bench.gateway.apis.seam import GatewayApi

#: What stands before the part that says the API: a version, Azure's part, one of its deployments.
_BEFORE = r"(?:openai/)?(?:v\d\w*/)?(?:deployments/(?P<model>[^/]+)/)?"
_BY_ENDING: dict[str, GatewayApi] = {
    "chat/completions": chat.API,
    "completions": completions.API,
    "responses": responses.API,
    "messages": messages.API,
    "embeddings": embeddings.API,
    "rerank": rerank.API,
}
_ENDING = re.compile(_BEFORE + f"(?P<ending>{'|'.join(map(re.escape, _BY_ENDING))})")
_CONVERSE = re.compile(r"(?:v\d\w*/)?model/(?P<model>[^/]+)/converse(?P<stream>-stream)?")
_GEMINI = re.compile(
    r"(?:v\d\w*/)?(?P<vertex>projects/[^/]+/locations/[^/]+/)?(?P<google>publishers/google/)?"
    r"models/(?P<model>[^:]+(?::[^:]+)*):(?P<method>streamGenerateContent|generateContent)"
)
_CLAUDE_AT_VERTEX = re.compile(
    r"(?:v\d\w*/)?projects/[^/]+/locations/[^/]+/publishers/anthropic/"
    r"models/(?P<model>[^:]+):(?P<method>streamRawPredict|rawPredict)"
)
_MODELS = re.compile(r"(?:openai/)?(?:v\d\w*/)?(?:.*/)?models")


class Place(NamedTuple):
    """What a path says."""

    api: GatewayApi
    #: the model that it names, "" for none
    model: str = ""
    stream: bool = False


def place_of(path: str) -> Place | None:
    """Where requests of an API are posted to; None for any other path."""
    if found := _ENDING.fullmatch(path):
        if path.endswith("v2/rerank"):
            return Place(rerank.COHERE)
        return Place(_BY_ENDING[found["ending"]], unquote(found["model"] or ""))
    if found := _CONVERSE.fullmatch(path):
        return Place(converse.API, unquote(found["model"]), bool(found["stream"]))
    if found := _GEMINI.fullmatch(path):
        api = gemini.VERTEX if found["vertex"] or found["google"] else gemini.API
        return Place(api, unquote(found["model"]), found["method"].startswith("stream"))
    if found := _CLAUDE_AT_VERTEX.fullmatch(path):
        streams = found["method"].startswith("stream")
        return Place(messages.API, unquote(found["model"]), streams)
    return None


def lister_of(path: str, headers: Mapping[str, str]) -> GatewayApi | None:
    """The API whose list of models a GET asks for; None for any other path."""
    if not _MODELS.fullmatch(path):
        return None
    if "anthropic-version" in headers:
        return messages.API
    google = path.startswith("v1beta") or "x-goog-api-key" in headers
    return gemini.API if google or path.startswith("v1/pub") else chat.API
