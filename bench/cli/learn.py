"""`tailproof help` and `tailproof completion`: the way from what somebody wants to the command.

In: words; a shell. Out: a few lines and commands to copy; a shell's completion script, and the one
line that loads it. Must stay true: a file of the user's gets that line once, and is otherwise left
as it is.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.help import command, folded
from bench.cli.output import print_lines, screen_width
from bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    from bench.cli.tasks import Task

_SHELLS = ("bash", "zsh", "fish")
_MARK = "# tailproof completion"
#: Where a run is meant and any of them will do.
_ANY_RUN = "RUN"


@command(short_help="What people come to do, and the command for each.")
@click.argument("task", nargs=-1)
@click.option("--man", is_flag=True, help="Print the man page of all commands (roff), and stop.")
def help(task: tuple[str, ...], man: bool) -> int:  # noqa: A001 the command's name
    """Find the command for a TASK, in your own words; without TASK all of them are listed."""
    if man:
        from bench.cli.manual import manual

        root = click.get_current_context().find_root().command
        assert isinstance(root, click.Group)
        print_lines([manual(root).rstrip()])
        return 0
    from bench.cli.tasks import TASKS, nearest

    if not task:
        print_lines(_listed(TASKS))
        return 0
    found = nearest(task)
    of_command = [each for each in TASKS if len(task) == 1 and task[0] in each.commands]
    found = list(dict.fromkeys([*(each for each in found if each in of_command), *of_command])) or (
        found
    )
    if not found:
        raise UserError(
            "is no task that is known",
            where=f"help {' '.join(task)}",
            remedy="`tailproof help` lists all of them",
        )
    print_lines(_explained(found))
    return 0


def _listed(tasks: Iterable[Task]) -> list[str]:
    tasks = list(tasks)
    widest = max(len(task.name) for task in tasks)
    room = screen_width() - widest - 4
    lines = ["tailproof help TASK", ""]
    for task in tasks:
        first, *rest = _wrapped(task.says, room)
        lines.append(f"  {task.name:<{widest}}  {first}")
        lines += [f"  {'':<{widest}}  {row}" for row in rest]
    return lines


def _wrapped(text: str, room: int) -> list[str]:
    return click.wrap_text(text, room).splitlines()


def _explained(tasks: Iterable[Task]) -> list[str]:
    lines: list[str] = []
    newest = _newest_run()
    for task in tasks:
        lines += [*([""] if lines else []), *_wrapped(task.says, screen_width()), ""]
        for line in task.lines:
            lines += [f"  {row}" for row in folded(line, screen_width() - 2)]
        lines += ["", *task.notes]
        if newest and any(_ANY_RUN in line for line in task.lines):
            lines += ["RUN is a folder of results/; the newest is", f"  {newest}"]
        commands = sorted({line.split()[1] for line in task.lines})
        flags = ", ".join(f"tailproof {name} --help" for name in commands)
        lines += [f"flags: {flags}", f"read: docs/{task.page}"]
    return lines


def _newest_run() -> str | None:
    """The run that began last; their names begin with the time."""
    found = sorted(path.parent for path in Path("results").glob("*/run.json"))
    return shlex.quote(str(found[-1])) if found else None


@command(short_help="Complete commands, names and run folders in your shell.")
@click.argument("shell", required=False, type=click.Choice(_SHELLS))
@click.option("--install", is_flag=True, help="Write the script, and the line that loads it.")
def completion(shell: str | None, install: bool) -> int:
    """Print the completion script of SHELL, bash, zsh or fish.  [default: your login shell's]

    With --install it is written below ~/.local/share (fish: ~/.config/fish/completions), and
    ~/.bashrc or ~/.zshrc gets the line that loads it. A second time changes nothing.
    """
    shell = shell or _login_shell()
    script = _script(shell)
    if not install:
        print_lines([script])
        return int(ExitCode.PASS)
    print_lines([*_installed(shell, script), "open a new shell, or type: exec " + shell])
    return int(ExitCode.PASS)


def _login_shell() -> str:
    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in _SHELLS:
        raise UserError(
            f"{shell or 'no shell'} is not one that can be completed for",
            where="$SHELL",
            remedy="write tailproof completion bash, zsh or fish",
        )
    return shell


def _script(shell: str) -> str:
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    # what asks bash for its version is of no use to who prints the script for another machine
    source = found(root, {}, "tailproof", "_TAILPROOF_COMPLETE")
    return str(source.source_template % source.source_vars())


def _installed(shell: str, script: str) -> list[str]:
    """What was written, a line each."""
    home = Path.home()
    if shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return [_written(config / "fish" / "completions" / "tailproof.fish", script)]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    file = data / "tailproof" / f"completion.{shell}"
    lines = [_written(file, script)]
    settings = Path(os.environ.get("ZDOTDIR") or home) / ".zshrc" if shell == "zsh" else None
    settings = settings or home / ".bashrc"
    before = settings.read_text("utf-8") if settings.exists() else ""
    if _MARK in before:
        return [*lines, f"{settings} loads it already"]
    # zsh completes nothing before compinit was called
    first = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }; "
    load = f"{first if shell == 'zsh' else ''}source {shlex.quote(str(file))}  {_MARK}"
    gap = "" if not before or before.endswith("\n") else "\n"
    with settings.open("a", encoding="utf-8") as handle:
        handle.write(f"{gap}{load}\n")
    return [*lines, f"{settings} loads it"]


def _written(file: Path, text: str) -> str:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise UserError(
            f"cannot be written ({error.strerror})",
            where=str(file),
            remedy="print it with `tailproof completion SHELL` and put it where the shell looks",
        ) from None
    return f"{file} written"
