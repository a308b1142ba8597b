"""Answers that are checked: whole, quick, and not what the profile expects of them."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench.api.cause import Cause
from bench.api.registry import api_named
from bench.cli import main
from bench.load.checked import TOO_LONG
from bench.load.request import Request
from bench.plan.expectation import (
    CUT,
    EMPTY,
    MOST_KEPT_BYTES,
    NO_JSON,
    NO_MATCH,
    REFUSED,
    Expectation,
)
from bench.record.samples import Outcome

JSON = {"json": True}
EVENTS = [(b"content-type", b"text/event-stream")]
PLAIN = [(b"content-type", b"application/json")]


def ended(
    api: str, headers: list[tuple[bytes, bytes]], body: bytes, expect: dict[str, Any]
) -> tuple[str, str, Cause | None]:
    """How a request ends whose answer comes in two reads: outcome, note, cause of a failure."""
    seen: list[tuple[Request, Outcome, str]] = []
    request = Request(0, None, 0, True, array("q"), lambda *end: seen.append(end))
    request.api = api_named(api)
    request.expect = Expectation.model_validate(expect)
    request.on_head(200, headers, 10, False)
    half = len(body) // 2
    request.on_body(body[:half], 20)
    request.on_body(body[half:], 30)
    request.on_done(40)
    ((_, outcome, note),) = seen
    return outcome.name, note, None if outcome is Outcome.ok else request.cause(outcome, note)


def events(*said: dict[str, Any] | str, named: bool = False) -> bytes:
    """A stream of server-sent events."""
    lines = [
        (f"event: {each['type']}\n" if named and isinstance(each, dict) else "")
        + f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n"
        for each in said
    ]
    return "".join(lines).encode()


def chat(*texts: str, finish: str = "stop", key: str = "content", tokens: int = 5) -> bytes:
    """A chat completion that streams these texts."""
    pieces = [
        {"choices": [{"index": 0, "delta": {key: text}, "finish_reason": None}]} for text in texts
    ]
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": tokens}}
    return events(*pieces, last, usage, "[DONE]")


def messages(*texts: str, reason: str = "end_turn") -> bytes:
    """A message of Anthropic's API that streams these texts, after a thought."""
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3}}}
    thought = {"type": "thinking_delta", "thinking": "no JSON"}
    deltas = [thought, *({"type": "text_delta", "text": text} for text in texts)]
    blocks = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": reason},
        "usage": {"output_tokens": 9},
    }
    return events(start, *blocks, end, {"type": "message_stop"}, named=True)


def responses(*texts: str) -> bytes:
    """A response of OpenAI's newer API that streams these texts."""
    deltas = [{"type": "response.output_text.delta", "delta": text} for text in texts]
    usage = {"input_tokens": 3, "output_tokens": 5}
    last = {"model": "m", "status": "completed", "output": [], "usage": usage}
    end = {"type": "response.completed", "response": last}
    return events(*deltas, end, named=True)


def gemini(*texts: str, finish: str = "STOP") -> bytes:
    """Google's stream of these texts, after a thought."""
    parts = [{"text": "no JSON", "thought": True}, *({"text": text} for text in texts)]
    candidates = [{"content": {"parts": [part]}, "index": 0} for part in parts]
    candidates[-1]["finishReason"] = finish
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 5}
    return events(*({"candidates": [each], "usageMetadata": usage} for each in candidates))


STREAMS: dict[str, Callable[..., bytes]] = {
    "chat": chat,
    "messages": messages,
    "responses": responses,
    "gemini": gemini,
}


@pytest.mark.parametrize("api", STREAMS)
def test_the_text_of_a_stream_is_put_together(api: str) -> None:
    """JSON in three pieces, a character in two escapes among them; reasoning is no part of it."""
    whole = STREAMS[api]('{"na', 'me": "é', '"}')
    assert ended(api, EVENTS, whole, JSON) == ("ok", "", None)
    assert ended(api, EVENTS, whole, {"must_match": '"é"'})[0] == "ok"
    broken = STREAMS[api]('{"na', 'me": "é')
    assert ended(api, EVENTS, broken, JSON) == ("wrong_answer", NO_JSON, Cause.server)
    assert ended(api, EVENTS, broken, {"must_match": "x"})[:2] == ("wrong_answer", NO_MATCH)


PLAIN_BODIES = {
    "chat": {
        "choices": [{"message": {"role": "assistant", "content": "[1]"}, "finish_reason": "stop"}]
    },
    "completions": {"choices": [{"text": "[1]", "finish_reason": "stop"}]},
    "responses": {
        "status": "completed",
        "output": [
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "[1]"}]},
        ],
    },
    "messages": {
        "type": "message",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "[1]"}],
        "stop_reason": "end_turn",
    },
    "gemini": {"candidates": [{"content": {"parts": [{"text": "[1]"}]}, "finishReason": "STOP"}]},
    "converse": {
        "output": {"message": {"role": "assistant", "content": [{"text": "[1]"}]}},
        "stopReason": "end_turn",
    },
}


@pytest.mark.parametrize("api", PLAIN_BODIES)
def test_the_text_of_a_plain_answer(api: str) -> None:
    """Each vendor's own place of it."""
    body = json.dumps(PLAIN_BODIES[api]).encode()
    assert ended(api, PLAIN, body, JSON) == ("ok", "", None)
    assert ended(api, PLAIN, body, {"must_match": r"^\[1\]$"})[0] == "ok"
    assert ended(api, PLAIN, body, {"must_match": "hm"})[1] == NO_MATCH


