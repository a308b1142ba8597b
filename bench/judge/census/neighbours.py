"""The same log under the definitions that others use: what this month would be called elsewhere.

In: a clause. Out: clauses of other definitions, each with whose it is. Must stay true: the list
is methods 1.4 and 1.5, and stands in one place; a neighbour judges nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bench.plan.clause import Clause


class Neighbour(NamedTuple):
    """Another definition, and who is known to use it."""

    name: str
    whose: str
    clause: Clause


_UPTIME: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("request ratio", "Azure transactions, OpenSLO Occurrences", {}),
    (
        "mean of 5 min intervals, empty = 100 %",
        "AWS, Cloudflare R2, OpenSLO RatioTimeslices",
        {"method": "mean_of_intervals", "window": "5min"},
    ),
    (
        "mean of 1 min intervals, empty = 100 %",
        "",
        {"method": "mean_of_intervals", "window": "1min"},
    ),
    (
        "minutes without over 5 % errors, runs of 5 or more",
        "Google",
        {"method": "downtime_minutes", "error_rate": "5%", "minutes": 5},
    ),
    (
        "minutes without over 5 % errors, single minutes",
        "",
        {"method": "downtime_minutes", "error_rate": "5%", "minutes": 1},
    ),
    ("minutes not failing whole", "Azure minute form", {"method": "minute_all_fail"}),
    (
        "5 min slices with 95 % served",
        "OpenSLO Timeslices",
        {"method": "slice_ok", "window": "5min", "slice_share": "95%"},
    ),
)


def uptime_neighbours(share: object) -> list[Neighbour]:
    """The six definitions of methods 1.4 and OpenSLO's slices, each promising the same share."""
    return [
        Neighbour(name, whose, Clause.model_validate({"metric": "uptime", "share": share, **terms}))
        for name, whose, terms in _UPTIME
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
