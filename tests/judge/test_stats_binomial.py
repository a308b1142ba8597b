"""Tails and quantiles against scipy, which the package itself does without."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special
from scipy import stats as scipy_stats

from bench.judge.stats.binomial import (
    beta_quantile,
    beta_tails,
    binomial_tails,
    both,
    first,
    student_t_quantile,
)

GRID = [
    (n, p, k)
    for n in (1, 2, 10, 299, 10**4, 10**6, 10**7)
    for p in (1e-7, 5e-4, 0.01, 0.05, 0.5, 0.9, 0.999)
    for k in sorted(
        {
            0,
            n - 1,
            *(int(n * p + z * math.sqrt(n * p * (1 - p))) for z in (-30, -5, -2, 0, 1, 3, 30)),
        }
    )
    if 0 <= k < n
]
SHAPE = st.floats(-2, 7).map(lambda power: 10.0**power)
TAIL = st.floats(-9, -0.31).map(lambda power: 10.0**power)


def test_incomplete_beta_over_a_wide_grid() -> None:
    """Both tails of the beta law agree with scipy to 1e-10 relative, from n = 1 to n = 1e7."""
    for n, p, k in GRID:
        got = beta_tails(k + 1, n - k, p)
        expected = special.betainc(k + 1, n - k, p), special.betaincc(k + 1, n - k, p)
        for mine, theirs in zip(got, expected, strict=True):
            if theirs > 1e-290:
                assert mine == pytest.approx(theirs, rel=1e-10), (n, p, k)


def test_nothing_lies_beyond_the_ends() -> None:
    """At the ends of the unit interval one tail is all and the other nothing, whatever the
    shape.
    """
    assert beta_tails(2, 3, Fraction(0)) == (0, 1)
    assert beta_tails(2, 3, Fraction(1)) == (1, 0)


@given(SHAPE, SHAPE, st.floats(-6, 6))
@settings(deadline=None)
def test_incomplete_beta_of_real_shapes(a: float, b: float, z: float) -> None:
    """Shapes that are no counts (effective sizes) agree with scipy too, out to six deviations."""
    mean = a / (a + b)
    x = min(max(mean + z * math.sqrt(mean * (1 - mean) / (a + b + 1)), 1e-12), 1 - 1e-12)
    lower, upper = beta_tails(a, b, x)
    assert lower == pytest.approx(special.betainc(a, b, x), rel=1e-10, abs=1e-290)
    assert upper == pytest.approx(special.betaincc(a, b, x), rel=1e-10, abs=1e-290)


@given(SHAPE.filter(lambda a: a > 0.3), SHAPE.filter(lambda b: b > 0.3), TAIL, st.booleans())
@settings(deadline=None)
def test_beta_quantile_returns_its_tail(a: float, b: float, tail: float, upper: bool) -> None:
    """The quantile is scipy's to 1e-9 relative on either side."""
    law = scipy_stats.beta(a, b)
    expected = law.isf(tail) if upper else law.ppf(tail)
    assert beta_quantile(a, b, tail, upper=upper) == pytest.approx(expected, rel=1e-9, abs=1e-290)


def test_beta_quantile_below_the_smallest_float() -> None:
    """A limit of 10**-1400 comes out as nothing, not as an arithmetic error."""
    assert beta_quantile(0.0016, 5, 0.005) < 1e-300
    assert beta_quantile(5, 0.0016, 0.005, upper=True) == 1


@given(TAIL, st.floats(0, 7).map(lambda power: 10.0**power))
@settings(deadline=None)
def test_student_t_quantile(tail: float, freedom: float) -> None:
    """The t quantile is scipy's from one degree of freedom to ten million."""
    assert student_t_quantile(tail, freedom) == pytest.approx(
        scipy_stats.t.isf(tail, freedom), rel=1e-10
    )


@given(st.integers(1, 60), st.integers(-2, 62), st.fractions(0, 1, max_denominator=1000))
@settings(deadline=None)
def test_binomial_tails_are_sums_of_exact_terms(n: int, k: int, share: Fraction) -> None:
    """Both tails equal the exact rational sums over the binomial terms, impossible counts
    included.
    """
    lower = sum(math.comb(n, j) * share**j * (1 - share) ** (n - j) for j in range(min(k, n) + 1))
    assert binomial_tails(k, n, share) == pytest.approx((float(lower), float(1 - lower)), rel=1e-12)


def test_complement_keeps_its_digits() -> None:
    """One minus 99.9999999 % is one part in 1e9 to full precision, and shares outside 0..1 are
    refused.
    """
    assert both(Fraction(999_999_999, 10**9)) == (0.999999999, 1e-9)
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"share of one|NaN"):
            both(bad)


@pytest.mark.parametrize("bad", [0.0, 1.0, -1.0, math.nan])
def test_impossible_tails_are_refused(bad: float) -> None:
    """A quantile exists only for a tail strictly between none and all."""
    with pytest.raises(ValueError, match="tail"):
        beta_quantile(2, 3, bad)
    with pytest.raises(ValueError, match="tail"):
        student_t_quantile(bad, 3)


@given(
    st.integers(-50, 10**6),
    st.integers(0, 10**6),
    st.floats(-(10**7), 10**7),
    st.integers(0, 10**6 + 10),
)
@settings(deadline=None)
@example(5, 0, 7.0, 5)
def test_first_finds_the_turn_in_few_calls(low: int, length: int, guess: float, turn: int) -> None:
    """The smallest integer that holds is found from any guess, in calls that grow with its
    distance's logarithm.
    """
    high, calls = low + length, 0

    def holds(at: int) -> bool:
        nonlocal calls
        assert low <= at < high
        calls += 1
        return at >= turn

    assert first(holds, low, high, guess) == min(max(turn, low), high)
    start, end = (min(max(value, low), high) for value in (int(guess), turn))
    assert calls <= 2 * math.log2(abs(start - end) + 2) + 4
