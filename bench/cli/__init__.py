"""The command line: flags in, wiring, exit codes out.

In: arguments. Out: an exit code. Must stay true: `--help` imports click and nothing heavier;
an error of the user's is one sentence on stderr, never a traceback; a folder is called damaged only
where a digest says so, or where it has none that could vouch for it.
"""

from __future__ import annotations

import copy
import difflib
import functools
import gc
import importlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bench import __version__, extras, machine
from bench.cli import progress, streams
from bench.errors import ExitCode, TailproofError

#: command -> module that holds it under the same name (`_` for `-`), by what it is for. Listed in
#: the order of use.
_COMMANDS = {
    "Measure": {
        "init": "bench.cli.init",
        "doctor": "bench.cli.doctor",
        "run": "bench.cli.run",
        "plan": "bench.cli.plan",
        "ramp": "bench.cli.ramp",
        "resume": "bench.cli.resume",
        "merge": "bench.cli.finished",
        "calibrate": "bench.cli.gateway",
    },
    "Judge": {
        "judge": "bench.cli.judge",
        "attribute": "bench.cli.finished",
        "report": "bench.cli.judge",
        "claim": "bench.cli.export",
        "verify": "bench.cli.finished",
        "sign": "bench.cli.finished",
        "export": "bench.cli.export",
    },
    "Compare": {
        "compare": "bench.cli.finished",
    },
    "Watch": {
        "watch": "bench.cli.watch",
    },
    "Learn": {
        "help": "bench.cli.learn",
        "profiles": "bench.cli.plan",
        "schema": "bench.cli.export",
        "gateway": "bench.cli.gateway",
        "simulate": "bench.cli.plan",
        "completion": "bench.cli.learn",
    },
}


#: Play or serve runs: they need Unix, and go on when their terminal is closed.
_PLAYING = {"init", "doctor", "run", "resume", "merge", "calibrate", "simulate", "watch", "ramp"}
_SERVING = {"gateway", "ui"}
#: Their exit code is a verdict, and their results are files or said by it: it stands whatever
#: became of what they print. Of the others, what they print is the result.
_JUDGING = {"judge", "report", "verify", "sign", "compare", "attribute"}
#: As sysexits.h has them: a fault of ours, and output that could not be written.
_FAULT, _UNWRITTEN = 70, 74


@functools.cache
def _groups() -> dict[str, dict[str, str]]:
    """Our commands and those of the installed extras, in the order of the help."""
    groups = {title: dict(held) for title, held in _COMMANDS.items()}
    for command, module, after in extras.commands():
        for title, held in groups.items():
            if after in held:
                names = list(held)
                names.insert(names.index(after) + 1, command)
                groups[title] = {name: held.get(name, module) for name in names}
                break
    return groups


@functools.cache
def _commands() -> dict[str, str]:
    return {name: module for held in _groups().values() for name, module in held.items()}


