"""Two arms held against each other: outcomes, intervals, errors and the answer to every bad
input.
"""

from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.errors import UserError
from bench.judge.compare.arms import Arm, arm_of, differences, load_baseline, save_baseline
from bench.judge.compare.compare import (
    Question,
    compare_arms,
    part_of,
    ratios_of,
    sampled_arms,
)
from bench.judge.compare.compared import aa_check, compare_run, split, with_aa
from bench.judge.compare.decision import Ratio, bound_of, decide, outcomes, regression
from bench.judge.compare.difference import exceedance
from bench.judge.compare.tier_price import Fee
from bench.record.records.comparisons import Comparison, PartComparison, RatioRecord
from bench.record.samples import Outcome
from tests.support.given import given
from tests.support.made_arms import MS, RUN_S, S, arm, facts, pair
from tests.support.rows_by_hand import answered, at_most, contract_of, cut, failed, lane_of, run_of

TENTH = Fraction(1, 10)
ASKED = Question(limit_ns=800 * MS)
ABBA = Question(limit_ns=800 * MS, design="abba", unit_ns=20 * S)


def p99_of(record: PartComparison) -> RatioRecord:
    return record.ratios["p99"]


def whole(baseline: Arm, other: Arm, asked: Question = ASKED) -> PartComparison:
    """The comparison of the whole run alone, without its parts."""
    return part_of(baseline, other, asked, None)[0]


def ratio_of(baseline: Arm, other: Arm, asked: Question = ASKED) -> Ratio:
    """The p99 ratio of two arms alone."""
    sampled = sampled_arms(baseline, other, asked)
    return ratios_of(sampled, {"p99": TENTH * Fraction(99, 10)}, asked.seed)["p99"]


def differs(ratio: Ratio) -> bool:
    """Whether the two-sided limits of the p99 ratio leave out 1."""
    low, high = ratio.limits(0.025)
    return low > 1 or high < 1


# ---- the outcome


@pytest.mark.parametrize(
    ("low", "high", "held"),
    [
        (0.50, 0.60, ["MATERIALLY_BETTER", "BETTER"]),
        (0.85, 0.95, ["BETTER"]),
        (0.92, 0.98, ["EQUIVALENT", "BETTER", "NOT_MATERIALLY_BETTER"]),
        (0.95, 1.05, ["EQUIVALENT", "NOT_MATERIALLY_BETTER"]),
        (1.02, 1.08, ["EQUIVALENT", "WORSE", "NOT_MATERIALLY_BETTER"]),
        (1.05, 1.50, ["WORSE", "NOT_MATERIALLY_BETTER"]),
        (0.95, 1.50, ["NOT_MATERIALLY_BETTER"]),
        (0.80, 1.20, ["INCONCLUSIVE"]),
        (0.90, 1.00, ["INCONCLUSIVE"]),
        (math.inf, math.inf, ["WORSE", "NOT_MATERIALLY_BETTER"]),
    ],
)
def test_outcomes_follow_the_limits(low: float, high: float, held: list[str]) -> None:
    """With a margin of 10 % the limits 0.9, 1 and 1/0.9 part the outcomes; several may hold at
    once.
    """
    assert outcomes((low, high), (low, high), TENTH) == held


def test_a_difference_needs_both_sides_a_claim_about_the_margin_one() -> None:
    """Limits of 0.97 to 1.01 two-sided and 0.98 to 0.995 one-sided prove EQUIVALENT and no
    difference.
    """
    assert outcomes((0.97, 1.01), (0.98, 0.995), TENTH) == ["EQUIVALENT", "NOT_MATERIALLY_BETTER"]


def test_a_placebo_is_called_one() -> None:
    """10,000 requests of each of two tiers with one law (sigma 0.5): EQUIVALENT, and the price of
    nothing is said.
    """
    standard, pro = pair(1, 10_000, sigma=0.5)
    record = compare_arms(standard, pro, dataclasses.replace(ASKED, fee=Fee(180_000.0)))
    assert record.outcomes == ["EQUIVALENT", "NOT_MATERIALLY_BETTER"]
    assert record.price.yearly_usd == 180_000
    assert record.price.usd_per_1000_requests_per_ms is None
    assert given(record.permutation).p_value > 0.05
    assert given(record.permutation).dominance == "none"


