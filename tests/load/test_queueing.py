"""The queues of benchmarks.queueing and what benchmarks.scale makes of them: by hand, against a
plain event loop, against theory; each row once.
"""

from __future__ import annotations

import dataclasses
import heapq
import math

import numpy as np
import pytest
from scipy import optimize

from bench.record.parts import Share
from benchmarks.queueing import Chore, Work, owners, play
from benchmarks.scale import Setting, Simulation, bounds, md1_wait, schedule, wire_bytes
from benchmarks.unit_costs import Costs, planned

_S = 10**9


def poisson(rate: float, rows: int, seed: int) -> np.ndarray:
    """Arrivals in ns, drawn here and not by the planner."""
    return np.cumsum(np.random.default_rng(seed).exponential(_S / rate, rows)).astype(np.int64)


def crommelin(t: float, load: float) -> float:
    """P(W <= t) in M/D/1, in service times."""
    return (1 - load) * sum(
        (-load * (t - k)) ** k / math.factorial(k) * math.exp(load * (t - k))
        for k in range(int(t) + 1)
    )


def by_event_loop(
    due: list[int], worker: list[int], workers: int, ttft: list[int], work: Work
) -> tuple[list[int], list[int]]:
    """(lag by row, busy by worker): one event after another from a heap, each worker's own
    clock.
    """
    events = [(at, "send", who, row) for row, (at, who) in enumerate(zip(due, worker, strict=True))]
    heapq.heapify(events)
    free, busy, lag, tokens_left = (
        [0] * workers,
        [0] * workers,
        [-1] * len(due),
        len(due) * work.tokens,
    )
    # Chores go on for as long as the windows do in which something is due.
    window = min(ttft)
    until = (max(due) // window + 1) * window
    for chore in work.chores:
        for who in range(workers):
            at = who * chore.every_ns // workers % chore.every_ns
            while at < until:
                heapq.heappush(events, (at, f"chore {chore.cost_ns}", who, -1))
                at += chore.every_ns
    while events:
        at, kind, who, row = heapq.heappop(events)
        cost = {"send": work.send_ns, "first": work.first_ns, "token": work.token_ns}.get(
            kind
        ) or int(kind.split()[1])
        free[who] = max(free[who], at) + cost
        busy[who] += cost
        if kind == "send":
            lag[row] = free[who] - at
            for token in range(work.tokens):
                arrival = free[who] + ttft[row] + token * work.gap_ns
                heapq.heappush(events, (arrival, "token" if token else "first", who, row))
        elif kind in ("first", "token"):
            tokens_left -= 1
    assert tokens_left == 0
    return lag, busy


def test_by_hand() -> None:
    """Two rows at once wait for each other, a third meets an answer's token, another worker is
    free.
    """
    due = np.array([0, 0, 0, 125])
    work = Work(send_ns=10, first_ns=30, token_ns=5, tokens=2, gap_ns=50)
    # Row 0 leaves at 10, so its first token is read from 110 to 140; row 1's, come at 120, from
    # there to 170. Row 3, due at 125, is before the tokens of 160 and 170: it leaves at 180.
    played = play(due, np.array([0, 0, 1, 0]), 2, np.full(4, 100), work)
    assert played.lag_ns.tolist() == [10, 20, 10, 55]
    assert played.wait_ns.tolist() == [0, 10, 0, 45]
    assert played.busy_ns.tolist() == [3 * work.request_ns, work.request_ns]
    assert work.request_ns == 45


@pytest.mark.parametrize("busy", [0.5, 0.95, 1.3])
def test_windows_change_nothing(busy: float) -> None:
    """All workers at once by windows, and one event after another, come to the same nanosecond,
    also where work piles up.
    """
    rng = np.random.default_rng(round(100 * busy))
    work = Work(
        40_001,
        70_003,
        9_007,
        tokens=4,
        gap_ns=3_000_017,
        chores=(Chore(10_000_019, 50_021), Chore(41_000_003, 900_001)),
    )
    workers, rows = 3, 3_000
    due = poisson(busy * workers * _S / work.request_ns, rows, 5)
    worker, ttft = rng.integers(0, workers, rows), rng.integers(7_000_000, 30_000_000, rows)
    played = play(due, worker, workers, ttft, work)
    lag, spent = by_event_loop(due.tolist(), worker.tolist(), workers, ttft.tolist(), work)
    assert played.lag_ns.tolist() == lag
    assert played.busy_ns.tolist() == spent


def test_each_row_once() -> None:
    """A compiled plan, cut for seven: each row is sent by one worker, its tokens read once, and all
    time is accounted for.
    """
    table = planned(5_000, 2_000, tokens=3).schedule
    whose = owners(table, 7)
    work = Work(50_000, 60_000, 10_000, tokens=3, gap_ns=5_000_000)
    played = play(table["due_ns"].astype(np.int64), whose, 7, np.full(5_000, 20_000_000), work)
    assert (played.sent == 1).all()
    assert (played.read == 3).all()
    assert (played.wait_ns >= 0).all()
    assert played.busy_ns.tolist() == [
        int((whose == number).sum()) * work.request_ns for number in range(7)
    ]


def test_owners_are_those_of_the_product() -> None:
    """Worker k has the rows of the product's own share k, for any number of workers."""
    table = planned(1_000, 500).schedule
    for workers in (1, 2, 7, 64):
        whose = owners(table, workers)
        for number in range(workers):
            assert (Share(shard=number, shards=workers).rows(table) == (whose == number)).all()


def test_slices_are_smoother_than_the_whole() -> None:
    """Every n-th arrival of a Poisson process is Erlang: the squared variation of a worker's gaps
    is 1/n.
    """
    table = planned(100_000, 10_000).schedule
    for workers in (1, 4, 16):
        gaps = np.concatenate(
            [
                np.diff(table["due_ns"][owners(table, workers) == number])
                for number in range(workers)
            ]
        )
        assert gaps.var() / gaps.mean() ** 2 == pytest.approx(1 / workers, rel=0.05)


def test_md1() -> None:
    """A worker that only sends is M/D/1: mean, p50, p90 and p99 of the wait at 70 % are theory's
    within 2 %.
    """
    load, cost = 0.7, 100_000
    wait = play(
        poisson(load * _S / cost, 1_000_000, 11),
        np.zeros(1_000_000, np.int64),
        1,
        np.ones(1_000_000, np.int64),
        Work(cost),
    ).wait_ns
    assert (wait > 0).mean() == pytest.approx(load, rel=0.01)
    assert wait.mean() == pytest.approx(cost * load / 2 / (1 - load), rel=0.02)

    for quantile in (0.5, 0.9, 0.99):
        theory = optimize.brentq(lambda t, q=quantile: crommelin(t, load) - q, 0, 20)
        assert np.quantile(wait, quantile) / cost == pytest.approx(theory, rel=0.02)


def test_answers_are_load() -> None:
    """Answers that come after widely spread times are a second Poisson stream: the wait is
    Pollaczek and Khinchine's within 3 %.
    """
    rows, rate = 600_000, 20_000.0
    work = Work(10_000, 25_000, tokens=1)
    due = poisson(rate, rows, 3)
    ttft = 50_000_000 + np.random.default_rng(4).exponential(_S, rows).astype(np.int64)
    wait = play(due, np.zeros(rows, np.int64), 1, ttft, work).wait_ns[due > 8 * _S]
    load = rate * (10_000 + 25_000) / _S
    second_moment = (10_000.0**2 + 25_000.0**2) / 2
    theory = 2 * rate / _S * second_moment / 2 / (1 - load)
    assert wait.mean() == pytest.approx(theory, rel=0.03)


def test_nothing_to_play() -> None:
    """No rows, no events, no time."""
    none = np.empty(0, np.int64)
    played = play(none, none, 2, none, Work(1, 1, 1, tokens=2, gap_ns=1))
    assert (len(played.lag_ns), played.end_ns, played.busy_ns.tolist()) == (0, 0, [0, 0])


def costs() -> Costs:
    """Made up, and easy to reckon with."""
    ones = {field.name: 1 for field in dataclasses.fields(Costs)}
    return Costs(
        **ones
        | {
            "prompt_tokens": 64,
            "send_us": 100,
            "first_us": 200,
            "token_us": 10,
            "idle_us_s": 10_000,
            "seal_us": 500,
            "seal_aside_us": 300,
            "tell_us": 400,
            "request_bytes": 2_900,
            "event_bytes": 200,
        }
    )


def setting(minutes: float = 10) -> Setting:
    """16 tokens, 0.8 s an answer."""
    return Setting(
        tokens=16,
        ttft_ms=200,
        gap_ms=40,
        minutes=minutes,
        cores=64,
        nic_gbit=8,
        descriptors=1_064,
        memory_gb=62,
        disk_mb_s=500,
        patience_s=600,
    )


def test_as_many_workers_as_needed() -> None:
    """With so many workers lag p99 is under the limit, with fewer it is not; a thread that holds
    nobody up needs no more of them.
    """
    simulation = Simulation(2_000, 2.5, costs(), setting())
    limit = 1_500_000
    workers = simulation.needed(limit)
    assert simulation.lag_ns(workers)[1] < limit <= simulation.lag_ns(workers - 1)[1]
    assert simulation.unhindered().needed(limit) <= workers


def test_schedule_is_one_plan() -> None:
    """Compiled in slices, it is sorted, has the rate asked for, and numbers each session once."""
    table = schedule(600_000, 2, 64, 1)
    assert (np.diff(table["due_ns"]) >= 0).all()
    assert table["session"].tolist() == list(range(len(table)))
    assert len(table) == pytest.approx(1_200_000, abs=4 * math.sqrt(1_200_000))
    assert table["due_ns"][-1] == pytest.approx(2 * _S, rel=0.001)


def test_bounds_by_hand() -> None:
    """What follows from sizes alone is what a calculation on paper gives, and the first to break
    stands first.
    """
    found = {bound.what: bound.rps for bound in bounds(costs(), setting(), 1_000)}
    assert list(found.values()) == sorted(found.values())
    assert found["20,000,000 rows of one plan, 10 minutes"] == pytest.approx(20e6 / 600)
    assert found["1,064 descriptors"] == pytest.approx(1_000 / 0.8)
    assert found["64 cores, a worker each"] == 64_000
    assert found["62 GB to judge and report"] == pytest.approx(100e6 / 600)
    # Out: 2,900 bytes in three segments and 16 acknowledgements. In: 300 of head, 16 tokens, as
    # many segments, three acknowledgements.
    assert wire_bytes(costs(), setting()) == (2_900 + 19 * 78, 300 + 16 * 200 + 19 * 78)
    assert found["8 Gbit/s of network"] == pytest.approx(1e9 / (300 + 16 * 200 + 19 * 78))
    # R * 600 s rows at 1 us each in 600 s, however many shards they go to.
    assert found["600 s to cut it"] == pytest.approx(1e6)


def test_crommelin_beside_the_benchmark() -> None:
    """The benchmark's own inversion of Crommelin's law is scipy's."""
    for load, quantile in ((0.5, 0.9), (0.7, 0.5), (0.7, 0.99)):
        theory = optimize.brentq(lambda t, q=quantile, r=load: crommelin(t, r) - q, 0, 20)
        assert md1_wait(quantile, load) == pytest.approx(theory, abs=1e-6)
