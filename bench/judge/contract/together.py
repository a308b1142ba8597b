"""The clauses of a run held together: which FAIL stands among all of them, bounds that deny no
verdict, one verdict over all and the exit code.

In: the clauses of all lanes and contracts, each judged by itself; the health of the harness. Out:
the same, corrected; a word and a code. Must stay true: the chance of any false FAIL among all
clauses of a run is at most that of one (Holm); where the correction holds a FAIL back its lower
bound is made at the corrected error, and no longer lies beyond the limit; an end of a bound that
would decide what was left open is not given. INVALID beats all; PASS needs every judged clause; of
several codes the worst wins.

Source: methods 3.7, 8; methods, part two, mends 6 and 9.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from bench.errors import ExitCode
from bench.judge.contract.clauses import Tally
from bench.judge.contract.decision import Decision
from bench.judge.contract.spans import Found
from bench.judge.health import Health
from bench.judge.stats.sequential import holm
from bench.plan.clause import Clause
from bench.record.records.manifest import LaneRecord
from bench.record.records.summary import Overall
from bench.record.records.verdicts import ClauseOutcome, ClauseVerdict, Decide, Expectation
from bench.record.run_folder import Run
from bench.units import S


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a clause came to by itself."""

    record: ClauseVerdict
    #: error of one side
    alpha: float
    #: what its rows come to at another error
    found_at: Callable[[float], Found]


def stand_together(claims: list[Claim]) -> list[Claim]:
    """The claims; a FAIL that does not stand among all of them is INCONCLUSIVE."""
    judged = [index for index, claim in enumerate(claims) if claim.record.judged]
    parts = [float(claims[index].record.p_fail) / claims[index].alpha for index in judged]
    stands = holm(parts, 1.0)
    divided_by = len(judged) - sum(stands)
    found = list(claims)
    for index, stands_alone in zip(judged, stands, strict=True):
        claim = claims[index]
        if claim.record.verdict == "FAIL" and not stands_alone:
            found[index] = _held_back(claim, len(judged), divided_by)
    return found


def _held_back(claim: Claim, among: int, divided_by: int) -> Claim:
    record = claim.record
    rising = record.held_by in (">=", ">")
    found = claim.found_at(claim.alpha / divided_by)
    low, high = found.numbers["bound"]
    bound = (record.bound[0], high) if rising else (low, record.bound[1])
    limits = (min(found.judged.lower, record.p0), record.p_limits[1])
    reason = (
        f"{record.reason}; alone that would be a FAIL (p = {record.p_fail:.2g}), among"
        f" {among} clauses it may be chance"
    )
    open_ = record.replace(
        verdict="INCONCLUSIVE",
        reason=reason,
        open_cause="few_rows",
        bound=bound,
        interval=bound,
        p_limits=limits,
        p_interval=limits,
        fail_k=max(found.judged.fails, record.k + 1),
        needed_n=found.judged.needed,
        decide=_decide_again(record, found.judged.needed),
    )
    return dataclasses.replace(claim, record=agreeing(open_))


def _decide_again(record: ClauseVerdict, needed: int | None) -> Decide | None:
    """The run in which the claim would stand among all of them."""
    scope = record.scope
    if needed is None or scope is None or record.kind.outages:
        return None
    lasts_s = float(scope.duration_s) * needed / record.n
    return Decide(share=record.k / record.n, requests=needed, duration_s=lasts_s)


def agreeing(record: ClauseVerdict) -> ClauseVerdict:
    """The record with no bound that denies its verdict.

    Of a verdict it is a matter of rounding (tokens per second have no exact number of ns). What was
    left open for another reason than its numbers, as a harness that was late, has no end that would
    decide it.
    """
    promised = record.promised
    low, high = record.bound
    if promised is None or not record.judged:
        return record
    rising = record.held_by in (">=", ">")
    keeps, breaks = (low, high) if rising else (high, low)
    if record.verdict == "PASS" and _breaks(keeps, record):
        keeps = promised
    if record.verdict == "FAIL" and breaks is not None and not _breaks(breaks, record):
        breaks = math.nextafter(promised, -math.inf if rising else math.inf)
    if record.verdict == "INCONCLUSIVE":
        keeps = keeps if _breaks(keeps, record) else None
        breaks = None if _breaks(breaks, record) else breaks
    bound = (keeps, breaks) if rising else (breaks, keeps)
    return record.replace(bound=bound, interval=bound)


def _breaks(value: float | None, record: ClauseVerdict) -> bool:
    """Whether a measured value would break the promise."""
    promised = record.promised
    if value is None or promised is None:
        return False
    return {
        "<=": value > promised,
        "<": value >= promised,
        ">=": value < promised,
        ">": value <= promised,
    }[record.held_by]


def decide(decision: Decision, clause: Clause, counts: Tally, lane: LaneRecord) -> Decide | None:
    """The run that would probably decide an open clause."""
    if decision.verdict != "INCONCLUSIVE" or decision.needed is None or not counts.n:
        return None
    measured_ns = sum(span.end_ns - span.start_ns for span in lane.measured_spans)
    measured_ns = measured_ns or lane.end_ns - lane.start_ns
    if clause.by_time:
        lasts_ns = decision.needed * clause.unit_ns
        requests = math.ceil(counts.n * lasts_ns / max(measured_ns, 1))
    else:
        requests = decision.needed
        lasts_ns = math.ceil(measured_ns * requests / counts.n)
    return Decide(share=decision.share, requests=requests, duration_s=lasts_ns / S)


def overall_verdict(verdicts: Sequence[ClauseOutcome], health: Health) -> Overall:
    """INVALID beats all; FAIL if any; PASS only if all judged clauses pass; NONE without any."""
    judged = [verdict for verdict in verdicts if verdict != "REPORTED"]
    if not judged:
        return "NONE"
    if health.state == "invalid":
        return "INVALID"
    if "FAIL" in judged:
        return "FAIL"
    if all(verdict == "PASS" for verdict in judged):
        return "PASS"
    return "INCONCLUSIVE"


def exit_code(
    run: Run, health: Health, overall: Overall, expects: Sequence[Expectation]
) -> ExitCode:
    """The first of 130, 5, 4, 1, 3, 0 that holds; a suite with `expect` is judged by that alone."""
    if run.state != "complete":
        return ExitCode.INTERRUPTED
    if any(not mistake.expired for mistake in health.mistakes):
        return ExitCode.UNREACHABLE
    if overall == "INVALID":
        return ExitCode.INVALID
    if expects:
        if all(expect.met for expect in expects):
            return ExitCode.PASS
        return ExitCode.FAIL
    return {"FAIL": ExitCode.FAIL, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}.get(
        overall, ExitCode.PASS
    )
