"""A drill: what is done to the provider while a stage runs, and when.

In: `[[stage.drill]]` tables of a suite. Out: frozen `Drill`s. Must stay true: a drill is a change
posted to a gateway's admin endpoint, the user's own command (an argument list, never a shell), or
a bare mark; its moment is planned, and when it really happened is an event of the run.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.userfile import DurationNs, UserModel

#: A command may take this long unless it says otherwise.
PATIENCE_NS = 30_000_000_000
#: Nothing may take longer.
MOST_NS = 600_000_000_000


class Drill(UserModel):
    """One moment of the timeline. `at` counts from the stage's start."""

    #: when, counted from the stage's start
    at: DurationNs
    #: cut: trouble begins, the route should notice. heal: it is over, the route should come back.
    #: change: anything else, such as neighbours x10.
    do: Literal["cut", "heal", "change"] = "change"
    #: its name in reports; `do` by default
    name: Annotated[str, Field(max_length=80)] = ""
    #: the body of `POST /SCENARIO/change`, a timeline entry of a scenario whose `at` counts from
    #: now
    change: dict[str, Any] | None = None
    #: where to post it; by default the simulator that serves the stage
    url: str | None = None
    #: a command of your own, as a list of arguments
    command: Annotated[list[str], Field(min_length=1)] | None = None
    #: the post or the command is given up after this
    timeout: DurationNs = PATIENCE_NS

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if self.change is not None and self.command is not None:
            raise ValueError("give a change or a command, not both")
        if self.change is None and self.command is None and self.do == "change":
            raise ValueError(
                "does nothing; give a change or a command (only cut and heal may stand alone)"
            )
        if self.url is not None and (
            self.change is None or not self.url.startswith(("http://", "https://"))
        ):
            raise ValueError(
                'url is where a change is posted: write "http://127.0.0.1:PORT/SCENARIO/change"'
            )
        if not 0 < self.timeout <= MOST_NS:
            raise ValueError("timeout must be above zero and at most 10 minutes")
        return self

    @property
    def title(self) -> str:
        """What the event is called."""
        return self.name or self.do


@dataclasses.dataclass(frozen=True)
class PlannedDrill:
    """A drill at its moment of the run (ns after the run's start)."""

    at_ns: int
    stage: str
    drill: Drill


def check_drills(drills: list[Drill], where: str, *, embedded: bool) -> None:
    """Raises UserError for a change without an address, where no target is embedded."""
    for drill in drills:
        if drill.change is not None and drill.url is None and not embedded:
            raise UserError(
                f"drill {drill.title!r} changes a gateway, and no target of this stage is embedded",
                where=where,
                remedy="add url, the gateway's admin endpoint",
            )
