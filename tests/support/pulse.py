"""How busy the machine is while a test kills a run: what a bound in seconds has to be given.

Out: which answers must be on disk. Must stay true: a test that waits for `some_must_be_kept` before
it kills has rows to assert on, however slow the machine.
"""

from __future__ import annotations

import threading

from bench.clock import monotonic_ns
from bench.units import MS
from benchmarks.kills import LOSS_NS
from tests.support.provider import Provider


class Pulse:
    """How long this machine kept a thread of ours waiting at worst."""

    _EVERY_S = 0.02

    def __init__(self) -> None:
        self.worst_ns = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def _beat(self) -> None:
        before = monotonic_ns()
        while not self._over.wait(self._EVERY_S):
            now = monotonic_ns()
            self.worst_ns, before = max(self.worst_ns, now - before), now

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def loss_ns(self) -> int:
        """What ended longer before a kill is on disk, on a machine as busy as this one."""
        return LOSS_NS + self.worst_ns


def some_must_be_kept(provider: Provider, pulse: Pulse, rows: int = 8) -> bool:
    """Whether a kill now would leave so many rows that must be on disk, with 100 ms to spare."""
    before_ns = monotonic_ns() - pulse.loss_ns - 100 * MS
    return sum(at_ns < before_ns for at_ns in list(provider.answered.values())) >= rows
