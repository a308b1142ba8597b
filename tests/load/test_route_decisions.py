"""Decisions of routes, on a clock that jumps from event to event."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.route_decisions import Begin, Cancel, Expire, Finish, LegState, RouteDecisions
from bench.plan.route import Breaker, Route
from bench.record.samples import Outcome, Reason
from bench.units import MS, S

#: What a leg does with a call: how long it takes, how it ends, and the `retry-after` it names (ms).
Does = tuple[int, Outcome, int]
LIMIT = 60 * S


class Walked(NamedTuple):
    """One row from its due time (0) to its end."""

    end_ns: int
    answer: int | None
    begun: list[tuple[int, int, Reason]]
    cancelled: list[int]


def route(**keys: Any) -> Route:
    return Route.model_validate({"legs": ["a", "b"], **keys})


def healthy(rules: Route) -> list[LegState]:
    return [LegState(rules.breaker, lambda *_: None) for _ in rules.legs]


def ok(*ms: int) -> Callable[[int], Does]:
    """A leg whose calls take so long, one after another; the last again and again."""
    return lambda call: (ms[min(call, len(ms) - 1)] * MS, Outcome.ok, -1)


def failing(
    ms: int, outcome: Outcome = Outcome.http_5xx, retry_after_ms: int = -1
) -> Callable[[int], Does]:
    return lambda _: (ms * MS, outcome, retry_after_ms)


def walk(
    rules: Route,
    *legs: Callable[[int], Does],
    first: int = 0,
    deadline: int = LIMIT,
    states: list[LegState] | None = None,
    at: int = 0,
) -> Walked:
    """Play one row against legs that are functions of how often they were called."""
    decisions = RouteDecisions(
        rules,
        states if states is not None else healthy(rules),
        [LIMIT] * len(legs),
        first,
        at + deadline,
    )
    now, finished, over = at, Finish(None), False
    events: list[tuple[int, int, Outcome, int]] = []
    calls = [0] * len(legs)
    begun: list[tuple[int, int, Reason]] = []
    cancelled: list[int] = []
    todo: list[Any] = decisions.begin(now)
    while True:
        for action in todo:
            if isinstance(action, Begin):
                assert not over
                took, outcome, wish = legs[action.leg](calls[action.leg])
                calls[action.leg] += 1
                begun.append(((action.at_ns - at) // MS, action.leg, action.reason))
                heapq.heappush(events, (action.at_ns + took, action.number, outcome, wish))
            elif isinstance(action, Finish):
                assert not over, "a row ends once"
                finished, over = action, True
            else:
                events = [event for event in events if event[1] != action.number]
                heapq.heapify(events)
                if isinstance(action, Cancel):
                    cancelled.append(action.number)
                else:
                    heapq.heappush(events, (now, action.number, Outcome.timeout_first, -1))
        wake = decisions.wake_ns()
        if over:
            assert wake is None
            assert not events, "nothing is left running"
            return Walked(now - at, finished.number, begun, cancelled)
        if events and (wake is None or events[0][0] <= wake):
            now, number, outcome, wish = heapq.heappop(events)
            todo = decisions.ended(number, outcome, now, wish)
        else:
            assert wake is not None, "a row that waits for nothing never ends"
            now = wake
            todo = decisions.wake(now)


TIMES = st.integers(1, 9_000)


@given(TIMES, TIMES)
def test_published_waits_for_the_slow_answer_and_then_calls_the_fallback(
    default: int, fallback: int
) -> None:
    """3 s < x <= 5 s costs both waits, beyond 5 s the timeout and the fallback, and a quick answer
    itself.
    """
    walked = walk(
        route(sequential={"timeout": "5s", "slower_than": "3s"}), ok(default), ok(fallback)
    )
    expected = default if default <= 3000 else min(default, 5000) + fallback
    assert walked.end_ns == expected * MS
    assert walked.answer == 1 + (default > 3000)
    if default > 3000:
        assert walked.begun[1][2] is (Reason.slow if default <= 5000 else Reason.deadline)


@given(TIMES, TIMES)
def test_a_deadline_costs_itself_and_the_fallback(default: int, fallback: int) -> None:
    """x <= T is x, otherwise T + y; the fallback itself has no deadline to be cancelled at."""
    walked = walk(route(deadline={"after": "3s"}), ok(default), ok(fallback))
    assert walked.end_ns == (default if default <= 3000 else 3000 + fallback) * MS


@given(TIMES, TIMES)
def test_a_hedge_is_the_faster_of_the_two_and_cancels_the_other(
    default: int, fallback: int
) -> None:
    """min(x, d + y) once d has passed, and exactly one loser is cancelled."""
    walked = walk(route(hedge={"after": "800ms"}), ok(default), ok(fallback))
    assert walked.end_ns == min(default, 800 + fallback) * MS
    hedged = default > 800
    assert len(walked.begun) == 1 + hedged
    assert len(walked.cancelled) == hedged


def test_an_error_goes_to_the_next_leg_at_once_and_the_last_error_is_the_rows() -> None:
    """Every step policy falls back on an error without waiting; with all legs failing the row ends
    as the last did.
    """
    for rules in (
        route(),
        route(hedge={"after": "5s"}),
        route(deadline={"after": "5s"}),
        route(sequential={"timeout": "5s"}),
    ):
        walked = walk(rules, failing(30), ok(40))
        assert (walked.end_ns, walked.begun[1]) == (70 * MS, (30, 1, Reason.error))
        assert walk(rules, failing(30), failing(40)) == (70 * MS, 2, walked.begun, [])
    assert walk(route(fallback=False), failing(30), ok(40)).begun == [(0, 0, Reason.first)]


def test_a_hedge_whose_first_call_fails_later_waits_for_the_second() -> None:
    """First fails at 900 ms while the hedge of 800 ms runs until 1,000 ms: one answer, no third
    call.
    """
    walked = walk(route(hedge={"after": "800ms"}), failing(900), ok(200))
    assert (walked.end_ns, walked.answer, len(walked.begun)) == (1000 * MS, 2, 2)


def test_three_legs_are_hedged_one_after_another() -> None:
    """Each further leg begins a delay after the one before."""
    rules = route(legs=["a", "b", "c"], hedge={"after": "100ms"})
    walked = walk(rules, ok(900), ok(900), ok(50))
    assert [(at, leg) for at, leg, _ in walked.begun] == [(0, 0), (100, 1), (200, 2)]
    assert (walked.end_ns, sorted(walked.cancelled)) == (250 * MS, [1, 2])


def test_a_delay_counts_from_the_last_call_not_from_one_that_failed() -> None:
    """The second leg, called for an error at 900 ms, has its own second before the third is called
    beside it.
    """
    walked = walk(
        route(legs=["a", "b", "c"], hedge={"after": "1s"}), failing(900), ok(3000), ok(200)
    )
    assert [(at, leg) for at, leg, _ in walked.begun] == [(0, 0), (900, 1), (1900, 2)]
    assert (walked.end_ns, walked.answer) == (2100 * MS, 3)


def test_a_retry_that_its_leg_refuses_leaves_a_hedge_running() -> None:
    """The first leg fails at 50 ms and its breaker opens: the row waits for the hedge of 100 ms
    that answers at 2,100 ms.
    """
    rules = route(
        hedge={"after": "100ms"}, retry={"attempts": 3, "backoff": "500ms"}, breaker={"failures": 1}
    )
    walked = walk(rules, failing(50), ok(2000))
    assert (walked.end_ns, walked.answer, walked.cancelled) == (2100 * MS, 2, [])


def test_retries_back_off_and_heed_retry_after() -> None:
    """Waits of 200, 400, 800 capped at 500 ms; `retry-after` 700 ms lengthens the first alone where
    it is heeded.
    """
    calls: list[Does] = [
        (0, Outcome.rate_limited, 700),
        (0, Outcome.http_5xx, -1),
        (0, Outcome.reset, -1),
        (10 * MS, Outcome.ok, -1),
    ]
    keys = {"attempts": 4, "backoff": "200ms", "longest": "500ms"}
    patient = walk(route(legs=["a"], retry=keys), lambda call: calls[call])
    assert [at for at, _, _ in patient.begun] == [0, 700, 1100, 1600]
    heedless = walk(
        route(legs=["a"], retry={**keys, "honour_retry_after": False}), lambda call: calls[call]
    )
    assert [at for at, _, _ in heedless.begun] == [0, 200, 600, 1100]


def test_what_cannot_pass_or_come_in_time_is_not_tried_again() -> None:
    """A 4xx is final, and a wait beyond the row's own timeout is not begun."""
    rules = route(legs=["a"], retry={"attempts": 3})
    assert len(walk(rules, failing(10, Outcome.http_4xx)).begun) == 1
    assert len(walk(rules, failing(10, Outcome.rate_limited, 9000), deadline=5 * S).begun) == 1
    assert len(walk(rules, failing(10)).begun) == 3


