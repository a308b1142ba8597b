"""The search for a rate: with judges whose answers are known, and with noisy ones whose error is
counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.judge.ramp.curve import knee_of, observed, probe_of
from bench.judge.ramp.search import (
    CEILING_AFTER,
    Bracket,
    End,
    Probe,
    Search,
    Step,
    bracket_of,
    least_ns,
    next_step,
)
from bench.record.records.ramp import Knee, ProbeRecord, ProbeVerdict
from bench.record.records.summary import (
    HealthRecord,
    Overall,
    ResponseMs,
    ServiceMs,
    Summary,
    TargetSummary,
    Tokens,
    Uptime,
)
from bench.record.records.verdicts import ClauseOutcome, ClauseVerdict, Steadiness, Verdicts
from bench.units import MS, S

TENTH = Fraction(1, 10)
#: rate, requests -> verdict, requests that would decide
Judge = Callable[[Fraction, int], tuple[Any, int | None]]


def searching(
    start: int = 10,
    *,
    lowest: Fraction | int = 1,
    highest: int | None = None,
    resolution: Fraction = TENTH,
    max_probes: int = 40,
    least: int = 0,
) -> Search:
    return Search(
        Fraction(start),
        Fraction(lowest),
        None if highest is None else Fraction(highest),
        resolution,
        max_probes,
        first=100,
        close=400,
        most=3200,
        least_ns=least,
    )


def play(search: Search, judge: Judge) -> tuple[End, list[Probe]]:
    """A whole search with this judge."""
    probes: list[Probe] = []
    while isinstance(step := next_step(search, probes), Step):
        verdict, needed = judge(step.rate, step.requests)
        probes.append(Probe(step.rate, step.requests, verdict, needed))
    return step, probes


def rates(probes: list[Probe]) -> list[float]:
    """Of probes, in order."""
    return [float(probe.rate) for probe in probes]


def sure(boundary: float) -> Judge:
    """Knows the boundary."""
    return lambda rate, _: ("PASS" if rate <= boundary else "FAIL", None)


@given(
    start=st.integers(1, 5000),
    boundary=st.floats(2, 50_000),
    resolution=st.sampled_from([Fraction(1, 50), TENTH, Fraction(1, 2)]),
)
def test_a_sure_judge_leads_to_its_boundary(
    start: int, boundary: float, resolution: Fraction
) -> None:
    """Wherever it begins, the bracket holds the boundary, is as tight as asked for, and took no
    more probes than halving does.
    """
    end, probes = play(searching(start, resolution=resolution, max_probes=100), sure(boundary))
    low, high = end.bracket.passes, end.bracket.fails
    assert end.outcome == "found"
    assert low is not None
    assert high is not None
    assert low <= boundary < high <= low * (1 + resolution)
    doublings = abs(math.log2(boundary / start)) + 2
    halvings = math.log2(math.log(2) / math.log(1 + resolution)) + 1
    assert len(probes) <= doublings + halvings + 1


def test_the_lowest_and_the_highest_rate_bound_the_search() -> None:
    """Broken at the lowest: `none`, and nothing below was tried.

    Kept at the highest: `beyond`, and nothing above was.
    """
    end, probes = play(searching(10, lowest=3), sure(2))
    assert end.outcome == "none"
    assert rates(probes) == [10, 5, 3]
    end, probes = play(searching(10, highest=37), sure(100))
    assert end.outcome == "beyond"
    assert rates(probes) == [10, 20, 37]
    assert end.bracket == Bracket(passes=Fraction(37))


def test_what_is_not_decided_is_repeated_longer() -> None:
    """At one rate the judge needs 700 requests, and says so: the probe is repeated with 700, not
    with another rate.
    """

    def judge(rate: Fraction, requests: int) -> tuple[Any, int | None]:
        return ("INCONCLUSIVE", 700) if rate == 20 and requests < 700 else sure(30)(rate, requests)

    end, probes = play(searching(), judge)
    assert probes[:3] == [
        Probe(Fraction(10), 100, "PASS"),
        Probe(Fraction(20), 100, "INCONCLUSIVE", 700),
        Probe(Fraction(20), 700, "PASS"),
    ]
    assert end.outcome == "found"
    _, blind = play(
        searching(),
        lambda rate, n: ("INCONCLUSIVE", None) if rate == 20 and n < 900 else sure(30)(rate, n),
    )
    assert [probe.requests for probe in blind if probe.rate == 20] == [100, 800, 3200]


def test_no_boundary_is_drawn_through_probes_that_were_not_decided() -> None:
    """A judge that never decides between 25 and 30: the ends are proven rates, no `found` is said,
    what is open is named.
    """
    end, probes = play(
        searching(),
        lambda rate, _: ("INCONCLUSIVE", 10**6) if 25 <= rate <= 30 else sure(27)(rate, 0),
    )
    assert end.outcome == "undecided"
    assert end.bracket.passes is not None
    assert end.bracket.fails is not None
    assert end.bracket.passes < 25
    assert end.bracket.fails > 30
    assert {probe.needed for probe in end.bracket.open} == {10**6}
    assert all(25 <= probe.rate <= 30 and probe.requests == 3200 for probe in end.bracket.open)
    # it went on as near to the open rates as a quarter of the resolution, from both sides
    assert end.bracket.open[0].rate <= end.bracket.passes * (1 + TENTH / 4)
    assert end.bracket.fails <= end.bracket.open[-1].rate * (1 + TENTH / 4)
    assert max(probe.requests for probe in probes) == 3200


def test_a_rate_above_an_open_one_is_not_probed_shorter() -> None:
    """After 3,200 requests did not decide 28.28/s, every higher rate between the ends gets as many
    from the first.
    """
    _, probes = play(
        searching(),
        lambda rate, _: ("INCONCLUSIVE", None) if 28 <= rate <= 29 else sure(30)(rate, 0),
    )
    opened = next(
        index
        for index, probe in enumerate(probes)
        if probe.verdict == "INCONCLUSIVE" and probe.requests == 3200
    )
    above = [probe.requests for probe in probes[opened + 1 :] if probe.rate > probes[opened].rate]
    assert above
    assert set(above) == {3200}


def test_a_longer_run_overturns_a_pass() -> None:
    """40/s passed and broke the contract in the long run at it: the lower end falls back, and the
    next rate gets as many requests.
    """
    probes = [
        Probe(Fraction(20), 100, "PASS"),
        Probe(Fraction(40), 100, "PASS"),
        Probe(Fraction(43), 400, "FAIL"),
        Probe(Fraction(40), 2000, "FAIL"),
    ]
    assert bracket_of(probes) == Bracket(Fraction(20), Fraction(40))
    step = next_step(searching(20), probes)
    assert step == Step(Fraction("28.28"), 2000)


def test_the_harness_ends_the_search_upward() -> None:
    """INVALID twice from 100/s on: below it the search goes on, at or above it nothing is tried
    again, and it is not the server's.
    """
    end, probes = play(
        searching(), lambda rate, _: ("INVALID", None) if rate >= 100 else ("PASS", None)
    )
    assert end.outcome == "harness"
    assert end.bracket.harness is not None
    assert end.bracket.passes is not None
    assert end.bracket.passes < 100 <= end.bracket.harness <= end.bracket.passes * (1 + TENTH)
    assert end.bracket.fails is None
    tried = rates([probe for probe in probes if probe.verdict == "INVALID"])
    assert all(tried.count(rate) == CEILING_AFTER for rate in tried)
    assert tried == sorted(tried, reverse=True)


def test_a_hiccup_of_the_harness_is_no_ceiling() -> None:
    """INVALID once: the same probe again, and the boundary is the server's."""
    fell: list[Fraction] = []

    def judge(rate: Fraction, requests: int) -> tuple[Any, int | None]:
        if rate == 20 and not fell:
            fell.append(rate)
            return "INVALID", None
        return sure(70)(rate, requests)

    end, probes = play(searching(), judge)
    assert probes[1:3] == [Probe(Fraction(20), 100, "INVALID"), Probe(Fraction(20), 100, "PASS")]
    assert (end.outcome, end.bracket.harness) == ("found", None)


