"""Streams as data (`tests/vectors/streams`): each is read as its file says, whole, byte by byte, at
every split, and by the quick reader as by the one that decodes everything.
"""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import pytest

from bench.api.registry import api_named
from bench.load.request import Request
from bench.record.samples import Outcome
from tests.support.both_readings import agree, at_every_split

FOLDER = Path(__file__).parents[1] / "vectors" / "streams"
VECTORS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
TYPES = {True: b"text/event-stream", False: b"application/json"}


def ended(vector: dict[str, Any], size: int, label: bytes) -> tuple[Request, Outcome, str]:
    """A request whose body came in pieces of this size, under this content type."""
    ends: list[tuple[Outcome, str]] = []
    request = Request(
        0, None, 0, vector["streamed"], array("q"), lambda _, how, note: ends.append((how, note))
    )
    request.api, request.choices = api_named(vector["api"]), vector.get("asked", 1)
    request.on_sent(10, False)
    request.on_head(200, [(b"content-type", label)], 20, False)
    body = vector["body"].encode()
    for at, begin in enumerate(range(0, len(body), size)):
        request.on_body(body[begin : begin + size], 30 + at)
    request.on_done(10**6)
    return request, *ends[0]


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("size", [1, 10**6])
def test_a_body_is_read_as_its_file_says(name: str, size: int) -> None:
    """Outcome, chunks, counts, reason and model; an odd label changes none of it."""
    vector = VECTORS[name]
    wanted = dict(vector["reading"])
    note = wanted.pop("note", None)
    reasoning_first = wanted.pop("reasoning_first", False)
    labels = {TYPES[vector["streamed"]], b"application/octet-stream"}
    if vector["body"]:
        labels.add(TYPES[not vector["streamed"]])
    if vector["api"] == "converse":
        labels = {b"application/json"}
    for label in labels:
        request, outcome, said = ended(vector, size, label)
        answer = request.answer
        assert answer is not None
        found = {key: getattr(answer, key) for key in wanted if key != "outcome"}
        assert {"outcome": outcome.name, **found} == wanted, (label, said)
        assert note is None or note in said
        if reasoning_first and size == 1:
            assert answer.first_token_ns < answer.first_answer_token_ns


@pytest.mark.parametrize("name", [name for name in VECTORS if VECTORS[name]["streamed"]])
def test_both_readers_say_the_same_at_every_split(name: str) -> None:
    """Alone, and with each event said four times over: shapes are learned from repeats."""
    api, body = api_named(VECTORS[name]["api"]), VECTORS[name]["body"].encode()
    at_every_split(api, body)
    many = b"\n\n".join(event for each in body.split(b"\n\n") for event in [each] * 4)
    ends = [at + 2 for at in range(len(many)) if many.startswith(b"\n\n", at)]
    agree(api, many, [end for end in ends if end < len(many)])
    agree(api, many)
