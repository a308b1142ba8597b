"""OpenAI chat completions, as dozens of servers and gateways speak them.

In: options and texts; events of a stream, or a whole body. Out: bodies; what was said. Must stay
true: the quick count of chunks sees what decoding each of them sees, at every split of the bytes; a
role-only or usage-only chunk is no token; the user's extra body wins over our defaults.

Source: OpenAI API reference, "Create chat completion" and "The chat completion chunk object".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.api.answer import Answer, Said, Token
from bench.api.decoding import decode, error_text, text_or_none
from bench.api.failures import (
    broken_off,
    failure_in,
    is_error,
    named_failure,
    names_failure,
    reason_of,
)
from bench.api.framing import EventStream
from bench.api.interface import (
    AnswerLimit,
    Api,
    BodyFormat,
    BodyOptions,
    in_turns,
    limit_of,
)
from bench.api.openai_facts import note_tier
from bench.api.openai_family import OpenAiShape
from bench.api.openai_parts import text_of, token_of, usage_of
from bench.api.quick import Look, QuickReader
from bench.api.reading import Reader

_USER, _ASSISTANT = b'{"role":"user","content":"', b'{"role":"assistant","content":"'
_LENGTHS = ("max_tokens", "max_completion_tokens")

_TEXT_KEYS = (b'"content":"', b'"reasoning_content":"', b'"reasoning":"', b'"text":"')

#: A greater index is none.
_MOST_CHOICES = 4096
_DONE, _NOTHING = Said(end=True), Said()


class ChatCompletions(OpenAiShape, Api):
    """`POST …/chat/completions`."""

    name = "chat"
    operation = "chat"
    vllm_backend = "openai-chat"
    ending = "/chat/completions"
    own_keys = ("model", "messages", "stream")
    cut_note = "stream ended without finish reason and [DONE]"

    def body_format(self, options: BodyOptions) -> BodyFormat:
        return ChatBody(options)

    def answer_limit(
        self,
        extra_body: Mapping[str, Any],
        max_tokens_field: str,
    ) -> AnswerLimit:
        """By `n`, and by what it says of either name of the length."""
        return limit_of(extra_body, (max_tokens_field,), _LENGTHS, ("n",))

    def read_event(self, name: str, payload: bytes) -> Said:
        if names_failure(name):
            return named_failure(name, payload)
        if not payload.startswith(b"{"):
            payload = payload.strip()
            # Quoted, in small letters, with words behind it: clients look at its beginning.
            if payload.lstrip(b'"')[:6].upper() == b"[DONE]":
                return _DONE
            if not payload:
                return _NOTHING
        return _read(decode(payload))

    def read_body(self, body: bytes) -> Said:
        answer = decode(body)
        said = _read(answer)
        if said.error is not None or said.malformed is not None:
            return said
        choices = answer.get("choices")
        if not choices:
            said.malformed = "answer without choices"
        elif not all(map(_holds_answer, choices)):
            said.malformed = "a choice without message"
        elif said.token is None and said.finish is None:
            said.malformed = "an answer of nothing: no text, no call and no finish reason"
        return said

    def text_of_event(self, name: str, payload: bytes) -> str:
        return _text(decode(payload)) if payload.lstrip().startswith(b"{") else ""

    def text_of_body(self, body: bytes) -> str:
        return _text(decode(body))

    def stream_reader(self, answer: Answer) -> Reader:
        return QuickReader(answer, EventStream(), self.read_event, LOOK)


def _text(answer: dict[str, Any]) -> str:
    """The text of the first choice, in a chunk or in a whole answer."""
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            holder = choice.get("delta")
            plain = choice.get("text")
            found = text_of(holder if isinstance(holder, dict) else choice.get("message"))
            return found or (plain if isinstance(plain, str) else "")
    return ""


def _read(chunk: dict[str, Any]) -> Said:
    """What a chunk, or a whole answer, says."""
    choices = chunk.get("choices")
    failed = failure_in(chunk, answers=bool(choices) or isinstance(chunk.get("usage"), dict))
    if failed is not None:
        return failed
    said = Said(model=text_or_none(chunk.get("model")), mark_follows=True)
    note_tier(said, chunk)
    groq = chunk.get("x_groq")
    groq = groq if isinstance(groq, dict) else {}
    if is_error(groq.get("error")):
        return Said(error=error_text(groq))
    usages = [chunk.get("usage"), groq.get("usage")]
    if choices is not None and not isinstance(choices, list):
        said.malformed = "choices is not a list"
    for place, choice in enumerate(choices if isinstance(choices, list) else ()):
        if not isinstance(choice, dict):
            said.malformed = "a choice is not an object"
            break
        if (failed := _read_choice(said, choice, place)) is not None:
            return failed
        usages.append(choice.get("usage"))
    said.usage = usage_of(*usages)
    return said


def _read_choice(said: Said, choice: dict[str, Any], place: int) -> Said | None:
    """Add what a choice says; a failure that it tells instead."""
    if is_error(choice.get("error")):
        return failure_in(choice, answers=True)
    index = choice.get("index")
    index = index if isinstance(index, int) and 0 <= index < _MOST_CHOICES else place
    delta = choice.get("delta")
    # A whole message in place of a delta: proxies that make a stream of a plain answer.
    delta = delta if isinstance(delta, dict) else choice.get("message")
    if isinstance(delta, dict):
        token = token_of(delta)
    else:
        token = Token.text if text_or_none(choice.get("text")) else None
    if token is not None:
        said.begun += (index,)
    if delta or token is not None:
        said.choices += (index,)
    if "finish_reason" in choice:
        reason = reason_of(choice["finish_reason"])
        if broken_off(reason):
            return Said(error=f"finish reason {reason!r}", error_code=str(reason))
        if reason is not None:
            said.finish = reason
            said.choices += (index,)
            said.ended += (index,)
        elif choice["finish_reason"] is None:
            said.reason_due = True
    # Of several choices, what is seen counts.
    if said.token is None or (token is not None and said.token is Token.reasoning):
        said.token = token
    return None


def _holds_answer(choice: Any) -> bool:
    """Whether a choice of a plain answer has a message of some content, be it an empty text."""
    if not isinstance(choice, dict):
        return False
    message = choice.get("message")
    if isinstance(message, dict):
        return bool(message.keys() - {"role"})
    return isinstance(choice.get("text"), str)


def text_places(payload: bytes) -> Iterator[tuple[int, int]]:
    """Where a text may stand that makes a chunk one (`Look.places`)."""
    for key in _TEXT_KEYS:
        start = payload.find(key) + len(key)
        if start >= len(key) and (end := payload.find(b'"', start)) > start:
            yield start, end


LOOK = Look(text_places)


class ChatBody:
    """Writes bodies: all but the messages and the length is JSON before the run."""

    def __init__(self, options: BodyOptions):
        """Raises TypeError or ValueError where the extra body cannot be written as JSON."""
        self._options = options
        self._usage_option = (
            options.stream and options.include_usage
        ) or "stream_options" in options.extra_body
        self._length_field = options.max_tokens_field
        #: without one the URL names it
        model = b'"model":' + json.dumps(options.model).encode() + b"," if options.model else b""
        self._head = b"{" + model + b'"messages":['
        self._write_tail()

    def _write_tail(self) -> None:
        options = self._options
        last: dict[str, Any] = {"stream": options.stream}
        if options.stream and options.include_usage:
            last["stream_options"] = {"include_usage": True}
        last.update(options.tier_body)
        last.update(options.extra_body)
        if not self._usage_option:
            last.pop("stream_options", None)
        self._tail = json.dumps(last, allow_nan=False)[1:].encode()
        #: None: the extra body sets the length, the plan does not
        self._length = (
            None
            if self._length_field in options.extra_body
            else b'],"' + self._length_field.encode() + b'":%d,'
        )

    def write(self, texts: Sequence[bytes], output_tokens: int) -> bytes:
        """A body of the user's and the assistant's texts in turn."""
        messages = in_turns(texts, _USER, _ASSISTANT, b'"}')
        length = b"]," if self._length is None else self._length % output_tokens
        return self._head + messages + length + self._tail

    def drop_refused(self, message: str) -> bool:
        """Leave out what the server does not know, at most once each."""
        if self._usage_option and ("stream_options" in message or "include_usage" in message):
            self._usage_option = False
        elif self._length_field == "max_tokens" and "max_completion_tokens" in message:
            self._length_field = "max_completion_tokens"
        else:
            return False
        self._write_tail()
        return True


API = ChatCompletions()
