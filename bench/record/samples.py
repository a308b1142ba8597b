"""The tables of a run: the schedule (what was planned), the samples (what happened) and the
attempts (the calls that a route made for each row).

In: nothing. Out: numpy record layouts, their enums, and the views derived from them. Must stay
true: the samples have the schedule's rows in the same order, exactly one outcome a row; times are
integer ns after the run's start on the monotonic clock, -1 where the moment never came; latencies
are derived (`bench.metrics`) and stored nowhere; `row` and `attempt` name an attempt uniquely and
its table is sorted by them; a row's sample carries the times of exactly one of its attempts (flag
CARRIED) or of none; a lane without a route has no attempts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum, IntFlag
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.api.cause import Cause, cause_of
from bench.columns import Flag, end_ns
from bench.metrics import latency_ns
from bench.plan.schedule import SCHEDULE_DTYPE, Table

__all__ = [
    "ATTEMPT_DTYPE",
    "ATTEMPT_STRINGS",
    "CAUSES",
    "FIRST_REFUSED",
    "LENGTHS",
    "MOMENTS",
    "OURS_TO_MEND",
    "SAMPLE_DTYPE",
    "SCHEDULE_DTYPE",
    "AttemptFlag",
    "Columns",
    "Flag",
    "Outcome",
    "Reason",
    "Table",
    "cause_of_end",
    "causes_of",
    "empty_attempts",
    "empty_samples",
    "end_ns",
    "in_order",
    "latency_ns",
    "outcome_counts",
    "row_writer",
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
#: connect_ns, tls_ns, gap_max_ns, gap_sum_ns and server_ns, which are lengths.
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
        # New columns stand at the end: a table of an earlier version lacks the last ones.
        ("served_tier", "<i2"),
        ("error_code", "<i2"),
        ("cause", "<i1"),
        ("server_ns", "<i8"),
        ("first_tokens", "<i4"),
    ]
)

#: Columns of ns that are lengths; the others are moments.
LENGTHS = ("connect_ns", "tls_ns", "gap_max_ns", "gap_sum_ns", "server_ns")
MOMENTS = tuple(
    name for name in SAMPLE_DTYPE.names or () if name.endswith("_ns") and name not in LENGTHS
)

#: Causes that the buyer alone can mend: key, model, body, URL.
OURS_TO_MEND = (Cause.auth, Cause.request)
#: So many first answers that say the same of them, and nothing served: they will not change.
FIRST_REFUSED = 10

#: What the column `cause` counts, -1 where a row did not fail.
CAUSES = tuple(Cause)


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
    #: a whole answer that is not what the profile expects of one (`expect_answer`)
    wrong_answer = 16


_SAID_BY_SERVER = (
    Outcome.http_4xx,
    Outcome.rate_limited,
    Outcome.http_5xx,
    Outcome.stream_error,
)
#: Of failures about which no server said a word. A server that had the request and answered late,
#: broke off or sent what is no answer failed itself.
_CAUSE_OF_END = {
    **dict.fromkeys(
        (Outcome.refused, Outcome.dns, Outcome.tls, Outcome.reset, Outcome.timeout_connect),
        Cause.network,
    ),
    **dict.fromkeys(
        (
            Outcome.timeout_first,
            Outcome.timeout_total,
            Outcome.truncated,
            Outcome.malformed,
            Outcome.wrong_answer,
        ),
        Cause.server,
    ),
}


def cause_of_end(
    outcome: Outcome,
    status: int,
    code: str = "",
    note: str = "",
    cause: Callable[[int, str, str], Cause] = lambda status, code, _: cause_of(status, code),
) -> Cause:
    """Whose fault a failure was; `cause` is the API's own reading of what a server said."""
    if outcome in _SAID_BY_SERVER:
        return cause(200 if outcome is Outcome.stream_error else status, code, note)
    return _CAUSE_OF_END.get(outcome, Cause.unknown)


