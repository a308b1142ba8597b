"""How two arms differ along the whole distribution, not at one quantile.

In: two arms resampled together. Out: the shift function with simultaneous limits, what the block
permutation says of equal tails, and which arm is faster everywhere. Must stay true: the limits
hold for all quantiles at once; a permutation exchanges the labels of whole superblocks; the
distributions are compared between groups of equal values only.

Source: methods 4 (Doksum 1974; Wilcox 1995; one-sided Kolmogorov-Smirnov under block permutation).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np

from bench.judge.stats.resample import RESAMPLES, Ordered, Sampled, ordered, swapped
from bench.judge.stats.tail import quantile_nearest_rank
from bench.record.records.comparisons import Permutation, ShiftPoint
from bench.record.samples import Bool, Float
from bench.units import MS

#: Level of each side: "faster somewhere" is asked of both arms, so the two share 5 %.
LEVEL = 0.025


def shift_function(sampled: Sampled, wanted: Sequence[Fraction], alpha: float) -> list[ShiftPoint]:
    """Other less baseline (ms) at each quantile, with limits that miss any of them with at most
    `alpha`.

    A quantile that lies among an arm's failures, in the data or in a resample, is left out.
    """
    baseline, other = (arm.quantiles(sampled.weights, wanted) for arm in sampled.arms)
    seen = [[float(quantile_nearest_rank(arm.values, q)) for q in wanted] for arm in sampled.arms]
    finite = (
        np.isfinite(seen).all(axis=0)
        & np.isfinite(baseline).all(axis=0)
        & np.isfinite(other).all(axis=0)
    )
    if not finite.any():
        return []
    at = np.flatnonzero(finite)
    shift = np.array(seen[1])[at] - np.array(seen[0])[at]
    drawn = other[:, at] - baseline[:, at]
    error = drawn.std(axis=0, ddof=1)
    steps = np.divide(np.abs(drawn - shift), error, out=np.zeros_like(drawn), where=error > 0)
    widest = float(np.quantile(steps.max(axis=1), 1 - alpha, method="inverted_cdf"))
    return [
        ShiftPoint(
            q=float(wanted[i]),
            baseline_ms=seen[0][i] / MS,
            shift_ms=delta / MS,
            interval=((delta - widest * e) / MS, (delta + widest * e) / MS),
        )
        for i, delta, e in zip(at.tolist(), shift.tolist(), error.tolist(), strict=True)
    ]


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
    taken: Float = np.stack([swap, ~swap], axis=2).reshape(len(swap), -1).astype(np.float64)
    return taken


def permutation(sampled: Sampled, q: Fraction, seed: int) -> Permutation:
    """p value of equal distributions by the ratio of the q-quantiles, and stochastic dominance.

    `dominance`: "other" or "baseline" where that arm is faster somewhere and nowhere shown to be
    slower; "crosses" where each is faster on one side, with the latency between; else "none".
    """
    pooled, steps = _pooled(sampled, whole_ties=False), _pooled(sampled, whole_ties=True)
    swap = np.concatenate([np.zeros((1, sampled.number), bool), swapped(sampled.number, seed)])
    other = _labels(swap)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_ratio = np.abs(
            np.log(pooled.quantiles(other, [q])[:, 0] / pooled.quantiles(1 - other, [q])[:, 0])
        )
    below = [steps.below(weights) for weights in (other, 1 - other)]
    ahead = below[0] / below[0][:, -1:] - below[1] / below[1][:, -1:]
    faster, slower = _p_value(ahead.max(axis=1)), _p_value(-ahead.min(axis=1))
    verdict: Literal["other", "baseline", "crosses", "none"] = "none"
    if faster <= LEVEL:
        verdict = "crosses" if slower <= LEVEL else "other"
    elif slower <= LEVEL:
        verdict = "baseline"
    crossing = _crossing(ahead[0]) if verdict == "crosses" else None
    return Permutation(
        p_value=_p_value(np.nan_to_num(log_ratio, nan=0.0)),
        dominance=verdict,
        p_faster=faster,
        p_slower=slower,
        crosses_ms=(
            None if crossing is None else float(steps.values[steps.edges[crossing] - 1]) / MS
        ),
    )


def _p_value(statistic: Float) -> float:
    """Share of the labellings at least as extreme as the true one, which stands first."""
    return float(np.count_nonzero(statistic >= statistic[0] - 1e-12)) / (RESAMPLES + 1)


def _crossing(ahead: Float) -> int:
    """Where the difference of the distribution functions changes its sign between its two
    extremes.
    """
    first, last = sorted((int(ahead.argmax()), int(ahead.argmin())))
    between = np.sign(ahead[first : last + 1])
    return first + int(np.argmax(between != between[0]))
