"""Blocks drawn anew: how often each was drawn, and what the draws say of a limit.

In: due times, values in ascending order, a seed. Out: the block of each row; quantiles, shares and
distribution functions of every resample; limits. Must stay true: requests of one block are drawn
together, so a burst counts as one event and not as thousands; a quantile is the nearest rank of the
resample, exact, whatever the shortcut to it; a limit that the draws do not give is None; the same
seed gives the same draws.

Source: methods 3.5 (blocks of equal duration) and 5 (interval of the PAF); Hesterberg 2015
(expanded percentile).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from bench.judge.stats.binomial import student_t_quantile
from bench.judge.stats.groups import BLOCKS
from bench.record.samples import Float, Int

#: Draws of every bootstrap and every permutation.
RESAMPLES = 2_000
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
        stretch = (reached < rank[:, None]).sum(axis=1)
        starts = np.concatenate([[0], self.edges[:-1]])
        found: Float = np.empty(len(weights))
        for number in np.unique(stretch):
            draws = np.flatnonzero(stretch == number)
            rows = np.arange(starts[number], self.edges[number])
            left = rank[draws] - (reached[draws, number - 1] if number else 0)
            times_drawn = np.take(weights[draws], self.cells[rows], axis=1)
            place = (np.cumsum(times_drawn, axis=1) < left[:, None]).sum(axis=1)
            found[draws] = self.values[rows[place]]
        return found


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


@lru_cache(maxsize=16)
def bootstrap_weights(number: int, seed: int, resamples: int = RESAMPLES) -> Float:
    """How often each of `number` superblocks was drawn (resamples × superblocks); read-only."""
    drawn = stream(seed, Draws.BOOTSTRAP).integers(0, number, (resamples, number))
    drawn += number * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * number)
    weights: Float = counts.reshape(resamples, number).astype(np.float64)
    weights.flags.writeable = False
    return weights


def percentile_limits(
    draws: Float,
    alpha_each_side: float,
    number: int | None,
) -> tuple[float, float]:
    """Limits from draws of a statistic of `number` superblocks; a draw that is nan counts as beyond
    either limit.

    The level is widened for the few superblocks (expanded percentile): a normal tail stands in
    for Student's with number - 1 degrees of freedom. None: as it is.
    """
    alpha = alpha_each_side if number is None else _expanded(alpha_each_side, number)
    steps = max(math.floor(alpha * (len(draws) + 1)), 1)
    low = np.sort(np.where(np.isnan(draws), -np.inf, draws))
    high = np.sort(np.where(np.isnan(draws), np.inf, draws))
    return float(low[steps - 1]), float(high[-steps])


@lru_cache(maxsize=64)
def _expanded(alpha: float, number: int) -> float:
    t = student_t_quantile(alpha, number - 1) * math.sqrt(number / (number - 1))
    return NormalDist().cdf(-t)


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


def draw_blocks(blocks: int, resamples: int = RESAMPLES) -> Float:
    """How often each block is drawn (draws x blocks)."""
    return bootstrap_weights(blocks, _BLOCK_SEED, resamples)


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
