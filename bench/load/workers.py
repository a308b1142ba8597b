"""A run shared among processes: the parent's side, and the worker's.

In: a plan and a folder that holds its schedule. Out: a part of the run for each worker. Must stay
true: the schedule is read by each worker from the folder, its share cut by session; one start
instant on the machine-wide monotonic clock; while requests are sent a worker reports counts and is
ordered at most to stop; a worker that dies loses its unsealed rows, with a note.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
from anyio.streams.text import TextReceiveStream

from bench.clock import monotonic_ns
from bench.errors import TailproofError
from bench.load.generator import STOP_DRAIN_NS, drain_bound_ns, run_loop
from bench.load.part_process import CounterReports, FromStarter, ToStarter, leave
from bench.load.player import Counters, OnTick, Player
from bench.load.work import Work
from bench.plan.credentials import fault_text
from bench.plan.prompts import PromptText, load_tokenizer
from bench.record.histogram import Histogram
from bench.record.parts import Part
from bench.record.records.events import LegChange
from bench.units import MS, S

#: From the moment all workers are ready to the run's time zero.
_LEAD_NS = 300 * MS
_REPORT_EVERY_NS = 500 * MS
_TICK_S = 0.05
#: A worker writes its last rows and counts within this time; ordered twice to stop, within that.
_SLOW_TO_END_NS, _SLOW_TO_STOP_NS = 15 * S, 3 * S
_SLOW_TO_BEGIN_NS = 20 * S


@dataclasses.dataclass
class _Worker:
    """The parent's view of one worker."""

    work: Work
    process: anyio.abc.Process
    result: dict[str, Any] | None = None
    #: it waits for its time zero, or is gone
    ready: anyio.Event = dataclasses.field(default_factory=anyio.Event)


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
        self._work, self._count, self._ends_early = work, count, ends_early
        self._inherited = () if lock is None else (lock,)
        self._prompts = {
            "seed": text.seed,
            "tokenizer": text.tokenizer.name if text.tokenizer else None,
        }
        self._workers: list[_Worker] = []
        self._total = Counters.total([], len(work.lanes))
        self._stops = self._stops_sent = 0
        self._t0 = 0

    def stop(self) -> None:
        """Tell every worker to stop; what they have is kept."""
        self._stops += 1

    async def play(self, on_tick: OnTick, t0: int | None = None) -> list[Part]:
        """Start the workers, give them their time zero (monotonic ns; soon, by default); what each
        was of the run, once all have ended.
        """
        async with anyio.create_task_group() as group:
            for number in range(self._count):
                process = await anyio.open_process(
                    [sys.executable, "-m", "bench.load.workers"],
                    stderr=None,
                    start_new_session=True,
                    pass_fds=self._inherited,
                )
                worker = _Worker(self._work.of_worker(number, self._count), process)
                self._workers.append(worker)
                await _say(worker, worker.work.job() | self._prompts)
                group.start_soon(self._listen, worker)
            await self._until_ready()
            self._t0 = monotonic_ns() + _LEAD_NS if t0 is None else t0
            for worker in self._workers:
                await _say(worker, {"start": self._t0})
            ends_ns = self._ends_ns()
            while any(worker.process.returncode is None for worker in self._workers):
                await anyio.sleep(_TICK_S)
                on_tick(monotonic_ns() - self._t0, lambda: self._total)
                while self._stops_sent < self._stops:
                    self._stops_sent += 1
                    ends_ns = min(ends_ns, monotonic_ns() + STOP_DRAIN_NS + _SLOW_TO_END_NS)
                    if self._stops_sent > 1:
                        ends_ns = min(ends_ns, monotonic_ns() + _SLOW_TO_STOP_NS)
                    for worker in self._workers:
                        with anyio.move_on_after(_TICK_S):  # it may not read any more
                            await _say(worker, {"stop": None})
                if monotonic_ns() > ends_ns:
                    self._give_up(self._workers)
        return [self._part(worker) for worker in self._workers]

    async def _until_ready(self) -> None:
        """All do the same to get ready: one that takes much longer than the first stands still."""
        first_ns: int | None = None
        while not all(worker.ready.is_set() for worker in self._workers):
            await anyio.sleep(_TICK_S)
            if first_ns is None and any(worker.ready.is_set() for worker in self._workers):
                first_ns = monotonic_ns()
            too_late = first_ns is not None and monotonic_ns() > first_ns + _SLOW_TO_BEGIN_NS
            if too_late or self._stops > 1:
                self._give_up([worker for worker in self._workers if not worker.ready.is_set()])

    def _ends_ns(self) -> int:
        """When a worker that has not ended will not end any more."""
        lanes, schedule = self._work.lanes, self._work.schedule
        last_ns = max(lane.end_ns for lane in lanes)
        return self._t0 + last_ns + drain_bound_ns(lanes, schedule) + _SLOW_TO_END_NS

    def _give_up(self, workers: list[_Worker]) -> None:
        """Kill workers that stand still: they count as lost."""
        for worker in workers:
            if worker.process.returncode is None:
                with suppress(ProcessLookupError):
                    worker.process.kill()

    def _part(self, worker: _Worker) -> Part:
        if (result := worker.result) is None:
            return worker.work.lost()
        return worker.work.played(
            result["facts"],
            [[Histogram.from_cells(cells) for cells in phases] for phases in result["gaps"]],
            [LegChange.model_validate(change) for change in result["leg_events"]],
            interrupted=result["interrupted"] or self._stops > 0,
        )

    async def _listen(self, worker: _Worker) -> None:
        async for message in _lines(worker.process):
            if "counters" in message:
                more = Counters.from_plain(message["counters"])
                self._total = Counters.total([self._total, more], len(self._work.lanes))
            elif "early" in message:
                self._ends_early(message["early"])
            elif "result" in message:
                worker.result = message["result"]
            elif "ready" in message:
                worker.ready.set()
        await worker.process.wait()
        worker.ready.set()


