"""The tables of a run: the schedule (what was planned) and the samples (what happened).

In: nothing. Out: numpy record layouts and the views derived from them. Must stay true: the
samples are the schedule's twin, same rows, same order, exactly one outcome a row; times are
integer ns after the run's start on the monotonic clock, -1 where the moment never came;
latencies are derived (`bench.metrics`) and stored nowhere.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.columns import Flag, end_ns
from bench.metrics import latency_ns
from bench.plan.schedule import SCHEDULE_DTYPE, Table

__all__ = [
    "SAMPLE_DTYPE",
    "SCHEDULE_DTYPE",
    "Columns",
    "Flag",
    "Outcome",
    "Table",
    "empty_samples",
    "end_ns",
    "latency_ns",
    "outcome_counts",
]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_TIMES = (
    "due",
    "slot_free",
    "sent",
    "headers",
    "first_byte",
    "first_token",
    "first_answer_token",
    "last_token",
    "done",
)

#: What happened to the row of the same index. `*_ns` are times after the run's start, except
#: connect_ns, tls_ns, gap_max_ns and gap_sum_ns, which are lengths.
SAMPLE_DTYPE = np.dtype(
    [
        *((f"{name}_ns", "<i8") for name in _TIMES),
        ("connect_ns", "<i8"),
        ("tls_ns", "<i8"),
        ("gap_max_ns", "<i8"),
        ("gap_sum_ns", "<i8"),
        ("outcome", "<u1"),
        ("flags", "<u2"),
        ("status", "<u2"),
        ("attempts", "<u2"),
        ("chunks", "<i4"),
        ("shared_reads", "<i4"),
        ("prompt_tokens", "<i4"),
        ("output_tokens", "<i4"),
        ("reasoning_tokens", "<i4"),
        ("cached_tokens", "<i4"),
        ("retry_after_ms", "<i4"),
        ("served_model", "<i2"),
        ("served_region", "<i2"),
        ("finish", "<i2"),
        ("note", "<i2"),
        ("worker", "<i2"),
    ]
)


class Outcome(IntEnum):
    """How a request ended: a closed set. `never_sent` and `censored` are data, not gaps."""

    never_sent = 0
    ok = 1
    http_4xx = 2
    rate_limited = 3
    http_5xx = 4
    refused = 5
    dns = 6
    tls = 7
    reset = 8
    timeout_connect = 9
    timeout_first = 10
    timeout_total = 11
    truncated = 12
    malformed = 13
    stream_error = 14
    censored = 15


def empty_samples(rows: int) -> Table:
    """`rows` samples that have not begun: every time and string index -1, outcome `never_sent`."""
    table = np.zeros(rows, SAMPLE_DTYPE)
    for name in SAMPLE_DTYPE.names or ():
        if name.endswith("_ns") or name in (
            "prompt_tokens",
            "output_tokens",
            "reasoning_tokens",
            "cached_tokens",
            "retry_after_ms",
            "served_model",
            "served_region",
            "finish",
            "note",
            "worker",
        ):
            table[name] = -1
    return table


def outcome_counts(samples: Table) -> dict[str, int]:
    """Rows per outcome, in the order of `Outcome`, zero counts left out; sums to all rows."""
    counts = np.bincount(samples["outcome"], minlength=len(Outcome))
    return {Outcome(index).name: int(count) for index, count in enumerate(counts) if count}


def _rows(table: Table, keep: Bool | Any) -> Table:
    """table[keep], rows copied whole: numpy copies a record field by field, 25 times as slow for a
    million rows.
    """
    if isinstance(keep, slice):
        return table[keep]
    chosen = np.asarray(keep)
    if chosen.dtype == np.bool_:
        chosen = np.flatnonzero(chosen)
    return (
        np.ascontiguousarray(table).view(f"V{table.dtype.itemsize}").take(chosen).view(table.dtype)
    )


class Columns:
    """Schedule and samples of one run, and boolean selections of their rows."""

    def __init__(self, schedule: Table, samples: Table):
        if len(schedule) != len(samples):
            raise ValueError(f"schedule has {len(schedule)} rows, samples {len(samples)}")
        self.schedule, self.samples = schedule, samples

    def __len__(self) -> int:
        return len(self.schedule)

    def where(self, keep: Bool | Any) -> Columns:
        """The rows that `keep` (a mask, indices or a slice) selects; itself where a mask
        keeps all.
        """
        if isinstance(keep, np.ndarray) and keep.dtype == np.bool_ and keep.all():
            return self
        return Columns(_rows(self.schedule, keep), _rows(self.samples, keep))

    def lane(self, index: int) -> Columns:
        """The rows of one lane."""
        return self.where(self.schedule["lane"] == index)

    def measured(self) -> Columns:
        """Without the rows of the declared warm-up."""
        return self.where(~self.schedule["warmup"])

    @property
    def ok(self) -> Bool:
        """Mask of the rows that succeeded."""
        mask: Bool = self.samples["outcome"] == Outcome.ok
        return mask
