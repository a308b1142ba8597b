"""Verdicts: the edges by scipy's exact test, the rules of health and exit by hand, the error rates
by simulation.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.app.conclude import worst_exit
from bench.errors import ExitCode, UserError
from bench.judge.contract.decision import Decision, sentence
from bench.judge.contract.verdict import judge_run
from bench.judge.health import Health
from bench.judge.stats.dependence import Trials, judge_trials
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.record.samples import Outcome
from tests.support.rows_by_hand import (
    VALID,
    Row,
    answered,
    at_most,
    contract_of,
    cut,
    evenly,
    failed,
    lane_of,
    run_of,
    uptime,
)

P0 = Fraction(1, 100)
LIMITED = replace(
    VALID, state="degraded", reasons=["the harness itself sent late"], client_limited=True
)
INVALID = replace(VALID, state="invalid", reasons=["5 of 10 due requests were never sent"])


def verdict(n: int, bad: int, unknown: int = 0, p0: Fraction = P0, alpha: float = 0.05) -> Decision:
    """What is decided of n rows, the bad and the unknown ones spread evenly over the time."""
    place = (np.arange(n) * 0.618033988749895 % 1).argsort().argsort()
    is_bad, is_unknown = place < bad, (place >= bad) & (place < bad + unknown)
    judged = judge_trials(Trials(np.arange(n) * 10**7, is_bad, is_unknown, None), p0, alpha)
    return Decision(judged.outcome, sentence(judged, at_most(800), {}, None), judged.needed)


def judged(
    folder: Path,
    rows: list[Row],
    *clauses: Clause,
    health: Health = VALID,
    override: Contract | None = None,
    lane: Row | None = None,
    **more: Any,
) -> dict[str, Any]:
    """verdicts.json of one lane under a contract of these clauses."""
    contract = contract_of(*clauses) if clauses else None
    run = run_of(folder, evenly(rows), lane_of(contract, **(lane or {})), **more)
    return judge_run(run, health, override).to_json()


def only(verdicts: dict[str, Any]) -> dict[str, Any]:
    """The record of the one clause."""
    (record,) = verdicts["clauses"]
    return dict(record)


@pytest.mark.parametrize(("model", "verdict"), [("a", "PASS"), ("b", "FAIL")])
def test_another_contract_is_held_against_a_run_by_its_model(
    tmp_path: Path, model: str, verdict: str
) -> None:
    """400 answers of 300 ms: within the limit of one model, over that of the other."""
    made = contract_of(
        Clause(metric="e2e", quantile="99%", limit_by_model={"a": "400ms", "b": "200ms"})
    )
    found = judged(tmp_path, [answered(300)] * 400, override=made, lane={"model": model})
    assert only(found)["verdict"] == verdict
    with pytest.raises(UserError, match="has no limit for model 'm', only for a, b"):
        judged(tmp_path / "m", [answered(300)], override=made)


def last_pass_and_first_fail(n: int, p0: Fraction, alpha: float) -> tuple[int, int]:
    """The turning counts from scipy's exact one-sided binomial tests, one count after the other."""
    passes = [
        k for k in range(n + 1) if scipy_stats.binomtest(k, n, float(p0), "less").pvalue <= alpha
    ]
    fails = [
        k for k in range(n + 1) if scipy_stats.binomtest(k, n, float(p0), "greater").pvalue < alpha
    ]
    return (passes[-1] if passes else -1), fails[0]


@pytest.mark.parametrize(
    ("n", "p0", "alpha"),
    [
        (299, P0, 0.05),
        (298, P0, 0.05),
        (1000, P0, 0.05),
        (600, Fraction(5, 1000), 0.05),
        (500, Fraction(1, 10), 0.01),
    ],
)
def test_the_verdict_turns_exactly_where_the_exact_test_does(
    n: int, p0: Fraction, alpha: float
) -> None:
    """k_pass PASS, k_pass+1 INCONCLUSIVE, k_fail-1 INCONCLUSIVE, k_fail FAIL."""
    last_pass, first_fail = last_pass_and_first_fail(n, p0, alpha)
    assert last_pass + 1 < first_fail
    said = {
        k: verdict(n, k, 0, p0, alpha).verdict
        for k in (last_pass, last_pass + 1, first_fail - 1, first_fail)
        if k >= 0
    }
    wanted = {
        last_pass: "PASS",
        last_pass + 1: "INCONCLUSIVE",
        first_fail - 1: "INCONCLUSIVE",
        first_fail: "FAIL",
    }
    assert said == {k: word for k, word in wanted.items() if k >= 0}


def test_a_contract_that_only_a_census_settles_says_so(tmp_path: Path) -> None:
    """A sample's verdict under proof = "census" names what would settle it; under "sample" it does
    not.
    """
    month = {"kind": "calendar_month", "time_zone": "UTC"}
    for index, (terms, said) in enumerate(
        (({"proof": "census", "period": month}, True), ({}, False))
    ):
        contract = contract_of(at_most(800), **terms)
        run = run_of(tmp_path / str(index), evenly([answered(5)] * 400), lane_of(contract))
        record = only(judge_run(run, VALID).to_json())
        assert (record["verdict"], "census of its period" in record["reason"]) == ("PASS", said)