class _Commands(click.Group):
    """Loads a command's module when it is called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        return list(_commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = _commands().get(cmd_name)
        if module is None:
            return None
        found: click.Command = getattr(importlib.import_module(module), cmd_name.replace("-", "_"))
        if cmd_name in _PLAYING | _SERVING and not machine.is_unix():
            found = copy.copy(found)
            found.callback = lambda **_: machine.refuse_without_unix(cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, _commands()))
        for title, held in _groups().items():
            found = [(name, self.get_command(ctx, name)) for name in held]
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name.ljust(widest), each.get_short_help_str(120))
                        for name, each in found
                        if each
                    ]
                )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _commands() and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _commands(), 1, 0.5)
            ctx.fail(
                f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else "")
            )
        return super().resolve_command(ctx, args)


#: `\b` keeps the lines as they are.
_EXIT_CODES = """\b
Exit codes: 0 PASS (or every expectation met), 1 FAIL, 2 usage or bad file,
3 INCONCLUSIVE, 4 INVALID (the harness was the limit), 5 target unreachable,
130 interrupted (partial results are kept and reported).
"""


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXIT_CODES,
)
@click.version_option(__version__, prog_name="tailproof")
def tailproof() -> None:
    """Does this LLM API keep its latency and uptime contract, in the tail?

    \b
    tailproof help                 what people come to do, each with its command
    tailproof help first verdict   one of them
    tailproof COMMAND --help       examples and flags of a command
    """


def _fault() -> str:
    """The traceback at hand; without secrets, where this process was given any."""
    if "bench.plan.credentials" not in sys.modules:
        return traceback.format_exc()
    from bench.plan.credentials import fault_text

    return fault_text()


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    streams.settle()
    if argv is None:
        # What is imported stays: to look for garbage in it time and again is a tenth of a start.
        gc.set_threshold(20_000, 50, 100)
    words = sys.argv[1:] if argv is None else argv
    command = words[0] if words else ""
    if command in _PLAYING:
        streams.outlive_terminal()
    code = _main(argv, words)
    if (lost := streams.failure_of(sys.stdout)) is not None:
        sys.stderr.write(f"tailproof: standard output cannot be written ({lost.strerror})\n")
        if code == 0 and command not in _PLAYING | _JUDGING:
            code = _UNWRITTEN
    streams.failure_of(sys.stderr)
    return code


def _main(argv: list[str] | None, words: list[str]) -> int:
    try:
        with progress.shown():
            result = tailproof.main(argv, prog_name="tailproof", standalone_mode=False)
    except TailproofError as error:
        from bench.show.wording import visible

        sys.stderr.write(f"tailproof: {visible(error, 4096)}\n")
        return int(error.exit_code)
    except click.ClickException as error:
        if sentence := extras.missing(words):
            sys.stderr.write(f"tailproof: {sentence}\n")
        else:
            error.show()
        return int(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("tailproof: interrupted\n")
        return int(ExitCode.INTERRUPTED)
    except Exception as error:
        if (said := _damaged(sys.argv[1:] if argv is None else argv, error)) is not None:
            sys.stderr.write(f"tailproof: {said}\n")
            return int(ExitCode.USAGE)
        # A fault of ours is no verdict: 70, as sysexits.h has it, and never the 1 of a broken
        # contract.
        sys.stderr.write(_fault())
        sys.stderr.write(
            "tailproof: this is a fault in tailproof itself; the run's folder holds what was"
            " gathered\n"
        )
        return _FAULT
    return int(result) if isinstance(result, int) else 0


def _damaged(words: Sequence[str], error: Exception) -> str | None:
    """A sentence on the first damaged run folder among them."""
    for folder in _folders(words):
        if (what := _differs(folder)) is not None:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return (
                f"{folder}: cannot be read: {what} ({said[:200]}); `tailproof verify {folder}` says"
                " what differs"
            )
    return None


def _folders(words: Sequence[str]) -> Iterator[Path]:
    for word in words:
        for name in (word, word.rpartition(":")[0]):
            try:
                if name and (Path(name) / "run.json").is_file():
                    yield Path(name)
            except (OSError, ValueError):
                continue


def _differs(folder: Path) -> str | None:
    from bench.record.digests import listed, sealed, was_edited
    from bench.record.run_folder import read_manifest
    from bench.userfile import file_digest

    try:
        edited = was_edited(folder)
        if edited or edited is None:
            return "run.json was edited" if edited else "run.json has no digest that vouches for it"
        manifest = read_manifest(folder)
        expected = sealed(folder) if manifest.state == "running" else listed(manifest)
        expected |= {"schedule.npy": str(manifest.schedule_sha256)}
        for name, digest in expected.items():
            if file_digest(folder / name) != digest:
                return f"{name} was edited"
    except (TailproofError, OSError) as error:
        return str(error)
    except Exception as error:  # whatever stands in what should list the files
        return f"what it lists cannot be read ({type(error).__name__})"
    return None
