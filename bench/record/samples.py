"""The tables of a run: the schedule (what was planned) and the samples (what happened).

In: nothing. Out: numpy record layouts and the views derived from them. Must stay true: the
samples are the schedule's twin, same rows, same order, exactly one outcome a row; times are
integer ns after the run's start on the monotonic clock, -1 where the moment never came;
latencies are derived here and stored nowhere.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

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


class Flag(IntFlag):
    """Facts about one row that change how its numbers may be read."""

    NEW_CONNECTION = 1
    #: the read that held the first token held further tokens too: TTFT is an upper bound
    TTFT_UPPER_BOUND = 2
    #: stamped at the socket read, because the platform gave no kernel stamp
    USER_STAMP = 4
    #: output tokens counted from chunks, because the server sent no usage
    COUNTED_TOKENS = 8
    STREAMED = 16
    #: sent a second time after the idle connection proved closed before the request was written
    RECONNECTED = 32
    #: sent again without an option that the server had refused (stream_options, max_tokens)
    OPTION_DROPPED = 64
    #: the server said that an instance had to start for it (header x-cold-start)
    COLD_START = 128


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


def _difference(table: Table, end: str | Int, start: str) -> Int:
    """end - start, -1 where either is missing; 0 where an answer's kernel stamp overtook the return
    of the write.
    """
    last = table[f"{end}_ns"] if isinstance(end, str) else end
    first = table[f"{start}_ns"]
    return np.where((last >= 0) & (first >= 0), np.maximum(last - first, 0), -1)


def end_ns(samples: Table) -> Int:
    """End of each request: last token of a stream, last byte of a plain answer; else -1."""
    streamed = (samples["flags"] & Flag.STREAMED) != 0
    return np.where(
        streamed & (samples["last_token_ns"] >= 0), samples["last_token_ns"], samples["done_ns"]
    )


def latency_ns(samples: Table, metric: str, view: str = "response") -> Int:
    """One latency metric a row in ns, -1 where the row has none.

    view: "response" counts from due, "service" from sent, "blameless" is response less our own
    harness_lag: waiting for a slot or a connection stays in, our own lateness does not.
    metric: ttft, ttft_answer, e2e (by view),
    tpot = (last token - first token)/(output tokens - 1), inter_chunk_max (longest gap), lag,
    harness_lag. A plain (unstreamed) answer has no tokens in time: only e2e and the lags.
    """
    if view == "blameless" and metric in ("ttft", "ttft_answer", "e2e"):
        whole = latency_ns(samples, metric)
        return np.where(whole >= 0, whole - np.maximum(latency_ns(samples, "harness_lag"), 0), -1)
    start = "due" if view == "response" else "sent"
    if metric == "ttft":
        return _difference(samples, "first_token", start)
    if metric == "ttft_answer":
        return _difference(samples, "first_answer_token", start)
    if metric == "e2e":
        return _difference(samples, end_ns(samples), start)
    if metric == "tpot":
        span = _difference(samples, "last_token", "first_token")
        steps = samples["output_tokens"].astype(np.int64) - 1
        return np.where((span >= 0) & (steps > 0), span // np.maximum(steps, 1), -1)
    if metric == "inter_chunk_max":
        return samples["gap_max_ns"].astype(np.int64)
    if metric == "lag":
        return _difference(samples, "sent", "due")
    if metric == "harness_lag":
        ready = np.maximum(samples["due_ns"], samples["slot_free_ns"])
        return np.where(samples["sent_ns"] >= 0, np.maximum(samples["sent_ns"] - ready, 0), -1)
    raise ValueError(f"no such metric: {metric}")


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