def test_the_published_counts_of_p99() -> None:
    """1,000 rows: PASS up to 4, FAIL from 16; 299 rows without a miss PASS, 298 cannot."""
    assert [verdict(1000, k).verdict for k in (4, 5, 15, 16)] == [
        "PASS",
        "INCONCLUSIVE",
        "INCONCLUSIVE",
        "FAIL",
    ]
    assert verdict(299, 0).verdict == "PASS"
    assert verdict(298, 0).verdict == "INCONCLUSIVE"


def test_unknown_rows_are_reckoned_both_ways() -> None:
    """Unknown rows count as bad against PASS and as good against FAIL."""
    assert verdict(1000, 4, 0).verdict == "PASS"
    assert verdict(1000, 3, 1).verdict == "PASS"
    assert verdict(1000, 4, 1).verdict == "INCONCLUSIVE"
    assert verdict(1000, 0, 1000).verdict == "INCONCLUSIVE"
    assert verdict(1000, 15, 500).verdict == "INCONCLUSIVE"
    assert verdict(1000, 16, 500).verdict == "FAIL"
    assert "500 were still unanswered at the end" in verdict(1000, 15, 500).reason
    assert "What is not known of them would decide it" in verdict(1000, 3, 100).reason


def test_no_data_proves_nothing(tmp_path: Path) -> None:
    """Without a row a clause is INCONCLUSIVE, its numbers are null and its counts let
    nothing pass.
    """
    assert verdict(0, 0) == Decision("INCONCLUSIVE", "no requests to judge")
    for index, clause in enumerate((at_most(800, phase="burst"), uptime(phase="burst"))):
        record = only(judged(tmp_path / str(index), [answered(5)] * 400, clause))
        assert (record["verdict"], record["n"], record["measured"]) == ("INCONCLUSIVE", 0, None)
        assert (record["interval"], record["p_interval"], record["allowed_k"]) == (
            [None, None],
            [0.0, 1.0],
            -1,
        )


def test_an_inconclusive_clause_says_what_would_decide() -> None:
    """needed_n is a size at which the seen share would be decided in about 80 % by scipy's
    binomial.
    """
    found = verdict(1000, 5)
    assert found.needed is not None

    def chance_of_pass(n: int) -> float:
        last_pass = scipy_stats.binom.ppf(0.05, n, 0.01)
        last_pass -= scipy_stats.binom.cdf(last_pass, n, 0.01) > 0.05
        return float(scipy_stats.binom.cdf(last_pass, n, 0.005))

    assert 0.75 < chance_of_pass(found.needed) < 0.87
    assert found.reason.endswith(
        f"About {found.needed:,} requests in all would decide if the share stays at 0.5 %"
    )
    assert "4 or fewer would be PASS, 16 or more FAIL" in found.reason
    assert verdict(100, 0).reason.startswith(
        "No request was slow or failed, but 100 cannot prove 99 %"
    )
    assert 299 <= (verdict(100, 0).needed or 0) <= 305
    at_the_limit = verdict(1000, 10)
    assert at_the_limit.needed is None
    assert at_the_limit.reason.endswith("so near the limit that no run would decide")


def spells(counts: list[int], size: int = 300) -> str:
    """The sentence on blocks of `size` rows ten ms apart, in each so many bad ones, spread
    over it.
    """
    bad = np.zeros(size * len(counts), bool)
    for block, count in enumerate(counts):
        bad[block * size + ((np.arange(count) + 0.5) * size / max(count, 1)).astype(int)] = True
    none = np.zeros(len(bad), bool)
    return sentence(
        judge_trials(Trials(np.arange(len(bad)) * 10**7, bad, none, None), P0, 0.05),
        at_most(800),
        {},
        None,
    )


def test_what_stands_between_the_counts_and_a_verdict_is_said() -> None:
    """So few spells that one more, or one fewer, would turn it."""
    assert "One more cluster like the worst (14 of 300 between" in spells([1] * 29 + [14])
    assert "One cluster decides it: 290 of 300 between" in spells([0] * 29 + [290])


@pytest.mark.parametrize(("later", "way"), [(True, "more"), (False, "fewer")])
def test_a_pass_names_the_drift_it_was_reached_in(tmp_path: Path, later: bool, way: str) -> None:
    """All 12 misses of 6,000 lie in one half of the run: a PASS that says so; spread evenly it says
    nothing.
    """
    rows = [
        answered(
            900 if number % 250 == 125 and (number >= 3000) == later else 100, due=number * 100
        )
        for number in range(6000)
    ]
    found = only_of(tmp_path / "r", rows, at_most(800))
    assert (found["verdict"], found["k"]) == ("PASS", 12)
    assert f"note: {way} were bad as the run went on" in found["reason"]
    even = [
        answered(900 if number % 500 == 250 else 100, due=number * 100) for number in range(6000)
    ]
    assert "as the run went on" not in only_of(tmp_path / "even", even, at_most(800))["reason"]


def test_one_failure_alone_is_said_to_be_one_spell() -> None:
    """1 of 1 is more than 1 %, yet it is all one spell: the sentence does not call for a FAIL that
    the count has.
    """
    found = verdict(1, 1)
    assert found.verdict == "INCONCLUSIVE"
    assert "Even with none, so few cannot prove it" in found.reason
    assert "at least" not in found.reason


def far_apart(n: int) -> list[int]:
    """1 ... n in an order in which the largest, however many of them, lie far apart."""
    return [int(place) + 1 for place in (np.arange(n) * 0.618033988749895 % 1).argsort().argsort()]


