"""What a probe came to, and the curve of the probes' tail against the load, with its knee.

In: the records of judged runs. Out: the probes' part of ramp.json, the knee. Must stay true: a
verdict is the judge's; a PASS whose breaches grew as it went on is not taken for one that lasts;
the knee is named only as far as intervals show, and nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.judge.contract.decision import DRIFT_P
from bench.judge.ramp.search import Probe, Step
from bench.plan.contract import Contract
from bench.record.records.ramp import ClauseRecord, Knee, ProbeRecord, ProbeVerdict
from bench.record.records.summary import Summary
from bench.record.records.verdicts import ClauseVerdict, Interval, Verdicts

#: The tail has left the flat part where it is more than this many times that of the lowest load.
KNEE_FACTOR = 2


def curve_clause(contract: Contract) -> int | None:
    """The number (from 1) of the clause whose quantile the curve shows: the first that limits a
    latency; None without one.
    """
    numbers = (
        number
        for number, clause in enumerate(contract.clauses, 1)
        if clause.limit is not None and clause.quantile is not None and not clause.report_only
    )
    return next(numbers, None)


def observed(
    step: Step,
    run: tuple[str, int],
    summary: Summary,
    verdicts: Verdicts,
    shown: int | None,
) -> ProbeRecord:
    """One run as ramp.json has it: its folder and its seed, and what was judged.

    `shown` is the clause of the curve.
    """
    judged = [clause for clause in verdicts.clauses if clause.judged]
    (lane,) = summary.targets.values()
    tail = next((clause for clause in judged if clause.number == shown), None)
    verdict, reason = _said(judged, summary, verdicts)
    return ProbeRecord(
        folder=run[0],
        seed=run[1],
        rate_rps=float(step.rate),
        requests=lane.requests,
        verdict=verdict,
        reason=reason,
        needed_requests=_needed(judged, lane.requests),
        design_effect=max((clause.design_effect for clause in judged), default=1.0),
        tail_ms=tail.measured if tail else None,
        tail_interval_ms=tail.interval if tail else (None, None),
        bound=_bound_ms(tail),
        clauses=[
            ClauseRecord(
                text=clause.text,
                verdict=clause.verdict,
                n=clause.n,
                k=clause.k,
                confidence=clause.confidence,
            )
            for clause in judged
            if clause.judged
        ],
    )


def _bound_ms(tail: ClauseVerdict | None) -> Interval:
    """What the clause's verdict was read from."""
    if tail is None:
        return None, None
    return tail.bound if any(tail.bound) else tail.interval


def _said(
    judged: Sequence[ClauseVerdict],
    summary: Summary,
    verdicts: Verdicts,
) -> tuple[ProbeVerdict, str]:
    """The verdict of the run, and the reason of the clause that decided it."""
    verdict = verdicts.overall
    assert verdict != "NONE", "a contract without a judged clause is refused before the first probe"
    if verdict == "INVALID":
        return verdict, summary.health.reasons[0]
    if verdict == "PASS" and any(_drifts(clause) for clause in judged):
        why = "more requests broke the limit as the probe went on: it may not last"
        return "INCONCLUSIVE", why
    decisive = [clause for clause in judged if clause.verdict == verdict]
    return verdict, (decisive or judged)[0].reason


def probe_of(step: Step, record: ProbeRecord) -> Probe:
    """What the search must know of the probe that a step led to."""
    return Probe(step.rate, step.requests, record.verdict, record.needed_requests)


def _drifts(clause: ClauseVerdict) -> bool:
    steady = clause.steadiness
    if steady is None or steady.trend_p is None or steady.trend_rho is None:
        return False
    return steady.trend_p < DRIFT_P and steady.trend_rho > 0


def _needed(judged: Sequence[ClauseVerdict], requests: int) -> int | None:
    """Requests that would probably decide what was not decided; of the whole probe, where a clause
    is of a part of it.
    """
    needed = [
        math.ceil(clause.needed_n * requests / clause.n)
        for clause in judged
        if clause.verdict == "INCONCLUSIVE" and clause.needed_n is not None and clause.n
    ]
    return max(needed, default=None)


def knee_of(probes: Sequence[ProbeRecord]) -> Knee | None:
    """Between which rates the tail leaves its flat part.

    The tail at the base, the lowest rate, is at least the lower limit there and, for load does not
    shorten a tail, at most the least upper limit of any probe. `flat_rps` is the highest rate whose
    tail is at most KNEE_FACTOR times that for certain, `left_rps` the lowest whose tail is more
    than that for certain (None: no probe's is). None where the base has no lower limit or no probe
    an upper one.
    """
    longest: dict[float, ProbeRecord] = {}
    for probe in probes:
        known = longest.get(probe.rate_rps)
        if probe.verdict != "INVALID" and (known is None or probe.requests >= known.requests):
            longest[probe.rate_rps] = probe
    curve = [(rate, *longest[rate].tail_interval_ms) for rate in sorted(longest)]
    most = min((high for _, _, high in curve if high is not None), default=None)
    if not curve or most is None or (least := curve[0][1]) is None:
        return None
    flat = [rate for rate, _, high in curve if high is not None and high <= KNEE_FACTOR * least]
    left = [rate for rate, low, _ in curve if low is not None and low > KNEE_FACTOR * most]
    return Knee(
        base_rps=curve[0][0],
        flat_rps=max(flat, default=curve[0][0]),
        left_rps=min(left, default=None),
        factor=KNEE_FACTOR,
    )
