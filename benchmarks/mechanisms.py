"""What slow requests come from, drawn: queues, shared processors, batches, incidents, storms.

In: a generator of random numbers and the numbers of a mechanism. Out: times and latencies in
seconds, or stretches of incidents. Must stay true: a run begins in the middle of what goes on, not
in an empty system, unless the mechanism is a start; nothing here knows a rule of judging.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bench.record.samples import Bool, Float, Int

Rng = np.random.Generator


def poisson_times(rng: Rng, rate: float, span_s: float) -> Float:
    """Moments of a Poisson process, in order."""
    return np.sort(rng.uniform(0, span_s, rng.poisson(rate * span_s)))


def lognormal(rng: Rng, mean: float, sigma: float, count: int) -> Float:
    """Draws of this mean."""
    return rng.lognormal(math.log(mean) - sigma * sigma / 2, sigma, count)


def pareto(rng: Rng, mean: float, tail: float, longest: float, count: int) -> Float:
    """Draws with this tail index, cut at `longest`, which takes a little off the mean."""
    return np.minimum(mean * (tail - 1) / tail * (1 - rng.random(count)) ** (-1 / tail), longest)


def pareto_mean(mean: float, tail: float, longest: float) -> float:
    """The mean of what `pareto` draws: the integral of the survival function up to `longest`."""
    least = mean * (tail - 1) / tail
    beyond: float = (least / longest) ** (tail - 1)
    return least + least / (tail - 1) * (1 - beyond)


def waits(at_s: Float, service_s: Float) -> Float:
    """How long each waits for one server, first come first served (Lindley)."""
    steps = np.concatenate([[0.0], np.cumsum(service_s[:-1] - np.diff(at_s))])
    return steps - np.minimum.accumulate(np.minimum(steps, 0.0))


def sharing(at_s: Float, work_s: Float) -> Float:
    """How long each takes where all that are there share one processor in equal parts.

    Everyone has been given the same since a common start, so each leaves when that reaches what it
    was at arrival plus its own work.
    """
    took = np.empty(len(at_s))
    there: list[tuple[float, int]] = []
    given = now = 0.0
    for number, (arrives, work) in enumerate(zip(at_s.tolist(), work_s.tolist(), strict=True)):
        while there and now + (there[0][0] - given) * len(there) <= arrives:
            leaves_at, who = there[0]
            now += (leaves_at - given) * len(there)
            given = leaves_at
            heapq.heappop(there)
            took[who] = now - at_s[who]
        if there:
            given += (arrives - now) / len(there)
        now = arrives
        heapq.heappush(there, (given + work, number))
    while there:
        leaves_at, who = there[0]
        now += (leaves_at - given) * len(there)
        given = leaves_at
        heapq.heappop(there)
        took[who] = now - at_s[who]
    return took


class Batching(NamedTuple):
    """An engine that makes a token for each of its requests at every step."""

    slots: int
    step_s: float
    #: a step is so much longer for each request in it
    each_s: float


def batching(at_s: Float, tokens: Int, engine: Batching) -> Float:
    """How long each takes under continuous batching; those without a slot wait in order."""
    took = np.empty(len(at_s))
    arrives = at_s.tolist()
    wanted = tokens.tolist()
    active: list[tuple[float, int]] = []
    steps = now = 0.0
    waiting = 0
    for number in range(len(arrives) + 1):
        until = arrives[number] if number < len(arrives) else math.inf
        while active:
            pace = engine.step_s + engine.each_s * len(active)
            ends = now + (active[0][0] - steps) * pace
            if ends > until:
                steps += (until - now) / pace
                break
            now = ends
            steps, who = heapq.heappop(active)
            took[who] = now - arrives[who]
            if waiting < number:
                heapq.heappush(active, (steps + wanted[waiting], waiting))
                waiting += 1
        now = until
        if number < len(arrives) and len(active) < engine.slots:
            heapq.heappush(active, (steps + wanted[waiting], waiting))
            waiting += 1
    return took


def autoregressive(rng: Rng, count: int, memory: float) -> Float:
    """A stationary Gaussian walk of variance 1 that forgets itself in `memory` steps."""
    phi = math.exp(-1 / memory)
    before = math.ceil(8 * memory)
    level = rng.standard_normal(before + count) * math.sqrt(1 - phi * phi)
    reach = 1
    while reach < before:  # sums of 2, 4, 8, ... past terms
        level[reach:] = level[reach:] + phi**reach * level[:-reach]
        reach *= 2
    return level[before:]


def normal_share(level: Float) -> Float:
    """Between 0 and 1, evenly, of a Gaussian level."""
    grid = np.linspace(-5, 5, 2001)
    law = np.array([NormalDist().cdf(each) for each in grid])
    return np.asarray(np.interp(level, grid, law), np.float64)


class Incidents(NamedTuple):
    """Stretches of trouble that begin as a Poisson process and may overlap."""

    begins_s: Float
    ends_s: Float

    def under_way(self, at_s: Float) -> Int:
        """How many are under way at each moment."""
        begun = np.searchsorted(np.sort(self.begins_s), at_s, side="right")
        return begun - np.searchsorted(np.sort(self.ends_s), at_s, side="right")

    def hits(self, rng: Rng, at_s: Float, severity: Float) -> Bool:
        """Rows that an incident of its severity hits, each on its own."""
        spared = np.log1p(-np.minimum(severity, 1 - 1e-12))
        by_begin, by_end = np.argsort(self.begins_s), np.argsort(self.ends_s)
        begun = np.concatenate([[0.0], np.cumsum(spared[by_begin])])
        ended = np.concatenate([[0.0], np.cumsum(spared[by_end])])
        level = (
            begun[np.searchsorted(self.begins_s[by_begin], at_s, side="right")]
            - ended[np.searchsorted(self.ends_s[by_end], at_s, side="right")]
        )
        return np.asarray(rng.random(len(at_s)) < -np.expm1(np.minimum(level, 0.0)), bool)


def incidents(
    rng: Rng,
    span_s: float,
    busy: float,
    lengths: Callable[[int], Float],
    mean_s: float,
    longest_s: float,
) -> Incidents:
    """Incidents such that one or more are under way for `busy` of the time: of a Poisson number of
    mean m none is with e^-m, whatever the law of their lengths.
    """
    rate = -math.log1p(-busy) / mean_s
    begins = rng.uniform(-longest_s, span_s, rng.poisson(rate * (span_s + longest_s)))
    return Incidents(begins, begins + np.minimum(lengths(len(begins)), longest_s))


def storm(rng: Rng, arrivals: Int, capacity: Int, tries: int) -> tuple[Int, Int]:
    """Second by second: what asks (first tries and repeats) and what is refused.

    What is refused comes back after 1, 2, 4, ... seconds until its tries are used up, so a short
    lack of capacity feeds on itself.
    """
    seconds = len(arrivals)
    due = np.zeros((seconds + 2**tries, tries), np.int64)
    asked = np.zeros(seconds, np.int64)
    refused = np.zeros(seconds, np.int64)
    due[:seconds, 0] = arrivals
    for second in range(seconds):
        asks = due[second]
        total = int(asks.sum())
        over = total - int(capacity[second])
        asked[second] = total
        if over <= 0:
            continue
        refused[second] = over
        turned_away = rng.multivariate_hypergeometric(asks, over)
        for attempt in range(tries - 1):
            due[second + 2**attempt, attempt + 1] += turned_away[attempt]
    return asked, refused
