"""What a contract needs before anything is sent: thresholds, time, tokens and money, against other
arithmetic.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from bench.errors import UserError
from bench.judge.contract.chosen_size import cannot_decide, size_for, unasked_size
from bench.judge.contract.sizing import Assumed, ClauseSize, Guess, LaneSize, Sizing, size_plan
from bench.judge.stats.dependence import Trials, judge_trials
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.plan.profile import Profile
from bench.plan.schedule import compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target

S = 10**9
PRICES = {
    "input_usd_per_million": "1",
    "output_usd_per_million": "2",
    "as_of": "2026-11-23",
    "source": "made",
}


def e2e(quantile: str, **more: Any) -> Clause:
    return Clause(metric="e2e", quantile=quantile, limit="1s", **more)


def stage(
    *clauses: Clause,
    name: str = "one",
    seconds: int = 100,
    prices: bool = True,
    proof: str = "sample",
    **profile: Any,
) -> Stage:
    """10 requests a second of 100 prompt and 50 output tokens."""
    fields = {
        "description": "d",
        "name": "p",
        "arrivals": {"kind": "constant", "rate": "10/s"},
        "duration": f"{seconds}s",
        "prompt_tokens": [{"fixed": 100}],
        "output_tokens": [{"fixed": 50}],
    }
    target = {
        "description": "d",
        "name": "t",
        "base_url": "http://127.0.0.1:9/v1",
        "model": "m",
    } | ({"prices": PRICES} if prices else {})
    period = {"period": {"kind": "rolling", "days": 30}} if proof == "census" else {}
    contract = Contract.model_validate(
        {"title": "c", "name": "c", "clause": clauses, "proof": proof, **period}
    )
    return Stage(
        name=name,
        targets=[Target.model_validate(target)],
        profile=Profile.model_validate(fields | profile),
        contract=contract,
        scenario=None,
        settle_ns=0,
        expect=[],
    )


def sized(*stages: Stage, **assumed: Any) -> Sizing:
    suite = Suite(name="s", description="d", seed=1, stages=list(stages), files=[])
    return size_plan(compile_plan(suite), Assumed(**assumed))


def lane(*clauses: Clause, assumed: dict[str, Any] | None = None, **more: Any) -> LaneSize:
    return sized(stage(*clauses, **more), **(assumed or {})).lanes[0]


def only(clause: Clause, **more: Any) -> ClauseSize:
    return lane(clause, **more).clauses[0]


def chances(n: int, p0: float, p: float) -> tuple[float, float]:
    """P(PASS) and P(FAIL) at 95 %, from scipy's binomial law by trying every count."""
    k_pass = int((binom.cdf(np.arange(n + 1), n, p0) <= 0.05).sum()) - 1
    k_fail = int((binom.sf(np.arange(n + 1) - 1, n, p0) >= 0.05).sum())
    return float(binom.cdf(k_pass, n, p)), float(binom.sf(k_fail - 1, n, p))


@pytest.mark.parametrize("seconds", [30, 100, 300])
def test_the_chances_of_the_plan_are_those_of_the_binomial_law(seconds: int) -> None:
    """At 300, 1,000 and 3,000 rows: half the allowed share and twice, as scipy has them and as the
    method's table prints.
    """
    half, twice = only(e2e("99%"), seconds=seconds).guesses
    for guess, share in ((half, 0.005), (twice, 0.02)):
        p_pass, p_fail = chances(10 * seconds, 0.01, share)
        assert guess.p_pass == pytest.approx(p_pass, rel=1e-9)
        assert guess.p_fail == pytest.approx(p_fail, rel=1e-9)
        assert guess.p_inconclusive == pytest.approx(1 - p_pass - p_fail)
        assert (
            guess.expected
            == max(
                ("PASS", p_pass),
                ("FAIL", p_fail),
                ("INCONCLUSIVE", 1 - p_pass - p_fail),
                key=lambda c: c[1],
            )[0]
        )
    assert round(half.p_pass, 2) == {30: 0.22, 100: 0.44, 300: 0.92}[seconds]


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_needed_rows_are_the_fewest_that_decide_with_the_power_wanted(power: float) -> None:
    """p90 at half and at twice the allowed tenth: no smaller n has the chance, by trying each."""
    half, twice = only(e2e("90%"), assumed={"power": Fraction(str(power))}).guesses
    first_pass = next(n for n in range(20, 2000) if chances(n, 0.1, 0.05)[0] >= power)
    first_fail = next(n for n in range(1, 2000) if chances(n, 0.1, 0.2)[1] >= power)
    assert (half.needed, twice.needed) == (first_pass, first_fail)


