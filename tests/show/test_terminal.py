"""The final screen and the live one."""

from __future__ import annotations

import io
import threading
from dataclasses import replace

import pytest
from made_runs import Made, MakeRun
from rich.cells import cell_len
from rich.console import Console

from bench.show.live import LaneProgress, Progress, Screen, live_text, plain_line
from bench.show.terminal import STYLES, verdict_lines

S = 10**9
MIDWAY = Progress(
    stage="noisy-neighbour", phase="burst", elapsed_ns=119 * S, total_ns=160 * S, offered=14_066, sent=14_066, done=13_960,
    in_flight=31, failed=12, late_p99_ms=0.06, stage_number=2, stages=9,
    lanes=(LaneProgress("shared", 7000, 14, 212.0, 3870.2), LaneProgress("dedicated", 6960, 0, 208.0, 402.0)),
)  # fmt: skip


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "names", [["standard", "pro"], ["standard/noisy-neighbour", "pro/noisy-neighbour"], ["漢字" * 30, "\x1b[2J[red]"]]
)
def test_the_final_screen_fits_its_width(make_run: MakeRun, names: list[str], width: int) -> None:
    """No line is wider than asked, whatever the names; every verdict stands there whole."""
    made = make_run(names, rows=20)
    made.summary["health"]["reasons"] = ["w" * 300, "many words " * 30]
    plain = verdict_lines(made.summary, made.verdicts, width=width).plain
    assert max(cell_len(line) for line in plain.split("\n")) <= width
    assert [plain.count(word) for word in ("INCONCLUSIVE", "REPORTED", "  PASS")] == [1, 1, 2]
    assert "\x1b" not in plain


def test_the_final_screen_gives_reason_and_what_to_do_next(spoilt: Made) -> None:
    """Interval, counts that decided, harness, report path and repeat command, each on its line."""
    plain = verdict_lines(
        spoilt.summary, spoilt.verdicts, report="results/x/report.html", repeat="tailproof run x --seed 1"
    ).plain
    lines = plain.split("\n")
    fail = next(index for index, line in enumerate(lines) if line.endswith("FAIL"))
    assert "3,870 ms (3,610 – 4,020 ms)    ≤ 800 ms       12,000  FAIL" in lines[fail]
    assert lines[fail + 1].strip() == "611 slow or failed, 120 allowed"
    assert lines[-4:] == ["overall   FAIL", "harness   valid: late p99 0.06 ms, sent 100.0 % of schedule",
                          "report    results/x/report.html", "again     tailproof run x --seed 1"]  # fmt: skip


def test_colour_carries_the_verdict_and_nothing_else(spoilt: Made) -> None:
    """Every coloured stretch of the screen is a verdict word in its own colour."""
    text = verdict_lines(spoilt.summary, spoilt.verdicts)
    coloured = {
        text.plain[span.start : span.end].strip(): span.style
        for span in text.spans
        if str(span.style) not in ("bold", "dim")
    }
    assert coloured == {word: STYLES[word] for word in ("PASS", "FAIL", "INCONCLUSIVE")}


def test_an_invalid_run_says_so_first(spoilt: Made) -> None:
    """Before any number stands that the harness was the limit."""
    spoilt.summary["overall"] = "INVALID"
    assert verdict_lines(spoilt.summary, spoilt.verdicts).plain.startswith("INVALID: ")


def test_without_a_contract_the_numbers_themselves_are_shown(spoilt: Made) -> None:
    """A line a target with success, TTFT and e2e; dashes or silence for what was not measured."""
    spoilt.verdicts.update(clauses=[], confidence=[])
    spoilt.summary["targets"]["pro"]["response_ms"]["ttft"] = None
    lines = verdict_lines(spoilt.summary, spoilt.verdicts).plain.split("\n")
    p99 = spoilt.summary["targets"]["standard"]["response_ms"]["e2e"]["p99"]
    assert lines[0].startswith(" standard  ok 98.5 % of 1,200")
    assert f"e2e p50 212 ms p99 {p99:,.0f} ms" in lines[0]
    assert "TTFT" not in lines[1]


