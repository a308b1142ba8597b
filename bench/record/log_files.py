"""Log files -> cells: CSV, JSON Lines and Parquet, plain or gzipped, a chunk of rows at a time.

In: a path. Out: chunks of columns as they were written (text, numbers, None), each row with its
line. Must stay true: a row that cannot be taken apart is listed with its line and the reason,
and the reading goes on; nothing is interpreted here.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Self

from bench.errors import UserError

#: So few rows that the garbage collector has little to walk.
_CHUNK = 10_000
#: Rows of a JSON log that are looked at for its columns.
_LOOK = 200
_DEPTH = 4


@dataclass(frozen=True)
class Unreadable:
    """A row of a log that could not be used."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of one file. `lines` count from 1; of Parquet it is the row's number."""

    lines: list[int]
    cells: Mapping[str, list[Any]]
    #: the rows as they were written: lists of cells, or lines of text
    rows: Sequence[Sequence[str]]

    def digests(self) -> list[int]:
        """A hash a row: equal for rows that are the same in every cell."""
        return [hash(row) if isinstance(row, str) else hash(tuple(row)) for row in self.rows]


class LogFile:
    """One file of a log, open: its columns at once, its rows as they are asked for."""

    def __init__(self, path: Path):
        """Raises UserError: cannot be read, unknown kind, no header or no row."""
        self.path, self.unreadable = path, list[Unreadable]()
        self._open = ExitStack()
        try:
            self.columns, self._chunks = self._begin(path)
        except (OSError, EOFError) as error:
            self._open.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UserError(f"the log cannot be read ({reason})", where=str(path)) from None
        except UserError:
            self._open.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _begin(self, path: Path) -> tuple[list[str], Iterator[Chunk]]:
        kind = next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "").lower()
        if kind == ".parquet":
            return _parquet(path, self._open)
        handle = self._open.enter_context(_text(path))
        first = handle.readline()
        if not first.strip():
            raise UserError(
                "is empty",
                where=str(path),
                remedy="give a log with a header line and rows",
            )
        json_like = kind in (".jsonl", ".ndjson", ".json") or first.lstrip().startswith("{")
        if json_like:
            return self._json(handle, first)
        return self._csv(handle, first)

    def chunks(self) -> Iterator[Chunk]:
        """All rows, in the file's order. Raises UserError where the file breaks off."""
        try:
            yield from self._chunks
        except (OSError, EOFError) as error:
            raise UserError(
                f"the log cannot be read to its end ({error})", where=str(self.path)
            ) from None

    def refuse(self, line: int, reason: str) -> None:
        """List a row that cannot be used."""
        self.unreadable.append(Unreadable(str(self.path), line, reason))

    def _csv(
        self,
        handle: io.TextIOBase,
        first: str,
    ) -> tuple[list[str], Iterator[Chunk]]:
        delimiter = max(",;\t", key=first.count)
        header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
        if twice := [name for name in header if header.count(name) > 1]:
            raise UserError(
                f"two columns are named {twice[0]!r}",
                where=str(self.path),
                remedy="rename one",
            )
        return header, self._csv_chunks(header, csv.reader(handle, delimiter=delimiter))

    def _csv_chunks(self, header: list[str], reader: Any) -> Iterator[Chunk]:
        width = len(header)
        more = True
        while more:
            before = reader.line_num + 1
            read = list[list[str]]()
            broken = None
            try:
                read.extend(islice(reader, _CHUNK))
                more = bool(read)
            except csv.Error as error:
                broken = str(error)
            lines = list(range(before + 1, before + 1 + len(read)))
            taken = reader.line_num + 1 - before
            if taken != len(read) + (broken is not None):
                lines = _first_lines(read, before + 1)
            if broken is not None:
                self.refuse(reader.line_num + 1, f"is not CSV ({broken})")
            if any(len(row) != width for row in read):
                for line, row in zip(lines, read, strict=True):
                    if row and len(row) != width:
                        self.refuse(line, f"has {len(row)} values for {width} columns")
                lines = [line for line, row in zip(lines, read, strict=True) if len(row) == width]
                read = [row for row in read if len(row) == width]
            if read:
                columns = (list(column) for column in zip(*read, strict=True))
                yield Chunk(lines, dict(zip(header, columns, strict=True)), read)

    def _json(
        self,
        handle: io.TextIOBase,
        first: str,
    ) -> tuple[list[str], Iterator[Chunk]]:
        source = self._json_rows(handle, first)
        head = list(islice(source, _LOOK))
        names: dict[str, None] = {}
        for _, row, _ in head:
            names.update(dict.fromkeys(_names(row)))
        columns = list(names)
        return columns, self._json_chunks(columns, head, source)

    def _json_rows(
        self, handle: io.TextIOBase, first: str
    ) -> Iterator[tuple[int, dict[str, Any], str]]:
        text, number = first, 1
        while text:
            if text.strip():
                try:
                    row = json.loads(text, parse_float=Decimal)
                except (ValueError, RecursionError) as error:
                    self.refuse(number, f"is not JSON ({error})")
                else:
                    if isinstance(row, dict):
                        yield number, row, text.rstrip()
                    else:
                        self.refuse(number, "is not a JSON object")
            text = handle.readline()
            number = number + 1

    def _json_chunks(
        self,
        columns: list[str],
        head: list[tuple[int, dict[str, Any], str]],
        source: Iterator[tuple[int, dict[str, Any], str]],
    ) -> Iterator[Chunk]:
        taken = head + list(islice(source, _CHUNK))
        while taken:
            lines, rows, texts = zip(*taken, strict=True)
            cells = {}
            for name in columns:
                cells[name] = [_get(row, name) for row in rows]
            yield Chunk(list(lines), cells, texts)
            taken = list(islice(source, _CHUNK))


