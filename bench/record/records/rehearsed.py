"""The suite that a run is of, and what each of its stages teaches.

In: nothing. Out: `SuiteName`, a part of run.json. Must stay true: a key is added, never renamed,
within one format number.
"""

from __future__ import annotations

from pydantic import Field

from bench.record.records.record import Record


class LessonRecord(Record):
    """What a stage or month of a rehearsal teaches, as its file has it."""

    stage: str
    #: in a few words; empty where the file has none
    lesson: str = ""
    #: the fault or the law that the simulator was given
    planted: str = ""


class SuiteName(Record):
    """The suite that a run is of."""

    name: str
    description: str = ""
    #: a line a stage, then a line a month
    lessons: list[LessonRecord] = Field(default_factory=list)
