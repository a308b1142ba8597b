"""Nodes as lines of a terminal.

In: nodes, the width of the screen. Out: a `rich` Text; its `plain` is the same without colour.
Must stay true: no line is wider than the screen but a command or a path, which is copied whole;
no number is broken; colour only where it carries a verdict or a warning; foreign text is never
read as markup or as a terminal's control sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from rich import text as rich_text
from rich.cells import cell_len, chop_cells, set_cell_size

from bench.show.document import (
    Bullets,
    Code,
    Drawer,
    Figure,
    Grid,
    Heading,
    Node,
    Pairs,
    Strip,
    Table,
    Text,
    Verdict,
)

WIDTH = 100
#: Narrower screens are drawn as if they had so many cells.
_NARROWEST = 80
STYLES = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "INVALID": "bold red",
    "MATERIALLY_BETTER": "bold green",
    "BETTER": "bold green",
    "WORSE": "bold red",
}
_TONES = {"alert": "bold", "strong": "bold", "warning": "yellow", "soft": "dim", "fail": "bold red"}
#: A fact's label and the blanks behind it.
_LABEL = 10
#: Names of pairs up to so long stand in a column of their own.
_NAME_MOST = 12
#: Of a strip, by level.
SLICES = "·▁▃▅█"
_NUMBER_AND_UNIT = re.compile(r"(?<=\d) (?=(?:%|ns|µs|ms|s|min|h|K|M|B|T|USD)(?:\W|$))")
#: Holds two words of a text together, and is shown as a blank.
HELD = "\N{NO-BREAK SPACE}"


def screen(nodes: Iterable[Node], width: int = WIDTH) -> rich_text.Text:
    """The nodes one below the other. Print it with `soft_wrap=True`."""
    drawn, width = rich_text.Text(), max(width, _NARROWEST)
    for node in nodes:
        _draw(drawn, node, width)
    drawn.rstrip()
    return drawn


def screen_lines(nodes: Iterable[Node], width: int = WIDTH) -> list[str]:
    """The same without colour."""
    return screen(nodes, width).plain.split("\n")


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
        case Table(layout="promises"):
            _draw_promises(drawn, node, width)
        case Table():
            _add(drawn, table_lines(node, width))
        case Strip():
            _add(drawn, [fit(node.title, width).rstrip(), strip_text(node)[:width]])
        case Figure() | Drawer():
            pass  # a screen has no room for pictures, and for what a page folds away


def _add(drawn: rich_text.Text, lines: Iterable[str], style: str = "") -> None:
    for line in lines:
        drawn.append(f"{line}\n", style)


def _draw_verdict(drawn: rich_text.Text, node: Verdict, width: int) -> None:
    label = f"{node.label:<{_LABEL}}" if node.label else ""
    first, *more = wrapped(label, node.verdict + node.says, width)
    drawn.append(label)
    drawn.append(node.verdict, STYLES.get(node.verdict, ""))
    _add(drawn, [first[len(label) + len(node.verdict) :], *more])


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


def strip_text(strip: Strip) -> str:
    """A character a slice, the higher the worse."""
    return "".join(SLICES[level] for level in strip.levels)


# ---- cells


def fit(text: str, width: int) -> str:
    """Exactly `width` terminal cells: padded, or cut with an ellipsis and a blank."""
    if cell_len(text) < width:
        return text + " " * (width - cell_len(text))
    return set_cell_size(text, width - 2) + "… "


def pieces(text: str) -> list[str]:
    """Where a line may be broken: between words, never between a number and its unit."""
    return [piece.replace(HELD, " ") for piece in _NUMBER_AND_UNIT.sub(HELD, text).split(" ")]


def wrapped(label: str, said: str, width: int) -> Iterator[str]:
    """Lines of at most `width` cells, continued under the text; words longer than a line
    are cut.
    """
    line = label
    for word in pieces(said):
        if line.strip() and cell_len(line) + cell_len(word) >= width and line != " " * len(label):
            yield line.rstrip()
            line = " " * len(label)
        line += fit(word, width - len(label)).rstrip() + " "
    yield line.rstrip()


# ---- a table of promises: a line a row, the verdict last, its reason below

#: Longer names of groups stand on a line of their own, so that no two look alike by being cut.
_GROUP_MOST = 10
_VERDICT_CELLS, _LEAST_PROMISE = 12, 5


def _draw_promises(drawn: rich_text.Text, table: Table[Any], width: int) -> None:
    layout = _Promises(table, width)
    drawn.append(f"{layout.head()}\n", "bold")
    above = ""
    for place, row in enumerate(layout.grid.rows):
        group = layout.groups[place]
        if not layout.group_beside and group != above:
            above = group
            drawn.append(f" {fit(group, width - 1).rstrip()}\n")
        for line in layout.lines(row, group if layout.group_beside else ""):
            drawn.append(line)
        verdict = layout.cell(row, "verdict")
        drawn.append(f"{verdict}\n", STYLES.get(verdict, ""))
        if reason := layout.cell(row, "reason"):
            indent = " " * (max(layout.beside, 2) + 1)
            _add(drawn, wrapped(indent, reason, width), "dim")


class _Promises:
    """Which column stands where, and how wide."""

    def __init__(self, table: Table[Any], width: int):
        self.grid, self.width, self._caption = table.grid("terminal"), width, table.caption
        self._place = {
            column.kind: place
            for place, column in reversed(list(enumerate(self.grid.columns)))
            if column.kind in ("group", "words", "verdict", "reason")
        }
        self.groups = [self.cell(row, "group") for row in self.grid.rows]
        widest = max(map(cell_len, self.groups), default=0)
        self._cells = self._values(width)
        room = width - 1 - _VERDICT_CELLS - sum(wide for _, _, wide in self._cells)
        self.group_beside = widest <= min(_GROUP_MOST, room - 3)
        self.beside = 0 if not widest else widest + 2 if self.group_beside else 2
        self._promise = room - self.beside

    def _values(self, width: int) -> list[tuple[int, int | None, int]]:
        """Of each column of values: its place, that of what stands in brackets behind it, its
        width.
        """
        found: list[tuple[int, int | None, int]] = []
        for place, column in enumerate(self.grid.columns):
            if place in self._place.values():
                continue
            if not column.in_brackets:
                found.append((place, None, column.width or self._widest(place)))
            elif width >= WIDTH:
                before, _, wide = found.pop()
                found.append((before, place, wide + column.width))
        while sum(wide for _, _, wide in found) > width - _VERDICT_CELLS - _LEAST_PROMISE:
            found.pop()  # the page has them all
        return found

    def _widest(self, place: int) -> int:
        texts = [self.grid.head[place], *(row[place] for row in self.grid.rows)]
        return max(map(cell_len, texts)) + 2

    def cell(self, row: Sequence[str], kind: str) -> str:
        """The text of the row's column of this kind; empty without one."""
        place = self._place.get(kind)
        return "" if place is None else row[place]

    def head(self) -> str:
        """The caption over the promises, then a heading a column."""
        caption = fit(self._caption, 1 + self.beside + self._promise)
        return f"{caption}{self._drawn_values(self.grid.head)}verdict"

    def lines(self, row: Sequence[str], group: str) -> Iterator[str]:
        """The row up to its verdict; a promise is never cut in two, so it may take a line of its
        own.
        """
        label, promise = f" {fit(group, self.beside)}" if self.beside else " ", ""
        promise = self.cell(row, "words")
        if cell_len(promise) >= self._promise:
            yield f"{fit(label + promise, self.width).rstrip()}\n"
            label, promise = " " * (1 + self.beside), ""
        yield f"{label}{fit(promise, self._promise)}{self._drawn_values(row)}"

    def _drawn_values(self, row: Sequence[str]) -> str:
        drawn = ""
        for place, inside, wide in self._cells:
            text = row[place] if inside is None else f"{row[place]} ({row[inside]})"
            counted = self.grid.columns[place].kind == "count"
            drawn += f"{' ' * (wide - 2 - cell_len(text))}{text}  " if counted else fit(text, wide)
        return drawn


