"""A made-up period for the full log: traffic by the minute and incidents, whose truth is known.

In: a scenario file with a `[census]` table. Out: a frozen `Month`. Must stay true: nothing is
drawn; the same file is the same log, row for row.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.plan.lesson import Taught
from bench.userfile import DurationNs, Usd, UserModel, find_file, parse_model, read_toml


class Incident(UserModel):
    """Minutes in a row in which so many requests fail."""

    start: datetime
    minutes: Annotated[int, Field(gt=0)]
    failed_per_min: Annotated[int, Field(gt=0)]
    status: Annotated[int, Field(ge=400, le=599)] = 503


class ExpectCensus(UserModel):
    """An expected answer: this clause (number from 1, or a part of its text) gets this verdict."""

    clause: str
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]


class Month(Taught):
    """The `[census]` table."""

    start: datetime
    days: Annotated[int, Field(gt=0, le=366)]
    #: requests a minute, by the hour of the day (UTC), evenly apart
    requests_per_min: Annotated[
        list[Annotated[int, Field(ge=0, le=600)]], Field(min_length=24, max_length=24)
    ]
    latency: DurationNs = 300_000_000
    incidents: Annotated[list[Incident], Field(alias="incident")] = []
    #: by which it is judged: a built-in name or a path beside the file
    contract: str
    #: the base of the credits
    bill_usd: Usd = Decimal(0)
    expect: list[ExpectCensus] = []

    @model_validator(mode="after")
    def _dated(self) -> Self:
        for moment in (self.start, *(each.start for each in self.incidents)):
            if moment.tzinfo is None or moment.second or moment.microsecond:
                raise ValueError(
                    "moments are whole minutes with their offset from UTC, such as"
                    " 2026-09-01T00:00:00Z"
                )
        return self


class MonthFile(UserModel):
    """A scenario that is judged by census, without a gateway."""

    description: str
    census: Month
    truth: dict[str, Any] = {}


def load_month(name: str, beside: Path | None = None) -> tuple[Month, Path] | None:
    """The month of a scenario file, by built-in name or path; None where it is another kind of
    scenario.

    Raises UserError: no such scenario, or a month that is not well formed.
    """
    path = find_file("scenarios", name, beside)
    month = load_month_at(path, read_toml(path))
    if month is None:
        return None
    return (month, path)


def load_month_at(path: Path, data: dict[str, Any]) -> Month | None:
    """The month of a file that was read, or None where it is another kind."""
    if "census" not in data:
        return None
    month = parse_model(MonthFile, data, str(path)).census
    if not sum(month.requests_per_min):
        raise UserError("a month without requests", where=f"{path}: census.requests_per_min")
    return month
