"""The rule for one clause over several runs of a plan: PASS, FAIL or open, bounds, reason.

In: of each run what the clause counts. Out: the outcome, the weight of all runs as one sample, the
lowest limit that would pass and the highest that would fail, words. Must stay true: unknown rows
count as bad for PASS and as good for FAIL; fewer than `LEAST_RUNS` runs decide nothing; the bound
never denies the outcome. The run is the unit, not the request: it counts as one event as soon as
runs differ by more than their own rows explain; the spell that may come yet is as large as the
worst run's excess over its share; of equal runs nothing is added.

Source: methods, part two, "Run and service": steps 1 to 3 with runs as blocks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np

from bench.judge.runs.counted import Counted
from bench.judge.runs.lost import Lost
from bench.judge.stats.scales import (
    FEW_SPELLS,
    FURTHER,
    WORST_BY_CHANCE,
    Weight,
    p_fail,
    price,
    scarcity,
)
from bench.judge.stats.stand_in import OVER_ANY_LIMIT_NS
from bench.record.samples import Bool, Int
from bench.units import show_share

#: Fewer runs decide nothing; fewer than the latter tell little of how bad a further one may be, and
#: of none it might be so many times more than twice the worst.
LEAST_RUNS, ENOUGH_RUNS, UNTOLD = 10, 20, 3


@dataclass(frozen=True)
class Pooled:
    """All runs together."""

    weight: Weight
    #: part of the variance of the bad rows that lies between runs; None of fewer than two, or where
    #: one row at most was bad
    between: float | None
    #: the run with the most bad rows above its share, in the order given
    worst: int


def pool(runs: Sequence[Weight], alpha: float, spell: float = 1.0, one: float = 1.0) -> Pooled:
    """Runs of unequal size too; `runs` has one at least, and each has rows. `spell`: rows of a
    further spell at least; `one`: what one event loses.
    """
    bad = np.array([run.y for run in runs])
    rows = np.array([run.n for run in runs])
    count, y, n = len(runs), float(bad.sum()), float(rows.sum())
    share = rows * (y / n)
    left = bad - share
    inside = sum(run.v for run in runs)
    between = count / (count - 1) * float(left @ left) if count > 1 else 0.0
    v = max(inside, between * price(count, alpha)) if count > 1 else inside
    above = left - WORST_BY_CHANCE * np.sqrt(share * one) - one
    times = FURTHER + UNTOLD * scarcity(count, ENOUGH_RUNS)
    w = one + times * max(float(above.max()), 0.0)
    w = max(w, spell)
    known = count > 1 and y > 1
    return Pooled(
        Weight(y, n, v, w, count),
        max(0.0, 1 - inside / between) if known and between > 0 else (0.0 if known else None),
        int(np.argmax(left)),
    )


Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Cause = Literal["few_rows", "few_blocks", "worst_block", "unknown_rows", "near_limit"]
#: Which of a run's rows are bad.
Which = Callable[[Counted], Bool]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One clause over several runs, each with rows (or whole stretches of time)."""

    runs: Sequence[Counted | Lost]
    p0: Fraction
    alpha: float
    #: what is counted
    unit: str = "requests"

    @cached_property
    def at_best(self) -> Pooled:
        """With unknown rows good."""
        return self._together([run.at_best(self.alpha) for run in self.runs], self._limit)

    @cached_property
    def at_worst(self) -> Pooled:
        """With unknown rows bad."""
        return self._together([run.at_worst(self.alpha) for run in self.runs], self._limit)

    @cached_property
    def least_share(self) -> float:
        """The share that runs of this length disprove if they meet no spell of the length to allow
        for; 0 where single rows are all that there is.
        """
        least = max(run.least for run in self.runs)
        if least <= 1:
            return 0.0
        return min(1.0, least * math.log(1 / self.alpha) / sum(run.n for run in self.runs))

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
        if self.least_share > self.p0:
            return "few_rows"
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
        return low, max(self.at_worst.weight.limits(self.alpha).upper, self.least_share)

    def value_limits(self, limit_ns: int) -> tuple[int | None, int | None]:
        """(highest value that the quantile is above, lowest that it is within), in ns; None where
        there is none. `limit_ns`: the largest value that keeps the promise.
        """
        if len(self.runs) < LEAST_RUNS:
            return None, None
        values = np.unique(np.concatenate([_of(run) for run in self._of_requests]))
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
        return self._passes(self._pooled(lambda run: _of(run) > limit_ns, limit_ns))

    def _fails_at(self, value_ns: int) -> bool:
        """Whether every limit below the value would FAIL."""
        return self._fails(
            self._pooled(lambda run: (_of(run) >= value_ns) & ~run.unknown, value_ns)
        )

    def _passes(self, pooled: Pooled) -> bool:
        if len(self.runs) < LEAST_RUNS or self.least_share > self.p0:
            return False
        return pooled.weight.passes(self.p0, self.alpha)

    def _fails(self, pooled: Pooled) -> bool:
        return len(self.runs) >= LEAST_RUNS and pooled.weight.fails(self.p0, self.alpha)

    @property
    def _of_requests(self) -> list[Counted]:
        return [run for run in self.runs if isinstance(run, Counted)]

    @property
    def _limit(self) -> int | None:
        return next((run.limit_ns for run in self._of_requests), None)

    def _pooled(self, which: Which, limit_ns: int) -> Pooled:
        weights = [run.weight(which(run), self.alpha) for run in self._of_requests]
        return self._together(weights, limit_ns)

    def _together(self, weights: Sequence[Weight], limit: int | None) -> Pooled:
        few = sum(weight.spells for weight in weights) < FEW_SPELLS
        least = max(run.least for run in self.runs)
        one = max(run.one for run in self.runs)
        return pool(weights, self.alpha, max(self._spell(limit), least) if few else least, one)

    def _spell(self, limit: int | None) -> float:
        return max(run.spell(self.p0, limit) for run in self.runs)


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


