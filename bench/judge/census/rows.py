"""A clause and a log's classed rows -> which rows count, and the share that kept the promise.

In: rows, their classes, a clause, a period. Out: masks and a value a row; the attained share with
its bounds. Must stay true: rows are good, bad or unknown by the rule that runs are judged by
(`judge/contract/clauses`); a row whose value was not recorded is unknown, never kept; what was not
observed may have been good or bad, unless the parties agreed to leave it aside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from bench.judge.census.periods import Span
from bench.judge.contract.clauses import in_own_unit, marks
from bench.judge.contract.exclusions import Classes
from bench.judge.contract.uptime import (
    Attained,
    attained,
    attained_means,
    attained_requests,
    minute_table,
)
from bench.plan.clause import Clause
from bench.plan.profile import bucket_names
from bench.record.records.census import ExactShare
from bench.record.samples import Bool, Columns, Float, Int, Outcome
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
        if clause.rising:
            values = values[::-1]
        else:
            values = values / MS
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
    if found.values_ns is None:
        values = None
    else:
        values = in_own_unit(columns.samples, clause, found.values_ns)
    return ClauseRows(counted, counted & found.is_bad, counted & found.is_unknown, values)


@dataclass(frozen=True)
class Part:
    """The log within one period."""

    span: Span
    columns: Columns
    wall_ns: Int
    resource: Int | None
    observed: Bool
    #: the parties agreed that this much watched is enough: the rest does not count
    observed_only: bool
    #: when the rows that cannot be read began: each may have been good or bad, whatever a clause
    #: counts
    unread_ns: Int

    def counted(self, rows: ClauseRows) -> tuple[Int, Bool, Bool]:
        """(moments, bad, unknown) of all that counts, the rows that cannot be read last."""
        n = len(self.unread_ns)
        keep = rows.counted
        return (
            np.concatenate([self.wall_ns[keep], self.unread_ns]),
            np.concatenate([rows.bad[keep], np.zeros(n, bool)]),
            np.concatenate([rows.unknown[keep], np.ones(n, bool)]),
        )


def attained_in(part: Part, clause: Clause, rows: ClauseRows) -> Attained:
    """The share that keeps the promise, of whatever unit the clause counts, with its bounds."""
    keep = rows.counted
    if not keep.any():  # empty minutes may be up, but no clause passes on no data
        return Attained(None, Fraction(1), Fraction(0), 0, 0, 0, [])
    wall, bad, unknown = part.counted(rows)
    unread = len(part.unread_ns)
    if part.resource is not None and clause.weight != "together":
        resource = np.concatenate([part.resource[keep], np.full(unread, -1)])
    else:
        resource = None
    bounds = (part.span.start_ns, part.span.end_ns)
    table = minute_table(wall, bad, unknown, bounds, part.observed, resource)
    if clause.kind.by_means(clause):
        assert rows.values is not None
        if part.observed_only:
            table = replace(table, observed=np.ones_like(part.observed))
        values = np.concatenate([rows.values[keep], np.full(unread, np.inf)])
        return attained_means(wall, values, ~unknown, table, clause)
    if clause.kind.in_minutes:
        return attained(table, clause, observed_only=part.observed_only)
    if part.observed_only:
        unseen = 0
    else:
        unseen = int((~part.observed).sum()) * max(int(table.n.max()), 1)
    return attained_requests(len(wall), int(bad.sum()), int(unknown.sum()), unseen)


def kept(clause: Clause, share: Fraction) -> bool:
    """Whether this attained share keeps the promise; `>` and `<` of a share do not count the share
    itself.
    """
    promised = 1 - clause.allowed_share
    if clause.kind.excludes_promised(clause):
        return share > promised
    return share >= promised


def exact_share(reached: Attained) -> ExactShare | None:
    """The attained share as it is recorded."""
    if reached.value is None:
        return None
    return ExactShare.of(reached.value)
