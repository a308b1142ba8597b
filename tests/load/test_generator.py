"""The generator in fake time: when rows leave, what they wait for, and that each ends
exactly once.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.health import examine
from bench.judge.reached import undecided
from bench.load.generator import STOP_DRAIN_NS
from bench.plan.schedule import Plan
from bench.record.records.harness import Harness
from bench.record.samples import Flag, Int, Outcome, latency_ns
from bench.units import MS, S
from tests.support.world import Played, Reply, Still, World, chunk, plan_for, play, whole

CONSTANT = {"kind": "constant", "rate": "10/s"}


def times(played: Played, name: str) -> list[int]:
    """A column of instants in ms."""
    return [int(value) // MS for value in played.columns.samples[f"{name}_ns"]]


# ---- standing still


@pytest.mark.parametrize("timers_first", [True, False])
@pytest.mark.parametrize("transport_reads", [True, False])
def test_a_standstill_of_ours_is_no_timeout_of_theirs(
    timers_first: bool, transport_reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40/s, answers of 100 ms, 500 ms of patience, 1.2 s of SIGSTOP or of a paused machine: what
    the kernel had in time is in time, and all that was under way or due meanwhile is marked. Only a
    transport that cannot be asked (httpx) still has timeouts, and they are marked too.
    """
    if not transport_reads:
        monkeypatch.setattr(World, "hand_on", lambda *_: None)
    still = Still(2 * S, 3200 * MS, timers_first)
    plan = plan_for({"kind": "constant", "rate": "40/s"}, {"timeout": "500ms"}, requests=200)
    played = play(plan, lambda _: whole(100 * MS), still=still)
    samples = played.columns.samples
    touched = (samples["flags"] & Flag.HELD_UP) != 0
    due = samples["due_ns"]
    assert touched[(due + 100 * MS > still.from_ns) & (due < still.until_ns)].all()
    assert not touched[(due + 110 * MS < still.from_ns) | (due > still.until_ns + 50 * MS)].any()
    failed = samples["outcome"] != Outcome.ok
    assert not (failed & ~touched).any()
    assert not failed.any() or not transport_reads
    # the kernel's own instants, not those of our reading
    assert transport_reads is False or set(latency_ns(samples, "e2e", "service")) == {100 * MS}
    assert not undecided(played.columns)[~failed].any()
    assert undecided(played.columns)[failed].all()
    health = examine(played.columns, Harness(state="complete"), None)
    assert any("stood still" in reason for reason in health.reasons)


@pytest.mark.parametrize("timers_first", [True, False])
def test_what_comes_too_late_in_a_standstill_is_too_late(timers_first: bool) -> None:
    """An answer of 700 ms at 500 ms of patience is late whether we looked or not, but of a run that
    stood still it is not known.
    """
    still = Still(100 * MS, 2 * S, timers_first)
    plan = plan_for(CONSTANT, {"timeout": "500ms"}, requests=1)
    played = play(plan, lambda _: whole(700 * MS), still=still)
    assert int(played.columns.samples["flags"][0]) & Flag.HELD_UP
    assert undecided(played.columns)[0] or played.outcomes() == [Outcome.ok]


# ---- when rows leave


def test_rows_leave_when_they_are_due_whatever_became_of_the_rows_before() -> None:
    """Without a cap ten rows leave at their ten instants, though no answer ever comes."""
    played = play(plan_for(CONSTANT, {"timeout": "30s"}, requests=10), lambda _: Reply(head=None))
    assert times(played, "due") == times(played, "sent") == list(range(0, 1000, 100))
    assert set(played.outcomes()) == {Outcome.timeout_first}


