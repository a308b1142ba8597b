"""`tailproof plan`: what a suite would send and what that can decide, without sending it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from bench.cli.flags import parsed, takes
from bench.cli.output import format_option, print_json, screen_width

if TYPE_CHECKING:
    from bench.judge.contract.sizing import Sizing
    from bench.plan.schedule import Plan
    from bench.plan.suite import Suite


@dataclass(frozen=True, kw_only=True)
class PlanFlags:
    """The flags of `plan`."""

    suite: str
    contract: str | None
    rate: str | None
    slow_share: str | None
    uptime_guess: str | None
    power: str
    design_effect: float
    seed: int | None
    form: str


@click.command(short_help="Show what a suite would send and whether that can decide.")
@click.argument("suite")
@click.option("--contract", help="Built-in name or .toml path: hold every target to this contract.")
@click.option(
    "--rate", help="Requests per second of every stage, such as 20/s.  [default: the suite's]"
)
@click.option(
    "--slow-share",
    help=(
        "Guess of the true share over a latency limit.  [default: half and twice the allowed share]"
    ),
)
@click.option(
    "--uptime-guess",
    help="Guess of the true share of requests served, such as 99.97%.  [default: likewise]",
)
@click.option(
    "--power",
    default="80%",
    show_default=True,
    help="Chance to decide that the needed size is asked to have.",
)
@click.option(
    "--design-effect",
    type=click.FloatRange(min=1),
    default=1.0,
    show_default=True,
    help="How many dependent requests are worth one independent (bursts: 4 to 70).",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of the schedule.  [default: the suite's]"
)
@format_option()
@takes(PlanFlags)
def plan(flags: PlanFlags) -> int:
    """Compile SUITE and print, for each target and clause, what decides it and what the suite as it
    is would say.

    "If truly 0.5 % bad" is a guess of the truth; beside it stand the requests, the time at the
    suite's rate and the money that decide the clause, then the chances of PASS, FAIL and neither
    (open) of the suite as it is. Nothing is sent.
    """
    from bench.errors import UserError
    from bench.judge.contract.sizing import Assumed, size_plan
    from bench.plan.schedule import compile_plan
    from bench.plan.suite import load_suite
    from bench.show.sizing import sizing_record
    from bench.units import parse_share

    assumed = Assumed(
        parsed("--power", parse_share, flags.power),
        flags.design_effect,
        parsed("--slow-share", parse_share, flags.slow_share),
        parsed("--uptime-guess", parse_share, flags.uptime_guess),
    )
    if not 0 < assumed.power < 1:
        raise UserError("must lie between 0 % and 100 %", where="--power", remedy="80% is usual")
    compiled = compile_plan(_changed(load_suite(flags.suite), flags), flags.seed)
    sizing = size_plan(compiled, assumed)
    if flags.form == "json":
        live = compiled.live().lanes
        print_json(
            {
                "format": 1,
                "suite": compiled.suite.name,
                "seed": compiled.seed,
                "requests": len(compiled.schedule),
                "duration_ns": max((lane.end_ns for lane in live), default=0),
            }
            | sizing_record(sizing)
        )
    else:
        _show(compiled, sizing)
    return 0


def _show(plan: Plan, sizing: Sizing) -> None:
    import sys

    from rich.console import Console

    from bench.show.render_terminal import wrapped
    from bench.show.sizing import sizing_table
    from bench.show.wording import visible

    console = Console(file=sys.stdout, highlight=False, markup=False, width=screen_width())
    for said in (f"{plan.suite.name}: {visible(plan.suite.description)}", _length(plan)):
        console.print("\n".join(wrapped("", said, console.width)))
    console.print(sizing_table(sizing, console.width))


def _length(plan: Plan) -> str:
    """What is sent, and for how long; virtual time is nobody's."""
    import numpy as np

    from bench.units import show_duration

    live = plan.live()
    sent = int(np.isin(plan.schedule["lane"], [lane.index for lane in live.lanes]).sum())
    virtual = len(plan.schedule) - sent
    parts = [f"{sent:,} requests in {show_duration(live.end_ns)}"] if sent else []
    parts += [f"{virtual:,} requests in virtual time, which takes seconds"] if virtual else []
    return f"{' and '.join(parts)}, seed {plan.seed}"


def _changed(suite: Suite, flags: PlanFlags) -> Suite:
    """The suite under another contract, or at another rate. Raises UserError."""
    from bench.plan.contract import load_contract
    from bench.plan.suite import override_profile
    from bench.units import parse_rate_per_s

    stages = suite.stages
    if flags.contract is not None:
        loaded = load_contract(flags.contract)
        stages = [stage.model_copy(update={"contract": loaded, "expect": []}) for stage in stages]
    if flags.rate is not None:
        per_s = parsed("--rate", parse_rate_per_s, flags.rate)
        stages = [
            stage.model_copy(
                update={
                    "profile": override_profile(stage.profile, f"stage {stage.name!r}", rate=per_s)
                }
            )
            for stage in stages
        ]
    return suite.model_copy(update={"stages": stages})
