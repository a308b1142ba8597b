"""OpenAI chat completions, as dozens of servers and gateways speak them.

In: options and texts; events of a stream, or a whole body. Out: bodies; what was said. Must stay
true: the quick count of chunks sees what decoding each of them sees, at every split of the bytes; a
role-only or usage-only chunk is no token; the user's extra body wins over our defaults.

Source: OpenAI API reference, "Create chat completion" and "The chat completion chunk object".
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.api.answer import Answer, Said, Token, Usage
from bench.api.decoding import code_of, count, decode, error_text, text_or_none
from bench.api.framing import Framing
from bench.api.interface import AnswerLimit, Api, BodyFormat, BodyOptions
from bench.api.openai_facts import note_tier
from bench.api.openai_family import OpenAiShape
from bench.api.reading import Read, Reader, StreamReader

_USER, _ASSISTANT = b'{"role":"user","content":"', b'{"role":"assistant","content":"'
_LENGTHS = ("max_tokens", "max_completion_tokens")

_CONTENT = b'"content":"'
# A quote inside a JSON string is always escaped, so these cannot match within a text.
_VISIBLE = re.compile(rb'"(?:content|refusal)"\s*:\s*"[^"]')
_HIDDEN = re.compile(rb'"reasoning(?:_content)?"\s*:\s*"[^"]')
_NEEDS_JSON = re.compile(
    rb'"(?:error|usage|finish_reason|tool_calls)"\s*:\s*[^n\s]|"object"\s*:\s*"error"'
)
#: Stands for a shape that was not learned yet; no answer's text begins with this byte.
_NO_SHAPE = b"\xff"
_MOST_LESSONS = 16


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

    def answer_limit(self, extra_body: Mapping[str, Any], max_tokens_field: str) -> AnswerLimit:
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
                said.finish, said.end = choice["finish_reason"], True
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
        return ChatReader(answer, self.framing(), self.read_event)


def limit_of(
    extra_body: Mapping[str, Any], planned: str, lengths: Sequence[str], choices: Sequence[str]
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


#: Called for most reads that are not counted at once: by name, for `super()` costs a tenth of one.
_feed = StreamReader.feed


class ChatReader(StreamReader):
    """Counts most chunks without decoding them.

    After the first visible token only the number of tokens counts, and the chunks of one answer
    mostly differ in their text alone: what stands before and after it is learned from one that was
    looked at and compared with those that follow.
    """

    __slots__ = (
        "_after",
        "_before",
        "_lessons",
        "_read_after",
        "_read_before",
        "_read_shape_known",
    )

    def __init__(self, answer: Answer, frames: Framing, read: Read):
        self.answer, self.frames, self._read, self._fed_ns = answer, frames, read, -1
        #: round the text in a payload, and in a read that brings one whole event
        self._before = self._after = self._read_before = self._read_after = _NO_SHAPE
        self._read_shape_known = False
        #: shapes that are still worth learning: chunks that differ in more never repeat one
        self._lessons = _MOST_LESSONS

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""
        if data.startswith(self._read_before) and data.endswith(self._read_after):
            start = len(self._read_before)
            end = len(data) - len(self._read_after)
            # No quote within the text, no line end before the event's own.
            if (
                start < end == data.find(b'"', start)
                and data.find(b"\n", start) == len(data) - 2
                and b"\r" not in data
                and self.frames.between_events
            ):
                self.answer.token(stamp_ns, True)
                return
        _feed(self, data, stamp_ns)

    def event(self, name: str, payload: bytes, stamp_ns: int) -> None:
        """One event is complete."""
        if payload.startswith(self._before) and payload.endswith(self._after):
            start = len(self._before)
            if start < len(payload) - len(self._after) == payload.find(b'"', start):
                if not self._read_shape_known:
                    self._learn_reads()
                self.answer.token(stamp_ns, True)
                return
        answer = self.answer
        if (
            answer.first_token_ns >= 0
            and payload.endswith(b"}")
            and not _NEEDS_JSON.search(payload)
        ):
            if not _VISIBLE.search(payload):
                if _HIDDEN.search(payload):
                    answer.token(stamp_ns, False)
                    return
            elif answer.first_answer_token_ns >= 0:
                # The first visible token is looked at closely; after it only their number counts.
                answer.token(stamp_ns, True)
                if self._lessons:
                    self._learn(payload)
                return
        answer.add(self._read(name, payload), stamp_ns)

    def _learn(self, payload: bytes) -> None:
        self._lessons -= 1
        start = payload.find(_CONTENT) + len(_CONTENT)
        if start >= len(_CONTENT) and (end := payload.find(b'"', start)) >= 0:
            self._before, self._after = payload[:start], payload[end:]
            self._read_shape_known = False

    def _learn_reads(self) -> None:
        """The shape held for a second chunk: look for it before a read is cut into events."""
        if b"\n" not in self._before:
            self._read_before = b"data: " + self._before
            self._read_after = self._after + b"\n\n"
        self._read_shape_known = True
        self._lessons = _MOST_LESSONS


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
        if len(texts) == 1:
            messages = _USER + texts[0] + b'"}'
        else:
            roles = itertools.cycle((_USER, _ASSISTANT))
            messages = b",".join(
                role + text + b'"}' for role, text in zip(roles, texts, strict=False)
            )
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
