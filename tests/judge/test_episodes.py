"""Outages by the probe, error budgets by the window: against counts by hand and the method's own
table.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.census.episodes import OutageTracker, Probe, budget_lasts_ns, burn_rates
from bench.units import S

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"
MINUTE = 60 * S


def fed(ends: str, every_ns: int = 30 * S, least: int = 3) -> OutageTracker:
    """A tracker after probes that ended so: `.` answered, `x` failed, `?` unknown; a blank is a
    probe never made.
    """
    tracker = OutageTracker(least)
    for place, end in enumerate(ends):
        if end != " ":
            tracker.feed(
                Probe(place * every_ns, {".": False, "x": True, "?": None}[end], "run", place)
            )
    return tracker


def test_three_failures_in_a_row_are_an_outage_from_the_first_to_the_next_success() -> None:
    """`..xx.xxxx..`: two are none, four are one, from probe 5 to probe 9."""
    (outage,) = fed("..xx.xxxx..").ended
    assert (outage.start_ns, outage.end_ns, outage.failed) == (5 * 30 * S, 9 * 30 * S, 4)
    assert [probe.row for probe in outage.first] == [5, 6, 7, 8]
    assert outage.last.row == 8


def test_it_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    """Of `xxxxx.` the third and the sixth probe bring news."""
    tracker = OutageTracker()
    news = [tracker.feed(Probe(n * S, end == "x", "run", n)) for n, end in enumerate("xxxxx.")]
    assert [place for place, outage in enumerate(news) if outage] == [2, 5]
    assert [outage.open for outage in news if outage] == [True, False]
    assert tracker.open is None


def test_a_probe_of_unknown_end_neither_begins_nor_ends_an_outage() -> None:
    """`xx?x` is an outage of three failures, `xx?.` is none, `????` is none."""
    assert fed("xx?x").open is not None
    assert fed("xx?x").open.failed == 3  # type: ignore[union-attr]
    assert (fed("xx?.").ended, fed("????").open) == ([], None)


def test_time_without_probes_inside_an_outage_is_counted_apart() -> None:
    """A probe a minute, four minutes without one amid the failures: they are unobserved, the
    episode is one.
    """
    (outage,) = fed("xx    x.", MINUTE).ended
    assert (outage.failed, outage.unobserved_minutes) == (3, 4)
    assert fed("xxx   .", MINUTE).ended[0].unobserved_minutes == 3
    assert fed("   xxx.", MINUTE).ended[0].unobserved_minutes == 0


@given(st.text("x.?", max_size=60), st.integers(1, 5))
def test_outages_are_the_runs_of_failures(ends: str, least: int) -> None:
    """Whatever the order, they are the stretches without a success that hold enough failures,
    counted by splitting text.
    """
    tracker = fed(ends, S, least)
    spells = [spell.count("x") for spell in ends.split(".")]
    assert [outage.failed for outage in tracker.ended] == [n for n in spells[:-1] if n >= least]
    assert (tracker.open.failed if tracker.open else 0) == (
        spells[-1] if spells[-1] >= least else 0
    )


def test_burn_rates_are_the_share_of_bad_units_over_the_budget() -> None:
    """One probe a minute for 6 h, the last 3 minutes bad, budget 0.5 %: 3/60/0.005 = 10 in the
    hour, 3/5/0.005 = 120 in 5 min.
    """
    at = np.arange(360) * MINUTE
    found = {
        burn.long_min: burn
        for burn in burn_rates(at, at >= 357 * MINUTE, Fraction(5, 1000), 30, 360 * MINUTE)
    }
    hour, six, day, three = (found[minutes] for minutes in (60, 360, 1440, 4320))
    assert (hour.long_rate, hour.short_rate, hour.firing) == (10.0, 120.0, False)
    assert [six.long_rate, six.short_rate] == pytest.approx([3 / 360 / 0.005, 3 / 30 / 0.005])
    assert (six.firing, day.firing, three.firing) == (False, False, True)
    assert hour.coarse
    later = burn_rates(at, at >= 354 * MINUTE, Fraction(5, 1000), 30, 360 * MINUTE)
    assert [burn.firing for burn in later] == [
        True,
        False,
        True,
        True,
    ]  # 20; 3.3 under 6; 3.3 over 3; over 1


def test_windows_end_before_now_and_an_empty_one_has_no_rate() -> None:
    """A unit at `now` is not in the window; nothing seen is no rate, and fires nothing."""
    at = np.array([0, 60 * MINUTE])
    hour = burn_rates(at, np.array([True, True]), Fraction(1, 100), 30, 60 * MINUTE)[0]
    assert (hour.long_rate, hour.short_rate, hour.firing) == (100.0, None, False)


def test_thresholds_are_those_of_the_method() -> None:
    """Severity, windows and thresholds for 30 and 28 days, as the reference table has them."""
    if not REFERENCE.exists():
        pytest.skip("no reference table here")
    rows = json.loads(REFERENCE.read_text())["burn_rate"]["rows"]
    nothing = np.zeros(0, np.int64), np.zeros(0, bool)
    for days in (30, 28):
        found = burn_rates(*nothing, Fraction(1, 1000), days, 0)
        assert [(burn.severity, burn.long_min / 60, burn.short_min) for burn in found] == [
            (row["severity"], row["long_window_h"], round(60 * row["short_window_h"]))
            for row in rows
        ]
        assert [burn.threshold for burn in found] == pytest.approx(
            [row[f"threshold_{days}d"] for row in rows]
        )


def test_what_is_left_of_a_budget_lasts_by_its_burn_rate() -> None:
    """Half used, burning 10 times too fast: half of 30 days over 10 = 36 h; never at rate 0;
    nothing once it is spent.
    """
    month = 30 * 86400 * S
    assert budget_lasts_ns(Fraction(1, 2), 10.0, month) == 36 * 3600 * S
    assert (
        budget_lasts_ns(Fraction(1, 2), 0.0, month),
        budget_lasts_ns(Fraction(1, 2), None, month),
    ) == (None, None)
    assert budget_lasts_ns(Fraction(3, 2), 1.0, month) == 0
