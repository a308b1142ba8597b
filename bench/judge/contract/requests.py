"""A clause about requests, judged from a run.

In: a clause's tally. Out: what its requests came to: the judgement, the measured statistic with its
limits, and whether the run was one thing from beginning to end. Must stay true: unknown rows are
counted good for the lower limit and bad for the upper one; what lies among failures has no number.

Source: methods 3.2, 3.3 and 3.5.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bench.judge.contract.clauses import OVER_ANY_LIMIT_NS, Tally, slow_twentieth
from bench.judge.contract.spans import Found, Numbers
from bench.judge.stats.dependence import Trials, judge_trials, p_value_fail
from bench.judge.stats.sequential import steadiness
from bench.judge.stats.tail import clopper_pearson, quantile_ci_ranks
from bench.metrics import METRICS
from bench.plan.clause import Clause
from bench.record.records.verdicts import Interval, Steadiness
from bench.record.samples import Columns
from bench.units import MS, S, nearest_rank


def judge_requests(
    columns: Columns,
    counts: Tally,
    clause: Clause,
    alpha: float,
) -> Found:
    trials = trials_of(columns, counts)
    judged = judge_trials(trials, clause.allowed_share, alpha)
    if judged.method == "blocks":
        worth = min(counts.n, math.ceil(judged.n_eff))
    else:
        worth = counts.n
    measured, interval = _measured(counts, clause, alpha, worth)
    low, high = _share_limits(counts, alpha / 2, worth) if counts.n else (0.0, 1.0)
    if judged.outcome == "FAIL":
        p_fail = p_value_fail(trials, clause.allowed_share)
    else:
        p_fail = 1.0
    numbers: Numbers = {
        "unit": METRICS[clause.metric].unit,
        "measured": measured,
        "interval": interval,
        "p_interval": (low, high),
        "steadiness": _steadiness(trials, counts, clause, alpha),
    }
    return Found(judged, p_fail, numbers, None)


def _steadiness(
    trials: Trials,
    counts: Tally,
    clause: Clause,
    alpha: float,
) -> Steadiness | None:
    """Was the run one thing from beginning to end?

    Diagnostics: they drop no row and decide nothing.
    """
    if counts.values_ns is None or clause.report_only:
        return None
    found = steadiness(trials, np.where(counts.values_ns == OVER_ANY_LIMIT_NS, 0, counts.values_ns))
    dropped, after = 0, None
    if found.rows is not None and found.warm_up_ns is not None:
        dropped = int(np.searchsorted(counts.at_ns, counts.at_ns[0] + found.warm_up_ns))
        later = dataclasses.replace(
            counts,
            at_ns=counts.at_ns[dropped:],
            is_bad=counts.is_bad[dropped:],
            is_unknown=counts.is_unknown[dropped:],
            values_ns=counts.values_ns[dropped:],
        )
        after = _measured(later, clause, alpha, later.n)[0]
    return Steadiness(
        trend_rho=found.trend and found.trend.rho,
        trend_p=found.trend and found.trend.p,
        mser5_drops=dropped,
        measured_without=after,
        steady=not any(
            each is not None and each.at_boundary for each in (found.rows, found.medians)
        ),
    )


def trials_of(columns: Columns, counts: Tally) -> Trials:
    if counts.is_bad.any():
        slow = np.zeros(counts.n, bool)
    else:
        slow = slow_twentieth(columns, counts.rows)
    return Trials(counts.at_ns, counts.is_bad, counts.is_unknown, slow)


def _share_limits(
    counts: Tally,
    alpha_each_side: float,
    worth: int,
) -> tuple[float, float]:
    """Limits of the share that broke it, the rows being worth `worth` independent ones: the lower
    with unknown rows counted good, the upper with them bad.
    """
    # Divided last: all of the rows are never a hair more than all.
    low = clopper_pearson(counts.bad * worth / counts.n, worth, alpha_each_side).lower
    return (
        low,
        clopper_pearson(
            (counts.bad + counts.unknown) * worth / counts.n,
            worth,
            alpha_each_side,
        ).upper,
    )


def _measured(
    counts: Tally,
    clause: Clause,
    alpha: float,
    worth: int,
) -> tuple[float | None, Interval]:
    """The statistic and its two-sided limits, in the metric's unit.

    None where the value lies among failures (above any number) or no such limit exists.
    """
    if counts.n == 0:
        return None, (None, None)
    if counts.values_ns is None:
        low, high = _share_limits(counts, alpha / 2, worth)
        known = counts.n - counts.unknown
        share = counts.bad / known if known else None
        if not clause.rising:
            return share, (low, high)
        return None if share is None else 1 - share, (1 - high, 1 - low)
    quantile = 1 - clause.allowed_share
    lower, upper = quantile_ci_ranks(worth, quantile, alpha / 2)
    # ranks among `worth` rows, spread over all of them
    ranks = [
        nearest_rank(counts.n, quantile),
        lower * counts.n // worth,
        -(-upper * counts.n // worth) if upper <= worth else counts.n + 1,
    ]
    at = np.partition(
        counts.values_ns, sorted({rank - 1 for rank in ranks if 1 <= rank <= counts.n})
    )

    def value(rank: int) -> float | None:
        if not 1 <= rank <= counts.n or at[rank - 1] == OVER_ANY_LIMIT_NS:
            return None
        if clause.rising:
            return S / max(int(at[rank - 1]), 1)
        return int(at[rank - 1]) / MS

    point, low_at, high_at = (value(rank) for rank in ranks)
    return point, (high_at, low_at) if clause.rising else (low_at, high_at)
