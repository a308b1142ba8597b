"""Two-by-two tables of tail and body: odds ratios, the share that would vanish, their limits.

In: a level, a tail mark, a time block and a stratum a row. Out: a record a level, in floats that
JSON can hold. Must stay true: a ratio without a denominator is None, never a large number; the
test of a level is never more certain than the blocks are, however many rows it has.

Source: methods 5; Woolf's interval with Haldane's half, Mantel and Haenszel 1959, Benjamini and
Hochberg 1995.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from bench.judge.stats.resample import limits_of, over
from bench.record.samples import Bool, Float, Int


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


def two_by_two(
    tail_exposed: int,
    tail_unexposed: int,
    body_exposed: int,
    body_unexposed: int,
    alpha_each_side: float,
) -> dict[str, Any]:
    """Lift, risk ratio, odds ratio and PAF of one table; the odds ratio with half a row added to
    each cell.

    {"tail","n","share_of_tail","share_overall","lift","rate","rate_without","risk_ratio",
    "odds_ratio","odds_ratio_95","odds_ratio_crude","paf"}. PAF = (p - p without)/p: the share of
    the tail that would vanish if this level were like the rest; below zero it is protective.
    Raises ValueError for an empty tail or no row on one side.
    """
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
    return {
        "n": exposed,
        "tail": tail_exposed,
        "share_of_tail": tail_exposed / tail,
        "share_overall": exposed / n,
        "lift": rate / overall,
        "rate": rate,
        "rate_without": without,
        "risk_ratio": rate / without if without else None,
        "odds_ratio": odds,
        "odds_ratio_95": [odds * math.exp(-reach), odds * math.exp(reach)],
        "odds_ratio_crude": tail_exposed * body_unexposed / crossed if crossed else None,
        "paf": (overall - without) / overall,
    }


def _normal_quantile(alpha_each_side: float) -> float:
    return NormalDist().inv_cdf(1 - alpha_each_side)


def associate(
    table: Table2,
    drawn: Float,
    alpha_each_side: float,
) -> list[dict[str, Any]]:
    """`two_by_two` of every level against the others, with the limits of its PAF and a p-value.

    `drawn` are `resample.draw_blocks` of the table's blocks. The p-value is that of ln(odds ratio)
    against its standard error: Woolf's or that of the drawn blocks, whichever is larger. A level
    without rows or with all of them gets {}, and so does every level where no row is slow.
    """
    rows = table.rows
    tail = table.tail
    all_rows = int(rows.sum())
    all_tail = int(tail.sum())
    drawn_rows = drawn @ table.rows_by_block.T
    drawn_tail = drawn @ table.tail_by_block.T
    total = drawn_rows.sum(axis=1)
    slow = drawn_tail.sum(axis=1)
    records: list[dict[str, Any]] = []
    for level in range(len(rows)):
        exposed = int(rows[level])
        hit = int(tail[level])
        if not exposed or exposed == all_rows or not all_tail:
            records.append({})
            continue
        missed = all_tail - hit
        record = two_by_two(
            hit,
            missed,
            exposed - hit,
            all_rows - exposed - missed,
            alpha_each_side,
        )
        paf, log_odds = _drawn_effect(
            drawn_rows[:, level],
            drawn_tail[:, level],
            total,
            slow,
        )
        upper = record["odds_ratio_95"][1]
        woolf = math.log(upper / record["odds_ratio"]) / _normal_quantile(alpha_each_side)
        if len(log_odds) > 1:
            of_blocks = float(log_odds.std())
        else:
            of_blocks = 0.0
        error = max(woolf, of_blocks)
        distance = abs(math.log(record["odds_ratio"])) / error
        record["paf_95"] = limits_of(paf, drawn.shape[1], alpha_each_side)
        record["p_value"] = math.erfc(distance / math.sqrt(2))
        records.append(record)
    return records


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


def discoveries(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which hypotheses are rejected with a false-discovery rate of at most `rate` (Benjamini and
    Hochberg).
    """
    largest = -1.0
    for place, p in enumerate(sorted(p_values), 1):
        if p <= rate * place / len(p_values):
            largest = p
    return [p <= largest for p in p_values]
