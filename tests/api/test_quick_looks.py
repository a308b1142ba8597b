"""Completions and Responses: counting most events by their look sees what decoding each sees."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bench.api import completions, responses
from bench.api.answer import StreamError
from bench.api.interface import Api
from tests.support.vendor_client import instants, read, slowly, told

TEXTS = st.sampled_from(["", "a", " b", 'say "delta":"x', '"text":"x"', "\\", "\n", "ü", "}"])
KINDS = ("output_text", "refusal", "reasoning_text", "reasoning_summary_text", "custom_tool_call")
DELTAS = st.builds(
    lambda kind, text, number, pad: {
        "type": f"response.{kind}.delta",
        "sequence_number": number,
        "delta": text,
        "logprobs": [],
        **({"obfuscation": pad} if pad else {}),
    },
    st.sampled_from(KINDS),
    TEXTS,
    st.integers(0, 11),
    TEXTS,
)
CHUNKS = st.builds(
    lambda text, finish, usage, second: {
        "id": "c",
        "choices": [
            {"index": 0, "text": text, "logprobs": None, "finish_reason": finish},
            *([{"index": 1, "text": second}] if second is not None else []),
        ],
        "usage": usage,
    },
    TEXTS,
    st.sampled_from([None, None, None, "stop"]),
    st.sampled_from([None, None, {"prompt_tokens": 3}]),
    st.none() | TEXTS,
)
OTHERS: list[dict[str, Any]] = [
    {"type": "response.output_item.added", "item": {"type": "function_call", "name": "f"}},
    {"type": "response.output_text.delta", "delta": "a", "error": {"message": "full"}},
    {"type": "response.completed", "response": {"status": "completed", "usage": {}}},
    {"type": "response.output_text.done", "text": "a"},
]


def same(api: Api, body: bytes, cuts: list[int]) -> None:
    """Both readings of the body in these pieces, an error the same too."""
    found = []
    for reading in (read, slowly):
        try:
            answer = reading(api, body, *cuts)
            found.append((told(answer), instants(answer)))
        except StreamError as error:
            found.append(((str(error),), ()))
    assert found[0] == found[1]


def written(made: list[dict[str, Any]], *, named: bool, tight: bool) -> bytes:
    separators = (",", ":") if tight else (", ", ": ")
    lines = []
    for each in made:
        name = f"event: {each['type']}\n" if named and "type" in each else ""
        lines.append(f"{name}data: {json.dumps(each, separators=separators)}\n\n")
    return "".join(lines).encode()


@given(
    st.lists(DELTAS | st.sampled_from(OTHERS), max_size=12),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 2000), max_size=12),
)
def test_responses(made: list[dict[str, Any]], named: bool, tight: bool, at: list[int]) -> None:
    """At any splits, with numbers and padding that differ from event to event."""
    body = written(made, named=named, tight=tight)
    same(responses.API, body, sorted(cut for cut in set(at) if 0 < cut < len(body)))


@given(st.lists(CHUNKS, max_size=12), st.booleans(), st.lists(st.integers(0, 1500), max_size=12))
def test_completions(made: list[dict[str, Any]], tight: bool, at: list[int]) -> None:
    """At any splits, of one choice and of two."""
    body = written(made, named=False, tight=tight)
    same(completions.API, body, sorted(cut for cut in set(at) if 0 < cut < len(body)))
