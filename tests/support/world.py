"""A world without time of its own: a clock that jumps to the next event, and servers that are
functions.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from bench.load.endpoint import BodyWriter, Endpoint, LaneState
from bench.load.generator import Generator
from bench.load.journal import Journal
from bench.load.probe import HarnessProbe
from bench.load.transport.interface import Handle, Headers, Receiver
from bench.plan.profile import Profile
from bench.plan.prompts import PromptText
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.record.pieces import SegmentWriter
from bench.record.samples import Columns, Outcome
from bench.units import MS, S

TICK_NS = 10 * MS


@functools.cache
def text() -> PromptText:
    """One corpus for all tests."""
    return PromptText(1)


def plan_for(
    arrivals: dict[str, Any], target: dict[str, Any] | None = None, targets: int = 1, **profile: Any
) -> Plan:
    """A plan of one stage; sizes are small unless given."""
    sizes: dict[str, Any] = {}
    if arrivals["kind"] != "trace":
        sizes["output_tokens"] = [{"fixed": 4}]
        if "prompts" not in profile:
            sizes["prompt_tokens"] = [{"fixed": 12}]
    made = Profile.model_validate(
        {"description": "d", "name": "p", "arrivals": arrivals, **sizes, **profile}
    )
    base = {"description": "d", "base_url": "http://127.0.0.1:9/v1", "model": "m", **(target or {})}
    every = [Target.model_validate(base | {"name": f"t{number}"}) for number in range(targets)]
    stage = Stage(
        name="s", targets=every, profile=made, contract=None, scenario=None, settle_ns=0, expect=[]
    )
    return compile_plan(Suite(name="test", description="d", seed=1, stages=[stage], files=[]), 1)


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One event of a stream."""
    return (
        b"data: "
        + json.dumps({"choices": [{"delta": delta, "finish_reason": finish}]}).encode()
        + b"\n\n"
    )


STREAM = [(b"content-type", b"text/event-stream")]
TOKEN = chunk({"content": "w"})


@dataclasses.dataclass
class Reply:
    """What a scripted server does with one request; instants in ns after the send, None = never."""

    sent: int = 0
    connect: int | None = 0
    head: int | None = None
    tokens: tuple[int, ...] = ()
    end: int | None = None
    status: int = 200
    body: bytes = b""
    fail: tuple[int, Outcome] | None = None