async def _say(worker: _Worker, message: dict[str, Any]) -> None:
    """One line to a worker, unless it is gone."""
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


async def _work(job: dict[str, Any], to_parent: ToStarter) -> None:
    tokenizer = load_tokenizer(job["tokenizer"]) if job["tokenizer"] else None
    work = Work.of_job(job)
    reports = CounterReports(to_parent, len(work.lanes), _REPORT_EVERY_NS)
    stops = SimpleQueue[None]()
    from_parent = FromStarter(lambda: stops.put(None))
    echoes = 1

    def ended_early(why: str) -> None:
        player.generator.stop()
        to_parent.send({"early": why})

    def on_tick(now_ns: int, counters: Callable[[], Counters]) -> None:
        nonlocal echoes
        reports.tick(now_ns, counters)
        while not stops.empty():
            stops.get()
            if echoes and player.guard is not None and player.guard.why is not None:
                echoes -= 1  # the parent's answer to our own end, no second word to cut off
            else:
                player.generator.stop()

    player = Player(work, PromptText(job["seed"], tokenizer), ends_early=ended_early)
    to_parent.send({"ready": True})
    started = await anyio.to_thread.run_sync(from_parent.start)
    if started is None or "start" not in started:
        return
    await player.play(on_tick, started["start"])
    reports.finish()
    gaps = [[histogram.cells() for histogram in phases] for phases in player.journal.gap_histograms]
    result = {
        "facts": player.facts(),
        "gaps": gaps,
        "leg_events": [change.to_json() for change in player.journal.leg_events],
        "interrupted": player.generator.interrupted,
    }
    to_parent.send({"result": result})


def main() -> int:
    """A worker's process: the job on the first line of standard input."""
    job, to_parent = json.loads(sys.stdin.buffer.readline()), ToStarter()
    try:
        run_loop(lambda: _work(job, to_parent))
    except BaseException as group:
        error = innermost(group)
        said = str(error) if isinstance(error, TailproofError) else fault_text()
        sys.stderr.write(f"tailproof: worker {job['share']['worker']}: {said}\n")
    to_parent.finish()
    leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
