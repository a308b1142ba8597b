"""Each policy against the simulated gateway over sockets, held to what the gateway itself says it
did.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.judge.routing.routes import route_run
from bench.load.generator import run_loop
from bench.load.options import Listeners, RunOptions
from bench.load.player import Event, OnTick
from bench.load.runner import play
from bench.plan.drill import Drill
from bench.plan.profile import Profile
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.record.records.routes import RouteRecord
from bench.record.run_folder import Run
from bench.record.samples import AttemptFlag, Flag, Int, Outcome, Reason, Table, latency_ns
from bench.units import MS, S, nearest_rank
from tests.support.given import given
from tests.support.scripted_server import Peer, ScriptedServer, answer, each
from tests.support.world import text

SCENARIO = """
description = "planted: m0 takes 100 ms, one in five 600 ms; m1 150 ms; m2 loses three in ten"
[[gateway.model]]
name = "m0"
pool = "default"
[[gateway.model]]
name = "m1"
pool = "fallback"
[[gateway.model]]
name = "m2"
pool = "flaky"
[[gateway.pool]]
name = "default"
e2e = [{ weight = 80, fixed = "100ms" }, { weight = 20, fixed = "600ms" }]
[[gateway.pool]]
name = "fallback"
e2e = { fixed = "150ms" }
[[gateway.pool]]
name = "flaky"
e2e = { fixed = "100ms" }
[[gateway.timeline]]
pool = "flaky"
fault = "http_503"
share = "30%"
[truth]
says = "see above"
"""
HEDGE_MS, DEADLINE_MS = 250, 300
POLICIES: dict[str, dict[str, Any]] = {
    "hedge": {"hedge": {"after": f"{HEDGE_MS}ms"}},
    "hedge-httpx": {"hedge": {"after": f"{HEDGE_MS}ms"}},
    "deadline": {"deadline": {"after": f"{DEADLINE_MS}ms"}},
    "deadline-httpx": {"deadline": {"after": f"{DEADLINE_MS}ms"}},
    "published": {"sequential": {"timeout": "5s", "slower_than": "300ms"}},
    "weighted": {"pick": "weighted", "weights": [90, 10], "fallback": False},
    "retry": {"legs": ["m2"], "retry": {"attempts": 8, "backoff": "20ms", "longest": "20ms"}},
}


@contextmanager
def gateway(folder: Path) -> Iterator[tuple[str, Path]]:
    """(URL of the scenario, its log of truth) while a gateway lives."""
    scenario, log = folder / "planted.toml", folder / "truth.jsonl"
    scenario.write_text(SCENARIO)
    command = [
        sys.executable,
        "-m",
        "bench.gateway",
        "--scenarios",
        str(scenario),
        "--truth-log",
        str(log),
        "--exit-with-parent",
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"{json.loads(process.stdout.readline())['url']}/planted", log
    finally:
        process.communicate()


def routed(name: str, url: str, **route: Any) -> Target:
    """A route over the scenario's models."""
    legs = route.pop("legs", ["m0", "m1"])
    transport = "httpx" if name.endswith("httpx") else "tailproof"
    made = [
        Target.model_validate(
            {
                "description": "d",
                "name": leg,
                "base_url": f"{url}/v1",
                "model": leg,
                "transport": transport,
                "prices": {
                    "input_usd_per_million": 1,
                    "output_usd_per_million": 2,
                    "as_of": "2026-11-23",
                    "source": "made",
                },
            }
        )
        for leg in legs
    ]
    target = Target.model_validate(
        {"description": "d", "name": name, "route": {"legs": legs, **route}}
    )
    return target.model_copy(update={"legs": tuple(made)})


def plan_of(targets: list[Target], rate: int, duration: str, *drills: dict[str, Any]) -> Plan:
    profile = Profile.model_validate(
        {
            "description": "d",
            "name": "p",
            "arrivals": {"kind": "poisson", "rate": Fraction(rate)},
            "duration": duration,
            "prompt_tokens": [{"fixed": 16}],
            "output_tokens": [{"fixed": 4}],
        }
    )
    stage = Stage(
        name="s",
        targets=targets,
        profile=profile,
        contract=None,
        scenario="planted.toml",
        settle_ns=0,
        expect=[],
        drills=[Drill.model_validate(drill) for drill in drills],
    )
    return compile_plan(Suite(name="routes", description="d", seed=1, stages=[stage], files=[]), 7)


def played(plan: Plan, folder: Path, workers: int = 1, on_tick: OnTick = lambda *_: None) -> Run:
    run_loop(
        lambda: play(
            plan,
            text(),
            {},
            RunOptions(folder=folder, workers=workers),
            Listeners(lambda _: None, on_tick),
        )
    )
    return Run(folder)


