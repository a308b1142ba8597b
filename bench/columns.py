"""What is derived from the columns of recorded requests: moments, lengths of time, flags.

In: a table of samples (`record.samples.SAMPLE_DTYPE`). Out: ns a request. Must stay true: -1 where
a request has no such moment or length; nothing derived is stored.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING

# The table of metrics is read by `--help`, so nothing here imports numpy.
if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bool = npt.NDArray[np.bool_]
    Int = npt.NDArray[np.int64]
    Table = npt.NDArray[np.void]


class Flag(IntFlag):
    """Facts about one request that change how its numbers may be read."""

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
    #: the harness stood still while it was under way: none of its times shows the target alone
    HELD_UP = 256


def end_ns(samples: Table) -> Int:
    """End of each request: last token of a stream, last byte of a plain answer; else -1."""
    end: Int = samples["done_ns"].copy()
    by_token = ((samples["flags"] & Flag.STREAMED) != 0) & (samples["last_token_ns"] >= 0)
    end[by_token] = samples["last_token_ns"][by_token]
    return end


def between_ns(first: Int, last: Int) -> Int:
    """last - first, -1 where either is missing; 0 where an answer's kernel stamp overtook the
    return of the write.
    """
    length: Int = (last - first).clip(min=0)
    length[(first < 0) | (last < 0)] = -1
    return length


def start_ns(samples: Table, view: str) -> Int:
    start: Int = samples["sent_ns" if view == "service" else "due_ns"]
    return start


def lag_ns(samples: Table) -> Int:
    return between_ns(samples["due_ns"], samples["sent_ns"])


def harness_lag_ns(samples: Table) -> Int:
    ready = samples["due_ns"].clip(min=samples["slot_free_ns"])
    late: Int = (samples["sent_ns"] - ready).clip(min=0)
    late[samples["sent_ns"] < 0] = -1
    return late


def ns_a_token(samples: Table) -> Int:
    """A mean over tokens of which the wire shows both number and time, else -1: one chunk has no
    time, and chunks that nobody counted by usage may each hold several (docs/dev/unknown.md).
    """
    span = between_ns(samples["first_token_ns"], samples["last_token_ns"])
    steps = tokens_behind_first(samples)
    mean: Int = span // steps.clip(min=1)
    mean[(span <= 0) | (steps <= 0) | (samples["chunks"] == 1)] = -1
    return mean


def tokens_behind_first(samples: Table) -> Int:
    """Output tokens that came behind the first chunk; -1 where the wire does not show how many: the
    first may have held any number of those that are more than there were chunks.
    """
    tokens = samples["output_tokens"].astype("i8")
    first = samples["first_tokens"].astype("i8")
    chunks = samples["chunks"].astype("i8")
    steps: Int = tokens - first.clip(min=1)
    # A last token that ends the answer has no text, and half a letter waits for its other half.
    bundled = (chunks > 0) & (first < 1) & (tokens - chunks > (tokens // 10).clip(min=1))
    steps[counted_by_chunks(samples) | bundled] = -1
    return steps


def bounds_of_bundled_ns(samples: Table) -> tuple[Int, Int]:
    """Between which two means the time per token lies of rows whose number of tokens is known, and
    not how many the first chunk held; -1 for others.
    """
    span = between_ns(samples["first_token_ns"], samples["last_token_ns"])
    tokens, chunks = (samples[name].astype("i8") for name in ("output_tokens", "chunks"))
    known = (span > 0) & (chunks > 1) & (tokens >= chunks) & ~counted_by_chunks(samples)
    known &= tokens_behind_first(samples) < 0
    least, most = span // (tokens - 1).clip(min=1), -(-span // (chunks - 1).clip(min=1))
    least[~known] = most[~known] = -1
    return least, most


def counted_by_chunks(samples: Table) -> Bool:
    """Rows whose number of output tokens nobody stated."""
    mask: Bool = (samples["flags"] & Flag.COUNTED_TOKENS) != 0
    return mask


def longest_gap_ns(samples: Table) -> Int:
    return samples["gap_max_ns"].astype("i8")


def age_ns(samples: Table, view: str) -> Int:
    """How long a request had been waiting when it was cut off."""
    return between_ns(start_ns(samples, view), samples["done_ns"])


def unknown_ns(samples: Table, _: str) -> Int:
    """A mean over tokens that never came has no bound."""
    return samples["gap_max_ns"].astype("i8") * 0 - 1


def gap_or_silence_ns(samples: Table, _: str) -> Int:
    """The longest gap is at least the silence since the last token."""
    silence = samples["done_ns"] - samples["last_token_ns"]
    silence[samples["last_token_ns"] < 0] = -1
    longest: Int = silence.clip(min=longest_gap_ns(samples))
    return longest
