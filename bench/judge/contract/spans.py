"""A clause about stretches of time, judged from a run: windows, intervals, slices, minutes.

In: a clause's tally, its contract, the lane. Out: the same record that a clause about requests
gets, with time as its unit. Must stay true: only whole stretches that the run covered count; a
stretch with unknown rows is computed both ways; the limits are of the time that is lost; a run
without an outage acquits only if it was long enough to meet one of the assumed length.

Source: methods 3.4 (time-based uptime: T >= L ln(1/alpha)/(1 - target)); methods, part two, "Three
scales".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, NotRequired, TypedDict

import numpy as np

from bench.judge.contract.clauses import Tally, in_own_unit
from bench.judge.contract.uptime import (
    Attained,
    Minutes,
    attained,
    attained_means,
    bad_units,
    lost_of_units,
    minute_table,
)
from bench.judge.stats.dependence import LEAST_P, Judged
from bench.judge.stats.scales import lay_out
from bench.judge.stats.stand_in import StandIn
from bench.judge.stats.stretches import Moments, Stretches, judge_stretches
from bench.judge.stats.tail import outage_free_ns
from bench.plan.clause import Clause
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.contract import Contract
from bench.record.records.manifest import LaneRecord
from bench.record.records.verdicts import Interval, Steadiness
from bench.record.samples import Bool, Columns, Float, Int
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


class Units(NamedTuple):
    """What each counted unit lost: of what is known, and with what is unknown good or bad."""

    found: Attained
    best: Float
    worst: Float
    when: Moments
    #: units that came nearest to being bad, as a stand-in for bad ones
    slow: Bool


def judge_spans(
    columns: Columns,
    counts: Tally,
    clause: Clause,
    contract: Contract,
    lane: LaneRecord,
    alpha: float,
    pass_alpha: float | None = None,
) -> Found:
    """Judge "the share of time that is lost is at most p0", with error `alpha` for each side, or
    `pass_alpha` for PASS.
    """
    pass_alpha = alpha if pass_alpha is None else pass_alpha
    units = units_of(columns, counts, clause, lane)
    if units is None:
        note = f"the run covered no {whole_unit(clause)}" if counts.n else None
        return Found(Judged(), 1.0, _numbers(None, Judged()), note)
    p0, whole = clause.allowed_share, not clause.kind.partial
    further = further_of(units, clause)
    judged = judge_stretches(
        Stretches(units.best, further, whole),
        Stretches(units.worst, further, whole),
        units.when,
        p0,
        alpha,
        pass_alpha,
    )
    found = Found(judged, judged.p_fail, _numbers(units.found, judged), None)
    if not judged.n:
        least = clause.kind.least_requests(clause)
        return dataclasses.replace(found, note=f"no stretch of time had {least:,} requests or more")
    if clause.kind.outages:
        found = _by_time(found, units, clause, contract, pass_alpha)
    else:  # The other reading of the same words (methods 1.5, B).
        found.numbers["share_of_requests"] = 1 - counts.bad / counts.n if counts.n else None
    return dataclasses.replace(found, note=found.note or _limits_in_words(found, clause))


def whole_unit(clause: Clause) -> str:
    """What a run must cover to say something of the clause."""
    if clause.window is None:
        return "whole minute"
    return f"whole window of {show_duration(clause.unit_ns)}"


def further_of(units: Units, clause: Clause) -> float:
    """Units of a spell to allow for, whatever was seen."""
    if clause.kind.outages:
        return max(clause.assumed_outage / clause.unit_ns, 1.0)
    if units.worst.sum() > 1:
        return 1.0
    slowest = StandIn.among(lay_out(np.arange(len(units.slow))), units.slow)
    return slowest.rows(clause.allowed_share)


def units_of(columns: Columns, counts: Tally, clause: Clause, lane: LaneRecord) -> Units | None:
    """What each whole unit of the run lost; None where the run has none."""
    table, start_ns = _whole_units(counts, clause, lane)
    if table is None:
        return None
    if clause.phase is not None:
        clause = clause.model_copy(
            update={"empty": "excluded"}
        )  # the minutes of other phases are not up
    return _units(columns, counts, table, start_ns, clause)


def _units(
    columns: Columns,
    counts: Tally,
    table: Minutes,
    start_ns: int,
    clause: Clause,
) -> Units:
    counted = _counted(table, clause)
    if clause.kind.by_means(clause) and counts.values_ns is not None:
        values = in_own_unit(columns.samples[counts.rows], clause, counts.values_ns)
        found = attained_means(counts.at_ns - start_ns, values, ~counts.is_unknown, table, clause)
        bad = bad_units(found, clause)
        best = bad.astype(np.float64)
        worst = np.asarray(bad | (_by_unit(table.unknown[0], clause) > 0), np.float64)
        share = best
    else:
        found = attained(table, clause)
        best, worst = lost_of_units(table, clause)
        share = _by_unit(table.failed[0], clause) / np.maximum(_by_unit(table.n[0], clause), 1)
    at_ns = start_ns + np.flatnonzero(counted) * clause.unit_ns
    share = share[counted]
    slow = share > (np.quantile(share, 0.95, method="inverted_cdf") if len(share) else 0)
    return Units(
        dataclasses.replace(found, observed_units=len(at_ns)),
        best[counted],
        worst[counted],
        Moments(at_ns, clause.unit_ns),
        slow,
    )


def _whole_units(counts: Tally, clause: Clause, lane: LaneRecord) -> tuple[Minutes | None, int]:
    """The minutes of whole units that the lane's measured time covered, and where they begin."""
    measured = lane.measured_spans
    start = measured[0].start_ns if measured else lane.start_ns
    if counts.n and lane.closed_loop:
        end = int(counts.at_ns[-1])
    else:
        end = lane.end_ns
    minutes = (end - start) // clause.unit_ns * (clause.unit_ns // MINUTE_NS)
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


