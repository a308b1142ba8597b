"""The rows of a recorded trace: CSV or JSON of a known layout, or with columns that are named.

In: a path and a `TraceSource`. Out: times in ns, sizes in tokens. Must stay true: the first line
that cannot be read is an error that names it; the unit of the times is said by the layout, by the
user, or by the times themselves, and never guessed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import UserError
from bench.plan.arrival_laws import TraceSource
from bench.plan.file_kinds import (
    refuse_binary,
    refuse_headless,
    refuse_packed,
    refuse_text_log,
    refuse_wrapped,
    separator_of,
    unreadable,
)
from bench.plan.trace_values import (
    UNIT_NS,
    is_stamp,
    number_parser,
    parse_stamp,
    parse_tokens,
    unit_of_size,
)
from bench.units import S

#: Rows that are looked at for the keys of JSON and for the form of the times.
_LOOK = 1_000
#: More requests a second than a public trace has: its times are in another unit than its layout's.
_MOST_RPS = 1_000
_FEW = 10
_DECIMAL_COMMA = re.compile(r"\s*([+-]?\d+),(\d+)\s*")
_DECODER = json.JSONDecoder(parse_float=Decimal)
_GAP = re.compile(r"[\s,]*")


class Layout(NamedTuple):
    """Which column or key holds what, and the unit of the time."""

    title: str
    time: str
    prompt: str
    output: str
    unit: str


LAYOUTS = {
    "mooncake": Layout("Mooncake JSONL", "timestamp", "input_length", "output_length", "ms"),
    "azure": Layout("Azure LLM CSV", "TIMESTAMP", "ContextTokens", "GeneratedTokens", "rfc3339"),
    "burstgpt": Layout("BurstGPT CSV", "Timestamp", "Request tokens", "Response tokens", "s"),
}


class _Line(NamedTuple):
    number: int
    row: Mapping[str, object]


class Rows(NamedTuple):
    """The rows of a trace that have tokens."""

    layout: Layout
    #: ns
    times: npt.NDArray[np.int64]
    #: rows x prompt, output
    sizes: npt.NDArray[np.int32]
    #: which row of the file each is, from 0
    places: npt.NDArray[np.int64]
    #: how many had 0 tokens
    skipped: int


def read_rows(path: Path, source: TraceSource) -> Rows:
    """Read a trace. Raises UserError."""
    text = _text_of(path, source.file)
    if text.lstrip().startswith(("{", "[")):
        keys, lines = _json_lines(text, source.file)
    else:
        keys, lines = _csv_lines(text, source.file)
    layout = _layout(keys, source)
    head = list(islice(lines, _LOOK))
    to_ns = _time_parser(layout, [line.row.get(layout.time) for line in head], source)
    times: list[int] = []
    sizes: list[tuple[int, int]] = []
    places: list[int] = []
    skipped = 0
    for place, line in enumerate((*head, *lines)):
        at = _field(line, layout.time, to_ns, source)
        prompt = _field(line, layout.prompt, parse_tokens, source)
        output = _field(line, layout.output, parse_tokens, source)
        if prompt and output:
            times.append(at)
            sizes.append((prompt, output))
            places.append(place)
        else:
            skipped += 1
    found = np.array(times, np.int64)
    if layout.unit == "ms" and source.time_unit is None:
        _refuse_rush(found, source)
    lengths = np.array(sizes, np.int32).reshape(-1, 2)
    return Rows(layout, found, lengths, np.array(places, np.int64), skipped)


def read_blocks(path: Path, name: str) -> list[tuple[int, ...]]:
    """`hash_ids` of every row in the file. Raises UserError naming the first line without them."""
    text = _text_of(path, name)
    if not text.lstrip().startswith(("{", "[")):
        raise UserError(
            'prefix = "as recorded" needs hash_ids, which a CSV has not',
            where=name,
            remedy='replay a Mooncake trace, or set prefix = "cold"',
        )
    found = []
    for line in _json_lines(text, name)[1]:
        ids = line.row.get("hash_ids")
        if not isinstance(ids, list) or not all(type(each) is int and each >= 0 for each in ids):
            raise UserError(
                f"line {line.number}: has no hash_ids, whole numbers from 0",
                where=name,
                remedy='correct the line, or set prefix = "cold"',
            )
        found.append(tuple(ids))
    return found


def _text_of(path: Path, name: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise unreadable("trace", error, name) from None
    refuse_packed(raw[:512], name)
    refuse_binary(raw[:512], name)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(
            "the trace is not UTF-8 text",
            where=name,
            remedy=f"save it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {name} > trace.csv",
        ) from None


def _time_parser(
    layout: Layout, cells: list[object], source: TraceSource
) -> Callable[[object], int]:
    """How a column of times is read. Raises UserError where its unit is not said."""
    filled = [cell for cell in cells if cell is not None and cell != ""]
    unit = source.time_unit or layout.unit
    if source.time_unit is None and filled:
        if is_stamp(filled[0]):
            unit = "rfc3339"
        elif (by_size := unit_of_size(filled)) is not None:
            unit = by_size
        elif layout.title == LAYOUTS["mooncake"].title and source.format == "auto":
            odd = next((cell for cell in filled if _has_fraction(cell)), None)
            if odd is not None:
                raise UserError(
                    f"{layout.time!r} has fractions ({odd}), and Mooncake's own are whole ms: their"
                    " unit is not said",
                    where=source.file,
                    remedy='set time_unit = "s" or "ms"',
                )
    return parse_stamp if unit == "rfc3339" else number_parser(UNIT_NS[unit])


def _has_fraction(cell: object) -> bool:
    if isinstance(cell, str):
        return "." in cell and cell.rpartition(".")[2].strip("0 ") != ""
    return isinstance(cell, Decimal) and cell.is_finite() and cell != cell.to_integral_value()


def _refuse_rush(times: npt.NDArray[np.int64], source: TraceSource) -> None:
    """Raises UserError where seconds were most likely taken for ms."""
    if len(times) < _FEW:
        return
    lasted_ns = max(int(np.ptp(times)), 1)
    if len(times) * S > _MOST_RPS * lasted_ns and lasted_ns < len(times) * S:
        raise UserError(
            f"{len(times):,} requests lie within {lasted_ns / 1e6:g} ms if its times are ms: their"
            " unit is not sure",
            where=source.file,
            remedy='set time_unit = "s" or "ms"',
        )


def _layout(keys: list[str], source: TraceSource) -> Layout:
    time = source.time_column
    prompt = source.prompt_column
    output = source.output_column
    mapped = source.format in ("auto", "columns") and time and prompt and output
    if mapped:
        layout = Layout("mapped columns", str(time), str(prompt), str(output), "s")
    elif source.format != "auto":
        layout = LAYOUTS[source.format]
    else:
        found = [
            known
            for known in LAYOUTS.values()
            if {known.time, known.prompt, known.output} <= set(keys)
        ]
        if not found:
            raise UserError(
                f"the trace's layout is not known (columns: {', '.join(keys)})",
                where=source.file,
                remedy=(
                    'set format = "columns" and name time_column, prompt_column and output_column'
                ),
            )
        layout = found[0]
    for name in (layout.time, layout.prompt, layout.output):
        if name not in keys:
            if mapped:
                remedy = "correct the name in the profile"
            else:
                remedy = 'set format = "auto" or name the columns'
            raise UserError(
                f"line 1: the trace has no column {name!r} (columns: {', '.join(keys)})",
                where=source.file,
                remedy=remedy,
            )
    return layout


def _csv_lines(text: str, name: str) -> tuple[list[str], Iterator[_Line]]:
    first, _, rest = text.partition("\n")
    separator = separator_of(first)
    skipped = 0
    if first.lower().startswith("sep=") and len(first.strip()) == 5:
        separator, text, skipped = first[4], rest, 1
    refuse_text_log(first, name)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)

    def rows() -> Iterator[list[str]]:
        try:
            yield from reader
        except csv.Error as error:
            raise UserError(
                f"line {reader.line_num + skipped}: is not CSV ({error})",
                where=name,
                remedy="correct or remove the line",
            ) from None

    header = [column.strip() for column in next(rows(), [])]
    refuse_headless(header, name)

    def lines() -> Iterator[_Line]:
        for cells in rows():
            number = reader.line_num + skipped
            if any(cells[len(header) :]) or (len(cells) > len(header) and header[-1:] != [""]):
                raise UserError(
                    f"line {number}: {len(cells)} values for {len(header)} columns",
                    where=name,
                    remedy="correct or remove the line",
                )
            if any(cells):
                plain = cells
                if separator == ";":
                    plain = [_DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in cells]
                yield _Line(number, dict(zip(header, plain, strict=False)))

    return header, lines()


def _json_lines(text: str, name: str) -> tuple[list[str], Iterator[_Line]]:
    """JSON Lines, or one array, or objects over several lines; then the number is the object's."""
    if text.lstrip().startswith("[") or not _is_json(text.lstrip().partition("\n")[0]):
        found = _json_values(text, name)
    else:
        found = (
            _Line(number, _parsed(line, number, name))
            for number, line in enumerate(text.split("\n"), 1)
            if line.strip()
        )
    head = list(islice(found, _LOOK))
    if head:
        refuse_wrapped(dict(head[0].row), name, alone=len(head) == 1)
    keys: dict[str, None] = {}
    for line in head:
        keys.update(dict.fromkeys(line.row))

    def lines() -> Iterator[_Line]:
        yield from head
        yield from found

    return list(keys), lines()


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _parsed(line: str, number: int, name: str) -> Mapping[str, object]:
    try:
        row = json.loads(line, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"line {number}: is not JSON ({error})", name) from None
    return _object(row, f"line {number}", name)


def _json_values(text: str, name: str) -> Iterator[_Line]:
    start = _GAP.match(text)
    at = start.end() if start else 0
    inside = text.startswith("[", at)
    at += inside
    number = 0
    while True:
        gap = _GAP.match(text, at)
        at = gap.end() if gap else at
        if at == len(text) and not inside:
            return
        if inside and text.startswith("]", at):
            return
        number += 1
        try:
            row, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _wrong(f"object {number} is not JSON ({error})", name) from None
        yield _Line(number, _object(row, f"object {number}", name))


def _object(row: Any, place: str, name: str) -> Mapping[str, object]:
    if not isinstance(row, dict):
        raise _wrong(f"{place}: is not a JSON object", name)
    return row


def _wrong(what: str, name: str) -> UserError:
    return UserError(what, where=name, remedy="correct or remove the line")


def _field(
    line: _Line,
    column: str,
    parse: Callable[[object], int],
    source: TraceSource,
) -> int:
    value = line.row.get(column)
    try:
        if value is None or value == "":
            raise ValueError("has no value")
        return parse(value)
    except ValueError as error:
        raise UserError(
            f"line {line.number}: column {column!r}: {error}",
            where=source.file,
            remedy="correct or remove the line",
        ) from None
