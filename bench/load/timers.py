"""Many instants on one alarm.

In: instants (monotonic ns) and whom to call. Out: calls, each at its instant or just after. Must
stay true: one kernel timer whatever the number of instants; what has ended is not kept alive for
long by an instant that no longer matters.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Protocol

from bench.load.alarm import Alarm

#: Sleepers that are over and stand in the heap, before it is swept.
_MOST_OVER_KEPT = 1_000


class Sleeper(Protocol):
    """Who wants to be woken."""

    @property
    def over(self) -> bool:
        """True once nothing matters to it any more."""

    def wake(self, now_ns: int) -> None:
        """Its instant has come."""


class Timers:
    """The instants of one process's routes."""

    def __init__(
        self, clock: Callable[[], int], alarm: Callable[[Callable[[], None]], Alarm] = Alarm
    ):
        self._clock, self._alarm = clock, alarm(self._ring)
        self._heap: list[tuple[int, int, Sleeper]] = []
        self._order = itertools.count()
        self._swept = 0

    def at(self, when_ns: int, sleeper: Sleeper) -> None:
        """Wake `sleeper` at `when_ns`, whatever else it waits for."""
        entry = (when_ns, next(self._order), sleeper)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._alarm.set(when_ns)
        if len(self._heap) > 2 * self._swept + _MOST_OVER_KEPT:
            self._heap = [entry for entry in self._heap if not entry[2].over]
            heapq.heapify(self._heap)
            self._swept = len(self._heap)

    def _ring(self) -> None:
        now_ns = self._clock()
        while self._heap and self._heap[0][0] <= now_ns:
            sleeper = heapq.heappop(self._heap)[2]
            if not sleeper.over:
                sleeper.wake(now_ns)
                now_ns = self._clock()
        if self._heap:
            self._alarm.set(self._heap[0][0])

    def close(self) -> None:
        """Wake nobody any more."""
        self._heap.clear()
        self._alarm.close()
