"""A clause's rows counted: each answer written out by hand or counted a second time in plain
Python.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.contract.clauses import (
    Tally,
    in_own_unit,
    missing_part,
    scope,
    streamed_any,
    tally,
)
from bench.judge.contract.exclusions import classify
from bench.judge.reached import reached
from bench.judge.stats.stand_in import OVER_ANY_LIMIT_NS
from bench.metrics import LATENCIES
from bench.plan.clause import Clause
from bench.record.facts import Facts
from bench.record.samples import Flag, Outcome
from tests.support.rows_by_hand import (
    MS,
    Row,
    answered,
    at_most,
    columns_of,
    contract_of,
    cut,
    failed,
    lane_of,
    uptime,
)

FAILURES = [
    outcome
    for outcome in Outcome
    if outcome not in (Outcome.ok, Outcome.censored, Outcome.never_sent)
]
ERRORS = Clause(metric="error_share", share="1%")


def counted(rows: list[Row], clause: Clause, view: str | None = None) -> tuple[int, int, int]:
    """(n, bad, unknown) of a clause over rows."""
    found = tallied(rows, clause, view)
    return found.n, found.bad, found.unknown


def tallied(rows: list[Row], clause: Clause, view: str | None = None, **terms: Any) -> Tally:
    """The tally of a clause over the measured rows, under a contract of these terms."""
    columns = columns_of(rows)
    classes = classify(columns, contract_of(clause, **terms), Facts(0))
    return tally(columns, clause, classes, scope(columns, clause, lane_of()), view)


def test_a_tally_written_out_by_hand() -> None:
    """The limit itself is kept, failures of any speed break it, a cut row is judged by its age,
    warm-up is no row.
    """
    rows = [
        answered(700),
        answered(800),
        answered(801),
        failed(Outcome.http_5xx),
        failed(Outcome.timeout_total, done=60_000),
        failed(Outcome.truncated),
        failed(Outcome.never_sent, sent=-1, done=-1),
        cut(900),
        cut(800),
        cut(5),
        answered(9_000, warmup=True),
        failed(Outcome.http_5xx, warmup=True),
    ]
    found = tallied(rows, at_most(800))
    assert (found.n, found.bad, found.unknown, found.excluded) == (10, 5, 3, {})
    assert found.values_ns is not None
    assert (
        sorted(found.values_ns.tolist()) == [700 * MS, 800 * MS, 801 * MS] + [OVER_ANY_LIMIT_NS] * 7
    )


def test_rows_are_tallied_in_the_order_in_which_they_were_due() -> None:
    """Rows that waited for others stand elsewhere in the table than in time."""
    found = tallied(
        [
            answered(801, due=300),
            answered(1, due=100),
            answered(802, due=400),
            answered(2, due=200),
        ],
        at_most(800),
    )
    assert (found.at_ns // MS).tolist() == [100, 200, 300, 400]
    assert found.is_bad.tolist() == [False, False, True, True]
    assert found.values_ns is not None
    assert (found.values_ns // MS).tolist() == [1, 2, 801, 802]


def test_rows_that_never_came_up_stand_where_they_were_planned() -> None:
    """A row that was never due has its planned time, and takes its turn by it."""
    never = failed(Outcome.never_sent, due=-1, planned=150, slot_free=-1, sent=-1, done=-1)
    found = tallied([answered(1, due=100), answered(1, due=200), never], at_most(800))
    assert (found.at_ns // MS).tolist() == [100, 150, 200]
    assert found.is_unknown.tolist() == [False, True, False]


def test_a_speed_without_a_floor_is_only_shown() -> None:
    """Only what never came breaks it."""
    shown = Clause(metric="output_tps", quantile="99%", report_only=True)
    assert counted(
        [answered(10**6, tokens=1), answered(5, tokens=9), failed(Outcome.reset)], shown
    ) == (3, 1, 0)


@pytest.mark.parametrize("outcome", FAILURES, ids=lambda outcome: outcome.name)
def test_every_failure_breaks_every_promise(outcome: Outcome) -> None:
    """Latency, uptime and error share all count a failed row as bad, however fast it failed."""
    rows = [answered(50), failed(outcome)]
    clauses = [at_most(800, metric=metric) for metric in LATENCIES] + [uptime(), ERRORS]
    assert [counted(rows, clause)[1:] for clause in clauses] == [(1, 0)] * 7


def test_a_row_that_never_left_is_unknown_until_it_had_waited_past_the_limit() -> None:
    """Still queued behind the cap after 900 ms it broke 800 ms for certain; for uptime, or without
    a cut, nothing is known.
    """
    waited = failed(Outcome.never_sent, sent=-1, done=900)
    lost = failed(Outcome.never_sent, sent=-1, done=-1)
    assert counted([waited, lost, answered(5)], at_most(800)) == (3, 1, 1)
    assert counted([waited, lost, answered(5)], uptime()) == (3, 0, 2)


def test_what_a_contract_excludes_is_set_aside_and_counted() -> None:
    """Excluded outcomes leave numerator and denominator alike, and the record says how many there
    were.
    """
    rows = [
        answered(5),
        *[failed(Outcome.rate_limited)] * 3,
        *[failed(Outcome.http_4xx)] * 2,
        failed(Outcome.http_5xx),
    ]
    for clause in (at_most(800, excluding=["rate_limited"]), uptime(excluding=["rate_limited"])):
        found = tallied(rows, clause)
        assert (found.n, found.bad, found.excluded) == (4, 3, {"rate_limited": 3})
    both = tallied(rows, uptime(excluding=["rate_limited", "http_4xx"]))
    assert (both.n, both.bad, both.excluded) == (2, 1, {"rate_limited": 3, "http_4xx": 2})
    assert tallied([answered(5)], uptime(excluding=["http_4xx"])).excluded == {}


@pytest.mark.parametrize(
    ("metric", "row", "bad", "unknown"),
    [
        ("e2e", cut(800), 0, 1),
        ("e2e", cut(801), 1, 0),
        ("e2e", cut(801, first_token=10, first_answer_token=10, last_token=700), 1, 0),
        ("ttft", cut(800), 0, 1),
        ("ttft", cut(801), 1, 0),
        # the token came in time; whether the answer would have ended well is not known
        ("ttft", cut(9_000, first_token=100, first_answer_token=100, last_token=100), 0, 1),
        ("ttft", cut(9_000, first_token=900, first_answer_token=900, last_token=900), 1, 0),
        ("ttft", cut(9_000, first_token=0, first_answer_token=0, last_token=0), 0, 1),
        ("ttft_answer", cut(9_000, first_token=100, last_token=9_000), 1, 0),
        ("ttft_answer", cut(700, first_token=100, last_token=700), 0, 1),
        ("tpot", cut(9_000, first_token=100, last_token=9_000, output_tokens=-1), 0, 1),
        ("inter_chunk_max", cut(9_000), 0, 1),
        ("inter_chunk_max", cut(9_000, first_token=100, last_token=8_900, gap_max=800), 0, 1),
        ("inter_chunk_max", cut(9_000, first_token=100, last_token=8_900, gap_max=801), 1, 0),
        ("inter_chunk_max", cut(9_000, first_token=100, last_token=8_199, gap_max=5), 1, 0),
    ],
)
def test_a_cut_row_is_bad_only_when_it_is_certain(
    metric: str, row: Row, bad: int, unknown: int
) -> None:
    """What had already gone over the limit when the run ended is bad; anything else is unknown."""
    assert counted([row], at_most(800, metric=metric)) == (1, bad, unknown)


def test_the_age_of_a_cut_row_counts_from_the_view() -> None:
    """Due 900 ms ago and sent 100 ms ago: over 800 ms by response, unknown by service; never sent:
    unknown.
    """
    late = cut(900, sent=800)
    assert counted([late], at_most(800)) == (1, 1, 0)
    assert counted([late], at_most(800), "service") == (1, 0, 1)
    unsent = cut(900, due=50_000, sent=-1)
    assert counted([unsent], at_most(800), "service") == (1, 0, 1)


def test_cut_rows_are_neither_up_nor_down() -> None:
    """Uptime and error share leave a cut row unknown, whatever its age."""
    for clause in (uptime(), ERRORS):
        assert counted([answered(5), cut(60_000)], clause) == (2, 0, 1)


def test_phase_and_bucket_narrow_the_rows() -> None:
    """A clause on a phase or a context bucket counts its rows alone; on the warm-up it
    counts none.
    """
    rows = [
        answered(900, phase=phase, bucket=bucket, warmup=phase == 0)
        for phase in (0, 1, 2, 2)
        for bucket in (0, 1)
    ]
    assert counted(rows, at_most(800)) == (6, 6, 0)
    assert counted(rows, at_most(800, phase="burst")) == (4, 4, 0)
    assert counted(rows, at_most(800, bucket="1K–8K")) == (3, 3, 0)
    assert counted(rows, at_most(800, phase="calm", bucket="≤1K")) == (1, 1, 0)
    assert counted(rows, at_most(800, phase="warmup")) == (0, 0, 0)


def test_an_answer_of_one_token_has_no_tpot_and_no_gap() -> None:
    """Such rows are set aside under their reason; a failure still breaks the clause."""
    rows = [answered(50, tokens=1, gap_max=-1), answered(50, tokens=3), failed(Outcome.reset)]
    for metric in ("tpot", "inter_chunk_max"):
        found = tallied(rows, at_most(800, metric=metric))
        assert (found.n, found.bad, found.excluded) == (2, 1, {f"without {metric}": 1})


@pytest.mark.parametrize(
    ("shown", "limit_ms", "bad_unknown"),
    [
        # 90 ms behind the first of 10 tokens, a token a chunk: 10 ms each
        ({"chunks": 10}, 10, (0, 0)),
        ({"chunks": 10}, 9, (1, 0)),
        # the token that ends the answer has no text
        ({"chunks": 9}, 10, (0, 0)),
        # two chunks: 9 tokens behind the first or only one, so 10 to 90 ms each
        ({"chunks": 2}, 9, (1, 0)),
        ({"chunks": 2}, 10, (0, 1)),
        ({"chunks": 2}, 89, (0, 1)),
        ({"chunks": 2}, 90, (0, 0)),
        # the first chunk says that it held 7 of them: 30 ms each
        ({"chunks": 2, "first_tokens": 7}, 29, (1, 0)),
        ({"chunks": 2, "first_tokens": 7}, 30, (0, 0)),
        # nobody counted tokens
        ({"chunks": 10, "flags": int(Flag.STREAMED | Flag.COUNTED_TOKENS)}, 90, (0, 1)),
        ({"chunks": 1}, 90, (0, 1)),
        # a log does not count chunks
        ({"chunks": 0}, 10, (0, 0)),
    ],
)
def test_what_bundled_chunks_show_of_the_time_per_token(
    shown: dict[str, int], limit_ms: int, bad_unknown: tuple[int, int]
) -> None:
    """By hand: the bounds are all of the 10 tokens behind the first chunk's first, and one for each
    further chunk.
    """
    rows = [answered(100, tokens=10, **shown)]
    assert counted(rows, at_most(limit_ms, metric="tpot")) == (1, *bad_unknown)


@pytest.mark.parametrize(
    ("shown", "slow", "bad_unknown"),
    [
        # 9 tokens in 90 ms
        ({"chunks": 10}, "100/s", (0, 0)),
        ({"chunks": 10}, "101/s", (1, 0)),
        # 3 tokens in 90 ms
        ({"chunks": 2, "first_tokens": 7}, "33/s", (0, 0)),
        ({"chunks": 2, "first_tokens": 7}, "34/s", (1, 0)),
        ({"chunks": 2}, "1/s", (0, 1)),
        ({"chunks": 1}, "1/s", (0, 1)),
    ],
)
def test_what_bundled_chunks_show_of_the_speed_behind_the_first(
    shown: dict[str, int], slow: str, bad_unknown: tuple[int, int]
) -> None:
    clause = Clause.model_validate(
        {"metric": "output_tps", "quantile": "50%", "at_least": slow, "with_ttft": False}
    )
    assert counted([answered(100, tokens=10, **shown)], clause) == (1, *bad_unknown)


def test_an_answer_without_a_first_token_never_had_one_in_time() -> None:
    """An ok answer that held no token breaks a TTFT clause and keeps an end-to-end one."""
    empty = answered(50, first_token=-1, first_answer_token=-1, last_token=-1)
    assert counted([empty], at_most(800, metric="ttft")) == (1, 1, 0)
    assert counted([empty], at_most(800, metric="ttft_answer")) == (1, 1, 0)
    assert counted([empty], at_most(800)) == (1, 0, 0)


def test_response_counts_from_due_and_service_from_the_send() -> None:
    """Lag is inside the response view, outside the service view, and the override beats the
    clause's own.
    """
    rows = [answered(900, 850, lag=200)]
    for metric in ("e2e", "ttft"):
        assert counted(rows, at_most(800, metric=metric)) == (1, 1, 0)
        assert counted(rows, at_most(800, metric=metric, view="service")) == (1, 0, 0)
        assert counted(rows, at_most(800, metric=metric), "service") == (1, 0, 0)


def test_no_rows_are_no_rows() -> None:
    """An empty selection counts nothing and raises nothing."""
    assert counted([], at_most(800)) == counted([], uptime()) == (0, 0, 0)


def test_a_reported_clause_without_limit_counts_failures() -> None:
    """Without a limit only what never came at all is over it."""
    rows = [answered(10**7), failed(Outcome.reset), cut(10**6)]
    assert counted(rows, at_most(None, report_only=True)) == (3, 1, 1)


def test_parts_that_a_run_lacks_are_named() -> None:
    """An unknown phase or bucket, or a token metric over whole answers, gives a sentence with what
    there is.
    """
    lane = lane_of()
    assert missing_part(at_most(800, phase="burst", bucket="1K–8K"), lane, streamed=True) is None
    assert "warmup, calm, burst" in str(
        missing_part(at_most(800, phase="flood"), lane, streamed=True)
    )
    assert "≤1K, 1K–8K" in str(missing_part(at_most(800, bucket=">32K"), lane, streamed=True))
    assert "streamed" in str(missing_part(at_most(800, metric="ttft"), lane, streamed=False))
    assert missing_part(at_most(800), lane, streamed=False) is None
    assert streamed_any(columns_of([failed(Outcome.reset)]))
    assert streamed_any(columns_of([answered(5), answered(5, flags=0)]))
    assert not streamed_any(columns_of([answered(5, flags=0), cut(5)]))


def test_a_run_that_broke_off_judges_the_rows_it_came_to() -> None:
    """Interrupted: rows never due are no rows, rows that waited are cut off."""
    rows = [
        answered(100),
        failed(Outcome.http_5xx, due=50),
        failed(Outcome.never_sent, due=100, sent=-1, done=-1, note=0),
        failed(Outcome.never_sent, due=9_000, sent=-1, done=-1),
    ]
    columns = columns_of(rows)
    names = [
        Outcome(outcome).name for outcome in reached(columns, "interrupted").samples["outcome"]
    ]
    assert names == ["ok", "http_5xx", "censored"]
    assert len(reached(columns, "complete")) == 4
    # a turn whose predecessor was cut off by the end never came up; the predecessor did
    turns = columns_of([cut(900), failed(Outcome.never_sent, due=-1, sent=-1, done=-1)])
    assert reached(turns, "complete").samples["outcome"].tolist() == [Outcome.censored]
    assert columns.samples["outcome"].tolist() == [1, 4, 0, 0]


ROWS = st.one_of(
    st.builds(
        answered,
        st.integers(20, 60),
        st.integers(0, 20),
        lag=st.integers(0, 5),
        tokens=st.integers(-1, 4),
    ),
    st.builds(failed, st.sampled_from([*FAILURES, Outcome.never_sent])),
    st.builds(cut, st.integers(0, 60), sent=st.sampled_from([-1, 0, 10])),
)


def naive(row: Row, clause: Clause, limit: int) -> str:
    """good, bad, unknown, excluded or without: the rules of methods 8 in plain words."""
    outcome = row["outcome"]
    if outcome.name in clause.excluding:
        return "excluded"
    start = row["due"] if clause.view == "response" else row["sent"]
    if clause.metric == "uptime":
        return (
            "unknown"
            if outcome in (Outcome.censored, Outcome.never_sent)
            else "good"
            if outcome == Outcome.ok
            else "bad"
        )
    if outcome in (Outcome.censored, Outcome.never_sent):
        waits = clause.metric in ("e2e", "ttft")
        return "bad" if waits and start >= 0 and row["done"] - start > limit else "unknown"
    if outcome != Outcome.ok:
        return "bad"
    if clause.metric == "tpot":
        if row["output_tokens"] < 2:
            return "without"
        if row["last_token"] == row["first_token"]:
            return "unknown"  # tokens that came at once tell no time of each
        return (
            "bad"
            if Fraction(row["last_token"] - row["first_token"], row["output_tokens"] - 1) > limit
            else "good"
        )
    end = row["last_token"] if clause.metric == "e2e" else row["first_token"]
    return "bad" if max(end - start, 0) > limit else "good"


@given(
    st.lists(ROWS, max_size=40),
    st.integers(1, 60),
    st.sampled_from(["e2e", "ttft", "tpot", "uptime"]),
    st.sampled_from(["response", "service"]),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_a_tally_equals_a_count_row_by_row(
    rows: list[Row], limit: int, metric: str, view: str, excludes: bool
) -> None:
    """Good, bad, unknown and excluded rows add up to all rows, each counted by its own rule."""
    excluding: list[Any] = ["rate_limited", "http_4xx"] if excludes else []
    clause = (
        uptime(excluding=excluding)
        if metric == "uptime"
        else at_most(limit, metric=metric, view=view, excluding=excluding)
    )
    found: Tally = tallied(rows, clause)
    kinds = [naive(row, clause, limit) for row in rows]
    assert found.n == sum(kind in ("good", "bad", "unknown") for kind in kinds)
    assert (found.bad, found.unknown) == (kinds.count("bad"), kinds.count("unknown"))
    assert sum(found.excluded.values()) == len(rows) - found.n
    if found.values_ns is not None:
        assert len(found.values_ns) == found.n


@pytest.mark.parametrize(
    ("made", "took", "bad", "strictly"), [(33, 1000, 0, 1), (33, 1001, 1, 1), (34, 1000, 0, 0)]
)
def test_tokens_per_second_are_compared_without_rounding(
    made: int, took: int, bad: int, strictly: int
) -> None:
    """33 tokens in a second are at least 33 tokens/s and not above 33; a millisecond more is too
    slow.
    """
    clause = Clause(metric="output_tps", quantile="99%", at_least="33/s")
    rows = [answered(took, tokens=made)]
    assert counted(rows, clause) == (1, bad, 0)
    assert counted(rows, clause.model_copy(update={"operator": ">"})) == (1, strictly, 0)


def test_a_speed_with_many_digits_does_not_overflow() -> None:
    """5,000 tokens in 60 s are 83.33...3 a second: they keep one ninth digit less and miss one
    more.
    """
    row = answered(60_000, tokens=5000)
    assert Fraction(5000, 60) > Fraction("83.333333333")
    for least, bad in (("83.333333333/s", 0), ("83.333333334/s", 1)):
        assert counted([row], Clause(metric="output_tps", quantile="99%", at_least=least)) == (
            1,
            bad,
            0,
        )


@given(st.integers(1, 20_000), st.integers(1, 600_000), st.integers(0, 9))
def test_a_speed_is_compared_to_its_last_digit(tokens: int, took_ms: int, digits: int) -> None:
    """The largest floor of so many digits that a speed keeps, by fractions, is kept, and one more
    of the last digit is not; nor do floors far below and above it change sides where their products
    need more than 64 bits.
    """
    unit = Fraction(1, 10**digits)
    kept = Fraction(1000 * tokens, took_ms) // unit * unit
    far = [(kept / part // unit * unit, 0) for part in (2, 3, 7, 50)] + [
        (kept * times + unit, 1) for times in (2, 3, 7, 50)
    ]
    for floor, bad in ((kept, 0), (kept + unit, 1), *far):
        if floor > 0:
            clause = Clause(metric="output_tps", quantile="99%", at_least="1/s").model_copy(
                update={"at_least": floor}
            )
            assert counted([answered(took_ms, 0, tokens=tokens)], clause) == (1, bad, 0)


def test_a_miss_is_no_speed_at_all_and_later_than_any_time() -> None:
    """In a clause's own unit: 25 and 0 tokens/s of an answer and a failure, 2 s in ns and never."""
    rows = [answered(2000, 1000, tokens=50), failed(Outcome.reset)]
    speed = Clause(metric="output_tps", quantile="99%", at_least="5/s")
    for clause, wanted in ((speed, [25.0, 0.0]), (at_most(800), [2e9, np.inf])):
        found = tallied(rows, clause)
        assert found.values_ns is not None
        assert in_own_unit(columns_of(rows).samples, clause, found.values_ns).tolist() == wanted


