"""Rows, lanes and runs written out by hand, in ms.

In: one mapping a row (`answered`, `failed`, `cut`, with changes). Out: columns and run folders.
Must stay true: a number stands here as the test wrote it, nothing is derived or drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.judge.health import Health
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.record.pieces import STRING_KINDS, SegmentWriter
from bench.record.records.harness import State
from bench.record.records.manifest import LaneRecord, Manifest
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import SCHEDULE_DTYPE, Columns, Flag, Outcome, empty_samples

MS = 10**6
Row = dict[str, Any]
VALID = Health("valid", [], {}, client_limited=False)
_MOMENTS = ("due", "slot_free", "sent", "first_token", "first_answer_token", "last_token", "done")
_TIMES = (*_MOMENTS, "gap_max", "connect")


def answered(
    e2e: int, ttft: int = 10, *, due: int = 0, lag: int = 0, tokens: int = 2, **more: Any
) -> Row:
    """A streamed answer: sent `lag` ms after it was due, first and last token `ttft` and `e2e` ms
    after due.
    """
    row = {
        "outcome": Outcome.ok,
        "due": due,
        "slot_free": due,
        "sent": due + lag,
        "first_token": due + ttft,
        "first_answer_token": due + ttft,
        "last_token": due + e2e,
        "done": due + e2e + 1,
        "output_tokens": tokens,
        "flags": int(Flag.STREAMED),
        "gap_max": e2e - ttft,
    }
    return row | more


def failed(outcome: Outcome, *, due: int = 0, **more: Any) -> Row:
    """A row that ended badly, at once and without a token."""
    return {"outcome": outcome, "due": due, "slot_free": due, "sent": due, "done": due + 1} | more


def cut(after: int, *, due: int = 0, **more: Any) -> Row:
    """A row that was under way when the run ended, `after` ms after it was due."""
    return {
        "outcome": Outcome.censored,
        "due": due,
        "slot_free": due,
        "sent": due,
        "done": due + after,
        "flags": int(Flag.STREAMED),
    } | more


def evenly(rows: list[Row], every: int = 10) -> list[Row]:
    """The rows `every` ms apart, those of one kind spread over the whole time (multiples of the
    golden ratio).
    """
    order = sorted(range(len(rows)), key=lambda index: index * 0.618033988749895 % 1)
    spread = [dict(rows[index]) for index in order]
    for place, row in enumerate(spread):
        row.setdefault("planned", row.get("due", 0))
        for name in ("planned", *(name for name in _MOMENTS if name in row and row[name] >= 0)):
            row[name] += place * every
    return spread


def columns_of(rows: list[Row]) -> Columns:
    """The two tables.

    Keys: times in ms without `_ns`, other sample columns, and `phase`, `bucket`, `warmup`, `lane`,
    `session`.
    """
    schedule, samples = np.zeros(len(rows), SCHEDULE_DTYPE), empty_samples(len(rows))
    for name in ("after_row", "prefix_group", "session"):
        schedule[name] = -1
    for index, row in enumerate(rows):
        schedule["due_ns"][index] = (row["planned"] if "planned" in row else row.get("due", 0)) * MS
        for name, value in row.items():
            if name in ("phase", "bucket", "warmup", "lane", "session"):
                schedule[name][index] = value
            elif name in _TIMES:
                samples[f"{name}_ns"][index] = value * MS if value >= 0 else -1
            elif name != "planned":
                samples[name][index] = value
    return Columns(schedule, samples)


def lane_of(contract: Contract | None = None, **more: Any) -> LaneRecord:
    """One lane's record of the manifest."""
    record = {
        "name": "t",
        "target": "t",
        "model": "m",
        "tier": "",
        "region": "",
        "base_url": "http://127.0.0.1:1/v1",
        "transport": "tailproof",
        "stage": "s",
        "scenario": None,
        "simulated": False,
        "profile": {
            "name": "p",
            "description": "",
            "arrivals": {"kind": "constant", "rate": "1/s"},
        },
        "contract": contract.model_dump(mode="json", by_alias=True) if contract else None,
        "phases": ["warmup", "calm", "burst"],
        "phase_spans": [
            {"phase": "warmup", "start_ns": 0, "end_ns": 1000 * MS, "warmup": True},
            {"phase": "calm", "start_ns": 1000 * MS, "end_ns": 2000 * MS, "warmup": False},
            {"phase": "burst", "start_ns": 2000 * MS, "end_ns": 4000 * MS, "warmup": False},
        ],
        "buckets": ["≤1K", "1K–8K"],
        "start_ns": 0,
        "end_ns": 4000 * MS,
        "requests": 0,
        "timeout_ns": 60_000 * MS,
        "max_in_flight": None,
        "closed_loop": False,
        "closed_by_duration": False,
        "prices": None,
        "expect": [],
        "notes": [],
    }
    return LaneRecord.model_validate({**record, **more})


def contract_of(*clauses: Clause, **more: Any) -> Contract:
    """A contract named `c` with these clauses."""
    return Contract.model_validate({"title": "c", "name": "c", "clause": clauses, **more})


def at_most(
    limit_ms: int | None, quantile: str = "99%", metric: str = "e2e", **more: Any
) -> Clause:
    """`metric` at `quantile` within `limit_ms`."""
    limit = None if limit_ms is None else f"{limit_ms}ms"
    return Clause(metric=metric, quantile=quantile, limit=limit, **more)


def uptime(share: str = "99%", **more: Any) -> Clause:
    """At least `share` of the requests succeed."""
    return Clause(metric="uptime", share=share, **more)


def run_of(
    folder: Path,
    rows: list[Row],
    *lanes: LaneRecord,
    state: State = "complete",
    harness: Row | None = None,
    **manifest: Any,
) -> Run:
    """A run's folder, written by its writer and read back; `manifest` are further facts of
    run.json.
    """
    columns = columns_of(rows)
    facts = {"strings": {}, **manifest}
    writer = RunWriter(folder, Manifest.begun("r", lanes).replace(**facts), columns.schedule)
    if state == "running":
        ended = np.flatnonzero(columns.samples["outcome"] != Outcome.never_sent)
        SegmentWriter(folder).append(
            ended, columns.samples[ended], {kind: [] for kind in STRING_KINDS}
        )
    else:
        writer.finish(state, columns.samples, {"harness": harness or {}})
    return Run(folder)
