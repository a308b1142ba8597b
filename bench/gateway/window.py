"""A stretch of scenario time, once or again and again.

In: `at`, `for` and `every` of a table. Out: whether it is on, and when that changes. Must stay
true: moments are ns since the scenario began.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from bench.userfile import DurationNs, UserModel


class Window(UserModel):
    """From `at`, for `for` (to the end by default), again `every` so often."""

    at: DurationNs = 0
    lasts: Annotated[DurationNs | None, Field(alias="for")] = None
    #: begin again each time this has passed since `at`
    every: DurationNs | None = None

    @model_validator(mode="after")
    def _passes(self) -> Self:
        if self.lasts is not None and self.lasts <= 0:
            raise ValueError("for must be above zero")
        if self.every is not None and (self.lasts is None or self.every <= self.lasts):
            raise ValueError("every needs a for that is shorter")
        return self

    def holds(self, now_ns: int) -> bool:
        """True while it is on."""
        since_ns = self.since_ns(now_ns)
        return since_ns >= 0 and (self.lasts is None or since_ns < self.lasts)

    def next_edge_ns(self, now_ns: int) -> int | None:
        """When it next begins or ends after `now_ns`; None for never."""
        since_ns = self.since_ns(now_ns)
        if since_ns < 0:
            return self.at
        if self.lasts is not None and since_ns < self.lasts:
            return now_ns - since_ns + self.lasts
        if self.every is not None:
            return now_ns - since_ns + self.every
        return None

    def since_ns(self, now_ns: int) -> int:
        """How long ago it last began; below zero where it has not."""
        since_ns = now_ns - self.at
        if self.every is not None and since_ns >= 0:
            return since_ns % self.every
        return since_ns
