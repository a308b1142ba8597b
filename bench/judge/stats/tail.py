"""Exact statistics of a tail: ranks, limits of a share, verdict counts, sample sizes, blocks.

In: counts of requests that broke a limit, exact shares, error probabilities per side. Out: ranks,
limits, counts. Must stay true: "p99 <= T" is the claim that the share above T is at most 1 %, so
one pair of counts decides the verdict and the ranks of the interval follow from the same pair;
a limit that does not exist is never replaced by a number; nothing is drawn at random.
Formulas, sources and checked figures: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.judge.stats.binomial import (
    Share,
    beta_quantile,
    binomial_tails,
    count_tails,
    first,
)
from bench.units import nearest_rank

#: Largest sample that a sentence of the report would ever ask for.
MAX_N = 10**8
#: Values a batch of MSER-5.
MSER_BATCH = 5


class Ranks(NamedTuple):
    """1-based ranks: lower 0 = no lower limit exists at this n, upper n+1 = no upper limit
    exists.
    """

    lower: int
    upper: int


class Limits(NamedTuple):
    """Lower and upper limit of a share of one."""

    lower: float
    upper: float


class VerdictCounts(NamedTuple):
    """PASS up to `k_pass` exceedances (-1: never), FAIL from `k_fail` (n+1: never), else
    INCONCLUSIVE.
    """

    k_pass: int
    k_fail: int


class Chances(NamedTuple):
    """Probability of each verdict; what is left is INCONCLUSIVE."""

    p_pass: float
    p_fail: float


def quantile_nearest_rank(
    sorted_values: Sequence[Any] | npt.NDArray[Any],
    q: Fraction,
) -> Any:
    """The q-quantile of ascending values: always one of them; None when there are none."""
    if len(sorted_values):
        return sorted_values[nearest_rank(len(sorted_values), q) - 1]
    return None


def verdict_counts(
    n: int,
    p0: Share,
    alpha: float,
) -> VerdictCounts:
    """Counts of exceedances that decide "the share above the limit is at most p0" at n requests.

    PASS iff P(X <= k | p0) <= alpha, which is: the one-sided Clopper-Pearson upper limit is at
    most p0. FAIL iff P(X >= k | p0) < alpha: the lower limit is above p0. alpha is the error of
    each side. p0 = 0 ("every request") can fail but never pass.
    """
    _check(n, alpha)
    if not 0 <= p0 < 1:
        raise ValueError(f"a clause that lets a share of {p0} through promises nothing")
    p0 = Fraction(p0)
    z = NormalDist().inv_cdf(alpha)
    mean = n * float(p0)
    width = z * math.sqrt(n * float(p0 * (1 - p0)))
    k_pass = first(lambda k: count_tails(k, n, p0)[0] > alpha, 0, n, mean + width) - 1
    k_fail = first(lambda k: count_tails(k, n, p0)[1] < alpha, 1, n + 1, mean - width)
    return VerdictCounts(k_pass, k_fail)


def quantile_ci_ranks(n: int, q: Fraction, alpha_each_side: float) -> Ranks:
    """Order statistics that hold the q-quantile, each side missing it with at most alpha.

    Equal to (ppf(alpha), ppf(1-alpha) + 1) of Bin(n, q), taken from the verdict counts so that
    "X_(upper) <= T" and "PASS" cannot disagree.
    """
    k_pass, k_fail = verdict_counts(n, 1 - q, alpha_each_side)
    return Ranks(n - k_fail + 1, n - k_pass)


def clopper_pearson(k: float, n: float, alpha_each_side: float) -> Limits:
    """Exact limits of a share with k of n seen; real k and n serve effective sample sizes."""
    if not 0 <= k <= n or not 0 < alpha_each_side < 1:
        raise ValueError(f"no limits for {k} of {n} at {alpha_each_side}")
    if k > 0:
        lower = beta_quantile(k, n - k + 1, alpha_each_side)
    else:
        lower = 0.0
    if k < n:
        upper = beta_quantile(k + 1, n - k, alpha_each_side, upper=True)
    else:
        upper = 1.0
    return Limits(lower, upper)


def operating_characteristic(
    n: int,
    p0: Share,
    p_true: Share,
    alpha: float,
) -> Chances:
    """Chance of PASS and of FAIL at n independent requests when the true share is p_true."""
    k_pass, k_fail = verdict_counts(n, p0, alpha)
    return Chances(binomial_tails(k_pass, n, p_true)[0], binomial_tails(k_fail - 1, n, p_true)[1])


def _least_n(
    share: Share,
    k: int,
    tail: float,
    cap: int,
) -> int:
    """Smallest n with P(Bin(n, share) <= k) <= tail, else cap + 1."""
    z = -NormalDist().inv_cdf(tail)
    root = (z + math.sqrt(z * z + 4 * k)) / 2
    return first(
        lambda n: binomial_tails(k, n, share)[0] <= tail,
        k + 1,
        cap + 1,
        root * root / float(share),
    )


def min_n(q: Fraction, alpha: float, k: int = 0) -> int | None:
    """Smallest n at which k exceedances still prove quantile q with error alpha; None above
    MAX_N.
    """
    _check(k, alpha)
    if q < 1:
        n = _least_n(1 - q, k, alpha, MAX_N)
    else:
        n = MAX_N + 1
    return n if n <= MAX_N else None


def needed_n(
    p_hat: Share,
    p0: Share,
    alpha: float,
    power: float = 0.8,
) -> int | None:
    """Smallest n whose chance to reach the verdict that p_hat points to is at least `power`.

    None when p_hat is so near p0 that no n up to MAX_N decides. Independent requests: multiply
    by the design effect for others. The chance is a saw-tooth in n; only the first n of a tooth
    can be the answer, so teeth (one per k) are searched, not n.
    """
    _check(0, alpha)
    _check(0, 1 - power)
    # PASS: the share p0 would show more than k (error alpha) and p_hat shows at most k (1 - power).
    # FAIL: the same sentence with the two shares and their errors exchanged.
    (small, small_tail), (large, large_tail) = sorted(
        [(Fraction(p_hat), 1 - power), (Fraction(p0), alpha)]
    )
    if small == large:
        return None
    z_small, z_large = (-NormalDist().inv_cdf(tail) for tail in (small_tail, large_tail))
    spread = [math.sqrt(float(share * (1 - share))) for share in (small, large)]
    guess = ((z_small * spread[0] + z_large * spread[1]) / float(large - small)) ** 2
    if guess > 4 * MAX_N:
        return None

    def tooth(k: int) -> int:
        return _least_n(large, k, large_tail, MAX_N)

    def decides(k: int) -> bool:
        n = tooth(k)
        return n > MAX_N or binomial_tails(k, n, small)[1] <= small_tail

    k = first(decides, 0, MAX_N, guess * float(large) - z_large * math.sqrt(guess) * spread[1])
    # An n is whole and a tooth is not: near its crossing the chance may already hold a few teeth
    # earlier.
    slack = min(50, math.ceil(4 * float(large * large / (large - small))))
    k = next((early for early in range(max(0, k - slack), k) if decides(early)), k)
    n = tooth(k)
    return n if n <= MAX_N else None


def outage_free_ns(mean_outage_ns: int, p0: Share, alpha: float) -> int:
    """Time without an outage that shows an unavailability of at most p0, if outages last so long
    (methods 3.4).
    """
    return math.ceil(mean_outage_ns * math.log(1 / alpha) / float(p0))


@dataclass(frozen=True)
class Mser5:
    """Where a warm-up would end by White's rule: a diagnostic, never a reason to drop rows."""

    batches: int
    d_star: int
    truncate_first: int
    mser: float
    #: the minimum lies at the last place allowed: no steady state was seen
    at_boundary: bool


def mser5(y: Sequence[float] | npt.NDArray[np.float64]) -> Mser5:
    """MSER-5 over the means of successive fives: the d <= m/2 that minimises the squared standard
    error of the mean of what is left (White 1997). Raises ValueError below two batches."""
    values = np.asarray(y, dtype=np.float64)
    m = len(values) // MSER_BATCH
    if m < 2:
        raise ValueError(f"{len(values)} values are fewer than two batches of {MSER_BATCH}")
    means = values[: m * MSER_BATCH].reshape(m, MSER_BATCH).mean(axis=1)
    means -= means.mean()
    left = np.arange(m, 0, -1)
    sums, squares = (np.cumsum(series[::-1])[::-1] for series in (means, means**2))
    spread = squares - sums**2 / left
    spread[spread < 1e-12 * squares] = 0  # rounding, where what is left is constant
    mser = (spread / left**2)[: m // 2 + 1]
    d = int(np.argmin(mser))
    return Mser5(m, d, d * MSER_BATCH, float(mser[d]), d == m // 2)


def _check(count: int, alpha: float) -> None:
    if count < 0 or not 0 < alpha < 1:
        raise ValueError(
            f"count {count} and probability {alpha} must be at least 0 and within 0 and 1"
        )
