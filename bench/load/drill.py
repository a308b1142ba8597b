"""Drills are carried out while the run lasts, and what really happened is written down.

In: the plan's timeline, ticks of the run. Out: one event a drill: when it was planned, begun and
done, whether it went well, and what it said. Must stay true: nothing is done on the loop's thread;
each drill has its time and no more; a drill that fails is an event, never the end of the run; no
text of a command or a gateway is kept before its secrets are removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import anyio.to_thread

from bench.clock import monotonic_ns
from bench.plan.drill import Drill, PlannedDrill
from bench.plan.schedule import Lane
from bench.record.records.events import DrillEvent
from bench.units import S

#: Of what a command or a gateway says the beginning is kept.
_HEAD_BYTES = 4000
_LOOK_EVERY_S = 0.1
#: After Ctrl-C a post under way has this long to end.
_STOP_WAIT_S = 5.0


def change_url(lanes: Sequence[Lane], stage: str) -> str | None:
    """The admin endpoint of the simulator that serves a stage; None where none does."""
    for lane in lanes:
        for target in lane.target.endpoints if lane.stage == stage and lane.scenario else ():
            if target.base_url.endswith(lane.served_path):
                return target.base_url.removesuffix("/v1") + "/change"
    return None


class Timeline:
    """The drills of one run, each on a thread of its own."""

    def __init__(
        self,
        drills: Sequence[PlannedDrill],
        lanes: Sequence[Lane],
        clean: Callable[[str], str],
    ):
        """`drills` sorted by their moment; `clean` makes a text fit to be kept."""
        self._drills = drills
        self._clean = clean
        self._urls = [planned.drill.url or change_url(lanes, planned.stage) for planned in drills]
        self._events = [
            DrillEvent(
                name=each.drill.title,
                stage=each.stage,
                do=each.drill.do,
                at_ns=each.at_ns,
                begun_ns=-1,
                done_ns=-1,
                ok=False,
                detail="the run ended first",
            )
            for each in drills
        ]
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()

    def tick(self, now_ns: int) -> None:
        """Begin what is due by now (ns after the run's start)."""
        t0 = monotonic_ns() - now_ns
        while (
            len(self._threads) < len(self._drills)
            and self._drills[len(self._threads)].at_ns <= now_ns
        ):
            thread = threading.Thread(
                target=self._carry_out,
                args=(len(self._threads), t0),
                daemon=True,
            )
            self._threads.append(thread)
            thread.start()

    def _carry_out(self, index: int, t0: int) -> None:
        drill = self._drills[index].drill
        begun = self._events[index] = self._events[index].replace(begun_ns=monotonic_ns() - t0)
        try:
            ok, detail = _do(drill, self._urls[index], self._stopped)
        except (OSError, ValueError, HTTPException, subprocess.SubprocessError) as error:
            ok, detail = False, f"{type(error).__name__}: {error}"
        done_ns = monotonic_ns() - t0
        self._events[index] = begun.replace(done_ns=done_ns, ok=ok, detail=self._clean(detail))

    def events(self) -> list[tuple[int, str]]:
        """What was begun and done so far: the moment (ns after the run's start) and a sentence."""
        said: list[tuple[int, str]] = []
        for event in self._events[: len(self._threads)]:
            if event.begun_ns >= 0:
                said.append((event.begun_ns, f"drill {event.name}: begun"))
            if event.done_ns >= 0:
                how = "done" if event.ok else f"failed, {event.detail}"
                said.append((event.done_ns, f"drill {event.name}: {how}"))
        return said

    async def finish(self, *, interrupted: bool = False) -> list[DrillEvent]:
        """The events, once what was begun has ended: by itself, at its timeout, or now where the
        run was interrupted.
        """
        if interrupted:
            self._stopped.set()
        for thread in self._threads:
            await anyio.to_thread.run_sync(thread.join, _STOP_WAIT_S if interrupted else None)
        return self._events


def _do(drill: Drill, url: str | None, stopped: threading.Event) -> tuple[bool, str]:
    """(went well, what it said)."""
    if drill.change is not None:
        if url is None:
            return False, "no simulator serves this stage"
        return _post(url, json.dumps(drill.change).encode(), drill.timeout / S)
    if drill.command is not None:
        return _run(drill.command, drill.timeout, stopped)
    return True, ""


def _post(url: str, body: bytes, timeout_s: float) -> tuple[bool, str]:
    direct = build_opener(ProxyHandler({}))  # whatever proxy the environment names
    request = Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310 http(s) alone
    try:
        with direct.open(request, timeout=timeout_s) as answer:
            return True, answer.read(_HEAD_BYTES).decode("utf-8", "replace")
    except HTTPError as error:
        return False, f"HTTP {error.code}: {error.read(_HEAD_BYTES).decode('utf-8', 'replace')}"


def _run(
    command: list[str],
    timeout_ns: int,
    stopped: threading.Event,
) -> tuple[bool, str]:
    """The user's own command, in a process group that ends with its time or with an interrupted
    run.
    """
    end_ns = monotonic_ns() + timeout_ns
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while (code := process.poll()) is None:
            if stopped.is_set() or monotonic_ns() >= end_ns:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if stopped.is_set():
                    why = "when the run was interrupted"
                else:
                    why = f"after {timeout_ns / S:g} s"
                return False, f"killed {why}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY_S)
        output.seek(0)
        said = output.read(_HEAD_BYTES).decode("utf-8", "replace").strip()
    return code == 0, said if code == 0 else f"exit {code}: {said}"
