"""The verdict's rule inverted over the limit: by trying limits, over drawn runs in spells."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.judge.stats.crossings import Tail, crossings, lowest_passing
from bench.judge.stats.dependence import Judged, Trials, judge_trials
from bench.judge.stats.scales import lay_out
from bench.judge.stats.stand_in import OVER_ANY_LIMIT_NS, StandIn
from bench.record.samples import Int

ALPHA = 0.05


def drawn(n: int, seed: int) -> tuple[Int, Int]:
    """Values in spells, with failures and ties, and rows that were cut off: as high and as low as
    they may be.
    """
    rng = np.random.default_rng(seed)
    spell = int(rng.integers(1, 30))
    slow = np.repeat(rng.random(n // spell + 1) < rng.uniform(0, 0.2), spell)[:n]
    values = (rng.lognormal(4, 0.3, n) * np.where(slow, rng.uniform(1, 5), 1)).astype(np.int64)
    values[rng.random(n) < rng.choice([0, 0.002, 0.02])] = OVER_ANY_LIMIT_NS
    cut = rng.random(n) < rng.choice([0, 0.003])
    high = np.where(cut, OVER_ANY_LIMIT_NS, values)
    return high, np.where(cut, np.minimum(values, 40), values)


def judged(values: tuple[Int, Int], limit: int, p0: Fraction, sessions: Int | None) -> Judged:
    """The run under one limit."""
    n = len(values[0])
    bad = values[1] > limit
    unknown = (values[0] > limit) & ~bad
    return judge_trials(
        Trials(np.arange(n) * 10**6, bad, unknown, values[0], sessions, values, limit), p0, ALPHA
    )


@pytest.mark.slow("many drawn runs, each under several limits")
@given(
    st.sampled_from([40, 150, 301, 700]),
    st.sampled_from([Fraction(1, 100), Fraction(1, 20), Fraction(1, 2), Fraction(1, 1000)]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=30, deadline=None)
def test_no_bound_denies_its_verdict_and_larger_limits_pass(
    n: int, p0: Fraction, in_sessions: bool, seed: int
) -> None:
    """At limits all over the values: PASS from the upper bound on, FAIL below the lower one, and
    both bounds are the run's, whatever the limit.
    """
    values = drawn(n, seed)
    sessions = np.arange(n) // 3 if in_sessions else None
    finite = np.unique(values[0][values[0] < OVER_ANY_LIMIT_NS])
    said = []
    for limit in sorted({int(each) for each in np.quantile(finite, [0, 0.5, 0.9, 1])}):
        found = judged(values, limit, p0, sessions)
        low, high = found.bound
        assert (high is not None and limit >= high) == (found.outcome == "PASS")
        if low is not None:
            assert (limit < low) == (found.outcome == "FAIL")
        assert (found.upper <= float(p0)) == (found.outcome == "PASS")
        assert (found.lower > float(p0)) == (found.outcome == "FAIL")
        assert (found.bad + found.unknown <= found.allowed) == (found.outcome == "PASS")
        assert (found.bad >= found.fails) == (found.outcome == "FAIL")
        said.append((found.outcome, found.bound))
    order = ["FAIL", "INCONCLUSIVE", "PASS"]
    assert said == sorted(said, key=lambda each: order.index(each[0]))
    assert len({bound for _, bound in said}) == 1


@pytest.mark.parametrize("n", [30, 299, 301, 2000])
def test_the_lowest_limit_that_passes_does_and_none_below(n: int) -> None:
    """Rows that lie far apart: each order statistic is tried, one by one."""
    values = (np.arange(n) * 0.618033988749895 % 1).argsort().argsort().astype(np.int64)
    layout, p0 = lay_out(np.arange(n) * 10**6), Fraction(1, 20)
    tail = Tail.of(layout, values, n)
    passing = [limit for limit in range(n) if tail.weight(limit, ALPHA).passes(p0, ALPHA)]
    found = lowest_passing(tail, p0, ALPHA, StandIn())
    assert found.value == (passing[0] if passing else None)
    assert found.count == (n - 1 - passing[0] if passing else -1)


@pytest.mark.parametrize("failures", [5, 8, 9])
def test_failures_are_passed_as_far_as_the_exact_count_goes(failures: int) -> None:
    """Of 1,500 rows that failed far apart, 8 pass by the binomial (3.7 %) and 9 do not (6.9 %),
    though no limit lies between failures.
    """
    values = np.arange(1500, dtype=np.int64)
    values[np.arange(failures) * 160 + 70] = OVER_ANY_LIMIT_NS
    tail = Tail.of(lay_out(np.arange(1500) * 10**6), values, 1500)
    exact = stats.binom.cdf(failures, 1500, 0.01) <= ALPHA
    assert (lowest_passing(tail, Fraction(1, 100), ALPHA, StandIn()).value is not None) == exact


def test_the_tail_suffices_unless_fail_lies_deeper() -> None:
    """3,000 equal values, under a promise of 1 %: every limit below them fails, and the rows that
    are sorted first do not show it.
    """
    values = np.full(3000, 7, np.int64)
    passing, failing = crossings(
        lay_out(np.arange(3000) * 10**6),
        (values, values),
        Fraction(1, 100),
        (ALPHA, ALPHA),
        StandIn(),
    )
    assert (passing.value, passing.count) == (7, 0)
    assert (failing.value, failing.count) == (7, 3000)
