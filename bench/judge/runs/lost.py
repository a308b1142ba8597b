"""What a clause about stretches of time lost in one run, so that many runs can be judged at once.

In: a run's columns and a clause's tally. Out: of each whole stretch what it lost of itself. Must
stay true: a stretch counts as it does where the run is judged alone; a spell that the run's ends
cut off before it was long enough to count is unknown, for how long it was nobody saw.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np

from bench.judge.contract.clauses import Tally
from bench.judge.contract.spans import further_of, units_of
from bench.judge.stats.scales import Weight
from bench.judge.stats.stretches import Stretches
from bench.plan.clause import Clause
from bench.record.records.manifest import LaneRecord
from bench.record.samples import Bool, Columns


@dataclasses.dataclass(frozen=True)
class Lost:
    """The counted stretches of one run, in the order of time."""

    run: str
    #: with what is unknown good, and bad
    best: Stretches
    worst: Stretches
    #: mean that was kept of what is known
    kept: float
    #: stretches of the spell to allow for, whatever was seen
    least: float

    @property
    def n(self) -> int:
        """Stretches that count."""
        return len(self.best.lost)

    @property
    def bad(self) -> Bool:
        """Which lost anything for certain."""
        return np.asarray(self.best.lost > 0, bool)

    @property
    def unknown(self) -> Bool:
        """Which may have lost something, and did not for certain."""
        return np.asarray((self.worst.lost > self.best.lost) & ~self.bad, bool)

    @property
    def one(self) -> float:
        """What one event loses: the mean, as loss itself meets it."""
        return self.worst.one if self.worst.y else 0.0

    def at_best(self, alpha: float) -> Weight:
        """With what is unknown good."""
        return self.best.weight(alpha)

    def at_worst(self, alpha: float) -> Weight:
        """With what is unknown bad."""
        return self.worst.weight(alpha)

    def spell(self, p0: Fraction, limit: int | None) -> float:  # noqa: ARG002 as of requests
        """Stretches of a spell that may come where few were seen."""
        return self.least


def lost_of(
    name: str,
    columns: Columns,
    counts: Tally,
    clause: Clause,
    lane: LaneRecord,
) -> Lost | None:
    """None where the run covered no whole stretch that counts."""
    units = units_of(columns, counts, clause, lane)
    if units is None or units.found.value is None or not len(units.best):
        return None
    least = further_of(units, clause)
    worst = units.worst
    if clause.minutes is not None and clause.minutes > 1:
        single = clause.model_copy(update={"minutes": 1})
        alone = units_of(columns, counts, single, lane)
        assert alone is not None
        worst = np.maximum(worst, at_the_ends(alone.worst > 0))
    whole = not clause.kind.partial
    return Lost(
        name,
        Stretches(units.best, least, whole),
        Stretches(np.asarray(worst, np.float64), least, whole),
        float(units.found.value),
        least,
    )


def at_the_ends(bad: Bool) -> Bool:
    """The bad stretches that reach to the first or the last one."""
    return np.asarray(np.logical_and.accumulate(bad) | np.logical_and.accumulate(bad[::-1])[::-1])
