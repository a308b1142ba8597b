"""`tailproof resume`: what a run that broke off left, played as a second sitting in the same
folder.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

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

    Requests keep the distances they were planned with; those that may have been under way are cut
    off and not sent again. The time between the sittings stays a gap, in the files and in the
    report. Refused for a run that has an end, for closed loops, and where a file of the plan has
    changed.
    """
    from bench.app.conduct import conduct
    from bench.cli.approval import approve
    from bench.cli.run import suite_of
    from bench.cli.screen import make_screen, tell_run
    from bench.load.guard import Caps
    from bench.load.sitting import refuse_unless_broken_off
    from bench.plan.prompts import load_tokenizer
    from bench.record.run_folder import read_manifest

    manifest = read_manifest(folder)
    refuse_unless_broken_off(manifest, folder)
    flags = flags_of(manifest["repeat_command"], folder)
    loaded, seed = suite_of(flags), int(flags["seed"])
    cap = approve(
        loaded, seed, 1, max_cost=flags["max_cost"], max_requests=flags["max_requests"], yes=yes
    )
    done = conduct(
        loaded,
        seed,
        repeat_command="",
        screen=make_screen(loaded, quiet=quiet),
        resume=folder,
        tokenizer=load_tokenizer(flags["tokenizer"]) if flags["tokenizer"] else None,
        workers=flags["workers"],
        caps=Caps(cap, not flags["no_stop_rule"]),
    )
    if form == "json":
        print_runs([done], done.exit_code)
    else:
        tell_run(done, form)
    return int(done.exit_code)


def flags_of(repeat_command: str, folder: Path) -> dict[str, Any]:
    """The flags of `tailproof run` as a run's own command has them, `suite` among them.

    Raises UserError for a ramp's probe.
    """
    from bench.cli.run import run
    from bench.errors import UserError

    words = shlex.split(repeat_command)
    if words[1:2] != ["run"]:
        raise UserError(
            "was not begun by `tailproof run`",
            where=str(folder),
            remedy=f"run it again: {repeat_command}",
        )
    return run.make_context("run", words[2:]).params
