"""`tailproof cost`: monthly bills, by list price or by what a run was billed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

from bench.cli.flags import takes
from bench.cli.help import command
from bench.cli.output import format_option, print_json, print_result

if TYPE_CHECKING:
    from fractions import Fraction

    from bench.extras.cost.cost import Assumed, CostStage, CostTable
    from bench.extras.cost.record import CostRecord, TargetCost
    from bench.judge.spend import Spend
    from bench.record.records.manifest import LaneRecord

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CostFlags:
    """The flags of `cost`."""

    which: str | None
    table: str
    target: str | None
    compare_with: str | None
    tokens_per_month: str | None
    overhead: str | None
    output_share: str | None
    direct_discount: str | None
    engineering_usd: str | None
    contract: str | None
    form: str


@command(short_help="Monthly bills: by list price, or with the overhead that a run measured.")
@click.argument("which", metavar="[RUN[:NAME]]", required=False)
@click.option(
    "--table",
    default="field-guide",
    show_default=True,
    help="Stages and assumptions: built-in name or .toml path.",
)
@click.option("--target", help="Target whose price is paid.  [default: the table's]")
@click.option(
    "--compare-with",
    metavar="TARGET|USD",
    help="Target, or USD per million tokens.  [default: the table's]",
)
@click.option(
    "--tokens-per-month",
    metavar="N",
    help="One volume such as 500M in place of the table's stages.",
)
@click.option(
    "--overhead",
    metavar="SHARE",
    help="Paid on top of useful tokens.  [default: the run's; the table's without one]",
)
@click.option(
    "--output-share",
    metavar="SHARE",
    help="Share of output among the tokens, where its price differs.",
)
@click.option(
    "--direct-discount",
    metavar="SHARE",
    help="What a direct contract saves.  [default: the table's]",
)
@click.option(
    "--engineering-usd",
    metavar="USD",
    help="What its engineers cost a month.  [default: the table's]",
)
@click.option("--contract", help="Contract that prices a breach.  [default: the run's]")
@format_option()
@takes(CostFlags)
def cost(flags: CostFlags) -> int:
    """Print what a month costs at each stage of a cost table, and what going direct would.

    With RUN, a folder below results/, prices, mix of tokens and overhead (failed, repeated and
    rerouted calls) are those that the run measured, for each of its targets.
    """
    from bench.extras.cost.record import Costs, TargetCost
    from bench.extras.cost.shown import cost_screen
    from bench.show.result import Result

    if flags.which:
        found = _of_run(flags.which, flags)
    else:
        found = [TargetCost(cost=_by_list_price(flags))]
    if flags.form == "json":
        print_json(Costs(format=Costs.FORMAT, targets=found).to_json())
        return 0
    lead, *body = (node for each in found for node in cost_screen(each))
    print_result(Result([lead], body))
    return 0


def _by_list_price(flags: CostFlags) -> CostRecord:
    from bench.extras.cost.cost import cost_record, load_costs, price_named

    table = load_costs(flags.table)
    share = _parsed(_share, flags, "output_share")
    price = price_named(flags.target or table.target, share)
    other = price_named(flags.compare_with or table.compare_with, share)
    return cost_record(_stages(flags, table), price, other, _assumed(flags, table, None))


def _of_run(which: str, flags: CostFlags) -> list[TargetCost]:
    from bench.cli.flags import picked
    from bench.errors import UserError
    from bench.extras.cost.cost import (
        cost_record,
        load_costs,
        measured_price,
        price_named,
        spend_record,
    )
    from bench.extras.cost.record import TargetCost
    from bench.judge.spend import spend_of

    for key in ("target", "output_share"):
        if getattr(flags, key) is not None:
            raise UserError(
                "does not go with RUN, which has its own",
                where=f"--{key.replace('_', '-')}",
                remedy="leave it out",
            )
    run, name = picked(which)
    table = load_costs(flags.table)
    found: list[TargetCost] = []
    for index, lane in enumerate(run.lanes):
        if name not in (None, lane.name):
            continue
        spend = spend_of(run, index)
        reason = spend if isinstance(spend, str) else spend.unsummed
        if isinstance(spend, str) or reason is not None:
            found.append(TargetCost(target=lane.name, cost=None, reason=reason))
            continue
        other = price_named(flags.compare_with or table.compare_with, spend.output_share)
        assumed = _assumed(flags, table, (spend, run.manifest.run, lane))
        price = measured_price(spend, lane.name)
        found.append(
            TargetCost(
                target=lane.name,
                cost=cost_record(_stages(flags, table), price, other, assumed),
                spent=spend_record(spend, lane.name),
            )
        )
    return found


def _stages(flags: CostFlags, table: CostTable) -> list[CostStage]:
    from bench.extras.cost.cost import CostStage, parse_tokens

    volume = _parsed(parse_tokens, flags, "tokens_per_month")
    if volume is None:
        return table.stages
    return [CostStage(name="as asked", tokens_per_month=volume)]


def _assumed(
    flags: CostFlags,
    table: CostTable,
    measured: tuple[Spend, str, LaneRecord] | None,
) -> Assumed:
    """What the bills rest on: flags before what the run measured, and that before the table."""
    from fractions import Fraction

    from bench.extras.cost.cost import Assumed, overhead_limits
    from bench.plan.contract import load_contract
    from bench.units import parse_usd

    overhead = _parsed(_share, flags, "overhead")
    source = "assumed"
    limits: tuple[float | None, float | None] = (None, None)
    contract = load_contract(flags.contract) if flags.contract else None
    if measured is not None:
        spend, run, lane = measured
        if overhead is None:
            overhead = spend.overhead
            source = run
            limits = overhead_limits(spend)
        contract = contract or lane.contract
    discount = _parsed(_share, flags, "direct_discount")
    engineering = _parsed(parse_usd, flags, "engineering_usd")
    breach = contract.breach_cost_usd if contract else None
    return Assumed(
        table.overhead if overhead is None else overhead,
        source,
        table.direct_discount if discount is None else discount,
        Fraction(table.engineering_usd if engineering is None else engineering),
        None if breach is None else Fraction(breach),
        limits,
    )


def _share(text: str) -> Fraction:
    """`30%` or `0.3`, which a file may write as well."""
    from bench.units import parse_share

    try:
        bare = float(text)
    except ValueError:
        return parse_share(text)
    return parse_share(bare)


def _parsed(parse: Callable[[str], T], flags: CostFlags, key: str) -> T | None:
    from bench.errors import UserError

    text = getattr(flags, key)
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise UserError(str(error), where=f"--{key.replace('_', '-')}") from None
