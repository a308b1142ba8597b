"""What one clause counts of one run, kept small so that many runs can be judged at once.

In: a run, its contract. Out: of each clause where its rows lie, which were bad or unknown, their
values. Must stay true: rows count as they do where the run is judged alone; of a run whose harness
was not valid nothing counts, and it says so.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from functools import cached_property

import numpy as np

from bench.judge.contract.clauses import (
    Tally,
    largest_kept_ns,
    missing_part,
    scope,
    streamed_any,
    tally,
)
from bench.judge.contract.decision import served_elsewhere
from bench.judge.contract.exclusions import Classes, classify
from bench.judge.fitness import fitness
from bench.judge.health import Health
from bench.judge.left_out import facts_of
from bench.judge.reached import came_to
from bench.judge.runs.lost import Lost, lost_of
from bench.judge.runs.together import Sent
from bench.judge.stats.scales import Layout, Weight, lay_out, weigh
from bench.judge.stats.stand_in import StandIn
from bench.metrics import FROM_DUE
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.record.records.manifest import LaneRecord
from bench.record.run_folder import Run
from bench.record.samples import Bool, Columns, Int, latency_ns


@dataclasses.dataclass(frozen=True)
class Counted:
    """A clause's rows of one run, in the order in which they were due."""

    run: str
    at_ns: Int
    #: None where rows have none
    sessions: Int | None
    bad: Bool
    unknown: Bool
    #: by the clause's own metric; of shares, which have no values, the whole answer
    took: Int
    #: as in `Tally`
    values_ns: Int | None
    excluded: dict[str, int]
    layout: Layout
    #: the largest value that keeps the promise
    limit_ns: int | None = None

    @property
    def n(self) -> int:
        """Rows that count."""
        return len(self.at_ns)

    def weight(self, bad: Bool, alpha: float) -> Weight:
        """What these rows are worth, were they the bad ones."""
        return weigh(self.layout, np.flatnonzero(bad), alpha)

    def at_best(self, alpha: float) -> Weight:
        """With unknown rows good."""
        return self.weight(self.bad, alpha)

    def at_worst(self, alpha: float) -> Weight:
        """With unknown rows bad."""
        return self.weight(self.bad | self.unknown, alpha)

    @cached_property
    def slowest(self) -> StandIn:
        """How the slowest rows come."""
        return StandIn.of(self.layout, self.took)

    def spell(self, p0: Fraction, limit: int | None) -> float:
        """Rows of a spell that may come where few were seen."""
        return self.slowest.rows(p0, limit)

    @property
    def one(self) -> float:
        """What one event loses."""
        return 1.0

    @property
    def least(self) -> float:
        """Rows of the spell to allow for, whatever was seen."""
        return 1.0

    def where(self, keep: Bool) -> Counted:
        """Those of its rows that `keep` selects."""
        at_ns = self.at_ns[keep]
        sessions = None if self.sessions is None else self.sessions[keep]
        return dataclasses.replace(
            self,
            at_ns=at_ns,
            sessions=sessions,
            bad=self.bad[keep],
            unknown=self.unknown[keep],
            took=self.took[keep],
            values_ns=None if self.values_ns is None else self.values_ns[keep],
            layout=lay_out(at_ns, sessions),
        )


@dataclasses.dataclass(frozen=True)
class ClauseRows:
    """A clause in one run."""

    counted: Counted
    #: of a clause about stretches of time; None where the run covered none whole
    lost: Lost | None
    #: answers that do not say which tier served them; None where all do
    unnamed: Bool | None
    #: the same with the harness's own lateness taken out, where that may have caused a breach
    blameless: Counted | None
    #: why this run says nothing of the clause
    why_not: str | None


@dataclasses.dataclass(frozen=True)
class RunRows:
    """One run: its clauses by lane."""

    sent: Sent
    rows: int
    health: Health
    lanes: tuple[tuple[ClauseRows, ...], ...]

    @property
    def set_aside(self) -> str | None:
        """Why no clause counts it."""
        if self.health.state == "invalid":
            return f"the harness was not valid: {self.health.reasons[0]}"
        return None


def read_rows(sent: Sent, override: Contract | None) -> RunRows:
    """What each clause counts of a run. Raises RunFolderError."""
    run = Run(sent.folder)
    health = fitness(run, override)
    whole = came_to(run)
    lanes: list[tuple[ClauseRows, ...]] = []
    for index, lane in enumerate(run.lanes):
        contract = override.for_models(lane.models) if override else lane.contract
        columns = whole.lane(index)
        if contract is None:
            lanes.append(())
        else:
            lanes.append(_Lane(sent.name, run, lane, columns, contract, health).clauses())
    return RunRows(sent, len(whole), health, tuple(lanes))


@dataclasses.dataclass(frozen=True)
class _Lane:
    """A lane of one run, and what its clauses are counted by."""

    name: str
    run: Run
    lane: LaneRecord
    columns: Columns
    contract: Contract
    health: Health

    def clauses(self) -> tuple[ClauseRows, ...]:
        facts = facts_of(self.run, self.lane, self.columns)
        classes = classify(self.columns, self.contract, facts)
        streamed = streamed_any(self.columns)
        return tuple(self._clause(each, classes, streamed) for each in self.contract.clauses)

    def _clause(self, clause: Clause, classes: Classes, streamed: bool) -> ClauseRows:
        missing = missing_part(clause, self.lane, streamed)
        keep = scope(self.columns, clause, self.lane) & (missing is None)
        counts = tally(self.columns, clause, classes, keep)
        silent = classes.tier_unknown
        blameless = None
        if self.health.client_limited and clause.metric in FROM_DUE and not clause.by_time:
            ours_out = tally(self.columns, clause, classes, keep, "blameless")
            blameless = self._counted(ours_out, clause)
        return ClauseRows(
            self._counted(counts, clause),
            lost_of(self.name, self.columns, counts, clause, self.lane) if clause.by_time else None,
            None if silent is None else silent[counts.rows],
            blameless,
            missing or served_elsewhere(self.contract, counts),
        )

    def _counted(self, counts: Tally, clause: Clause) -> Counted:
        sessions = self.columns.schedule["session"][counts.rows].astype(np.int64)
        known = sessions if (sessions >= 0).all() and not self.lane.closed_loop else None
        return Counted(
            self.name,
            counts.at_ns,
            known,
            counts.is_bad,
            counts.is_unknown,
            _took(self.columns, counts),
            counts.values_ns,
            counts.excluded,
            lay_out(counts.at_ns, known),
            None if counts.values_ns is None else largest_kept_ns(clause),
        )


def _took(columns: Columns, counts: Tally) -> Int:
    if counts.values_ns is not None:
        return counts.values_ns
    return latency_ns(columns.samples[counts.rows], "e2e")