def test_a_gain_in_the_burst_alone_is_found_there() -> None:
    """Five times as fast in the burst, alike outside: MATERIALLY_BETTER there, EQUIVALENT in the
    quiet.
    """
    record = compare_arms(*pair(2, 12_000, sigma=0.3, burst_ratio=0.2), ASKED)
    assert record.by_phase["burst"].headline == "MATERIALLY_BETTER"
    assert p99_of(record.by_phase["burst"]).ratio == pytest.approx(0.2, rel=0.1)
    assert record.by_phase["quiet"].headline == "EQUIVALENT"
    assert set(record.by_bucket) == {"≤1K", "1K–8K"}


# ---- errors and power; the whole tables: benchmarks/compare_power.py


@pytest.mark.parametrize(("order", "asked"), [("random", ASKED), ("abba", ABBA)])
def test_identical_tiers_seldom_differ_under_drift(order: str, asked: Question) -> None:
    """Of 40 pairs with one law and 50 % drift at most 6 differ: more has a chance below 1 % at the
    nominal 5 %.
    """
    times = sum(
        differs(ratio_of(*pair(seed, 1_200, drift=0.5, order=order), asked)) for seed in range(40)
    )
    assert times <= stats.binom.ppf(0.99, 40, 0.05)


def test_one_after_the_other_a_drift_differs() -> None:
    """The same drift makes most of 12 identical tiers differ when the one follows the other: it is
    the design that helps.
    """
    made = (ratio_of(*pair(seed, 3_000, drift=0.5, order="first")) for seed in range(12))
    assert sum(map(differs, made)) > 6


def test_a_planted_ratio_is_found() -> None:
    """A p99 1.3 times as long at 5,000 requests an arm (sigma 0.7) is called WORSE in 19 of 20 runs
    with 20 % drift.
    """
    found = [ratio_of(*pair(seed, 5_000, ratio=1.3, drift=0.2)).limits(0.025) for seed in range(20)]
    assert sum(low > 1 for low, _ in found) >= 19
    covered = sum(low <= 1.3 <= high for low, high in found)
    assert covered >= stats.binom.ppf(0.01, 20, 0.95)


def test_the_smallest_effect_is_that_of_theory() -> None:
    """se(log p99) = sqrt(q(1-q)/n) · sigma/phi(z_q); the MDE is exp(2.80 · sqrt(2) · se), on the
    widest of three scales up to a third more.
    """
    q, sigma, n = 0.99, 0.5, 10_000
    error = math.sqrt(q * (1 - q) / n) * sigma / stats.norm.pdf(stats.norm.ppf(q))
    theory = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * math.sqrt(2) * error
    seen = [
        math.log(given(ratio_of(*pair(seed, n, sigma=sigma)).mde)) / theory for seed in range(9)
    ]
    assert 0.9 < float(np.median(seen)) < 1.33


@pytest.mark.parametrize("ratio", [0.5, 0.93, 1.0, 1.08, 2.0])
def test_no_bound_denies_its_outcome(ratio: float) -> None:
    """Outcomes and the gate read off the bound alone are those that were said, at every margin, and
    what is said of a margin holds at every larger one.
    """
    for seed, rows in ((1, 1_100), (2, 2_500)):
        found = ratio_of(
            *pair(seed, rows, ratio=ratio, sigma=0.3, spell_s=20.0 * (seed - 1) or None)
        )
        before = 0
        for percent in range(1, 60, 3):
            margin = Fraction(percent, 100)
            least = float(1 - margin)
            two_sided, one_sided = found.limits(0.025), found.limits(0.05)
            held = outcomes(two_sided, one_sided, margin)
            (low, high), _ = bound_of(held[0], two_sided, one_sided)
            reads = {
                "MATERIALLY_BETTER": high is not None and high <= least,
                "EQUIVALENT": (low or 0) > least and (high or math.inf) < 1 / least,
                "WORSE": low is not None and low > 1,
                "BETTER": high is not None and high < 1,
                "NOT_MATERIALLY_BETTER": low is not None and low > least,
                "INCONCLUSIVE": low is None or high is None or (low <= 1 <= high and low <= least),
            }
            assert reads[held[0]], (margin, held, low, high)
            gate = regression(found, margin)
            low, high = gate.bound
            passes = gate.headline == "PASS"
            assert passes == (high is not None and high < 1 / least)
            assert (gate.headline == "FAIL") == (low is not None and low > 1 / least)
            assert passes >= before
            before = passes