@pytest.mark.parametrize("quantile", ["50%", "90%", "99%", "99.9%"])
def test_the_bound_of_a_latency_is_the_order_statistics_of_scipy(
    tmp_path: Path, quantile: str
) -> None:
    """Measured value by nearest rank, limits as in scipy's exact quantile test, 5 % a side; null
    where no limit exists.
    """
    values = np.array(far_apart(400)) * 3
    rows = [answered(int(value), 0, due=at * 100) for at, value in enumerate(values)]
    record = only_of(tmp_path / "r", rows, at_most(800, quantile))
    q = float(record["quantile"])
    theirs: Any = scipy_stats.quantile_test(values, p=q).confidence_interval(0.9)
    assert record["measured"] == sorted(values)[math.ceil(round(q * 400, 9)) - 1]
    wanted = [float(limit) if math.isfinite(limit) else None for limit in theirs]
    assert record["bound"] == record["interval"] == wanted
    assert (record["bound"][1] is None) == (quantile == "99.9%")
    assert record["k"] == int((values > 800).sum())


@pytest.mark.parametrize("quantile", ["50%", "75%", "90%"])
def test_the_bound_of_few_rows_ends_where_scipys_does(tmp_path: Path, quantile: str) -> None:
    """Of 1 to 40 rows: the largest may be the upper limit, the smallest the lower, and of too few
    there is neither. Of so few some come together by chance, and the bound is no narrower.
    """
    equal = 0
    for n in range(1, 41):
        values = np.array(far_apart(n)) * 10
        rows = [answered(int(value), 0, due=at * 100) for at, value in enumerate(values)]
        record = only_of(tmp_path / str(n), rows, at_most(10_000, quantile))
        theirs: Any = scipy_stats.quantile_test(
            values, p=float(record["quantile"])
        ).confidence_interval(0.9)
        low, high = (float(end) if math.isfinite(end) else None for end in theirs)
        wanted = [low if n >= 4 else None, high if n >= 10 else None]
        equal += record["bound"] == wanted
        assert (record["bound"][0] or 0) <= (wanted[0] or 0), n
        assert (record["bound"][1] or math.inf) >= (wanted[1] or math.inf), n
    assert equal >= 36


def test_a_bound_never_denies_its_verdict(tmp_path: Path) -> None:
    """One run in spells under many limits: PASS from the upper end on, FAIL below the lower, and a
    limit above one that passes passes. The bound is the same whatever the limit.
    """
    rng = np.random.default_rng(3)
    slow = np.repeat(rng.random(100) < 0.1, 30)
    values = (rng.lognormal(4, 0.4, 3000) * np.where(slow, 4, 1)).astype(int) + 1
    values[rng.random(3000) < 0.002] = 10**7
    rows = evenly([answered(int(value)) for value in values])
    limits = sorted({*np.quantile(values, np.linspace(0.9, 0.999, 40)).astype(int).tolist()})
    run = run_of(tmp_path / "r", rows, lane_of(contract_of(at_most(800))))
    records = [
        only(judge_run(run, VALID, contract_of(at_most(limit, "97%"))).to_json())
        for limit in limits
    ]
    said = [record["verdict"] for record in records]
    assert {*said} == {"PASS", "FAIL", "INCONCLUSIVE"}
    assert said == sorted(said, key=["FAIL", "INCONCLUSIVE", "PASS"].index)
    for limit, record in zip(limits, records, strict=True):
        low, high = record["bound"]
        assert (high is not None and limit >= high) == (record["verdict"] == "PASS")
        assert (low is not None and limit < low) == (record["verdict"] == "FAIL")
        assert (record["p_limits"][1] <= 0.03) == (record["verdict"] == "PASS")
        assert (record["p_limits"][0] > 0.03) == (record["verdict"] == "FAIL")
        assert (record["k"] <= record["allowed_k"]) == (record["verdict"] == "PASS")
        assert (record["k"] >= record["fail_k"]) == (record["verdict"] == "FAIL")


def test_a_quantile_among_failures_has_no_number(tmp_path: Path) -> None:
    """With 1.8 % failures p99 lies above any number: null; the lower limit still stands."""
    rows = [answered(50)] * 491 + [failed(Outcome.reset)] * 9
    record = only(judged(tmp_path / "r", rows, at_most(800)))
    assert (record["measured"], record["verdict"]) == (None, "INCONCLUSIVE")
    assert record["bound"] == [50.0, None]
    rows = [answered(50)] * 460 + [failed(Outcome.reset)] * 40
    record = only(judged(tmp_path / "over", rows, at_most(800)))
    assert (record["verdict"], record["bound"]) == ("FAIL", [None, None])


def test_a_share_comes_with_its_exact_limits(tmp_path: Path) -> None:
    """Uptime and error share measure the same failures from both ends, with scipy's exact
    limits, 5 % a side.
    """
    rows = [answered(5)] * 997 + [failed(Outcome.http_5xx)] * 3
    low, high = scipy_stats.binomtest(3, 1000).proportion_ci(0.9, "exact")
    up, errors = judged(
        tmp_path / "r", rows, uptime("99%"), Clause(metric="error_share", share="1%")
    )["clauses"]
    assert up["measured"] == pytest.approx(0.997)
    assert up["interval"] == pytest.approx([1 - high, 1 - low], rel=1e-9)
    assert errors["measured"] == pytest.approx(0.003)
    assert errors["interval"] == errors["p_interval"] == pytest.approx([low, high], rel=1e-9)
    assert (up["k"], up["p0"], up["allowed_k"], up["fail_k"]) == (3, 0.01, 4, 16)
    assert up["verdict"] == errors["verdict"] == "PASS"


