"""`tailproof resume`: what a run that broke off left is played in the same folder; and the command
that plays a run again, as its files keep it.

In: the words of a command line. Out: the same command without secrets. Must stay true: a header's
value is kept only where it is `${ENV}`; a flag of another tool is understood as ours.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from bench.cli.help import ALIASES, command
from bench.cli.output import format_option, print_runs, quiet_option

#: Command -> its flags that mean something else to other tools.
_OWN = {"ramp": {"--target"}}
#: Flags with a value that say where and how this once, not what is sent; the seed is spelled out at
#: the end.
_NOT_REPEATED = (
    "--seed",
    "--out",
    "--repeat",
    "--shard",
    "--start-at",
    "--vantage",
    "--over",
    "--format",
    "--metrics-port",
    "--otlp-endpoint",
)


def repeat_command(
    argv: list[str], seed: int, command: str = "run", size: Sequence[str] = ()
) -> str:
    """This command again, with its seed spelled out and its own folder, repetition, shard, format
    and monitors left out; `size` are the flags of the size that was chosen for it.

    It is kept in files, so a header's value is kept only where it is `${ENV}`.
    """
    words = ["tailproof", command]
    rest = iter(argv[2:] if argv[1:2] == [command] else [])
    for word in rest:
        flag, joined, value = word.partition("=")
        if flag not in _OWN.get(command, ()):
            flag = ALIASES.get(flag, flag)
        if flag in ("-y", "--yes"):
            continue  # whoever repeats it is asked again
        if flag in _NOT_REPEATED or (size and flag == "--size-for"):
            if not joined:
                next(rest, None)
        elif flag in ("-H", "--header"):
            words += ["--header", _without_secret(value if joined else next(rest, ""))]
        elif flag == "--extra-body":
            words += ["--extra-body", _body_without_secret(value if joined else next(rest, ""))]
        elif word.startswith("-H"):
            words += ["--header", _without_secret(word[2:])]
        else:
            words.append(flag + joined + value)
    return shlex.join([*words, *size, "--seed", str(seed)])


def _body_without_secret(text: str) -> str:
    """An extra body whose literal texts under telling keys are redacted; `${ENV}` stays."""
    from bench.plan.credentials import REDACTED, body_without_literals

    try:
        return json.dumps(body_without_literals(json.loads(text)))
    except ValueError:
        return REDACTED


def _without_secret(header: str) -> str:
    from bench.plan.credentials import header_without_literal

    name, _, value = header.partition(":")
    kept = header_without_literal(value)
    return header if kept == value else f"{name}: {kept}"


@command(short_help="Go on with a run that was interrupted or killed.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "-y", "--yes", is_flag=True, help="Do not ask before what is left leaves this machine."
)
@quiet_option
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
