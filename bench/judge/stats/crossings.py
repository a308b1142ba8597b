"""The verdict's rule inverted over the limit: the lowest limit that passes, the highest that fails.

In: a value a row, where the rows lie, the share that may be above. Out: two limits and how many
rows are above them. Must stay true: a limit passes exactly if it is not below the first,
and fails exactly if it is below the second, so that a limit above one that passes passes too; what
is over any limit is no bound; with rows that do not depend on each other the bounds are the exact
ranks of the quantile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from bench.judge.stats.scales import Layout, Weight, weigh
from bench.judge.stats.stand_in import OVER_ANY_LIMIT_NS, StandIn
from bench.record.samples import Int

#: The error of PASS, and of FAIL.
Alphas = tuple[float, float]
#: Counts are tried at distances from the allowance that grow by this, and by this once they halve.
_NEARBY, _FAR = 1.4, 1.25
#: How many times the allowance is sorted first: further up FAIL is rarely sought.
_AT_FIRST = 4


@dataclass(frozen=True)
class Crossing:
    """Where the verdict changes."""

    #: PASS: at most so many rows above the limit (-1: never); FAIL: at least so many (n + 1: never)
    count: int
    #: an order statistic, or for PASS a limit between or beyond them; None where there is none, or
    #: it is over any limit
    value: int | None


@dataclass(frozen=True)
class Tail:
    """The largest values, with the numbers of their rows, ascending."""

    layout: Layout
    rows: Int
    values: Int

    @classmethod
    def of(cls, layout: Layout, values: Int, most: int) -> Tail:
        """The largest `most` and their equals."""
        if most >= len(values):
            return cls(layout, np.arange(len(values)), values)
        least = np.partition(values, len(values) - most)[len(values) - most]
        rows = np.flatnonzero(values >= least)
        return cls(layout, rows, values[rows])

    @cached_property
    def ascending(self) -> Int:
        """The values."""
        return np.sort(self.values)

    def largest(self, number: int) -> int:
        """Its value; `number` counts from 1."""
        return int(self.ascending[len(self.ascending) - number])

    def next_below(self, value: int) -> int:
        """The largest value below; one less where none is known."""
        place = int(np.searchsorted(self.ascending, value))
        return int(self.ascending[place - 1]) if place else value - 1

    def count_above(self, limit: int) -> int:
        """Rows above a limit."""
        return len(self.ascending) - int(np.searchsorted(self.ascending, limit, "right"))

    def weight(self, limit: int, alpha: float, *, spells: bool = True) -> Weight:
        """What the rows above a limit are worth."""
        return weigh(self.layout, self.rows[self.values > limit], alpha, spells=spells)


def lowest_passing(tail: Tail, p0: Fraction, alpha: float, slowest: StandIn) -> Crossing:
    """The lowest limit that the rule passes. `slowest`: asked where few spells are above."""

    def passes(limit: int) -> bool:
        return slowest.beside(tail.weight(limit, alpha), p0, limit).passes(p0, alpha)

    allowance = min(math.floor(p0 * tail.layout.n), len(tail.rows) - 1)
    least = tail.count_above(OVER_ANY_LIMIT_NS - 1)
    counts = _downwards(allowance, least, tail.layout.n)
    found = _first(lambda count: passes(tail.largest(count + 1)), counts, allowance + 1)
    if found is not None:
        high = tail.largest(found + 1)
    elif least <= allowance and passes(OVER_ANY_LIMIT_NS - 1):
        high = OVER_ANY_LIMIT_NS - 1
    else:
        return Crossing(-1, None)
    value = _lowest(passes, tail.next_below(high), high)
    return Crossing(tail.count_above(value), value)


def _lowest(passes: Callable[[int], bool], low: int, high: int) -> int:
    """The lowest limit above `low` that passes, as `high` does, where no value lies between: the
    slowest rows come the less within reach of it the larger it is.
    """
    while high - low > 1 and passes(high - 1):
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high - 1)
    return high


def highest_failing(tail: Tail, p0: Fraction, alpha: float) -> Crossing:
    """The limit below which the rule fails every one."""
    n = tail.layout.n

    def fails(count: int) -> bool:
        return tail.weight(tail.largest(count) - 1, alpha, spells=False).fails(p0, alpha)

    allowance = math.floor(p0 * n)
    found = _first(fails, _upwards(allowance + 1, len(tail.rows), n), allowance)
    if found is None:
        return Crossing(n + 1, None)
    value = tail.largest(found)
    count = tail.count_above(value - 1)
    return Crossing(count, None if value == OVER_ANY_LIMIT_NS else value)


def crossings(
    layout: Layout,
    values: tuple[Int, Int],
    p0: Fraction,
    alphas: Alphas,
    slowest: StandIn,
) -> tuple[Crossing, Crossing]:
    """(lowest that passes, highest that fails). `values`: with unknown rows over any limit, and
    with unknown rows as low as they may be.
    """
    pass_alpha, fail_alpha = alphas
    most = _AT_FIRST * (math.floor(p0 * layout.n) + 10)
    tail = Tail.of(layout, values[0], most)
    passing = lowest_passing(tail, p0, pass_alpha, slowest)
    if values[1] is not values[0]:
        tail = Tail.of(layout, values[1], most)
    failing = highest_failing(tail, p0, fail_alpha)
    if failing.count > layout.n and most < layout.n:
        failing = highest_failing(Tail.of(layout, values[1], layout.n), p0, fail_alpha)
    return passing, failing


def _first(holds: Callable[[int], bool], counts: Iterator[int], before: int) -> int | None:
    """The count nearest to `before` that holds: by trying `counts`, then between the last two."""
    missed = before
    for found in counts:
        if holds(found):
            break
        missed = found
    else:
        return None
    while abs(found - missed) > 1:
        middle = (found + missed) // 2
        if holds(middle):
            found = middle
        else:
            missed = middle
    return found


def _downwards(top: int, bottom: int, n: int) -> Iterator[int]:
    """Counts from `top` to `bottom`, ever further apart and each of the last few."""
    step = max(math.sqrt(max(top, 0) * (1 - top / n)), 1.0)
    count = top
    while count > bottom:
        yield count
        after = top - math.ceil(step)
        if after < top / 2:
            after = math.floor(count / _FAR)
        count = max(min(after, count - 1), bottom)
        step *= _NEARBY
    if top >= bottom:
        yield bottom


def _upwards(bottom: int, top: int, n: int) -> Iterator[int]:
    """Counts from `bottom` to `top`, ever further apart."""
    step = max(math.sqrt(bottom * max(1 - bottom / n, 0.0)), 1.0)
    count = bottom
    while count <= top:
        yield count
        if count == top:
            return
        count = min(max(bottom + math.ceil(step), count + 1), top)
        step *= _NEARBY
