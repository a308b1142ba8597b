"""How the run's slowest rows come: what stands in for bad rows where hardly any are bad.

In: where rows lie and what they took. Out: rows of a spell that may come yet, at a share and a
limit. Must stay true: the larger the limit, the smaller the spell; slow rows that lie far below the
limit say nothing of spells that break it, however they come.
Source: methods, part two, 4; what is slow beside a limit: docs/statistics.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bench.judge.stats.binomial import Share
from bench.judge.stats.scales import FEW_SPELLS, Layout, Weight, further_spell
from bench.quantiles import P95
from bench.record.samples import Bool, Int
from bench.units import nearest_rank

#: A value above every limit.
OVER_ANY_LIMIT_NS = int(np.iinfo(np.int64).max)
#: A spell of fewer rows that only the slowest rows tell of is chance.
STAND_IN = 1.2
#: Tail index of the heaviest law whose variance is finite: of rows so far above the median one of
#: f² is in another spell f times as far above it.
TAIL_INDEX = 2
#: A promise without a limit fears the rows that take so many times the median.
NO_LIMIT = 2


@dataclass(frozen=True)
class StandIn:
    """The slowest twentieth of a run; without arguments one that tells nothing."""

    #: rows of the spell that may come, if slow rows were bad
    spell: float = 1.0
    #: slow rows of all
    share: float = 1.0
    #: what all and what the slow rows took; None where they are slow by another measure
    took: Int | None = None
    slow: Int | None = None

    @classmethod
    def of(cls, layout: Layout, took: Int) -> StandIn:
        """Of rows with what each took."""
        slow = slow_twentieth(took)
        return cls.among(layout, slow, took) if slow.any() else cls()

    @classmethod
    def among(cls, layout: Layout, slow: Bool, took: Int | None = None) -> StandIn:
        """Of rows that are slow by whatever tells."""
        rows = np.flatnonzero(slow)
        if not 0 < len(rows) < layout.n:
            return cls()
        slowest = None if took is None else took[rows]
        return cls(further_spell(layout, rows), len(rows) / layout.n, took, slowest)

    @cached_property
    def median(self) -> float:
        """What the middle row took."""
        if self.took is None:
            return 0.0
        middle = len(self.took) // 2
        return float(np.partition(self.took, middle)[middle])

    def within_reach(self, limit: int | None) -> float:
        """Of slow rows the part that would be above the limit in another spell, if rows lie above
        the median by the heaviest law with a variance.
        """
        if self.slow is None or self.spell <= 1:
            return 1.0
        away = (NO_LIMIT - 1) * self.median if limit is None else limit - self.median
        if away <= 0:
            return 1.0
        parts = np.minimum((self.slow - self.median) / away, 1.0)
        return float(np.mean(parts**TAIL_INDEX))

    def thinned(self, p0: Share, limit: int | None = None) -> float:
        """Rows of the spell that are bad: no more than at the share that is promised, as if drawn
        at random from among slow ones, and no more than are within reach of the limit.
        """
        if self.spell <= 1:
            return 1.0
        bad = min(1.0, float(p0) / self.share, self.within_reach(limit))
        return 1 + (self.spell - 1) * bad

    def rows(self, p0: Share, limit: int | None = None) -> float:
        """The same; 1 where it is chance."""
        found = self.thinned(p0, limit)
        return found if found >= STAND_IN else 1.0

    def beside(self, weight: Weight, p0: Share, limit: int | None = None) -> Weight:
        """The weight, if a spell may be as large as the stand-in's where few were seen."""
        if weight.spells >= FEW_SPELLS:
            return weight
        return replace(weight, w=max(weight.w, self.rows(p0, limit)))


def slow_twentieth(took: Int) -> Bool:
    """Which rows lie above their own p95."""
    if not len(took):
        return np.zeros(0, bool)
    rank = nearest_rank(len(took), P95)
    p95 = int(np.partition(took, rank - 1)[rank - 1])
    return np.asarray(took > min(p95, OVER_ANY_LIMIT_NS - 1), bool)
