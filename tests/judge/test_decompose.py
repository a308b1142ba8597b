"""The parts of a row's time sum to its latency, and each lies where it was put."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.attribution.decompose import (
    PARTS,
    Answering,
    answering,
    decompose,
    parts_ns,
    usual_gap_ns,
)
from bench.record.samples import ATTEMPT_DTYPE, AttemptFlag, Flag, empty_samples, latency_ns
from tests.support.planted_tail import MS, quiet, slow_down
from tests.support.rows_by_hand import answered, columns_of

TIMES = ("due", "slot_free", "sent", "first_token", "first_answer_token", "last_token", "done")


@settings(max_examples=150, deadline=None)
@given(
    moments=st.lists(
        st.tuples(*[st.integers(-1, 50)] * 7, *[st.integers(-1, 30)] * 4), min_size=1, max_size=20
    ),
    metric=st.sampled_from(["e2e", "ttft", "ttft_answer"]),
    streamed=st.booleans(),
    gap=st.integers(0, 10),
)
def test_parts_sum_to_the_latency_to_the_ns(
    moments: list[tuple[int, ...]], metric: str, streamed: bool, gap: int
) -> None:
    """Whatever the stamps, in whatever order: no part is negative, and they sum to latency_ns where
    there is one, else to 0.
    """
    samples = empty_samples(len(moments))
    for row, values in enumerate(moments):
        for name, value in zip(
            (*TIMES, "connect", "tls", "gap_max", "gap_sum"), values, strict=True
        ):
            samples[f"{name}_ns"][row] = value
    samples["flags"], samples["attempts"] = (
        Flag.STREAMED * streamed,
        1 + np.arange(len(moments)) % 2,
    )
    parts = parts_ns(samples, metric, gap)
    assert list(parts) == list(PARTS)
    assert all((length >= 0).all() for length in parts.values())
    assert np.array_equal(sum(parts.values()), np.maximum(latency_ns(samples, metric), 0))


def test_every_part_of_a_row_written_by_hand() -> None:
    """Due at 0: 5 ms queue, 3 connect, 2 TLS, 1 late, 40 to the first token, 49 to the last, of
    which a stall of 30 less 4.
    """
    row = answered(100, 51, slot_free=10, sent=11, connect=3, tls_ns=2 * MS, gap_max=30, attempts=1)
    parts = {
        name: int(length[0]) / MS
        for name, length in parts_ns(columns_of([row]).samples, "e2e", 4 * MS).items()
    }
    assert parts == {
        "queue": 5,
        "retries": 0,
        "fallback": 0,
        "connect": 3,
        "tls": 2,
        "harness_lag": 1,
        "first_token": 40,
        "stall": 26,
        "stream": 23,
    }


def test_what_went_before_the_answered_call() -> None:
    """20 ms of waiting: of two attempts it is retries; a route's other leg makes 15 of it fallback
    and leaves 5 in the queue.
    """
    samples = columns_of([answered(100, 51, slot_free=20, sent=20, attempts=2)]).samples
    alone = parts_ns(samples)
    assert (alone["queue"][0], alone["retries"][0], alone["fallback"][0]) == (0, 20 * MS, 0)
    routed = parts_ns(
        samples, before=Answering(np.array([1]), np.array([15 * MS]), np.array([True]))
    )
    assert (routed["queue"][0], routed["retries"][0], routed["fallback"][0]) == (5 * MS, 0, 15 * MS)


def test_the_answered_call_of_a_route() -> None:
    """Row 1: first leg at 10, answered by the second leg at 25; row 3: retried on the same leg; row
    2 had no answer.
    """
    attempts = np.zeros(5, ATTEMPT_DTYPE)
    for place, (row, leg, start, carried) in enumerate(
        [(1, 0, 10, 0), (1, 1, 25, 1), (2, 0, 5, 0), (3, 2, 7, 0), (3, 2, 9, 1)]
    ):
        attempts["row"][place], attempts["leg"][place], attempts["start_ns"][place] = (
            row,
            leg,
            start,
        )
        attempts["flags"][place] = AttemptFlag.CARRIED * carried
    found = answering(attempts, 4)
    assert found.leg.tolist() == [-1, 1, -1, 2]
    assert found.before_ns.tolist() == [0, 15, 0, 2]
    assert found.other_leg.tolist() == [False, True, False, False]


def test_slow_rows_against_the_others() -> None:
    """Ten rows wait 1,000 ms in the queue and are otherwise alike: all of the excess is the
    queue's.
    """
    columns, _ = quiet(1000)
    slow = np.zeros(1000, bool)
    slow[::100] = True
    slow_down(columns, slow, 1200)
    samples = columns.samples
    samples["slot_free_ns"][slow] = samples["sent_ns"][slow] = samples["due_ns"][slow] + 1000 * MS
    samples["first_token_ns"][slow] = samples["due_ns"][slow] + 1180 * MS
    found = decompose(samples, slow, columns.ok, "e2e")
    assert found is not None
    assert (found.tail_rows, found.body_rows, found.tail_ms, found.body_ms) == (
        10,
        990,
        1200,
        200,
    )
    parts = {part.part: part for part in found.parts}
    assert parts["queue"].excess_ms == 1000
    assert parts["queue"].share_of_excess == 1
    assert parts["queue"].share_difference == pytest.approx(1000 / 1200)
    assert sum(part.share_difference for part in found.parts) == pytest.approx(0)
    assert decompose(samples, ~slow & ~columns.ok, columns.ok, "e2e") is None


def test_the_usual_gap_is_the_median_of_mean_gaps() -> None:
    """Means of 2, 4 and 9 ns over answers of several chunks; single chunks and failures
    have none.
    """
    samples = empty_samples(5)
    samples["chunks"], samples["gap_sum_ns"] = [3, 6, 2, 1, 2], [4, 20, 9, -1, 700]
    assert usual_gap_ns(samples, np.array([True, True, True, True, False])) == 4
    assert usual_gap_ns(samples, np.zeros(5, bool)) == 0
