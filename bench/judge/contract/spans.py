"""A clause about stretches of time, judged from a run: windows, intervals, slices, minutes.

In: a clause's tally, its contract, the lane. Out: the same record that a clause about requests
gets, with time as its unit. Must stay true: only whole stretches that the run covered count; a
stretch with unknown rows is computed both ways; a run without an outage acquits only if it was
long enough to meet one of the assumed length.

Source: methods 3.4 (time-based uptime: T >= L ln(1/alpha)/(1 - target)) and 8 step 3.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NotRequired, TypedDict

import numpy as np

from bench.judge.contract.clauses import Tally, in_own_unit
from bench.judge.contract.uptime import Attained, Minutes, attained, attained_means, minute_table
from bench.judge.stats.dependence import (
    LEAST_P,
    Cause,
    Judged,
    Outcome,
    Trials,
    judge_trials,
    p_value_fail,
)
from bench.judge.stats.scales import LEAST_TO_PASS
from bench.judge.stats.tail import clopper_pearson, outage_free_ns
from bench.plan.clause import Clause
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.contract import Contract
from bench.record.records.manifest import LaneRecord
from bench.record.records.verdicts import Interval, Steadiness
from bench.record.samples import Bool, Columns, Int
from bench.units import S, show_duration, show_share


class Numbers(TypedDict):
    """The fields of a verdict that say what was measured."""

    unit: Literal["ms", "tokens/s", "share"]
    measured: float | None
    #: the verdict's own limits of it
    bound: Interval
    #: of requests with a value alone
    steadiness: NotRequired[Steadiness | None]
    #: of windows alone
    share_of_requests: NotRequired[float | None]


@dataclasses.dataclass(frozen=True)
class Found:
    """What a clause's rows or stretches came to."""

    judged: Judged
    p_fail: float
    numbers: Numbers
    #: what time alone decides or leaves open, in words
    note: str | None


def judge_spans(
    columns: Columns,
    counts: Tally,
    clause: Clause,
    contract: Contract,
    lane: LaneRecord,
    alpha: float,
) -> Found:
    """Judge "the share of bad stretches is at most p0", with error `alpha` for each side."""
    table, start_ns = _minutes(counts, lane)
    if table is None:
        none = np.zeros(0, bool)
        empty = judge_trials(
            Trials(np.zeros(0, np.int64), none, none, none), clause.allowed_share, alpha
        )
        return Found(
            empty,
            1.0,
            _numbers(None, empty),
            "the run covered no whole minute" if counts.n else None,
        )
    if clause.phase is not None:
        clause = clause.model_copy(
            update={"empty": "excluded"}
        )  # the minutes of other phases are not up
    counted = _counted(table, clause)
    if clause.kind.by_means(clause) and counts.values_ns is not None:
        values = in_own_unit(columns.samples[counts.rows], clause, counts.values_ns)
        found = with_unknown = attained_means(
            counts.at_ns - start_ns, values, ~counts.is_unknown, table, clause
        )
        bad = _bad_units(found, found.units, clause)
        maybe = bad | (_by_unit(table.unknown[0], clause) > 0)
    else:
        found = attained(table, clause)
        sour = dataclasses.replace(
            table, failed=table.failed + table.unknown, unknown=np.zeros_like(table.unknown)
        )
        with_unknown = attained(sour, clause)
        bad, maybe = (_bad_units(each, found.units, clause) for each in (found, with_unknown))
    found = dataclasses.replace(found, observed_units=int(counted.sum()))
    at_ns = start_ns + np.arange(found.units, dtype=np.int64) * clause.unit_ns
    trials = Trials(
        at_ns[counted], bad[counted], (maybe & ~bad)[counted], np.zeros(int(counted.sum()), bool)
    )
    judged = judge_trials(trials, clause.allowed_share, alpha)
    p_fail = p_value_fail(trials, clause.allowed_share) if judged.outcome == "FAIL" else 1.0
    numbers = _numbers(found, judged)
    if not clause.kind.outages:
        # The other reading of the same words (methods 1.5, B).
        numbers["share_of_requests"] = 1 - counts.bad / counts.n if counts.n else None
        return Found(judged, p_fail, numbers, None)
    said = None
    if clause.kind.partial:
        judged, said = _mean(judged, found, with_unknown, clause, alpha)
        numbers = _numbers(found, judged)
        p_fail = p_fail if judged.outcome == "FAIL" else 1.0
    return _by_time(Found(judged, p_fail, numbers, said), found, clause, contract, alpha)


def _minutes(counts: Tally, lane: LaneRecord) -> tuple[Minutes | None, int]:
    """The whole minutes that the lane's measured time covered, and where they begin."""
    measured = lane.measured_spans
    start = measured[0].start_ns if measured else lane.start_ns
    if counts.n and lane.closed_loop:
        end = int(counts.at_ns[-1])
    else:
        end = lane.end_ns
    minutes = (end - start) // MINUTE_NS
    if minutes < 1 or not counts.n:
        return None, start
    table = minute_table(
        counts.at_ns - start,
        counts.is_bad,
        counts.is_unknown,
        (0, minutes * MINUTE_NS),
        _watched(lane, start, minutes),
    )
    return table, start