# ---- any other table

_MARGIN = 2
#: Blanks between columns: as drawn where there is room, and at least.
_WIDE, _TIGHT = 3, 2
#: Words are not folded to less than this, and one word longer than that is broken where the screen
#: is too narrow for it.
_LEAST, _WORD = 14, 24


def table_lines(table: Table[Any], width: int = WIDTH) -> Iterator[str]:
    """Caption, headings and rows.

    A table that is too wide has its headings and words folded; where that is not enough, its
    further columns stand in a second block under the same first column.
    """
    if table.caption:
        yield from wrapped("", table.caption, width)
    columns = _columns(table.grid("terminal"))
    for block in _blocks(columns, width - _MARGIN):
        yield from _block_lines(block, width - _MARGIN, len(table.rows) + 1)


def _columns(grid: Grid) -> list[_Cells]:
    by_column = zip(grid.head, *grid.rows, strict=True)
    return [_Cells(cells, words) for cells, words in zip(by_column, grid.words, strict=True)]


def _block_lines(block: list[_Cells], room: int, rows: int) -> Iterator[str]:
    widest = sum(column.widest for column in block)
    gap = _WIDE if widest + _WIDE * (len(block) - 1) <= room else _TIGHT
    widths = _fitted(block, room - gap * (len(block) - 1))
    for row in range(rows):
        cells = [column.folded(row, wide) for column, wide in zip(block, widths, strict=True)]
        if row == 0:  # headings stand on the column that they head
            deep = max(map(len, cells))
            cells = [[""] * (deep - len(lines)) + lines for lines in cells]
        for line in zip_longest(*cells, fillvalue=""):
            padded = [
                column.padded(text, wide)
                for column, text, wide in zip(block, line, widths, strict=True)
            ]
            yield f"{' ' * _MARGIN}{(' ' * gap).join(padded)}".rstrip()


