"""Where the slow 1 % comes from: which levels of which factors the tail is associated with.

In: a run. Out: attribution.json: a record a lane. Must stay true: the tail is what exceeds the
contract's limit, or the run's own p99 where fewer than 30 requests do; failures belong to it; no
level with fewer than ten tail rows, and none that false-discovery control does not leave
standing, is named; association is what is claimed, never cause.

Source: methods 5 (PAF, odds ratios, Mantel-Haenszel, Shapley, guards) and 3.5 (time blocks).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.judge.attribution.association import Table2, adjusted_odds_ratio, associate, discoveries
from bench.judge.attribution.decompose import Answering, answering, decompose
from bench.judge.attribution.factors import CONTEXT, TIME, Factor, factors_of
from bench.judge.attribution.shapley import shapley
from bench.judge.reached import came_to, undecided
from bench.judge.stats.crossings import OVER_ANY_LIMIT_NS
from bench.judge.stats.resample import draw_blocks, time_blocks
from bench.judge.stats.tail import quantile_ci_ranks
from bench.metrics import FROM_DUE, METRICS
from bench.quantiles import P99
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
from bench.record.samples import Bool, Columns, Int, latency_ns, outcome_counts
from bench.units import MS, nearest_rank

#: Exceedances from which the contract's own limit says where the tail begins.
ENOUGH_OVER_LIMIT = 30
#: Tail rows from which a level is looked at.
ENOUGH_IN_LEVEL = 10
#: False-discovery rate over all levels of a lane.
FDR = 0.10
#: Each side of the intervals.
ALPHA = 0.025
#: How far the odds ratio within like contexts may be from the crude one.
CONFOUNDED = 0.25
#: Factors whose shares are made to add up.
TOGETHER_MOST = 4


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
            for index, lane in enumerate(run.lanes)
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
    failed = {
        name: count for name, count in outcome_counts(tail.columns.samples).items() if name != "ok"
    }
    record = LaneAttribution(
        metric=tail.metric,
        view=tail.view,
        above_ms=tail.above_ns / MS,
        by=tail.by,
        n=len(tail.slow),
        tail=int(tail.slow.sum()),
        set_apart=tail.set_apart,
        failed=failed,
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
    block = time_blocks(tail.columns.samples["due_ns"])
    levels = sorted(_levels(tail, factors, block), key=lambda level: -level.paf)
    named = [level for level in levels if level.effect == "associated"]
    return record.replace(
        blocks=int(block.max()) + 1,
        levels=levels,
        causes=[_cause(level) for level in named if level.factor != TIME],
        when=_when(tail, factors, named),
        shapley=_together(tail, factors, named),
        confounded=[_confounding(level) for level in named if level.confounded],
    )


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
    """Metric, view and limit of the contract's first judged latency clause on all requests; else
    e2e without one.
    """
    for clause in lane.contract.clauses if lane.contract else ():
        whole = clause.phase is None and clause.bucket is None and not clause.report_only
        if whole and clause.limit is not None and clause.metric in FROM_DUE:
            return clause.metric, clause.view, clause.limit
    return "e2e", "response", None


def _levels(tail: Tail, factors: list[Factor], block: Int) -> list[LevelRecord]:
    """A record a level of each factor, with the outcome of false-discovery control over all of
    them.
    """
    order = np.argsort(tail.values, kind="stable")
    ordered = tail.values[order]
    drawn = draw_blocks(int(block.max()) + 1)
    context = tail.columns.schedule["bucket"].astype(np.int64)
    found: list[LevelRecord] = []
    for factor in factors:
        within = None if factor.name == CONTEXT else context
        found += _levels_of(tail, factor, block, drawn, within, order, ordered)
    tested = [number for number, level in enumerate(found) if level.tail >= ENOUGH_IN_LEVEL]
    standing = discoveries([found[number].p_value for number in tested], FDR)
    for number, stands in zip(tested, standing, strict=True):
        effect = "undecided"
        if stands:
            effect = "associated" if found[number].paf > 0 else "protective"
        found[number] = found[number].replace(effect=effect)
    return found


def _levels_of(
    tail: Tail,
    factor: Factor,
    block: Int,
    drawn: Any,
    context: Int | None,
    order: Int,
    ordered: Int,
) -> list[LevelRecord]:
    """The levels of one factor, before any was tested."""
    known = factor.codes >= 0
    codes = factor.codes
    slow = tail.slow
    where = block
    if not known.all():
        codes = codes[known]
        slow = slow[known]
        where = block[known]
        context = None if context is None else context[known]
    table = Table2.count(codes, slow, where, len(factor.levels), drawn.shape[1])
    limits = associate(table, drawn, ALPHA)
    if context is None:
        strata = None
    else:
        strata = adjusted_odds_ratio(codes, slow, context, len(factor.levels))
    in_order = factor.codes[order]
    records = []
    for level, name in enumerate(factor.levels):
        if not limits[level] or factor.only not in (None, level):
            continue
        mine = in_order == level
        p99_ms, p99_95 = _p99(ordered[mine])
        crude = limits[level]["odds_ratio_crude"]
        within = strata[level] if strata is not None else None
        records.append(
            LevelRecord(
                factor=factor.name,
                level=name,
                **limits[level],
                p99_ms=p99_ms,
                p99_95=p99_95,
                p99_without_ms=_p99(ordered[~mine & (in_order >= 0)])[0],
                mh_odds_ratio=within,
                confounded=bool(
                    crude and within is not None and abs(within / crude - 1) > CONFOUNDED
                ),
                effect="too few",
            )
        )
    return records


def _p99(ordered: Int) -> tuple[float | None, tuple[float | None, float | None]]:
    """p99 and its two-sided limits in ms; None where it lies among the failures or does not
    exist.
    """
    n = len(ordered)
    if not n:
        return None, (None, None)

    def at(rank: int) -> float | None:
        if 1 <= rank <= n and ordered[rank - 1] < OVER_ANY_LIMIT_NS:
            return int(ordered[rank - 1]) / MS
        return None

    low, high = quantile_ci_ranks(n, P99, ALPHA)
    return at(nearest_rank(n, P99)), (at(low), at(high))


def _cause(level: LevelRecord) -> Cause:
    return Cause(
        factor=level.factor,
        level=level.level,
        paf=level.paf,
        paf_95=level.paf_95,
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
