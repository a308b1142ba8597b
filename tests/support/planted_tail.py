"""Runs whose slow requests have causes written down by hand.

In: how many rows of which kind. Out: columns, a lane's record, texts. Must stay true: nothing is
drawn; which row is slow, and why, follows from its number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.plan.profile import bucket_names
from bench.record.records.manifest import LaneRecord
from bench.record.samples import SCHEDULE_DTYPE, Columns, Flag, Outcome, empty_samples
from tests.support.records import lane_record_of

MS, S = 10**6, 10**9
ROWS = 12_000
NOTES = ["y", "x"]


def strings(kind: str) -> list[str]:
    """Texts behind the sample columns."""
    return {"note": NOTES, "served_region": ["eu", "us"], "served_model": ["m"]}.get(kind, [])


def quiet(rows: int = ROWS, seconds: int = 600) -> tuple[Columns, LaneRecord]:
    """Rows at constant rate, all alike: 200 ms, streamed, 12 tokens, from eu and us."""
    schedule, samples = np.zeros(rows, SCHEDULE_DTYPE), empty_samples(rows)
    due = np.arange(rows) * (seconds * S) // rows
    schedule["due_ns"] = samples["due_ns"] = samples["slot_free_ns"] = samples["sent_ns"] = due
    schedule["session"] = np.arange(rows)
    schedule["prompt_tokens"] = samples["prompt_tokens"] = 100
    schedule["output_tokens"] = samples["output_tokens"] = 12
    samples["outcome"], samples["attempts"], samples["flags"] = Outcome.ok, 1, Flag.STREAMED
    # scattered, in step with nothing else
    samples["served_region"], samples["served_model"] = (
        (np.arange(rows) * 2_654_435_761 >> 20) % 2,
        0,
    )
    columns = Columns(schedule, samples)
    slow_down(columns, slice(None), 200)
    lane = lane_record_of(phases=["calm", "burst"], buckets=bucket_names(), end_ns=seconds * S)
    return columns, lane


def slow_down(columns: Columns, rows: Any, ms: int) -> None:
    """Let rows take so long: nine tenths of it before the first token."""
    samples = columns.samples
    due = samples["due_ns"][rows]
    samples["first_token_ns"][rows] = samples["first_answer_token_ns"][rows] = (
        due + ms * MS * 9 // 10
    )
    samples["last_token_ns"][rows] = samples["done_ns"][rows] = due + ms * MS


def long_tail() -> tuple[Columns, LaneRecord]:
    """The slow 1 %, 120 of 12,000 by plan: 60 with a long context, 36 with a cold start, 24 in a
    burst.

    Long are 540 rows, cold 220, in a burst 1,200 (twenty spells of 60 rows); no row has two of
    them.
    """
    columns, lane = quiet()
    number = np.arange(ROWS)
    burst = number % 600 < 60
    long, cold = (number % 20 == 7) & ~burst, (number % 50 == 11) & ~burst
    columns.schedule["bucket"][long] = 3
    columns.schedule["phase"][burst] = 1
    columns.samples["flags"][cold] |= int(Flag.COLD_START)
    for rows, slow in ((long, 60), (cold, 36), (burst, 24)):
        which = np.flatnonzero(rows)
        slow_down(columns, which[np.arange(slow) * len(which) // slow], 3000)
    return columns, lane
