"""summary.json against a second reckoning in plain Python, on random tables and by hand."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.summary import lane_summary, quantiles_ms, summarise
from bench.record.histogram import HistogramSet, Interval, write_hlog
from bench.record.samples import Flag, Outcome
from tests.support.rows_by_hand import (
    MS,
    VALID,
    Row,
    answered,
    columns_of,
    cut,
    failed,
    lane_of,
    run_of,
)

FAILURES = [outcome for outcome in Outcome if outcome not in (Outcome.ok, Outcome.censored)]
PART = {"phase": st.integers(0, 2), "bucket": st.integers(0, 1)}


def row_of(row: Row, phase: int, bucket: int, connect: int, prompt: int, output: int) -> Row:
    """A row in its phase (0 is the warm-up) and bucket, with what usage said."""
    more = {"phase": phase, "warmup": phase == 0, "bucket": bucket, "connect": connect}
    answer = (
        {"prompt_tokens": prompt, "output_tokens": output} if row["outcome"] == Outcome.ok else {}
    )
    return row | more | answer


ROWS = st.builds(
    row_of,
    st.one_of(
        st.builds(
            answered,
            st.integers(20, 5000),
            st.integers(0, 20),
            due=st.integers(0, 9000),
            lag=st.integers(0, 9),
        ),
        st.builds(
            answered,
            st.integers(20, 5000),
            flags=st.just(0),
            first_token=st.just(-1),
            first_answer_token=st.just(-1),
            last_token=st.just(-1),
            gap_max=st.just(-1),
        ),
        st.builds(failed, st.sampled_from(FAILURES)),
        st.builds(cut, st.integers(0, 60)),
    ),
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(-1, 30),
    st.integers(-1, 900),
    st.integers(-1, 90),
)


def rank(values: list[float], q: Fraction) -> float:
    """Nearest rank: the first value that at least a share q of all does not exceed."""
    ordered = sorted(values)
    return next(
        value for index, value in enumerate(ordered, 1) if Fraction(index, len(ordered)) >= q
    )


def q_of(values: list[float]) -> dict[str, Any] | None:
    """The Q record of values in ms; None of nothing."""
    values = [value for value in values if value >= 0]
    if not values:
        return None
    shares = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99", "p999": "0.999"}
    return {
        "n": len(values),
        "mean": pytest.approx(sum(values) / len(values)),
        **{name: rank(values, Fraction(share)) for name, share in shares.items()},
        "max": max(values),
    }


def spans(rows: list[Row], end: str, start: str) -> list[float]:
    """end - start of the rows that have both, in ms, not below 0."""
    return [
        max(row[end] - row[start], 0)
        for row in rows
        if row.get(end, -1) >= 0 and row.get(start, -1) >= 0
    ]


def whole(rows: list[Row], start: str) -> list[float]:
    """End-to-end from `start`: to the last token of a stream, to the last byte of a plain
    answer.
    """
    return [(row["last_token"] if row["flags"] else row["done"]) - row[start] for row in rows]


@given(st.lists(ROWS, max_size=30))
@settings(max_examples=150, deadline=None)
def test_a_summary_equals_a_reckoning_row_by_row(rows: list[Row]) -> None:
    """Every number of a target's record, from lists, sums and exact fractions."""
    columns = columns_of(rows)
    found = lane_summary(columns, lane_of(), columns, None).to_json()
    measured = [row for row in rows if not row["warmup"]]
    ok = [row for row in measured if row["outcome"] == Outcome.ok]
    assert found["requests"] == len(rows) == sum(found["outcomes"].values())
    assert found["outcomes"] == {
        outcome.name: count for outcome, count in Counter(row["outcome"] for row in rows).items()
    }
    assert found["ok"] == sum(row["outcome"] == Outcome.ok for row in rows)
    assert found["warmup"] == len(rows) - len(measured)
    tpot = [
        Fraction(row["last_token"] - row["first_token"], row["output_tokens"] - 1)
        for row in ok
        if row["output_tokens"] > 1 and 0 <= row["first_token"] < row["last_token"]
    ]
    assert found["response_ms"] == {
        "ttft": q_of(spans(ok, "first_token", "due")),
        "ttft_answer": q_of(spans(ok, "first_answer_token", "due")),
        "e2e": q_of(whole(ok, "due")),
        "tpot": q_of([math.floor(value * MS) / MS for value in tpot]),
    }
    assert found["service_ms"] == {
        "ttft": q_of(spans(ok, "first_token", "sent")),
        "e2e": q_of(whole(ok, "sent")),
    }
    assert found["inter_chunk_ms"] is None
    assert found["inter_chunk_max_ms"] == q_of([row["gap_max"] for row in ok])
    assert found["lag_ms"] == q_of(spans(measured, "sent", "due"))
    assert found["harness_lag_ms"] == q_of(
        [row["sent"] - max(row["due"], row["slot_free"]) for row in measured]
    )
    assert found["connect_ms"] == q_of([row["connect"] for row in measured])
    known = [row for row in measured if row["outcome"] != Outcome.censored]
    assert found["uptime"] == {"request_ratio": len(ok) / len(known) if known else None}
    assert found["tokens"]["prompt"] == sum(
        row["prompt_tokens"] for row in ok if row["prompt_tokens"] >= 0
    )
    assert found["tokens"]["output"] == sum(
        row["output_tokens"] for row in ok if row["output_tokens"] >= 0
    )
    for part, names in (("phase", ["warmup", "calm", "burst"]), ("bucket", ["≤1K", "1K–8K"])):
        wanted = {}
        for index, name in enumerate(names):
            if mine := [row for row in measured if row[part] == index]:
                good = [row for row in mine if row["outcome"] == Outcome.ok]
                wanted[name] = {
                    "requests": len(mine),
                    "ok": len(good),
                    "response_ms": {
                        "ttft": q_of(spans(good, "first_token", "due")),
                        "e2e": q_of(whole(good, "due")),
                    },
                }
        assert found[f"by_{part}"] == wanted


