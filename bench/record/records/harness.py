"""What the processes of a run did, as run.json keeps it.

In: nothing. Out: records. Must stay true: of several processes a number is the worst of theirs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bench.record.records.calibration import CeilingShare
from bench.record.records.record import Json, Number, Record

State = Literal["running", "complete", "interrupted"]


class HarnessShards(Record):
    """How far the shards of a merged run were one run."""

    of: int
    missing: list[int] = Field(default_factory=list)
    ended_early: list[int] = Field(default_factory=list)
    start_skew_ms: Number = 0.0
    #: of the shortest phase
    start_skew_share: Number = 0.0


class GatewayRecord(Record):
    """Did the simulated provider write when it meant to?"""

    kept_up: bool
    timing_error_ms: Json = Field(default_factory=dict)


class ProcessRecord(Record):
    """What one process did, or of several the worst of each number."""

    alarm: str | None = None
    loop_stalls: int | None = None
    loop_stall_max_ms: Number = 0.0
    gc_pause_max_ms: Number | None = None
    gc_pause_total_ms: Number | None = None
    elapsed_s: Number | None = None
    #: of one core
    cpu_share: Number | None = None
    #: the wall clock's largest step
    clock_step_ms: Number = 0.0
    #: how long the machine slept
    suspended_ms: Number = 0.0
    #: caps and stop rules
    guard: Json | None = None
    loop: str | None = None
    #: by lane
    senders: dict[str, Json] = Field(default_factory=dict)


class Harness(ProcessRecord):
    """What the processes of a run did."""

    state: State | None = None
    workers: int | None = None
    #: numbers of those that died
    dead_workers: list[int] = Field(default_factory=list)
    #: the plan's busiest second against the ceiling that was measured
    calibration: CeilingShare | None = None
    by_worker: list[ProcessRecord] = Field(default_factory=list)
    #: rows that the simulator computed a second
    simulated_rps: int | None = None
    #: by scenario, of a run on the simulator
    gateway: dict[str, GatewayRecord] = Field(default_factory=dict)
    #: of a merged run
    shards: HarnessShards | None = None

    @property
    def processes(self) -> list[ProcessRecord]:
        """Each process of its own; of a run that does not tell them apart, all as one."""
        return [*self.by_worker] or [self]