def test_tokens_that_came_at_once_are_fast_enough() -> None:
    """Five tokens in no time at all keep any speed; none say nothing."""
    clause = Clause(metric="output_tps", quantile="99%", at_least="50/s")
    found = tallied([answered(0, 0, tokens=5), answered(0, 0, tokens=0)], clause)
    assert (found.n, found.bad, found.excluded) == (1, 0, {"without output_tps": 1})


def test_tokens_per_second_without_the_first_token() -> None:
    """50 tokens in 2 s of which 1 s is the wait for the first: 25 tokens/s with it, 49 in the
    second after it.
    """
    row = answered(2000, 1000, tokens=50)
    for with_ttft, least, bad in (
        (True, "25/s", 0),
        (True, "26/s", 1),
        (False, "49/s", 0),
        (False, "50/s", 1),
    ):
        clause = Clause(metric="output_tps", quantile="99%", at_least=least, with_ttft=with_ttft)
        assert counted([row], clause) == (1, bad, 0), (with_ttft, least)


def test_answers_too_short_for_a_speed_are_set_aside() -> None:
    """Three tokens say nothing of 50 tokens/s; a failure is a miss unless the contract leaves it to
    uptime.
    """
    rows = [
        answered(1000, tokens=3),
        answered(1000, tokens=60),
        failed(Outcome.http_5xx),
        answered(1000, tokens=-1),
    ]
    clause = Clause(metric="output_tps", quantile="99%", at_least="50/s", min_output_tokens=10)
    found = tallied(rows, clause)
    assert (found.n, found.bad, found.excluded) == (
        2,
        1,
        {"under 10 output tokens": 1, "without output_tps": 1},
    )
    left = tallied(rows, clause.model_copy(update={"failed": "excluded"}))
    assert (left.n, left.bad, left.excluded["failed"]) == (1, 0, 1)


