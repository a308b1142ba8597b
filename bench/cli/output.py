"""How results leave a command: `--format`, one JSON document, the width of a screen.

In: a result. Out: standard output. Must stay true: with `--format json` standard output holds one
document and nothing else; lines that are drawn are 80 to 100 cells wide, 100 where there is no
terminal.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from bench.cli import progress, streams

if TYPE_CHECKING:
    from bench.app.conclude import Finished
    from bench.show.document import Node
    from bench.show.result import Result

#: Where a click context keeps that every line is wanted.
_FULL = "tailproof.full"
Command = TypeVar("Command", bound=Callable[..., Any])
#: What writes the bytes of an export, once all that could be wrong with the question has been
#: looked at.
Writer = Callable[[IO[bytes]], object]
#: A writer and what the format has no place for.
Prepared = tuple[Writer, list[str]]
#: A format of `export`: its argument, and the flags of extras by name, to a writer.
Form = Callable[[str, Mapping[str, Any]], Prepared]


def format_option(of: str = "", *, github: bool = False) -> Callable[[Command], Command]:
    """`--format text|json`, as `form`; `of` names the flag that it goes with, where it is not of
    the whole command.

    `github`: offered too, for commands that pronounce verdicts.
    """
    choices, last = (
        (["text", "json", "github"], ", or annotations for a job's log")
        if github
        else (["text", "json"], "")
    )
    full = click.option(
        "--full",
        is_flag=True,
        expose_value=False,
        callback=_remember_full,
        help="Every line of the result, not one window of it.",
    )
    form = click.option(
        "--format",
        "form",
        type=click.Choice(choices),
        default="text",
        show_default=True,
        help=(
            f"{f'Of {of}: text' if of else 'Text'} to read, {'' if last else 'or '}one JSON"
            f" document{last}."
        ),
    )
    return lambda command: form(full(command))


def _remember_full(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta[_FULL] = True


def _silence(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    if value:
        progress.silence()
    return value


quiet_option = click.option(
    "--quiet", is_flag=True, callback=_silence, help="No progress, only the result."
)


def own_folder(of: str = "run") -> Callable[[Command], Command]:
    """`--out`: where a run, or what is made of several, is kept."""
    kind = "" if of == "run" else f"{of}-"
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"The {of}'s own folder.  [default: results/<time>-{kind}<suite>-<digest>]",
    )


def print_json(record: Any) -> None:
    """One document; a number that JSON does not have is a fault of ours."""
    from bench.record.files import json_text

    click.echo(streams.json_for(sys.stdout, json_text(record)))


def print_lines(lines: Iterable[str]) -> None:
    """Text as it stands."""
    click.echo("\n".join(lines))


def print_screen(nodes: Iterable[Node]) -> None:
    """Nodes, every line of them."""
    from bench.show.render_terminal import print_nodes

    print_nodes(nodes, sys.stdout, screen_width())


def print_result(result: Result) -> None:
    """What a command came to, in as many lines as a window has unless `--full` asks for all."""
    from bench.show.render_terminal import print_result as draw

    draw(result, sys.stdout, screen_width(), whole=wants_all())


def wants_all() -> bool:
    """Whether `--full` was given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().meta.get(_FULL))


def print_runs(finished: Sequence[Finished], exit_code: int) -> None:
    """Runs that were played just now, as one document: where they are, and their records."""
    runs = [
        {
            "folder": str(done.folder),
            "report": str(done.report),
            "summary": done.records.summary.to_json(),
            "verdicts": done.records.verdicts.to_json(),
        }
        for done in finished
    ]
    print_json({"format": 1, "runs": runs, "exit_code": exit_code})


def screen_width() -> int:
    """Cells that a line may have."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, 80), 100)


def described(names: Mapping[str, str], widest: int, *, short: bool = False) -> Iterator[str]:
    """A line or two a name and what it is, `short` one; `widest` is the longest name in cells."""
    from bench.show.terminal_cells import fit, wrapped

    for name, says in names.items():
        label = f"  {name:<{widest}}  "
        if short and not wants_all():
            yield fit(label + says, screen_width() + 1).rstrip()
        else:
            yield from wrapped(label, says, screen_width())


def named(title: str, names: Iterable[str]) -> Iterator[str]:
    """A title and the names behind it."""
    from bench.show.terminal_cells import wrapped

    yield from wrapped(f"{title:<11}", ", ".join(names), screen_width())


def written_text(parts: str | bytes | Iterable[str]) -> Writer:
    """A writer of what is at hand already."""
    whole = parts if isinstance(parts, bytes) else "".join(parts).encode()
    return lambda out: out.write(whole)


def written_json(value: Any) -> Writer:
    """A writer of one indented JSON document."""
    from bench.record.files import json_text

    return written_text(f"{json_text(value, indent=1)}\n")
