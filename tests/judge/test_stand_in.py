"""What the slowest rows say of spells that have not come: by hand, and where they say nothing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.stats.dependence import Judged, Trials, judge_trials
from bench.judge.stats.scales import lay_out, weigh
from bench.judge.stats.stand_in import StandIn, slow_twentieth
from bench.record.samples import Int

MS, S = 10**6, 10**9
PERCENT, TENTH = Fraction(1, 100), Fraction(1, 10)


def of(took: Int) -> StandIn:
    return StandIn.of(lay_out(np.arange(len(took)) * MS), took)


def judged(took: Int, limit_ns: int, p0: Fraction, alpha: float = 0.05) -> Judged:
    """Ten a second, each answered."""
    none, at_ns = np.zeros(len(took), bool), np.arange(len(took)) * S // 10
    bad = took > limit_ns
    return judge_trials(Trials(at_ns, bad, none, took, None, (took, took), limit_ns), p0, alpha)


def cold(n: int, first_ms: int, then_ms: int) -> Int:
    """The first twentieth is slow, as after a start, and the others take the same to the ns."""
    return np.where(np.arange(n) < n // 20, first_ms, then_ms) * MS


def test_the_slowest_twentieth() -> None:
    """Of 1 ... 40 two lie above p95; of rows that all took the same none does."""
    assert slow_twentieth(np.arange(1, 41)).nonzero()[0].tolist() == [38, 39]
    assert slow_twentieth(np.arange(0)).tolist() == []
    assert not slow_twentieth(np.full(400, 7)).any()


def test_it_is_thinned_to_the_share_that_is_promised() -> None:
    """A spell of 150 slow rows, the slowest twentieth of 3,000: drawn at random from among them, a
    hundredth of all rows would be a fifth of it.
    """
    took = np.full(3000, 100)
    took[600:750] = 900
    whole = weigh(lay_out(np.arange(3000) * MS), np.arange(600, 750), 0.05).w
    found = of(took)
    assert found.rows(PERCENT, 800) == pytest.approx(1 + (whole - 1) / 5)
    assert found.rows(Fraction(1, 5), 800) == pytest.approx(whole)
    assert of(np.full(3000, 100)).rows(PERCENT, 800) == 1
    assert of(np.where(np.arange(800) % 20, 100, 900)).rows(PERCENT, 800) == 1  # they come alone


def test_it_is_thinned_to_what_is_within_reach_of_the_limit() -> None:
    """800 above the median: of a limit 8,000 above it a hundredth; without a limit, what takes
    twice the median would break the promise.
    """
    took = np.full(3000, 100)
    took[600:750] = 900
    found = of(took)
    for limit, part in ((8_100, 1 / 100), (1_700, 1 / 4), (900, 1), (500, 1), (100, 1), (60, 1)):
        assert found.within_reach(limit) == pytest.approx(part)
    assert found.rows(TENTH, 8_100) == pytest.approx(1 + (found.spell - 1) / 100)
    assert found.within_reach(None) == 1
    took[600:750] = 110
    assert of(took).within_reach(None) == pytest.approx(1 / 100)


def test_of_few_spells_it_is_asked() -> None:
    """Two lone bad rows tell little, three do: with none expected in e^-3 = 5 % of runs."""
    layout = lay_out(np.arange(900) * MS)
    far = [weigh(layout, np.arange(count) * 300, 0.05) for count in (1, 2, 3)]
    found = StandIn(spell=7.0, share=0.01)
    assert [found.beside(each, PERCENT).w for each in far] == [7, 7, 1]


@pytest.mark.parametrize(
    ("took", "limit_ms"),
    [
        (np.full(120, 100 * MS), 3000),
        (np.full(120, 3000 * MS), 3000),  # at the limit is within it
        (cold(120, 101, 100), 3000),
        (cold(120, 450, 100), 3000),
        (cold(120, 100, 100) + np.arange(120) // 100 * 2 * MS, 3000),
        (np.linspace(100, 130, 120).astype(int) * MS, 3000),  # ever slower, by a third
    ],
)
def test_a_small_clean_run_far_below_its_limit_passes(took: Int, limit_ms: int) -> None:
    """120 rows against p90 at 98.75 %: (1 - 0.1)^120 is far below 1.25 %, and rows that lie far
    below the limit do not say that spells reach it.
    """
    found = judged(took, limit_ms * MS, TENTH, 0.0125)
    assert (found.outcome, found.bad) == ("PASS", 0)


def test_the_bound_is_the_limit_that_the_slowest_rows_may_reach() -> None:
    """Above all that was seen: from it on the run passes, and below it does not."""
    took = cold(120, 450, 100)
    low, high = judged(took, 3000 * MS, TENTH, 0.0125).bound
    assert low is not None
    assert high is not None
    assert low <= 100 * MS < 450 * MS < high < 3000 * MS
    for limit, outcome in ((high - 1, "INCONCLUSIVE"), (high, "PASS"), (high + 1, "PASS")):
        found = judged(took, limit, TENTH, 0.0125)
        assert (found.outcome, found.bound) == (outcome, (low, high))


def test_a_small_run_whose_slowest_rows_come_near_does_not() -> None:
    """The first six of 120 took nine tenths of the limit: what they are the beginning of may break
    it.
    """
    found = judged(cold(120, 2_700, 100), 3000 * MS, TENTH, 0.0125)
    assert (found.outcome, found.cause) == ("INCONCLUSIVE", "worst_block")


@pytest.mark.parametrize(("first_ms", "outcome"), [(110, "PASS"), (190, "INCONCLUSIVE")])
def test_without_a_limit_slow_is_beside_the_median(first_ms: int, outcome: str) -> None:
    """Uptime of 99 %: 600 answers, the first twentieth a tenth slower, or nearly twice as slow."""
    none = np.zeros(600, bool)
    took = cold(600, first_ms, 100)
    found = judge_trials(Trials(np.arange(600) * S // 10, none, none, took), PERCENT, 0.05)
    assert found.outcome == outcome


@given(
    st.lists(st.integers(1, 10**6), min_size=2, max_size=200),
    st.integers(0, 2 * 10**6),
    st.integers(0, 2 * 10**6),
    st.fractions(Fraction(1, 1000), Fraction(1, 2)),
)
def test_the_larger_the_limit_the_smaller_the_spell(
    took: list[int], low: int, high: int, p0: Fraction
) -> None:
    """So that PASS at a limit is PASS at every larger one."""
    found = of(np.sort(np.array(took)))
    low, high = sorted((low, high))
    assert 1 <= found.rows(p0, high) <= found.rows(p0, low) <= max(found.spell, 1)
    assert found.within_reach(high) <= found.within_reach(low) <= 1
