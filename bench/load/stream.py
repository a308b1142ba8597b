"""Response bytes with their stamps -> token events: sans-I/O, knows neither httpx nor sockets.

In: body bytes as they came and the stamp (ns) of the read that brought them. Out: an `Answer`
with the instants of the first, first visible and last token, chunk counts, gaps, usage, finish
and error. Must stay true: the same at every split of the bytes; nothing is decoded before it
is stamped, and as little as possible after; a role-only or usage-only chunk is no token; memory
is bounded whatever the server sends.

Sources: WHATWG HTML, 9.2.6 (event stream interpretation); OpenAI chat completion chunks.
"""

from __future__ import annotations

import json
import re
from array import array
from contextlib import suppress
from typing import Any

from pydantic_core import from_json

#: One event, or a whole plain answer, may hold this much; more is `malformed`.
MAX_EVENT_BYTES = 4 << 20
MAX_PLAIN_BYTES = 16 << 20
#: Of a server's error text this much is looked at; what is kept is shorter still (see `Strings`).
MAX_ERROR_TEXT = 2000
_BOM = b"\xef\xbb\xbf"
_CONTENT = b'"content":"'
# A quote inside a JSON string is always escaped, so these cannot match within a text.
_VISIBLE = re.compile(rb'"(?:content|refusal)"\s*:\s*"[^"]')
_HIDDEN = re.compile(rb'"reasoning(?:_content)?"\s*:\s*"[^"]')
_NEEDS_JSON = re.compile(
    rb'"(?:error|usage|finish_reason|tool_calls)"\s*:\s*[^n\s]|"object"\s*:\s*"error"'
)


class MalformedAnswer(Exception):
    """The bytes are no answer of this API."""


class StreamError(Exception):
    """The server reported an error inside a 200 answer."""


