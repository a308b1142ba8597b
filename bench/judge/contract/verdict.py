"""Clauses -> verdicts: PASS, FAIL or INCONCLUSIVE, each with its reason and its numbers.

In: a run, its contracts, its health. Out: the records of verdicts.json. Must stay true: PASS
only if the upper limit of the exceedance keeps the promise with unknown rows counted bad; FAIL
only if the lower limit breaks it with unknown rows counted good; no clause passes on no data;
a harness that could have caused a breach cannot pronounce one. Only this room speaks a
contract verdict.

Source: methods 3.2-3.5 and 8; several clauses: intersection-union for PASS, Holm for FAIL.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from bench.errors import ExitCode, UserError
from bench.judge.contract.clauses import (
    missing_part,
    scope,
    streamed_any,
    tally,
)
from bench.judge.contract.credits import step
from bench.judge.contract.decision import Decision, beside_drift, served_elsewhere, with_health
from bench.judge.contract.exclusions import Classes, classify
from bench.judge.contract.forecast import judge_forecast
from bench.judge.contract.reasons import sentence
from bench.judge.contract.requests import judge_requests
from bench.judge.contract.spans import Found, judge_spans
from bench.judge.health import Health
from bench.judge.left_out import facts_of, told
from bench.judge.reached import came_to
from bench.judge.stats.dependence import Judged
from bench.judge.stats.sequential import LOOKS, holm
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.plan.suite import match_clause
from bench.record.run_folder import Run
from bench.record.samples import Columns
from bench.units import MS, S

#: Format history of verdicts.json: 2 = units, blocks, exclusions, credits.
VERDICTS_FORMAT = 2


def judge_run(
    run: Run,
    health: Health,
    override: Contract | None = None,
    further: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Judge every lane by its contract (or by `override`). The value is verdicts.json.

    `further` are rehearsed answers of other records, which join the exit code. Raises UserError for
    a clause of `override` that the run cannot have; under the run's own contract such a clause is
    INCONCLUSIVE, for the run is over, and its report must be written. A shard is judged by no
    contract of its own, and refused under `override`.
    """
    clauses: list[dict[str, Any]] = []
    forecasts: list[dict[str, Any]] = []
    attested: list[dict[str, str]] = []
    breach_cost: dict[str, float] = {}
    unusable: list[str] = []
    rows = came_to(run)
    looks = LOOKS if run.manifest.get("early_stop") else 1
    shard = run.manifest.get("shard")
    if shard and override is not None:
        raise UserError(
            f"is shard {shard['number']} of {shard['of']}, which alone is no run to judge",
            where=str(run.folder),
            remedy="merge them: tailproof merge RUN… --out DIR",
        )
    for index, lane in enumerate([] if shard else run.lanes):
        contract = override or (
            Contract.model_validate(lane["contract"]) if lane["contract"] else None
        )
        if contract is None:
            continue
        columns = rows.lane(index)
        if override is not None:
            refuse_missing(contract, lane, streamed_any(columns))
        classes = classify(columns, contract, facts_of(run, lane, columns))
        unusable += [f"{contract.name}: {said}" for said in [*classes.unusable, *classes.missing]]
        records = judge_lane(columns, classes, contract, lane, health, looks)
        clauses += records
        if (forecast := judge_forecast(run, index, contract)) is not None:
            forecasts.append(forecast)
        attested += [{"contract": contract.name, "term": term.term} for term in contract.attested]
        if contract.breach_cost_usd is not None and any(
            record["verdict"] == "FAIL" for record in records
        ):
            breach_cost[contract.name] = float(
                contract.breach_cost_usd
            )  # once, however many targets broke it
    expects = [] if shard else [*further]
    if override is None and not shard:
        expects += [
            _expectation(expect, clauses, lane) for lane in run.lanes for expect in lane["expect"]
        ]
    overall = overall_verdict([record["verdict"] for record in [*clauses, *forecasts]], health)
    return {
        "format": VERDICTS_FORMAT,
        "run": run.manifest["run"],
        "overall": overall,
        "exit_code": int(exit_code(run, overall, expects)),
        "confidence": min((record["confidence"] for record in clauses), default=0.95),
        "simulated": any(lane.get("simulated") for lane in run.lanes),
        "clauses": clauses,
        "forecasts": forecasts,
        "expects": expects,
        "attested": [
            dict(pair) for pair in dict.fromkeys(tuple(term.items()) for term in attested)
        ],
        "not_applied": list(dict.fromkeys(unusable)),
        "projected_breach_usd": sum(breach_cost.values()) if breach_cost else None,
        **({"left_out": left_out} if (left_out := told(run)) else {}),
    }


