"""`tailproof resume`: what a run that broke off left is played in the same folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from bench.cli.output import format_option, print_runs


@click.command(short_help="Go on with a run that was interrupted or killed.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "-y", "--yes", is_flag=True, help="Do not ask before what is left leaves this machine."
)
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@format_option(github=True)
def resume(folder: Path, yes: bool, quiet: bool, form: str) -> int:
    """Send what RUN never began, in the same folder, and judge both sittings together.

    Requests keep their planned distances. Those that may have been under way count as cut off and
    are not sent again. The time between the sittings stays a gap, in the files and in the report.
    Refused for a run that has ended, for closed loops, and where a file of the plan has changed.
    """
    from bench.app.conduct import conduct
    from bench.cli.screen import approve, make_screen, tell_run
    from bench.load.options import read_plan
    from bench.load.sitting import refuse_unless_broken_off
    from bench.record.run_folder import read_manifest

    manifest = read_manifest(folder)
    refuse_unless_broken_off(manifest, folder)
    plan, options = read_plan(folder)
    options.refuse_unless_alone(folder, manifest.repeat_command)
    approve(plan, 1, max_cost=options.caps.cost_usd, max_requests=options.max_requests, yes=yes)
    done = conduct(plan, dataclasses.replace(options, resume=folder), make_screen(quiet=quiet))
    if form == "json":
        print_runs([done], done.exit_code)
    else:
        tell_run(done, form)
    return int(done.exit_code)
