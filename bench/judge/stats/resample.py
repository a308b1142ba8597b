"""Superblocks of two interleaved arms, and what resampling them says.

In: latencies in ns (np.inf for a failure) with the superblock each row belongs to, and a seed.
Out: quantiles, shares and distribution functions of every resample. Must stay true: both arms of
a superblock are drawn, left out or swapped together, so that a drift or a burst which meets both
cancels; a quantile is the nearest rank of the resample, exact, whatever the shortcut to it; the
same seed gives the same draws.

Source: methods 4 (superblock bootstrap, block permutation); Hesterberg 2015 (expanded percentile).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from statistics import NormalDist

import numpy as np

from bench.judge.stats.binomial import student_t_quantile
from bench.record.samples import Bool, Float, Int

#: Draws of every bootstrap and every permutation.
RESAMPLES = 2_000
#: A run is cut into this many slots, or into slots of a minute where those are more; below LEAST
#: nothing is said.
SLOTS, SLOT_MOST_NS, LEAST = 40, 60_000_000_000, 30


class Draws(IntEnum):
    """What a stream of draws is for."""

    BOOTSTRAP = 0
    PERMUTATION = 1
    SPLIT = 2


def stream(seed: int, purpose: Draws) -> np.random.Generator:
    """The draws of one purpose, from their beginning."""
    return np.random.Generator(np.random.PCG64([seed, purpose]))


def superblocks(at_ns: tuple[Int, Int], unit_ns: int) -> tuple[Int, Int, int]:
    """(superblock of each row of the first arm, of the second, their number).

    `at_ns` are the rows' places on a clock that both arms share; a superblock is `unit_ns` of it.
    One that lacks an arm is joined to the one before.
    """
    units = [at // unit_ns for at in at_ns]
    count = int(max((unit.max(initial=-1) for unit in units), default=-1)) + 1
    both = (
        np.all([np.bincount(unit, minlength=count) > 0 for unit in units], axis=0)
        if count
        else np.zeros(0, bool)
    )
    number = np.maximum(np.cumsum(both) - 1, 0)
    return number[units[0]], number[units[1]], int(both.sum())


def slot_ns(length_ns: int) -> int:
    """Length of a slot of a run of `length_ns`."""
    return max(min(SLOT_MOST_NS, -(-length_ns // SLOTS)), 1)


@dataclass(frozen=True)
class Ordered:
    """Ascending values, and how many rows of each cell lie among the values up to each edge.

    A cell is what is weighted as one: a superblock, or one arm's rows in it.
    """

    values: Float
    cells: Int
    #: ends (exclusive) of stretches of about the root of n values
    edges: Int
    #: cells × edges
    counts: Float

    def below(self, weights: Float) -> Float:
        """Weighted number of rows before each edge (resamples × edges), `weights` being resamples ×
        cells.
        """
        reached: Float = weights @ self.counts
        return reached

    def quantiles(self, weights: Float, wanted: Sequence[Fraction]) -> Float:
        """Nearest-rank quantiles of every resample (resamples × wanted)."""
        reached = self.below(weights)
        total = np.rint(reached[:, -1]).astype(np.int64)
        starts = np.concatenate([[0], self.edges[:-1]])
        steps = np.arange(int((self.edges - starts).max()))
        found = np.empty((len(weights), len(wanted)))
        each = np.arange(len(weights))
        for column, q in enumerate(wanted):
            rank = -(-q.numerator * total // q.denominator)
            stretch = (reached < rank[:, None]).sum(axis=1)
            before = np.where(stretch > 0, reached[each, np.maximum(stretch - 1, 0)], 0.0)
            rows = np.minimum(starts[stretch][:, None] + steps, len(self.values) - 1)
            inside = before[:, None] + np.cumsum(weights[each[:, None], self.cells[rows]], axis=1)
            found[:, column] = self.values[rows[each, np.argmax(inside >= rank[:, None], axis=1)]]
        return found


def ordered(values: Float, cells: Int, number: int, *, whole_ties: bool = False) -> Ordered:
    """Sort the rows of `number` cells. `whole_ties`: no edge parts equal values."""
    order = np.argsort(values, kind="stable")
    values, cells = values[order], cells[order]
    n = len(values)
    edges = np.unique(np.linspace(0, n, max(math.isqrt(n), 1) + 1).astype(np.int64)[1:])
    if whole_ties:
        edges = np.unique(np.searchsorted(values, values[edges - 1], side="right"))
    stretch = np.searchsorted(edges, np.arange(n), side="right")
    counts = np.bincount(cells * len(edges) + stretch, minlength=number * len(edges)).reshape(
        number, len(edges)
    )
    return Ordered(values, cells, edges, np.cumsum(counts, axis=1).astype(np.float64))


@dataclass(frozen=True)
class Sampled:
    """Two arms (0 the baseline, 1 the other) with one bootstrap of the superblocks they share."""

    number: int
    arms: tuple[Ordered, Ordered]
    weights: Float

    def ratios(self, wanted: Sequence[Fraction]) -> Float:
        """Other over baseline for each quantile (resamples × wanted); nan where both are
        failures.
        """
        baseline, other = (arm.quantiles(self.weights, wanted) for arm in self.arms)
        with np.errstate(invalid="ignore", divide="ignore"):
            quotient: Float = other / baseline
        return quotient

    def without_most_telling(self, q: Fraction, seed: int, *, slower: bool) -> Sampled:
        """The same without the superblock that speaks most for the other arm being slower (or
        faster), and its neighbours.

        It speaks most where the arms' counts of rows above the q-quantile of all rows lie farthest
        apart. A spell that made it may have reached into the superblocks beside it.
        """
        pooled = np.sort(np.concatenate([arm.values for arm in self.arms]))
        limit = pooled[-(-q.numerator * len(pooled) // q.denominator) - 1]
        over = [
            np.bincount(arm.cells[arm.values >= limit], minlength=self.number) for arm in self.arms
        ]
        worst = int(np.argmax((over[1] - over[0]) * (1 if slower else -1)))
        kept = np.abs(np.arange(self.number) - worst) > 1
        number, numbering = int(kept.sum()), np.cumsum(kept) - 1
        first, second = (
            ordered(arm.values[kept[arm.cells]], numbering[arm.cells[kept[arm.cells]]], number)
            for arm in self.arms
        )
        return Sampled(number, (first, second), bootstrap_weights(number, seed))

    def share_over(self, arm: int, limit: float) -> Float:
        """Share of one arm's latencies above `limit` in each resample."""
        rows = self.arms[arm]
        over = np.bincount(
            rows.cells[np.searchsorted(rows.values, limit, side="right") :], minlength=self.number
        )
        share: Float = self.weights @ over / self.rows_of(arm)
        return share

    def rows_of(self, arm: int) -> Float:
        """Rows of one arm in each resample."""
        rows: Float = self.weights @ self.arms[arm].counts[:, -1]
        return rows


