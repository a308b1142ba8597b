"""Drawn rows judged as a run's rows are: by `judge_run`, and nothing beside it.

In: due times, latencies, outcomes and sessions of the rows, and clauses. Out: the verdicts of these
clauses. Must stay true: no rule of judging stands here, so what is measured is the product; a run
differs from one on disk only in that it never lay there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.app.looks import decided
from bench.judge.contract.verdict import judge_run
from bench.judge.health import Health
from bench.judge.stats.sequential import LOOKS, look_times
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.record.records.manifest import LaneRecord, Manifest, PhaseSpan
from bench.record.records.verdicts import ClauseVerdict
from bench.record.run_folder import Run
from bench.record.samples import (
    SCHEDULE_DTYPE,
    Bool,
    Columns,
    Flag,
    Float,
    Int,
    Outcome,
    empty_samples,
)
from bench.units import S

VALID = Health("valid", [], {}, client_limited=False)


class Rows(NamedTuple):
    """One drawn run, by ascending due time."""

    due_ns: Int
    latency_ns: Int
    failed: Bool
    #: of which session a row is a turn; None: each of its own
    session: Int | None = None

    def over(self, limit_s: float) -> Bool:
        """Which fail or take longer than this."""
        return self.failed | (self.latency_ns > limit_s * S)

    def until(self, end_ns: int) -> Rows:
        """The rows due before `end_ns`."""
        due = int(np.searchsorted(self.due_ns, end_ns))
        session = None if self.session is None else self.session[:due]
        return Rows(self.due_ns[:due], self.latency_ns[:due], self.failed[:due], session)


def rows_of(
    at_s: Float, latency_s: Float, failed: Bool | None = None, session: Int | None = None
) -> Rows:
    """Rows from times in seconds, put in the order in which they are due."""
    order = np.argsort(at_s, kind="stable")
    bad = np.zeros(len(at_s), bool) if failed is None else failed
    return Rows(
        (at_s[order] * S).astype(np.int64),
        np.maximum(latency_s[order] * S, 1).astype(np.int64),
        bad[order],
        None if session is None else session[order],
    )


class DrawnRun(Run):
    """A run that holds drawn rows and lies on no disk."""

    def __init__(self, rows: Rows, contract: Contract, end_ns: int, cut_ns: int | None = None):
        """`cut_ns`: it is looked at then, for it may end early; what is under way is cut off."""
        n = len(rows.due_ns)
        schedule = np.zeros(n, SCHEDULE_DTYPE)
        schedule["due_ns"] = rows.due_ns
        schedule["after_row"] = schedule["prefix_group"] = -1
        schedule["session"] = np.arange(n) if rows.session is None else rows.session
        samples = empty_samples(n)
        for moment in ("due_ns", "slot_free_ns", "sent_ns"):
            samples[moment] = rows.due_ns
        done = rows.due_ns + rows.latency_ns
        answered = ~rows.failed
        for moment in ("first_token_ns", "first_answer_token_ns", "last_token_ns"):
            samples[moment] = np.where(answered, done, -1)
        samples["done_ns"] = done
        samples["outcome"] = np.where(answered, Outcome.ok, Outcome.http_5xx)
        samples["flags"] = int(Flag.STREAMED)
        samples["output_tokens"] = np.where(answered, 2, -1)
        if cut_ns is not None:
            under_way = np.flatnonzero(done > cut_ns)
            samples["outcome"][under_way] = Outcome.censored
            samples["done_ns"][under_way] = cut_ns
            for moment in ("first_token_ns", "first_answer_token_ns", "last_token_ns"):
                samples[moment][under_way] = -1
        lane = LaneRecord(
            name="t",
            target="t",
            stage="s",
            contract_written=contract.model_dump(mode="json", by_alias=True),
            phases=["p"],
            phase_spans=[PhaseSpan(phase="p", start_ns=0, end_ns=end_ns, warmup=False)],
            buckets=[],
            start_ns=0,
            end_ns=end_ns,
            requests=n,
        )
        self.folder = Path()
        self.manifest = Manifest.begun("r", [lane])
        if cut_ns is not None:
            self.manifest = self.manifest.replace(early_stop=LOOKS)
        self.texts = {}
        self.state = "complete" if cut_ns is None else "running"
        self.until_ns = cut_ns
        self.gaps_ns = []
        self.lanes = [lane]
        self.planned = self.columns = Columns(schedule, samples)


def contract_of(*clauses: Clause) -> Contract:
    """A contract of these clauses."""
    return Contract.model_validate({"title": "c", "name": "c", "clause": clauses})


def end_of(rows: Rows) -> int:
    """When a run of these rows ends: one mean gap after its last row."""
    last = int(rows.due_ns[-1])
    return last + max(last // max(len(rows.due_ns) - 1, 1), 1)


def judged(rows: Rows, contract: Contract, end_ns: int | None = None) -> Sequence[ClauseVerdict]:
    """What a run of these rows says of each clause."""
    run = DrawnRun(rows, contract, end_of(rows) if end_ns is None else end_ns)
    return judge_run(run, VALID).clauses


def stopped_early(rows: Rows, contract: Contract) -> tuple[ClauseVerdict, bool]:
    """The verdict on the one clause of a run under `--early-stop`, and whether a look ended it."""
    end_ns = end_of(rows)
    for look_ns in look_times(0, end_ns)[:-1]:
        seen = DrawnRun(rows.until(look_ns), contract, end_ns, look_ns)
        if decided(seen, VALID, look_ns):
            return judge_run(seen, VALID).clauses[0], True
    last = DrawnRun(rows, contract, end_ns)
    last.manifest = last.manifest.replace(early_stop=LOOKS)
    return judge_run(last, VALID).clauses[0], False