@pytest.mark.parametrize(
    ("api", "body", "expect", "wrong"),
    [
        ("chat", chat("{", finish="length"), JSON, CUT),
        ("chat", chat("no", finish="length"), {}, ""),
        ("chat", chat("[1]", finish="length"), JSON, ""),
        ("chat", chat(), {}, EMPTY),
        ("chat", chat("thinks", key="reasoning_content"), {}, EMPTY),
        ("chat", chat("I cannot", key="refusal"), {}, REFUSED),
        ("chat", chat("so", tokens=4), {"min_tokens": 5}, "fewer than 5 tokens"),
        ("chat", chat("so", tokens=5), {"min_tokens": 5}, ""),
        ("chat", chat("```json\n[1]\n```"), JSON, ""),
        ("messages", messages("Sorry", reason="refusal"), {}, REFUSED),
        ("messages", messages("{", reason="max_tokens"), JSON, CUT),
    ],
)
def test_what_is_wrong_with_an_answer(
    api: str, body: bytes, expect: dict[str, Any], wrong: str
) -> None:
    """Refused, empty, cut, short; an answer that its length ended is right where nothing asks for
    the whole of it.
    """
    outcome, note, cause = ended(api, EVENTS, body, expect)
    assert (outcome, note) == ("wrong_answer" if wrong else "ok", wrong)
    if wrong:
        assert cause == (Cause.filter if wrong == REFUSED else Cause.server)


def test_a_tool_call_is_an_answer() -> None:
    """It has no text, and is not empty."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    first = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    assert ended("chat", EVENTS, events(first, last, "[DONE]"), {})[0] == "ok"


def test_an_answer_too_long_to_be_kept_is_not_right() -> None:
    """Nothing that was not looked at passes."""
    text = "x" * (MOST_KEPT_BYTES // 16)
    assert ended("chat", EVENTS, chat(*[text] * 17), {"must_match": "x"})[:2] == (
        "wrong_answer",
        TOO_LONG,
    )


def test_a_pattern_that_is_none_is_refused() -> None:
    """With what is wrong about it."""
    with pytest.raises(ValidationError, match="must_match is no regular expression"):
        Expectation.model_validate({"must_match": "("})


FILES = {
    "t": 'description = "d"\nbase_url = "embedded"\nmodel = "m"\n',
    "p": (
        'description = "d"\nrequests = 60\nprompt_tokens = [{ fixed = 20 }]\n'
        "output_tokens = [{ fixed = 3 }]\nexpect_answer = { EXPECT }\n"
        '[arrivals]\nkind = "constant"\nrate = "200/s"\n'
    ),
    "c": 'title = "d"\n[[clause]]\nmetric = "answer_ok"\nshare = "99%"\n',
    "s": (
        'description = "d"\n[[stage]]\nname = "one"\ntargets = ["t.toml"]\nprofile = "p.toml"\n'
        'contract = "c.toml"\nscenario = "quick.toml"\n'
    ),
    "quick": (
        'description = "d"\n[[gateway.model]]\nname = "*"\npool = "p"\n[[gateway.pool]]\n'
        'name = "p"\ne2e = { fixed = "20ms" }\n[truth]\nsays = "every answer takes 20 ms"\n'
    ),
}


@pytest.mark.parametrize(
    ("expect", "code", "verdict", "ended_as"),
    [
        ("json = true", 1, "FAIL", {"wrong_answer": 60}),
        ('must_match = "[a-z]+"', 3, "INCONCLUSIVE", {"ok": 60}),
    ],
)
def test_quick_and_wrong_is_no_pass(
    expect: str,
    code: int,
    verdict: str,
    ended_as: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gateway answers in words within 20 ms: as JSON they fail, as words nothing speaks against
    them, though 60 are too few for a PASS.
    """
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(f"{name}.toml").write_text(text.replace("EXPECT", expect))
    assert main(["run", "s.toml", "--out", "r"]) == code
    (target,) = json.loads(Path("r/summary.json").read_text())["targets"].values()
    assert target["outcomes"] == ended_as
    (clause,) = json.loads(Path("r/verdicts.json").read_text())["clauses"]
    assert (clause["metric"], clause["verdict"]) == ("answer_ok", verdict)


@pytest.mark.parametrize(
    ("target", "profile", "says"),
    [
        ("", 'description = "d"\nrequests = 9\n', "says what a right answer is"),
        ('api = "embeddings"\n', None, "have no"),
    ],
)
def test_a_promise_on_answers_that_nothing_checks_is_refused(
    target: str,
    profile: str | None,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is sent: no profile says what is right, or no answer has a text."""
    monkeypatch.chdir(tmp_path)
    arrivals = '[arrivals]\nkind = "constant"\nrate = "200/s"\n'
    files = FILES | {
        "t": FILES["t"] + target,
        "p": profile + arrivals if profile else FILES["p"].replace("EXPECT", "json = true"),
    }
    for name, text in files.items():
        Path(f"{name}.toml").write_text(text)
    assert main(["run", "s.toml", "--out", "r"]) == 2
    assert says in " ".join(capsys.readouterr().err.split())
