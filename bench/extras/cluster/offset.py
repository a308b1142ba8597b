"""How far another machine's clock is ahead of ours, from questions and answers.

In: (asked, answered, arrived): ours, theirs, ours. Out: an offset and how far it may be off. Must
stay true: an answer was given between its question and its arrival, whatever the way took; nothing
else is assumed.

Source: Marzullo and Owicki 1983, the intersection of intervals; the midpoint is NTP's (RFC 5905,
section 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.record.records.manifest import ClockRecord
from bench.units import MS


@dataclass(frozen=True)
class Offset:
    """Their clock minus ours (ns), which is within `bound_ns` of `ahead_ns`."""

    ahead_ns: int
    bound_ns: int
    round_trips: int

    def record(self, later: Offset | None) -> ClockRecord:
        """As the manifest keeps it; `later` is what it was when the run had ended."""
        drift_ns = 0 if later is None else later.ahead_ns - self.ahead_ns
        return ClockRecord(
            offset_ms=self.ahead_ns / MS,
            bound_ms=self.bound_ns / MS,
            drift_ms=drift_ns / MS,
            round_trips=self.round_trips,
        )


def offset_of(exchanges: Sequence[tuple[int, int, int]]) -> Offset:
    """The offset that all exchanges allow.

    Where none is (a clock was set meanwhile) the bound covers every one of them.

    Raises ValueError without an exchange.
    """
    least = [answered - arrived for _, answered, arrived in exchanges]
    most = [answered - asked for asked, answered, _ in exchanges]
    low, high = max(least), min(most)
    if low > high:
        low, high = min(least), max(most)
    middle = (low + high) // 2
    return Offset(middle, max(high - middle, middle - low), len(exchanges))
