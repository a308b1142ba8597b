"""What a contract's words mean in rows: outcomes, statuses, texts such as a model or an error code.

In: a matcher or patterns, rows and their texts. Out: masks. Must stay true: None says that no row
has such a column, which is not the same as no row that matches; a row without a text matches no
name, and is covered by every pattern; nothing is guessed from a name.

Source: methods 1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import numpy as np

from bench.record.facts import Facts
from bench.record.samples import Bool, Columns, Int, Outcome


def matching(matcher: str, columns: Columns, facts: Facts) -> tuple[Bool | None, str]:
    """Rows that an outcome name, `status:500`, `status:5xx`, `code:NAME` or `finish:NAME` means, or
    None; and the column that it reads.
    """
    kind, _, value = matcher.partition(":")
    samples = columns.samples
    if kind == "status":
        return _of_status(samples["status"], value), "status column"
    if kind == "code":
        return named(facts, "code", facts.labels.get("code"), value), "code column"
    if kind == "finish":
        return named(facts, "finish", samples["finish"], value), "finish column"
    return samples["outcome"] == Outcome[matcher], "outcome"


def _of_status(status: Int, wanted: str) -> Bool | None:
    """Rows of a status (`500`) or of its hundred (`5xx`); None where no row has one."""
    if len(status) and not status.any():
        return None
    if wanted.endswith("xx"):
        return np.asarray(status // 100 == int(wanted[0]))
    return np.asarray(status == int(wanted))


def named(
    facts: Facts,
    kind: str,
    index: Int | None,
    wanted: str,
) -> Bool | None:
    """Rows whose text of this kind is `wanted`; a row without one is not.

    None where no row has one.
    """
    return _whose_text(facts, kind, index, lambda text: text == wanted)


def _whose_text(
    facts: Facts,
    kind: str,
    index: Int | None,
    wanted: Callable[[str], bool],
) -> Bool | None:
    texts = facts.texts.get(kind, ())
    if index is None or not len(texts):
        return None
    # The last entry stands for rows without a text.
    yes = np.array([*map(wanted, texts), False])
    has_text = (index >= 0) & (index < len(texts))
    mask: Bool = yes[np.where(has_text, index, len(texts))]
    return mask


def outside(
    facts: Facts,
    kind: str,
    index: Int | None,
    patterns: Sequence[str],
    asked: str | None,
    rows: int,
) -> Bool | None:
    """Rows that none of the patterns covers; a row without a text is covered.

    What was asked for decides for all. Where it is the buyer's own name (a deployment), what served
    the rows does, if any of it is covered.
    """

    def uncovered(text: str) -> bool:
        return not any(fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns)

    if asked is not None and not uncovered(asked):
        return np.zeros(rows, bool)
    found = _whose_text(facts, kind, index, uncovered)
    if asked is None or found is None or index is None:
        return found if asked is None else np.ones(rows, bool)
    named_and_covered = (index >= 0) & ~found
    return found if named_and_covered.any() else np.ones(rows, bool)


def by_another_tier(facts: Facts, paid: str, rows: int) -> Bool | None:
    """Rows that another tier than the paid one served; None where no row names one.

    Of a run a tier is known by its class too; a word that nobody knows is no other tier.
    """
    served = facts.labels.get("tier")
    honours = facts.honours
    if honours is None:
        return outside(facts, "tier", served, [paid], None, rows)
    return _whose_text(facts, "tier", served, lambda word: honours(paid, word) is False)


def without_tier(columns: Columns, facts: Facts, paid: str) -> Bool | None:
    """Answers of a run of which nobody knows whether the paid tier served them; None where none of
    them has one to name.
    """
    honours = facts.honours
    if honours is None:
        return None
    known = _whose_text(
        facts, "tier", facts.labels.get("tier"), lambda word: honours(paid, word) is not None
    )
    if known is None:
        return columns.ok if facts.tier_by_request else None
    return columns.ok & ~known
