"""Which rows of a lane are its tail.

In: a lane's rows and its contract. Out: `Tail`. Must stay true: the tail is what exceeds the
contract's limit, or the run's own p99 where fewer than 30 requests do; failures belong to it; a row
that was cut off within the limit, and one that was never sent, belong to neither side.

Source: methods 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.judge.reached import undecided
from bench.judge.stats.crossings import OVER_ANY_LIMIT_NS
from bench.metrics import METRICS
from bench.quantiles import P99
from bench.record.records.manifest import LaneRecord
from bench.record.samples import Bool, Columns, Int, latency_ns
from bench.units import nearest_rank

#: Exceedances from which the contract's own limit says where the tail begins.
ENOUGH_OVER_LIMIT = 30


@dataclass(frozen=True)
class Tail:
    """The rows looked at (those of `columns`), and which of them are the tail."""

    columns: Columns
    #: which of the lane's rows these are
    keep: Bool
    #: latency a row, failures over any limit
    values: Int
    slow: Bool
    metric: str
    view: str
    #: the tail is what lies above this
    above_ns: int
    #: "limit" (the contract's or the flag's) or "p99" (the run's own)
    by: Literal["limit", "p99"]
    #: rows cut off before they could be slow, or never sent: in neither group
    set_apart: int


def tail_of(columns: Columns, lane: LaneRecord, limit_ns: int | None = None) -> Tail:
    """Split the measured rows into tail and body.

    Nobody knows of a row cut off within the limit: it is set apart.
    """
    metric, view, contract_ns = _promise(lane)
    limit_ns = contract_ns if limit_ns is None else limit_ns
    samples = columns.samples
    came = latency_ns(samples, metric, view)
    cut = undecided(columns)
    age = METRICS[metric].known_by_cut_ns(samples, view)
    apart = (cut & (age <= (OVER_ANY_LIMIT_NS if limit_ns is None else limit_ns))) | (
        columns.ok & (came < 0)
    )
    warm = columns.schedule["warmup"]
    apart, keep = apart & ~warm, ~(apart | warm)
    values = np.where(columns.ok & (came >= 0), came, OVER_ANY_LIMIT_NS)[keep]
    rows = columns if keep.all() else columns.where(keep)
    by: Literal["limit", "p99"] = "limit"
    if limit_ns is None or np.count_nonzero(values > limit_ns) < ENOUGH_OVER_LIMIT:
        by = "p99"
        n = len(values)
        rank = nearest_rank(n, P99) - 1 if n else 0
        # where the p99 lies among the failures, they alone are the tail
        if n:
            limit_ns = min(int(np.partition(values, rank)[rank]), OVER_ANY_LIMIT_NS - 1)
        else:
            limit_ns = 0
        if limit_ns == OVER_ANY_LIMIT_NS - 1:
            limit_ns = int(values[values < OVER_ANY_LIMIT_NS].max(initial=0))
    return Tail(rows, keep, values, values > limit_ns, metric, view, limit_ns, by, int(apart.sum()))


def _promise(lane: LaneRecord) -> tuple[str, str, int | None]:
    """Metric, view and limit of what the contract calls slow; else e2e without a limit."""
    clause = lane.contract.first_latency if lane.contract else None
    return (clause.metric, clause.view, clause.limit) if clause else ("e2e", "response", None)
