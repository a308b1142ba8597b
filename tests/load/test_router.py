"""Routed rows in a world without time: what the row takes over, what the attempts say, and what
ends with them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench.load.alarm import Timers
from bench.load.endpoint import BodyWriter, Endpoint, LaneState
from bench.load.generator import Generator
from bench.load.journal import Journal
from bench.load.probe import HarnessProbe
from bench.load.router import Router
from bench.plan.schedule import Plan
from bench.plan.target import Target
from bench.record.pieces import SegmentWriter
from bench.record.samples import (
    AttemptFlag,
    Columns,
    Flag,
    Outcome,
    Reason,
    Table,
    end_ns,
    latency_ns,
)
from bench.units import MS, S
from tests.support.world import Ask, Played, Reply, World, plan_for, text, whole

STEADY = {"kind": "constant", "rate": "10/s"}
Leg = Callable[[Ask], Reply]


class LegAlarm:
    """An alarm in the world's time."""

    def __init__(self, world: World, callback: Callable[[], None]):
        self._world, self._callback, self._set = world, callback, 0

    def set(self, at_ns: int) -> None:
        self._set += 1
        mine = self._set
        self._world.later(
            max(0, at_ns - self._world.now), lambda: self._callback() if mine == self._set else None
        )

    def close(self) -> None:
        self._set += 1


class LegSender:
    """A leg's sender: the world's, which knows rows by their number alone."""

    def __init__(self, world: World):
        self._world = world

    def start(self, body: bytes, request_id: str, receiver: Any, on_handle: Any) -> None:
        self._world.start(body, request_id.partition(".")[0], receiver, on_handle)


def routed_plan(
    route: dict[str, Any],
    arrivals: dict[str, Any] | None = None,
    timeout: str = "60s",
    leg_timeout: str = "60s",
    **profile: Any,
) -> Plan:
    """The plan of one routed lane with legs of models m0 and m1."""
    made = plan_for(arrivals or STEADY, **{"requests": 5, **profile})
    legs = tuple(
        Target.model_validate(
            {
                "description": "d",
                "name": f"l{number}",
                "base_url": "http://127.0.0.1:9/v1",
                "model": f"m{number}",
                "timeout": leg_timeout,
            }
        )
        for number in range(2)
    )
    whole_route = {"legs": ["l0", "l1"], **route}
    target = Target.model_validate(
        {"description": "d", "name": "r", "timeout": timeout, "route": whole_route}
    )
    lane = dataclasses.replace(made.lanes[0], target=target.model_copy(update={"legs": legs}))
    made.schedule["leg"] = 0
    return dataclasses.replace(made, lanes=(lane,))


def play(
    plan: Plan, first: Leg, second: Leg, *, stop_at: tuple[int, ...] = ()
) -> tuple[Played, Table]:
    """Play a routed plan; returns it and its attempts."""
    world = World(lambda ask: (second if b'"m1"' in ask.body else first)(ask))
    (lane,) = plan.lanes
    journal = Journal(
        SegmentWriter(Path("never-written")), "run", len(plan.schedule), [len(lane.phases)], []
    )
    endpoints = [
        Endpoint(
            cast("Any", LegSender(world)),
            BodyWriter(dataclasses.replace(lane, target=leg), plan.schedule, text()),
        )
        for leg in lane.target.legs
    ]
    timers = Timers(lambda: world.now, cast("Any", lambda callback: LegAlarm(world, callback)))
    router = Router(lane, endpoints, plan.schedule["leg"], journal, timers, lambda: world.now)
    generator = Generator(
        plan.lanes,
        plan.schedule,
        [LaneState(lane, router, lane.profile.max_in_flight)],
        journal,
        HarnessProbe(),
        clock=lambda: world.now,
        alarm=world.alarm,
    )
    world.play(generator, stop_at=stop_at)
    assert world.in_flight == 0, "no call outlives the run"
    return Played(
        Columns(plan.schedule, journal.samples), journal, generator, world
    ), journal.attempts()


def after(ms: int) -> Leg:
    return lambda _: whole(ms * MS)


def refused(ms: int) -> Leg:
    return lambda _: Reply(head=ms * MS, end=ms * MS, status=503, body=b"{}")


def hanging(_: Ask) -> Reply:
    return Reply()


