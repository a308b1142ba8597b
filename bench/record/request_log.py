"""Request logs: the customer's own, read from files, and a made-up period's.

In: CSV, JSON Lines or Parquet files and which column holds what; or a `Month`. Out: a `RequestLog`:
the rows in order of their start, as a run's tables have them. Must stay true: every row of the file
is in the table or listed as unreadable; disorder and duplicates are refused unless the user allowed
them; each row knows its file and line; a made-up period is the same each time, row for row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Literal

import numpy as np

from bench.clock import utc_text
from bench.errors import UserError
from bench.metrics import known_from
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.draws import buckets
from bench.plan.month import Month
from bench.record import log_values as values
from bench.record.facts import LABELS, Facts
from bench.record.log_columns import FIELDS, Column, map_columns
from bench.record.log_files import Chunk, LogFile, Unreadable
from bench.record.samples import (
    SCHEDULE_DTYPE,
    Columns,
    Flag,
    Int,
    Outcome,
    Table,
    causes_of,
    empty_samples,
)

#: More different names than this in a column of models or regions: it is another column.
_MOST_NAMES = 30_000
_YES = ("true", "1", "yes")
_TEXT_COLUMNS = {
    "served_model": "served_model",
    "served_region": "served_region",
    "finish": "finish",
    "error": "note",
}


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


class _Texts(dict[str, values.Numbers]):
    """The numbering of texts, field by field."""

    def __missing__(self, name: str) -> values.Numbers:
        return self.setdefault(name, values.numbering())


def read_log(paths: Sequence[Path], reading: Reading) -> RequestLog:
    """Read one log from its files.

    Raises UserError for a file that cannot be read, missing columns, times without a zone, rows
    out of order and duplicates (unless `reading` allows them), and a log without a readable row.
    """
    texts = _Texts()
    unreadable: list[Unreadable] = []
    mapping: dict[str, Column] = {}
    notes: dict[str, None] = {}
    parts: list[dict[str, Int]] = []
    for number, path in enumerate(paths):
        with LogFile(path) as source:
            found = map_columns(source.columns, reading.columns, str(path))
            mapping |= found
            for chunk in source.chunks():
                part, bad = _converted(chunk, found, texts, reading.time_zone, notes, str(path))
                for row, reason in sorted(bad.items()):
                    source.refuse(chunk.lines[row], reason)
                keep = np.ones(len(chunk.lines), bool)
                keep[list(bad)] = False
                part["file"] = np.full(len(keep), number)
                parts.append({name: array[keep] for name, array in part.items()})
        unreadable += source.unreadable
    names = [str(path) for path in paths]
    rows = _joined(parts)
    if not len(rows.get("at", ())):
        first = unreadable[0] if unreadable else None
        raise UserError(
            "holds no request that can be read",
            where=names[0],
            remedy=f"line {first.line}: {first.reason}" if first else "the file has no rows",
        )
    rows = _in_order(rows, names, sort=reading.sort)
    rows, dropped = _without_duplicates(rows, names, reading.duplicates)
    if dropped:
        notes[f"{dropped:,} duplicate rows are left out"] = None
    columns, facts = _tables(rows, {name: list(numbers) for name, numbers in texts.items()})
    return RequestLog(
        columns,
        facts,
        names,
        rows["file"],
        rows["line"],
        unreadable,
        known_from(rows),
        mapping,
        list(notes),
    )


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


def _converted(
    chunk: Chunk,
    mapping: Mapping[str, Column],
    texts: _Texts,
    zone: tzinfo | None,
    notes: dict[str, None],
    where: str,
) -> tuple[dict[str, Int], values.Bad]:
    """field -> one integer a row, and the rows that cannot be read."""
    bad: values.Bad = {}
    found: dict[str, Int] = {"line": np.array(chunk.lines)}
    if "id" not in mapping:
        found["digest"] = np.array(chunk.digests())
    for name, column in mapping.items():
        cells = chunk.cells[column.name]
        kind = FIELDS[name][0]
        first = next((cell for cell in cells if not values.is_empty(cell)), None)
        if kind == "moment":
            needed = name == "at" or (name == "ended" and "at" not in mapping)
            found[name] = values.moments(
                cells,
                column.name,
                column.unit,
                zone,
                bad,
                where,
                needed=needed,
            )
        elif kind == "length":
            found[name] = values.lengths(cells, column.name, column.unit, bad)
        elif kind == "count":
            found[name] = values.counts(cells, column.name, bad)
        elif kind == "text":
            if name == "id":
                found[name] = values.hashed(cells)
            else:
                found[name] = values.numbered(cells, texts[name])
        elif kind == "flag":
            found[name] = np.array([_word(cell) in _YES for cell in cells], np.int64)
        elif kind == "status" and (first is None or values.is_number(first)):
            found[name] = values.statuses(cells, column.name, bad)
        elif "outcome" not in found:  # words, also in a status column
            found["outcome"] = values.outcomes(cells, column.name, bad)
            if any(_word(cell) in values.VAGUE for cell in cells):
                notes["rows that say that they failed, and not how, count as http_5xx"] = None
    _complete(found)
    return found, bad


def _word(cell: object) -> str:
    return str(cell).strip().lower()


def _complete(found: dict[str, Int]) -> None:
    """Derive what other columns imply: start, length, time to the first token, outcome."""
    nothing = np.full(len(found["line"]), -1)
    found["written"] = found.get("at", found.get("ended", nothing))
    if "at" not in found:
        found["at"] = found["ended"] - np.maximum(found["latency"], 0)
    for length, end in (("latency", "ended"), ("ttft", "first_token_at")):
        if length not in found and end in found:
            took = found[end] - found["at"]
            known = (found[end] >= 0) & (took >= 0)
            found[length] = np.where(known, took, -1)
    outcome = found.get("outcome", nothing)
    if "status" in found:
        of_status = values.outcomes_of_status(found["status"])
        outcome = np.where(outcome >= 0, outcome, of_status)
    if "error" in found and "outcome" not in found:
        # An error beside a status below 400 came inside the answer; beside none, instead of one.
        has_error = found["error"] >= 0
        no_failure = (outcome == Outcome.ok) | (outcome == Outcome.censored)
        outcome = np.where(has_error & no_failure, Outcome.stream_error, outcome)
    found["outcome"] = np.where(outcome >= 0, outcome, Outcome.censored)


def _in_order(rows: dict[str, Int], names: Sequence[str], *, sort: bool) -> dict[str, Int]:
    """The rows by their start.

    Raises UserError where a file's own order goes back in time, unless `sort`.
    """
    if not sort:
        earlier = np.diff(rows["written"]) < 0
        same_file = np.diff(rows["file"]) == 0
        back = np.flatnonzero(earlier & same_file) + 1
        if len(back):
            row = int(back[0])
            lines = ", ".join(f"line {line}" for line in rows["line"][back[:5]].tolist())
            raise UserError(
                f"line {rows['line'][row]} ({_utc(rows['written'][row])}) is earlier than the row"
                f" before it ({_utc(rows['written'][row - 1])}); {len(back):,} rows go back in"
                f" time: {lines}{' ...' if len(back) > 5 else ''}",
                where=names[rows["file"][row]],
                remedy=(
                    "correct the log, or say with --sort that its rows were written in another"
                    " order"
                ),
            )
    order = np.argsort(rows["at"], kind="stable")
    return {name: array[order] for name, array in rows.items()}


def _without_duplicates(
    rows: dict[str, Int],
    names: Sequence[str],
    wish: str,
) -> tuple[dict[str, Int], int]:
    """Rows once each, and how many were dropped.

    Duplicates are rows of one id or, in a log without ids, rows equal in every cell.
    """
    if wish == "keep":
        return rows, 0
    by_id = "id" in rows
    same = rows["id"] if by_id else rows["digest"]
    place = np.arange(len(same))
    if by_id:
        order = np.lexsort((place, same))
        comparable = same[order][1:] != -1
    else:
        order = np.lexsort((place, rows["at"], same))
        comparable = np.diff(rows["at"][order]) == 0
    equal = (np.diff(same[order]) == 0) & comparable
    twins = order[1:][equal]
    if not len(twins):
        return rows, 0
    if wish == "refuse":
        at = int(np.flatnonzero(equal)[0])
        first = int(order[at])
        second = int(order[at + 1])
        what = "has the id of" if by_id else "is the same as"
        same_file = rows["file"][first] == rows["file"][second]
        other_file = "" if same_file else f" of {names[rows['file'][first]]}"
        raise UserError(
            f"line {rows['line'][second]} {what} line {rows['line'][first]}{other_file};"
            f" {len(twins):,} rows are duplicates",
            where=names[rows["file"][second]],
            remedy=(
                "correct the log, or say --duplicates drop (or keep, where equal rows are different"
                " requests)"
            ),
        )
    keep = np.ones(len(same), bool)
    keep[twins] = False
    return {name: array[keep] for name, array in rows.items()}, len(twins)


def _tables(rows: dict[str, Int], texts: dict[str, list[str]]) -> tuple[Columns, Facts]:
    """The rows as a run's tables have them; time 0 is the minute of the first."""
    n = len(rows["at"])
    start = int(rows["at"][0]) // MINUTE_NS * MINUTE_NS
    due = rows["at"] - start
    schedule, samples = _sent_when_due(due)
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


