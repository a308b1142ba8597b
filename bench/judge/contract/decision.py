"""What may be said of a clause once its rows are judged, and why, in a sentence.

In: the outcome of a clause's rows, the health of the harness. Out: a `Decision` with its reason.
Must stay true: a harness that could have caused a breach cannot pronounce one; rows that another
tier or place served say nothing of the contract; of answers that do not say which tier served them,
PASS stands only if it would without those that kept the promise, FAIL only if it would without
those that broke it; a reason says which counts decided, what a row is worth where rows depend on
each other, and for INCONCLUSIVE what more would help.

Source: methods 8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction

from bench.judge.contract.clauses import Tally, tally
from bench.judge.contract.exclusions import Classes
from bench.judge.contract.requests import trials_of
from bench.judge.contract.spans import Found
from bench.judge.health import Health
from bench.judge.stats.dependence import Cause, Judged, judge_trials
from bench.judge.stats.scales import LEAST_TO_PASS
from bench.metrics import FROM_DUE
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.record.records.verdicts import ClauseOutcome, OpenCause, Steadiness
from bench.record.samples import Bool, Columns
from bench.units import show_duration, show_share

#: Answers by another tier or place than the contract's, above which the run did not test the
#: contract.
SERVED_ELSEWHERE_MOST = Fraction(1, 20)

#: What left rows open, where it is no mere lack of rows.
_OPEN: dict[Cause, OpenCause] = {
    "few_blocks": "few_blocks",
    "worst_block": "worst_block",
    "unknown_rows": "unknown_rows",
}

#: A trend less likely than this by chance is named beside a PASS.
DRIFT_P = 0.01


@dataclasses.dataclass(frozen=True)
class Decision:
    """The three-way outcome of one clause."""

    verdict: ClauseOutcome
    reason: str
    needed: int | None = None
    #: why it is INCONCLUSIVE
    cause: OpenCause | None = None
    #: the share that broke it, of which `needed` speaks
    share: float = 0.0


def judged_decision(
    judged: Judged,
    clause: Clause,
    excluded: dict[str, int],
    note: str | None,
    unmeasured: int = 0,
) -> Decision:
    """What the rows alone came to; `note` is what time alone decides or leaves open."""
    reason = sentence(judged, clause, excluded, note, unmeasured)
    if judged.outcome != "INCONCLUSIVE":
        return Decision(judged.outcome, reason)
    cause = _OPEN.get(judged.cause, "few_rows")
    if judged.cause == "undecided" and judged.needed is None:
        cause = "near_limit"
    share = judged.bad / max(judged.n, 1)
    return Decision("INCONCLUSIVE", reason, judged.needed, cause, share)


def beside_drift(decision: Decision, steady: Steadiness | None) -> Decision:
    """A PASS names the drift it was reached in: blocks are no guard against a run that only gets
    worse.
    """
    if decision.verdict != "PASS" or steady is None:
        return decision
    p, rho = steady.trend_p, steady.trend_rho
    if p is None or rho is None or p >= DRIFT_P:
        return decision
    way = "more" if rho > 0 else "fewer"
    note = f"note: {way} broke it as the run went on (p = {p:.1g})"
    return dataclasses.replace(decision, reason=f"{decision.reason}; {note}")


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
            f"the harness was not valid: {health.reasons[0]}",
            decision.needed,
            "harness",
            decision.share,
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
        cause="harness",
    )


# ---- reasons


def sentence(
    judged: Judged,
    clause: Clause,
    excluded: dict[str, int],
    note: str | None,
    unmeasured: int = 0,
) -> str:
    """The reason of a verdict; `note` is what time alone decides or leaves open, `unmeasured` of
    the unknown rows those whose answers do not show the value.
    """
    if not judged.n:
        aside = ", ".join(f"{count:,} {reason}" for reason, count in excluded.items())
        return note or "no rows: nothing can be said" + (f" (excluded: {aside})" if aside else "")
    if not clause.by_time:
        unit = "requests"
    elif clause.window is None:
        unit = "minutes"
    else:
        unit = "windows"
    seen = f"{judged.bad:,} of {judged.n:,} {unit} broke it"
    if judged.unknown:
        seen += f", {_unknown(judged.unknown, unmeasured)}"
    if judged.method == "blocks" and judged.n_eff < judged.n - 1:
        seen += f"; all count as {judged.n_eff:,.0f} independent ones, as they come in clusters"
    if note is not None:
        return f"{seen}; {note}"
    share = show_share(clause.allowed_share)
    if judged.outcome == "PASS":
        return f"{seen}; up to {judged.allowed:,} prove {share}"
    if judged.outcome == "FAIL":
        return f"{seen}; {judged.fails:,} or more disprove {share}"
    return f"{seen}; {_open(judged, clause)}; {_more(judged, unit)}"


def _unknown(unknown: int, unmeasured: int) -> str:
    if not unmeasured:
        return f"{unknown:,} more were cut off"
    if unmeasured >= unknown:
        return f"{unknown:,} more could not be measured"
    return f"{unknown:,} more could not be measured ({unmeasured:,}) or were cut off"


def _open(judged: Judged, clause: Clause) -> str:
    """What stands between the counts and a verdict."""
    if judged.cause == "unknown_rows":
        return "what is not known of them would decide it"
    if judged.cause == "few_blocks":
        return (
            f"they come in so few stretches of time or sessions that the run holds fewer than the"
            f" {LEAST_TO_PASS} that a PASS needs"
        )
    if judged.cause == "worst_block" and judged.worst is not None:
        worst = judged.worst
        cluster = (
            f"{worst.bad:,} of {worst.n:,} between {show_duration(worst.start_ns)} and"
            f" {show_duration(worst.end_ns)}"
        )
        if judged.bad > clause.allowed_share * judged.n:
            return f"without its worst cluster ({cluster}) it would not FAIL"
        return f"one more like its worst cluster ({cluster}) would break it"
    if judged.allowed >= 0:
        between = f"PASS needs at most {judged.allowed:,}"
    else:
        between = "PASS is impossible with so few"
    if judged.fails > judged.n:
        return f"{between}, and so is FAIL" if judged.allowed < 0 else between
    return f"{between}, FAIL needs at least {judged.fails:,}"


def _more(judged: Judged, unit: str) -> str:
    if judged.needed is None:
        return "the measured share is too near the limit for any run to decide"
    return (
        f"a run of about {judged.needed:,} {unit} would decide if the share stays at"
        f" {show_share(Fraction(judged.bad, judged.n))}"
    )


def beside_silent(
    judge: Callable[[Tally], Found], counts: Tally, silent: Bool | None
) -> tuple[Found, str | None]:
    """What `judge` makes of the rows, and why answers that name no tier leave it open, or None;
    `silent` is a mask of all rows.
    """
    found = judge(counts)
    outcome = found.judged.outcome
    if silent is None or outcome not in ("PASS", "FAIL"):
        return found, None
    unnamed = silent[counts.rows]
    if not unnamed.any():
        return found, None
    against = unnamed & (counts.is_bad == (outcome == "FAIL"))
    again = judge(counts.where(~against))
    if again.judged.outcome == outcome:
        return dataclasses.replace(found, p_fail=max(found.p_fail, again.p_fail)), None
    how = "kept it" if outcome == "PASS" else "broke it"
    return found, (
        f"{int(unnamed.sum()):,} of {counts.n:,} answers do not say which tier served them; without"
        f" those of them that {how} this would be no {outcome}"
    )


def unless_in_doubt(decision: Decision, doubt: str | None) -> Decision:
    """The decision, where answers that name no tier leave it standing."""
    if doubt is None or decision.verdict not in ("PASS", "FAIL"):
        return decision
    return Decision("INCONCLUSIVE", doubt, cause="unknown_rows")
