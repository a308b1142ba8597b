"""Runs whose slow requests come in spells, on which the rules of judging were chosen.

In: a generator of random numbers and the true share of bad rows. Out: rows whose limit is
`LIMIT_S`, due every ms. Must stay true: every run is drawn anew, spells included, and in the mean
over runs that share of the rows takes longer. Those that no rule was chosen on are in
shapes_held_out.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from bench.record.samples import Bool, Float, Int
from bench.units import MS, S
from benchmarks.production import Rows
from benchmarks.shapes_held_out import LIMIT_S, Shape
from benchmarks.shapes_incidents import Draw


def made(rng: np.random.Generator, bad: Bool, slow: Bool, at_ns: Int | None = None) -> Rows:
    """Rows whose latency is over the limit where `bad`, and else longer in `slow` phases than
    outside.
    """
    return of_level(np.where(bad, 2.0, 0.49 * slow) + 0.5 * rng.random(len(bad)), at_ns)


def of_level(level: Float, at_ns: Int | None = None) -> Rows:
    """Rows whose latency orders them as their level does, the limit being a level of 1."""
    n = len(level)
    at_ns = np.arange(n, dtype=np.int64) * MS if at_ns is None else at_ns
    latency_ns = np.maximum(level * LIMIT_S * S, 1).astype(np.int64)
    return Rows(at_ns, latency_ns, np.zeros(n, bool))


def spells(
    rng: np.random.Generator, n: int, share: float, lengths: Callable[[int], Int], mean: float
) -> Bool:
    """On and off by turns: `lengths(count)` on, geometric off so that on has its share in the long
    run.
    """
    pairs = 8 * math.ceil(n * share / mean) + 20
    turns = np.empty(2 * pairs, np.int64)
    turns[::2], turns[1::2] = lengths(pairs), rng.geometric(share / (mean * (1 - share)), pairs)
    # the start falls on a random row of a random turn, long turns likelier: a run joins what
    # already goes on
    state = np.repeat(np.arange(2 * pairs) % 2 == 0, np.maximum(turns, 1))
    start = rng.integers(0, max(len(state) - n, 1))
    return state[start : start + n] if len(state) >= start + n else np.resize(state, n)


def independent(n: int) -> Draw:
    return lambda rng, share: made(rng, rng.random(n) < share, np.zeros(n, bool))


def phases(n: int, dwell: int, background: float = 0.0) -> Draw:
    """Slow 5 % of the time; `background` is the part of the slow requests that come outside slow
    phases.
    """

    def draw(rng: np.random.Generator, share: float) -> Rows:
        slow = spells(rng, n, 0.05, lambda count: rng.geometric(1 / dwell, count), dwell)
        chance = np.where(slow, share * (1 - background) / 0.05, share * background / 0.95)
        return made(rng, rng.random(n) < chance, slow)

    return draw


def outages(n: int, mean: float, tail: float | None) -> Draw:
    """Spells in which every request fails: of one length, or Pareto with this tail index."""

    def draw(rng: np.random.Generator, share: float) -> Rows:
        def lengths(count: int) -> Int:
            if tail is None:
                return np.full(count, round(mean))
            return (
                (mean * (tail - 1) / tail * (1 - rng.random(count)) ** (-1 / tail))
                .astype(np.int64)
                .clip(1, 20 * n)
            )

        down = spells(rng, n, share, lengths, mean)
        return made(rng, down, down)

    return draw


def autoregressive(n: int, phi: float) -> Draw:
    """Latency over the limit where a Gaussian AR(1) is over its quantile."""

    def draw(rng: np.random.Generator, share: float) -> Rows:
        warm_up, reach = math.ceil(14 / -math.log(phi)), 1
        noise = rng.standard_normal(warm_up + n) * math.sqrt(1 - phi * phi)
        while reach < warm_up:  # sums of 2, 4, 8, ... past terms
            noise[reach:] += phi**reach * noise[:-reach]
            reach *= 2
        limit = NormalDist().inv_cdf(1 - share)
        return of_level(np.exp(noise[warm_up:] - limit))

    return draw


def drift(n: int, periods: float) -> Draw:
    """A share that swings between nothing and double, as a sine over the run that begins
    anywhere.
    """

    def draw(rng: np.random.Generator, share: float) -> Rows:
        swing = 1 + np.sin(2 * np.pi * (periods * np.arange(n) / n + rng.random()))
        return made(rng, rng.random(n) < share * swing, swing > 1.5)

    return draw


def self_exciting(n: int, children: float, delay: float) -> Draw:
    """Each slow request brings Poisson(`children`) further ones, after geometric delays of mean
    `delay` rows.
    """

    def draw(rng: np.random.Generator, share: float) -> Rows:
        before = 200 * int(delay)  # what came before the run has children in it
        born = np.flatnonzero(rng.random(n + before) < share * (1 - children)) - before
        rows = [born]
        while len(born):
            parents = np.repeat(born, rng.poisson(children, len(born)))
            born = parents + rng.geometric(1 / delay, len(parents))
            rows.append(born)
        order = np.arange(sum(len(generation) for generation in rows))
        # two in one row: the later takes the next free row
        slow = np.maximum.accumulate(np.sort(np.concatenate(rows)) - order) + order
        bad = np.zeros(n, bool)
        bad[slow[(slow >= 0) & (slow < n)]] = True
        return made(rng, bad, bad)

    return draw


def surges(n: int, dwell: int) -> Draw:
    """Poisson arrivals, five times as many in a tenth of the time; slow requests only then."""

    def draw(rng: np.random.Generator, share: float) -> Rows:
        slots = round(n / 1.4)
        busy = spells(rng, slots, 0.1, lambda count: rng.geometric(1 / dwell, count), dwell)
        slot = np.repeat(np.arange(slots), rng.poisson(np.where(busy, 5.0, 1.0)))
        at_ns = np.sort(slot * 1_000_000 + rng.integers(0, 1_000_000, len(slot)))
        slow = busy[at_ns // 1_000_000]
        return made(
            rng, rng.random(len(slow)) < np.where(slow, share * 1.4 / 0.5, 0.0), slow, at_ns
        )

    return draw


SHAPES = [
    Shape("independent, n 3,000", independent(3_000)),
    Shape("phases of 50, n 20,000", phases(20_000, 50)),
    Shape("phases of 200, n 20,000", phases(20_000, 200)),
    Shape("phases of 50, n 100,000", phases(100_000, 50)),
    Shape("phases of 200, n 100,000", phases(100_000, 200)),
    Shape("phases of 200 + half outside, n 50,000", phases(50_000, 200, 0.5)),
    Shape("AR(1) 0.9, n 10,000", autoregressive(10_000, 0.9)),
    Shape("AR(1) 0.98, n 50,000", autoregressive(50_000, 0.98)),
    Shape("arrival surges of 100 slots, n 20,000", surges(20_000, 100)),
    Shape("outages of 100, n 50,000", outages(50_000, 100, None)),
    Shape("self-exciting 0.8, n 20,000", self_exciting(20_000, 0.8, 20)),
    Shape("drift, 3 waves, n 20,000", drift(20_000, 3)),
    Shape("heavy-tailed outages (Pareto 1.5, mean 50), n 50,000", outages(50_000, 50, 1.5)),
    Shape("self-exciting 0.9, n 100,000", self_exciting(100_000, 0.9, 20)),
    Shape("phases of 400 (2.5 seen), n 20,000", phases(20_000, 400)),
    Shape("phases of 200 (1.2 seen), n 5,000", phases(5_000, 200)),
    Shape("drift, half a wave, n 20,000", drift(20_000, 0.5)),
]
