"""The same log under the definitions that others use: what this month would be called elsewhere.

In: a clause, the rows of a period. Out: clauses of other definitions, each with whose it is and
what it comes to. Must stay true: they are those of methods 1.4 and 1.5, which the kinds of clauses
list; a neighbour judges nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.judge.census.rows import (
    ClauseRows,
    Part,
    attained_in,
    clause_rows,
    exact_share,
    kept,
)
from bench.judge.contract.exclusions import Classes
from bench.judge.contract.uptime import Attained, attained, minute_table
from bench.plan.clause import Clause
from bench.plan.kinds.registry import KINDS
from bench.record.records.census import NeighbourRecord


class Neighbour(NamedTuple):
    """Another definition, and who is known to use it."""

    name: str
    whose: str
    clause: Clause


def uptime_neighbours(share: object) -> list[Neighbour]:
    """The six definitions of methods 1.4 and OpenSLO's slices, each promising the same share."""
    listed = [(each, kind) for kind in KINDS for each in kind.definitions]
    found = []
    for each, kind in sorted(listed, key=lambda one: one[0].place):
        terms = {"metric": "uptime", "share": share, kind.named_by: kind.name, **each.keys}
        found.append(Neighbour(each.name, each.whose, Clause.model_validate(terms)))
    return found


def window_neighbours(clause: Clause) -> list[Neighbour]:
    """The three readings of "99 % > N tokens/s, p50 per 5 minutes": by window, by request,
    by mean.
    """
    terms = clause.model_dump(
        mode="json",
        include={
            "metric",
            "view",
            "share",
            "limit",
            "at_least",
            "with_ttft",
            "window",
            "operator",
            "failed",
            "min_output_tokens",
            "min_requests",
        },
        exclude_defaults=True,
    )
    by_window = terms | {"statistic": "share_of_windows"}
    by_request = {
        key: value for key, value in terms.items() if key not in ("window", "min_requests")
    }
    return [
        Neighbour(
            "A: share of windows whose median keeps it",
            "the literal reading",
            Clause.model_validate(by_window | {"of_window": "p50"}),
        ),
        Neighbour(
            "B: share of requests that keep it",
            "how Azure's documents put it",
            Clause.model_validate(by_request | {"statistic": "share_of_requests"}),
        ),
        Neighbour(
            "C: share of windows whose mean keeps it",
            "older contracts",
            Clause.model_validate(by_window | {"of_window": "mean"}),
        ),
    ]


def neighbours_of(
    part: Part,
    clause: Clause,
    rows: ClauseRows,
    classes: Classes,
) -> list[NeighbourRecord]:
    """The same period under other definitions. They speak of all resources together."""
    if not rows.counted.any():
        return []
    found: list[tuple[Neighbour, Attained]] = []
    if clause.kind.definitions:
        table = minute_table(
            *part.counted(rows),
            (part.span.start_ns, part.span.end_ns),
            part.observed,
        )
        found = [(each, attained(table, each.clause)) for each in uptime_neighbours(clause.share)]
    elif clause.by_time:
        for each in window_neighbours(clause):
            counted = clause_rows(part.columns, each.clause, classes)
            found.append((each, attained_in(part, each.clause, counted)))
    return [
        NeighbourRecord(
            definition=each.name,
            whose=each.whose,
            attained=exact_share(reached),
            kept=_settled(clause, reached),
            own=each.clause.text == clause.text,
        )
        for each, reached in found
    ]


def _settled(clause: Clause, reached: Attained) -> bool | None:
    """Whether the promise is kept; None where what was not seen could turn it either way, or
    nothing was seen.
    """
    at_worst = kept(clause, reached.worst)
    at_best = kept(clause, reached.best)
    if reached.value is not None and at_worst == at_best:
        return at_worst
    return None
