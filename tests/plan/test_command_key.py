"""A key that a command prints: asked for again in time, and when it was refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.errors import UserError
from bench.plan.renewed import CommandKey, expires_ns
from bench.plan.target import Target
from bench.units import S
from bench.userfile import parse_model


def token(**claims: Any) -> str:
    """A JSON web token with these claims, unsigned (RFC 7519)."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


class Hands:
    """A clock that is set by hand, monotonic and wall alike."""

    now_ns = 1_000 * S

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Hands:
    """At 1,000 s."""
    return Hands()


def key_of(clock: Hands, *printed: str, refresh_ns: int | None = None) -> CommandKey:
    """The key of a command that prints these in turn."""
    texts: Iterator[str] = iter(printed)
    ask: Callable[[], str] = lambda: next(texts)  # noqa: E731
    return CommandKey(ask, refresh_ns, wall=clock, clock=clock)


@pytest.mark.parametrize(
    ("text", "end_ns"),
    [
        (token(exp=2_000), 2_000 * S),
        (token(exp=2_000.5), 2_000_500_000_000),
        (token(iat=5), None),
        (token(exp="soon"), None),
        ("sk-live.with.dots", None),
        ("a.b", None),
        ("", None),
    ],
)
def test_only_a_web_token_says_when_it_ends(text: str, end_ns: int | None) -> None:
    """By its claim `exp`, in Unix seconds."""
    assert expires_ns(text) == end_ns


@pytest.mark.parametrize(
    ("life_s", "wait_s"),
    [(3600, 3600 - 300), (600, 540), (60, 54), (30, 25), (4, 0)],
)
def test_the_command_is_asked_before_the_token_ends(life_s: int, wait_s: int, clock: Hands) -> None:
    """A tenth of its life before, at least 5 s and at most 5 min."""
    key = key_of(clock, token(exp=1_000 + life_s))
    assert key.wait_ns() == wait_s * S


def test_what_the_user_says_goes_before_what_the_token_says(clock: Hands) -> None:
    """`refresh` counts from when the key came."""
    key = key_of(clock, token(exp=1_000 + 60), "next", refresh_ns=45 * S)
    clock.now_ns += 15 * S
    assert key.wait_ns() == 30 * S
    clock.now_ns += 40 * S
    assert key.wait_ns() == 0
    key.renew()
    assert (key.text, key.wait_ns()) == ("next", 45 * S)


def test_a_key_without_an_end_is_asked_for_when_it_was_refused(clock: Hands) -> None:
    """And not for requests that the key before was sent with."""
    key = key_of(clock, "one", "two")
    assert key.wait_ns() is None
    clock.now_ns += S
    key.refused(clock.now_ns)
    assert key._refused.is_set()
    key._refused.clear()
    key.renew()
    assert key.text == "two"
    key.refused(clock.now_ns - 1)
    assert not key._refused.is_set()


def test_a_command_that_prints_the_same_is_asked_ever_less_often(clock: Hands) -> None:
    """A token near its end that comes again would have it run without a pause."""
    old = token(exp=1_001)
    key = key_of(clock, *[old] * 12, "new")
    waits = []
    for _ in range(11):
        key.renew()
        waits.append((key.wait_ns() or 0) // S)
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    key.renew()
    assert key.text == "new"


def test_a_command_that_fails_leaves_the_key_in_use(clock: Hands) -> None:
    """And is asked again later."""
    answers = iter(["one"])

    def ask() -> str:
        try:
            return next(answers)
        except StopIteration:
            raise UserError("gave no key") from None

    key = CommandKey(ask, 10 * S, wall=clock, clock=clock)
    clock.now_ns += 10 * S
    key.renew()
    assert (key.text, key.wait_ns()) == ("one", 2 * S)


@pytest.mark.parametrize(
    "keys", [{"refresh": "45min"}, {"refresh": "0s", "api_key_command": ["date"]}]
)
def test_refresh_is_for_commands_alone(keys: dict[str, Any]) -> None:
    """Anything else has nobody to ask."""
    fields = {"description": "d", "base_url": "http://h/v1", "model": "m", **keys}
    with pytest.raises(UserError, match="refresh is a time above zero"):
        parse_model(Target, fields, "t.toml")