@pytest.mark.parametrize("rows", [250, 600])
def test_exchanged_arms_seldom_differ_below_a_thousand_rows(rows: int) -> None:
    """Half-minutes of slow answers that each arm has by itself: Fisher's test calls most equal arms
    different, the outcome few, and its bound never denies it.
    """
    fisher = called = 0
    for seed in range(25):
        baseline, other = pair(seed, rows, sigma=0.3, spell_s=30.0)
        sampled = sampled_arms(baseline, other, ASKED)
        over = exceedance(baseline.values, other.values, 800 * MS, sampled, 0.025, 1)
        found = decide(baseline, other, None, over, TENTH, resampled=True)
        fisher += given(over.fisher_p) <= 0.05
        called += found.headline != "INCONCLUSIVE"
        low, high = found.bound
        assert (found.headline == "WORSE") == (low is not None and low > 0)
        assert (found.headline == "BETTER") == (high is not None and high < 0)
    assert called <= stats.binom.ppf(0.99, 25, 0.08)
    assert fisher > called


def test_one_spell_proves_no_tier_slower() -> None:
    """A minute in which half of one arm's requests took ten times as long moves the p99's interval,
    not the outcome.
    """
    standard, pro = pair(1, 5_000, sigma=0.3)
    spell = (pro.at_ns > 500 * S) & (pro.at_ns < 560 * S) & (np.arange(len(pro)) % 2 == 0)
    slow = dataclasses.replace(pro, values=np.where(spell, 10 * pro.values, pro.values))
    spread = dataclasses.replace(
        pro, values=np.where(np.arange(len(pro)) % 40 == 0, 10 * pro.values, pro.values)
    )
    record = whole(standard, slow)
    assert given(p99_of(record).ratio) > 3
    assert "WORSE" not in record.outcomes
    assert record.regression.headline != "FAIL"
    assert spell.sum() == pytest.approx(
        len(pro) / 40, rel=0.15
    )  # as many slow ones, spread over the run
    assert (
        whole(standard, spread).headline,
        whole(standard, spread).regression.headline,
    ) == ("WORSE", "FAIL")


# ---- failures, few rows, nothing


def test_failing_fast_is_not_fast() -> None:
    """An arm that fails 3 % of its requests at once has no p99: WORSE without a made-up ratio, and
    over the limit more often.
    """
    record = compare_arms(*pair(3, 5_000, sigma=0.3, fail=(0.0, 0.03)), ASKED)
    assert record.headline == "WORSE"
    assert p99_of(record).other_ms is p99_of(record).ratio is None
    assert given(record.exceedance).other.over >= record.other.failed > 100
    assert given(record.exceedance).interval[0] > 0
    assert record.regression.headline == "FAIL"
    json.dumps(record.to_json(), allow_nan=False)


def test_p99_of_both_among_failures_is_no_ratio() -> None:
    """Where both arms fail 3 % there is no p99 ratio: INCONCLUSIVE with the reason; the p95 is
    compared all the same.
    """
    record = compare_arms(*pair(4, 5_000, fail=(0.03, 0.03)), ASKED)
    assert record.headline == "INCONCLUSIVE"
    assert record.reason.startswith(
        "the p99 of both arms lies among their failures: 2.89 % of standard and 3.21 % of pro"
    )
    assert record.ratios["p95"].ratio == pytest.approx(1, rel=0.2)


def test_unequal_failures_are_held_against_each_other_where_no_p99_is_left() -> None:
    """Ten against two of a hundred failing, no limit in a contract: the shares of failures and the
    limits of their difference.
    """
    record = compare_arms(
        *pair(4, 5_000, fail=(0.10, 0.02)), dataclasses.replace(ASKED, limit_ns=None)
    )
    over = given(record.exceedance)
    assert [over.baseline.over, over.other.over] == [record.baseline.failed, record.other.failed]
    assert over.interval[0] < -0.08 < over.interval[1] < 0


