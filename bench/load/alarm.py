"""Wake the loop at absolute instants, as near to them as the kernel can.

In: monotonic instants (ns). Out: callbacks on the loop. Must stay true: a deadline that has passed
fires at the next turn of the loop; never early; one kernel timer serves any number of instants, and
what has ended is not kept alive for long by an instant that no longer matters.

Measured lateness of 500 deadlines a second: docs/dev/performance.md.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import itertools
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from bench.clock import monotonic_ns
from bench.units import S

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = os.O_NONBLOCK if hasattr(os, "O_NONBLOCK") else 0
_TFD_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_TFD_TIMER_ABSTIME = 1


#: Waking is late by a median of 70 to 100 µs on a small machine, 10 µs with this spin before it,
#: for 3 % of a core at 200 instants a second and less beyond, where most are due at waking.
SPIN_NS = 150_000
#: Sleepers that are over and stand in the heap, before it is swept.
_MOST_OVER_KEPT = 1_000


class _TimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


def _libc() -> Any | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "timerfd_create") else None


class KernelTimer:
    """A Linux timerfd: becomes readable at an absolute instant.

    `os.timerfd_create` needs Python 3.13.
    """

    def __init__(self) -> None:
        """Raises OSError where there is none."""
        self._libc = _libc()
        if self._libc is None:
            self.fd = -1
        else:
            self.fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError("no timerfd")

    def set(self, at_ns: int) -> None:
        """Fire once at `at_ns` (monotonic), in place of any instant set before."""
        assert self._libc is not None
        # A zero value would disarm the timer.
        spec = _TimerSpec(0, 0, *divmod(max(at_ns, 1), S))
        self._libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)

    def clear(self) -> bool:
        """Acknowledge; False when it had not fired."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Release it."""
        os.close(self.fd)


class Alarm:
    """One pending instant. `kind` says what wakes it: a kernel timer, or the loop's own."""

    def __init__(self, callback: Callable[[], None]):
        self._loop = asyncio.get_running_loop()
        self._callback = callback
        self._at: int | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._timer: KernelTimer | None = None
        try:
            self._timer = KernelTimer()
            self._loop.add_reader(self._timer.fd, self._fired)
        except OSError:
            pass
        self.kind = "timerfd" if self._timer is not None else "event loop"

    def set(self, at_ns: int) -> None:
        """Fire once at `at_ns` (monotonic), in place of any instant set before."""
        self._at = at_ns
        if self._timer is not None:
            self._timer.set(at_ns - SPIN_NS)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_later(max(0, at_ns - monotonic_ns()) / S, self._fired)

    def _fired(self) -> None:
        if self._timer is not None and not self._timer.clear():
            return
        if self._at is not None:
            # The kernel wakes us tens of µs late; woken a little early, we spin the rest away.
            now = monotonic_ns()
            while self._at - SPIN_NS <= now < self._at:
                now = monotonic_ns()
            if now < self._at:
                self.set(self._at)
                return
        self._at = None
        self._callback()

    def close(self) -> None:
        """Release the timer."""
        if self._handle is not None:
            self._handle.cancel()
        if self._timer is not None:
            self._loop.remove_reader(self._timer.fd)
            self._timer.close()
            self._timer = None


# ---- many instants on one alarm


class Sleeper(Protocol):
    """What can be woken."""

    @property
    def over(self) -> bool:
        """True once it needs no waking."""

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
        #: called before each time that instants have come
        self.first: Callable[[int], None] = lambda _: None

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
        self.first(now_ns)
        while self._heap and self._heap[0][0] <= now_ns:
            sleeper = heapq.heappop(self._heap)[2]
            if not sleeper.over:
                sleeper.wake(now_ns)
                now_ns = self._clock()
        if self._heap:
            self._alarm.set(self._heap[0][0])

    def close(self) -> None:
        """Drop every instant and release the alarm."""
        self._heap.clear()
        self._alarm.close()