class _Cells:
    """The texts of a column, its heading first; how wide they are at most, and at least when
    folded.
    """

    def __init__(self, cells: Sequence[str], words: bool):
        self._cells, self.words = cells, words
        self.widest = max(map(cell_len, cells))
        longest = max(
            cell_len(piece) for place in range(len(cells)) for piece in self._pieces(place)
        )
        self.least = min(max(min(longest, _WORD), _LEAST), self.widest) if words else longest

    def _pieces(self, place: int) -> list[str]:
        """What a cell may be parted into: of numbers the heading alone, so that intervals stay
        whole.
        """
        return pieces(self._cells[place]) if place == 0 or self.words else [self._cells[place]]

    def folded(self, place: int, width: int) -> list[str]:
        """The lines of a cell."""
        lines = [""]
        for piece in self._pieces(place):
            for part in chop_cells(piece, width) or [""]:
                beside = f"{lines[-1]} {part}" if lines[-1] else part
                lines = [*lines[:-1], beside] if cell_len(beside) <= width else [*lines, part]
        return lines

    def padded(self, text: str, width: int) -> str:
        """One line of a cell, in its place."""
        pad = " " * (width - cell_len(text))
        return f"{text}{pad}" if self.words else f"{pad}{text}"


def _blocks(columns: list[_Cells], width: int) -> Iterator[list[_Cells]]:
    """As many columns side by side as fit, the first in every block."""
    first, *rest = columns
    block, taken = [first], first.least
    for column in rest:
        if taken + _TIGHT + column.least > width and len(block) > 1:
            yield block
            block, taken = [first], first.least
        block.append(column)
        taken += _TIGHT + column.least
    yield block


def _fitted(block: list[_Cells], room: int) -> list[int]:
    """Widths of columns: headings of numbers are folded before words, which would make every row
    deeper.
    """
    widths = [column.widest for column in block]
    while sum(widths) > room:
        slack = [width - column.least for width, column in zip(widths, block, strict=True)]
        place = max(
            range(len(block)),
            key=lambda place: (slack[place] > 0 and not block[place].words, slack[place]),
        )
        if not slack[place]:
            break
        widths[place] -= 1
    return widths
