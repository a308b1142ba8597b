"""What the harness's own process did during the run: facts for `health`, no judgement.

In: ticks of the loop, garbage collections, clocks. Out: a record for the manifest. Must stay
true: probing costs next to nothing and changes nothing but the collector's thresholds.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any

from bench.clock import cpu_ns, monotonic_ns, suspended_ns, wall_offset_ns
from bench.units import MS, S

#: A loop that comes back this much later than asked was held up.
STALL_NS = 10 * MS


#: Ticks from one look at the clocks to the next: about a second, in which no slewing comes near a
#: step.
_LOOK_EVERY = 50


class ClockWatch:
    """Steps of the wall clock and sleeps of the machine.

    A slow drift is neither, however long the run.
    """

    def __init__(
        self,
        wall_offset: Callable[[], int] = wall_offset_ns,
        slept: Callable[[], int] = suspended_ns,
    ):
        """Clocks to ask (ns): wall minus monotonic time; time the machine has slept, which only the
        first counts.
        """
        self._wall_offset = wall_offset
        self._slept = slept
        self._offset, self._asleep = wall_offset(), slept()
        #: the largest step seen, signed, and all sleep (ns)
        self.step_ns = self.slept_ns = 0

    def look(self) -> None:
        """Compare with the look before."""
        offset = self._wall_offset()
        asleep = self._slept()
        slept = asleep - self._asleep
        self.step_ns = max(self.step_ns, offset - self._offset - slept, key=abs)
        self.slept_ns += slept
        self._offset = offset
        self._asleep = asleep


@functools.cache
def _frozen_already() -> bool:
    """Whether this process froze what it has before its first run. To ask walks all of it, so that
    it is asked once.
    """
    return gc.get_freeze_count() > 0


class HarnessProbe:
    """One per process; `start` before the first request, `facts` after the last."""

    def __init__(self) -> None:
        self.alarm_kind = ""
        self._stalls = self._worst_ns = self._ticks = 0
        self._gc_began = self._gc_worst_ns = self._gc_total_ns = 0
        self._threshold = gc.get_threshold()
        self._froze = False

    def start(self) -> None:
        """Freeze what exists so that collections stay short, and note the clocks.

        A process that has frozen what it has keeps it so: nothing can be frozen in parts.
        """
        gc.collect()
        self._froze = not _frozen_already()
        if self._froze:
            gc.freeze()
        gc.set_threshold(50_000, 50, 1000)
        gc.callbacks.append(self._on_gc)
        self._clocks = ClockWatch()
        self._cpu, self._began = cpu_ns(), monotonic_ns()

    def tick(self, late_ns: int) -> None:
        """The loop's regular tick came this late."""
        self._ticks += 1
        if self._ticks % _LOOK_EVERY == 0:
            self._clocks.look()
        self._worst_ns = max(self._worst_ns, late_ns)
        if late_ns > STALL_NS:
            self._stalls += 1

    def _on_gc(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_began = monotonic_ns()
        else:
            pause = monotonic_ns() - self._gc_began
            self._gc_total_ns += pause
            self._gc_worst_ns = max(self._gc_worst_ns, pause)

    def stop(self) -> None:
        """Give the collector back as it was."""
        if self._on_gc in gc.callbacks:
            gc.callbacks.remove(self._on_gc)
        gc.set_threshold(*self._threshold)
        if self._froze:
            gc.unfreeze()

    def facts(self) -> dict[str, Any]:
        """Lengths in ms, CPU as a share of one core, the wall clock's largest step and the
        machine's sleep in ms.
        """
        self._clocks.look()
        elapsed = max(monotonic_ns() - self._began, 1)
        return {
            "alarm": self.alarm_kind,
            "loop_stalls": self._stalls,
            "loop_stall_max_ms": round(self._worst_ns / MS, 3),
            "gc_pause_max_ms": round(self._gc_worst_ns / MS, 3),
            "gc_pause_total_ms": round(self._gc_total_ns / MS, 3),
            "elapsed_s": round(elapsed / S, 3),
            "cpu_share": round((cpu_ns() - self._cpu) / elapsed, 4),
            "clock_step_ms": round(self._clocks.step_ns / MS, 3),
            "suspended_ms": round(self._clocks.slept_ns / MS, 3),
        }
