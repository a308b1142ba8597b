"""Blocks of time drawn anew: of one run, and superblocks of two interleaved arms.

In: due times, latencies in ns (np.inf for a failure), a seed. Out: the block of each row; limits
of a ratio; quantiles, shares and distribution functions of every resample. Must stay true: requests
of one block are drawn together, so a burst counts as one event and not as thousands; both arms of
a superblock are drawn, left out or swapped together, so that a drift or a burst which meets both
cancels; a quantile is the nearest rank of the resample, exact, whatever the shortcut to it; a limit
that the draws do not give is None; the same seed gives the same draws.

Source: methods 3.5 (blocks of equal duration), 4 (superblock bootstrap, block permutation) and 5
(interval of the PAF); Hesterberg 2015 (expanded percentile).
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
from bench.judge.stats.blocks import BLOCKS
from bench.record.samples import Bool, Float, Int

#: Draws of every bootstrap and every permutation.
RESAMPLES = 2_000
#: A run is cut into this many slots, or into slots of a minute where those are more; below LEAST
#: nothing is said.
SLOTS = 40
SLOT_MOST_NS = 60_000_000_000
LEAST = 30
#: Draws the blocks of one run, which is no comparison with a seed of its own.
_BLOCK_SEED = 1


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
    count = max(int(unit.max(initial=-1)) for unit in units) + 1
    both = np.ones(count, bool)
    for unit in units:
        both &= np.bincount(unit, minlength=count) > 0
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

    def shares_below(self, weights: Float) -> Float:
        """The same as a share of all rows of each resample."""
        reached = self.below(weights)
        return reached / reached[:, -1:]

    def quantiles(self, weights: Float, wanted: Sequence[Fraction]) -> Float:
        """Nearest-rank quantiles of every resample (resamples × wanted)."""
        reached = self.below(weights)
        total = np.rint(reached[:, -1]).astype(np.int64)
        found = np.empty((len(weights), len(wanted)))
        for column, q in enumerate(wanted):
            rank = -(-q.numerator * total // q.denominator)
            found[:, column] = self._at_rank(weights, reached, rank)
        return found

    def _at_rank(self, weights: Float, reached: Float, rank: Int) -> Float:
        """The value at a rank of each resample: the counts before the edges show which
        stretch holds it; within it rows are counted one by one.
        """
        each = np.arange(len(weights))
        stretch = (reached < rank[:, None]).sum(axis=1)
        edge_before = np.maximum(stretch - 1, 0)
        before = np.where(stretch > 0, reached[each, edge_before], 0.0)
        starts = np.concatenate([[0], self.edges[:-1]])
        steps = np.arange(int((self.edges - starts).max()))
        rows = starts[stretch][:, None] + steps
        rows = np.minimum(rows, len(self.values) - 1)
        times_drawn = weights[each[:, None], self.cells[rows]]
        counted = before[:, None] + np.cumsum(times_drawn, axis=1)
        place = np.argmax(counted >= rank[:, None], axis=1)
        values: Float = self.values[rows[each, place]]
        return values


def ordered(
    values: Float,
    cells: Int,
    number: int,
    *,
    whole_ties: bool = False,
) -> Ordered:
    """Sort the rows of `number` cells. `whole_ties`: no edge parts equal values."""
    order = np.argsort(values, kind="stable")
    values = values[order]
    cells = cells[order]
    n = len(values)
    stretches = max(math.isqrt(n), 1)
    edges = np.linspace(0, n, stretches + 1).astype(np.int64)
    edges = np.unique(edges[1:])
    if whole_ties:
        edges = np.unique(np.searchsorted(values, values[edges - 1], side="right"))
    stretch = np.searchsorted(edges, np.arange(n), side="right")
    place = cells * len(edges) + stretch
    counts = np.bincount(place, minlength=number * len(edges))
    by_cell = counts.reshape(number, len(edges))
    before = np.cumsum(by_cell, axis=1).astype(np.float64)
    return Ordered(values, cells, edges, before)


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
        rank = -(-q.numerator * len(pooled) // q.denominator)
        limit = pooled[rank - 1]
        over = []
        for arm in self.arms:
            slow_cells = arm.cells[arm.values >= limit]
            over.append(np.bincount(slow_cells, minlength=self.number))
        lead = over[1] - over[0]
        worst = int(np.argmax(lead if slower else -lead))
        kept = np.abs(np.arange(self.number) - worst) > 1
        number = int(kept.sum())
        numbering = np.cumsum(kept) - 1

        def remaining(arm: Ordered) -> Ordered:
            rows = kept[arm.cells]
            return ordered(arm.values[rows], numbering[arm.cells[rows]], number)

        arms = (remaining(self.arms[0]), remaining(self.arms[1]))
        return Sampled(number, arms, bootstrap_weights(number, seed))

    def share_over(self, arm: int, limit: float) -> Float:
        """Share of one arm's latencies above `limit` in each resample."""
        rows = self.arms[arm]
        first = np.searchsorted(rows.values, limit, side="right")
        over = np.bincount(rows.cells[first:], minlength=self.number)
        share: Float = self.weights @ over / self.rows_of(arm)
        return share

    def rows_of(self, arm: int) -> Float:
        """Rows of one arm in each resample."""
        rows: Float = self.weights @ self.arms[arm].counts[:, -1]
        return rows


