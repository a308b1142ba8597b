"""OpenAI's embeddings, as OpenAI, Azure, vLLM, TEI, Ollama and others speak them.

In: options and texts; a whole body. Out: bodies; what was said. Must stay true: an embedding has no
tokens, so no first one and no output; a vector is skipped, not decoded, for it may be thousands of
numbers; an answer without a vector is malformed.

Source: OpenAI API reference, "Create embeddings". `input = 16` in the extra body asks for so many
texts a request, which share the planned tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from bench.api.answer import MalformedAnswer, Said, Usage
from bench.api.decoding import count, decode, text_or_none
from bench.api.failures import failure_in
from bench.api.interface import BodyOptions
from bench.api.openai_family import FixedBody, WithoutTokens, fixed_keys, joined

_VECTOR = b'"embedding"'


class Embeddings(WithoutTokens):
    """`POST …/embeddings`."""

    name = "embeddings"
    operation = "embeddings"
    vllm_backend = "openai-embeddings"
    ending = "/embeddings"
    own_keys = ("model", "stream")
    cut_note = "an embedding is no stream"

    def check_extra_body(self, extra_body: Mapping[str, Any]) -> None:
        super().check_extra_body(extra_body)
        check_number(extra_body, "input")

    def body_format(self, options: BodyOptions) -> EmbeddingsBody:
        return EmbeddingsBody(options)

    def read_body(self, body: bytes) -> Said:
        answer = decode_without_vectors(body)
        if (failed := failure_in(answer, answers=bool(answer.get("data")))) is not None:
            return failed
        said = Said(model=text_or_none(answer.get("model")), usage=usage_of(answer.get("usage")))
        data = answer.get("data")
        if not isinstance(data, list) or not data:
            said.malformed = "answer without embeddings"
        elif not all(isinstance(each, dict) and each.get("embedding") for each in data):
            said.malformed = "an embedding is empty"
        return said


def check_number(extra_body: Mapping[str, Any], key: str) -> None:
    """Raises ValueError unless the key, where it stands, is a number of texts."""
    number = extra_body.get(key, 1)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 2048:
        raise ValueError(f"extra_body: {key!r} is how many texts a request holds, from 1 to 2048")


def usage_of(usage: Any) -> Usage:
    """Tokens that were read, by either name; none are made."""
    if not isinstance(usage, dict):
        return Usage(output_tokens=0)
    read = count(usage.get("prompt_tokens"))
    return Usage(read if read >= 0 else count(usage.get("total_tokens")), 0)


def decode_without_vectors(body: bytes) -> dict[str, Any]:
    """The JSON object of a body with a number for each vector that is not empty.

    Raises MalformedAnswer.
    """
    parts = list[bytes]()
    kept = 0
    at = body.find(_VECTOR)
    while at >= 0:
        start = at + len(_VECTOR)
        # `: [` or `: "` of base64, with or without spaces
        while body[start : start + 1] in (b" ", b":", b"\n"):
            start += 1
        closing = {b"[": b"]", b'"': b'"'}.get(body[start : start + 1])
        end = body.find(closing, start + 1) if closing else start
        if end < 0:
            break  # no later one has an end either
        if end > start + 1:
            parts += [body[kept:start], b"1"]
            kept = end + 1
        at = body.find(_VECTOR, end)
    try:
        return decode(b"".join([*parts, body[kept:]]))
    except MalformedAnswer:
        # A list in a list, which some servers send without pooling.
        return decode(body)


def shared_out(text: bytes, number: int) -> list[bytes]:
    """A text cut between words into so many parts of about a size, none of them empty; where there
    are too few words, some parts say the same.
    """
    parts = list[bytes]()
    begin = 0
    for part in range(1, number):
        # By bytes, which costs nothing a word; a few long words may leave too few parts so.
        end = text.find(b" ", max(begin + 1, len(text) * part // number))
        if end < 0:
            return _counted_out(text.split(b" "), number)
        parts.append(text[begin:end])
        begin = end + 1
    return [*parts, text[begin:]]


def _counted_out(words: list[bytes], number: int) -> list[bytes]:
    ends = [len(words) * part // number for part in range(number + 1)]
    parts = [words[begin:end] for begin, end in itertools.pairwise(ends)]
    return [b" ".join(part or words[:1]) for part in parts]


class EmbeddingsBody(FixedBody):
    """Writes bodies."""

    def __init__(self, options: BodyOptions):
        """Raises TypeError or ValueError where the extra body cannot be written as JSON."""
        fixed = fixed_keys(options)
        self._number: int | None = fixed.pop("input", None)
        super().__init__(fixed)

    def write(self, texts: Sequence[bytes], output_tokens: int) -> bytes:
        """All texts as one, or as so many as are asked for."""
        text = joined(texts)
        if self._number is None:
            return self.around(b'"input":"' + text + b'"')
        inputs = b'","'.join(shared_out(text, self._number))
        return self.around(b'"input":["' + inputs + b'"]')


API = Embeddings()
