"""The generator's alarm, by the kernel's timer and, where none is to be had, by the loop's own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
