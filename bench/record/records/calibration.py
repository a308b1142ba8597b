"""calibration.json: how far from the truth the harness is on a machine, and up to what load.

In: nothing. Out: `Calibration` and its parts. Must stay true: a key is added, never renamed, within
one format number. Errors are what is reported less the truth.
"""

from __future__ import annotations

from typing import ClassVar

from bench.record.records.record import FileRecord, Json, Number, Record

#: at p50, p99, p99.9
Errors = tuple[Number, Number, Number]


class CalibrationStep(Record):
    """One rate of the ladder."""

    rate_rps: int
    #: the asked rate times the share of the plan that succeeded
    sent_rps: Number
    #: at p50, p99, p99.9
    ttft_error_ms: Errors
    #: at p50, p99, p99.9
    e2e_error_ms: Errors
    #: the error of single rows: 99 of 100 are within this
    row_error_p99_ms: Number
    lag_p99_ms: Number
    cpu_us_per_request: Number


class Calibration(FileRecord):
    """calibration.json of one machine."""

    FILE: ClassVar[str] = "calibration.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    measured_utc: str
    #: version that measured it
    tailproof: str = ""
    #: what it counts for: another CPU or Python is another machine
    machine: Json
    #: token chunks of a stream
    tokens: int
    #: a load counts as measurable while the p50 and p99 are within this of the truth
    error_budget_ms: Number
    #: requests a second that one worker measures; 0 where no rate was within the budget
    ceiling_rps: int
    #: token events a second that one worker measures
    ceiling_events_per_s: int
    steps: list[CalibrationStep]
    #: of each core just before, in programs that wanted one; None where the system does not tell
    load_per_core: Number | None = None


class CeilingShare(Record):
    """The busiest second of a plan against the ceiling that was measured."""

    measured_utc: str = ""
    ceiling_rps: int
    ceiling_events_per_s: int
    peak_events_per_s: int | None = None
    peak_rps: int | None = None
    #: of the ceiling of all its workers
    share: Number | None = None
