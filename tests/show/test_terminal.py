"""The final screen and the live one."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from bench.record.records.calibration import Calibration, CalibrationStep
from bench.record.records.verdicts import Expectation
from bench.show.calibration import calibration_result
from bench.show.last_screen import Ended, run_result, spread_table
from bench.show.lessons import Lesson
from bench.show.lessons_screen import lessons_result
from bench.show.live import LaneProgress, Progress, Rates, Screen, live_text, plain_line
from bench.show.render_terminal import result_screen
from bench.show.result import MOST_LINES
from bench.show.terminal_cells import STYLES
from tests.support.made_runs import Made, MakeRun, verdicts_of
from tests.support.screens import result_lines, screen_lines

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


def last(made: Made, width: int = 100, **more: Any) -> list[str]:
    """The last screen of a made run."""
    ended = Ended(summary=made.summary, verdicts=made.verdicts, **more)
    return result_lines(run_result(ended), width)


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "names",
    [
        ["standard", "pro"],
        ["standard/noisy-neighbour", "pro/noisy-neighbour"],
        ["漢字" * 30, "\x1b[2J[red]"],
        [f"{'t' * 200}{number}" for number in range(9)],
    ],
)
def test_the_final_screen_fits_its_window(make_run: MakeRun, names: list[str], width: int) -> None:
    """No line is wider than asked and none scrolls away, whatever the names; the verdict stands
    first and the commands last.
    """
    made = make_run(names, rows=20)
    made.verdicts = verdicts_of(names)
    made.say(reasons=["w" * 300, "many words " * 30])
    lines = last(made, width, further=["a finding " * 20] * 40, report="results/x/report.html")
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= MOST_LINES
    assert lines[0].startswith("FAIL")
    assert "report    results/x/report.html" in lines[-2:]
    assert sum(line.startswith("▲ FAIL") for line in lines) == 1
    assert sum("more lines: add --full" in line for line in lines) == 1
    assert "\x1b" not in "".join(lines)


def test_the_final_screen_gives_cause_and_what_to_do_next(spoilt: Made) -> None:
    """Verdict and cause in two lines, a clause a line with its bound, then report and command."""
    lines = last(
        spoilt,
        report="results/x/report.html",
        repeat="tailproof run x --seed 1",
        folder="results/x",
    )
    assert lines[0] == "FAIL  standard breaks end-to-end p99: 3,870 ms against 800 ms"
    assert lines[1] == "611 of 12,000 slow or failed; 120 may be. pro keeps both clauses."
    (row,) = [line for line in lines if line.startswith("▲ FAIL")]
    values = "End-to-end p99 ≤ 800 ms 3,870 ms at least 3,610 ms 611 of 12,000"
    assert " ".join(row.split()).startswith(f"▲ FAIL {values}")
    assert lines[-3:] == [
        "harness   valid: late p99 0.06 ms, sent 100.0 % of schedule",
        "report    results/x/report.html",
        lines[-1],
    ]
    assert lines[-1].startswith(("next      ", "why       "))


def test_colour_carries_the_verdict_and_nothing_else(spoilt: Made) -> None:
    """Every coloured stretch of the screen is a verdict, with its shape where it heads a line."""
    text = result_screen(run_result(Ended(summary=spoilt.summary, verdicts=spoilt.verdicts)))
    coloured = {
        text.plain[span.start : span.end].strip(): span.style
        for span in text.spans
        if str(span.style) not in ("bold", "dim")
    }
    marks = {"PASS": "●", "FAIL": "▲", "INCONCLUSIVE": "◇"}
    told = {f"{mark} {word}": STYLES[word] for word, mark in marks.items()}
    assert coloured == told | {"FAIL": STYLES["FAIL"]}


def test_an_invalid_run_says_why_once_and_names_no_target(spoilt: Made) -> None:
    """Nothing of a target, so that nothing can be quoted; what to try instead."""
    spoilt.summary = spoilt.summary.replace(overall="INVALID")
    spoilt.say(reasons=["the harness itself sent late: p99 94 ms"])
    spoilt.verdicts = spoilt.verdicts.replace(clauses=[])
    assert last(spoilt, report="r/report.html") == [
        "INVALID  the harness itself was the limit, so nothing is judged",
        "The harness itself sent late: p99 94 ms.",
        "",
        "try       a lower --rate, more --workers, or a quieter machine",
        "ceiling   tailproof calibrate",
        "report    r/report.html",
    ]


def test_what_an_invalid_stage_did_not_spoil_is_shown(spoilt: Made) -> None:
    """Clauses that were decided stand; those that the harness left open do not."""
    spoilt.summary = spoilt.summary.replace(overall="INVALID")
    clauses = [
        each.replace(verdict="INCONCLUSIVE", open_cause="harness")
        if each.target == "standard"
        else each
        for each in spoilt.verdicts.clauses
    ]
    spoilt.verdicts = spoilt.verdicts.replace(clauses=clauses)
    lines = last(spoilt)
    assert "so what it spoilt is not judged" in lines[0]
    assert sum(line.startswith("● PASS") for line in lines) == 2
    assert not any("standard" in line for line in lines)


def test_without_a_contract_the_numbers_themselves_are_shown(spoilt: Made) -> None:
    """A line a target with success, TTFT and e2e; dashes or silence for what was not measured."""
    spoilt.verdicts = spoilt.verdicts.replace(clauses=[], overall="NONE")
    spoilt.measure("pro", response_ms=spoilt.summary.targets["pro"].response_ms.replace(ttft=None))
    lines = last(spoilt)
    e2e = spoilt.summary.targets["standard"].response_ms.e2e
    assert e2e is not None
    p99 = e2e.p99
    assert lines[0].startswith("NOT JUDGED  no contract")
    assert lines[2].startswith(" standard  ok 98.5 % of 1,200")
    assert f"e2e p50 212 ms p99 {p99:,.0f} ms" in lines[2]
    assert "TTFT" not in lines[3]
    narrow = last(spoilt, 80)
    assert narrow[3] == f"           e2e p50 212 ms p99 {p99:,.0f} ms", (
        "what does not fit is not cut"
    )


def test_missed_expectations_are_listed(spoilt: Made) -> None:
    """Each expected answer that did not come; of those that came the count alone."""
    met = {
        "target": "standard",
        "clause": "e2e p99",
        "expected": "FAIL",
        "got": "FAIL",
        "met": True,
    }
    spoilt.verdicts = spoilt.verdicts.replace(expects=[met])
    assert last(spoilt)[0].startswith("AS EXPECTED  the one expected answer came")
    missed = {**met, "clause": "in the burst of neighbours " * 4, "got": "PASS", "met": False}
    spoilt.verdicts = spoilt.verdicts.replace(expects=[met, missed, missed])
    whole = " ".join(" ".join(last(spoilt, 80)).split())
    assert whole.startswith("NOT AS EXPECTED 1 of 3 expected answers came")
    assert "expected FAIL, got PASS" in whole


LESSONS = [
    Lesson(
        number,
        f"stage-{number}",
        "A premium tier that is no better" if number > 1 else "The mean hides the tail",
        "planted",
        "mean 340 ms, p99 6,007 ms against ≤ 800 ms: FAIL",
        [Expectation(target="t", clause="p99", expected="FAIL", got=got, met=got == "FAIL")],
    )
    for number, got in enumerate(("FAIL", "FAIL", "PASS"), 1)
]


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("times", [1, 3])
def test_a_rehearsal_ends_as_the_story_of_its_lessons(spoilt: Made, width: int, times: int) -> None:
    """A line a lesson behind its shape; one that was not found says what came instead, and the
    first line counts them.
    """
    ended = Ended(summary=spoilt.summary, verdicts=spoilt.verdicts, report="r/report.html")
    found = [replace(LESSONS[0], number=1 + place) for place in range(3 * times)]
    lines = result_lines(lessons_result(ended, found, spoilt.run.manifest, width), width)
    assert lines[0].startswith(f"AS EXPECTED  all {3 * times} expected answers of {3 * times} l")
    assert sum(line.startswith("● ") for line in lines) == 3 * times
    assert sum("p99 6,007 ms against ≤ 800 ms: FAIL" in line for line in lines) == 3 * times
    assert max(len(line) for line in lines if not line.startswith("next ")) <= width
    assert len(lines) <= MOST_LINES
    assert [line.split()[0] for line in lines[-2:]] == ["report", "next"]
    lines = result_lines(lessons_result(ended, LESSONS, spoilt.run.manifest, width), width)
    assert lines[0].startswith("NOT AS EXPECTED  2 of 3 expected answers")
    (missed,) = [line for line in lines if line.startswith("▲ ")]
    assert missed.split("  ")[-1].startswith("expected FAIL, got PASS")


@pytest.mark.parametrize("width", [80, 100])
def test_what_a_busy_machine_spoilt_is_no_lesson_missed(spoilt: Made, width: int) -> None:
    """The lesson of a stage that is not judged says why; the others are told and counted alone."""
    health = spoilt.summary.health.replace(
        state="invalid",
        reasons=["in stage stage-3 the harness itself sent late: p99 141 ms"],
        unfit={"stage-3": "the harness itself sent late: p99 141 ms, worst 249 ms (1 % is 8 ms)"},
    )
    summary = spoilt.summary.replace(health=health, overall="INVALID")
    ended = Ended(summary=summary, verdicts=spoilt.verdicts, repeat="tailproof run again")
    manifest = spoilt.run.manifest
    lines = result_lines(lessons_result(ended, LESSONS, manifest, width), width)
    assert lines[0].startswith("INVALID  the machine was too busy for 1 of 3 lessons; the others c")
    assert [line[0] for line in lines if line.startswith(("●", "▲", "⊠"))] == ["●", "●", "⊠"]
    assert sum("not told: the harness itself sent" in line for line in lines) == 1
    assert lines[-1] == "again     tailproof run again"
    missed = [*LESSONS[:1], replace(LESSONS[2], stage="stage-2"), LESSONS[2]]
    told = result_lines(lessons_result(ended, missed, manifest, width), width)[0]
    assert told.split(";")[1].startswith(" of the others 1 of 2 came")


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
        "1:02",
        "1:11",
        *["noisy-neighbour"] * 3,
        "next",
        "target",
    ]
    assert lines[:2] == [" 1:02  drill cut: done", " 1:11  shared: first reset"], "each event once"
    assert lines[-1] == "target \\x1b[31mrefused [red]once"
    assert lines[2] == (
        "noisy-neighbour 0 %, 2 min 40 s left: 13,960 done, 14 failed, sent 117 of 118/s, sent late"
        " p99 0.06 ms"
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
        assert "3,870" in out.getvalue()
        screen.note("first 429 from shared")
    assert "first 429 from shared" in out.getvalue()
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")


def test_the_live_screen_says_where_the_run_stands() -> None:
    """Stage with its time left, rates, a line a target with its share of the budget, the last
    events; neither verdict nor colour.
    """
    told = replace(
        MIDWAY,
        suite="field-guide",
        lanes=tuple(replace(lane, budgets=4.5 / (1 + n)) for n, lane in enumerate(MIDWAY.lanes)),
    )
    lines = live_text(told, 100, 24).plain.split("\n")
    assert lines[0].startswith("field-guide  stage 2 of 9, noisy-neighbour  ")
    assert lines[0].endswith("74 %   41 s left")
    assert lines[0].count("█") == round(119 / 160 * 32)
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "sent 117 of 118 requests/s in flight 31 sent late p99 0.06 ms spent 0.042 USD",
        "",
        "so far, ms done ok p50 p99 p99.9 slow or failed, × the budget",
        f"shared 7,000 99.8 % 212 3,870 4,020 4.5 × {'█' * 18}",
        f"dedicated 6,960 100 % 208 402 455 2.2 × {'█' * 9}",
        "",
        "1:11 shared: first reset",
        "1:02 drill cut: done",
    ]
    narrow = live_text(told, 80, 24).plain.split("\n")
    assert max(map(cell_len, narrow)) <= 80
    assert " ".join(narrow[3].split()) == "so far, ms done ok p50 p99 bad, × the budget"
    assert not any(word in "".join(lines) for word in ("PASS", "FAIL", "INCONCLUSIVE"))


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
    lines = live_text(crowded, 80, 24).plain.split("\n")[4:]
    assert [line.split()[0] for line in lines[:3]] == ["t17", "t19", "t18"] or lines[0].startswith(
        "t17"
    )
    shown = [line for line in lines if line.startswith("t")]
    assert lines[-1] == f"and {30 - len(shown)} more, none worse"
    assert len(lines) + 4 + 3 == 24
    whole = live_text(crowded, 80, 60).plain.split("\n")[4:]
    assert [line.split()[0] for line in whole] == [f"t{n}" for n in range(30)]


def test_a_run_that_has_hardly_begun_or_is_over_can_be_shown() -> None:
    """Before the first answer dashes; after the last arrival what is awaited; without a planned end
    the requests that are left.
    """
    nothing = Progress("a", "", 0, 10 * S, 0, 0, 0, 0, lanes=(LaneProgress("x", planned=5),))
    first, *_, lane = live_text(nothing, 100, 24).plain.split("\n")
    assert first.endswith("0 %   10 s left")
    assert lane.split() == ["x", "0", "–", "–", "–", "–"]
    over = replace(MIDWAY, elapsed_ns=170 * S)
    assert "noisy-neighbour 100 %, 106 answers to come: " in plain_line(over)
    counted = replace(nothing, total_ns=0, done=2)
    assert "40 %   3 reques" in live_text(counted, 100, 24).plain.split("\n")[0]


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
    lines = result_lines(calibration_result(record, "c.json"), width)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= MOST_LINES
    assert lines[0].startswith("This machine measures 12,800 requests/s")
    assert "The ladder ended before the error did" in lines[2] + lines[1]
    (row,) = [line for line in lines if line.strip().startswith("12,800/s")]
    cells = "12,800/s 12,800/s +0.01 +0.12 +0.02 +0.50 0.40 123 within"
    assert " ".join(row.split()) == cells
    assert lines[-1] == "kept in   c.json"
    far = record.replace(steps=[step.replace(ttft_error_ms=(0.01, 1.12, 2.0))])
    assert "BEYOND" in "".join(result_lines(calibration_result(far, ""), width))
