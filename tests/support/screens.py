"""What a terminal shows, without its colours, or a whole Markdown page; tables of cells that are
text already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from bench.judge.review import Records
from bench.record.run_folder import Run
from bench.show.document import Column, Node, Table
from bench.show.parts import report_document
from bench.show.render_markdown import markdown_page
from bench.show.render_terminal import result_screen, screen
from bench.show.result import Result
from bench.show.terminal_cells import WIDTH
from bench.show.terminal_tables import styled_table


def text_table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1
) -> Table[Sequence[str]]:
    """The first `words` columns stand left, the others right."""

    def cell(place: int) -> Callable[[Sequence[str]], str]:
        return lambda row: row[place]

    columns = [
        Column(heading, cell(place), "words" if place < words else "number")
        for place, heading in enumerate(head)
    ]
    return Table(caption, columns, rows)


def whole_markdown(run: Run, records: Records) -> str:
    """A report as Markdown with every section, not the short one for a comment."""
    return markdown_page(replace(report_document(run, records), brief=()))


def result_lines(result: Result, width: int = WIDTH, *, whole: bool = False) -> list[str]:
    """The lines of a command's result."""
    return result_screen(result, width, whole=whole).plain.split("\n")


def screen_lines(nodes: Iterable[Node], width: int = WIDTH) -> list[str]:
    """The lines of a screen."""
    return screen(nodes, width).plain.split("\n")


def table_lines(table: Table[Any], width: int = WIDTH) -> list[str]:
    """The lines of one table, on a screen of any width."""
    return ["".join(text for text, _ in line) for line in styled_table(table, width)]
