"""The final screen and the live one."""

from __future__ import annotations

import io
import threading
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from bench.record.records.calibration import Calibration, CalibrationStep
from bench.show.calibration import calibration_head, calibration_line, calibration_screen
from bench.show.last_screen import spread_table, verdict_screen
from bench.show.live import LaneProgress, Progress, Rates, Screen, live_text, plain_line
from bench.show.render_terminal import screen
from bench.show.terminal_tables import STYLES
from tests.support.made_runs import Made, MakeRun
from tests.support.screens import screen_lines

S = 10**9
MIDWAY = Progress(
    stage="noisy-neighbour",
    phase="burst",
    elapsed_ns=119 * S,
    total_ns=160 * S,
    offered=14_066,
    sent=14_066,
    done=13_960,
    in_flight=31,
    late_p99_ms=0.06,
    recent=Rates(5 * S, 118.2, 117.4, 98.0),
    spend="0.042 USD",
    phase_left_ns=12 * S,
    stage_number=2,
    stages=9,
    phase_number=3,
    phases=4,
    events=((62 * S, "drill cut: done"), (71_200_000_000, "shared: first reset")),
    lanes=(
        LaneProgress("shared", 7000, {"reset": 2, "rate_limited": 12}, 9440, 212.0, 3870.2, 4020.0),
        LaneProgress("dedicated", 6960, {}, None, 208.0, 402.0, 455.0),
    ),
)


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "names",
    [
        ["standard", "pro"],
        ["standard/noisy-neighbour", "pro/noisy-neighbour"],
        ["漢字" * 30, "\x1b[2J[red]"],
    ],
)
def test_the_final_screen_fits_its_width(make_run: MakeRun, names: list[str], width: int) -> None:
    """No line is wider than asked, whatever the names; every verdict stands there whole."""
    made = make_run(names, rows=20)
    made.say(reasons=["w" * 300, "many words " * 30])
    plain = "\n".join(screen_lines(verdict_screen(made.summary, made.verdicts), width))
    assert max(cell_len(line) for line in plain.split("\n")) <= width
    assert [plain.count(word) for word in ("INCONCLUSIVE", "REPORTED", "  PASS")] == [1, 1, 2]
    assert "\x1b" not in plain


def test_the_final_screen_gives_reason_and_what_to_do_next(spoilt: Made) -> None:
    """Interval, counts that decided, harness, report path and repeat command, each on its line."""
    nodes = verdict_screen(
        spoilt.summary,
        spoilt.verdicts,
        report="results/x/report.html",
        repeat="tailproof run x --seed 1",
    )
    lines = screen_lines(nodes)
    fail = next(index for index, line in enumerate(lines) if line.endswith("FAIL"))
    assert "3,870 ms          ≤ 800 ms       12,000  FAIL" in lines[fail]
    assert lines[fail + 1].strip() == (
        "at least 3,610 ms (95 %); 611 of 12,000 slow or failed; 120 may be"
    )
    assert lines[-4:] == [
        "overall   FAIL",
        "harness   valid: late p99 0.06 ms, sent 100.0 % of schedule",
        "report    results/x/report.html",
        "again     tailproof run x --seed 1",
    ]


def test_colour_carries_the_verdict_and_nothing_else(spoilt: Made) -> None:
    """Every coloured stretch of the screen is a verdict word in its own colour."""
    text = screen(verdict_screen(spoilt.summary, spoilt.verdicts))
    coloured = {
        text.plain[span.start : span.end].strip(): span.style
        for span in text.spans
        if str(span.style) not in ("bold", "dim")
    }
    assert coloured == {word: STYLES[word] for word in ("PASS", "FAIL", "INCONCLUSIVE")}


def test_an_invalid_run_says_so_first(spoilt: Made) -> None:
    """Before any number stands that the harness was the limit."""
    spoilt.summary = spoilt.summary.replace(overall="INVALID")
    assert screen_lines(verdict_screen(spoilt.summary, spoilt.verdicts))[0].startswith("INVALID: ")


def test_without_a_contract_the_numbers_themselves_are_shown(spoilt: Made) -> None:
    """A line a target with success, TTFT and e2e; dashes or silence for what was not measured."""
    spoilt.verdicts = spoilt.verdicts.replace(clauses=[])
    spoilt.measure("pro", response_ms=spoilt.summary.targets["pro"].response_ms.replace(ttft=None))
    lines = screen_lines(verdict_screen(spoilt.summary, spoilt.verdicts))
    e2e = spoilt.summary.targets["standard"].response_ms.e2e
    assert e2e is not None
    p99 = e2e.p99
    assert lines[0].startswith(" standard  ok 98.5 % of 1,200")
    assert f"e2e p50 212 ms p99 {p99:,.0f} ms" in lines[0]
    assert "TTFT" not in lines[1]
    narrow = screen_lines(verdict_screen(spoilt.summary, spoilt.verdicts), 80)
    assert narrow[1] == f"           e2e p50 212 ms p99 {p99:,.0f} ms", (
        "what does not fit is not cut"
    )


