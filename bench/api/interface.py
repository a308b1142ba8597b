"""What the rest of the house asks of an API, and what most of them share.

In: a target's base URL, model and options; texts to send; bytes that came back. Out: URLs, bodies,
`Said`s. Must stay true: an `Api` holds no state and does no I/O, so one object serves all requests;
whatever differs between vendors stands in its module, and nowhere else (docs/dev/apis.md).
"""

from __future__ import annotations

import abc
import dataclasses
import enum
import itertools
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bench.api.answer import Answer, Said
from bench.api.auth import Header
from bench.api.cause import Cause, cause_of
from bench.api.decoding import error_code, error_message, listed_models
from bench.api.framing import EventStream, Framing, looks_like_events
from bench.api.reading import PlainReader, Reader, StreamReader
from bench.api.tier import ALONE, BOUGHT, BY_NAME, TierAsk, TierClass, plain


@dataclasses.dataclass(frozen=True)
class BodyOptions:
    """What a target says about the bodies of its requests."""

    model: str
    stream: bool
    include_usage: bool
    #: the name that the target gives the answer's length; APIs that have but one ignore it
    max_tokens_field: str
    #: merged into every body and wins over our defaults; `${ENV}` is filled in
    extra_body: Mapping[str, Any]
    #: what asks for the target's tier; the extra body wins
    tier_body: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: where its requests are posted to: some clouds want another body than the vendor
    url: str = ""


class BodyFormat(Protocol):
    """Writes the bodies of one target: all but the texts is written before the run."""

    def write(self, texts: Sequence[bytes], output_tokens: int) -> bytes:
        """A body of JSON-escaped texts, the user's and the assistant's in turn, the user's last."""

    def drop_refused(self, message: str) -> bool:
        """The server refused a body and said `message` (lower case): leave out what it names.

        True when the next body differs.
        """


def in_turns(
    texts: Sequence[bytes],
    user: bytes,
    assistant: bytes,
    end: bytes,
) -> bytes:
    """Texts of a conversation as items of a JSON list: each between what opens a turn of its side
    and `end`. One text, the common case, costs two concatenations.
    """
    if len(texts) == 1:
        return user + texts[0] + end
    sides = itertools.cycle((user, assistant))
    return b",".join(side + text + end for side, text in zip(sides, texts, strict=False))


@dataclasses.dataclass(frozen=True)
class AnswerLimit:
    """What an extra body says about how long answers may be, for the bound of what they cost."""

    #: answers to one request
    choices: int = 1
    #: lengths that it states itself, in tokens
    lengths: tuple[int, ...] = ()
    #: the planned length is sent too
    planned: bool = True
    #: it sets a length that is no number
    unbounded: bool = False


def limit_of(
    settings: Mapping[str, Any],
    planned: Sequence[str],
    lengths: Sequence[str],
    choices: Sequence[str] = (),
) -> AnswerLimit:
    """By the names of lengths, of which the plan sets those that are `planned`, and of numbers of
    answers.
    """
    stated = [settings[name] for name in lengths if name in settings]
    numbers = [settings.get(name) for name in choices]
    return AnswerLimit(
        choices=max([1, *(number for number in numbers if isinstance(number, int))]),
        lengths=tuple(length for length in stated if isinstance(length, int)),
        planned=not any(name in settings for name in planned),
        unbounded=not all(isinstance(length, int) for length in stated),
    )


class HeaderFact(enum.Enum):
    """What a header of a response may say."""

    #: seconds, or an HTTP date
    retry_after = "retry_after"
    retry_after_ms = "retry_after_ms"
    #: the same from the provider behind a gateway, which may have limits of its own
    provider_retry_after = "provider_retry_after"
    #: `true` or `false`: whether another try makes sense, whatever the status says
    should_retry = "should_retry"
    cold_start = "cold_start"
    served_model = "served_model"
    served_region = "served_region"
    #: the tier that answered, in the vendor's word
    served_tier = "served_tier"
    #: `true`: another deployment than the one asked for answered, at the standard tier
    spilled_over = "spilled_over"
    #: the same, by the name of the deployment that had no room
    spilled_from = "spilled_from"
    #: the code of an error whose body names none; what follows a colon is no part of it
    error_code = "error_code"
    #: by which the vendor finds the request in its own logs
    request_id = "request_id"
    #: how long the server says that it took, in ms
    server_ms = "server_ms"
    #: the same, as `Server-Timing` writes it (total;dur=53.2)
    server_timing = "server_timing"
    #: what is left of the buyer's own limits
    requests_left = "requests_left"
    tokens_left = "tokens_left"