@pytest.mark.parametrize(
    ("fail", "headline", "name"),
    [
        ((0.03, 0.0), "MATERIALLY_BETTER", "standard"),
        ((0.0, 0.03), "WORSE", "pro"),
    ],
)
def test_a_p99_among_failures_gives_no_number(
    fail: tuple[float, float], headline: str, name: str
) -> None:
    """Where one arm alone has no p99 the outcome holds, and the reason names that arm instead of a
    ratio.
    """
    record = compare_arms(*pair(4, 5_000, fail=fail), ASKED)
    assert (record.headline, record.reason) == (
        headline,
        f"the p99 of {name} lies among its failures, so there is no ratio",
    )


def test_by_force_phases_meet_by_name() -> None:
    """Of two load profiles only the phase that both have is compared, wherever it stands in
    each.
    """
    standard, pro = pair(4, 5_000)
    pro = dataclasses.replace(
        pro, facts=pro.facts.replace(phases=["burst", "ramp"], buckets=["all"])
    )
    later = dataclasses.replace(
        pro, phase=1 - pro.phase
    )  # its rows of `burst` are at 0 now, as its own list has it
    named = pro.facts.replace(phases=["burst", "quiet"])
    assert compare_arms(standard, pro, ASKED).by_phase == {}
    found = compare_arms(standard, dataclasses.replace(later, facts=named), ASKED).by_phase
    assert found == compare_arms(*pair(4, 5_000), ASKED).by_phase


def test_below_a_thousand_rows_counts_speak() -> None:
    """With 400 rows an arm there is no p99 ratio; Fisher's p of the misses is scipy's, and with the
    exchange of superblocks it decides.
    """
    standard, pro = pair(5, 400, ratio=0.3)
    record = compare_arms(standard, pro, ASKED)
    over = given(record.exceedance)
    table = [[each.over, each.n - each.over] for each in (over.baseline, over.other)]
    assert over.fisher_p == pytest.approx(stats.fisher_exact(np.array(table)).pvalue, rel=1e-9)
    assert "p99" not in record.ratios
    assert record.outcomes == ["BETTER"]
    assert record.regression.headline == "INCONCLUSIVE"
    assert compare_arms(*pair(5, 400), ASKED).headline == "INCONCLUSIVE"


def test_without_a_limit_few_rows_are_compared_at_the_pooled_p99() -> None:
    """300 rows an arm and no contract: the limit is the 99th per cent value of both arms
    together.
    """
    standard, pro = pair(6, 300)
    record = compare_arms(standard, pro, Question())
    pooled = np.sort(np.concatenate([standard.values, pro.values])) / MS
    assert given(record.exceedance).limit_ms == pooled[math.ceil(0.99 * len(pooled)) - 1]
    assert compare_arms(*pair(6, 3_000), Question()).exceedance is None


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (
            {
                "at_ns": np.zeros(0, np.int64),
                "values": np.zeros(0),
                "phase": np.zeros(0, np.int64),
                "bucket": np.zeros(0, np.int64),
            },
            "pro has no rows",
        ),
        (
            {
                "at_ns": np.zeros(0, np.int64),
                "values": np.zeros(0),
                "phase": np.zeros(0, np.int64),
                "bucket": np.zeros(0, np.int64),
                "undecided": 700,
            },
            "all 700 rows of pro were cut off: their end is not known",
        ),
        ({"values": np.full(2_000, np.inf)}, "no request of pro succeeded"),
        ({"undecided": 40}, "40 rows of pro were cut off"),
        (
            {"session": np.maximum(np.arange(2_000) - 1_000, 0)},
            "the 2,000 rows of pro are worth 3.99 sessions of equal size, and it takes 30",
        ),
        ({"at_ns": np.repeat(np.arange(20) * 60 * S, 100)}, "fewer than 30 superblocks"),
    ],
)
def test_what_allows_no_comparison_has_a_reason(change: dict[str, Any], part: str) -> None:
    """No rows, no success, too many cut off, a session that holds half of them, too few
    superblocks: INCONCLUSIVE, a reason, and no ratio.
    """
    at = np.linspace(0, RUN_S, 2_000, endpoint=False)
    standard, pro = (arm(name, at, np.full(2_000, 200.0)) for name in ("standard", "pro"))
    record = compare_arms(standard, dataclasses.replace(pro, **change), ASKED)
    assert record.outcomes == ["INCONCLUSIVE"]
    assert part in record.reason
    assert record.ratios == {}
    json.dumps(record.to_json(), allow_nan=False)


