"""Verdicts over time and over several clauses: planned looks, steadiness, Holm's order.

In: the trials so far, counts, p values. Out: verdicts at planned looks, diagnostics of drift and
warm-up, which FAIL claims stand together. Must stay true: a look spends its share of alpha and the
looks are fixed before the run; a diagnostic never drops a row. Methods 3.5 to 3.7; figures:
docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.judge.stats.binomial import beta_tails
from bench.judge.stats.dependence import Trials
from bench.judge.stats.groups import BLOCKS, count_within, equal_times, watched_ns
from bench.judge.stats.tail import MSER_BATCH, Mser5, mser5
from bench.record.samples import Float, Int

LOOKS = 4


class Trend(NamedTuple):
    """Spearman's rank correlation with time, and its two-sided p value."""

    rho: float
    p: float


@dataclass(frozen=True)
class Steadiness:
    """Whether the run was one thing from beginning to end. None: too few values to say."""

    #: of the share of bad requests in blocks of run/30
    trend: Trend | None
    #: MSER-5 of ln(latency) by due time, and of medians of fifths of those blocks
    rows: Mser5 | None
    medians: Mser5 | None
    #: where MSER-5 of the rows would end the warm-up, ns after the first due time
    warm_up_ns: int | None


def look_times(start_ns: int, end_ns: int, looks: int = LOOKS) -> tuple[int, ...]:
    """The moments of the planned looks, the last at the end: quarters of the run for four."""
    return tuple(start_ns + (end_ns - start_ns) * number // looks for number in range(1, looks + 1))


def trend(values: Sequence[float] | Float | Int) -> Trend | None:
    """Spearman's rho of values in order of time, equal values sharing their mean rank.

    p from Student's t with m-2 degrees of freedom. None below four values or where all are equal.
    """
    _, which, times = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    m = len(which)
    if m < 4 or len(times) == 1:
        return None
    mean_rank = np.cumsum(times) - (times - 1) / 2
    ranks = mean_rank[which]
    rho = float(np.corrcoef(np.arange(m), ranks)[0, 1])
    unexplained = min(max(1 - rho * rho, 0.0), 1.0)
    p, _ = beta_tails((m - 2) / 2, 0.5, unexplained)
    return Trend(rho, p)


def steadiness(trials: Trials, latency_ns: Int) -> Steadiness:
    """Diagnose drift and warm-up. `latency_ns` per trial; zero or less where a row has none."""
    if len(trials.at_ns) == 0:
        return Steadiness(None, None, None, None)
    edges = equal_times(watched_ns(trials.at_ns), BLOCKS)
    drift = trend(count_within(trials.bad, edges) / np.diff(edges))
    timed = latency_ns > 0
    at_ns = trials.at_ns[timed]
    logs = np.log(latency_ns[timed])
    if len(logs) < 2 * MSER_BATCH:
        return Steadiness(drift, None, None, None)
    rows = mser5(logs)
    of_medians = None
    fifths = equal_times(watched_ns(at_ns), BLOCKS * MSER_BATCH)
    medians = [float(np.median(part)) for part in np.split(logs, fifths[1:-1])]
    if len(medians) >= 2 * MSER_BATCH:
        of_medians = mser5(medians)
    warm_up_ns = int(at_ns[rows.truncate_first] - trials.at_ns[0])
    return Steadiness(drift, rows, of_medians, warm_up_ns)


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which of several claims stand with at most `alpha` for any false one among them (Holm 1979).

    The smallest p is held to alpha over the count of claims, the next to alpha over one fewer,
    and so on to the first that does not stay below.
    """
    claims = len(p_values)
    stands = [False] * claims
    by_p = sorted(range(claims), key=p_values.__getitem__)
    for rank, claim in enumerate(by_p):
        if p_values[claim] >= alpha / (claims - rank):
            break
        stands[claim] = True
    return stands
