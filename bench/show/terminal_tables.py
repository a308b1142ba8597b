"""Tables as lines of a terminal, and the cells that lines are made of.

In: tables, the width of the screen. Out: lines, in stretches that each have a style. Must stay
true: no line is wider than the screen; no number is broken, and none parted from its unit; words
may be folded, never cut, but in a table of promises and in one that is drawn row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Generic, TypeVar

from rich.cells import cell_len, chop_cells

from bench.show.document import Column, Grid, Table
from bench.show.terminal_cells import STYLES, Line, fit, pieces, wrapped
from bench.show.terminal_verdicts import verdict_lines


def styled_table(table: Table[Any], width: int) -> Iterator[Line]:
    """Caption, headings and rows, verdicts in their colours."""
    return (verdict_lines if table.layout == "promises" else _grid)(table, width)


# ---- any other table

_MARGIN = 2
#: Blanks between columns: as drawn where there is room, and at least.
_WIDE, _TIGHT = 3, 2
#: Words are not folded to less than this, and one word longer than that is broken where the screen
#: is too narrow for it.
_LEAST, _WORD = 14, 24


def _grid(table: Table[Any], width: int) -> Iterator[Line]:
    """A table that is too wide has its headings and words folded; where that is not enough, its
    further columns stand in a second block under the same first column.
    """
    if table.caption:
        for line in wrapped("", table.caption, width):
            yield [(line, "")]
    columns = _columns(table.grid("terminal"))
    for block in _blocks(columns, width - _MARGIN):
        yield from _block_lines(block, width - _MARGIN, len(table.rows) + 1)


def _columns(grid: Grid) -> list[_Cells]:
    by_column = zip(grid.head, *grid.rows, strict=True)
    colours = zip([""] * len(grid.head), *grid.colours, strict=True)
    return [
        _Cells(cells, words, [STYLES.get(verdict, "") for verdict in verdicts])
        for cells, words, verdicts in zip(by_column, grid.words, colours, strict=True)
    ]


def _block_lines(block: list[_Cells], room: int, rows: int) -> Iterator[Line]:
    widest = sum(column.widest for column in block)
    gap = _WIDE if widest + _WIDE * (len(block) - 1) <= room else _TIGHT
    widths = _fitted(block, room - gap * (len(block) - 1))
    for row in range(rows):
        cells = [column.folded(row, wide) for column, wide in zip(block, widths, strict=True)]
        if row == 0:  # headings stand on the column that they head
            cells = _bottom_up(cells)
        for line in zip_longest(*cells, fillvalue=""):
            yield _joined(block, row, line, widths, " " * gap)


def _bottom_up(cells: list[list[str]]) -> list[list[str]]:
    """Lines of cells of one row, the last lines of all beside each other."""
    deep = max(map(len, cells))
    return [[""] * (deep - len(lines)) + lines for lines in cells]


def _joined(
    block: list[_Cells], row: int, line: Sequence[str], widths: list[int], gap: str
) -> Line:
    """A line of a row: its cells in their places, without blanks at its end."""
    found: Line = []
    blanks = " " * _MARGIN
    for column, text, wide in zip(block, line, widths, strict=True):
        pad = " " * (wide - cell_len(text))
        before, behind = ("", pad) if column.words else (pad, "")
        if text:
            found += [(blanks + before, ""), (text, column.styles[row])]
            blanks = behind + gap
        else:
            blanks += pad + gap
    return found


class _Cells:
    """The texts of a column, its heading first; how wide they are at most, and at least when
    folded.
    """

    def __init__(self, cells: Sequence[str], words: bool, styles: Sequence[str]):
        self._cells, self.words, self.styles = cells, words, styles
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


# ---- a table that is drawn row by row, before its other rows are known

Row = TypeVar("Row")


class RowByRow(Generic[Row]):
    """Columns of stated widths: words left and cut to them, numbers right."""

    def __init__(self, columns: Sequence[Column[Row]]):
        self._grid = Table("", columns, ()).grid("terminal")

    def head(self) -> list[str]:
        """Headings, folded so that a blank parts each from its neighbour."""
        cells = [
            _Cells([title], words, [""]).folded(0, column.width - 1)
            for column, title, words in self._placed(self._grid.head)
        ]
        return [self._line(line) for line in zip_longest(*_bottom_up(cells), fillvalue="")]

    def row(self, row: Row) -> str:
        """One row."""
        return self._line([column.value(row) for column in self._grid.columns])

    def _placed(self, texts: Sequence[str]) -> Iterator[tuple[Column[Row], str, bool]]:
        yield from zip(self._grid.columns, texts, self._grid.words, strict=True)

    def _line(self, texts: Sequence[str]) -> str:
        drawn = [
            fit(text, column.width) if words else " " * (column.width - cell_len(text)) + text
            for column, text, words in self._placed(texts)
        ]
        return "".join(drawn).rstrip()
