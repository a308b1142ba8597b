"""Latencies of servers that are shared: queues, batches, stalls, loads that walk, sessions.

In: a generator of random numbers. Out: times, latencies and sessions of one run. Must stay true:
the law is fixed; who wants a share above the limit moves the limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bench.record.samples import Float, Int
from benchmarks.mechanisms import (
    Batching,
    Rng,
    autoregressive,
    batching,
    incidents,
    lognormal,
    normal_share,
    pareto,
    pareto_mean,
    poisson_times,
    sharing,
    waits,
)

#: Times (s), latencies (s) and sessions of a run.
InSessions = tuple[Float, Float, Int]
Drawn = tuple[Float, Float, None] | InSessions


def queue(count: int, gaps: Float, service: Float) -> Drawn:
    """First come, first served; the first rows only fill the queue."""
    at_s = np.cumsum(gaps)
    took = (waits(at_s, service) + service)[-count:]
    return at_s[-count:] - at_s[-count], took, None


def heavy_service(rng: Rng) -> Drawn:
    """M/G/1, lognormal service (sigma 1.2), four tenths loaded."""
    n = 16_000
    return queue(12_000, rng.exponential(0.1, n), lognormal(rng, 0.04, 1.2, n))


def giants(rng: Rng) -> Drawn:
    """M/G/1, one request of 200 takes twelve times as long and all wait behind it."""
    n = 13_000
    service = rng.exponential(0.04, n) * np.where(rng.random(n) < 0.005, 12, 1)
    return queue(10_000, rng.exponential(0.1, n), service)


def modulated(surge_s: float) -> Callable[[Rng], Drawn]:
    """A queue fed by arrivals that come three times as fast in a fifth of the time."""

    def drawn(rng: Rng) -> Drawn:
        n, flips = 16_000, 8_000
        stays = rng.exponential(1, flips) * np.tile([4 * surge_s, surge_s], flips // 2)
        real = np.concatenate([[0.0], np.cumsum(stays)])
        inner = np.concatenate([[0.0], np.cumsum(stays * np.tile([1.0, 3.0], flips // 2))])
        # arrivals are Poisson in the inner time
        at_s = np.interp(np.cumsum(rng.exponential(0.14, n)), inner, real)
        return queue(12_000, np.diff(at_s, prepend=0.0), rng.exponential(0.045, n))

    return drawn


def shared_processor(rng: Rng) -> Drawn:
    """M/G/1 processor sharing, lognormal work (sigma 1.2), load 0.7."""
    at_s = np.cumsum(rng.exponential(0.1, 6_000))
    took = sharing(at_s, lognormal(rng, 0.07, 1.2, 6_000))
    return at_s[2_000:-200] - at_s[2_000], took[2_000:-200], None


def batches(rng: Rng) -> Drawn:
    """Continuous batching of 48 slots: how much longer an answer takes than it would alone."""
    at_s = np.cumsum(rng.exponential(0.25, 6_000))
    tokens = rng.geometric(1 / 180, 6_000)
    engine = Batching(48, 0.012, 0.0009)
    delay = batching(at_s, tokens, engine) - tokens * (engine.step_s + engine.each_s)
    return at_s[1_000:-200] - at_s[1_000], delay[1_000:-200], None


def stalls(rng: Rng) -> Drawn:
    """The server stands still every 20 s or so, lognormally long, and then catches up."""
    span_s = 900.0
    at_s = poisson_times(rng, 10, span_s)
    stops = np.cumsum(rng.uniform(15, 25, 80)) - rng.uniform(0, 20)
    stops = stops[(stops > 0) & (stops < span_s)]
    whole = np.concatenate([at_s, stops])
    order = np.argsort(whole)
    service = np.concatenate(
        [rng.exponential(0.02, len(at_s)), lognormal(rng, 0.6, 0.8, len(stops))]
    )
    took = waits(whole[order], service[order]) + service[order]
    mine = order < len(at_s)
    return whole[order][mine], took[mine], None


def cold_starts(rng: Rng) -> Drawn:
    """Clients that come in groups; after 20 s without work the next start takes 3 s or so."""
    begins = poisson_times(rng, 1 / 8, 7_200.0)
    size = rng.geometric(1 / 12, len(begins))
    at_s = np.sort(np.repeat(begins, size) + rng.exponential(4.0, int(size.sum())))
    idle = np.diff(at_s, prepend=at_s[0]) > 20
    ready = np.maximum.accumulate(np.where(idle, at_s + lognormal(rng, 3, 0.6, len(at_s)), -1.0))
    return at_s, np.maximum(ready - at_s, 0) + lognormal(rng, 0.3, 0.5, len(at_s)), None


def walking(memory_s: float) -> Callable[[Rng], Drawn]:
    """A load that walks and forgets itself in `memory_s`; a queue's latency at that load."""

    def drawn(rng: Rng) -> Drawn:
        at_s = poisson_times(rng, 10, 900.0)
        load = 0.5 + 0.45 * normal_share(autoregressive(rng, 901, memory_s))
        return at_s, rng.exponential(1, len(at_s)) / (1 - load[at_s.astype(int)]), None

    return drawn