class Answer:
    """What one response body said and when. Feed it, then `close` it."""

    __slots__ = (
        "_after",
        "_before",
        "_fed_ns",
        "_plain",
        "_shape_start",
        "_shared_stamp_ns",
        "_skip_lf",
        "_started",
        "_tail",
        "cached_tokens",
        "chunks",
        "done_marker",
        "finish",
        "first_answer_token_ns",
        "first_byte_ns",
        "first_shared",
        "first_token_ns",
        "gap_max_ns",
        "gaps",
        "last_token_ns",
        "model",
        "output_tokens",
        "prompt_tokens",
        "reasoning_tokens",
        "shared_reads",
    )

    def __init__(self, streamed: bool, gaps: array[int] | None = None):
        """`gaps`, if given, receives every gap between two chunks in ns, as they come."""
        self._plain: list[bytes] | None = None if streamed else []
        self._tail = b""
        self._skip_lf = self._started = False
        self._shape_start, self._before, self._after = -1, b"", b""
        self.gaps = gaps
        self.first_byte_ns = self.first_token_ns = self.first_answer_token_ns = (
            self.last_token_ns
        ) = -1
        self.gap_max_ns = -1
        self.chunks = self.shared_reads = 0
        #: the read that brought the first token brought further ones
        self.first_shared = False
        self._shared_stamp_ns = self._fed_ns = -1
        self.prompt_tokens = self.output_tokens = self.reasoning_tokens = self.cached_tokens = -1
        self.finish: str | None = None
        self.model: str | None = None
        self.done_marker = False

    def feed(self, data: bytes, stamp_ns: int) -> None:
        """Take body bytes. Raises MalformedAnswer or StreamError."""
        if not data:
            return
        if self.first_byte_ns < 0:
            self.first_byte_ns = stamp_ns
        self._fed_ns = stamp_ns
        if self._plain is not None:
            self._keep(self._plain, data)
            return
        # One whole event of one line is what nearly every read brings.
        whole = (
            self._started
            and not self._tail
            and not self._skip_lf
            and data.find(b"\n") == len(data) - 2
        )
        if whole and data.startswith(b"data:") and data.endswith(b"\n\n") and b"\r" not in data:
            self._payload(data[5:-2], stamp_ns)
        else:
            self._take(data, stamp_ns)

    def _take(self, data: bytes, stamp_ns: int) -> None:
        """Bytes cut anywhere: complete what was begun, keep what is incomplete."""
        if not self._started:
            data = self._tail + data
            if len(data) < 3 and _BOM.startswith(data):
                self._tail = data
                return
            self._started, self._tail = True, b""
            data = data.removeprefix(_BOM)
        if b"\r" in data or self._skip_lf:
            data = self._unify_line_ends(data)
        if self._tail:
            data = self._tail + data
        events = data.split(b"\n\n")
        self._tail = events.pop()
        if len(self._tail) > MAX_EVENT_BYTES:
            raise MalformedAnswer(f"one event above {MAX_EVENT_BYTES >> 20} MiB")
        for event in events:
            if event.startswith(b"data:") and b"\n" not in event:
                self._payload(event[5:], stamp_ns)
            else:
                self._lines(event, stamp_ns)

    def _keep(self, plain: list[bytes], data: bytes) -> None:
        plain.append(data)
        if len(plain) > 64:
            plain[:] = [b"".join(plain)]
        if sum(map(len, plain)) > MAX_PLAIN_BYTES:
            raise MalformedAnswer(f"plain answer above {MAX_PLAIN_BYTES >> 20} MiB")

    def _unify_line_ends(self, data: bytes) -> bytes:
        """CR LF and lone CR become LF; a CR at the very end may have its LF still to come."""
        if self._skip_lf:
            data = data.removeprefix(b"\n")
        self._skip_lf = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _lines(self, event: bytes, stamp_ns: int) -> None:
        """An event of several lines: comments and other fields dropped, data lines joined."""
        data = [
            line[5:].removeprefix(b" ") if line.startswith(b"data:") else b""
            for line in event.split(b"\n")
            if line.startswith(b"data:") or line == b"data"
        ]
        if data:
            self._payload(b"\n".join(data), stamp_ns)

    def _payload(self, payload: bytes, stamp_ns: int) -> None:
        start = payload.find(_CONTENT)
        if start == self._shape_start and start >= 0 and self.first_answer_token_ns >= 0:
            end = payload.find(b'"', start + len(_CONTENT))
            same = payload.startswith(self._before) and payload.endswith(self._after)
            if same and start + len(_CONTENT) < end == len(payload) - len(self._after):
                # Like a chunk that was looked at, but for its text.
                self._token(stamp_ns, True)
                return
        if self.first_token_ns >= 0 and payload.endswith(b"}") and not _NEEDS_JSON.search(payload):
            visible = _VISIBLE.search(payload) is not None
            # The first visible token is looked at closely; after it only their number counts.
            if (visible and self.first_answer_token_ns >= 0) or (
                not visible and _HIDDEN.search(payload)
            ):
                self._token(stamp_ns, visible)
                self._learn(payload, start)
                return
        payload = payload.strip()
        if payload == b"[DONE]":
            self.done_marker = True
        elif payload:
            self._chunk(_decode(payload), stamp_ns)

    def _learn(self, payload: bytes, start: int) -> None:
        """Keep what stands round the text of a plain token chunk: most that follow differ in the
        text alone.
        """
        end = payload.find(b'"', start + len(_CONTENT)) if start >= 0 else -1
        if end >= 0:
            self._shape_start, self._before, self._after = start, payload[:start], payload[end:]

    def _chunk(self, chunk: dict[str, Any], stamp_ns: int) -> None:
        if chunk.get("error") or chunk.get("object") == "error":
            raise StreamError(error_text(chunk))
        self._usage(chunk.get("usage"))
        if self.model is None and isinstance(chunk.get("model"), str):
            self.model = chunk["model"]
        choices = chunk.get("choices")
        if choices is not None and not isinstance(choices, list):
            raise MalformedAnswer("choices is not a list")
        any_visible = any_hidden = False
        for choice in choices or ():
            if not isinstance(choice, dict):
                raise MalformedAnswer("a choice is not an object")
            if isinstance(choice.get("finish_reason"), str):
                self.finish = choice["finish_reason"]
            delta = choice.get("delta")
            if isinstance(delta, dict):
                visible, hidden = _texts(delta)
            else:
                visible, hidden = bool(choice.get("text")), False
            any_visible, any_hidden = any_visible or visible, any_hidden or hidden
        if any_visible or any_hidden:
            self._token(stamp_ns, any_visible)

    def _token(self, stamp_ns: int, answer: bool) -> None:
        self.chunks += 1
        if answer and self.first_answer_token_ns < 0:
            self.first_answer_token_ns = stamp_ns
        last = self.last_token_ns
        self.last_token_ns = stamp_ns
        if last < 0:
            self.first_token_ns = stamp_ns
            return
        gap = stamp_ns - last
        self.gap_max_ns = max(self.gap_max_ns, gap)
        if self.gaps is not None:
            self.gaps.append(gap)
        if gap == 0 and stamp_ns != self._shared_stamp_ns:
            self._shared_stamp_ns = stamp_ns
            self.shared_reads += 1
            self.first_shared = self.first_shared or stamp_ns == self.first_token_ns

    def _usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
        self.output_tokens = _count(usage.get("completion_tokens"), self.output_tokens)
        for name, key in (
            ("completion_tokens_details", "reasoning_tokens"),
            ("prompt_tokens_details", "cached_tokens"),
        ):
            details = usage.get(name)
            if isinstance(details, dict):
                setattr(self, key, _count(details.get(key), getattr(self, key)))

    def close(self) -> None:
        """The body ended. Raises MalformedAnswer for a plain body that is no answer and StreamError
        for a body that holds an error. A stream that was cut raises nothing: see `complete`."""
        if self._plain is None:
            tail, self._tail = self._tail, b""
            # A last event without its blank line still counts, stamped by its last bytes, if it is
            # whole.
            with suppress(MalformedAnswer):
                self._lines(tail, self._fed_ns)
            return
        body = b"".join(self._plain)
        answer = _decode(body)
        if answer.get("error") or answer.get("object") == "error":
            raise StreamError(error_text(answer))
        self._usage(answer.get("usage"))
        self.model = answer["model"] if isinstance(answer.get("model"), str) else None
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise MalformedAnswer("answer without choices")
        self.finish = (
            choices[0].get("finish_reason")
            if isinstance(choices[0].get("finish_reason"), str)
            else None
        )
        message = choices[0].get("message")
        self.chunks = int(
            (isinstance(message, dict) and any(_texts(message))) or bool(choices[0].get("text"))
        )

    @property
    def complete(self) -> bool:
        """A stream says that it is over by [DONE] or a finish reason; without either it was cut."""
        return self._plain is not None or self.done_marker or self.finish is not None


