"""`tailproof run`: a suite, or one target described by flags, is played and judged."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import extras
from bench.cli.flags import (
    CONTRACT_AND_HTTP,
    LENGTH,
    NO_STOP_RULE,
    OVER_HTTP,
    SEED,
    SIZES,
    TARGET_AND_RATE,
    WORKERS,
    YES,
    CensusFlags,
    SuiteFlags,
    filing_flags,
    filing_of,
    parsed_usd,
    ready_to_file,
    takes,
    with_options,
)
from bench.cli.help import command
from bench.cli.output import (
    format_option,
    own_folder,
    print_runs,
    print_screen,
    quiet_option,
)
from bench.cli.resume import repeat_command
from bench.cli.run_flags import metrics_flags, monitored, shard_of
from bench.cli.several import refuse_over
from bench.cli.sizes import (
    CHOSEN_LENGTH,
    over_quota,
    stretch_of,
    undecidable,
    with_size,
    words_of,
)

if TYPE_CHECKING:
    from bench.app.conclude import Finished
    from bench.app.conduct import Screen
    from bench.app.exporter import Exporter
    from bench.app.simulate import VirtualPlan
    from bench.load.options import RunOptions
    from bench.load.shard import Shard
    from bench.plan.schedule import Plan
    from bench.plan.suite import Suite

_SIZE = click.IntRange(min=1)
#: Modules of extras that play a run elsewhere. Each has OPTIONS (flags of `run`), `asked(flags)`,
#: `refuse(flags, others, virtual=...)` and `play(plan, options, screen, flags, filing)`; the flags
#: are those of `RunFlags.elsewhere`.
_ELSEWHERE = list(extras.modules("run"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFlags(SuiteFlags):
    """The flags of `run`."""

    tokenizer: str | None = None
    repeat: int = 1
    over: str | None = None
    max_requests: int | None = None
    max_cost: str | None = None
    shard: str | None = None
    start_at: str | None = None
    vantage: str | None = None
    out: Path | None = None
    early_stop: bool = False
    metrics_port: int | None = None
    otlp_endpoint: str | None = None
    quiet: bool = False
    pdf: bool = False
    junit_inconclusive: str = "skip"
    form: str = "text"
    #: flags of the extras, by name
    elsewhere: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@command(short_help="Send requests, judge and report.")
@click.argument("suite", required=False)
@with_options(*TARGET_AND_RATE, *LENGTH, *CHOSEN_LENGTH, *SIZES)
@click.option(
    "--tokenizer",
    help='Exact prompt sizes: "deepseek" or a tokenizer.json (needs tailproof[tokenizer]).',
)
@with_options(*CONTRACT_AND_HTTP, SEED)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    help="Run N times with seeds one apart and show the spread.",
)
@click.option(
    "--over",
    metavar="TIME",
    help="With --repeat: begin the runs at random times within this, e.g. 7d, and judge them"
    " together; ten at least decide. The same command with the same --out goes on.",
)
@click.option(
    "--max-requests",
    type=_SIZE,
    help=(
        "Refuse a plan of more requests than this.  [default: 10,000 where they leave this machine]"
    ),
)
@click.option(
    "--max-cost",
    metavar="USD",
    help="Refuse a plan that costs more, and end the run before it does.",
)
@with_options(NO_STOP_RULE, YES, WORKERS)
@click.option(
    "--shard",
    metavar="I/N",
    help="Send part I of N of the plan, counted from 1; `tailproof merge` judges all parts.",
)
@click.option("--start-at", metavar="TIME", help="Begin at this instant: Unix seconds or RFC 3339.")
@click.option(
    "--vantage",
    metavar="NODE[@REGION]",
    help="Where this shard is sent from; the merged run reports each place.",
)
@with_options(*(option for module in _ELSEWHERE for option in module.OPTIONS))
@own_folder()
@click.option(
    "--early-stop",
    is_flag=True,
    help=(
        "Look at 25, 50 and 75 % of the run and end it once every clause is decided; each look, and"
        " the end, is judged at a quarter of the error allowed."
    ),
)
@with_options(OVER_HTTP)
@metrics_flags
@quiet_option
@filing_flags
@format_option(github=True)
@takes(RunFlags)
def run(flags: RunFlags) -> int:
    """Send the requests of a suite, or of one target, judge them and report.

    SUITE is a suite or scenario by built-in name or .toml path. Without SUITE and --url the
    suite `field-guide` rehearses on the built-in simulator.
    """
    from bench.cli.judge import judge_census

    suite = suite_of(flags)
    size, said = with_size(flags, suite)
    if size:
        flags = dataclasses.replace(flags, **size)
        suite = suite_of(flags)
    if not suite.stages:
        return judge_census(
            CensusFlags(census=(str(flags.suite),), out=flags.out), None, flags.form
        )
    ready_to_file(pdf=flags.pdf)
    shard = shard_of(
        flags.shard, flags.start_at, flags.vantage, flags.repeat, early_stop=flags.early_stop
    )
    refuse_places(suite, flags, shard)
    if flags.over is not None:
        refuse_over(flags.repeat, suite, early_stop=flags.early_stop, form=flags.form)
    seed = flags.seed if flags.seed is not None else suite.seed
    plan = _planned(suite, seed, shard)
    said += undecidable(plan) if flags.size_for or not size else []
    said += over_quota(plan)
    runs = _Runs(suite, seed, _options(flags, plan, shard), words_of(size), said, flags)
    if flags.over is not None:
        return _over(runs, flags.over)
    return _printed(_in_a_row(runs, plan), flags.form)


def _options(flags: RunFlags, plan: Plan | VirtualPlan, shard: Shard) -> RunOptions:
    """How each run is played. Raises UserError for what may not be sent."""
    from bench.cli.screen import approve
    from bench.errors import UserError
    from bench.load.guard import Caps
    from bench.load.options import RunOptions
    from bench.plan.prompts import load_tokenizer
    from bench.plan.schedule import Plan

    cap = approve(
        plan if isinstance(plan, Plan) else plan.plan,
        flags.repeat,
        max_cost=parsed_usd("--max-cost", flags.max_cost),
        max_requests=flags.max_requests,
        yes=flags.yes,
    )
    if flags.repeat > 1 and flags.out is not None and (flags.out / "run.json").exists():
        raise UserError("holds a run already", where=str(flags.out), remedy="choose another --out")
    return RunOptions(
        folder=flags.out,
        tokenizer=load_tokenizer(flags.tokenizer) if flags.tokenizer else None,
        workers=flags.workers,
        caps=Caps(cap, not flags.no_stop_rule),
        max_requests=flags.max_requests,
        early_stop=flags.early_stop,
        stretch=stretch_of(flags.stretch),
        shard=shard,
    )


@dataclasses.dataclass(frozen=True)
class _Runs:
    """Several runs of one suite, or one, with seeds one apart."""

    suite: Suite
    seed: int
    options: RunOptions
    #: the flags of a size that was chosen
    size: list[str]
    #: of the plan, before the first is sent
    said: list[str]
    flags: RunFlags

    def again(self, seed: int) -> str:
        """The command that plays the run of this seed again."""
        return repeat_command(sys.argv, seed, size=self.size)

    def options_of(self, number: int) -> RunOptions:
        """Of one of them, counted from 0."""
        again = self.again(self.seed + number)
        options = dataclasses.replace(self.options, repeat_command=again)
        if self.flags.repeat > 1 and self.flags.out is not None:
            options = dataclasses.replace(options, folder=self.flags.out / str(number + 1))
        return options


def _in_a_row(runs: _Runs, first: Plan | VirtualPlan) -> list[Finished]:
    """One after the other, until one is interrupted."""
    finished: list[Finished] = []
    for number in range(runs.flags.repeat):
        shard = runs.options.shard
        plan = _planned(runs.suite, runs.seed + number, shard) if number else first
        said = [] if number else runs.said
        done = _once(plan, runs.options_of(number), runs.flags, said)
        finished.append(done)
        if done.records.summary.state == "interrupted":
            break
    return finished


def _over(runs: _Runs, over: str) -> int:
    """At random times, then judged together."""
    from bench.cli.several import OverTime, run_over

    flags, words = runs.flags, ["--repeat", str(runs.flags.repeat), "--over", over]
    asked = OverTime(
        runs.suite,
        runs.seed,
        flags.repeat,
        over,
        runs.options,
        runs.again,
        f"{runs.again(runs.seed)} {shlex.join(words)}",
        runs.said,
        flags.form,
        flags.quiet,
    )
    return run_over(asked, lambda plan, options: _once(plan, options, flags, (), shown=False))


def _planned(suite: Suite, seed: int, shard: Shard) -> Plan | VirtualPlan:
    from bench.app.simulate import plan_virtual
    from bench.plan.schedule import compile_plan

    if shard.of == 1 and _virtual(suite):
        return plan_virtual(suite, seed)
    return compile_plan(suite, seed)


def _once(
    plan: Plan | VirtualPlan,
    options: RunOptions,
    flags: RunFlags,
    said: Sequence[str],
    *,
    shown: bool = True,
) -> Finished:
    """One run, shown as it goes on; its last screen where it is `shown`."""
    from bench.cli.screen import make_screen, tell_run

    screen = make_screen(quiet=flags.quiet, said=said)
    with monitored(flags.metrics_port, flags.otlp_endpoint, screen.warn) as exporter:
        done = _play(plan, options, screen, exporter, flags)
        if shown:
            tell_run(done, flags.form)
        exporter.judged(done.folder, wait=done.records.summary.state == "complete")
    return done


def _play(
    plan: Plan | VirtualPlan,
    options: RunOptions,
    screen: Screen,
    exporter: Exporter,
    flags: RunFlags,
) -> Finished:
    """Where the flags say: in the simulator, elsewhere, or from here."""
    from bench.app.conduct import conduct
    from bench.app.simulate import VirtualPlan, simulate

    filing = filing_of(flags.pdf, flags.junit_inconclusive)
    if isinstance(plan, VirtualPlan):
        return simulate(plan, options, filing=filing)
    for module in _ELSEWHERE:
        if module.asked(flags.elsewhere):
            done: Finished = module.play(plan, options, screen, flags.elsewhere, filing)
            return done
    return conduct(plan, options, screen, opened=exporter.follow, filing=filing)


def _printed(finished: list[Finished], form: str) -> int:
    """What is said once all runs are over; the exit code."""
    from bench.app.conclude import worst_exit
    from bench.show.last_screen import spread_table

    exit_code = worst_exit([done.exit_code for done in finished])
    if form == "json":
        print_runs(finished, exit_code)
    whole = [done for done in finished if done.records.summary.state == "complete"]
    if form == "text" and len(whole) > 1:
        print_screen([spread_table([done.records.summary for done in whole])])
    return int(exit_code)


def _virtual(suite: Suite) -> bool:
    return all(stage.simulated for stage in suite.stages)


def suite_of(flags: SuiteFlags) -> Suite:
    """The suite that the flags of `run` name, or describe, or change."""
    from bench.cli.adhoc import adhoc_suite, override_suite
    from bench.plan.suite import load_suite

    name = "field-guide" if flags.suite is None and flags.url is None else flags.suite
    loaded = override_suite(load_suite(name), flags) if name is not None else adhoc_suite(flags)
    times = stretch_of(flags.stretch)
    loaded = loaded if times is None else loaded.stretched(times)
    return loaded.over_http() if flags.over_http else loaded


def refuse_places(suite: Suite, flags: RunFlags, shard: Shard) -> None:
    """Raises UserError for what the simulator, or a run played elsewhere, has no place for."""
    from bench.errors import UserError

    if flags.start_at and _virtual(suite):
        raise UserError(
            "does not go with a suite that the simulator computes: nothing is sent",
            where="--start-at",
            remedy="leave it out, or add --over-http",
        )
    others = {
        "--shard": shard.of > 1,
        "--repeat": flags.repeat > 1,
        "--early-stop": flags.early_stop,
        "--metrics-port": flags.metrics_port is not None,
        "--otlp-endpoint": flags.otlp_endpoint is not None,
    }
    for module in _ELSEWHERE:
        module.refuse(flags.elsewhere, others, virtual=_virtual(suite))
