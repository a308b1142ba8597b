"""Request logs: the customer's own, read from files.

In: CSV, JSON or Parquet files and which column holds what. Out: a `RequestLog`: the rows in order
of their start, as a run's tables have them; the log's own names of rows, read once more. Must stay
true: every row of the file is in the tables, dropped as a duplicate, or listed as unreadable with a
moment of its own; disorder and duplicates are refused unless the user allowed them; each row knows
its file and line.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from bench.errors import UserError
from bench.metrics import known_from
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.draws import buckets
from bench.progress import step
from bench.record.facts import LABELS, Facts
from bench.record.log_columns import Column, map_columns
from bench.record.log_files import Chunk, LogFile, Unreadable
from bench.record.log_order import fill_moments, in_order, settle_twice, without_duplicates
from bench.record.log_rows import Converter
from bench.record.samples import SCHEDULE_DTYPE, Columns, Flag, Int, Table, causes_of, empty_samples

#: More different names than this in a column of models or regions: it is another column.
_MOST_NAMES = 30_000
#: Chunks of a JSON log that are held until the columns that it must have are seen.
_WAIT = 5
_TEXT_COLUMNS = {
    "served_model": "served_model",
    "served_region": "served_region",
    "finish": "finish",
    "error": "note",
}


def _no_rows() -> Int:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Reading:
    """How a log is to be read."""

    #: field -> column, with `:unit` where the column's name does not end in one
    columns: Mapping[str, str] = field(default_factory=dict)
    time_zone: tzinfo | None = None
    sort: bool = False
    duplicates: Literal["refuse", "drop", "keep"] = "refuse"


@dataclass(frozen=True)
class RequestLog:
    """Rows in order of their start, each with where it was read."""

    columns: Columns
    facts: Facts
    #: names of the files; `file` indexes them, `line` counts from 1 in each
    names: list[str]
    file: Int
    line: Int
    unreadable: list[Unreadable]
    #: metrics that the rows can have
    metrics: frozenset[str]
    #: field -> column that it was read from
    mapping: Mapping[str, Column]
    #: sentences: what was assumed or changed on the way
    notes: list[str]
    #: when the rows that cannot be read began, or are taken to have begun; in order, Unix ns
    unread_ns: Int = field(default_factory=_no_rows)
    #: rows that were left out because they stand in the log already
    duplicates: int = 0
    #: rows of the files, counted as they were taken from them; None: no file
    rows_in: int | None = None


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Millions of cells without a circle among them: the collector would walk them for nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def read_log(paths: Sequence[Path], reading: Reading) -> RequestLog:
    """Read one log from its files.

    Raises UserError for a file that cannot be read, missing columns, times without a zone, rows
    out of order and duplicates (unless `reading` allows them), and a log without a readable row.
    """
    unreadable: list[Unreadable] = []
    mapping: dict[str, Column] = {}
    parts: list[dict[str, Int]] = []
    unread: list[dict[str, Int]] = []
    converter = Converter(reading.time_zone)
    rows_in = 0
    for number, path in enumerate(paths):
        with _collector_paused(), LogFile(path) as source, step("reading the log") as say:
            converter.zone = reading.time_zone or (UTC if source.in_utc else None)
            for chunk, found in _mapped(source, reading.columns):
                mapping |= found
                part, bad = converter.rows(chunk, found, str(path), comma=source.comma)
                part["file"] = np.full(len(chunk.lines), number)
                keep = np.ones(len(chunk.lines), bool)
                keep[list(bad)] = False
                for row, reason in sorted(bad.items()):
                    source.refuse(chunk.lines[row], reason)
                parts.append({name: array[keep] for name, array in part.items()})
                unread.append({name: part[name][~keep] for name in ("file", "line", "at")})
                say(source.part_read)
            lines = np.array(source.refused, np.int64)
            nothing = np.full(len(lines), -1)
            unread.append({"file": np.full(len(lines), number), "line": lines, "at": nothing})
            rows_in += source.taken + len(lines)
            unreadable += source.unreadable
    taken = _Taken([str(path) for path in paths], parts, unread, unreadable, rows_in)
    return _log(taken, reading, converter, mapping)


def _mapped(source: LogFile, asked: Mapping[str, str]) -> Iterator[tuple[Chunk, dict[str, Column]]]:
    """Each chunk with the columns of the fields. Keys of JSON may first come late.

    Raises UserError for columns that are missing to the end.
    """
    waiting = list[Chunk]()
    found: dict[str, Column] = {}
    known = -1
    for chunk in source.chunks():
        waiting.append(chunk)
        if len(source.columns) != known:
            try:
                grown = source.may_grow
                found |= map_columns(source.columns, asked, str(source.path), may_grow=grown)
                known = len(source.columns)
            except UserError:
                if not source.may_grow or len(waiting) > _WAIT:
                    raise
                continue
        yield from ((each, found) for each in waiting)
        waiting.clear()
    if known >= 0 or waiting:
        map_columns(source.columns, asked, str(source.path))


class _Taken(NamedTuple):
    """What was taken from the files."""

    names: list[str]
    parts: list[dict[str, Int]]
    #: file, line and moment (-1: none) of the rows that cannot be read
    unread: list[dict[str, Int]]
    unreadable: list[Unreadable]
    rows_in: int


def _log(
    taken: _Taken,
    reading: Reading,
    converter: Converter,
    mapping: Mapping[str, Column],
) -> RequestLog:
    names, unreadable, rows_in = taken.names, taken.unreadable, taken.rows_in
    rows = _joined(taken.parts)
    if not len(rows.get("at", ())):
        first = unreadable[0] if unreadable else None
        raise UserError(
            "holds no request that can be read",
            where=names[0],
            remedy=f"line {first.line}: {first.reason}" if first else "the file has no rows",
        )
    notes = _notes(converter)
    rows, unread = _settled(rows, _joined(taken.unread), taken, notes, sort=reading.sort)
    unread_ns = np.sort(fill_moments(rows, unread["file"], unread["line"], unread["at"]))
    rows = in_order(rows, names, sort=reading.sort)
    rows, dropped = without_duplicates(rows, names, reading.duplicates)
    if dropped:
        notes.append(f"{dropped:,} duplicate rows are left out")
    texts = {name: list(numbers) for name, numbers in converter.texts.items()}
    columns, facts = _tables(rows, texts)
    if rows_in != len(columns) + dropped + len(unread_ns):
        raise RuntimeError(f"{rows_in} rows were read, {len(columns)} + {len(unread_ns)} are known")
    return RequestLog(
        columns,
        facts,
        names,
        rows["file"],
        rows["line"],
        unreadable,
        known_from(rows),
        mapping,
        notes,
        unread_ns,
        dropped,
        rows_in,
    )


def _settled(
    rows: dict[str, Int],
    unread: dict[str, Int],
    taken: _Taken,
    notes: list[str],
    *,
    sort: bool,
) -> tuple[dict[str, Int], dict[str, Int]]:
    """The rows whose hour is known, and the unreadable ones with those added of which it is not."""
    unsettled = settle_twice(rows, sort=sort)
    if not unsettled.any():
        return rows, unread
    reason = "falls into the hour that comes twice, and does not say into which of the two"
    for file, line in zip(rows["file"][unsettled], rows["line"][unsettled], strict=True):
        taken.unreadable.append(Unreadable(taken.names[file], int(line), reason))
    notes.append(
        f"{int(unsettled.sum()):,} rows fall into the hour that comes twice (end of daylight saving"
        " time) and do not say which of the two; write times with their offset, or in UTC"
    )
    unread = {name: np.concatenate([unread[name], rows[name][unsettled]]) for name in unread}
    return {name: array[~unsettled] for name, array in rows.items()}, unread


def _notes(converter: Converter) -> list[str]:
    notes = []
    if converter.vague:
        notes.append("rows that say that they failed, and not how, count as http_5xx")
    if odd := converter.odd_words:
        words = ", ".join(f"{word!r} ({n:,})" for word, n in odd.most_common(5))
        more = ", ..." if len(odd) > 5 else ""
        notes.append(
            f"{sum(odd.values()):,} rows say how they ended in words that are not known, and count"
            f" as unknown, both ways: {words}{more}"
        )
    return notes


def _joined(parts: list[dict[str, Int]]) -> dict[str, Int]:
    """One array a field; -1 in the rows of parts that lack the field."""
    names: dict[str, None] = {}
    for part in parts:
        names.update(dict.fromkeys(part))
    joined = {}
    for name in names:
        arrays = [part.get(name, np.full(len(part["at"]), -1)) for part in parts]
        joined[name] = np.concatenate(arrays)
    return joined


def _tables(rows: dict[str, Int], texts: dict[str, list[str]]) -> tuple[Columns, Facts]:
    """The rows as a run's tables have them; time 0 is the minute of the first."""
    n = len(rows["at"])
    start = int(rows["at"][0]) // MINUTE_NS * MINUTE_NS
    due = rows["at"] - start
    schedule, samples = sent_when_due(due)
    if "latency" in rows:
        samples["done_ns"] = np.where(rows["latency"] >= 0, due + rows["latency"], -1)
    streamed = np.zeros(n, bool)
    if "streamed" in rows:
        streamed = rows["streamed"] > 0
    elif "ttft" in rows:
        streamed = rows["ttft"] >= 0
    samples["flags"] = np.where(streamed, Flag.STREAMED, 0)
    if "ttft" in rows:
        samples["first_token_ns"] = np.where(rows["ttft"] >= 0, due + rows["ttft"], -1)
        samples["last_token_ns"] = np.where(streamed, samples["done_ns"], -1)
    samples["outcome"] = rows["outcome"]
    samples["status"] = np.maximum(rows.get("status", np.zeros(n, np.int64)), 0)
    samples["cause"] = causes_of(
        samples["outcome"], samples["status"], rows.get("code"), texts.get("code", ())
    )
    for name in ("prompt_tokens", "output_tokens"):
        if name in rows:
            samples[name] = rows[name]
            schedule[name] = np.maximum(rows[name], 0)
    schedule["bucket"] = buckets(schedule["prompt_tokens"])
    for name, column in _TEXT_COLUMNS.items():
        if name in rows:
            if len(texts[name]) > _MOST_NAMES:
                rows[name] = np.minimum(rows[name], _MOST_NAMES)
                texts[name] = [*texts[name][:_MOST_NAMES], "(further texts)"]
            samples[column] = rows[name]
    labels = {name: rows[name] for name in LABELS if name in rows}
    if "deadline" in rows:
        labels["deadline_ns"] = rows["deadline"]
    named = {_TEXT_COLUMNS.get(name, name): found for name, found in texts.items()}
    return Columns(schedule, samples), Facts(start, named, labels=labels)