def test_a_hedged_row_counts_from_its_due_time_and_carries_the_winners_times() -> None:
    """Slow rows: 100 + 50 ms; the loser's one token that had come is counted, its prompt is
    unknown.
    """
    plan = routed_plan({"hedge": {"after": "100ms"}})
    played, attempts = play(plan, lambda ask: whole((60 if ask.row % 2 else 190) * MS), after(50))
    samples = played.columns.samples
    assert (latency_ns(samples, "e2e") // MS).tolist() == [150, 60, 150, 60, 150]
    assert samples["attempts"].tolist() == [2, 1, 2, 1, 2]
    assert (latency_ns(samples, "lag") // MS).tolist() == [100, 0, 100, 0, 100]
    assert set(latency_ns(samples, "harness_lag")) == {0}
    assert [
        (int(a["row"]), int(a["attempt"]), int(a["leg"]), Reason(a["reason"]).name)
        for a in attempts
    ][:3] == [(0, 1, 0, "first"), (0, 2, 1, "hedge"), (1, 1, 0, "first")]
    loser = attempts[0]
    assert (Outcome(loser["outcome"]), AttemptFlag(loser["flags"])) == (
        Outcome.censored,
        AttemptFlag.CANCELLED,
    )
    assert (loser["output_tokens"], loser["prompt_tokens"]) == (1, -1)
    carried = attempts[(attempts["flags"] & AttemptFlag.CARRIED) != 0]
    assert carried["row"].tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(carried["sent_ns"], samples["sent_ns"])
    assert np.array_equal(carried["end_ns"], samples["done_ns"])
    assert played.world.aborted == [0, 2, 4]
    assert sum(histogram.n for histogram in played.journal.gap_histograms[0]) == 5, (
        "the winners' gaps alone"
    )


def test_the_answer_of_a_slow_call_is_paid_and_thrown_away() -> None:
    """Published: 400 ms waited for, then 50 ms; both answers are whole and the second is
    the row's.
    """
    rules = {"sequential": {"timeout": "500ms", "slower_than": "300ms"}}
    played, attempts = play(routed_plan(rules, requests=1), after(400), after(50))
    assert end_ns(played.columns.samples).tolist() == [450 * MS]
    assert [(Outcome(a["outcome"]).name, int(a["flags"])) for a in attempts] == [
        ("ok", 0),
        ("ok", AttemptFlag.CARRIED),
    ]
    assert attempts["output_tokens"].tolist() == [2, 2]
    assert attempts["start_ns"].tolist() == [0, 400 * MS]


def test_a_missed_deadline_says_what_became_of_the_call() -> None:
    """No token by then: timeout_first; tokens by then: timeout_total; both given up at the
    deadline, not at a tick.
    """
    rules = {"deadline": {"after": "103ms"}}
    for first, outcome in ((hanging, Outcome.timeout_first), (after(150), Outcome.timeout_total)):
        _, attempts = play(routed_plan(rules, requests=1), first, after(50))
        assert (Outcome(attempts["outcome"][0]), int(attempts["end_ns"][0])) == (outcome, 103 * MS)
        assert attempts["flags"].tolist() == [AttemptFlag.CANCELLED, AttemptFlag.CARRIED]


def test_the_cap_counts_rows_and_not_calls() -> None:
    """One row in flight: its two calls run side by side, the next row leaves when the row has
    ended.
    """
    plan = routed_plan({"hedge": {"after": "100ms"}}, requests=3, max_in_flight=1)
    played, _ = play(plan, after(400), after(100))
    samples = played.columns.samples
    assert played.world.most_in_flight == 2
    assert (end_ns(samples) // MS).tolist() == [200, 400, 600]
    assert (latency_ns(samples, "e2e") // MS).tolist() == [200, 300, 400]
    assert set(latency_ns(samples, "harness_lag")) == {0}


def test_a_rows_own_timeout_ends_all_its_calls() -> None:
    """Both legs hang: within a tick of 1 s the row has timed out, both calls are cut, and the later
    one is the row's.
    """
    played, attempts = play(
        routed_plan({"hedge": {"after": "100ms"}}, requests=1, timeout="1s"), hanging, hanging
    )
    assert played.outcomes() == [Outcome.timeout_first]
    assert 1000 * MS <= played.columns.samples["done_ns"][0] <= 1010 * MS
    assert attempts["flags"].tolist() == [
        AttemptFlag.CANCELLED,
        AttemptFlag.CANCELLED | AttemptFlag.CARRIED,
    ]
    assert played.columns.samples["attempts"].tolist() == [2]


def test_a_legs_timeout_leads_to_the_next_leg() -> None:
    """The leg's own 200 ms end the call; the row goes on and succeeds."""
    played, attempts = play(routed_plan({}, requests=1, leg_timeout="200ms"), hanging, after(30))
    assert (played.outcomes(), end_ns(played.columns.samples).tolist()) == (
        [Outcome.ok],
        [230 * MS],
    )
    assert Reason(attempts["reason"][1]) is Reason.error


def test_turns_follow_the_answer_that_the_user_saw() -> None:
    """A session's next turn is due a thinking time after the row, not after its first call."""
    talk: dict[str, Any] = {"sessions": {"turns": {"fixed": 2}, "think": "1s"}, "requests": 2}
    played, _ = play(routed_plan({"deadline": {"after": "100ms"}}, **talk), after(300), after(50))
    assert played.columns.samples["due_ns"].tolist() == [0, 1150 * MS]


def test_ctrl_c_lets_rows_under_way_fall_back_and_cuts_what_is_left() -> None:
    """Stopped at 50 ms: the row under way still gets its fallback's answer; one that hangs is
    censored, its call too.
    """
    played, _ = play(
        routed_plan({"deadline": {"after": "100ms"}}), hanging, after(50), stop_at=(50 * MS,)
    )
    assert played.outcomes() == [Outcome.ok] + [Outcome.never_sent] * 4
    played, attempts = play(
        routed_plan({"deadline": {"after": "100ms"}}), hanging, hanging, stop_at=(50 * MS,)
    )
    assert played.outcomes()[0] is Outcome.censored
    assert attempts["outcome"].tolist() == [Outcome.timeout_first, Outcome.censored]


def test_a_refused_option_costs_the_leg_one_more_try_and_the_route_none() -> None:
    """A 400 that names stream_options is sent again on the same leg without it: one attempt of the
    route, two requests.
    """

    def picky(ask: Ask) -> Reply:
        if "stream_options" in json.loads(ask.body):
            return Reply(
                head=MS, end=MS, status=400, body=b'{"error":{"message":"unknown stream_options"}}'
            )
        return whole(20 * MS)

    played, attempts = play(routed_plan({}, requests=2), picky, refused(1))
    assert played.outcomes() == [Outcome.ok, Outcome.ok]
    assert played.columns.samples["attempts"].tolist() == [2, 1]
    assert (len(attempts), int(played.columns.samples["flags"][0] & Flag.OPTION_DROPPED)) == (
        2,
        Flag.OPTION_DROPPED,
    )


def test_all_legs_failing_is_the_last_ones_failure() -> None:
    """Two 503s: the row is http_5xx with two attempts, and its status is the second's."""
    played, _ = play(routed_plan({}, requests=1), refused(10), refused(20))
    assert (played.outcomes(), played.columns.samples["status"].tolist()) == (
        [Outcome.http_5xx],
        [503],
    )
    assert end_ns(played.columns.samples).tolist() == [30 * MS]


def test_open_breakers_refuse_without_a_call_and_their_changes_are_events() -> None:
    """Both legs fail once: rows 1 and 2 are refused with no attempt; 250 ms later a probe is let
    through to each.
    """
    rules = {"breaker": {"failures": 1, "open_for": "250ms", "probes": 1}}
    played, attempts = play(routed_plan(rules, requests=4), refused(1), refused(1))
    assert played.outcomes() == [
        Outcome.http_5xx,
        Outcome.refused,
        Outcome.refused,
        Outcome.http_5xx,
    ]
    assert "every breaker" in played.note(1)
    assert played.columns.samples["attempts"].tolist() == [2, 0, 0, 2]
    events = [(event.leg, event.at_ns // MS, event.state) for event in played.journal.leg_events]
    assert events == [
        (0, 1, "open"),
        (1, 2, "open"),
        (0, 300, "half-open"),
        (0, 301, "open"),
        (1, 301, "half-open"),
        (1, 302, "open"),
    ]
    assert Reason(attempts["reason"][2]) is Reason.probe


def test_the_first_token_decides_where_the_route_commits_to_it() -> None:
    """First tokens at 150 and 100 + 40 ms: the hedge's comes first, so it wins though it ends later
    than the other would.
    """
    rules = {"hedge": {"after": "100ms"}, "commit": "first_token"}
    played, attempts = play(
        routed_plan(rules, requests=1), after(300), lambda _: whole(400 * MS, tokens=10)
    )
    assert end_ns(played.columns.samples).tolist() == [500 * MS]
    assert (latency_ns(played.columns.samples, "ttft") // MS).tolist() == [140]
    assert int(attempts["end_ns"][0]) == 140 * MS


def test_a_thousand_rows_leave_no_instants_behind() -> None:
    """Each row asks to be woken at its leg's timeout of a minute; those that are over do not pile
    up.
    """
    plan = routed_plan(
        {"hedge": {"after": "1s"}}, {"kind": "constant", "rate": "1000/s"}, requests=5000
    )
    played, attempts = play(plan, after(5), after(5))
    assert (set(played.outcomes()), len(attempts)) == ({Outcome.ok}, 5000)
    router = cast("Router", played.generator.lanes[0].sender)
    assert len(router.timers._heap) < 1100
    assert played.world.now < 100 * S
