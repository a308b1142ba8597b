"""What a comparison rests on: superblocks, resampled quantiles, limits, Fisher's test, the shift
and who is faster where.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.judge.compare.arms import Arm
from bench.judge.compare.difference import (
    exceedance,
    fisher_exact,
    permutation,
    shift_function,
)
from bench.judge.stats.resample import bootstrap_weights, ordered, percentile_limits
from bench.judge.stats.superblocks import (
    Layouts,
    Sampled,
    Series,
    sample,
    scales,
    slot_ns,
    superblocks,
    swapped,
    widest_limits,
)
from tests.support.made_arms import MS, RUN_S, S, pair

TENTHS = tuple(Fraction(tenth, 10) for tenth in range(1, 10))
P99 = Fraction(99, 100)


def sampled(baseline: Arm, other: Arm, seed: int = 1) -> Layouts:
    made = sample(
        (baseline.values, other.values), (baseline.at_ns, other.at_ns), slot_ns(RUN_S * S), seed
    )
    assert made
    return made


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 12), st.booleans())
def test_resampled_quantiles_are_those_of_the_rows_written_out(
    seed: int, n: int, blocks: int, ties: bool
) -> None:
    """Repeating every row as often as its superblock was drawn and sorting gives the same nearest
    ranks, ties or not.
    """
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, n).astype(float) if ties else rng.random(n)
    values[rng.random(n) < 0.1] = np.inf
    cells = rng.integers(0, blocks, n)
    weights = bootstrap_weights(blocks, seed, 20)
    weights = weights[(weights @ np.bincount(cells, minlength=blocks)) > 0]
    wanted = (Fraction(1, 100), Fraction(1, 2), P99, Fraction(1))
    found = ordered(values, cells, blocks, whole_ties=ties).quantiles(weights, wanted)
    for row, times in zip(found, weights.astype(int), strict=True):
        written = np.sort(np.repeat(values, times[cells]))
        ranks = [-(-q.numerator * len(written) // q.denominator) for q in wanted]
        assert row.tolist() == [written[rank - 1] for rank in ranks]


@pytest.mark.parametrize(("slower", "gone"), [(True, {2, 3, 4}), (False, {6, 7, 8})])
def test_the_superblock_that_speaks_most_goes_with_its_neighbours(
    slower: bool, gone: set[int]
) -> None:
    """The other arm's spell is in block 3, the baseline's in block 7: each direction of the finding
    leaves out its own.
    """
    cells = np.repeat(np.arange(10), 10)
    baseline, other = np.arange(100.0), np.arange(100.0)
    baseline[70:79] += 1000
    other[30:40] += 1000
    arms = tuple(ordered(values, cells, 10) for values in (baseline, other))
    rest = Sampled(10, (arms[0], arms[1]), scales(10, 1)).without_most_telling(
        Fraction(9, 10), 1, slower=slower
    )
    assert rest is not None
    assert rest.number == 7
    for arm in rest.arms:
        assert {int(value % 1000) // 10 for value in arm.values} == set(range(10)) - gone


@given(
    st.lists(
        st.sampled_from([(0, 0), (0, 0), (0, 1), (1, 0), (0, 9), (9, 0)]), min_size=8, max_size=24
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_counts_that_differ_by_one_tell_the_superblocks_apart(
    slow: list[tuple[int, int]], slower: bool
) -> None:
    """The block with the most rows above the quantile in one arm over the other goes, and what is
    beside it, by counting rows.
    """
    number = len(slow)
    cells = np.repeat(np.arange(number), 10)
    arms = []
    for arm in (0, 1):
        values = np.concatenate(
            [
                [1000.0 + block] * each[arm] + [float(block)] * (10 - each[arm])
                for block, each in enumerate(slow)
            ]
        )
        arms.append(ordered(values, cells, number))
    above = sum(sum(each) for each in slow)
    q = 1 - Fraction(
        max(above, 1) - 1, 20 * number
    )  # its nearest rank is the least of the slow rows
    leads = [each[1] - each[0] if slower else each[0] - each[1] for each in slow]
    assume(above > 0)
    rest = Sampled(number, (arms[0], arms[1]), scales(number, 1)).without_most_telling(
        q, 1, slower=slower
    )
    means = [sum(each[arm] for each in slow) / number for arm in (0, 1)]
    stands_out = any(
        each[arm] > means[arm] + 3.5 * means[arm] ** 0.5 + 1 for each in slow for arm in (0, 1)
    )
    assert (rest is not None) == stands_out
    assume(rest is not None)
    assert rest is not None
    worst = leads.index(max(leads))
    left = {block for block in range(number) if abs(block - worst) > 1}
    assert rest.number == len(left)
    for rows in rest.arms:
        assert {int(value % 1000) for value in rows.values} == left


def test_superblocks_hold_both_arms() -> None:
    """Units of 10: the second lacks the other arm and joins the first, the fourth is empty, the
    fifth counts as third.
    """
    first, second, number = superblocks((np.array([1, 12, 25, 44]), np.array([3, 27, 41])), 10)
    assert (first.tolist(), second.tolist(), number) == ([0, 0, 1, 2], [0, 1, 2], 3)
    assert superblocks((np.array([1]), np.array([15])), 10)[2] == 0


def test_slots_are_a_fortieth_of_the_run_and_a_minute_at_most() -> None:
    """20 s are cut into slots of half a second, 10 hours into minutes."""
    assert (slot_ns(20 * S), slot_ns(36_000 * S)) == (S // 2, 60 * S)


def test_arms_are_drawn_together_and_swapped_whole() -> None:
    """Each bootstrap draws as many superblocks as there are; labels are exchanged in half of them;
    seeds repeat.
    """
    weights = bootstrap_weights(40, 3)
    assert set(weights.sum(axis=1)) == {40.0}
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.15)
    assert np.array_equal(weights, bootstrap_weights(40, 3))
    assert not np.array_equal(weights, bootstrap_weights(40, 4))
    assert swapped(40, 3).mean() == pytest.approx(0.5, abs=0.02)


def test_groups_and_whole_sessions_widen_the_limits() -> None:
    """Of three scales the widest limits count; a session lies in one superblock, whatever time it
    takes.
    """
    draws = np.arange(1.0, 2001)
    wide = Series(3 * draws, 12)
    assert widest_limits([Series(draws, 10**9), wide], 0.025) == (50, 3 * 1951)
    rng = np.random.default_rng(1)
    session = np.repeat(np.arange(300), 10)
    at = np.repeat(np.sort(rng.integers(0, 1000 * S, 300)), 10) + rng.integers(0, 200 * S, 3000)
    values = np.repeat(rng.lognormal(0, 1, 300), 10)
    made = sample((values, values[::-1]), (at, at), slot_ns(1200 * S), 1, (session, None))
    assert [layout.number for layout in made] == [40, 40]
    assert [scale.groups for scale in made[1].scales] == [40, 20, 12]
    baseline = made[1].arms[0]
    for value in np.unique(values):  # one a session
        assert len(np.unique(baseline.cells[baseline.values == value])) == 1


def test_few_superblocks_widen_the_limits() -> None:
    """Draws 1..2000: with many superblocks the 2.5 % limits are ranks 50 and 1951; with 30 a t of
    2.045 stands for 1.96.
    """
    draws = np.arange(1.0, 2001)
    assert percentile_limits(draws, 0.025, 10**9) == (50, 1951)
    for number, alpha in itertools.product((2, 3, 4, 7, 12, 30), (0.01, 0.025, 0.05, 0.2)):
        tail = stats.norm.cdf(-stats.t.ppf(1 - alpha, number - 1) * np.sqrt(number / (number - 1)))
        rank = max(np.floor(tail * 2001), 1)
        assert percentile_limits(draws, alpha, number) == (rank, 2001 - rank), number


def test_a_draw_without_a_value_widens_both_limits() -> None:
    """3 % of draws between two failures leave no 2.5 % limit on either side."""
    draws = np.ones(2000)
    draws[:60] = np.nan
    assert percentile_limits(draws, 0.025, 40) == (-np.inf, np.inf)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_fisher_is_scipys(rows: int, more: int, data: st.DataObject) -> None:
    """The two-sided p value of any 2 × 2 table is that of scipy."""
    misses = data.draw(st.integers(0, rows)), data.draw(st.integers(0, more))
    table = [[misses[0], rows - misses[0]], [misses[1], more - misses[1]]]
    assert fisher_exact(misses, (rows, more)) == pytest.approx(
        stats.fisher_exact(np.array(table)).pvalue, rel=1e-9
    )


def test_no_misses_do_not_make_certainty() -> None:
    """Without a miss among 3,000 and 3,000 the difference is 0 and its interval that of exact
    limits: 1 - 0.025^(1/3000).
    """
    values = np.full(3_000, 100.0 * MS)
    over = exceedance(values, values, 800 * MS, (), 0.025, 1)
    most = 1 - 0.025 ** (1 / 3_000)
    assert over.interval == pytest.approx([-most, most], rel=1e-6)
    assert over.fisher_p is None


def test_the_difference_of_misses_is_covered() -> None:
    """True shares over 800 ms are known from the law; the interval of their difference holds it in
    35 of 40 runs or more.
    """
    z = [np.log(800 / 200) / 0.7, np.log(800 / 200 / 1.2) / 0.7]
    truth = float(stats.norm.sf(z[1]) - stats.norm.sf(z[0]))
    held = 0
    for seed in range(40):
        baseline, other = pair(seed, 3_000, ratio=1.2)
        low, high = exceedance(
            baseline.values, other.values, 800 * MS, sampled(baseline, other), 0.025, 1
        ).interval
        held += low <= truth <= high
    assert held >= stats.binom.ppf(0.01, 40, 0.95)


@pytest.mark.slow("hundreds of comparisons, so that a rate of error can be counted")
def test_the_shift_is_held_at_all_quantiles_at_once() -> None:
    """A law scaled by 1.2 shifts every quantile by 0.2 of itself; all nine truths lie within their
    limits in most of 25 runs.
    """
    truth = 0.2 * 200 * np.exp(0.7 * stats.norm.ppf([float(q) for q in TENTHS]))
    held = 0
    for seed in range(25):
        found = shift_function(sampled(*pair(seed, 2_000, ratio=1.2)), TENTHS, 0.05)
        assert [point.q for point in found] == [float(q) for q in TENTHS]
        held += all(
            point.interval[0] <= true <= point.interval[1]
            for point, true in zip(found, truth, strict=True)
        )
    assert held >= stats.binom.ppf(0.01, 25, 0.95)


def test_quantiles_among_failures_have_no_shift() -> None:
    """With 25 % failures in one arm the shift ends below the p75."""
    found = shift_function(sampled(*pair(1, 2_000, fail=(0.0, 0.25))), TENTHS, 0.05)
    assert [point.q for point in found] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_the_faster_arm_dominates() -> None:
    """An arm that is faster by a fifth everywhere dominates, whichever side it stands on."""
    assert permutation(sampled(*pair(1, 3_000, ratio=0.8)), P99, 1).dominance == "other"
    found = permutation(sampled(*pair(1, 3_000, ratio=1.25)), P99, 1)
    assert (found.dominance, found.crosses_ms) == ("baseline", None)
    assert found.p_value < 0.01


def test_a_better_tail_with_a_worse_middle_crosses() -> None:
    """Lognormals of medians 200 and 260 and sigmas 0.9 and 0.4 cross where ln(x/200)/0.9 =
    ln(x/260)/0.4, at 321 ms.
    """
    wide, _ = pair(1, 4_000, sigma=0.9)
    _, narrow = pair(1, 4_000, sigma=0.4, ratio=1.3)
    truth = np.exp((0.9 * np.log(260) - 0.4 * np.log(200)) / 0.5)
    found = permutation(sampled(wide, narrow), P99, 1)
    assert found.dominance == "crosses"
    assert found.crosses_ms == pytest.approx(truth, rel=0.1)


@pytest.mark.slow("hundreds of comparisons, so that a rate of error can be counted")
def test_arms_of_one_law_are_seldom_told_apart_by_permutation() -> None:
    """Of 30 pairs with one law and 50 % drift the p value is below 5 % in no more than a fair test
    would have, nor is one faster.
    """
    found = [permutation(sampled(*pair(seed, 1_200, drift=0.5)), P99, seed) for seed in range(30)]
    most = stats.binom.ppf(0.99, 30, 0.05)
    assert sum(each.p_value <= 0.05 for each in found) <= most
    assert sum(each.dominance != "none" for each in found) <= most


def test_many_equal_failures_part_no_labels() -> None:
    """Two arms that fail 40 % alike are no different: equal values are never cut between
    the arms.
    """
    assert (
        permutation(sampled(*pair(2, 2_000, fail=(0.4, 0.4))), Fraction(1, 2), 1).dominance
        == "none"
    )


@pytest.mark.parametrize(
    ("slow", "least", "most"),
    [
        # two in each of six neighbours: fair coins give all six alike once in 32, and of the three
        # groups of twelve that hold them once in four
        ((10, 11, 12, 13, 14, 15), 0.2, 0.55),
        # two in each of six that lie apart: once in 32 whatever the groups
        ((1, 8, 15, 22, 29, 36), 0.02, 0.05),
    ],
)
def test_slow_rows_of_one_long_spell_are_exchanged_together(
    slow: tuple[int, ...], least: float, most: float
) -> None:
    """400 rows an arm, ten a superblock; twelve slow ones, all of the other arm."""
    at = np.arange(400) * RUN_S * S // 400
    cells = np.arange(400) // 10
    fast = np.full(400, 100.0 * MS)
    other = np.where(np.isin(cells, slow) & (np.arange(400) % 10 < 2), 900.0 * MS, fast)
    layouts = sample((fast, other), (at, at), slot_ns(RUN_S * S), 1)
    found = exceedance(fast, other, 800 * MS, layouts, 0.025, 1)
    assert found.permutation_p is not None
    assert least < found.permutation_p < most