def test_missed_expectations_are_listed(spoilt: Made) -> None:
    """How many known answers were met, and each that was not."""
    met = {
        "target": "standard",
        "clause": "e2e p99",
        "expected": "FAIL",
        "got": "FAIL",
        "met": True,
    }
    wordy = {
        **met,
        "target": "pro/noisy-neighbour",
        "clause": "against standard/noisy-neighbour in the burst of neighbours",
    }
    spoilt.verdicts = spoilt.verdicts.replace(
        expects=[
            met,
            {**met, "got": "PASS", "met": False},
            *[{**wordy, "got": "PASS", "met": False}] * 31,
        ]
    )
    lines = screen_lines(verdict_screen(spoilt.summary, spoilt.verdicts), 80)
    at = lines.index("expected  1 of 33 known answers met")
    assert lines[at + 1].strip() == "standard, e2e p99: expected FAIL, got PASS"
    assert max(map(cell_len, lines)) <= 80
    whole = " ".join(" ".join(lines).split())
    assert whole.count(f"{wordy['target']}, {wordy['clause']}: expected FAIL, got PASS") == 31, (
        "wrapped, never cut"
    )


def plain_output(steps: list[Progress], *, quiet: bool = False) -> list[str]:
    """What a log file receives."""
    out = io.StringIO()
    with Screen(Console(file=out, width=80), quiet=quiet) as screen:
        for step in steps:
            screen.update(step)
        screen.note("target \x1b[31mrefused [red]once")
    return out.getvalue().splitlines()


