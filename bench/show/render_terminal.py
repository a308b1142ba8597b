"""Nodes as lines of a terminal.

In: nodes, the width of the screen. Out: the screen, printed or as plain lines. Must stay true: with
the tables and the live region beside it, this is the one place that knows `rich`; no line is wider
than the screen but a command or a path, which is copied whole; colour only where it carries a
verdict or a warning; foreign text is never read as markup or as a terminal's control sequence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich import text as rich_text
from rich.cells import cell_len
from rich.console import Console

from bench.show.document import (
    Bullets,
    Code,
    Drawer,
    Figure,
    Graphic,
    Heading,
    Node,
    Pairs,
    Strip,
    Table,
    Text,
    Verdict,
)
from bench.show.result import MOST_LINES, Result
from bench.show.terminal_cells import STYLES, WIDTH, fit, wrapped
from bench.show.terminal_tables import styled_table

#: Narrower screens are drawn as if they had so many cells.
_NARROWEST = 80
_TONES = {"alert": "bold", "strong": "bold", "warning": "yellow", "soft": "dim", "fail": "bold red"}
#: A fact's label and the blanks behind it.
_LABEL = 10
#: Names of pairs up to so long stand in a column of their own.
_NAME_MOST = 12


def print_nodes(nodes: Iterable[Node], out: IO[str], width: int = WIDTH) -> None:
    """Print them, in colour where `out` is a terminal. What is too wide is not broken again."""
    Console(file=out, highlight=False).print(screen(nodes, width), soft_wrap=True)


def print_result(result: Result, out: IO[str], width: int = WIDTH, *, whole: bool = False) -> None:
    """The same of a result, `whole` even where a window would scroll."""
    drawn = result_screen(result, width, whole=whole)
    Console(file=out, highlight=False).print(drawn, soft_wrap=True)


def screen(nodes: Iterable[Node], width: int = WIDTH) -> rich_text.Text:
    """The nodes one below the other; its `plain` is the same without colour."""
    drawn, width = rich_text.Text(), max(width, _NARROWEST)
    for node in nodes:
        _draw(drawn, node, width)
    drawn.rstrip()
    return drawn


def result_screen(result: Result, width: int = WIDTH, *, whole: bool = False) -> rich_text.Text:
    """Lead, body and foot with a line between them, in at most MOST_LINES unless `whole`."""
    lead, body, foot = (_lines(part, width) for part in (result.lead, result.body, result.foot))
    if not whole:
        lead = lead[: max(MOST_LINES - len(foot) - 3, 1)]
        between = 1 + bool(foot)
        room = max(MOST_LINES - len(lead) - len(foot) - between, 1)
        if len(body) > room:
            more = f"… and {len(body) - room + 1} more lines: add --full"
            body = [*body[: room - 1], rich_text.Text(more, "dim")]
    parts = [part for part in (lead, body, foot) if part]
    blank = [rich_text.Text("")]
    lines = list(parts[0])
    for part in parts[1:]:
        lines += [*blank, *part]
    return rich_text.Text("\n").join(lines)


def _lines(nodes: Iterable[Node], width: int) -> list[rich_text.Text]:
    drawn = screen(nodes, width)
    return list(drawn.split("\n", allow_blank=True)) if drawn.plain else []


def _draw(drawn: rich_text.Text, node: Node, width: int) -> None:
    match node:
        case Heading():
            _add(drawn, wrapped("", node.text, width), "bold")
        case Text():
            label = f"{node.label:<{_LABEL}}" if node.label else ""
            _add(drawn, wrapped(label, node.text, width), _TONES.get(node.tone, ""))
        case Verdict():
            _draw_verdict(drawn, node, width)
        case Pairs():
            _draw_pairs(drawn, node, width)
        case Bullets():
            for item in node.items:
                _add(drawn, wrapped("- ", item, width))
        case Code():
            drawn.append(f"{node.label:<{_LABEL}}{node.text}\n" if node.label else f"{node.text}\n")
        case Table():
            for line in styled_table(node, width):
                drawn.append_tokens([*line, ("\n", None)])
        case Strip():
            _add(drawn, [fit(node.title, width).rstrip(), node.marks[:width]])
        case Graphic():
            _add(drawn, wrapped("", node.says, width))
        case Figure() | Drawer():
            pass  # a screen has no room for pictures, and for what a page folds away


def _add(drawn: rich_text.Text, lines: Iterable[str], style: str = "") -> None:
    for line in lines:
        drawn.append(f"{line}\n", style)


def _draw_verdict(drawn: rich_text.Text, node: Verdict, width: int) -> None:
    label = f"{node.label:<{_LABEL}}" if node.label else ""
    first, *more = wrapped(label, node.verdict + node.says, width)
    rest, aside = first[len(label) + len(node.verdict) :], node.aside
    room = width - cell_len(first) - cell_len(aside)
    beside = bool(aside) and not more and room > 1
    drawn.append(label)
    drawn.append(node.verdict, STYLES.get(node.verdict, ""))
    _add(drawn, [f"{rest}{' ' * room}{aside}" if beside else rest, *more])
    if aside and not beside:
        _add(drawn, wrapped("", aside, width), "dim")


def _draw_pairs(drawn: rich_text.Text, node: Pairs, width: int) -> None:
    """Short names in a column, else `name: value`; a value that begins with a verdict has its
    colour.
    """
    beside = all(cell_len(name) <= _NAME_MOST for name, _ in node.items)
    for name, value in node.items:
        label, said = f" {fit(name, _NAME_MOST + 1)}", value
        if not beside:
            label, said = "  ", f"{name}: {value}"
        _add(drawn, wrapped(label, said, width), STYLES.get(value.split(" ")[0], ""))
