"""Failures inside a 200, whoever words them.

In: JSON that came in an answer; names of events; finish reasons. Out: what failed, in the server's
words. Must stay true: what holds an answer fails by an error of its own alone, what holds none by
any word of failure; an empty error, and a code of success, are none (docs/dev/ends.md).
"""

from __future__ import annotations

import re
from typing import Any

from bench.api.answer import MalformedAnswer, Said
from bench.api.decoding import MAX_ERROR_TEXT, code_of, decode, error_text

#: Of event names: `error`, `internalServerException`, `response.failed`.
_FAILING_NAME = re.compile(r"error|exception|fail", re.IGNORECASE)
#: What a server writes where it has no reason yet (DashScope: `null` as a text; Google's proxies).
_NO_REASONS = frozenset({"", "null", "none", "nil", "undefined", "finish_reason_unspecified"})
#: Reasons that say that the answer was broken off: DeepSeek, Zhipu, OpenRouter, vLLM, SGLang.
_BROKEN_OFF = frozenset(
    {
        "error",
        "abort",
        "aborted",
        "cancelled",
        "canceled",
        "fail",
        "failed",
        "failure",
        "interrupted",
        "timeout",
        "network_error",
        "server_error",
        "internal_error",
        "insufficient_system_resource",
    }
)
_FAILING_STATUS = frozenset({"error", "fail", "failed", "failure", "cancelled", "canceled"})
_SUCCESS = frozenset({"", "0", "ok", "success", "succeeded", "none", "null"})
#: Keys that only failures have, and keys of codes, of which some say success.
_FAILING_KEYS = (
    "errors",
    "error_msg",
    "error_message",
    "errorMessage",
    "errmsg",
    "detail",
    "fault",
    "exception",
)
_CODES = (
    "code",
    "Code",
    "error_code",
    "errorCode",
    "errcode",
    "err_code",
    "status_code",
    "statusCode",
)
_MESSAGES = (
    *("message", "Message", "msg", "error_msg", "error_message", "errorMessage", "errmsg"),
    *("status_msg", "detail", "faultstring", "errors", "fault", "exception", "reason"),
)


def names_failure(name: str) -> bool:
    """Whether an event's name says that it is one."""
    return bool(name) and _FAILING_NAME.search(name) is not None


def named_failure(name: str, payload: bytes) -> Said:
    """The error of an event whose name says that it is one, whatever its payload is."""
    try:
        value = decode(payload)
    except MalformedAnswer:
        text = payload.decode("utf-8", "replace").strip()
        return Said(error=(text or name)[:MAX_ERROR_TEXT])
    found = failure_in(value, answers=False)
    if found is not None:
        return found
    return Said(error=_message(value) or error_text(value), error_code=_code(value))


def reason_of(value: Any) -> str | None:
    """A finish reason, None for what is none."""
    if isinstance(value, str) and value.strip().lower() not in _NO_REASONS:
        return value
    return None


def broken_off(reason: str | None) -> bool:
    """Whether a finish reason says that the answer was not finished."""
    return reason is not None and reason.lower() in _BROKEN_OFF


def is_error(value: Any) -> bool:
    """Whether the value of a key `error` is one: an object of nothing but empty values is none."""
    if isinstance(value, dict):
        return any(value.values())
    return bool(value)


def failure_in(value: dict[str, Any], *, answers: bool) -> Said | None:
    """The failure that an object tells, None where it tells none; `answers`: it holds a part of an
    answer, or a count of one.
    """
    if is_error(value.get("error")):
        return Said(error=error_text(value) or _message(value), error_code=code_of(value))
    state = value.get("base_resp")  # MiniMax
    if isinstance(state, dict) and _fails(state.get("status_code")):
        return _said(state)
    if value.get("object") == "error" or _is_failing_type(value.get("type")):
        return _said(value)
    if answers:
        return None
    failed = (
        any(is_error(value.get(key)) for key in _FAILING_KEYS)
        or any(_fails(value.get(key)) for key in _CODES)
        or names_failure(_word(value.get("__type")))  # AWS
        or value.get("success") is False
        or value.get("ok") is False
        or _word(value.get("status")) in _FAILING_STATUS
        or (isinstance(value.get("status"), int) and _fails(value["status"]))
    )
    return _said(value) if failed else None


def _is_failing_type(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in ("error", "exception", "stream_error")


def _word(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _fails(code: Any) -> bool:
    """Whether a code is one of failure: neither zero nor 2xx nor a word of success."""
    if isinstance(code, bool) or code is None:
        return False
    if isinstance(code, int | float):
        return code != 0 and not 200 <= code < 300
    word = _word(code)
    if word.isdigit():
        return _fails(int(word[:9]))
    return isinstance(code, str) and word not in _SUCCESS


def _said(value: dict[str, Any]) -> Said:
    text = _message(value) or error_text(value)
    return Said(error=text[:MAX_ERROR_TEXT], error_code=_code(value))


def _message(value: dict[str, Any]) -> str:
    for key in _MESSAGES:
        found = value.get(key)
        if found and isinstance(found, str):
            return found[:MAX_ERROR_TEXT]
        if isinstance(found, dict | list) and found:
            return str(found)[:MAX_ERROR_TEXT]
    return ""


def _code(value: dict[str, Any]) -> str:
    if found := code_of(value):
        return found
    for key in _CODES:
        if isinstance(value.get(key), str | int) and value[key]:
            return str(value[key])[:80]
    return ""
