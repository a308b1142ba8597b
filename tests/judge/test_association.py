"""Two-by-two tables, strata and false-discovery control against vectors, scipy and sums by hand."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.judge.attribution.association import (
    LevelTest,
    Table2,
    adjusted_odds_ratio,
    associate,
    level_of_each,
    paf_at,
    two_by_two,
)
from bench.judge.stats.resample import ratio_limits, time_blocks
from tests.support.given import given

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference tables lie beside the checkout")
def test_the_tables_of_the_reference() -> None:
    """Rates, risk ratio, lift, PAF and Woolf's interval equal the stored vectors, a zero cell
    included.
    """
    for vector in json.loads(REFERENCE.read_text())["attribution"]["two_by_two"]:
        found = two_by_two(**vector["table"], alpha_each_side=0.025)
        for ours, theirs in (
            ("rate", "rate_exposed"),
            ("rate_without", "rate_unexposed"),
            ("risk_ratio", "risk_ratio"),
            ("lift", "lift"),
            ("share_of_tail", "share_of_tail"),
            ("odds_ratio", "odds_ratio_haldane"),
            ("paf", "population_attributable_fraction"),
        ):
            assert getattr(found, ours) == pytest.approx(vector[theirs], rel=1e-6)
        assert found.odds_ratio_95 == pytest.approx(vector["or_95"], rel=1e-6)


def test_a_table_of_small_numbers() -> None:
    """3 of 10 exposed and 1 of 20 others: worked out by hand."""
    found = two_by_two(3, 1, 7, 19, 0.025)
    assert found.risk_ratio == pytest.approx(6)
    assert found.odds_ratio_crude == pytest.approx(3 * 19 / 7)
    assert found.paf == pytest.approx(float((Fraction(4, 30) - Fraction(1, 20)) / Fraction(4, 30)))
    assert two_by_two(3, 0, 7, 20, 0.025).risk_ratio is None
    with pytest.raises(ValueError, match="compared with the rest"):
        two_by_two(3, 0, 7, 0, 0.025)


def test_strata_against_a_sum_by_hand() -> None:
    """Mantel-Haenszel over 5 strata of random rows equals the sum of a·d/n over that of b·c/n, in
    whole numbers.
    """
    draw = np.random.default_rng(3)
    codes, tail, stratum = (
        draw.integers(0, 3, 4000),
        draw.random(4000) < 0.1,
        draw.integers(0, 5, 4000),
    )
    found = adjusted_odds_ratio(codes, tail, stratum, 3)
    for level in range(3):
        above = below = Fraction(0)
        for part in range(5):
            table = [[0, 0], [0, 0]]
            for row in np.flatnonzero(stratum == part):
                table[int(codes[row] == level)][int(tail[row])] += 1
            n = sum(map(sum, table))
            above += Fraction(table[1][1] * table[0][0], n)
            below += Fraction(table[1][0] * table[0][1], n)
        assert found[level] == pytest.approx(float(above / below))


def test_false_discoveries_against_scipy() -> None:
    """A hypothesis is rejected iff scipy's adjusted p-value is at most the rate."""
    draw = np.random.default_rng(4)
    for _ in range(50):
        p = np.concatenate([draw.random(20), draw.random(6) * 0.01])
        rejected = p <= level_of_each(list(p), 0.1)
        assert list(rejected) == list(stats.false_discovery_control(p) <= 0.1)
    assert level_of_each([], 0.1) == 0.1


