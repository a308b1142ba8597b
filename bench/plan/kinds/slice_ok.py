"""`method = "slice_ok"`: a slice of time is up from `slice_share` of successes on.

In: the keys of a clause, requests and failures a slice. Out: what each slice lost. Must stay true:
a slice without requests is up, or does not count where the clause says so.
"""

from __future__ import annotations

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Definition, Int, Kind, Loss, below, lost_whole, whole_windows
from bench.plan.kinds.of_failures import checked_with, counted, of_uptime, uptime_text
from bench.units import show_duration, show_exact


def _text(keys: ClauseKeys) -> str:
    assert keys.slice_share is not None
    served = show_exact(keys.slice_share * 100)
    return uptime_text(keys, f"{show_duration(keys.unit_ns)} slices with {served} % served")


def _losses(keys: ClauseKeys, n: Int, k: Int) -> Loss:
    assert keys.slice_share is not None
    return lost_whole(below(keys.slice_share, n, k), counted(keys, n), n > 0)


SLICE_OK = Kind(
    name="slice_ok",
    named_by="method",
    promises=("uptime",),
    keys=of_uptime("empty", "window", "slice_share"),
    check=checked_with("window", "slice_share"),
    text=_text,
    by_time=True,
    outages=True,
    losses=_losses,
    unit_minutes=whole_windows,
    good_from=lambda keys: keys.slice_share,
    definitions=(
        Definition(
            "5 min slices with 95 % served",
            "OpenSLO Timeslices",
            {"window": "5min", "slice_share": "95%"},
            place=7,
        ),
    ),
)