def test_a_record_holds_the_clause_its_counts_and_its_limits(tmp_path: Path) -> None:
    """1,000 rows every 10 ms of which 5 are over 800 ms and 2 were cut off: each field by hand or
    by scipy.
    """
    rows = [
        answered(900 if number % 200 == 100 else 100, due=number * 10) for number in range(1000)
    ]
    rows[400], rows[800] = (cut(5, due=number * 10) for number in (400, 800))
    lane = lane_of(contract_of(at_most(800), confidence="90%"))
    found = judge_run(run_of(tmp_path / "r", rows, lane), VALID).to_json()
    record = only(found)
    assert (
        found["format"],
        found["run"],
        found["confidence"],
        found["simulated"],
        found["overall"],
    ) == (2, "r", 0.9, False, "INCONCLUSIVE")
    clause = {
        "target": "t",
        "stage": "s",
        "contract": "c",
        "number": 1,
        "metric": "e2e",
        "view": "response",
        "quantile": 0.99,
        "limit_ms": 800.0,
        "at_least_tps": None,
        "share": None,
        "operator": "<=",
        "statistic": "quantile",
        "method": None,
        "phase": None,
        "bucket": None,
        "report_only": False,
        "p0": 0.01,
        "confidence": 0.9,
        "unit": "ms",
    }
    assert {name: record[name] for name in clause} == clause
    counts = {
        "n": 1000,
        "k": 5,
        "unknown": 2,
        "excluded": {},
        "with_excluded": None,
        "decided_by": "exact",
        "blocks": 30,
    }
    assert {name: record[name] for name in counts} == counts
    assert (record["n_effective"], record["design_effect"]) == (1000, 1)
    allowed, fails = last_pass_and_first_fail(1000, P0, 0.1)
    assert (record["allowed_k"], record["fail_k"], record["p_fail"]) == (allowed, fails, 1)
    assert record["p_limits"] == pytest.approx(
        [
            scipy_stats.binomtest(k, 1000).proportion_ci(0.8, "exact")[side]
            for side, k in ((0, 5), (1, 7))
        ],
        rel=1e-9,
    )
    assert record["p_interval"] == record["p_limits"]
    assert record["block_s"] == pytest.approx(9.99 / 30, rel=1e-6)
    worst = record["worst_block"]
    assert (worst["k"], worst["n"] in (33, 34)) == (1, True)
    assert worst["end_s"] - worst["start_s"] == pytest.approx((worst["n"] - 1) / 100)
    assert (
        worst["start_s"] % 2 <= 1 <= worst["end_s"] % 2
    )  # the bad rows are due at 1, 3, 5, 7 and 9 s
    assert record["measured"] == 100.0


@pytest.mark.parametrize(
    ("clause", "wanted"),
    [
        (
            Clause(metric="output_tps", quantile="90%", at_least="5/s"),
            {"unit": "tokens/s", "at_least_tps": 5.0, "limit_ms": None, "operator": ">="},
        ),
        (
            Clause(metric="error_share", share="1%"),
            {"unit": "share", "share": 0.01, "operator": "<=", "quantile": None},
        ),
        (
            uptime("99%"),
            {"unit": "share", "share": 0.99, "operator": ">=", "method": "request_ratio"},
        ),
        (at_most(800, operator="<"), {"unit": "ms", "operator": "<"}),
    ],
)
def test_a_record_says_its_unit_and_direction(
    tmp_path: Path, clause: Clause, wanted: dict[str, Any]
) -> None:
    """Per kind of clause."""
    record = only(judged(tmp_path / "r", [answered(5)] * 400, clause))
    assert {name: record[name] for name in wanted} == wanted


def test_each_contract_is_judged_at_its_own_confidence(tmp_path: Path) -> None:
    """299 rows without a miss prove p99 at 95 % and not at 99 %, which takes 459."""
    sure = contract_of(at_most(800), confidence="99%")
    for n, wanted in ((299, "INCONCLUSIVE"), (458, "INCONCLUSIVE"), (459, "PASS")):
        record = only(judged(tmp_path / str(n), [answered(5)] * n, override=sure))
        assert (record["verdict"], record["confidence"]) == (wanted, 0.99)


def test_a_late_harness_condemns_only_what_fails_without_it(tmp_path: Path) -> None:
    """Client-limited: FAIL stands when the service view fails too, becomes INCONCLUSIVE when not;
    PASS and uptime stand.
    """
    lagged, slow = answered(900, lag=200), answered(2_000, lag=200)
    cases = {
        "lagged": ([lagged] * 400, LIMITED, "INCONCLUSIVE"),
        "fit": ([lagged] * 400, VALID, "FAIL"),
        "slow": ([slow] * 400, LIMITED, "FAIL"),
        "quick": ([answered(700, lag=200)] * 400, LIMITED, "PASS"),
        # by service 10 of 400 are over: neither proven nor disproven, so not a FAIL
        "some": ([lagged] * 393 + [slow] * 7, LIMITED, "INCONCLUSIVE"),
    }
    for name, (rows, health, wanted) in cases.items():
        record = only(judged(tmp_path / name, rows, at_most(800), health=health))
        assert record["verdict"] == wanted, name
    said = only(judged(tmp_path / "words", [lagged] * 400, at_most(800), health=LIMITED))["reason"]
    assert "harness" in said
    down = only(judged(tmp_path / "down", [failed(Outcome.reset)] * 400, uptime(), health=LIMITED))
    assert down["verdict"] == "FAIL"


