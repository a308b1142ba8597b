"""Days of rows for clauses that count stretches of time: intervals, minutes, slices, windows.

In: a generator of random numbers and the true share that is lost. Out: the clause and the rows of
one run. Must stay true: in the mean over runs that share of the clause's stretches is lost, by
theory or by the dials of long draws in shapes_of_time.json (`python -m benchmarks.shapes_of_time`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.plan.clause import Clause
from bench.record.samples import Float, Int
from benchmarks.mechanisms import Rng, autoregressive, incidents, lognormal, poisson_times
from benchmarks.production import Rows, rows_of
from benchmarks.shapes_incidents import Draw, struck

TRUTH = Path(__file__).with_suffix(".json")
P0 = Fraction(2, 100)
SHARES = (0.02, 0.01, 0.005, 0.04)
DAY_S = 86_400.0


class Stretches(NamedTuple):
    """A clause on stretches of time, and how runs of it come."""

    name: str
    clause: Clause
    draw: Draw
    #: days of the run
    days: float

    @property
    def end_ns(self) -> int:
        """When a run ends."""
        return int(self.days * DAY_S) * 10**9


def uptime(method: str, **keys: Any) -> Clause:
    """98 % by this method, outages of two minutes assumed."""
    return Clause(metric="uptime", share="98%", method=method, assumed_outage="2min", **keys)


MEAN = uptime("mean_of_intervals", window="5min")
WINDOWS = Clause(metric="e2e", statistic="share_of_windows", share="98%", window="1min", limit="1s")


def paced(days: float, a_minute: int) -> Float:
    """Evenly spaced times, as many in each minute."""
    return np.arange(days * 1_440 * a_minute) * (60 / a_minute)


def outages(
    days: float, a_minute: int, mean_s: float, part: float = 1.0
) -> Callable[[Rng, float], Rows]:
    """Outages of exponential length; what they do not lose of the share, single errors do."""

    def draw(rng: Rng, share: float) -> Rows:
        at_s = paced(days, a_minute)
        alone = -np.expm1((1 - part) * np.log1p(-share))
        down = -np.expm1(part * np.log1p(-share))
        gone = incidents(
            rng, at_s[-1], down, lambda k: rng.exponential(mean_s, k), mean_s, 20 * mean_s
        )
        hit = (gone.under_way(at_s) > 0) | (rng.random(len(at_s)) < alone)
        return struck(rng, at_s, hit)

    return draw


def partial(rng: Rng, share: float) -> Rows:
    """Bursts of lognormal length and of any severity, over some single errors."""
    at_s = paced(4, 10)
    alone = share / 4
    busy = -np.expm1(2 * np.log1p(-(share - alone) / (1 - alone)))
    bursts = incidents(rng, at_s[-1], busy, lambda k: lognormal(rng, 200, 1.0, k), 200, 12_000)
    hit = bursts.hits(rng, at_s, rng.random(len(bursts.begins_s)))
    return struck(rng, at_s, hit | (rng.random(len(at_s)) < alone))


def wandering(rng: Rng, share: float) -> Rows:
    """An error rate that walks, lognormal, and forgets itself in 20 minutes."""
    at_s = paced(4, 10)
    level = np.exp(autoregressive(rng, 4 * 1_440, 20.0) - 0.5)
    own = np.minimum(share * level, 1.0)[(at_s // 60).astype(int)]
    return struck(rng, at_s, rng.random(len(at_s)) < own)


def medians(rng: Rng) -> tuple[Float, Float]:
    """A load that walks within five minutes; every minute has a median of its own."""
    at_s = np.sort(poisson_times(rng, 1 / 3, DAY_S))
    load = np.exp(0.6 * autoregressive(rng, 1_440, 5.0))
    return at_s, rng.exponential(1, len(at_s)) * load[(at_s // 60).astype(int)]


def windows_of_walk(rng: Rng, share: float) -> Rows:
    """Its rows, the limit where that share of the windows is above it."""
    at_s, latency_s = medians(rng)
    return rows_of(at_s, latency_s / dials()["windows, load that walks"][str(share)])


def lost(rows: Rows, window_s: int, least_good: float | None) -> Float:
    """Stretches with more failures than they may have; None: that failed whole."""
    stretch: Int = rows.due_ns // (window_s * 10**9)
    n = np.bincount(stretch)
    k = np.bincount(stretch, rows.failed)
    bad = (k == n) & (n > 0) if least_good is None else n - k < least_good * n
    return bad.astype(np.float64)


@cache
def dials() -> dict[str, dict[str, float]]:
    """What turns each shape to a share."""
    found: dict[str, dict[str, float]] = json.loads(TRUTH.read_bytes())
    return found


def dialled(name: str, draw: Draw) -> Draw:
    """`draw`, with the share of lost stretches in place of that of lost rows."""
    return lambda rng, share: draw(rng, dials()[name][str(share)])


#: What is counted by a table of stretches: the rows, and what counts one as lost.
COUNTED: dict[str, tuple[Draw, int, float | None]] = {
    "whole minutes, outages": (outages(4, 6, 240), 60, None),
    "minutes of errors, outages and single errors": (outages(1, 20, 150, 0.97), 60, 0.95),
    "slices, outages": (outages(7, 4, 240), 300, 0.95),
}
SHAPES = [
    Stretches("interval means, outages", MEAN, outages(4, 6, 240), 4),
    Stretches("interval means, half single errors", MEAN, outages(4, 6, 240, 0.5), 4),
    Stretches("interval means, nearly all single", MEAN, outages(4, 6, 240, 0.15), 4),
    Stretches("interval means, partial bursts", MEAN, partial, 4),
    Stretches("interval means, rate that walks", MEAN, wandering, 4),
    *(
        Stretches(name, clause, dialled(name, COUNTED[name][0]), days)
        for name, clause, days in (
            ("whole minutes, outages", uptime("minute_all_fail"), 4),
            (
                "minutes of errors, outages and single errors",
                uptime("downtime_minutes", error_rate="5%", minutes=1),
                1,
            ),
            ("slices, outages", uptime("slice_ok", window="5min", slice_share="95%"), 7),
        )
    ),
    Stretches("windows, load that walks", WINDOWS, windows_of_walk, 1),
]


def long_draw(runs: int) -> dict[str, dict[str, float]]:
    """The dials by long draws."""
    rng = np.random.default_rng(20261130)
    found: dict[str, dict[str, float]] = {}
    for name, (draw, window_s, least_good) in COUNTED.items():
        found[name] = {}
        for share in SHARES:
            dial = share
            for _ in range(3):
                seen = [lost(draw(rng, dial), window_s, least_good).mean() for _ in range(runs)]
                dial *= share / float(np.mean(seen))
            found[name][str(share)] = dial
    middles = []
    for _ in range(2 * runs):
        at_s, latency_s = medians(rng)
        minute = (at_s // 60).astype(int)
        ordered = latency_s[np.lexsort((latency_s, minute))]
        n = np.bincount(minute)
        first = np.cumsum(n) - n
        middles.append(ordered[(first + (n + 1) // 2 - 1)[n > 0]])
    whole = np.concatenate(middles)
    found["windows, load that walks"] = {
        str(share): float(np.quantile(whole, 1 - share)) for share in SHARES
    }
    return found


if __name__ == "__main__":
    TRUTH.write_text(json.dumps(long_draw(150), indent=1) + "\n")
