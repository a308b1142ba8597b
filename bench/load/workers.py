"""A run shared among processes: the parent's side, and the worker's.

In: a plan and a folder that holds its schedule. Out: what `Player` yields, of all workers
together. Must stay true: the schedule is read by each worker from the folder, its share cut by
session; one start instant on the machine-wide monotonic clock; while requests are sent a worker
tells counts and is told at most to stop; a worker that dies loses its unsealed rows, said so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
from anyio.streams.text import TextReceiveStream

from bench.clock import monotonic_ns
from bench.errors import TailproofError
from bench.load.generator import run_loop
from bench.load.guard import CAPS
from bench.load.player import Counters, OnTick, Player, Work
from bench.plan.credentials import fault_text
from bench.plan.prompts import PromptText, load_tokenizer
from bench.plan.stored import LANES, dump_lanes
from bench.record.histogram import Histogram
from bench.record.parts import Share
from bench.record.run_folder import read_schedule
from bench.units import MS

#: From the moment all workers are ready to the run's time zero.
_LEAD_NS = 300 * MS
_TELL_EVERY_NS = 500 * MS
_TICK_S = 0.05


@dataclasses.dataclass
class _Worker:
    """The parent's view of one worker."""

    number: int
    process: anyio.abc.Process
    counters: Counters | None = None
    result: dict[str, Any] | None = None
    #: it waits for its time zero, or is gone
    ready: anyio.Event = dataclasses.field(default_factory=anyio.Event)


@dataclasses.dataclass(frozen=True)
class WorkersEnd:
    """What the workers came to; samples lie in the folder's pieces."""

    facts: list[dict[str, Any]]
    gaps: list[list[Histogram]]
    #: changes of routes' legs, of all workers
    leg_events: list[dict[str, Any]]
    interrupted: bool
    #: numbers of workers that ended without a result
    dead: list[int]


class Workers:
    """The workers of one run. `stop` as for a generator: once to drain, twice to cut off."""

    def __init__(
        self,
        work: Work,
        text: PromptText,
        count: int,
        ends_early: Callable[[str], None] = lambda _: None,
        lock: int | None = None,
    ):
        """`work` is what the workers divide; `ends_early` is called with the reason why a worker's
        part of the caps is used up.

        `lock` is a descriptor that workers hold while they live.
        """
        self._lanes, self._count, self._ends_early = work.lanes, count, ends_early
        self._inherited = () if lock is None else (lock,)
        self._job = {
            "folder": str(work.folder),
            "run_id": work.run_id,
            "share": dataclasses.asdict(work.share) | {"workers": count},
            "seed": text.seed,
            "tokenizer": text.tokenizer.name if text.tokenizer else None,
            "sitting": work.sitting,
            "lanes": dump_lanes(work.lanes),
            "caps": CAPS.dump_python(work.caps, mode="json"),
        }
        self._workers: list[_Worker] = []
        self._stops = self._told = 0
        self._t0 = 0

    def stop(self) -> None:
        """Tell every worker to stop; what they have is kept."""
        self._stops += 1

    async def play(self, on_tick: OnTick, t0: int | None = None) -> WorkersEnd:
        """Start the workers, give them their time zero (monotonic ns; soon, by default), gather
        what they tell until all have ended.
        """
        async with anyio.create_task_group() as group:
            for number in range(self._count):
                process = await anyio.open_process(
                    [sys.executable, "-m", "bench.load.workers"],
                    stderr=None,
                    start_new_session=True,
                    pass_fds=self._inherited,
                )
                worker = _Worker(number, process)
                self._workers.append(worker)
                await _say(worker, {**self._job, "worker": number})
                group.start_soon(self._listen, worker)
            for worker in self._workers:
                await worker.ready.wait()
            self._t0 = monotonic_ns() + _LEAD_NS if t0 is None else t0
            for worker in self._workers:
                await _say(worker, {"start": self._t0})
            while any(worker.process.returncode is None for worker in self._workers):
                await anyio.sleep(_TICK_S)
                on_tick(monotonic_ns() - self._t0, self._counters)
                while self._told < self._stops:
                    self._told += 1
                    for worker in self._workers:
                        await _say(worker, {"stop": True})
        results = [worker.result for worker in self._workers if worker.result is not None]
        dead = [worker.number for worker in self._workers if worker.result is None]
        return WorkersEnd(
            [result["facts"] for result in results],
            self._gaps(results),
            [event for result in results for event in result["leg_events"]],
            self._stops > 0 or any(result["interrupted"] for result in results),
            dead,
        )

    def _counters(self) -> Counters:
        known = [worker.counters for worker in self._workers if worker.counters is not None]
        return Counters.total(known, len(self._lanes))

    def _gaps(self, results: list[dict[str, Any]]) -> list[list[Histogram]]:
        total = [[Histogram() for _ in lane.phases] for lane in self._lanes]
        for result in results:
            for lane, phases in zip(total, result["gaps"], strict=True):
                for histogram, cells in zip(lane, phases, strict=True):
                    histogram.add(Histogram.from_cells(cells))
        return total

    async def _listen(self, worker: _Worker) -> None:
        async for message in _lines(worker.process):
            if "counters" in message:
                worker.counters = Counters.from_plain(message["counters"])
            elif "early" in message:
                self._ends_early(message["early"])
            elif "result" in message:
                worker.result = message["result"]
            elif "ready" in message:
                worker.ready.set()
        await worker.process.wait()
        worker.ready.set()