def test_a_harness_that_was_the_limit_finds_nothing() -> None:
    """An arm measured by an unfit harness: the numbers are shown, no outcome and no gate rests on
    them.
    """
    standard, pro = pair(5, 3_000, ratio=0.5)
    record = compare_arms(
        standard, dataclasses.replace(pro, facts=pro.facts.replace(unfit="sent late")), ASKED
    )
    assert record.outcomes == record.regression.outcomes == ["INCONCLUSIVE"]
    assert record.reason == "the harness was not valid: sent late"
    assert p99_of(record).ratio == pytest.approx(0.5, rel=0.1)


# ---- price


def priced(
    first: float | None, second: float | None, ratio: float = 0.5, **more: Any
) -> Comparison:
    standard, pro = pair(7, 5_000, ratio=ratio, sigma=0.6)
    arms = [
        dataclasses.replace(each, facts=each.facts.replace(usd_per_request=usd, **more))
        for each, usd in ((standard, first), (pro, second))
    ]
    return compare_arms(arms[0], arms[1], ASKED)


def test_a_gain_has_a_price() -> None:
    """1 ct more a request, divided by hand by the milliseconds of p99 and by the misses avoided; a
    breach of 5,000 USD is 500,000 requests.
    """
    record = priced(0.001, 0.011, breach_usd=5_000.0)
    found, p99, over = record.price, p99_of(record), given(record.exceedance)
    assert found.extra_usd_per_request == pytest.approx(0.01)
    assert found.usd_per_1000_requests_per_ms == pytest.approx(
        10 / (given(p99.baseline_ms) - given(p99.other_ms))
    )
    avoided = over.baseline.over / over.baseline.n - over.other.over / over.other.n
    assert found.usd_per_avoided_miss == pytest.approx(0.01 / avoided)
    assert found.requests_per_breach == pytest.approx(500_000)


@pytest.mark.parametrize(
    ("first", "second", "ratio", "part"),
    [
        (None, 0.01, 0.5, "standard has no [prices] in its file"),
        (0.001, 0.0, 0.5, "pro has a price of zero"),
        (0.01, 0.01, 0.5, "costs no more"),
        (0.001, 0.01, 1.0, "no gain is shown"),
    ],
)
def test_no_price_is_made_from_nothing(
    first: float | None, second: float | None, ratio: float, part: str
) -> None:
    """A missing or zero price, a tier that costs no more, a gain not shown: a reason instead of a
    number.
    """
    found = priced(first, second, ratio).price
    assert part in given(found.reason)
    assert found.usd_per_1000_requests_per_ms is None


# ---- A/A


def test_halves_of_one_arm_do_not_differ() -> None:
    """The check rejects at 1 %: of 20 arms split in two at random at most 2 do; every row is in one
    half.
    """
    checks = []
    for seed in range(20):
        whole = pair(seed, 3_000)[0]
        halves = split(whole, seed)
        assert sum(map(len, halves)) == len(whole)
        checks.append(aa_check(*halves, ASKED))
    assert sum(given(check.rejects) for check in checks) <= 2
    assert {check.quantile for check in checks} == {"p99"}


def test_an_aa_check_that_rejects_spoils_the_comparison() -> None:
    """Two lanes of one target that differ threefold leave the true comparison INCONCLUSIVE."""
    check = aa_check(*pair(8, 3_000, ratio=3.0), ASKED)
    assert check.rejects
    record = with_aa(compare_arms(*pair(8, 3_000, ratio=0.5), ASKED), [check])
    assert record.outcomes == ["INCONCLUSIVE"]
    assert "A/A" in record.reason
    parts = [*record.by_phase.values(), *record.by_bucket.values()]
    assert [part.outcomes for part in parts] == [["INCONCLUSIVE"]] * 4
    assert record.price.reason == record.reason
    few = aa_check(*pair(8, 8), ASKED)
    assert few.rejects is None
    whole = compare_arms(*pair(8, 3_000, ratio=0.5), ASKED)
    assert with_aa(whole, [few]).outcomes == whole.outcomes


