"""Google's generateContent, as the Gemini API and Vertex AI speak it.

In: options and texts; events of a stream, or a whole body. Out: bodies; what was said. Must stay
true: every event is a whole response, the last usage is the final one; `candidatesTokenCount` does
not hold the thoughts, so the output is both; a prompt that was blocked is an error, for nothing was
served.

Sources, read on 2026-11-30: https://ai.google.dev/api/generate-content,
https://ai.google.dev/gemini-api/docs/priority-inference.md,
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/priority-paygo; google-genai 3.6.1, whose
`total_token_count` is "the sum of prompt, candidates, tool use prompt and thoughts", and which
reads errors that stand in a stream as bare JSON, line by line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from bench.api import google_facts
from bench.api.answer import MalformedAnswer, Said, Token, Usage
from bench.api.cause import Cause
from bench.api.decoding import count, decode, first_of_array, text_or_none
from bench.api.failures import (
    broken_off,
    failure_in,
    named_failure,
    names_failure,
    reason_of,
)
from bench.api.framing import Event, EventStream
from bench.api.interface import (
    GATEWAY_HEADERS,
    AnswerLimit,
    Api,
    BodyOptions,
    HeaderFact,
    in_turns,
    limit_of,
)
from bench.api.openai_family import refuse_path_of_another
from bench.api.openai_parts import text_of
from bench.api.tier import BY_NAME, TierAsk, TierClass

_USER = b'{"role":"user","parts":[{"text":"'
_MODEL = b'{"role":"model","parts":[{"text":"'
_METHOD = re.compile(r":(?:streamGenerateContent|generateContent)$")
#: Where a path ends in what requests can be sent to: a model, or a deployed endpoint.
_RESOURCE = re.compile(r"/(?:models|tunedModels|endpoints)/[^/]+$")
_CONFIGS = ("generationConfig", "generation_config")
_LENGTHS = ("maxOutputTokens", "max_output_tokens")
_CHOICES = ("candidateCount", "candidate_count")
_ARRAY = "a JSON array instead of events: what stands in between dropped alt=sse from the URL"


class BareErrors(EventStream):
    """Server-sent events between which an error may stand as bare JSON."""

    __slots__ = ()

    def _event(self, lines: bytes) -> Event | None:
        if lines.lstrip().startswith((b"{", b"[")):
            return "", lines
        return super()._event(lines)


class Gemini(Api):
    """`POST …/models/{model}:streamGenerateContent?alt=sse` and `:generateContent`."""

    name = "gemini"
    provider, operation = "gcp.gemini", "generate_content"
    vllm_backend = "gemini"
    own_keys = ("contents",)
    auth = "x-goog-api-key"
    framing = BareErrors
    cut_note = "stream ended without finishReason"
    response_headers: Mapping[bytes, HeaderFact] = {
        **GATEWAY_HEADERS,
        b"x-gemini-service-tier": HeaderFact.served_tier,
    }
    served_tiers: Mapping[str, TierClass] = {
        "provisioned_throughput": TierClass.dedicated,
        "on_demand_priority": TierClass.priority,
        "on_demand": TierClass.standard,
        "on_demand_flex": TierClass.flex,
        "on_demand_offpeak": TierClass.flex,
        "priority": TierClass.priority,
        "standard": TierClass.standard,
        "flex": TierClass.flex,
    }
    #: of the Gemini API; for Vertex AI see `tiers_at`
    tiers: Mapping[str, TierAsk] = {
        **{word: TierAsk({"serviceTier": word}) for word in ("standard", "priority", "flex")},
        **dict.fromkeys(("shared", "pro"), BY_NAME),
    }
    error_codes: Mapping[str, Cause] = {
        **google_facts.ERROR_CODES,
        "not_found": Cause.request,
        "blocked_prompt": Cause.filter,
    }

    def base_path(self, base: str, host: str, query: str, model: str) -> str:
        """Without a project Vertex AI knows the caller by a key (express mode)."""
        if host.endswith("aiplatform.googleapis.com") and base in ("", "/v1", "/v1beta1"):
            return f"{base or '/v1'}/publishers/google"
        return base

    def path(self, base: str, model: str, stream: bool) -> str:
        refuse_path_of_another(base, self.name)
        whole = _METHOD.sub("", base)
        if not _RESOURCE.search(whole):
            whole = f"{self._models(whole)}/{_name(model)}"
        return whole + (":streamGenerateContent?alt=sse" if stream else ":generateContent")

    def ready_path(self, base: str, model: str) -> str:
        return self._models(_RESOURCE.sub("", _METHOD.sub("", base)))

    def _models(self, base: str) -> str:
        """What a model's name follows: a version, a project's location or a publisher, completed.

        Without a path the Gemini API is meant, whose default is v1beta.
        """
        if base.endswith("/models"):
            return base
        if not base:
            base = "/v1beta"
        elif re.search(r"/locations/[^/]+$", base):
            base += "/publishers/google"
        elif not re.search(r"/v\d\w*$|/publishers/[^/]+$", base):
            base += "/v1beta"
        return f"{base}/models"

    def tiers_at(self, base_url: str) -> Mapping[str, TierAsk]:
        """By `serviceTier` in the Gemini API, by headers in Vertex AI."""
        if google_facts.ADDRESS.search(base_url):
            return google_facts.TIERS
        return self.tiers

    def body_format(self, options: BodyOptions) -> GeminiBody:
        return GeminiBody(options)

    def answer_limit(
        self,
        extra_body: Mapping[str, Any],
        max_tokens_field: str,
    ) -> AnswerLimit:
        """By what `generationConfig` says; its length counts thoughts too."""
        return limit_of(_config(extra_body)[1], _LENGTHS, _LENGTHS, _CHOICES)

    def read_event(self, name: str, payload: bytes) -> Said:
        if names_failure(name):
            return named_failure(name, payload)
        text = payload.strip()
        if text and not text.startswith(b"[DONE]"):
            return _read(decode(payload))
        return Said()

    def read_body(self, body: bytes) -> Said:
        if body.lstrip().startswith(b"["):
            only = first_of_array(body)
            if only.get("error"):
                return _read(only)
            raise MalformedAnswer(_ARRAY)
        said = _read(decode(body))
        if not (said.error or said.malformed or said.finish or said.token):
            said.malformed = "answer without candidates"
        return said

    def text_of_event(self, name: str, payload: bytes) -> str:
        text = payload.strip()
        return _text(decode(text)) if text.startswith(b"{") else ""

    def text_of_body(self, body: bytes) -> str:
        return _text(decode(body))

    def cause(self, status: int, code: str, message: str) -> Cause:
        found = google_facts.cause_in_words(code, message)
        return found or super().cause(status, code, message)


def _name(model: str) -> str:
    """A model as it stands in a path, however the user names it."""
    bare = model.removeprefix("models/")
    return quote(bare.removeprefix("publishers/google/models/"), safe="/@:.-_")


def _read(response: dict[str, Any]) -> Said:
    """What a whole response, or a part of one, says."""
    answers = bool(response.get("candidates")) or isinstance(response.get("usageMetadata"), dict)
    failed = failure_in(response, answers=answers)
    if failed is not None:
        return failed
    feedback = response.get("promptFeedback")
    if isinstance(feedback, dict) and feedback.get("blockReason"):
        reason = f"prompt blocked: {feedback['blockReason']}"
        return Said(error=reason, error_code="BLOCKED_PROMPT")
    said = Said(model=text_or_none(response.get("modelVersion")))
    usage = response.get("usageMetadata")
    if isinstance(usage, dict):
        said.usage = _usage(usage)
        said.tier = text_or_none(usage.get("trafficType") or usage.get("serviceTier"))
    candidates = response.get("candidates")
    if candidates is not None and not isinstance(candidates, list):
        said.malformed = "candidates is not a list"
        return said
    for place, candidate in enumerate(candidates or ()):
        if not isinstance(candidate, dict):
            said.malformed = "a candidate is not an object"
            return said
        index = count(candidate.get("index"))
        index = place if index < 0 else index
        said.choices += (index,)
        finish = reason_of(candidate.get("finishReason"))
        if broken_off(finish):
            return Said(error=f"finish reason {finish!r}", error_code=str(finish))
        if finish is not None:
            said.finish = finish
            said.ended += (index,)
        token = _token(candidate.get("content"))
        if token is not None:
            said.begun += (index,)
        # Of several candidates, what is seen counts.
        if said.token is None or (token is not None and said.token is Token.reasoning):
            said.token = token
    return said


def _token(content: Any) -> Token | None:
    """What the parts of a content hold; where they hold several kinds, what is seen counts.

    A part with a thought's signature alone is none.
    """
    found: Token | None = None
    parts = content.get("parts") if isinstance(content, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("text") or part.get("inlineData"):
            if not part.get("thought"):
                return Token.text
            found = found or Token.reasoning
        elif part.get("functionCall") or part.get("executableCode"):
            found = Token.tool_call
    return found


def _text(response: dict[str, Any]) -> str:
    """The visible text of the first candidate."""
    candidates = response.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else None
    content = first.get("content") if isinstance(first, dict) else None
    return text_of({"content": content.get("parts")}) if isinstance(content, dict) else ""


def _usage(usage: dict[str, Any]) -> Usage:
    """Counts of zero are left out on the wire; of the output either part may be."""
    prompt = count(usage.get("promptTokenCount"))
    results = count(usage.get("toolUsePromptTokenCount"))
    answer = count(usage.get("candidatesTokenCount"))
    thoughts = count(usage.get("thoughtsTokenCount"))
    known = answer >= 0 or thoughts >= 0
    return Usage(
        prompt + max(0, results) if prompt >= 0 else -1,
        max(0, answer) + max(0, thoughts) if known else -1,
        thoughts,
        count(usage.get("cachedContentTokenCount")),
    )


def _config(extra_body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The generation's settings of an extra body, by the name that it gives them."""
    for name in _CONFIGS:
        if isinstance(extra_body.get(name), Mapping):
            return name, dict(extra_body[name])
    return _CONFIGS[0], {}


