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

from bench.judge.stats.blocks import limits_of, over
from bench.record.samples import Bool, Float, Int


@dataclass(frozen=True)
class Table2:
    """Rows and tail rows of every level, in all and by time block."""

    #: levels x blocks
    rows_by_block: Int
    tail_by_block: Int

    @classmethod
    def count(cls, codes: Int, tail: Bool, block: Int, levels: int, blocks: int) -> Table2:
        """Count. Every array has one entry a row; codes are 0..levels-1, blocks 0..blocks-1."""
        cell = codes * blocks + block
        rows, slow = (np.bincount(cells, minlength=levels * blocks) for cells in (cell, cell[tail]))
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
    exposed, unexposed = tail_exposed + body_exposed, tail_unexposed + body_unexposed
    tail, n = tail_exposed + tail_unexposed, exposed + unexposed
    if not tail or not exposed or not unexposed:
        raise ValueError("a level is compared with the rest, and the tail must hold a row")
    rate, without = tail_exposed / exposed, tail_unexposed / unexposed
    halves = [count + 0.5 for count in (tail_exposed, body_unexposed, body_exposed, tail_unexposed)]
    odds = halves[0] * halves[1] / (halves[2] * halves[3])
    reach = NormalDist().inv_cdf(1 - alpha_each_side) * math.sqrt(sum(1 / half for half in halves))
    crossed = body_exposed * tail_unexposed
    return {
        "n": exposed,
        "tail": tail_exposed,
        "share_of_tail": tail_exposed / tail,
        "share_overall": exposed / n,
        "lift": rate / (tail / n),
        "rate": rate,
        "rate_without": without,
        "risk_ratio": rate / without if without else None,
        "odds_ratio": odds,
        "odds_ratio_95": [odds * math.exp(-reach), odds * math.exp(reach)],
        "odds_ratio_crude": tail_exposed * body_unexposed / crossed if crossed else None,
        "paf": (tail / n - without) / (tail / n),
    }


def associate(table: Table2, drawn: Float, alpha_each_side: float) -> list[dict[str, Any]]:
    """`two_by_two` of every level against the others, with the limits of its PAF and a p-value.

    `drawn` are `blocks.draw_blocks` of the table's blocks. The p-value is that of ln(odds ratio)
    against its standard error: Woolf's or that of the drawn blocks, whichever is larger. A level
    without rows or with all of them gets {}, and so does every level where no row is slow.
    """
    rows, tail = table.rows, table.tail
    all_rows, all_tail = int(rows.sum()), int(tail.sum())
    n, a = drawn @ table.rows_by_block.T, drawn @ table.tail_by_block.T
    total, slow = n.sum(axis=1), a.sum(axis=1)
    records: list[dict[str, Any]] = []
    for level in range(len(rows)):
        exposed, hit = int(rows[level]), int(tail[level])
        if not exposed or exposed == all_rows or not all_tail:
            records.append({})
            continue
        record = two_by_two(
            hit, all_tail - hit, exposed - hit, all_rows - exposed - all_tail + hit, alpha_each_side
        )
        b, c, d = (
            n[:, level] - a[:, level],
            slow - a[:, level],
            total - n[:, level] - slow + a[:, level],
        )
        paf = 1 - over(over(c, c + d), over(slow, total))
        both = (n[:, level] > 0) & (n[:, level] < total)
        log_odds = np.log((a[:, level] + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5)))[both]
        woolf = math.log(record["odds_ratio_95"][1] / record["odds_ratio"]) / NormalDist().inv_cdf(
            1 - alpha_each_side
        )
        error = max(woolf, float(log_odds.std()) if len(log_odds) > 1 else 0.0)
        record["paf_95"] = limits_of(paf, drawn.shape[1], alpha_each_side)
        record["p_value"] = math.erfc(abs(math.log(record["odds_ratio"])) / error / math.sqrt(2))
        records.append(record)
    return records


def adjusted_odds_ratio(codes: Int, tail: Bool, stratum: Int, levels: int) -> list[float | None]:
    """Mantel-Haenszel odds ratio of every level against the others, within strata: None without a
    denominator.
    """
    strata = int(stratum.max(initial=-1)) + 1
    table = Table2.count(codes, tail, stratum, levels, strata)
    a, exposed = table.tail_by_block.astype(np.float64), table.rows_by_block.astype(np.float64)
    n, slow = exposed.sum(axis=0), a.sum(axis=0)
    b, c = exposed - a, slow - a
    d = n - exposed - c
    size = np.maximum(n, 1)
    above, below = (a * d / size).sum(axis=1), (b * c / size).sum(axis=1)
    return [
        float(top / bottom) if bottom > 0 else None
        for top, bottom in zip(above, below, strict=True)
    ]


def discoveries(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which hypotheses are rejected with a false-discovery rate of at most `rate` (Benjamini and
    Hochberg).
    """
    ordered = sorted(p_values)
    kept = [p for place, p in enumerate(ordered, 1) if p <= rate * place / len(ordered)]
    return [p <= kept[-1] for p in p_values] if kept else [False] * len(p_values)
