"""The census: periods, verdicts by bounds, exclusions, credits, the made-up month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.judge.census.census import Census, Coverage, census
from bench.judge.census.log import for_log
from bench.judge.census.periods import spans
from bench.judge.census.source import judge_month, log_of_run, source_of
from bench.plan.contract import Contract, load_contract
from bench.plan.month import load_month
from bench.plan.terms import Period
from bench.record.facts import Facts
from bench.record.records.census import ExactShare
from bench.record.request_log import Reading, RequestLog
from bench.record.samples import Outcome
from tests.support.rows_by_hand import (
    Row,
    answered,
    columns_of,
    contract_of,
    cut,
    failed,
    lane_of,
    run_of,
)

S, MINUTE_MS = 10**9, 60_000
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
MONTH: dict[str, Any] = {"kind": "calendar_month", "time_zone": "UTC"}
ALL_METRICS = frozenset({"e2e", "ttft", "tpot", "output_tps", "uptime", "error_share"})
UPTIME: dict[str, Any] = {"metric": "uptime", "share": "99%"}
DOWN: dict[str, Any] = {**UPTIME, "method": "downtime_minutes", "error_rate": "5%", "minutes": 1}


def log_of(rows: Sequence[Row], **facts: Any) -> RequestLog:
    """Rows in order, times in ms after the first of October."""
    order = np.arange(len(rows))
    return RequestLog(
        columns_of(list(rows)),
        Facts(int(OCTOBER.timestamp()) * S, **facts),
        ["a.csv"],
        order * 0,
        order + 2,
        [],
        ALL_METRICS,
        {},
        [],
    )


def contract(*clauses: dict[str, Any], **terms: Any) -> Contract:
    return Contract.model_validate({"title": "t", "name": "c", "clause": list(clauses), **terms})


def only(found: Census) -> dict[str, Any]:
    """The one clause of the one period."""
    (period,) = found.record.to_json()["periods"]
    (clause,) = period["clauses"]
    assert isinstance(clause, dict)
    return clause


def each_minute(minutes: int, bad: Sequence[int] = (), skip: Sequence[int] = ()) -> list[Row]:
    """One request a minute."""
    return [
        (
            failed(Outcome.http_5xx, due=at * MINUTE_MS)
            if at in bad
            else answered(100, due=at * MINUTE_MS)
        )
        for at in range(minutes)
        if at not in skip
    ]


@pytest.mark.parametrize(
    ("period", "name", "start", "days", "minutes"),
    [
        (MONTH, "2026-10", "2026-10-01T00:00+00:00", 31, 0),
        # clocks go back in Berlin on 25 October and in Los Angeles on 1 November
        ({**MONTH, "time_zone": "Europe/Berlin"}, "2026-10", "2026-09-30T22:00+00:00", 31, 60),
        (
            {"kind": "calendar_month", "time_zone": "America/Los_Angeles"},
            "2026-10",
            "2026-10-01T07:00+00:00",
            31,
            0,
        ),
        ({"kind": "quarter", "time_zone": "UTC"}, "2026-Q4", "2026-10-01T00:00+00:00", 92, 0),
        (
            {"kind": "billing_cycle", "time_zone": "UTC", "starts_on_day": 15},
            "2026-10-15",
            "2026-10-15T00:00+00:00",
            31,
            0,
        ),
        ({"kind": "rolling", "days": 30}, "2026-10-20", "2026-09-21T00:00+00:00", 30, 0),
    ],
)
def test_periods_begin_at_midnight_of_their_zone(
    period: dict[str, Any], name: str, start: str, days: int, minutes: int
) -> None:
    """The period that holds 20 October noon: its name, its first moment, its length with the change
    of the clock.
    """
    noon = int((OCTOBER + timedelta(days=19, hours=12)).timestamp()) * S
    (span,) = spans(Period.model_validate(period), noon, noon, name)
    assert datetime.fromtimestamp(span.start_ns // S, UTC) == datetime.fromisoformat(start)
    assert span.minutes == days * 1440 + minutes


@given(
    st.dates(min_value=datetime(2001, 1, 1).date(), max_value=datetime(2040, 1, 1).date()),  # noqa: DTZ001 only dates
    st.integers(1, 400),
    st.sampled_from(
        [
            {"kind": "calendar_month"},
            {"kind": "quarter"},
            {"kind": "billing_cycle", "starts_on_day": 28},
        ]
    ),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu", "Australia/Lord_Howe"]
    ),
)
def test_periods_tile_the_log(day: Any, length: int, kind: dict[str, Any], zone: str) -> None:
    """Each period begins where the one before ended, and together they hold the whole log."""
    first = int(datetime(day.year, day.month, day.day, 3, tzinfo=UTC).timestamp()) * S
    last = first + length * 86400 * S
    found = spans(Period.model_validate({**kind, "time_zone": zone}), first, last)
    assert all(
        before.end_ns == after.start_ns
        for before, after in zip(found, found[1:], strict=False)  # noqa: RUF007
    )
    assert found[0].start_ns <= first < found[0].end_ns
    assert found[-1].start_ns <= last < found[-1].end_ns


def test_a_period_that_the_log_does_not_hold_is_refused() -> None:
    """The sentence says which it holds and how one is written."""
    log = log_of(each_minute(3))
    with pytest.raises(
        UserError,
        match=(
            "--period 2026-09: is not in the log; write one such as 2026-10; the log holds 2026-10"
        ),
    ):
        census(log, contract(UPTIME, period=MONTH), period="2026-09")
    with pytest.raises(UserError, match="--period October: is not a period"):
        census(log, contract(UPTIME, period=MONTH), period="October")
    with pytest.raises(UserError, match=r"the contract has no \[period\] to choose from"):
        census(log, contract(UPTIME), period="2026-10")
    two_months = log_of(
        [*each_minute(1), *(row | {"due": row["due"] + 40 * 86_400_000} for row in each_minute(1))]
    )
    with pytest.raises(UserError, match="the log holds 2026-10 to 2026-11"):
        census(two_months, contract(UPTIME, period=MONTH), period="2026-09")


def test_a_time_years_away_is_named() -> None:
    """One row of another decade would make a period of millions of minutes: both ends are named by
    line.
    """
    rows = [answered(5), answered(5, due=1_200 * 1440 * MINUTE_MS)]
    with pytest.raises(
        UserError,
        match=r"its rows lie 1,200 days apart: line 2 \(2026-10-01T00:00:00Z\) and line 3",
    ):
        census(log_of(rows), contract(UPTIME))


@pytest.mark.parametrize(
    ("bad", "skip", "verdict"),
    [
        (range(1), (), "PASS"),
        (range(2), (), "FAIL"),
        ((), range(1, 2), "PASS"),
        (range(1), range(5, 6), "INCONCLUSIVE"),
        (range(2), range(5, 50), "FAIL"),
        ((), range(5, 50), "INCONCLUSIVE"),
    ],
)
def test_verdicts_follow_the_bounds(bad: Sequence[int], skip: Sequence[int], verdict: str) -> None:
    """Of 100 minutes one may be down: what was not observed may have been up or down."""
    found = census(log_of(each_minute(100, bad, skip)), contract(DOWN))
    clause = only(found)
    assert clause["verdict"] == verdict == found.record.to_json()["overall"]
    assert found.record.to_json()["exit_code"] == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}[verdict]
    assert clause["best"]["share"] == pytest.approx(1 - len(bad) / 100)
    assert clause["worst"]["share"] == pytest.approx(1 - (len(bad) + len(skip)) / 100)


def test_a_log_that_covers_its_time_has_empty_minutes_and_no_unobserved_ones() -> None:
    """Said for the whole period or a stretch of it; a minute covered in part stays unobserved."""
    log, terms = log_of(each_minute(100, skip=range(5, 50))), contract(DOWN)
    assert only(census(log, terms, coverage=Coverage(complete=True)))["verdict"] == "PASS"
    start = int(OCTOBER.timestamp()) * S
    covered = [(start + 5 * 60 * S, start + 49 * 60 * S + 30 * S)]
    (period,) = census(log, terms, coverage=Coverage(covered)).record.to_json()["periods"]
    assert period["observed_minutes"] == 99


def test_the_agreed_coverage_is_enough() -> None:
    """Watched for 90 of 100 minutes: with a minimum of 90 % the rest is left aside, with 95 % it
    still bounds.
    """
    log = log_of(each_minute(100, skip=range(5, 15)))
    assert only(census(log, contract(DOWN, minimum_coverage="90%")))["verdict"] == "PASS"
    assert only(census(log, contract(DOWN, minimum_coverage="95%")))["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("clause", "slow", "cut_off", "verdict"),
    [
        ({"metric": "e2e", "quantile": "99%", "limit": "800ms"}, 1, 0, "PASS"),
        ({"metric": "e2e", "quantile": "99%", "limit": "800ms"}, 2, 0, "FAIL"),
        ({"metric": "e2e", "quantile": "99%", "limit": "800ms"}, 1, 1, "INCONCLUSIVE"),
        (
            {"metric": "e2e", "statistic": "share_of_requests", "share": "99%", "limit": "800ms"},
            1,
            0,
            "PASS",
        ),
        ({"metric": "e2e", "quantile": "99%", "limit": "900ms"}, 5, 0, "PASS"),
        ({"metric": "e2e", "quantile": "99%", "limit": "900ms", "operator": "<"}, 5, 0, "FAIL"),
        ({"metric": "output_tps", "quantile": "99%", "at_least": "10/s"}, 1, 0, "PASS"),
        ({"metric": "output_tps", "quantile": "99%", "at_least": "20/s"}, 1, 0, "FAIL"),
        ({"metric": "output_tps", "quantile": "99%", "at_least": "12.5/s"}, 1, 0, "PASS"),
        (
            {"metric": "output_tps", "quantile": "99%", "at_least": "12.5/s", "operator": ">"},
            1,
            0,
            "FAIL",
        ),
    ],
)
def test_latency_by_counting(clause: dict[str, Any], slow: int, cut_off: int, verdict: str) -> None:
    """Of 100 requests (10 tokens in 0.8 s, slow ones in 0.9 s) one may break the limit; equal to it
    is kept unless strict.
    """
    rows = [answered(900, due=at, tokens=10) for at in range(slow)] + [
        cut(1, due=at) for at in range(slow, slow + cut_off)
    ]
    rows += [answered(800, due=at, tokens=10) for at in range(len(rows), 100)]
    assert only(census(log_of(rows), contract(clause)))["verdict"] == verdict


def test_the_measured_quantile_is_a_nearest_rank() -> None:
    """p99 of 1 ... 200 ms is the 198th; among failures it has no value; of a speed it is the slow
    side's.
    """
    rows = [answered(at + 20, due=at) for at in range(200)]
    p99 = {"metric": "e2e", "quantile": "99%", "limit": "1s"}
    assert only(census(log_of(rows), contract(p99)))["measured_ms"] == 217
    broken = rows[:190] + [failed(Outcome.reset, due=at) for at in range(190, 200)]
    assert only(census(log_of(broken), contract(p99)))["measured_ms"] is None
    speeds = [answered(1000, due=at, tokens=at + 1) for at in range(200)]
    assert (
        only(
            census(
                log_of(speeds),
                contract({"metric": "output_tps", "quantile": "99%", "at_least": "1/s"}),
            )
        )["measured_ms"]
        == 3
    )


def test_failures_miss_the_limit_or_are_left_to_uptime() -> None:
    """`failed = "excluded"` takes them out of the latency clause; a client's own error that is no
    failure has no latency.
    """
    rows = [answered(100, due=at) for at in range(98)] + [
        failed(Outcome.http_5xx, due=98),
        failed(Outcome.http_4xx, due=99),
    ]
    p99 = {"metric": "e2e", "quantile": "99%", "limit": "800ms"}
    server = {"failed": ["http_5xx"]}
    assert only(census(log_of(rows), contract(p99)))["k"] == 2
    assert [
        only(census(log_of(rows), contract(p99, requests=server)))[key] for key in ("n", "k")
    ] == [99, 1]
    assert [
        only(census(log_of(rows), contract({**p99, "failed": "excluded"})))[key]
        for key in ("n", "k")
    ] == [98, 0]


def test_a_share_equal_to_the_promise() -> None:
    """99 of 100 served keep "at least 99 %" and break "over 99 %"."""
    log = log_of(each_minute(100, bad=range(1)))
    assert only(census(log, contract(UPTIME)))["verdict"] == "PASS"
    assert only(census(log, contract({**UPTIME, "operator": ">"})))["verdict"] == "FAIL"


def test_short_answers_have_no_speed() -> None:
    """Below `min_output_tokens` an answer is left out; without the first token's time one token has
    no speed either.
    """
    rows = [answered(1000, 500, due=at, tokens=tokens) for at, tokens in enumerate((1, 2, 3, 11))]
    speed = {"metric": "output_tps", "quantile": "50%", "at_least": "4/s"}
    assert [only(census(log_of(rows), contract(speed)))[key] for key in ("n", "k")] == [4, 3]
    assert [
        only(census(log_of(rows), contract({**speed, "min_output_tokens": 3})))[key]
        for key in ("n", "k")
    ] == [
        2,
        1,
    ]
    # (tokens - 1) in half a second: 2, 4 and 20 a second
    assert [
        only(census(log_of(rows), contract({**speed, "with_ttft": False})))[key]
        for key in ("n", "k")
    ] == [3, 1]


def test_a_row_without_its_latency_is_unknown() -> None:
    """Served, but the log does not say how fast: counted both ways, never as kept."""
    rows = [answered(100, due=at) for at in range(99)] + [
        answered(100, due=99, done=-1, last_token=-1)
    ]
    clause = only(
        census(log_of(rows), contract({"metric": "e2e", "quantile": "99%", "limit": "800ms"}))
    )
    assert (clause["unknown"], clause["verdict"]) == (1, "PASS")
    rows[0] = answered(900)
    assert (
        only(
            census(log_of(rows), contract({"metric": "e2e", "quantile": "99%", "limit": "800ms"}))
        )["verdict"]
        == "INCONCLUSIVE"
    )


def test_a_log_and_a_run_call_the_same_rows_slow() -> None:
    """A time-out that the contract lists as no error, and a row cut off after the limit, miss it in
    a census as in a run.
    """
    rows = [answered(100, due=at) for at in range(97)] + [
        failed(Outcome.timeout_total, due=97, done=60_000),
        cut(60_000, due=98),
        cut(1, due=99),
    ]
    p99 = {"metric": "e2e", "quantile": "99%", "limit": "800ms"}
    terms = contract(p99, requests={"failed": ["status:500", "http_5xx"]})
    log = log_of(rows)
    log.columns.samples["status"] = 200
    clause = only(census(log, terms))
    assert (clause["n"], clause["k"], clause["unknown"], clause["verdict"]) == (100, 2, 1, "FAIL")


def test_a_log_without_tokens_in_a_row_does_not_know_its_tpot() -> None:
    """One token has no TPOT and is left out; an empty cell may have had any, and counts
    both ways.
    """
    rows = [
        answered(100, due=0, tokens=5),
        answered(100, due=1, tokens=1),
        answered(100, due=2, tokens=-1),
    ]
    clause = only(
        census(log_of(rows), contract({"metric": "tpot", "quantile": "50%", "limit": "1s"}))
    )
    assert (clause["n"], clause["k"], clause["unknown"], clause["verdict"]) == (2, 0, 1, "PASS")


def test_windows_and_their_readings() -> None:
    """Two of three windows keep their median; the readings by request and by mean stand
    beside it.
    """
    tenth = [answered(100, due=at) for at in range(3)]
    late = [answered(900, due=5 * MINUTE_MS + at) for at in range(2)] + [
        answered(100, due=5 * MINUTE_MS + 9)
    ]
    mixed = [answered(100, due=10 * MINUTE_MS + at) for at in range(2)] + [
        answered(5000, due=10 * MINUTE_MS + 9)
    ]
    log = log_of(tenth + late + mixed)
    terms = {
        "metric": "e2e",
        "statistic": "share_of_windows",
        "share": "60%",
        "window": "5min",
        "limit": "800ms",
    }
    clause = only(census(log, contract(terms), coverage=Coverage(complete=True)))
    assert (clause["attained"]["fraction"], clause["verdict"]) == ("2/3", "PASS")
    # means: 100, 633 and 1,733 ms
    assert [each["attained"]["fraction"] for each in clause["neighbours"]] == ["2/3", "2/3", "2/3"]
    assert [
        each["attained"]["fraction"]
        for each in only(
            census(log, contract({**terms, "of_window": "p99"}), coverage=Coverage(complete=True))
        )["neighbours"]
    ] == ["2/3", "2/3", "2/3"]
    assert (
        only(
            census(log, contract({**terms, "of_window": "p99"}), coverage=Coverage(complete=True))
        )["attained"]["fraction"]
        == "1/3"
    )


SOL, TERRA = "gpt-5.6-sol-2026-07-09", "gpt-5.6-terra"


def of_models(*models: str) -> RequestLog:
    """An hour: each minute one answer of each model, of 75 tokens in a second."""
    rows = [
        answered(1000, due=at * MINUTE_MS, tokens=75, served_model=number)
        for at in range(60)
        for number in range(len(models))
    ]
    return log_of(rows, texts={"served_model": list(models)})


@pytest.mark.parametrize(
    ("models", "asked", "verdict", "rows"),
    [
        # promised: more than 80 tokens/s of Sol, more than 70 of Terra
        ([SOL], None, "FAIL", 60),
        ([TERRA], None, "PASS", 60),
        ([SOL, TERRA], "gpt-5.6-sol", "FAIL", 60),
        ([SOL, TERRA], TERRA, "PASS", 60),
        ([TERRA, "text-embedding-3-large"], None, "PASS", 60),
        ([SOL, "gpt-5.6-sol"], None, "FAIL", 120),
    ],
)
def test_the_model_of_a_log_chooses_the_limit(
    models: list[str], asked: str | None, verdict: str, rows: int
) -> None:
    """The same 75 tokens a second break one model's floor and keep another's; rows of models that
    were not chosen are set aside.
    """
    log = of_models(*models)
    held = for_log(load_contract("openai-fast-mode"), log, asked)
    (period,) = census(log, held, coverage=Coverage(complete=True)).record.periods
    speed = period.clauses[1]
    assert (speed.verdict, speed.n) == (verdict, rows)
    others = 60 * len(models) - rows
    assert period.excluded == ({"model not covered": others} if others else {})


@pytest.mark.parametrize(
    ("log", "name", "asked", "text"),
    [
        (of_models(SOL, TERRA), "openai-fast-mode", None, "--model chooses the one of a log"),
        (of_models("m"), "openai-fast-mode", None, "has no limit for model 'm', only for gpt-5.6"),
        (log_of(each_minute(1)), "openai-fast-mode", "m", "has no limit for model 'm'"),
        (
            of_models("openai/gpt-5.6-sol"),
            "openai-fast-mode",
            "gpt-5.6-sol",
            "no row of the log is of it, only of openai/gpt-5.6-sol; --column served_model=none",
        ),
        (log_of(each_minute(1)), "openai-fast-mode", None, "does not say which model answered"),
        (of_models(SOL), "aws-bedrock", "m", "has the same terms for all models"),
    ],
)
def test_a_log_whose_model_has_no_one_limit_is_refused(
    log: RequestLog, name: str, asked: str | None, text: str
) -> None:
    """Several models, none, one that the contract does not name, a model where none is asked."""
    with pytest.raises(UserError) as caught:
        for_log(load_contract(name), log, asked)
    assert text in str(caught.value)


def test_with_and_without_exclusions() -> None:
    """Excluded rows are counted by reason; the attained share without the exclusions stands beside
    it.
    """
    rows = each_minute(100, bad=range(10))
    terms = contract(
        UPTIME,
        exclusion=[
            {
                "reason": "maintenance",
                "kind": "window",
                "start": "2026-10-01T00:00:00Z",
                "end": "2026-10-01T00:10:00Z",
            }
        ],
    )
    found = census(log_of(rows), terms)
    clause = only(found)
    assert found.record.to_json()["periods"][0]["excluded"] == {"maintenance": 10}
    assert (
        clause["n"],
        clause["attained"]["fraction"],
        clause["without_exclusions"]["fraction"],
    ) == (90, "1", "9/10")
    assert "without_exclusions" not in only(census(log_of(rows), contract(UPTIME)))


def test_each_month_is_reckoned_for_itself() -> None:
    """A log over two months: a breach in one leaves the other as it is; the worse one is the
    overall verdict.
    """
    november = 31 * 1440
    rows = each_minute(november + 10, bad=range(november, november + 1))
    found = census(log_of(rows), contract(UPTIME, period=MONTH), coverage=Coverage(complete=True))
    assert [(each["period"], each["overall"]) for each in found.record.to_json()["periods"]] == [
        ("2026-10", "PASS"),
        ("2026-11", "FAIL"),
    ]
    assert found.record.to_json()["overall"] == "FAIL"
    assert {key: rows.tolist() for key, rows in found.evidence.items()} == {
        ("2026-10", 1): [],
        ("2026-11", 1): [november],
    }
    (row,) = found.record.to_json()["periods"][1]["clauses"][0]["evidence"]["first"]
    assert row == {
        "file": "a.csv",
        "line": november + 2,
        "at_utc": "2026-11-01T00:00:00Z",
        "outcome": "http_5xx",
        "status": None,
        "e2e_ms": 1.0,
    }


def test_credits_are_due_by_the_best_case_and_possible_by_the_worst() -> None:
    """98 of 100 minutes up and one unobserved: 97 to 98 %; the money follows the bounds."""
    ladder = [{"below": "99%", "credit": "10%"}, {"below": "97.5%", "credit": "25%"}]
    terms = contract(
        {**DOWN, "credit": ladder},
        {"metric": "error_share", "share": "1%", "credit": [{"below": "99%", "credit": "5%"}]},
        credits={"base": "the bill", "combine": "sum", "claim_within_days": 30},
    )
    found = census(log_of(each_minute(100, bad=(0, 1), skip=(50,))), terms, bill_usd=Decimal(1000))
    credit = found.record.to_json()["periods"][0]["credit"]
    assert (credit["kind"], credit["usd"], credit["at_most_usd"], credit["claim_within_days"]) == (
        "due",
        "150.00",
        "300.00",
        30,
    )


def test_no_clause_passes_on_no_data() -> None:
    """With every row excluded nothing is attained and nothing passes, though empty minutes count as
    up.
    """
    terms = contract(
        UPTIME,
        DOWN,
        {"metric": "e2e", "quantile": "99%", "limit": "1s"},
        requests={"excluded": ["http_4xx"]},
    )
    found = census(log_of([failed(Outcome.http_4xx)]), terms, coverage=Coverage(complete=True))
    clauses = found.record.to_json()["periods"][0]["clauses"]
    assert [(each["attained"], each["verdict"]) for each in clauses] == [(None, "INCONCLUSIVE")] * 3
    assert clauses[1]["reason"] == "no request of the log counts for this clause"


@pytest.mark.parametrize(
    ("clause", "terms", "said"),
    [
        (
            {"metric": "inter_chunk_max", "quantile": "99%", "limit": "1s"},
            {},
            "no column for it (inter_chunk_max: only a run records it)",
        ),
        ({**UPTIME, "phase": "burst"}, {}, "a log has no phases"),
        ({**DOWN, "weight": "mean"}, {}, 'no column for it (resource, for weight = "mean")'),
        (
            {"metric": "e2e", "quantile": "99%", "limit": "1s", "bucket": ">32K"},
            {},
            "prompt_tokens, for the context bucket >32K",
        ),
        (
            UPTIME,
            {"requests": {"failed": ["status:500"]}},
            "requests.failed cannot be evaluated: status:500 needs status column",
        ),
    ],
)
def test_what_the_log_does_not_have_is_named(
    clause: dict[str, Any], terms: dict[str, Any], said: str
) -> None:
    """A judged clause without its column ends the command; one that is only reported says so and
    the rest goes on.
    """
    with pytest.raises(UserError) as caught:
        census(log_of(each_minute(3)), contract(clause, **terms))
    assert said in str(caught.value)
    if "no column" in said:
        found = census(log_of(each_minute(3)), contract({**clause, "report_only": True}, UPTIME))
        assert [each["verdict"] for each in found.record.to_json()["periods"][0]["clauses"]] == [
            "REPORTED",
            "PASS",
        ]


def test_the_month_of_written_uptime() -> None:
    """43,200 minutes: 99.97 % by ratio keeps 99.9 %, 65 minutes of downtime break it, 10 % of 1,200
    USD are due.
    """
    loaded = load_month("written-uptime")
    assert loaded is not None
    found, expects = judge_month(*loaded)
    (period,) = found.record.to_json()["periods"]
    ratio, downtime = period["clauses"]
    assert (period["minutes"], period["coverage"]) == (43_200, 1)
    assert (ratio["attained"]["fraction"], ratio["verdict"]) == (str(Fraction(9997, 10000)), "PASS")
    assert (downtime["attained"]["fraction"], downtime["verdict"]) == (
        str(1 - Fraction(65, 43_200)),
        "FAIL",
    )
    assert [each["minutes"] for each in downtime["episodes"]["first"]] == [20, 13, 32]
    assert downtime["reason"] == "65 of 43,200 minutes were bad, 43 may be"
    assert (
        period["credit"]["usd"],
        period["credit"]["share"]["fraction"],
        period["credit"]["kind"],
    ) == (
        "120.00",
        "1/10",
        "due",
    )
    assert len(found.evidence["2026-09", 2]) == downtime["k"] == 162
    assert [each.met for each in expects] == [True, True]


def test_a_runs_own_samples_are_a_log(tmp_path: Path) -> None:
    """One lane of a run's folder, warm-up left out; with several lanes one must be named."""
    rows = [answered(100, due=at, lane=at % 2, warmup=at < 2) for at in range(10)] + [
        failed(Outcome.reset, due=10)
    ]
    run = run_of(
        tmp_path / "run", rows, lane_of(contract_of(), name="a"), lane_of(contract_of(), name="b")
    )
    assert len(log_of_run(run, "a").columns) == 5
    clause = only(census(source_of([f"{tmp_path / 'run'}:a"], Reading()).log, contract(UPTIME)))
    assert (clause["n"], clause["k"]) == (5, 1)
    with pytest.raises(UserError, match="has several targets; name one of"):
        log_of_run(run)