def test_nothing_is_null_and_never_zero() -> None:
    """A lane where nothing succeeded has null for every latency, ratio 0, and null rates where
    nothing was sent.
    """
    rows = [failed(Outcome.never_sent, sent=-1, done=-1)] * 3
    found = lane_summary(columns_of(rows), lane_of(), columns_of(rows), None).to_json()
    for group in ("response_ms", "service_ms"):
        assert set(found[group].values()) == {None}
    for name in (
        "inter_chunk_ms",
        "inter_chunk_max_ms",
        "lag_ms",
        "harness_lag_ms",
        "connect_ms",
        "tls_ms",
        "sent_rps",
        "cost",
    ):
        assert found[name] is None, name
    assert found["uptime"] == {"request_ratio": 0.0}
    assert found["tokens"] == {"prompt": 0, "output": 0, "source": "none", "prompt_error": None}
    empty = lane_summary(columns_of([]), lane_of(), columns_of([]), None).to_json()
    assert (empty["requests"], empty["outcomes"], empty["uptime"]) == (
        0,
        {},
        {"request_ratio": None},
    )
    assert quantiles_ms(np.array([-1, -1])) is None


def test_quantiles_are_values_that_were_seen() -> None:
    """Nearest rank: of 1..1000 ms p50 is 500, p99 990, p99.9 999; of ten values p90 is the
    ninth.
    """
    found = quantiles_ms(np.arange(1, 1001) * MS)
    assert found is not None
    assert found.to_json() == {
        "n": 1000,
        "mean": 500.5,
        "p50": 500.0,
        "p90": 900.0,
        "p95": 950.0,
        "p99": 990.0,
        "p999": 999.0,
        "max": 1000.0,
    }
    ten = quantiles_ms(np.array([*range(1, 10), 1000]) * MS)
    assert ten is not None
    assert (ten.p90, ten.p95, ten.p999) == (9.0, 1000.0, 1000.0)


def test_rates_are_over_the_planned_span_or_what_it_took() -> None:
    """8 rows planned over 4 s are 2/s; sent until 8 s they are 1/s; a closed loop offers no
    rate.
    """
    rows = [answered(5, due=second * 500) for second in range(8)]
    columns = columns_of(rows)
    found = lane_summary(columns, lane_of(), columns, None).to_json()
    assert (found["offered_rps"], found["sent_rps"]) == (2.0, 2.0)
    late = columns_of([*rows[:7], answered(5000, due=3500, lag=4500)])
    assert lane_summary(late, lane_of(), late, None).to_json()["sent_rps"] == 1.0
    closed = lane_summary(columns, lane_of(closed_loop=True), columns, None).to_json()
    assert (closed["offered_rps"], closed["sent_rps"]) == (None, 2.0)


