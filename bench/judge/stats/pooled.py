"""Several runs of one plan as one sample: the run is the unit, not the request.

In: of each run what its bad rows are worth on the three scales of `scales`. Out: the same of all
runs together, and what part of the variance lies between them. Must stay true: a run counts as one
event as soon as runs differ by more than their own rows explain; the spell that may come yet is as
large as the worst run's excess over its share; of equal runs nothing is added.

Source: methods, part two, "Run and service": steps 1 to 3 with runs as blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.judge.stats.scales import FURTHER, WORST_BY_CHANCE, Weight, price

#: Fewer runs decide nothing.
LEAST_RUNS = 10


@dataclass(frozen=True)
class Pooled:
    """All runs together."""

    weight: Weight
    #: part of the variance of the bad rows that lies between runs; None of fewer than two, or where
    #: one row at most was bad
    between: float | None
    #: the run with the most bad rows above its share, in the order given
    worst: int


def pool(runs: Sequence[Weight], alpha: float, spell: float = 1.0) -> Pooled:
    """Runs of unequal size too; `runs` has one at least, and each has rows. `spell`: rows of a
    further spell, where one row at most was bad.
    """
    bad = np.array([run.y for run in runs])
    rows = np.array([run.n for run in runs])
    count, y, n = len(runs), float(bad.sum()), float(rows.sum())
    share = rows * (y / n)
    left = bad - share
    inside = sum(run.v for run in runs)
    between = count / (count - 1) * float(left @ left) if count > 1 else 0.0
    v = max(inside, between * price(count, alpha)) if count > 1 else inside
    above = left - WORST_BY_CHANCE * np.sqrt(share)
    w = 1 + FURTHER * max(float(above.max()) - 1, 0.0)
    if y <= 1:  # one tells nothing of how they come
        w = max(w, spell)
    known = count > 1 and y > 1
    return Pooled(
        Weight(y, n, v, w, count),
        max(0.0, 1 - inside / between) if known and between > 0 else (0.0 if known else None),
        int(np.argmax(left)),
    )
