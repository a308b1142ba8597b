"""Bills by stage, what a run was billed, and where going direct breaks even.

In: the record of `cost`. Out: tables and sentences. Must stay true: sums stand
to the cent, or to three digits below 1 USD, with their currency in the heading; what is assumed and
what was measured are kept apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.extras.cost.record import CostRecord, SpendRecord, StageCost, TargetCost
from bench.show.document import Column, Heading, Node, Pairs, Table, Text
from bench.show.wording import between, change, count, exact, per_cent, usd, visible
from bench.units import show_usd

_SIZES = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def tokens(value: int) -> str:
    """`500 M`, `5 B`."""
    size, unit = next(((size, unit) for size, unit in _SIZES if value >= size), (1, ""))
    return f"{exact(value / size)} {unit}".rstrip()


def cost_screen(found: TargetCost) -> list[Node]:
    """The bills of one target, and what the run was billed, where there was one; or why there is no
    sum.
    """
    record, spent = found.cost, found.spent
    if record is None:
        no_sum = Text(visible(found.reason or ""), "no sum")
        return [Heading(f"Cost of {visible(found.target, 60)}"), no_sum]
    return [
        Heading(f"Cost of {visible(record.target, 60)}"),
        *([Pairs(list(_spent(spent)))] if spent else []),
        cost_table(record),
        *map(Text, _notes(record)),
    ]


@dataclass(frozen=True)
class _Bill:
    """A month at one size of business, and what all bills of the table rest on."""

    record: CostRecord
    stage: StageCost


def _target(rows: Sequence[_Bill]) -> str:
    return visible(rows[0].record.target, 30)


def _other(rows: Sequence[_Bill]) -> str:
    return visible(rows[0].record.compare_with, 30)


def _overhead(rows: Sequence[_Bill]) -> str:
    return f"with {per_cent(rows[0].record.overhead, 1)} overhead"


def _measured(rows: Sequence[_Bill]) -> bool:
    return rows[0].record.overhead_from != "assumed"


COST_COLUMNS: list[Column[_Bill]] = [
    Column("stage", lambda bill: visible(bill.stage.stage, 30), "words"),
    Column("users", lambda bill: visible(bill.stage.users, 20)),
    Column("tokens", lambda bill: tokens(bill.stage.tokens)),
    Column(_target, lambda bill: usd(bill.stage.usd)),
    Column(_other, lambda bill: usd(bill.stage.other_usd)),
    Column("saving", lambda bill: change(bill.stage.saving, 1)),
    Column(_overhead, lambda bill: usd(bill.stage.usd_with_overhead)),
    Column(
        "95 % interval",
        lambda bill: between(bill.stage.interval_usd, usd),
        show_if=_measured,
    ),
    Column("saving then", lambda bill: change(bill.stage.saving_with_overhead, 1)),
    Column("direct", lambda bill: usd(bill.stage.direct_usd)),
]


def cost_table(record: CostRecord) -> Table[_Bill]:
    """One row a stage, USD a month; a saving below zero: the comparison is the cheaper one."""
    return Table(
        f"USD a month at {exact(record.usd_per_million)} against"
        f" {exact(record.other_usd_per_million)} USD per million tokens",
        COST_COLUMNS,
        [_Bill(record, stage) for stage in record.stages],
    )


def _notes(record: CostRecord) -> Iterator[str]:
    whose = (
        "assumed"
        if record.overhead_from == "assumed"
        else f"measured in {visible(record.overhead_from, 120)}"
    )
    dated = f"; price as of {visible(record.as_of, 20)}" if record.as_of else ""
    yield f"Overhead of {per_cent(record.overhead, 2)} is {whose}{dated}."
    direct = record.direct
    terms = (
        f"a direct contract at {per_cent(direct.discount)} less with"
        f" {show_usd(direct.engineering_usd)} USD of engineering a month"
    )
    yield (
        f"Break-even: {terms} pays above {tokens(direct.break_even_tokens)} tokens a month."
        if direct.break_even_tokens is not None
        else f"Break-even: {terms} has none: {direct.reason}."
    )
    if record.breach_usd is not None:
        last = record.stages[-1]
        bills = (
            f", {record.breach_usd / last.usd:,.0f} monthly bills of {visible(last.stage, 30)}"
            if last.usd
            else ""
        )
        yield (f"One breach of the contract is priced at {show_usd(record.breach_usd)} USD{bills}.")


def _spent(spent: SpendRecord) -> Iterator[tuple[str, str]]:
    useful = spent.useful_tokens
    yield (
        "billed",
        (
            f"{show_usd(spent.usd)} USD, of which {show_usd(spent.useful_usd)} USD is the"
            " list price of the useful tokens"
        ),
    )
    yield (
        "useful tokens in and out",
        (f"{count(useful.prompt)} and {count(useful.output)}; wasted {count(spent.wasted_tokens)}"),
    )
    if spent.calls_without_usage:
        yield (
            "taken as planned",
            (
                f"the prompts of {count(spent.calls_without_usage)} calls whose usage the server"
                " did not state"
            ),
        )
    forecast = spent.forecast
    said = {True: "holds", False: "does not hold", None: "undecided"}[forecast.holds]
    if forecast.ratio is not None:
        low, high = forecast.interval
        limits = "" if low is None or high is None else f" ({between(forecast.interval, _tenths)})"
        said = (
            f"{change(forecast.ratio, 1)} of it{limits}: within {per_cent(forecast.margin)}"
            f" either way {said}"
        )
    yield (
        "forecast from planned tokens",
        f"{show_usd(forecast.forecast_usd)} USD; billed {said}"
        + (f", {forecast.reason}" if forecast.reason else ""),
    )


def _tenths(share: float) -> str:
    return change(share, 1)
