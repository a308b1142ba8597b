"""The serving model against queueing theory, where theory has an answer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from bench.gateway.scenarios import Gateway
from bench.gateway.virtual import Simulation
from bench.units import S
from tests.support.queueing import erlang_c, md1_wait_cdf, waits_ms


def batch_error(waits: np.ndarray, quantile: float) -> float:
    """Standard error of a quantile, from 20 batches in a row (waits that follow are alike)."""
    return spread([np.quantile(part, quantile) for part in np.array_split(waits, 20)])


def spread(batches: list[Any]) -> float:
    """Standard error of the mean of batches."""
    return float(np.std(batches, ddof=1) / math.sqrt(len(batches)))


def test_mmc() -> None:
    """M/M/4 at 70 %: share that waits, and p90, p99 of the wait are Erlang's."""
    rate, mean_s, servers = 28.0, 0.1, 4
    waits = waits_ms({"e2e": {"exponential": "100ms"}, "slots": servers}, rate)
    waiting = erlang_c(servers, rate * mean_s)
    error = spread([(part > 0).mean() for part in np.array_split(waits, 20)])
    assert (waits > 0).mean() == pytest.approx(waiting, abs=4 * error)
    for quantile in (0.9, 0.99):
        theory = math.log(waiting / (1 - quantile)) / (servers / mean_s - rate) * 1e3
        assert np.quantile(waits, quantile) == pytest.approx(
            theory, abs=4 * batch_error(waits, quantile)
        )


def test_md1() -> None:
    """M/D/1 at 70 %: p50, p90 and p99 of the wait are Crommelin's."""
    rate, service = 7.0, 0.1
    waits = waits_ms({"e2e": {"fixed": "100ms"}, "slots": 1}, rate)
    for quantile in (0.5, 0.9, 0.99):
        theory = 1e3 * optimize.brentq(
            lambda t, q=quantile: md1_wait_cdf(t, rate, service) - q, 0, 2
        )
        assert np.quantile(waits, quantile) == pytest.approx(
            theory, abs=4 * batch_error(waits, quantile)
        )


@pytest.mark.slow("150,000 simulated arrivals")
def test_neighbours_are_load_like_any_other() -> None:
    """Few own requests among 60 Poisson neighbours a second on one slot of 10 ms wait as in M/D/1
    at 61/s.
    """
    pool = {"e2e": {"fixed": "10ms"}, "slots": 1, "neighbours": {"rate": "60/s"}}
    waits = waits_ms(pool, 1.0, 3000)
    load = 0.61
    assert waits.mean() == pytest.approx(
        10 * load / (2 * (1 - load)), abs=4 * waits.std() / math.sqrt(len(waits))
    )


def test_burst_of_neighbours_is_felt_on_the_shared_pool_alone() -> None:
    """In a burst of ten times the neighbours' rate, shared requests queue; dedicated ones
    do not.
    """
    fixed = {"e2e": {"fixed": "10ms"}, "slots": 1}
    world = Gateway.model_validate(
        {
            "model": [{"name": "shared", "pool": "s"}, {"name": "dedicated", "pool": "d"}],
            "pool": [
                {"name": "s", **fixed, "neighbours": {"rate": "20/s"}},
                {"name": "d", **fixed},
            ],
            "timeline": [{"at": "10s", "for": "5s", "pool": "s", "neighbours": "10x"}],
        }
    )
    waits: dict[tuple[str, int], float] = {}
    simulation = Simulation(
        world,
        1,
        lambda owner, how: waits.__setitem__(owner, how.start_ns / S - owner[1]),
        timeout_ns=60 * S,
    )
    for second in (5, 9, 14, 40):
        for model in ("shared", "dedicated"):
            simulation.request(second * S, (model, second), model, 1, 1)
    simulation.finish()
    assert all(waits["dedicated", second] == 0 for second in (5, 9, 14, 40))
    assert max(waits["shared", second] for second in (5, 9, 40)) < 0.1
    # 200 arrivals a second against 100 served: after 4 s about 400 wait, which takes 4 s
    assert waits["shared", 14] == pytest.approx(4.0, abs=4 * math.sqrt(800) * 0.01)


def test_burstiness_of_neighbours() -> None:
    """Gamma gaps with shape 0.25 make the wait longer than Poisson ones at the same rate."""
    pool = {"e2e": {"fixed": "10ms"}, "slots": 1}
    poisson, bursty = (
        waits_ms(pool | {"neighbours": {"rate": "50/s", "burstiness": shape}}, 1.0, 1000).mean()
        for shape in (1.0, 0.25)
    )
    assert bursty > 2 * poisson


def test_batch_of_any_size_is_busy_as_theory_says() -> None:
    """One step of 10 ms serves all who came before it: Poisson arrivals at 50/s wait with chance
    0.452.

    A busy time lasts as long as each step sees an arrival, e^(λd) steps in the mean; an idle one
    1/λ.
    """
    waits = waits_ms({"batch": {"sequences": 1000, "step": "10ms"}}, 50.0, 20_000)
    load = 50.0 * 0.010
    busy = load * math.exp(load) / (load * math.exp(load) + 1)
    assert waits.max() <= 10
    error = spread([(part > 0).mean() for part in np.array_split(waits, 20)])
    assert (waits > 0).mean() == pytest.approx(busy, abs=4 * error)
    # and those who wait are spread evenly over the step
    assert waits[waits > 0].mean() == pytest.approx(5.0, abs=0.3)