def test_tokens_say_where_they_come_from() -> None:
    """Usage, counted, mixed or none; and how far the prompts were from their plan."""
    usage, chunks = (
        answered(50, prompt_tokens=110, output_tokens=7),
        answered(50, output_tokens=3, flags=int(Flag.STREAMED | Flag.COUNTED_TOKENS)),
    )
    for rows, source in (
        ([usage], "usage"),
        ([chunks], "counted"),
        ([usage, chunks], "mixed"),
        ([answered(5, tokens=-1)], "none"),
    ):
        columns = columns_of(rows)
        assert (
            lane_summary(columns, lane_of(), columns, None).to_json()["tokens"]["source"] == source
        )
    columns = columns_of([usage, usage | {"prompt_tokens": 95}, chunks])
    columns.schedule["prompt_tokens"] = 100
    found = lane_summary(columns, lane_of(), columns, None).to_json()["tokens"]
    assert found == {
        "prompt": 205,
        "output": 17,
        "source": "mixed",
        "prompt_error": {"median": pytest.approx(0.025), "p95": pytest.approx(0.1)},
    }


def test_cost_is_exact_to_the_token() -> None:
    """3 x 1,000,001 prompt tokens at 0.25 and 21 output tokens at 1 USD a million."""
    rows = [answered(50, prompt_tokens=1_000_001, output_tokens=7)] * 3
    prices = {
        "input_usd_per_million": "0.25",
        "output_usd_per_million": "1",
        "as_of": "2026-11-23",
        "source": "a list",
    }
    found = lane_summary(columns_of(rows), lane_of(prices=prices), columns_of(rows), None).to_json()
    assert found["cost"] == {"usd": 0.75000075 + 0.000021, "as_of": "2026-11-23"}


def test_gaps_come_from_the_histograms_without_the_warm_up(tmp_path: Path) -> None:
    """inter_chunk_ms adds the lane's measured phases, its maximum exact; other lanes, metrics and
    the warm-up stay out.
    """
    run = run_of(tmp_path / "r", [answered(50)], lane_of(), lane_of(name="t.u"))
    histograms = HistogramSet()
    for tag, values in (
        ("t.inter_chunk.calm", [1, 2]),
        ("t.inter_chunk.burst", [40]),
        ("t.inter_chunk.warmup", [900]),
        ("t.u.inter_chunk.calm", [70]),
        ("t.response.e2e.calm", [500]),
    ):
        histograms[tag].record_many_ns(np.array(values) * MS)
    write_hlog(
        run.folder / "histograms.hlog",
        [Interval(tag, 0, MS, histogram) for tag, histogram in histograms.items()],
        0,
    )
    found = summarise(run, VALID, "NONE").to_json()["targets"]
    gaps = found["t"]["inter_chunk_ms"]
    assert (gaps["n"], gaps["max"], found["t.u"]["inter_chunk_ms"]["max"]) == (3, 40.0, 70.0)
    assert gaps["p50"] == pytest.approx(2, rel=0.002)


def test_a_run_that_broke_off_keeps_every_row_and_blames_none_it_never_came_to(
    tmp_path: Path,
) -> None:
    """requests and outcomes hold all planned rows; the uptime ratio is of the rows the run
    came to.
    """
    rows = (
        [answered(5)] * 3
        + [failed(Outcome.http_5xx)]
        + [failed(Outcome.never_sent, sent=-1, done=-1)] * 6
    )
    for state, ratio in (("interrupted", 0.75), ("complete", 0.3)):
        run = run_of(tmp_path / state, rows, lane_of(), state=state)  # type: ignore[arg-type]
        found = summarise(run, VALID, "NONE").to_json()
        target = found["targets"]["t"]
        assert (found["state"], target["requests"], target["outcomes"]["never_sent"]) == (
            state,
            10,
            6,
        )
        assert target["uptime"] == {"request_ratio": ratio}


def test_rates_leave_the_time_between_sittings_out() -> None:
    """40 rows in 10 s and 10 s with a minute between them: two a second, planned and sent; one of
    which the second half was never sent: two too.
    """
    due = [at for at in range(0, 80_000, 500) if at < 10_000 or at >= 70_000]
    lane = lane_of(end_ns=80_000 * MS, gaps_ns=[(10_000 * MS, 70_000 * MS)])
    columns = columns_of([answered(5, due=at) for at in due])
    found = lane_summary(columns, lane, columns, None).to_json()
    assert found["offered_rps"] == 2.0
    assert found["sent_rps"] == 2.0
    first = columns.where(columns.samples["due_ns"] < 10_000 * MS)
    assert lane_summary(first, lane, columns, None).to_json()["sent_rps"] == pytest.approx(20 / 9.5)