def _watched(lane: LaneRecord, start_ns: int, minutes: int) -> Bool:
    """Minutes that lie whole on the record; of others, between two sittings or after its end,
    nothing is known.
    """
    watched = np.ones(minutes, bool)
    for begin, end in lane.gaps_ns:
        watched[
            max(begin - start_ns, 0) // MINUTE_NS : max(-(-(end - start_ns) // MINUTE_NS), 0)
        ] = False
    return watched


def _bad_units(found: Attained, units: int, clause: Clause) -> Bool:
    bad = np.zeros(units, bool)
    for episode in found.down:
        bad[episode.start_ns // clause.unit_ns : -(-episode.end_ns // clause.unit_ns)] = True
    return bad


def _by_unit(minutes: Int, clause: Clause) -> Int:
    return np.add.reduceat(minutes, np.arange(0, len(minutes), clause.unit_ns // MINUTE_NS))


def _counted(table: Minutes, clause: Clause) -> Bool:
    """Units that say something: windows with enough requests; of uptime all that were watched,
    unless empty ones are left out.
    """
    least = clause.kind.least_requests(clause)
    watched = _by_unit(table.observed.astype(np.int64), clause)
    return np.asarray((_by_unit(table.n[0], clause) >= least) & (watched > 0), bool)


def _numbers(found: Attained | None, judged: Judged) -> Numbers:
    """The measured share, with the limits of the verdict."""
    if found is None or found.value is None or judged.n == 0:
        return {"unit": "share", "measured": None, "bound": (None, None)}
    return {
        "unit": "share",
        "measured": float(found.value),
        "bound": (1 - judged.upper, 1 - judged.lower),
    }


def _mean(
    judged: Judged,
    found: Attained,
    with_unknown: Attained,
    clause: Clause,
    alpha: float,
) -> tuple[Judged, str | None]:
    """A mean of intervals, and its limits in words. Each interval loses a part of itself. A share
    of one varies at most as much as a yes or no, so the exact limits of a proportion hold for it,
    at the size that the intervals are worth.
    """
    if found.value is None or with_unknown.value is None:
        return judged, None
    units = min(float(found.observed_units), judged.n_eff)
    lower = clopper_pearson(float(1 - found.value) * units, units, alpha).lower
    upper = clopper_pearson(float(1 - with_unknown.value) * units, units, alpha).upper
    said = (
        f"on the mean {show_share(1 - found.value)} of an interval is lost ({show_share(lower)} to"
        f" {show_share(upper)}), and {show_share(clause.allowed_share)} may be"
    )
    long_enough = judged.blocks >= LEAST_TO_PASS
    outcome: Outcome = "INCONCLUSIVE"
    cause: Cause = "undecided"
    if upper <= clause.allowed_share and long_enough:
        outcome, cause = "PASS", "few_enough"
    elif judged.outcome == "FAIL" and lower > clause.allowed_share:
        outcome, cause = "FAIL", "too_many"
    return dataclasses.replace(
        judged,
        outcome=outcome,
        cause=cause,
        lower=lower,
        upper=upper,
    ), said


def _by_time(
    judgement: Found,
    found: Attained,
    clause: Clause,
    contract: Contract,
    alpha: float,
) -> Found:
    """What only time can decide: long enough to acquit, or the whole period's allowance used up."""
    judged = judgement.judged
    if found.value is None:
        lost_ns = 0.0
    else:
        lost_ns = float((1 - found.value) * found.observed_units) * clause.unit_ns
    if contract.period is not None and lost_ns > clause.allowed_share * contract.period.longest_ns:
        used = f"{show_duration(lost_ns)} down are more than the whole period may have"
        failed = dataclasses.replace(judged, outcome="FAIL", cause="too_many")
        return dataclasses.replace(judgement, judged=failed, p_fail=LEAST_P, note=used)
    least_ns = outage_free_ns(clause.assumed_outage, clause.allowed_share, alpha)
    watched_ns = found.observed_units * clause.unit_ns
    if judged.outcome != "PASS" or watched_ns >= least_ns:
        return judgement
    note = (
        f"{show_duration(watched_ns)} without a long outage prove nothing yet: with outages of "
        f"{show_duration(clause.assumed_outage)} it takes {least_ns / (86_400 * S):,.1f} days"
    )
    open_ = dataclasses.replace(
        judged,
        outcome="INCONCLUSIVE",
        cause="too_few",
        needed=-(-least_ns // clause.unit_ns),
    )
    return dataclasses.replace(judgement, judged=open_, p_fail=1.0, note=note)
