"""Tokens and counts in OpenAI's shape, in every form in which servers send them.

In: a delta, a message or a part of one; objects with counts. Out: what kind of token it brings;
`Usage`. Must stay true: tokens are known by the place where they stand, never by a pattern:
annotations, citations, signatures and identifiers are none (docs/dev/tokens.md); a count is taken
from the first place that states it (docs/dev/usage.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.api.answer import Token, Usage
from bench.api.decoding import count

#: Keys of reasoning beside `content`; a list or object of parts may stand in each.
_REASONING = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_details",
    "thinking_blocks",
    "reasoning_text",
)
#: Keys of a part under which its text stands.
_TEXTS = ("text", "thinking", "reasoning", "content", "summary", "refusal", "data")
_NO_OUTPUT = ("annotation", "citation", "reference", "signature", "source", "search")
_MEDIA = ("image", "audio", "file", "video")


def token_of(holder: dict[str, Any]) -> Token | None:
    """What a delta or message holds; where it holds several, what is seen counts."""
    content = holder.get("content")
    found = _token_in(content, Token.text)
    if found is not None and found is not Token.reasoning:
        return found
    if _filled(holder.get("refusal")):
        return Token.refusal
    if any(_is_call(call) for call in _calls(holder)):
        return Token.tool_call
    audio = holder.get("audio")
    if isinstance(audio, dict) and (_filled(audio.get("data")) or _filled(audio.get("transcript"))):
        return Token.text
    images = holder.get("images")
    if isinstance(images, list) and images:
        return Token.text
    if found is None and any(_holds_text(holder.get(key)) for key in _REASONING):
        return Token.reasoning
    return found


def text_of(holder: Any) -> str:
    """The visible text of a delta or message: a string, or parts of which those of text count."""
    content = holder.get("content") if isinstance(holder, dict) else None
    if isinstance(content, str):
        return content
    found = (part.get("text") for part in _listed(content) if _is_text(part))
    return "".join(text for text in found if isinstance(text, str))


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and _token_of_part(part, Token.text) is Token.text


def _filled(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _token_in(content: Any, kind: Token) -> Token | None:
    """What a content holds: a text, or parts of it."""
    if isinstance(content, str):
        return kind if content else None
    found: Token | None = None
    for part in _listed(content):
        token = _token_of_part(part, kind)
        # Of several parts, what is seen counts.
        if found is None or (token is not None and found is Token.reasoning):
            found = token
    return found


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


def _token_of_part(part: Any, kind: Token) -> Token | None:
    if isinstance(part, str):
        return kind if part else None
    if not isinstance(part, dict):
        return None
    name = part.get("type")
    name = name.lower() if isinstance(name, str) else ""
    if "thinking" in name or "reasoning" in name or part.get("thought") is True:
        return Token.reasoning if _holds_text(part) else None
    if any(word in name for word in _NO_OUTPUT):
        return None
    if "refusal" in name:
        return Token.refusal if _holds_text(part) else None
    if "tool" in name or "function" in name:
        return Token.tool_call if _is_call(part) else None
    if any(word in name for word in _MEDIA):
        return kind if any(part[key] for key in part if key not in ("type", "id")) else None
    return kind if _filled(part.get("text")) or _filled(part.get("content")) else None


def _holds_text(value: Any) -> bool:
    """Whether there is a text in it, however its parts are nested; a signature is none."""
    left = [value]
    for _ in range(64):
        if not left:
            return False
        each = left.pop()
        if _filled(each):
            return True
        if isinstance(each, list):
            left += each[:8]
        elif isinstance(each, dict):
            left += [each[key] for key in _TEXTS if key in each]
    return False


def _calls(holder: dict[str, Any]) -> Iterator[Any]:
    yield from _listed(holder.get("tool_calls"))
    yield from _listed(holder.get("function_call"))


def _is_call(call: Any) -> bool:
    """Whether it names a tool or hands it something, in any form: `function`, `custom`, or flat."""
    if not isinstance(call, dict):
        return False
    kind = call.get("type")
    inner = [call.get("function"), call.get("custom")]
    if isinstance(kind, str):
        inner.append(call.get(kind))
    for each in (call, *inner):
        if isinstance(each, dict) and any(
            each.get(key) for key in ("name", "arguments", "input", "partial_json")
        ):
            return True
    return False


# ---- counts


def usage_of(*holders: Any) -> Usage | None:
    """What these objects count, each number from the first that states it; None without one."""
    found: Usage | None = None
    for holder in holders:
        if isinstance(holder, dict) and holder:
            usage = _usage(holder)
            if found is None:
                found = usage
            else:
                found = Usage(*(a if a >= 0 else b for a, b in zip(found, usage, strict=True)))
    return found


def _first(*values: Any) -> int:
    return next((number for value in values if (number := count(value)) >= 0), -1)


def _inside(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        if isinstance(usage.get(name), dict):
            details: dict[str, Any] = usage[name]
            return details
    return {}


def _usage(usage: dict[str, Any]) -> Usage:
    """OpenAI's names, and where servers differ: DeepSeek, Moonshot, Anthropic behind a gateway."""
    read = _inside(usage, "prompt_tokens_details", "input_tokens_details")
    made = _inside(usage, "completion_tokens_details", "output_tokens_details")
    prompt = count(usage.get("prompt_tokens"))
    hit = count(usage.get("prompt_cache_hit_tokens"))
    cached = _first(
        read.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cached_tokens"),
        usage.get("cache_read_input_tokens"),
        read.get("cache_read_input_tokens"),
    )
    if prompt < 0 and hit >= 0:
        missed = count(usage.get("prompt_cache_miss_tokens"))
        prompt = hit + missed if missed >= 0 else -1
    if prompt < 0:
        prompt = count(usage.get("input_tokens"))
        beside = (usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens"))
        if prompt >= 0:
            prompt += sum(max(0, count(each)) for each in beside)
    return Usage(
        prompt,
        _first(usage.get("completion_tokens"), usage.get("output_tokens")),
        _first(
            made.get("reasoning_tokens"),
            usage.get("reasoning_tokens"),
            made.get("thinking_tokens"),
        ),
        cached,
    )
