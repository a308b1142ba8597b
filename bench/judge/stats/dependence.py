"""A promise judged on requests that may depend on each other: exactly where they do not, by blocks
of time where they do.

In: per request its due time, whether it broke the limit, whether that is unknown, and whether it
was among the run's own slowest twentieth. Out: PASS, FAIL or INCONCLUSIVE, with the counts that
decide and what the blocks say of the dependence. Must stay true: PASS holds with every unknown
row bad and after a further spell worse than the worst block, FAIL with every unknown row good and
without the worst block; fewer than 20 blocks never acquit; no verdict without rows.
Method (methods 3.5 and 8), departures from it and simulated error rates: docs/statistics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from bench.judge.stats.binomial import count_tails
from bench.judge.stats.blocks import (
    BLOCKS,
    PHASES_A_BLOCK,
    Blocks,
    count_within,
    cut,
    mean_phase,
    watched_ns,
)
from bench.judge.stats.tail import (
    KornGraubard,
    clopper_pearson,
    korn_graubard,
    needed_n,
    verdict_counts,
)
from bench.record.samples import Bool, Int

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
#: Why: PASS is always `few_enough`, FAIL always `too_many`. `too_few` requests to PASS even with
#: none bad; `few_blocks`: too short for its slow phases; `worst_block`: the counts would decide,
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

#: The fewest that may acquit.
ENOUGH_BLOCKS = 20
#: The fewest a run is cut in.
LEAST_BLOCKS = 4
#: Below this design effect the requests are judged as independent.
INDEPENDENT = 1.2
#: The spell a PASS must bear outdoes the worst block by this many times its lead over the second
#: worst.
LEADS = 2
#: What estimating the design effect and bearing a further spell cost beyond the effect itself, in
#: rows, by simulation (docs/planning.md).
PRICE_OF_PASS, PRICE_OF_FAIL = 2.5, 1.25
#: Error probabilities below this count as equal.
LEAST_P = 1e-9


@dataclass(frozen=True)
class Trials:
    """The requests a clause is about, by ascending due time; arrays of one length.

    `bad` broke the limit for certain, `unknown` (never also bad) were cut off before that was
    known. `proxy`: rows above the run's own p95 of the same metric; all False where there is none.
    """

    at_ns: Int
    bad: Bool
    unknown: Bool
    proxy: Bool


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

    outcome: Outcome
    cause: Cause
    method: Literal["exact", "blocks"]
    n: int
    bad: int
    unknown: int
    #: largest count that passes (-1: none) and smallest that fails (n+1: none), with blocks at the
    #: effective size seen
    allowed: int
    fails: int
    #: lower with unknown rows good, upper with unknown rows bad
    lower: float
    upper: float
    deff: float
    n_eff: float
    blocks: int
    block_ns: int
    worst: WorstBlock | None
    #: requests of a run that would probably decide; None when decided, or when no run would
    needed: int | None


class _Evidence(NamedTuple):
    n: int
    bad: int
    unknown: int
    blocks: Blocks
    #: the same rows in blocks of run/30, whatever the phases
    short: Blocks
    deff: float
    #: the part of `deff` that the slowest twentieth tells
    deff_at_least: float
    exact: bool


def judge_trials(trials: Trials, p0: Fraction, alpha: float) -> Judged:
    """Judge "the share of bad requests is at most p0", with error `alpha` for each side."""
    n = len(trials.at_ns)
    if n == 0:
        return Judged(
            "INCONCLUSIVE",
            "no_rows",
            "exact",
            0,
            0,
            0,
            -1,
            1,
            0.0,
            1.0,
            1.0,
            0.0,
            0,
            0,
            None,
            None,
        )
    seen = _weigh(trials, p0)
    at_best = _limits(seen, seen.blocks.bad, alpha)
    at_worst = _limits(seen, seen.blocks.bad_or_unknown, alpha)
    allowed = verdict_counts(n, p0, alpha, at_worst.n_star).k_pass
    fails = verdict_counts(n, p0, alpha, at_best.n_star).k_fail
    outcome: Outcome = "INCONCLUSIVE"
    cause: Cause
    needed = None
    if _acquits(seen, p0, alpha):
        outcome = "PASS"
        cause = "few_enough"
    elif _condemns(seen, p0, alpha):
        outcome = "FAIL"
        cause = "too_many"
    else:
        cause = _undecided(seen, p0, alpha, allowed, fails)
        needed = _needed(seen, p0, alpha)
    return Judged(
        outcome,
        cause,
        "exact" if seen.exact else "blocks",
        n,
        seen.bad,
        seen.unknown,
        allowed,
        fails,
        at_best.lower,
        at_worst.upper,
        seen.deff,
        min(float(n), n / seen.deff),
        len(seen.blocks.n),
        seen.blocks.length_ns,
        _worst_block(trials.at_ns, seen.blocks, p0),
        needed,
    )


def p_value_fail(trials: Trials, p0: Fraction) -> float:
    """The smallest alpha at which `judge_trials` would say FAIL, for `holm`; 1 from one half on,
    never below LEAST_P.
    """
    if len(trials.at_ns) == 0:
        return 1.0
    seen = _weigh(trials, p0)
    low = math.log(LEAST_P)
    high = math.log(0.499)
    if not _condemns(seen, p0, math.exp(high)):
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if _condemns(seen, p0, math.exp(middle)):
            high = middle
        else:
            low = middle
    return math.exp(high)


def _weigh(trials: Trials, p0: Fraction) -> _Evidence:
    """Cut the run and estimate how much its requests depend on each other.

    With one bad request or none the blocks' own design effect is 1 whatever the truth. Then the
    slowest twentieth stands in, scaled to the limit: bad rows drawn from among slow ones at
    random keep p0 / share of what their design effect has above 1.
    """
    n = len(trials.at_ns)
    bad = int(trials.bad.sum())
    unknown = int(trials.unknown.sum())
    too_few_bad = bad <= 1
    watched = watched_ns(trials.at_ns)
    total = int(watched[-1]) + 1
    phase_ns = mean_phase(watched, trials.proxy if too_few_bad else trials.bad)
    fitting = math.floor(total / max(PHASES_A_BLOCK * phase_ns, 1))
    parts = min(BLOCKS, max(LEAST_BLOCKS, fitting))
    short = cut(trials.bad, trials.unknown, watched, BLOCKS)
    if parts == BLOCKS:
        blocks = short
    else:
        blocks = cut(trials.bad, trials.unknown, watched, parts)
    slow = int(trials.proxy.sum())
    known = 0.0
    if too_few_bad and 0 < slow < n:
        slow_deff = _deff(count_within(trials.proxy, blocks.edges), blocks.n)
        known = 1 + (slow_deff - 1) * min(1.0, float(p0) * n / slow)
    deff = max(known, _deff(blocks.bad, blocks.n), _deff(blocks.bad_or_unknown, blocks.n))
    # one bad request disproves "never", whatever it depends on
    exact = p0 == 0 or (deff < INDEPENDENT and len(blocks.n) >= ENOUGH_BLOCKS)
    return _Evidence(n, bad, unknown, blocks, short, deff, known, exact)


def _deff(k: Int, n: Int) -> float:
    """Design effect of the blocks; requests of a single block count as one event."""
    if len(n) > 1:
        return korn_graubard(k, n, 0.05).deff
    return float(n.sum())


def _limits(seen: _Evidence, k: Int, alpha: float) -> KornGraubard:
    """Limits of the share, and the size at which they are exact limits."""
    if not seen.exact and len(k) > 1:
        return korn_graubard(k, seen.blocks.n, alpha, seen.deff_at_least)
    size = float(seen.n if seen.exact else 1)
    share = int(k.sum()) / seen.n
    limits = clopper_pearson(share * size, size, alpha)
    return KornGraubard(share, limits.lower, limits.upper, seen.n / size, size, size)


def _acquits(seen: _Evidence, p0: Fraction, alpha: float) -> bool:
    k = seen.blocks.bad_or_unknown
    n = seen.blocks.n
    if seen.exact:
        return count_tails(int(k.sum()), seen.n, p0)[0] <= alpha
    if len(n) < ENOUGH_BLOCKS or korn_graubard(k, n, alpha, seen.deff_at_least).upper > p0:
        return False
    order = np.argsort(_excess(k, n, p0))
    worst = int(order[-1])
    second = int(order[-2])
    lead = max(k[worst] - k[second], 0)
    further = min(k[worst] + LEADS * lead, n[worst])
    k = np.append(k, further)
    n = np.append(n, n[worst])
    return korn_graubard(k, n, alpha, seen.deff_at_least).upper <= p0


def _condemns(seen: _Evidence, p0: Fraction, alpha: float) -> bool:
    """With too few blocks to acquit, the exact binomial must say FAIL without the worst of them as
    well.
    """
    if count_tails(seen.bad, seen.n, p0)[1] >= alpha:
        return False
    if seen.exact:
        return True
    blocks = seen.blocks
    if len(blocks.n) < ENOUGH_BLOCKS:
        k, n = _without_worst(blocks, p0)
        if count_tails(int(k.sum()), int(n.sum()), p0)[1] >= alpha:
            return False
        blocks = seen.short
    k, n = _without_worst(blocks, p0)
    if len(n) < 2 or korn_graubard(blocks.bad, blocks.n, alpha).lower <= p0:
        return False
    return korn_graubard(k, n, alpha).lower > p0


def _excess(k: Int, n: Int, p0: Fraction) -> Int:
    """What each block has above its allowance, in whole numbers."""
    return k * p0.denominator - n * p0.numerator


def _without_worst(blocks: Blocks, p0: Fraction) -> tuple[Int, Int]:
    worst = int(np.argmax(_excess(blocks.bad, blocks.n, p0)))
    return np.delete(blocks.bad, worst), np.delete(blocks.n, worst)


def _worst_block(at_ns: Int, blocks: Blocks, p0: Fraction) -> WorstBlock | None:
    if not blocks.bad.any():
        return None
    worst = int(np.argmax(_excess(blocks.bad, blocks.n, p0)))
    first_row = blocks.edges[worst]
    last_row = blocks.edges[worst + 1] - 1
    return WorstBlock(
        start_ns=int(at_ns[first_row]),
        end_ns=int(at_ns[last_row]),
        bad=int(blocks.bad[worst]),
        n=int(blocks.n[worst]),
    )


def _undecided(
    seen: _Evidence,
    p0: Fraction,
    alpha: float,
    allowed: int,
    fails: int,
) -> Cause:
    if count_tails(0, seen.n, p0)[0] > alpha:
        return "too_few"
    if seen.unknown and _unknown_rows_decide(seen, p0, alpha):
        return "unknown_rows"
    if not seen.exact and len(seen.blocks.n) < ENOUGH_BLOCKS:
        return "few_blocks"
    if allowed < 0:
        return "too_few"
    if seen.bad + seen.unknown <= allowed or seen.bad >= fails:
        return "worst_block"
    return "undecided"


def _unknown_rows_decide(seen: _Evidence, p0: Fraction, alpha: float) -> bool:
    """Whether it would PASS with every unknown row good, or FAIL with every one bad."""
    all_good = seen.blocks._replace(bad_or_unknown=seen.blocks.bad)
    if _acquits(seen._replace(blocks=all_good), p0, alpha):
        return True
    all_bad = seen._replace(
        bad=seen.bad + seen.unknown,
        blocks=seen.blocks._replace(bad=seen.blocks.bad_or_unknown),
        short=seen.short._replace(bad=seen.short.bad_or_unknown),
    )
    return _condemns(all_bad, p0, alpha)


def _needed(seen: _Evidence, p0: Fraction, alpha: float) -> int | None:
    """Requests with an 80 % chance to decide at this design effect, and enough for the blocks to
    acquit.
    """
    independent = needed_n(Fraction(seen.bad, seen.n), p0, alpha)
    if independent is None:
        return None
    if seen.exact:
        return independent
    to_pass, to_fail = rows_worth_one(seen.deff)
    if seen.bad > p0 * seen.n:
        price = to_fail
    else:
        price = to_pass
    wanted = math.ceil(independent * price)
    blocks = len(seen.blocks.n)
    if blocks >= ENOUGH_BLOCKS:
        return wanted
    return max(wanted, math.ceil(seen.n * ENOUGH_BLOCKS / blocks))


def rows_worth_one(deff: float) -> tuple[float, float]:
    """Dependent rows that decide like one independent: for PASS, for FAIL."""
    if deff < INDEPENDENT:
        return deff, deff
    return PRICE_OF_PASS * deff, PRICE_OF_FAIL * deff
