"""What a request had about it that may have made it slow: its factors, a level a row.

In: one lane's rows, its record and the run's texts. Out: `Factor`s. Must stay true: a factor that
the run did not vary, or that nothing recorded, is absent; a row whose level nobody knows (a
failure names no model) is -1 and takes no part, for its silence follows from the failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.quantiles import P50, P90
from bench.record.facts import Places
from bench.record.records.manifest import LaneRecord
from bench.record.samples import Bool, Columns, Flag, Int, Outcome, Table
from bench.units import nearest_rank, show_duration

CONTEXT, PHASE, TIME = "context", "phase", "time of run"
#: Equal slices of the run for `time of run`.
SLICES = 10
#: Above this many models or regions the rarer ones are one level.
_NAMES_MOST = 20
#: Output lengths are cut here when they are not a few fixed ones.
_CUTS = (P50, P90)
#: Answers keep to the plan when so many have their planned length.
KEEP_TO_PLAN = 0.9


@dataclass(frozen=True)
class Factor:
    """A property of requests. `codes` index `levels`, -1 = not known."""

    name: str
    codes: Int
    levels: list[str]
    #: the one level that says something, where the other is merely its absence
    only: int | None = None


def factors_of(
    columns: Columns,
    lane: LaneRecord,
    strings: Callable[[str], list[str]],
    leg: Int | None = None,
    places: Places | None = None,
) -> list[Factor]:
    """Every factor on which these rows differ.

    `leg`: of a routed lane, the leg that answered each row, -1 unknown.
    """
    schedule = columns.schedule
    samples = columns.samples
    flags = samples["flags"]
    attempts = np.clip(samples["attempts"].astype(np.int64), 1, 3)
    found = [
        Factor(CONTEXT, schedule["bucket"].astype(np.int64), lane.buckets),
        _lengths(columns),
        Factor(PHASE, schedule["phase"].astype(np.int64), lane.phases),
        _flag("connection", (flags & Flag.NEW_CONNECTION) != 0, "new", "reused"),
        _flag("cold start", (flags & Flag.COLD_START) != 0, "yes", "no"),
        _named("served region", samples["served_region"], strings("served_region")),
        _named("served model", samples["served_model"], strings("served_model")),
        _named("served tier", samples["served_tier"], strings("served_tier")),
        Factor("attempts", attempts - 1, ["1", "2", "3 or more"]),
        _slices(columns, lane),
        _cached(samples),
    ]
    if places is not None:
        found += _places(schedule, places)
    if leg is not None:
        found += _legs(lane, leg)
    return [factor for factor in found if _varies(factor)]


def _legs(lane: LaneRecord, leg: Int) -> list[Factor]:
    tiers = [each.tier for each in lane.legs]
    kinds = list(dict.fromkeys(tiers))
    # The last entry is that of an unknown leg, -1.
    tier_of_leg = np.array([*map(kinds.index, tiers), -1])
    return [
        Factor("route leg", leg, [each.name for each in lane.legs]),
        Factor("tier", tier_of_leg[leg], kinds),
    ]


def _places(schedule: Table, places: Places) -> list[Factor]:
    """The sending node, and its region where that is not the same split again: it would take half
    the node's share.
    """
    found = [Factor("sending node", places.node_of(schedule), places.names)]
    if len(places.regions) < sum(node.region is not None for node in places.nodes):
        found.append(Factor("sending region", places.region_of(schedule), places.regions))
    return found


def _varies(factor: Factor) -> bool:
    seen = factor.codes[factor.codes >= 0]
    return len(seen) > 0 and bool((seen != seen[0]).any())


def _flag(
    name: str,
    present: Bool,
    yes: str,
    no: str,
) -> Factor:
    return Factor(name, present.astype(np.int64), [no, yes], only=1)


def _cached(samples: Table) -> Factor:
    """How much of the prompt the server had in its cache, as it says."""
    prompt = samples["prompt_tokens"].astype(np.int64)
    cached = samples["cached_tokens"].astype(np.int64)
    codes = np.where(cached > 0, np.where(2 * cached < prompt, 1, 2), 0)
    codes[(cached < 0) | (prompt <= 0)] = -1
    return Factor("cached prompt", codes, ["none", "less than half", "half or more"])


def _named(name: str, codes: Int, texts: list[str]) -> Factor:
    """The most frequent names; all rarer ones are one level."""
    codes = codes.astype(np.int64)
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    kept = np.argsort(-counts, kind="stable")[:_NAMES_MOST]
    number = np.full(len(counts) + 1, len(kept))
    number[kept] = np.arange(len(kept))
    number[-1] = -1
    levels = [texts[index] if index < len(texts) else "?" for index in kept]
    return Factor(name, number[codes], [*levels, "others"])


def _lengths(columns: Columns) -> Factor:
    """Output tokens: as counted where the request succeeded; few lengths as they are, many in
    three.

    Failures have their planned length where answers keep to the plan. Where they do not, it would
    be a length of its own that only failures have: then theirs is not known.
    """
    name = "output tokens"
    planned = columns.schedule["output_tokens"]
    found = columns.samples["output_tokens"]
    counted = (columns.samples["outcome"] == Outcome.ok) & (found >= 0)
    as_planned = np.count_nonzero(found[counted] == planned[counted])
    keeps_to_plan = as_planned >= KEEP_TO_PLAN * np.count_nonzero(counted)
    known = counted | keeps_to_plan
    tokens = np.where(counted, found, planned)[known].astype(np.int64)
    codes = np.full(len(columns), -1, np.int64)
    counts = np.zeros(0, np.int64)
    if len(tokens):
        counts = np.bincount(np.minimum(tokens, 1 << 20))
    lengths = np.flatnonzero(counts)
    if len(lengths) <= 4:
        codes[known] = np.searchsorted(lengths, tokens)
        return Factor(name, codes, [f"{length}" for length in lengths])
    below = np.cumsum(counts)
    ranks = [nearest_rank(len(tokens), q) for q in _CUTS]
    at_ranks = {int(np.searchsorted(below, rank)) for rank in ranks}
    cuts = sorted(at_ranks - {int(lengths[-1])})
    codes[known] = np.searchsorted(cuts, tokens)
    if not cuts:
        return Factor(name, codes, ["all"])
    middle = [f"{low + 1}–{high}" for low, high in pairwise(cuts)]
    return Factor(name, codes, [f"≤{cuts[0]}", *middle, f">{cuts[-1]}"])


def _slices(columns: Columns, lane: LaneRecord) -> Factor:
    """The span of the lane's arrivals (or of what came due, where it plans none) in equal parts."""
    due = columns.samples["due_ns"]
    start = lane.start_ns
    length = lane.end_ns - start
    if length <= 0:
        start = int(due.min(initial=0))
        length = int(due.max(initial=0)) + 1 - start
    slices = np.clip((due - start) * SLICES // length, 0, SLICES - 1)
    edges = [start + length * index // SLICES for index in range(SLICES + 1)]
    names = [f"{show_duration(low)} to {show_duration(high)}" for low, high in pairwise(edges)]
    return Factor(TIME, np.where(due >= 0, slices, -1), names)