Key = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Lane:
    """One policy's rows, its attempts, and what the gateway did with each, keyed by (row,
    attempt).
    """

    rows: Table
    attempts: Table
    #: how long the law wanted the answer to take (ns)
    planned_ns: dict[Key, int]
    #: when its last byte was written, in the run's own time (ns)
    ended_ns: dict[Key, int]
    record: RouteRecord
    #: rows under way while the machine gave us no time: our timers rang late
    held_up: frozenset[int]


def lanes_of(run: Run, log: Path) -> dict[str, Lane]:
    truth = {}
    for record in map(json.loads, log.read_text().splitlines()):
        row, _, attempt = record["request_id"].rpartition("-")[2].partition(".")
        truth[int(row), int(attempt or 1)] = record
    attempts = run.attempts
    ended = {
        key: record["read_ns"] + record["e2e_ns"]
        for key, record in truth.items()
        if record["e2e_ns"]
    }
    # Both clocks are this machine's monotonic one, ours from the run's start on: what most answers
    # agree on.
    apart = int(
        np.median(
            [
                ended[key] - int(a["end_ns"])
                for a in attempts[attempts["outcome"] == Outcome.ok]
                if (key := (int(a["row"]), int(a["attempt"]))) in ended
            ]
        )
    )
    ended = {key: ns - apart for key, ns in ended.items()}
    planned = {key: record["planned_e2e_ns"] or -1 for key, record in truth.items()}
    routes = given(route_run(run)).routes
    found = {}
    for index, lane in enumerate(run.lanes):
        rows = np.nonzero(run.columns.schedule["lane"] == index)[0]
        own, samples = attempts[np.isin(attempts["row"], rows)], run.columns.samples[rows]
        late = frozenset(rows[(samples["flags"] & Flag.HELD_UP) != 0].tolist())
        found[lane.name] = Lane(samples, own, planned, ended, routes[lane.name], late)
    return found


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lane]:
    """One run with every policy side by side. Its waits are those of the law only where nothing
    else takes the processor.
    """
    folder = tmp_path_factory.mktemp("policies")
    with gateway(folder) as (url, log):
        run = played(
            plan_of([routed(name, url, **rules) for name, rules in POLICIES.items()], 25, "4s"),
            folder / "run",
        )
    return lanes_of(run, log)


def answers_are_the_gateways(lane: Lane) -> None:
    """p50, p90 and p99 of the latency, within 5 % of what the gateway's own stamps make of the
    calls that answered.
    """
    carried = lane.attempts[(lane.attempts["flags"] & AttemptFlag.CARRIED) != 0]
    assert len(carried) == len(lane.rows)
    true = (
        np.array([lane.ended_ns[int(a["row"]), int(a["attempt"])] for a in carried])
        - lane.rows["due_ns"]
    )
    reported = latency_ns(lane.rows, "e2e")
    for q in (Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)):
        ours, theirs = (
            int(np.sort(each)[nearest_rank(len(each), q) - 1]) for each in (reported, true)
        )
        assert ours == pytest.approx(theirs, rel=0.05), f"p{float(q * 100):g}"


def starts_of(lane: Lane, reason: Reason) -> Int:
    """(start of the second call) - (start of the first), ns, for rows whose second call had this
    reason.
    """
    second = lane.attempts[lane.attempts["reason"] == reason]
    firsts = {int(a["row"]): int(a["start_ns"]) for a in lane.attempts if a["attempt"] == 1}
    apart: Int = second["start_ns"] - np.array([firsts[int(row)] for row in second["row"]])
    return apart


def slow_rows(lane: Lane) -> set[int]:
    """Rows whose first call drew 600 ms, and which nothing held up."""
    mine = set(lane.attempts["row"].tolist()) - lane.held_up
    return {
        row
        for (row, attempt), ns in lane.planned_ns.items()
        if row in mine and attempt == 1 and ns > 500 * MS
    }


@pytest.mark.clock
@pytest.mark.parametrize("name", ["hedge", "hedge-httpx"])
def test_hedges_begin_at_their_delay_and_the_first_answer_wins(
    lanes: dict[str, Lane], name: str
) -> None:
    """Every slow first call is hedged at 250 ms exactly, and the answer is the call's that the
    gateway ended first.
    """
    lane = lanes[name]
    assert slow_rows(lane)
    assert slow_rows(lane) <= set(
        lane.attempts["row"][lane.attempts["reason"] == Reason.hedge].tolist()
    )
    assert set(starts_of(lane, Reason.hedge)) == {HEDGE_MS * MS}
    assert set(lane.rows["outcome"]) == {Outcome.ok}
    if name == "hedge":  # the other sender stamps in user space
        answers_are_the_gateways(lane)


