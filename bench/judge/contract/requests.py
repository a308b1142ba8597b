"""A clause about requests, judged from a run.

In: a clause's tally. Out: what its requests came to: the judgement, the measured statistic with the
limits that are the verdict's own, and whether the run was one thing from beginning to end. Must
stay true: unknown rows are counted good for the lower limit and bad for the upper one; what lies
among failures has no number; no limit denies the verdict.

Source: methods, part two, "Three scales".
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bench.judge.contract.clauses import Tally, largest_kept_ns
from bench.judge.contract.spans import Found, Numbers
from bench.judge.stats.dependence import Judged, Trials, judge_trials
from bench.judge.stats.sequential import steadiness
from bench.judge.stats.stand_in import OVER_ANY_LIMIT_NS
from bench.metrics import METRICS
from bench.plan.clause import Clause
from bench.record.records.verdicts import Interval, Steadiness
from bench.record.samples import Columns, latency_ns
from bench.units import MS, S, nearest_rank


def judge_requests(
    columns: Columns,
    counts: Tally,
    clause: Clause,
    alpha: float,
    pass_alpha: float | None = None,
    *,
    closed_loop: bool = False,
) -> Found:
    trials = trials_of(columns, counts, clause, closed_loop=closed_loop)
    judged = judge_trials(trials, clause.allowed_share, alpha, pass_alpha)
    numbers: Numbers = {
        "unit": METRICS[clause.metric].unit,
        "measured": _measured(counts, clause),
        "bound": _bound(judged, counts, clause),
        "steadiness": _steadiness(trials, counts, clause),
    }
    return Found(judged, judged.p_fail, numbers, None)


def _steadiness(
    trials: Trials,
    counts: Tally,
    clause: Clause,
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
        after = _measured(later, clause)
    return Steadiness(
        trend_rho=found.trend and found.trend.rho,
        trend_p=found.trend and found.trend.p,
        mser5_drops=dropped,
        measured_without=after,
        steady=not any(
            each is not None and each.at_boundary for each in (found.rows, found.medians)
        ),
    )


def trials_of(
    columns: Columns, counts: Tally, clause: Clause, *, closed_loop: bool = False
) -> Trials:
    """The rows of a clause, as they are judged. A user of a closed loop is no session: it only asks
    again once answered, and its requests have nothing in common.
    """
    sessions = None
    if not closed_loop:
        sessions = columns.schedule["session"][counts.rows].astype(np.int64)
        alone = sessions < 0
        if alone.any():
            sessions = np.where(alone, -1 - np.arange(counts.n), sessions)
    values = None
    if counts.values_ns is None:
        took = latency_ns(columns.samples, "e2e")[counts.rows]
    else:
        took = np.where(counts.is_unknown, OVER_ANY_LIMIT_NS, counts.values_ns)
        if counts.least_ns is None or not counts.unknown:
            values = took, took
        else:
            values = took, counts.least_ns
    return Trials(
        counts.at_ns,
        counts.is_bad,
        counts.is_unknown,
        took,
        sessions,
        values,
        None if values is None else largest_kept_ns(clause),
    )


def _measured(counts: Tally, clause: Clause) -> float | None:
    """The statistic in the metric's unit; None where the value lies among failures (above any
    number).
    """
    if counts.n == 0:
        return None
    if counts.values_ns is None:
        known = counts.n - counts.unknown
        if not known:
            return None
        share = counts.bad / known
        return 1 - share if clause.rising else share
    rank = nearest_rank(counts.n, 1 - clause.allowed_share)
    return in_unit(int(np.partition(counts.values_ns, rank - 1)[rank - 1]), clause)


def in_unit(value_ns: int, clause: Clause) -> float | None:
    """A value of a tally in ms or tokens/s; None where it is over any limit."""
    if value_ns == OVER_ANY_LIMIT_NS:
        return None
    return S / max(value_ns, 1) if clause.rising else value_ns / MS


def _bound(judged: Judged, counts: Tally, clause: Clause) -> Interval:
    """The limits of the statistic, in the metric's unit."""
    if not counts.n:
        return None, None
    if counts.values_ns is None:
        limits = judged.lower, judged.upper
        return (1 - limits[1], 1 - limits[0]) if clause.rising else limits
    low, high = (None if value is None else in_unit(value, clause) for value in judged.bound)
    return (high, low) if clause.rising else (low, high)
