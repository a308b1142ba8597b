"""Two-by-two tables of tail and body: odds ratios, the share that would vanish, their limits.

In: a level, a tail mark, a block and a stratum a row. Out: a record a level, in floats that JSON
can hold, and the test behind it. Must stay true: a ratio without a denominator is None, never a
large number; the test of a level is never more certain than blocks of any scale are, however many
rows it has; the limits of a level leave out "no effect" exactly where its test rejects.

Source: methods 5 and part two (mend 12); Woolf's interval with Haldane's half, Mantel and Haenszel
1959, Benjamini and Hochberg 1995, Benjamini and Yekutieli 2005 (limits of what was selected).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bench.judge.stats.binomial import beta_tails, student_t_quantile
from bench.judge.stats.resample import RESAMPLES, draw_blocks, over, percentile_limits
from bench.record.samples import Bool, Float, Int

#: Blocks of a run are also put together in so many groups, against slow phases longer than one.
COARSER = (15, 10)
#: And in so few for a level that comes and goes with time: whose rows a block vary so many times
#: as much as chance makes them.
COARSEST, COMES_AND_GOES = 5, 3


@dataclass(frozen=True)
class Table2:
    """Rows and tail rows of every level, in all and by time block."""

    #: levels x blocks
    rows_by_block: Int
    tail_by_block: Int

    @classmethod
    def count(
        cls,
        codes: Int,
        tail: Bool,
        block: Int,
        levels: int,
        blocks: int,
    ) -> Table2:
        """Count. Every array has one entry a row; codes are 0..levels-1, blocks 0..blocks-1."""
        cell = codes * blocks + block
        rows = np.bincount(cell, minlength=levels * blocks)
        slow = np.bincount(cell[tail], minlength=levels * blocks)
        return cls(rows.reshape(levels, blocks), slow.reshape(levels, blocks))

    @property
    def rows(self) -> Int:
        """Rows of each level."""
        return np.asarray(self.rows_by_block.sum(axis=1))

    @property
    def tail(self) -> Int:
        """Tail rows of each level."""
        return np.asarray(self.tail_by_block.sum(axis=1))


@dataclass(frozen=True)
class TwoByTwo:
    """A level against the rest, in one table."""

    n: int
    #: slow rows
    tail: int
    share_of_tail: float
    share_overall: float
    lift: float
    rate: float
    rate_without: float
    risk_ratio: float | None
    #: with half a row added to each cell
    odds_ratio: float
    odds_ratio_95: tuple[float, float]
    odds_ratio_crude: float | None
    #: the share of the tail that would vanish if this level were like the rest: (p - p without)/p;
    #: below zero it is protective
    paf: float


def two_by_two(
    tail_exposed: int,
    tail_unexposed: int,
    body_exposed: int,
    body_unexposed: int,
    alpha_each_side: float,
) -> TwoByTwo:
    """Raises ValueError for an empty tail or no row on one side."""
    exposed = tail_exposed + body_exposed
    unexposed = tail_unexposed + body_unexposed
    tail = tail_exposed + tail_unexposed
    n = exposed + unexposed
    if not tail or not exposed or not unexposed:
        raise ValueError("a level is compared with the rest, and the tail must hold a row")
    overall = tail / n
    rate = tail_exposed / exposed
    without = tail_unexposed / unexposed
    halves = (tail_exposed + 0.5, body_unexposed + 0.5, body_exposed + 0.5, tail_unexposed + 0.5)
    odds = halves[0] * halves[1] / (halves[2] * halves[3])
    standard_error = math.sqrt(sum(1 / half for half in halves))
    reach = _normal_quantile(alpha_each_side) * standard_error
    crossed = body_exposed * tail_unexposed
    return TwoByTwo(
        n=exposed,
        tail=tail_exposed,
        share_of_tail=tail_exposed / tail,
        share_overall=exposed / n,
        lift=rate / overall,
        rate=rate,
        rate_without=without,
        risk_ratio=rate / without if without else None,
        odds_ratio=odds,
        odds_ratio_95=(odds * math.exp(-reach), odds * math.exp(reach)),
        odds_ratio_crude=tail_exposed * body_unexposed / crossed if crossed else None,
        paf=(overall - without) / overall,
    )


def _normal_quantile(alpha_each_side: float) -> float:
    return NormalDist().inv_cdf(1 - alpha_each_side)


@dataclass(frozen=True)
class LevelTest:
    """ln(odds ratio) of a level, and what it may be off by: standard errors with the groups of
    blocks that each rests on, None where it takes its quantile from the normal law.
    """

    log_odds: float
    errors: tuple[tuple[float, int | None], ...]

    @property
    def p_value(self) -> float:
        """Two-sided; the largest that any error gives."""
        size = abs(self.log_odds)
        return max(_two_sided(size / error, groups) for error, groups in self.errors)

    def limits(self, alpha_each_side: float) -> tuple[float, float]:
        """Of ln(odds ratio): they leave out 0 where the p-value is at most twice alpha."""
        reach = max(error * _quantile(alpha_each_side, groups) for error, groups in self.errors)
        return self.log_odds - reach, self.log_odds + reach


def _two_sided(distance: float, groups: int | None) -> float:
    if groups is None:
        return math.erfc(distance / math.sqrt(2))
    freedom = groups - 1
    return beta_tails(freedom / 2, 0.5, freedom / (freedom + distance**2))[0]


def _quantile(alpha_each_side: float, groups: int | None) -> float:
    if groups is None:
        return _normal_quantile(alpha_each_side)
    return student_t_quantile(alpha_each_side, groups - 1)


class Associated(NamedTuple):
    """What goes with a level, tested, with the limits of its PAF."""

    ratios: TwoByTwo
    test: LevelTest
    paf_95: tuple[float | None, float | None]


def associate(
    tables: Sequence[Table2],
    alpha_each_side: float,
) -> list[Associated | None]:
    """Every level against the others.

    `tables` count the same rows by blocks of time and, where there are sessions, by blocks of
    these. A level without rows or with all of them gets None, and so does every level where no row
    is slow.
    """
    rows, tail = tables[0].rows, tables[0].tail
    all_rows, all_tail = int(rows.sum()), int(tail.sum())
    effects = [_effects(table) for table in tables]
    changing = _comes_and_goes(tables[0])
    found: list[Associated | None] = []
    for level in range(len(rows)):
        exposed, hit = int(rows[level]), int(tail[level])
        if not exposed or exposed == all_rows or not all_tail:
            found.append(None)
            continue
        missed = all_tail - hit
        body = exposed - hit
        ratios = two_by_two(hit, missed, body, all_rows - exposed - missed, alpha_each_side)
        upper = ratios.odds_ratio_95[1]
        woolf = math.log(upper / ratios.odds_ratio) / _normal_quantile(alpha_each_side)
        errors: list[tuple[float, int | None]] = [(woolf, None)]
        for of_table in effects:
            errors += _errors(of_table, level, changing=bool(changing[level]))
        test = LevelTest(math.log(ratios.odds_ratio), tuple(errors))
        found.append(Associated(ratios, test, _paf_limits(effects, level, alpha_each_side)))
    return found


@dataclass(frozen=True)
class _Effect:
    """PAF and ln(odds ratio) of every level in each draw of so many groups of blocks."""

    groups: int
    paf: list[Float]
    log_odds: list[Float]


def _effects(table: Table2) -> list[_Effect]:
    """The finest scale first."""
    blocks = table.rows_by_block.shape[1]
    scales = [blocks, *(groups for groups in (*COARSER, COARSEST) if groups < blocks)]
    found = []
    for groups in scales:
        drawn = draw_blocks(groups, RESAMPLES if groups == blocks else RESAMPLES // 2)
        group = np.arange(blocks) * groups // blocks
        starts = np.searchsorted(group, np.arange(groups))
        drawn_rows = drawn @ np.add.reduceat(table.rows_by_block, starts, axis=1).T
        drawn_tail = drawn @ np.add.reduceat(table.tail_by_block, starts, axis=1).T
        total, slow = drawn_rows.sum(axis=1), drawn_tail.sum(axis=1)
        each = [
            _drawn_effect(drawn_rows[:, level], drawn_tail[:, level], total, slow)
            for level in range(drawn_rows.shape[1])
        ]
        found.append(_Effect(groups, [paf for paf, _ in each], [odds for _, odds in each]))
    return found


def _errors(
    effects: Sequence[_Effect], level: int, *, changing: bool
) -> list[tuple[float, int | None]]:
    """Standard errors of one level. The finest scale, and every scale of a level that changes with
    time, has Student's quantile. Otherwise the coarser have the normal one: to take the largest of
    several makes up for what their few groups leave out.
    """
    found: list[tuple[float, int | None]] = []
    for effect in effects:
        if effect.groups == COARSEST and not changing:
            continue
        log_odds = effect.log_odds[level]
        if effect.groups > 1 and len(log_odds) > 1:
            finest = effect is effects[0]
            found.append((float(log_odds.std()), effect.groups if finest or changing else None))
    return [(error, groups) for error, groups in found if error > 0]


def _paf_limits(
    tables: Sequence[Sequence[_Effect]], level: int, alpha_each_side: float
) -> tuple[float | None, float | None]:
    """The widest of the limits that each scale gives; None below two blocks or beyond the draws."""
    lows, highs = [], []
    for effects in tables:
        for effect in effects:
            if effect.groups < 2:
                return None, None
            if effect.groups == COARSEST:
                continue
            number = effect.groups if effect is effects[0] else None
            low, high = percentile_limits(effect.paf[level], alpha_each_side, number)
            lows.append(low)
            highs.append(high)
    low, high = min(lows, default=-math.inf), max(highs, default=math.inf)
    return low if math.isfinite(low) else None, high if math.isfinite(high) else None


def _comes_and_goes(table: Table2) -> Bool:
    """Which levels are not spread over the blocks as chance would spread them."""
    by_block = table.rows_by_block
    n = by_block.sum(axis=0)
    share = table.rows[:, None] / max(int(n.sum()), 1)
    chance = np.maximum(share * (1 - share) * n, 1e-9)
    spread = ((by_block - share * n) ** 2 / chance).sum(axis=1)
    return np.asarray(spread > COMES_AND_GOES * max(len(n) - 1, 1))


def paf_at(log_odds: float, exposed: int, tail: int, n: int) -> float:
    """The PAF that a level of so many rows would have at an odds ratio, the margins being what they
    are and half a row being added to each cell.
    """
    odds = math.exp(min(max(log_odds, -50.0), 50.0))
    exposed, tail, n = exposed + 1, tail + 1, n + 2
    # hit · (n - exposed - tail + hit) = odds · (exposed - hit) · (tail - hit)
    low, high = max(0.0, float(exposed + tail - n)), float(min(exposed, tail))
    for _ in range(60):
        hit = (low + high) / 2
        if hit * (n - exposed - tail + hit) < odds * (exposed - hit) * (tail - hit):
            low = hit
        else:
            high = hit
    without = (tail - (low + high) / 2) / (n - exposed)
    return 1 - without / (tail / n)


def _drawn_effect(
    exposed: Float,
    tail_exposed: Float,
    total: Float,
    slow: Float,
) -> tuple[Float, Float]:
    """PAF of a level in each draw, and ln(odds ratio) in those that have rows of it and of others.

    `exposed` are its rows and `tail_exposed` its tail rows; `total` and `slow` those of all levels.
    """
    body_exposed = exposed - tail_exposed
    tail_unexposed = slow - tail_exposed
    body_unexposed = total - exposed - slow + tail_exposed
    without = over(tail_unexposed, tail_unexposed + body_unexposed)
    paf = 1 - over(without, over(slow, total))
    both = (exposed > 0) & (exposed < total)
    above = (tail_exposed + 0.5) * (body_unexposed + 0.5)
    below = (body_exposed + 0.5) * (tail_unexposed + 0.5)
    log_odds = np.log(above / below)
    return paf, log_odds[both]


def adjusted_odds_ratio(
    codes: Int,
    tail: Bool,
    stratum: Int,
    levels: int,
) -> list[float | None]:
    """Mantel-Haenszel odds ratio of every level against the others, within strata: None without a
    denominator.
    """
    strata = int(stratum.max(initial=-1)) + 1
    table = Table2.count(codes, tail, stratum, levels, strata)
    tail_exposed = table.tail_by_block.astype(np.float64)
    exposed = table.rows_by_block.astype(np.float64)
    n = exposed.sum(axis=0)
    slow = tail_exposed.sum(axis=0)
    body_exposed = exposed - tail_exposed
    tail_unexposed = slow - tail_exposed
    body_unexposed = n - exposed - tail_unexposed
    size = np.maximum(n, 1)
    above = (tail_exposed * body_unexposed / size).sum(axis=1)
    below = (body_exposed * tail_unexposed / size).sum(axis=1)
    ratios: list[float | None] = []
    for top, bottom in zip(above, below, strict=True):
        ratios.append(float(top / bottom) if bottom > 0 else None)
    return ratios


def level_of_each(p_values: Sequence[float], rate: float) -> float:
    """The level at which each hypothesis comes to be tested, so that at most `rate` of the
    discoveries are false (Benjamini and Hochberg): that of the last rejection, or of the first
    where there is none. Limits at this level miss at most `rate` of what is rejected.
    """
    rejected = 1
    for place, p in enumerate(sorted(p_values), 1):
        if p <= rate * place / len(p_values):
            rejected = place
    return rate * rejected / max(len(p_values), 1)
