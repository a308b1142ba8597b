"""What OpenAI's own APIs, and those shaped after them, share: addresses, and the edges of bodies.

In: the path, host and query of a base URL; options of a target. Out: paths; JSON to put round the
texts. Must stay true: an address means what the vendor's own client makes of it; the whole path of
another API is refused, never bent.

Sources: openai-python 3.57 (`lib/azure.py`: deployments), Azure's life cycle of API versions
(https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle), addresses of Bedrock
and Vertex AI in front of OpenAI's APIs (docs/apis.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from bench.api import google_facts
from bench.api.address import ending_in
from bench.api.answer import MalformedAnswer, Said
from bench.api.cause import Cause, cause_of
from bench.api.decoding import listed_models
from bench.api.interface import AnswerLimit, Api, BodyOptions
from bench.api.openai_facts import (
    ERROR_CODES,
    HEADERS,
    NO_TIERS,
    PLAIN_HEADERS,
    SERVED_TIERS,
    TIERS,
    tiers_of_cloud,
)
from bench.api.tier import TierAsk, plain

#: Last parts of paths -> the API that they belong to; the longer of two that fit comes first.
_ENDINGS = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/embeddings": "embeddings",
    "/rerank": "rerank",
    "/messages": "messages",
    "/converse": "converse",
    "/converse-stream": "converse",
    ":generateContent": "gemini",
    ":streamGenerateContent": "gemini",
    ":rawPredict": "messages",
    ":streamRawPredict": "messages",
}
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_AWS = re.compile(r"bedrock-runtime[.-].*\.amazonaws\.com|bedrock-mantle\..*\.api\.aws")
#: Versions by which Azure means its newer address, which needs none.
_AZURE_V1 = ("", "v1", "preview", "latest")
_DEPLOYMENT = re.compile(r"(/openai)/deployments/[^/]+$")


class OpenAiShape:
    """What an `Api` of OpenAI's shape has from it, at OpenAI or at a server like it."""

    name: str
    provider = "openai"
    #: the last part of its path
    ending: str
    response_headers = HEADERS
    tiers: Mapping[str, TierAsk] = TIERS
    served_tiers = SERVED_TIERS
    error_codes: Mapping[str, Cause] = ERROR_CODES
    #: at Azure's older address it stands below a deployment
    of_deployment = True

    def base_path(self, base: str, host: str, query: str, model: str) -> str:
        """Azure, Bedrock and Google show addresses to which their clients add a path."""
        if host.endswith(_AZURE) and base in ("", "/openai"):
            version = dict(parse_qsl(query)).get("api-version", "")
            if version in _AZURE_V1:
                return "/openai/v1"
            return f"/openai/deployments/{quote(model, '')}" if self.of_deployment else "/openai"
        if _AWS.fullmatch(host) and base in ("", "/openai"):
            return "/openai/v1"
        if host == "generativelanguage.googleapis.com" and base == "":
            return "/v1beta/openai"
        return base

    def tiers_at(self, base_url: str) -> Mapping[str, TierAsk]:
        """In the words of the cloud at the address, where it has others than OpenAI."""
        if self.tiers is TIERS:
            return {**self.tiers, **tiers_of_cloud(base_url)}
        return self.tiers

    def path(self, base: str, model: str, stream: bool) -> str:
        refuse_path_of_another(base, self.name)
        return ending_in(base, self.ending)

    def ready_path(self, base: str, model: str) -> str:
        home = ending_in(base, self.ending).removesuffix(self.ending)
        return _DEPLOYMENT.sub(r"\1", home) + "/models"

    def honours(self, bought: str, served: str) -> bool | None:
        """Answers of a provisioned deployment of Azure name the tier `default` too: what left it
        says so in a header, and that alone.
        """
        if plain(bought) == "provisioned" and plain(served) in ("default", "standard"):
            return True
        return Api.honours(self, bought, served)  # type: ignore[arg-type]  # a part of an Api

    def cause(self, status: int, code: str, message: str) -> Cause:
        found = google_facts.cause_in_words(code, message)
        return found or cause_of(status, code, self.error_codes)

    def listed_models(self, body: bytes, base_url: str) -> list[str]:
        """Azure lists the models behind deployments, whose names requests have to say."""
        host = urlsplit(base_url).hostname or ""
        if host.endswith(_AZURE):
            return []
        return listed_models(body)


class WithoutTokens(OpenAiShape, Api):
    """What an API has whose answers are vectors or scores."""

    makes_tokens = False
    tiers = NO_TIERS
    response_headers = PLAIN_HEADERS

    def answer_limit(
        self,
        extra_body: Mapping[str, Any],
        max_tokens_field: str,
    ) -> AnswerLimit:
        """There are no tokens to limit."""
        return AnswerLimit(planned=False)

    def read_event(self, name: str, payload: bytes) -> Said:
        raise MalformedAnswer(self.cut_note)


def api_at(path: str) -> str | None:
    """The API whose whole path this is, by its ending; None for a base."""
    return next((name for ending, name in _ENDINGS.items() if path.endswith(ending)), None)


def refuse_path_of_another(path: str, api: str) -> None:
    """Raises ValueError for the whole path of another API."""
    other = api_at(path)
    if other not in (None, api):
        raise ValueError(
            f'the URL ends in the path of api = "{other}" and the target speaks "{api}"; write'
            f' api = "{other}" (--api {other}), or leave the ending out'
        )


def joined(texts: Sequence[bytes]) -> bytes:
    """Texts of a conversation as one, for APIs that know no turns."""
    if len(texts) == 1:
        return texts[0]
    return b" ".join(filter(None, texts))


def fixed_keys(options: BodyOptions, **defaults: Any) -> dict[str, Any]:
    """The keys of every body of a target: the user's in place of our own."""
    return {"model": options.model, **defaults, **options.tier_body, **options.extra_body}


class FixedBody:
    """Bodies that are the same but for a prompt of some shape and the answer's length."""

    def __init__(self, fixed: dict[str, Any], length: str | None = None):
        """`length`: the key of the answer's length; a fixed key of that name takes its place.

        Raises TypeError or ValueError where that cannot be written as JSON.
        """
        self.fixed = fixed
        self._length = b"" if length is None or length in fixed else f'"{length}":%d,'.encode()
        self.write_head()

    def write_head(self) -> None:
        """Write the fixed keys, after they have changed."""
        self._head = b"{" + json.dumps(self.fixed, allow_nan=False)[1:-1].encode() + b","

    def around(self, prompt: bytes, output_tokens: int = 0) -> bytes:
        """The body with the prompt's key and value at its end."""
        length = self._length % output_tokens if self._length else b""
        return self._head + length + prompt + b"}"

    def drop_refused(self, message: str) -> bool:
        """Nothing that a server may not know is sent unasked."""
        return False
