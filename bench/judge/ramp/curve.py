"""What a probe came to, and the curve of the probes' tail against the load, with its knee.

In: the records of judged runs. Out: the probes' part of ramp.json, the knee. Must stay true: a
verdict is the judge's; a PASS whose breaches grew as it went on is not taken for one that lasts;
the knee is named only as far as intervals tell, and nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from bench.judge.contract.decision import DRIFT_P
from bench.judge.ramp.search import Probe, Step, Verdict
from bench.plan.contract import Contract

#: The tail has left the flat part where it is more than this many times that of the lowest load.
KNEE_FACTOR = 2
Record = Mapping[str, Any]


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
    rate: Fraction, summary: Record, verdicts: Record, shown: int | None
) -> dict[str, Any]:
    """One run as ramp.json has it. `shown` is the clause of the curve."""
    judged = [clause for clause in verdicts["clauses"] if clause["verdict"] != "REPORTED"]
    verdict: Verdict = verdicts["overall"]
    decisive = [clause for clause in judged if clause["verdict"] == verdict]
    reason = (
        summary["health"]["reasons"][0]
        if verdict == "INVALID"
        else (decisive or judged)[0]["reason"]
    )
    if verdict == "PASS" and any(_drifts(clause) for clause in judged):
        verdict, reason = (
            "INCONCLUSIVE",
            "more requests broke the limit as the probe went on: it may not last",
        )
    (lane,) = summary["targets"].values()
    tail = next((clause for clause in judged if clause["number"] == shown), None)
    return {
        "rate_rps": float(rate),
        "requests": lane["requests"],
        "verdict": verdict,
        "reason": reason,
        "needed_requests": _needed(judged, lane["requests"]),
        "design_effect": max((clause["design_effect"] for clause in judged), default=1.0),
        "tail_ms": tail and tail["measured"],
        "tail_interval_ms": tail["interval"] if tail else [None, None],
        "clauses": [
            {key: clause[key] for key in ("text", "verdict", "n", "k", "confidence")}
            for clause in judged
        ],
    }


def probe_of(step: Step, record: Record) -> Probe:
    """What the search must know of the probe that a step led to."""
    return Probe(step.rate, step.requests, record["verdict"], record["needed_requests"])


def _drifts(clause: Record) -> bool:
    steady = clause["steadiness"]
    return bool(
        steady
        and steady["trend_p"] is not None
        and steady["trend_p"] < DRIFT_P
        and steady["trend_rho"] > 0
    )


def _needed(judged: Sequence[Record], requests: int) -> int | None:
    """Requests that would probably decide what was not decided; of the whole probe, where a clause
    is of a part of it.
    """
    needed = [
        math.ceil(clause["needed_n"] * requests / clause["n"])
        for clause in judged
        if clause["verdict"] == "INCONCLUSIVE" and clause["needed_n"] is not None and clause["n"]
    ]
    return max(needed, default=None)


def knee_of(probes: Sequence[Record]) -> dict[str, float | None] | None:
    """Between which rates the tail leaves its flat part: `{"base_rps", "flat_rps", "left_rps",
    "factor"}`.

    The tail at the base, the lowest rate, is at least the lower limit there and, for load does not
    shorten a tail, at most the least upper limit of any probe. `flat_rps` is the highest rate whose
    tail is at most KNEE_FACTOR times that for certain, `left_rps` the lowest whose tail is more
    than that for certain (None: no probe's is). None where the base has no lower limit or no probe
    an upper one.
    """
    longest: dict[float, Record] = {}
    for probe in probes:
        known = longest.get(probe["rate_rps"])
        if probe["verdict"] != "INVALID" and (
            known is None or probe["requests"] >= known["requests"]
        ):
            longest[probe["rate_rps"]] = probe
    curve = [(rate, *longest[rate]["tail_interval_ms"]) for rate in sorted(longest)]
    most = min((high for _, _, high in curve if high is not None), default=None)
    if not curve or most is None or (least := curve[0][1]) is None:
        return None
    flat = [rate for rate, _, high in curve if high is not None and high <= KNEE_FACTOR * least]
    left = [rate for rate, low, _ in curve if low is not None and low > KNEE_FACTOR * most]
    return {
        "base_rps": curve[0][0],
        "flat_rps": max(flat, default=curve[0][0]),
        "left_rps": min(left, default=None),
        "factor": KNEE_FACTOR,
    }