def test_a_harness_that_measures_nothing_is_not_the_servers_failure() -> None:
    """INVALID down to the lowest rate: `harness`, never `none`."""
    end, probes = play(searching(10, lowest=5), lambda *_: ("INVALID", None))
    assert end.outcome == "harness"
    assert rates(probes) == [10, 10, 5, 5]


def test_probes_are_bounded() -> None:
    """The sixth of five is not made; what is known by then is kept."""
    end, probes = play(searching(max_probes=5), sure(1000))
    assert (rates(probes), end.outcome) == ([10, 20, 40, 80, 160], "undecided")
    assert end.bracket.passes == 160
    assert "5 probes" in end.reason


def test_an_overload_by_the_resolution_shows_within_a_probe() -> None:
    """One server that takes 10 ms, arrivals 10 % too fast, limit 200 ms: half of the requests break
    it in the least time, not a fifth in half of it.
    """
    lasts_s = least_ns(200 * MS, TENTH) / S
    for part, share in ((1.0, 0.5), (0.5, 0.1)):
        arrives = np.arange(0, lasts_s * part, 0.010 / 1.1)
        answered = np.zeros(len(arrives))
        free = 0.0
        for index, at in enumerate(arrives):
            free = answered[index] = max(free, at) + 0.010
        slow = np.mean(answered - arrives > 0.2)
        assert slow == pytest.approx(share, abs=0.1)
    step = next_step(searching(50, least=least_ns(200 * MS, TENTH)), [])
    assert isinstance(step, Step)
    assert step.requests == 200  # 4 s at 50/s


