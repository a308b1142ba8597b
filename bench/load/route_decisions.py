"""What a route does next: decisions alone, without sockets and without a clock of their own.

In: a route, the state of its legs, and what happened, each with its moment (monotonic ns). Out:
attempts to begin, to cancel, to give up; when to be woken. Must stay true: the same events
give the same decisions; one row ends once, with one of its attempts or none; one that the route
itself cancelled for another's sake teaches a breaker nothing.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction

from bench.plan.route import Breaker, Route
from bench.record.samples import Outcome, Reason
from bench.units import nearest_rank, show_duration

#: Errors that may pass: worth the same leg again.
_PASSING = {
    Outcome.rate_limited,
    Outcome.http_5xx,
    Outcome.refused,
    Outcome.dns,
    Outcome.reset,
    Outcome.timeout_connect,
    Outcome.timeout_first,
    Outcome.timeout_total,
    Outcome.truncated,
    Outcome.malformed,
    Outcome.stream_error,
}
#: Called with a leg's change of state: moment (monotonic ns), new state, why.
Notify = Callable[[int, str, str], None]


class LegState:
    """One leg as this process has seen it: closed, open or half-open.

    Without a rule it is always closed.
    """

    def __init__(self, rule: Breaker | None, notify: Notify):
        self._rule, self._notify = rule, notify
        self.state = "closed"
        self._failures = self._goods = 0
        self._opened_ns = 0
        self._feed_well = True
        self._probe: object | None = None
        #: attempts under way and when they began, the oldest first
        self._running: dict[object, int] = {}
        #: attempts within the window: when they ended and whether they took too long
        self._recent: deque[tuple[int, bool]] = deque()
        self._recent_over = 0

    def admits(self, now_ns: int) -> bool:
        """True when an attempt may begin now."""
        self._look(now_ns)
        return self.state == "closed" or (self.state == "half-open" and self._probe is None)

    def began(self, attempt: object, now_ns: int) -> None:
        """An attempt begins; a half-open leg is tried by it."""
        if self._rule is None:
            return
        self._running[attempt] = now_ns
        if self.state == "half-open":
            self._probe = attempt

    def ended(self, attempt: object, outcome: Outcome | None, now_ns: int) -> None:
        """An attempt has ended; None = cancelled for the sake of another, which says nothing of the
        leg.
        """
        rule = self._rule
        if rule is None or (began_ns := self._running.pop(attempt, None)) is None:
            return
        probing = attempt is self._probe
        self._probe = None if attempt is self._probe else self._probe
        if outcome is None or outcome == Outcome.http_4xx:
            return
        late = rule.p99_over is not None and now_ns - began_ns > rule.p99_over
        good = outcome == Outcome.ok
        if rule.p99_over is not None and (good or late):
            self._recent.append((now_ns, late))
            self._recent_over += late
        self._failures = 0 if good else self._failures + 1
        if probing and self.state == "half-open":
            if good and not late:
                self._goods += 1
                if self._goods >= rule.probes:
                    self._close(now_ns)
            else:
                self._open(now_ns, "a probe failed" if not good else "a probe was slow")
        elif (
            self.state == "closed" and rule.failures is not None and self._failures >= rule.failures
        ):
            self._open(now_ns, f"{self._failures} failures in a row")

    def feed(self, well: bool, now_ns: int) -> None:
        """What the status feed says."""
        turned = well != self._feed_well
        self._feed_well = well
        if not well and self.state != "open":
            self._open(now_ns, "the status feed says so")
        elif well and turned and self.state == "open":
            self._half_open(now_ns, "the status feed is well again")

    def _look(self, now_ns: int) -> None:
        rule = self._rule
        if rule is None:
            return
        if self.state == "open":
            if self._feed_well and now_ns - self._opened_ns >= rule.open_for:
                self._half_open(now_ns, f"open for {show_duration(rule.open_for)}")
        elif rule.p99_over is not None:
            if self.state == "half-open":
                if self._probe is not None and now_ns - self._running[self._probe] > rule.p99_over:
                    self._probe = None
                    self._open(now_ns, "a probe is slow")
            elif self._p99_is_over(rule, rule.p99_over, now_ns):
                self._open(now_ns, f"recent p99 above {show_duration(rule.p99_over)}")

    def _p99_is_over(self, rule: Breaker, limit_ns: int, now_ns: int) -> bool:
        recent = self._recent
        while recent and recent[0][0] < now_ns - rule.window:
            self._recent_over -= recent.popleft()[1]
        old = 0
        for began_ns in self._running.values():
            if now_ns - began_ns <= limit_ns:
                break
            old += 1
        n = len(recent) + old
        return n >= rule.at_least and self._recent_over + old > n - nearest_rank(
            n, Fraction(99, 100)
        )

    def _open(self, now_ns: int, why: str) -> None:
        self.state, self._opened_ns = "open", now_ns
        self._notify(now_ns, "open", why)

    def _half_open(self, now_ns: int, why: str) -> None:
        self.state = "half-open"
        self._goods = 0
        self._probe = None
        self._notify(now_ns, "half-open", why)

    def _close(self, now_ns: int) -> None:
        self.state = "closed"
        self._failures = 0
        self._recent_over = 0
        self._recent.clear()
        self._notify(now_ns, "closed", f"{self._goods} good probes")


@dataclasses.dataclass(frozen=True, slots=True)
class Begin:
    """Try a leg. `at_ns` is since when nothing but the harness stood in its way."""

    number: int
    leg: int
    reason: Reason
    at_ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class Expire:
    """End this attempt as timed out: `ended` is called."""

    number: int
    after_ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class Cancel:
    """Give this attempt up: nothing more is recorded of it."""

    number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Finish:
    """The row ends as this attempt did; None = no leg could be tried."""

    number: int | None


Action = Begin | Expire | Cancel | Finish


@dataclasses.dataclass(slots=True, eq=False)
class _Attempt:
    number: int
    leg: int
    start_ns: int
    #: cancelled by the route at this moment if another leg can be tried
    step_ns: int | None
    #: given up at this moment whatever else
    limit_ns: int
    expired: bool = False


class RouteDecisions:
    """What one request on a route does next."""

    __slots__ = (
        "_attempts_of",
        "_committed",
        "_count",
        "_deadline_ns",
        "_hedge_ns",
        "_legs",
        "_order",
        "_position",
        "_retry",
        "_route",
        "_running",
        "_timeouts",
        "done",
    )

    def __init__(
        self,
        route: Route,
        legs: Sequence[LegState],
        timeouts_ns: Sequence[int],
        first: int,
        deadline_ns: int,
    ):
        """`timeouts_ns` are the legs' own; `deadline_ns` is when the row itself times out."""
        self._route = route
        self._legs = legs
        self._timeouts = timeouts_ns
        self._deadline_ns = deadline_ns
        self._order = route.order_from(first)
        self._position = self._count = 0
        self._running: dict[int, _Attempt] = {}
        self._attempts_of: dict[int, int] = {}
        #: (when, leg): the same leg again
        self._retry: tuple[int, int] | None = None
        self._hedge_ns: int | None = None
        self._committed: int | None = None
        self.done = False

    def begin(self, now_ns: int) -> list[Action]:
        """The row is due."""
        return self._next(now_ns, Reason.first) or self._finish(None, now_ns)

    def first_token(self, number: int, now_ns: int) -> list[Action]:
        """An attempt brought its first token."""
        if (
            self._route.commit != "first_token"
            or self._committed is not None
            or number not in self._running
        ):
            return []
        self._committed = number
        self._retry = None
        self._hedge_ns = None
        return self._cancel_others(number, now_ns)

    def ended(
        self,
        number: int,
        outcome: Outcome,
        now_ns: int,
        retry_after_ms: int = -1,
        should_retry: bool | None = None,
    ) -> list[Action]:
        """An attempt ended by itself or at `Expire`; `should_retry` is the server's own word."""
        attempt = self._running.pop(number)
        self._legs[attempt.leg].ended(attempt, outcome, now_ns)
        if outcome == Outcome.ok:
            late = self._route.sequential.slower_than if self._route.sequential else None
            if late is not None and now_ns - attempt.start_ns > late:
                return self._next(now_ns, Reason.slow) or self._finish(number, now_ns)
            return self._finish(number, now_ns)
        if number == self._committed:
            return self._finish(number, now_ns)
        retry = self._route.retry
        if (
            retry is not None
            and not attempt.expired
            and (outcome in _PASSING if should_retry is None else should_retry)
            and self._attempts_of[attempt.leg] < retry.attempts
        ):
            again_ns = now_ns + retry.wait_ns(self._attempts_of[attempt.leg], retry_after_ms)
            if again_ns < self._deadline_ns and self._retry is None:
                self._retry = (again_ns, attempt.leg)
                return []
        if self._running or self._retry is not None:
            return []
        reason = Reason.deadline if attempt.expired else Reason.error
        return (self._next(now_ns, reason) if self._route.fallback else []) or self._finish(
            number, now_ns
        )

    def wake(self, now_ns: int) -> list[Action]:
        """The moment that `wake_ns` named has come."""
        for attempt in self._running.values():
            if now_ns >= attempt.limit_ns:
                return [Expire(attempt.number, attempt.limit_ns - attempt.start_ns)]
            if (
                attempt.step_ns is not None
                and now_ns >= attempt.step_ns
                and attempt.number != self._committed
            ):
                step_ns, attempt.step_ns = attempt.step_ns, None
                # Without another leg to go to, the attempt under way is the best there is.
                if self._next_leg(now_ns) is not None:
                    attempt.expired = True
                    return [Expire(attempt.number, step_ns - attempt.start_ns)]
        if self._retry is not None and now_ns >= self._retry[0]:
            (at_ns, leg), self._retry = self._retry, None
            if self._legs[leg].admits(now_ns):
                return [self._begin(leg, Reason.retry, at_ns, now_ns)]
            if self._running:
                return []
            return (
                self._next(now_ns, Reason.error) if self._route.fallback else []
            ) or self._finish(self._count, now_ns)
        if self._hedge_ns is not None and now_ns >= self._hedge_ns:
            at_ns, self._hedge_ns = self._hedge_ns, None
            return self._next(now_ns, Reason.hedge, at_ns)
        return []

    def wake_ns(self) -> int | None:
        """When to attempt `wake`, None = only an event matters."""
        if self.done:
            return None
        moments = [attempt.limit_ns for attempt in self._running.values()]
        moments += [
            attempt.step_ns
            for attempt in self._running.values()
            if attempt.step_ns is not None and attempt.number != self._committed
        ]
        moments += [self._retry[0]] if self._retry is not None else []
        moments += [self._hedge_ns] if self._hedge_ns is not None else []
        return min(moments, default=None)

    def abandon(self, now_ns: int) -> None:
        """The row has ended from outside: that counts against its attempts."""
        for attempt in self._running.values():
            self._legs[attempt.leg].ended(attempt, Outcome.timeout_total, now_ns)
        self._running.clear()
        self.done = True

    # ---- steps

    def _next_leg(self, now_ns: int) -> int | None:
        """The next leg in order that admits an attempt; None where none is left."""
        if self._route.fallback:
            order = self._order
        else:
            order = self._order[:1]
        for position in range(self._position, len(order)):
            if self._legs[order[position]].admits(now_ns):
                return position
        return None

    def _next(self, now_ns: int, reason: Reason, at_ns: int | None = None) -> list[Action]:
        position = self._next_leg(now_ns)
        if position is None:
            return []
        leg = self._order[position]
        if reason is Reason.first and self._legs[leg].state == "half-open":
            reason = Reason.probe
        elif reason is Reason.first and position > 0:
            reason = Reason.rerouted
        self._position = position + 1
        return [self._begin(leg, reason, now_ns if at_ns is None else at_ns, now_ns)]

    def _begin(self, leg: int, reason: Reason, at_ns: int, now_ns: int) -> Begin:
        self._count += 1
        self._attempts_of[leg] = self._attempts_of.get(leg, 0) + 1
        step = self._route.step_ns
        more = self._position < len(self._order)
        attempt = _Attempt(
            self._count,
            leg,
            at_ns,
            at_ns + step if step is not None and more else None,
            at_ns + self._timeouts[leg],
        )
        self._running[self._count] = attempt
        self._legs[leg].began(attempt, now_ns)
        if self._route.hedge is not None:
            self._hedge_ns = at_ns + self._route.hedge.after if more else None
        return Begin(self._count, leg, reason, at_ns)

    def _cancel_others(self, number: int, now_ns: int) -> list[Action]:
        others = [attempt for attempt in self._running.values() if attempt.number != number]
        for attempt in others:
            del self._running[attempt.number]
            self._legs[attempt.leg].ended(attempt, None, now_ns)
        return [Cancel(attempt.number) for attempt in others]

    def _finish(self, number: int | None, now_ns: int) -> list[Action]:
        self.done = True
        return [*self._cancel_others(-1, now_ns), Finish(number)]
