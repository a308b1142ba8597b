"""JSON of servers: decoded, counted, and their errors in one sentence.

In: payloads and bodies. Out: objects, token counts, texts. Must stay true: no payload raises
anything but MalformedAnswer; a count that is none leaves what was known; texts are bounded.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import from_json

from bench.api.answer import MalformedAnswer

#: Of a server's error text this much is looked at; what is kept is shorter still.
MAX_ERROR_TEXT = 2000
_MAX_CODE = 80


def decode(payload: bytes) -> dict[str, Any]:
    """The JSON object in a payload. Raises MalformedAnswer."""
    try:
        value = from_json(payload)
    except ValueError:
        # Four times as fast, but it refuses half a surrogate pair, which servers that cut text by
        # bytes do send, and bytes that are no UTF-8, which every client but Python's replaces.
        try:
            value = json.loads(payload.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise _no_json(payload) from None
    if not isinstance(value, dict):
        raise MalformedAnswer(f"not a JSON object: {payload[:120]!r}")
    return value


class Unseparated(MalformedAnswer):
    """Events without a blank line between them."""


def _no_json(payload: bytes) -> MalformedAnswer:
    """What is wrong with a payload; what a client does that reads line by line is no rule."""
    if not payload.strip():
        return MalformedAnswer("an empty body")
    lines = payload.split(b"\n")
    if len(lines) > 1 and lines[0].startswith(b"{") and lines[0].endswith(b"}"):
        return Unseparated(
            f"no blank line between events: {len(lines)} data lines came as one event, which is"
            f" not JSON: {payload[:80]!r}"
        )
    return MalformedAnswer(f"not JSON: {payload[:120]!r}")


def count(value: Any) -> int:
    """A token count as servers send it, -1 for what is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # languages whose numbers are all floats
    if isinstance(value, bool) or not isinstance(value, int):
        return -1
    return value if 0 <= value < 2**31 else -1


def text_or_none(value: Any) -> str | None:
    """A text, None for an empty one and for anything else."""
    return value if isinstance(value, str) and value else None


def error_text(body: dict[str, Any]) -> str:
    """The message of a body with `error`, or of one that is the error itself."""
    error = body.get("error") or body
    message = error.get("message") if isinstance(error, dict) else error
    return str(message if message is not None else error)[:MAX_ERROR_TEXT]


def code_of(body: dict[str, Any]) -> str:
    """The code, type or status of an error, the closest first; "" where it names none.

    OpenAI has `error.code` beside a vaguer `error.type`, Anthropic `error.type`, Google
    `error.status` beside a numeric `error.code`, Hugging Face's servers `error_type` beside a text
    `error`; OpenRouter has a number alone.
    """
    error = body.get("error")
    error = error if isinstance(error, dict) else body
    for name in ("code", "status", "type", "error_type"):
        if isinstance(error.get(name), str) and error[name]:
            return str(error[name])[:_MAX_CODE]
    number = count(error.get("code"))
    return str(number) if 400 <= number < 600 else ""


def first_of_array(body: bytes) -> dict[str, Any]:
    """The first object of a JSON array, in which Google wraps errors of its streams and of its
    front in OpenAI's shape; empty for anything else.
    """
    try:
        items = json.loads(body) if body.lstrip().startswith(b"[") else None
    except (ValueError, RecursionError):
        items = None
    return items[0] if items and isinstance(items[0], dict) else {}


def error_code(body: bytes) -> str:
    """The same for the body of an error status, which may be no JSON."""
    try:
        return code_of(first_of_array(body) or decode(body))
    except MalformedAnswer:
        return ""


def error_message(body: bytes) -> str:
    """What the body of an error status says: its `error`, `message` or `detail`, else its text
    without HTML tags.
    """
    try:
        value = first_of_array(body) or json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        if "error" in value:
            return error_text(value)
        return str(value.get("message") or value.get("detail") or "")[:MAX_ERROR_TEXT]
    # No `<` within a tag: else a page of them is searched to its end from each.
    text = re.sub(r"<[^<>]*>", " ", body.decode("utf-8", "replace"))
    return " ".join(text.split())[:MAX_ERROR_TEXT]


def listed_models(body: bytes) -> list[str]:
    """The models of a list as OpenAI (`data[].id`), Google (`models[].name`) or Ollama write it.

    Empty where the body is no such list, or says that it goes on on another page.
    """
    try:
        found = decode(body)
    except MalformedAnswer:
        return []
    if found.get("has_more") or found.get("nextPageToken"):
        return []
    entries = found.get("data") if isinstance(found.get("data"), list) else found.get("models")
    names = []
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("id") or entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            return []
        names.append(name.removeprefix("models/"))
    return names
