"""The shape of summary.json: what its published schema is made from.

In: nothing. Out: a model of the record. Must stay true: each key that `summary.summarise` writes
stands here with its type and unit; a key is added, never renamed, within one format number.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from bench.record.samples import Outcome

Count = int


class Quantiles(BaseModel):
    """A latency in ms over n rows: mean, nearest-rank quantiles, maximum."""

    n: Count = Field(gt=0)
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float


class ResponseMs(BaseModel):
    """From the moment a request was due; tpot from its first token to its last."""

    ttft: Quantiles | None
    ttft_answer: Quantiles | None
    e2e: Quantiles | None
    tpot: Quantiles | None


class ServiceMs(BaseModel):
    """From the moment the request was sent."""

    ttft: Quantiles | None
    e2e: Quantiles | None


class Uptime(BaseModel):
    """What part of the measured requests succeeded; null when none can tell."""

    request_ratio: float | None = Field(ge=0, le=1)


class PromptError(BaseModel):
    """How far prompts were from their planned size, as a share of it."""

    median: float
    p95: float


class Tokens(BaseModel):
    """Totals of the successes."""

    prompt: Count
    output: Count
    #: the server's usage, or counted from chunks
    source: Literal["usage", "counted", "mixed", "none"]
    prompt_error: PromptError | None


class Cost(BaseModel):
    """Of the tokens that the server reported."""

    usd: float
    #: date of the prices
    as_of: str


class PartMs(BaseModel):
    """Response latencies of a part."""

    ttft: Quantiles | None
    e2e: Quantiles | None


class Part(BaseModel):
    """The measured rows of one phase or context bucket."""

    requests: Count
    ok: Count
    response_ms: PartMs


class Vantage(Part):
    """The measured rows that were sent from one node or region."""

    service_ms: ServiceMs
    #: of every one that opened a connection
    connect_ms: Quantiles | None
    #: of every one that was sent
    harness_lag_ms: Quantiles | None


class Target(BaseModel):
    """One target; latencies of rows that succeeded, warm-up left out, unless said otherwise."""

    #: played in virtual time: nothing was sent
    simulated: bool
    #: every scheduled row
    requests: Count
    #: those that a run which broke off came to
    reached: Count
    ok: Count
    warmup: Count
    #: rows by outcome, zeros left out; they add up to `requests`
    outcomes: dict[Literal[tuple(outcome.name for outcome in Outcome)], Count]  # type: ignore[valid-type]
    offered_rps: float | None
    sent_rps: float | None
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
    by_phase: dict[str, Part]
    by_bucket: dict[str, Part]
    #: of a run that says where it was sent from; rows of unknown origin are in none
    by_node: dict[str, Vantage] = Field(default_factory=dict)
    #: the same where there is more than one region
    by_region: dict[str, Vantage] = Field(default_factory=dict)


class Health(BaseModel):
    """Was the harness fit to judge?"""

    state: Literal["valid", "degraded", "invalid"]
    reasons: list[str]
    facts: dict[str, Any]


class Summary(BaseModel):
    """A run in numbers. An empty set is null, never 0."""

    format: Literal[1]
    run: str
    state: Literal["running", "complete", "interrupted"]
    #: at least one target was played in virtual time
    simulated: bool
    #: by the target's public name
    targets: dict[str, Target]
    health: Health
    overall: Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID", "NONE"]
