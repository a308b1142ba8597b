"""A table of verdicts as lines of a terminal: a clause a line, its verdict first.

In: a table with a column of verdicts, the width of the screen. Out: lines, in stretches that each
have a style. Must stay true: the verdict is told by shape and word; no value is cut: columns that
do not fit are left out from the right, for the page has them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.show.document import Table
from bench.show.graphics.mark import shape_of
from bench.show.terminal_cells import STYLES, Line, cell_len, fit, wrapped

#: Blanks between columns.
_GAP = 2
#: Cells that a clause has at least, where values would take its place, and at most.
_CLAUSE_LEAST, _CLAUSE_MOST = 40, 46


def shaped(word: str) -> str:
    """The word behind its shape, or behind a blank where it has none."""
    return f"{shape_of(word) or ' '} {word}"


def verdict_lines(table: Table[Any], width: int) -> Iterator[Line]:
    """Headings, a line a row below the name of its group, its reason below."""
    layout = _Layout(table, width)
    yield [(layout.head(), "dim")]
    above = ""
    for row in layout.grid.rows:
        group = layout.cell(row, "group")
        if group != above:
            above = group
            yield [(fit(group, width).rstrip(), "")]
        verdict = layout.cell(row, "verdict")
        mark = fit(shaped(verdict), layout.mark) if layout.mark else ""
        yield [(mark, STYLES.get(verdict, "")), (layout.rest(row), "")]
        if reason := layout.cell(row, "reason"):
            for line in wrapped("  ", reason, width):
                yield [(line, "dim")]


class _Layout:
    """Which column stands where, and how wide."""

    def __init__(self, table: Table[Any], width: int):
        self.grid, self._caption = table.grid("terminal"), table.caption
        kinds = [column.kind for column in self.grid.columns]
        self._place = {kind: kinds.index(kind) for kind in dict.fromkeys(kinds)}
        words = [shaped(self.cell(row, "verdict")) for row in self.grid.rows]
        self.mark = max(map(cell_len, words), default=0) + _GAP if "verdict" in kinds else 0
        clauses = [self.cell(row, "words") for row in self.grid.rows]
        widest = max(map(cell_len, [*clauses, self._caption]), default=0)
        self._clause = min(widest, _CLAUSE_MOST)
        least = min(self._clause, _CLAUSE_LEAST)
        self._values = [
            (place, self._widest(place))
            for place, kind in enumerate(kinds)
            if kind not in ("group", "verdict", "reason") and place != self._place.get("words")
        ]
        while self._values and self._left(width) < least:
            self._values.pop()
        self._clause = max(min(self._clause, self._left(width)), least)

    def _left(self, width: int) -> int:
        """What the values leave for the clause."""
        return width - self.mark - sum(wide + _GAP for _, wide in self._values)

    def _widest(self, place: int) -> int:
        texts = [self.grid.head[place], *(row[place] for row in self.grid.rows)]
        return max(map(cell_len, texts))

    def cell(self, row: Sequence[str], kind: str) -> str:
        """The text of the row's first column of this kind; empty without one."""
        place = self._place.get(kind)  # type: ignore[call-overload]  # any kind may be asked for
        return "" if place is None else row[place]

    def head(self) -> str:
        """The caption over the clauses, then a heading a column."""
        head = f"{' ' * self.mark}{self._clause_cell(self._caption)}{self._drawn(self.grid.head)}"
        return head.rstrip()

    def rest(self, row: Sequence[str]) -> str:
        """The row behind its verdict."""
        return f"{self._clause_cell(self.cell(row, 'words'))}{self._drawn(row)}".rstrip()

    def _clause_cell(self, text: str) -> str:
        room = self._clause
        cut = text if cell_len(text) <= room else fit(text, room + 1).rstrip()
        return cut + " " * (room - cell_len(cut))

    def _drawn(self, row: Sequence[str]) -> str:
        drawn = ""
        for place, wide in self._values:
            text = row[place]
            pad = " " * (wide - cell_len(text))
            right = self.grid.columns[place].kind == "count"
            drawn += " " * _GAP + (pad + text if right else text + pad)
        return drawn
