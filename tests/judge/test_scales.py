"""Limits of a share on three scales: against Clopper and Pearson, Garwood, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.judge.stats.scales import Layout, Weight, lay_out, limits, weigh
from bench.judge.stats.tail import clopper_pearson
from bench.record.samples import Int


def every_ms(n: int, sessions: Int | None = None) -> Layout:
    return lay_out(np.arange(n, dtype=np.int64) * 1_000_000, sessions)


def rows(*numbers: int) -> Int:
    return np.array(numbers, dtype=np.int64)


@given(st.integers(1, 10**6), st.data(), st.floats(0.001, 0.2))
def test_single_rows_are_clopper_pearson(n: int, data: st.DataObject, alpha: float) -> None:
    """v = y and w = 1: exact limits of a proportion, by scipy's beta law."""
    y = data.draw(st.integers(0, n))
    found = limits(y, n, y, 1, alpha)
    low = stats.beta.ppf(alpha, y, n - y + 1) if y else 0.0
    high = stats.beta.ppf(1 - alpha, y + 1, n - y) if y < n else 1.0
    assert found == pytest.approx((low, high), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("outages", [0, 1, 3, 12])
def test_equal_outages_are_garwoods(outages: int) -> None:
    """Limits of a Poisson count of outages, times their size: a share so small that beta is
    gamma.
    """
    size, n = 1000.0, 1e12
    y = outages * size
    low, high = (share * n / size for share in limits(y, n, y * size, size, 0.05))
    assert high == pytest.approx(stats.chi2.ppf(0.95, 2 * outages + 2) / 2, rel=1e-6)
    wanted = stats.chi2.ppf(0.05, 2 * outages) / 2 if outages else 0.0
    assert low == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("w", [1.0, 7.0, 300.0])
def test_with_none_bad_it_is_the_time_rule(w: float) -> None:
    """(1 - p0)^(n/w) <= alpha, which is n >= w ln(1/alpha) / -ln(1 - p0)."""
    n = w * math.log(20) / -math.log1p(-0.01)
    assert limits(0, n, 0, w, 0.05).upper == pytest.approx(0.01, rel=1e-9)
    assert Weight(0, n * 1.001, 0, w).passes(0.01, 0.05)
    assert not Weight(0, n / 1.001, 0, w).passes(0.01, 0.05)


def test_a_spell_is_weighed_by_hand() -> None:
    """30 blocks of 100 rows, 20 bad rows in a row in one of them.

    Blocks of 10: k = (20, 0 x 9), mean 2: 10/9 (18² + 9·2² - 2) = 398; likewise 15 and 30. The
    price is Student's: (t_9 / z)² is the largest.
    """
    layout = every_ms(3000)
    found = weigh(layout, np.arange(510, 530), 0.05)
    price = (stats.t.isf(0.05, 9) / stats.norm.isf(0.05)) ** 2
    assert (found.y, found.n) == (20, 3000)
    assert found.v == pytest.approx((400 - 20 / 9) * price, rel=1e-9)
    joined = 19 - (math.log(20) + 0.57721566490153) / math.log(10.5)
    blocks = 20 - 20 / 30 - 2.2 * math.sqrt(20 / 30) - 1 - (2.2**2 - 1) / 6
    assert found.spells == 1
    assert found.w == pytest.approx(1 + 2 * (1 + 5 / 6) * max(joined, blocks), rel=1e-12)


def test_rows_alone_are_worth_themselves() -> None:
    """One every 300 rows, two a block of 15: blocks show nothing above single rows."""
    found = weigh(every_ms(3000), np.arange(50, 3000, 300), 0.05)
    assert (found.y, found.v, found.w) == (10, 10, 1)
    assert found.limits(0.05) == pytest.approx(clopper_pearson(10, 3000, 0.05))


def test_none_and_one_tell_nothing_of_how_they_come() -> None:
    layout = every_ms(400)
    assert weigh(layout, rows(), 0.05) == Weight(0, 400, 0, 1, 30, 0)
    assert weigh(layout, rows(7), 0.05) == Weight(1, 400, 1, 1, 30, 1)


def test_turns_of_a_session_are_one_event() -> None:
    """300 sessions of ten turns, spread over the run; all ten turns of three of them are bad: v is
    about 3 · 10², and no block shows it. One that has not come may be twice as large.
    """
    sessions = np.tile(np.arange(300), 10)
    bad = np.flatnonzero(sessions % 100 == 7)
    alone, together = (weigh(every_ms(3000, of), bad, 0.05) for of in (None, sessions))
    by_hand = 3 * (10 - 0.1) ** 2 + 297 * 0.1**2 - 2
    price = (stats.t.isf(0.05, 299) / stats.norm.isf(0.05)) ** 2
    assert together.v == pytest.approx(300 / 299 * by_hand * price, rel=1e-9)
    assert (alone.v < 60, alone.w < 10, together.w) == (True, True, 19)


def test_sessions_of_one_turn_are_rows() -> None:
    assert every_ms(3000, np.arange(3000)).session is None


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("all_bad", [False, True])
def test_too_few_rows_have_no_limits(n: int, all_bad: bool) -> None:
    found = weigh(every_ms(n), np.arange(n if all_bad else 0), 0.05)
    assert found.limits(0.05) == (0.0, 1.0)
    assert not found.passes(0.9, 0.05)
    assert not found.fails(0.01, 0.05)


def test_one_session_with_half_of_all_rows_has_no_limits() -> None:
    """It is worth fewer than four sessions, whatever its rows came to."""
    sessions = np.where(np.arange(3000) % 2, 0, np.arange(3000) + 1)
    for bad in (rows(), np.flatnonzero(sessions == 0), np.arange(3000)):
        assert weigh(every_ms(3000, sessions), bad, 0.05).limits(0.05) == (0.0, 1.0)


def test_the_fewer_spells_were_seen_the_larger_is_a_further_one() -> None:
    """Up to twice as large: by hand, of 2, 4 and 6 of ten rows."""
    for count, times in ((2, 2 / 3), (4, 1 / 3), (6, 0)):
        bad = np.concatenate([np.arange(10) + 1500 * each for each in range(count)])
        found = weigh(every_ms(9000), bad, 0.05)
        joined = 9 - (math.log(10 * count) + np.euler_gamma) / math.log(10.5)
        block = 10 * count / 30
        above = 10 - block - 2.2 * math.sqrt(block) - 1 - (2.2**2 - 1) / 6
        assert found.spells == pytest.approx(count)
        assert found.w == pytest.approx(1 + 2 * (1 + times) * max(joined, above))


def test_what_chance_joins_is_no_spell() -> None:
    """A pair adds neither variance nor a spell: three bad rows of 800, two of them neighbours, are
    worth three.
    """
    assert weigh(every_ms(800), rows(100, 101, 600), 0.05) == Weight(3, 800, 3, 1, 30, 9 / 5)


def test_of_many_bad_sessions_the_largest_has_probably_come() -> None:
    """k bad sessions of two rows each: the further one has 2 + min(1, 3/k)."""
    for k in (2, 4, 60):
        sessions = np.repeat(np.arange(1500), 2)
        bad = np.flatnonzero(sessions % (1500 // k) == 3)[: 2 * k]
        assert weigh(every_ms(3000, sessions), bad, 0.05).w == pytest.approx(2 + min(1, 3 / k))


@given(
    st.integers(40, 3000),
    st.floats(0.001, 0.3),
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
)
def test_limits_hold_the_share_and_agree_with_the_verdict(
    n: int, share: float, spell: int, seed: int
) -> None:
    """The verdict at p0 is that of the limits, on either side of them."""
    rng = np.random.default_rng(seed)
    starts = np.flatnonzero(rng.random(n) < share / spell)
    bad = np.unique(np.minimum(starts[:, None] + np.arange(spell), n - 1))
    found = weigh(every_ms(n), bad, 0.05)
    low, high = found.limits(0.05)
    assert 0 <= low <= found.y / n <= high <= 1
    if high < 1:
        assert found.passes(high * (1 + 1e-6), 0.05)
        assert not found.passes(high * (1 - 1e-6), 0.05)
    if low > 0:
        assert found.fails(low * (1 - 1e-6), 0.05)
        assert not found.fails(low * (1 + 1e-6), 0.05)


def test_losses_are_weighed_like_rows() -> None:
    """Losses of one are bad rows; halves of them are half of it, and half as uncertain a share."""
    layout, bad = every_ms(3000), np.arange(510, 530)
    whole = weigh(layout, bad, 0.05)
    assert weigh(layout, bad, 0.05, np.ones(20)) == whole
    half = weigh(layout, bad, 0.05, np.full(20, 0.5))
    assert (half.y, half.v) == pytest.approx((whole.y / 2, whole.v / 4))
    assert half.w < whole.w
