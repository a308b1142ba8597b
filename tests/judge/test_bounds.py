"""The bound that is printed says what the verdict says, for every kind of clause: on drawn runs,
through the product's own path.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.plan.clause import Clause
from benchmarks.coverage import denied
from benchmarks.production import Rows, contract_of, judged, rows_of
from benchmarks.shapes_incidents import Draw, half_single, sticky_regions, unequal
from benchmarks.shapes_of_time import outages, partial

RUNS = 8
#: True shares of bad rows, from far below what a clause allows to far above it.
SHARES = (0.002, 0.01, 0.03)
Made = Callable[[Any], Clause]


def uptime(method: str, **keys: Any) -> Made:
    return lambda share: Clause(
        metric="uptime", share=share, method=method, assumed_outage="1min", **keys
    )


#: A clause by its limit, and limits of which each asks less than the one before.
REQUESTS: dict[str, tuple[Made, tuple[str, ...]]] = {
    "quantile": (
        lambda limit: Clause(metric="e2e", quantile="99%", limit=limit),
        ("300ms", "600ms", "900ms", "2s"),
    ),
    "floor": (
        lambda floor: Clause(metric="output_tps", quantile="99%", at_least=floor),
        ("7/s", "3/s", "1.5/s", "0.5/s"),
    ),
    "share": (
        lambda share: Clause(
            metric="e2e", statistic="share_of_requests", share=share, limit="700ms"
        ),
        ("99.5%", "99%", "98%", "95%"),
    ),
    "uptime": (lambda share: Clause(metric="uptime", share=share), ("99.5%", "99%", "98%", "95%")),
    "errors": (
        lambda share: Clause(metric="error_share", share=share),
        ("0.5%", "1%", "2%", "5%"),
    ),
}
STRETCHES: dict[str, tuple[Made, tuple[str, ...]]] = {
    "interval means": (uptime("mean_of_intervals", window="5min"), ("99%", "98%", "95%")),
    "whole minutes": (uptime("minute_all_fail"), ("99%", "98%", "95%")),
    "minutes of errors": (
        uptime("downtime_minutes", error_rate="5%", minutes=1),
        ("98%", "95%", "80%"),
    ),
    "slices": (uptime("slice_ok", window="5min", slice_share="95%"), ("98%", "95%", "80%")),
    "windows": (
        lambda share: Clause(
            metric="e2e", statistic="share_of_windows", share=share, window="1min", limit="300ms"
        ),
        ("98%", "95%", "80%"),
    ),
}


def agree(rows: Rows, made: Made, limits: tuple[str, ...], end_ns: int | None = None) -> list[str]:
    """What each limit comes to, alone; no bound denies its verdict."""
    said: list[str] = []
    for limit in limits:
        verdict = judged(rows, contract_of(made(limit)), end_ns)[0]
        assert not denied(verdict), (limit, verdict.verdict, verdict.bound, verdict.reason)
        said.append(verdict.verdict)
    return said


def only_gets_easier(said: list[str]) -> None:
    """PASS at a limit is PASS at each that asks less; FAIL is FAIL at each that asks more."""
    order = [("FAIL", "INCONCLUSIVE", "PASS").index(verdict) for verdict in said]
    assert order == sorted(order), said


def after_a_start(rng: np.random.Generator, share: float) -> Rows:
    """300 to 600 answers of much the same length but for the first ones, and hardly a failure."""
    n = int(rng.integers(300, 600))
    latency_s = 0.2 * (1 + 0.02 * rng.random(n))
    latency_s[: n // 15] *= rng.uniform(1, 3)
    return rows_of(np.arange(n) / 10, latency_s, rng.random(n) < share / 10)


def drawn(draw: Draw, number: int, most: int) -> Rows:
    share = SHARES[number % len(SHARES)]
    rng = np.random.default_rng([number, zlib.crc32(repr(share).encode())])
    rows = draw(rng, share)
    return rows.until(int(rows.due_ns[min(most, len(rows.due_ns) - 1)]))


@pytest.mark.parametrize("kind", REQUESTS)
def test_no_bound_denies_a_verdict_on_requests(kind: str) -> None:
    made, limits = REQUESTS[kind]
    for number in range(RUNS):
        draw = (half_single, sticky_regions, unequal(2, 1.0, 3_600), after_a_start)[number % 4]
        only_gets_easier(agree(drawn(draw, number, 1_200), made, limits))


@pytest.mark.parametrize("kind", STRETCHES)
def test_no_bound_denies_a_verdict_on_stretches(kind: str) -> None:
    made, limits = STRETCHES[kind]
    for number in range(RUNS):
        draw = (outages(0.5, 4, 120), outages(0.5, 4, 120, 0.3), partial)[number // 3 % 3]
        rows = drawn(draw, number, 3_000)
        end_ns = 12 * 3_600 * 10**9
        only_gets_easier(agree(rows.until(end_ns), made, limits, end_ns))


@pytest.mark.parametrize("slow", [0, 1, 2_900])
@pytest.mark.parametrize("kind", ["quantile", "uptime"])
def test_one_session_with_half_of_all_rows_decides_nothing(kind: str, slow: int) -> None:
    """Whatever its rows came to: no bound, no size that would decide, and why it is open."""
    row = np.arange(3_000)
    latency_s, failed = np.full(3_000, 0.1), (row < slow) & (kind == "uptime")
    latency_s[row < slow] = 3.0
    rows = rows_of(row / 10, latency_s, failed, np.where(row % 2, 0, row + 1))
    made, limits = REQUESTS[kind]
    found = judged(rows, contract_of(made(limits[1])))[0]
    assert (found.verdict, found.open_cause) == ("INCONCLUSIVE", "few_blocks")
    assert (found.p_limits, found.decide) == ((0, 1), None)
    assert set(found.bound) <= {None, 0.0, 1.0}
    needs = "4 that a FAIL needs" if slow > 1 else "10 that a PASS needs"
    assert needs in found.reason
    assert found.reason.endswith(
        "One session holds so many of them that more requests alone decide nothing"
    )