# ---- arms from runs


def test_an_arm_is_a_lane_without_warm_up_and_without_what_was_cut_off(tmp_path: Any) -> None:
    """Of six rows the warm-up and the cut one are left out, the cut one is counted, the failure is
    above any latency.
    """
    rows = [
        answered(50, due=10, warmup=True),
        answered(100, due=1100, lane=0, phase=1),
        answered(7, due=1200, lane=1, phase=1),
        failed(Outcome.http_5xx, due=2300, phase=2),
        cut(500, due=2400, phase=2),
        answered(300, due=2500, phase=2, bucket=1),
    ]
    lane = lane_of(contract_of(at_most(900), at_most(800, metric="ttft")), name="a")
    made = arm_of(run_of(tmp_path / "r", rows, lane, lane_of(name="b")), 0, "e2e")
    assert (made.values / MS).tolist() == [100, math.inf, 300]
    assert (made.at_ns / MS).tolist() == [1100, 2300, 2500]
    assert (made.phase.tolist(), made.bucket.tolist(), made.undecided) == ([1, 2, 2], [0, 0, 1], 1)
    assert made.facts.limit_ns == 900 * MS
    assert made.spans("burst") == [(2000 * MS, 4000 * MS)]


def test_a_stored_arm_comes_back_as_it_was(tmp_path: Any) -> None:
    """Places, latencies, failures and facts survive the file; what is no baseline is refused in one
    sentence.
    """
    made = pair(9, 50, fail=(0.2, 0))[0]
    whole = dataclasses.replace(made, values=np.floor(made.values))
    save_baseline(whole, tmp_path / "b.json")
    back = load_baseline(tmp_path / "b.json")
    for field in dataclasses.fields(Arm):
        assert np.array_equal(getattr(back, field.name), getattr(whole, field.name)), field.name
    assert np.isinf(back.values).any()
    stored = json.loads((tmp_path / "b.json").read_text())
    for change, said in (
        ({"format": 99}, "has format 99; this tailproof reads up to"),
        ({"rows": stored["rows"] | {"phase": [0]}}, "is not a baseline that tailproof stored"),
        ({"rows": {}}, "is not a baseline that tailproof stored"),
    ):
        (tmp_path / "c.json").write_text(json.dumps(stored | change))
        with pytest.raises(UserError, match=said):
            load_baseline(tmp_path / "c.json")
    with pytest.raises(UserError, match="cannot be read"):
        load_baseline(tmp_path / "none.json")


def test_halves_of_an_arm_part_no_session() -> None:
    """Ten sessions: each is in one half whole, and both halves have some."""
    one = pair(9, 50)[0]
    made = dataclasses.replace(one, session=np.arange(len(one)) % 10)
    halves = split(made, 1)
    found = [set(given(half.session).tolist()) for half in halves]
    assert found[0] | found[1] == set(range(10))
    assert not found[0] & found[1]
    assert len(halves[0]) + len(halves[1]) == len(made)


def test_unlike_arms_are_told_apart() -> None:
    """Load profile, machine, clock and simulation must be equal; the target may be anything."""
    one = arm("a", [1], [1])
    other = dataclasses.replace(
        one, facts=facts(machine={"cpu": "d"}, clock="l", profile="q", simulated=True)
    )
    assert differences(one, dataclasses.replace(one, name="b")) == []
    assert differences(one, other) == [
        "the load profiles differ",
        "the machines differ (cpu)",
        "the clock sources differ (k, l)",
        "one of them is simulated",
    ]


def test_a_run_without_comparisons_has_none(tmp_path: Any) -> None:
    """A suite that compares nothing leaves no record."""
    assert compare_run(run_of(tmp_path / "r", [answered(10)], lane_of())) is None
