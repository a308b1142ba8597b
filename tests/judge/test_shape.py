"""Percentile curves and slices of time, by hand and by property."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.shape import (
    ENOUGH,
    POINTS,
    SLICES,
    WITHIN,
    curve_of,
    slices_of,
    straightened,
    together,
)
from bench.judge.summary import lane_summary
from bench.record.records.shape import Slices
from bench.record.records.summary import TargetSummary
from bench.record.samples import Outcome
from tests.support.rows_by_hand import (
    MS,
    Row,
    answered,
    at_most,
    columns_of,
    contract_of,
    cut,
    failed,
    lane_of,
)

LATENCIES = st.lists(st.integers(0, 10**12), min_size=1, max_size=200)


def line_at(points: list[tuple[float, float]], share: float) -> float:
    """Log ms of the drawn line over a share, by the equation of its piece."""
    x = -math.log10(1 - share)
    for (left, low), (right, high) in pairwise(points):
        a, b = -math.log10(1 - left), -math.log10(1 - right)
        if a <= x <= b:
            part = (x - a) / (b - a) if b > a else 0.0
            return math.log(low) + part * (math.log(high) - math.log(low))
    raise AssertionError(share)


@given(
    st.lists(st.tuples(st.integers(500_000, 999_000), st.floats(0.001, 1e6)), max_size=POINTS),
)
def test_no_point_that_was_left_out_is_off_the_line(given: list[tuple[int, float]]) -> None:
    """The ends stay, no point is made up, and each lies within the width of a stroke."""
    shares = sorted({share for share, _ in given})
    points = [(share / 1e6, ms) for share, (_, ms) in zip(shares, given, strict=False)]
    kept = straightened(points)
    assert kept[:1] == points[:1]
    assert kept[-1:] == points[-1:]
    assert set(kept) <= set(points)
    for share, ms in points:
        if len(points) > 1:
            assert abs(line_at(kept, share) - math.log(ms)) <= math.log1p(WITHIN) + 1e-9


@given(LATENCIES, st.integers(0, 200))
def test_a_point_is_the_nearest_rank_among_answers_and_failures(
    values: list[int], failures: int
) -> None:
    """So many rows do not exceed it, and with one fewer they would be too few; failures end it."""
    curve = curve_of(np.sort(np.array(values)), failures)
    assert curve is not None
    assert curve.n == len(values) + failures
    assert len(curve.points) <= POINTS + 2
    ordered = sorted(values)
    for share, ms in curve.points:
        below = math.ceil(Fraction(f"{share:.6f}") * curve.n)
        if ms is None:
            assert below >= len(values) or share == 0.5 or below + 1 > len(values)
        else:
            assert ms == round(max(ordered[below - 1] / MS, 1e-3), 3)
    shares = [share for share, _ in curve.points]
    assert shares == sorted(shares)
    last = curve.points[-1][1]
    assert (last is None) == (bool(failures) and Fraction(len(values), curve.n) < Fraction("0.999"))


def test_a_curve_of_a_hundred_answers_by_hand() -> None:
    """1 to 100 ms: p50 is 50, the 99 % that a hundred rows can tell of are 99."""
    curve = curve_of(np.arange(1, 101) * MS, 0)
    assert curve is not None
    assert curve.points[0] == (0.5, 50.0)
    assert curve.points[-1] == (0.99, 99.0)
    half = curve_of(np.arange(1, 41) * MS, 60)
    assert half is not None
    assert half.points == [(0.5, None)]
    most = curve_of(np.full(90, 100 * MS), 10)
    assert most is not None
    assert most.points == [(0.5, 100.0), (0.9, 100.0), (0.9, None)]
    assert curve_of(np.zeros(0, np.int64), 5) is None


def slow_and_failed() -> list[Row]:
    """Sixty seconds: a row a second, the second ten slow, one failed, one cut off; one warm-up."""
    rows = [answered(100, due=1000 * at) for at in range(60)]
    rows[10:20] = [answered(900, due=1000 * at) for at in range(10, 20)]
    rows[30] = failed(Outcome.http_5xx, due=30_000)
    rows[40] = cut(300, due=40_000)
    rows[41] = cut(801, due=41_000)
    return [*rows, answered(5000, due=50_000, warmup=True)]


def test_slices_by_hand() -> None:
    """What is slow, what failed, what was slow already when it was cut off; not what is open."""
    rows = slow_and_failed()
    lane = lane_of(contract_of(at_most(800, "95%")), end_ns=60_000 * MS)
    found = slices_of(columns_of(rows), lane)
    assert found is not None
    assert (found.metric, found.view, found.over_ms, found.by) == ("e2e", "response", 800, "limit")
    assert found.allowed == 0.05
    assert found.requests == [0 if at == 40 else 1 for at in range(60)]
    assert found.bad == [int(10 <= at < 20 or at in (30, 41)) for at in range(60)]
    assert found.failed == [int(at == 30) for at in range(60)]


@pytest.mark.parametrize(
    ("rows", "over"),
    [
        ([answered(at) for at in range(100, 300)], 297),
        ([answered(at) for at in range(100, 110)] + [failed(Outcome.reset)], 109),
        ([failed(Outcome.reset)], 0),
    ],
)
def test_without_a_limit_the_own_p99_is_slow(rows: list[Row], over: int) -> None:
    """198 of 200 do not exceed it; where it lies among the failures, they alone are bad."""
    found = slices_of(columns_of(rows), lane_of())
    assert found is not None
    assert (found.by, found.over_ms, found.allowed) == ("p99", over, 0.01)
    assert sum(found.bad) == (2 if len(rows) == 200 else 1)


def test_what_tells_nothing_has_no_slices() -> None:
    """Nothing was sent, or all of it was cut off."""
    lane = lane_of(contract_of(at_most(800)))
    assert slices_of(columns_of([]), lane) is None
    assert slices_of(columns_of([cut(10)]), lane) is None
    summary = lane_summary(columns_of([]), lane, columns_of([]), None)
    assert (summary.curve, summary.slices) == ({}, None)


def test_summaries_of_earlier_versions_open() -> None:
    """Without the keys; with them they come back as they were."""
    rows = columns_of(slow_and_failed())
    lane = lane_of(contract_of(at_most(800)), end_ns=60_000 * MS)
    written = lane_summary(rows, lane, rows, None).to_json()
    assert set(written["curve"]) == {"ttft", "e2e"}
    again = TargetSummary.model_validate(written)
    assert again.to_json() == written
    assert isinstance(again.slices, Slices)
    old = {key: value for key, value in written.items() if key not in ("curve", "slices")}
    assert TargetSummary.model_validate(old).slices is None


def test_what_comes_at_random_is_scattered() -> None:
    """Of requests that are bad by lot, few or many, hardly ever something came together."""
    rng = np.random.default_rng(1)
    draws = 400
    requests = rng.poisson(rng.uniform(2, 400, (draws, 1)), (draws, SLICES))
    bad = rng.binomial(requests, rng.uniform(0.01, 0.3, (draws, 1)))
    named = [
        found
        for n, k in zip(requests.tolist(), bad.tolist(), strict=True)
        if (found := together(n, k)) is not None
    ]
    assert len(named) <= draws / 100


def test_what_came_together_is_named() -> None:
    """Two bursts, one with a quiet slice in it; a stray request widens neither."""
    bad = [0] * SLICES
    bad[10:15] = [9, 8, 0, 9, 9]
    bad[40:42] = [10, 10]
    bad[50] = 1
    found = together([10] * SLICES, bad)
    assert found is not None
    assert found.stretches == [(10, 15), (40, 42)]
    assert found.share == pytest.approx(55 / 56)
    assert together([10] * SLICES, [0] * SLICES) is None
    few = [0] * SLICES
    few[3] = ENOUGH - 1
    assert together([10] * SLICES, few) is None
    assert together([10] * SLICES, [10] * SLICES) is None
