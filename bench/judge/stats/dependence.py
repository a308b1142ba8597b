"""A promise judged on requests that may depend on each other.

In: per request its due time and session, whether it broke the limit, whether that is unknown, its
value where it has one, and what it took. Out: PASS, FAIL or
INCONCLUSIVE, with the limits that decide, in counts, shares and values. Must stay true: PASS holds
with every unknown row bad, FAIL with every unknown row good; no limit denies the verdict; there is
no verdict without rows, or from fewer clusters than `scales` allows.
Method, and simulated error rates: docs/statistics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from bench.judge.stats.binomial import first
from bench.judge.stats.crossings import Alphas, Crossing, crossings
from bench.judge.stats.scales import (
    FEW_SPELLS,
    FINEST,
    LEAST_TO_FAIL,
    LEAST_TO_PASS,
    Layout,
    Weight,
    lay_out,
    variances,
    weigh,
)
from bench.judge.stats.stand_in import StandIn
from bench.judge.stats.tail import MAX_N, Limits
from bench.record.samples import Bool, Int

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
#: Why: PASS is always `few_enough`, FAIL always `too_many`. `too_few` requests to PASS even with
#: none bad; `few_blocks`: too few stretches or sessions; `worst_block`: the counts would decide,
#: but one spell more (or one fewer) would undo it; `unknown_rows`: rows cut off would decide.
Cause = Literal[
    "few_enough",
    "too_many",
    "no_rows",
    "too_few",
    "few_blocks",
    "worst_block",
    "unknown_rows",
    "undecided",
]
#: Rows of a longer run count as they probably will in four of five.
_POWER_Z = 0.8416212335729143
#: What estimating the design effect and bearing a further spell cost beyond the effect itself, in
#: rows, by simulation (docs/planning.md).
PRICE_OF_PASS, PRICE_OF_FAIL = 2.5, 1.25
#: What would decide is told to within this.
_STEP = 1.02
#: So many runs like this one, and more than a million rows, are no help.
_NEAR_LIMIT = 1000
#: Error probabilities below this count as equal.
LEAST_P = 1e-9


@dataclass(frozen=True)
class Trials:
    """The requests a clause is about, by ascending due time; arrays of one length.

    `bad` broke the limit for certain, `unknown` (never also bad) were cut off before that was
    known. `took`: by the same metric, or the whole answer; None where nothing tells.
    """

    at_ns: Int
    bad: Bool
    unknown: Bool
    took: Int | None
    #: None where each row is one of its own
    sessions: Int | None = None
    #: what is held against the limit, with unknown rows over any limit, and as low as they may be;
    #: None of a promise without values
    values: tuple[Int, Int] | None = None
    #: the largest value that keeps it, where it has one
    limit: int | None = None


@dataclass(frozen=True)
class WorstBlock:
    """First and last due time of the block that speaks most against the promise, and its counts."""

    start_ns: int
    end_ns: int
    bad: int
    n: int


@dataclass(frozen=True)
class Judged:
    """The outcome of one promise and what it rests on.

    Shares are of one, limits one-sided at alpha.
    """

    outcome: Outcome = "INCONCLUSIVE"
    cause: Cause = "no_rows"
    method: Literal["exact", "blocks"] = "exact"
    n: int = 0
    bad: int = 0
    unknown: int = 0
    #: largest count that passes (-1: none) and smallest that fails (n+1: none)
    allowed: int = -1
    fails: int = 1
    #: lower with unknown rows good, upper with unknown rows bad
    lower: float = 0.0
    upper: float = 1.0
    deff: float = 1.0
    n_eff: float = 0.0
    blocks: int = 0
    block_ns: int = 0
    worst: WorstBlock | None = None
    #: requests of a run that would probably decide; None when decided, or when no run would, or
    #: that cannot be said, one session holding so many of them
    needed: int | None = None
    #: the smallest alpha at which it would FAIL, for Holm's rule; 1 unless it does
    p_fail: float = 1.0
    #: lowest value that it fails every limit below, lowest limit that it passes; None: none
    bound: tuple[int | None, int | None] = (None, None)


class _Evidence(NamedTuple):
    layout: Layout
    #: numbers of the rows that are bad, and bad or unknown
    bad: Int
    maybe: Int
    slowest: StandIn
    p0: Fraction
    limit: int | None


def judge_trials(
    trials: Trials,
    p0: Fraction,
    alpha: float,
    pass_alpha: float | None = None,
) -> Judged:
    """Judge "the share of bad requests is at most p0", with error `alpha` for each side, or
    `pass_alpha` for PASS.
    """
    n = len(trials.at_ns)
    pass_alpha = alpha if pass_alpha is None else pass_alpha
    if n == 0:
        return Judged()
    layout = lay_out(trials.at_ns, trials.sessions)
    bad = np.flatnonzero(trials.bad)
    maybe = np.flatnonzero(trials.bad | trials.unknown) if trials.unknown.any() else bad
    slowest = StandIn() if trials.took is None else StandIn.of(layout, trials.took)
    seen = _Evidence(layout, bad, maybe, slowest, p0, trials.limit)
    seen_worst = weigh(layout, maybe, pass_alpha)
    best = worst = slowest.beside(seen_worst, p0, trials.limit)
    if maybe is not bad or pass_alpha != alpha:
        best = slowest.beside(weigh(layout, bad, alpha), p0, trials.limit)
    bound: tuple[int | None, int | None] = None, None
    if trials.values is None:
        passes, fails = worst.passes(p0, pass_alpha), best.fails(p0, alpha)
    else:
        passing, failing = crossings(layout, trials.values, p0, (pass_alpha, alpha), slowest)
        bound = failing.value, passing.value
        passes = len(maybe) <= passing.count and not _short_of(trials, passing, len(maybe))
        fails = len(bad) >= failing.count
    outcome: Outcome = "INCONCLUSIVE"
    cause: Cause
    if passes:
        outcome, cause = "PASS", "few_enough"
    elif fails:
        outcome, cause = "FAIL", "too_many"
    else:
        cause = _undecided(seen, best, worst, (pass_alpha, alpha))
    limits = _agreeing(Limits(best.lower(alpha), _upper(seen, seen_worst, pass_alpha)), outcome, p0)
    deff = best.design_effect
    return Judged(
        outcome,
        cause,
        "exact" if deff == worst.design_effect == worst.w == 1 else "blocks",
        n,
        len(bad),
        len(maybe) - len(bad),
        allowed_count(worst, p0, pass_alpha, passes),
        fails_count(best, p0, alpha, fails),
        limits.lower,
        limits.upper,
        deff,
        n / deff,
        int(np.count_nonzero(layout.rows)),
        layout.block_ns,
        _worst_block(trials.at_ns, seen),
        needed(best, p0, (pass_alpha, alpha)) if _more_would_tell(layout, outcome) else None,
        min(_p_fail(seen, alpha), math.nextafter(alpha, 0)) if outcome == "FAIL" else 1.0,
        bound,
    )


def _more_would_tell(layout: Layout, outcome: Outcome) -> bool:
    return outcome == "INCONCLUSIVE" and not layout.one_session


def _short_of(trials: Trials, passing: Crossing, count: int) -> bool:
    """Whether the limit is below the lowest that passes, though no value lies between them."""
    if trials.limit is None or passing.value is None or count < passing.count:
        return False
    return trials.limit < passing.value


def _p_fail(seen: _Evidence, most: float) -> float:
    n, clusters = seen.layout.n, seen.layout.clusters
    found = variances(seen.layout, seen.bad)

    def fails(log_alpha: float) -> bool:
        alpha = math.exp(log_alpha)
        y = len(seen.bad)
        v = found.at(alpha) if y > 1 else y
        return Weight(y, n, v, 1, clusters).fails(seen.p0, alpha)

    low, high = math.log(LEAST_P), math.log(most)
    if not fails(high):
        return 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        if fails(middle):
            high = middle
        else:
            low = middle
    return math.exp(high)


def _undecided(seen: _Evidence, best: Weight, worst: Weight, alphas: Alphas) -> Cause:
    n, p0 = seen.layout.n, seen.p0
    pass_alpha, fail_alpha = alphas
    if worst.y > best.y and (best.passes(p0, pass_alpha) or worst.fails(p0, fail_alpha)):
        return "unknown_rows"
    if not Weight(0, n, 0, 1).passes(p0, pass_alpha):
        return "too_few"
    alone_best, alone_worst = (Weight(each.y, n, each.y, 1) for each in (best, worst))
    if alone_worst.passes(p0, pass_alpha):
        return "few_blocks" if seen.layout.clusters < LEAST_TO_PASS else "worst_block"
    if alone_best.fails(p0, fail_alpha):
        return "few_blocks" if seen.layout.clusters < LEAST_TO_FAIL else "worst_block"
    return "undecided"


# ---- limits of a share, and in counts


def _upper(seen: _Evidence, weight: Weight, alpha: float) -> float:
    """With a stand-in that is thinned to the limit it is the smallest p0 that would pass."""
    if weight.spells >= FEW_SPELLS or seen.slowest.rows(seen.p0, seen.limit) <= 1:
        return weight.upper(alpha)
    low, high = -50.0, 0.0
    for _ in range(40):
        middle = (low + high) / 2
        share = math.exp(middle)
        spell = seen.slowest.thinned(min(share, float(seen.p0)), seen.limit)
        if replace(weight, w=max(weight.w, spell)).passes(share, alpha):
            high = middle
        else:
            low = middle
    return math.exp(high)


def _agreeing(limits: Limits, outcome: Outcome, p0: Fraction) -> Limits:
    """The limits at this very limit. The verdict rests on every lower and higher one as well."""
    lower, upper, at = limits.lower, limits.upper, float(p0)
    return Limits(
        max(lower, math.nextafter(at, 1)) if outcome == "FAIL" else min(lower, at),
        min(upper, at) if outcome == "PASS" else max(upper, math.nextafter(at, 1)),
    )


def _with_count(weight: Weight, y: float) -> Weight:
    """As many bad rows more or fewer, that come in the same way."""
    return replace(weight, y=y, v=y * max(weight.design_effect if weight.y > 1 else 1.0, 1.0))


def allowed_count(weight: Weight, p0: Fraction, alpha: float, passes: bool) -> int:
    """The largest count that passes, if the rows come as they did; -1 if none does. `passes`:
    whether the count that was seen does.
    """
    y, n = int(weight.y), int(weight.n)
    near = n * float(p0) + NormalDist().inv_cdf(alpha) * _spread(weight, p0)
    found = first(lambda k: not _with_count(weight, k).passes(p0, alpha), 0, n + 1, near) - 1
    return max(found, y) if passes else min(found, y - 1)


def fails_count(weight: Weight, p0: Fraction, alpha: float, fails: bool) -> int:
    """The smallest count that fails, if the rows come as they did; n + 1 if none does."""
    y, n = int(weight.y), int(weight.n)
    near = n * float(p0) - NormalDist().inv_cdf(alpha) * _spread(weight, p0)
    found = first(lambda k: _with_count(weight, k).fails(p0, alpha), 1, n + 1, near)
    return min(found, y) if fails else max(found, y + 1)


def _spread(weight: Weight, p0: Fraction) -> float:
    return math.sqrt(weight.n * float(p0 * (1 - p0)) * max(weight.design_effect, 1.0))


def needed(weight: Weight, p0: Fraction, alphas: Alphas) -> int | None:
    """Requests of a run that would decide in four of five, if the share stays as it is and bad rows
    come as they did; None if it would take more than `_NEAR_LIMIT` such runs.
    """
    share = weight.y / weight.n
    if share == p0 or not p0:
        return None
    passing = share < p0
    effect = weight.design_effect if weight.y > 1 else 1.0

    def decides(steps: int) -> bool:
        n = _STEP**steps
        mean = n * share
        spread = _POWER_Z * math.sqrt(mean * effect)
        y = min(mean + spread, n) if passing else max(mean - spread, 0.0)
        then = Weight(y, n, y * effect, weight.w)
        return then.passes(p0, alphas[0]) if passing else then.fails(p0, alphas[1])

    most = min(float(MAX_N), max(_NEAR_LIMIT * weight.n, 1e6))
    longest = math.floor(math.log(most) / math.log(_STEP))
    guess = math.log(max(weight.n, 1) * 4) / math.log(_STEP)
    found = first(decides, 0, longest + 1, guess)
    if found > longest:
        return None
    least = LEAST_TO_PASS if passing else LEAST_TO_FAIL
    more = max(1.0, least / max(weight.clusters, 1.0))
    return math.ceil(max(_STEP**found, weight.n * more))


def _worst_block(at_ns: Int, seen: _Evidence) -> WorstBlock | None:
    if not len(seen.bad):
        return None
    layout = seen.layout
    bad = np.bincount(layout.block[seen.bad], minlength=FINEST)
    worst = int(np.argmax(bad * seen.p0.denominator - layout.rows * seen.p0.numerator))
    rows = np.flatnonzero(layout.block == worst)
    return WorstBlock(int(at_ns[rows[0]]), int(at_ns[rows[-1]]), int(bad[worst]), len(rows))


def rows_worth_one(deff: float) -> tuple[float, float]:
    """Dependent rows that decide like one independent: for PASS, for FAIL."""
    if deff <= 1:
        return deff, deff
    return PRICE_OF_PASS * deff, PRICE_OF_FAIL * deff
