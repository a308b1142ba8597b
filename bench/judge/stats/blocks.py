"""Time blocks of a run, and the limits that drawing them anew gives an estimate.

In: due times, numerator and denominator a row. Out: the block of each row, limits of a ratio. Must
stay true: requests of one block are drawn together, so a burst counts as one event and not as
thousands; a limit that the draws do not give is None.

Source: methods 3.5 (blocks of equal duration) and 5 (interval of the PAF).
"""

from __future__ import annotations

import math

import numpy as np

from bench.judge.stats.resample import bootstrap_weights, percentile_limits
from bench.record.samples import Float, Int

#: A thirtieth of the run each: the shortest that methods 3.5 allows, and enough of them to draw
#: from.
BLOCKS = 30
_SEED = 1


def time_blocks(due_ns: Int, blocks: int = BLOCKS) -> Int:
    """Number of each row's block, 0 and up without gaps: blocks of equal duration, empty ones left
    out.
    """
    if not len(due_ns):
        return np.zeros(0, np.int64)
    begin = int(due_ns.min())
    block = (due_ns - begin) * blocks // (int(due_ns.max()) - begin + 1)
    numbering = np.cumsum(np.bincount(block, minlength=blocks) > 0) - 1
    return np.asarray(numbering[block], np.int64)


def draw_blocks(blocks: int) -> Float:
    """How often each block is drawn (draws x blocks)."""
    return bootstrap_weights(blocks, _SEED)


def limits_of(drawn: Float, blocks: int, alpha_each_side: float) -> list[float | None]:
    """[lower, upper] of an estimate's draws, NaN where a draw gave none; None below two blocks or
    beyond the draws.
    """
    if blocks < 2:
        return [None, None]
    return [
        limit if math.isfinite(limit) else None
        for limit in percentile_limits(drawn, alpha_each_side, blocks)
    ]


def over(above: Float, below: Float) -> Float:
    """A ratio draw by draw, NaN where it has no denominator."""
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


def ratio_limits(
    numerator: Float, denominator: Float, block: Int, alpha_each_side: float
) -> list[float | None]:
    """Limits of sum(numerator) / sum(denominator) over rows, drawn by block."""
    blocks = int(block.max(initial=-1)) + 1
    if blocks < 2:
        return [None, None]
    drawn = draw_blocks(blocks)
    above, below = (drawn @ np.bincount(block, each, blocks) for each in (numerator, denominator))
    return limits_of(over(above, below), blocks, alpha_each_side)