def sample(
    values: tuple[Float, Float], at_ns: tuple[Int, Int], unit_ns: int, seed: int
) -> Sampled | None:
    """A bootstrap of two arms, superblocks being `unit_ns` of their clock; None where there are too
    few of them.
    """
    first, second, number = superblocks(at_ns, unit_ns)
    if number < LEAST:
        return None
    arms = ordered(values[0], first, number), ordered(values[1], second, number)
    return Sampled(number, arms, bootstrap_weights(number, seed))


def bootstrap_weights(number: int, seed: int, resamples: int = RESAMPLES) -> Float:
    """How often each of `number` superblocks was drawn (resamples × superblocks)."""
    drawn = stream(seed, Draws.BOOTSTRAP).multinomial(
        number, np.full(number, 1 / number), resamples
    )
    weights: Float = drawn.astype(np.float64)
    return weights


def swapped(number: int, seed: int, resamples: int = RESAMPLES) -> Bool:
    """Which superblocks have their arms' labels exchanged (resamples × superblocks); fair coins."""
    return stream(seed, Draws.PERMUTATION).random((resamples, number)) < 0.5


def percentile_limits(draws: Float, alpha_each_side: float, number: int) -> tuple[float, float]:
    """Limits from draws of a statistic of `number` superblocks; a draw that is nan counts as beyond
    either limit.

    The level is widened for the few superblocks (expanded percentile): a normal tail stands in
    for Student's with number - 1 degrees of freedom.
    """
    t = student_t_quantile(alpha_each_side, number - 1) * math.sqrt(number / (number - 1))
    alpha = NormalDist().cdf(-t)
    steps = max(math.floor(alpha * (len(draws) + 1)), 1)
    low = np.sort(np.where(np.isnan(draws), -np.inf, draws))
    high = np.sort(np.where(np.isnan(draws), np.inf, draws))
    return float(low[steps - 1]), float(high[-steps])
