"""How two arms differ: at one limit, at each quantile, and along the whole distribution.

In: latencies of two arms, and their superblocks resampled together. Out: the shares over a limit
and how far they lie apart; the shift function with simultaneous limits; what the block permutation
says of equal tails, and which arm is faster everywhere. Must stay true: a failure is over any
limit; where the arms have too few misses to resample, exact limits of each share stand in, never an
interval of width zero; Fisher's test is exact, in whole numbers; the limits of the shift hold for
all quantiles at once; a permutation exchanges the labels of whole superblocks; distributions are
compared between groups of equal values only.

Source: methods 4 (Fisher 1935; Zou and Donner 2008, MOVER; Doksum 1974; Wilcox 1995; one-sided
Kolmogorov-Smirnov under block permutation).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb, hypot
from typing import Literal

import numpy as np

from bench.judge.stats.resample import (
    RESAMPLES,
    Ordered,
    Sampled,
    ordered,
    percentile_limits,
    swapped,
)
from bench.judge.stats.tail import clopper_pearson, quantile_nearest_rank
from bench.record.records.comparisons import Exceedance, Misses, Permutation, ShiftPoint
from bench.record.samples import Bool, Float
from bench.units import MS

#: Below so many rows an arm Fisher's test stands beside the interval, and no p99 ratio.
SMALL = 1_000
#: Fewer misses than this in both arms make a bootstrap lumpy.
MISSES_LEAST = 10
#: Level of each side: "faster somewhere" is asked of both arms, so the two share 5 %.
LEVEL = 0.025


def fisher_exact(misses: tuple[int, int], rows: tuple[int, int]) -> float:
    """Two-sided p value of equal shares: all tables with these margins that are at most as likely
    as the one seen.
    """
    total = sum(misses)
    fewest = max(0, total - rows[1])
    most = min(total, rows[0])

    def ways_of(k: int) -> int:
        return comb(rows[0], k) * comb(rows[1], total - k)

    ways = [ways_of(k) for k in range(fewest, most + 1)]
    seen = ways[misses[0] - fewest]
    at_most_as_likely = sum(way for way in ways if way <= seen)
    return at_most_as_likely / sum(ways)


def exceedance(
    baseline: Float,
    other: Float,
    limit_ns: float,
    sampled: Sampled | None,
    alpha_each_side: float,
) -> Exceedance:
    """Misses of both arms at `limit_ns`, the difference of their shares (other less baseline) and
    its limits.
    """
    first = _misses(baseline, limit_ns)
    second = _misses(other, limit_ns)
    difference = second.share - first.share
    if sampled is not None and max(first.over, second.over) >= MISSES_LEAST:
        drawn = sampled.share_over(1, limit_ns) - sampled.share_over(0, limit_ns)
        interval = percentile_limits(drawn, alpha_each_side, sampled.number)
    else:
        limits = clopper_pearson(first.over, first.n, alpha_each_side)
        other_limits = clopper_pearson(second.over, second.n, alpha_each_side)
        below = hypot(second.share - other_limits.lower, limits.upper - first.share)
        above = hypot(other_limits.upper - second.share, first.share - limits.lower)
        interval = (difference - below, difference + above)
    fisher_p = None
    if min(first.n, second.n) < SMALL:
        fisher_p = fisher_exact((first.over, second.over), (first.n, second.n))
    return Exceedance(
        limit_ms=limit_ns / 1e6,
        baseline=first,
        other=second,
        difference=difference,
        interval=interval,
        fisher_p=fisher_p,
    )


def _misses(values: Float, limit_ns: float) -> Misses:
    over = int(np.count_nonzero(values > limit_ns))
    return Misses(over=over, n=len(values), share=over / len(values))


def shift_function(
    sampled: Sampled,
    wanted: Sequence[Fraction],
    alpha: float,
) -> list[ShiftPoint]:
    """Other less baseline (ms) at each quantile, with limits that miss any of them with at most
    `alpha`.

    A quantile that lies among an arm's failures, in the data or in a resample, is left out.
    """
    baseline, other = (arm.quantiles(sampled.weights, wanted) for arm in sampled.arms)
    seen = np.array([_quantiles(arm.values, wanted) for arm in sampled.arms])
    finite = np.isfinite(seen).all(axis=0)
    for resampled in (baseline, other):
        finite &= np.isfinite(resampled).all(axis=0)
    if not finite.any():
        return []
    at = np.flatnonzero(finite)
    shift = seen[1, at] - seen[0, at]
    drawn = other[:, at] - baseline[:, at]
    error = drawn.std(axis=0, ddof=1)
    steps = np.zeros_like(drawn)
    np.divide(np.abs(drawn - shift), error, out=steps, where=error > 0)
    # The farthest that a resample strays at any quantile, in standard errors.
    farthest = steps.max(axis=1)
    widest = float(np.quantile(farthest, 1 - alpha, method="inverted_cdf"))
    points = []
    for i, delta, e in zip(at.tolist(), shift.tolist(), error.tolist(), strict=True):
        reach = widest * e
        point = ShiftPoint(
            q=float(wanted[i]),
            baseline_ms=float(seen[0, i]) / MS,
            shift_ms=delta / MS,
            interval=((delta - reach) / MS, (delta + reach) / MS),
        )
        points.append(point)
    return points


def _quantiles(values: Float, wanted: Sequence[Fraction]) -> list[float]:
    return [float(quantile_nearest_rank(values, q)) for q in wanted]


def _pooled(sampled: Sampled, *, whole_ties: bool) -> Ordered:
    """All rows in one order; cell 2g holds the baseline's rows of superblock g, cell 2g + 1 the
    other's.
    """
    values = np.concatenate([arm.values for arm in sampled.arms])
    cells = np.concatenate([2 * arm.cells + side for side, arm in enumerate(sampled.arms)])
    return ordered(values, cells, 2 * sampled.number, whole_ties=whole_ties)


def _labels(swap: Bool) -> Float:
    """Weights of the cells that count as the other arm's, where `swap` exchanges a superblock's
    labels.
    """
    pairs = np.stack([swap, ~swap], axis=2)
    taken: Float = pairs.reshape(len(swap), -1).astype(np.float64)
    return taken


def permutation(sampled: Sampled, q: Fraction, seed: int) -> Permutation:
    """p value of equal distributions by the ratio of the q-quantiles, and stochastic dominance.

    `dominance`: "other" or "baseline" where that arm is faster somewhere and nowhere shown to be
    slower; "crosses" where each is faster on one side, with the latency between; else "none".
    """
    pooled = _pooled(sampled, whole_ties=False)
    steps = _pooled(sampled, whole_ties=True)
    as_measured = np.zeros((1, sampled.number), bool)
    swap = np.concatenate([as_measured, swapped(sampled.number, seed)])
    other = _labels(swap)
    baseline = 1 - other
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = pooled.quantiles(other, [q])[:, 0] / pooled.quantiles(baseline, [q])[:, 0]
        log_ratio = np.abs(np.log(ratio))
    # How much more of the other arm lies below each edge.
    ahead = steps.shares_below(other) - steps.shares_below(baseline)
    faster = _p_value(ahead.max(axis=1))
    slower = _p_value(-ahead.min(axis=1))
    verdict: Literal["other", "baseline", "crosses", "none"] = "none"
    crosses_ms = None
    if faster <= LEVEL and slower <= LEVEL:
        verdict = "crosses"
        edge = steps.edges[_crossing(ahead[0])]
        crosses_ms = float(steps.values[edge - 1]) / MS
    elif faster <= LEVEL:
        verdict = "other"
    elif slower <= LEVEL:
        verdict = "baseline"
    return Permutation(
        p_value=_p_value(np.nan_to_num(log_ratio, nan=0.0)),
        dominance=verdict,
        p_faster=faster,
        p_slower=slower,
        crosses_ms=crosses_ms,
    )


def _p_value(statistic: Float) -> float:
    """Share of the labellings at least as extreme as the true one, which stands first."""
    as_extreme = np.count_nonzero(statistic >= statistic[0] - 1e-12)
    return float(as_extreme) / (RESAMPLES + 1)


def _crossing(ahead: Float) -> int:
    """Where the difference of the distribution functions changes its sign between its two
    extremes.
    """
    first, last = sorted((int(ahead.argmax()), int(ahead.argmin())))
    between = np.sign(ahead[first : last + 1])
    return first + int(np.argmax(between != between[0]))