def test_a_servers_own_word_on_another_try_goes_before_its_status() -> None:
    """`x-should-retry`, as OpenAI's and Anthropic's clients read it."""
    rules = route(legs=["a"], retry={"attempts": 2})
    for outcome, word, again in (
        (Outcome.http_4xx, True, True),
        (Outcome.http_5xx, False, False),
        (Outcome.http_5xx, None, True),
    ):
        decisions = RouteDecisions(rules, healthy(rules), [LIMIT], 0, LIMIT)
        (begun,) = decisions.begin(0)
        assert isinstance(begun, Begin)
        ends = decisions.ended(begun.number, outcome, 0, -1, word)
        assert ends == ([] if again else [Finish(begun.number)])


def test_retries_come_before_the_next_leg() -> None:
    """Two calls of the first leg, then the second leg with calls of its own."""
    rules = route(retry={"attempts": 2, "backoff": "100ms"})
    walked = walk(rules, failing(10), ok(5))
    assert walked.begun == [(0, 0, Reason.first), (110, 0, Reason.retry), (120, 1, Reason.error)]


def test_a_first_token_commits_the_row_where_the_route_says_so() -> None:
    """From the first token on, the other call is cancelled, no deadline holds, and a later failure
    is the row's.
    """
    rules = route(hedge={"after": "100ms"}, commit="first_token")
    decisions = RouteDecisions(rules, healthy(rules), [LIMIT] * 2, 0, LIMIT)
    decisions.begin(0)
    assert [type(action) for action in decisions.wake(100 * MS)] == [Begin]
    assert decisions.first_token(2, 150 * MS) == [Cancel(1)]
    assert decisions.first_token(2, 160 * MS) == []
    assert decisions.ended(2, Outcome.truncated, 170 * MS) == [Finish(2)]
    strict = route(deadline={"after": "100ms"}, commit="first_token")
    decisions = RouteDecisions(strict, healthy(strict), [LIMIT] * 2, 0, LIMIT)
    decisions.begin(0)
    decisions.first_token(1, 90 * MS)
    assert decisions.wake_ns() == LIMIT
    late = route(deadline={"after": "100ms"})
    decisions = RouteDecisions(late, healthy(late), [LIMIT] * 2, 0, LIMIT)
    decisions.begin(0)
    assert decisions.first_token(1, 90 * MS) == []
    assert decisions.wake(100 * MS) == [Expire(1, 100 * MS)]


