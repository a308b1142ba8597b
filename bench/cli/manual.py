"""The man page, from the same commands, flags and tasks as `--help`.

In: the group of all commands. Out: roff (man 7). Must stay true: what `--help` says of a command or
flag stands here in the same words; a line of ours cannot be taken for a request of roff.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from bench import __version__
from bench.cli.tasks import TASKS

_ESCAPES = str.maketrans({"\\": "\\e", "-": "\\-", "`": "\\`"})


def manual(root: click.Group) -> str:
    """The page `tailproof(1)`."""
    return "\n".join(_lines(root)) + "\n"


def _lines(root: click.Group) -> Iterator[str]:
    context = click.Context(root, info_name=root.name, **root.context_settings)
    summary = inspect.cleandoc(root.help or "").partition("\n")[0]
    yield f'.TH TAILPROOF 1 "" "tailproof {__version__}" "User Commands"'
    yield ".ad l"  # else narrow windows are filled up with blanks
    yield from (".SH NAME", f"tailproof \\- {_text(summary)}")
    yield from (".SH SYNOPSIS", ".B tailproof", ".I COMMAND", "[flags]")
    yield from (".SH TASKS", "What people come to do, and the command for each.")
    for task in TASKS:
        yield from (".TP", f".B {_text(task.name)}", _text(task.says))
        for line in task.lines:
            yield from (".br", f".I {_text(line)}")
    yield ".SH COMMANDS"
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if command is not None:
            yield from _command(command, name, context)
    yield ".SH EXIT STATUS"
    yield from _prose(root.epilog or "")
    yield from (".SH SEE ALSO", _text("tailproof help TASK, tailproof COMMAND --help"))


def _command(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f".SS {_text(f'{name} {usage}')}",)
    yield from _prose(command.help or "")
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is not None and "--help" not in param.opts:
            flag, says = record
            yield from (".TP", f".B {_text(flag)}", _text(says))


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; those behind click's `\\b` keep their lines."""
    for part in inspect.cleandoc(text).split("\n\n"):
        kept, _, rest = part.partition("\b\n")
        yield ".PP"
        if kept:
            yield _text(kept)
        if rest:
            yield from (".nf", *(_text(line, keep=True) for line in rest.splitlines()), ".fi")


def _text(text: str, *, keep: bool = False) -> str:
    """Letters and nothing that roff obeys."""
    plain = text.rstrip() if keep else " ".join(text.split())
    escaped = plain.translate(_ESCAPES)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
