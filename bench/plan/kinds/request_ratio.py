"""`metric = "uptime"`, by requests: those that succeeded, of all that count.

In: the keys of a clause, requests and failures. Out: its words, what all requests lost. Must stay
true: every request counts alike, whenever it came.
"""

from __future__ import annotations

import numpy as np

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Definition, Int, Kind, Loss
from bench.plan.kinds.of_failures import checked_with, uptime_text


def _losses(_: ClauseKeys, n: Int, k: Int) -> Loss:
    return Loss(k, np.maximum(n, 1), n > 0, n > 0)


REQUEST_RATIO = Kind(
    name="request_ratio",
    named_by="method",
    promises=("uptime",),
    check=checked_with(),
    text=lambda keys: uptime_text(keys, "request ratio"),
    losses=_losses,
    unit_minutes=lambda _, minutes: minutes,
    definitions=(Definition("request ratio", "Azure transactions, OpenSLO Occurrences", {}),),
)