#: Gateways stand in front of any API; theirs count wherever an API has no header of its own.
GATEWAY_HEADERS: Mapping[bytes, HeaderFact] = {
    b"x-served-model": HeaderFact.served_model,
    b"x-litellm-model-group": HeaderFact.served_model,
    b"x-served-region": HeaderFact.served_region,
    b"x-ms-region": HeaderFact.served_region,
    b"x-cold-start": HeaderFact.cold_start,
    # LiteLLM passes the provider's on by this name, also with its own 429s.
    b"llm_provider-retry-after": HeaderFact.provider_retry_after,
    b"retry-after": HeaderFact.retry_after,
    b"retry-after-ms": HeaderFact.retry_after_ms,
    b"x-ms-retry-after-ms": HeaderFact.retry_after_ms,
    # OpenAI and Anthropic, whose clients let it decide.
    b"x-should-retry": HeaderFact.should_retry,
    b"x-request-id": HeaderFact.request_id,
    b"request-id": HeaderFact.request_id,
    b"apim-request-id": HeaderFact.request_id,
    # Bedrock, which has fronts in OpenAI's and in Anthropic's shape too.
    b"x-amzn-requestid": HeaderFact.request_id,
    b"x-amzn-bedrock-service-tier": HeaderFact.served_tier,
    b"server-timing": HeaderFact.server_timing,
    b"x-ratelimit-remaining-requests": HeaderFact.requests_left,
    b"x-ratelimit-remaining-tokens": HeaderFact.tokens_left,
}


