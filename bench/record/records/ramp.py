"""ramp.json: a search for the highest rate at which a contract still holds.

In: nothing. Out: `RampRecord` and its parts. Must stay true: a key is added, never renamed, within
one format number. Rates are in requests per second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from bench.record.records.harness import State
from bench.record.records.record import FileRecord, Number, Record
from bench.record.records.verdicts import Interval

ProbeVerdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID"]
#: `found`: kept at one rate, broken at another within the resolution. `beyond`: kept at the highest
#: rate allowed. `none`: broken at the lowest. `harness`: it was the limit before the server.
#: `undecided`: what was spent does not tell.
Outcome = Literal["found", "beyond", "none", "undecided", "harness"]
_VERDICTS: Mapping[Outcome | None, ProbeVerdict] = {
    "found": "PASS",
    "beyond": "PASS",
    "none": "FAIL",
    "harness": "INVALID",
}


class Bounds(Record):
    """What the search was allowed, and what its probes were held to.

    Rates in requests per second.
    """

    start_rps: Number
    lowest_rps: Number
    highest_rps: Number | None
    #: how far apart the bracket's ends may be, as a share of the lower
    resolution: Number
    max_probes: int
    #: of each run's verdict, so that all of them hold together with the contract's
    probe_confidence: Number
    first_requests: int
    close_requests: int
    most_requests: int
    least_s: Number

    @property
    def confidence(self) -> float:
        """Of all verdicts of the search together."""
        return 1 - (1 - self.probe_confidence) * (self.max_probes + 1)


class ClauseRecord(Record):
    """One judged clause: rows in its scope and how many broke it."""

    text: str
    verdict: ProbeVerdict
    n: int
    k: int
    confidence: Number


class ProbeRecord(Record):
    """One run of the ramp; `folder` is its run folder below the ramp's."""

    folder: str
    seed: int
    rate_rps: Number
    requests: int
    verdict: ProbeVerdict
    reason: str
    #: requests that would probably have decided it
    needed_requests: int | None
    design_effect: Number
    #: the measured quantile of the curve's clause and its limits; null where it lies among failures
    #: or there is none
    tail_ms: Number | None
    #: the same as `bound`; before it there was one, two-sided limits
    tail_interval_ms: Interval
    #: the highest limit that the clause's rule fails and the lowest that it passes, each
    #: end at the probe's confidence
    bound: Interval = (None, None)
    clauses: list[ClauseRecord]


class OpenRate(Record):
    """A rate between the ends of the bracket that was not decided."""

    rate_rps: Number
    requests: int
    needed_requests: int | None


class BracketRecord(Record):
    """The highest rate that passed, the lowest that failed, the lowest that the harness could not
    measure.
    """

    passes_rps: Number | None
    fails_rps: Number | None
    harness_rps: Number | None
    #: where the contract's boundary lies: above the rate that passed, below the one that failed,
    #: with the confidence of all probes together
    bound: Interval = (None, None)
    open: list[OpenRate]


class Curve(Record):
    """The clause whose quantile is shown against the load."""

    clause: str
    limit_ms: Number


class Knee(Record):
    """Between which rates the tail leaves its flat part."""

    base_rps: Number
    flat_rps: Number
    left_rps: Number | None
    factor: Number


class RampRecord(FileRecord):
    """ramp.json of one search."""

    FILE: ClassVar[str] = "ramp.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    ramp: str
    state: State
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
    rate_rps: Number | None
    exit_code: int = Field(ge=0)

    @property
    def verdict(self) -> ProbeVerdict:
        """What the outcome comes to; INCONCLUSIVE while there is none."""
        return _VERDICTS.get(self.outcome, "INCONCLUSIVE")

    @property
    def runs(self) -> list[ProbeRecord]:
        """The probes, then the runs of verdict grade."""
        return [*self.probes, *self.final]

    def with_run(self, kind: Literal["probes", "final"], run: ProbeRecord) -> RampRecord:
        """The record with one more probe, or one more run of verdict grade."""
        if kind == "probes":
            return self.replace(probes=[*self.probes, run])
        return self.replace(final=[*self.final, run])