def test_a_legs_own_timeout_is_an_error_like_others() -> None:
    """A call that never ends is given up at its leg's timeout, and the next leg is called."""
    walked = walk(route(), ok(10**6), ok(5))
    assert (walked.end_ns, walked.begun[1][2]) == (LIMIT + 5 * MS, Reason.error)


# ---- health of legs


class Leg(LegState):
    """A leg that remembers its changes of state."""

    def __init__(self, **rule: Any):
        self.told: list[tuple[int, str]] = []
        super().__init__(
            Breaker.model_validate(rule), lambda at, state, _: self.told.append((at // MS, state))
        )

    def call(self, start_ms: int, took_ms: int, outcome: Outcome = Outcome.ok) -> None:
        key = object()
        assert self.admits(start_ms * MS)
        self.began(key, start_ms * MS)
        self.ended(key, outcome, (start_ms + took_ms) * MS)


BAD = Outcome.http_5xx


def test_failures_in_a_row_open_a_breaker_and_probes_close_it() -> None:
    """Two bad, one good, three bad: open; 1 s later one call at a time; two good ones in a row
    close it.
    """
    leg = Leg(failures=3, open_for="1s", probes=2)
    for start, outcome in enumerate([BAD, BAD, Outcome.ok, BAD, BAD, BAD]):
        leg.call(start * 10, 5, outcome)
    assert (leg.told, leg.admits(60 * MS)) == ([(55, "open")], False)
    assert not leg.admits(1054 * MS)
    probe = object()
    assert leg.admits(1055 * MS)
    leg.began(probe, 1055 * MS)
    assert not leg.admits(1056 * MS), "one probe at a time"
    leg.ended(probe, Outcome.ok, 1060 * MS)
    leg.call(1070, 5)
    assert leg.told[1:] == [(1055, "half-open"), (1075, "closed")]


def test_a_bad_probe_opens_it_again_and_a_cancelled_one_says_nothing() -> None:
    """After a failed probe another `open_for` passes; a probe cancelled for another's sake leaves
    the door ajar.
    """
    leg = Leg(failures=1, open_for="1s", probes=1)
    leg.call(0, 0, BAD)
    leg.call(1000, 5, BAD)
    assert not leg.admits(2004 * MS)
    probe = object()
    assert leg.admits(2005 * MS)
    leg.began(probe, 2005 * MS)
    leg.ended(probe, None, 2006 * MS)
    assert (leg.state, leg.admits(2007 * MS)) == ("half-open", True)


def test_recent_p99_opens_it_by_nearest_rank_and_forgets_what_left_the_window() -> None:
    """Of 101 to 199 recent calls one may be slow: a second opens it, unless the first has left the
    window by then.
    """

    def played(second_slow_at: int) -> str:
        leg = Leg(p99_over="100ms", window="5s", at_least=50)
        slow = {4000, second_slow_at}
        for start in range(0, 10_000, 40):
            leg.call(start, 150 if start in slow else 100)
            if not leg.admits((start + 39) * MS + 112 * MS):
                return leg.state
        return leg.state

    assert played(4800) == "open"
    assert played(9200) == "closed"


def test_calls_under_way_count_as_soon_as_they_are_too_old() -> None:
    """Sixty calls that never end open the breaker when the first is older than the limit, long
    before any timeout.
    """
    leg = Leg(p99_over="800ms", window="5s", at_least=50)
    for start in range(-3000, 0, 30):
        leg.call(start, 20)
    running = [object() for _ in range(60)]
    for number, key in enumerate(running):
        leg.began(key, number * 10 * MS)
    assert leg.admits(800 * MS)
    assert leg.admits(805 * MS), "one of 101 may be slow"
    assert not leg.admits(812 * MS)


def test_a_probe_that_is_slow_opens_it_again() -> None:
    """While it is under way it is looked at; one in time says nothing yet, and with no probe under
    way another may begin.
    """
    leg = Leg(p99_over="100ms", window="5s", at_least=50, open_for="1s", probes=1)
    leg.feed(False, 0)
    leg.feed(True, 10 * MS)
    assert (leg.state, leg.admits(20 * MS)) == ("half-open", True)
    probe = object()
    leg.began(probe, 20 * MS)
    assert not leg.admits(119 * MS)
    assert leg.state == "half-open"
    assert not leg.admits(121 * MS)
    assert leg.told[-1] == (121, "open")


def test_one_leg_that_is_slow_is_the_best_there_is() -> None:
    """Its deadline passes, and with no leg that could take over the call goes on; a wake before
    anything is due does nothing.
    """
    rules = route(deadline={"after": "100ms"}, breaker={"failures": 1, "open_for": "9s"})
    states = healthy(rules)
    states[1].began("call", 0)
    states[1].ended("call", BAD, 1 * MS)
    decisions = RouteDecisions(rules, states, [LIMIT] * 2, 0, LIMIT)
    decisions.begin(0)
    assert decisions.wake(50 * MS) == []
    assert decisions.wake(100 * MS) == []
    assert decisions.ended(1, Outcome.ok, 250 * MS) == [Finish(1)]


def test_fewer_calls_than_asked_for_open_nothing() -> None:
    """With 49 slow calls of at least 50 the leg stays closed."""
    leg = Leg(p99_over="10ms", window="60s", at_least=50)
    for start in range(49):
        leg.call(start * 100, 50)
    assert leg.admits(5000 * MS)
    leg.call(5000, 50)
    assert not leg.admits(5100 * MS)


def test_a_status_feed_opens_at_once_and_lets_probes_in_when_it_is_well_again() -> None:
    """Bad feed: open, for as long as it is bad; well again: half-open without waiting
    `open_for`.
    """
    leg = Leg(status_urls=["http://h/status"], open_for="1s", probes=1)
    leg.feed(True, 0)
    assert leg.admits(MS)
    leg.feed(False, 10 * MS)
    assert not leg.admits(5000 * MS), "the feed still says no"
    leg.feed(True, 5010 * MS)
    leg.call(5020, 5)
    assert leg.told == [(10, "open"), (5010, "half-open"), (5025, "closed")]


def test_an_open_leg_is_passed_over_and_with_none_left_the_row_is_refused() -> None:
    """Reasons say why a row began elsewhere; a route that keeps rows on their leg refuses
    instead.
    """
    rules = route(breaker={"failures": 1, "open_for": "10s", "probes": 1})
    states = healthy(rules)
    assert walk(rules, failing(5), ok(7), states=states).begun == [
        (0, 0, Reason.first),
        (5, 1, Reason.error),
    ]
    assert walk(rules, failing(5), ok(7), states=states, at=S).begun == [(0, 1, Reason.rerouted)]
    probing = walk(rules, ok(5), ok(7), states=states, at=11 * S)
    assert probing.begun == [(0, 0, Reason.probe)]
    assert walk(rules, ok(5), ok(7), states=states, at=12 * S).begun == [(0, 0, Reason.first)]
    alone = rules.model_copy(update={"fallback": False})
    shut = healthy(alone)
    walk(alone, failing(5), ok(7), states=shut)
    assert walk(alone, failing(5), ok(7), states=shut, at=S) == (0, None, [], [])


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(list(Outcome)[1:15])), min_size=1, max_size=4
    ),
    st.sampled_from(
        [
            {},
            {"hedge": {"after": "100ms"}},
            {"deadline": {"after": "100ms"}},
            {"sequential": {"timeout": "200ms", "slower_than": "100ms"}},
        ]
    ),
    st.booleans(),
    st.booleans(),
)
def test_every_row_ends_once_with_nothing_left_running(
    script: list[tuple[int, Outcome]], steps: dict[str, Any], retried: bool, guarded: bool
) -> None:
    """Whatever two legs do, `walk` sees exactly one end, and it is a call that was made (or none
    was).
    """
    more: dict[str, Any] = {"retry": {"attempts": 2, "backoff": "50ms"}} if retried else {}
    more |= {"breaker": {"failures": 1, "open_for": "1s"}} if guarded else {}
    rules = route(**steps, **more)
    leg = lambda call: (script[call % len(script)][0] * MS, script[call % len(script)][1], -1)  # noqa: E731
    walked = walk(rules, leg, leg)
    assert walked.answer is not None
    assert 1 <= walked.answer <= len(walked.begun) <= 4


@pytest.mark.parametrize("wait_ms", [1, 37])
def test_a_hedge_begins_when_it_is_due_however_late_it_is_noticed(wait_ms: int) -> None:
    """The call's start is the planned instant, so our own lateness shows as lateness and not as the
    route's delay.
    """
    rules = route(hedge={"after": "100ms"})
    decisions = RouteDecisions(rules, healthy(rules), [LIMIT] * 2, 0, LIMIT)
    decisions.begin(0)
    (begin,) = decisions.wake((100 + wait_ms) * MS)
    assert begin == Begin(2, 1, Reason.hedge, 100 * MS)