def test_where_there_is_no_terminal_a_line_comes_every_few_seconds() -> None:
    """Four updates a second for 12 s of one stage are three lines, and a new stage speaks
    at once.
    """
    steps = [replace(MIDWAY, elapsed_ns=quarter * S // 4) for quarter in range(48)]
    lines = plain_output([*steps, replace(MIDWAY, stage="next", elapsed_ns=0)])
    assert [line.split()[0] for line in lines] == [
        "at",
        "at",
        *["noisy-neighbour"] * 3,
        "next",
        "target",
    ]
    assert lines[:2] == ["at 62 s: drill cut: done", "at 72 s: shared: first reset"], (
        "each event once"
    )
    assert lines[-1] == "target \\x1b[31mrefused [red]once"
    assert lines[2] == (
        "noisy-neighbour (2/9) burst 0 %, 2 min 40 s left; 117 of 118/s; done 13,960, failed 14; "
        "shared p99 3,870 ms; late 0.06 ms"
    )
    assert max(map(len, lines)) <= 125


def test_quiet_is_silent() -> None:
    """Nothing at all is written when asked to be quiet."""
    assert plain_output([MIDWAY], quiet=True) == []


def test_the_live_screen_draws_in_a_terminal_without_a_thread() -> None:
    """Each update redraws at once in the caller's thread; a note stays above; the cursor is given
    back.
    """
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
    """Stage and phase with their time left, recent rates beside totals, a line a lane, its
    failures, the last events.
    """
    lines = live_text(MIDWAY, 80, 24).plain.split("\n")
    assert "noisy-neighbour (2 of 9)  " in lines[0]
    assert lines[0].endswith("74 %   41 s left")
    assert lines[0].count("█") == round(119 / 160 * 12)
    assert lines[1].strip() == "burst (3 of 4), 12 s left · in flight 31 · late p99 0.06 ms"
    assert [" ".join(line.split()) for line in lines[2:]] == [
        "last 5 s offered 118/s sent 117/s done 98.0/s",
        "so far offered 14,066 sent 14,066 done 13,960 spend 0.042 USD",
        "response done p50 p99 p99.9 ok",
        "shared 7,000 of 9,440 212 ms 3,870 ms 4,020 ms 99.8 %",
        "12 rate_limited, 2 reset",
        "dedicated 6,960 208 ms 402 ms 455 ms 100 %",
        "at 62 s: drill cut: done",
        "at 72 s: shared: first reset",
    ]


@pytest.mark.parametrize("height", [1, 4, 10, 24, 50])
@pytest.mark.parametrize("width", [20, 60, 100])
def test_the_live_screen_is_cut_to_the_window(width: int, height: int) -> None:
    """A small window cuts lines and never wraps or scrolls them; foreign text cannot steer it."""
    lanes = tuple(LaneProgress("\x1b[2J\u202e" * 20 + str(n), 9, {"reset": 1}) for n in range(40))
    hostile = replace(
        MIDWAY, stage="漢" * 60, phase="\n\n", lanes=lanes, events=((0, "\r\x1b[A" * 90),) * 4
    )
    text = live_text(hostile, width, height).plain
    assert max(cell_len(line) for line in text.split("\n")) <= width
    assert text.count("\n") + 1 <= max(height - 1, 1)
    assert not set(text) & set("\x1b\r\u202e")


def test_of_many_lanes_the_worst_are_shown_and_the_rest_counted() -> None:
    """By share of failures, then by p99; every lane where there is room, and then in the order of
    the plan.
    """
    lanes = tuple(
        LaneProgress(f"t{n}", 100, {"reset": 3} if n == 17 else {}, None, 5.0, float(n % 20))
        for n in range(30)
    )
    crowded = replace(MIDWAY, lanes=lanes, events=())
    lines = live_text(crowded, 80, 24).plain.split("\n")[5:]
    assert [line.split()[0] for line in lines[:4]] == ["t17", "3", "t19", "t18"]
    shown = [line for line in lines if line.split()[0].startswith("t")]
    assert lines[-1] == f"   and {30 - len(shown)} more"
    assert len(lines) + 5 + 3 == 24
    whole = live_text(crowded, 80, 60).plain.split("\n")[5:]
    assert [line.split()[0] for line in whole if "reset" not in line] == [
        f"t{n}" for n in range(30)
    ]


def test_a_run_that_has_hardly_begun_or_is_over_can_be_shown() -> None:
    """Before the first answer dashes; after the last arrival what is awaited; without a planned end
    the requests that are left.
    """
    nothing = Progress("a", "", 0, 10 * S, 0, 0, 0, 0, lanes=(LaneProgress("x", planned=5),))
    first, *_, lane = live_text(nothing, 100, 24).plain.split("\n")
    assert first.endswith("0 %   10 s left")
    assert lane.split() == ["x", "0", "of", "5", "–", "–", "–", "–"]
    over = replace(MIDWAY, elapsed_ns=170 * S)
    assert "burst 100 %, 106 answers to come; " in plain_line(over)
    counted = replace(nothing, total_ns=0, done=2)
    assert live_text(counted, 80, 24).plain.split("\n")[0].endswith("40 %   3 requests left")


def test_the_spread_of_repeated_runs(spoilt: Made) -> None:
    """Lowest, lower middle and highest p99 of four runs, and how far apart over the middle; what
    fewer than two runs have is left out.
    """
    response = spoilt.summary.targets["pro"].response_ms
    assert response.e2e is not None
    summaries = []
    for p99 in (400.0, 100.0, 200.0, 300.0):
        spoilt.measure(
            "pro",
            response_ms=response.replace(ttft=None, e2e=response.e2e.replace(p50=212.0, p99=p99)),
        )
        summaries.append(spoilt.summary)
    lines = screen_lines([spread_table(summaries)], 80)
    assert lines[0] == "run-to-run spread over 4 runs (response, ms)"
    assert lines[1].split() == ["target", "latency", "min", "median", "max", "spread"]
    assert [line.split() for line in lines if "pro " in line] == [
        ["pro", "e2e", "p50", *["212"] * 3, "0", "%"],
        ["pro", "e2e", "p99", "100", "200", "400", "150", "%"],
    ]


@pytest.mark.parametrize("width", [80, 100])
def test_a_calibration_fits_its_screen(width: int) -> None:
    """Signed errors in their columns, a mark where they are beyond the budget, the ceiling last."""
    step = CalibrationStep(
        rate_rps=12_800,
        sent_rps=12_799.6,
        ttft_error_ms=(0.01, 0.12, -1.25),
        e2e_error_ms=(0.02, 0.5, 12.3),
        row_error_p99_ms=1.2,
        lag_p99_ms=0.4,
        cpu_us_per_request=123.4,
    )
    record = Calibration(
        format=Calibration.FORMAT,
        measured_utc="2026-11-23T10:04:11Z",
        machine={},
        tokens=3,
        error_budget_ms=1.0,
        ceiling_rps=12_800,
        ceiling_events_per_s=38_400,
        steps=[step],
    )
    row = calibration_line(step, within_budget=False)
    screened = screen_lines(calibration_screen(record, "c.json"), width)
    lines = [*calibration_head(), row, *screened]
    assert max(map(cell_len, lines)) <= width
    cells = "12800/s 12800/s +0.01 +0.12 -1.25 +0.02 +0.50 +12.30 1.20 0.40 123 !"
    assert " ".join(row.split()) == cells
    assert "the ladder ended before the error did" in " ".join(screened)
    assert calibration_line(step, within_budget=True) == row.removesuffix(" !")
