"""What the gateway asks of an API.

In: a request; what was served, or why nothing was. Out: what is asked for; bytes and headers. Must
stay true: an API holds no state and does no I/O, so one object answers all requests.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bench.gateway.keys import Allowance
from bench.gateway.tiers import TierName
from bench.gateway.wire import RequestError
from bench.units import MS, S

Headers = list[tuple[str, str]]


class Incoming(NamedTuple):
    """A request as its API reads it."""

    body: bytes
    headers: Mapping[str, str]
    #: what the path says: the model, "" where it names none; whether a stream is wanted
    model: str = ""
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What the gateway needs to know of a request."""

    model: str
    prompt: str
    prompt_tokens: int
    #: None where the request names no maximum
    output_tokens: int | None
    stream: bool
    include_usage: bool = True
    #: the tier, in the vendor's word; "" where the request names none
    tier: str = ""
    #: answers without tokens: how many vectors or scores, and how a vector is written
    items: int = 1
    dimensions: int = 0
    base64: bool = False


@dataclass(slots=True)
class Served:
    """What an answer says of itself."""

    asked: Asked
    #: the request's number, from 1
    number: int
    request_id: str
    model: str
    #: Unix seconds
    created: int
    output_tokens: int
    #: the tier that answers, in the vendor's word; "" where nothing says it
    tier: str = ""
    #: another deployment than the one asked for answers, and says so in headers
    spilled: bool = False
    #: None where no prefix cache could have helped
    cached_tokens: int | None = None
    #: how long the provider itself took so far; -1 not known
    server_ns: int = -1

    @property
    def server_ms(self) -> int:
        """The same in whole ms, as servers write it."""
        return round(self.server_ns / MS)


class Refusal(NamedTuple):
    """An answer with an error's status."""

    status: int
    body: bytes
    headers: Headers = []


class Frames(Protocol):
    """The bytes of one streamed answer, framed for HTTP."""

    def begin(self) -> bytes:
        """What comes before the first token, at once."""

    def token(self, index: int) -> bytes:
        """Token number `index`, from 0."""

    def end(self) -> bytes:
        """What comes behind the last token."""

    def garbage(self) -> bytes:
        """An event that no client can read."""

    def error(self, error: RequestError) -> bytes:
        """An error inside a stream that began with status 200."""


class GatewayApi(abc.ABC):
    """One API."""

    name: str
    stream_type = "text/event-stream; charset=utf-8"
    #: answers are tokens; else vectors or scores, always whole
    makes_tokens = True
    #: the header that names the request
    id_header = "x-request-id"
    #: the vendor's words for tiers that can be asked for
    tier_asks: Mapping[str, TierName] = {}
    #: its word for a tier that answered
    tier_words: Mapping[TierName, str] = {}
    #: words whose answer has another word than the request
    tier_renamed: Mapping[str, str] = {}
    #: what answers name where nothing was asked for; "" where they name nothing then
    tier_unasked = ""

    @abc.abstractmethod
    def parse(self, incoming: Incoming) -> Asked:
        """What a request asks for. Raises RequestError."""

    @abc.abstractmethod
    def plain(self, served: Served) -> bytes:
        """A whole answer."""

    @abc.abstractmethod
    def refuse(self, error: RequestError, request_id: str) -> Refusal:
        """An error in the vendor's words, by its status."""

    @abc.abstractmethod
    def models(self, names: list[str], created: int) -> bytes:
        """The list of models."""

    def frames(self, served: Served) -> Frames:
        """The writer of a streamed answer."""
        raise NotImplementedError(f"{self.name} does not stream")

    def broken(self, error: RequestError, served: Served) -> Refusal:
        """An error in place of a whole answer that had been let in: by default inside a 200."""
        return self.refuse(error, served.request_id)._replace(status=200)

    def headers(self, served: Served) -> Headers:
        """What an answer says of itself in its head."""
        return []

    def limit_headers(self, allowance: Allowance, wall_ns: int) -> Headers:
        """What a rate limit says: by default as OpenAI does."""
        headers = [
            ("x-ratelimit-limit-requests", str(allowance.limit)),
            ("x-ratelimit-remaining-requests", str(allowance.remaining)),
            ("x-ratelimit-reset-requests", f"{allowance.reset_ns / S:.3f}s"),
        ]
        if not allowance.allowed:
            headers += [
                ("retry-after", str(-(-allowance.retry_after_ns // S))),
                ("retry-after-ms", str(-(-allowance.retry_after_ns // MS))),
            ]
        return headers

    def tier_asked(self, word: object, param: str) -> str:
        """A tier of a request, "" for none. Raises RequestError for a word that the API lacks."""
        if word is None:
            return ""
        if not isinstance(word, str) or word.lower() not in self.tier_asks:
            known = ", ".join(map(repr, self.tier_asks))
            raise RequestError(
                400,
                f"Invalid value: {str(word)[:80]!r}. Supported values are: {known}.",
                param=param,
                code="invalid_value",
            )
        return word.lower()

    def tier_served(self, asked: str, served: TierName | None) -> str:
        """The vendor's word for a tier that answers; `served` None: the one that was asked for."""
        if served is None:
            return self.tier_renamed.get(asked, asked) if asked else self.tier_unasked
        return self.tier_words.get(served, self.tier_words.get("standard", ""))
