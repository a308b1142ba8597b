"""One process's share of a run: its rows, its senders, its journal.

In: lanes, the whole schedule, which share of it is ours. Out: samples on disk and in memory,
gap histograms, facts. Must stay true: a share is whole sessions, caps are divided so that the
shares add up to the plan's, and nothing is asked of another process while requests are sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from pydantic import SecretStr

from bench.clock import monotonic_ns
from bench.load.alarm import Timers
from bench.load.endpoint import BodyWriter, Endpoint, LaneSender, LaneState
from bench.load.generator import Generator, current_loop_name
from bench.load.guard import UNCAPPED, Guard, Guarded
from bench.load.journal import Journal
from bench.load.probe import HarnessProbe
from bench.load.router import Router
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader
from bench.load.work import Work
from bench.plan.credentials import key_refused, secrets_of
from bench.plan.prompts import PromptText
from bench.plan.schedule import Lane, Table
from bench.record.histogram import Histogram
from bench.record.parts import Part
from bench.record.pieces import SegmentWriter
from bench.record.records.events import LegChange
from bench.record.samples import Outcome

#: An event of a run: its moment (ns after the run's start), a sentence.
Event = tuple[int, str]
#: So many events are shown, the latest.
EVENTS_TOLD = 4


@dataclasses.dataclass(frozen=True)
class Counters:
    """Where a run stands, lane by lane; those of several workers add up."""

    #: rows that came due, those of them that wait behind a cap, those under way
    started: list[int]
    waiting: list[int]
    in_flight: list[int]
    #: rows that ended, by value of Outcome
    outcomes: list[list[int]]
    #: of rows that ended, as the server stated them; answers are counted where it did not
    prompt_tokens: list[int]
    output_tokens: list[int]
    #: rows that may be billed and whose prompt tokens nobody stated
    without_usage: list[int]
    #: response of successes, to the last token and to the first
    response: list[Histogram]
    first_token: list[Histogram]
    harness_lag: Histogram
    #: the latest, in order
    events: list[Event] = dataclasses.field(default_factory=list)

    @property
    def done(self) -> list[int]:
        """Rows that ended."""
        return [sum(counts) for counts in self.outcomes]

    @property
    def failed(self) -> list[int]:
        """Rows that ended otherwise than well."""
        return [sum(counts) - counts[Outcome.ok] for counts in self.outcomes]

    def with_events(self, more: Iterable[Event]) -> Counters:
        """With events from elsewhere."""
        return dataclasses.replace(self, events=_latest([*self.events, *more]))

    def copy(self) -> Counters:
        """As they are now: what counts on counts elsewhere."""
        return Counters.total([self], len(self.started))

    def since(self, before: Counters) -> Counters:
        """What came since: `before` and the difference add up to these."""
        lanes = range(len(self.started))
        fields: dict[str, Any] = {
            name: [getattr(self, name)[lane] - getattr(before, name)[lane] for lane in lanes]
            for name in _SUMS
        }
        for name in _HISTOGRAMS:
            fields[name] = [
                getattr(self, name)[lane].since(getattr(before, name)[lane]) for lane in lanes
            ]
        return Counters(
            outcomes=[
                [
                    self.outcomes[lane][outcome] - before.outcomes[lane][outcome]
                    for outcome in Outcome
                ]
                for lane in lanes
            ],
            harness_lag=self.harness_lag.since(before.harness_lag),
            events=[event for event in self.events if event not in before.events],
            **fields,
        )

    def plain(self) -> dict[str, Any]:
        """As JSON; histograms by their cells in use."""
        lists = {name: getattr(self, name) for name in (*_SUMS, "outcomes", "events")}
        cells = {
            name: [histogram.cells() for histogram in getattr(self, name)] for name in _HISTOGRAMS
        }
        return lists | cells | {"harness_lag": self.harness_lag.cells()}

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Counters:
        """The reverse of `plain`."""
        histograms = {
            name: [Histogram.from_cells(cells) for cells in data[name]] for name in _HISTOGRAMS
        }
        return cls(
            **data
            | histograms
            | {
                "harness_lag": Histogram.from_cells(data["harness_lag"]),
                "events": [(at_ns, text) for at_ns, text in data["events"]],
            }
        )

    @classmethod
    def total(cls, parts: Sequence[Counters], lanes: int) -> Counters:
        """The sum; zeros without parts."""
        every = range(lanes)
        fields: dict[str, Any] = {
            name: [sum(getattr(part, name)[lane] for part in parts) for lane in every]
            for name in _SUMS
        }
        for name in _HISTOGRAMS:
            fields[name] = [_added(getattr(part, name)[lane] for part in parts) for lane in every]
        return cls(
            outcomes=[
                [sum(part.outcomes[lane][outcome] for part in parts) for outcome in Outcome]
                for lane in every
            ],
            harness_lag=_added(part.harness_lag for part in parts),
            events=_latest(event for part in parts for event in part.events),
            **fields,
        )


_SUMS = ("started", "waiting", "in_flight", "prompt_tokens", "output_tokens", "without_usage")
_HISTOGRAMS = ("response", "first_token")


def _latest(events: Iterable[Event]) -> list[Event]:
    return sorted(events)[-EVENTS_TOLD:]


def _added(histograms: Iterable[Histogram]) -> Histogram:
    total = Histogram()
    for histogram in histograms:
        total.add(histogram)
    return total


def make_endpoints(
    lanes: Sequence[Lane],
    schedule: Table,
    text: PromptText,
) -> list[list[Endpoint]]:
    """Each lane's endpoints: its target, or the legs of its route.

    Raises UserError where one cannot be.
    """
    reader = StampedReader()
    return [
        [
            Endpoint(
                make_sender(target, reader),
                BodyWriter(dataclasses.replace(lane, target=target), schedule, text),
                key_refused(target),
            )
            for target in lane.target.endpoints
        ]
        for lane in lanes
    ]


#: What a change of a circuit breaker means, by the state it changes to.
_TAKEN = {"open": "taken out", "half-open": "tried again", "closed": "in use again"}


def run_secrets(lanes: Sequence[Lane]) -> list[SecretStr]:
    """What must never reach a file of the run."""
    return [
        secret
        for lane in lanes
        for target in lane.target.endpoints
        for secret in secrets_of(target)
    ]


#: Called every few ms with the time since the run's start and a way to ask where it stands. A
#: sentence in return ends the run early, for that reason.
OnTick = Callable[[int, Callable[[], Counters]], str | None]


class Player:
    """Made on a running loop; plays once."""

    def __init__(
        self,
        work: Work,
        text: PromptText,
        endpoints: list[list[Endpoint]] | None = None,
        ends_early: Callable[[str], None] = lambda _: None,
    ):
        """`endpoints` are those of `make_endpoints`, where they were made before; `ends_early` is
        called with the reason why the caps end the run, and stops it.

        Raises UserError for headers, bodies or transports that cannot be.
        """
        lanes = work.lanes
        schedule = work.schedule
        share = work.share
        caps = work.caps
        self._work = work
        self._lanes = lanes
        if endpoints is None:
            endpoints = make_endpoints(lanes, schedule, text)
        if caps == UNCAPPED:
            self.guard = None
        else:
            self.guard = Guard(lanes, schedule, caps.part(share.parts), ends_early)
        self.journal = Journal(
            SegmentWriter(work.folder, share.worker, work.sitting),
            work.run_id,
            len(schedule),
            [len(lane.phases) for lane in lanes],
            run_secrets(lanes),
            share.worker,
            self.guard,
        )
        self._probe = HarnessProbe()
        # The routes' own clockwork, on a loop that has any.
        self._timers: Timers | None = None
        if any(lane.target.route for lane in lanes):
            self._timers = Timers(monotonic_ns)
        self._senders: list[LaneSender] = [
            self._sender(lane, made, schedule) for lane, made in zip(lanes, endpoints, strict=True)
        ]
        states = [
            LaneState(lane, self._guarded(sender), share.cap(lane.profile.max_in_flight))
            for lane, sender in zip(lanes, self._senders, strict=True)
        ]
        # Rows of lanes beyond ours are computed by the simulator.
        mine = share.rows(schedule) & (schedule["lane"] < len(lanes))
        self.generator = Generator(lanes, schedule, states, self.journal, self._probe, mine=mine)
        if self._timers is not None:
            self._timers.first = self.generator.standstill.look

    def _sender(
        self,
        lane: Lane,
        endpoints: list[Endpoint],
        schedule: Table,
    ) -> LaneSender:
        if self._timers is None or lane.target.route is None:
            return endpoints[0]
        return Router(lane, endpoints, schedule["leg"], self.journal, self._timers, monotonic_ns)

    def _guarded(self, sender: LaneSender) -> LaneSender:
        if self.guard is None:
            return sender
        return Guarded(sender, self.guard, monotonic_ns)

    async def play(self, on_tick: OnTick, t0: int | None = None) -> None:
        """Play our rows from `t0` (monotonic ns; soon, by default) to their end, and flush."""
        self._probe.start()
        try:
            async with self._watching():
                await self.generator.run(lambda playing: on_tick(playing.now(), self.counters), t0)
        finally:
            if self._timers is not None:
                self._timers.close()
            self._probe.stop()
            await self.journal.flush()

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        """Status feeds are polled meanwhile; without a feed there is no task."""
        routers = [
            sender for sender in self._senders if isinstance(sender, Router) and sender.has_feeds
        ]
        if not routers:
            yield
            return
        async with anyio.create_task_group() as group:
            for router in routers:
                group.start_soon(router.watch)
            yield
            group.cancel_scope.cancel()

    def counters(self) -> Counters:
        """Where we stand."""
        states = self.generator.lanes
        journal = self.journal
        return Counters(
            started=[state.started for state in states],
            waiting=[len(state.waiting) for state in states],
            in_flight=[state.in_flight for state in states],
            outcomes=[list(counts) for counts in journal.outcomes],
            prompt_tokens=list(journal.prompt_tokens),
            output_tokens=list(journal.output_tokens),
            without_usage=list(journal.without_usage),
            response=journal.response,
            first_token=journal.first_token,
            harness_lag=journal.lag,
            events=[self._leg_event(change) for change in journal.leg_events[-EVENTS_TOLD:]],
        )

    def _leg_event(self, change: LegChange) -> Event:
        lane = next(lane for lane in self._lanes if lane.name == change.lane)
        leg = lane.target.legs[change.leg].name
        return change.at_ns, f"{lane.name}: upstream {leg} {_TAKEN[change.state]}: {change.why}"

    def part(self) -> Part:
        """What our process was of the run, once it has ended."""
        return self._work.played(
            self.facts(),
            self.journal.gap_histograms,
            self.journal.leg_events,
            interrupted=self.generator.interrupted,
        )

    def facts(self) -> dict[str, Any]:
        """What our process did, for the manifest."""
        return {
            **self._probe.facts(),
            "guard": self.guard.facts() if self.guard is not None else None,
            "loop": current_loop_name(),
            "senders": {
                lane.name: sender.facts()
                for lane, sender in zip(self._lanes, self._senders, strict=True)
            },
        }
