"""Clauses about stretches of time: minutes and windows counted by hand, long enough or not by the
published days.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bench.judge.contract.verdict import judge_run
from bench.judge.stats.tail import outage_free_ns
from bench.plan.clause import Clause
from bench.record.samples import Outcome
from tests.support.rows_by_hand import (
    MS,
    VALID,
    Row,
    answered,
    contract_of,
    cut,
    failed,
    lane_of,
    run_of,
)

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"
MINUTE = 60_000
MONTH: dict[str, Any] = {"period": {"kind": "calendar_month", "time_zone": "UTC"}}


def down(minutes: int = 1, **more: Any) -> Clause:
    """99 % of the minutes without over 5 % errors in a run of `minutes`."""
    return Clause(
        metric="uptime",
        share="99%",
        method="downtime_minutes",
        error_rate="5%",
        minutes=minutes,
        **more,
    )


def windows(share: str = "99%", **more: Any) -> Clause:
    """The wording of the reserved tiers: a share of 5-minute windows whose p50 holds 50
    tokens/s.
    """
    return Clause(
        metric="output_tps",
        statistic="share_of_windows",
        share=share,
        window="5min",
        at_least="50/s",
        **more,
    )


def record(folder: Path, rows: list[Row], clause: Clause, minutes: float, **terms: Any) -> Row:
    """The clause's record of a run of so many minutes."""
    span = {"phase": "calm", "start_ns": 0, "end_ns": int(minutes * MINUTE) * MS, "warmup": False}
    lane = lane_of(contract_of(clause, **terms), phase_spans=[span], end_ns=span["end_ns"])
    return dict(judge_run(run_of(folder, rows, lane), VALID).to_json()["clauses"][0])


