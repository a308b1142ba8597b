"""Clauses -> verdicts: PASS, FAIL or INCONCLUSIVE, each with its reason and its numbers.

In: a run, its contracts, its health. Out: the records of verdicts.json. Must stay true: PASS
only if the upper limit of the exceedance keeps the promise with unknown rows counted bad; FAIL
only if the lower limit breaks it with unknown rows counted good; no clause passes on no data;
a harness that could have caused a breach cannot pronounce one. Only this room speaks a
contract verdict.

Source: methods 3.2-3.3 and 8 (exact Clopper-Pearson, equal to the order-statistic limits).
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

from bench.errors import ExitCode, UserError
from bench.judge.clauses import OVER_ANY_LIMIT_NS, Tally, missing_part, reached, scope, streamed_any, tally
from bench.judge.stats import (
    clopper_pearson,
    needed_n,
    quantile_ci_ranks,
    verdict_counts,
)
from bench.load.health import Health
from bench.plan.contract import Clause, Contract
from bench.plan.suite import match_clause
from bench.record.run_folder import FORMAT, Run
from bench.record.samples import Columns
from bench.units import MS, nearest_rank, show_share

#: How likely a run of the size named under an INCONCLUSIVE would have been to decide.
POWER = 0.8


@dataclasses.dataclass(frozen=True)
class Decision:
    """The three-way outcome of one proportion."""

    verdict: str
    reason: str
    needed: int | None = None


def judge_run(run: Run, health: Health, override: Contract | None = None) -> dict[str, Any]:
    """Judge every lane by its contract (or by `override`). The value is verdicts.json.

    Raises UserError for a clause of `override` that the run cannot have. Under the run's own
    contract such a clause is INCONCLUSIVE: the run is over, and its report must be written.
    """
    clauses: list[dict[str, Any]] = []
    attested: list[dict[str, str]] = []
    breach_cost: dict[str, float] = {}
    rows = reached(run.columns, run.state)
    for index, lane in enumerate(run.lanes):
        contract = override or (Contract.model_validate(lane["contract"]) if lane["contract"] else None)
        if contract is None:
            continue
        columns = rows.lane(index)
        if override is not None:
            refuse_missing(contract, lane, streamed_any(columns))
        records = [judge_clause(columns, clause, contract, lane, health, number)
                   for number, clause in enumerate(contract.clauses, 1)]  # fmt: skip
        clauses += records
        attested += [{"contract": contract.name, "term": term.term} for term in contract.attested]
        if contract.breach_cost_usd is not None and any(record["verdict"] == "FAIL" for record in records):
            breach_cost[contract.name] = float(contract.breach_cost_usd)  # once, however many targets broke it
    expects = (
        [_expectation(expect, clauses, lane) for lane in run.lanes for expect in lane["expect"]]
        if override is None
        else []
    )
    overall = overall_verdict([record["verdict"] for record in clauses], health)
    return {
        "format": FORMAT, "run": run.manifest["run"], "overall": overall,
        "exit_code": int(exit_code(run, overall, expects)),
        "confidence": min((record["confidence"] for record in clauses), default=0.95),
        "simulated": any(lane.get("simulated") for lane in run.lanes),
        "clauses": clauses, "expects": expects,
        "attested": [dict(pair) for pair in dict.fromkeys(tuple(term.items()) for term in attested)],
        "projected_breach_usd": sum(breach_cost.values()) if breach_cost else None,
    }  # fmt: skip


def refuse_missing(contract: Contract, lane: dict[str, Any], streamed: bool) -> None:
    """Raises UserError for the first judged clause on a phase, bucket or metric that the lane does not have."""
    for number, clause in enumerate(contract.clauses, 1):
        if not clause.report_only and (reason := missing_part(clause, lane, streamed)) is not None:
            raise UserError(reason, where=f"contract {contract.name}: clause {number} ({clause.text})",
                            remedy="change the clause, or run the load that it speaks of")  # fmt: skip


def judge_clause(columns: Columns, clause: Clause, contract: Contract, lane: dict[str, Any], health: Health,
                 number: int) -> dict[str, Any]:  # fmt: skip
    """One clause of one lane as a record of verdicts.json."""
    missing = missing_part(clause, lane, streamed_any(columns))
    rows = scope(columns if missing is None else columns.where(slice(0)), clause, lane)
    counts = tally(rows, clause)
    alpha = float(1 - contract.confidence)
    p0 = clause.allowed_share
    decision = decide(counts, p0, alpha)
    if clause.report_only:
        decision = Decision("REPORTED", missing or "shown beside the contract, not judged")
    elif missing is not None:
        decision = Decision("INCONCLUSIVE", missing)
    elif lane["closed_loop"]:
        decision = Decision("INCONCLUSIVE", "a closed loop slows down with the server: not valid for an SLA verdict")
    else:
        decision = _with_health(decision, rows, clause, alpha, health)
    allowed, fails = verdict_counts(counts.n, p0, alpha) if counts.n else (-1, 1)
    low, high = _share_limits(counts, alpha / 2) if counts.n else (0.0, 1.0)
    measured, interval = _measured(counts, clause, alpha)
    return {
        "target": lane["name"], "stage": lane["stage"], "contract": contract.name, "number": number, "text": clause.text,
        "metric": clause.metric, "view": clause.view, "quantile": _float(clause.quantile),
        "limit_ms": None if clause.limit is None else clause.limit / MS, "share": _float(clause.share),
        "phase": clause.phase, "bucket": clause.bucket, "report_only": clause.report_only,
        "measured": measured, "interval": interval, "confidence": float(contract.confidence), "n": counts.n,
        "k": counts.bad, "unknown": counts.unknown, "excluded": counts.excluded, "allowed_k": allowed, "fail_k": fails,
        "p0": float(p0), "p_interval": [low, high], "n_effective": counts.n,
        "verdict": decision.verdict, "reason": decision.reason, "needed_n": decision.needed,
    }  # fmt: skip


def decide(counts: Tally, p0: Fraction, alpha: float) -> Decision:
    """PASS, FAIL or INCONCLUSIVE for P(bad) <= p0, at `alpha` for each side."""
    if counts.n == 0:
        return Decision("INCONCLUSIVE", "no rows: nothing can be said")
    allowed, fails = verdict_counts(counts.n, p0, alpha)
    worst = counts.bad + counts.unknown
    seen = f"{counts.bad:,} of {counts.n:,} requests broke it"
    if counts.unknown:
        seen += f", {counts.unknown:,} more were cut off"
    if worst <= allowed:
        return Decision("PASS", f"{seen}; up to {allowed:,} prove {show_share(p0)}")
    if counts.bad >= fails:
        return Decision("FAIL", f"{seen}; {fails:,} or more disprove {show_share(p0)}")
    needed = needed_n(Fraction(counts.bad, counts.n), p0, alpha, POWER)
    if needed is None:
        tail = "the measured share is too near the limit for any run to decide"
    elif needed <= counts.n:
        tail = "a repeat of this size would probably decide"
    else:
        tail = f"about {needed - counts.n:,} more would probably decide"
    between = f"PASS needs at most {allowed:,}" if allowed >= 0 else "PASS is impossible with so few"
    return Decision("INCONCLUSIVE", f"{seen}; {between}, FAIL at least {fails:,}; {tail}", needed)


def _with_health(decision: Decision, rows: Columns, clause: Clause, alpha: float, health: Health) -> Decision:
    """A harness that was the bottleneck refuses to judge; one that may have been must not condemn."""
    if health.state == "invalid":
        return Decision("INCONCLUSIVE", f"the harness was not fit to judge: {health.reasons[0]}", decision.needed)
    if not health.client_limited or decision.verdict != "FAIL" or clause.metric in ("uptime", "error_share"):
        return decision
    if decide(tally(rows, clause, "blameless"), clause.allowed_share, alpha).verdict == "FAIL":
        return Decision("FAIL", decision.reason + " (with the harness's own lateness taken out as well)")
    return Decision(
        "INCONCLUSIVE", "over the limit only with the harness's own lateness counted in: " + decision.reason
    )


def _share_limits(counts: Tally, alpha_each_side: float) -> tuple[float, float]:
    """Limits of the share that broke it: the lower with unknown rows counted good, the upper with them bad."""
    low = clopper_pearson(counts.bad, counts.n, alpha_each_side).lower
    return low, clopper_pearson(counts.bad + counts.unknown, counts.n, alpha_each_side).upper


def _measured(counts: Tally, clause: Clause, alpha: float) -> tuple[float | None, list[float | None]]:
    """The statistic and its two-sided limits: ms for a latency, a share of one otherwise.

    None where the value lies among failures (above any number) or no such limit exists.
    """
    if counts.n == 0:
        return None, [None, None]
    if counts.values_ns is None:
        low, high = _share_limits(counts, alpha / 2)
        known = counts.n - counts.unknown
        if known == 0:
            return None, [1 - high, 1 - low] if clause.metric == "uptime" else [low, high]
        share = counts.bad / known
        return (1 - share, [1 - high, 1 - low]) if clause.metric == "uptime" else (share, [low, high])
    assert clause.quantile is not None
    values = counts.values_ns

    def at(rank: int) -> float | None:
        if not 1 <= rank <= counts.n or values[rank - 1] == OVER_ANY_LIMIT_NS:
            return None
        return int(values[rank - 1]) / MS

    lower, upper = quantile_ci_ranks(counts.n, clause.quantile, alpha / 2)
    return at(nearest_rank(counts.n, clause.quantile)), [at(lower), at(upper)]


def _float(share: Fraction | None) -> float | None:
    return None if share is None else float(share)


def _expectation(expect: dict[str, str], clauses: list[dict[str, Any]], lane: dict[str, Any]) -> dict[str, Any]:
    mine = [record for record in clauses if record["target"] == lane["name"]]
    index = match_clause(expect["clause"], [record["text"] for record in mine])
    got = mine[index]["verdict"] if index is not None else "NONE"
    return {"target": lane["name"], "clause": mine[index]["text"] if index is not None else expect["clause"],
            "expected": expect["verdict"], "got": got, "met": got == expect["verdict"]}  # fmt: skip


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
    """The first of 130, 5, 4, 1, 3, 0 that holds. A suite with `expect` is judged by those alone."""
    if run.state != "complete":
        return ExitCode.INTERRUPTED
    if overall == "INVALID":
        return ExitCode.INVALID
    if expects:
        return ExitCode.PASS if all(expect["met"] for expect in expects) else ExitCode.FAIL
    return {"FAIL": ExitCode.FAIL, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}.get(overall, ExitCode.PASS)
