"""Which rows of a lane are its tail.

In: a lane's rows and its contract. Out: `Tail`; `Known`, for slices of time too. Must stay true:
the tail is what exceeds the contract's limit, or the run's own p99 where fewer than 30 requests do;
failures belong to it; a row that was cut off within the limit, and one that was never sent,
belong to neither side.

Source: methods 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from bench.judge.reached import undecided
from bench.judge.stats.stand_in import OVER_ANY_LIMIT_NS
from bench.metrics import METRICS
from bench.plan.clause import Clause
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
    metric, view, contract_ns = promised(lane.contract.first_latency if lane.contract else None)
    limit_ns = contract_ns if limit_ns is None else limit_ns
    keep, values, set_apart = known(columns, metric, view, limit_ns)
    rows = columns if keep.all() else columns.where(keep)
    by: Literal["limit", "p99"] = "limit"
    if limit_ns is None or np.count_nonzero(values > limit_ns) < ENOUGH_OVER_LIMIT:
        by = "p99"
        limit_ns = own_p99(values)
    return Tail(rows, keep, values, values > limit_ns, metric, view, limit_ns, by, set_apart)


class Known(NamedTuple):
    """Measured rows that tell whether they were slow."""

    #: a mask of all rows
    keep: Bool
    #: latency of each; failures, and what was slow already when it was cut off, over any limit
    values: Int
    #: how many of the measured rows tell nothing
    set_apart: int


def known(columns: Columns, metric: str, view: str, limit_ns: int | None) -> Known:
    """What a lane's rows tell of a metric that is slow above the limit."""
    took = latency_ns(columns.samples, metric, view)
    age = METRICS[metric].known_by_cut_ns(columns.samples, view)
    slow_by = OVER_ANY_LIMIT_NS if limit_ns is None else limit_ns
    apart = (undecided(columns) & (age <= slow_by)) | (columns.ok & (took < 0))
    warm = columns.schedule["warmup"]
    keep = ~(apart | warm)
    values = np.where(columns.ok, took, OVER_ANY_LIMIT_NS)[keep]
    return Known(keep, values, int((apart & ~warm).sum()))


def own_p99(values: Int) -> int:
    """The rows' own p99; where it lies among the failures, the largest below them, so that they
    alone are slow.
    """
    if not len(values):
        return 0
    rank = nearest_rank(len(values), P99) - 1
    found = int(np.partition(values, rank)[rank])
    if found < OVER_ANY_LIMIT_NS:
        return found
    return int(values[values < OVER_ANY_LIMIT_NS].max(initial=0))


def promised(clause: Clause | None) -> tuple[str, str, int | None]:
    """Metric, view and limit of what the contract calls slow; else e2e without a limit."""
    return (clause.metric, clause.view, clause.limit) if clause else ("e2e", "response", None)
