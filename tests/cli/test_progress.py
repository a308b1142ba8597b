"""The line of a long step: what it says, and when it says nothing."""

from __future__ import annotations

import io
import sys

import pytest

from bench import progress
from bench.cli import progress as line
from bench.units import S


class Clock:
    """Moves only when it is told to."""

    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The line's own."""
    clock = Clock()
    monkeypatch.setattr(line, "monotonic_ns", clock)
    return clock


def screens(out: io.StringIO) -> list[str]:
    """What stood in the line, one after another."""
    return [drawn.rstrip() for drawn in out.getvalue().split("\r") if drawn.strip()]


def test_time_left_is_what_the_rest_takes_at_the_pace_so_far(clock: Clock) -> None:
    """Nothing in the first second; a quarter in 10 s leaves 30 s; wiped at the end."""
    out = io.StringIO()
    with progress.reported_to(line.Line(out)), progress.counted("judging", 8) as advance:
        clock.now_ns = S // 2
        advance(1)
        assert out.getvalue() == ""
        clock.now_ns = 10 * S
        advance(1)
    (drawn,) = screens(out)
    assert drawn.startswith("judging  ██████░")
    assert drawn.endswith(" 25 %  30 s left")
    assert out.getvalue().endswith("\r")
    assert out.getvalue().split("\r")[-2].strip() == ""


def test_a_step_within_a_step_leaves_the_outer_ones_time_alone(clock: Clock) -> None:
    """The outer one goes on with its own pace; a guess from its first parts is not made."""
    out = io.StringIO()
    with progress.reported_to(line.Line(out)), progress.step("outer") as outer:
        for _ in progress.each("inner", range(4)):
            clock.now_ns += 2 * S
        clock.now_ns += S
        outer(0.01)
        clock.now_ns += S
        outer(0.5)
    assert screens(out)[-2:] == [
        "outer  ░░░░░░░░░░░░░░░░░░░░░░░░   1 %",
        "outer  ████████████░░░░░░░░░░░░  50 %  10 s left",
    ]
    assert screens(out)[0].startswith("inner")


@pytest.mark.parametrize(
    ("terminal", "quiet", "lines"), [(True, False, 2), (True, True, 0), (False, False, 0)]
)
def test_only_a_terminal_without_quiet_is_drawn_on(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, *, terminal: bool, quiet: bool, lines: int
) -> None:
    """A log gets no line that is drawn again; and what is heard ends with the command."""
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", out)
    with line.shown():
        if quiet:
            line.silence()
        for _ in progress.each("judging", [1, 2]):
            clock.now_ns += 3 * S
    for _ in progress.each("judging", []):
        pass
    assert len(screens(out)) == lines
    with progress.reported_to(line.Line(out)), progress.counted("judging", 2) as advance:
        clock.now_ns += 3 * S
        advance(1)
    assert len(screens(out)) == lines + 1
