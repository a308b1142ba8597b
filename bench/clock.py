"""The only door to `time`.

In: nothing. Out: integer nanoseconds. Must stay true: latencies come from the monotonic clock
alone; the wall clock dates a run, ages a kernel stamp, and notices steps, nothing else.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime

monotonic_ns = time.monotonic_ns
wall_ns = time.time_ns
cpu_ns = time.process_time_ns
sleep_s = time.sleep


def wall_offset_ns() -> int:
    """Wall minus monotonic time, from the tightest of three readings (ns)."""
    best_width, best_offset = None, 0
    for _ in range(3):
        before = monotonic_ns()
        wall = wall_ns()
        after = monotonic_ns()
        width = after - before
        if best_width is None or width < best_width:
            best_width = width
            best_offset = wall - (before + after) // 2
    return best_offset


def suspended_ns() -> int:
    """How long the machine has been suspended since it was started (ns, on Linux); elsewhere 0."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - monotonic_ns()


def clock_facts() -> dict[str, str | float | bool]:
    """Name, resolution and adjustability of the clock that every stored time comes from."""
    info = time.get_clock_info("monotonic")
    return {
        "source": info.implementation,
        "resolution_ns": info.resolution * 1e9,
        "monotonic": info.monotonic,
        "adjustable": info.adjustable,
    }


def today() -> date:
    """The day that it is, in UTC."""
    return datetime.fromtimestamp(wall_ns() // 1_000_000_000, UTC).date()


def utc_text(wall: int) -> str:
    """A wall-clock instant in ns as RFC 3339 UTC to the second."""
    return datetime.fromtimestamp(wall // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_ns(text: str) -> int:
    """The instant that `utc_text` wrote, in ns."""
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


def utc_text_ms(wall: int) -> str:
    """The same to the millisecond."""
    at = datetime.fromtimestamp(wall // 1_000_000_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{wall // 1_000_000 % 1000:03d}Z"
