"""comparisons.json: pairs of targets held against each other.

In: nothing. Out: `Comparisons` and its parts. Must stay true: a key is added, never renamed, within
one format number; what has no number is None with a reason beside it.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bench.record.records.record import FileRecord, Json, Number, Record
from bench.record.records.verdicts import Expectation, Interval


class ArmRecord(Record):
    """One of the two: a lane's measured rows whose end is known."""

    name: str
    run: str
    n: int
    failed: int
    #: rows left out, because the run ended before they did
    undecided: int
    usd_per_request: Number | None


class RatioRecord(Record):
    """Other over baseline at one quantile; None for what lies among failures."""

    baseline_ms: Number | None
    other_ms: Number | None
    ratio: Number | None
    #: two-sided limits of the ratio at 95 %: whether there is a difference is read from them
    interval: Interval
    #: each end one-sided at 95 %: claims about the margin are read from them
    bound: Interval = (None, None)
    #: smallest ratio that 8 of 10 such comparisons would call a difference
    mde: Number | None


class Misses(Record):
    """How many of an arm's rows lie over a limit."""

    over: int
    n: int
    share: Number


class Exceedance(Record):
    """Both arms at one limit; the difference is other less baseline."""

    limit_ms: Number
    baseline: Misses
    other: Misses
    difference: Number
    interval: tuple[Number, Number]
    #: of small arms alone; it takes requests as independent
    fisher_p: Number | None
    #: of small arms alone: the labels of whole superblocks exchanged
    permutation_p: Number | None = None


class ShiftPoint(Record):
    """Other less baseline at one quantile of the baseline; the limits hold for all at once."""

    q: Number
    baseline_ms: Number
    shift_ms: Number
    interval: tuple[Number, Number]


class Permutation(Record):
    """Equal tails, and which arm is faster everywhere, by exchanging labels of superblocks."""

    p_value: Number
    dominance: Literal["other", "baseline", "crosses", "none"]
    p_faster: Number
    p_slower: Number
    crosses_ms: Number | None


class AACheck(Record):
    """The same target against itself; None in `rejects` where there were too few rows."""

    quantile: str | None = None
    interval: Interval | None = None
    confidence: Number | None = None
    rejects: bool | None
    reason: str | None = None


class PriceAt(Record):
    """What the other arm costs more at one volume."""

    requests_per_month: int
    usd_per_request: Number
    usd_per_avoided_miss: Number | None
    usd_per_avoided_miss_interval: tuple[Number, Number] | None


class PriceRecord(Record):
    """What the other arm costs more, and what is got for it."""

    #: on top of the tokens
    yearly_usd: Number | None
    #: by its tokens
    extra_usd_per_request: Number | None
    #: per ms of p99 gained
    usd_per_1000_requests_per_ms: Number | None
    #: a miss: slower than the limit, or failed
    usd_per_avoided_miss: Number | None
    #: so many requests cost as much more as one breach of the contract
    requests_per_breach: Number | None
    reason: str | None = None
    #: that the fee is spread over
    requests_per_month: int | None = None
    #: its share of the fee
    fee_usd_per_request: Number | None = None
    #: tokens and fee
    total_usd_per_request: Number | None = None
    #: from the limits of the share of misses that is avoided
    usd_per_avoided_miss_interval: tuple[Number, Number] | None = None
    #: of a fee whose volume is not stated
    curve: list[PriceAt] = Field(default_factory=list)
    #: where it costs more and gains nothing
    advice: Literal["do not buy"] | None = None


class Decision(Record):
    """Every outcome that is proven, the one to say first, and why."""

    outcomes: list[str]
    headline: str
    reason: str
    #: the ends that the headline was read from; None where there is no such end
    bound: Interval = (None, None)
    #: what is bounded: other over baseline, or other less baseline
    bound_of: Literal["p99_ratio", "share_over_limit"] = "p99_ratio"
    #: with which `bound` holds, both ends together where there are two
    bound_confidence: Number = 0.95


class PartComparison(Record):
    """Two arms in the whole run, in a phase or in a context bucket."""

    #: pieces of time that are resampled together
    superblocks: int
    #: by quantile: p50, p95, p99, p999
    ratios: dict[str, RatioRecord]
    exceedance: Exceedance | None
    outcomes: list[str]
    headline: str
    reason: str
    #: as in `Decision`
    bound: Interval = (None, None)
    bound_of: Literal["p99_ratio", "share_over_limit"] = "p99_ratio"
    bound_confidence: Number = 0.95
    #: the gate: PASS, FAIL or INCONCLUSIVE
    regression: Decision


class ServedArm(Record):
    """What served the answers of an arm."""

    asked: str
    as_asked: int
    #: by another tier than was asked for
    elsewhere: int
    #: those that name no tier, or one that nobody knows
    unknown: int
    #: of those that name a tier
    share_elsewhere: Number | None
    #: what the asked tier costs more, at list prices, than the other arm's for what another tier
    #: served: in the run, and for 1,000 requests of the arm; None with a reason
    extra_usd: Number | None
    extra_usd_per_1000_requests: Number | None
    reason: str | None = None


class AsServed(Record):
    """The comparison without what another tier served; failures, which name no tier, stay."""

    comparison: PartComparison
    baseline: ServedArm | None
    other: ServedArm | None
    #: why it says less than the comparison of all requests
    bias: str


class Comparison(PartComparison):
    """One pair."""

    baseline: ArmRecord
    other: ArmRecord
    metric: str
    margin: Number
    confidence: Number
    #: random, abba, side by side, one after the other
    design: str
    resamples: int
    seed: int
    warnings: list[str]
    aa: AACheck | None
    shift: list[ShiftPoint]
    permutation: Permutation | None
    price: PriceRecord
    by_phase: dict[str, PartComparison]
    by_bucket: dict[str, PartComparison]
    #: all of the above is of all requests of each tier, as bought; None where no answer came from
    #: another tier than was asked for
    as_served: AsServed | None = None


class Comparisons(FileRecord):
    """comparisons.json."""

    FILE: ClassVar[str] = "comparisons.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    run: str
    comparisons: list[Comparison]
    expects: list[Expectation] = Field(default_factory=list)


class ArmFacts(Record):
    """What lets an arm stand beside another: a stored baseline keeps it with the arm's rows."""

    run: str = ""
    machine: Json = Field(default_factory=dict)
    clock: str | None = None
    simulated: bool = False
    #: digest of the load profile
    profile: str = ""
    closed_loop: bool = False
    began_ns: int = 0
    ended_ns: int = 0
    phases: list[str] = Field(default_factory=list)
    buckets: list[str] = Field(default_factory=list)
    #: measured stretches of the lane's clock: phase, start, end
    spans: list[tuple[str, int, int]]
    #: why its harness was not valid
    unfit: str | None = None
    limit_ns: int | None = None
    breach_usd: Number | None = None
    #: nodes whose requests are not in it
    left_out: list[str] = Field(default_factory=list)
    usd_per_request: Number | None = None
    #: the tier that was asked for
    asked: str | None = None
    #: prompt and output tokens that another tier served
    elsewhere_tokens: tuple[int, int] = (0, 0)
    #: of prompt and output tokens
    usd_per_million: tuple[Number, Number] | None = None

    def named(self, kind: Literal["phase", "bucket"]) -> list[str]:
        """The names of its phases, or of its buckets, in the order of their numbers."""
        return self.phases if kind == "phase" else self.buckets
