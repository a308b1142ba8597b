"""Properties of the serving model and the server under whatever comes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.gateway.batching import BatchPool
from bench.gateway.jobs import Event, Job
from bench.gateway.pools import LawPool
from bench.gateway.scenarios import Gateway, Pool
from bench.gateway.serving import World
from bench.gateway.virtual import Ended, Simulation
from bench.units import MS, S
from tests.support.gateway_process import GatewayProcess, chat_body, raw_request

Seen = list[tuple[Event, int]]
POOLS: list[dict[str, Any]] = [
    {"ttft": {"exponential": "30ms"}, "gap": {"fixed": "2ms"}},
    {"e2e": {"exponential": "50ms"}, "slots": 2, "queue_limit": 5},
    {
        "e2e": {"exponential": "50ms"},
        "slots": 4,
        "warm": 1,
        "cold_start": {"fixed": "100ms"},
        "keep_alive": "200ms",
    },
    {
        "batch": {
            "sequences": 3,
            "engines": 2,
            "step": "5ms",
            "per_sequence": "1ms",
            "prefill_per_token": "50us",
            "kv_tokens": 300,
            "prefill_chunk": 70,
            "prefix_blocks": 3,
        }
    },
]
FAULTS = ["http_500", "reset", "stall", "truncate", "slow_tail", "garbage", "stream_error"]
REQUESTS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 200), st.integers(1, 20)), min_size=1, max_size=60
)


@pytest.mark.parametrize("pool", POOLS)
@settings(max_examples=40, deadline=None)
@given(
    requests=REQUESTS,
    fault=st.sampled_from(FAULTS),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    distance_ms=st.sampled_from([0, 40]),
    timeout_ms=st.sampled_from([20, 300, 60_000]),
    seed=st.integers(0, 9),
)
def test_each_request_ends_once_and_all_is_given_back(
    pool: dict[str, Any],
    requests: list[tuple[int, int, int]],
    fault: str,
    share: float,
    distance_ms: int,
    timeout_ms: int,
    seed: int,
) -> None:
    """Under any load, fault and timeout each request ends once, in time, and pools are as empty as
    before.
    """
    world = Gateway.model_validate(
        {
            "model": [{"name": "m", "pool": "p"}, {"name": "vip", "pool": "p", "priority": 1}],
            "pool": [{"name": "p", "region": "r", **pool}],
            "region": [{"name": "r", "distance": f"{distance_ms}ms"}],
            "timeline": [{"at": "50ms", "fault": fault, "share": share}],
        }
    )
    ends: list[tuple[tuple[int, int], Ended]] = []
    simulation = Simulation(
        world, seed, lambda owner, how: ends.append((owner, how)), timeout_ns=timeout_ms * MS
    )
    now = 0
    for index, (gap_ms, prompt, output) in enumerate(requests):
        now += gap_ms * MS
        simulation.request(
            now,
            (index, now),
            "vip" if prompt % 5 == 0 else "m",
            prompt,
            output,
            blocks=(prompt // 64, 9),
        )
    simulation.finish()
    simulation.run_until(now + 600 * S)
    assert sorted(owner[0] for owner, _ in ends) == list(range(len(requests)))
    for (index, arrived), how in ends:
        assert arrived <= how.ended_ns <= arrived + timeout_ms * MS
        if how.outcome == "ok":
            assert arrived <= how.start_ns <= how.first_ns <= how.last_ns
            assert how.output_tokens == requests[index][2]
        elif not how.outcome.startswith("timeout"):
            assert how.outcome in ("http_5xx", "reset", "truncated", "malformed", "stream_error")
    (served,) = simulation._world._pools.values()
    assert len(served.queue) == 0
    if isinstance(served, BatchPool):
        assert [
            (engine.running, engine._decoding, engine._kv_used) for engine in served._engines
        ] == [(0, 0, 0)] * 2
    elif isinstance(served, LawPool) and served.file.slots:
        assert len(served._idle) == served._up == served._warm


@pytest.mark.parametrize("pool", POOLS)
@settings(max_examples=40, deadline=None)
@given(
    requests=REQUESTS,
    fault=st.sampled_from([fault for fault in FAULTS if fault != "stall"]),
    distance_ms=st.sampled_from([0, 40]),
)
def test_telling_each_token_changes_no_moment(
    pool: dict[str, Any], requests: list[tuple[int, int, int]], fault: str, distance_ms: int
) -> None:
    """Streams have the moments that plain answers have, a token for each event, one end, the
    longest gap that is told.
    """
    world = Gateway.model_validate(
        {
            "model": [{"name": "m", "pool": "p"}],
            "pool": [{"name": "p", "region": "r", **pool}],
            "region": [{"name": "r", "distance": f"{distance_ms}ms"}],
            "timeline": [{"at": "50ms", "fault": fault, "share": 0.2}],
        }
    )
    # two engines whose edges meet at the same ns may share out who waits either way
    world = world.model_copy(update={"pool": [one_engine(pool) for pool in world.pool]})
    plain, streamed = (watch(world, requests, stream=stream) for stream in (False, True))
    for (was, _), (job, seen) in zip(plain, streamed, strict=True):
        assert (was.start_ns, was.first_ns, was.fault) == (job.start_ns, job.first_ns, job.fault)
        ends = [
            event
            for event, _ in seen
            if event is Event.LAST or (event is Event.FAULT and job.fault != "garbage")
        ]
        moments = [due_ns for _, due_ns in seen]
        tokens = [due_ns for event, due_ns in seen if event in (Event.TOKEN, Event.LAST)]
        assert moments == sorted(moments)
        assert len(ends) == 1
        if job.fault == "garbage":
            assert [event for event, _ in seen].count(Event.FAULT) == 1
        if job.fault is None and job.pool.batch is not None:
            assert was.gap_max_ns == max(
                (late - soon for soon, late in pairwise(tokens)), default=-1
            )
        if job.fault in (None, "slow_tail", "garbage"):
            assert (was.last_ns, len(tokens)) == (job.last_ns, job.output_tokens)
            assert (tokens[0], tokens[-1]) == (job.first_ns, job.last_ns)
            assert seen[0][0] is Event.START
        elif job.fault in ("truncate", "stream_error"):
            assert len(tokens) == job.output_tokens // 2


def one_engine(pool: Pool) -> Pool:
    """The pool with a single engine, if it has engines."""
    return (
        pool
        if pool.batch is None
        else pool.model_copy(update={"batch": pool.batch.model_copy(update={"engines": 1})})
    )


def watch(
    gateway: Gateway, requests: list[tuple[int, int, int]], *, stream: bool
) -> list[tuple[Job, Seen]]:
    """The jobs of these requests and what was told of each."""
    jobs: list[tuple[Job, Seen]] = []
    world = World(gateway, 1, lambda job, event, due_ns: job.owner.append((event, due_ns)))
    now = 0
    for gap_ms, prompt, output in requests:
        now += gap_ms * MS
        seen: Seen = []
        jobs.append((Job(gateway.model[0], prompt, output, now, owner=seen, stream=stream), seen))
        world.submit(jobs[-1][0])
    world.advance(now + 600 * S)
    return jobs


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(noise=st.binary(max_size=300), cut=st.integers(0, 200))
def test_no_bytes_end_the_server(menagerie: GatewayProcess, noise: bytes, cut: int) -> None:
    """Whatever is sent, whole, cut short or mixed into a request, others are answered after it."""
    request = raw_request(chat_body("plain", tokens=1))
    for sent in (noise, request[:cut] + noise + request[cut:]):
        with menagerie.connect() as connection:
            connection.sendall(sent)
    assert menagerie.call("GET", "/v1/models")[0] == 200