@pytest.mark.clock
@pytest.mark.parametrize("name", ["deadline", "deadline-httpx"])
def test_deadlines_cost_themselves_and_the_second_call(lanes: dict[str, Lane], name: str) -> None:
    """Every slow first call is given up, and the second begins at 300 ms but for our own
    lateness.
    """
    lane = lanes[name]
    given_up = lane.attempts[lane.attempts["outcome"] == Outcome.timeout_first]
    late = lane.attempts["reason"] == Reason.deadline
    assert slow_rows(lane) <= set(lane.attempts["row"][late].tolist())
    assert (starts_of(lane, Reason.deadline) >= DEADLINE_MS * MS).all()
    assert set(given_up["leg"]) <= {0}
    assert set(lane.rows["outcome"]) == {Outcome.ok}
    if name == "deadline":
        answers_are_the_gateways(lane)


@pytest.mark.clock
def test_the_published_router_costs_both_waits(lanes: dict[str, Lane]) -> None:
    """The second call begins when the slow answer is whole, so its tail is the worst of the three
    policies'.
    """
    lane = lanes["published"]
    answers_are_the_gateways(lane)
    assert (starts_of(lane, Reason.slow) >= DEADLINE_MS * MS).all()
    assert len(starts_of(lane, Reason.slow)) >= len(slow_rows(lane)) > 0
    p90 = {
        name: given(lanes[name].record.response_ms["e2e"]).p90
        for name in ("hedge", "deadline", "published")
    }
    assert p90["hedge"] < p90["deadline"] < p90["published"]
    assert lane.record.double_billed == lane.record.by_reason["slow"]


@pytest.mark.clock
def test_weighted_rows_stay_where_they_were_drawn(lanes: dict[str, Lane]) -> None:
    """One call a row on the planned leg; the served shares are the plan's own, and lie where 90/10
    puts them.
    """
    lane = lanes["weighted"]
    assert set(lane.rows["attempts"]) == {1}
    second = int((lane.attempts["leg"] == 1).sum())
    low, high = stats.binom.interval(0.9999, len(lane.rows), 0.1)
    assert low <= second <= high
    assert lane.record.served_models.get("m1", 0) == pytest.approx(second / len(lane.rows))


@pytest.mark.clock
def test_retries_bring_nearly_all_through(lanes: dict[str, Lane]) -> None:
    """Eight calls at three in ten lost: 0.3^8 of the rows fail; calls a row are 1/0.7 within their
    binomial interval.
    """
    lane = lanes["retry"]
    assert lane.record.success == 1.0
    failed = int((lane.attempts["outcome"] == Outcome.http_5xx).sum())
    low, high = stats.binom.interval(0.9999, len(lane.attempts), 0.3)
    assert low <= failed <= high
    assert lane.record.attempts == failed + len(lane.rows)


@pytest.mark.clock
def test_every_call_of_ours_is_one_the_gateway_saw(lanes: dict[str, Lane]) -> None:
    """Attempts and the gateway's records name each other, one to one."""
    every = [a for lane in lanes.values() for a in lane.attempts]
    whole = {
        (int(a["row"]), int(a["attempt"])) for a in every if not a["flags"] & AttemptFlag.CANCELLED
    }
    seen = set(next(iter(lanes.values())).planned_ns)
    # What was cancelled before it had arrived in whole is no request to the gateway.
    assert whole <= seen <= {(int(a["row"]), int(a["attempt"])) for a in every}
    for lane in lanes.values():
        assert lane.rows["attempts"].sum() == len(lane.attempts)


def test_workers_share_a_routed_lane(tmp_path: Path) -> None:
    """Two processes: every row has its attempts, whose texts and times survive the merge."""
    with gateway(tmp_path) as (url, log):
        run = played(
            plan_of([routed("hedge", url, **POLICIES["hedge"])], 40, "1s"),
            tmp_path / "run",
            workers=2,
        )
    lane = lanes_of(run, log)["hedge"]
    assert set(lane.attempts["worker"]) == {0, 1}
    assert np.array_equal(np.unique(lane.attempts["row"]), np.arange(len(lane.rows)))
    carried = lane.attempts[(lane.attempts["flags"] & AttemptFlag.CARRIED) != 0]
    assert np.array_equal(carried["end_ns"], lane.rows["done_ns"])
    models = run.strings("served_model")
    answered = lane.attempts[lane.attempts["served_model"] >= 0]
    assert {(int(a["leg"]), models[a["served_model"]]) for a in answered} <= {(0, "m0"), (1, "m1")}


