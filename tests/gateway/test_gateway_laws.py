"""Laws of time against theory."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from bench.gateway.laws import Component, Law, sampler

LAW = TypeAdapter(list[Component])
N = 20_000


def draws(law: list[dict[str, object]], times: float = 1.0) -> np.ndarray:
    """Draws in ms, always the same ones."""
    rng, draw = Random(5), sampler(LAW.validate_python(law), times)
    return np.array([draw(rng) for _ in range(N)]) / 1e6


def test_lognormal_follows_scipy() -> None:
    """Drawn times fit scipy's lognormal with the stated median and p99 (Kolmogorov-Smirnov)."""
    sample = draws([{"lognormal": {"median": "200ms", "p99": "600ms"}}])
    sigma = np.log(3.0) / stats.norm.ppf(0.99)
    assert stats.kstest(sample, stats.lognorm(sigma, scale=200).cdf).pvalue > 0.01


def test_exponential_follows_scipy() -> None:
    """Drawn times fit scipy's exponential with the stated mean."""
    assert stats.kstest(draws([{"exponential": "50ms"}]), stats.expon(scale=50).cdf).pvalue > 0.01


def test_mixture_weights() -> None:
    """The share of a component is binomial in its weight."""
    sample = draws([{"weight": 984, "fixed": "1ms"}, {"weight": 16, "fixed": "6s"}])
    slow = int((sample > 100).sum())
    assert stats.binomtest(slow, N, 0.016).pvalue > 0.01
    assert set(sample) == {1.0, 6000.0}


def test_times_multiplies_each_draw() -> None:
    """A slowdown of 3 gives the same draws, three times as long."""
    law: list[dict[str, object]] = [{"lognormal": {"median": "200ms", "sigma": 0.5}}]
    assert np.allclose(draws(law, 3.0), 3 * draws(law), atol=1e-5)


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [{}],
        [{"fixed": "1ms", "exponential": "1ms"}],
        [{"lognormal": {"median": "1ms"}}],
        [{"lognormal": {"median": "2ms", "p99": "1ms"}}],
        [{"fixed": 5}],
        [{"fixed": "1ms", "weight": 0}],
    ],
)
def test_impossible_laws_are_refused(bad: object) -> None:
    """A law needs one shape a component, units, and a weight above zero."""
    with pytest.raises(ValidationError):
        TypeAdapter(Law).validate_python(bad)
