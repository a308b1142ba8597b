"""What tokens cost in a month: bills, savings, overhead, and where going direct breaks even.

In: a cost table (`profiles/costs/*.toml`), prices per million tokens, shares. Out: exact sums and
the record that `cost` shows. Must stay true: every sum is a `Fraction` until it is shown; a cent is
rounded half up, once, at the end; a price that is not known or is zero gives a reason, no number.

Source: mission facts, cost tables: break-even volume = F / (p·d).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, Field

from bench.errors import UserError
from bench.extras.cost.record import (
    CostRecord,
    DirectCost,
    ForecastRecord,
    SpendRecord,
    StageCost,
    UsefulTokens,
)
from bench.judge.spend import Spend, forecast_interval
from bench.judge.stats.resample import ratio_limits, time_blocks
from bench.plan.budget import MILLION
from bench.plan.prices import Prices
from bench.plan.target import Target, load_target
from bench.units import parse_usd
from bench.userfile import Share, Usd, UserModel, find_file, load_model

#: Each side of the overhead's interval.
ALPHA = 0.025
_TOKENS = re.compile(r"(\d+(?:_\d+)*(?:\.\d+)?)\s*([KMBT]?)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?[\d.]+")
_THOUSANDS = {"": 0, "K": 1, "M": 2, "B": 3, "T": 4}


def parse_tokens(text: object) -> int:
    """`"500M"`, `"5 B"`, `"1.5T"` or a whole number -> tokens, above zero. Raises ValueError."""
    if not isinstance(text, (bool, float)):
        match = _TOKENS.fullmatch(str(text).strip())
    else:
        match = None
    if match:
        tokens = Fraction(match[1].replace("_", "")) * 1000 ** _THOUSANDS[match[2].upper()]
    else:
        tokens = Fraction(0)
    if tokens <= 0 or tokens.denominator != 1:
        raise ValueError(
            f'{text!r} is not a number of tokens; write "500M", "5B" or a whole number'
        )
    return int(tokens)


class CostStage(UserModel):
    """One size of business."""

    name: str
    users: str = ""
    tokens_per_month: Annotated[int, BeforeValidator(parse_tokens)]


class CostTable(UserModel):
    """Stages, the target that is paid for, what it is compared with, and what is assumed until it
    is measured.
    """

    description: str
    source: str
    as_of: date
    target: str
    compare_with: str
    overhead: Share
    direct_discount: Share
    engineering_usd: Usd
    stages: Annotated[list[CostStage], Field(alias="stage", min_length=1)]


def load_costs(name: str) -> CostTable:
    """A cost table by built-in name or path. Raises UserError."""
    return load_model(CostTable, find_file("costs", name))


@dataclass(frozen=True)
class Price:
    """USD per million tokens of a known mix of input and output, and whose it is."""

    name: str
    usd_per_million: Fraction
    as_of: str = ""


def price_of(target: Target, output_share: Fraction | None) -> Price:
    """A target's price.

    Raises UserError without prices, or where the mix of input and output decides and is not known.
    """
    where = target.title
    if target.prices is None:
        raise UserError(
            "has no prices",
            where=where,
            remedy="add [prices] to its file, or give a price in USD a million",
        )
    return Price(target.name, blended(target.prices, output_share, where), str(target.prices.as_of))


def blended(prices: Prices, output_share: Fraction | None, where: str) -> Fraction:
    """USD per million tokens of which `output_share` are output.

    Raises UserError where that is needed and not known.
    """
    paid_in = Fraction(prices.input_usd_per_million)
    paid_out = Fraction(prices.output_usd_per_million)
    if paid_in != paid_out and output_share is None:
        raise UserError(
            "input and output have different prices",
            where=where,
            remedy="say which part is output with --output-share 20%, or give a measured run",
        )
    share = output_share or Fraction(0)
    return paid_in * (1 - share) + paid_out * share


def price_named(text: str, output_share: Fraction | None) -> Price:
    """The price of a target by name or path, or a bare sum in USD per million tokens.

    Raises UserError.
    """
    if not _NUMBER.fullmatch(text):
        return price_of(load_target(text), output_share)
    try:
        return Price(f"{text} USD/M", Fraction(parse_usd(text)))
    except ValueError as error:
        raise UserError(str(error)) from None


def cents(usd: Fraction) -> Decimal:
    """To the cent, half up: 1.4375 -> 1.44."""
    with localcontext() as context:
        context.prec = 60
        return (Decimal(usd.numerator) / Decimal(usd.denominator)).quantize(
            Decimal("0.01"), ROUND_HALF_UP
        )


def bill_usd(tokens: int, price: Price, overhead: Fraction = Fraction(0)) -> Fraction:
    """What `tokens` useful tokens cost when `overhead` of their cost is paid on top."""
    return tokens * price.usd_per_million / MILLION * (1 + overhead)


def saving(usd: Fraction, other_usd: Fraction) -> Fraction | None:
    """Share of the other bill that is saved; None when the other costs nothing."""
    return 1 - usd / other_usd if other_usd else None


def break_even_tokens(
    price: Price,
    discount: Fraction,
    engineering_usd: Fraction,
) -> Fraction | None:
    """Tokens a month above which a direct contract at `discount` pays for its engineers; None if
    never.
    """
    saved = price.usd_per_million * discount / MILLION
    return engineering_usd / saved if saved else None


@dataclass(frozen=True)
class Assumed:
    """What a bill rests on beside its price; a measured run takes the place of the overhead."""

    overhead: Fraction
    #: "assumed", or the run it was measured in
    overhead_from: str
    discount: Fraction
    engineering_usd: Fraction
    breach_usd: Fraction | None = None
    #: limits of the overhead where it was measured
    overhead_limits: tuple[float | None, float | None] = (None, None)


def cost_record(
    stages: Sequence[CostStage],
    price: Price,
    other: Price,
    assumed: Assumed,
) -> CostRecord:
    """The bills of a price at each stage, beside those of the other."""
    even = break_even_tokens(price, assumed.discount, assumed.engineering_usd)
    reason = None
    if even is None:
        reason = "without a discount a direct contract never pays"
        if not price.usd_per_million:
            reason = "the price is zero"
    return CostRecord(
        target=price.name,
        compare_with=other.name,
        usd_per_million=float(price.usd_per_million),
        other_usd_per_million=float(other.usd_per_million),
        as_of=price.as_of,
        overhead=float(assumed.overhead),
        overhead_from=assumed.overhead_from,
        stages=[_stage_cost(stage, price, other, assumed) for stage in stages],
        direct=DirectCost(
            discount=float(assumed.discount),
            engineering_usd=float(cents(assumed.engineering_usd)),
            break_even_tokens=None if even is None else round(even),
            reason=reason,
        ),
        breach_usd=None if assumed.breach_usd is None else float(cents(assumed.breach_usd)),
    )


def _stage_cost(
    stage: CostStage,
    price: Price,
    other: Price,
    assumed: Assumed,
) -> StageCost:
    tokens = stage.tokens_per_month
    usd = bill_usd(tokens, price)
    other_usd = bill_usd(tokens, other)
    real = bill_usd(tokens, price, assumed.overhead)
    direct = usd * (1 - assumed.discount) + assumed.engineering_usd
    lower, upper = (
        None if limit is None else float(cents(usd * (1 + Fraction(limit))))
        for limit in assumed.overhead_limits
    )
    return StageCost(
        stage=stage.name,
        users=stage.users,
        tokens=tokens,
        usd=float(cents(usd)),
        other_usd=float(cents(other_usd)),
        saving=_number(saving(usd, other_usd)),
        usd_with_overhead=float(cents(real)),
        interval_usd=(lower, upper),
        saving_with_overhead=_number(saving(real, other_usd)),
        direct_usd=float(cents(direct)),
    )


def _number(share: Fraction | None) -> float | None:
    return None if share is None else float(share)


def measured_price(spend: Spend, name: str) -> Price:
    """The first choice's price at the run's own mix of input and output."""
    return Price(
        name,
        blended(spend.first, spend.output_share, f"target {name}"),
        str(spend.first.as_of),
    )


def overhead_limits(spend: Spend) -> tuple[float | None, float | None]:
    """Limits of the overhead, drawn by time block: a burst of failures is one event."""
    came = spend.due_ns >= 0
    limits = ratio_limits(
        spend.paid[came],
        spend.useful[came],
        time_blocks(spend.due_ns[came]),
        ALPHA,
    )
    lower, upper = (None if limit is None else limit - 1 for limit in limits)
    return lower, upper


def spend_record(spend: Spend, target: str) -> SpendRecord:
    """What `cost RUN` says of one lane beside the bills: tokens, sums, overhead with its interval,
    forecast.
    """
    billed = forecast_interval(spend)
    return SpendRecord(
        target=target,
        usd=float(spend.paid_usd),
        useful_usd=float(spend.useful_usd),
        useful_tokens=UsefulTokens(prompt=spend.useful_prompt, output=spend.useful_output),
        wasted_tokens=spend.wasted_tokens,
        calls_without_usage=spend.assumed,
        overhead=_number(spend.overhead),
        overhead_95=overhead_limits(spend),
        forecast=ForecastRecord(
            forecast_usd=billed.forecast_usd,
            actual_usd=billed.actual_usd,
            ratio=billed.ratio,
            interval=billed.interval,
            margin=billed.margin,
            holds=billed.holds,
            reason=billed.reason,
        ),
    )
