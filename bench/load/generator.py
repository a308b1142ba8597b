"""Schedule x transport x clock -> samples.

In: a compiled plan, senders, a run's writer. Out: one sample a row. Must stay true: a row
leaves when it is due, whatever became of the rows before it; behind an in-flight cap it waits
with its due time kept, never skipped, never re-anchored; no task, object or log line is made
per token; all rows end with exactly one outcome, also on Ctrl-C.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import anyio
import numpy as np

from bench.clock import monotonic_ns
from bench.load.alarm import Alarm
from bench.load.endpoint import LaneState
from bench.load.journal import Journal
from bench.load.probe import HarnessProbe
from bench.load.request import Request
from bench.load.standstill import LOOK_NS, Standstill
from bench.plan.schedule import Lane, Table
from bench.record.samples import Bool, Flag, Outcome
from bench.units import MS, S

T = TypeVar("T")

#: Time between the decision to start and the run's time zero, for the loop to settle.
LEAD_NS = 200 * MS
_TICK_NS = LOOK_NS
#: Requests that ended and stand in the queue of deadlines, before it is swept.
_MOST_ENDED_KEPT = 1_000
#: After Ctrl-C, requests under way have this long to end.
STOP_DRAIN_NS = 5 * S


class Generator:
    """Plays the rows of a plan. One per process; lives on one loop."""

    def __init__(
        self,
        plan: Sequence[Lane],
        schedule: Table,
        lanes: list[LaneState],
        journal: Journal,
        probe: HarnessProbe,
        *,
        mine: Bool | None = None,
        clock: Callable[[], int] = monotonic_ns,
        alarm: Callable[[Callable[[], None]], Alarm] = Alarm,
    ):
        """`plan` are the lanes as planned, `lanes` their moving parts; `mine` masks the rows to
        play.

        `clock` and `alarm` are the only time there is: a test passes its own and waits for nothing.
        """
        self._clock, self._make_alarm = clock, alarm
        self.lanes = lanes
        self._journal = journal
        self._probe = probe
        self._drain_ns = drain_bound_ns(plan, schedule)
        journal.watch_gaps([lane.gaps for lane in lanes])
        self._lane_of = schedule["lane"]
        self._phase_of = schedule["phase"]
        self._think_ns = schedule["think_ns"]
        absolute = schedule["due_ns"] >= 0
        self._rows = np.nonzero(absolute if mine is None else absolute & mine)[0]
        self._due = schedule["due_ns"]
        self._next_of = np.full(len(schedule), -1, np.int64)
        dependent = np.nonzero(schedule["after_row"] >= 0)[0]
        self._next_of[schedule["after_row"][dependent]] = dependent
        self._pointer = 0
        self._heap: list[tuple[int, int]] = []
        self._end_ns = max(lane.end_ns for lane in plan)
        self._stopping = self.interrupted = False
        self._error: BaseException | None = None
        self.started = self.finished_rows = 0
        self.t0 = 0
        self.standstill = Standstill(lanes, journal, clock)
        #: its time is over, and it is being asked for what has arrived
        self._overdue: Request | None = None

    # ---- the run

    async def run(self, on_tick: Callable[[Generator], object], t0: int | None = None) -> None:
        """Play the schedule from `t0` (soon, by default) to its end, or to what `stop` leaves of
        it.

        Raises what a callback of ours raised: the loop would log it, and its row would never end.
        """
        over = anyio.Event()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._callback_failed)
        self.begin(over.set, t0)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._tick_regularly, on_tick)
                group.start_soon(self._journal.write_regularly)
                await over.wait()
                group.cancel_scope.cancel()
            if self._error is not None:
                raise self._error
        finally:
            try:
                # Nothing is left of a run that ended by itself; of one that broke off, much may be.
                self._cut_off()
            finally:
                self._alarm.close()
                for lane in self.lanes:
                    with anyio.CancelScope(shield=True):
                        await lane.sender.close()
                self.end()
                loop.set_exception_handler(None)

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception) and ("handle" in context or "task" in context):
            self._error = self._error or error
            self._on_over()
        else:
            loop.default_exception_handler(context)

    def begin(self, on_over: Callable[[], None], t0: int | None = None) -> None:
        """Set time zero (monotonic ns) and the first alarm; `on_over` is called when every row has
        ended.
        """
        self._on_over = on_over
        self._alarm = self._make_alarm(self._dispatch_due)
        self._probe.alarm_kind = self._alarm.kind
        self.standstill.begin()
        self.t0 = self._clock() + LEAD_NS if t0 is None else t0
        self._journal.begin(self.t0)
        self._arm()
        self._check_over()

    def end(self) -> None:
        """Rows that never came up keep their due time and the outcome `never_sent`."""
        rest = self._rows[self._pointer :]
        self._journal.mark_due(rest, self._due[rest])
        due = np.array(self._heap, np.int64).reshape(-1, 2)
        self._journal.mark_due(due[:, 1], due[:, 0])
        self._journal.fold()

    def stop(self) -> None:
        """Send nothing more; what is under way has STOP_DRAIN_NS to end.

        A second call waits no longer.
        """
        self._drain_ns = 0 if self.interrupted else STOP_DRAIN_NS
        if not self.interrupted:
            self.interrupted = self._stopping = True
            self._end_ns = self.now()
            self._drop_waiting("the run ended before its turn")
            self._check_over()

    def _drop_waiting(self, why: str) -> None:
        for lane in self.lanes:
            for request in lane.waiting:
                self._journal.note_never_sent(request.row, request.due_ns, why, self.now())
                self.finished_rows += 1
            lane.waiting.clear()

    def now(self) -> int:
        """ns since the run's start."""
        return self._clock() - self.t0

    @property
    def in_flight(self) -> int:
        """Requests under way in all lanes."""
        return sum(lane.in_flight for lane in self.lanes)

    @property
    def waiting(self) -> int:
        """Requests that are due and wait behind a cap."""
        return sum(len(lane.waiting) for lane in self.lanes)

    # ---- sending

    def _arm(self) -> None:
        if self._pointer < len(self._rows):
            upcoming = [int(self._due[self._rows[self._pointer]])]
        else:
            upcoming = []
        if self._heap:
            upcoming.append(self._heap[0][0])
        if upcoming and not self._stopping:
            self._alarm.set(self.t0 + min(upcoming))

    def _dispatch_due(self) -> None:
        rows = self._rows
        due = self._due
        heap = self._heap
        t0 = self.t0
        self.standstill.look(self._clock())
        now = self._clock() - t0
        while self._pointer < len(rows) and not self._stopping:
            row = int(rows[self._pointer])
            due_ns = int(due[row])
            if due_ns > now:
                now = self._clock() - t0
                if due_ns > now:
                    break
            self._pointer += 1
            self._begin(row, due_ns)
        while heap and heap[0][0] <= now and not self._stopping:
            due_ns, row = heapq.heappop(heap)
            self._begin(row, due_ns)
        self._arm()

    def _begin(self, row: int, due_ns: int) -> None:
        """The row is due: send it, or queue it behind its lane's cap."""
        lane = self.lanes[self._lane_of[row]]
        self.started += 1
        lane.started += 1
        request = Request(
            row, lane, due_ns, lane.streamed, lane.gaps[self._phase_of[row]], self._ended
        )
        due = self.t0 + due_ns
        if due < self.standstill.until_ns:
            request.flags |= Flag.HELD_UP
        if lane.in_flight < lane.cap:
            self._launch(request, lane, due)
        else:
            lane.waiting.append(request)

    def _launch(self, request: Request, lane: LaneState, free_ns: int) -> None:
        """`free_ns`: since when a slot was there for it.

        What passes from then on is our lateness.
        """
        lane.in_flight += 1
        request.slot_free_ns = free_ns
        request.deadline_ns = self._clock() + lane.timeout_ns
        lane.deadlines.append(request)
        lane.sender.send(request, f"{self._journal.run_id}-{request.row}")

    # ---- ending

    def _ended(self, request: Request, outcome: Outcome, note: str) -> None:
        lane: LaneState = request.lane
        if request is self._overdue and request.done_ns > request.deadline_ns:
            outcome, note = Outcome.timeout_total, f"not finished within {lane.timeout_ns / S:g} s"
        if (
            outcome == Outcome.http_4xx
            and not self._stopping
            and lane.sender.send_again(
                request, note, self._clock(), f"{self._journal.run_id}-{request.row}"
            )
        ):
            return
        lane.in_flight -= 1
        self.finished_rows += 1
        self._journal.record(request, outcome, note, lane.index)
        self._follow(request.row, request.done_ns - self.t0, lane)
        if lane.waiting and not self._stopping:
            following = lane.waiting.popleft()
            # Free since the answer's last byte reached this machine, however late we looked.
            self._launch(following, lane, max(request.done_ns, self.t0 + following.due_ns))
        if self.finished_rows == self.started:
            self._check_over()

    def _follow(self, row: int, done_ns: int, lane: LaneState) -> None:
        """The row that waits for this one is due a thinking time after its end."""
        successor = int(self._next_of[row])
        if successor < 0 or self._stopping:
            return
        due_ns = done_ns + int(self._think_ns[successor])
        if lane.stops_at_ns is not None and due_ns >= lane.stops_at_ns:
            return
        heapq.heappush(self._heap, (due_ns, successor))
        if self._heap[0][1] == successor:
            self._arm()

    def _check_over(self) -> None:
        nothing_to_come = self._stopping or (self._pointer >= len(self._rows) and not self._heap)
        if nothing_to_come and self.finished_rows == self.started:
            self.standstill.look(self._clock())
            self._on_over()

    async def _tick_regularly(self, on_tick: Callable[[Generator], object]) -> None:
        expected = self._clock()
        while True:
            expected += _TICK_NS
            await anyio.sleep(max(0, expected - self._clock()) / S)
            now = self._clock()
            self._probe.tick(now - expected)
            expected = max(expected, now - _TICK_NS)
            self.tick()
            on_tick(self)

    def tick(self) -> None:
        """Timeouts and the end of the drain; every few ms."""
        now = self._clock()
        self.standstill.look(now)
        for lane in self.lanes:
            self._expire(lane, now)
        self.standstill.ran()
        if now - self.t0 > self._end_ns + self._drain_ns:
            self._cut_off()
        self._check_over()

    def _expire(self, lane: LaneState, now: int) -> None:
        if len(lane.deadlines) > 2 * lane.in_flight + _MOST_ENDED_KEPT:
            # One slow answer at the head must not keep all that ended behind it alive.
            lane.deadlines = deque(request for request in lane.deadlines if not request.ended)
        deadlines = lane.deadlines
        while deadlines and (deadlines[0].ended or deadlines[0].deadline_ns <= now):
            request = deadlines.popleft()
            if not request.ended and request.handle is not None:
                # What arrived in time is in time, however late we look.
                self._overdue = request
                request.handle.catch_up()
                self._overdue = None
            if request.ended:
                continue
            seconds = lane.timeout_ns / S
            begun = request.answer is not None and request.answer.first_token_ns >= 0
            if request.handle is None:
                request.fail(Outcome.timeout_connect, f"not connected within {seconds:g} s", now)
            elif begun:
                request.fail(Outcome.timeout_total, f"not finished within {seconds:g} s", now)
            else:
                request.fail(Outcome.timeout_first, f"no token within {seconds:g} s", now)

    def _cut_off(self) -> None:
        """The drain is over: what is under way is censored, what still waits was never sent."""
        self._stopping = True
        now = self._clock()
        self._drop_waiting("still waiting behind the in-flight cap when the run ended")
        for lane in self.lanes:
            for request in list(lane.deadlines):
                request.fail(Outcome.censored, "still under way when the run ended", now)