def refuse_missing(contract: Contract, lane: dict[str, Any], streamed: bool) -> None:
    """Raises UserError for the first judged clause on a phase, bucket or metric that the lane does
    not have.
    """
    for number, clause in enumerate(contract.clauses, 1):
        if not clause.report_only and (reason := missing_part(clause, lane, streamed)) is not None:
            raise UserError(
                reason,
                where=f"contract {contract.name}: clause {number} ({clause.text})",
                remedy="change the clause, or run the load that it speaks of",
            )


def judge_lane(
    columns: Columns,
    classes: Classes,
    contract: Contract,
    lane: dict[str, Any],
    health: Health,
    looks: int = 1,
) -> list[dict[str, Any]]:
    """The clauses of one lane as records of verdicts.json.

    A FAIL must stand among all of them (Holm).
    """
    streamed = streamed_any(columns)
    records = [
        judge_clause(
            columns, classes, clause, contract, lane, health, number, streamed=streamed, looks=looks
        )
        for number, clause in enumerate(contract.clauses, 1)
    ]
    judged = [record for record in records if record["verdict"] != "REPORTED"]
    alpha = float(1 - contract.confidence) / looks
    stands = holm([record["p_fail"] for record in judged], alpha)
    for record, stands_alone in zip(judged, stands, strict=True):
        if record["verdict"] == "FAIL" and not stands_alone:
            record["verdict"] = "INCONCLUSIVE"
            record["reason"] += (
                f"; alone that would be a FAIL (p = {record['p_fail']:.2g}), among {len(judged)}"
                " clauses it may be chance"
            )
    return records


def judge_clause(
    columns: Columns,
    classes: Classes,
    clause: Clause,
    contract: Contract,
    lane: dict[str, Any],
    health: Health,
    number: int,
    *,
    streamed: bool,
    looks: int = 1,
) -> dict[str, Any]:
    """One clause of one lane as a record of verdicts.json."""
    missing = missing_part(clause, lane, streamed)
    keep = scope(columns, clause, lane) & (missing is None)
    counts = tally(columns, clause, classes, keep)
    alpha = float(1 - contract.confidence) / looks
    found = (
        judge_spans(columns, counts, clause, contract, lane, alpha)
        if clause.by_time
        else judge_requests(columns, counts, clause, alpha)
    )
    judged = found.judged
    decision = Decision(
        judged.outcome, sentence(judged, clause, counts.excluded, found.note), judged.needed
    )
    if clause.report_only:
        decision = Decision("REPORTED", missing or "shown beside the contract, not judged")
    elif missing is not None:
        decision = Decision("INCONCLUSIVE", missing)
    elif lane["closed_loop"]:
        decision = Decision(
            "INCONCLUSIVE", "a closed loop slows down with the server: not valid for an SLA verdict"
        )
    elif (elsewhere := served_elsewhere(contract, counts)) is not None:
        decision = Decision("INCONCLUSIVE", elsewhere)
    else:
        decision = with_health(decision, columns, classes, keep, clause, alpha, health)
        decision = beside_drift(decision, found.numbers.get("steadiness"))
        if contract.proof == "census":
            decision = dataclasses.replace(
                decision,
                reason=f"{decision.reason}; what settles the contract is a census of its period",
            )
    whole = tally(columns, clause, classes, keep, exclusions=False) if counts.excluded else counts
    return {
        "target": lane["name"],
        "stage": lane["stage"],
        "contract": contract.name,
        "number": number,
        "text": clause.text,
        "metric": clause.metric,
        "view": clause.view,
        "quantile": _float(clause.quantile),
        "limit_ms": None if clause.limit is None else clause.limit / MS,
        "at_least_tps": _float(clause.at_least),
        "share": _float(clause.share),
        "operator": clause.operator or (">=" if clause.rising else "<="),
        "statistic": clause.statistic,
        "method": clause.method if clause.kind.named_by == "method" else None,
        "phase": clause.phase,
        "bucket": clause.bucket,
        "report_only": clause.report_only,
        **found.numbers,
        "confidence": float(contract.confidence),
        "n": judged.n,
        "k": judged.bad,
        "unknown": judged.unknown,
        "excluded": counts.excluded,
        "with_excluded": {"n": whole.n, "k": whole.bad} if counts.excluded else None,
        "allowed_k": judged.allowed,
        "fail_k": judged.fails,
        "p0": float(clause.allowed_share),
        "p_limits": [judged.lower, judged.upper],
        "p_fail": found.p_fail,
        "n_effective": judged.n_eff,
        "design_effect": judged.deff,
        "decided_by": judged.method,
        "blocks": judged.blocks,
        "block_s": judged.block_ns / S,
        "worst_block": _worst(judged),
        "projected_credit": _projected_credit(clause, found),
        "verdict": decision.verdict,
        "reason": decision.reason,
        "needed_n": decision.needed,
    }


