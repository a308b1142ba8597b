"""Commands that send nothing: `plan`, `simulate` and `profiles`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.flags import filing_flags, filing_of, parsed, parsed_rate, ready_to_file, takes
from bench.cli.help import command
from bench.cli.output import (
    described,
    format_option,
    named,
    own_folder,
    print_json,
    print_lines,
    print_result,
    print_runs,
    quiet_option,
    wants_all,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

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


@command(short_help="Show what a suite would send and whether that can decide.")
@click.argument("suite")
@click.option("--contract", help="Built-in name or .toml path: hold every target to this contract.")
@click.option(
    "--rate",
    help='Requests a second of every stage, such as 50, or "120/min".  [default: the suite\'s]',
)
@click.option(
    "--slow-share",
    help=(
        "Guess of the true share over a latency limit.  [default: half and twice the allowed share]"
    ),
)
@click.option(
    "--uptime-guess",
    help="Guess of the true share of requests served, such as 99.97%."
    "  [default: half and twice the share that may fail]",
)
@click.option(
    "--power",
    default="80%",
    show_default=True,
    help="Chance that a run of the needed size decides the clause.",
)
@click.option(
    "--design-effect",
    type=click.FloatRange(min=1),
    default=1.0,
    show_default=True,
    help="How many requests that come in clusters count as one independent (bursts: 4 to 70).",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of the schedule.  [default: the suite's]"
)
@format_option()
@takes(PlanFlags)
def plan(flags: PlanFlags) -> int:
    """Print how large a run each clause of SUITE needs, and how likely the suite itself decides it.

    Each line assumes a true share of bad requests, such as "if truly 0.5 % bad". Beside it stand
    the requests that decide the clause, how long they take at the suite's rate and what they cost,
    then the chances of PASS, FAIL and INCONCLUSIVE (open) of the suite as it is. Nothing is sent.
    """
    from bench.errors import UserError
    from bench.judge.contract.sizing import Assumed, size_plan
    from bench.plan.quota import excesses
    from bench.plan.schedule import compile_plan
    from bench.plan.suite import load_suite
    from bench.show.sizing import excess_record, sizing_record
    from bench.units import parse_share

    assumed = Assumed(
        parsed("--power", parse_share, flags.power),
        flags.design_effect,
        parsed("--slow-share", parse_share, flags.slow_share),
        parsed("--uptime-guess", parse_share, flags.uptime_guess),
    )
    if not 0 < assumed.power < 1:
        raise UserError("must lie between 0 % and 100 %", where="--power", remedy="80% is usual")
    suite = load_suite(flags.suite)
    if not suite.stages:
        raise UserError(
            "holds a full log to judge, and no requests to plan",
            where=f"suite {suite.name}",
            remedy=f"tailproof run {flags.suite}",
        )
    compiled = compile_plan(_changed(suite, flags), flags.seed)
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
            | {"beyond_limits": [excess_record(each) for each in excesses(compiled)]}
        )
    else:
        _show(compiled, sizing, flags.suite)
    return 0


def _show(plan: Plan, sizing: Sizing, name: str) -> None:
    from bench.plan.quota import quota_said
    from bench.show.sizing import sizing_result
    from bench.show.wording import visible

    what = f"{visible(plan.suite.name, 40)}  {_length(plan)}"
    print_result(sizing_result(sizing, what, name, quota_said(plan)))


def _length(plan: Plan) -> str:
    """What is sent, and for how long; what is computed takes nobody's time."""
    import numpy as np

    from bench.units import show_duration

    live = plan.live()
    sent = int(np.isin(plan.schedule["lane"], [lane.index for lane in live.lanes]).sum())
    virtual = len(plan.schedule) - sent
    parts = [f"{sent:,} requests in {show_duration(live.end_ns)}"] if sent else []
    parts += [f"{virtual:,} requests computed by the simulator, within seconds"] if virtual else []
    return f"{' and '.join(parts)}, seed {plan.seed}"