def whole(service_ns: int, *, tokens: int = 2, sent: int = 0) -> Reply:
    """A sound streamed answer whose last token comes `service_ns` after the send."""
    at = tuple(service_ns * (number + 1) // tokens for number in range(tokens))
    return Reply(sent=sent, head=at[0], tokens=at, end=service_ns)


class Ask(NamedTuple):
    """A request as the scripted server gets it; `now_ns` after the run's start, `attempt`
    from 1.
    """

    row: int
    attempt: int
    body: bytes
    now_ns: int


class Still(NamedTuple):
    """The process stands still between two instants (ns after the run's start).

    Of what is due when it goes on, timers come first after SIGSTOP, what was received first after a
    pause of the machine.
    """

    from_ns: int
    until_ns: int
    timers_first: bool


class World:
    """Fake clock, fake alarm and fake senders; `answer` says what the server does with a
    request.
    """

    def __init__(
        self, answer: Callable[[Ask], Reply], start_ns: int = 5 * S, alarm_late_ns: int = 0
    ):
        self.now, self._answer, self._late_ns = start_ns, answer, alarm_late_ns
        #: when what is being handed on arrived: the kernel's stamp
        self.stamp = start_ns
        self._t0 = 0
        self._events: list[tuple[int, int, Callable[[], object], object]] = []
        self._order = itertools.count()
        self._alarm_at: int | None = None
        self._ring: Callable[[], None] = lambda: None
        self.kind = "fake"
        self.bodies: dict[int, list[bytes]] = {}
        self.in_flight = self.most_in_flight = 0
        self.aborted: list[int] = []

    # ---- the alarm

    def alarm(self, callback: Callable[[], None]) -> Any:
        self._ring = callback
        return self

    def set(self, at_ns: int) -> None:
        self._alarm_at = at_ns + self._late_ns

    def close(self) -> None:
        self._alarm_at = None

    # ---- the sender

    def start(
        self,
        body: bytes,
        request_id: str,
        receiver: Receiver,
        on_handle: Callable[[Handle], bool],
    ) -> None:
        row = int(request_id.rpartition("-")[2])
        self.bodies.setdefault(row, []).append(body)
        reply = self._answer(Ask(row, len(self.bodies[row]), body, self.now - self._t0))
        call = _Call(self, row, receiver, reply)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if reply.fail is not None and reply.connect is None:
            self.later(reply.fail[0], lambda: call.fail(reply.fail))
        elif reply.connect == 0:
            call.connected(on_handle)
        elif reply.connect is not None:
            self.later(reply.connect, lambda: call.connected(on_handle))

    def facts(self) -> dict[str, object]:
        return {"transport": "fake"}

    # ---- time

    def later(self, after_ns: int, callback: Callable[[], object], of: object = None) -> None:
        heapq.heappush(self._events, (self.now + after_ns, next(self._order), callback, of))

    def hand_on(self, of: object) -> None:
        """What has arrived by now for one call."""
        arrived = [event for event in self._events if event[3] is of and event[0] <= self.now]
        for event in sorted(arrived, key=lambda event: event[:2]):
            self._events.remove(event)
            heapq.heapify(self._events)
            self.stamp = event[0]
            event[2]()

    def play(
        self, generator: Generator, *, stop_at: tuple[int, ...] = (), still: Still | None = None
    ) -> None:
        """Run to the end; `stop_at` are instants (ns after the run's start) of Ctrl-C; the loop
        does nothing while it stands `still`.
        """
        over: list[bool] = []
        generator.begin(lambda: over.append(True))
        self._t0 = generator.t0
        for instant in stop_at:
            self.later(generator.t0 + instant - self.now, generator.stop)
        tick = self.now + TICK_NS
        while not over:
            candidates = [
                tick,
                *([self._alarm_at] if self._alarm_at is not None else []),
                *([self._events[0][0]] if self._events else []),
            ]
            self.now = max(self.now, min(candidates))
            if still is not None and self.now >= self._t0 + still.from_ns:
                self.now = max(self.now, self._t0 + still.until_ns)
                if still.timers_first:
                    generator.tick()
                    tick = self.now + TICK_NS
                still = None
            elif self._events and self._events[0][0] <= self.now:
                self.stamp, _, event, _ = heapq.heappop(self._events)
                event()
            elif self._alarm_at is not None and self._alarm_at <= self.now:
                self._alarm_at = None
                self._ring()
            else:
                generator.tick()
                tick = self.now + TICK_NS
        generator.end()


class _Call:
    """One request at the scripted server. Says nothing once it is over or given up."""

    def __init__(self, world: World, row: int, receiver: Receiver, reply: Reply):
        self._world, self._row, self._receiver, self._reply = world, row, receiver, reply
        self._over = False

    def catch_up(self, *, stood_still: bool = False) -> None:  # noqa: ARG002 for routes
        self._world.hand_on(self)

    def abort(self) -> None:
        assert not self._over
        self._leave()
        self._world.aborted.append(self._row)

    def _leave(self) -> None:
        self._over = True
        self._world.in_flight -= 1

    def connected(self, on_handle: Callable[[Handle], bool]) -> None:
        if self._reply.connect:
            self._receiver.on_connected(self._reply.connect, -1)
        if not on_handle(self):
            self._leave()
            return
        self._at(self._reply.sent, self._sent)

    def _at(self, after_ns: int, event: Callable[[], None]) -> None:
        def unless_over() -> None:
            if not self._over:
                event()

        if after_ns == 0:
            unless_over()
        else:
            self._world.later(after_ns, unless_over, self)

    def _sent(self) -> None:
        reply, world, receiver = self._reply, self._world, self._receiver
        receiver.on_sent(world.now, True)
        if reply.head is not None:
            headers = STREAM if reply.status == 200 else []
            self._at(reply.head, lambda: self._head(headers))
        for number, after in enumerate(reply.tokens):
            last = number == len(reply.tokens) - 1 and reply.end is not None
            self._at(
                after, functools.partial(self._body, TOKEN + chunk({}, "stop") if last else TOKEN)
            )
        if reply.body:
            self._at(reply.head or 0, lambda: self._body(reply.body))
        if reply.end is not None:
            self._at(reply.end, self._done)
        if reply.fail is not None:
            self._at(reply.fail[0], lambda: self.fail(reply.fail))

    def _head(self, headers: Headers) -> None:
        self._receiver.on_head(self._reply.status, headers, self._world.stamp, False)

    def _body(self, data: bytes) -> None:
        self._receiver.on_body(data, self._world.stamp)

    def _done(self) -> None:
        self._leave()
        self._receiver.on_done(self._world.stamp)

    def fail(self, fault: tuple[int, Outcome] | None) -> None:
        assert fault is not None
        self._leave()
        self._receiver.on_fail(fault[1], fault[1].name, self._world.now)


@dataclasses.dataclass
class Played:
    """A finished run in the fake world."""

    columns: Columns
    journal: Journal
    generator: Generator
    world: World

    def note(self, row: int) -> str:
        names = self.journal.strings["note"].names
        return names[int(self.columns.samples["note"][row])]

    def outcomes(self) -> list[Outcome]:
        return [Outcome(value) for value in self.columns.samples["outcome"]]


def play(
    plan: Plan,
    answer: Callable[[Ask], Reply],
    *,
    stop_at: tuple[int, ...] = (),
    alarm_late_ns: int = 0,
    still: Still | None = None,
) -> Played:
    """Play a plan against a scripted server in fake time, with an alarm that rings late."""
    world = World(answer, alarm_late_ns=alarm_late_ns)
    journal = Journal(
        SegmentWriter(Path("never-written")),
        "run",
        len(plan.schedule),
        [len(lane.phases) for lane in plan.lanes],
        [],
    )
    states = [
        LaneState(
            lane,
            Endpoint(cast("Any", world), BodyWriter(lane, plan.schedule, text())),
            lane.profile.max_in_flight,
        )
        for lane in plan.lanes
    ]
    generator = Generator(
        plan.lanes,
        plan.schedule,
        states,
        journal,
        HarnessProbe(),
        clock=lambda: world.now,
        alarm=world.alarm,
    )
    world.play(generator, stop_at=stop_at, still=still)
    return Played(Columns(plan.schedule, journal.samples), journal, generator, world)
