"""attribution.json: what the slow requests of each lane have in common.

In: nothing. Out: `Attribution` and its parts. Must stay true: a key is added, never renamed, within
one format number; a ratio without a denominator is None.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.record.records.harness import State
from bench.record.records.record import FileRecord, Number, Record
from bench.record.records.verdicts import Interval


class LevelRecord(Record):
    """A level of a factor against the rest: rows, slow rows, ratios, and what would vanish."""

    factor: str
    level: str
    n: int
    #: slow rows
    tail: int
    share_of_tail: Number
    share_overall: Number
    lift: Number
    rate: Number
    rate_without: Number
    risk_ratio: Number | None
    #: with half a row added to each cell
    odds_ratio: Number
    odds_ratio_95: tuple[Number, Number]
    odds_ratio_crude: Number | None
    #: share of the tail that would vanish if the level were like the rest
    paf: Number
    #: of this level alone, 95 %
    paf_95: Interval
    #: of `paf`, at the lane's `bound_confidence`: 0 lies outside it exactly where the level is
    #: named; none of a level with too few rows
    bound: Interval = (None, None)
    p_value: Number
    p99_ms: Number | None
    p99_95: Interval
    p99_without_ms: Number | None
    #: within like context sizes (Mantel-Haenszel)
    mh_odds_ratio: Number | None
    #: the odds ratio within like contexts is far from the crude one
    confounded: bool
    effect: Literal["associated", "protective", "undecided", "too few"]


class Cause(Record):
    """A level that the tail is associated with."""

    factor: str
    level: str
    paf: Number
    paf_95: Interval
    bound: Interval = (None, None)
    share_of_tail: Number
    share_overall: Number


class When(Record):
    """The slices of the run in which the tail was dense."""

    slices: list[str]
    paf: Number
    share_of_tail: Number


class FactorShare(Record):
    """What part of the tail goes to the named levels of one factor."""

    factor: str
    levels: list[str]
    share: Number


class ShapleyRecord(Record):
    """Shares that add up: those of the factors and the baseline sum to 1."""

    factors: list[FactorShare]
    baseline: Number
    #: combinations of levels without rows, whose rate was estimated
    borrowed_cells: int


class TimePart(Record):
    """A part of the time that a request takes, of slow requests and of the others."""

    part: str
    about: str
    tail_ms: Number
    body_ms: Number
    excess_ms: Number
    share_of_excess: Number | None
    tail_share: Number
    body_share: Number
    share_difference: Number


class Decomposition(Record):
    """Where the time goes, mean ms over the rows that succeeded; parts in order of time."""

    tail_rows: int
    body_rows: int
    tail_ms: Number
    body_ms: Number
    parts: list[TimePart]


class Confounded(Record):
    """A level whose odds ratio differs within like contexts."""

    factor: str
    level: str
    odds_ratio_crude: Number
    mh_odds_ratio: Number


class LaneAttribution(Record):
    """The tail of one lane."""

    metric: str
    view: str
    #: the tail is what lies above this
    above_ms: Number
    #: the contract's limit, or the run's own p99
    by: Literal["limit", "p99"]
    n: int
    #: slow rows
    tail: int
    #: rows cut off or never sent: in neither group
    set_apart: int
    #: failures by outcome; they belong to the tail
    failed: dict[str, int]
    #: blocks of time that limits rest on
    blocks: int
    confidence: Number
    #: of each `bound`: of the levels that are named, one in ten has a share outside its bound
    bound_confidence: Number | None = None
    levels: list[LevelRecord]
    causes: list[Cause]
    when: When | None
    shapley: ShapleyRecord | None
    decomposition: Decomposition | None
    confounded: list[Confounded]
    #: why it was not looked into
    reason: str | None


class Attribution(FileRecord):
    """attribution.json."""

    FILE: ClassVar[str] = "attribution.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    run: str
    state: State
    simulated: bool
    #: by lane
    targets: dict[str, LaneAttribution]
