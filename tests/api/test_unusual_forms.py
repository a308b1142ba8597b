"""Forms that few servers send: what they bring is told from where it stands, by every API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.api import gemini, messages
from bench.api.answer import Token, Usage
from bench.api.failures import failure_in, named_failure
from bench.api.openai_parts import token_of, usage_of

T = Token


@pytest.mark.parametrize(
    ("holder", "token"),
    [
        ({"audio": {"data": "UklG"}}, T.text),
        ({"audio": {"transcript": "hello"}}, T.text),
        ({"audio": {"id": "a-1"}}, None),
        ({"images": [{"image_url": {"url": "data:"}}]}, T.text),
        ({"images": []}, None),
        ({"content": ["", "word"]}, T.text),
        ({"content": ["", 7, None]}, None),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, T.refusal),
        ({"content": [{"type": "refusal", "refusal": ""}]}, None),
        ({"content": [{"type": "tool_use", "name": "f"}]}, T.tool_call),
        ({"content": [{"type": "function", "id": "f-1"}]}, None),
        ({"content": [{"type": "image_url", "image_url": {"url": "data:"}}]}, T.text),
        ({"content": [{"type": "image_url", "id": "i-1"}]}, None),
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"text": "so"}]}, T.text),
        ({"content": [{"text": "so"}, {"type": "thinking", "thinking": "hm"}]}, T.text),
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"text": ""}]}, T.reasoning),
        # 64 objects are opened and no more: an answer cannot hold the reader up
        ({"reasoning": [[[]] * 8] * 8}, None),
    ],
)
def test_what_a_delta_or_message_holds(holder: dict[str, Any], token: Token | None) -> None:
    """OpenAI's shape with audio, images, and parts of several kinds: what is seen counts."""
    assert token_of(holder) is token


@pytest.mark.parametrize(
    ("holders", "usage"),
    [
        ([{}, None], None),
        ([{"prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 4}], Usage(7, -1, -1, 3)),
        ([{"prompt_cache_hit_tokens": 3}], Usage(-1, -1, -1, 3)),
        ([{"prompt_tokens": 5}, {"prompt_tokens": 9, "output_tokens": 2}], Usage(5, 2, -1, -1)),
    ],
)
def test_counts_come_from_the_first_place_that_states_them(
    holders: list[Any], usage: Usage | None
) -> None:
    """DeepSeek's prompt is what it had and what it had not; a second place fills in."""
    assert usage_of(*holders) == usage


def body(**value: Any) -> bytes:
    """A whole answer."""
    return json.dumps(value).encode()


def test_of_several_blocks_what_is_seen_counts() -> None:
    """Anthropic's Messages: a thought beside a text is not what the answer was."""
    thought, text = {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}
    for blocks, token in (
        ([thought, text], T.text),
        ([text, thought], T.text),
        ([thought, {"type": "text", "text": ""}], T.reasoning),
    ):
        said = messages.API.read_body(body(content=blocks, stop_reason="end_turn"))
        assert (said.token, said.usage) == (token, None)


def test_an_answer_of_nothing_or_broken_off_is_none() -> None:
    """Anthropic's Messages without content and reason, and with a reason that says it failed."""
    assert "an answer of nothing" in str(messages.API.read_body(body(content=[])).malformed)
    said = messages.API.read_body(body(content=[], stop_reason="error"))
    assert (said.error, said.error_code) == ("stop reason 'error'", "error")


def test_a_message_may_begin_without_counts() -> None:
    """A gateway leaves the usage out of `message_start`."""
    said = messages.API.read_event(
        "message_start", body(type="message_start", message={"model": "m", "stop_reason": None})
    )
    assert (said.model, said.usage, said.reason_due) == ("m", None, True)


def test_googles_events_that_are_no_response() -> None:
    """One that is named an error is one; an empty one and OpenAI's end say nothing."""
    assert gemini.API.read_event("error", b"overloaded").error == "overloaded"
    for payload in (b" ", b"[DONE]"):
        said = gemini.API.read_event("", payload)
        assert (said.error, said.malformed, said.token, said.end) == (None, None, None, False)


@pytest.mark.parametrize(
    ("candidates", "token", "error"),
    [
        ([{"content": {"parts": ["loose", {"text": "so"}]}}], T.text, None),
        ([{"content": {"parts": [{"text": "a"}]}}, {"content": {}}], T.text, None),
        (
            [{"content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"text": "b"}]}}],
            T.text,
            None,
        ),
        ([{"finishReason": "ERROR"}], None, "finish reason 'ERROR'"),
    ],
)
def test_googles_candidates(candidates: list[Any], token: Token | None, error: str | None) -> None:
    """Parts that are no objects are passed over; the first that is seen counts; a reason may say
    that it failed.
    """
    said = gemini.API.read_body(body(candidates=candidates))
    assert (said.token, said.error) == (token, error)


def test_an_event_named_error_is_one_whatever_it_says() -> None:
    """With an object that tells no failure of its own, and with one that tells one."""
    said = named_failure("error", body(reason="worn out", id=4))
    assert (said.error, said.error_code) == ("worn out", "")
    said = named_failure("error", body(error={"message": "busy", "code": "529"}))
    assert (said.error, said.error_code) == ("busy", "529")
    assert named_failure("error", b"").error == "error"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"code": "1302", "msg": "slow down"}, "slow down"),
        ({"code": "0200", "msg": "fine"}, None),
        ({"errors": [{"why": "x"}]}, "[{'why': 'x'}]"),
        ({"detail": {"loc": "body"}}, "{'loc': 'body'}"),
        ({"success": False, "message": 7, "reason": "quota"}, "quota"),
    ],
)
def test_objects_that_tell_a_failure(value: dict[str, Any], error: str | None) -> None:
    """Codes of digits are read as numbers; a list or an object is said as it stands."""
    found = failure_in(value, answers=False)
    assert (found.error if found is not None else None) == error
    assert failure_in(value, answers=True) is None
