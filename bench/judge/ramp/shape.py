"""The shape of ramp.json: what its published schema is made from.

In: nothing. Out: a model of the record. Must stay true: each key that a ramp writes stands here
with its type and unit; a key is added, never renamed, within one format number.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from bench.judge.ramp.search import Outcome, Verdict


class Bounds(BaseModel):
    """What the search was allowed, and what its probes were held to.

    Rates in requests per second.
    """

    start_rps: float
    lowest_rps: float
    highest_rps: float | None
    #: how far apart the bracket's ends may be, as a share of the lower
    resolution: float
    max_probes: int
    #: of each run's verdict, so that all of them hold together with the contract's
    probe_confidence: float
    first_requests: int
    close_requests: int
    most_requests: int
    least_s: float


class ClauseRecord(BaseModel):
    """One judged clause: rows in its scope and how many broke it."""

    text: str
    verdict: Verdict
    n: int
    k: int
    confidence: float


class ProbeRecord(BaseModel):
    """One run of the ramp; `folder` is its run folder below the ramp's."""

    folder: str
    seed: int
    rate_rps: float
    requests: int
    verdict: Verdict
    reason: str
    #: requests that would probably have decided it
    needed_requests: int | None
    design_effect: float
    #: the measured quantile of the curve's clause and its limits; null where it lies among failures
    #: or there is none
    tail_ms: float | None
    tail_interval_ms: tuple[float | None, float | None]
    clauses: list[ClauseRecord]


class OpenRate(BaseModel):
    """A rate between the ends of the bracket that was not decided."""

    rate_rps: float
    requests: int
    needed_requests: int | None


class BracketRecord(BaseModel):
    """The highest rate that passed, the lowest that failed, the lowest that the harness could not
    measure.
    """

    passes_rps: float | None
    fails_rps: float | None
    harness_rps: float | None
    open: list[OpenRate]


class Curve(BaseModel):
    """The clause whose quantile is shown against the load."""

    clause: str
    limit_ms: float


class Knee(BaseModel):
    """Between which rates the tail leaves its flat part."""

    base_rps: float
    flat_rps: float
    left_rps: float | None
    factor: float


class RampRecord(BaseModel):
    """ramp.json of one search."""

    format: Literal[1]
    ramp: str
    state: Literal["running", "complete", "interrupted"]
    suite: str
    target: str
    contract: str
    simulated: bool
    seed: int
    started_utc: str
    repeat_command: str
    search: Bounds
    curve: Curve | None
    probes: list[ProbeRecord]
    bracket: BracketRecord
    knee: Knee | None
    #: the runs of verdict grade; only the last may have passed, from the others the search went on
    final: list[ProbeRecord]
    #: null while it goes on, and where it was interrupted
    outcome: Outcome | None
    reason: str
    #: the rate found: highest that passed its probe and a run of verdict grade
    rate_rps: float | None
    exit_code: int = Field(ge=0)