def test_all_verdicts_of_a_search_are_right_together() -> None:
    """True share rate/2000, promised 1 %, so the boundary is 20/s.

    Probes judged by scipy's exact tests at 5 %/16: the bracket misses it in at most 5 % of 400
    searches.
    """
    rng, alpha, missed, found = np.random.default_rng(5), 0.05 / 16, 0, 0

    def judge(rate: Fraction, requests: int) -> tuple[Any, int | None]:
        bad = int(rng.binomial(requests, min(float(rate) / 2000, 1.0)))
        if stats.binom.cdf(bad, requests, 0.01) <= alpha:
            return "PASS", None
        return (
            "FAIL" if stats.binom.sf(bad - 1, requests, 0.01) < alpha else "INCONCLUSIVE"
        ), 64_000

    search = Search(
        Fraction(7), Fraction(1), None, Fraction(1, 2), 16, first=1200, close=4000, most=64_000
    )
    for _ in range(400):
        end, probes = play(search, judge)
        low, high = end.bracket.passes, end.bracket.fails
        missed += (low is not None and low > 20) or (high is not None and high <= 20)
        found += end.outcome == "found"
        assert len(probes) <= 16
    assert stats.binomtest(missed, 400, 0.05, alternative="greater").pvalue > 0.01
    assert found > 300  # and it is not for want of answers


def clause(verdict: ClauseOutcome, **changes: Any) -> ClauseVerdict:
    """A judged clause of 1,000 rows."""
    return ClauseVerdict(
        target="t",
        stage="s",
        contract="c",
        number=1,
        text="e2e p99 ≤ 800 ms",
        metric="e2e",
        view="response",
        quantile=0.99,
        limit_ms=800.0,
        at_least_tps=None,
        share=None,
        operator="<=",
        statistic="quantile",
        method=None,
        phase=None,
        bucket=None,
        report_only=False,
        unit="ms",
        measured=500.0,
        interval=(400.0, 600.0),
        p_interval=(0.0, 0.01),
        confidence=0.95,
        n=1000,
        k=3,
        unknown=0,
        excluded={},
        with_excluded=None,
        allowed_k=4,
        fail_k=20,
        p0=0.01,
        p_limits=(0.0, 0.01),
        p_fail=1.0,
        n_effective=500.0,
        design_effect=2.0,
        decided_by="blocks",
        blocks=10,
        block_s=1.0,
        worst_block=None,
        projected_credit=None,
        verdict=verdict,
        reason=f"said of {verdict}",
        needed_n=None,
    ).replace(**changes)


def read(overall: Overall, *clauses: ClauseVerdict, reasons: tuple[str, ...] = ()) -> ProbeRecord:
    """A run of 2,000 requests as a probe."""
    target = TargetSummary(
        simulated=False,
        requests=2000,
        reached=2000,
        ok=2000,
        warmup=0,
        outcomes={"ok": 2000},
        offered_rps=7.5,
        sent_rps=7.5,
        response_ms=ResponseMs(**dict.fromkeys(ResponseMs.model_fields)),
        service_ms=ServiceMs(**dict.fromkeys(ServiceMs.model_fields)),
        inter_chunk_ms=None,
        inter_chunk_max_ms=None,
        lag_ms=None,
        harness_lag_ms=None,
        connect_ms=None,
        tls_ms=None,
        new_connections=0,
        uptime=Uptime(request_ratio=1.0),
        tokens=Tokens(prompt=0, output=0, source="none", prompt_error=None),
        cost=None,
        by_phase={},
        by_bucket={},
    )
    health = HealthRecord(state="valid", reasons=list(reasons), facts={})
    summary = Summary(
        format=1,
        run="r",
        state="complete",
        simulated=False,
        targets={"t": target},
        health=health,
        overall=overall,
    )
    verdicts = Verdicts(
        format=2,
        run="r",
        overall=overall,
        exit_code=0,
        confidence=0.95,
        simulated=False,
        clauses=list(clauses),
    )
    return observed(Step(Fraction(15, 2), 2000), ("01", 7), summary, verdicts, 1)


