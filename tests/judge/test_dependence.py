"""Verdicts on dependent requests: by hand where the counts are few, by scipy's beta law and by
simulation elsewhere.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.judge.stats.dependence import LEAST_P, Trials, judge_trials
from bench.record.samples import Int
from benchmarks.coverage import P0, as_if_independent, runs_of
from benchmarks.production import Rows
from benchmarks.shapes import SHAPES, phases

SECOND = 1_000_000_000


def trials(
    n: int, bad: Any = (), unknown: Any = (), proxy: Any = (), at_ns: Int | None = None
) -> Trials:
    """n rows ten ms apart, flagged at the indices named."""
    is_bad, is_unknown = (np.zeros(n, bool) for _ in range(2))
    for flag, rows in ((is_bad, bad), (is_unknown, unknown)):
        flag[np.asarray(rows, int)] = True
    took = np.ones(n, np.int64)
    took[np.asarray(proxy, int)] = 9
    due = np.arange(n) * (SECOND // 100) if at_ns is None else at_ns
    return Trials(due, is_bad, is_unknown, took)


def of_rows(rows: Rows) -> Trials:
    """Drawn rows without unknown ones and without a stand-in."""
    none = np.zeros(len(rows.due_ns), bool)
    return Trials(rows.due_ns, rows.over(1), none, None)


def spread(n: int, count: int) -> Any:
    return (np.arange(count) + 0.5) * n / count


def in_blocks(counts: list[int], size: int) -> Trials:
    """Blocks of `size` rows, each with its count of bad rows spread over it."""
    bad = [row * size + spread(size, count) for row, count in enumerate(counts)]
    return trials(size * len(counts), np.concatenate(bad))


@pytest.mark.parametrize(
    ("bad", "outcome", "cause"),
    [
        (0, "PASS", "few_enough"),
        (3, "PASS", "few_enough"),
        (4, "INCONCLUSIVE", "undecided"),
        (13, "INCONCLUSIVE", "undecided"),
        (14, "FAIL", "too_many"),
    ],
)
def test_spread_requests_are_judged_exactly(bad: int, outcome: str, cause: str) -> None:
    """A short run without clumps decides at the counts of the binomial law: 3 and 14 of 800."""
    found = judge_trials(trials(800, spread(800, bad), proxy=spread(800, 40)), P0, 0.05)
    assert (found.outcome, found.cause, found.method, found.allowed, found.fails) == (
        outcome,
        cause,
        "exact",
        3,
        14,
    )
    assert stats.binom.cdf([3, 4], 800, 0.01) == pytest.approx([0.0417, 0.0985], abs=1e-4)
    assert stats.binom.sf(13, 800, 0.01) < 0.05 < stats.binom.sf(12, 800, 0.01)
    assert (found.deff, found.n_eff, found.blocks) == (1, 800, 30)
    assert (found.needed is None) == (outcome != "INCONCLUSIVE")


def test_no_row_and_too_few_rows_never_pass() -> None:
    """Nothing is said of nothing, and 298 good requests cannot show p99 where 299 can."""
    none = judge_trials(trials(0), P0, 0.05)
    assert (none.outcome, none.cause, none.method, none.worst, none.needed) == (
        "INCONCLUSIVE",
        "no_rows",
        "exact",
        None,
        None,
    )
    assert (none.n, none.bad, none.unknown, none.allowed, none.fails, none.lower, none.upper) == (
        0,
        0,
        0,
        -1,
        1,
        0,
        1,
    )
    assert (none.deff, none.n_eff, none.blocks, none.block_ns) == (1, 0, 0, 0)
    found = judge_trials(trials(298), P0, 0.05)
    assert (found.outcome, found.cause, found.allowed) == ("INCONCLUSIVE", "too_few", -1)
    assert judge_trials(trials(299), P0, 0.05).outcome == "PASS"
    one = judge_trials(trials(400, [200], proxy=spread(400, 20)), P0, 0.05)  # one fewer would pass
    assert (one.outcome, one.cause, one.allowed) == ("INCONCLUSIVE", "undecided", 0)
    assert judge_trials(trials(1, [0]), P0, 0.05).outcome == "INCONCLUSIVE"


def test_unknown_rows_count_against_either_verdict() -> None:
    """PASS must hold with every unknown row bad and FAIL with every one good."""
    far = spread(800, 14) + 20
    for count, outcome, cause in ((3, "PASS", "few_enough"), (4, "INCONCLUSIVE", "unknown_rows")):
        found = judge_trials(trials(800, unknown=spread(800, count)), P0, 0.05)
        assert (found.outcome, found.cause, found.unknown) == (outcome, cause, count)
        assert (found.lower, found.upper) == pytest.approx(
            (0, stats.beta.ppf(0.95, count + 1, 800 - count))
        )
    assert judge_trials(trials(800, spread(800, 14), far[:3]), P0, 0.05).outcome == "FAIL"
    assert judge_trials(trials(800, spread(800, 13), far[:3]), P0, 0.05).cause == "unknown_rows"


def test_holes_in_time_hold_no_evidence() -> None:
    """A night without load between two halves changes neither the blocks nor the verdict."""
    counts = [0, 9] * 15
    whole = in_blocks(counts, 300)
    night = dataclasses.replace(
        whole, at_ns=whole.at_ns + np.where(np.arange(9000) < 4500, 0, 30_000 * SECOND)
    )
    first, second = judge_trials(whole, P0, 0.05), judge_trials(night, P0, 0.05)
    assert (second.blocks, second.outcome) == (first.blocks, first.outcome)
    assert second.deff == pytest.approx(first.deff, rel=0.25)  # a fifth of a block is left of it


def test_one_bad_request_disproves_never() -> None:
    """A promise of every request is broken by a single one and kept by no number."""
    assert judge_trials(trials(800, [7], proxy=range(40)), Fraction(0), 0.05).outcome == "FAIL"
    assert judge_trials(trials(800), Fraction(0), 0.05).outcome == "INCONCLUSIVE"


def test_false_verdicts_stay_rare_in_bursts() -> None:
    """Truth at the limit, phases of 200 of 20,000: false PASS near 7 % or below, where the exact
    binomial has 40 %.
    """
    drawn = list(runs_of("phases", phases(20_000, 200), 0.01, 120))
    exact = [as_if_independent(rows) for rows in drawn]
    ours = [judge_trials(of_rows(rows), P0, 0.05).outcome for rows in drawn]
    margin = 3 * (0.07 * 0.93 * 120) ** 0.5
    assert exact.count("PASS") > 36
    assert ours.count("PASS") <= 0.07 * 120 + margin
    assert ours.count("FAIL") <= 0.05 * 120 + margin


def test_simulated_shapes_have_the_share_they_claim() -> None:
    """Every shape of benchmarks/shapes.py has the stated share of slow requests in the
    long run.
    """
    for name, draw, _ in SHAPES:
        rng = np.random.default_rng(8)
        seen = np.array([draw(rng, 0.01).over(1).mean() for _ in range(60)])
        assert abs(seen.mean() - 0.01) < 4.5 * seen.std() / 60**0.5 + 2e-4, name


def test_a_clump_is_not_three_requests() -> None:
    """Three bad requests in a row of 800 do not pass, though three far apart do; the block that
    holds them is named.
    """
    found = judge_trials(trials(800, [400, 401, 402]), P0, 0.05)
    assert (found.outcome, found.method, found.n, found.bad) == ("INCONCLUSIVE", "blocks", 800, 3)
    price = (stats.t.isf(0.05, 9) / stats.norm.isf(0.05)) ** 2
    # three events that are one, of which chance may have joined a pair: (2.7² + 9·0.3² - 2) · 10/9
    assert found.deff == pytest.approx(6.1 * 10 / 9 / 3 * price, rel=0.01)
    assert found.worst is not None
    assert (found.worst.bad, found.worst.n) in [(3, 26), (3, 27)]
    assert found.worst.start_ns <= 4 * SECOND <= 4.02 * SECOND <= found.worst.end_ns


def test_one_spell_more_would_break_it() -> None:
    """43 of 9,000 would pass if they came alone; 14 of them in one block may come again."""
    found = judge_trials(in_blocks([1] * 29 + [14], 300), P0, 0.05)
    assert stats.binom.cdf(43, 9000, 0.01) < 1e-6
    assert (found.outcome, found.cause) == ("INCONCLUSIVE", "worst_block")
    assert found.bad > found.allowed
    assert judge_trials(in_blocks([0, 2] * 15, 300), P0, 0.05).outcome == "PASS"


def test_one_spell_alone_condemns_nobody() -> None:
    """However many requests it took; the same number in every block does."""
    alone = judge_trials(in_blocks([0] * 15 + [290] + [0] * 14, 300), P0, 0.05)
    assert stats.binom.sf(289, 9000, 0.01) < 1e-60
    assert (alone.outcome, alone.cause) == ("INCONCLUSIVE", "worst_block")
    assert judge_trials(in_blocks([5, 15] * 15, 300), P0, 0.05).outcome == "FAIL"


def test_a_session_that_holds_half_of_the_rows_decides_nothing() -> None:
    """Whether its rows are all good or all bad: it is one event."""
    sessions = np.where(np.arange(4000) % 2, 0, np.arange(4000) + 1)
    for bad in (np.zeros(0, int), np.flatnonzero(sessions == 0)):
        found = judge_trials(dataclasses.replace(trials(4000, bad), sessions=sessions), P0, 0.05)
        assert (found.outcome, found.cause) == ("INCONCLUSIVE", "few_blocks")


def test_all_unknown_is_no_evidence() -> None:
    for n in (10, 5000):
        found = judge_trials(trials(n, unknown=range(n)), P0, 0.05)
        assert (found.outcome, found.cause) == ("INCONCLUSIVE", "unknown_rows")
        assert (found.lower, found.upper) == (0, 1)


def test_without_a_bad_request_the_slowest_speak_of_dependence() -> None:
    """With none bad, or one, a further spell is as long as one of the slow rows, thinned from their
    share to the limit's.
    """
    assert judge_trials(trials(800, proxy=spread(800, 40)), P0, 0.05).outcome == "PASS"
    rows = range(400, 440)
    for bad in ((), (7,)):
        found = judge_trials(trials(800, bad, proxy=rows), P0, 0.05)
        assert (found.outcome, found.method) == ("INCONCLUSIVE", "blocks")
    # 40 in a row are some 37 more than chance joins; a fifth of them, doubled, make a spell of 16
    # rows, which 4,700 without a bad one exclude
    for n, outcome in ((4000, "INCONCLUSIVE"), (6000, "PASS")):
        slow = [*range(n // 2, n // 2 + 40), *spread(n, n // 20 - 40)]
        assert judge_trials(trials(n, proxy=slow), P0, 0.05).outcome == outcome
    assert found.upper > 0.02


def p_fail(run: Trials) -> float:
    """The smallest alpha at which it would FAIL, if any below one half is."""
    return judge_trials(run, P0, 0.499).p_fail


def test_p_value_of_fail_is_where_the_verdict_turns() -> None:
    """Independent requests have the binomial tail; in spells the verdict turns exactly there."""
    assert p_fail(trials(800, spread(800, 14))) == pytest.approx(
        stats.binom.sf(13, 800, 0.01), rel=2e-3
    )
    assert p_fail(trials(800, spread(800, 400))) == pytest.approx(LEAST_P, rel=2e-3)
    assert p_fail(trials(0)) == p_fail(trials(800)) == 1
    run = in_blocks([1, 9] * 15, 300)
    p = p_fail(run)
    assert 0.0001 < p < 0.05
    assert judge_trials(run, P0, p * 1.002).outcome == "FAIL"
    assert judge_trials(run, P0, p / 1.002).outcome == "INCONCLUSIVE"


def test_what_would_decide_decides_in_four_of_five() -> None:
    """5 of 1,000 spread out: a run of the size named passes at 0.5 % in 80 of 100, by scipy."""
    found = judge_trials(trials(1000, spread(1000, 5)), P0, 0.05)
    assert found.needed is not None
    k = np.arange(200)
    passing = np.count_nonzero(stats.beta.ppf(0.95, k + 1, found.needed - k) <= 0.01)
    chance = stats.binom.cdf(passing - 1, found.needed, 0.005)
    assert 0.75 < chance < 0.87
    assert judge_trials(trials(1000, spread(1000, 10)), P0, 0.05).needed is None
