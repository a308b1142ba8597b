"""A table of the report as lines of a terminal.

In: a `page.Table`. Out: text in columns. Must stay true: no cell is cut, words stand left and
numbers right, and the same table gives the same lines whatever the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len

from bench.show.page import Table


def table_lines(table: Table) -> Iterator[str]:
    """Caption, headings and rows; the first columns are words, as many as the table says."""
    widths = [max(map(cell_len, column)) for column in zip(table.head, *table.rows, strict=True)]
    yield table.caption
    for row in (table.head, *table.rows):
        cells = [f"{cell}{pad}" if place < table.words else f"{pad}{cell}" for place, (cell, width) in
                 enumerate(zip(row, widths, strict=True)) for pad in [" " * (width - cell_len(cell))]]  # fmt: skip
        yield f"  {'   '.join(cells)}".rstrip()