def test_behind_a_cap_rows_wait_with_their_due_time_kept() -> None:
    """Cap 1, 250 ms of service, 3 ms to send: every column reckoned by hand; only the 3 ms are
    ours.
    """
    played = play(
        plan_for(CONSTANT, requests=5, max_in_flight=1), lambda _: whole(250 * MS, sent=3 * MS)
    )
    samples = played.columns.samples
    start = [0, 253, 506, 759, 1012]
    assert times(played, "due") == [0, 100, 200, 300, 400]
    assert times(played, "slot_free") == start
    assert times(played, "sent") == [slot + 3 for slot in start]
    assert list(latency_ns(samples, "lag") // MS) == [
        slot + 3 - due for slot, due in zip(start, times(played, "due"), strict=True)
    ]
    assert list(latency_ns(samples, "harness_lag") // MS) == [3] * 5
    assert list(latency_ns(samples, "e2e", "service") // MS) == [250] * 5
    assert list(latency_ns(samples, "e2e") // MS) == [
        slot + 253 - due for slot, due in zip(start, times(played, "due"), strict=True)
    ]
    assert played.world.most_in_flight == 1


def test_waking_late_is_our_lateness() -> None:
    """An alarm 7 ms late, 2 ms to send: both are the harness's lag and in the response; slots were
    free all along.
    """
    played = play(
        plan_for(CONSTANT, requests=3), lambda _: whole(20 * MS, sent=2 * MS), alarm_late_ns=7 * MS
    )
    samples = played.columns.samples
    assert times(played, "due") == times(played, "slot_free") == [0, 100, 200]
    assert times(played, "sent") == [9, 109, 209]
    assert list(latency_ns(samples, "harness_lag") // MS) == [9] * 3
    assert list(latency_ns(samples, "e2e") // MS) == [29] * 3
    assert (
        list(latency_ns(samples, "e2e", "blameless") // MS)
        == list(latency_ns(samples, "e2e", "service") // MS)
        == [20] * 3
    )


def test_late_waking_and_a_new_connection_are_told_apart() -> None:
    """7 ms late, then 80 ms of connecting, then 1 ms to send: 8 ms are ours, the connection's are
    the network's.
    """
    played = play(
        plan_for(CONSTANT, requests=2),
        lambda _: Reply(connect=80 * MS, sent=MS, head=10 * MS, tokens=(10 * MS,), end=10 * MS),
        alarm_late_ns=7 * MS,
    )
    assert list(latency_ns(played.columns.samples, "lag") // MS) == [88, 88]
    assert list(latency_ns(played.columns.samples, "harness_lag") // MS) == [8, 8]
    assert times(played, "slot_free") == [80, 180]


@pytest.mark.parametrize("cap", [1, 2, 7])
def test_the_cap_is_kept_and_used(cap: int) -> None:
    """In-flight requests reach the cap and never pass it; each lane has its own."""
    plan = plan_for(
        {"kind": "constant", "rate": "1000/s"}, targets=2, requests=100, max_in_flight=cap
    )
    played = play(plan, lambda _: whole(50 * MS))
    assert played.world.most_in_flight == 2 * cap
    assert set(played.outcomes()) == {Outcome.ok}


def test_waiting_for_a_connection_is_not_our_lateness() -> None:
    """80 ms of connecting count in the response and the lag, not in the harness's own lag."""
    played = play(
        plan_for(CONSTANT, requests=2),
        lambda _: Reply(connect=80 * MS, sent=MS, head=10 * MS, tokens=(10 * MS,), end=10 * MS),
    )
    samples = played.columns.samples
    assert list(latency_ns(samples, "lag") // MS) == [81, 81]
    assert list(latency_ns(samples, "harness_lag") // MS) == [1, 1]
    assert list(samples["connect_ns"]) == [80 * MS, 80 * MS]


FREEZE_NS, CYCLE_NS, SERVICE_NS, CAP = 2 * S, 10 * S, 20 * MS, 20


def thawed(start: int) -> int:
    """When 20 ms of work begun at `start` end at a server that stands still 2 s in every 10."""
    if start % CYCLE_NS < FREEZE_NS:
        start += FREEZE_NS - start % CYCLE_NS
    end = start + SERVICE_NS
    return end if end % CYCLE_NS >= FREEZE_NS else end + FREEZE_NS


def test_a_frozen_server_behind_a_cap_shows_in_the_response_and_not_in_our_health() -> None:
    """100/s, cap 20, 40 s: response p90 within 5 % of a queue recursion, about 1 s; the harness
    stays valid.
    """
    plan = plan_for({"kind": "constant", "rate": "100/s"}, duration="40s", max_in_flight=CAP)
    ends: list[int] = []
    for number in range(4000):
        due = number * 10 * MS
        # Equal work and one order: a slot frees when the 20th request before has ended.
        ends.append(thawed(max(due, ends[number - CAP]) if number >= CAP else due))
    implied = nearest_rank(
        np.array([end - number * 10 * MS for number, end in enumerate(ends)]), 90
    )
    played = play(plan, lambda ask: whole(thawed(ask.now_ns) - ask.now_ns))
    measured = nearest_rank(latency_ns(played.columns.samples, "e2e"), 90)
    assert abs(measured - implied) <= implied * 5 // 100
    # 100 rows in 1,000 wait longer than the one that came 1.0 s before the thaw and has 100 before
    # it, 20 at a time.
    assert abs(implied - (S + 5 * SERVICE_NS)) < 50 * MS
    assert examine(played.columns, Harness(), 800 * MS).state == "valid"
    assert nearest_rank(latency_ns(played.columns.samples, "e2e", "service"), 90) < 100 * MS


def nearest_rank(values: Int, percent: int) -> int:
    """The smallest value that at least `percent` of the values do not exceed."""
    return int(np.sort(values)[math.ceil(Fraction(percent, 100) * len(values)) - 1])


# ---- rows that depend on others


def test_a_closed_loop_asks_again_when_answered_and_begins_nothing_after_its_time() -> None:
    """3 users, 100 ms of service, 1 s: ten requests each; what nobody came to was never due."""
    plan = plan_for({"kind": "closed", "concurrency": 3}, duration="1s")
    played = play(plan, lambda _: whole(100 * MS))
    came = played.columns.samples["due_ns"] >= 0
    assert sorted(played.columns.samples["due_ns"][came] // MS) == sorted(
        list(range(0, 1000, 100)) * 3
    )
    assert played.world.most_in_flight == 3
    assert {*played.columns.where(came).samples["outcome"]} == {Outcome.ok}
    assert {*played.columns.where(~came).samples["outcome"]} == {Outcome.never_sent}


def test_a_closed_loop_by_count_ends_with_its_last_answer() -> None:
    """7 requests by 2 users of 100 ms: due when the user's last one ended, failures included."""
    plan = plan_for({"kind": "closed", "concurrency": 2}, requests=7)
    played = play(
        plan, lambda ask: Reply(fail=(100 * MS, Outcome.reset)) if ask.row == 2 else whole(100 * MS)
    )
    assert sorted(times(played, "due")) == [0, 0, 100, 100, 200, 200, 300]
    assert played.outcomes() == [Outcome.ok, Outcome.ok, Outcome.reset, *[Outcome.ok] * 4]


def test_a_turn_is_due_a_thinking_time_after_the_one_before_ended() -> None:
    """Two sessions of three turns, 200 ms of thought, 50 ms of service; a failed turn is thought
    about too.
    """
    plan = plan_for(
        {"kind": "constant", "rate": "1/s"},
        requests=6,
        sessions={"turns": {"fixed": 3}, "think": "200ms"},
    )
    played = play(
        plan, lambda ask: Reply(fail=(50 * MS, Outcome.reset)) if ask.row == 0 else whole(50 * MS)
    )
    assert times(played, "due") == [0, 250, 500, 1000, 1250, 1500]
    assert played.outcomes() == [Outcome.reset, *[Outcome.ok] * 5]


# ---- how rows end


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(connect=None), Outcome.timeout_connect),
        (Reply(sent=10 * S), Outcome.timeout_first),
        (Reply(head=None), Outcome.timeout_first),
        (Reply(head=MS), Outcome.timeout_first),
        (Reply(head=MS, body=chunk({"role": "assistant", "content": ""})), Outcome.timeout_first),
        (Reply(head=MS, tokens=(2 * MS, 3 * MS)), Outcome.timeout_total),
    ],
    ids=["not connected", "not written", "silent", "head only", "role only", "stopped"],
)
def test_a_timeout_is_named_by_what_was_missing(reply: Reply, outcome: Outcome) -> None:
    """The class says how far it came; it ends at its deadline, a tick at most later, and is given
    up.
    """
    played = play(plan_for(CONSTANT, {"timeout": "700ms"}, requests=1), lambda _: reply)
    assert played.outcomes() == [outcome]
    assert 700 <= times(played, "done")[0] <= 711
    assert played.world.aborted == ([] if reply.connect is None else [0])


def test_the_timeout_counts_from_the_slot_not_from_the_queue() -> None:
    """A row that waited 300 ms behind the cap still has its whole timeout once it is sent."""
    played = play(
        plan_for(CONSTANT, {"timeout": "400ms"}, requests=2, max_in_flight=1),
        lambda _: whole(399 * MS),
    )
    assert times(played, "slot_free") == [0, 399]
    assert set(played.outcomes()) == {Outcome.ok}


def test_what_outlasts_the_drain_is_censored_and_what_still_waits_was_never_sent() -> None:
    """Cap 1, 1 s of timeout, nothing answers: 1 s + 1 s after the last arrival the rest is cut, and
    says why.
    """
    played = play(
        plan_for(CONSTANT, {"timeout": "1s"}, requests=5, max_in_flight=1),
        lambda _: Reply(head=None),
    )
    assert played.outcomes() == [
        Outcome.timeout_first,
        Outcome.timeout_first,
        Outcome.censored,
        Outcome.never_sent,
        Outcome.never_sent,
    ]
    assert 2400 <= times(played, "done")[2] <= 2411
    assert "waiting behind the in-flight cap" in played.note(4)
    assert times(played, "due") == [0, 100, 200, 300, 400]
    assert times(played, "sent")[3:] == times(played, "slot_free")[3:] == [-1 // MS] * 2


def test_ctrl_c_sends_nothing_more_and_lets_the_rest_end() -> None:
    """At 350 ms: two under way end well, one outlasts the bound, the waiting and the coming rows
    are never sent.
    """
    service = {0: 200 * MS, 1: 600 * MS, 2: 60 * S}
    plan = plan_for(CONSTANT, requests=8, max_in_flight=2)
    played = play(plan, lambda ask: whole(service[ask.row]), stop_at=(350 * MS,))
    assert played.outcomes() == [
        Outcome.ok,
        Outcome.ok,
        Outcome.censored,
        *[Outcome.never_sent] * 5,
    ]
    assert played.generator.interrupted
    assert (
        350 * MS + STOP_DRAIN_NS <= played.columns.samples["done_ns"][2] <= 361 * MS + STOP_DRAIN_NS
    )
    assert times(played, "due") == list(range(0, 800, 100))
    assert played.note(3) == "the run ended before its turn"
    assert list(played.columns.samples["note"][4:]) == [-1] * 4


def test_a_second_ctrl_c_waits_no_longer() -> None:
    """What is under way is censored at the next tick."""
    played = play(
        plan_for(CONSTANT, requests=3), lambda _: whole(60 * S), stop_at=(350 * MS, 500 * MS)
    )
    assert set(played.outcomes()) == {Outcome.censored}
    assert max(times(played, "done")) <= 511


def test_a_turn_that_was_due_when_the_run_was_stopped_keeps_its_due_time() -> None:
    """The second turn was known to be due at 450 ms; stopped at 400 ms it is never sent, and says
    when it was due.
    """
    plan = plan_for(CONSTANT, requests=3, sessions={"turns": {"fixed": 3}, "think": "400ms"})
    played = play(plan, lambda _: whole(50 * MS), stop_at=(400 * MS,))
    assert played.outcomes() == [Outcome.ok, Outcome.never_sent, Outcome.never_sent]
    assert times(played, "due")[:2] == [0, 450]
    assert played.columns.samples["due_ns"][2] == -1


REFUSED = b'{"error":{"message":"Unrecognized request argument: stream_options"}}'
USE_OTHER = b'{"error":{"message":"Use max_completion_tokens instead of max_tokens"}}'


def refusal(message: bytes, status: int = 400) -> Reply:
    """A 4xx with its words after 50 ms."""
    return Reply(head=50 * MS, body=message, end=50 * MS, status=status)


def test_rows_in_flight_together_are_each_sent_again_without_what_was_refused() -> None:
    """Three rows refused at once have two attempts each, later rows one; the refusal is not our
    lateness.
    """
    plan = plan_for({"kind": "constant", "rate": "100/s"}, requests=8)
    played = play(
        plan, lambda ask: refusal(REFUSED, 422) if b"stream_options" in ask.body else whole(20 * MS)
    )
    samples = played.columns.samples
    assert set(played.outcomes()) == {Outcome.ok}
    assert list(samples["attempts"]) == [2] * 5 + [1] * 3
    assert [bool(flags & Flag.OPTION_DROPPED) for flags in samples["flags"]] == [True] * 5 + [
        False
    ] * 3
    assert list(latency_ns(samples, "harness_lag")) == [0] * 8
    assert list(latency_ns(samples, "e2e") // MS) == [70] * 5 + [20] * 3


def test_two_refused_options_take_three_attempts_and_no_more() -> None:
    """Both options are dropped one after the other; a refusal that names neither is the row's
    outcome.
    """

    def answer(ask: object) -> Reply:
        body = ask.body  # type: ignore[attr-defined]
        return (
            refusal(REFUSED)
            if b"stream_options" in body
            else refusal(USE_OTHER)
            if b'"max_tokens"' in body
            else whole(20 * MS)
        )

    played = play(plan_for(CONSTANT, requests=2), answer)
    assert list(played.columns.samples["attempts"]) == [3, 1]
    assert set(played.outcomes()) == {Outcome.ok}
    stubborn = play(
        plan_for(CONSTANT, requests=2), lambda _: refusal(b'{"error":{"message":"no such model"}}')
    )
    assert (list(stubborn.columns.samples["attempts"]), set(stubborn.outcomes())) == (
        [1, 1],
        {Outcome.http_4xx},
    )
    assert stubborn.note(0) == "HTTP 400: no such model"
    unheeding = play(plan_for(CONSTANT, requests=1), lambda _: refusal(REFUSED + USE_OTHER))
    assert (list(unheeding.columns.samples["attempts"]), unheeding.outcomes()) == (
        [3],
        [Outcome.http_4xx],
    )


def test_a_refused_row_keeps_its_deadline() -> None:
    """One logical request, one timeout: the second attempt has what the first left."""
    played = play(
        plan_for(CONSTANT, {"timeout": "300ms"}, requests=1),
        lambda ask: refusal(REFUSED) if ask.attempt == 1 else Reply(head=None),
    )
    assert played.outcomes() == [Outcome.timeout_first]
    assert 300 <= times(played, "done")[0] <= 311


# ---- any mixture

REPLIES = st.one_of(
    st.integers(1, 400).map(lambda ms: (whole(ms * MS), Outcome.ok)),
    st.sampled_from(
        [
            (Reply(head=MS, end=MS, status=503), Outcome.http_5xx),
            (Reply(head=MS, end=MS, status=429), Outcome.rate_limited),
            (Reply(head=MS, end=MS, status=404), Outcome.http_4xx),
            (Reply(head=MS, end=MS, status=302), Outcome.malformed),
            (Reply(head=MS, end=2 * MS, body=b"data: {\n\n"), Outcome.malformed),
            (Reply(head=MS, end=2 * MS, body=b'data: {"error":"x"}\n\n'), Outcome.stream_error),
            (Reply(head=MS, end=2 * MS, body=chunk({"content": "a"})), Outcome.truncated),
            (Reply(connect=None, fail=(2 * MS, Outcome.refused)), Outcome.refused),
            (Reply(connect=None, fail=(0, Outcome.dns)), Outcome.dns),
            (Reply(fail=(2 * MS, Outcome.reset)), Outcome.reset),
            (Reply(head=MS, tokens=(MS,), fail=(9 * MS, Outcome.truncated)), Outcome.truncated),
            (Reply(connect=None), Outcome.timeout_connect),
            (Reply(head=MS), Outcome.timeout_first),
            (Reply(head=MS, tokens=(2 * MS,)), Outcome.timeout_total),
            (Reply(connect=5 * MS, head=MS, tokens=(3 * MS,), end=3 * MS), Outcome.ok),
        ]
    ),
)
PLANS = st.builds(
    lambda rate, cap, turns, requests: plan_for(
        {"kind": "constant", "rate": f"{rate}/s"},
        {"timeout": "500ms"},
        requests=requests,
        max_in_flight=cap,
        sessions={"turns": {"fixed": turns}, "think": "30ms"} if turns > 1 else None,
    ),
    st.integers(5, 200),
    st.one_of(st.none(), st.integers(1, 4)),
    st.integers(1, 3),
    st.integers(1, 12),
)


@given(
    PLANS, st.lists(REPLIES, min_size=36, max_size=36), st.lists(st.integers(0, 3000), max_size=2)
)
@settings(deadline=None, max_examples=150)
def test_every_row_ends_exactly_once_whatever_happens(
    plan: Plan, replies: list[tuple[Reply, Outcome]], stops: list[int]
) -> None:
    """Any mixture of answers, faults, caps, sessions and Ctrl-C: one outcome a row, the server's
    own where it ended.
    """
    played = play(
        plan, lambda ask: replies[ask.row][0], stop_at=tuple(ms * MS for ms in sorted(stops))
    )
    samples = played.columns.samples
    assert played.generator.in_flight == played.generator.waiting == 0
    assert played.generator.finished_rows == played.generator.started
    noted = sorted(played.journal._fresh)
    assert len(noted) == len(set(noted))
    for row, outcome in enumerate(played.outcomes()):
        asked = row in played.world.bodies
        cut = played.generator.interrupted or played.generator.now() > plan.end_ns + S
        assert outcome == replies[row][1] or (
            cut and outcome in (Outcome.censored, Outcome.never_sent)
        )
        assert (outcome == Outcome.never_sent) == (not asked)
        given_up = outcome == Outcome.never_sent and samples["note"][row] >= 0
        assert (samples["done_ns"][row] >= 0) == (asked or given_up)
        assert (samples["due_ns"][row] >= 0) == (row in noted)
        assert asked <= (row in noted)
    absolute = plan.schedule["due_ns"] >= 0
    assert list(samples["due_ns"][absolute]) == list(plan.schedule["due_ns"][absolute])
