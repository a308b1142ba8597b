"""A clause and a log's classed rows -> which rows count, which broke it, which are unknown.

In: rows, their classes, a clause. Out: masks, and a value a row. Must stay true: rows are good, bad
or unknown by the rule that runs are judged by (`judge/contract/clauses`); a row whose value was not
recorded is unknown, never kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.judge.contract.clauses import in_own_unit, marks
from bench.judge.contract.exclusions import Classes
from bench.plan.clause import Clause
from bench.plan.profile import bucket_names
from bench.record.samples import Bool, Columns, Float, Outcome
from bench.units import MS, nearest_rank


@dataclass(frozen=True)
class ClauseRows:
    """One entry a row."""

    counted: Bool
    bad: Bool
    unknown: Bool
    #: of a timed metric: ns, or tokens/s; a miss is inf (0 tokens/s), and so is what is not known
    values: Float | None

    def quantile_ms(self, clause: Clause) -> float | None:
        """The value of nearest rank (ms, or tokens/s) of the clause's quantile; None among failures
        and for shares.
        """
        if clause.quantile is None or self.values is None:
            return None
        values = np.sort(self.values[self.counted & ~self.unknown])
        if not len(values):
            return None
        values = values[::-1] if clause.rising else values / MS
        found = float(values[nearest_rank(len(values), clause.quantile) - 1])
        return found if np.isfinite(found) else None


def clause_rows(columns: Columns, clause: Clause, classes: Classes) -> ClauseRows:
    """Apply one clause. `bad` and `unknown` lie inside `counted`."""
    counted = classes.kept.copy()
    for name in clause.excluding:
        counted &= columns.samples["outcome"] != Outcome[name]
    if clause.bucket is not None:
        counted &= columns.schedule["bucket"] == bucket_names().index(clause.bucket)
    found = marks(columns, clause, classes, clause.view, logged=True)
    for mask in found.aside.values():
        counted &= ~mask
    values = (
        None if found.values_ns is None else in_own_unit(columns.samples, clause, found.values_ns)
    )
    return ClauseRows(counted, counted & found.is_bad, counted & found.is_unknown, values)
