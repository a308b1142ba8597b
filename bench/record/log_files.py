"""Log files -> cells: CSV, JSON and Parquet, a chunk of rows at a time.

In: a path. Out: chunks of columns as they were written (text, numbers, None), each row with its
line. Must stay true: a row that cannot be taken apart is listed with its line and the reason,
and the reading goes on; what is no table is refused by its name; nothing is interpreted here.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

from bench.errors import UserError
from bench.plan.file_kinds import (
    PARQUET,
    head_of,
    open_text,
    refuse_headless,
    refuse_text_log,
    refuse_wrapped,
    separator_of,
)
from bench.record.log_csv import CsvRows
from bench.record.log_json import LONGEST, Row, json_rows, read_line

#: So few rows that the garbage collector has little to walk.
_CHUNK = 10_000
#: Rows of a JSON log that are looked at before the first chunk.
_LOOK = 200
_DEPTH = 4
_MOST_COLUMNS = 100_000
#: So many rows that cannot be taken apart, and fewer that can: it is no table.
_MOST_REFUSED = 100_000
#: Reasons beyond this many are counted and not kept.
_REASONS = 100_000
#: How JSON rows begin; a line of `[date] words` does not.
_JSON = re.compile(r"\{|\[\s*(?:[\[{\]]|$)")
#: Keys whose object or list is itself the value: an error, whatever is in it.
_WHOLE = ("error", "exception", "errors")
#: LiteLLM writes this object as text, by way of its data base.
_OBJECT_IN_TEXT = "metadata"


@dataclass(frozen=True)
class Unreadable:
    """A row of a log that could not be used."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of one file. `lines` count from 1; of Parquet and JSON arrays it is the row."""

    lines: list[int]
    #: the cells of a column; None where a row lacks it
    cells: Callable[[str], list[Any]]
    #: the rows as they were written: lists of cells, or lines of text
    rows: Sequence[Sequence[str]]

    def digests(self) -> Iterator[int]:
        """A hash a row: equal for rows that are the same in every cell."""
        if self.rows and isinstance(self.rows[0], str):
            return map(hash, self.rows)
        return map(hash, map(tuple, self.rows))


