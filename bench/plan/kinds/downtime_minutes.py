"""`method = "downtime_minutes"`: minutes with too many errors, in runs.

In: the keys of a clause, requests and failures a minute. Out: what each minute lost. Must stay
true: a minute is down where more than `error_rate` of its requests failed, in a run of `minutes` or
more such; one without requests is not.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Bool, Definition, Int, Kind, Loss, below, lost_whole
from bench.plan.kinds.of_failures import checked_with, counted, of_uptime, uptime_text
from bench.units import show_exact


def in_runs(bad: Bool, least: int) -> Bool:
    """The True cells that stand in a run of at least `least` along the last axis."""
    if least <= 1:
        return bad
    out = np.zeros_like(bad)
    for row, kept in zip(bad, out, strict=True):
        for start, end in runs(row):
            kept[start:end] = end - start >= least
    return out


def runs(mask: Bool) -> list[tuple[int, int]]:
    """[start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _text(keys: ClauseKeys) -> str:
    assert keys.error_rate is not None
    run = f" in runs of {keys.minutes} or more" if (keys.minutes or 1) > 1 else ""
    errors = show_exact(keys.error_rate * 100)
    return uptime_text(keys, f"minutes without over {errors} % errors{run}")


def _good_from(keys: ClauseKeys) -> Fraction:
    assert keys.error_rate is not None
    return 1 - keys.error_rate


def _losses(keys: ClauseKeys, n: Int, k: Int) -> Loss:
    bad = in_runs(below(_good_from(keys), n, k), keys.minutes or 1)
    return lost_whole(bad, counted(keys, n), n > 0)


DOWNTIME_MINUTES = Kind(
    name="downtime_minutes",
    named_by="method",
    promises=("uptime",),
    keys=of_uptime("empty", "error_rate", "minutes"),
    check=checked_with("error_rate", "minutes"),
    text=_text,
    by_time=True,
    outages=True,
    losses=_losses,
    good_from=_good_from,
    definitions=(
        Definition(
            "minutes without over 5 % errors, runs of 5 or more",
            "Google",
            {"error_rate": "5%", "minutes": 5},
            place=4,
        ),
        Definition(
            "minutes without over 5 % errors, single minutes",
            "",
            {"error_rate": "5%", "minutes": 1},
            place=5,
        ),
    ),
)