def sent_when_due(due: Int) -> tuple[Table, Table]:
    """Tables of rows of which a log knows one moment: no wait of ours came before it."""
    schedule = np.zeros(len(due), SCHEDULE_DTYPE)
    schedule["after_row"] = -1
    schedule["prefix_group"] = -1
    schedule["due_ns"] = due
    samples = empty_samples(len(due))
    for column in ("due_ns", "slot_free_ns", "sent_ns"):
        samples[column] = due
    return schedule, samples


def row_ids(log: RequestLog, rows: Int) -> dict[int, str]:
    """By row: the request's name. Rows without one are left out. Raises UserError."""
    column = log.mapping.get("id")
    if column is None or not len(rows):
        return {}
    wanted: dict[int, dict[int, int]] = defaultdict(dict)
    for row in rows.tolist():
        wanted[int(log.file[row])][int(log.line[row])] = row
    found: dict[int, str] = {}
    for number, lines in wanted.items():
        with LogFile(Path(log.names[number])) as source:
            for chunk in source.chunks():
                here = [(at, lines[line]) for at, line in enumerate(chunk.lines) if line in lines]
                if not here:
                    continue
                cells = chunk.cells(column.name)
                found |= {row: str(cells[at]) for at, row in here if cells[at] not in (None, "")}
    return found
