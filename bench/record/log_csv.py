"""CSV of a log -> rows of cells, with the line that each begins on.

In: a text handle behind its header line. Out: rows in blocks. Must stay true: every line belongs to
a row, is blank, or is listed; a quote that is never closed costs its own line, not those behind it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from itertools import chain, islice

from bench.record.log_json import LONGEST

Refuse = Callable[[int, str], None]
Rows = tuple[list[int], list[list[str]]]
_BLOCK = 10_000
_READ = 1 << 20


class CsvRows:
    """The rows of a table of this width."""

    def __init__(
        self,
        handle: io.TextIOBase,
        separator: str,
        width: int,
        line: int,
        *,
        comments: bool = False,
    ):
        """`line` is the number of the first line that is still to be read.

        With `comments` lines that begin with # are passed over.
        """
        self._comments = comments
        self._handle, self._separator, self._width = handle, separator, width
        #: the lines of this block, from number `_from`
        self._held: list[str] = []
        self._from = line
        csv.field_size_limit(LONGEST)

    def blocks(self, refuse: Refuse) -> Iterator[Rows]:
        """All rows of the right width; the others are listed."""
        lines = chain.from_iterable(self._lines(refuse))
        reader = csv.reader(lines, delimiter=self._separator, strict=True)
        first, more = self._from, True
        while more:
            del self._held[: first + reader.line_num - self._from]
            self._from = first + reader.line_num
            read = list[list[str]]()
            broken = False
            try:
                read.extend(islice(reader, _BLOCK))
                more = bool(read)
            except csv.Error:
                broken = True
            taken = first + reader.line_num - self._from
            if taken == len(read) and {*map(len, read)} <= {self._width}:
                if read:
                    yield list(range(self._from, self._from + taken)), read
            else:
                yield self._sorted_out(read, refuse, taken=taken, broken=broken)

    def _lines(self, refuse: Refuse) -> Iterator[list[str]]:
        """The lines with their ends, some at a time; one that never ends is listed, and a blank
        one stands for it.
        """
        number, rest = self._from, ""
        while block := self._handle.read(_READ):
            text = rest + block
            # The last character may be the first half of a line end.
            cut = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1
            if not cut and len(text) > LONGEST:
                refuse(number, f"is longer than {LONGEST:,} characters")
                text = "\n" + self._behind_next_end()
                cut = 1
            lines = list(io.StringIO(text[:cut], newline=""))
            if self._comments:
                lines = ["\n" if line.startswith("#") else line for line in lines]
            rest = text[cut:]
            number += len(lines)
            self._held += lines
            yield lines
        if rest:
            lines = list(io.StringIO(rest, newline=""))
            self._held += lines
            yield lines

    def _behind_next_end(self) -> str:
        while block := self._handle.read(_READ):
            if "\n" in block:
                return block.partition("\n")[2]
        return ""

    def _sorted_out(
        self, read: list[list[str]], refuse: Refuse, *, taken: int, broken: bool
    ) -> Rows:
        """A block in which some row is broken, of another width, or on several lines."""
        lines, rows = list[int](), list[list[str]]()
        at = 0
        for row in read:
            used = 1 + sum(_ends(cell) for cell in row)
            if len(row) == self._width and (used == 1 or not self._hides_rows(at, used)):
                lines.append(self._from + at)
                rows.append(row)
            elif row:
                self._one_by_one(at, at + used, (lines, rows), refuse)
            at += used
        if broken:
            self._one_by_one(at, taken, (lines, rows), refuse)
        return lines, rows

    def _hides_rows(self, at: int, used: int) -> bool:
        """Whether a cell of several lines holds whole rows: its quote was left open."""
        inner = self._held[at + 1 : at + used - 1]
        return self._width > 2 and any(self._cells(line) is not None for line in inner)

    def _cells(self, line: str) -> list[str] | None:
        try:
            rows = list(csv.reader([line], delimiter=self._separator))
        except csv.Error:
            return None
        return rows[0] if rows and len(rows[0]) == self._width else None

    def _one_by_one(self, start: int, end: int, into: Rows, refuse: Refuse) -> None:
        """Each line by itself."""
        for at in range(start, end):
            line = self._held[at]
            if not line.strip():
                continue
            if (cells := self._cells(line)) is not None and not _open_quote(line):
                into[0].append(self._from + at)
                into[1].append(cells)
            else:
                refuse(self._from + at, self._reason(line))

    def _reason(self, line: str) -> str:
        if _open_quote(line):
            return "has a quote that is not closed"
        try:
            n = len(next(csv.reader([line], delimiter=self._separator)))
        except csv.Error as error:
            return f"is not CSV ({error})"
        return f"has {n} values for {self._width} columns"


def _ends(cell: str) -> int:
    """Line ends within a cell, as the handle parts lines."""
    if "\r" in cell:
        cell = cell.replace("\r\n", "\n").replace("\r", "\n")
    return cell.count("\n")


def _open_quote(line: str) -> bool:
    return line.count('"') % 2 == 1
