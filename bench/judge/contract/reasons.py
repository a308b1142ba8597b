"""Why a clause got its verdict, and what would decide an open one, in a sentence.

In: what was judged and its clause. Out: one sentence with the deciding numbers. Must stay true:
it says which counts decided, what a row is worth where rows depend on each other, and for
INCONCLUSIVE what more would help; nothing is reckoned here.
"""

from __future__ import annotations

from bench.judge.stats.dependence import Judged
from bench.plan.clause import Clause
from bench.units import show_duration, show_share


def sentence(judged: Judged, clause: Clause, excluded: dict[str, int], note: str | None) -> str:
    """The reason of a verdict; `note` is what time alone decides or leaves open."""
    if not judged.n:
        aside = ", ".join(f"{count:,} {reason}" for reason, count in excluded.items())
        return note or "no rows: nothing can be said" + (f" (excluded: {aside})" if aside else "")
    unit = "requests" if not clause.by_time else "minutes" if clause.window is None else "windows"
    seen = f"{judged.bad:,} of {judged.n:,} {unit} broke it"
    if judged.unknown:
        seen += f", {judged.unknown:,} more were cut off"
    if judged.method == "blocks" and judged.n_eff < judged.n - 1:
        seen += f"; all count as {judged.n_eff:,.0f} independent ones, for they come in spells"
    if note is not None:
        return f"{seen}; {note}"
    share = show_share(clause.allowed_share)
    if judged.outcome == "PASS":
        return f"{seen}; up to {judged.allowed:,} prove {share}"
    if judged.outcome == "FAIL":
        if judged.bad >= judged.fails:
            return f"{seen}; {judged.fails:,} or more disprove {share}"
        return (
            f"{seen}; too many even without the worst spell: {share} would be"
            f" {int(clause.allowed_share * judged.n):,}"
        )
    return f"{seen}; {_open(judged)}; {_more(judged, unit)}"


def _open(judged: Judged) -> str:
    """What stands between the counts and a verdict."""
    worst = judged.worst
    if judged.cause == "few_blocks":
        return (
            f"the slow phases are so long that the run holds {judged.blocks} of the 20 blocks "
            f"that a PASS needs ({show_duration(judged.block_ns or 0)} each)"
        )
    if judged.cause == "worst_block" and worst is not None:
        spell = (
            f"{worst.bad:,} of {worst.n:,} between {show_duration(worst.start_ns)} and"
            f" {show_duration(worst.end_ns)}"
        )
        if judged.bad > judged.allowed:
            return f"without its worst spell ({spell}) it would not FAIL"
        return f"one more spell like its worst ({spell}) would break it"
    if judged.cause == "unknown_rows":
        return "what became of those cut off would decide it"
    between = (
        f"PASS needs at most {judged.allowed:,}"
        if judged.allowed >= 0
        else "PASS is impossible with so few"
    )
    if judged.bad >= judged.fails:
        return f"{between}, and without its worst spell it would not FAIL"
    return f"{between}, FAIL needs at least {judged.fails:,}"


def _more(judged: Judged, unit: str) -> str:
    if judged.needed is None:
        return "the measured share is too near the limit for any run to decide"
    if judged.needed <= judged.n:
        return "a repeat of this size would probably decide"
    return f"about {judged.needed - judged.n:,} more {unit} would probably decide"
