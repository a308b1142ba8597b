"""A route on the wire: one request, its attempts, and what the row takes over from them.

In: requests of a routed lane, and what `route_decisions` decides. Out: each ended as one of its
attempts did, and a record of every attempt. Must stay true: each leg has an endpoint and so a pool
of connections of its own; an attempt is recorded once; the row takes over the times of exactly the
attempt that answered it, and counts its latency from its own due time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio

from bench.load.alarm import Timers
from bench.load.endpoint import Endpoint
from bench.load.journal import Journal
from bench.load.request import Attempt, Request
from bench.load.route_decisions import (
    Action,
    Begin,
    Cancel,
    Expire,
    LegState,
    Notify,
    RouteDecisions,
)
from bench.load.standstill import touched
from bench.load.transport.stock import watch_status
from bench.plan.schedule import Lane
from bench.record.samples import Flag, Int, Outcome
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
    "api",
    "error_code",
    "request_id",
    "requests_left",
    "served_model",
    "served_tier",
    "server_ns",
    "tokens_left",
    "region",
)


class RoutedRequest:
    """A request under way on a route: what its attempts come to."""

    def __init__(
        self,
        router: Router,
        request: Request,
        request_id: str,
        decisions: RouteDecisions,
    ):
        self._router = router
        self._request = request
        self._id = request_id
        self._decisions = decisions
        self._attempts: dict[int, Attempt] = {}
        self._wake_ns: int | None = None

    @property
    def over(self) -> bool:
        """True once the row has ended."""
        return self._request.ended

    def begin(self, now_ns: int) -> None:
        """The row is due: try its first leg."""
        self._act(self._decisions.begin(now_ns), now_ns)

    def wake(self, now_ns: int) -> None:
        """An instant that was asked for has come."""
        self._wake_ns = None
        self.catch_up()
        while (
            not self.over and (due_ns := self._decisions.wake_ns()) is not None and due_ns <= now_ns
        ):
            self._act(self._decisions.wake(now_ns), now_ns)
        self._sleep()

    def first_token(self, attempt: Attempt, stamp_ns: int) -> None:
        """An attempt's first token has come: until the row ends, its answer is what the row has."""
        if self._request.answer is None:
            self._request.answer = attempt.answer
        self._act(self._decisions.first_token(attempt.number, stamp_ns), stamp_ns)

    def attempt_ended(self, ended: Request, outcome: Outcome, note: str) -> None:
        """The callback of every attempt."""
        attempt = ended
        router = self._router
        assert isinstance(attempt, Attempt)
        leg = router.endpoints[attempt.leg]
        if outcome == Outcome.http_4xx and leg.send_again(
            attempt,
            note,
            router.clock(),
            self._name(attempt),
        ):
            return
        attempt.outcome = outcome
        attempt.note = note
        actions = self._decisions.ended(
            attempt.number,
            outcome,
            attempt.done_ns,
            attempt.retry_after_ms,
            attempt.should_retry,
        )
        self._act(actions, attempt.done_ns)

    def catch_up(self, *, stood_still: bool = False) -> None:
        """Hand on what has arrived for each attempt; they are marked as the row is."""
        for attempt in list(self._attempts.values()):
            if stood_still and not attempt.ended:
                touched(attempt)
            if not attempt.ended and attempt.handle is not None:
                attempt.handle.catch_up()

    def abort(self) -> None:
        """The row has ended from outside: so do its attempts, and it keeps what the latest of them
        had.
        """
        now_ns = self._request.done_ns
        self._decisions.abandon(now_ns)
        running = [attempt for attempt in self._attempts.values() if not attempt.ended]
        for attempt in running:
            attempt.cancel(now_ns)
        self._settle(running[-1] if running else None)
        self._request.done_ns = now_ns

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
                self._request.done_ns = now_ns
                self._request.end(
                    Outcome.refused,
                    "no leg of the route takes calls: every breaker in reach is open",
                )
            else:
                answer = self._attempts[action.number]
                self._settle(answer)
                self._request.end(answer.outcome, answer.note)
        self._sleep()

    def _send(self, action: Begin) -> None:
        leg = self._router.endpoints[action.leg]
        attempt = Attempt(
            self._request.row,
            self,
            action.number,
            action.leg,
            action.reason,
            action.at_ns,
            self._router.streamed[action.leg],
        )
        if action.number == 1:
            attempt.slot_free_ns = self._request.slot_free_ns
        self._attempts[action.number] = attempt
        leg.send(attempt, self._name(attempt))

    def _expire(self, attempt: Attempt, after_ns: int, now_ns: int) -> None:
        begun = attempt.answer is not None and attempt.answer.first_token_ns >= 0
        outcome = Outcome.timeout_total if begun else Outcome.timeout_first
        if attempt.handle is None:
            outcome = Outcome.timeout_connect
        attempt.cancelled = True
        attempt.fail(outcome, f"given up by the route after {show_duration(after_ns)}", now_ns)

    def _name(self, attempt: Attempt) -> str:
        if attempt.number == 1:
            return self._id
        return f"{self._id}.{attempt.number}"

    def _sleep(self) -> None:
        if self.over:
            due_ns = None
        else:
            due_ns = self._decisions.wake_ns()
        if due_ns is not None and (self._wake_ns is None or due_ns < self._wake_ns):
            self._wake_ns = due_ns
            self._router.timers.at(due_ns, self)

    def _settle(self, answer: Attempt | None) -> None:
        """The row is over: its times are this attempt's, only when it was due is its own.

        All are recorded.
        """
        request = self._request
        request.attempts = sum(attempt.attempts for attempt in self._attempts.values())
        for attempt in self._attempts.values():
            self._router.journal.record_attempt(attempt, carried=attempt is answer)
        if answer is not None:
            held_up = request.flags & Flag.HELD_UP
            for name in _CARRIED:
                setattr(request, name, getattr(answer, name))
            request.flags |= held_up
            if not held_up:
                request.gaps.extend(answer.gaps)
        # Attempts know their request: without this, only the collector of cycles could free it.
        self._attempts.clear()


