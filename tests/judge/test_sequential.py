"""Looks, steadiness and Holm's order: vectors, scipy and hand."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.judge.stats.dependence import Trials
from bench.judge.stats.sequential import holm, look_times, steadiness, trend

VECTORS = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"
P0 = Fraction(1, 100)
with_vectors = pytest.mark.skipif(not VECTORS.is_file(), reason="no ../shared/stats_reference.json")


def reference(name: str) -> Any:
    return json.loads(VECTORS.read_bytes())[name]


def trials(n: int, bad: Any) -> Trials:
    flags = np.zeros(n, bool)
    flags[np.asarray(bad, int)] = True
    return Trials(np.arange(n) * 1_000_000, flags, np.zeros(n, bool), None)


def test_looks_are_planned_and_spend_alpha() -> None:
    """Four looks fall on the quarters; what each spends is held in test_verdict."""
    assert look_times(100, 1100) == (350, 600, 850, 1100)
    assert look_times(0, 10, 3) == (3, 6, 10)


def test_trend_is_spearmans() -> None:
    """rho and p equal scipy's, ties and both directions included; nothing is said of too little or
    of a constant.
    """
    rng = np.random.default_rng(6)
    for values in (
        rng.integers(0, 5, 30),
        rng.random(12) + np.arange(12) / 5,
        -np.arange(9) + rng.random(9) * 3,
        np.array([1.0, 3.0, 2.0, 4.0]),
    ):
        expected = stats.spearmanr(np.arange(len(values)), values)
        found = trend(values)
        assert found is not None
        assert found == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert trend([1.0, 1.0, 1.0, 1.0, 1.0]) is trend([1.0, 2.0, 3.0]) is None


def test_steadiness_names_a_drift_and_a_warm_up() -> None:
    """A share that grows has rho near one; a slow beginning ends where it was put; a still run has
    neither.
    """
    n, rng = 3000, np.random.default_rng(9)
    growing = np.flatnonzero(rng.random(n) < np.linspace(0, 0.2, n))
    warm = 20 + rng.normal(0, 0.1, n) + 3 * np.exp(-np.arange(n) / 100)
    found = steadiness(trials(n, growing), np.exp(warm).astype(np.int64))
    assert found.trend is not None
    assert found.rows is not None
    assert found.medians is not None
    assert (found.trend.rho > 0.8, found.trend.p < 1e-6) == (True, True)
    assert 200 <= found.rows.truncate_first <= 600  # e^-2 to e^-6 of the excess is left
    assert found.warm_up_ns == found.rows.truncate_first * 1_000_000
    assert 1 <= found.medians.d_star <= 6
    still = steadiness(
        trials(n, np.arange(0, n, 97)), np.exp(20 + rng.normal(0, 0.1, n)).astype(np.int64)
    )
    assert still.trend is None or still.trend.p > 0.05
    assert still.rows is not None
    assert still.rows.at_boundary is False
    few = steadiness(
        trials(12, []), np.full(12, 20_000_000)
    )  # two batches of five, one median a row
    assert few.rows is not None
    assert few.medians is not None
    assert (few.rows.batches, few.medians.batches) == (2, 2)
    nothing = steadiness(trials(40, []), np.full(40, -1))
    assert (nothing.trend, nothing.rows, nothing.medians, nothing.warm_up_ns) == (
        None,
        None,
        None,
        None,
    )


def test_holm_holds_each_claim_to_its_own_share() -> None:
    """Of 0.01, 0.04, 0.03 and 0.005 at 5 % the two smallest stand: 0.03 is over 0.05/2."""
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([0.02, 0.0251], 0.05) == [True, True]
    assert holm([0.04, 0.03], 0.05) == [False, False]
    assert holm([], 0.05) == []
