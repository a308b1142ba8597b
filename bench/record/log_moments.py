"""Cells of a log -> moments in Unix ns: dates with their zone, Unix times.

In: a column of cells as written, a zone for local times. Out: ns, -1 where a cell is empty, and the
rows of an hour that comes twice. Must stay true: a moment without a zone is refused, never guessed;
a local time that does not exist is unreadable; which of two equal hours it was is not guessed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.record.log_numbers import (
    LARGEST,
    UNITS,
    Bad,
    converted,
    exact,
    is_empty,
    is_number,
    shown,
)
from bench.record.samples import Int
from bench.units import MS, US, S

#: A column of moments holds numbers where most of its first so many cells do.
_LOOK = 21
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: `1764547202.123456`, and the same in ms: what is off by half a µs would be longer.
_EXACT_CHARS = 17
_DAY_NS = 86400 * S
#: `2026-10-01T00:00:00` with any fraction, then Z or +00:00: text that NumPy can take apart.
_UNIFORM = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)", re.ASCII)
_WIDE_ZONE = re.compile(r"\s*(?:UTC|GMT)$")
_SPACED_ZONE = re.compile(r"\s+([+-]\d\d)(?::?(\d\d))?$")
_COMMON_LOG = re.compile(r"\[?\d\d/[A-Z][a-z]{2}/\d{4}:")


class Moments:
    """Moments of one column: `ns`, and of local times in the hour that comes twice how much later
    the second is (0 elsewhere).
    """

    def __init__(self, name: str, unit: str, zone: tzinfo | None, where: str):
        self._name, self._unit, self._zone, self._where = name, unit, zone, where
        self.ns: Int = np.zeros(0, np.int64)
        self.twice: Int = np.zeros(0, np.int64)

    def read(self, cells: list[Any], bad: Bad, *, needed: bool) -> Moments:
        """Raises UserError for local times while no zone is given."""
        self.twice = np.zeros(len(cells), np.int64)
        if (fast := _uniform(cells)) is not None:
            self.ns = fast
            return self
        samples = list(
            islice((cell for cell in cells if not is_empty(cell) and not _never(cell)), _LOOK)
        )
        numbers = sorted(Decimal(cell).copy_abs() for cell in samples if is_number(cell))
        if 2 * len(numbers) > len(samples):
            if self._unit:
                scale = UNITS[self._unit]
            else:
                scale = _epoch_unit(numbers[len(numbers) // 2], self._name, self._where)

            if (quick := _plain_times(cells, scale)) is not None:
                self.ns = quick
                return self

            def number(cell: Any) -> int:
                return -1 if _never(cell) else int(exact(cell) * scale)

            self.ns = converted(cells, number, self._name, bad, needed=needed)
            return self
        twice: dict[str, int] = {}
        self.ns = converted(
            cells, lambda cell: self._local(cell, twice), self._name, bad, needed=needed
        )
        if twice:
            self.twice = np.array([twice.get(cell, 0) for cell in cells], np.int64)
        return self

    def _local(self, cell: Any, twice: dict[str, int]) -> int:
        at = _date(cell)
        if at is None:
            return -1
        if at.tzinfo is None:
            if self._zone is None:
                raise UserError(
                    f"column {self._name!r} holds times without a zone, such as {shown(cell)}",
                    where=self._where,
                    remedy="say which with --time-zone UTC or an IANA name",
                )
            at = at.replace(tzinfo=self._zone)
            first, second = at.utcoffset(), at.replace(fold=1).utcoffset()
            if first != second and first is not None and second is not None:
                if first < second:
                    raise ValueError  # the clocks went forward over it
                twice[cell] = (first - second) // _MICROSECOND * US
        return (at - _EPOCH) // _MICROSECOND * US


def _never(cell: Any) -> bool:
    return cell in (0, -1, "0", "-1")


def _plain_times(cells: list[Any], scale: int) -> Int | None:
    """ns of Unix times written in so few characters that a float holds them to the µs; None for
    others.
    """
    if scale not in (S, MS) or {*map(type, cells)} != {str} or max(map(len, cells)) > _EXACT_CHARS:
        return None
    try:
        found = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
    # Ten digits at least before the point (thirteen of ms), so at most six (three) behind it.
    in_range = (found >= 1e9 * S / scale) & (found < 2**31 * S / scale)
    if not in_range.all():
        return None
    return np.rint(found * (scale / US)).astype(np.int64) * US


def _uniform(cells: list[Any]) -> Int | None:
    """ns of texts in UTC that are all written alike; None for others."""
    first = cells[0] if cells else None
    if type(first) is not str or not (form := _UNIFORM.fullmatch(first)):
        return None
    width = len(first)
    try:
        if {*map(len, cells)} != {width}:
            return None
        raw = "".join(cells).encode("ascii")
    except (TypeError, ValueError):
        return None
    table = np.frombuffer(raw, np.uint8).reshape(len(cells), width)
    is_digit = np.array([each.isdigit() for each in first])
    marks, digits = table[:, ~is_digit], table[:, is_digit].astype(np.int64) - 48
    if (marks != marks[0]).any() or ((digits < 0) | (digits > 9)).any():
        return None
    if form[2] != "Z" and digits[:, -4:].any():
        return None  # another zone

    def number(start: int, end: int) -> Int:
        return digits[:, start:end] @ 10 ** np.arange(end - start - 1, -1, -1)

    year, month, day = number(0, 4), number(4, 6), number(6, 8)
    hour, minute, second = number(8, 10), number(10, 12), number(12, 14)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + day - 1
    in_month = (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    wrong = (month < 1) | (month > 12) | (day < 1) | (day > in_month.astype(np.int64))
    if (wrong | (year < 1971) | (year > 2200) | (hour > 23) | (minute > 59) | (second > 59)).any():
        return None
    ns = days * _DAY_NS + (hour * 3600 + minute * 60 + second) * S
    if form[1]:
        decimals = len(form[1]) - 1
        ns += number(14, 14 + decimals) * 10 ** (9 - decimals)
    return ns


def _date(cell: Any) -> datetime | None:
    """A date with its time; None for the year 1, which stands for never. ValueError for others."""
    text = cell.strip() if isinstance(cell, str) else str(cell)
    if _COMMON_LOG.match(text):
        return datetime.strptime(text.strip("[]"), "%d/%b/%Y:%H:%M:%S %z")
    if _never(text):
        return None
    if text[:3].isalpha():
        return parsedate_to_datetime(text)
    if ":" not in text:
        raise ValueError
    text = _SPACED_ZONE.sub(lambda found: f"{found[1]}:{found[2] or '00'}", text)
    at = datetime.fromisoformat(_WIDE_ZONE.sub("+00:00", text).replace("/", "-"))
    return None if at.year == 1 else at


def _epoch_unit(size: Decimal, name: str, where: str) -> int:
    """Seconds, ms, µs or ns by size: each holds the years 2001 to 2286 and no other's does."""
    for scale in UNITS.values():
        if size < LARGEST and Decimal(10**9) <= size * scale / S < Decimal(10**10):
            return scale
    raise UserError(
        f"column {name!r} holds {shown(size)}, which is no time of this century in s, ms, µs or ns",
        where=where,
        remedy="map a column of ISO 8601 times or Unix times",
    )