def test_an_unfit_harness_judges_nothing(tmp_path: Path) -> None:
    """Invalid health: every judged clause INCONCLUSIVE with the reason, overall INVALID, exit 4; no
    contract: NONE and 0.
    """
    for name, rows in (("good", [answered(5)] * 400), ("bad", [answered(5_000)] * 400)):
        found = judged(tmp_path / name, rows, at_most(800), uptime(), health=INVALID)
        assert [record["verdict"] for record in found["clauses"]] == ["INCONCLUSIVE"] * 2
        assert all("never sent" in record["reason"] for record in found["clauses"])
        assert (found["overall"], found["exit_code"]) == ("INVALID", 4)
    bare = judged(tmp_path / "bare", [answered(5)], health=INVALID)
    assert (bare["clauses"], bare["overall"], bare["exit_code"]) == ([], "NONE", 0)


def test_a_closed_loop_judges_no_contract(tmp_path: Path) -> None:
    """However plain the numbers, a closed loop is INCONCLUSIVE and says why."""
    for name, rows in (("good", [answered(5)] * 400), ("bad", [failed(Outcome.reset)] * 400)):
        found = judged(tmp_path / name, rows, at_most(800), lane={"closed_loop": True})
        assert (only(found)["verdict"], found["exit_code"]) == ("INCONCLUSIVE", 3)
        assert "closed loop" in only(found)["reason"]


def test_a_user_of_a_closed_loop_is_no_session(tmp_path: Path) -> None:
    """Four users of 100 requests each are 400 requests, whose bound is scipy's; four sessions of
    as many turns say nothing.
    """
    rows = [answered(5, session=row % 4) for row in range(400)]
    loop = only(judged(tmp_path / "loop", rows, uptime(), lane={"closed_loop": True}))
    turns = only(judged(tmp_path / "turns", rows, uptime()))
    exact = float(scipy_stats.beta.ppf(0.95, 1, 400))
    assert loop["p_limits"] == [0, pytest.approx(exact, rel=1e-6)]
    assert (turns["p_limits"], turns["open_cause"]) == ([0, 1], "few_blocks")


def test_a_reported_clause_decides_nothing(tmp_path: Path) -> None:
    """report_only clauses are shown with their numbers; alone they leave the run without a
    verdict.
    """
    shown = at_most(None, report_only=True)
    alone = judged(tmp_path / "alone", [failed(Outcome.reset)] * 400, shown)
    assert (only(alone)["verdict"], alone["overall"], alone["exit_code"]) == ("REPORTED", "NONE", 0)
    beside = judged(tmp_path / "beside", [answered(5)] * 400, shown, at_most(800))
    assert (beside["overall"], beside["exit_code"]) == ("PASS", 0)
    assert beside["clauses"][0]["measured"] == 5.0


def test_overall_is_the_worst_of_several_clauses(tmp_path: Path) -> None:
    """FAIL if any fails, PASS only if all pass, else INCONCLUSIVE; over all 19 combinations of one
    to three.
    """
    # 400 answers of 500 ms and 3 % failures: this FAILs, that PASSes, the third can do neither
    rows = [answered(500)] * 388 + [failed(Outcome.http_5xx)] * 12
    clause = {"FAIL": uptime("99%"), "PASS": uptime("90%"), "INCONCLUSIVE": uptime("97%")}
    for count in (1, 2, 3):
        for words in itertools.combinations_with_replacement(clause, count):
            found = judged(tmp_path / "-".join(words), rows, *(clause[word] for word in words))
            assert [record["verdict"] for record in found["clauses"]] == list(words)
            wanted = (
                "FAIL" if "FAIL" in words else "INCONCLUSIVE" if "INCONCLUSIVE" in words else "PASS"
            )
            assert found["overall"] == wanted
            assert found["exit_code"] == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}[wanted]


def test_each_lane_is_judged_by_its_own_rows(tmp_path: Path) -> None:
    """Two lanes under one contract: one fails, the other passes; the numbers do not mix; one breach
    costs once.
    """
    contract = contract_of(
        at_most(800), breach_cost_usd="1000000", attested=[{"term": "data stay"}]
    )
    rows = [answered(100, lane=0)] * 400 + [answered(900, lane=1)] * 400
    found = judge_run(
        run_of(tmp_path / "r", evenly(rows), lane_of(contract), lane_of(contract, name="u")), VALID
    ).to_json()
    assert [
        (record["target"], record["verdict"], record["measured"]) for record in found["clauses"]
    ] == [("t", "PASS", 100.0), ("u", "FAIL", 900.0)]
    assert found["projected_breach_usd"] == 1_000_000
    assert found["attested"] == [{"contract": "c", "term": "data stay"}]
    assert judged(tmp_path / "kept", rows[:400], override=contract)["projected_breach_usd"] is None


