"""How two arms differ: at one limit, at each quantile, and along the whole distribution.

In: latencies of two arms, and their superblocks resampled together. Out: the shares over a limit
and how far they lie apart; the shift function with simultaneous limits; what the block permutation
says of equal tails, and which arm is faster everywhere; all on every scale of superblocks. Must
stay true: a failure is over any limit; where the arms have too few misses to resample, exact limits
of each share stand in, never an interval of width zero; where Fisher's test or the exchange of
superblocks finds no difference, the interval holds zero; Fisher's test is exact, in whole numbers;
the limits of the shift hold for all quantiles at once; a permutation exchanges the labels of whole
superblocks; distributions are compared between groups of equal values only.

Source: methods 4 (Fisher 1935; Zou and Donner 2008, MOVER; Doksum 1974; Wilcox 1995; one-sided
Kolmogorov-Smirnov under block permutation), part two (mend 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import comb, hypot
from typing import Literal

import numpy as np

from bench.judge.stats.resample import Ordered, ordered, percentile_limits
from bench.judge.stats.superblocks import Layouts, Sampled, Series, swapped, widest_limits
from bench.judge.stats.tail import clopper_pearson, quantile_nearest_rank
from bench.record.records.comparisons import Exceedance, Misses, Permutation, ShiftPoint
from bench.record.samples import Bool, Float, Int
from bench.units import MS

#: Below so many rows an arm Fisher's test stands beside the interval, and no p99 ratio.
SMALL = 1_000
#: Fewer misses than this in both arms make a bootstrap lumpy.
MISSES_LEAST = 10
#: Slow rows of groups of superblocks vary by chance up to so many times as much as single ones.
SPREAD = 1.25
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
    sampled: Layouts,
    alpha_each_side: float,
    seed: int,
) -> Exceedance:
    """Misses of both arms at `limit_ns`, the difference of their shares (other less baseline) and
    its limits.
    """
    first = _misses(baseline, limit_ns)
    second = _misses(other, limit_ns)
    difference = second.share - first.share
    few = not sampled or max(first.over, second.over) < MISSES_LEAST
    exact = [_mover(first, second, alpha_each_side)] if few else []
    drawn = [
        [
            Series(theirs.draws - ours.draws, ours.groups)
            for ours, theirs in layout.shares_over(limit_ns)
        ]
        for layout in sampled
    ]
    interval = _hull([*exact, *(widest_limits(series, alpha_each_side) for series in drawn)])
    fisher_p = permutation_p = None
    if min(first.n, second.n) < SMALL:
        fisher_p = fisher_exact((first.over, second.over), (first.n, second.n))
        if sampled:
            permutation_p = max(_misses_exchanged(layout, limit_ns, seed) for layout in sampled)
        if max(fisher_p, permutation_p or 0) > 2 * alpha_each_side:
            interval = _hull([interval, (0.0, 0.0)])
        elif interval[0] <= 0 <= interval[1]:
            finest = (percentile_limits(series[0].draws, alpha_each_side, None) for series in drawn)
            interval = _hull([*exact, *finest])
    return Exceedance(
        limit_ms=limit_ns / 1e6,
        baseline=first,
        other=second,
        difference=difference,
        interval=interval,
        fisher_p=fisher_p,
        permutation_p=permutation_p,
    )


def _mover(first: Misses, second: Misses, alpha_each_side: float) -> tuple[float, float]:
    """Limits of the difference from exact limits of each share."""
    difference = second.share - first.share
    limits = clopper_pearson(first.over, first.n, alpha_each_side)
    other_limits = clopper_pearson(second.over, second.n, alpha_each_side)
    below = hypot(second.share - other_limits.lower, limits.upper - first.share)
    above = hypot(other_limits.upper - second.share, first.share - limits.lower)
    return difference - below, difference + above


def _hull(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def _misses_exchanged(sampled: Sampled, limit_ns: float, seed: int) -> float:
    """p value of equal shares over the limit by exchanging the labels of single superblocks; and of
    groups of them where these differ in their slow rows by more than chance: elsewhere the exchange
    of few large groups only sees a true difference badly.
    """
    rows = np.stack([arm.counts[:, -1] for arm in sampled.arms])
    slow = (arm.cells[arm.values > limit_ns] for arm in sampled.arms)
    over = np.stack([np.bincount(cells, minlength=sampled.number) for cells in slow])
    p_values = [0.0]
    for scale, swap in zip(sampled.scales, _exchanges(sampled, seed), strict=True):
        if scale.groups < sampled.number and _spread(over, rows, scale.groups) <= SPREAD:
            continue
        theirs = over[1].sum() + swap @ (over[0] - over[1])
        their_rows = rows[1].sum() + swap @ (rows[0] - rows[1])
        ours, our_rows = over.sum() - theirs, rows.sum() - their_rows
        apart = theirs / np.maximum(their_rows, 1) - ours / np.maximum(our_rows, 1)
        p_values.append(_p_value(np.abs(apart)))
    return max(p_values)


def _spread(over: Int, rows: Float, groups: int) -> float:
    """Variance of the slow rows of groups of superblocks, within each arm, over that of rows that
    come one by one. A pair that meets in a group may be chance.
    """
    group = np.arange(over.shape[1]) * groups // over.shape[1]
    seen = 0.0
    for slow, all_rows in zip(over, rows, strict=True):
        here = np.bincount(group, slow, groups)
        left = here - np.bincount(group, all_rows, groups) * (slow.sum() / all_rows.sum())
        seen += groups / (groups - 1) * float(left @ left) - 2 * bool(slow.any())
    return seen / max(float(over.sum()), 1.0)


def _exchanges(sampled: Sampled, seed: int) -> Iterator[Bool]:
    """Which superblocks have their labels exchanged (labellings × superblocks), a table a scale;
    the first labelling is the true one.
    """
    for scale in sampled.scales:
        swap = swapped(scale.groups, seed, len(scale.weights))
        swap[0] = False
        yield swap[:, np.arange(sampled.number) * scale.groups // sampled.number]


def _misses(values: Float, limit_ns: float) -> Misses:
    over = int(np.count_nonzero(values > limit_ns))
    return Misses(over=over, n=len(values), share=over / len(values))


def shift_function(
    sampled: Layouts,
    wanted: Sequence[Fraction],
    alpha: float,
) -> list[ShiftPoint]:
    """Other less baseline (ms) at each quantile, with limits that miss any of them with at most
    `alpha`, the widest of all scales.

    A quantile that lies among an arm's failures, in the data or in a resample, is left out.
    """
    seen = np.array([_quantiles(arm.values, wanted) for arm in sampled[0].arms])
    shift = np.full(len(wanted), np.nan)
    np.subtract(seen[1], seen[0], out=shift, where=np.isfinite(seen).all(axis=0))
    drawn = [
        _drawn_shifts(layout, scale.weights, wanted)
        for layout in sampled
        for scale in layout.scales
    ]
    finite = np.isfinite(shift)
    for each in drawn:
        finite &= np.isfinite(each).all(axis=0)
    if not finite.any():
        return []
    at = np.flatnonzero(finite)
    reaches = np.max([_reach(each[:, at] - shift[at], alpha) for each in drawn], axis=0)
    points = []
    for i, delta, reach in zip(at.tolist(), shift[at].tolist(), reaches.tolist(), strict=True):
        point = ShiftPoint(
            q=float(wanted[i]),
            baseline_ms=float(seen[0, i]) / MS,
            shift_ms=delta / MS,
            interval=((delta - reach) / MS, (delta + reach) / MS),
        )
        points.append(point)
    return points


def _drawn_shifts(layout: Sampled, weights: Float, wanted: Sequence[Fraction]) -> Float:
    """The shift of every resample at each quantile; not finite among failures."""
    baseline, other = (arm.quantiles(weights, wanted) for arm in layout.arms)
    with np.errstate(invalid="ignore"):
        drawn: Float = other - baseline
    return drawn


def _reach(strays: Float, alpha: float) -> Float:
    """How far the limits lie from the shift at each quantile."""
    error = strays.std(axis=0, ddof=1)
    steps = np.zeros_like(strays)
    np.divide(np.abs(strays), error, out=steps, where=error > 0)
    # The farthest that a resample strays at any quantile, in standard errors.
    farthest = steps.max(axis=1)
    reach: Float = float(np.quantile(farthest, 1 - alpha, method="inverted_cdf")) * error
    return reach


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


def permutation(sampled: Layouts, q: Fraction, seed: int) -> Permutation:
    """p value of equal distributions by the ratio of the q-quantiles, and stochastic dominance;
    each p the largest of all scales.

    `dominance`: "other" or "baseline" where that arm is faster somewhere and nowhere shown to be
    slower; "crosses" where each is faster on one side, with the latency between; else "none". What
    one side shows on all scales the other side may contradict on the finest, and p is of that: the
    exchange of few large groups sees a small difference badly beside a large one.
    """
    of_layouts = [list(_exchanged(layout, q, seed)) for layout in sampled]
    p_value, faster, slower = np.max([each for of in of_layouts for each in of], axis=0).tolist()
    _, faster_finest, slower_finest = np.max([of[0] for of in of_layouts], axis=0).tolist()
    if slower <= LEVEL:
        faster = faster_finest
    elif faster <= LEVEL:
        slower = slower_finest
    verdict: Literal["other", "baseline", "crosses", "none"] = "none"
    crosses_ms = None
    if faster <= LEVEL and slower <= LEVEL:
        verdict = "crosses"
        crosses_ms = _crossing_ms(sampled[0])
    elif faster <= LEVEL:
        verdict = "other"
    elif slower <= LEVEL:
        verdict = "baseline"
    return Permutation(
        p_value=p_value,
        dominance=verdict,
        p_faster=faster,
        p_slower=slower,
        crosses_ms=crosses_ms,
    )


def _exchanged(sampled: Sampled, q: Fraction, seed: int) -> Iterator[tuple[float, float, float]]:
    """p values of equal q-quantiles, of no latency at which the other is faster, and slower; a
    triple a scale.
    """
    pooled = _pooled(sampled, whole_ties=False)
    steps = _pooled(sampled, whole_ties=True)
    for swap in _exchanges(sampled, seed):
        other = _labels(swap)
        baseline = 1 - other
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = pooled.quantiles(other, [q])[:, 0] / pooled.quantiles(baseline, [q])[:, 0]
            log_ratio = np.abs(np.log(ratio))
        # How much more of the other arm lies below each edge.
        ahead = steps.shares_below(other) - steps.shares_below(baseline)
        yield (
            _p_value(np.nan_to_num(log_ratio, nan=0.0)),
            _p_value(ahead.max(axis=1)),
            _p_value(-ahead.min(axis=1)),
        )


def _p_value(statistic: Float) -> float:
    """Share of the labellings at least as extreme as the true one, which stands first."""
    as_extreme = np.count_nonzero(statistic >= statistic[0] - 1e-12)
    return float(as_extreme) / len(statistic)


def _crossing_ms(sampled: Sampled) -> float:
    """Where the difference of the distribution functions changes its sign between its two
    extremes.
    """
    steps = _pooled(sampled, whole_ties=True)
    other = _labels(np.zeros((1, sampled.number), bool))
    ahead = (steps.shares_below(other) - steps.shares_below(1 - other))[0]
    first, last = sorted((int(ahead.argmax()), int(ahead.argmin())))
    between = np.sign(ahead[first : last + 1])
    edge = steps.edges[first + int(np.argmax(between != between[0]))]
    return float(steps.values[edge - 1]) / MS
