"""Two-by-two tables, strata and false-discovery control against vectors, scipy and sums by hand."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.judge.attribution.association import (
    Table2,
    adjusted_odds_ratio,
    associate,
    discoveries,
    two_by_two,
)
from bench.judge.stats.resample import draw_blocks, ratio_limits, time_blocks

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
            assert found[ours] == pytest.approx(vector[theirs], rel=1e-6)
        assert found["odds_ratio_95"] == pytest.approx(vector["or_95"], rel=1e-6)


def test_a_table_of_small_numbers() -> None:
    """3 of 10 exposed and 1 of 20 others: worked out by hand."""
    found = two_by_two(3, 1, 7, 19, 0.025)
    assert found["risk_ratio"] == pytest.approx(6)
    assert found["odds_ratio_crude"] == pytest.approx(3 * 19 / 7)
    assert found["paf"] == pytest.approx(
        float((Fraction(4, 30) - Fraction(1, 20)) / Fraction(4, 30))
    )
    assert two_by_two(3, 0, 7, 20, 0.025)["risk_ratio"] is None
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
        assert discoveries(list(p), 0.1) == list(stats.false_discovery_control(p) <= 0.1)
    assert discoveries([], 0.1) == []


def test_noise_is_seldom_a_discovery() -> None:
    """200 runs of 40 levels without any effect: with a rate of 10 % about one run in ten names one,
    never one in six.
    """
    draw = np.random.default_rng(5)
    drawn = draw_blocks(30)
    wrong = 0
    for _ in range(200):
        codes, tail = draw.integers(0, 40, 12_000), draw.random(12_000) < 0.03
        levels = associate(
            Table2.count(codes, tail, np.arange(12_000) // 400, 40, 30), drawn, 0.025
        )
        wrong += any(discoveries([level["p_value"] for level in levels], 0.1))
    assert wrong <= 200 / 6


def test_the_interval_holds_the_true_share_when_bursts_make_rows_depend() -> None:
    """60 runs whose slow spells hit a level at random: the block interval holds the true PAF in
    nearly all of them.
    """
    draw = np.random.default_rng(6)
    held = 0
    for _ in range(60):
        spell = np.repeat(draw.random(600) < 0.1, 20)
        codes = (draw.random(12_000) < 0.2).astype(int)
        tail = draw.random(12_000) < np.where(spell & (codes == 1), 0.5, 0.005)
        block = np.arange(12_000) // 400
        low, high = associate(Table2.count(codes, tail, block, 2, 30), draw_blocks(30), 0.025)[1][
            "paf_95"
        ]
        truth = 1 - 0.005 / (0.2 * (0.1 * 0.5 + 0.9 * 0.005) + 0.8 * 0.005)
        held += low <= truth <= high
    assert held >= 52


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