def noisy_neighbours(rng: Rng) -> Drawn:
    """Neighbours that come for a Pareto time (index 1.5) and slow everybody down together."""
    at_s = poisson_times(rng, 5, 2_400.0)
    there = incidents(
        rng, 2_400.0, 0.7, lambda k: pareto(rng, 12, 1.5, 600, k), pareto_mean(12, 1.5, 600), 600
    )
    return at_s, rng.exponential(1, len(at_s)) * 1.5 ** there.under_way(at_s), None


def lagging_scaler(rng: Rng) -> Drawn:
    """Load that swings within 15 s, capacity that follows it 2 s later."""
    n, turn = 16_000, 2 * math.pi / 15
    phase = rng.uniform(0, 2 * math.pi)
    grid = np.arange(2_000.0)
    inner = np.cumsum(1 + 0.5 * np.sin(turn * grid + phase))  # time in which arrivals are Poisson
    at_s = np.interp(np.cumsum(rng.exponential(0.1, n)), inner, grid)
    capacity = 1 + 0.5 * np.sin(turn * (at_s - 2) + phase)
    return queue(12_000, np.diff(at_s, prepend=0.0), rng.exponential(0.05, n) / capacity)


def rate_limited(rng: Rng) -> Drawn:
    """A quota a minute: how many have come before in the same minute, which the limit refuses."""
    minutes = 240
    load = np.exp(0.12 * autoregressive(rng, minutes, 2.0))
    counts = rng.poisson(50 * load)
    minute = np.repeat(np.arange(minutes), counts)
    at_s = np.sort(60 * (minute + rng.random(len(minute))))
    first = np.searchsorted(at_s, 60 * np.arange(minutes))
    place = np.arange(len(at_s)) - first[(at_s // 60).astype(int)]
    return at_s, place + rng.random(len(at_s)), None


def sessions(rate: float) -> Callable[[Rng], InSessions]:
    """Sessions of some eight turns with time to think; each has its own size, and grows."""

    def drawn(rng: Rng) -> InSessions:
        starts = poisson_times(rng, rate, 1_800.0)
        turns = rng.geometric(1 / 8, len(starts))
        session = np.repeat(np.arange(len(starts)), turns)
        first = np.repeat(np.cumsum(turns) - turns, turns)
        think = lognormal(rng, 20, 1.0, len(session))
        gone = np.cumsum(think)
        at_s = starts[session] + gone - gone[first]
        turn = np.arange(len(session)) - first
        size = rng.lognormal(0, 0.9, len(starts))[session]
        return at_s, size * (1 + 0.1 * turn) * rng.lognormal(0, 0.3, len(session)), session

    return drawn