def test_missed_expectations_are_listed(spoilt: Made) -> None:
    """How many known answers were met, and each that was not."""
    met = {"target": "standard", "clause": "e2e p99", "expected": "FAIL", "got": "FAIL", "met": True}
    spoilt.verdicts["expects"] = [met, {**met, "got": "PASS", "met": False}]
    plain = verdict_lines(spoilt.summary, spoilt.verdicts).plain
    assert "expected  1 of 2 known answers met\n          standard, e2e p99: expected FAIL, got PASS" in plain


def plain_output(steps: list[Progress], *, quiet: bool = False) -> list[str]:
    """What a log file receives."""
    out = io.StringIO()
    with Screen(Console(file=out, width=80), quiet=quiet) as screen:
        for step in steps:
            screen.update(step)
        screen.note("target \x1b[31mrefused [red]once")
    return out.getvalue().splitlines()


def test_where_there_is_no_terminal_a_line_comes_every_few_seconds() -> None:
    """Four updates a second for 12 s of one stage are three lines, and a new stage speaks at once."""
    steps = [replace(MIDWAY, elapsed_ns=quarter * S // 4) for quarter in range(48)]
    lines = plain_output([*steps, replace(MIDWAY, stage="next", elapsed_ns=0)])
    assert [line.split()[0] for line in lines] == ["noisy-neighbour"] * 3 + ["next", "target"]
    assert lines[-1] == "target \\x1b[31mrefused [red]once"
    assert "in flight 31; failed 12; late p99 0.06 ms; shared p50 212 ms p99 3,870 ms" in lines[0]


def test_quiet_is_silent() -> None:
    """Nothing at all is written when asked to be quiet."""
    assert plain_output([MIDWAY], quiet=True) == []


def test_the_live_screen_draws_in_a_terminal_without_a_thread() -> None:
    """Each update redraws at once in the caller's thread; a note stays above; the cursor is given back."""
    out = io.StringIO()
    before = threading.active_count()
    with Screen(Console(file=out, width=100, force_terminal=True)) as screen:
        screen.update(MIDWAY)
        assert threading.active_count() == before
        assert "3,870 ms" in out.getvalue()
        screen.note("first 429 from shared")
    assert "first 429 from shared" in out.getvalue()
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")


def test_the_live_screen_says_where_the_run_stands() -> None:
    """Share of the time, time left, rates against the plan, and a line a lane with its success."""
    lines = live_text(MIDWAY, 100).plain.split("\n")
    assert "noisy-neighbour (2 of 9)   burst" in lines[0]
    assert lines[0].endswith("74 %   41 s left")
    assert lines[0].count("█") == round(119 / 160 * 16)
    assert lines[1].strip().startswith("sent 118/s of 118/s · done 13,960 · in flight 31")
    assert lines[2].split() == ["shared", "p50", "212", "ms", "p99", "3,870", "ms", "ok", "99.8", "%"]


@pytest.mark.parametrize("width", [20, 60, 100])
def test_the_live_screen_is_cut_to_the_window(width: int) -> None:
    """A narrow window cuts lines and never wraps them."""
    hostile = replace(MIDWAY, stage="漢" * 60, lanes=(LaneProgress("\x1b[2J" * 20),))
    assert max(cell_len(line) for line in live_text(hostile, width).plain.split("\n")) <= width


def test_a_run_that_has_hardly_begun_or_is_over_can_be_shown() -> None:
    """No division by nothing: before the first answer dashes, after the last arrival a word for the wait."""
    nothing = Progress("a", "", 0, 0, 0, 0, 0, 0, 0, lanes=(LaneProgress("x"),))
    assert "p99         –   ok –" in live_text(nothing, 100).plain
    assert "waiting for the last answers" in plain_line(replace(MIDWAY, elapsed_ns=170 * S))
    assert "100 %" in plain_line(replace(MIDWAY, elapsed_ns=170 * S))