def _first_lines(rows: list[list[str]], line: int) -> list[int]:
    """The line that each row begins on, where cells hold line breaks."""
    lines = []
    for row in rows:
        lines.append(line)
        line += 1 + sum(cell.count("\n") for cell in row)
    return lines


def _text(path: Path) -> io.TextIOBase:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _names(
    row: Mapping[str, Any],
    before: str = "",
    depth: int = _DEPTH,
) -> Iterator[str]:
    for key, value in row.items():
        if isinstance(value, dict) and depth > 1:
            yield from _names(value, f"{before}{key}.", depth - 1)
        elif not isinstance(value, list):
            yield before + key


def _get(row: Any, name: str) -> Any:
    if name in row:
        return row[name]
    for part in name.split("."):
        if not isinstance(row, dict):
            return None
        row = row.get(part)
    return row


def _parquet(path: Path, opened: ExitStack) -> tuple[list[str], Iterator[Chunk]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(
            "reading Parquet needs pyarrow",
            where=str(path),
            remedy="pip install 'tailproof[parquet]', or write the log as CSV or JSON Lines",
        ) from None
    try:
        source = opened.enter_context(pq.ParquetFile(path))
        names = pa.Table.from_batches([], schema=source.schema_arrow).flatten().column_names
    except pa.ArrowInvalid as error:
        raise UserError(f"is not Parquet ({error})", where=str(path)) from None

    def chunks() -> Iterator[Chunk]:
        begun = 0
        for batch in source.iter_batches(batch_size=_CHUNK):
            table = pa.Table.from_batches([batch]).flatten()
            cells = {name: _values(pa, table.column(name)) for name in table.column_names}
            rows = list(zip(*(map(str, column) for column in cells.values()), strict=True))
            yield Chunk(list(range(begun + 1, begun + len(batch) + 1)), cells, rows)
            begun += len(batch)

    return names, chunks()


def _values(pa: Any, column: Any) -> list[Any]:
    """Cells; a moment with a zone becomes ns since 1970, one without the text of its wall clock."""
    if pa.types.is_timestamp(column.type):
        if column.type.tz is not None:
            column = column.cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())
        else:
            column = column.cast(pa.timestamp("us"), safe=False).cast(pa.string())
    values: list[Any] = column.to_pylist()
    return values
