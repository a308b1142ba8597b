"""runs.json: when the runs of one plan were to begin and did; and what a verdict over several runs
says of them.

In: nothing. Out: `RunsRecord`, and the parts of verdicts.json that only several runs have. Must
stay true: a key is added, never renamed, within one format number; a start that was drawn keeps its
planned moment beside the real one. All `_wall_ns` are Unix ns.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.record.records.record import FileRecord, Number, Record

#: missed: nobody was there to start it, and no time was left for another draw.
StartState = Literal["planned", "running", "complete", "interrupted", "missed"]


class RunStart(Record):
    """One run of several: when it was to begin, and did."""

    #: counted from 1, in the order of time
    number: int
    #: below the folder of the runs
    folder: str
    seed: int
    planned_wall_ns: int
    planned_utc: str
    #: the draw that set it, counted from 1: later ones replace starts that nobody was there for
    draw: int
    state: StartState
    started_utc: str | None = None


class RunsRecord(FileRecord):
    """runs.json of a folder of runs."""

    FILE: ClassVar[str] = "runs.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    suite: str
    #: of what every run is of: targets, load, contract
    plan_sha256: str
    #: of the starts; the runs' own follow it, one apart
    seed: int
    #: within so long
    over_ns: int
    #: time that is kept free for each run
    room_ns: int
    begun_wall_ns: int
    begun_utc: str
    repeat_command: str
    #: times that starts were drawn
    draws: int
    starts: list[RunStart]

    @property
    def ends_wall_ns(self) -> int:
        """When the last run has ended at the latest."""
        return self.begun_wall_ns + self.over_ns

    def with_start(self, start: RunStart) -> RunsRecord:
        """The record with another state of one run."""
        starts = [start if each.number == start.number else each for each in self.starts]
        return self.replace(starts=starts)


class JudgedRun(Record):
    """A run that a verdict over several is of."""

    name: str
    run: str
    started_utc: str
    #: from its start to its end
    duration_s: Number
    #: rows that it came to
    requests: int
    state: str
    #: why no clause counts it
    set_aside: str | None = None


class RunCounts(Record):
    """What a clause counts of one run."""

    run: str
    n: int
    k: int
    unknown: int


class BetweenRuns(Record):
    """How far runs differ in one clause."""

    #: part of the variance of the rows that broke it that lies between runs; None where they tell
    #: nothing of it
    share: Number | None
    #: the run that broke it most beyond its share; None where none did
    worst: str | None
    #: ln(1/alpha)/p0: so many runs would meet incidents that are longer than a run
    runs_for_incidents: int | None
    runs: list[RunCounts]