def test_time_tokens_and_money_follow_from_the_rate_the_sizes_and_the_prices() -> None:
    """n rows at 10/s take n/10 s, cost n · (100 · 1 + 50 · 2) millionths of a USD; the longer guess
    sets the clause.
    """
    clause = only(e2e("99%"))
    for guess in clause.guesses:
        assert guess.needed is not None
        assert guess.load is not None
        assert (guess.load.requests, guess.load.prompt_tokens, guess.load.output_tokens) == (
            guess.needed,
            100 * guess.needed,
            50 * guess.needed,
        )
        assert guess.load.duration_ns == guess.needed * S // 10
        assert guess.load.usd == pytest.approx(guess.needed * 200e-6)
    assert clause.load == clause.guesses[0].load


def test_without_prices_there_is_no_cost() -> None:
    """Not zero: nobody said what a token costs."""
    bare = lane(e2e("99%"), prices=False)
    assert bare.load.usd is None
    assert {guess.load.usd for guess in bare.clauses[0].guesses if guess.load} == {None}


def test_a_warm_up_is_neither_judged_nor_lengthened() -> None:
    """20 s of warm-up before: the same rows decide in the same time, the plan's judged rows are
    those after it.
    """
    warm, cold = lane(e2e("99%"), warmup="20s"), lane(e2e("99%"))
    assert (warm.warmup, warm.load.requests, warm.rate_rps) == (200, 1000, 10)
    assert [guess.needed for guess in warm.clauses[0].guesses] == [
        guess.needed for guess in cold.clauses[0].guesses
    ]
    assert warm.clauses[0].load == cold.clauses[0].load


def test_dependent_requests_are_worth_fewer() -> None:
    """At a design effect of 4 it takes ten times the rows to PASS and five times to FAIL; a plan of
    3,000 has the chances of 300 and 600.
    """
    whole, worth = (
        only(e2e("99%"), seconds=300),
        only(e2e("99%"), seconds=300, assumed={"design_effect": 4.0}),
    )
    assert [guess.needed for guess in whole.guesses] == [1941, 905]
    assert [guess.needed for guess in worth.guesses] == [19410, 905 * 5]
    assert worth.guesses[0].p_pass == pytest.approx(chances(300, 0.01, 0.005)[0], rel=1e-9)
    assert worth.guesses[1].p_fail == pytest.approx(chances(600, 0.01, 0.02)[1], rel=1e-9)