def test_expectations_decide_the_exit_code_of_a_rehearsal(tmp_path: Path) -> None:
    """A planted FAIL that came is exit 0, one that did not come is 1; another contract rehearses
    nothing.
    """
    rows = [answered(900)] * 400
    for wanted, met, code in (("FAIL", True, 0), ("PASS", False, 1)):
        lane = {"expect": [{"clause": "e2e p99", "verdict": wanted}]}
        found = judged(tmp_path / wanted, rows, at_most(800), uptime("50%"), lane=lane)
        assert found["expects"] == [
            {
                "target": "t",
                "clause": "response e2e p99 ≤ 800 ms",
                "expected": wanted,
                "got": "FAIL",
                "met": met,
            }
        ]
        assert (found["overall"], found["exit_code"]) == ("FAIL", code)
        again = judged(
            tmp_path / f"{wanted}-again",
            rows,
            at_most(800),
            lane=lane,
            override=contract_of(at_most(800)),
        )
        assert (again["expects"], again["exit_code"]) == ([], 1)


def test_where_several_exit_codes_hold_the_first_of_the_order_wins(tmp_path: Path) -> None:
    """130 before 5 before 4 before 1 before 3 before 0, for one run and for repeated ones."""
    order = [130, 5, 4, 1, 3, 0]
    for first, second in itertools.combinations(order, 2):
        assert (
            worst_exit([ExitCode(second), ExitCode(first)])
            == worst_exit([ExitCode(first), ExitCode(second)])
            == first
        )
    assert worst_exit([]) == ExitCode.PASS
    rows = [answered(900)] * 400
    expect = {"expect": [{"clause": "e2e p99", "verdict": "FAIL"}]}
    for name, health, state, wanted in (
        ("a", VALID, "interrupted", 130),
        ("b", INVALID, "interrupted", 130),
        ("c", INVALID, "complete", 4),
        ("d", VALID, "complete", 0),
        ("e", VALID, "running", 130),
    ):
        found = judged(tmp_path / name, rows, at_most(800), health=health, state=state, lane=expect)
        assert found["exit_code"] == wanted, name


def test_rows_after_ctrl_c_are_not_failures(tmp_path: Path) -> None:
    """Of 1,000 planned rows 400 were answered before Ctrl-C: uptime is 100 % of 400, whatever was
    planned.
    """
    rows = [answered(5)] * 400 + [failed(Outcome.never_sent, sent=-1, done=-1)] * 600
    record = only(judged(tmp_path / "broke-off", rows, uptime(), state="interrupted"))
    assert (record["n"], record["k"], record["measured"], record["verdict"]) == (
        400,
        0,
        1.0,
        "PASS",
    )
    whole = only(judged(tmp_path / "whole", rows, uptime()))
    assert (whole["n"], whole["k"], whole["unknown"], whole["verdict"]) == (
        1000,
        0,
        600,
        "INCONCLUSIVE",
    )


def test_a_clause_that_the_run_cannot_have(tmp_path: Path) -> None:
    """Asked for afterwards it is the user's error; in the run's own contract it is INCONCLUSIVE, so
    that the report is written; one that is only shown never stops anything.
    """
    whole = [answered(5, flags=0)] * 400
    for name, clause in (
        ("phase", at_most(800, phase="flood")),
        ("metric", at_most(800, metric="ttft")),
    ):
        with pytest.raises(UserError, match=r"contract c: clause 2 \(.*\): "):
            judged(tmp_path / f"{name}-after", whole, override=contract_of(uptime(), clause))
        found = judged(tmp_path / name, whole, clause)
        assert (only(found)["verdict"], only(found)["n"], only(found)["k"]) == (
            "INCONCLUSIVE",
            0,
            0,
        )
        assert {"phase": "flood", "metric": "streamed"}[name] in only(found)["reason"]
        assert found["exit_code"] == 3
    shown = contract_of(uptime(), at_most(None, metric="ttft", report_only=True))
    for found in (
        judged(tmp_path / "own", whole, *shown.clauses),
        judged(tmp_path / "after", whole, override=shown),
    ):
        assert [clause["verdict"] for clause in found["clauses"]] == ["PASS", "REPORTED"]
        assert found["clauses"][1]["measured"] is None


def test_cut_rows_move_an_interval_only_upwards(tmp_path: Path) -> None:
    """A cut row is over any number in the measured quantile, unknown in the counts."""
    rows = [answered(50)] * 98 + [cut(5), cut(9_000)]
    record = only(judged(tmp_path / "r", rows, at_most(800)))
    assert (record["n"], record["k"], record["unknown"]) == (100, 1, 1)
    assert record["measured"] is None


@pytest.mark.parametrize("n", [400, 1000, 3000])
def test_a_system_exactly_at_its_limit_is_rarely_misjudged(n: int) -> None:
    """At p = 1 % PASS and FAIL each stay within 5 % (+ 4 standard errors of 4,000 runs); far off,
    the verdict comes.
    """
    runs = 4_000
    rng = np.random.default_rng(n)

    def shares(p: float) -> dict[str, float]:
        seen = Counter(rng.binomial(n, p, runs).tolist())
        said: Counter[str] = Counter()
        for k, times in seen.items():
            said[verdict(n, k).verdict] += times
        return {word: said[word] / runs for word in ("PASS", "FAIL", "INCONCLUSIVE")}

    at_limit = shares(0.01)
    bound = 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)
    assert at_limit["PASS"] <= bound
    assert at_limit["FAIL"] <= bound
    last_pass, first_fail = last_pass_and_first_fail(n, P0, 0.05)
    for p in (0.001, 0.04):
        found = shares(p)
        for word, exact in (
            ("PASS", scipy_stats.binom.cdf(last_pass, n, p)),
            ("FAIL", scipy_stats.binom.sf(first_fail - 1, n, p)),
        ):
            assert abs(found[word] - exact) <= 4 * math.sqrt(exact * (1 - exact) / runs) + 1 / runs


