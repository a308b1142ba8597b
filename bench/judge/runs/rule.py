"""The rule for one clause over several runs: PASS, FAIL or open, and the bounds that it is.

In: of each run what the clause counts. Out: the outcome, the pooled weight, and the lowest limit
that would pass and the highest that would fail. Must stay true: unknown rows count as bad for PASS
and as good for FAIL; fewer than `LEAST_RUNS` runs decide nothing; the bound never denies the
outcome.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np

from bench.judge.runs.counted import Counted
from bench.judge.stats.crossings import OVER_ANY_LIMIT_NS
from bench.judge.stats.pooled import LEAST_RUNS, Pooled, pool
from bench.judge.stats.scales import p_fail, stand_in
from bench.record.samples import Bool, Int

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Cause = Literal["few_rows", "few_blocks", "worst_block", "unknown_rows", "near_limit"]
#: Which of a run's rows are bad.
Which = Callable[[Counted], Bool]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One clause over several runs, each with rows."""

    runs: Sequence[Counted]
    p0: Fraction
    alpha: float

    @cached_property
    def at_best(self) -> Pooled:
        """With unknown rows good."""
        return self._pooled(lambda run: run.bad)

    @cached_property
    def at_worst(self) -> Pooled:
        """With unknown rows bad."""
        return self._pooled(lambda run: run.bad | run.unknown)

    @cached_property
    def outcome(self) -> Outcome:
        """What the rule says."""
        if self._passes(self.at_worst):
            return "PASS"
        return "FAIL" if self._fails(self.at_best) else "INCONCLUSIVE"

    @property
    def cause(self) -> Cause:
        """Why it is open."""
        if len(self.runs) < LEAST_RUNS:
            return "few_blocks"
        if self._passes(self.at_best) or self._fails(self.at_worst):
            return "unknown_rows"
        weight = self.at_worst.weight
        if not dataclasses.replace(weight, y=0.0, v=0.0).passes(self.p0, self.alpha):
            single = dataclasses.replace(weight, y=0.0, v=0.0, w=1.0)
            return "worst_block" if single.passes(self.p0, self.alpha) else "few_rows"
        single = dataclasses.replace(weight, w=1.0)
        return "worst_block" if single.passes(self.p0, self.alpha) else "near_limit"

    @property
    def p_fail(self) -> float:
        """The smallest error at which it would FAIL, at this variance."""
        return p_fail(self.at_best.weight, self.p0) if self.outcome == "FAIL" else 1.0

    @property
    def share_limits(self) -> tuple[float, float]:
        """One-sided limits of the share."""
        if len(self.runs) < LEAST_RUNS:
            return 0.0, 1.0
        low = self.at_best.weight.limits(self.alpha).lower
        return low, self.at_worst.weight.limits(self.alpha).upper

    def value_limits(self, limit_ns: int) -> tuple[int | None, int | None]:
        """(highest value that the quantile is above, lowest that it is within), in ns; None where
        there is none. `limit_ns`: the largest value that keeps the promise.
        """
        if len(self.runs) < LEAST_RUNS:
            return None, None
        values = np.unique(np.concatenate([_of(run) for run in self.runs]))
        values = values[values != OVER_ANY_LIMIT_NS]
        kept = int(np.searchsorted(values, limit_ns, "right"))
        # on the side of the limit that the outcome says: the search trusts the rule to be monotone
        if self.outcome == "PASS":
            within, place = values[:kept], 0
        else:
            within, place = values[kept:], kept
        high = _first(len(within), lambda at: self._passes_at(int(within[at])))
        upper = None if high is None else int(values[place + high])
        if self.outcome == "PASS" and upper is None:
            upper = limit_ns
        beyond = values[kept:] if self.outcome == "FAIL" else values[:kept]
        low = _first(len(beyond), lambda at: self._fails_at(int(beyond[-1 - at])))
        lower = None if low is None else int(beyond[-1 - low])
        return lower, upper

    def _passes_at(self, limit_ns: int) -> bool:
        return self._passes(self._pooled(lambda run: _of(run) > limit_ns))

    def _fails_at(self, value_ns: int) -> bool:
        """Whether every limit below the value would FAIL."""
        return self._fails(self._pooled(lambda run: (_of(run) >= value_ns) & ~run.unknown))

    def _passes(self, pooled: Pooled) -> bool:
        return len(self.runs) >= LEAST_RUNS and pooled.weight.passes(self.p0, self.alpha)

    def _fails(self, pooled: Pooled) -> bool:
        return len(self.runs) >= LEAST_RUNS and pooled.weight.fails(self.p0, self.alpha)

    def _pooled(self, which: Which) -> Pooled:
        weights = [run.weight(which(run), self.alpha) for run in self.runs]
        few = sum(weight.y for weight in weights) <= 1
        return pool(weights, self.alpha, self._spell if few else 1.0)

    @cached_property
    def _spell(self) -> float:
        """Rows of a spell that may come, by how the slowest rows of each run come."""
        return max(stand_in(run.layout, run.slow, self.p0) for run in self.runs)


def _of(run: Counted) -> Int:
    assert run.values_ns is not None
    return run.values_ns


def _first(count: int, holds: Callable[[int], bool]) -> int | None:
    """The first of `count` places that holds, if all after it do; None where the last does not."""
    if not count or not holds(count - 1):
        return None
    low, high = -1, count - 1
    for _ in range(math.ceil(math.log2(count + 1)) + 1):
        if high - low <= 1:
            break
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