def _texts(delta: dict[str, Any]) -> tuple[bool, bool]:
    """(visible, hidden): does a delta or message hold answer text or tool calls, or reasoning?"""
    visible = bool(delta.get("content") or delta.get("refusal"))
    calls = delta.get("tool_calls")
    if not visible and isinstance(calls, list):
        functions = [
            call["function"]
            for call in calls
            if isinstance(call, dict) and isinstance(call.get("function"), dict)
        ]
        visible = any(function.get("name") or function.get("arguments") for function in functions)
    return visible, not visible and bool(delta.get("reasoning_content") or delta.get("reasoning"))


def _decode(payload: bytes) -> dict[str, Any]:
    try:
        value = from_json(payload)
    except ValueError:
        # Four times as fast, but it refuses half a surrogate pair, which servers that cut text by
        # bytes do send.
        try:
            value = json.loads(payload)
        except (ValueError, RecursionError):
            raise MalformedAnswer(f"not JSON: {payload[:120]!r}") from None
    if not isinstance(value, dict):
        raise MalformedAnswer(f"not a JSON object: {payload[:120]!r}")
    return value


def _count(value: Any, otherwise: int) -> int:
    """A token count as servers send it; nonsense leaves what was known."""
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
        else otherwise
    )


def error_text(body: dict[str, Any]) -> str:
    """The message of an OpenAI-shaped error body, or of one that is the error itself (`object:
    error`).
    """
    error = body.get("error") or body
    message = error.get("message") if isinstance(error, dict) else error
    return str(message if message is not None else error)[:MAX_ERROR_TEXT]
