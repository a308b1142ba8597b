"""`method = "mean_of_intervals"`: the mean over intervals of each one's share of successes.

In: the keys of a clause, requests and failures an interval. Out: what each interval lost. Must stay
true: an interval counts as much as any other, however many requests it had.
"""

from __future__ import annotations

import numpy as np

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Definition, Int, Kind, Loss, whole_windows
from bench.plan.kinds.of_failures import checked_with, counted, of_uptime, uptime_text
from bench.units import show_duration


def _losses(keys: ClauseKeys, n: Int, k: Int) -> Loss:
    return Loss(k, np.maximum(n, 1), counted(keys, n), n > 0)


MEAN_OF_INTERVALS = Kind(
    name="mean_of_intervals",
    named_by="method",
    promises=("uptime",),
    keys=of_uptime("empty", "window"),
    check=checked_with("window"),
    text=lambda keys: uptime_text(keys, f"mean of {show_duration(keys.unit_ns)} intervals"),
    by_time=True,
    partial=True,
    outages=True,
    losses=_losses,
    unit_minutes=whole_windows,
    definitions=(
        Definition(
            "mean of 5 min intervals, empty = 100 %",
            "AWS, Cloudflare R2, OpenSLO RatioTimeslices",
            {"window": "5min"},
            place=2,
        ),
        Definition("mean of 1 min intervals, empty = 100 %", "", {"window": "1min"}, place=3),
    ),
)
