"""summary.json: a run in numbers.

In: nothing. Out: `Summary` and its parts. Must stay true: a key is added, never renamed, within one
format number; an empty set is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, create_model

from bench.api.cause import Cause
from bench.metrics import HEADLINES, in_summary
from bench.record.records.harness import State
from bench.record.records.record import FileRecord, Json, Number, Record
from bench.record.records.served import EvidenceRow, Headroom, Tiers
from bench.record.records.shape import Curve, Slices
from bench.record.samples import Outcome

Count = int
Overall = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID", "NONE"]


class Quantiles(Record):
    """A latency in ms over n rows: mean, nearest-rank quantiles, maximum."""

    n: Count = Field(gt=0)
    mean: Number
    p50: Number
    p90: Number
    p95: Number
    p99: Number
    p999: Number
    max: Number


class ByMetric(Record):
    """Quantiles by the name of their metric: `found.e2e`, `found["e2e"]`."""

    if TYPE_CHECKING:

        def __getattr__(self, metric: str) -> Quantiles | None: ...

    def get(self, metric: str, default: None = None) -> Quantiles | None:
        """Of one metric; None too where it is none of those kept."""
        found: Quantiles | None = getattr(self, metric, default)
        return found

    def __getitem__(self, metric: str) -> Quantiles | None:
        found: Quantiles | None = getattr(self, metric)
        return found


def _of_metrics(name: str, says: str, metrics: Iterable[str]) -> type[ByMetric]:
    fields: dict[str, Any] = dict.fromkeys(metrics, (Quantiles | None, ...))
    return create_model(name, __base__=ByMetric, __doc__=says, __module__=__name__, **fields)


if TYPE_CHECKING:
    ResponseMs = ByMetric
    ServiceMs = ByMetric
    TtftE2eMs = ByMetric
else:
    ResponseMs = _of_metrics(
        "ResponseMs",
        "From the moment a request was due; tpot from its first token to its last.",
        in_summary("response_ms"),
    )
    ServiceMs = _of_metrics(
        "ServiceMs", "From the moment the request was sent.", in_summary("service_ms")
    )
    TtftE2eMs = _of_metrics("TtftE2eMs", "Response latencies of a part.", HEADLINES)


class Uptime(Record):
    """What part of the measured requests succeeded; null when none can tell."""

    request_ratio: Number | None = Field(ge=0, le=1)


class PromptError(Record):
    """How far prompts were from their planned size, as a share of it."""

    median: Number
    p95: Number


class Tokens(Record):
    """Totals of the successes."""

    prompt: Count
    output: Count
    #: the server's usage, or counted from chunks
    source: Literal["usage", "counted", "mixed", "none"]
    prompt_error: PromptError | None


class Cost(Record):
    """Of the tokens that the server reported."""

    usd: Number
    #: date of the prices
    as_of: str


class PartSummary(Record):
    """The measured rows of one phase or context bucket."""

    requests: Count
    ok: Count
    response_ms: TtftE2eMs


class VantageSummary(PartSummary):
    """The measured rows that were sent from one node or region."""

    service_ms: ServiceMs
    #: of every one that opened a connection
    connect_ms: Quantiles | None
    #: of every one that was sent
    harness_lag_ms: Quantiles | None


class TargetSummary(Record):
    """One target; latencies of rows that succeeded, warm-up left out, unless said otherwise."""

    #: computed by the simulator: nothing was sent
    simulated: bool
    #: every scheduled row
    requests: Count
    #: those that a run which broke off came to
    reached: Count
    ok: Count
    warmup: Count
    #: rows by outcome, zeros left out; they add up to `requests`
    outcomes: dict[Literal[tuple(outcome.name for outcome in Outcome)], Count]  # type: ignore[valid-type]
    offered_rps: Number | None
    sent_rps: Number | None
    response_ms: ResponseMs
    service_ms: ServiceMs
    #: every gap that was seen, from its histogram (within 0.1 %)
    inter_chunk_ms: Quantiles | None
    inter_chunk_max_ms: Quantiles | None
    #: of every measured row that was sent
    lag_ms: Quantiles | None
    harness_lag_ms: Quantiles | None
    #: of every measured row that opened a connection
    connect_ms: Quantiles | None
    tls_ms: Quantiles | None
    new_connections: Count
    uptime: Uptime
    tokens: Tokens
    cost: Cost | None
    by_phase: dict[str, PartSummary]
    by_bucket: dict[str, PartSummary]
    #: which tier was asked for, and which answered
    tiers: Tiers = Tiers()
    #: those that failed, by cause
    causes: dict[Cause, Count] = Field(default_factory=dict)
    #: the server's own time, where it tells it
    server_ms: Quantiles | None = None
    #: from the send until what that time speaks of had come, without it: the network, and queues
    #: before the server's clock
    server_gap_ms: Quantiles | None = None
    headroom: Headroom | None = None
    #: failed requests of each cause and the slowest ones, where their vendor names requests
    evidence: list[EvidenceRow] = Field(default_factory=list)
    #: of a run that says where it was sent from; rows of unknown origin are in none
    by_node: dict[str, VantageSummary] = Field(default_factory=dict)
    #: the same where there is more than one region
    by_region: dict[str, VantageSummary] = Field(default_factory=dict)
    #: percentile curves of response latencies, by metric
    curve: dict[str, Curve] = Field(default_factory=dict)
    #: None: no row tells
    slices: Slices | None = None


class HealthRecord(Record):
    """Was the harness fit to judge?"""

    state: Literal["valid", "degraded", "invalid"]
    reasons: list[str]
    facts: Json
    #: those of the reasons that are the buyer's: key, model, body or URL were refused
    mistakes: list[str] = Field(default_factory=list)
    #: of an invalid run the stages that were sent and are not judged, and why
    unfit: dict[str, str] = Field(default_factory=dict)

    @property
    def why_invalid(self) -> str:
        """In a word, whose fault it is that nothing can be judged."""
        if self.mistakes:
            return "key, model or body were refused, which is no breach"
        return "the harness itself was the limit"


class Summary(FileRecord):
    """A run in numbers. An empty set is null, never 0."""

    FILE: ClassVar[str] = "summary.json"
    FORMAT: ClassVar[int] = 1

    run: str
    state: State
    #: at least one target was computed by the simulator
    simulated: bool
    #: by the target's public name
    targets: dict[str, TargetSummary]
    health: HealthRecord
    overall: Overall
