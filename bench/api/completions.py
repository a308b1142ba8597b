"""OpenAI's legacy completions, as base models and older servers speak them.

In: options and texts; events of a stream, or a whole body. Out: bodies; what was said. Must stay
true: a chunk with an empty text is no token; of a conversation the texts follow one another.

Source: OpenAI API reference, "Create completion": a chunk and a whole answer have one shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.api import chat
from bench.api.answer import Answer, Said
from bench.api.framing import EventStream
from bench.api.interface import AnswerLimit, Api, BodyFormat, BodyOptions, limit_of
from bench.api.openai_facts import NO_TIERS
from bench.api.openai_family import FixedBody, OpenAiShape, fixed_keys, joined
from bench.api.quick import QuickReader
from bench.api.reading import Reader


class Completions(OpenAiShape, Api):
    """`POST …/completions`: chat's events, with `text` in place of a delta."""

    name = "completions"
    operation = "text_completion"
    vllm_backend = "openai"
    ending = "/completions"
    tiers = NO_TIERS
    own_keys = ("model", "prompt", "stream")
    cut_note = chat.API.cut_note

    def body_format(self, options: BodyOptions) -> BodyFormat:
        return CompletionBody(options)

    def answer_limit(
        self,
        extra_body: Mapping[str, Any],
        max_tokens_field: str,
    ) -> AnswerLimit:
        """By `max_tokens`; `best_of` answers are made and billed, of which `n` are shown."""
        return limit_of(extra_body, ("max_tokens",), ("max_tokens",), ("n", "best_of"))

    def read_event(self, name: str, payload: bytes) -> Said:
        return chat.API.read_event(name, payload)

    def read_body(self, body: bytes) -> Said:
        return chat.API.read_body(body)

    def text_of_event(self, name: str, payload: bytes) -> str:
        return chat.API.text_of_event(name, payload)

    def text_of_body(self, body: bytes) -> str:
        return chat.API.text_of_body(body)

    def stream_reader(self, answer: Answer) -> Reader:
        return QuickReader(answer, EventStream(), self.read_event, chat.LOOK)


class CompletionBody(FixedBody):
    """Writes bodies."""

    def __init__(self, options: BodyOptions):
        """Raises TypeError or ValueError where the extra body cannot be written as JSON."""
        usage = {"stream_options": {"include_usage": True}}
        asked = usage if options.stream and options.include_usage else {}
        super().__init__(fixed_keys(options, stream=options.stream, **asked), "max_tokens")

    def write(self, texts: Sequence[bytes], output_tokens: int) -> bytes:
        """A body of all texts, one after another."""
        return self.around(b'"prompt":"' + joined(texts) + b'"', output_tokens)

    def drop_refused(self, message: str) -> bool:
        """Leave out the question for usage where the server does not know it."""
        if "stream_options" not in message and "include_usage" not in message:
            return False
        if self.fixed.pop("stream_options", None) is None:
            return False
        self.write_head()
        return True


API = Completions()