def test_a_drill_is_felt_noticed_and_survived(tmp_path: Path) -> None:
    """m0 is cut from 1 s to 2 s: the breaker opens, rows move to m1, none is lost, and they come
    back after the healing.
    """
    breaker = {"breaker": {"failures": 3, "open_for": "300ms", "probes": 2}}
    drills: list[dict[str, Any]] = [
        {
            "at": "1s",
            "do": "cut",
            "name": "m0 gone",
            "change": {"fault": "http_503", "pool": "default", "for": "1s"},
        },
        {"at": "2s", "do": "heal"},
        {"at": "100ms", "command": [sys.executable, "-c", "print('a hook'); raise SystemExit(3)"]},
        {
            "at": "200ms",
            "command": [sys.executable, "-c", "import time; time.sleep(60)"],
            "timeout": "300ms",
        },
        {"at": "300ms", "change": {"fault": "http_503", "pool": "nowhere"}},
    ]
    with gateway(tmp_path) as (url, _):
        plain = Target.model_validate(
            {"description": "d", "name": "plain", "base_url": f"{url}/v1", "model": "m0"}
        )
        run = played(
            plan_of([routed("guarded", url, **breaker), plain], 60, "4s", *drills), tmp_path / "run"
        )
    events = {event.at_ns // MS: event for event in run.manifest.events}
    assert [events[at].ok for at in (100, 200, 300, 1000, 2000)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert events[100].detail == "exit 3: a hook"
    assert "killed" in events[200].detail
    assert events[300].detail.startswith("HTTP 400")
    assert all(event.at_ns <= event.begun_ns <= event.done_ns for event in events.values())
    states = [change.state for change in run.manifest.leg_events]
    assert states[0] == "open"
    assert states[-1] == "closed"
    guarded, bare = (
        next(d for d in given(route_run(run)).drills if d.target == name)
        for name in ("guarded", "plain")
    )
    assert guarded.lost == 0
    assert given(bare.lost) > 0.8 * given(bare.requests) > 0
    assert 0 <= given(guarded.detect_ms) <= given(guarded.switch_ms) < 1000
    assert guarded.fail_back_ms is not None
    assert bare.detect_ms is None


def test_a_status_feed_moves_the_rows(tmp_path: Path) -> None:
    """The feed says bad at polls 5 to 9: the primary is left alone from then until it is well again
    and probed.
    """
    polls = [0]

    def reply(peer: Peer, _request: bytes) -> None:
        polls[0] += 1
        bad = 5 <= polls[0] < 10
        peer.send(answer(b'{"status":{"indicator":"%s"}}' % (b"major" if bad else b"none")))

    with gateway(tmp_path) as (url, _), ScriptedServer(each(reply)) as feed:
        rule = {
            "status_urls": [f"http://127.0.0.1:{feed.port}/status", ""],
            "poll": "100ms",
            "probes": 1,
            "open_for": "60s",
        }
        told: list[Event] = []
        run = played(
            plan_of([routed("fed", url, breaker=rule)], 60, "3s"),
            tmp_path / "run",
            on_tick=lambda _, counters: told.__setitem__(slice(None), counters().events),
        )
    assert told == [
        (
            change.at_ns,
            f"fed: upstream {run.lanes[0].legs[0].name} {said}: {change.why}",
        )
        for change, said in zip(
            run.manifest.leg_events, ("taken out", "tried again", "in use again"), strict=True
        )
    ]
    assert [change.state for change in run.manifest.leg_events] == [
        "open",
        "half-open",
        "closed",
    ]
    opened, half_open, closed = (change.at_ns for change in run.manifest.leg_events)
    attempts = run.attempts
    # a row that came due just before a change may be looked at just after it
    open_then = (attempts["start_ns"] > opened + 100 * MS) & (
        attempts["start_ns"] < half_open - 100 * MS
    )
    assert open_then.any()
    assert set(attempts["leg"][open_then & (attempts["attempt"] == 1)]) == {1}
    after = attempts[attempts["start_ns"] > closed + 100 * MS]
    assert set(after["leg"][after["attempt"] == 1]) == {0}
    assert closed < 3 * S


def test_recent_p99_moves_the_rows_within_five_seconds(tmp_path: Path) -> None:
    """m0 takes 9 s from 1.5 s on: calls that are still under way tell, so rows move long before any
    of them has ended.
    """
    rule = {"breaker": {"p99_over": "800ms", "window": "2s", "at_least": 30, "open_for": "60s"}}
    slow = {"at": "1500ms", "do": "cut", "change": {"e2e": {"fixed": "9s"}, "pool": "default"}}
    with gateway(tmp_path) as (url, _):
        target = routed("watched", url, **rule).model_copy(update={"timeout": 3 * S})
        run = played(plan_of([target], 60, "4s", slow), tmp_path / "run")
    (drill,) = given(route_run(run)).drills
    assert drill.detected_by == "breaker"
    assert 800 <= given(drill.detect_ms) <= given(drill.switch_ms) < 2500
    assert 0 < given(drill.lost) < given(drill.requests)
    assert drill.fail_back_ms is None