def test_the_judge_decides_dependent_requests_with_about_that_power() -> None:
    """Bursts of 10 rows on average, a fifth of them slow: at the size asked for, 7 to 9.5 of 10
    simulated runs PASS.
    """
    share, slow, dwell = 0.005, 0.2, 10
    busy = share / slow
    into, out = busy / (1 - busy) / dwell, 1 / dwell
    memory = 1 - into - out
    design_effect = 1 + 2 * slow**2 * busy * (1 - busy) / (share * (1 - share)) * memory / (
        1 - memory
    )
    (guess,) = only(
        e2e("99%"), assumed={"design_effect": design_effect, "slow_share": Fraction(1, 200)}
    ).guesses
    assert guess.needed is not None
    rng, at_ns, passed = np.random.default_rng(1), np.arange(guess.needed) * S, 0
    for _ in range(60):
        lengths = np.stack(
            [rng.geometric(into, guess.needed // 20), rng.geometric(out, guess.needed // 20)],
            axis=1,
        ).ravel()
        in_burst = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)[: guess.needed]
        bad = in_burst & (rng.random(guess.needed) < slow)
        judged = judge_trials(
            Trials(at_ns, bad, np.zeros(guess.needed, bool), None), Fraction(1, 100), 0.05
        )
        passed += judged.outcome == "PASS"
    assert 0.7 <= passed / 60 <= 0.95


def test_a_clause_on_a_part_of_the_traffic_needs_the_whole_around_it() -> None:
    """Every fourth request falls into the bucket: about four requests for each row that counts."""
    mix = [{"fixed": 100, "weight": 3}, {"fixed": 4000, "weight": 1}]
    found = lane(e2e("99%"), e2e("99%", bucket="1K–8K"), prompt_tokens=mix, seconds=400)
    whole, part = found.clauses
    assert part.guesses[0].needed == whole.guesses[0].needed
    assert whole.load is not None
    assert part.load is not None
    assert part.planned == pytest.approx(1000, abs=120)
    assert part.load.requests == math.ceil(whole.load.requests * Fraction(4000, part.planned))


def test_only_rows_that_can_have_the_metric_are_counted() -> None:
    """A time per token needs two tokens, a speed the fewest that the clause names; a phase counts
    the rows due in it, by plain loops.
    """
    speed = Clause(metric="output_tps", quantile="90%", at_least="5/s", min_output_tokens=20)
    clauses = (
        Clause(metric="tpot", quantile="90%", limit="1s"),
        Clause(metric="inter_chunk_max", quantile="90%", limit="1s"),
        speed,
        e2e("90%", phase="burst"),
    )
    made = stage(
        *clauses,
        seconds=60,
        output_tokens=[{"fixed": tokens, "weight": 1} for tokens in (1, 5, 30)],
        phases=[{"name": "calm", "duration": "20s"}, {"name": "burst", "duration": "10s"}],
    )
    plan = compile_plan(Suite(name="s", description="d", seed=1, stages=[made], files=[]))
    tokens = plan.schedule["output_tokens"].tolist()
    in_burst = sum(due % (30 * S) >= 20 * S for due in plan.schedule["due_ns"].tolist())
    two, twenty = (sum(each >= least for each in tokens) for least in (2, 20))
    assert 0 < twenty < two < len(tokens)
    assert [clause.planned for clause in size_plan(plan, Assumed()).lanes[0].clauses] == [
        two,
        two,
        twenty,
        in_burst,
    ]


def test_a_lane_without_a_contract_has_its_load_and_nothing_to_decide() -> None:
    """No clause, no confidence, and no whole that would decide."""
    bare = stage().model_copy(update={"contract": None})
    found = sized(bare)
    assert (found.lanes[0].clauses, found.lanes[0].contract, found.lanes[0].confidence) == (
        (),
        None,
        None,
    )
    assert (found.every, found.short, found.undecidable, found.lanes[0].load.requests) == (
        None,
        None,
        (),
        1000,
    )


def test_too_few_rows_to_pass_are_told() -> None:
    """100 rows cannot acquit a p99, which takes 299 without a miss; 299 can."""
    short, enough = only(e2e("99%"), seconds=10), only(e2e("99%"), seconds=30)
    assert short.notes == (
        "PASS needs at least 299 requests without a single miss, and the plan has 100",
    )
    assert (short.planned, short.least, enough.notes) == (100, 299, ())


@pytest.mark.parametrize(
    ("share", "outage", "days"),
    [
        ("99.9%", "5min", 10.4),
        ("99.9%", "1min", 2.1),
        ("99.5%", "5min", 2.1),
        ("99.99%", "5min", 104),
    ],
)
def test_uptime_by_time_takes_days(share: str, outage: str, days: float) -> None:
    """The days of the method's table; a run of 100 s is INCONCLUSIVE for certain and says so."""
    clause = only(
        Clause(metric="uptime", share=share, method="minute_all_fail", assumed_outage=outage)
    )
    (guess,) = clause.guesses
    assert guess.load is not None
    assert guess.load.duration_ns / (86400 * S) == pytest.approx(days, rel=0.02)
    assert (clause.unit, guess.p_pass, guess.expected) == ("time", 0.0, "INCONCLUSIVE")
    assert f": {share.removesuffix('%')} % takes {days:,.1f} days without one" in clause.notes[0]
    assert clause.notes[0].endswith("no short run can decide it")


def test_a_run_longer_than_that_can_pass() -> None:
    """99 % with outages of 1 min takes 299.6 min: a plan of 300 min passes if there is none, one of
    299 does not.
    """
    clause = Clause(metric="uptime", share="99%", method="minute_all_fail", assumed_outage="1min")
    slow = {"arrivals": {"kind": "constant", "rate": "1/min"}}
    assert [
        only(clause, seconds=60 * minutes, **slow).guesses[0].expected for minutes in (299, 300)
    ] == [
        "INCONCLUSIVE",
        "PASS",
    ]
    assert only(clause, **slow).guesses[0].needed == 300


def test_windows_are_counted_as_windows() -> None:
    """300 windows of a minute are 300 trials: 299 without a miss prove 99 %; thin windows say
    nothing, which is told.
    """
    clause = Clause(
        metric="e2e",
        statistic="share_of_windows",
        share="99%",
        limit="1s",
        window="1min",
        min_requests=100,
    )
    sparse = only(
        clause,
        seconds=300 * 60,
        arrivals={"kind": "constant", "rate": "1/s"},
        assumed={"design_effect": 9.0},
    )
    assert (sparse.unit, sparse.planned, sparse.least) == ("windows", 300, 299)
    assert sparse.notes == ("a window would hold about 60.0 requests; fewer than 100 say nothing",)
    assert sparse.guesses[0].p_pass == pytest.approx(chances(300, 0.01, 0.005)[0], rel=1e-9)
    assert sparse.guesses[0].load is not None
    assert sparse.guesses[0].load.duration_ns == (sparse.guesses[0].needed or 0) * 60 * S
    assert only(clause, seconds=30).guesses[0].load is not None


def test_a_guess_speaks_of_its_own_kind_of_clause() -> None:
    """The slow share is of latencies, the uptime guess of uptime and error share; windows keep half
    and twice.
    """
    clauses = (
        e2e("99%"),
        Clause(metric="uptime", share="99.9%"),
        Clause(metric="error_share", share="1%"),
        Clause(metric="e2e", statistic="share_of_windows", share="99%", limit="1s", window="1min"),
    )
    found = lane(
        *clauses, assumed={"slow_share": Fraction(1, 500), "uptime": Fraction(9997, 10000)}
    )
    assert [[guess.bad_share for guess in clause.guesses] for clause in found.clauses] == [
        [Fraction(1, 500)],
        [Fraction(3, 10000)],
        [Fraction(3, 10000)],
        [Fraction(1, 200), Fraction(1, 50)],
    ]


def test_a_closed_loop_decides_nothing() -> None:
    """Its lane has no rate and no sized clause, and a note says why."""
    closed = lane(e2e("99%"), arrivals={"kind": "closed", "concurrency": 2}, seconds=1)
    assert (closed.rate_rps, closed.clauses) == (None, ())
    assert "closed loop" in closed.notes[-1]


def test_a_contract_settled_by_census_is_marked() -> None:
    """A run only points the way where the period's own log decides."""
    assert "settled by the log of its whole period" in lane(e2e("99%"), proof="census").notes[-1]


def test_what_is_only_reported_is_not_sized() -> None:
    """Numbers stay those of the contract."""
    assert [clause.number for clause in lane(e2e("99%", report_only=True), e2e("95%")).clauses] == [
        2
    ]


def test_a_guess_at_the_limit_is_undecidable() -> None:
    """A system exactly at its limit: no size decides, and the sum leaves the clause out and names
    it.
    """
    found = sized(
        stage(e2e("99%"), Clause(metric="uptime", share="99%")), slow_share=Fraction(1, 100)
    )
    (guess,) = found.lanes[0].clauses[0].guesses
    assert guess == Guess(Fraction(1, 100), None, None, guess.p_pass, guess.p_fail)
    assert found.undecidable == ("t: response e2e p99 ≤ 1 s",)
    assert found.every is not None
    assert found.every.clause == "uptime, request ratio ≥ 99 %"


def test_all_clauses_together_take_the_longest_of_each_stage() -> None:
    """Stages come one after another: their lengths add up; the clause that sets the longest is
    named.
    """
    p99, p90 = only(e2e("99%")).load, only(e2e("90%")).load
    assert p99 is not None
    assert p90 is not None
    by_time = Clause(metric="uptime", share="99%", method="minute_all_fail", assumed_outage="1min")
    found = sized(stage(e2e("90%"), e2e("99%"), by_time, name="one"), stage(e2e("90%"), name="two"))
    assert found.short is not None
    assert found.every is not None
    assert (found.short.load.duration_ns, found.short.load.requests) == (
        p99.duration_ns + p90.duration_ns,
        p99.requests + p90.requests,
    )
    assert (found.short.lane, found.short.clause) == ("t/one", "response e2e p99 ≤ 1 s")
    assert found.every.clause == "uptime, minutes not failing whole ≥ 99 %"
    assert found.every.load.usd == pytest.approx(found.every.load.requests * 200e-6)
    assert sized(stage(e2e("99%"), prices=False)).every.load.usd is None  # type: ignore[union-attr]


MINUTES = Clause(metric="uptime", share="99.9%", method="minute_all_fail")
#: a guess at the limit itself, which no number of requests tells from it
AT_LIMIT = {"bad_share": Fraction(1, 10)}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("2", "probe for as long: tailproof watch"),
        ("9", "'9' names no judged clause"),
        ("p50", "'p50' names no judged clause"),
    ],
)
def test_a_length_is_asked_for_by_number_or_text(wanted: str, said: str) -> None:
    """The first clause by its number and by a part of its text; others are refused."""
    sizing = sized(stage(e2e("90%"), MINUTES))
    by_number, by_text = size_for(sizing, "1"), size_for(sizing, "p90")
    assert by_number == by_text
    assert "decides with 80 %" in by_number.said[0]
    with pytest.raises(UserError, match=said):
        size_for(sizing, wanted)


def test_what_a_plan_cannot_decide_is_said() -> None:
    """Too few rows, time that no run lasts, and more clauses than are named."""
    (few,) = cannot_decide(sized(stage(e2e("99.9%"), seconds=10)))
    assert "at least 2,995 requests are needed, it has 100" in few
    (minutes,) = cannot_decide(sized(stage(MINUTES)))
    assert minutes.startswith("this plan cannot PASS")
    several = [
        sized(stage(*(e2e(f"99.9{digit}%") for digit in range(1, 9)), seconds=10)),
        sized(stage(e2e("99.9%"), seconds=10), stage(e2e("90%"), name="two", seconds=10)),
    ]
    assert cannot_decide(several[0])[-1].startswith("and ")
    assert " of " in cannot_decide(several[1])[0]
    assert unasked_size(sized(stage(MINUTES)), remote=False) is None
    beyond = unasked_size(sized(stage(e2e("90%"), e2e("99.99%"), MINUTES)), remote=False)
    assert beyond is not None
    assert any(
        "counts time" in line or "above what is sent unasked" in line for line in beyond.said
    )