def each_minute(minutes: int, bad: set[int] = frozenset(), *, a_minute: int = 20) -> list[Row]:  # type: ignore[assignment]
    """`a_minute` requests in every minute, all of them failed in the bad ones."""
    return [
        failed(Outcome.http_5xx, due=at) if minute in bad else answered(100, due=at)
        for minute in range(minutes)
        for at in (minute * MINUTE + number * MINUTE // a_minute for number in range(a_minute))
    ]


def test_all_measured_phases_are_watched(tmp_path: Path) -> None:
    """A minute of warm-up, then two phases of two minutes: four minutes count, of which the first
    was down and the warm-up none.
    """
    spans = [
        {
            "phase": name,
            "start_ns": begin * MINUTE * MS,
            "end_ns": end * MINUTE * MS,
            "warmup": name == "warmup",
        }
        for name, begin, end in (("warmup", 0, 1), ("calm", 1, 3), ("burst", 3, 5))
    ]
    rows = [row | {"warmup": row["due"] < MINUTE} for row in each_minute(5, {0, 1})]
    lane = lane_of(contract_of(down()), phase_spans=spans, end_ns=5 * MINUTE * MS)
    found = judge_run(run_of(tmp_path / "r", rows, lane), VALID).to_json()["clauses"][0]
    assert (found["n"], found["k"], found["measured"]) == (4, 1, 0.75)
    assert found["worst_block"]["start_s"] == 60


def test_down_minutes_count_in_runs_only(tmp_path: Path) -> None:
    """Of 60 minutes 3 single ones and 5 in a row were down: 8 of 60 by single minutes, 5 by runs of
    five.
    """
    rows = each_minute(60, {3, 20, 30, 40, 41, 42, 43, 44})
    single, runs = (
        record(tmp_path / "a", rows, down(), 60),
        record(tmp_path / "b", rows, down(5), 60),
    )
    assert (single["n"], single["k"], single["measured"]) == (60, 8, float(Fraction(52, 60)))
    assert (runs["n"], runs["k"], runs["measured"]) == (60, 5, float(Fraction(55, 60)))
    assert single["unit"] == "share"
    assert (single["verdict"], single["p_fail"] < 0.05, runs["verdict"], runs["p_fail"]) == (
        "FAIL",
        True,
        "INCONCLUSIVE",
        1,
    )


def test_a_minute_with_one_error_in_twenty_is_up(tmp_path: Path) -> None:
    """1 of 20 is 5 %, and 5 % are not over 5 %; 2 of 20 are."""
    rows = each_minute(3)
    rows[0] = failed(Outcome.http_5xx, due=0)
    rows[25], rows[26] = (failed(Outcome.http_5xx, due=MINUTE + 5 * number) for number in (1, 2))
    assert record(tmp_path / "r", rows, down(), 3)["k"] == 1


def test_a_clean_hour_does_not_prove_a_month(tmp_path: Path) -> None:
    """No outage in 8 hours at 99 %: with outages of 1 minute enough, with outages of 5 it takes
    1.04 days, as published.
    """
    rows = each_minute(480, a_minute=1)
    short = record(tmp_path / "short", rows, down(assumed_outage="1min"), 480)
    assert (short["verdict"], short["k"], short["n"]) == ("PASS", 0, 480)
    long = record(tmp_path / "long", rows, down(), 480)
    assert long["verdict"] == "INCONCLUSIVE"
    assert "1.0 days" in long["reason"]
    assert long["needed_n"] == math.ceil(5 * math.log(20) / 0.01)


def test_the_days_needed_are_those_of_the_reference() -> None:
    """Time without an outage for each target and outage length of the vector, rounded up to whole
    ns.
    """
    if not REFERENCE.is_file():
        pytest.skip("the reference figures are not beside this checkout")
    vector = json.loads(REFERENCE.read_text())["time_uptime_min_duration"]["rows"]
    assert len(vector) == 20
    for row in vector:
        p0 = 1 - Fraction(row["target"]) / 100
        minutes = outage_free_ns(row["mean_outage_min"] * 60 * 10**9, p0, 0.05) / (60 * 10**9)
        assert minutes == pytest.approx(row["minutes"], rel=1e-6)


def test_more_downtime_than_the_period_may_have_is_a_breach_at_once(tmp_path: Path) -> None:
    """8 hours down are more than 1 % of a month of 720 hours; without a period the same run is too
    short a sample of one spell.
    """
    rows = each_minute(500, set(range(20, 470)), a_minute=1)
    with_period = record(tmp_path / "a", rows, down(), 500, **MONTH)
    assert with_period["verdict"] == "FAIL"
    assert "7 h 30 min down" in with_period["reason"]
    assert (
        record(tmp_path / "b", each_minute(60, {7}, a_minute=1), down(), 60, **MONTH)["verdict"]
        != "FAIL"
    )


def test_half_of_each_window_may_be_slow(tmp_path: Path) -> None:
    """p50 a window: 4 of 10 slow rows leave a window good, 6 make it bad; the share of requests is
    printed beside it.
    """
    rows = [
        answered(
            1000, due=window * 5 * MINUTE + 1000 * number, tokens=100 if number >= slow else 10
        )
        for window, slow in enumerate([4, 6, 0, 10])
        for number in range(10)
    ]
    found = record(tmp_path / "r", rows, windows(), 20)
    assert (found["n"], found["k"], found["measured"]) == (4, 2, 0.5)
    assert found["share_of_requests"] == 0.5
    assert found["verdict"] == "FAIL"


def test_windows_with_too_few_requests_say_nothing(tmp_path: Path) -> None:
    """min_requests = 5 leaves one of two windows, whose rows are all slow."""
    rows = [answered(1000, due=1000 * number, tokens=1) for number in range(10)]
    rows.append(answered(1000, due=5 * MINUTE + 1, tokens=100))
    found = record(tmp_path / "r", rows, windows(min_requests=5), 10)
    assert (found["n"], found["k"]) == (1, 1)


def test_windows_by_their_mean(tmp_path: Path) -> None:
    """Means of 91, 55, 46 and 100 tokens/s a window: one of four misses 50; a cut row leaves its
    window open.
    """
    rows = [
        answered(
            1000, due=window * 5 * MINUTE + 1000 * number, tokens=100 if number >= slow else 10
        )
        for window, slow in enumerate([1, 5, 6, 0])
        for number in range(10)
    ]
    found = record(tmp_path / "r", rows, windows(of_window="mean"), 20)
    assert (found["n"], found["k"], found["unknown"], found["measured"]) == (4, 1, 0, 0.75)
    found = record(tmp_path / "s", [*rows, cut(5, due=19 * MINUTE)], windows(of_window="mean"), 20)
    assert (found["n"], found["k"], found["unknown"]) == (4, 1, 1)
    slow = [answered(200, due=0), answered(1000, due=MINUTE), answered(100, due=MINUTE + 1)]
    clause = Clause(
        metric="e2e",
        statistic="share_of_windows",
        share="99%",
        window="1min",
        of_window="mean",
        limit="500ms",
    )
    assert record(tmp_path / "t", slow, clause, 2)["k"] == 1


def test_minutes_of_other_phases_are_not_up(tmp_path: Path) -> None:
    """A burst of 10 minutes of which 2 were down is 80 %, however long the calm around it; empty
    minutes left out likewise.
    """
    rows = [
        row | {"phase": 2 if row["due"] >= 50 * MINUTE else 1} for row in each_minute(60, {50, 51})
    ]
    found = record(tmp_path / "r", rows, down(phase="burst"), 60)
    assert (found["n"], found["k"], found["measured"]) == (10, 2, 0.8)
    sparse = [row for row in rows if row["due"] >= 50 * MINUTE]
    assert record(tmp_path / "s", sparse, down(empty="excluded"), 60)["n"] == 10
    assert record(tmp_path / "t", sparse, down(), 60)["n"] == 60


def test_the_mean_of_intervals_weighs_intervals_not_requests(tmp_path: Path) -> None:
    """One 5-minute interval loses half of 2 requests, one none of 98, one is empty: (50 + 100 +
    100) / 3 %.
    """
    rows = [answered(10, due=0), failed(Outcome.http_5xx, due=10)]
    rows += [answered(10, due=5 * MINUTE + number) for number in range(98)]
    clause = Clause(metric="uptime", share="99%", method="mean_of_intervals", window="5min")
    assert record(tmp_path / "r", rows, clause, 15)["measured"] == pytest.approx(2.5 / 3)
    some = clause.model_copy(update={"empty": "excluded"})
    assert record(tmp_path / "s", rows, some, 15)["measured"] == pytest.approx(0.75)


def test_a_mean_of_intervals_is_told_by_what_they_lose(tmp_path: Path) -> None:
    """Ten intervals that each lose 1 of 20 requests: 95 % on the mean, so the ladder projects 10 %
    and not its last step.
    """
    rows = [
        failed(Outcome.http_5xx, due=interval * 5 * MINUTE)
        if number == 0
        else answered(5, due=interval * 5 * MINUTE + number)
        for interval in range(10)
        for number in range(20)
    ]
    ladder = [{"below": "99%", "credit": "10%"}, {"below": "95%", "credit": "100%"}]
    clause = Clause(
        metric="uptime", share="99%", method="mean_of_intervals", window="5min", credit=ladder
    )
    found = record(tmp_path / "r", rows, clause, 50, credits={"base": "the bill"})
    assert (found["n"], found["k"], found["measured"]) == (10, 10, 0.95)
    assert found["projected_credit"]["share"] == 0.1
    assert "on the mean 5 % of an interval is lost" in found["reason"]


def intervals(lost: list[int], *, unknown: bool = False) -> list[Row]:
    """One-minute intervals of 20 requests each, of which so many failed; or were all cut off."""
    rows = []
    for minute, failures in enumerate(lost):
        for number in range(20):
            due = minute * MINUTE + number * 1000
            rows.append(
                cut(5, due=due)
                if unknown
                else failed(Outcome.http_5xx, due=due)
                if number < failures
                else answered(5, due=due)
            )
    return rows


def test_the_mean_of_intervals_decides_by_what_is_lost(tmp_path: Path) -> None:
    """Of 400 intervals every fifth loses 1 of 20: a fifth lost something, but 1 % of the whole, by
    which 5 % is kept and 0.5 % is broken only where whole intervals go as well.
    """
    clause = Clause(metric="uptime", share="95%", method="mean_of_intervals", window="1min")
    kept = record(tmp_path / "a", intervals([1, 0, 0, 0, 0] * 80), clause, 400)
    assert (kept["verdict"], kept["k"], kept["measured"], kept["p_fail"]) == ("PASS", 80, 0.99, 1)
    assert "on the mean 1 % of an interval is lost" in kept["reason"]
    broken = record(tmp_path / "b", intervals([20, 0] * 200), clause, 400)
    assert (broken["verdict"], broken["measured"], broken["p_fail"] < 0.05) == ("FAIL", 0.5, True)
    between = record(
        tmp_path / "c", intervals([1, 2, 0, 0] * 100), clause, 400
    )  # half of them lost something, 3.75 % of the whole
    assert (between["verdict"], between["k"], between["measured"], between["p_fail"]) == (
        "INCONCLUSIVE",
        200,
        0.9625,
        1,
    )
    nothing = record(tmp_path / "d", intervals([0] * 30, unknown=True), clause, 30)
    assert (nothing["verdict"], nothing["unknown"]) == ("INCONCLUSIVE", 30)


def test_a_run_that_was_down_throughout_uses_up_the_period(tmp_path: Path) -> None:
    """8 hours of nothing but failures are more than 1 % of any month; 7 h 25 min are not more than
    that of 31 days.
    """
    assert record(
        tmp_path / "a", each_minute(480, set(range(480)), a_minute=1), down(), 480, **MONTH
    )["reason"].endswith("may have")
    short = record(
        tmp_path / "b", each_minute(445, set(range(445)), a_minute=1), down(), 445, **MONTH
    )
    assert "whole period" not in short["reason"]


def test_cut_rows_leave_a_minute_open(tmp_path: Path) -> None:
    """A minute whose only request was cut off is neither up nor down."""
    rows = [answered(10, due=0), cut(5, due=MINUTE)]
    found = record(tmp_path / "r", rows, down(), 2)
    assert (found["n"], found["k"], found["unknown"]) == (2, 0, 1)


def test_a_run_shorter_than_its_unit_says_so(tmp_path: Path) -> None:
    """30 seconds hold no whole minute: no rows, no verdict, and the reason."""
    found = record(tmp_path / "r", [answered(10)], down(), 0.5)
    assert (found["n"], found["verdict"], found["reason"]) == (
        0,
        "INCONCLUSIVE",
        "the run covered no whole minute",
    )
    assert (found["measured"], found["interval"], found["p_interval"]) == (
        None,
        [None, None],
        [0, 1],
    )


def test_the_mean_of_a_minute_half_watched_is_none(tmp_path: Path) -> None:
    """Broken off from 0 min 30 s to 1 min 30 s: neither of two one-minute windows was watched
    whole, whatever was answered in them.
    """
    clause = windows(of_window="mean").model_copy(update={"window": MINUTE * MS})
    span = {"phase": "calm", "start_ns": 0, "end_ns": 2 * MINUTE * MS, "warmup": False}
    lane = lane_of(
        contract_of(clause),
        phase_spans=[span],
        end_ns=span["end_ns"],
        gaps_ns=[(30_000 * MS, 90_000 * MS)],
    )
    rows = [answered(1000, due=10_000, tokens=100), answered(1000, due=100_000, tokens=100)]
    found = judge_run(run_of(tmp_path / "r", rows, lane), VALID).to_json()["clauses"][0]
    assert (found["n"], found["measured"], found["interval"], found["p_interval"]) == (
        0,
        None,
        [None, None],
        [0, 1],
    )


def test_minutes_that_nobody_watched_are_neither_up_nor_down(tmp_path: Path) -> None:
    """Broken off from 10 min 30 s to 20 min 10 s, and for good at 50 min: 39 of 60 minutes are
    left, those that lie whole on the record.
    """
    on_record = [*range(10), *range(21, 50)]
    rows = [row for row in each_minute(60, {3, 30}) if row["due"] // MINUTE in on_record]
    span = {"phase": "calm", "start_ns": 0, "end_ns": 60 * MINUTE * MS, "warmup": False}
    gaps = [(630_000 * MS, 1_210_000 * MS), (50 * MINUTE * MS, 60 * MINUTE * MS)]
    clause = down(empty="up")
    lane = lane_of(contract_of(clause), phase_spans=[span], end_ns=span["end_ns"])
    seen = judge_run(run_of(tmp_path / "r", rows, lane.replace(gaps_ns=gaps)), VALID).to_json()[
        "clauses"
    ][0]
    assert (seen["n"], seen["k"], seen["measured"]) == (39, 2, float(Fraction(37, 39)))
    blind = judge_run(run_of(tmp_path / "blind", rows, lane), VALID).to_json()["clauses"][0]
    assert blind["n"] == 60
