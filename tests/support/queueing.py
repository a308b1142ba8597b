"""Waits behind one pool of the simulated gateway, and what Erlang and Crommelin say of them."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np

from bench.gateway.scenarios import Gateway
from bench.gateway.virtual import Ended, Simulation
from bench.units import S

#: Arrivals of a test.
N = 150_000


def waits_ms(pool: dict[str, Any], rate: float, n: int = N, seed: int = 1) -> np.ndarray:
    """Waiting times of Poisson arrivals at `rate` a second, in order of arrival."""
    world = Gateway.model_validate(
        {"model": [{"name": "m", "pool": "p"}], "pool": [{"name": "p", **pool}]}
    )
    waits = np.zeros(n)

    def ended(owner: tuple[int, int], how: Ended) -> None:
        waits[owner[0]] = (how.start_ns - owner[1]) / 1e6

    simulation, rng, moment = (
        Simulation(world, seed, ended, timeout_ns=600 * S),
        Random(seed + 100),
        0,
    )
    for index in range(n):
        moment += int(rng.expovariate(rate) * S)
        simulation.request(moment, (index, moment), "m", 1, 1)
    simulation.finish()
    return waits


def erlang_c(servers: int, load: float) -> float:
    """Chance to wait in M/M/c at `load` = arrival rate times mean service."""
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def md1_wait_cdf(t: float, rate: float, service: float) -> float:
    """P(W <= t) in M/D/1 (Erlang 1909, Crommelin 1932)."""
    return (1 - rate * service) * sum(
        (-rate * (t - k * service)) ** k / math.factorial(k) * math.exp(rate * (t - k * service))
        for k in range(int(t / service) + 1)
    )
