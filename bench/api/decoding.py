"""What servers write, decoded: JSON, counts, errors in one sentence, numbers in headers.

In: payloads and bodies; values of headers. Out: objects, token counts, texts; ms, ns and counts, -1
for what is none. Must stay true: no payload raises anything but MalformedAnswer, and no header
anything; a count that is none leaves what was known; texts are bounded; a wait in any form that
clients take is taken (docs/dev/clients.md).
"""

from __future__ import annotations

import json
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic_core import from_json

from bench.api.answer import MalformedAnswer
from bench.clock import wall_ns

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


_WAIT = re.compile(r"([+-]?(?:\d{1,40}(?:\.\d*)?|\.\d+))\s*(ms|s|m|h)?", re.IGNORECASE)
_FIRST = tuple("0123456789.+-")
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def wait_ms(value: bytes) -> int:
    """A wait as a number of ms, or of the unit that it names (`retry-after-ms`); -1 if neither."""
    text = value.decode("latin-1").partition(",")[0].strip().strip('"')
    found = _WAIT.fullmatch(text)
    return -1 if found is None else _bounded_ms(found, "ms")


def _bounded_ms(wait: re.Match[str], unit: str) -> int:
    """What `_WAIT` found, in `unit` where it names none."""
    ms = float(wait[1]) * _UNITS[(wait[2] or unit).lower()]
    return max(0, round(min(ms, 2**31 - 1)))


def ms_as_ns(value: bytes) -> int:
    """Milliseconds in a header -> ns, -1 for what is no number."""
    try:
        return max(0, min(round(float(value) * 1e6), 2**62))
    except (ValueError, OverflowError):
        return -1


def count_of(value: bytes) -> int:
    """A count in a header, -1 for what is none (Azure sends -1 where it does not know)."""
    return int(value) if value.isdigit() and len(value) < 19 else -1


def server_timing_ns(value: bytes) -> int:
    """`Server-Timing` (W3C): the longest `dur` of its metrics in ns, -1 where it has none.

    Whatever a server calls its whole, it is no shorter than its parts.
    """
    lengths = [
        ms_as_ns(name_and_value.partition(b"=")[2].strip(b' "'))
        for name_and_value in re.split(rb"[;,]", value)
        if name_and_value.partition(b"=")[0].strip().lower() == b"dur"
    ]
    return max(lengths, default=-1)


def retry_after_ms(value: bytes) -> int:
    """`retry-after` as seconds or HTTP date (RFC 9110, 10.2.3) -> ms from now, -1 if neither.

    Seconds may have a fraction or a unit, and a header that came twice its first value.
    """
    text = value.decode("latin-1").strip().strip('"')
    # A date has a comma of its own, and no digit before it.
    first = text.partition(",")[0].strip() if text[:1] in _FIRST else text
    if found := _WAIT.fullmatch(first):
        return _bounded_ms(found, "s")
    try:
        at = parsedate_to_datetime(text)
        ms = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000 - wall_ns() / 1e6
    except (ValueError, TypeError, OverflowError):
        return -1
    return max(0, min(round(ms), 2**31 - 1))
