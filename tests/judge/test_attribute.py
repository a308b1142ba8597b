"""Planted causes are named in their order, what the rows do not bear out is not."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.judge.attribution.attribute import attribute_lane, attribute_run
from bench.judge.attribution.decompose import Answering
from bench.judge.attribution.tail import tail_of
from bench.record.records.manifest import LegRecord
from bench.record.samples import Flag, Outcome
from bench.show.attribution import attribution_line, attribution_result
from bench.show.document import Text
from tests.support.given import given
from tests.support.planted_tail import MS, ROWS, S, long_tail, quiet, slow_down, strings
from tests.support.rows_by_hand import answered, at_most, contract_of, cut, failed, lane_of, run_of


def test_planted_causes_are_named_in_their_order() -> None:
    """60, 36 and 24 of 120 slow rows: each level's share of the tail is the planted one less what
    its rate without it foretells.
    """
    columns, lane = long_tail()
    record = attribute_lane(columns, lane, strings, 800 * MS)
    assert (record.by, record.n, record.tail) == ("limit", ROWS, 120)
    assert [(cause.factor, cause.level) for cause in record.causes] == [
        ("context", ">32K"),
        ("cold start", "yes"),
        ("phase", "burst"),
    ]
    burst = ROWS // 10
    long, cold = 540, 220
    for cause, rows, slow in zip(record.causes, (long, cold, burst), (60, 36, 24), strict=True):
        without = (120 - slow) / (ROWS - rows)
        assert cause.paf == pytest.approx(1 - without / 0.01)
        assert cause.share_of_tail == slow / 120
        for low, high in (cause.paf_95, cause.bound):
            assert 0 < given(low) < cause.paf < given(high)
    for level in record.levels:
        low, high = level.bound
        named = level.effect in ("associated", "protective")
        assert low is None or named == (low > 0 or given(high) < 0)
    assert 0.9 < given(record.bound_confidence) < 1


def test_shares_that_add_up() -> None:
    """Causes that never meet keep what is theirs: Shapley shares sum to 1 with the baseline and
    have the causes' order.
    """
    columns, lane = long_tail()
    found = given(attribute_lane(columns, lane, strings, 800 * MS).shapley)
    shares = [one.share for one in found.factors]
    assert sum(shares) + found.baseline == pytest.approx(1)
    assert [one.factor for one in found.factors] == ["context", "cold start", "phase"]
    assert shares == pytest.approx([60 / 120, 36 / 120, 24 / 120], abs=0.01)
    assert found.borrowed_cells == 4  # the combinations of two or three causes


def test_levels_that_nothing_is_slow_for_are_not_named() -> None:
    """Regions scattered over all rows and a uniform model: no cause, and a factor without variation
    is no factor at all.
    """
    columns, lane = long_tail()
    levels = attribute_lane(columns, lane, strings, 800 * MS).levels
    assert {level.factor for level in levels} == {
        "context",
        "cold start",
        "phase",
        "served region",
        "time of run",
    }
    assert {level.effect for level in levels if level.factor == "served region"} == {"undecided"}


def test_the_limit_says_where_the_tail_begins_from_thirty_rows_on() -> None:
    """With 30 rows above the limit it is the limit, with 10 the run's nearest-rank p99, above which
    1 % lies.
    """
    columns, lane = quiet(1000)
    slow_down(columns, np.arange(0, 30), 900)
    slow_down(columns, np.arange(30, 40), 500)
    tail = tail_of(columns, lane, 800 * MS)
    assert (tail.by, tail.above_ns, tail.slow.sum()) == ("limit", 800 * MS, 30)
    slow_down(columns, np.arange(10, 30), 700)
    tail = tail_of(columns, lane, 800 * MS)
    assert (tail.by, tail.above_ns, tail.slow.sum()) == ("p99", 700 * MS, 10)


def test_metric_and_limit_come_from_the_contract() -> None:
    """The first judged latency clause on all requests decides, not one on a phase and not one that
    is only reported.
    """
    contract = contract_of(
        at_most(None, report_only=True),
        at_most(5, phase="calm"),
        at_most(300, metric="ttft"),
        at_most(900),
    )
    columns, lane = quiet(1000)
    slow_down(columns, np.arange(40), 400)
    tail = tail_of(columns, lane.replace(contract_written=lane_of(contract).contract_written))
    assert (tail.metric, tail.above_ns, tail.slow.sum()) == ("ttft", 300 * MS, 40)


def test_failures_belong_to_the_tail_and_rows_cut_off_to_neither(tmp_path: Path) -> None:
    """Of 100 answers, 40 failures, 5 rows cut off early, 7 late and 9 of the warm-up: 140 + 7 rows,
    47 in the tail.
    """
    rows = [answered(200, due=i) for i in range(100)] + [
        failed(Outcome.http_5xx, due=i) for i in range(40)
    ]
    rows += [cut(500, due=i) for i in range(5)] + [cut(2000, due=i) for i in range(7)]
    rows += [answered(5000, due=i, warmup=True) for i in range(9)]
    run = run_of(tmp_path / "r", rows, lane_of(contract_of(at_most(800))))
    record = attribute_run(run).targets["t"]
    assert (record.n, record.tail, record.set_apart) == (147, 47, 5)
    assert record.failed == {"http_5xx": 40, "censored": 7}


def test_where_the_p99_lies_among_failures_they_alone_are_the_tail() -> None:
    """20 of 1,000 fail and nothing else is slow: the tail is those 20, above the slowest answer."""
    columns, lane = quiet(1000)
    columns.samples["outcome"][::50] = Outcome.http_5xx
    tail = tail_of(columns, lane)
    assert (tail.slow.sum(), tail.above_ns) == (20, 200 * MS)
    assert tail.slow[::50].all()


def test_too_few_slow_rows_say_nothing() -> None:
    """Nine rows in the tail end in a reason; a level of nine in a larger tail is too few to be
    named.
    """
    columns, lane = quiet(900)
    slow_down(columns, np.arange(9), 3000)
    record = attribute_lane(columns, lane, strings)
    assert record.levels == []
    assert (
        record.reason
        == "only 9 of 900 requests are in the tail; it takes 10 to say what they have in common"
    )
    columns, lane = quiet()
    columns.schedule["bucket"][:9] = 3
    slow_down(columns, np.concatenate([np.arange(9), np.arange(1000, ROWS, 40)]), 3000)
    record = attribute_lane(columns, lane, strings, 800 * MS)
    assert [level.effect for level in record.levels if level.level == ">32K"] == ["too few"]


def test_a_single_burst_is_one_event() -> None:
    """60 slow rows of a burst's 600 beside 60 others: in one spell the interval reaches down to
    nothing, in 30 it does not.
    """
    intervals = []
    for burst in (np.arange(ROWS) // 600 == 7, np.arange(ROWS) % 400 < 20):
        columns, lane = quiet()
        columns.schedule["phase"][burst] = 1
        slow_down(columns, np.flatnonzero(burst)[::10], 3000)
        slow_down(columns, np.arange(5, ROWS, 200), 3000)
        levels = attribute_lane(columns, lane, strings, 800 * MS).levels
        intervals += [level.paf_95 for level in levels if level.level == "burst"]
    assert given(intervals[0][0]) <= 0 < given(intervals[1][0])


def test_a_cause_that_is_really_the_context_is_marked() -> None:
    """Regions send contexts of different size and context alone makes slow: within like contexts
    the odds are even.
    """
    columns, lane = quiet()
    number = np.arange(ROWS)
    region = number % 4 == 0
    long = np.where(region, number % 20 != 0, number % 10 == 1)
    columns.samples["served_region"] = region
    columns.schedule["bucket"][long] = 3
    for group in (region & long, ~region & long):
        slow_down(columns, np.flatnonzero(group)[::20], 3000)
    record = attribute_lane(columns, lane, strings, 800 * MS)
    us = next(level for level in record.levels if level.level == "us")
    assert given(us.odds_ratio_crude) > 5
    assert us.mh_odds_ratio == pytest.approx(1, abs=0.1)
    assert us.confounded
    assert ("served region", "us") in {(level.factor, level.level) for level in record.confounded}
    said = [
        node.text for node in attribution_result({"t": record}, "r").nodes if isinstance(node, Text)
    ]
    assert any(
        note.startswith("region us: ") and note.endswith("part of it goes with the context size.")
        for note in said
    )


def test_one_session_that_holds_half_of_the_rows_is_one_event() -> None:
    """Half of all rows are one session and nothing is named; a user of a closed loop is none."""
    columns, lane = long_tail()
    columns.schedule["session"] = np.maximum(np.arange(ROWS) - ROWS // 2, 0)
    record = attribute_lane(columns, lane, strings, 800 * MS)
    assert record.reason == (
        "the 12,000 requests are worth 4 sessions of equal size, and it takes 30: a session is one"
        " event"
    )
    assert record.levels == []
    assert attribute_lane(columns, lane.replace(closed_loop=True), strings, 800 * MS).levels


def test_what_a_failure_does_not_say_is_no_level() -> None:
    """Failures name no region: they take no part in that factor, and the regions stay undecided."""
    columns, lane = quiet()
    columns.samples["outcome"][::100] = Outcome.http_5xx
    columns.samples["served_region"][::100] = -1
    slow_down(columns, np.arange(50, ROWS, 150), 3000)
    levels = [
        level
        for level in attribute_lane(columns, lane, strings, 800 * MS).levels
        if level.factor == "served region"
    ]
    named = columns.samples["served_region"][columns.ok]
    assert {level.level: level.n for level in levels} == {
        "eu": (named == 0).sum(),
        "us": (named == 1).sum(),
    }


def test_a_time_of_the_run_is_said_apart() -> None:
    """Slow rows in the second of ten slices: no cause is named, but when it was."""
    columns, lane = quiet()
    slow_down(columns, np.arange(1200, 2400, 10), 3000)
    record = attribute_lane(columns, lane, strings, 800 * MS)
    assert record.causes == []
    assert given(record.when).slices == ["60 s to 2 min"]
    assert given(record.when).share_of_tail == 1


def test_new_connections_output_lengths_attempts_and_legs_are_factors() -> None:
    """Each alone makes every hundredth row slow in a run of its own, and is what is named."""
    rows = np.arange(0, ROWS, 20)
    for name, level in (
        ("connection", "new"),
        ("output tokens", "300"),
        ("attempts", "2"),
        ("route leg", "second"),
        ("tier", "pro"),
    ):
        columns, lane = quiet()
        before = None
        if name == "connection":
            columns.samples["flags"][rows] |= np.uint16(Flag.NEW_CONNECTION)
        elif name == "output tokens":
            columns.samples["output_tokens"][rows] = 300
        elif name == "attempts":
            columns.samples["attempts"][rows] = 2
        else:
            leg = np.zeros(ROWS, np.int64)
            leg[rows] = 1
            before = Answering(leg, np.zeros(ROWS, np.int64), leg > 0)
            tiers = ("standard", "pro") if name == "tier" else ("same", "same")
            legs = [
                LegRecord(name=name, tier=tier)
                for name, tier in zip(("first", "second"), tiers, strict=True)
            ]
            lane = lane.replace(legs=legs)
        slow_down(columns, rows[::5], 3000)
        record = attribute_lane(columns, lane, strings, 800 * MS, before)
        assert (name, level) in {(cause.factor, cause.level) for cause in record.causes}
        assert {cause.factor for cause in record.causes} <= {name, "route leg"}


def test_many_output_lengths_are_cut_into_three() -> None:
    """Lengths 1 to 1,000 are cut at their p50 and p90: 500, 400 and 100 of each thousand rows."""
    columns, lane = quiet()
    columns.samples["output_tokens"] = np.arange(ROWS) % 1000 + 1
    slow_down(columns, np.arange(0, ROWS, 100), 3000)
    levels = attribute_lane(columns, lane, strings, 800 * MS).levels
    counts = {level.level: level.n for level in levels if level.factor == "output tokens"}
    assert counts == {"≤500": ROWS // 2, "501–900": ROWS * 4 // 10, ">900": ROWS // 10}


@pytest.mark.parametrize(("shortest", "blamed"), [(1, False), (12, True)])
def test_a_failure_is_no_length_of_its_own(shortest: int, blamed: bool) -> None:
    """Failures of long plans are told by their length only where answers keep to the plan: else 24
    would be a length of failures alone.
    """
    columns, lane = quiet()
    failed = np.arange(ROWS) % 4 == 0
    columns.schedule["output_tokens"] = np.where(failed, 24, 12)
    columns.samples["output_tokens"] = np.where(
        failed, -1, shortest + np.arange(ROWS) % (13 - shortest)
    )
    columns.samples["outcome"][failed] = Outcome.http_5xx
    causes = attribute_lane(columns, lane, strings, 800 * MS).causes
    assert ("output tokens" in {cause.factor for cause in causes}) == blamed


def test_p99_with_and_without_a_level() -> None:
    """Levels of known latencies: the nearest ranks of the level's own rows and of all others, found
    by sorting.
    """
    columns, lane = quiet()
    columns.schedule["bucket"] = np.arange(ROWS) % 3
    for row in range(0, ROWS, 3):
        slow_down(columns, row, 200 + row % 1000)
    level = next(
        level for level in attribute_lane(columns, lane, strings).levels if level.level == "≤1K"
    )
    own = sorted(200 + row % 1000 for row in range(0, ROWS, 3))
    assert level.p99_ms == own[-(-99 * len(own) // 100) - 1]
    assert level.p99_without_ms == 200
    low, high = level.p99_95
    assert given(low) < given(level.p99_ms) <= given(high)


def test_the_record_is_json_without_nan(tmp_path: Path) -> None:
    """A run without any slow row, of one row, and of none that succeeded each give a record that
    JSON holds.
    """
    for number, rows in enumerate(
        ([answered(5)], [failed(Outcome.reset)] * 20, [answered(5)] * 500)
    ):
        record = attribute_run(run_of(tmp_path / str(number), rows, lane_of()))
        assert set(json.loads(json.dumps(record.to_json(), allow_nan=False))["targets"]) == {"t"}


def test_levels_are_listed_by_the_share_that_would_vanish() -> None:
    """Descending PAF, whatever the effect."""
    columns, lane = long_tail()
    pafs = [level.paf for level in attribute_lane(columns, lane, strings, 800 * MS).levels]
    assert all(first >= second for first, second in pairwise(pafs))
    assert lane.end_ns == 600 * S


def test_what_is_said_never_goes_beyond_association() -> None:
    """One line: the causes, or that none stands out and when it was, or why nothing was looked
    into.
    """
    columns, lane = long_tail()
    line = attribution_line("shop", attribute_lane(columns, lane, strings, 800 * MS))
    assert line.startswith("the slow 1 % of shop is associated with: context >32K 48 % (")
    columns, lane = quiet()
    slow_down(columns, np.arange(1200, 2400, 10), 3000)
    line = attribution_line("shop", attribute_lane(columns, lane, strings, 800 * MS))
    assert line.endswith(
        "nothing that was recorded stands out, 100 % of it fell into 60 s to 2 min"
    )
    columns, lane = quiet(100)
    assert "only 0 of 100 requests are in the tail" in attribution_line(
        "shop", attribute_lane(columns, lane, strings)
    )
