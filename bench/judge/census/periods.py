"""A contract's period -> the stretches of time that a log is judged by.

In: the period's terms, the first and last moment of a log, a period's name where one is asked
for. Out: named spans in Unix ns. Must stay true: a day begins at midnight of the contract's own
time zone, so a month with a change of the clock is an hour shorter or longer; spans are whole
minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from bench.errors import UserError
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.terms import Period
from bench.units import S

_FORMS = {
    "calendar_month": "2026-10",
    "billing_cycle": "2026-10-15, the day on which it begins",
    "quarter": "2026-Q4",
    "rolling": "2026-10-31, the last of its days",
}


@dataclass(frozen=True)
class Span:
    """One period: [start, end) in Unix ns, whole minutes."""

    name: str
    start_ns: int
    end_ns: int

    @property
    def minutes(self) -> int:
        """Its length."""
        return (self.end_ns - self.start_ns) // MINUTE_NS


def spans(
    period: Period | None,
    first_ns: int,
    last_ns: int,
    wanted: str | None = None,
) -> list[Span]:
    """The periods that hold a moment of the log, or the one that is wanted.

    Of a rolling period: the one that ends with the day of the last row. Without a period the log
    is one, from its first to its last minute. Raises UserError for a name that is no period, or
    one outside the log.
    """
    if period is None:
        if wanted is not None:
            raise UserError(
                "the contract has no [period] to choose from", where=f"--period {wanted}"
            )
        return [
            Span(
                "whole log",
                first_ns // MINUTE_NS * MINUTE_NS,
                (last_ns // MINUTE_NS + 1) * MINUTE_NS,
            )
        ]
    found = list(_around(period, first_ns, last_ns))
    if wanted is None:
        if period.kind == "rolling":
            return found[-1:]
        return found
    chosen = [span for span in found if span.name == wanted]
    if not chosen:
        shape = _FORMS[period.kind]
        if len(found) > 1:
            names = f"{found[0].name} to {found[-1].name}"
        else:
            names = found[0].name
        if re.fullmatch(r"\d{4}-(\d\d(-\d\d)?|Q[1-4])", wanted):
            what = "is not in the log"
        else:
            what = "is not a period"
        raise UserError(
            what,
            where=f"--period {wanted}",
            remedy=f"write one such as {shape}; the log holds {names}",
        )
    return chosen


def _around(period: Period, first_ns: int, last_ns: int) -> Iterator[Span]:
    zone = ZoneInfo(period.time_zone) if period.time_zone else UTC
    day = datetime.fromtimestamp(first_ns // S, zone).date()
    last = datetime.fromtimestamp(last_ns // S, zone).date()

    def span(name: str, start: date, end: date) -> Span:
        midnights = (
            datetime(each.year, each.month, each.day, tzinfo=zone) for each in (start, end)
        )
        begin, finish = (int(each.timestamp()) * S for each in midnights)
        return Span(name, begin, finish)

    if period.kind == "rolling":
        assert period.days is not None
        while day <= last:
            end = day + timedelta(days=1)
            yield span(day.isoformat(), end - timedelta(days=period.days), end)
            day = end
        return
    months = 3 if period.kind == "quarter" else 1
    start = day.replace(day=period.starts_on_day or 1)
    if period.kind == "quarter":
        start = start.replace(month=start.month - (start.month - 1) % 3)
    elif start > day:
        start = _later(start, -1)
    while start <= last:
        end = _later(start, months)
        yield span(_name(period, start), start, end)
        start = end


def _later(start: date, months: int) -> date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return start.replace(year=year, month=month + 1)


def _name(period: Period, start: date) -> str:
    if period.kind == "quarter":
        return f"{start.year}-Q{(start.month + 2) // 3}"
    if period.kind == "billing_cycle":
        return start.isoformat()
    return f"{start:%Y-%m}"