class LogFile:
    """One file of a log, open: its columns, its rows as they are asked for."""

    def __init__(self, path: Path):
        """Raises UserError: cannot be read, unknown kind, no header or no row."""
        self.path, self.unreadable = path, list[Unreadable]()
        #: lines of every row that could not be taken apart
        self.refused: list[int] = []
        #: rows that were taken apart
        self.taken = 0
        #: grows while a JSON log is read: keys may come late
        self.columns: list[str] = []
        self.may_grow = False
        #: numbers are written with decimal commas
        self.comma = False
        #: times without a zone are UTC by the standard of this kind of file
        self.in_utc = False
        #: bytes of the file, and how many of them are taken up
        self._size, self._at = 0, _at_start
        self._open = ExitStack()
        try:
            self._chunks = self._begin(path)
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

    def _begin(self, path: Path) -> Iterator[Chunk]:
        kind = next((each for each in reversed(path.suffixes) if each != ".gz"), "").lower()
        if kind == ".parquet" or head_of(path).startswith(PARQUET):
            self.columns, chunks = _parquet(path, self._open)
            return chunks
        handle = open_text(path, self._open)
        raw = getattr(handle, "buffer", handle)
        self._size, self._at = path.stat().st_size, getattr(raw, "fileobj", raw).tell
        first, line = _first_line(handle)
        if not first.strip():
            raise UserError(
                "is empty",
                where=str(path),
                remedy="give a log with a header line and rows",
            )
        start = first.lstrip("\ufeff\x1e \t")
        json_like = kind in (".jsonl", ".ndjson", ".json") or _JSON.match(start)
        if json_like:
            return self._json(json_rows(handle, (first, line), self._refuse_row, str(path)))
        if start.startswith(("#Version:", "#Fields:", "#Software:")):
            return self._w3c(handle, first, line)
        return self._csv(handle, first, line)

    @property
    def part_read(self) -> float:
        """How much of the file is read (0 to 1); 0 where it cannot be known."""
        return min(self._at() / self._size, 1.0) if self._size else 0.0

    def chunks(self) -> Iterator[Chunk]:
        """All rows, in the file's order. Raises UserError where the file breaks off."""
        try:
            for chunk in self._chunks:
                self.taken += len(chunk.lines)
                yield chunk
        except (OSError, EOFError) as error:
            raise UserError(
                f"the log cannot be read to its end ({error})", where=str(self.path)
            ) from None

    def refuse(self, line: int, reason: str) -> None:
        """List a row that cannot be used."""
        if len(self.unreadable) < _REASONS:
            self.unreadable.append(Unreadable(str(self.path), line, reason))

    def _refuse_row(self, line: int, reason: str) -> None:
        self.refused.append(line)
        self.refuse(line, reason)
        if len(self.refused) > _MOST_REFUSED and len(self.refused) > self.taken:
            raise UserError(
                f"is no log: {len(self.refused):,} rows up to line {line:,} cannot be taken apart"
                f" and {self.taken:,} can, the last as it {reason}",
                where=str(self.path),
                remedy="get the file whole, or write it as JSON Lines (one object a request)",
            )

    def _csv(self, handle: io.TextIOBase, first: str, line: int) -> Iterator[Chunk]:
        where = str(self.path)
        separator = separator_of(first)
        if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
            separator = first.strip()[4]
            first, line = read_line(handle)[0], line + 1
        refuse_text_log(first, where)
        rows = csv.reader(chain([first], iter(handle.readline, "")), delimiter=separator)
        try:
            header = [name.strip() for name in next(rows, [])]
        except csv.Error as error:
            raise UserError(
                f"line {line}: is no header line of CSV ({error})",
                where=where,
                remedy="write the columns' names there",
            ) from None
        refuse_headless(header, where)
        self.comma = separator == ";"
        return self._table(handle, separator, header, line + rows.line_num)

    def _w3c(self, handle: io.TextIOBase, first: str, line: int) -> Iterator[Chunk]:
        """The extended log format of the W3C (CloudFront, IIS): the names stand behind #Fields."""
        names = list[str]()
        while first.startswith("#"):
            if first.startswith("#Fields:"):
                names = first.partition(":")[2].split()
                break
            first, line = read_line(handle)[0], line + 1
        if not {"date", "time"} <= set(names):
            raise UserError(
                "is a W3C extended log without date and time in its #Fields",
                where=str(self.path),
                remedy="log them, or write the file as CSV with a header line",
            )
        self.in_utc = True
        separator = "\t" if "x-edge-location" in names else " "
        return self._table(handle, separator, names, line + 1)

    def _table(
        self, handle: io.TextIOBase, separator: str, header: list[str], line: int
    ) -> Iterator[Chunk]:
        names = [name or f"column {number}" for number, name in enumerate(header, 1)]
        _refuse_many(len(names), str(self.path))
        if len(set(names)) < len(names):
            twice = next(name for name, count in Counter(names).items() if count > 1)
            raise UserError(
                f"two columns are named {twice!r}",
                where=str(self.path),
                remedy="rename one",
            )
        self.columns = names
        rows = CsvRows(handle, separator, len(names), line, comments=self.in_utc)
        places = {name: place for place, name in enumerate(names)}
        return (
            Chunk(lines, _by_place(places, read), read)
            for lines, read in rows.blocks(self._refuse_row)
            if read
        )

    def _json(self, source: Iterator[Row]) -> Iterator[Chunk]:
        self.may_grow = True
        head = list(islice(source, _LOOK))
        if head:
            refuse_wrapped(head[0][1], str(self.path), alone=len(head) == 1)
        self._learn([row for _, row, _ in head])
        return self._json_chunks(head, source)

    def _json_chunks(self, head: list[Row], source: Iterator[Row]) -> Iterator[Chunk]:
        taken = head
        while taken:
            lines, rows, texts = zip(*taken, strict=True)
            self._learn(rows)
            yield Chunk(list(lines), _by_name(rows), texts)
            taken = list(islice(source, _CHUNK))
        self.may_grow = False

    def _learn(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add the keys that are new in these rows to the columns."""
        known = dict.fromkeys(self.columns)
        for row in rows:
            nested = dict in map(type, row.values()) or _OBJECT_IN_TEXT in row
            if nested or not known.keys() >= row.keys():
                known.update(dict.fromkeys(_names(row)))
        self.columns = list(known)
        _refuse_many(len(known), str(self.path))


def _at_start() -> int:
    return 0


def _refuse_many(columns: int, where: str) -> None:
    if columns > _MOST_COLUMNS:
        raise UserError(
            f"has more than {_MOST_COLUMNS:,} columns",
            where=where,
            remedy="write a log with the columns that judge it",
        )


def _by_place(places: Mapping[str, int], rows: list[list[str]]) -> Callable[[str], list[Any]]:
    columns = list(zip(*rows, strict=True))
    return lambda name: list(columns[places[name]])


def _by_name(rows: Sequence[Mapping[str, Any]]) -> Callable[[str], list[Any]]:
    return lambda name: [row[name] if name in row else _get(row, name) for row in rows]


def _first_line(handle: io.TextIOBase) -> tuple[str, int]:
    """The first line that is not blank, nor a remark such as `# exported by ...`, and its
    number.
    """
    number = 1
    while (line := handle.readline(LONGEST)) and (
        not line.strip() or (line.startswith("# ") and number < _LOOK)
    ):
        number += 1
    return line, number


def _names(
    row: Mapping[str, Any],
    before: str = "",
    depth: int = _DEPTH,
) -> Iterator[str]:
    for key, value in row.items():
        inner = _object_in(value) if key == _OBJECT_IN_TEXT else value
        if key in _WHOLE and isinstance(value, (dict, list)):
            yield before + key
        if isinstance(inner, dict) and depth > 1:
            yield from _names(inner, f"{before}{key}.", depth - 1)
        elif not isinstance(value, list):
            yield before + key


def _get(row: Any, name: str) -> Any:
    """What a dotted name leads to; a key may hold dots itself."""
    while isinstance(row, dict):
        if name in row:
            return row[name]
        key = name
        while key not in row:
            key, dot, _ = key.rpartition(".")
            if not dot:
                return None
        name = name[len(key) + 1 :]
        row = _object_in(row[key]) if key == _OBJECT_IN_TEXT else row[key]
    return None


def _object_in(value: Any) -> Any:
    """The object that a text holds, of one that does."""
    if isinstance(value, str) and value.startswith("{") and len(value) < LONGEST:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


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
        names = _flat(pa, pa.Table.from_batches([], schema=source.schema_arrow)).column_names
    except (pa.ArrowException, ValueError) as error:
        raise UserError(f"is not Parquet ({error})", where=str(path)) from None

    def chunks() -> Iterator[Chunk]:
        begun = 0
        try:
            for batch in source.iter_batches(batch_size=_CHUNK):
                table = _flat(pa, pa.Table.from_batches([batch]))
                cells = {name: _values(pa, table.column(name)) for name in table.column_names}
                rows = list(zip(*(map(str, column) for column in cells.values()), strict=True))
                lines = list(range(begun + 1, begun + len(batch) + 1))
                yield Chunk(lines, cells.__getitem__, rows)
                begun += len(batch)
        except pa.ArrowException as error:
            raise UserError(
                f"the log cannot be read to its end ({str(error)[:200]})", where=str(path)
            ) from None

    return names, chunks()


def _flat(pa: Any, table: Any) -> Any:
    """Structs taken apart, as deep as JSON's objects are."""
    for _ in range(_DEPTH):
        if not any(pa.types.is_struct(each.type) for each in table.schema):
            break
        table = table.flatten()
    return table


def _values(pa: Any, column: Any) -> list[Any]:
    """Cells; a moment with a zone becomes ns since 1970, one without the text of its wall clock."""
    if pa.types.is_timestamp(column.type):
        if column.type.tz is not None:
            column = column.cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())
        else:
            column = column.cast(pa.timestamp("us"), safe=False).cast(pa.string())
    values: list[Any] = column.to_pylist()
    return values