def _limits_in_words(found: Found, clause: Clause) -> str | None:
    """What is lost and by how much that may be off, beside what may be."""
    judged, measured = found.judged, found.numbers["measured"]
    if measured is None:
        return None
    lower, upper = _outwards(judged.lower, math.floor), _outwards(judged.upper, math.ceil)
    limits = {
        "PASS": f"at most {upper}",
        "FAIL": f"at least {lower}",
        "INCONCLUSIVE": f"between {lower} and {upper}",
    }[judged.outcome]
    what = "on the mean {} of an interval" if clause.kind.partial else "{} of the time"
    lost = what.format(show_share(1 - measured))
    said = f"{lost} is lost ({limits}), and {show_share(clause.allowed_share)} may be"
    return f"{said}; {_more(judged, clause)}" if judged.outcome == "INCONCLUSIVE" else said


def _more(judged: Judged, clause: Clause) -> str:
    """What would decide what is open."""
    if judged.cause == "unknown_rows":
        return "the requests still unanswered at the end would decide it"
    if judged.needed is None:
        return "that is so near the limit that no run would decide"
    return f"a run of {show_duration(judged.needed * clause.unit_ns)} would decide if it stays so"


def _outwards(share: float, way: Callable[[float], int]) -> str:
    """With three digits, rounded away from what was measured."""
    digits = 2 - math.floor(math.log10(share)) if 0 < share < 1 else 2
    return show_share(way(share * 10**digits) / 10**digits, max(digits - 2, 0))


def _by_time(
    judgement: Found,
    units: Units,
    clause: Clause,
    contract: Contract,
    pass_alpha: float,
) -> Found:
    """What only time can decide: long enough to acquit, or the whole period's allowance used up."""
    judged = judgement.judged
    lost_ns = float(units.best.sum()) * clause.unit_ns
    if contract.period is not None and lost_ns > clause.allowed_share * contract.period.longest_ns:
        used = f"{show_duration(lost_ns)} down are more than the whole period may have"
        lower = max(judged.lower, lost_ns / contract.period.longest_ns)
        failed = dataclasses.replace(
            judged, outcome="FAIL", cause="too_many", lower=lower, p_fail=LEAST_P, needed=None
        )
        return Found(failed, LEAST_P, _numbers(units.found, failed), used)
    if judged.outcome != "INCONCLUSIVE" or units.best.any() or judged.unknown:
        return judgement
    least_ns = outage_free_ns(clause.assumed_outage, clause.allowed_share, pass_alpha)
    note = (
        f"{show_duration(judged.n * clause.unit_ns)} without a long outage prove nothing yet: with"
        f" outages of {show_duration(clause.assumed_outage)} it takes"
        f" {least_ns / (86_400 * S):,.1f} days"
    )
    open_ = dataclasses.replace(judged, cause="too_few", needed=-(-least_ns // clause.unit_ns))
    return dataclasses.replace(judgement, judged=open_, note=note)
