"""What may be said of a clause once its rows are judged: by whom, on what rows, in what run.

In: the outcome of a clause's rows, the health of the harness. Out: a `Decision`. Must stay true: a
harness that could have caused a breach cannot pronounce one; rows that another tier or place served
say nothing of the contract.

Source: methods 8.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

from bench.judge.contract.clauses import Tally, tally
from bench.judge.contract.exclusions import Classes
from bench.judge.contract.requests import trials_of
from bench.judge.health import Health
from bench.judge.stats.dependence import judge_trials
from bench.metrics import FROM_DUE
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.record.samples import Bool, Columns

#: Answers by another tier or place than the contract's, above which the run did not test the
#: contract.
SERVED_ELSEWHERE_MOST = Fraction(1, 20)

#: A trend less likely than this by chance is named beside a PASS.
DRIFT_P = 0.01


@dataclasses.dataclass(frozen=True)
class Decision:
    """The three-way outcome of one clause."""

    verdict: str
    reason: str
    needed: int | None = None


def beside_drift(decision: Decision, steady: dict[str, Any] | None) -> Decision:
    """A PASS names the drift it was reached in: blocks are no guard against a run that only gets
    worse.
    """
    if (
        decision.verdict != "PASS"
        or steady is None
        or steady["trend_p"] is None
        or steady["trend_p"] >= DRIFT_P
    ):
        return decision
    way = "more" if steady["trend_rho"] > 0 else "fewer"
    return dataclasses.replace(
        decision,
        reason=(
            f"{decision.reason}; note: {way} broke it as the run went on (p ="
            f" {steady['trend_p']:.1g})"
        ),
    )


def served_elsewhere(contract: Contract, counts: Tally) -> str | None:
    """Why a run whose answers came from somewhere else did not test the contract, or None."""
    reasons = {rule.reason for rule in contract.exclusions if rule.kind == "served_elsewhere"}
    elsewhere = sum(count for reason, count in counts.excluded.items() if reason in reasons)
    if elsewhere <= SERVED_ELSEWHERE_MOST * (counts.n + elsewhere):
        return None
    return (
        f"{elsewhere:,} of {counts.n + elsewhere:,} requests were served by another tier or place"
        " than the contract's"
    )


def with_health(
    decision: Decision,
    columns: Columns,
    classes: Classes,
    keep: Bool,
    clause: Clause,
    alpha: float,
    health: Health,
) -> Decision:
    """A harness that was the bottleneck refuses to judge; one that may have been must not
    condemn.
    """
    if health.state == "invalid":
        return Decision(
            "INCONCLUSIVE",
            f"the harness was not fit to judge: {health.reasons[0]}",
            decision.needed,
        )
    timed = clause.metric in FROM_DUE and not clause.by_time
    if not health.client_limited or decision.verdict != "FAIL" or not timed:
        return decision
    ours_out = tally(columns, clause, classes, keep, "blameless")
    if judge_trials(trials_of(columns, ours_out), clause.allowed_share, alpha).outcome == "FAIL":
        return Decision(
            "FAIL", decision.reason + " (with the harness's own lateness taken out as well)"
        )
    return Decision(
        "INCONCLUSIVE",
        "over the limit only with the harness's own lateness counted in: " + decision.reason,
    )
