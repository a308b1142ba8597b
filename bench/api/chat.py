"""OpenAI chat completions, as dozens of servers and gateways speak them.

In: options and texts; events of a stream, or a whole body. Out: bodies; what was said. Must stay
true: the quick count of chunks sees what decoding each of them sees, at every split of the bytes; a
role-only or usage-only chunk is no token; the user's extra body wins over our defaults.

Source: OpenAI API reference, "Create chat completion" and "The chat completion chunk object".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.api.answer import Answer, Said, Token, Usage
from bench.api.decoding import code_of, count, decode, error_text, text_or_none
from bench.api.interface import AnswerLimit, Api, BodyFormat, BodyOptions
from bench.api.openai_facts import note_tier
from bench.api.openai_family import OpenAiShape
from bench.api.quick import Look, QuickReader
from bench.api.reading import Reader
from bench.api.turns import in_turns

_USER, _ASSISTANT = b'{"role":"user","content":"', b'{"role":"assistant","content":"'
_LENGTHS = ("max_tokens", "max_completion_tokens")

_SEEN_KEYS, _HIDDEN_KEYS = (b'"content":"',), (b'"reasoning_content":"', b'"reasoning":"')
# A quote inside a JSON string is always escaped, so these cannot match within a text.
_VISIBLE = re.compile(rb'"(?:content|refusal)"\s*:\s*"[^"]')
_HIDDEN = re.compile(rb'"reasoning(?:_content)?"\s*:\s*"[^"]')
#: Keys whose values decide more than that there is a token.
NEEDS_JSON = re.compile(
    rb'"(?:error|usage|finish_reason|tool_calls)"\s*:\s*[^n\s]|"object"\s*:\s*"error"'
)

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
        return limit_of(extra_body, max_tokens_field, _LENGTHS, ("n",))

    def read_event(self, name: str, payload: bytes) -> Said:
        if not payload.startswith(b"{"):
            payload = payload.strip()
            if not payload or payload == b"[DONE]":
                return _DONE if payload else _NOTHING
        chunk = decode(payload)
        if chunk.get("error") or chunk.get("object") == "error":
            return Said(error=error_text(chunk), error_code=code_of(chunk))
        said = _about(chunk)
        choices = chunk.get("choices")
        if choices is not None and not isinstance(choices, list):
            said.malformed = "choices is not a list"
            return said
        for choice in choices or ():
            if not isinstance(choice, dict):
                said.malformed = "a choice is not an object"
                return said
            if isinstance(choice.get("finish_reason"), str):
                # A stream is over with its finish reason or with [DONE]: servers leave out either.
                said.finish = choice["finish_reason"]
                said.end = True
            delta = choice.get("delta")
            if isinstance(delta, dict):
                token = _token(delta)
            else:
                token = Token.text if choice.get("text") else None
            # Of several choices, what is seen counts.
            if said.token is None or (token is not None and said.token is Token.reasoning):
                said.token = token
        return said

    def read_body(self, body: bytes) -> Said:
        answer = decode(body)
        if answer.get("error") or answer.get("object") == "error":
            return Said(error=error_text(answer), error_code=code_of(answer))
        said = _about(answer)
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            said.malformed = "answer without choices"
            return said
        said.finish = text_or_none(choices[0].get("finish_reason"))
        message = choices[0].get("message")
        said.token = _token(message) if isinstance(message, dict) else None
        if said.token is None and choices[0].get("text"):
            said.token = Token.text
        return said

    def stream_reader(self, answer: Answer) -> Reader:
        return QuickReader(answer, self.framing(), self.read_event, LOOK)


def limit_of(
    extra_body: Mapping[str, Any],
    planned: str,
    lengths: Sequence[str],
    choices: Sequence[str],
) -> AnswerLimit:
    """By the names of lengths, of which the plan sets one, and of numbers of answers."""
    stated = [extra_body[name] for name in lengths if name in extra_body]
    numbers = [extra_body.get(name) for name in choices]
    return AnswerLimit(
        choices=max([1, *(number for number in numbers if isinstance(number, int))]),
        lengths=tuple(length for length in stated if isinstance(length, int)),
        planned=planned not in extra_body,
        unbounded=not all(isinstance(length, int) for length in stated),
    )


def _about(chunk: dict[str, Any]) -> Said:
    """What a chunk or body says beside its choices."""
    said = Said()
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        said.usage = _usage(usage)
    said.model = text_or_none(chunk.get("model"))
    note_tier(said, chunk)
    return said


def _usage(usage: dict[str, Any]) -> Usage:
    output = usage.get("completion_tokens_details")
    prompt = usage.get("prompt_tokens_details")
    return Usage(
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        count(output.get("reasoning_tokens")) if isinstance(output, dict) else -1,
        count(prompt.get("cached_tokens")) if isinstance(prompt, dict) else -1,
    )


def _token(delta: dict[str, Any]) -> Token | None:
    """What a delta or message holds; where it holds several, what is seen counts."""
    if delta.get("content"):
        return Token.text
    if delta.get("refusal"):
        return Token.refusal
    calls = delta.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and (function.get("name") or function.get("arguments")):
            return Token.tool_call
    hidden = delta.get("reasoning_content") or delta.get("reasoning")
    return Token.reasoning if hidden else None


def _glance(payload: bytes) -> bool | None:
    """What a chunk holds, by the keys that it has (`Look.glance`)."""
    if not payload.endswith(b"}") or NEEDS_JSON.search(payload):
        return None
    if _VISIBLE.search(payload):
        return True
    return False if _HIDDEN.search(payload) else None


def _text_at(payload: bytes, visible: bool) -> tuple[int, int] | None:
    """Where a text that makes it one stands (`Look.text_at`)."""
    for key in _SEEN_KEYS if visible else _HIDDEN_KEYS:
        start = payload.find(key) + len(key)
        if start >= len(key) and (end := payload.find(b'"', start)) >= 0:
            return start, end
    return None


LOOK = Look(_glance, _text_at)


class ChatBody:
    """Writes bodies: all but the messages and the length is JSON before the run."""

    def __init__(self, options: BodyOptions):
        """Raises TypeError or ValueError where the extra body cannot be written as JSON."""
        self._options = options
        self._usage_option = (
            options.stream and options.include_usage
        ) or "stream_options" in options.extra_body
        self._length_field = options.max_tokens_field
        self._head = b'{"model":' + json.dumps(options.model).encode() + b',"messages":['
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
