"""`tailproof ramp`: the highest rate at which a contract still holds."""

from __future__ import annotations

import dataclasses
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.flags import (
    CONTRACT_AND_HTTP,
    NO_STOP_RULE,
    OVER_HTTP,
    SEED,
    SIZES,
    TARGET_AND_RATE,
    WORKERS,
    YES,
    SuiteFlags,
    parsed,
    parsed_rate,
    parsed_usd,
    takes,
    with_options,
)
from bench.cli.help import command
from bench.cli.output import format_option, own_folder, print_json, print_result, quiet_option
from bench.cli.resume import repeat_command
from bench.cli.run import suite_of
from bench.cli.sizes import over_quota

if TYPE_CHECKING:
    from bench.app.ramp_plan import Terms
    from bench.plan.suite import Suite


@dataclasses.dataclass(frozen=True, kw_only=True)
class RampFlags(SuiteFlags):
    """The flags of `ramp`; those of a length have no meaning in one."""

    target: str | None
    min_rate: str | None
    max_rate: str | None
    resolution: str
    max_probes: int
    max_requests: int | None
    max_cost: str | None
    max_time: str | None
    cool_down: str
    simulated: bool
    out: Path | None
    quiet: bool
    form: str


@command(short_help="Find the highest rate at which a contract still holds.")
@click.argument("suite", required=False)
@click.option("--target", metavar="NAME", help="Which target, where SUITE has several.")
@click.option("--min-rate", help="Lowest rate to try.  [default: a 64th of where it begins]")
@click.option("--max-rate", help="Highest rate to try.  [default: none]")
@click.option(
    "--resolution",
    default="10%",
    show_default=True,
    help="How far apart the rate that passed and the one that failed may be in the end.",
)
@click.option(
    "--max-probes",
    type=click.IntRange(1, 100),
    default=24,
    show_default=True,
    help="Probes at most; they and the last run share the error that the contract allows.",
)
@click.option(
    "--max-requests",
    type=click.IntRange(min=1),
    help="Requests of all runs together.  [default: 10,000 where they leave this machine]",
)
@click.option("--max-cost", metavar="USD", help="Cost of all runs together.")
@click.option(
    "--max-time", help='Load of all runs together, pauses left out, e.g. "2h".  [default: no limit]'
)
@click.option("--cool-down", default="5s", show_default=True, help="Pause between runs over HTTP.")
@click.option(
    "--simulated",
    is_flag=True,
    help="Compute the simulator's targets instead of sending to them.",
)
@own_folder("ramp")
@quiet_option
@format_option()
@with_options(*TARGET_AND_RATE, *SIZES, *CONTRACT_AND_HTTP)
@with_options(SEED, NO_STOP_RULE, YES, WORKERS, OVER_HTTP)
@takes(RampFlags)
def ramp(flags: RampFlags) -> int:
    """Search for the highest rate: it is doubled while the contract holds and halved while it is
    broken, then the search closes in.

    The search begins at the suite's own rate, or at --rate. Each probe is judged like any run;
    one that is not decided is made longer. The rate found is confirmed by a full run. Exit codes: 0
    found, 1 not even the lowest rate holds, 3 not decided, 4 the harness reached its limit before
    the server did.
    """
    from bench.app.ramp import Ramp
    from bench.app.ramp_plan import ramping
    from bench.cli.screen import make_screen
    from bench.errors import UserError
    from bench.plan.schedule import compile_plan
    from bench.show.ramp import ramp_result, write_ramp_report

    if flags.suite is None and flags.url is None:
        raise UserError("needs a suite", where="ramp", remedy="name one, or give --url and --model")
    loaded = ramping(suite_of(flags), flags.target)
    if flags.simulated:
        (stage,) = loaded.stages
        loaded = loaded.model_copy(
            update={"stages": [stage.model_copy(update={"simulated": True})]}
        )
    terms = _approved(loaded, _terms(loaded, flags), yes=flags.yes)
    if not (flags.quiet or flags.simulated):
        for said in over_quota(compile_plan(loaded, terms.seed)):
            click.echo(f"note: at the first rate {said}", err=True)
    searching = Ramp(
        loaded,
        terms,
        lambda: make_screen(quiet=flags.quiet),
        lambda text: None if flags.quiet else click.echo(text, err=True),
    )
    record = searching.go()
    last = searching.last
    final = last.records.verdicts if last is not None and record.final else None
    report = write_ramp_report(searching.folder, record, final)
    if flags.form == "json":
        print_json(
            {
                "format": 1,
                "folder": str(searching.folder),
                "report": str(report),
                "ramp": record.to_json(),
            }
        )
    else:
        print_result(ramp_result(record, report))
    return record.exit_code


def _terms(suite: Suite, flags: RampFlags) -> Terms:
    from bench.app.ramp_plan import Terms
    from bench.errors import UserError
    from bench.units import parse_duration_ns, parse_share

    resolution = parsed("--resolution", parse_share, flags.resolution)
    if not Fraction(1, 100) <= resolution <= 1:
        raise UserError(
            "must lie between 1 % and 100 %", where="--resolution", remedy="10% is usual"
        )
    seed = suite.seed if flags.seed is None else flags.seed
    return Terms(
        seed=seed,
        lowest=_bound("--min-rate", flags.min_rate),
        highest=_bound("--max-rate", flags.max_rate),
        resolution=resolution,
        max_probes=flags.max_probes,
        max_requests=flags.max_requests,
        max_cost_usd=parsed_usd("--max-cost", flags.max_cost),
        max_time_ns=parsed("--max-time", parse_duration_ns, flags.max_time),
        cool_down_ns=parsed("--cool-down", parse_duration_ns, flags.cool_down),
        workers=flags.workers,
        stop_rule=not flags.no_stop_rule,
        folder=flags.out,
        repeat_command=repeat_command(sys.argv, seed, "ramp"),
    )


def _bound(flag: str, value: str | None) -> Fraction | None:
    return None if value is None else parsed_rate(flag, value)


def _approved(suite: Suite, terms: Terms, *, yes: bool) -> Terms:
    """Ask once, for all that the caps allow, before anything leaves this machine; what nobody
    capped is capped.
    """
    from bench.app.simulate import lengthened
    from bench.cli.screen import approve
    from bench.plan.budget import REMOTE_REQUESTS, budget_of, is_remote
    from bench.plan.schedule import compile_plan

    (stage,) = suite.stages
    if stage.simulated or not any(is_remote(endpoint) for endpoint in stage.targets[0].endpoints):
        return terms
    most = terms.max_requests or REMOTE_REQUESTS
    begun = compile_plan(suite, terms.seed)
    whole = compile_plan(lengthened(begun, most)[0], terms.seed)
    usd = budget_of(whole).usd
    if terms.max_cost_usd is not None and usd is not None and usd > terms.max_cost_usd:
        affordable = max(1, int(most * terms.max_cost_usd / usd))
        whole = compile_plan(lengthened(begun, affordable)[0], terms.seed)
    approve(whole, 1, max_cost=None, max_requests=most, yes=yes)
    return dataclasses.replace(terms, max_requests=most)