async def _say(worker: _Worker, message: dict[str, Any]) -> None:
    """One line to a worker; one that is gone hears nothing."""
    assert worker.process.stdin is not None
    try:
        await worker.process.stdin.send(json.dumps(message).encode() + b"\n")
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, BrokenPipeError, ConnectionError):
        return


async def _lines(process: anyio.abc.Process) -> AsyncIterator[dict[str, Any]]:
    assert process.stdout is not None
    rest = ""
    async for text in TextReceiveStream(process.stdout):
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield json.loads(line)


def innermost(error: BaseException) -> BaseException:
    """The first of the errors that came together: who called knows it by its class, not by the
    tasks it came through.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


# ---- the worker's side


def _tell(message: dict[str, Any]) -> None:
    # A parent that is gone is noticed by the end of standard input; there is nobody left to tell.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


async def _work(job: dict[str, Any]) -> None:
    lanes = LANES.validate_python(job["lanes"])
    folder = Path(job["folder"])
    tokenizer = load_tokenizer(job["tokenizer"]) if job["tokenizer"] else None

    def ended_early(why: str) -> None:
        player.generator.stop()
        _tell({"early": why})

    work = Work(
        lanes,
        read_schedule(folder, job["sitting"]),
        folder,
        job["run_id"],
        Share(**job["share"] | {"worker": job["worker"]}),
        job["sitting"],
        CAPS.validate_python(job["caps"]),
    )
    player = Player(work, PromptText(job["seed"], tokenizer), ends_early=ended_early)
    told = -_TELL_EVERY_NS

    def on_tick(now_ns: int, counters: Callable[[], Counters]) -> None:
        nonlocal told
        if now_ns - told >= _TELL_EVERY_NS:
            told = now_ns
            _tell({"counters": counters().plain()})

    _tell({"ready": True})
    started = json.loads(await anyio.to_thread.run_sync(sys.stdin.readline) or "{}")
    if "start" not in started:
        return
    async with anyio.create_task_group() as group:
        group.start_soon(_obey, player)
        await player.play(on_tick, started["start"])
        group.cancel_scope.cancel()
    gaps = [[histogram.cells() for histogram in phases] for phases in player.journal.gap_histograms]
    _tell({"counters": player.counters().plain()})
    _tell(
        {
            "result": {
                "facts": player.facts(),
                "gaps": gaps,
                "leg_events": player.journal.leg_events,
                "interrupted": player.generator.interrupted,
            }
        }
    )


async def _obey(player: Player) -> None:
    """Each line from the parent, and its end, means stop."""
    echoes = 1
    while True:
        line = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        if line and echoes and player.guard is not None and player.guard.why is not None:
            echoes -= 1  # the parent's answer to our own end, no second word to cut off
            continue
        player.generator.stop()
        if not line:
            return


def main() -> int:
    """A worker's process: the job on the first line of standard input."""
    job = json.loads(sys.stdin.readline())
    try:
        run_loop(lambda: _work(job))
    except BaseException as group:
        error = innermost(group)
        said = str(error) if isinstance(error, TailproofError) else fault_text()
        sys.stderr.write(f"tailproof: worker {job['worker']}: {said}\n")
    sys.stdout.flush()
    # A thread may still wait for a line of the parent's; nothing is left to be saved.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
