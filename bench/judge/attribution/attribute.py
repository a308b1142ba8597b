"""Where the slow 1 % comes from: which levels of which factors the tail is associated with.

In: a run. Out: attribution.json: a record a lane. Must stay true: no level that false-discovery
control does not leave standing is named, and its bound says no more than that; association is what
is claimed, never cause.

Source: methods 5 (PAF, odds ratios, Mantel-Haenszel, Shapley, guards) and part two (mend 12).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.judge.attribution.decompose import Answering, answering, decompose
from bench.judge.attribution.factors import TIME, Factor, factors_of
from bench.judge.attribution.levels import ALPHA, ENOUGH_IN_LEVEL, levels_of
from bench.judge.attribution.shapley import shapley
from bench.judge.attribution.tail import Tail, tail_of
from bench.judge.reached import came_to
from bench.judge.stats.groups import LEAST_SESSIONS, begun_ns, sessions_of, worth_of
from bench.judge.stats.resample import time_blocks
from bench.progress import each
from bench.record.facts import Places, places_of
from bench.record.records.attribution import (
    Attribution,
    Cause,
    Confounded,
    FactorShare,
    LaneAttribution,
    LevelRecord,
    ShapleyRecord,
    When,
)
from bench.record.records.manifest import LaneRecord
from bench.record.run_folder import Run
from bench.record.samples import Bool, Columns, Int, outcome_counts
from bench.units import MS

#: Factors whose shares are made to add up.
TOGETHER_MOST = 4


def attribute_run(run: Run, limit_ns: int | None = None, only: str | None = None) -> Attribution:
    """attribution.json, for every lane or for `only` the named one.

    `limit_ns` stands in for the contract's limit. Lanes without enough rows get a reason.
    """
    rows = came_to(run)
    # the numbers that attempts give to rows hold for the whole table alone
    routed = any(lane.legs for lane in run.lanes) and len(rows) == len(run.columns)
    places = places_of(run.manifest)
    calls = answering(run.attempts, len(rows)) if routed else None

    def record(index: int, lane: LaneRecord) -> LaneAttribution:
        mine = rows.schedule["lane"] == index
        if calls is not None and lane.legs:
            before = calls.where(mine)
        else:
            before = None
        return attribute_lane(
            rows if mine.all() else rows.where(mine), lane, run.strings, limit_ns, before, places
        )

    return Attribution(
        format=Attribution.FORMAT,
        run=run.manifest.run,
        state=run.state,
        simulated=any(lane.simulated for lane in run.lanes),
        targets={
            lane.name: record(index, lane)
            for index, lane in each("looking for causes", list(enumerate(run.lanes)))
            if only in (None, lane.name)
        },
    )


def attribute_lane(
    columns: Columns,
    lane: LaneRecord,
    strings: Callable[[str], list[str]],
    limit_ns: int | None = None,
    before: Answering | None = None,
    places: Places | None = None,
) -> LaneAttribution:
    """One lane's record; `columns` are those of its rows that the run came to, `strings` the run's
    texts by kind.

    `before`: of a routed lane, which call of each row was answered. `places`: where the run was
    sent from.
    """
    tail = tail_of(columns, lane, limit_ns)
    before = None if before is None else before.where(tail.keep)
    factors = factors_of(
        tail.columns, lane, strings, None if before is None else before.leg, places
    )
    record = LaneAttribution(
        metric=tail.metric,
        view=tail.view,
        above_ms=tail.above_ns / MS,
        by=tail.by,
        n=len(tail.slow),
        tail=int(tail.slow.sum()),
        set_apart=tail.set_apart,
        failed=_failed(tail),
        blocks=0,
        confidence=1 - 2 * ALPHA,
        levels=[],
        causes=[],
        when=None,
        shapley=None,
        decomposition=decompose(
            tail.columns.samples, tail.slow, tail.columns.ok, tail.metric, before
        ),
        confounded=[],
        reason=None,
    )
    if record.tail < ENOUGH_IN_LEVEL:
        return record.replace(
            reason=f"only {record.tail:,} of {record.n:,} requests are in the tail; "
            f"it takes {ENOUGH_IN_LEVEL} to say what they have in common"
        )
    blocks = _blocks(tail, lane)
    if isinstance(blocks, str):
        return record.replace(reason=blocks)
    levels, confidence = levels_of(tail, factors, blocks)
    named = [level for level in levels if level.effect == "associated"]
    return record.replace(
        blocks=int(blocks[0].max()) + 1,
        bound_confidence=confidence,
        levels=levels,
        causes=[_cause(level) for level in named if level.factor != TIME],
        when=_when(tail, factors, named),
        shapley=_together(tail, factors, named),
        confounded=[_confounding(level) for level in named if level.confounded],
    )


def _failed(tail: Tail) -> dict[str, int]:
    """Failures by outcome."""
    counts = outcome_counts(tail.columns.samples)
    return {name: count for name, count in counts.items() if name != "ok"}


def _blocks(tail: Tail, lane: LaneRecord) -> list[Int] | str:
    """The block of each row, by time and, where there are sessions, by when these began; or why
    sessions leave nothing to say.
    """
    due_ns = tail.columns.samples["due_ns"]
    session = sessions_of(tail.columns, closed_loop=lane.closed_loop)
    if session is None:
        return [time_blocks(due_ns)]
    if (worth := worth_of(session)) < LEAST_SESSIONS:
        return (
            f"the {len(session):,} requests are worth {worth:.3g} sessions of equal size, and it"
            f" takes {LEAST_SESSIONS}: a session is one event"
        )
    return [time_blocks(due_ns), time_blocks(begun_ns(due_ns, session))]


def _cause(level: LevelRecord) -> Cause:
    return Cause(
        factor=level.factor,
        level=level.level,
        paf=level.paf,
        paf_95=level.paf_95,
        bound=level.bound,
        share_of_tail=level.share_of_tail,
        share_overall=level.share_overall,
    )


def _confounding(level: LevelRecord) -> Confounded:
    assert level.odds_ratio_crude is not None
    assert level.mh_odds_ratio is not None
    return Confounded(
        factor=level.factor,
        level=level.level,
        odds_ratio_crude=level.odds_ratio_crude,
        mh_odds_ratio=level.mh_odds_ratio,
    )


def _joint(tail: Tail, factor: Factor, levels: list[int]) -> tuple[Bool, float]:
    """Rows of any of the levels, and the share of the tail that would vanish if they were like the
    rest.
    """
    present = np.isin(factor.codes, levels)
    rate = float(tail.slow.mean())
    rest = tail.slow[~present]
    return present, (rate - float(rest.mean())) / rate if len(rest) else 0.0


def _chosen(factors: list[Factor], named: list[LevelRecord]) -> list[tuple[Factor, list[int]]]:
    """The factors that have named levels, with the numbers of those."""
    mine = {
        factor.name: [
            factor.levels.index(level.level) for level in named if level.factor == factor.name
        ]
        for factor in factors
    }
    return [(factor, mine[factor.name]) for factor in factors if mine[factor.name]]


def _when(tail: Tail, factors: list[Factor], named: list[LevelRecord]) -> When | None:
    """The slices of the run in which the tail was dense: a time is no cause, so it stands apart."""
    for factor, levels in _chosen(factors, named):
        if factor.name == TIME:
            present, paf = _joint(tail, factor, levels)
            return When(
                slices=[factor.levels[level] for level in sorted(levels)],
                paf=paf,
                share_of_tail=float(tail.slow[present].sum() / tail.slow.sum()),
            )
    return None


def _together(tail: Tail, factors: list[Factor], named: list[LevelRecord]) -> ShapleyRecord | None:
    """Shapley shares of the factors with the largest joint PAF: they and the baseline sum to 1.

    None below two.
    """
    ranked = sorted(
        (
            (*_joint(tail, factor, levels), factor, levels)
            for factor, levels in _chosen(factors, named)
            if factor.name != TIME
        ),
        key=lambda one: -one[1],
    )[:TOGETHER_MOST]
    if len(ranked) < 2:
        return None
    cell = np.zeros(len(tail.slow), np.int64)
    for bit, (present, *_rest) in enumerate(ranked):
        cell |= present.astype(np.int64) << bit
    cells = 1 << len(ranked)
    rows = np.bincount(cell, minlength=cells)
    in_tail = np.bincount(cell[tail.slow], minlength=cells)
    shares = shapley(rows, in_tail)
    return ShapleyRecord(
        factors=[
            FactorShare(
                factor=factor.name,
                levels=[factor.levels[level] for level in sorted(levels)],
                share=part / shares.rate,
            )
            for (_present, _paf, factor, levels), part in zip(ranked, shares.parts, strict=True)
        ],
        baseline=shares.baseline / shares.rate,
        borrowed_cells=shares.borrowed,
    )
