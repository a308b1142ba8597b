"""Values of a recorded log's cells: tokens, and times as numbers or as dates.

In: a cell as CSV or JSON gave it. Out: whole tokens, or integer ns. Must stay true: what is no
such value raises ValueError with a sentence that shows it; a date without a zone is taken as it
stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal, DecimalException
from functools import lru_cache

from bench.units import S

_MOST_TOKENS = 10_000_000
MOST_NS = 2**62
UNIT_NS = {"s": S, "ms": 1_000_000, "us": 1_000, "ns": 1}


def parse_tokens(value: object) -> int:
    """A whole number of tokens, also as text and as `12.0`."""
    if isinstance(value, str):
        text = value.strip().removesuffix(".0")
        if (
            text.isascii()
            and text.isdigit()
            and len(text) <= 8
            and (tokens := int(text)) <= _MOST_TOKENS
        ):
            return tokens
    elif (
        isinstance(value, int | Decimal)
        and not isinstance(value, bool)
        and 0 <= value <= _MOST_TOKENS
        and value == value // 1
    ):
        return int(value)
    raise ValueError(
        f"{_shown(value)} is not a number of tokens (a whole number from 0 to {_MOST_TOKENS:,})"
    )


def unit_of_size(cells: list[object]) -> str | None:
    """The unit of Unix times, which their size tells; None for others, such as times from 0."""
    try:
        least = min(Decimal(str(cell)) for cell in cells)
    except (DecimalException, ValueError):
        return None
    if not least.is_finite():
        return None
    for unit, scale in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        if 10**9 * scale <= least < 10**10 * scale:
            return unit
    return None


def number_parser(unit_ns: int) -> Callable[[object], int]:
    """A parser of times that are numbers of this unit; it gives ns."""

    def parse(value: object) -> int:
        if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
            try:
                ns = Decimal(value) * unit_ns
            except DecimalException:
                pass
            else:
                if ns.is_finite() and abs(ns) < MOST_NS:
                    return round(ns)
        raise ValueError(
            f'{_shown(value)} is not a time; for dates and times set time_unit to "rfc3339"'
        )

    return parse


_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s*(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - zones are taken off by hand: wall clocks without one are compared with each other


def is_stamp(value: object) -> bool:
    """Whether a cell has the form of a date and time."""
    return isinstance(value, str) and _STAMP.fullmatch(value.strip()) is not None


def parse_stamp(value: object) -> int:
    """ns after 1970 of a date and time."""
    if isinstance(value, str):
        match = _STAMP.fullmatch(value.strip())
    else:
        match = None
    if match is None:
        raise ValueError(
            f"{_shown(value)} is not a date and time such as 2023-11-16 18:17:03.9799600"
        )
    day, clock, fraction, zone = match.groups()
    ns = _whole_second(f"{day}T{clock}", zone or "Z") * S + int((fraction or "0").ljust(9, "0"))
    if abs(ns) >= MOST_NS:
        raise ValueError(f"{_shown(value)} lies more than a century away")
    return ns


@lru_cache(maxsize=1024)
def _whole_second(text: str, zone: str) -> int:
    """Seconds from 1970 of a date and time; ValueError where there is no such date."""
    try:
        at = datetime.fromisoformat(text) - _EPOCH
    except ValueError:
        raise ValueError(f"{text!r} is not a date and time that exists") from None
    if zone != "Z":
        sign = -1 if zone[0] == "-" else 1
        at -= sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return round(at.total_seconds())


def _shown(value: object) -> str:
    text = repr(str(value) if isinstance(value, Decimal) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
