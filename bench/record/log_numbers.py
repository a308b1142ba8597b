"""Cells of a log -> integers: lengths, counts, texts by number.

In: columns of cells as written. Out: integer arrays (ns, -1 where a cell is empty) and, a row,
why it cannot be read. Must stay true: a length without a unit is refused, never guessed; decimal
numbers are not rounded on the way to ns; a comma that may part thousands is not read.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal, DecimalException
from typing import Any

import numpy as np

from bench.record.samples import Int
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
_NO_VALUE = (
    "- -- null NULL Null None none NaN nan NAN N/A n/a NA na #N/A <NA> nil <nil> NIL NaT (null) \\N"
    " undefined"
)
_EMPTY = frozenset({"", *_NO_VALUE.split()})
LARGEST = 10**19
_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*")
_COMMA = re.compile(r"([+-]?\d+),(\d+)")
_GROUPED = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+")

_UNREADABLE = (ValueError, TypeError, DecimalException, OverflowError)

Parse = Callable[[Any], int]
Number = Callable[[Any], Decimal]
Bad = dict[int, str]
Numbers = defaultdict[str, int]


def is_empty(cell: Any) -> bool:
    """Whether a cell holds no value."""
    if isinstance(cell, str):
        return cell in _EMPTY or cell.strip() in _EMPTY
    return cell is None or (isinstance(cell, (float, Decimal)) and math.isnan(cell))


def is_number(cell: Any) -> bool:
    """Whether a cell is a number, as such or as text."""
    if isinstance(cell, str):
        return _NUMBER.fullmatch(cell) is not None
    return isinstance(cell, (int, float, Decimal)) and not isinstance(cell, bool)


def converted(
    cells: list[Any],
    parse: Parse,
    name: str,
    bad: Bad,
    *,
    needed: bool = False,
) -> Int:
    """Every cell through `parse`, -1 where it is empty; a cell that does not parse makes its row
    bad, and so does an empty one that is needed.
    """
    if (whole := _parsed(cells, parse)) is not None:
        out = whole
    else:
        blank = [is_empty(cell) for cell in cells]
        out = np.full(len(cells), -1, np.int64)
        filled = _parsed(
            [cell for cell, empty in zip(cells, blank, strict=True) if not empty], parse
        )
        if filled is not None:
            out[~np.array(blank, bool)] = filled
        else:
            for row, cell in enumerate(cells):
                try:
                    out[row] = -1 if blank[row] else parse(cell)
                except _UNREADABLE:
                    bad.setdefault(row, f"column {name!r}: {shown(cell)} cannot be read")
    if needed:
        for row in np.flatnonzero(out == -1).tolist():
            bad.setdefault(row, f"column {name!r} has no value")
    return out


def _parsed(cells: list[Any], parse: Parse) -> Int | None:
    """All cells; None where one does not parse."""
    try:
        distinct = set(cells)
        if 4 * len(distinct) <= len(cells):
            known = {cell: parse(cell) for cell in distinct}
            return np.fromiter(map(known.__getitem__, cells), np.int64, len(cells))
    except _UNREADABLE:
        return None
    try:
        return np.fromiter(map(parse, cells), np.int64, len(cells))
    except _UNREADABLE:
        return None


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


def _has_comma(cells: list[Any]) -> bool:
    try:
        return "," in "".join(cells)
    except TypeError:
        return any("," in cell for cell in cells if isinstance(cell, str))


def number_reader(cells: list[Any], *, comma: bool) -> Number:
    """How the numbers of a column are written: with points, or with decimal commas.

    `comma`: the file's cells are parted by semicolons, as where the comma is the decimal mark.
    """
    if not _has_comma(cells):
        return exact

    def read(cell: Any) -> Decimal:
        if isinstance(cell, str):
            text = cell.strip().replace("\u202f", "").replace("\xa0", "")
            plain = _COMMA.fullmatch(text)
            if comma and _GROUPED.fullmatch(text):
                return exact(text.replace(".", "").replace(",", "."))
            if plain and (comma or len(plain[2]) != 3):
                return exact(f"{plain[1]}.{plain[2]}")
            if "," in text or (comma and "." in text):
                raise ValueError
        return exact(cell)

    return read


def lengths(
    cells: list[Any],
    name: str,
    unit: str,
    bad: Bad,
    number: Number | None = None,
) -> Int:
    """ns of numbers in a unit; -1 is no value, less is bad."""
    scale = UNITS[unit]
    read = number or exact
    if (fast := _fast_lengths(cells, scale)) is not None:
        return fast

    def parse(cell: Any) -> int:
        found = read(cell)
        if found == -1:
            return -1
        ns = int(found * scale)
        if ns < 0:
            raise ValueError
        return ns

    return converted(cells, parse, name, bad)


def _fast_lengths(cells: list[Any], scale: int) -> Int | None:
    """Numbers of no more decimals than ns, by way of floats that hold them exactly."""
    found = _fast(cells, float, np.float64, "nan")
    if found is None or np.isinf(found).any():
        return None
    none = np.isnan(found) | (found == -1)
    product = np.where(none, 0, found) * scale
    whole = np.rint(product)
    if not ((whole >= 0) & (whole < 2**42) & (np.abs(product - whole) < 2**-9)).all():
        return None
    return np.where(none, -1, whole).astype(np.int64)


def _fast(
    cells: list[Any], read: Callable[[str], float], kind: type, empty: str
) -> np.ndarray[Any, Any] | None:
    """A column of texts through Python's own reader, `empty` for those that hold no value; None
    where that does not read them all.
    """
    if {*map(type, cells)} != {str}:
        return None
    try:
        return np.fromiter(map(read, cells), kind, len(cells))
    except (ValueError, OverflowError):
        pass
    try:
        filled = (empty if cell in _EMPTY else cell for cell in cells)
        return np.fromiter(map(read, filled), kind, len(cells))
    except (ValueError, OverflowError):
        return None


def counts(cells: list[Any], name: str, bad: Bad, number: Number | None = None) -> Int:
    """Whole numbers of at least 0 below 2**31; -1 is no value."""
    read = number or exact
    found = _fast(cells, int, np.int64, "-1")
    if found is None:
        found = converted(cells, lambda cell: _whole(cell, read), name, bad)
    wrong = (found < -1) | (found >= 2**31)
    for row in np.flatnonzero(wrong):
        bad.setdefault(int(row), f"column {name!r}: {shown(cells[row])} is no count")
    return np.where(wrong, -1, found)


def exact(cell: Any) -> Decimal:
    """Exact; ValueError for one whose digits alone could fill the memory (`1e999999999`)."""
    if type(cell) is bool:
        raise ValueError
    number = Decimal(cell)
    if not -LARGEST < number < LARGEST:
        raise ValueError
    return number


def _whole(cell: Any, read: Number) -> int:
    if type(cell) is str and cell.isdecimal() and len(cell) < 20:
        return int(cell)
    number = read(cell)
    if number != int(number):
        raise ValueError
    return int(number)


def read_whole(cell: Any) -> int | None:
    """A whole number, None for all else."""
    try:
        return _whole(cell, exact)
    except _UNREADABLE:
        return None


def numbering() -> Numbers:
    """text -> its number, growing with each new text."""
    numbers: Numbers = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers


def numbered(cells: list[Any], numbers: Numbers) -> Int:
    """The number of each cell's text, -1 where it is empty."""

    def number(cell: Any) -> int:
        return -1 if is_empty(cell) else numbers[_kept(cell)]

    return by_distinct(cells, number)


def by_distinct(cells: list[Any], read: Parse) -> Int:
    """Every cell through `read`, equal ones once."""
    try:
        known = {cell: read(cell) for cell in dict.fromkeys(cells)}
        return np.fromiter(map(known.__getitem__, cells), np.int64, len(cells))
    except TypeError:  # an object where a value was expected
        return np.fromiter(map(read, cells), np.int64, len(cells))


def _kept(cell: Any) -> str:
    """The text of a cell; of a huge one only its beginning and a hash, so that it stays its own."""
    text = str(cell)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}... ({hash(text):x})"


_LONGEST_TEXT = 1_000


def hashed(cells: list[Any]) -> Int:
    """A hash of 64 bits for each text, -1 where it is empty: for columns whose texts all differ."""
    if {*map(type, cells)} == {str} and _EMPTY.isdisjoint(cells):
        return np.fromiter(map(hash, cells), np.int64, len(cells))
    texts = (-1 if is_empty(cell) else hash(str(cell)) for cell in cells)
    return np.fromiter(texts, np.int64, len(cells))


def shown(value: Any) -> str:
    """A cell in a sentence."""
    text = repr(str(value)[:80] if isinstance(value, (Decimal, str)) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
