"""Verdicts on dependent requests: by hand where the counts are few, by scipy's beta law and by
simulation elsewhere.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.judge.stats.dependence import LEAST_P, Trials, judge_trials, p_value_fail
from bench.judge.stats.tail import korn_graubard, needed_n
from bench.record.samples import Int
from benchmarks.coverage import P0, SHAPES, as_if_independent, judged, phases, rates

VECTORS = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"
SECOND = 1_000_000_000


def trials(
    n: int, bad: Any = (), unknown: Any = (), proxy: Any = (), at_ns: Int | None = None
) -> Trials:
    """n rows ten ms apart, flagged at the indices named."""
    flags = [np.zeros(n, bool) for _ in range(3)]
    for flag, rows in zip(flags, (bad, unknown, proxy), strict=True):
        flag[np.asarray(rows, int)] = True
    return Trials(np.arange(n) * (SECOND // 100) if at_ns is None else at_ns, *flags)


def spread(n: int, count: int) -> Any:
    return (np.arange(count) + 0.5) * n / count


def in_blocks(counts: list[int], size: int) -> Trials:
    """Blocks of `size` rows, each with its count of bad rows spread over it."""
    bad = [row * size + spread(size, count) for row, count in enumerate(counts)]
    return trials(size * len(counts), np.concatenate(bad))


def limits(k: Int, n: Int) -> tuple[float, float]:
    """One-sided 95 % Korn-Graubard limits by scipy, written out from the formula."""
    total, blocks = n.sum(), len(n)
    share = k.sum() / total
    variance = blocks / (blocks - 1) * ((k - share * n) ** 2).sum() / total**2
    price = stats.t.ppf(0.95, total - 1) / stats.t.ppf(0.95, blocks - 1)
    size = min(total, share * (1 - share) / variance * price**2)
    x = share * size
    return float(stats.beta.ppf(0.05, x, size - x + 1)), float(
        stats.beta.ppf(0.95, x + 1, size - x)
    )


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
    assert (found.deff < 1.2, found.n_eff, found.blocks) == (True, 800, 30)
    assert (found.needed is None) == (outcome != "INCONCLUSIVE")


def test_a_clump_is_not_three_requests() -> None:
    """Three bad requests in a row of 800 do not pass, though three far apart do; the block that
    holds them is named.
    """
    found = judge_trials(trials(800, [400, 401, 402]), P0, 0.05)
    assert (found.outcome, found.method, found.n, found.bad) == ("INCONCLUSIVE", "blocks", 800, 3)
    assert found.deff == pytest.approx(3.0, rel=0.05)  # three events that are one
    assert found.worst is not None
    assert (found.worst.bad, found.worst.n) in [(3, 26), (3, 27)]
    assert found.worst.start_ns <= 4 * SECOND <= 4.02 * SECOND <= found.worst.end_ns


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


def test_blocks_decide_at_korn_and_graubards_limits() -> None:
    """Limits, design effect and the counts that decide are those of the formula at the blocks'
    effective size.
    """
    counts = [0, 9] * 15
    found = judge_trials(in_blocks(counts, 300), P0, 0.05)
    k, n = np.array(counts), np.full(30, 300)
    assert (found.method, found.blocks, found.bad) == ("blocks", 30, 135)
    assert (found.lower, found.upper) == pytest.approx(limits(k, n), rel=1e-9)
    deff = 30 / 29 * (4.5**2 * 30) / 9000**2 * 9000 / (0.015 * 0.985)
    assert (found.deff, found.n_eff) == pytest.approx((deff, 9000 / deff), rel=1e-9)
    size = 9000 / deff * (stats.t.ppf(0.95, 8999) / stats.t.ppf(0.95, 29)) ** 2
    for total, decides in ((found.allowed, True), (found.allowed + 1, False)):
        x = total / 9000 * size
        assert (stats.beta.ppf(0.95, x + 1, size - x) <= 0.01) == decides
    for total, decides in ((found.fails, True), (found.fails - 1, False)):
        x = total / 9000 * size
        assert (stats.beta.ppf(0.05, x, size - x + 1) > 0.01) == decides


@pytest.mark.parametrize(("most", "price"), [(5, 2.5), (8, 1.25)])
def test_an_open_verdict_asks_for_rows_at_the_price_of_dependence(most: int, price: float) -> None:
    """What independent requests would take, times the design effect, times 2.5 for a PASS and 1.25
    for a FAIL (docs/planning.md).
    """
    counts = np.array([0, most] * 15)
    found = judge_trials(in_blocks(counts.tolist(), 300), P0, 0.05)
    share = Fraction(int(counts.sum()), 9000)
    deff = 30 / 29 * ((counts - 300 * float(share)) ** 2).sum() / 9000 / float(share * (1 - share))
    independent = needed_n(share, P0, 0.05)
    assert independent is not None
    assert (found.outcome, found.cause, found.needed) == (
        "INCONCLUSIVE",
        "undecided",
        math.ceil(independent * deff * price),
    )


@pytest.mark.slow("the formula at every count of every block")
def test_blocks_pass_and_fail_where_the_formula_does() -> None:
    """Calm blocks and busy ones by turns, the last busier still: PASS, FAIL and neither where
    scipy's limits say so, with a further block that outdoes the worst by twice its lead over the
    second, or without the worst.
    """
    said = Counter[str]()
    for every, calm, busy, lead, behind in itertools.product(
        (2, 3, 5), range(2), range(2, 12), (0, 1, 3, 6), (0, 2)
    ):
        k, n = np.array(([calm] * (every - 1) + [calm + busy]) * (30 // every)), np.full(31, 300)
        k[-1] += lead + behind
        k[-1 - every] += behind
        found = judge_trials(in_blocks(k.tolist(), 300), P0, 0.05)
        if (found.method, found.blocks) == ("blocks", 30):
            passes = max(limits(k, n[:30])[1], limits(np.append(k, k[-1] + 2 * lead), n)[1]) <= 0.01
            fails = min(limits(k, n[:30])[0], limits(k[:-1], n[:29])[0]) > 0.01
            assert found.outcome == ("PASS" if passes else "FAIL" if fails else "INCONCLUSIVE"), (
                every,
                calm,
                busy,
                lead,
                behind,
            )
            said[found.outcome] += 1
    assert min(said[word] for word in ("PASS", "FAIL", "INCONCLUSIVE")) >= 10, said


def test_pass_bears_one_spell_more() -> None:
    """Limits that keep the promise do not pass it when a spell beyond the worst block would break
    it.
    """
    counts = [1] * 29 + [12]
    found = judge_trials(in_blocks(counts, 300), P0, 0.05)
    k, n = np.array(counts), np.full(30, 300)
    assert limits(k, n)[1] <= 0.01 < limits(np.append(k, 12 + 2 * 11), np.append(n, 300))[1]
    assert (found.outcome, found.cause) == ("INCONCLUSIVE", "worst_block")
    assert found.bad <= found.allowed
    calm = [0, 2] * 15
    assert limits(np.append(calm, 2), np.append(n, 300))[1] <= 0.01
    assert judge_trials(in_blocks(calm, 300), P0, 0.05).outcome == "PASS"


def test_fail_stands_without_the_worst_block() -> None:
    """One spell alone condemns nobody, however many requests it took; the same number in every
    block does.
    """
    alone = judge_trials(in_blocks([0] * 15 + [290] + [0] * 14, 300), P0, 0.05)
    assert stats.binom.sf(289, 9000, 0.01) < 1e-60
    assert alone.outcome == "INCONCLUSIVE"
    assert judge_trials(in_blocks([5, 15] * 15, 300), P0, 0.05).outcome == "FAIL"


def test_a_short_run_condemns_but_does_not_acquit() -> None:
    """With phases of a third of the run there are too few blocks to PASS; half of the requests slow
    is a FAIL still.
    """
    slow = (np.arange(1200) // 200) % 2 == 1
    dreadful = judge_trials(trials(1200, np.flatnonzero(slow)), P0, 0.05)
    assert (dreadful.outcome, dreadful.blocks, dreadful.method) == ("FAIL", 4, "blocks")
    k, n = (
        slow.reshape(30, 40).sum(axis=1),
        np.full(30, 40),
    )  # what condemns is thirtieths of the run, one of them left out
    for p0, outcome in ((Fraction(1, 4), "FAIL"), (Fraction(1, 3), "INCONCLUSIVE")):
        found = judge_trials(trials(1200, np.flatnonzero(slow)), p0, 0.05)
        lower = min(limits(k, n)[0], limits(np.delete(k, np.argmax(k)), n[1:])[0])
        assert (found.outcome, found.blocks, lower > p0) == (outcome, 4, outcome == "FAIL")
    mild = judge_trials(trials(1200, range(500, 515)), Fraction(1, 50), 0.05)
    assert stats.binom.cdf(15, 1200, 0.02) < 0.05
    assert (mild.outcome, mild.cause) == ("INCONCLUSIVE", "few_blocks")
    assert mild.needed is not None
    assert mild.needed >= 1200 * 20 / mild.blocks


@pytest.mark.parametrize(("p0", "few"), [(Fraction(98, 100), True), (Fraction(6, 10), False)])
def test_an_open_verdict_asks_for_enough_blocks_and_enough_rows(p0: Fraction, few: bool) -> None:
    """Half of the rows bad in two long phases: a run five times as long has the 20 blocks that a
    PASS needs, unless the rows that tell one half from the limit are more.
    """
    slow = np.flatnonzero((np.arange(1200) // 300) % 2 == 1)
    found = judge_trials(trials(1200, slow), p0, 0.05)
    independent = needed_n(Fraction(1, 2), p0, 0.05)
    assert independent is not None
    wanted, blocks = math.ceil(independent * 2.5 * found.deff), math.ceil(1200 * 20 / found.blocks)
    assert (found.outcome, found.cause, found.blocks, wanted < blocks) == (
        "INCONCLUSIVE",
        "few_blocks",
        4,
        few,
    )
    assert found.needed == max(wanted, blocks)


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


def test_without_a_bad_request_the_slowest_speak_of_dependence() -> None:
    """With none bad the design effect is the slow rows', scaled from their share to the limit's."""
    assert judge_trials(trials(800, proxy=spread(800, 40)), P0, 0.05).method == "exact"
    slow = np.zeros(30, int)
    slow[[3, 9, 10, 22]] = 10  # every third row of four blocks
    rows = np.concatenate([block * 30 + np.arange(0, 30, 3) for block in np.flatnonzero(slow)])
    found = judge_trials(trials(900, proxy=rows), P0, 0.05)
    share = 40 / 900
    of_slow = 30 / 29 * ((slow - 30 * share) ** 2).sum() / 900 / (share * (1 - share))
    assert found.deff == pytest.approx(1 + (of_slow - 1) * 0.01 / share, rel=1e-9)
    assert (found.outcome, found.cause, found.method) == ("INCONCLUSIVE", "too_few", "blocks")
    assert (
        judge_trials(trials(900, rows[:1], proxy=rows), P0, 0.05).deff == found.deff
    )  # one bad says as little as none
    assert judge_trials(trials(900, rows[:2], proxy=rows), P0, 0.05).deff != found.deff


def test_holes_in_time_hold_no_evidence() -> None:
    """A night without load between two halves changes neither the blocks nor the verdict."""
    counts = [0, 9] * 15
    whole = in_blocks(counts, 300)
    night = dataclasses.replace(
        whole, at_ns=whole.at_ns + np.where(np.arange(9000) < 4500, 0, 30_000 * SECOND)
    )
    first, second = judge_trials(whole, P0, 0.05), judge_trials(night, P0, 0.05)
    assert (second.blocks, second.outcome) == (first.blocks, first.outcome)
    assert second.deff == pytest.approx(
        first.deff, rel=0.25
    )  # a fifth of a block of the night is left


def test_one_bad_request_disproves_never() -> None:
    """A promise of every request is broken by a single one and kept by no number."""
    assert judge_trials(trials(800, [7], proxy=range(40)), Fraction(0), 0.05).outcome == "FAIL"
    assert judge_trials(trials(800), Fraction(0), 0.05).outcome == "INCONCLUSIVE"


def test_p_value_of_fail_is_where_the_verdict_turns() -> None:
    """Independent requests have the binomial tail; with blocks the verdict turns exactly there."""
    assert p_value_fail(trials(800, spread(800, 14)), P0) == pytest.approx(
        stats.binom.sf(13, 800, 0.01), rel=1e-5
    )
    assert p_value_fail(trials(800, spread(800, 400)), P0) == pytest.approx(LEAST_P, rel=1e-5)
    assert p_value_fail(trials(0), P0) == p_value_fail(trials(800), P0) == 1
    run = in_blocks([1, 9] * 15, 300)
    p = p_value_fail(run, P0)
    assert 0.0001 < p < 0.05
    assert judge_trials(run, P0, p * 1.001).outcome == "FAIL"
    assert judge_trials(run, P0, p / 1.001).outcome == "INCONCLUSIVE"


def test_false_verdicts_stay_rare_in_bursts() -> None:
    """Truth at the limit, phases of 200 of 20,000: false PASS near 7 % or below, where the exact
    binomial has 40 %.
    """
    exact, ours = rates(phases(20_000, 200), float(P0), 120, as_if_independent, judged, seed=5)
    margin = 3 * (0.07 * 0.93 / 120) ** 0.5
    assert exact.passed > 0.3
    assert ours.passed <= 0.07 + margin
    assert ours.failed <= 0.05 + margin


def test_simulated_shapes_have_the_share_they_claim() -> None:
    """Every shape of benchmarks/coverage.py has the stated share of slow requests in the
    long run.
    """
    for name, draw in SHAPES:
        rng = np.random.default_rng(8)
        seen = np.array([draw(rng, 0.01).bad.mean() for _ in range(60)])
        assert abs(seen.mean() - 0.01) < 4.5 * seen.std() / 60**0.5 + 2e-4, name


@pytest.mark.skipif(not VECTORS.is_file(), reason="no ../shared/stats_reference.json")
def test_plain_and_block_limits_err_as_the_reference_simulation() -> None:
    """Phases of 50 of 20,000 in blocks of 500: both rules PASS and FAIL as often as the table's,
    within 4 errors.
    """
    row = next(
        row
        for row in json.loads(VECTORS.read_bytes())["simulations"]["worst_block_rule"]["rows"]
        if (row["n"], row["mean_slow_dwell"], row["p_true"]) == (20_000, 50, 0.01)
    )
    runs = 200
    rng = np.random.default_rng(11)
    said = dict.fromkeys(("naive_PASS", "naive_FAIL", "kg_PASS", "kg_FAIL", "rule_FAIL"), 0)
    for run in (phases(20_000, 50)(rng, 0.01) for _ in range(runs)):
        exact = as_if_independent(run)
        k, n = run.bad.reshape(40, 500).sum(axis=1), np.full(40, 500)
        found = korn_graubard(k, n, 0.05)
        spared = korn_graubard(np.delete(k, np.argmax(k)), n[1:], 0.05)
        for name, holds in (
            ("naive_PASS", exact == "PASS"),
            ("naive_FAIL", exact == "FAIL"),
            ("kg_PASS", found.upper <= 0.01),
            ("kg_FAIL", found.lower > 0.01),
            ("rule_FAIL", found.lower > 0.01 and spared.lower > 0.01),
        ):
            said[name] += holds
    for name, count in said.items():
        error = (max(row[name], 0.01) * (1 - row[name]) * (1 / runs + 1 / row["reps"])) ** 0.5
        assert count / runs == pytest.approx(row[name], abs=4 * error), name