def test_a_probe_is_what_the_judge_said() -> None:
    """Verdict and reason are those of the clause that decided; the harness's reason where it was
    not fit; requests needed are of the whole probe.
    """
    found = read(
        "FAIL",
        clause("PASS"),
        clause("FAIL", number=2, design_effect=5.0),
        clause("REPORTED", number=3),
    )
    assert (found.folder, found.seed, found.rate_rps, found.requests) == ("01", 7, 7.5, 2000)
    assert (found.verdict, found.reason, found.tail_ms, found.design_effect) == (
        "FAIL",
        "said of FAIL",
        500.0,
        5.0,
    )
    assert len(found.clauses) == 2
    assert read("INVALID", clause("INCONCLUSIVE"), reasons=("sent late",)).reason == "sent late"
    # half of the probe's 2,000 requests were in the clause's bucket: 3,000 of those are 6,000 of
    # the probe's
    open_ = read(
        "INCONCLUSIVE",
        clause("INCONCLUSIVE", needed_n=3000),
        clause("INCONCLUSIVE", number=2, needed_n=100),
    )
    assert probe_of(Step(Fraction(15, 2), 2000), open_) == Probe(
        Fraction(15, 2), 2000, "INCONCLUSIVE", 6000
    )


def test_a_pass_that_gets_worse_is_not_taken_for_one_that_lasts() -> None:
    """More breaches as the probe went on (p = 0.001): not decided; fewer, or by chance: a PASS."""
    worse, better, chance = (
        Steadiness(trend_rho=rho, trend_p=p, mser5_drops=0, measured_without=None, steady=False)
        for rho, p in ((0.6, 0.001), (-0.6, 0.001), (0.6, 0.2))
    )
    assert read("PASS", clause("PASS", steadiness=worse)).verdict == "INCONCLUSIVE"
    assert read("PASS", clause("PASS", steadiness=better)).verdict == "PASS"
    assert read("PASS", clause("PASS", steadiness=chance)).verdict == "PASS"


def test_brackets_by_hand() -> None:
    """A longer probe of a rate replaces its shorter one; rates outside the ends are not open."""
    tried: list[tuple[int, int, ProbeVerdict]] = [
        (10, 100, "INCONCLUSIVE"),
        (10, 200, "PASS"),
        (4, 100, "INCONCLUSIVE"),
        (20, 100, "INCONCLUSIVE"),
        (40, 100, "FAIL"),
        (80, 100, "INVALID"),
        (15, 100, "INCONCLUSIVE"),
        (15, 400, "INCONCLUSIVE"),
    ]
    probes = [Probe(Fraction(rate), requests, verdict) for rate, requests, verdict in tried]
    assert bracket_of(probes) == Bracket(Fraction(10), Fraction(40), None, (probes[7], probes[3]))


def point(
    rate: float,
    low: float | None,
    high: float | None,
    requests: int = 100,
    verdict: ProbeVerdict = "PASS",
) -> ProbeRecord:
    return ProbeRecord(
        folder="01",
        seed=1,
        rate_rps=rate,
        requests=requests,
        verdict=verdict,
        reason="",
        needed_requests=None,
        design_effect=1.0,
        tail_ms=low,
        tail_interval_ms=(low, high),
        clauses=[],
    )


def knee(left_rps: float | None) -> Knee:
    return Knee(base_rps=10, flat_rps=30, left_rps=left_rps, factor=2)


def test_the_knee_is_named_as_far_as_intervals_tell() -> None:
    """Flat tail between 100 and 120 ms (the tightest limits): up to 200 ms surely not left, from
    240 ms surely left.
    """
    curve = [
        point(10, 100, 150),
        point(20, 90, 120),
        point(30, 110, 190),
        point(40, 180, 300),
        point(50, 230, None, verdict="FAIL"),
        point(60, 241, None, verdict="FAIL"),
        point(70, 500, None, verdict="FAIL"),
    ]
    assert knee_of(curve) == knee(60)
    assert knee_of(curve[:5]) == knee(None)
    # of two probes at a rate the longer counts, and none that the harness spoiled
    longer, spoiled = point(60, 130, None, 200), point(55, 900, 950, verdict="INVALID")
    assert knee_of([*curve, longer, spoiled]) == knee(70)
    assert knee_of([point(10, None, 100)]) is None
    assert knee_of([]) is None
