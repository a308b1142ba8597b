"""The same log under the definitions that others use: what this month would be called elsewhere.

In: a clause. Out: clauses of other definitions, each with whose it is. Must stay true: they are
those of methods 1.4 and 1.5, which the kinds of clauses list; a neighbour judges nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.plan.clause import Clause
from bench.plan.kinds.registry import KINDS


class Neighbour(NamedTuple):
    """Another definition, and who is known to use it."""

    name: str
    whose: str
    clause: Clause


def uptime_neighbours(share: object) -> list[Neighbour]:
    """The six definitions of methods 1.4 and OpenSLO's slices, each promising the same share."""
    return [
        Neighbour(
            each.name,
            each.whose,
            Clause.model_validate(
                {"metric": "uptime", "share": share, kind.named_by: kind.name, **each.keys}
            ),
        )
        for kind in KINDS
        for each in kind.definitions
    ]


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
    )
    terms = {key: value for key, value in terms.items() if value is not None}
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