class Router:
    """Sends the requests of a routed lane; holds what this process knows of its legs' health."""

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
        self._lane = lane
        self._route = lane.target.route
        self._first_leg = first_leg
        self.endpoints = endpoints
        self.journal = journal
        self.timers = timers
        self.clock = clock
        self.streamed = [leg.stream for leg in lane.target.legs]
        self._timeouts = [leg.timeout for leg in lane.target.legs]
        self.legs = [
            LegState(self._route.breaker, self._notifier(number))
            for number in range(len(endpoints))
        ]

    def _notifier(self, leg: int) -> Notify:
        def notify(at_ns: int, state: str, why: str) -> None:
            self.journal.note_leg(self._lane.name, leg, at_ns, state, why)

        return notify

    def send(self, request: Request, request_id: str) -> None:
        """Send a row on its way."""
        first = int(self._first_leg[request.row])
        decisions = RouteDecisions(
            self._route,
            self.legs,
            self._timeouts,
            first,
            request.deadline_ns,
        )
        routed = RoutedRequest(self, request, request_id, decisions)
        request.handle = routed
        routed.begin(request.slot_free_ns)

    def send_again(self, request: Request, note: str, now_ns: int, request_id: str) -> bool:  # noqa: ARG002
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
                self.legs,
                rule.status_urls if rule is not None else (),
                strict=False,
            ):
                if url and rule is not None:
                    group.start_soon(watch_status, url, rule.poll, self._on_status(leg))

    def _on_status(self, leg: LegState) -> Callable[[bool], None]:
        return lambda well: leg.feed(well, self.clock())

    async def close(self) -> None:
        """Close every connection of every leg."""
        for endpoint in self.endpoints:
            await endpoint.close()

    def facts(self) -> dict[str, Any]:
        """What the manifest says of each leg's sender."""
        return {"legs": [endpoint.facts() for endpoint in self.endpoints]}