@given(
    st.lists(st.tuples(st.integers(0, 59), st.booleans()), min_size=1, max_size=60),
    st.sampled_from(["50%", "90%", "99%"]),
)
def test_request_ratio_is_the_fraction_of_good_rows(
    rows: list[tuple[int, bool]], share: str
) -> None:
    """Whatever the rows: the attained share is good/all, and with a complete log the verdict is its
    comparison.
    """
    made = [
        answered(5, due=at * 1000) if good else failed(Outcome.reset, due=at * 1000)
        for at, good in sorted(rows)
    ]
    clause = only(census(log_of(made), contract({**UPTIME, "share": share})))
    truth = Fraction(sum(good for _, good in rows), len(rows))
    assert Fraction(clause["attained"]["fraction"]) == truth
    assert clause["verdict"] == ("PASS" if truth >= Fraction(share.rstrip("%")) / 100 else "FAIL")


@pytest.mark.parametrize(
    ("terms", "worst"),
    [
        ({}, Fraction(120, 122)),
        ({"excluding": ["http_4xx", "rate_limited"]}, Fraction(120, 122)),
        ({"method": "mean_of_intervals", "window": "1h"}, (Fraction(60, 62) + 1) / 2),
        ({"method": "minute_all_fail"}, Fraction(1)),
    ],
)
def test_rows_that_cannot_be_read_count_both_ways(terms: dict[str, Any], worst: Fraction) -> None:
    """Each may have been good or bad; no term sets one aside; every row of the files is somewhere.

    Two of them, in the first hour of two with a good row a minute.
    """
    start = int(OCTOBER.timestamp()) * S
    unread = np.array([start + 60 * S, start + 90 * S])
    log = replace(log_of(each_minute(120)), unread_ns=unread, rows_in=122)
    judged = contract({**UPTIME, "share": "99.9%", **terms})
    found = census(log, judged, coverage=Coverage(complete=True))
    clause = found.record.periods[0].clauses[0]
    assert (clause.n, clause.k, clause.unknown) == (122, 0, 2)
    assert (clause.best, clause.attained) == (ExactShare.of(Fraction(1)),) * 2
    assert clause.worst == ExactShare.of(worst)
    accounting = found.record.log.accounting
    assert accounting is not None
    assert (accounting.judged, accounting.unreadable, accounting.rows_in) == (120, 2, 122)
    with pytest.raises(RuntimeError, match="missing"):
        census(replace(log, rows_in=123), judged)
