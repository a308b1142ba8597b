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

#: Blocks of a run whose slow phases are short; the fewest that may acquit; the fewest a run is cut
#: in.
BLOCKS, ENOUGH_BLOCKS, LEAST_BLOCKS = 30, 20, 4
#: A block is as long as this many slow phases of mean length.
PHASES_A_BLOCK = 5
#: Parts of a run in which slow phases are looked for: a phase that calls for longer blocks than
#: run / BLOCKS fills at least four.
CELLS = 4 * PHASES_A_BLOCK * BLOCKS
#: Below this design effect the requests are judged as independent.
INDEPENDENT = 1.2
#: The spell a PASS must bear outdoes the worst block by this many times its lead over the second
#: worst.
LEADS = 2
#: What estimating the design effect and bearing a further spell cost beyond the effect itself, in
#: rows, by simulation (docs/planning.md).
PRICE_OF_PASS, PRICE_OF_FAIL = 2.5, 1.25
#: Error probabilities below this are not told apart.
LEAST_P = 1e-9


@dataclass(frozen=True)
class Trials:
    """The requests a clause is about, by ascending due time; arrays of one length.

    `bad` broke the limit for certain, `unknown` (never also bad) were cut off before they could
    tell. `proxy`: rows above the run's own p95 of the same metric; all False where there is none.
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


class _Blocks(NamedTuple):
    """A run cut at `edges` (row indices) into blocks of `length_ns`, with counts a block."""

    edges: Int
    length_ns: int
    n: Int
    bad: Int
    bad_or_unknown: Int


class _Evidence(NamedTuple):
    n: int
    bad: int
    unknown: int
    blocks: _Blocks
    #: the same rows in blocks of run/30, whatever the phases
    short: _Blocks
    deff: float
    #: the part of `deff` that the slowest twentieth tells
    deff_at_least: float
    exact: bool


def judge_trials(trials: Trials, p0: Fraction, alpha: float) -> Judged:
    """Judge "the share of bad requests is at most p0", with error `alpha` for each side."""
    n = len(trials.at_ns)
    if n == 0:
        return Judged(
            "INCONCLUSIVE", "no_rows", "exact", 0, 0, 0, -1, 1, 0.0, 1.0, 1.0, 0.0, 0, 0, None, None
        )
    seen = _weigh(trials, p0)
    good, sour = (
        _limits(seen, seen.blocks.bad, alpha),
        _limits(seen, seen.blocks.bad_or_unknown, alpha),
    )
    allowed = verdict_counts(n, p0, alpha, sour.n_star).k_pass
    fails = verdict_counts(n, p0, alpha, good.n_star).k_fail
    outcome: Outcome = "INCONCLUSIVE"
    cause: Cause
    if _acquits(seen, p0, alpha):
        outcome, cause = "PASS", "few_enough"
    elif _condemns(seen, p0, alpha):
        outcome, cause = "FAIL", "too_many"
    else:
        cause = _undecided(seen, p0, alpha, allowed, fails)
    return Judged(
        outcome,
        cause,
        "exact" if seen.exact else "blocks",
        n,
        seen.bad,
        seen.unknown,
        allowed,
        fails,
        good.lower,
        sour.upper,
        seen.deff,
        min(float(n), n / seen.deff),
        len(seen.blocks.n),
        seen.blocks.length_ns,
        _worst_block(trials.at_ns, seen.blocks, p0),
        None if outcome != "INCONCLUSIVE" else _needed(seen, p0, alpha),
    )


def p_value_fail(trials: Trials, p0: Fraction) -> float:
    """The smallest alpha at which `judge_trials` would say FAIL, for `holm`; 1 from one half on,
    never below LEAST_P.
    """
    if len(trials.at_ns) == 0:
        return 1.0
    seen = _weigh(trials, p0)
    low, high = math.log(LEAST_P), math.log(0.499)
    if not _condemns(seen, p0, math.exp(high)):
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if _condemns(seen, p0, math.exp(middle)) else (middle, high)
    return math.exp(high)


def _weigh(trials: Trials, p0: Fraction) -> _Evidence:
    """Cut the run and estimate how much its requests depend on each other.

    With one bad request or none the blocks' own design effect is 1 whatever the truth. Then the
    slowest twentieth stands in, scaled to the limit: bad rows drawn from among slow ones at
    random keep p0 / share of what their design effect has above 1.
    """
    n, bad, unknown = len(trials.at_ns), int(trials.bad.sum()), int(trials.unknown.sum())
    speechless = bad <= 1
    watched = watched_ns(trials.at_ns)
    phase_ns = _mean_phase(watched, trials.proxy if speechless else trials.bad)
    total = int(watched[-1]) + 1
    parts = min(BLOCKS, max(LEAST_BLOCKS, math.floor(total / max(PHASES_A_BLOCK * phase_ns, 1))))
    short = _cut(trials, watched, BLOCKS)
    blocks = short if parts == BLOCKS else _cut(trials, watched, parts)
    slow = int(trials.proxy.sum())
    known = 0.0
    if speechless and 0 < slow < n:
        known = 1 + (_deff(count_within(trials.proxy, blocks.edges), blocks.n) - 1) * min(
            1.0, float(p0) * n / slow
        )
    deff = max(known, _deff(blocks.bad, blocks.n), _deff(blocks.bad_or_unknown, blocks.n))
    # one bad request disproves "never", whatever it depends on
    exact = p0 == 0 or (deff < INDEPENDENT and len(blocks.n) >= ENOUGH_BLOCKS)
    return _Evidence(n, bad, unknown, blocks, short, deff, known, exact)


def watched_ns(at_ns: Int) -> Int:
    """Due times after the first, with pauses cut down to the longest phase that blocks of run/30
    can hold.

    A clause on one phase of a profile, or a night without load, leaves holes that hold no
    evidence. The run's length is itself what is left without them, hence the rounds.
    """
    gaps, parts = np.diff(at_ns), PHASES_A_BLOCK * BLOCKS
    longest = max(int(at_ns[-1] - at_ns[0]) // parts, 1)
    if gaps.max(initial=0) <= longest:
        return np.asarray(at_ns - at_ns[0], np.int64)
    for _ in range(2):
        longest = max(int(np.minimum(gaps, longest).sum()) // parts, 1)
    watched = np.zeros(len(at_ns), np.int64)
    np.cumsum(np.minimum(gaps, longest), out=watched[1:])
    return watched


def equal_times(watched: Int, parts: int) -> Int:
    """Row indices that cut the watched time into equal parts; parts without a row vanish."""
    starts = np.arange(parts) * ((int(watched[-1]) + 1) / parts)
    return np.unique(np.append(np.searchsorted(watched, starts), len(watched)))


def count_within(flags: Bool, edges: Int) -> Int:
    return np.add.reduceat(flags, edges[:-1], dtype=np.int64)


def _cut(trials: Trials, watched: Int, parts: int) -> _Blocks:
    edges = equal_times(watched, parts)
    bad, unknown = count_within(trials.bad, edges), count_within(trials.unknown, edges)
    return _Blocks(
        edges, math.ceil((int(watched[-1]) + 1) / parts), np.diff(edges), bad, bad + unknown
    )


def _mean_phase(watched: Int, slow: Bool) -> float:
    """Mean length (ns) of the runs of cells whose rate is above the median cell's.

    A spell touches one cell more than it fills, so one cell is taken off each run.
    """
    edges = equal_times(watched, CELLS)
    rate = count_within(slow, edges) / np.diff(edges)
    above = rate > np.median(rate)
    runs = np.count_nonzero(np.diff(above, prepend=False) & above)
    return float(above.sum() / runs - 1) * (int(watched[-1]) + 1) / CELLS if runs else 0.0


def _deff(k: Int, n: Int) -> float:
    """Design effect of the blocks; requests of a single block count as one event."""
    return korn_graubard(k, n, 0.05).deff if len(n) > 1 else float(n.sum())


def _limits(seen: _Evidence, k: Int, alpha: float) -> KornGraubard:
    """Limits of the share, and the size at which they are exact limits."""
    if not seen.exact and len(k) > 1:
        return korn_graubard(k, seen.blocks.n, alpha, seen.deff_at_least)
    size = float(seen.n if seen.exact else 1)
    share = int(k.sum()) / seen.n
    return KornGraubard(
        share, *clopper_pearson(share * size, size, alpha), seen.n / size, size, size
    )


def _acquits(seen: _Evidence, p0: Fraction, alpha: float) -> bool:
    k, n = seen.blocks.bad_or_unknown, seen.blocks.n
    if seen.exact:
        return count_tails(int(k.sum()), seen.n, p0)[0] <= alpha
    if len(n) < ENOUGH_BLOCKS or korn_graubard(k, n, alpha, seen.deff_at_least).upper > p0:
        return False
    order = np.argsort(_excess(k, n, p0))
    worst, second = int(order[-1]), int(order[-2])
    further = min(k[worst] + LEADS * max(k[worst] - k[second], 0), n[worst])
    return (
        korn_graubard(
            np.append(k, further), np.append(n, n[worst]), alpha, seen.deff_at_least
        ).upper
        <= p0
    )


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
    return len(n) > 1 and all(
        korn_graubard(*pair, alpha).lower > p0 for pair in ((blocks.bad, blocks.n), (k, n))
    )


def _excess(k: Int, n: Int, p0: Fraction) -> Int:
    """What each block has above its allowance, in whole numbers."""
    return k * p0.denominator - n * p0.numerator


def _without_worst(blocks: _Blocks, p0: Fraction) -> tuple[Int, Int]:
    worst = int(np.argmax(_excess(blocks.bad, blocks.n, p0)))
    return np.delete(blocks.bad, worst), np.delete(blocks.n, worst)


def _worst_block(at_ns: Int, blocks: _Blocks, p0: Fraction) -> WorstBlock | None:
    if not blocks.bad.any():
        return None
    worst = int(np.argmax(_excess(blocks.bad, blocks.n, p0)))
    start, end = blocks.edges[worst], blocks.edges[worst + 1]
    return WorstBlock(
        int(at_ns[start]), int(at_ns[end - 1]), int(blocks.bad[worst]), int(blocks.n[worst])
    )


def _undecided(seen: _Evidence, p0: Fraction, alpha: float, allowed: int, fails: int) -> Cause:
    if count_tails(0, seen.n, p0)[0] > alpha:
        return "too_few"
    if seen.unknown:
        kept = seen._replace(blocks=seen.blocks._replace(bad_or_unknown=seen.blocks.bad))
        blocks, short = (cut._replace(bad=cut.bad_or_unknown) for cut in (seen.blocks, seen.short))
        broke = seen._replace(bad=seen.bad + seen.unknown, blocks=blocks, short=short)
        if _acquits(kept, p0, alpha) or _condemns(broke, p0, alpha):
            return "unknown_rows"
    if not seen.exact and len(seen.blocks.n) < ENOUGH_BLOCKS:
        return "few_blocks"
    if allowed < 0:
        return "too_few"
    return "worst_block" if seen.bad + seen.unknown <= allowed or seen.bad >= fails else "undecided"


def _needed(seen: _Evidence, p0: Fraction, alpha: float) -> int | None:
    """Requests with an 80 % chance to decide at this design effect, and enough for the blocks to
    acquit.
    """
    independent = needed_n(Fraction(seen.bad, seen.n), p0, alpha)
    if independent is None:
        return None
    price = rows_worth_one(seen.deff)[seen.bad > p0 * seen.n] if not seen.exact else 1.0
    wanted = math.ceil(independent * price)
    few = not seen.exact and len(seen.blocks.n) < ENOUGH_BLOCKS
    return max(wanted, math.ceil(seen.n * ENOUGH_BLOCKS / len(seen.blocks.n))) if few else wanted


def rows_worth_one(deff: float) -> tuple[float, float]:
    """Dependent rows that decide like one independent: for PASS, for FAIL."""
    return (deff, deff) if deff < INDEPENDENT else (PRICE_OF_PASS * deff, PRICE_OF_FAIL * deff)
