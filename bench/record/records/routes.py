"""routes.json: what routes did, how drills went, and where answers came from.

In: nothing. Out: `Routes` and its parts. Must stay true: a key is added, never renamed, within one
format number; what is not known is None, never a number made from nothing. All `_ns` are moments
after the run's start, or lengths.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bench.api.cause import Cause
from bench.record.records.record import FileRecord, Number, Record
from bench.record.records.summary import Quantiles
from bench.record.records.verdicts import Expectation, Interval


class LegCalls(Record):
    """One endpoint of a route: its calls, and the requests that it answered."""

    #: counted from 0
    leg: int
    name: str
    model: str
    calls: int
    answered: int
    #: of all answered requests
    share_answered: Number | None
    outcomes: dict[str, int]
    #: its calls that succeeded, by the tier that they name
    tiers: dict[str, int] = Field(default_factory=dict)
    #: its calls that failed, by cause; one that was cancelled for another's sake did not
    causes: dict[Cause, int] = Field(default_factory=dict)


class RouteTokens(Record):
    """Tokens that were billed; wasted are those of calls that answered no request."""

    prompt: int
    output: int
    wasted_prompt: int
    wasted_output: int


class RouteCost(Record):
    """USD; `added` is over the answers' own tokens at the price of the leg each was planned for."""

    #: None: `reason` says why
    usd: Number | None
    wasted_usd: Number | None = None
    added_usd: Number | None = None
    added_share: Number | None = None
    reason: str | None = None


class RouteRecord(Record):
    """One routed lane, warm-up left out."""

    requests: int
    ok: int
    success: Number | None
    #: ttft and e2e, from the due time
    response_ms: dict[str, Quantiles | None]
    attempts: int
    attempts_per_request: Number | None
    #: calls by why they were made
    by_reason: dict[str, int]
    cancelled: int
    legs: list[LegCalls]
    #: share of the answers by the model that they name
    served_models: dict[str, Number]
    tokens: RouteTokens
    #: requests for which two calls or more were billed
    double_billed: int
    cost: RouteCost


class LaneTail(Record):
    """A lane beside the others of its stage: the end-to-end latency of what it answered."""

    target: str
    routed: bool
    #: the target that the lane is of
    of: str
    legs: list[str]
    requests: int
    #: share of the requests that were answered
    success: Number | None
    p50_ms: Number | None
    p99_ms: Number | None
    p999_ms: Number | None
    #: of the p99, 95 %, each request taken for an event of its own; no outcome is read from it
    interval: Interval
    #: longer, shorter or not told apart; None without a lane of the first leg alone
    against_first_leg: str | None = None
    #: times that lane's p99
    ratio_to_first_leg: Number | None = None
    #: the ends of that ratio which say so, and with what confidence
    bound: Interval = (None, None)
    bound_confidence: Number | None = None
    #: lanes of the stage whose p99 is shown to be shorter
    longer_than: list[str] = Field(default_factory=list)


class Standing(Record):
    """The lanes of a stage with routes, longest p99 first."""

    stage: str
    lanes: list[LaneTail]
    #: the route whose p99 is beyond all others'
    worst: str | None
    says: list[str]


class AddedLatency(Record):
    """What a cut added to the latency."""

    mean: Number
    p50: Number
    p99: Number


class DrillRecord(Record):
    """A cut, as one lane bore it. One that failed has no figures."""

    target: str = ""
    stage: str = ""
    event: str
    at_ns: int
    ok: bool
    healed_ns: int | None = None
    #: from the cut
    detect_ms: Number | None = None
    detected_by: str | None = None
    switch_ms: Number | None = None
    #: from the healing
    fail_back_ms: Number | None = None
    #: due between the cut and its healing
    requests: int | None = None
    lost: int | None = None
    unknown: int | None = None
    #: slower than 99 of 100 before the cut
    delayed: int | None = None
    added_ms: AddedLatency | None = None
    double_billed: int | None = None
    cost: RouteCost | None = None


class FailedEvent(Record):
    """A step of a drill that did not go well."""

    name: str
    stage: str
    do: str
    detail: str


class LegAnswers(Record):
    """How many requests of each part of the stage a leg answered."""

    name: str
    answered: list[int]


class LegState(Record):
    """A change of a leg's circuit breaker."""

    leg: str | int
    at_ns: int
    state: str


class Timeline(Record):
    """A lane's stage in equal parts, by due time."""

    stage: str
    #: the target that the lane is of
    of: str
    start_ns: int
    #: length of a part
    bin_ns: int
    requests: list[int]
    lost: list[int]
    p99_ms: list[Number | None]
    legs: list[LegAnswers]
    states: list[LegState]


class ResidencyRecord(Record):
    """The regions that answers named, against those that are allowed."""

    allowed: list[str]
    #: contract or target: whose list it is
    by: str
    checked: int
    elsewhere: int
    unnamed: int
    by_region: dict[str, int]


class Routes(FileRecord):
    """routes.json."""

    FILE: ClassVar[str] = "routes.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    run: str
    #: by lane
    routes: dict[str, RouteRecord]
    stages: list[Standing]
    drills: list[DrillRecord]
    failed: list[FailedEvent] = Field(default_factory=list)
    #: by lane
    timelines: dict[str, Timeline]
    #: by lane
    residency: dict[str, ResidencyRecord]
    expects: list[Expectation] = Field(default_factory=list)