def drain_bound_ns(plan: Sequence[Lane], schedule: Table) -> int:
    """How long after the last arrival the run may last at most.

    A chain of dependent rows (turns, users of a closed loop) may take a timeout and a thinking
    time each; where nothing hangs, the run ends as soon as its last row does.
    """
    bound = 0
    for lane in plan:
        rows = schedule[schedule["lane"] == lane.index]
        by_time = lane.profile.closed_loop and lane.profile.duration is not None
        if by_time:
            chain = 1
            think = 0
        else:
            chain = int(rows["turn"].max()) + 1
            think = int(rows["think_ns"].max()) * (chain - 1)
        bound = max(bound, chain * lane.target.timeout + think)
    return bound + S


def use_uvloop() -> bool:
    """True where uvloop is installed."""
    from importlib.util import find_spec

    return find_spec("uvloop") is not None


def run_loop(main: Callable[[], Awaitable[T]]) -> T:
    """Run an async function on anyio's asyncio backend, on uvloop where there is one."""
    return anyio.run(main, backend="asyncio", backend_options={"use_uvloop": use_uvloop()})


def current_loop_name() -> str:
    """The loop's class, for the manifest."""
    kind = type(asyncio.get_running_loop())
    return f"{kind.__module__}.{kind.__name__}"