def test_noise_is_seldom_a_discovery() -> None:
    """40 runs of 20 levels without any effect: with a rate of 10 % about one run in ten names
    one.
    """
    draw = np.random.default_rng(5)
    wrong = 0
    for _ in range(40):
        codes, tail = draw.integers(0, 20, 12_000), draw.random(12_000) < 0.03
        levels = associate([Table2.count(codes, tail, np.arange(12_000) // 400, 20, 30)], 0.025)
        p_values = [level[1].p_value for level in levels if level]
        wrong += min(p_values) <= level_of_each(p_values, 0.1)
    assert wrong <= stats.binom.ppf(0.99, 40, 0.1)


def walking(draw: np.random.Generator, seconds: int, every_s: float) -> np.ndarray:
    """A number a second that forgets where it was in `every_s`."""
    keep = np.exp(-1 / every_s)
    steps = draw.normal(0, np.sqrt(1 - keep**2), seconds)
    made = np.zeros(seconds)
    for second in range(1, seconds):
        made[second] = keep * made[second - 1] + steps[second]
    return made


def test_a_level_that_changes_with_time_beside_a_walking_load_is_seldom_named() -> None:
    """40 runs in which the chance to be slow walks and a level is on for a minute or two at a
    time.
    """
    draw = np.random.default_rng(7)
    wrong = 0
    at = np.arange(9_000) * 1_200 // 9_000
    for _ in range(40):
        tail = draw.random(9_000) < 0.012 * np.exp(0.8 * walking(draw, 1_200, 120.0))[at]
        on = np.repeat(draw.integers(0, 2, 100), draw.integers(30, 180, 100))[at]
        level = associate([Table2.count(on, tail, at // 40, 2, 30)], 0.025)[1]
        wrong += level is not None and level[1].p_value <= 0.05
    assert wrong <= stats.binom.ppf(0.99, 40, 0.1)


def test_sessions_are_one_event_each() -> None:
    """Sessions of 20 rows are slow or not as a whole, at random, and sit on one level: by time
    alone that level is told apart in many of 40 runs, by sessions in few.
    """
    draw = np.random.default_rng(8)
    by_time = by_session = 0
    for _ in range(40):
        session = draw.permutation(np.repeat(np.arange(300), 20))
        slow, sticky = draw.random(300) < 0.04, draw.integers(0, 2, 300)
        tail = slow[session] & (draw.random(6_000) < 0.6)
        tables = [
            Table2.count(sticky[session], tail, block, 2, 30)
            for block in (np.arange(6_000) // 200, session // 10)
        ]
        by_time += given(associate(tables[:1], 0.025)[1])[1].p_value <= 0.05
        by_session += given(associate(tables, 0.025)[1])[1].p_value <= 0.05
    assert by_session <= stats.binom.ppf(0.99, 40, 0.07) < by_time


def test_limits_leave_out_no_effect_exactly_where_the_test_rejects() -> None:
    """Drawn tables with and without an effect: at each level of error the limits of the odds and
    the share that would vanish leave out nothing if and only if p is at most that.
    """
    draw = np.random.default_rng(9)
    for effect in np.repeat([1.0, 1.5, 3.0, 0.3], 8):
        codes = (draw.random(6_000) < 0.2).astype(int)
        tail = draw.random(6_000) < np.where(codes == 1, 0.02 * effect, 0.02)
        table = Table2.count(codes, tail, np.arange(6_000) // 200, 2, 30)
        record, test, _ = given(associate([table], 0.025)[1])
        assert paf_at(test.log_odds, record.n, int(tail.sum()), 6_000) == pytest.approx(
            record.paf, abs=0.02
        )
        for alpha in (0.1, 0.05, 0.01, 0.002, 1e-4):
            low, high = test.limits(alpha / 2)
            shares = [paf_at(end, record.n, int(tail.sum()), 6_000) for end in (low, high)]
            rejects = test.p_value <= alpha
            assert rejects == (low > 0 or high < 0)
            assert rejects == (shares[0] > 0 or shares[1] < 0)


@pytest.mark.parametrize("groups", [5, 10, 30])
def test_the_tail_of_students_law_is_scipys(groups: int) -> None:
    """Two-sided p-values of one error, far out too."""
    for distance in (0.1, 1.0, 2.3, 6.0, 30.0):
        found = LevelTest(distance, ((1.0, groups),)).p_value
        assert found == pytest.approx(2 * stats.t.sf(distance, groups - 1), rel=1e-9)


def test_the_interval_holds_the_true_share_when_bursts_make_rows_depend() -> None:
    """30 runs whose slow spells hit a level at random: the block interval holds the true PAF in
    nearly all of them.
    """
    draw = np.random.default_rng(6)
    held = 0
    for _ in range(30):
        spell = np.repeat(draw.random(600) < 0.1, 20)
        codes = (draw.random(12_000) < 0.2).astype(int)
        tail = draw.random(12_000) < np.where(spell & (codes == 1), 0.5, 0.005)
        block = np.arange(12_000) // 400
        found = given(associate([Table2.count(codes, tail, block, 2, 30)], 0.025)[1])
        low, high = map(given, found.paf_95)
        truth = 1 - 0.005 / (0.2 * (0.1 * 0.5 + 0.9 * 0.005) + 0.8 * 0.005)
        held += low <= truth <= high
    assert held >= 26


def test_blocks_have_equal_duration_and_no_gaps() -> None:
    """Rows in the first and last third of a minute: ten blocks of each, numbered on; nothing due
    gives no block.
    """
    due = np.concatenate([np.arange(0, 20_000), np.arange(40_000, 60_000)])
    block = time_blocks(due)
    assert np.bincount(block).tolist() == [2000] * 20
    assert len(time_blocks(np.zeros(0, np.int64))) == 0


def test_limits_of_a_ratio() -> None:
    """A ratio that is the same in every block has limits on itself; one block has none."""
    block = np.repeat(np.arange(30), 10)
    ones = np.ones(300)
    assert ratio_limits(3 * ones, 2 * ones, block, 0.025) == pytest.approx([1.5, 1.5])
    assert ratio_limits(ones, ones, np.zeros(300, np.int64), 0.025) == [None, None]