def bursty(minutes: int, slow: set[int]) -> list[Row]:
    """10 requests a second; in the slow minutes every fifth takes 2 s, else 100 ms."""
    return [
        answered(2_000 if at // 60_000 in slow and at % 500 == 0 else 100, due=at)
        for at in range(0, minutes * 60_000, 100)
    ]


def only_of(folder: Path, rows: list[Row], *clauses: Clause, **terms: Any) -> dict[str, Any]:
    """The first clause's record, the rows at the times they were written with."""
    lane = lane_of(contract_of(*clauses, **terms))
    return dict(judge_run(run_of(folder, rows, lane), VALID).to_json()["clauses"][0])


def test_spells_are_not_independent_evidence(tmp_path: Path) -> None:
    """One slow minute of 40 puts 0.5 % of 24,000 rows over the limit: exact counts would PASS, one
    more such minute would not do.
    """
    record = only_of(tmp_path / "r", bursty(40, {17}), at_most(800))
    assert record["k"] == 120
    assert scipy_stats.binomtest(120, 24_000, 0.01, "less").pvalue < 1e-12
    assert (record["verdict"], record["decided_by"]) == ("INCONCLUSIVE", "blocks")
    assert record["n_effective"] < 24_000 / 20
    assert record["worst_block"]["start_s"] < 18 * 60
    assert record["worst_block"]["end_s"] > 17 * 60
    assert record["bound"][1] is None or record["bound"][1] > 800
    spread = only_of(
        tmp_path / "s", evenly([answered(2_000)] * 120 + [answered(100)] * 23_880), at_most(800)
    )
    assert (spread["verdict"], spread["decided_by"], spread["n_effective"]) == (
        "PASS",
        "exact",
        24_000,
    )


def test_a_fail_must_stand_among_all_clauses(tmp_path: Path) -> None:
    """16 of 1,000 is p = 0.048 by scipy: FAIL alone, undecided beside a second clause; 25 of 1,000
    FAILs beside ten.
    """
    assert 0.025 < scipy_stats.binomtest(16, 1000, 0.01, "greater").pvalue < 0.05
    rows = [answered(900)] * 16 + [answered(100)] * 984
    assert only(judged(tmp_path / "one", rows, at_most(800)))["verdict"] == "FAIL"
    first, _ = judged(tmp_path / "two", rows, at_most(800), at_most(5_000))["clauses"]
    assert first["verdict"] == "INCONCLUSIVE"
    assert "among 2 clauses" in first["reason"]
    assert first["bound"][0] is None or first["bound"][0] <= 800
    assert first["p_limits"][0] <= 0.01
    assert first["decide"]["requests"] == first["needed_n"] > 1000
    shown = judged(tmp_path / "shown", rows, at_most(800), at_most(5_000, report_only=True))[
        "clauses"
    ][0]
    assert shown["verdict"] == "FAIL"
    many = [at_most(limit) for limit in range(1_000, 10_000, 1_000)]
    worse = [answered(900)] * 25 + [answered(100)] * 975
    assert judged(tmp_path / "ten", worse, at_most(800), *many)["clauses"][0]["verdict"] == "FAIL"


def test_a_fail_at_planned_looks_must_stand_among_all_clauses_at_a_looks_share(
    tmp_path: Path,
) -> None:
    """19 of 1,000 is p = 0.0072 by scipy: under a quarter of 5 %, so a FAIL alone, but not under an
    eighth, so none of two.
    """
    p = float(scipy_stats.binomtest(19, 1000, 0.01, "greater").pvalue)
    assert 0.05 / 8 < p < 0.05 / 4
    rows = [answered(900)] * 19 + [answered(100)] * 981
    alone = only(judged(tmp_path / "one", rows, at_most(800), early_stop=4))
    assert (alone["verdict"], alone["p_fail"]) == ("FAIL", pytest.approx(p, rel=2e-3))
    first, second = judged(tmp_path / "two", rows, at_most(800), at_most(5_000), early_stop=4)[
        "clauses"
    ]
    assert (first["verdict"], second["verdict"], second["p_fail"]) == ("INCONCLUSIVE", "PASS", 1)


def test_tokens_per_second_are_measured_from_the_slow_end(tmp_path: Path) -> None:
    """1 ... 100 tokens in a second each: 90 % hold at least 11 tokens/s, the nearest rank from
    below.
    """
    rows = [answered(1000, tokens=tokens) for tokens in range(1, 101)]
    record = only(
        judged(tmp_path / "r", rows, Clause(metric="output_tps", quantile="90%", at_least="5/s"))
    )
    assert record["unit"] == "tokens/s"
    assert record["measured"] == pytest.approx(sorted(range(1, 101))[100 - 90])
    low, high = record["interval"]
    assert low < record["measured"] < high


def test_a_sample_only_projects_a_credit(tmp_path: Path) -> None:
    """97 % of 1,000 is between 95 and 99 %: 25 % are projected, at least and at most by the limits
    of the share.
    """
    ladder = [
        {"below": "99.9%", "credit": "10%"},
        {"below": "99%", "credit": "25%"},
        {"below": "95%", "credit": "100%"},
    ]
    rows = evenly([failed(Outcome.http_5xx)] * 30 + [answered(5)] * 970)
    record = only_of(
        tmp_path / "r", rows, uptime("99.9%", credit=ladder), credits={"base": "the month's bill"}
    )
    assert record["projected_credit"] == {"share": 0.25, "at_least": 0.25, "at_most": 0.25}
    assert only_of(tmp_path / "none", rows, uptime("99.9%"))["projected_credit"] is None


def test_exclusions_are_shown_with_what_they_changed(tmp_path: Path) -> None:
    """Long contexts set aside by the contract: counts per reason, and the counts with them
    back in.
    """
    rows = evenly(
        [answered(900, prompt_tokens=300_000)] * 40 + [answered(100, prompt_tokens=10)] * 960
    )
    rule = {"reason": "long context", "kind": "long_context", "above_prompt_tokens": 200_000}
    record = only_of(tmp_path / "r", rows, at_most(800), exclusion=[rule])
    assert (record["n"], record["k"], record["excluded"]) == (960, 0, {"long context": 40})
    assert record["with_excluded"] == {"n": 1000, "k": 40}
    assert record["verdict"] == "PASS"


def test_looks_divide_the_error_of_fail_alone(tmp_path: Path) -> None:
    """PASS is said once, at the planned end: ln(0.05)/ln(0.99) = 299 clean rows. At a moment that a
    look chose, for another clause's FAIL, it takes ln(0.0125)/ln(0.99) = 437. Of 1,000 rows FAIL
    takes the first count with a tail below 0.0125 by scipy.
    """
    assert math.ceil(math.log(0.05) / math.log(0.99)) == 299
    assert math.ceil(math.log(0.05 / 4) / math.log(0.99)) == 437
    runs = (
        (298, None, "INCONCLUSIVE"),
        (299, None, "PASS"),
        (436, "a look", "INCONCLUSIVE"),
        (437, "a look", "PASS"),
    )
    for n, why, wanted in runs:
        rows = [answered(5)] * n
        record = only(judged(tmp_path / f"{n}", rows, at_most(800), early_stop=4, ended_early=why))
        assert (record["verdict"], record["k"]) == (wanted, 0), n
    fewest = int(scipy_stats.binom.isf(0.05 / 4, 1000, 0.01)) + 1
    for bad, wanted in ((fewest, "FAIL"), (fewest - 1, "INCONCLUSIVE")):
        rows = [answered(900)] * bad + [answered(100)] * (1000 - bad)
        record = only(judged(tmp_path / f"bad-{bad}", rows, at_most(800), early_stop=4))
        assert record["verdict"] == wanted
        low, high = record["bound"]
        assert high is None or high > 800
        assert (low is not None and low > 800) == (wanted == "FAIL")


@pytest.mark.parametrize("seed", range(5))
def test_rows_under_way_at_a_look_are_no_spell(tmp_path: Path, seed: int) -> None:
    """Answers of 3 s under a limit of 10 s, 4 % of them longer than that: half of the run suffices
    to see it, though the rows of its last seconds are still open.
    """
    rng = np.random.default_rng(seed)
    look = 300_000
    rows = []
    for due in range(0, look, 200):
        took = 12_000 if rng.random() < 0.04 else 3_000
        rows.append(answered(took, due=due) if due + took < look else cut(look - due, due=due))
    lane = lane_of(contract_of(at_most(10_000)))
    run = run_of(tmp_path / "r", rows, lane, early_stop=4)
    record = only(judge_run(run, VALID, look_ns=look * 10**6).to_json())
    assert (record["verdict"], record["unknown"]) == ("FAIL", 0)
    assert record["n"] == (look - 10_000) // 200


def test_rows_after_an_early_end_are_no_rows(tmp_path: Path) -> None:
    """Ended early by its own rule, a run is complete, and the rows that never came up count
    nowhere.
    """
    rows = [answered(5)] * 500 + [failed(Outcome.never_sent, sent=-1, done=-1)] * 500
    found = judged(tmp_path / "r", rows, uptime("99%"), early_stop=4, ended_early="decided")
    assert (
        only(found)["n"],
        only(found)["unknown"],
        only(found)["verdict"],
        found["exit_code"],
    ) == (500, 0, "PASS", 0)


@pytest.mark.parametrize("n", [100, 101, 102])
def test_where_all_that_is_not_bad_is_unknown_everything_may_have_been_bad(
    n: int, tmp_path: Path
) -> None:
    """A spell of slow rows among rows that were cut off: all of them together are worth the whole,
    not a hair more.
    """
    slow = range(n // 3, n // 3 + n // 4)
    rows = [
        answered(900, due=at * 100) if at in slow else cut(400, due=at * 100) for at in range(n)
    ]
    record = only_of(tmp_path / "r", rows, at_most(800))
    assert (record["n"], record["k"] + record["unknown"], record["decided_by"]) == (n, n, "blocks")
    assert record["p_interval"][1] == 1.0
