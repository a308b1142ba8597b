"""Runs on which no rule of judging was chosen, each from the description of a mechanism.

In: a generator of random numbers and the true share of bad rows. Out: rows whose limit is
`LIMIT_S`. Must stay true: in the mean over runs that share of the rows fails or takes longer, by
theory, or by the limits of a very long draw in shapes_held_out.json. `python -m
benchmarks.shapes_held_out` draws these anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.mechanisms import Rng
from benchmarks.production import Rows, rows_of
from benchmarks.shapes_incidents import (
    Draw,
    bad_replica,
    by_hour,
    diurnal,
    half_single,
    independent,
    on_the_minute,
    probes,
    restarts,
    retried_at_once,
    rolling_deploys,
    sticky_regions,
    storm_of,
    stuck_sessions,
    unequal,
)
from benchmarks.shapes_queues import (
    Drawn,
    batches,
    cold_starts,
    giants,
    heavy_service,
    lagging_scaler,
    modulated,
    noisy_neighbours,
    rate_limited,
    sessions,
    shared_processor,
    stalls,
    walking,
)

LIMIT_S = 1.0
#: True shares at which runs are drawn: the limit, half, a quarter, twice.
SHARES = (0.01, 0.005, 0.0025, 0.02)
TRUTH = Path(__file__).with_suffix(".json")


class Shape(NamedTuple):
    """A mechanism: `draw(rng, share)` is one run of it."""

    name: str
    draw: Draw
    #: a run holds fewer than three events (mean² over variance of its bad rows): outside the marks
    few: bool = False


# ---- latencies of a fixed law, whose limit is moved


def scaled(name: str, drawn: Callable[[Rng], Drawn], *, few: bool = False) -> Shape:
    """`drawn(rng)` is times, latencies and sessions of a run; its limit comes from a long draw."""

    def draw(rng: Rng, share: float) -> Rows:
        at_s, latency_s, session = drawn(rng)
        return rows_of(at_s, latency_s * (LIMIT_S / limits()[name][str(share)]), None, session)

    draw.__dict__["drawn"] = drawn
    return Shape(name, draw, few)


@cache
def limits() -> dict[str, dict[str, float]]:
    """Limits of each fixed law by the share above them."""
    found: dict[str, dict[str, float]] = json.loads(TRUTH.read_bytes())
    return found


def dialled(name: str, draw: Draw) -> Shape:
    """`draw(rng, dial)`: the dial that gives a share comes from long draws."""

    def at_share(rng: Rng, share: float) -> Rows:
        return draw(rng, limits()[name][str(share)])

    at_share.__dict__["dialled"] = draw
    return Shape(name, at_share)


SHAPES = [
    Shape("independent, n 1,000", independent(1_000)),
    Shape("independent, n 6,000", independent(6_000)),
    scaled("queue, heavy service", heavy_service),
    scaled("queue, giants ahead", giants),
    scaled("queue, surges of 1 s", modulated(1)),
    scaled("queue, surges of 4 s", modulated(4), few=True),
    scaled("queue, scaler that lags", lagging_scaler, few=True),
    scaled("shared processor", shared_processor),
    scaled("continuous batching", batches),
    scaled("stalls", stalls),
    scaled("cold starts", cold_starts),
    scaled("load that walks, 10 s", walking(10)),
    scaled("load that walks, 60 s", walking(60), few=True),
    scaled("noisy neighbours", noisy_neighbours),
    scaled("rate limiter", rate_limited),
    scaled("sessions, n 3,000", sessions(0.2), few=True),
    scaled("sessions, n 15,000", sessions(1.0)),
    Shape("stuck sessions", stuck_sessions),
    Shape("sticky regions", sticky_regions),
    Shape("restarts", restarts),
    Shape("unequal bursts, 2 s", unequal(2, 1.0, 3_600)),
    Shape("unequal bursts, 5 s and heavy", unequal(5, 1.4, 1_400), few=True),
    dialled("retry storm", storm_of),
    Shape("bad replica", bad_replica),
    Shape("retried at once", retried_at_once),
    Shape("half alone, half outages", half_single),
    Shape("probes, one a minute", probes),
    Shape("hours that differ, two days", by_hour(48, 1.0)),
    Shape("diurnal", diurnal),
    Shape("on the minute", on_the_minute),
    Shape("rolling deploys", rolling_deploys),
]


def long_draw(shape: Shape, runs: int) -> dict[str, float] | None:
    """Its limits by share, or its dials; None where theory has them."""
    rng = np.random.default_rng(20261130)
    if (drawn := shape.draw.__dict__.get("drawn")) is not None:
        latency = np.concatenate([drawn(rng)[1] for _ in range(runs)])
        return {str(share): float(np.quantile(latency, 1 - share)) for share in SHARES}
    if (draw := shape.draw.__dict__.get("dialled")) is None:
        return None
    found = {}
    for share in SHARES:
        dial = share
        for _ in range(3):
            seen = [draw(rng, dial).failed for _ in range(runs // 4)]
            dial *= share / float(np.concatenate(seen).mean())
        found[str(share)] = dial
    return found


def main() -> None:
    """Draw limits anew and write them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("names", nargs="*", help="shapes; all without one")
    asked = parser.parse_args()
    known = limits() if asked.names else {}
    for shape in SHAPES:
        if not asked.names or shape.name in asked.names:
            found = long_draw(shape, asked.runs)
            known |= {} if found is None else {shape.name: found}
    TRUTH.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
