"""What answered the requests of a target, and what became of those that failed: parts of
summary.json.

In: nothing. Out: `Tiers`, `Headroom`, `EvidenceRow`. Must stay true: a tier is kept in
the vendor's word, its class beside it; what no answer said is counted as unknown.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bench.api.cause import Cause
from bench.api.tier import TierClass
from bench.record.records.record import Number, Record

Count = int


class Honoured(Record):
    """How many of the answers that name a tier came from the one that was asked for."""

    #: words that count as that tier: its own, or those of its class
    words: list[str]
    n: Count
    of: Count
    share: Number
    #: 95 %, Clopper-Pearson
    interval: tuple[Number, Number]


class TierCounts(Record):
    """Measured requests that succeeded, by the tier that answered."""

    #: by the vendor's word
    served: dict[str, Count] = Field(default_factory=dict)
    #: those whose answer names no tier
    unknown: Count = 0
    #: None where nothing was asked for, no answer names a tier, or the words cannot be compared
    honoured: Honoured | None = None

    @property
    def answers(self) -> Count:
        """All of them."""
        return sum(self.served.values()) + self.unknown

    @property
    def mixed(self) -> bool:
        """Whether they differ."""
        return len(self.served) + bool(self.unknown) > 1


class TierStretch(TierCounts):
    """The same of a stretch of time, after the run's start."""

    start_s: Number
    end_s: Number


class Tiers(TierCounts):
    """Which tier was asked for, and which answered."""

    asked: str | None = None
    #: whether each request asks for it, or model, deployment or URL mean it; None too where the
    #: record does not hold what answered
    asked_by: Literal["request", "name"] | None = None
    asked_class: TierClass | None = None
    #: what each of the vendor's words is worth
    classes: dict[str, TierClass] = Field(default_factory=dict)
    #: when it was which: filled where answers differ
    by_phase: dict[str, TierCounts] = Field(default_factory=dict)
    by_bucket: dict[str, TierCounts] = Field(default_factory=dict)
    by_time: list[TierStretch] = Field(default_factory=list)


class Headroom(Record):
    """The least that the vendor said was left of the buyer's own limits."""

    requests_left: Count | None = None
    tokens_left: Count | None = None


class EvidenceRow(Record):
    """A request by the vendor's own name for it: one that failed, or one of the slowest."""

    row: int
    why: Literal["failed", "slow"]
    #: when it was sent, or was to be
    at_utc: str
    outcome: str
    status: int | None
    cause: Cause | None
    #: the vendor's code of its error
    code: str | None
    #: until its end, from when it was due
    response_ms: Number | None
    request_id: str


class LaneEvidence(Record):
    """What run.json keeps of a lane for its vendor: names of requests, and what was left of the
    buyer's limits.
    """

    requests_left: Count | None = None
    tokens_left: Count | None = None
    #: the first that failed, by cause: row, the vendor's name of the request
    failed: dict[Cause, list[tuple[int, str]]] = Field(default_factory=dict)
    #: the slowest that succeeded: response time in ns, row, the vendor's name of the request
    slow: list[tuple[int, int, str]] = Field(default_factory=list)
