"""A route's calls on the wire: one logical flight, its attempts, and what they tell the row.

In: flights of a routed lane, and the decisions of `course`. Out: the flight ended as one of its
attempts did, and a record of every attempt. Must stay true: each leg has an endpoint and so a pool
of connections of its own; an attempt is recorded once; the row takes over the times of exactly the
attempt that answered it, and counts its latency from its own due time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio

from bench.load.alarm import Timers
from bench.load.course import Action, Begin, Cancel, Course, Expire, LegState
from bench.load.endpoint import Endpoint
from bench.load.flight import Attempt, Flight
from bench.load.journal import Journal
from bench.load.transport.stock import watch_status
from bench.plan.schedule import Lane
from bench.record.samples import Int, Outcome
from bench.units import show_duration

#: What a row takes over from the attempt that answered it.
_CARRIED = (
    "slot_free_ns",
    "sent_ns",
    "headers_ns",
    "done_ns",
    "connect_ns",
    "tls_ns",
    "status",
    "flags",
    "answer",
    "retry_after_ms",
    "served_model",
    "region",
)


class Way:
    """One row under way: the carrier of its logical flight."""

    def __init__(self, router: Router, flight: Flight, request_id: str, course: Course):
        self._router, self._flight, self._id, self._course = router, flight, request_id, course
        self._attempts: dict[int, Attempt] = {}
        self._wake_ns: int | None = None

    @property
    def over(self) -> bool:
        """True once the row has ended."""
        return self._flight.ended

    def begin(self, now_ns: int) -> None:
        """The row is due: call its first leg."""
        self._act(self._course.begin(now_ns), now_ns)

    def wake(self, now_ns: int) -> None:
        """An instant that the course asked for has come."""
        self._wake_ns = None
        while not self.over and (due_ns := self._course.wake_ns()) is not None and due_ns <= now_ns:
            self._act(self._course.wake(now_ns), now_ns)
        self._sleep()

    def first_token(self, attempt: Attempt, stamp_ns: int) -> None:
        """An attempt's first token has come: until the row ends, its answer is what the row has."""
        if self._flight.answer is None:
            self._flight.answer = attempt.answer
        self._act(self._course.first_token(attempt.number, stamp_ns), stamp_ns)

    def attempt_ended(self, flight: Flight, outcome: Outcome, note: str) -> None:
        """The callback of every attempt."""
        attempt, router = flight, self._router
        assert isinstance(attempt, Attempt)
        leg = router.endpoints[attempt.leg]
        if outcome == Outcome.http_4xx and leg.send_again(
            attempt, note, router.clock(), self._name(attempt)
        ):
            return
        attempt.outcome, attempt.note = outcome, note
        actions = self._course.ended(
            attempt.number, outcome, attempt.done_ns, attempt.retry_after_ms
        )
        self._act(actions, attempt.done_ns)

    def abort(self) -> None:
        """The row has ended from outside: so do its attempts, and it keeps what the latest of them
        had.
        """
        now_ns = self._flight.done_ns
        self._course.abandon(now_ns)
        running = [attempt for attempt in self._attempts.values() if not attempt.ended]
        for attempt in running:
            attempt.cancel(now_ns)
        self._settle(running[-1] if running else None)
        self._flight.done_ns = now_ns

    # ---- acting

    def _act(self, actions: Sequence[Action], now_ns: int) -> None:
        for action in actions:
            if isinstance(action, Begin):
                self._send(action)
            elif isinstance(action, Expire):
                self._expire(self._attempts[action.number], action.after_ns, now_ns)
            elif isinstance(action, Cancel):
                self._attempts[action.number].cancel(now_ns)
            elif action.number is None:
                self._settle(None)
                self._flight.done_ns = now_ns
                self._flight.end(
                    Outcome.refused,
                    "no leg of the route takes calls: every breaker in reach is open",
                )
            else:
                answer = self._attempts[action.number]
                self._settle(answer)
                self._flight.end(answer.outcome, answer.note)
        self._sleep()

    def _send(self, action: Begin) -> None:
        leg = self._router.endpoints[action.leg]
        attempt = Attempt(
            self._flight.row,
            self,
            action.number,
            action.leg,
            action.reason,
            action.at_ns,
            self._router.streamed[action.leg],
        )
        if action.number == 1:
            attempt.slot_free_ns = self._flight.slot_free_ns
        self._attempts[action.number] = attempt
        leg.send(attempt, self._name(attempt))

    def _expire(self, attempt: Attempt, after_ns: int, now_ns: int) -> None:
        begun = attempt.answer is not None and attempt.answer.first_token_ns >= 0
        outcome = Outcome.timeout_total if begun else Outcome.timeout_first
        if attempt.carrier is None:
            outcome = Outcome.timeout_connect
        attempt.cancelled = True
        attempt.fail(outcome, f"given up by the route after {show_duration(after_ns)}", now_ns)

    def _name(self, attempt: Attempt) -> str:
        return self._id if attempt.number == 1 else f"{self._id}.{attempt.number}"

    def _sleep(self) -> None:
        due_ns = None if self.over else self._course.wake_ns()
        if due_ns is not None and (self._wake_ns is None or due_ns < self._wake_ns):
            self._wake_ns = due_ns
            self._router.timers.at(due_ns, self)

    def _settle(self, answer: Attempt | None) -> None:
        """The row is over: its times are this attempt's, only when it was due is its own.

        All are recorded.
        """
        flight = self._flight
        flight.attempts = sum(attempt.attempts for attempt in self._attempts.values())
        for attempt in self._attempts.values():
            self._router.journal.record_attempt(attempt, carried=attempt is answer)
        if answer is not None:
            for name in _CARRIED:
                setattr(flight, name, getattr(answer, name))
            flight.gaps.extend(answer.gaps)
        # Attempts know their way: without this, every row would be garbage for the collector alone.
        self._attempts.clear()


