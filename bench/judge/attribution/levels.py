"""Every level of every factor held against the rest: how much of the tail goes with it.

In: the tail, its factors, the block of each row. Out: a record a level, with a bound. Must stay
true: no level with fewer than ten tail rows, and none that false-discovery control does not leave
standing, is named; 0 lies outside a bound exactly where its level is named.

Source: methods 5 (PAF, odds ratios, guards), part two (mend 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.judge.attribution.association import (
    LevelTest,
    Table2,
    adjusted_odds_ratio,
    associate,
    level_of_each,
    paf_at,
)
from bench.judge.attribution.factors import CONTEXT, Factor
from bench.judge.attribution.tail import Tail
from bench.judge.stats.stand_in import OVER_ANY_LIMIT_NS
from bench.judge.stats.tail import quantile_ci_ranks
from bench.quantiles import P99
from bench.record.records.attribution import LevelRecord
from bench.record.samples import Int
from bench.units import MS, nearest_rank

#: Tail rows from which a level is looked at.
ENOUGH_IN_LEVEL = 10
#: False-discovery rate over all levels of a lane.
FDR = 0.10
#: Each side of the intervals.
ALPHA = 0.025
#: How far the odds ratio within like contexts may be from the crude one.
CONFOUNDED = 0.25


class Levels(NamedTuple):
    """All levels by descending PAF, and the confidence of each bound."""

    records: list[LevelRecord]
    confidence: float


def levels_of(tail: Tail, factors: Sequence[Factor], blocks: Sequence[Int]) -> Levels:
    """A record a level of each factor, with the outcome of false-discovery control over all of
    them; `blocks`: of each row by time and, where there are sessions, by these.
    """
    order = np.argsort(tail.values, kind="stable")
    ordered = tail.values[order]
    context = tail.columns.schedule["bucket"].astype(np.int64)
    found: list[tuple[LevelRecord, LevelTest]] = []
    for factor in factors:
        within = None if factor.name == CONTEXT else context
        found += _of_factor(tail, factor, blocks, within, order, ordered)
    enough = [level.tail >= ENOUGH_IN_LEVEL for level, _ in found]
    p_values = [level.p_value for (level, _), many in zip(found, enough, strict=True) if many]
    each = level_of_each(p_values, FDR)
    records = [
        _tested(level, test, each) if many else level
        for (level, test), many in zip(found, enough, strict=True)
    ]
    return Levels(sorted(records, key=lambda level: -level.paf), 1 - each)


def _tested(level: LevelRecord, test: LevelTest, each: float) -> LevelRecord:
    """The level with what was found at the level that each test has, and the bound that says so."""
    effect = "undecided"
    if level.p_value <= each:
        effect = "associated" if test.log_odds > 0 else "protective"
    slow = round(level.tail / level.share_of_tail) if level.tail else 0
    known = round(level.n / level.share_overall)
    low, high = (paf_at(end, level.n, slow, known) for end in test.limits(each / 2))
    return level.replace(effect=effect, bound=(low, high))


def _of_factor(
    tail: Tail,
    factor: Factor,
    blocks: Sequence[Int],
    context: Int | None,
    order: Int,
    ordered: Int,
) -> list[tuple[LevelRecord, LevelTest]]:
    """The levels of one factor with their tests, before any was tested beside the others."""
    known = factor.codes >= 0
    codes = factor.codes
    slow = tail.slow
    if not known.all():
        codes = codes[known]
        slow = slow[known]
        blocks = [block[known] for block in blocks]
        context = None if context is None else context[known]
    tables = [
        Table2.count(codes, slow, block, len(factor.levels), int(block.max(initial=0)) + 1)
        for block in blocks
    ]
    found = associate(tables, ALPHA)
    if context is None:
        strata = None
    else:
        strata = adjusted_odds_ratio(codes, slow, context, len(factor.levels))
    in_order = factor.codes[order]
    records = []
    for level, name in enumerate(factor.levels):
        tested = found[level]
        if tested is None or factor.only not in (None, level):
            continue
        ratios, test, paf_95 = tested
        mine = in_order == level
        p99_ms, p99_95 = _p99(ordered[mine])
        crude = ratios.odds_ratio_crude
        within = strata[level] if strata is not None else None
        record = LevelRecord(
            factor=factor.name,
            level=name,
            **vars(ratios),
            paf_95=paf_95,
            p_value=test.p_value,
            p99_ms=p99_ms,
            p99_95=p99_95,
            p99_without_ms=_p99(ordered[~mine & (in_order >= 0)])[0],
            mh_odds_ratio=within,
            confounded=bool(crude and within is not None and abs(within / crude - 1) > CONFOUNDED),
            effect="too few",
        )
        records.append((record, test))
    return records


def _p99(ordered: Int) -> tuple[float | None, tuple[float | None, float | None]]:
    """p99 and its two-sided limits in ms; None where it lies among the failures or does not
    exist.
    """
    n = len(ordered)
    if not n:
        return None, (None, None)

    def at(rank: int) -> float | None:
        if 1 <= rank <= n and ordered[rank - 1] < OVER_ANY_LIMIT_NS:
            return int(ordered[rank - 1]) / MS
        return None

    low, high = quantile_ci_ranks(n, P99, ALPHA)
    return at(nearest_rank(n, P99)), (at(low), at(high))
