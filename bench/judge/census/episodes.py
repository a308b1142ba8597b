"""Probes in order of time -> outages with their evidence; bad units -> burn rates of an error
budget.

In: one probe after the other; moments of units that kept or broke a promise. Out: `Outage`s as they
begin and end; a `Burn` for each row of the alert table. Must stay true: pure, no clock of its own;
a probe of unknown end neither begins, ends nor interrupts an outage; time without probes is counted
apart, never as up or down; an alert fires only while both its windows burn faster than its
threshold.

Source: methods 2.3 and 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from bench.plan.clause_keys import MINUTE_NS
from bench.record.samples import Bool, Int

#: So many probes in a row must fail before it is called an outage.
LEAST_FAILED = 3
#: Failed probes that an outage names; it counts them all.
_NAMED = 20


@dataclass(frozen=True)
class BurnAlert:
    """One row of the table: severity, the budget that may burn in the long window, both windows
    (minutes).
    """

    severity: str
    budget_fraction: Fraction
    long_min: int
    short_min: int

    def threshold(self, days: int) -> Fraction:
        """How many times faster than the budget allows, for a period of `days`."""
        return self.budget_fraction * days * 1440 / self.long_min


BURN_ALERTS = (
    BurnAlert("page", Fraction(2, 100), 60, 5),
    BurnAlert("page", Fraction(5, 100), 360, 30),
    BurnAlert("ticket", Fraction(10, 100), 1440, 120),
    BurnAlert("ticket", Fraction(10, 100), 4320, 360),
)


class Probe(NamedTuple):
    """One request of a watch, and where its row lies."""

    #: when it was due, Unix ns
    at_ns: int
    #: None where its end is unknown or says nothing of the provider
    failed: bool | None
    #: the run's folder, and the row in its tables
    run: str
    row: int


@dataclass(frozen=True)
class Outage:
    """Failed probes in a row. Open while no later probe has succeeded."""

    #: when the first failed probe was due, Unix ns
    start_ns: int
    #: when the first probe that succeeded again was due, Unix ns; None while open
    end_ns: int | None
    failed: int
    #: the first failed probes, and the last one
    first: tuple[Probe, ...]
    last: Probe
    #: whole minutes between start and the last probe in which none was due: nobody was watching
    unobserved_minutes: int

    @property
    def open(self) -> bool:
        """No probe has succeeded since."""
        return self.end_ns is None


class OutageTracker:
    """The state machine: feed it probes in order of time.

    Fed with the same probes it is in the same state, so nothing of it needs to be kept in a file.
    """

    def __init__(self, least: int = LEAST_FAILED):
        self._least = least
        self._current: Outage | None = None
        self._minute = 0
        self.ended: list[Outage] = []

    @property
    def open(self) -> Outage | None:
        """The outage that is under way."""
        if self._current is not None and self._current.failed >= self._least:
            return self._current
        return None

    def feed(self, probe: Probe) -> Outage | None:
        """The next probe. Returns the outage that began or ended with it, if one did."""
        minute = probe.at_ns // MINUTE_NS
        gap = max(minute - self._minute - 1, 0)
        self._minute = minute
        current = self._current
        if current is not None:
            current = self._current = replace(
                current, unobserved_minutes=current.unobserved_minutes + gap
            )
        if probe.failed is None:
            return None
        if probe.failed:
            if current is None:
                self._current = Outage(probe.at_ns, None, 1, (probe,), probe, 0)
            else:
                if len(current.first) >= _NAMED:
                    first = current.first
                else:
                    first = (*current.first, probe)
                self._current = replace(current, failed=current.failed + 1, first=first, last=probe)
            assert self._current is not None
            if self._current.failed == self._least:
                return self._current
            return None
        self._current = None
        if current is None or current.failed < self._least:
            return None
        self.ended.append(replace(current, end_ns=probe.at_ns))
        return self.ended[-1]


@dataclass(frozen=True)
class Burn:
    """One alert of the table over the present moment.

    Rates are multiples of what the budget allows.
    """

    severity: str
    long_min: int
    short_min: int
    threshold: float
    #: None where the window holds no unit
    long_rate: float | None
    short_rate: float | None
    #: a single bad unit in the short window is already above the threshold: too few units to tell a
    #: spell from one
    coarse: bool

    @property
    def firing(self) -> bool:
        """Both windows burn faster than the threshold."""
        rates = (self.long_rate, self.short_rate)
        return all(rate is not None and rate > self.threshold for rate in rates)


def burn_rates(
    at_ns: Int,
    bad: Bool,
    allowed: Fraction,
    days: int,
    now_ns: int,
) -> list[Burn]:
    """The table for a period of `days`, from units (requests, or minutes) at `at_ns` of which `bad`
    broke the promise.

    Alerts whose threshold not even a window of nothing but bad units would pass are left out.
    """
    found = []
    for alert in BURN_ALERTS:
        threshold = alert.threshold(days)
        if threshold * allowed >= 1:
            continue
        rates, units = [], 0
        for minutes in (alert.long_min, alert.short_min):
            inside = (at_ns >= now_ns - minutes * MINUTE_NS) & (at_ns < now_ns)
            units = int(np.count_nonzero(inside))
            rates.append(
                float(Fraction(int(np.count_nonzero(bad & inside)), units) / allowed)
                if units
                else None
            )
        coarse = units * allowed * threshold < 1
        found.append(
            Burn(
                alert.severity,
                alert.long_min,
                alert.short_min,
                float(threshold),
                rates[0],
                rates[1],
                coarse,
            )
        )
    return found


def budget_lasts_ns(used: Fraction, rate: float | None, period_ns: int) -> int | None:
    """How long what is left of a period's budget lasts at this burn rate (ns); None for ever, or
    where no rate is known.
    """
    if rate is None or rate <= 0:
        return None
    return max(0, round(float(1 - used) * period_ns / rate))
