"""The clock: which one, how the two clocks stand to each other, and how an instant is written."""

from __future__ import annotations

from bench.clock import clock_facts, monotonic_ns, utc_text, wall_ns, wall_offset_ns


def test_latencies_come_from_a_clock_that_nobody_sets() -> None:
    """The stored times' clock is monotonic, cannot be adjusted and resolves a microsecond or
    better.
    """
    facts = clock_facts()
    assert facts["monotonic"] is True
    assert facts["adjustable"] is False
    assert float(facts["resolution_ns"]) <= 1000


def test_the_offset_joins_the_two_clocks() -> None:
    """Monotonic time plus the offset lies between two readings of the wall clock around it."""
    before = wall_ns()
    joined = monotonic_ns() + wall_offset_ns()
    # The offset is read after the monotonic time, so `joined` may be late by no more than that
    # took.
    assert before - 1_000_000 <= joined <= wall_ns() + 1_000_000


def test_instants_are_whole_utc_seconds_never_rounded_up() -> None:
    """The last ns of a second is still that second."""
    assert utc_text(0) == "1970-01-01T00:00:00Z"
    assert (
        utc_text(1_795_428_251 * 10**9 + 999_999_999)
        == utc_text(1_795_428_251 * 10**9)
        == "2026-11-23T10:04:11Z"
    )
