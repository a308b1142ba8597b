"""Ranks, limits, verdict counts, sample sizes and blocks, each answered a second way."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench.judge.stats.tail import (
    MAX_N,
    clopper_pearson,
    min_n,
    mser5,
    needed_n,
    operating_characteristic,
    quantile_ci_ranks,
    quantile_nearest_rank,
    verdict_counts,
)
from bench.units import nearest_rank

P99, P999 = Fraction(99, 100), Fraction(999, 1000)
SHARES = st.fractions(Fraction(1, 10_000), Fraction(1, 2), max_denominator=10_000)
ALPHAS = st.sampled_from([0.005, 0.01, 0.025, 0.05, 0.1])


@given(st.integers(1, 10**7), st.fractions(Fraction(1, 10**6), 1, max_denominator=10**6))
@settings(deadline=None)
def test_nearest_rank_is_the_first_rank_that_reaches_the_quantile(n: int, q: Fraction) -> None:
    """A share of at least q of the values lies at or below the rank, and less below the one
    before.
    """
    rank = nearest_rank(n, q)
    assert Fraction(rank, n) >= q > Fraction(rank - 1, n)


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=200),
    st.integers(0, 50),
    st.sampled_from([P99, P999]),
)
@settings(deadline=None)
def test_a_quantile_within_the_limit_is_a_share_within_the_limit(
    values: list[int], limit: int, q: Fraction
) -> None:
    """p99 <= T exactly when no more than 1 % of the values are above T."""
    within = quantile_nearest_rank(sorted(values), q) <= limit
    assert within == (Fraction(sum(value > limit for value in values), len(values)) <= 1 - q)


def test_quantiles_of_nothing_and_of_no_quantile() -> None:
    """An empty sample has no quantile (None, not 0); a rank outside the sample is refused."""
    assert quantile_nearest_rank(np.array([], dtype=np.int64), P99) is None
    for n, q in ((0, P99), (10, Fraction(0)), (10, Fraction(11, 10))):
        with pytest.raises(ValueError, match="no rank"):
            nearest_rank(n, q)


@given(st.integers(1, 10**6), SHARES, ALPHAS)
@settings(deadline=None)
def test_verdict_counts_are_the_turning_points_of_the_limits(
    n: int, p0: Fraction, alpha: float
) -> None:
    """The upper limit is within p0 at k_pass and no longer one above; the lower one turns at
    k_fail.
    """
    k_pass, k_fail = verdict_counts(n, p0, alpha)
    law = scipy_stats.binom(n, float(p0))
    assume(all(abs(law.cdf(k) / alpha - 1) > 1e-9 for k in (k_pass, k_pass + 1)))
    assume(all(abs(law.sf(k - 1) / alpha - 1) > 1e-9 for k in (k_fail - 1, k_fail)))
    assert -1 <= k_pass < k_fail <= n + 1
    assert k_pass == -1 or clopper_pearson(k_pass, n, alpha).upper <= p0
    assert clopper_pearson(k_pass + 1, n, alpha).upper > p0
    assert k_fail == n + 1 or clopper_pearson(k_fail, n, alpha).lower > p0
    assert clopper_pearson(k_fail - 1, n, alpha).lower <= p0
    assert law.cdf(k_pass) <= alpha < law.cdf(k_pass + 1)
    assert law.sf(k_fail - 1) < alpha <= law.sf(k_fail - 2)


@given(st.integers(1, 10**6), SHARES, ALPHAS)
@settings(deadline=None)
def test_ranks_are_the_binomial_quantiles(n: int, p0: Fraction, alpha: float) -> None:
    """The ranks are ppf(alpha) and ppf(1-alpha) + 1 of Bin(n, q) and cover the quantile as
    promised.
    """
    law = scipy_stats.binom(n, float(1 - p0))
    lower, upper = quantile_ci_ranks(n, 1 - p0, alpha)
    # A tail that equals alpha falls to either side, as its last digit was rounded.
    assume(all(abs(law.cdf(rank) / alpha - 1) > 1e-9 for rank in (lower - 1, lower)))
    assume(all(abs(law.sf(rank) / alpha - 1) > 1e-9 for rank in (upper - 2, upper - 1)))
    assert (lower, upper) == (law.ppf(alpha), law.isf(alpha) + 1)
    assert law.cdf(upper - 1) - law.cdf(lower - 1) >= 1 - 2 * alpha - 1e-12


@given(st.integers(0, 5000), st.integers(1, 5000), ALPHAS)
@settings(deadline=None)
def test_limits_hold_the_share_and_mirror(k: int, n: int, alpha: float) -> None:
    """Limits are scipy's exact ones, hold k/n, and those of the complement are their mirror
    image.
    """
    assume(k <= n)
    lower, upper = clopper_pearson(k, n, alpha)
    exact = scipy_stats.binomtest(k, n).proportion_ci(1 - 2 * alpha, method="exact")
    assert (lower, upper) == pytest.approx((exact.low, exact.high), rel=1e-8)
    assert lower <= k / n <= upper
    mirrored = clopper_pearson(n - k, n, alpha)
    assert (1 - mirrored.upper, 1 - mirrored.lower) == pytest.approx((lower, upper), abs=1e-12)


@pytest.mark.parametrize("n", [1, 299, 10**4, 10**7])
def test_no_exceedance_has_the_closed_form(n: int) -> None:
    """With none seen the upper limit is 1 - alpha^(1/n), the rule of three, to ten digits."""
    assert clopper_pearson(0, n, 0.05) == pytest.approx(
        (0, -math.expm1(math.log(0.05) / n)), rel=1e-10
    )


def test_nothing_seen_says_nothing() -> None:
    """Without a request the limits are 0 and 1, and neither PASS nor FAIL can be spoken."""
    assert clopper_pearson(0, 0, 0.05) == (0, 1)
    assert verdict_counts(0, Fraction(1, 100), 0.05) == (-1, 1)
    assert quantile_ci_ranks(0, P99, 0.05) == (0, 1)


def test_every_request_is_a_promise_that_can_only_fail() -> None:
    """A clause of 100 % fails at the first exceedance and never passes; one of 0 % is refused."""
    assert verdict_counts(10**6, 0, 0.05) == (-1, 1)
    with pytest.raises(ValueError, match="promises nothing"):
        verdict_counts(100, 1, 0.05)


@pytest.mark.parametrize("k", [-1, 101])
def test_impossible_counts_are_refused(k: int) -> None:
    """A count outside 0..n and an error outside 0..1 are errors, not numbers."""
    for wrong in (
        lambda: clopper_pearson(k, 100, 0.05),
        lambda: clopper_pearson(1, 100, 0.0),
        lambda: clopper_pearson(1, 100, 1.0),
        lambda: clopper_pearson(1, 100, 1.5),
        lambda: verdict_counts(100, 0.01, 0.0),
        lambda: verdict_counts(-1, 0.01, 0.05),
        lambda: min_n(P99, 1.0),
    ):
        with pytest.raises(ValueError, match=r"no limits|must be"):
            wrong()


@given(SHARES, ALPHAS, st.integers(0, 30))
@settings(deadline=None)
def test_min_n_is_where_the_count_begins_to_pass(p0: Fraction, alpha: float, k: int) -> None:
    """At min_n the count k passes and at one request fewer it does not."""
    n = min_n(1 - p0, alpha, k)
    assert n is not None
    assert verdict_counts(n, p0, alpha).k_pass == k
    assert verdict_counts(n - 1, p0, alpha).k_pass < k


def test_min_n_known_to_the_trade() -> None:
    """Zero exceedances need 299 (p99), 459 (at 99 %), 2,995 (p99.9); a claim of 100 % needs more
    than any n.
    """
    assert [min_n(P99, 0.05), min_n(P99, 0.01), min_n(P999, 0.05)] == [299, 459, 2995]
    assert min_n(Fraction(1), 0.05) is None
    assert min_n(1 - Fraction(1, MAX_N), 0.05) is None


@given(st.integers(1, 400), SHARES, st.fractions(0, 1, max_denominator=500))
@settings(deadline=None)
def test_operating_characteristic_adds_up_the_outcomes(
    n: int, p0: Fraction, p_true: Fraction
) -> None:
    """The chances are the binomial terms of the counts that pass and of those that fail."""
    k_pass, k_fail = verdict_counts(n, p0, 0.05)
    terms = scipy_stats.binom.pmf(np.arange(n + 1), n, float(p_true))
    chances = operating_characteristic(n, p0, p_true, 0.05)
    assert chances == pytest.approx((terms[: k_pass + 1].sum(), terms[k_fail:].sum()), abs=1e-11)
    at_the_limit = operating_characteristic(n, p0, p0, 0.05)
    assert max(at_the_limit) <= 0.05 + 1e-12


def _needed_by_trying_all(
    p_hat: float, p0: float, alpha: float, power: float, most: int
) -> int | None:
    n = np.arange(1, most + 1)
    if p_hat < p0:
        k = scipy_stats.binom.ppf(alpha, n, p0)
        k_pass = np.where(scipy_stats.binom.cdf(k, n, p0) <= alpha, k, k - 1)
        chance = scipy_stats.binom.cdf(k_pass, n, p_hat)
    else:
        chance = scipy_stats.binom.sf(scipy_stats.binom.isf(alpha, n, p0), n, p_hat)
    enough = np.flatnonzero(chance >= power)
    return int(n[enough[0]]) if len(enough) else None


@pytest.mark.parametrize(
    ("p_hat", "p0"),
    [
        ("0", "0.01"),
        ("0.002", "0.01"),
        ("0.005", "0.01"),
        ("0.008", "0.01"),
        ("0.02", "0.01"),
        ("0.013", "0.01"),
        ("0.5", "0.01"),
        ("1", "0.01"),
        ("0.03", "0.05"),
        ("0.06", "0.05"),
        ("0.45", "0.5"),
        ("0.53", "0.5"),
        ("0.85", "0.9"),
        ("0.93", "0.9"),
        ("0.0002", "0.001"),
        ("0.004", "0.001"),
        ("0.3", "0"),
    ],
)
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9), (0.025, 0.55)])
def test_needed_n_is_the_first_n_that_decides(
    p_hat: str, p0: str, alpha: float, power: float
) -> None:
    """Trying every n up to 30,000 finds the same smallest n, or none where the answer is larger."""
    n = needed_n(Fraction(p_hat), Fraction(p0), alpha, power)
    by_trial = _needed_by_trying_all(float(p_hat), float(p0), alpha, power, 30_000)
    assert n is not None
    assert n == by_trial if n <= 30_000 else by_trial is None


def test_needed_n_gives_up_beside_the_limit() -> None:
    """A share at the limit or a hair from it needs more than any run can send."""
    for p_hat in ("0.01", "0.009999", "0.010001", "0.00999"):
        assert needed_n(Fraction(p_hat), Fraction(1, 100), 0.05) is None


@given(st.lists(st.integers(0, 10_000), min_size=10, max_size=150))
@settings(deadline=None)
def test_mser5_by_definition(y: list[int]) -> None:
    """The cut is at a minimum of the squared standard error, computed batch by batch."""
    batches = [sum(y[i : i + 5]) / 5 for i in range(0, len(y) - 4, 5)]
    errors = []
    for d in range(len(batches) // 2 + 1):
        left = batches[d:]
        mean = sum(left) / len(left)
        errors.append(sum((z - mean) ** 2 for z in left) / len(left) ** 2)
    got = mser5(y)
    assert got.batches == len(batches)
    assert got.mser == pytest.approx(min(errors), rel=1e-6, abs=1e-6)
    assert errors[got.d_star] == pytest.approx(min(errors), rel=1e-6, abs=1e-6)
    assert got.truncate_first == 5 * got.d_star
    assert got.at_boundary == (got.d_star == len(batches) // 2)


def test_mser5_of_constants_and_of_too_little() -> None:
    """A constant needs no cut, a constant after a spell only that spell; below ten values there is
    no answer.
    """
    assert mser5([0.1] * 500).d_star == 0
    assert mser5([274.4] * 40 + [2.38] * 460).truncate_first == 40
    for half in (2, 3, 4, 5):  # a spell of half the batches is cut whole, at the last place allowed
        found = mser5([9.0] * 5 * half + [1.0] * 5 * half)
        assert (found.batches, found.d_star, found.at_boundary) == (2 * half, half, True)
    with pytest.raises(ValueError, match="two batches"):
        mser5([1.0] * 9)