def _worst(judged: Judged) -> dict[str, Any] | None:
    worst = judged.worst
    return (
        None
        if worst is None
        else {
            "start_s": worst.start_ns / S,
            "end_s": worst.end_ns / S,
            "k": worst.bad,
            "n": worst.n,
        }
    )


def _projected_credit(clause: Clause, found: Found) -> dict[str, float] | None:
    """What the ladder would credit if the whole period were like this run, and at the limits of the
    share.
    """
    judged = found.judged
    if clause.credit is None or not judged.n:
        return None
    kept = Fraction(judged.n - judged.bad, judged.n)
    if clause.kind.partial and found.numbers["measured"] is not None:
        kept = Fraction(found.numbers["measured"]).limit_denominator(
            10**9
        )  # an interval loses a part of itself
    attained = (kept, 1 - Fraction(judged.lower), 1 - Fraction(judged.upper))
    point, least, most = (float(step(clause.credit, share)) for share in attained)
    return {"share": point, "at_least": least, "at_most": most}


def _float(share: Fraction | None) -> float | None:
    return None if share is None else float(share)


def _expectation(
    expect: dict[str, str], clauses: list[dict[str, Any]], lane: dict[str, Any]
) -> dict[str, Any]:
    mine = [record for record in clauses if record["target"] == lane["name"]]
    index = match_clause(expect["clause"], [record["text"] for record in mine])
    got = mine[index]["verdict"] if index is not None else "NONE"
    return {
        "target": lane["name"],
        "clause": mine[index]["text"] if index is not None else expect["clause"],
        "expected": expect["verdict"],
        "got": got,
        "met": got == expect["verdict"],
    }


def overall_verdict(verdicts: list[str], health: Health) -> str:
    """INVALID beats all; FAIL if any; PASS only if all judged clauses pass; NONE without any."""
    judged = [verdict for verdict in verdicts if verdict != "REPORTED"]
    if not judged:
        return "NONE"
    if health.state == "invalid":
        return "INVALID"
    if "FAIL" in judged:
        return "FAIL"
    return "PASS" if all(verdict == "PASS" for verdict in judged) else "INCONCLUSIVE"


def exit_code(run: Run, overall: str, expects: list[dict[str, Any]]) -> ExitCode:
    """The first of 130, 5, 4, 1, 3, 0 that holds.

    A suite with `expect` is judged by those alone.
    """
    if run.state != "complete":
        return ExitCode.INTERRUPTED
    if overall == "INVALID":
        return ExitCode.INVALID
    if expects:
        return ExitCode.PASS if all(expect["met"] for expect in expects) else ExitCode.FAIL
    return {"FAIL": ExitCode.FAIL, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}.get(
        overall, ExitCode.PASS
    )
