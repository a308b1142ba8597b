"""Rows that incidents strike: restarts, bursts, storms, sick replicas and regions, bad hours.

In: a generator of random numbers and the true share of bad rows. Out: the rows of one run. Must
stay true: in the mean over runs exactly that share is struck, by the law of the mechanism, and the
others keep a limit of 1 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bench.record.samples import Bool, Float, Int
from benchmarks.mechanisms import Rng, incidents, lognormal, poisson_times, storm
from benchmarks.production import Rows, rows_of
from benchmarks.shapes_queues import sessions

Draw = Callable[[Rng, float], Rows]


def struck(rng: Rng, at_s: Float, hit: Bool, session: Int | None = None) -> Rows:
    """Rows that fail where hit, and else take less than the limit."""
    return rows_of(at_s, lognormal(rng, 0.2, 0.4, len(at_s)).clip(0, 0.99), hit, session)


def restarts(rng: Rng, share: float) -> Rows:
    """Restarts of some 4 s; four of ten requests outlast them, the others fail."""
    at_s = poisson_times(rng, 3, 3_600.0)
    gone = incidents(rng, 3_600.0, share, lambda k: lognormal(rng, 4, 0.5, k), 4.0, 60.0)
    hit = gone.under_way(at_s) > 0
    late = hit & (rng.random(len(at_s)) < 0.4)
    latency = np.where(
        late, 1.5 + rng.exponential(1, len(at_s)), lognormal(rng, 0.2, 0.3, len(at_s))
    )
    return rows_of(at_s, np.where(hit, latency, latency.clip(0, 0.99)), hit & ~late)


def unequal(seconds: float, sigma: float, span_s: float) -> Draw:
    """Bursts of lognormal length and of a severity between none and all."""

    def draw(rng: Rng, share: float) -> Rows:
        at_s = poisson_times(rng, 14_000 / span_s, span_s)
        busy = -math.expm1(2 * math.log1p(-share))  # the mean severity is one half
        bursts = incidents(
            rng, span_s, busy, lambda k: lognormal(rng, seconds, sigma, k), seconds, 60 * seconds
        )
        return struck(rng, at_s, bursts.hits(rng, at_s, rng.random(len(bursts.begins_s))))

    return draw


def bad_replica(rng: Rng, share: float) -> Rows:
    """One of eight replicas degrades for two minutes or so; a third of what it gets is slow."""
    at_s = poisson_times(rng, 10, 1_800.0)
    busy = -math.expm1(math.log1p(-share * 24))
    ill = incidents(rng, 1_800.0, busy, lambda k: rng.exponential(60, k), 60.0, 900.0)
    return struck(rng, at_s, (ill.under_way(at_s) > 0) & (rng.random(len(at_s)) < 1 / 24))


def sticky_regions(rng: Rng, share: float) -> Rows:
    """Sessions stay in one of six regions, and each region has its own spells."""
    at_s, _, session = sessions(0.55)(rng)
    region = rng.integers(0, 6, int(session.max()) + 1)[session]
    span_s = float(at_s.max()) + 1
    hit = np.zeros(len(at_s), bool)
    for number in range(6):
        ill = incidents(rng, span_s, share / 0.7, lambda k: rng.exponential(12, k), 12.0, 240.0)
        hit |= (region == number) & (ill.under_way(at_s) > 0) & (rng.random(len(at_s)) < 0.7)
    return struck(rng, at_s, hit, session)


def stuck_sessions(rng: Rng, share: float) -> Rows:
    """A session that was placed badly fails in eight of ten turns, from its first to its last."""
    at_s, _, session = sessions(0.9)(rng)
    ill = rng.random(int(session.max()) + 1) < share / 0.8
    return struck(rng, at_s, ill[session] & (rng.random(len(at_s)) < 0.8), session)


def retried_at_once(rng: Rng, share: float) -> Rows:
    """Every failure is tried again at once and fails again, 2.5 rows in the mean."""
    row = np.arange(6_000, dtype=np.float64)
    bad = incidents(
        rng, row[-1], share, lambda k: rng.geometric(0.4, k).astype(np.float64), 2.5, 100.0
    )
    return struck(rng, row / 10, bad.under_way(row) > 0)


def half_single(rng: Rng, share: float) -> Rows:
    """Half of the failures alone, half in outages of a few seconds."""
    at_s = poisson_times(rng, 3, 3_600.0)
    alone = 1 - math.sqrt(1 - share)
    gone = incidents(rng, 3_600.0, alone, lambda k: rng.exponential(3, k), 3.0, 60.0)
    return struck(rng, at_s, (gone.under_way(at_s) > 0) | (rng.random(len(at_s)) < alone))


def probes(rng: Rng, share: float) -> Rows:
    """One request a minute for two weeks; outages of eight minutes in the mean."""
    at_s = 60 * np.arange(20_160, dtype=np.float64)
    gone = incidents(rng, at_s[-1], share, lambda k: rng.exponential(480, k), 480.0, 9_600.0)
    return struck(rng, at_s, gone.under_way(at_s) > 0)


def by_hour(hours: int, sigma: float) -> Draw:
    """Hours of which each has its own share, lognormal; within an hour rows are alike."""

    def draw(rng: Rng, share: float) -> Rows:
        at_s = poisson_times(rng, 1 / 12, 3_600.0 * hours)
        own = np.minimum(lognormal(rng, share, sigma, hours), 1.0)
        return struck(rng, at_s, rng.random(len(at_s)) < own[(at_s // 3_600).astype(int)])

    return draw


def diurnal(rng: Rng, share: float) -> Rows:
    """Four days from some hour on; nearly all that is bad comes by day."""
    at_s = poisson_times(rng, 1 / 60, 4 * 86_400.0)
    tide = 1 + 0.9 * np.sin(2 * math.pi * (at_s / 86_400 + rng.random()))
    return struck(rng, at_s, rng.random(len(at_s)) < share * tide)


def on_the_minute(rng: Rng, share: float) -> Rows:
    """Other people's jobs begin with the minute: two seconds in which a third is slow."""
    at_s = np.arange(9_000) / 10
    into = (at_s + rng.uniform(0, 60)) % 60
    return struck(rng, at_s, (into < 2) & (rng.random(len(at_s)) < 30 * share))


def rolling_deploys(rng: Rng, share: float) -> Rows:
    """A deploy every five minutes touches eight replicas, one after the other, for a second."""
    at_s = poisson_times(rng, 10, 1_800.0)
    into = (at_s + rng.uniform(0, 300)) % 300
    inside = (into < 80) & (into % 10 < 1)
    return struck(rng, at_s, inside & (rng.random(len(at_s)) < share * 300 / 8))


def storm_of(rng: Rng, dial: float) -> Rows:
    """Capacity is short for seconds; what is refused comes back and prolongs it."""
    span_s = 3_600
    capacity = np.full(span_s, 12)
    brief = incidents(rng, span_s, dial, lambda k: rng.exponential(1.5, k), 1.5, 30.0)
    capacity[brief.under_way(np.arange(float(span_s))) > 0] = 2
    asked, refused = storm(rng, rng.poisson(4, span_s), capacity, 4)
    second = np.repeat(np.arange(span_s), asked)
    place = np.arange(len(second)) - np.repeat(np.cumsum(asked) - asked, asked)
    at_s = second + rng.random(len(second))
    return struck(rng, at_s, place < refused[second])


def independent(count: int) -> Draw:
    """Rows that know nothing of each other."""
    return lambda rng, share: struck(rng, np.arange(count) / 10, rng.random(count) < share)