def _changed(suite: Suite, flags: PlanFlags) -> Suite:
    """The suite under another contract, or at another rate. Raises UserError."""
    from bench.plan.contract import load_contract
    from bench.plan.profile import override_profile

    stages = suite.stages
    if flags.contract is not None:
        loaded = load_contract(flags.contract)
        stages = [stage.model_copy(update={"contract": loaded, "expect": []}) for stage in stages]
    if flags.rate is not None:
        per_s = parsed_rate("--rate", flags.rate)
        stages = [
            stage.model_copy(
                update={
                    "profile": override_profile(stage.profile, f"stage {stage.name!r}", rate=per_s)
                }
            )
            for stage in stages
        ]
    return suite.model_copy(update={"stages": stages})


@command(short_help="Compute a suite with the simulator, judge and report.")
@click.argument("suite")
@click.option(
    "--requests",
    type=click.IntRange(min=1),
    help="Lengthen or shorten the plan to this many measured requests; rates stay as they are.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of schedule and scenario.  [default: the suite's]",
)
@own_folder()
@quiet_option
@filing_flags
@format_option(github=True)
def simulate(
    suite: str,
    requests: int | None,
    seed: int | None,
    out: Path | None,
    quiet: bool,  # noqa: ARG001 its option silences the steps
    form: str,
    pdf: bool,
    junit_inconclusive: str,
) -> int:
    """Compute SUITE, a suite or scenario of the simulator's own targets. Nothing is sent.

    Plan, samples and verdicts are made as by `run`, at tens of thousands of requests a second.
    Every target is marked simulated.
    """
    from bench.app.simulate import plan_virtual
    from bench.app.simulate import simulate as play
    from bench.cli.screen import tell_run
    from bench.load.options import RunOptions
    from bench.plan.suite import load_suite

    ready_to_file(pdf=pdf)
    loaded = load_suite(suite)
    first = seed if seed is not None else loaded.seed
    length = ["--requests", str(requests)] if requests is not None else []
    again = shlex.join(["tailproof", "simulate", suite, *length, "--seed", str(first)])
    virtual = plan_virtual(loaded, first, requests)
    done = play(
        virtual,
        RunOptions(repeat_command=again, folder=out),
        filing=filing_of(pdf, junit_inconclusive),
    )
    tell_run(done, form)
    if form == "json":
        print_runs([done], done.exit_code)
    return int(done.exit_code)


def _warn_of_stale(names: Iterable[str]) -> None:
    """A sentence on standard error: vendors change terms, and a template does not know."""
    from bench.clock import today
    from bench.plan.contract import load_contract, stale

    if old := stale({name: load_contract(name) for name in names}, today()):
        listed = ", ".join(f"{name} ({day})" for name, day in old.items())
        click.echo(
            "tailproof: these contracts were compared with what their vendors publish more than 180"
            f" days ago: {listed}; read the terms again before you rely on them",
            err=True,
        )


_TITLES = {
    "suites": "suites",
    "scenarios": "scenarios (of the simulator)",
    "load": "load profiles",
    "targets": "targets",
    "contracts": "contracts",
    "costs": "cost tables",
}


@command(short_help="List the built-in suites, profiles, targets and contracts.")
@click.argument("kind", required=False, type=click.Choice(list(_TITLES)))
@click.option(
    "--path", is_flag=True, help="Print the folder that holds them, to copy and change them."
)
@format_option()
def profiles(kind: str | None, path: bool, form: str) -> int:
    """List what is built in. Each name can stand where a .toml path can."""
    from bench.userfile import builtin_names, builtin_root, read_toml

    if path:
        root = str(builtin_root())
        if form == "json":
            print_json({"path": root})
        else:
            print_lines([root])
        return 0
    found = {}
    for folder in [kind] if kind else _TITLES:
        files = {
            name: read_toml(builtin_root() / folder / f"{name}.toml")
            for name in builtin_names(folder)
        }
        found[folder] = {
            name: data.get("description") or data.get("title", "") for name, data in files.items()
        }
    if "contracts" in found:
        _warn_of_stale(found["contracts"])
    if form == "json":
        print_json(found)
        return 0
    width = max(len(name) for listed in found.values() for name in listed)
    if kind is None and not wants_all():
        for folder, listed in found.items():
            print_lines(named(folder, listed))
        print_lines(["", "what each is: tailproof profiles KIND, or --full"])
        return 0
    for folder, listed in found.items():
        print_lines([_TITLES[folder], *described(listed, width, short=True)])
    return 0
