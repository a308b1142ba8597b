"""Two interleaved arms cut into the pieces of time that they share, and these drawn anew.

In: due times, latencies in ns (np.inf for a failure) and sessions of two arms, a seed. Out: ratios
of quantiles and shares over a limit in every resample, limits. Must stay true: both arms of a
superblock are drawn, left out or swapped together, so that a drift or a burst which meets both
cancels; a limit is the widest of those that superblocks by themselves, their groups and whole
sessions give; the same seed gives the same draws.

Source: methods 4 (superblock bootstrap, block permutation), part two (40, 20 and 12 superblocks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bench.judge.stats.groups import in_order
from bench.judge.stats.resample import (
    RESAMPLES,
    Draws,
    Ordered,
    bootstrap_weights,
    ordered,
    percentile_limits,
    stream,
)
from bench.record.samples import Bool, Float, Int

#: A run is cut into this many slots, or into slots of a minute where those are more; below LEAST
#: nothing is said.
SLOTS = 40
SLOT_MOST_NS = 60_000_000_000
LEAST = 30
#: Superblocks are also put together in so many groups, against spells longer than one.
COARSER = (20, 12)
COARSE_RESAMPLES = RESAMPLES // 2
#: The fullest of some forty superblocks is by chance so many standard deviations above its mean.
CHANCE = 3.5


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
class Drawn:
    """One bootstrap of superblocks, put together in `groups` of neighbours that are drawn as one.

    `weights`: how often each superblock was drawn (resamples × superblocks).
    """

    groups: int
    weights: Float


@dataclass(frozen=True)
class Series:
    """Draws of a statistic; `groups` superblocks each."""

    draws: Float
    groups: int


@dataclass(frozen=True)
class Sampled:
    """Two arms (0 the baseline, 1 the other) cut into the superblocks they share, and bootstraps of
    these on every scale.
    """

    number: int
    arms: tuple[Ordered, Ordered]
    scales: tuple[Drawn, ...]

    def ratios(self, wanted: Sequence[Fraction]) -> list[list[Series]]:
        """Other over baseline for each quantile, a series a scale; nan where both are failures."""
        found: list[list[Series]] = [[] for _ in wanted]
        for scale in self.scales:
            baseline, other = (arm.quantiles(scale.weights, wanted) for arm in self.arms)
            with np.errstate(invalid="ignore", divide="ignore"):
                quotient = other / baseline
            for column, series in enumerate(found):
                series.append(Series(quotient[:, column], scale.groups))
        return found

    def without_most_telling(self, q: Fraction, seed: int, *, slower: bool) -> Sampled | None:
        """The same without the superblock that speaks most for the other arm being slower (or
        faster), and its neighbours; None where no superblock of either arm holds more slow rows
        than chance puts there.

        Slow are the rows from the q-quantile of all rows on. A superblock speaks most where the
        arms' counts of them lie farthest apart. A spell that made it may have reached into the
        superblocks beside it.
        """
        slow = self._slow(q)
        if not any(map(_stands_out, slow, (arm.counts[:, -1] for arm in self.arms))):
            return None
        lead = slow[1] - slow[0]
        worst = int(np.argmax(lead if slower else -lead))
        kept = np.abs(np.arange(self.number) - worst) > 1
        number = int(kept.sum())
        numbering = np.cumsum(kept) - 1

        def remaining(arm: Ordered) -> Ordered:
            rows = kept[arm.cells]
            return ordered(arm.values[rows], numbering[arm.cells[rows]], number)

        arms = (remaining(self.arms[0]), remaining(self.arms[1]))
        return Sampled(number, arms, scales(number, seed))

    def _slow(self, q: Fraction) -> list[Int]:
        """Rows of each arm from the q-quantile of all on, by superblock."""
        pooled = np.sort(np.concatenate([arm.values for arm in self.arms]))
        rank = -(-q.numerator * len(pooled) // q.denominator)
        limit = pooled[rank - 1]
        return [
            np.bincount(arm.cells[arm.values >= limit], minlength=self.number) for arm in self.arms
        ]

    def shares_over(self, limit: float) -> list[tuple[Series, Series]]:
        """Share of each arm's latencies above `limit` in each resample, a pair a scale."""
        over = [
            np.bincount(
                arm.cells[np.searchsorted(arm.values, limit, side="right") :], minlength=self.number
            )
            for arm in self.arms
        ]
        found = []
        for scale in self.scales:
            first, second = (
                scale.weights @ slow / (scale.weights @ arm.counts[:, -1])
                for slow, arm in zip(over, self.arms, strict=True)
            )
            found.append((Series(first, scale.groups), Series(second, scale.groups)))
        return found


def _stands_out(slow: Int, rows: Float) -> bool:
    """Whether one superblock holds more slow rows than chance puts into the fullest of so many."""
    mean = slow.sum() * rows / rows.sum()
    return bool((slow > mean + CHANCE * np.sqrt(mean) + 1).any())


#: The same two arms in superblocks of time and, where there are sessions, in superblocks of them.
Layouts = tuple[Sampled, ...]


def sample(
    values: tuple[Float, Float],
    at_ns: tuple[Int, Int],
    unit_ns: int,
    seed: int,
    sessions: tuple[Int | None, Int | None] = (None, None),
) -> Layouts:
    """Bootstraps of two arms, superblocks being `unit_ns` of their clock; none where there are too
    few of them.

    Where an arm has `sessions` of several rows, there is a second layout whose superblocks hold
    whole sessions, in the order in which these began.
    """
    cuts = [superblocks(at_ns, unit_ns)]
    if any(each is not None for each in sessions):
        whole = [in_order(at, each) for at, each in zip(at_ns, sessions, strict=True)]
        groups = min(SLOTS, *(int(rank.max(initial=-1)) + 1 for rank in whole))
        first, second = (rank * groups // (int(rank.max(initial=0)) + 1) for rank in whole)
        cuts.append((first, second, groups))
    found = []
    for first, second, number in cuts:
        if number < LEAST:
            return ()
        arms = ordered(values[0], first, number), ordered(values[1], second, number)
        found.append(Sampled(number, arms, scales(number, seed)))
    return tuple(found)


def scales(number: int, seed: int) -> tuple[Drawn, ...]:
    """Bootstraps of superblocks by themselves, and in the fewer groups of COARSER."""
    found = [Drawn(number, bootstrap_weights(number, seed))]
    for groups in COARSER:
        group = np.arange(number) * groups // number
        found.append(Drawn(groups, bootstrap_weights(groups, seed, COARSE_RESAMPLES)[:, group]))
    return tuple(found)


def widest_limits(series: Sequence[Series], alpha_each_side: float) -> tuple[float, float]:
    """The widest of the limits that each scale gives.

    The finest is widened for its few superblocks. The coarser are not: to take the widest of
    several makes up for what their own few groups leave out.
    """
    finest = percentile_limits(series[0].draws, alpha_each_side, series[0].groups)
    lows, highs = [finest[0]], [finest[1]]
    for each in series[1:]:
        low, high = percentile_limits(each.draws, alpha_each_side, None)
        lows.append(low)
        highs.append(high)
    return min(lows), max(highs)


def swapped(number: int, seed: int, resamples: int = RESAMPLES) -> Bool:
    """Which superblocks have their arms' labels exchanged (resamples × superblocks); fair coins."""
    return stream(seed, Draws.PERMUTATION).random((resamples, number)) < 0.5
