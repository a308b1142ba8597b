"""Answers that do not say which tier served them, under a contract of one tier.

In: a clause's tally, and which of its rows are such answers. Out: what the clause comes to, and
whether they leave it open. Must stay true: PASS stands only if it would without those of them that
kept the promise, FAIL only if it would without those that broke it: they may have been another
tier's, whichever of them it served.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from bench.judge.contract.clauses import Tally
from bench.judge.contract.decision import Decision
from bench.judge.contract.spans import Found
from bench.record.samples import Bool


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
