"""Which call of a routed request was answered, and what went before it.

In: the attempts of a run. Out: one entry a row of the run. Must stay true: a row without an
answered call, or of a lane without a route, has leg -1 and nothing before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.record.samples import AttemptFlag, Bool, Int, Table


@dataclass(frozen=True)
class Answering:
    """Of each row: the leg that answered, ns from the first call's start to that one's, and whether
    the leg is another.
    """

    leg: Int
    before_ns: Int
    other_leg: Bool

    def where(self, keep: Bool) -> Answering:
        """The rows that `keep` selects."""
        return Answering(self.leg[keep], self.before_ns[keep], self.other_leg[keep])


def answering(attempts: Table, rows: int) -> Answering:
    """One entry for each of `rows` rows; `attempts` are sorted by row and attempt."""
    leg, before, other = np.full(rows, -1), np.zeros(rows, np.int64), np.zeros(rows, bool)
    numbers, first = np.unique(attempts["row"], return_index=True)
    carried = attempts[(attempts["flags"] & AttemptFlag.CARRIED) != 0]
    of_row = attempts[first[np.searchsorted(numbers, carried["row"])]]
    leg[carried["row"]] = carried["leg"]
    before[carried["row"]] = np.maximum(carried["start_ns"] - of_row["start_ns"], 0)
    other[carried["row"]] = carried["leg"] != of_row["leg"]
    return Answering(leg, before, other)
