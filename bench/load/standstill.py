"""Has this process stood still: stopped, its machine paused, a long collection?

In: looks at the clock, a few ms apart; requests under way. Out: marks on what a standstill touched.
Must stay true: what the kernel had in time is in time, whatever the loop did, so it is taken in
before anything is decided; what a standstill touched is marked, for no moment of it shows the
target alone; it costs a request nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from bench.load.journal import Journal
from bench.load.request import Request
from bench.load.transport.patience import HELD_UP_NS
from bench.record.samples import Flag

#: Looks are at most so far apart where the loop runs.
LOOK_NS = 10_000_000


class _Lane(Protocol):
    @property
    def deadlines(self) -> Iterable[Request]:
        """Requests under way, among others that ended."""


def touched(request: Request) -> None:
    """The harness stood still while it was under way. Gaps over that are ours, and what arrived
    meanwhile has the stamp of the last of it: no more of them is kept.
    """
    request.flags |= Flag.HELD_UP
    if request.answer is not None:
        request.answer.gaps = None


class Standstill:
    """One process's; `look` before anything is decided by the time that has passed."""

    def __init__(self, lanes: Sequence[_Lane], journal: Journal, clock: Callable[[], int]):
        self._lanes, self._journal, self._clock = lanes, journal, clock
        self._seen_ns = 0
        #: until when we last stood still (monotonic ns)
        self.until_ns = -1

    def begin(self) -> None:
        """From now on it is looked."""
        self._seen_ns = self._clock()

    def look(self, now: int) -> None:
        """Was the last look too long ago? Then what was under way is marked, and what has arrived
        meanwhile taken in.
        """
        since = now - self._seen_ns
        self._seen_ns = now
        if since <= HELD_UP_NS + LOOK_NS:
            return
        self.until_ns = now
        self._journal.stood_still()
        for lane in self._lanes:
            for request in [each for each in lane.deadlines if not each.ended]:
                touched(request)
                if request.handle is not None:
                    request.handle.catch_up(stood_still=True)

    def ran(self) -> None:
        """The loop has done all that it was late for."""
        self._journal.looked()
