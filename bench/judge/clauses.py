"""A clause and the rows it speaks of -> counts: valid, bad, unknown.

In: a contract's clause and a lane's columns. Out: one `Tally`, and the values behind it. Must
stay true: every clause is one proportion, P(bad) <= p0; a failure is over any limit; a row
that was cut off is unknown, and its verdict is reckoned both ways; warm-up rows are no rows,
nor are rows that a run which broke off never came to.

Source: methods 0.1 ("p99 <= T" is "P(latency > T) <= 0.01"); nearest rank, type 1.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bench.plan.contract import LATENCIES, Clause
from bench.record.samples import Bool, Columns, Flag, Int, Outcome, Table, latency_ns

#: A value above every limit: what a failure counts as in a latency clause.
OVER_ANY_LIMIT_NS = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Tally:
    """What a clause's rows came to."""

    n: int
    #: rows that broke the promise for certain
    bad: int
    #: rows cut off by the end of the run before they could break or keep it
    unknown: int
    #: rows set aside, by reason
    excluded: dict[str, int]
    #: sorted latencies (ns) of the n rows, failures and unknowns over any limit; None for shares
    values_ns: Int | None


def reached(columns: Columns, state: str) -> Columns:
    """All rows of a complete run; of one that broke off, the rows it came to.

    Rows that were never due are nobody's failure. Rows that were due and not sent (waiting when
    Ctrl-C came, or not yet on disk when the process died) count as cut off. `columns` are those
    of the whole run, for the last moment known is the whole run's.
    """
    if state == "complete":
        return columns
    schedule, samples = columns.schedule, columns.samples.copy()
    unsent = samples["outcome"] == Outcome.never_sent
    if state == "interrupted":
        was_due = samples["note"] >= 0
    else:
        was_due = (schedule["due_ns"] >= 0) & (schedule["due_ns"] <= samples["done_ns"].max(initial=-1))
    samples["outcome"][unsent & was_due] = Outcome.censored
    return Columns(schedule, samples).where(~unsent | was_due)


def scope(columns: Columns, clause: Clause, lane: dict[str, Any]) -> Columns:
    """The measured rows that the clause is about: its phase, its context bucket."""
    columns = columns.measured()
    if clause.phase is not None:
        columns = columns.where(columns.schedule["phase"] == _index(lane["phases"], clause.phase))
    if clause.bucket is not None:
        columns = columns.where(columns.schedule["bucket"] == _index(lane["buckets"], clause.bucket))
    return columns


def _index(names: list[str], wanted: str) -> int:
    return names.index(wanted) if wanted in names else -1


def missing_part(clause: Clause, lane: dict[str, Any], streamed: bool) -> str | None:
    """Why the run cannot have what the clause asks for, or None."""
    if clause.phase is not None and clause.phase not in lane["phases"]:
        return f"the run has no phase {clause.phase!r} (its phases: {', '.join(lane['phases'])})"
    if clause.bucket is not None and clause.bucket not in lane["buckets"]:
        return f"no context bucket is named {clause.bucket!r} (they are {', '.join(lane['buckets'])})"
    if clause.metric in ("ttft", "ttft_answer", "tpot", "inter_chunk_max") and not streamed:
        return f"{clause.metric} needs streamed answers, and this target's answers came whole"
    return None


def undecided(columns: Columns) -> Bool:
    """Rows that ended without the target's doing: cut off by the end of the run, or never sent.

    Never sent is what still waited behind the cap when the drain was over, or what could not be
    sent for want of descriptors or ports here. Neither is shown to have broken anything.
    """
    outcome = columns.samples["outcome"]
    mask: Bool = (outcome == Outcome.censored) | (outcome == Outcome.never_sent)
    return mask


def tally(columns: Columns, clause: Clause, view: str | None = None) -> Tally:
    """Count. `columns` are those of `scope`; `view` overrides the clause's own."""
    samples = columns.samples
    outcome = samples["outcome"]
    keep = np.ones(len(columns), bool)
    excluded: dict[str, int] = {}
    for name in clause.excluding:
        mask = outcome == Outcome[name]
        excluded[name] = int(mask.sum())
        keep &= ~mask
    if clause.metric in ("uptime", "error_share"):
        unknown = keep & undecided(columns)
        bad = keep & (outcome != Outcome.ok) & ~unknown
        return Tally(int(keep.sum()), int(bad.sum()), int(unknown.sum()), _counted(excluded), None)
    values, unknown, without = _latencies(columns, clause, keep, view or clause.view)
    if without.any():
        excluded[f"without {clause.metric}"] = int(without.sum())
        keep &= ~without
    limit = clause.limit if clause.limit is not None else OVER_ANY_LIMIT_NS - 1
    bad = keep & (values > limit) & ~unknown
    return Tally(
        int(keep.sum()), int(bad.sum()), int((keep & unknown).sum()), _counted(excluded), np.sort(values[keep])
    )


def _counted(excluded: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in excluded.items() if count}


def _latencies(columns: Columns, clause: Clause, keep: Bool, view: str) -> tuple[Int, Bool, Bool]:
    """(value a row, unknown rows, rows that succeeded without having the metric at all)."""
    assert clause.metric in LATENCIES
    samples = columns.samples
    values = latency_ns(samples, clause.metric, view)
    ok = columns.ok
    censored = undecided(columns)
    reached = _reached_ns(samples, clause.metric, view)
    unknown = keep & censored & (reached <= (clause.limit or OVER_ANY_LIMIT_NS))
    # An answer of one token has no TPOT, one of one chunk no gap: neither kept nor broken.
    without = keep & ok & (values < 0) & (clause.metric in ("tpot", "inter_chunk_max"))
    values = np.where(ok & (values >= 0), values, OVER_ANY_LIMIT_NS)
    return values, unknown, without


def _reached_ns(samples: Table, metric: str, view: str) -> Int:
    """What the metric had come to for certain when a row was cut off; -1 where nothing is known.

    A first token that came keeps its time; one that did not is as late as the cut. A gap is at
    least the silence since the last token. A mean over tokens that never came has no bound.
    """
    cut = samples["done_ns"]
    if metric == "tpot":
        return np.full(len(samples), -1)
    if metric == "inter_chunk_max":
        silence = np.where(samples["last_token_ns"] >= 0, cut - samples["last_token_ns"], -1)
        return np.maximum(latency_ns(samples, metric), silence)
    start = samples["due_ns" if view == "response" else "sent_ns"]
    age = np.where((start >= 0) & (cut >= 0), cut - start, -1)
    if metric == "e2e":
        return age
    came = latency_ns(samples, metric, view)
    return np.where(came >= 0, came, age)


def streamed_any(columns: Columns) -> bool:
    """Whether any answer came as a stream; True when nothing succeeded, for then none can tell."""
    ok = columns.ok
    return not ok.any() or bool(((columns.samples["flags"][ok] & Flag.STREAMED) != 0).any())