#: Beyond so many times the runs there are, nothing is foretold.
_MOST_TIMES = 100


def reason_of(rule: Rule) -> str:
    """`12 of 4,210 requests in 12 runs were bad; that is at most 0.61 % of all, and 1 % may`."""
    n = sum(run.n for run in rule.runs)
    bad = sum(int(run.bad.sum()) for run in rule.runs)
    unknown = sum(int(run.unknown.sum()) for run in rule.runs)
    seen = f"{bad:,} of {n:,} {rule.unit} in {len(rule.runs)} runs were bad"
    if unknown:
        seen += f", {unknown:,} more were cut off"
    low, high = rule.share_limits
    allowed = show_share(rule.p0)
    if rule.outcome == "PASS":
        return f"{seen}; that is at most {show_share(high)} of all, and {allowed} may"
    if rule.outcome == "FAIL":
        return f"{seen}; that is at least {show_share(low)} of all, and {allowed} may"
    return f"{seen}; {_open(rule)}"


def _open(rule: Rule) -> str:
    if len(rule.runs) < LEAST_RUNS:
        return f"a verdict over runs needs {LEAST_RUNS} of them"
    low, high = rule.share_limits
    between = f"that is {show_share(low)} to {show_share(high)} of all, and {show_share(rule.p0)}"
    why = {
        "few_rows": f"too few {rule.unit} to prove it even if none had broken it",
        "worst_block": "one more run like the worst would break it",
        "unknown_rows": "what became of those cut off would decide it",
    }.get(rule.cause)
    said = f"{between} may" + (f"; {why}" if why else "")
    needed = needed_runs(rule)
    if needed is None:
        return f"{said}; no number of such runs decides, if the share stays"
    return f"{said}; about {needed:,} such runs would decide, if the share stays"


def needed_runs(rule: Rule) -> int | None:
    """So many runs of this kind would decide if share and spread stay as they were."""
    runs = len(rule.runs)
    undecided, number = runs, max(2 * runs, LEAST_RUNS)
    while not _would_decide(rule, number):
        undecided, number = number, 2 * number
        if number > _MOST_TIMES * runs:
            return None
    while number - undecided > 1:
        middle = (undecided + number) // 2
        if _would_decide(rule, middle):
            number = middle
        else:
            undecided = middle
    return number


def _would_decide(rule: Rule, runs: int) -> bool:
    at_worst, at_best = (
        _of_so_many(pooled.weight, len(rule.runs), runs) for pooled in (rule.at_worst, rule.at_best)
    )
    long_enough = rule.least_share * len(rule.runs) <= float(rule.p0) * runs
    passes = long_enough and at_worst.passes(rule.p0, rule.alpha)
    return passes or at_best.fails(rule.p0, rule.alpha)


def _of_so_many(weight: Weight, seen: int, runs: int) -> Weight:
    times = runs / seen
    y, n, v = (value * times for value in (weight.y, weight.n, weight.v))
    return Weight(y, n, v, weight.w, runs)
