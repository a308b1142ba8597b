"""A slow second reading of event streams, byte by byte, to hold the product's parser against.

It shares nothing with `bench.api`: lines are cut by a state machine, every payload is
decoded as JSON, and a token is known by the index of the byte that completed its event.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

from bench.api.answer import MalformedAnswer, StreamError
from bench.api.chat import API

CR, LF = 13, 10
NAMES = (
    "chunks",
    "first_byte_ns",
    "first_token_ns",
    "first_answer_token_ns",
    "last_token_ns",
    "gap_max_ns",
    "shared_reads",
    "first_shared",
    "prompt_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "finish",
    "model",
    "complete",
)


@dataclasses.dataclass
class Reading:
    """What a whole stream says; `tokens` are (index of the completing byte, visible)."""

    size: int
    tokens: list[tuple[int, bool]] = dataclasses.field(default_factory=list)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    finish: str | None = None
    model: str | None = None
    done: bool = False
    #: choice -> how its last chunk of note left it: "open", "ended"
    choices: dict[int, str] = dataclasses.field(default_factory=dict)
    #: text came behind a reason
    reasons_end_nothing: bool = False
    #: a place for reasons stood empty up to the first token
    reason_due: bool = False
    error: str | None = None

    def complete(self) -> bool:
        """Every choice that appeared has ended, by a reason or by [DONE]."""
        if "ended" in self.choices.values():
            trusted = self.done or not self.reasons_end_nothing
            return trusted and "open" not in self.choices.values()
        if self.finish is not None:
            return self.done
        return self.done and bool(self.tokens) and not self.reason_due

    def facts(self, stamps: Sequence[int]) -> dict[str, Any]:
        """The fields of an Answer whose byte i came with `stamps[i]`."""
        at = [stamps[index] for index, _ in self.tokens]
        gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
        shared = [stamp for stamp, run in itertools.groupby(at) if len(list(run)) > 1]
        visible = [stamps[index] for index, seen in self.tokens if seen]
        found = {
            "chunks": len(at),
            "first_byte_ns": stamps[0] if stamps else -1,
            "first_token_ns": at[0] if at else -1,
            "first_answer_token_ns": visible[0] if visible else -1,
            "last_token_ns": at[-1] if at else -1,
            "gap_max_ns": max(gaps, default=-1),
            "shared_reads": len(shared),
            "first_shared": bool(at) and at[0] in shared,
            "finish": self.finish,
            "model": self.model,
            "complete": self.complete(),
            "gaps": gaps,
        }
        for name in ("prompt_tokens", "output_tokens", "reasoning_tokens", "cached_tokens"):
            found[name] = self.counts.get(name, -1)
        return found


def _note_end(choice: dict[str, Any], place: int, kind: str, reading: Reading) -> None:
    """By docs/dev/ends.md, choice by choice."""
    index = choice.get("index", place)
    reason = choice.get("finish_reason")
    if kind != "none" and reading.choices.get(index) == "ended":
        reading.reasons_end_nothing = True
        reading.choices[index] = "open"
    if choice.get("delta"):
        reading.choices.setdefault(index, "open")
    if reason:
        reading.choices[index] = "ended"
        reading.finish = reason
    elif "finish_reason" in choice and reason is None and not reading.tokens:
        reading.reason_due = True


def read(stream: bytes) -> Reading:
    """Interpret a stream by the letter of WHATWG HTML 9.2.6 and the OpenAI chunk format."""
    reading = Reading(len(stream))
    data: list[bytes] = []
    line, after_cr = bytearray(), False
    body = stream[3:] if stream.startswith(b"\xef\xbb\xbf") else stream
    for index, byte in enumerate(body, len(stream) - len(body)):
        if byte == LF and after_cr:
            after_cr = False
            continue
        after_cr = byte == CR
        if byte not in (CR, LF):
            line.append(byte)
            continue
        if line:
            _field(bytes(line), data)
        elif data:
            _event(b"\n".join(data), index, reading)
            data = []
            if reading.error:
                return reading
        line = bytearray()
    # An event whose blank line never came counts if it is whole.
    if line:
        _field(bytes(line), data)
    if data:
        _event(b"\n".join(data), len(stream) - 1, reading)
        if reading.error == "malformed":
            reading.error = None
    return reading


def _field(line: bytes, data: list[bytes]) -> None:
    name, _, value = line.partition(b":")
    if name == b"data":
        data.append(value[1:] if value.startswith(b" ") else value)


def _event(payload: bytes, index: int, reading: Reading) -> None:
    if payload.strip() in (b"", b"[DONE]"):
        reading.done = reading.done or bool(payload.strip())
        return
    try:
        chunk = json.loads(payload.decode())
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        reading.error = "malformed"
        return
    if chunk.get("error") or chunk.get("object") == "error":
        reading.error = "stream_error"
        return
    usage = chunk.get("usage") or {}
    for place, key, name in (
        (usage, "prompt_tokens", "prompt_tokens"),
        (usage, "completion_tokens", "output_tokens"),
        (usage.get("completion_tokens_details") or {}, "reasoning_tokens", "reasoning_tokens"),
        (usage.get("prompt_tokens_details") or {}, "cached_tokens", "cached_tokens"),
    ):
        if key in place:
            reading.counts[name] = place[key]
    reading.model = reading.model or chunk.get("model")
    choices = chunk.get("choices") or []
    seen = {_kind(choice.get("delta") or {}) for choice in choices}
    for place, choice in enumerate(choices):
        _note_end(choice, place, _kind(choice.get("delta") or {}), reading)
    if seen - {"none"}:
        reading.tokens.append((index, "visible" in seen))


def _kind(delta: dict[str, Any]) -> str:
    calls = [call.get("function", {}) for call in delta.get("tool_calls") or []]
    if (
        delta.get("content")
        or delta.get("refusal")
        or any(f.get("name") or f.get("arguments") for f in calls)
    ):
        return "visible"
    return "hidden" if delta.get("reasoning") or delta.get("reasoning_content") else "none"


def pieces(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The stream cut before each of the byte indices `cuts`."""
    edges = [0, *sorted(cuts), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def feed(parts: Sequence[bytes], stamps: Sequence[int]) -> tuple[dict[str, Any], str | None]:
    """The product's facts about a stream that came in `parts` with `stamps`, and its
    error's name.
    """
    from array import array

    answer, reader = API.open(True, array("q"))
    error = None
    try:
        for part, stamp in zip(parts, stamps, strict=True):
            reader.feed(part, stamp)
        reader.close()
    except MalformedAnswer:
        error = "malformed"
    except StreamError:
        error = "stream_error"
    facts = {name: getattr(answer, name) for name in NAMES}
    return facts | {"gaps": list(answer.gaps or ())}, error


def agree(stream: bytes, cuts: Sequence[int], reading: Reading | None = None) -> None:
    """Fail unless product and reference see the same in `stream` cut at `cuts`, each piece with its
    own stamp.
    """
    reading = reading or read(stream)
    parts = pieces(stream, cuts)
    stamps = [1_000 + 7 * number * number for number in range(len(parts))]
    by_byte = [stamp for part, stamp in zip(parts, stamps, strict=True) for _ in part]
    facts, error = feed(parts, stamps)
    assert error == reading.error
    assert facts == reading.facts(by_byte)
