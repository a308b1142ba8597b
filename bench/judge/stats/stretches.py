"""Limits of the share of time that is lost, by what stretches of time each lost of themselves.

In: what each counted stretch lost (0 to 1), in order of time, and the spell to allow for. Out: the
`Weight` of the loss, and PASS, FAIL or INCONCLUSIVE by it. Must stay true: the limits are of the
loss itself, so single errors beneath outages count as the little that they are; a run of stretches
that lost more than the mean is one event; with nothing lost PASS is the time rule n >= spell
ln(1/alpha) / p0; unknown stretches are computed both ways.

Source: methods, part two, "Three scales" and mend 3; methods 3.4 for the time rule. What differs
from the rule for requests, and simulated error rates: docs/statistics.md, "Clauses by time".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from bench.judge.stats.binomial import Share
from bench.judge.stats.crossings import Alphas
from bench.judge.stats.dependence import (
    LEAST_P,
    Cause,
    Judged,
    Outcome,
    WorstBlock,
    allowed_count,
    fails_count,
    needed,
)
from bench.judge.stats.scales import (
    FINEST,
    FURTHER,
    JOINED_BY_CHANCE,
    LEAST_TO_FAIL,
    LEAST_TO_PASS,
    NEAR,
    SKEWNESS,
    WORST_BY_CHANCE,
    Layout,
    Variances,
    Weight,
    lay_out,
    variances,
)
from bench.record.samples import Float, Int

#: Losses that differ by rounding alone are equal.
_MORE = 1 + 1e-9


@dataclass(frozen=True)
class Stretches:
    """What each counted stretch of time lost of itself; `further` is the spell to allow for."""

    lost: Float
    further: float
    #: each lost all of itself or nothing
    whole: bool

    @cached_property
    def y(self) -> float:
        """What all lost together."""
        return float(self.lost.sum())

    @cached_property
    def layout(self) -> Layout:
        """Blocks of equal numbers of stretches."""
        return lay_out(np.arange(len(self.lost), dtype=np.int64))

    @cached_property
    def hot(self) -> Int:
        """Numbers of the stretches that lost more than the mean."""
        return np.flatnonzero(self.lost > self.y / len(self.lost) * _MORE)

    @cached_property
    def quiet(self) -> Float:
        """What the others lost."""
        return np.delete(self.lost, self.hot)

    @cached_property
    def usual(self) -> float:
        """What a stretch loses outside of spells, on the mean."""
        return float(self.quiet.mean()) if len(self.quiet) else 0.0

    @cached_property
    def one(self) -> float:
        """What a stretch loses where it is hit: the mean, as loss itself meets it."""
        return float(self.lost @ self.lost) / self.y

    @cached_property
    def variances(self) -> Variances:
        """By spells above what is usual, and by blocks of time. One stretch tells nothing of how
        they come.
        """
        spells = self.sums(self.spells(1.0)[0])
        alone = float(self.lost @ self.lost)
        single = max(alone, float(spells @ spells + self.quiet @ self.quiet))
        rows = np.flatnonzero(self.lost)
        if len(rows) < 2:
            return Variances(single, ())
        return Variances(single, variances(self.layout, rows, self.lost[rows]).seen)

    @cached_property
    def spell(self) -> float:
        """What a further spell may cost: one stretch, and twice what the largest had above that;
        the worst of 30 blocks is a spell as well; never less than `further`.
        """
        if not self.y:
            return self.further
        n, one, hit = len(self.lost), self.one, max(len(self.hot), 1)
        firsts, _ = self.spells(max(1.0, NEAR * n / hit))
        excess = float(self.sums(firsts).max()) - one
        if self.whole:
            excess -= math.log(hit) / math.log(JOINED_BY_CHANCE)
        block = np.bincount(self.layout.block, self.lost, FINEST)
        usual = self.layout.rows * (self.y / n)
        by_chance = usual + WORST_BY_CHANCE * np.sqrt(usual * one) + (1 + SKEWNESS) * one
        worst = float((block - by_chance).max())
        return max(self.further, one + FURTHER * max(excess, worst, 0.0))

    def spells(self, gap: float) -> tuple[Int, Int]:
        """First and last of each spell, as places in `hot`: no further than `gap` from the next."""
        lasts = np.flatnonzero(np.append(np.diff(self.hot) > gap, True))
        return np.append(0, lasts[:-1] + 1), lasts

    def sums(self, firsts: Int) -> Float:
        """What each spell lost above what is usual."""
        if not len(self.hot):
            return np.zeros(1)
        return np.asarray(np.add.reduceat(self.lost[self.hot] - self.usual, firsts))

    def weight(self, alpha: float) -> Weight:
        """Of the loss, with error `alpha` for each side."""
        n, clusters = len(self.lost), self.layout.clusters
        if not self.y:
            return Weight(0.0, n, 0.0, self.further, clusters)
        return Weight(self.y, n, self.variances.at(alpha), self.spell, clusters)


@dataclass(frozen=True)
class Moments:
    """When counted stretches begin, and how long each lasts."""

    at_ns: Int
    unit_ns: int


def judge_stretches(
    best: Stretches,
    worst: Stretches,
    when: Moments,
    p0: Fraction,
    alpha: float,
    pass_alpha: float | None = None,
) -> Judged:
    """Judge "of time at most p0 is lost": `best` with what is unknown good, `worst` with it bad;
    with error `alpha` for each side, or `pass_alpha` for PASS.
    """
    n = len(best.lost)
    if not n:
        return Judged()
    pass_alpha = alpha if pass_alpha is None else pass_alpha
    low, high = best.weight(alpha), worst.weight(pass_alpha)
    least = time_rule(worst, pass_alpha)
    lower, upper = low.lower(alpha), max(high.upper(pass_alpha), least)
    outcome: Outcome = "INCONCLUSIVE"
    bad = best.lost > 0
    unknown = (worst.lost > best.lost) & ~bad
    cause: Cause = _open_cause(low, high, p0, (pass_alpha, alpha))
    if unknown.all():
        cause = "unknown_rows"
    elif cause != "unknown_rows" and least > p0:
        cause = "too_few"
    more = None
    fails = low.fails(p0, alpha)
    passes = high.passes(p0, pass_alpha) and least <= p0
    if passes:
        outcome, cause = "PASS", "few_enough"
        upper = min(upper, float(p0))
    elif fails:
        outcome, cause = "FAIL", "too_many"
        lower = max(lower, math.nextafter(float(p0), 1))
    else:
        more = needed(low, p0, (pass_alpha, alpha))
        lower, upper = min(lower, float(p0)), max(upper, math.nextafter(float(p0), 1))
    size = low.v / low.y if low.y else 1.0
    return Judged(
        outcome=outcome,
        cause=cause,
        method="exact" if best.whole and low.v <= low.y and high.w <= 1 else "blocks",
        n=n,
        bad=int(bad.sum()),
        unknown=int(unknown.sum()),
        allowed=allowed_count(high, p0, pass_alpha, passes) if best.whole else -1,
        fails=fails_count(low, p0, alpha, fails) if best.whole else n + 1,
        lower=lower,
        upper=upper,
        deff=size,
        n_eff=min(float(n), n / size),
        blocks=int(np.count_nonzero(best.layout.rows)),
        block_ns=n * when.unit_ns // FINEST,
        worst=_worst(best, when),
        needed=more,
        p_fail=_p_fail(best, p0, alpha) if outcome == "FAIL" else 1.0,
    )


def time_rule(stretches: Stretches, alpha: float) -> float:
    """The share that a run of this length disproves if it meets no spell of the length to allow
    for (methods 3.4); 0 where single stretches are all that there is.
    """
    if stretches.further <= 1:
        return 0.0
    return min(1.0, stretches.further * math.log(1 / alpha) / len(stretches.lost))


def _open_cause(low: Weight, high: Weight, p0: Share, alphas: Alphas) -> Cause:
    pass_alpha, fail_alpha = alphas
    if high.y > low.y and (low.passes(p0, pass_alpha) or high.fails(p0, fail_alpha)):
        return "unknown_rows"
    if not Weight(0.0, low.n, 0.0, 1.0).passes(p0, pass_alpha):
        return "too_few"
    clusters = low.clusters
    if Weight(high.y, high.n, high.y, 1.0).passes(p0, pass_alpha):
        return "few_blocks" if clusters < LEAST_TO_PASS else "worst_block"
    if Weight(low.y, low.n, low.y, 1.0).fails(p0, fail_alpha):
        return "few_blocks" if clusters < LEAST_TO_FAIL else "worst_block"
    return "undecided"


def _p_fail(best: Stretches, p0: Share, alpha: float) -> float:
    """The smallest alpha at which it would FAIL, for Holm's rule."""
    low, high = math.log(LEAST_P), math.log(alpha)
    while high - low > 1e-3:
        middle = (low + high) / 2
        if best.weight(math.exp(middle)).fails(p0, math.exp(middle)):
            high = middle
        else:
            low = middle
    return min(math.exp(high), math.nextafter(alpha, 0))


def _worst(best: Stretches, when: Moments) -> WorstBlock | None:
    """The spell that lost most."""
    if not len(best.hot):
        return None
    firsts, lasts = best.spells(1.0)
    longest = int(np.argmax(best.sums(firsts)))
    first, last = best.hot[firsts[longest]], best.hot[lasts[longest]]
    return WorstBlock(
        int(when.at_ns[first]),
        int(when.at_ns[last]) + when.unit_ns,
        int((best.lost[first : last + 1] > 0).sum()),
        int(last - first + 1),
    )
