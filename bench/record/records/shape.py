"""How the latencies of a target lie: over their percentiles, and over its time.

In: nothing. Out: `Curve` and `Slices` of summary.json. Must stay true: failures lie above every
number; the three lists of `Slices` are of one length.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bench.record.records.record import Number, Record


class Curve(Record):
    """The percentile curve of a metric from p50 to at most p99.9."""

    #: rows, those that failed among them
    n: int = Field(gt=0)
    #: a share of the rows and the ms that so many did not exceed, both ascending; null: so many did
    #: not succeed. Points between which the curve is straight are left out: of log ms over log of
    #: the share above.
    points: list[tuple[Number, Number | None]]


class Slices(Record):
    """A lane's time in equal slices: rows by the moment they were due, warm-up left out."""

    metric: str
    view: str
    #: what took longer is bad
    over_ms: Number
    #: the limit of the contract's first latency clause on all requests, or the run's own p99
    by: Literal["limit", "p99"]
    #: the share that may be bad
    allowed: Number
    requests: list[int]
    #: slow or failed
    bad: list[int]
    failed: list[int]
