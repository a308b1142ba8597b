"""The serving model by hand: queues, slots, batches, memory, caches, cold starts, regions,
faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from scipy import stats

from bench.gateway.scenarios import Change, Gateway
from bench.gateway.virtual import Caller, Ended, Simulation
from bench.units import MS, S

#: One step reads 50 prompt tokens in 5 ms, on top of 10 ms and 1 ms for each answer that runs.
BATCH = {"sequences": 8, "step": "10ms", "per_sequence": "1ms", "prefill_per_token": "100us"}


def gateway(pool: dict[str, Any], **more: Any) -> Gateway:
    """One model `m` on one pool `p`."""
    return Gateway.model_validate(
        {"model": [{"name": "m", "pool": "p"}], "pool": [{"name": "p", **pool}]} | more
    )


def play(
    world: Gateway,
    at_ms: Sequence[float],
    *,
    model: str = "m",
    timeout_ns: int = 60 * S,
    prompt: int = 50,
    output: int = 3,
    blocks: tuple[int, ...] = (),
    seed: int = 1,
) -> list[Ended]:
    """The ends of requests that arrive at these moments, in order of arrival."""
    ends: dict[int, Ended] = {}
    simulation = Simulation(world, seed, ends.__setitem__, timeout_ns=timeout_ns)
    for index, moment in enumerate(at_ms):
        simulation.request(round(moment * MS), index, model, prompt, output, blocks=blocks)
    simulation.finish()
    assert simulation.under_way == 0
    return [ends[index] for index in range(len(at_ms))]


def moments(ends: list[Ended]) -> list[tuple[float, float, float]]:
    """Start, first and last token in ms."""
    return [(one.start_ns / MS, one.first_ns / MS, one.last_ns / MS) for one in ends]


def test_first_in_first_out_on_one_slot() -> None:
    """Three requests of 10 ms on one slot run one after another."""
    ends = play(gateway({"e2e": {"fixed": "10ms"}, "slots": 1}), [0, 1, 2])
    assert [one.start_ns / MS for one in ends] == [0, 10, 20]


def test_priority_goes_first_but_does_not_interrupt() -> None:
    """Whoever has priority overtakes those who wait, not the one who runs."""
    world = gateway(
        {"e2e": {"fixed": "10ms"}, "slots": 1},
        model=[{"name": "m", "pool": "p"}, {"name": "vip", "pool": "p", "priority": 1}],
    )
    ends: dict[str, Ended] = {}
    simulation = Simulation(world, 1, ends.__setitem__, timeout_ns=S)
    for moment, owner, model in [(0, "a", "m"), (1, "b", "m"), (2, "c", "vip")]:
        simulation.request(moment * MS, owner, model, 1, 1)
    simulation.finish()
    assert {owner: end.start_ns // MS for owner, end in ends.items()} == {"a": 0, "c": 10, "b": 20}


def test_full_queue_turns_away() -> None:
    """With one slot and room for one to wait, the third at once is a 503."""
    ends = play(gateway({"e2e": {"fixed": "10ms"}, "slots": 1, "queue_limit": 1}), [0, 0, 0, 15])
    assert [(one.outcome, one.status) for one in ends] == [
        ("ok", 200),
        ("ok", 200),
        ("http_5xx", 503),
        ("ok", 200),
    ]


def test_a_client_that_gives_up_frees_its_slot() -> None:
    """A request of 10 s is given up after 1 s; the one that waited since begins then, and is given
    up too.
    """
    ends = play(gateway({"ttft": {"fixed": "10s"}, "slots": 1}), [0, 200, 1500], timeout_ns=S)
    assert [one.outcome for one in ends] == ["timeout_first"] * 3
    assert [one.start_ns / MS for one in ends] == [0, 1000, 1500]
    assert [one.ended_ns / MS for one in ends] == [1000, 1200, 2500]


def test_cold_start_and_keep_alive() -> None:
    """A slot that is not warm takes 1 s to start, stays 5 s unused, and then starts anew."""
    pool = {
        "e2e": {"fixed": "100ms"},
        "slots": 2,
        "warm": 0,
        "cold_start": {"fixed": "1s"},
        "keep_alive": "5s",
    }
    ends = play(gateway(pool), [0, 2000, 7000, 12_200])
    assert [(one.start_ns / MS, one.cold) for one in ends] == [
        (1000, True),
        (2000, False),
        (7000, False),
        (13_200, True),
    ]


def test_burst_beyond_the_warm_slots() -> None:
    """One of three at once is served warm, one waits for the second slot, one for the first that is
    free.
    """
    pool = {"e2e": {"fixed": "100ms"}, "slots": 2, "warm": 1, "cold_start": {"fixed": "80ms"}}
    ends = play(gateway(pool), [0, 0, 0])
    assert [(one.start_ns / MS, one.cold) for one in ends] == [(0, False), (80, True), (100, False)]


def test_batch_of_one_by_hand() -> None:
    """Reading 50 tokens: 10 + 5 ms; then two steps of 10 + 1 ms."""
    assert moments(play(gateway({"batch": BATCH}), [0])) == [(0, 15, 37)]


def test_batch_joins_between_steps_by_hand() -> None:
    """The second, there at 20 ms, joins at 26: its reading makes that step 10 + 1 + 5 ms
    for both.
    """
    assert moments(play(gateway({"batch": BATCH}), [0, 20])) == [(0, 15, 42), (26, 42, 64)]


def test_long_prompts_are_read_in_pieces() -> None:
    """120 tokens in pieces of 50: steps of 15, 15 and 12 ms before the first token."""
    world = gateway({"batch": BATCH | {"prefill_chunk": 50}})
    assert moments(play(world, [0], prompt=120, output=1)) == [(0, 42, 42)]


def test_memory_keeps_a_job_waiting() -> None:
    """With memory for one answer the second begins when the first has ended; one too large is a
    503.
    """
    world = gateway({"batch": BATCH | {"kv_tokens": 100}})
    assert moments(play(world, [0, 20])) == [(0, 15, 37), (37, 52, 74)]
    assert play(world, [0], prompt=98)[0].status == 503


def test_sequences_bound_the_batch() -> None:
    """With one sequence at a time, two requests at once take twice as long."""
    ends = play(gateway({"batch": BATCH | {"sequences": 1}}), [0, 0])
    assert moments(ends) == [(0, 15, 37), (37, 52, 74)]


def test_two_engines_do_not_slow_each_other() -> None:
    """Two requests at once on two engines each run as if alone."""
    assert moments(play(gateway({"batch": BATCH | {"engines": 2}}), [0, 0])) == [(0, 15, 37)] * 2


def test_prefix_cache_spares_the_reading() -> None:
    """A prompt of two known blocks of 64 is read from the first unknown token on; a third block
    evicts the last.
    """
    world = gateway({"batch": BATCH | {"prefix_blocks": 2}})
    ends = play(world, [0, 1000], prompt=138, output=1, blocks=(7, 8))
    assert [one.cached_tokens for one in ends] == [0, 128]
    assert [one.last_ns / MS for one in ends] == [23.8, 1011]
    forgetful = gateway({"batch": BATCH | {"prefix_blocks": 1}})
    assert [one.cached_tokens for one in play(forgetful, [0, 1000], prompt=138, blocks=(7, 8))] == [
        0,
        64,
    ]


def test_law_with_prefill_and_gap_by_hand() -> None:
    """First token after 30 ms and 50 times 1 ms, the third two gaps of 5 ms later."""
    pool = {"ttft": {"fixed": "30ms"}, "gap": {"fixed": "5ms"}, "prefill_per_token": "1ms"}
    assert moments(play(gateway(pool), [0])) == [(0, 80, 90)]


def test_changes_hold_in_their_windows() -> None:
    """A law from 1 s for 1 s each 4 s, and a slowdown of 3 from 10 s on."""
    world = gateway(
        {"e2e": {"fixed": "10ms"}},
        timeline=[
            {"at": "1s", "for": "1s", "every": "4s", "e2e": {"fixed": "70ms"}},
            {"at": "10s", "slowdown": 3},
        ],
    )
    at = [0, 999, 1000, 1999, 2000, 5000, 6000, 9000, 10_000, 13_000]
    took = [one.last_ns / MS - moment for one, moment in zip(play(world, at), at, strict=True)]
    assert took == [10, 10, 70, 70, 10, 70, 10, 70, 30, 210]


REGIONS = {
    "model": [{"name": "m", "pool": ["far", "near"]}],
    "pool": [
        {"name": name, "region": name, "e2e": {"fixed": "10ms"}, "slots": 1}
        for name in ("far", "near")
    ],
    "region": [{"name": "far", "distance": "40ms"}],
    "timeline": [{"at": "10s", "for": "10s", "region": "near", "outage": True}],
}


def test_nearest_region_that_is_up_answers() -> None:
    """The nearest answers; in an outage it is 503 for the 2 s that noticing takes, then the farther
    one serves.
    """
    world = Gateway.model_validate(REGIONS | {"failover_after": "2s"})
    at = [0.0, 11_000, 12_000, 19_999, 20_000]
    ends = play(world, at)
    assert [(one.region, one.status) for one in ends] == [
        ("near", 200),
        ("", 503),
        ("far", 200),
        ("far", 200),
        ("near", 200),
    ]
    assert [one.ended_ns / MS - moment for one, moment in zip(ends, at, strict=True)] == [
        10,
        0,
        50,
        50,
        10,
    ]


def test_without_failover_the_outage_is_felt() -> None:
    """Where nothing fails over, all of the outage is 503; a pinned region is kept."""
    world = Gateway.model_validate(REGIONS)
    assert [one.status for one in play(world, [9999, 10_000, 19_999, 20_000])] == [
        200,
        503,
        503,
        200,
    ]
    ends: dict[int, Ended] = {}
    simulation = Simulation(world, 1, ends.__setitem__, timeout_ns=S)
    simulation.request(15 * S, 0, "m", 1, 1, caller=Caller(region="far"))
    simulation.finish()
    assert ends[0].region == "far"


def test_distance_does_not_hold_the_slot() -> None:
    """The slot of the farther region is free when the pool is done, not when the answer has
    come.
    """
    world = Gateway.model_validate(
        REGIONS | {"timeline": [{"region": "near", "outage": True}], "failover_after": "0s"}
    )
    ends = play(world, [0, 0])
    assert moments(ends) == [(0, 45, 50), (10, 55, 60)]


@pytest.mark.parametrize(
    "pool", [{"ttft": {"fixed": "30ms"}, "gap": {"fixed": "5ms"}, "slots": 1}, {"batch": BATCH}]
)
@pytest.mark.parametrize(
    ("fault", "outcome", "status", "tokens"),
    [
        ("http_500", "http_5xx", 500, 0),
        ("reset", "reset", 0, 0),
        ("stall", "timeout_total", 0, 4),
        ("truncate", "truncated", 200, 4),
        ("garbage", "malformed", 200, 8),
        ("stream_error", "stream_error", 200, 4),
    ],
)
def test_faults_end_as_their_names_say(
    pool: dict[str, Any], fault: str, outcome: str, status: int, tokens: int
) -> None:
    """Each fault has its outcome and its tokens, and leaves the pool free for the next request."""
    world = gateway(pool, timeline=[{"at": "0s", "for": "1s", "fault": fault}])
    struck, sound = play(world, [0, 5000], output=8, timeout_ns=4 * S)
    assert (struck.outcome, struck.status, struck.output_tokens) == (outcome, status, tokens)
    alone = play(gateway(pool), [5000], output=8)[0]
    assert sound == alone


def test_slow_tail_is_ten_times_as_long() -> None:
    """After the first token, a slow tail takes ten times as long, in law and in batch."""
    for pool in ({"ttft": {"fixed": "30ms"}, "gap": {"fixed": "5ms"}}, {"batch": BATCH}):
        usual = play(gateway(pool), [0])[0]
        slow = play(gateway(pool, timeline=[{"fault": "slow_tail"}]), [0])[0]
        assert slow.first_ns == usual.first_ns
        assert slow.last_ns - slow.first_ns == 10 * (usual.last_ns - usual.first_ns)


def test_fault_shares_are_binomial() -> None:
    """A fault with a share of 10 % strikes as a binomial does."""
    world = gateway({"e2e": {"fixed": "1ms"}}, timeline=[{"fault": "http_503", "share": "10%"}])
    lost = sum(one.status == 503 for one in play(world, list(range(5000))))
    assert stats.binomtest(lost, 5000, 0.1).pvalue > 0.01


def test_rate_limit_and_length() -> None:
    """Over the limit is rate_limited, over the context is http_4xx; neither occupies anything."""
    world = gateway(
        {"e2e": {"fixed": "1ms"}, "slots": 1},
        rate_limit={"requests_per_min": 60},
        model=[{"name": "m", "pool": "p", "context_tokens": 53}],
    )
    assert [one.outcome for one in play(world, [0, 500, 1000])] == ["ok", "rate_limited", "ok"]
    assert play(world, [0], prompt=51)[0].outcome == "http_4xx"


def test_a_change_while_the_world_runs() -> None:
    """A change added at 3 s with `at` 1 s holds from 4 s on."""
    ends: dict[int, Ended] = {}
    simulation = Simulation(gateway({"e2e": {"fixed": "10ms"}}), 1, ends.__setitem__, timeout_ns=S)
    simulation.request(3 * S, 0, "m", 1, 1)
    simulation.change(Change.model_validate({"at": "1s", "slowdown": 2}), 3 * S)
    simulation.request(round(3.9 * S), 1, "m", 1, 1)
    simulation.request(4 * S, 2, "m", 1, 1)
    simulation.finish()
    assert [
        (ends[index].last_ns - at) / MS for index, at in enumerate((3 * S, round(3.9 * S), 4 * S))
    ] == [10, 10, 20]


def test_same_seed_same_world() -> None:
    """The same seed gives the same ends, another seed others; arrivals apart from the draws are the
    same.
    """
    world = gateway(
        {"e2e": {"lognormal": {"median": "20ms", "sigma": 1.0}}, "slots": 2},
        timeline=[{"fault": "truncate", "share": "5%"}],
    )
    runs = [play(world, list(range(0, 3000, 11)), seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"e2e": {"fixed": "1s"}, "ttft": {"fixed": "1s"}}, "exactly one"),
        ({"warm": 1, "e2e": {"fixed": "1s"}}, "slots"),
        (
            {"e2e": {"fixed": "1s"}, "slots": 1, "warm": 2, "cold_start": {"fixed": "1s"}},
            "above slots",
        ),
        ({"e2e": {"fixed": "1s"}, "slots": 1, "warm": 1}, "together"),
        ({"e2e": {"fixed": "1s"}, "cold_share": 0.1}, "together"),
        ({"e2e": {"fixed": "1s"}, "slots": 1, "warm": 1, "cold_share": 0.1}, "together"),
        ({"batch": BATCH, "cold_share": 0.1, "cold_start": {"fixed": "1s"}}, "no cold starts"),
        ({"batch": BATCH, "slots": 1}, "batch has its own"),
    ],
)
def test_impossible_pools_are_refused(bad: dict[str, Any], words: str) -> None:
    """A pool has one law, and keys that fit it."""
    with pytest.raises(ValueError, match=words):
        gateway(bad)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"timeline": [{"at": "1s"}]}, "changes nothing"),
        ({"timeline": [{"pool": "q", "slowdown": 2}]}, "does not exist"),
        ({"timeline": [{"slowdown": 2, "for": "2s", "every": "1s"}]}, "shorter"),
        ({"timeline": [{"neighbours": 2}]}, "no pool that it reaches has any"),
        ({"model": [{"name": "m", "pool": "q"}]}, "names pool"),
    ],
)
def test_impossible_gateways_are_refused(more: dict[str, Any], words: str) -> None:
    """Names must meet, and changes must change something."""
    with pytest.raises(ValueError, match=words):
        gateway({"e2e": {"fixed": "1s"}}, **more)
