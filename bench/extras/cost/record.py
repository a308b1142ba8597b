"""The record of `tailproof cost`: bills by stage, and what a run was billed.

In: nothing. Out: `Costs` and its parts. Must stay true: a key is added, never renamed, within one
format number; sums are rounded to the cent, shares are of one; what is not known is None with a
reason beside it.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import AliasChoices, Field

from bench.record.records.record import FileRecord, Number, Record
from bench.record.records.verdicts import Interval


class StageCost(Record):
    """A month at one size of business, in USD."""

    stage: str
    users: str
    #: a month
    tokens: int
    usd: Number
    other_usd: Number
    #: share of the other bill
    saving: Number | None
    usd_with_overhead: Number
    #: of `usd_with_overhead`; None where the overhead was not measured
    interval_usd: Interval
    saving_with_overhead: Number | None
    #: by a direct contract, its engineering included
    direct_usd: Number


class DirectCost(Record):
    """What a direct contract takes, and from which volume on it pays."""

    #: as a share of the price
    discount: Number
    engineering_usd: Number
    #: tokens a month; None: `reason` says why
    break_even_tokens: int | None
    reason: str | None


class CostRecord(Record):
    """The bills of one target, and of the one that it is compared with."""

    target: str
    compare_with: str
    usd_per_million: Number
    other_usd_per_million: Number
    #: date of the price; empty where a sum was given
    as_of: str
    #: what is paid on top of useful tokens, as a share of their cost
    overhead: Number
    #: "assumed", or the run that it was measured in
    overhead_from: str
    stages: list[StageCost]
    direct: DirectCost
    #: what one breach of the contract costs
    breach_usd: Number | None


class UsefulTokens(Record):
    """Tokens of the answers that were of use."""

    prompt: int
    output: int


class ForecastRecord(Record):
    """The bill against the one that was planned."""

    forecast_usd: Number
    actual_usd: Number
    #: actual over forecast
    ratio: Number | None
    interval: Interval
    #: how far off it may be, as a share
    margin: Number
    #: None: `reason` says why it is not decided
    holds: bool | None
    reason: str | None


class SpendRecord(Record):
    """What one target of a run was billed."""

    target: str
    usd: Number
    #: list price of the useful tokens
    useful_usd: Number
    useful_tokens: UsefulTokens
    wasted_tokens: int
    #: calls whose prompt is taken as planned, because the server did not state their usage
    calls_without_usage: int = Field(
        validation_alias=AliasChoices("calls_without_usage", "reckoned_calls")
    )
    overhead: Number | None
    overhead_95: Interval
    forecast: ForecastRecord


class TargetCost(Record):
    """One target; without a run there is its bill alone."""

    target: str = ""
    cost: CostRecord | None
    #: why there is no sum
    reason: str | None = None
    spent: SpendRecord | None = None


class Costs(FileRecord):
    """What `tailproof cost --format json` prints."""

    #: Format history: 2 = `calls_without_usage`, which 1 calls `reckoned_calls`.
    FORMAT: ClassVar[int] = 2

    targets: list[TargetCost]
