"""Two arms at one limit: the share of requests over it, and how far the shares lie apart.

In: latencies of two arms with their superblocks, a limit. Out: counts, the difference and its
interval, Fisher's p value for small arms. Must stay true: a failure is over any limit; where the
arms have too few misses to resample, exact limits of each share stand in, never an interval of
width zero; Fisher's test is exact, in whole numbers.

Source: methods 4; Fisher 1935; Zou and Donner 2008 (MOVER).
"""

from __future__ import annotations

from math import comb, hypot

import numpy as np

from bench.judge.stats.resample import Sampled, percentile_limits
from bench.judge.stats.tail import clopper_pearson
from bench.record.records.comparisons import Exceedance, Misses
from bench.record.samples import Float

#: Below so many rows an arm Fisher's test stands beside the interval, and no p99 ratio.
SMALL = 1_000
#: Fewer misses than this in both arms make a bootstrap lumpy.
MISSES_LEAST = 10


def fisher_exact(misses: tuple[int, int], rows: tuple[int, int]) -> float:
    """Two-sided p value of equal shares: all tables with these margins that are at most as likely
    as the one seen.
    """
    total = sum(misses)
    low, high = max(0, total - rows[1]), min(total, rows[0])
    ways = [comb(rows[0], k) * comb(rows[1], total - k) for k in range(low, high + 1)]
    seen = ways[misses[0] - low]
    return sum(way for way in ways if way <= seen) / sum(ways)


def exceedance(
    baseline: Float, other: Float, limit_ns: float, sampled: Sampled | None, alpha_each_side: float
) -> Exceedance:
    """Misses of both arms at `limit_ns`, the difference of their shares (other less baseline) and
    its limits.
    """
    misses = tuple(int(np.count_nonzero(values > limit_ns)) for values in (baseline, other))
    rows = (len(baseline), len(other))
    shares = [miss / n for miss, n in zip(misses, rows, strict=True)]
    if sampled is not None and max(misses) >= MISSES_LEAST:
        drawn = [sampled.share_over(arm, limit_ns) for arm in (0, 1)]
        low, high = percentile_limits(drawn[1] - drawn[0], alpha_each_side, sampled.number)
    else:
        first, second = (
            clopper_pearson(miss, n, alpha_each_side) for miss, n in zip(misses, rows, strict=True)
        )
        difference = shares[1] - shares[0]
        low = difference - hypot(shares[1] - second.lower, first.upper - shares[0])
        high = difference + hypot(second.upper - shares[1], shares[0] - first.lower)
    return Exceedance(
        limit_ms=limit_ns / 1e6,
        baseline=Misses(over=misses[0], n=rows[0], share=shares[0]),
        other=Misses(over=misses[1], n=rows[1], share=shares[1]),
        difference=shares[1] - shares[0],
        interval=(low, high),
        fisher_p=fisher_exact((misses[0], misses[1]), rows) if min(rows) < SMALL else None,
    )
