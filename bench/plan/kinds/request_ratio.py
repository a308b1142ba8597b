"""`metric = "uptime"`, by requests: those that succeeded, of all that count.

In: the keys of a clause, requests and failures. Out: its words, what all requests lost. Must stay
true: every request counts alike, whenever it came.
"""

from __future__ import annotations

import numpy as np

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Definition, Int, Kind, Loss, Recorded
from bench.plan.kinds.of_failures import checked_with, of_uptime, uptime_text


def _losses(_: ClauseKeys, n: Int, k: Int) -> Loss:
    return Loss(k, np.maximum(n, 1), n > 0, n > 0)


def _in_summary(clause: Recorded) -> str | None:
    return None if clause.phase or clause.bucket else "uptime/request_ratio"


REQUEST_RATIO = Kind(
    name="request_ratio",
    named_by="method",
    promises=("uptime",),
    keys=of_uptime(),
    check=checked_with(),
    text=lambda keys: uptime_text(keys, "request ratio"),
    losses=_losses,
    unit_minutes=lambda _, minutes: minutes,
    definitions=(
        Definition("request ratio", "Azure transactions, OpenSLO Occurrences", {}, place=1),
    ),
    plain=lambda _: "an answer to {limit} of requests",
    in_summary=_in_summary,
)
