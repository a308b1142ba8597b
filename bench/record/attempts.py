"""What routes tried: one row for every call that was made for a logical request.

In: nothing. Out: the layout of `attempts/rows.npy`, beside the samples, and its enums. Must stay
true: `row` and `attempt` name an attempt uniquely and the table is sorted by them; a row's sample
carries the times of exactly one of its attempts (flag CARRIED) or of none; times are ns after the
run's start, -1 where the moment never came. An unrouted lane has no rows here.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np

from bench.plan.schedule import Table

#: `leg` counts from 0 in the lane's `legs`. Of a call that was cut off, `output_tokens` are the
#: chunks that had arrived and `prompt_tokens` is -1: servers name it only at the end.
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
    ]
)
#: The columns that hold numbers of texts.
ATTEMPT_STRINGS = ("served_model", "served_region", "note")


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
    """No attempts."""
    return np.zeros(0, ATTEMPT_DTYPE)


def in_order(attempts: Table) -> Table:
    """Sorted by row, then attempt."""
    return attempts[np.lexsort((attempts["attempt"], attempts["row"]))]