class GeminiBody:
    """Writes bodies: all but the contents and the length is JSON before the run."""

    def __init__(self, options: BodyOptions):
        """Raises TypeError or ValueError where the extra body cannot be written as JSON."""
        name, config = _config(options.extra_body)
        others = {**options.tier_body, **options.extra_body}
        others.pop(name, None)
        head = json.dumps(others, allow_nan=False)[:-1].encode()
        self._head = head + (b"," if others else b"") + b'"contents":['
        settings = json.dumps(config, allow_nan=False)[1:].encode()
        self._tail = b'],"' + name.encode() + b'":{' + settings + b"}"
        #: None: the extra body sets the length, the plan does not
        self._length: bytes | None = None
        if not any(length in config for length in _LENGTHS):
            self._length = b'],"' + name.encode() + b'":{"maxOutputTokens":%d'
            self._tail = (b"," if config else b"") + settings + b"}"

    def write(self, texts: Sequence[bytes], output_tokens: int) -> bytes:
        """A body of the user's and the model's texts in turn."""
        contents = in_turns(texts, _USER, _MODEL, b'"}]}')
        length = b"" if self._length is None else self._length % output_tokens
        return self._head + contents + length + self._tail

    def drop_refused(self, message: str) -> bool:
        """Nothing is optional."""
        return False


API = Gemini()