class Api(abc.ABC):
    """One API. A new one fills in what is abstract and overrides what differs."""

    #: as users name it: `api = "…"`, `--api`
    name: str
    #: the provider and the operation by the names of OpenTelemetry's conventions for generative AI
    provider: str
    operation: str
    #: this API by vLLM's name, for results in its format
    vllm_backend: str
    #: keys of a body that are ours to set
    own_keys: tuple[str, ...]
    #: how a key is sent unless the target says otherwise (bench/api/auth.py)
    auth = "bearer"
    #: answers are tokens; without them (vectors, scores) nothing streams and none has a first token
    makes_tokens = True
    #: headers that every request has besides
    headers: tuple[Header, ...] = ()
    #: what a streamed answer is called, and how it is cut
    stream_type = "text/event-stream"
    framing: type[Framing] = EventStream
    #: why a stream counts as cut when it ends before its own end
    cut_note: str
    response_headers: Mapping[bytes, HeaderFact] = GATEWAY_HEADERS
    #: the vendor's words for the tier that answered (lower case), and what they mean
    served_tiers: Mapping[str, TierClass] = {}
    #: the tiers that a target may name (lower case), and what asks for each
    tiers: Mapping[str, TierAsk] = {}
    #: a server's own time stands at the end of its answer and is of the whole; a header comes
    #: before the first token, and knows of nothing later
    server_time_at_end = False
    #: codes of errors that mean something else here than elsewhere, or stand nowhere else
    error_codes: Mapping[str, Cause] = {}

    # ---- the request

    def base_path(self, base: str, host: str, query: str, model: str) -> str:
        """The path of the user's URL, as `path` and `ready_path` get it: to be overridden where
        vendors show addresses without one. `host` and `query` are the URL's.
        """
        return base

    @abc.abstractmethod
    def path(self, base: str, model: str, stream: bool) -> str:
        """The path that requests are posted to, a query of the API's own included.

        `base` is the path of the user's URL without a slash at its end: empty, a prefix like `/v1`,
        or the whole path already. Raises ValueError for the whole path of another API.
        """

    @abc.abstractmethod
    def ready_path(self, base: str, model: str) -> str:
        """A path to GET before a run: any answer means that somebody listens there."""

    def check_extra_body(self, extra_body: Mapping[str, Any]) -> None:
        """Raises ValueError, with a sentence, for keys or values that the API has no use for."""
        if taken := next((key for key in self.own_keys if key in extra_body), None):
            raise ValueError(f"extra_body: {taken!r} is set by tailproof; leave it out")

    @abc.abstractmethod
    def body_format(self, options: BodyOptions) -> BodyFormat:
        """The writer of a target's bodies. Raises TypeError or ValueError where the extra body
        cannot be written as JSON.
        """

    def tiers_at(self, base_url: str) -> Mapping[str, TierAsk]:
        """The tiers that can be asked for at an address."""
        return self.tiers

    def ask_tier(self, tier: str, base_url: str) -> TierAsk:
        """What a request says to ask for a target's `tier`. Raises ValueError with those that can
        be asked for.
        """
        tiers = self.tiers_at(base_url)
        asked = tiers.get(tier.lower())
        if asked is None:
            known = ", ".join(tiers) or "none"
            raise ValueError(f"{tier!r} cannot be asked for in {self.name!r}; it knows {known}")
        return asked

    def tier_class(self, word: str) -> TierClass:
        """What a served tier is worth, by the vendor's word for it."""
        return self.served_tiers.get(plain(word), TierClass.unknown)

    def bought_class(self, word: str) -> TierClass:
        """The same of a tier that was bought, by the word of a target or of a contract."""
        return self.served_tiers.get(plain(word)) or BOUGHT.get(plain(word), TierClass.unknown)

    def honours(self, bought: str, served: str) -> bool | None:
        """Whether an answer by the tier `served` is one by the tier that was bought: of the same
        word, else of the same class; None where that is not known.
        """
        words = plain(bought), plain(served)
        if words[0] == words[1]:
            return True
        classes = self.bought_class(bought), self.tier_class(served)
        if TierClass.unknown in classes:
            return None
        return classes[0] is classes[1] and not ALONE.intersection(words)

    def asks_by_request(self, tier: str, base_url: str) -> bool:
        """Whether each request asks for the tier, so that its answer has one to name; else model,
        deployment or URL mean it.
        """
        asked = self.tiers_at(base_url).get(tier.lower(), BY_NAME)
        return asked != BY_NAME

    @abc.abstractmethod
    def answer_limit(self, extra_body: Mapping[str, Any], max_tokens_field: str) -> AnswerLimit:
        """How long answers may be."""

    # ---- the response

    @abc.abstractmethod
    def read_event(self, name: str, payload: bytes) -> Said:
        """What one event of a stream says. May raise MalformedAnswer."""

    @abc.abstractmethod
    def read_body(self, body: bytes) -> Said:
        """What a plain answer says. May raise MalformedAnswer."""

    def text_of_event(self, name: str, payload: bytes) -> str:
        """The visible text that one event of a stream adds to the first choice: no reasoning, no
        tool call. Asked only where answers are checked; may raise MalformedAnswer.
        """
        return ""

    def text_of_body(self, body: bytes) -> str:
        """The visible text of a plain answer's first choice. May raise MalformedAnswer."""
        return ""

    def error_message(self, body: bytes) -> str:
        """What the body of an error status says."""
        return error_message(body)

    def error_code(self, body: bytes) -> str:
        """The code or type that the body of an error status names, "" where it names none."""
        return error_code(body)

    def cause(self, status: int, code: str, message: str) -> Cause:
        """Whose fault an error is; `status` 200 for an error inside a stream."""
        return cause_of(status, code, self.error_codes)

    def listed_models(self, body: bytes, base_url: str) -> list[str]:
        """The models that the answer to the ready check lists; empty where it does not list what
        requests may name.
        """
        return listed_models(body)

    def is_stream(self, content_type: bytes, asked: bool) -> bool:
        """Whether an answer is a stream: by its content type (lower case), else as asked."""
        return content_type.startswith(self.stream_type.encode()) if content_type else asked

    def looks_streamed(self, begin: bytes, labelled: bool) -> bool | None:
        """Whether the first bytes of a body show a stream, whatever its header says; None: they
        show nothing yet. A framing of the API's own goes by the header.
        """
        return looks_like_events(begin) if issubclass(self.framing, EventStream) else labelled

    def open(self, stream: bool, gaps: array[int] | None = None) -> tuple[Answer, Reader]:
        """An empty answer, and the reader that fills it; `gaps` as for `Answer`."""
        answer = Answer(gaps)
        if stream:
            return answer, self.stream_reader(answer)
        return answer, PlainReader(answer, self.read_body)

    def stream_reader(self, answer: Answer) -> Reader:
        """The reader of a stream; to be overridden where an API has a quicker one."""
        return StreamReader(answer, self.framing(), self.read_event)
