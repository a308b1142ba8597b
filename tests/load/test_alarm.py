"""The generator's alarm, by the kernel's timer and, where none is to be had, by the loop's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench.load.alarm import Timers
from tests.support.patience import PATIENCE_S

PROGRAM = """
import asyncio, json, os, resource, sys
from bench.clock import monotonic_ns
from bench.load.alarm import Alarm
from bench.load.generator import run_loop

async def main():
    taken = []
    if sys.argv[1] == "full":
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        try:
            while True:
                taken.append(os.dup(1))
        except OSError:
            pass
    rung, waiting = asyncio.Event(), []
    alarm = Alarm(rung.set)
    for fd in taken:
        os.close(fd)
    for wait_ms in (200_000, 30, 0):  # the first is put off by the second
        at_ns = monotonic_ns() + wait_ms * 1_000_000
        alarm.set(at_ns)
        if wait_ms < 1000:
            await rung.wait()
            rung.clear()
            waiting.append(monotonic_ns() - at_ns)
    alarm.set(monotonic_ns() + 10**8)
    alarm.close()
    print(json.dumps([alarm.kind, waiting]))

run_loop(main)
"""


class Bell:
    """Notes when it is to ring, and rings when the test says so."""

    kind = "bell"

    def __init__(self, ring: Callable[[], None]):
        self.ring, self.set_to = ring, list[int]()

    def set(self, at_ns: int) -> None:
        self.set_to.append(at_ns)

    def close(self) -> None:
        self.set_to.clear()


class Waits:
    """Something to wake."""

    def __init__(self) -> None:
        self.over, self.woken = False, list[int]()

    def wake(self, now_ns: int) -> None:
        self.woken.append(now_ns)


def test_many_instants_share_one_alarm() -> None:
    """It is set to the first of them, wakes what is due and not what is over, and forgets those
    that are over once they are many.
    """
    now, bells = [0], list[Bell]()

    def bell(ring: Callable[[], None]) -> Any:
        bells.append(Bell(ring))
        return bells[0]

    timers = Timers(lambda: now[0], bell)
    first, second, over = Waits(), Waits(), Waits()
    over.over = True
    for at_ns, sleeper in ((50, second), (10, first), (10, over), (70, first)):
        timers.at(at_ns, sleeper)
    assert bells[0].set_to == [50, 10]
    now[0] = 20
    bells[0].ring()
    assert (first.woken, second.woken, over.woken) == ([20], [], [])
    assert bells[0].set_to[-1] == 50
    now[0] = 90
    bells[0].ring()
    assert (first.woken, second.woken) == ([20, 90], [90])
    assert bells[0].set_to[-1] == 50  # none is left to ring for
    for at_ns in range(5000):
        timers.at(100 + at_ns, over)
    assert len(timers._heap) < 5000
    timers.close()
    assert bells[0].set_to == []


@pytest.mark.clock
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="timerfd is Linux's")
@pytest.mark.parametrize(("descriptors", "kind"), [("free", "timerfd"), ("full", "event loop")])
def test_an_alarm_rings_once_and_never_early(descriptors: str, kind: str) -> None:
    """Set anew it forgets the instant before; without a descriptor left for a timer the loop's own
    rings as well.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, descriptors],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    named, late_ns = json.loads(done.stdout)
    assert named == kind
    assert len(late_ns) == 2
    assert min(late_ns) >= 0
