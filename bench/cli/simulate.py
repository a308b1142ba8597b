"""`tailproof simulate`: a suite in virtual time, judged like a run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from bench.cli.filing import filing_flags, filing_of, ready_to_file
from bench.cli.output import format_option, print_runs


@click.command(short_help="Play a suite in virtual time, judge and report.")
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
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The run's own folder.  [default: results/<time>-<suite>-<digest>]",
)
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@filing_flags
@format_option(github=True)
def simulate(
    suite: str,
    requests: int | None,
    seed: int | None,
    out: Path | None,
    quiet: bool,
    form: str,
    pdf: bool,
    junit_inconclusive: str,
) -> int:
    """Play SUITE, a suite or scenario on the embedded gateway, against its serving model in virtual
    time.

    The same schedule, the same samples, the same judgement as `run`, without a socket: tens of
    thousands of requests a second. Every target is marked simulated.

    \b
    tailproof simulate premium-placebo
    tailproof simulate vanity-average --requests 5000000 --out results/five-million
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
    with click.progressbar(
        length=requests or 1, label="simulated", file=sys.stderr, hidden=quiet or requests is None
    ) as bar:
        done = play(
            plan_virtual(loaded, first, requests),
            RunOptions(repeat_command=again, folder=out),
            on_played=bar.update,
            filing=filing_of(pdf, junit_inconclusive),
        )
    tell_run(done, form)
    if form == "json":
        print_runs([done], done.exit_code)
    return int(done.exit_code)
