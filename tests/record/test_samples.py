"""Latencies derived from stored times, written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.record.samples import (
    SAMPLE_DTYPE,
    SCHEDULE_DTYPE,
    Columns,
    Flag,
    Outcome,
    empty_samples,
    end_ns,
    latency_ns,
    outcome_counts,
)

METRICS = ("ttft", "ttft_answer", "e2e", "tpot", "inter_chunk_max", "lag", "harness_lag")
TIMES = {
    "due_ns": 1_000,
    "slot_free_ns": 1_200,
    "sent_ns": 1_250,
    "headers_ns": 1_300,
    "first_byte_ns": 1_400,
    "first_token_ns": 1_500,
    "first_answer_token_ns": 1_700,
    "last_token_ns": 2_501,
    "done_ns": 2_600,
    "gap_max_ns": 300,
}


def one(flags: int = int(Flag.STREAMED), **columns: int) -> np.ndarray:
    """A table of one row."""
    table = empty_samples(1)
    for name, value in columns.items():
        table[name] = value
    table["flags"] = flags
    return table


def derived(table: np.ndarray, view: str = "response") -> dict[str, int]:
    """All metrics of the one row."""
    return {metric: int(latency_ns(table, metric, view)[0]) for metric in METRICS}


def test_latencies_of_a_stream_by_hand() -> None:
    """Response from due, service from sent, end at the last token; TPOT over the steps; lag split
    at the freed slot.
    """
    table = one(**TIMES, output_tokens=11)
    assert derived(table) == {
        "ttft": 500,
        "ttft_answer": 700,
        "e2e": 1_501,
        "tpot": 100,
        "inter_chunk_max": 300,
        "lag": 250,
        "harness_lag": 50,
    }
    assert derived(table, "service") == {
        "ttft": 250,
        "ttft_answer": 450,
        "e2e": 1_251,
        "tpot": 100,
        "inter_chunk_max": 300,
        "lag": 250,
        "harness_lag": 50,
    }


def test_a_slot_that_was_free_before_is_no_wait() -> None:
    """harness_lag counts from due where the slot was free earlier; without a slot time, from due
    too.
    """
    for slot in (-1, 400, 1_000):
        assert derived(one(**TIMES | {"slot_free_ns": slot}))["harness_lag"] == 250


def test_a_plain_answer_ends_with_its_last_byte() -> None:
    """Without a stream only e2e and the lags exist."""
    table = one(
        flags=0,
        due_ns=1_000,
        slot_free_ns=1_000,
        sent_ns=1_250,
        headers_ns=1_300,
        first_byte_ns=1_400,
        done_ns=2_600,
        output_tokens=9,
    )
    assert end_ns(table).tolist() == [2_600]
    assert derived(table) == {
        "ttft": -1,
        "ttft_answer": -1,
        "e2e": 1_600,
        "tpot": -1,
        "inter_chunk_max": -1,
        "lag": 250,
        "harness_lag": 250,
    }


def test_a_stream_without_a_token_ends_with_its_last_byte() -> None:
    """A stream that held no token is as long as its body."""
    table = one(
        **TIMES
        | {
            "first_token_ns": -1,
            "first_answer_token_ns": -1,
            "last_token_ns": -1,
            "gap_max_ns": -1,
        }
    )
    assert derived(table) | {"lag": 0, "harness_lag": 0} == {
        "ttft": -1,
        "ttft_answer": -1,
        "e2e": 1_600,
        "tpot": -1,
        "inter_chunk_max": -1,
        "lag": 0,
        "harness_lag": 0,
    }


@pytest.mark.parametrize("tokens", [-1, 0, 1])
def test_there_is_no_pace_below_two_tokens(tokens: int) -> None:
    """TPOT has a step to divide by only from the second token on."""
    assert derived(one(**TIMES, output_tokens=tokens))["tpot"] == -1


def test_times_at_zero_are_times() -> None:
    """0 ns after the start is a moment like any other, not an absent one."""
    table = one(**dict.fromkeys(TIMES, 0), output_tokens=2)
    found = derived(table)
    # Two tokens in one instant came at once: how long one takes was not shown.
    assert found.pop("tpot") == -1
    assert set(found.values()) == {0}


def test_an_answer_that_overtook_the_send_took_no_time() -> None:
    """The kernel's stamp can lie before the write returned: such a latency is 0, not absent."""
    table = one(
        due_ns=1_000,
        slot_free_ns=1_300,
        sent_ns=1_250,
        first_token_ns=1_240,
        last_token_ns=1_249,
        done_ns=1_249,
    )
    found = derived(table, "service")
    assert (found["ttft"], found["e2e"], found["harness_lag"]) == (0, 0, 0)
    assert derived(table)["ttft"] == 240


def test_rows_that_never_began_have_no_latency() -> None:
    """An empty row is never_sent, and every metric of it is -1 in both views."""
    table = empty_samples(3)
    assert outcome_counts(table) == {"never_sent": 3}
    for view in ("response", "service"):
        for metric in METRICS:
            assert latency_ns(table, metric, view).tolist() == [-1, -1, -1], metric
    assert set(table["note"]) == set(table["worker"]) == set(table["prompt_tokens"]) == {-1}


def test_an_unknown_metric_is_refused() -> None:
    """A misspelt metric is an error, not an empty column."""
    with pytest.raises(ValueError, match="no such metric: e2el"):
        latency_ns(empty_samples(1), "e2el")


@given(st.lists(st.sampled_from(Outcome), max_size=60))
@settings(deadline=None)
def test_outcomes_sum_to_all_rows(outcomes: list[Outcome]) -> None:
    """Each row counts once under its own name; names that did not occur are absent."""
    table = empty_samples(len(outcomes))
    table["outcome"] = outcomes
    counts = outcome_counts(table)
    assert sum(counts.values()) == len(outcomes)
    assert counts == {
        outcome.name: outcomes.count(outcome) for outcome in Outcome if outcome in outcomes
    }


def test_the_outcomes_are_the_closed_set() -> None:
    """Names and numbers of outcomes are the file format: changing one is a new format."""
    names = (
        "never_sent ok http_4xx rate_limited http_5xx refused dns tls reset timeout_connect"
        " timeout_first timeout_total truncated malformed stream_error censored wrong_answer"
    )
    assert [outcome.name for outcome in Outcome] == names.split()
    assert [int(outcome) for outcome in Outcome] == list(range(17))
    assert not SAMPLE_DTYPE.hasobject


def test_columns_select_schedule_and_samples_together() -> None:
    """A lane, the measured rows and a mask each take the same rows of both tables; unequal lengths
    are refused.
    """
    schedule, samples = np.zeros(6, SCHEDULE_DTYPE), empty_samples(6)
    schedule["lane"], schedule["warmup"] = [0, 1, 0, 1, 0, 1], [1, 1, 0, 0, 0, 0]
    samples["status"] = schedule["body"] = np.arange(6)
    samples["outcome"][[2, 3]] = Outcome.ok
    columns = Columns(schedule, samples)
    for chosen, rows in (
        (columns.lane(1), [1, 3, 5]),
        (columns.measured(), [2, 3, 4, 5]),
        (columns.where(columns.ok), [2, 3]),
        (columns.lane(0).measured().where([0]), [2]),
    ):
        assert chosen.schedule["body"].tolist() == chosen.samples["status"].tolist() == rows
        assert len(chosen) == len(rows)
    with pytest.raises(ValueError, match="6 rows, samples 5"):
        Columns(schedule, samples[:5])
