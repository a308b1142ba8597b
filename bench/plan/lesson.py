"""What a rehearsal teaches: of each stage or month, its lesson and what was planted in it.

In: two lines of a suite or scenario file. Out: `Taught`, and `Lesson`, which a run keeps. Must stay
true: they are words for readers; nothing is planned or judged by them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bench.userfile import UserModel

Line = Annotated[str, Field(max_length=120)]


class Taught(UserModel):
    """What may be said of a stage or a month whose answers are known."""

    #: of a rehearsal: what the stage shows, in a few words
    lesson: Line = ""
    #: of a rehearsal: the fault or the law that the simulator was given
    planted: Line = ""


class Lesson(Taught):
    """The same beside the name of the stage or month."""

    stage: str


def lesson(name: str, of: Taught) -> Lesson:
    """The lesson of a stage or month."""
    return Lesson(stage=name, lesson=of.lesson, planted=of.planted)
