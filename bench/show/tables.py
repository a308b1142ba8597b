"""A table of the report as lines of a terminal.

In: a `page.Table`, the width of the screen. Out: text in columns. Must stay true: no line is wider
than the screen, no cell is cut and no number broken; words stand left and numbers right. A table
that is too wide has its headings and words folded; where that is not enough, its further columns
stand in a second block under the same first column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len, chop_cells

from bench.show.page import Table
from bench.show.terminal import WIDTH, pieces, wrapped

_MARGIN = 2
#: Blanks between columns: as drawn where there is room, and at least.
_WIDE, _TIGHT = 3, 2
#: Words are not folded to less than this, and one word longer than that is broken where the screen
#: is too narrow for it.
_LEAST, _WORD = 14, 24


def table_lines(table: Table, width: int = WIDTH) -> Iterator[str]:
    """Caption, headings and rows; the first columns are words, as many as the table says."""
    yield from wrapped("", table.caption, width)
    columns = [
        _Column(cells, place < table.words)
        for place, cells in enumerate(zip(table.head, *table.rows, strict=True))
    ]
    for block in _blocks(columns, width - _MARGIN):
        yield from _drawn(block, width - _MARGIN, len(table.rows) + 1)


def _drawn(block: list[_Column], room: int, rows: int) -> Iterator[str]:
    gap = (
        _WIDE
        if sum(column.widest for column in block) + _WIDE * (len(block) - 1) <= room
        else _TIGHT
    )
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


class _Column:
    """Cells, the heading first; how wide they are at most, and at least when folded."""

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


def _blocks(columns: list[_Column], width: int) -> Iterator[list[_Column]]:
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


def _fitted(block: list[_Column], room: int) -> list[int]:
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