def test_a_strict_limit_is_broken_by_equality() -> None:
    """800 ms keep "at most 800 ms" and break "under 800 ms"."""
    assert counted([answered(800)], at_most(800)) == (1, 0, 0)
    assert counted([answered(800)], at_most(800, operator="<")) == (1, 1, 0)


def test_what_a_contract_calls_an_error_decides_uptime_but_not_speed() -> None:
    """Only 500 and 503 are errors here: a time-out is up by the letter, and still no answer within
    any limit.
    """
    rows = [
        failed(Outcome.http_5xx, status=500),
        failed(Outcome.http_5xx, status=504),
        failed(Outcome.timeout_total),
        answered(5),
    ]
    terms: dict[str, Any] = {"requests": {"failed": ["status:500", "status:503"]}}
    up, fast = tallied(rows, uptime(), **terms), tallied(rows, at_most(800), **terms)
    assert (up.n, up.bad) == (4, 1)
    assert (fast.n, fast.bad) == (4, 3)


def test_a_callers_own_error_that_the_contract_does_not_list_has_no_latency() -> None:
    """Where 500 alone is an error, a 429 is up by the letter and no request of a latency clause;
    unlisted, it breaks both.
    """
    rows = [
        failed(Outcome.rate_limited, status=429),
        failed(Outcome.http_4xx, status=400),
        failed(Outcome.http_5xx, status=500),
        answered(5),
    ]
    listed: dict[str, Any] = {"requests": {"failed": ["status:500"]}}
    up, fast = tallied(rows, uptime(), **listed), tallied(rows, at_most(800), **listed)
    assert (up.n, up.bad, up.excluded) == (4, 1, {})
    assert (fast.n, fast.bad, sorted(fast.excluded.values())) == (2, 1, [1, 1])
    assert counted(rows, at_most(800)) == counted(rows, uptime()) == (4, 3, 0)


def test_a_cut_row_that_might_not_count_is_bad_for_nothing() -> None:
    """Cut off after the limit it was late or failed: a miss either way, but not where failures are
    left to uptime.
    """
    rows = [cut(900), failed(Outcome.http_5xx), answered(5)]
    assert counted(rows, at_most(800)) == (3, 2, 0)
    assert counted(rows, at_most(800, failed="excluded")) == (2, 0, 1)
