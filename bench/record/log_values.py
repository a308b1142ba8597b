"""Cells of a log -> integers: moments, lengths, counts, statuses, outcomes, texts by number.

In: columns of cells as written. Out: integer arrays (ns, -1 where a cell is empty) and, a row,
why it cannot be read. Must stay true: a moment without a zone and a length without a unit are
refused, never guessed; decimal numbers are not rounded on the way to ns.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, DecimalException
from itertools import islice
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.record.samples import Int, Outcome
from bench.units import MS, US, S

UNITS = {"ns": 1, "us": US, "ms": MS, "s": S}
#: The last word of a column's name: `duration_ms`, `durationMs`.
_LAST_WORD = re.compile(r"(?:[_. -]([A-Za-z]+)|[a-z]([A-Z][a-z]*))$")
_LONG = {
    "nanoseconds": "ns",
    "nanos": "ns",
    "microseconds": "us",
    "micros": "us",
    "milliseconds": "ms",
    "millis": "ms",
    "msec": "ms",
    "seconds": "s",
    "secs": "s",
    "sec": "s",
}
_EMPTY = frozenset({None, "", "-", "null", "NULL", "None", "NaN", "nan", "N/A"})
_LARGEST = 10**19
#: A column of moments holds numbers where most of its first so many cells do.
_LOOK = 21
_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WORDS = {
    **{outcome.name: outcome for outcome in Outcome},
    **dict.fromkeys(
        ("success", "succeeded", "successful", "true", "1", "completed", "complete"), Outcome.ok
    ),
    **dict.fromkeys(
        ("failure", "failed", "fail", "error", "false", "0", "server_error"), Outcome.http_5xx
    ),
    **dict.fromkeys(("timeout", "timed_out", "deadline_exceeded"), Outcome.timeout_total),
    **dict.fromkeys(("rate_limit", "throttled", "quota_exceeded"), Outcome.rate_limited),
    **dict.fromkeys(("cancelled", "canceled", "aborted"), Outcome.censored),
    **dict.fromkeys(("client_error", "bad_request"), Outcome.http_4xx),
}
#: Words for a failed request that do not say how it failed.
VAGUE = ("failure", "failed", "fail", "error", "false", "0")

_UNREADABLE = (ValueError, TypeError, DecimalException, OverflowError)

Parse = Callable[[Any], int]
Bad = dict[int, str]
Numbers = defaultdict[str, int]


def is_empty(cell: Any) -> bool:
    """Whether a cell holds no value."""
    return cell is None or (isinstance(cell, str) and cell.strip() in _EMPTY)


def is_number(cell: Any) -> bool:
    """Whether a cell is a number, as such or as text."""
    if isinstance(cell, str):
        return _NUMBER.fullmatch(cell) is not None
    return isinstance(cell, (int, float, Decimal)) and not isinstance(cell, bool)


def _blank(cells: list[Any]) -> list[bool]:
    try:
        return [cell in _EMPTY for cell in cells]
    except TypeError:  # an object where a value was expected
        return [is_empty(cell) for cell in cells]


def converted(
    cells: list[Any],
    parse: Parse,
    name: str,
    bad: Bad,
    *,
    needed: bool = False,
) -> Int:
    """Every cell through `parse`, -1 where it is empty; a cell that does not parse makes its row
    bad.
    """
    if (whole := _parsed(cells, parse)) is not None:
        return whole
    blank = _blank(cells)
    out: Int = np.full(len(cells), -1, np.int64)
    filled = _parsed([cell for cell, empty in zip(cells, blank, strict=True) if not empty], parse)
    if filled is not None:
        out[~np.array(blank, bool)] = filled
    else:
        for row, cell in enumerate(cells):
            try:
                out[row] = -1 if is_empty(cell) else parse(cell)
            except _UNREADABLE:
                bad.setdefault(row, f"column {name!r}: {_shown(cell)} cannot be read")
    if needed:
        for row in np.flatnonzero(blank).tolist():
            bad.setdefault(row, f"column {name!r} has no value")
    return out


def _parsed(cells: list[Any], parse: Parse) -> Int | None:
    """All cells; None where one does not parse."""
    try:
        return np.fromiter(map(parse, cells), np.int64, len(cells))
    except _UNREADABLE:
        return None


def moments(
    cells: list[Any],
    name: str,
    unit: str,
    zone: tzinfo | None,
    bad: Bad,
    where: str,
    *,
    needed: bool,
) -> Int:
    """Unix ns of ISO 8601 times or epoch numbers.

    Raises UserError for local times while no zone is given.
    """
    samples = list(islice((cell for cell in cells if not is_empty(cell)), _LOOK))
    numbers = sorted(Decimal(cell).copy_abs() for cell in samples if is_number(cell))
    if 2 * len(numbers) > len(samples):
        if unit:
            scale = UNITS[unit]
        else:
            scale = _epoch_unit(numbers[len(numbers) // 2], name, where)
        return converted(cells, lambda cell: int(_number(cell) * scale), name, bad, needed=needed)

    def parse(cell: Any) -> int:
        at = datetime.fromisoformat(cell)
        if at.tzinfo is None:
            if zone is None:
                raise UserError(
                    f"column {name!r} holds times without a zone, such as {cell!r}",
                    where=where,
                    remedy="say which with --time-zone UTC or an IANA name",
                )
            at = at.replace(tzinfo=zone)
        return (at - _EPOCH) // _MICROSECOND * US

    return converted(cells, parse, name, bad, needed=needed)


def _epoch_unit(size: Decimal, name: str, where: str) -> int:
    """Seconds, ms, µs or ns by size: each holds the years 2001 to 2286 and no other's does."""
    for scale in UNITS.values():
        if size < _LARGEST and Decimal(10**9) <= size * scale / S < Decimal(10**10):
            return scale
    raise UserError(
        f"column {name!r} holds {_shown(size)}, which is no time of this century in s, ms, µs"
        " or ns",
        where=where,
        remedy="map a column of ISO 8601 times or Unix times",
    )


