"""Arms drawn from a stated law: lognormal latencies of 200 ms median over a run with a drift.

In: a seed, sizes, what differs. Out: two arms of one run. Must stay true: nothing under test is
used but the record.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.judge.compare.arms import Arm
from bench.record.records.comparisons import ArmFacts

S, MS = 10**9, 10**6
RUN_S = 1200


def facts(**more: Any) -> ArmFacts:
    """What arms of one run have in common."""
    same: dict[str, Any] = {
        "run": "r",
        "machine": {"cpu": "c"},
        "clock": "k",
        "simulated": False,
        "profile": "p",
        "closed_loop": False,
        "began_ns": 0,
        "ended_ns": RUN_S * S,
        "phases": ["quiet", "burst"],
        "buckets": ["≤1K", "1K–8K"],
        "spans": [["quiet", 0, RUN_S // 2 * S], ["burst", RUN_S // 2 * S, RUN_S * S]],
        "limit_ns": 800 * MS,
        "unfit": None,
        "breach_usd": None,
        "usd_per_request": None,
    }
    return ArmFacts(**{**same, **more})


def arm(name: str, at_s: Any, latency_ms: Any, **more: Any) -> Arm:
    """An arm whose second half is the phase `burst` and whose odd rows have the longer prompts."""
    at_ns = (np.asarray(at_s) * S).astype(np.int64)
    return Arm(
        name,
        "e2e",
        at_ns,
        np.asarray(latency_ms, np.float64) * MS,
        (at_ns >= RUN_S // 2 * S).astype(np.int64),
        np.arange(len(at_ns)) % 2,
        0,
        facts(**more),
    )


def pair(
    seed: int,
    rows: int,
    *,
    ratio: float = 1.0,
    sigma: float = 0.7,
    drift: float = 0.0,
    order: str = "random",
    block_s: float = 5.0,
    fail: tuple[float, float] = (0.0, 0.0),
    burst_ratio: float | None = None,
    spell_s: float | None = None,
) -> tuple[Arm, Arm]:
    """Two arms of about `rows` each; the other's latencies are `ratio` times as long, both drift up
    by `drift`.

    `order`: each request at random, ABBA blocks of `block_s`, or the one arm "first" and then the
    other, each on its own clock. `spell_s`: each arm has slow spells of its own, of that mean
    length, 5 % of the time; in them every second request takes ten times as long.
    """
    rng = np.random.default_rng([seed, rows])
    at_s = np.sort(rng.uniform(0, RUN_S, 2 * rows))
    sides = {
        "random": rng.integers(0, 2, 2 * rows),
        "abba": np.array([0, 1, 1, 0])[(at_s // block_s).astype(int) % 4],
        "first": np.arange(2 * rows) // rows,
    }[order]
    times = np.where(at_s >= RUN_S / 2, ratio if burst_ratio is None else burst_ratio, ratio)
    latency = (
        200
        * rng.lognormal(0, sigma, 2 * rows)
        * (1 + drift) ** (at_s / RUN_S)
        * np.where(sides == 1, times, 1.0)
    )
    latency[rng.random(2 * rows) < np.where(sides == 1, fail[1], fail[0])] = np.inf
    if spell_s is not None:
        for side in (0, 1):
            lengths = rng.exponential([19 * spell_s, spell_s], (int(RUN_S / spell_s) + 9, 2))
            slow = np.searchsorted(np.cumsum(lengths), at_s) % 2 == 1
            latency[slow & (sides == side) & (rng.random(2 * rows) < 0.5)] *= 10
    if order == "first":
        at_s = 2 * at_s % RUN_S
    return arm("standard", at_s[sides == 0], latency[sides == 0]), arm(
        "pro", at_s[sides == 1], latency[sides == 1]
    )
