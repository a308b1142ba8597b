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
from typing import Literal

from bench.judge.contract.clauses import Tally, tally
from bench.judge.contract.exclusions import Classes
from bench.judge.contract.requests import trials_of
from bench.judge.contract.spans import Found
from bench.judge.health import Health
from bench.judge.stats.dependence import Cause, Judged, judge_trials
from bench.judge.stats.scales import LEAST_TO_FAIL, LEAST_TO_PASS
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
    note = f"note: {way} were bad as the run went on (p = {p:.1g})"
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
    without = trials_of(columns, ours_out, clause)
    if judge_trials(without, clause.allowed_share, alpha).outcome == "FAIL":
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
        return note or "no requests to judge" + (f" (excluded: {aside})" if aside else "")
    seen = f"{judged.bad:,} of {judged.n:,} {unit_of(clause)} {_broke(clause, 'were')}"
    if judged.unknown:
        seen += f"; {_unknown(judged.unknown, unmeasured)}"
    clustered = judged.method == "blocks" and judged.n_eff < judged.n - 1
    if note is not None:
        return f"{seen}; {note}"
    if judged.outcome == "INCONCLUSIVE":
        return f"{_undecided(judged, clause, seen, clustered)}. {_more(judged, clause)}"
    if clustered:
        seen += f"; in clusters, so that they count as {judged.n_eff:,.0f} independent ones"
    share = show_share(clause.allowed_share)
    if judged.outcome == "PASS":
        return f"{seen}; up to {judged.allowed:,} would still prove it"
    return f"{seen}; {judged.fails:,} or more show that over {share} are"


def unit_of(clause: Clause) -> str:
    """What it counts."""
    if not clause.by_time:
        return "requests"
    return "minutes" if clause.window is None else "windows"


def _broke(clause: Clause, verb: Literal["was", "were"]) -> str:
    """Of one or many that broke it: `were slow or failed`, `was over the limit`, `failed`."""
    if clause.by_time:
        return f"{verb} {'over the limit' if clause.kind.has_values else 'bad'}"
    broke = clause.kind.broke
    return broke if broke == "failed" else f"{verb} {broke}"


def _unknown(unknown: int, unmeasured: int) -> str:
    if not unmeasured:
        return f"{unknown:,} were still unanswered at the end"
    if unmeasured >= unknown:
        return f"{unknown:,} more could not be measured"
    return f"{unknown:,} more could not be measured ({unmeasured:,}) or were unanswered at the end"


def _undecided(judged: Judged, clause: Clause, seen: str, clustered: bool) -> str:
    """The counts, and what stands between them and a verdict."""
    if judged.cause == "unknown_rows":
        return f"{seen}. What is not known of them would decide it"
    if judged.cause == "few_blocks":
        fails = judged.bad > clause.allowed_share * judged.n
        least = f"{LEAST_TO_FAIL} that a FAIL" if fails else f"{LEAST_TO_PASS} that a PASS"
        return (
            f"{seen}. They fell into so few stretches of time or sessions that the run holds fewer"
            f" than the {least} needs"
        )
    if judged.cause == "worst_block" and judged.worst is not None:
        worst = judged.worst
        cluster = (
            f"{worst.bad:,} of {worst.n:,} between {show_duration(worst.start_ns)} and"
            f" {show_duration(worst.end_ns)}"
        )
        if judged.bad > clause.allowed_share * judged.n:
            return f"{seen}. One cluster decides it: {cluster}. Without it there is no FAIL"
        return f"{seen}. One more cluster like the worst ({cluster}) would break it"
    if clustered:
        return (
            f"{seen}. They came in clusters, so the {judged.n:,} count as {judged.n_eff:,.0f}"
            " independent ones: too few to decide"
        )
    if not judged.bad and not judged.unknown:
        kept = show_share(1 - clause.allowed_share)
        none = f"No {unit_of(clause)[:-1]} {_broke(clause, 'was')}"
        return f"{none}, but {judged.n:,} cannot prove {kept}"
    if judged.allowed < 0:
        return f"{seen}. Even with none, so few cannot prove it"
    most = f"{seen}. {judged.allowed:,} or fewer would be PASS"
    return most if judged.fails > judged.n else f"{most}, {judged.fails:,} or more FAIL"


def _more(judged: Judged, clause: Clause) -> str:
    """What would decide; the size holds if the measured share stays as it is."""
    if judged.needed is None and judged.cause == "few_blocks":
        return "One session holds so many of them that more requests alone decide nothing"
    if judged.needed is None:
        return "The measured share is so near the limit that no run would decide"
    if judged.needed <= judged.n:
        return "Running it again would probably decide"
    if not judged.bad and not judged.unknown and judged.cause != "few_blocks":
        return f"{judged.needed:,} can"
    stays = "if the share stays"
    if not clause.kind.partial:  # else what is lost is no count
        stays += f" at {show_share(float(f'{judged.bad / judged.n:.2g}'), 6)}"
    return f"About {judged.needed:,} {unit_of(clause)} in all would decide {stays}"


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
    how = "are good" if outcome == "PASS" else "are bad"
    return found, (
        f"{int(unnamed.sum()):,} of {counts.n:,} answers do not say which tier served them; without"
        f" those of them that {how} this would be no {outcome}"
    )


def unless_in_doubt(decision: Decision, doubt: str | None) -> Decision:
    """The decision, where answers that name no tier leave it standing."""
    if doubt is None or decision.verdict not in ("PASS", "FAIL"):
        return decision
    return Decision("INCONCLUSIVE", doubt, cause="unknown_rows")