def unit_of(column: str) -> str | None:
    """The unit that a column's name ends in: `duration_ms` -> ms."""
    found = _LAST_WORD.search(column)
    if found:
        word = (found[1] or found[2]).lower()
    else:
        word = ""
    if word in UNITS:
        return word
    return _LONG.get(word)


def lengths(
    cells: list[Any],
    name: str,
    unit: str,
    bad: Bad,
) -> Int:
    """ns of numbers in a unit; below zero is bad."""
    scale = UNITS[unit]

    def parse(cell: Any) -> int:
        ns = int(_number(cell) * scale)
        if ns < 0:
            raise ValueError
        return ns

    return converted(cells, parse, name, bad)


def counts(cells: list[Any], name: str, bad: Bad) -> Int:
    """Whole numbers of at least 0 below 2**31."""
    found = converted(cells, _whole, name, bad)
    wrong = (found < -1) | (found >= 2**31)
    for row in np.flatnonzero(wrong):
        bad.setdefault(int(row), f"column {name!r}: {_shown(cells[row])} is no count")
    return np.where(wrong, -1, found)


def _number(cell: Any) -> Decimal:
    """Exact; ValueError for one whose digits alone could fill the memory (`1e999999999`)."""
    number = Decimal(cell)
    if not -_LARGEST < number < _LARGEST:
        raise ValueError
    return number


def _whole(cell: Any) -> int:
    if type(cell) is str and cell.isdecimal():
        return int(cell)
    number = _number(cell)
    if number != int(number):
        raise ValueError
    return int(number)


def outcomes(cells: list[Any], name: str, bad: Bad) -> Int:
    """Outcome numbers of words such as `ok`, `success`, `timeout`, `http_5xx`."""

    def parse(cell: Any) -> int:
        word = str(cell).strip().lower().replace(" ", "_")
        if word not in _WORDS:
            raise ValueError
        return int(_WORDS[word])

    return converted(cells, parse, name, bad)


def statuses(cells: list[Any], name: str, bad: Bad) -> Int:
    """HTTP statuses; -1 where the cell is empty or 0 (no answer came)."""
    found = converted(cells, _whole, name, bad)
    for row in np.flatnonzero((found > 0) & ((found < 100) | (found > 599)) | (found < -1)):
        bad.setdefault(int(row), f"column {name!r}: {_shown(cells[row])} is no HTTP status")
    return np.where(found > 0, found, -1)


def outcomes_of_status(status: Int) -> Int:
    """Outcome numbers of HTTP statuses; `censored` where there is no status."""
    conditions = [
        status == 429,
        (status >= 100) & (status < 400),
        (status >= 400) & (status < 500),
        status >= 500,
    ]
    found = np.select(
        conditions,
        [Outcome.rate_limited, Outcome.ok, Outcome.http_4xx, Outcome.http_5xx],
        Outcome.censored,
    )
    return found.astype(np.int64)


def numbering() -> Numbers:
    """text -> its number, growing with each new text."""
    numbers: Numbers = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers


def numbered(cells: list[Any], numbers: Numbers) -> Int:
    """The number of each cell's text, -1 where it is empty."""
    texts = (
        -1 if empty else numbers[str(cell)]
        for cell, empty in zip(cells, _blank(cells), strict=True)
    )
    return np.fromiter(texts, np.int64, len(cells))


def hashed(cells: list[Any]) -> Int:
    """A hash of 64 bits for each text, -1 where it is empty: for columns whose texts all differ."""
    texts = (
        -1 if empty else hash(str(cell)) for cell, empty in zip(cells, _blank(cells), strict=True)
    )
    return np.fromiter(texts, np.int64, len(cells))


def _shown(value: Any) -> str:
    text = repr(str(value) if isinstance(value, Decimal) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