def causes_of(outcome: Int, status: Int, code: Int | None = None, codes: Sequence[str] = ()) -> Int:
    """The column `cause` of rows of which nothing but outcome, status and the error's code is
    known; `code` numbers the texts `codes`, -1 for none.
    """
    numbers = np.full(len(outcome), -1) if code is None else code
    causes = np.full(len(outcome), -1, np.int64)
    failed = np.flatnonzero(np.asarray(outcome) != Outcome.ok)
    rows = np.stack([outcome, status, numbers])[:, failed]
    kinds, which = np.unique(rows, axis=1, return_inverse=True)
    found = np.empty(kinds.shape[1], np.int64)
    for kind, (how, answer, number) in enumerate(kinds.T.tolist()):
        word = codes[number] if 0 <= number < len(codes) else ""
        found[kind] = CAUSES.index(cause_of_end(Outcome(how), answer, word))
    causes[failed] = found[which.reshape(-1)]
    return causes


def _not_begun() -> Any:
    row = np.zeros(1, SAMPLE_DTYPE)
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
            "served_tier",
            "error_code",
            "cause",
            "first_tokens",
        ):
            row[name] = -1
    return row.view(f"V{SAMPLE_DTYPE.itemsize}")[0]


_NOT_BEGUN = _not_begun()


def empty_samples(rows: int) -> Table:
    """`rows` samples that have not begun: every time and string index -1, outcome `never_sent`."""
    # A row at a time as bytes: field by field is ten times as slow.
    table = np.empty(rows, _NOT_BEGUN.dtype)
    table[:] = _NOT_BEGUN
    return table.view(SAMPLE_DTYPE)


def row_writer(samples: Table) -> Callable[..., None]:
    """What fills a row of them from its offset in bytes and its values, in the order of the
    columns: numpy takes three times as long for one row.
    """
    codes = {np.dtype(code).str: code for code in "bhiqBHIQ"}
    names = SAMPLE_DTYPE.names or ()
    form = struct.Struct("<" + "".join(codes[SAMPLE_DTYPE[name].str] for name in names))
    assert form.size == SAMPLE_DTYPE.itemsize
    return partial(form.pack_into, samples.view(np.uint8).data)


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
        self.schedule = schedule
        self.samples = samples

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


#: One call of a route. `leg` counts from 0 in the lane's `legs`. Of a call that was cut off,
#: `output_tokens` are the chunks that had arrived and `prompt_tokens` is -1: servers name it only
#: at the end.
ATTEMPT_DTYPE = np.dtype(
    [
        ("row", "<i8"),
        ("attempt", "<u2"),
        ("leg", "<i1"),
        ("reason", "<u1"),
        ("flags", "<u1"),
        ("outcome", "<u1"),
        ("status", "<u2"),
        ("start_ns", "<i8"),
        ("sent_ns", "<i8"),
        ("first_token_ns", "<i8"),
        ("end_ns", "<i8"),
        ("connect_ns", "<i8"),
        ("prompt_tokens", "<i4"),
        ("output_tokens", "<i4"),
        ("retry_after_ms", "<i4"),
        ("served_model", "<i2"),
        ("served_region", "<i2"),
        ("note", "<i2"),
        ("worker", "<i2"),
        # New columns stand at the end: a table of an earlier version lacks the last ones.
        ("served_tier", "<i2"),
        ("error_code", "<i2"),
        ("cause", "<i1"),
    ]
)
#: The columns that hold numbers of texts.
ATTEMPT_STRINGS = ("served_model", "served_region", "note", "served_tier", "error_code")


class Reason(IntEnum):
    """Why a call was made."""

    #: the row's first, on the leg that was planned
    first = 0
    #: the row's first, on another leg: the breaker of the planned one was open
    rerouted = 1
    #: the row's first, on a leg whose breaker is half-open
    probe = 2
    #: the same leg again after an error
    retry = 3
    #: the next leg after an error
    error = 4
    #: the next leg because the whole answer came too late
    slow = 5
    #: the next leg because the call before was cancelled at its deadline
    deadline = 6
    #: the next leg beside one that still runs
    hedge = 7


class AttemptFlag(IntFlag):
    """What became of a call beyond its outcome."""

    #: the row's sample carries its times
    CARRIED = 1
    #: given up while it ran: a hedge's loser (outcome `censored`), at a deadline, or with its row
    CANCELLED = 2


def empty_attempts() -> Table:
    return np.zeros(0, ATTEMPT_DTYPE)


def in_order(attempts: Table) -> Table:
    """Sorted by row, then attempt."""
    return attempts[np.lexsort((attempts["attempt"], attempts["row"]))]
