"""One kernel timer for everything that is due: a timerfd on the monotonic clock.

In: absolute moments in monotonic ns. Out: a callback as soon after as the kernel can.
Must stay true: never early. An event loop's own timers round to a millisecond (libuv) or to
the resolution of its poll call, which would be most of the gateway's timing error.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from typing import Protocol

from bench.clock import monotonic_ns
from bench.errors import TailproofError
from bench.units import S

_CLOCK_MONOTONIC, _TFD_TIMER_ABSTIME = 1, 1


class Timer(Protocol):
    """What the gateway needs of a timer: one moment at a time, None for never."""

    def arm(self, due_ns: int | None) -> None:
        """Call back at `due_ns`, or at the moment set before where that is earlier."""

    def close(self) -> None:
        """No more callbacks."""


class _Itimerspec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class TimerFd:
    """Linux: a timerfd that the loop reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]):
        self._libc = ctypes.CDLL(None, use_errno=True)
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, flags)
        if self._fd < 0:
            raise TailproofError(
                "the kernel gives no timerfd", remedy=os.strerror(ctypes.get_errno())
            )
        self._loop = loop
        self._callback = callback
        self._armed = -1
        loop.add_reader(self._fd, self._fired)

    def arm(self, due_ns: int | None) -> None:
        """Set the kernel's timer; a moment in the past fires at once."""
        if due_ns is not None and not 0 < self._armed <= due_ns:
            self._armed = due_ns
            spec = _Itimerspec(0, 0, due_ns // S, due_ns % S)
            self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)

    def _fired(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        self._armed = -1
        self._callback()

    def close(self) -> None:
        """Give the descriptor back."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class LoopTimer:
    """Elsewhere: the loop's own timer, with whatever resolution it has."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]):
        self._loop = loop
        self._callback = callback
        self._armed = -1
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, due_ns: int | None) -> None:
        """Ask the loop for a call at `due_ns`."""
        if due_ns is not None and not 0 < self._armed <= due_ns:
            self.close()
            self._armed = due_ns
            self._handle = self._loop.call_later(max(0, due_ns - monotonic_ns()) / S, self._fired)

    def _fired(self) -> None:
        self._armed = -1
        self._callback()

    def close(self) -> None:
        """Cancel what is pending."""
        if self._handle is not None:
            self._handle.cancel()


def make_timer(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> Timer:
    """The best timer this platform has."""
    if hasattr(os, "eventfd"):
        return TimerFd(loop, callback)
    return LoopTimer(loop, callback)
