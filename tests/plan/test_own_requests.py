"""The user's own requests: what a file may hold, what is sent of it, and what is refused.

In: files as OpenAI's batch guide, Anthropic's batches, ShareGPT and vLLM's benchmark write them.
Out: bodies written by hand from each API's reference. Must stay true: every line is sent once
before any is sent again; a refusal names file and line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api.conversation import converted, plain
from bench.errors import UserError
from bench.load.endpoint import BodyWriter
from bench.plan.expectation import Expectation
from bench.plan.own_requests import own_requests
from bench.plan.schedule import Plan
from tests.support.in_process import tailproof
from tests.support.world import plan_for, text

CHAT_LIKE = ["chat", "responses", "messages", "gemini", "converse"]


def _write(path: Path, *rows: Any) -> str:
    file = path / "requests.jsonl"
    file.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return str(file)


def _plan(file: str, target: dict[str, Any] | None = None, **profile: Any) -> Plan:
    return plan_for({"kind": "constant", "rate": "10/s"}, target, prompts=file, **profile)


def _bodies(plan: Plan) -> list[dict[str, Any]]:
    writer = BodyWriter(plan.lanes[0], plan.schedule, text())
    return [json.loads(writer.body(row)) for row in range(len(plan.schedule))]


BATCH = {
    "custom_id": "request-1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {
        "model": "gpt-3.5-turbo-0125",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hello world!"},
        ],
        "max_tokens": 1000,
        "temperature": 0.5,
    },
}
ANTHROPIC_BATCH = {
    "custom_id": "my-first-request",
    "params": {
        "model": "claude",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hello, world"}],
    },
}
SHAREGPT = {
    "id": "QWJhYvA_0",
    "conversations": [
        {"from": "human", "value": "Summarise this."},
        {"from": "gpt", "value": "It is short."},
        {"from": "human", "value": "Shorter."},
        {"from": "gpt", "value": "Ok."},
    ],
}


def _user(said: str) -> dict[str, str]:
    return {"role": "user", "content": said}


@pytest.mark.parametrize(
    ("row", "messages", "length"),
    [
        (BATCH, BATCH["body"]["messages"], 1000),  # type: ignore[index]
        (ANTHROPIC_BATCH, [_user("Hello, world")], 1024),
        ({"prompt": "What is TCP?", "output_tokens": 9}, [_user("What is TCP?")], 9),
        ({"text": "Define AI.", "output_length": 7}, [_user("Define AI.")], 7),
        ({"input": "From Responses", "max_output_tokens": 5}, [_user("From Responses")], 5),
        ({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}, [_user("Hi")], 4),
    ],
)
def test_each_form_of_a_line_is_sent_with_the_target_s_model_stream_and_length(
    tmp_path: Path, row: dict[str, Any], messages: list[dict[str, str]], length: int
) -> None:
    (body,) = _bodies(_plan(_write(tmp_path, row), requests=1))
    assert body["messages"] == messages
    assert (body["model"], body["stream"], body["max_tokens"]) == ("m", True, length)
    assert body.get("temperature") == (0.5 if row is BATCH else None)


def test_a_conversation_is_a_session_with_its_recorded_answers(tmp_path: Path) -> None:
    plan = _plan(_write(tmp_path, SHAREGPT), requests=2)
    assert plan.schedule["turn"].tolist() == [0, 1]
    assert plan.schedule["after_row"].tolist() == [-1, 0]
    first, second = _bodies(plan)
    assert first["messages"] == [_user("Summarise this.")]
    answer = {"role": "assistant", "content": "It is short."}
    assert second["messages"] == [_user("Summarise this."), answer, _user("Shorter.")]
    # "It is short." is 12 bytes, "Ok." is 3: 4 bytes a token, rounded up
    assert (first["max_tokens"], second["max_tokens"]) == (3, 1)


def test_tools_stay_where_the_api_takes_them_and_are_refused_elsewhere(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    file = _write(tmp_path, BATCH, {"messages": [_user("Hi")], "tools": tools})
    bodies = _bodies(_plan(file, requests=2))
    assert [body["tools"] for body in bodies if "tools" in body] == [tools]
    with pytest.raises(UserError, match=r"line 2.*'chat' that 'messages' cannot take.*'tools'"):
        _plan(file, {"api": "messages"}, requests=2)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"prompt": "cut', "line 2: is not JSON"),
        ("[1, 2]", "line 2: is not a JSON object"),
        ({"question_id": 1}, "line 2: is no request of a known API"),
        ({"messages": [_user("x")], "n": 3}, "line 2: asks for 3 answers"),
        ({"conversations": [{"from": "narrator", "value": "x"}]}, "line 2: the role 'narrator'"),
        ({"conversations": [{"from": "human"}]}, "line 2: a turn of the conversation has no text"),
        (
            {"prompt": "my key is sk-abcdefghijklmnopqrstuvwx"},
            r"line 2: holds what looks like a key",
        ),
        ({"prompt": "x", "expect": {"must_match": "("}}, r"line 2: expect.*no regular expression"),
        ({"prompt": "x", "expect": {"jsno": True}}, r"line 2: expect\.jsno"),
        ({"messages": 7}, "line 2: has not the shape of a request"),
        ({"query": "q", "documents": ["d"]}, "line 2: is a request of 'rerank'"),
    ],
)
def test_a_line_that_cannot_be_sent_is_named(tmp_path: Path, line: Any, says: str) -> None:
    file = _write(tmp_path, BATCH, line)
    with pytest.raises(UserError, match=says) as caught:
        own_requests(file, ["chat"])
    assert caught.value.where == file
    assert "abcdefghijkl" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "api"),
    [
        ({"system": "a", "messages": [{"role": "system", "content": "b"}]}, "messages"),
        ({"instructions": "a", "input": [{"role": "developer", "content": "b"}]}, "responses"),
    ],
)
def test_two_system_prompts_are_not_made_one(body: dict[str, Any], api: str) -> None:
    (key,) = body.keys() & {"messages", "input"}
    asked = body | {key: [*body[key], _user("Hi")]}
    with pytest.raises(ValueError, match="two system prompts"):
        converted(asked, api, "gemini")


def test_a_line_says_what_its_answer_has_to_be(tmp_path: Path) -> None:
    """Each its own, whatever the order they are sent in; without one, an answer at all, or what the
    profile asks for.
    """
    wanted = {"json": True, "must_match": "red"}
    file = _write(tmp_path, {"prompt": "a", "expect": wanted}, {"prompt": "b"})
    for profile, other in (({}, {}), ({"expect_answer": {"min_tokens": 5}}, {"min_tokens": 5})):
        plan = _plan(file, requests=4, **profile)
        writer = BodyWriter(plan.lanes[0], plan.schedule, text())
        asked = {
            json.loads(writer.body(row))["messages"][0]["content"]: writer.expect_of(row)
            for row in range(4)
        }
        assert asked == {
            "a": Expectation.model_validate(wanted),
            "b": Expectation.model_validate(other),
        }
        assert all(b"expect" not in writer.body(row) for row in range(4))


def test_arrays_and_csv_are_read_too(tmp_path: Path) -> None:
    array = tmp_path / "a.json"
    array.write_text(json.dumps([SHAREGPT, BATCH], indent=1))
    table = tmp_path / "a.csv"
    table.write_text('id,prompt,output_tokens\n1,"two\nlines, quoted",5\n2,other,\n')
    found = own_requests(str(array), ["chat"])
    assert found is not None
    assert found.turns.tolist() == [2, 1]
    read = own_requests(str(table), ["chat"])
    assert read is not None
    assert read.body(0, 0, "chat") == {"messages": [_user("two\nlines, quoted")]}
    assert read.output_tokens.tolist() == [5, -1]
    table.write_text("id,answer\n1,x\n")
    with pytest.raises(UserError, match="no column of prompts"):
        own_requests(str(table), ["chat"])


def test_every_line_is_sent_once_before_any_is_sent_again(tmp_path: Path) -> None:
    file = _write(tmp_path, *({"prompt": f"number {number}"} for number in range(50)))
    plan = _plan(file, requests=120)
    items = plan.schedule["body"]
    assert sorted(items[:50]) == sorted(items[50:100]) == list(range(50))
    assert items[:50].tolist() != list(range(50))
    assert np.array_equal(items, _plan(file, requests=120).schedule["body"])
    assert "sends 50 of the 50 own requests of requests.jsonl, some of them more than once" in (
        " ".join(plan.lanes[0].notes)
    )


TURNS = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=7).filter(
    lambda said: len(said) % 2 == 1
)


@settings(max_examples=40)
@given(TURNS, st.text(max_size=10), st.sampled_from(CHAT_LIKE), st.sampled_from(CHAT_LIKE))
def test_a_conversation_that_goes_through_any_apis_says_the_same(
    said: list[str], system: str, there: str, back: str
) -> None:
    messages = [
        {"role": ("user", "assistant")[place % 2], "content": each}
        for place, each in enumerate(said)
    ]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    body = {"messages": messages, "top_p": 0.5}
    asked = plain(body, "chat")
    through = converted(converted(body, "chat", there), there, back)
    assert plain(through, back) == asked
    assert converted(through, back, "chat") == body


@pytest.mark.slow("a run over sockets, from the plan to its report")
def test_no_text_of_the_file_reaches_the_run_s_folder(tmp_path: Path) -> None:
    file = _write(tmp_path, *({"prompt": f"harbour-{number} zanzibar"} for number in range(9)))
    words = ["run", "vanity-average", "--over-http", "--prompts", file, "--request-count", "6"]
    done = tailproof(*words, "--rate", "50", "--out", tmp_path / "run", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    kept = b"".join(each.read_bytes() for each in (tmp_path / "run").rglob("*") if each.is_file())
    assert b"zanzibar" not in kept
    assert b"requests.jsonl" in kept


def test_timestamps_replay_on_their_own_clock(tmp_path: Path) -> None:
    times = [2000, "1970-01-01T00:00:01Z", 1500.5]
    file = _write(tmp_path, *({"prompt": f"{at}", "timestamp": at} for at in times))
    for speed, due in (("1x", [0, 500_500_000, 10**9]), ("2x", [0, 250_250_000, 5 * 10**8])):
        plan = plan_for({"kind": "recorded", "speed": speed}, prompts=file)
        assert plan.schedule["due_ns"].tolist() == due
        assert plan.schedule["body"].tolist() == [1, 2, 0]
    missing = _write(tmp_path, {"prompt": "a", "timestamp": 1}, {"prompt": "b"})
    with pytest.raises(UserError, match="line 2: has no timestamp"):
        plan_for({"kind": "recorded", "speed": "1x"}, prompts=missing)
