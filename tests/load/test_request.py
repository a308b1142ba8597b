"""Bodies: valid JSON with exactly the keys asked for, the user's extra body in front, turns that
extend each other.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.load.endpoint import BodyWriter
from tests.support.world import plan_for, text

CONSTANT = {"kind": "constant", "rate": "10/s"}


def writer(target: dict[str, Any] | None = None, **profile: Any) -> BodyWriter:
    """A writer for the only lane of a small plan."""
    plan = plan_for(CONSTANT, target, **{"requests": 4, **profile})
    return BodyWriter(plan.lanes[0], plan.schedule, text())


def body(made: BodyWriter, row: int = 0) -> dict[str, Any]:
    """A row's body, decoded; a key written twice is refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    decoded: dict[str, Any] = json.loads(made.body(row), object_pairs_hook=once)
    return decoded


def test_a_body_holds_exactly_the_keys_that_were_asked_for() -> None:
    """Model, one user message of the planned words, the planned length, streaming with usage;
    nothing else.
    """
    made = body(writer({"model": 'm "é" %d'}))
    (message,) = made.pop("messages")
    assert made == {
        "model": 'm "é" %d',
        "max_tokens": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert message["role"] == "user"
    assert len(message["content"].split()) == 12


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ({"stream": False}, {"model", "messages", "max_tokens", "stream"}),
        ({"include_usage": False}, {"model", "messages", "max_tokens", "stream"}),
        (
            {"max_tokens_field": "max_completion_tokens"},
            {"model", "messages", "max_completion_tokens", "stream", "stream_options"},
        ),
    ],
)
def test_options_of_the_target_change_the_keys(target: dict[str, Any], keys: set[str]) -> None:
    """No stream options without a stream or when not wanted; the length goes under the name asked
    for.
    """
    assert body(writer(target)).keys() == keys


@pytest.mark.parametrize(
    "extra",
    [
        {"max_tokens": 7},
        {"stream_options": {"include_usage": False}},
        {"temperature": 0.5, "stop": ["%d", "%", "%%s"]},
        {"max_tokens": 7, "stop": "100%d"},
        {"é": None},
    ],
)
@pytest.mark.parametrize("usage", [True, False])
def test_the_extra_body_wins_over_our_defaults(extra: dict[str, Any], usage: bool) -> None:
    """Every key of the extra body is sent as written, once, per cent signs and all."""
    made = body(writer({"extra_body": extra, "include_usage": usage}))
    assert {key: made[key] for key in extra} == extra


def test_an_extra_body_that_is_no_json_is_refused() -> None:
    """A date from TOML and not-a-number cannot be sent."""
    for value in (float("nan"), {1, 2}):
        with pytest.raises(UserError, match="JSON"):
            writer({"extra_body": {"x": value}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda key: key not in ("model", "messages", "stream")),
        JSON,
        max_size=4,
    )
)
@settings(deadline=None, max_examples=50)
def test_any_extra_body_arrives_as_it_was_written(extra: dict[str, Any]) -> None:
    """Whatever JSON the user adds, the body is JSON and holds it."""
    made = body(writer({"extra_body": extra}))
    assert {key: made[key] for key in extra} == extra


def test_bodies_of_different_rows_differ_and_of_one_row_do_not() -> None:
    """No two rows share a prompt, which a prefix cache would answer too fast; a row can be written
    again.
    """
    made = writer(requests=50)
    bodies = [made.body(row) for row in range(50)]
    assert len(set(bodies)) == 50
    assert [made.body(row) for row in range(50)] == bodies


def test_the_messages_of_a_session_extend_those_of_the_turn_before() -> None:
    """Turn k repeats all earlier messages word for word, adds an answer's stand-in and the user's
    next text.
    """
    plan = plan_for(CONSTANT, requests=12, sessions={"turns": {"fixed": 4}})
    made = BodyWriter(plan.lanes[0], plan.schedule, text())
    earlier: list[dict[str, str]] = []
    for row, planned in enumerate(plan.schedule):
        messages = body(made, row)["messages"]
        turn = int(planned["turn"])
        assert [message["role"] for message in messages] == ["user", "assistant"] * turn + ["user"]
        assert messages[: 2 * turn - 1 if turn else 0] == (earlier if turn else [])
        assert (
            sum(len(message["content"].split()) for message in messages) == planned["prompt_tokens"]
        )
        earlier = messages


def test_a_shared_prefix_is_shared_and_what_follows_is_not() -> None:
    """Prompts of one group begin alike for exactly the prefix's words."""
    made = writer(shared_prefix={"tokens": 20}, prompt_tokens=[{"fixed": 30}])
    first, second = (body(made, row)["messages"][0]["content"].split() for row in (0, 1))
    assert first[:20] == second[:20]
    assert first[20] != second[20]
    assert len(first) == 50


def test_a_refused_option_is_left_out_of_every_body_after() -> None:
    """What the server names goes, once; a body written before the drop deserves another try; other
    words do not.
    """
    made = writer()
    assert not made.drop_refused("model not found", 0)
    assert made.drop_refused("HTTP 400: Unknown parameter: 'stream_options.include_usage'.", 0)
    assert body(made).keys() == {"model", "messages", "max_tokens", "stream"}
    assert made.drop_refused("unknown parameter stream_options", 0)
    assert not made.drop_refused("unknown parameter stream_options", made.version)
    assert made.drop_refused(
        "Unsupported: 'max_tokens'. Use 'max_completion_tokens' instead.", made.version
    )
    assert body(made)["max_completion_tokens"] == 4
    assert "max_tokens" not in body(made)


def test_a_refused_option_of_the_extra_body_is_left_out_too() -> None:
    """The server's refusal outranks the user's wish: otherwise every row would fail."""
    made = writer(
        {"include_usage": False, "extra_body": {"stream_options": {"include_usage": True}}}
    )
    assert "stream_options" in body(made)
    assert made.drop_refused("stream_options is not allowed", made.version)
    assert "stream_options" not in body(made)
