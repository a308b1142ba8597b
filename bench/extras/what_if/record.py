"""what-if.json: router policies tried on recorded answers, beside the models as they were measured.

In: nothing. Out: `WhatIf` and its parts. Must stay true: a key is added, never renamed, within one
format number; a value that lies among failures, or that nobody priced, is None.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.record.records.record import FileRecord, Number, Record
from bench.record.records.verdicts import Interval


class Figures(Record):
    """Latency of the requests, their success and what they cost, with limits at the confidence of
    the record.
    """

    p50_ms: Number | None
    p50_95: Interval
    p99_ms: Number | None
    p99_95: Interval
    p999_ms: Number | None
    p999_95: Interval
    success: Number
    success_95: Interval
    #: a request
    calls: Number
    usd_per_1000: Number | None
    usd_95: Interval


class TriedRow(Figures):
    """A lane as it was measured, or one policy at one threshold or delay."""

    #: None: it was measured
    policy: str | None
    #: of the lane, or of the policy
    name: str
    at_ms: Number | None
    #: the router as published
    published: bool
    #: no other row has both a lower p99 and a lower cost
    on_front: bool


class RowCounts(Record):
    """Rows that the estimate rests on."""

    default: int
    fallback: int


class WhatIf(FileRecord):
    """what-if.json of a default and a fallback."""

    FILE: ClassVar[str] = "what-if.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    default: str
    fallback: str
    runs: list[str]
    simulated: bool
    rows: RowCounts
    confidence: Number
    #: time blocks that limits rest on
    blocks: int
    #: which row of the default meets which of the fallback
    assumption: Literal["paired", "independent"]
    because: str
    pairs: int
    warnings: list[str]
    #: what the front weighs against the p99
    cost: Literal["usd_per_1000", "calls"]
    #: why there is no price
    unpriced: str | None
    #: the lanes as they were measured, then every setting
    settings: list[TriedRow]

    def cost_of(self, row: Figures) -> float | None:
        """What the front weighs against the row's p99."""
        if self.cost == "usd_per_1000":
            return row.usd_per_1000
        return row.calls
