"""Where the time of the slow requests went, against where the time of the others goes.

In: sample rows, a metric, which of them are the tail. Out: ns a row and part; mean ms and share a
part, tail and body. Must stay true: the parts of a row sum to its response latency to the ns;
rows without an end have no parts and are not guessed.

The moments of a row stand in one order (due, ready, sent, first token, end); each is moved no
further than its neighbours allow, so the lengths between them telescope to the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.metrics import METRICS
from bench.record.records.attribution import Decomposition, TimePart
from bench.record.samples import AttemptFlag, Bool, Int, Table
from bench.units import MS

#: Part -> what it is called. In the order of time.
PARTS = {
    "queue": "waiting for a slot behind the in-flight cap",
    "retries": "earlier attempts on the same leg",
    "fallback": "earlier attempts on another leg",
    "connect": "opening a connection",
    "tls": "TLS handshake",
    "harness_lag": "our own lateness",
    "first_token": "server until the first token",
    "stall": "longest stall between chunks, beyond the usual gap",
    "stream": "streaming the answer",
}


@dataclass(frozen=True)
class Answering:
    """Of each row: the leg that answered, ns from the first call's start to that one's, and whether
    the leg is another.
    """

    leg: Int
    before_ns: Int
    other_leg: Bool

    def where(self, keep: Bool) -> Answering:
        """The rows that `keep` selects."""
        return Answering(self.leg[keep], self.before_ns[keep], self.other_leg[keep])


def answering(attempts: Table, rows: int) -> Answering:
    """One entry for each of `rows` rows; `attempts` are sorted by row and attempt."""
    leg = np.full(rows, -1)
    before = np.zeros(rows, np.int64)
    other = np.zeros(rows, bool)
    numbers, first = np.unique(attempts["row"], return_index=True)
    carried = attempts[(attempts["flags"] & AttemptFlag.CARRIED) != 0]
    of_row = attempts[first[np.searchsorted(numbers, carried["row"])]]
    leg[carried["row"]] = carried["leg"]
    before[carried["row"]] = np.maximum(carried["start_ns"] - of_row["start_ns"], 0)
    other[carried["row"]] = carried["leg"] != of_row["leg"]
    return Answering(leg, before, other)


def parts_ns(
    samples: Table,
    metric: str = "e2e",
    usual_gap_ns: int = 0,
    before: Answering | None = None,
) -> dict[str, Int]:
    """ns of each part a row, from due to the end of `metric`, which must count from there.

    A row's parts sum to `latency_ns(samples, metric)`. Rows without that end are all 0.
    `usual_gap_ns` is what of the longest gap is no stall. `before` says what went before the call
    that was answered; without it the wait of a row of several attempts is counted as retries.
    """
    due = samples["due_ns"]
    ends = METRICS[metric].end_ns
    assert ends is not None
    end = ends(samples)
    whole = (due >= 0) & (end >= 0)
    end = np.where(whole, np.maximum(end, due), due)

    def between(moment: Int, earliest: Int) -> Int:
        return np.minimum(np.maximum(moment, earliest), end)

    ready = between(samples["slot_free_ns"], due)
    sent = between(samples["sent_ns"], ready)
    has_token = samples["first_token_ns"] >= 0
    first = np.where(has_token, between(samples["first_token_ns"], sent), end)
    waited = ready - due
    tls = np.minimum(np.maximum(samples["tls_ns"], 0), waited)
    connect = np.minimum(np.maximum(samples["connect_ns"], 0), waited - tls)
    left = waited - tls - connect
    if before is None:
        earlier = np.where(samples["attempts"] > 1, left, 0)
        fallback = np.zeros_like(earlier)
    else:
        earlier = np.minimum(before.before_ns, left)
        fallback = np.where(before.other_leg, earlier, 0)
    stall = np.where(
        samples["gap_max_ns"] > 0,
        np.clip(samples["gap_max_ns"] - usual_gap_ns, 0, end - first),
        0,
    )
    return {
        "queue": left - earlier,
        "retries": earlier - fallback,
        "fallback": fallback,
        "connect": connect,
        "tls": tls,
        "harness_lag": sent - ready,
        "first_token": first - sent,
        "stall": stall,
        "stream": end - first - stall,
    }


def usual_gap_ns(samples: Table, ok: Bool) -> int:
    """The median over the answers that succeeded of their mean gap between chunks; 0 without
    streams.
    """
    several = ok & (samples["chunks"] > 1) & (samples["gap_sum_ns"] >= 0)
    if not several.any():
        return 0
    return int(np.median(samples["gap_sum_ns"][several] // (samples["chunks"][several] - 1)))


def decompose(
    samples: Table,
    tail: Bool,
    ok: Bool,
    metric: str,
    before: Answering | None = None,
) -> Decomposition | None:
    """Mean ms and mean share of each part in tail and body, over rows that succeeded; None where
    either has none. The ms of the parts sum to those of the whole, the shares to 1.
    """
    lengths = parts_ns(samples, metric, usual_gap_ns(samples, ok), before)
    whole = sum(lengths.values(), np.zeros(len(samples), np.int64))
    groups = [np.flatnonzero(ok & mask & (whole > 0)) for mask in (tail, ~tail)]
    if not all(map(len, groups)):
        return None
    of_group = [whole[group] for group in groups]
    tail_ms, body_ms = (float(each.mean()) / MS for each in of_group)
    parts = []
    for part, length in lengths.items():
        mine = [length[group] for group in groups]
        (mean, other), (share, usual) = (
            [float(each.mean()) / MS for each in mine],
            [float((each / total).mean()) for each, total in zip(mine, of_group, strict=True)],
        )
        parts.append(
            TimePart(
                part=part,
                about=PARTS[part],
                tail_ms=mean,
                body_ms=other,
                excess_ms=mean - other,
                share_of_excess=(
                    (mean - other) / (tail_ms - body_ms) if tail_ms > body_ms else None
                ),
                tail_share=share,
                body_share=usual,
                share_difference=share - usual,
            )
        )
    return Decomposition(
        tail_rows=len(groups[0]),
        body_rows=len(groups[1]),
        tail_ms=tail_ms,
        body_ms=body_ms,
        parts=parts,
    )