def sample(
    values: tuple[Float, Float],
    at_ns: tuple[Int, Int],
    unit_ns: int,
    seed: int,
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
    chances = np.full(number, 1 / number)
    drawn = stream(seed, Draws.BOOTSTRAP).multinomial(number, chances, resamples)
    weights: Float = drawn.astype(np.float64)
    return weights


def swapped(number: int, seed: int, resamples: int = RESAMPLES) -> Bool:
    """Which superblocks have their arms' labels exchanged (resamples × superblocks); fair coins."""
    return stream(seed, Draws.PERMUTATION).random((resamples, number)) < 0.5


def percentile_limits(
    draws: Float,
    alpha_each_side: float,
    number: int,
) -> tuple[float, float]:
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


# ---- blocks of one run


def time_blocks(due_ns: Int, blocks: int = BLOCKS) -> Int:
    """Number of each row's block, 0 and up without gaps: blocks of equal duration, empty ones left
    out.
    """
    if not len(due_ns):
        return np.zeros(0, np.int64)
    begin = int(due_ns.min())
    length = int(due_ns.max()) - begin + 1
    block = (due_ns - begin) * blocks // length
    has_rows = np.bincount(block, minlength=blocks) > 0
    numbering = np.cumsum(has_rows) - 1
    return np.asarray(numbering[block], np.int64)


def draw_blocks(blocks: int) -> Float:
    """How often each block is drawn (draws x blocks)."""
    return bootstrap_weights(blocks, _BLOCK_SEED)


def limits_of(drawn: Float, blocks: int, alpha_each_side: float) -> list[float | None]:
    """[lower, upper] of an estimate's draws, NaN where a draw gave none; None below two blocks or
    beyond the draws.
    """
    if blocks < 2:
        return [None, None]
    limits = percentile_limits(drawn, alpha_each_side, blocks)
    return [limit if math.isfinite(limit) else None for limit in limits]


def over(above: Float, below: Float) -> Float:
    """A ratio draw by draw, NaN where it has no denominator."""
    ratio = np.full(len(above), np.nan)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio


def ratio_limits(
    numerator: Float,
    denominator: Float,
    block: Int,
    alpha_each_side: float,
) -> list[float | None]:
    """Limits of sum(numerator) / sum(denominator) over rows, drawn by block."""
    blocks = int(block.max(initial=-1)) + 1
    if blocks < 2:
        return [None, None]
    drawn = draw_blocks(blocks)
    above = drawn @ np.bincount(block, numerator, blocks)
    below = drawn @ np.bincount(block, denominator, blocks)
    return limits_of(over(above, below), blocks, alpha_each_side)