class Router:
    """The outlet of a routed lane: its legs, and what this process knows of their health."""

    def __init__(
        self,
        lane: Lane,
        endpoints: Sequence[Endpoint],
        first_leg: Int,
        journal: Journal,
        timers: Timers,
        clock: Callable[[], int],
    ):
        """`first_leg` is the schedule's column."""
        assert lane.target.route is not None
        self._lane, self._route, self._first_leg = lane, lane.target.route, first_leg
        self.endpoints, self.journal, self.timers, self.clock = endpoints, journal, timers, clock
        self.streamed = [leg.stream for leg in lane.target.legs]
        self._timeouts = [leg.timeout for leg in lane.target.legs]
        self.legs = [
            LegState(self._route.breaker, self._teller(number)) for number in range(len(endpoints))
        ]

    def _teller(self, leg: int) -> Callable[[int, str, str], None]:
        def tell(at_ns: int, state: str, why: str) -> None:
            self.journal.note_leg(self._lane.name, leg, at_ns, state, why)

        return tell

    def send(self, flight: Flight, request_id: str) -> None:
        """Send a row on its way."""
        first = int(self._first_leg[flight.row])
        course = Course(self._route, self.legs, self._timeouts, first, flight.deadline_ns)
        way = Way(self, flight, request_id, course)
        flight.carrier = way
        way.begin(flight.slot_free_ns)

    def send_again(self, flight: Flight, note: str, now_ns: int, request_id: str) -> bool:  # noqa: ARG002
        """A row is never sent again: its attempts were."""
        return False

    @property
    def has_feeds(self) -> bool:
        """True when a leg has a status feed to `watch`."""
        return self._route.breaker is not None and any(self._route.breaker.status_urls)

    async def watch(self) -> None:
        """Poll the legs' status feeds for as long as the run lasts."""
        rule = self._route.breaker
        async with anyio.create_task_group() as group:
            for leg, url in zip(
                self.legs, rule.status_urls if rule is not None else (), strict=False
            ):
                if url and rule is not None:
                    group.start_soon(watch_status, url, rule.poll, self._hearer(leg))

    def _hearer(self, leg: LegState) -> Callable[[bool], None]:
        return lambda well: leg.feed(well, self.clock())

    async def close(self) -> None:
        """Close every connection of every leg."""
        for endpoint in self.endpoints:
            await endpoint.close()

    def facts(self) -> dict[str, Any]:
        """What the manifest says of each leg's sender."""
        return {"legs": [endpoint.facts() for endpoint in self.endpoints]}