def _sent_when_due(due: Int) -> tuple[Table, Table]:
    """Tables of rows of which a log knows one moment: no wait of ours came before it."""
    schedule = np.zeros(len(due), SCHEDULE_DTYPE)
    schedule["after_row"] = -1
    schedule["prefix_group"] = -1
    schedule["due_ns"] = due
    samples = empty_samples(len(due))
    for column in ("due_ns", "slot_free_ns", "sent_ns"):
        samples[column] = due
    return schedule, samples


def _utc(wall_ns: int) -> str:
    return utc_text(int(wall_ns))


def play_month(month: Month, name: str) -> RequestLog:
    """A made-up period as its log would be read: requests evenly apart in each minute, of which the
    first ones fail.

    Raises UserError for an incident that the traffic cannot have.
    """
    start = _minute(month.start)
    minutes = month.days * 24 * 60
    hour = (start + np.arange(minutes)) // 60 % 24
    n = np.array(month.requests_per_min, np.int64)[hour]
    failed = np.zeros(minutes, np.int64)
    status = np.zeros(minutes, np.int64)
    for incident in month.incidents:
        first = _minute(incident.start) - start
        last = first + incident.minutes
        if first < 0 or last > minutes or n[first:last].min() < incident.failed_per_min:
            raise UserError(
                "lies outside the period, or fails more requests than are made",
                where=f"{name}: incident at {incident.start:%Y-%m-%dT%H:%MZ}",
            )
        failed[first:last] = incident.failed_per_min
        status[first:last] = incident.status
    minute = np.repeat(np.arange(minutes), n)
    place = np.arange(len(minute)) - np.repeat(np.cumsum(n) - n, n)
    bad = place < failed[minute]
    due = minute * MINUTE_NS + place * (MINUTE_NS // np.maximum(n, 1))[minute]
    schedule, samples = _sent_when_due(due)
    samples["done_ns"] = due + month.latency
    samples["outcome"] = np.where(bad, Outcome.http_5xx, Outcome.ok)
    samples["status"] = np.where(bad, status[minute], 200)
    samples["cause"] = causes_of(samples["outcome"], samples["status"])
    rows = len(due)
    return RequestLog(
        Columns(schedule, samples),
        Facts(start * MINUTE_NS),
        [name],
        np.zeros(rows, np.int64),
        np.arange(1, rows + 1),
        [],
        known_from(["latency"]),
        {},
        ["made up, not recorded"],
    )


def _minute(moment: datetime) -> int:
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) // 60
