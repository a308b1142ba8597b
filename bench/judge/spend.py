"""What a run was billed, how much of that was overhead, and whether the bill could be foretold.

In: a run. Out: a record a lane. Must stay true: sums are exact; a call that was cut off is
assumed with its planned prompt, for servers read a prompt before they answer, and such calls are
counted; a lane without a price gets a reason and no sum.

Overhead = paid / what the useful tokens would have cost on the first choice - 1: failed and
repeated calls, failover to another price, premium use. It takes the place of an assumed 15 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from bench.judge.stats.resample import ratio_limits, time_blocks
from bench.plan.budget import MILLION, usd_of
from bench.plan.prices import Prices
from bench.record.records.manifest import LaneRecord, LegRecord
from bench.record.run_folder import Run
from bench.record.samples import AttemptFlag, Bool, Columns, Float, Int, Outcome, Table

#: A call that ended so had been read by the server, whatever came of it.
_WORKED_ON = (
    Outcome.ok,
    Outcome.wrong_answer,
    Outcome.truncated,
    Outcome.malformed,
    Outcome.stream_error,
    Outcome.timeout_first,
    Outcome.timeout_total,
    Outcome.censored,
)
#: Each side of a forecast's limits: a bill within its margin is two one-sided claims.
FORECAST_ALPHA = 0.05
#: How far from its forecast a bill may be.
MARGIN = Fraction(5, 100)


@dataclass(frozen=True)
class Spend:
    """USD of every row of a lane, and the exact totals."""

    #: what was paid for it, on any leg, and what its useful tokens cost on the first choice
    paid: Float
    useful: Float
    #: its planned tokens at the first choice's price
    planned: Float
    due_ns: Int
    paid_usd: Fraction
    useful_usd: Fraction
    useful_prompt: int
    useful_output: int
    wasted_tokens: int
    #: calls whose prompt was assumed as planned
    assumed: int
    first: Prices

    @property
    def overhead(self) -> Fraction | None:
        """None when nothing useful came."""
        if self.useful_usd:
            return self.paid_usd / self.useful_usd - 1
        return None

    @property
    def unsummed(self) -> str | None:
        """Why there is no overhead, and so no bill; None where there is one."""
        if self.useful_usd:
            return None
        if self.useful_prompt + self.useful_output:
            return "the price is zero"
        return "no answer of any worth was paid for"

    @property
    def output_share(self) -> Fraction | None:
        """Share of output among the useful tokens."""
        total = self.useful_prompt + self.useful_output
        if total:
            return Fraction(self.useful_output, total)
        return None


@dataclass(frozen=True)
class _Calls:
    """Tokens of calls: the row each belongs to, its leg, what the server would bill."""

    row: Int
    leg: Int
    prompt: Int
    output: Int
    assumed: Bool


def spend_of(run: Run, index: int) -> Spend | str:
    """The spending of one lane, or the reason why it is not known."""
    lane = run.lanes[index]
    legs: Sequence[LaneRecord | LegRecord] = lane.legs or [lane]
    prices = [leg.prices for leg in legs]
    mine = np.flatnonzero(run.columns.schedule["lane"] == index)
    columns = run.columns.where(mine)
    if lane.legs:
        calls = _calls_of_route(run.attempts, mine, columns)
    else:
        calls = _calls_of_rows(columns)
    for leg in sorted({0, *calls.leg.tolist()}):
        if prices[leg] is None:
            return f"target {legs[leg].name} has no prices"
    first = prices[0]
    assert first is not None
    known = [price or first for price in prices]
    paid = np.zeros(len(columns))
    paid_usd = Fraction(0)
    for leg, price in enumerate(known):
        used = calls.leg == leg
        paid += np.bincount(
            calls.row[used],
            _usd(price, calls.prompt[used], calls.output[used]),
            len(columns),
        )
        paid_usd += usd_of(price, int(calls.prompt[used].sum()), int(calls.output[used].sum()))
    prompt, output = _useful(columns)
    total = [int(tokens.sum()) for tokens in (prompt, output)]
    return Spend(
        paid,
        _usd(first, prompt, output),
        _usd(first, columns.schedule["prompt_tokens"], columns.schedule["output_tokens"]),
        columns.samples["due_ns"],
        paid_usd,
        usd_of(first, *total),
        total[0],
        total[1],
        int(calls.prompt.sum() + calls.output.sum()) - sum(total),
        int(calls.assumed.sum()),
        first,
    )


def _usd(price: Prices, prompt: Any, output: Any) -> Float:
    return np.asarray(
        (prompt * float(price.input_usd_per_million) + output * float(price.output_usd_per_million))
        / MILLION
    )


def _billed(table: Table, planned_prompt: Int, cut_off: Bool) -> tuple[Int, Int, Bool]:
    """(prompt, output, prompt assumed) of each call: as the server said, else as planned where it
    had been at work.
    """
    prompt = table["prompt_tokens"].astype(np.int64)
    output = np.maximum(table["output_tokens"].astype(np.int64), 0)
    worked = np.isin(table["outcome"], _WORKED_ON) | cut_off | (output > 0)
    assumed = (prompt < 0) & worked & (table["sent_ns"] >= 0)
    return np.where(assumed, planned_prompt, np.maximum(prompt, 0)), output, assumed


def _calls_of_rows(columns: Columns) -> _Calls:
    rows = np.arange(len(columns))
    planned = columns.schedule["prompt_tokens"].astype(np.int64)
    return _Calls(
        rows,
        np.zeros(len(rows), np.int64),
        *_billed(columns.samples, planned, np.zeros(len(rows), bool)),
    )


def _calls_of_route(attempts: Table, mine: Int, columns: Columns) -> _Calls:
    place = np.searchsorted(mine, attempts["row"])
    belongs = (place < len(mine)) & (mine[np.minimum(place, len(mine) - 1)] == attempts["row"])
    attempts = attempts[belongs]
    place = place[belongs]
    planned = columns.schedule["prompt_tokens"].astype(np.int64)[place]
    billed = _billed(attempts, planned, (attempts["flags"] & AttemptFlag.CANCELLED) != 0)
    return _Calls(place, attempts["leg"].astype(np.int64), *billed)


def _useful(columns: Columns) -> tuple[Int, Int]:
    """Tokens of the answers that were of use: one for each row that succeeded."""
    none = np.zeros(len(columns), bool)
    prompt, output, _ = _billed(
        columns.samples,
        columns.schedule["prompt_tokens"].astype(np.int64),
        none,
    )
    return np.where(columns.ok, prompt, 0), np.where(columns.ok, output, 0)


@dataclass(frozen=True)
class AgainstForecast:
    """A bill against its forecast, the planned tokens at the first choice's price."""

    forecast_usd: float
    actual_usd: float
    #: how far off it may be, as a share
    margin: float
    #: actual over forecast
    ratio: float | None = None
    interval: tuple[float | None, float | None] = (None, None)
    #: None: `reason` says why it is not decided
    holds: bool | None = None
    reason: str | None = None


def forecast_interval(
    spend: Spend, margin: Fraction = MARGIN, alpha_each_side: float = FORECAST_ALPHA
) -> AgainstForecast:
    """The bill against its forecast, and whether that holds within `margin`: it does when both
    limits lie within 1 ± margin, it does not when both lie beyond on one side.

    The limits are drawn by time block and each is one-sided at `alpha_each_side`.
    """
    came = spend.due_ns >= 0
    planned = spend.planned[came]
    paid = spend.paid[came]
    forecast = float(planned.sum())
    found = AgainstForecast(forecast, float(spend.paid_usd), float(margin))
    if not forecast:
        why = "nothing was to be paid: no forecast can be held against the bill"
        return replace(found, reason=why)
    lower, upper = ratio_limits(paid, planned, time_blocks(spend.due_ns[came]), alpha_each_side)
    found = replace(found, ratio=found.actual_usd / forecast, interval=(lower, upper))
    if lower is None or upper is None:
        return replace(found, reason="the run is too short to be cut into time blocks")
    low = float(1 - margin)
    high = float(1 + margin)
    if low <= lower and upper <= high:
        return replace(found, holds=True)
    if upper < low or lower > high:
        return replace(found, holds=False)
    return replace(found, reason="the interval reaches across the margin")
