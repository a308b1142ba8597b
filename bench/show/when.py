"""When was it slow? A strip a target over the time of its stage; of a small run a dot a request.

In: a run and its records. Out: one section, or none where no row tells. Must stay true: targets of
a stage are aligned; a drill that was not carried out is not marked; "never" is said only where
nothing was slow and nothing failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bench.judge.reached import undecided
from bench.judge.shape import ENOUGH
from bench.metrics import METRICS
from bench.record.records.manifest import LaneRecord
from bench.record.records.shape import Slices
from bench.record.run_folder import Run
from bench.record.samples import Columns, latency_ns
from bench.show.document import Node, Section
from bench.show.graphics.dots import Dots
from bench.show.graphics.panel import Axis
from bench.show.graphics.strip import HeatStrip, Mark, Phase, StageStrips, StripKey
from bench.show.lanes import LaneView, by_stage
from bench.show.wording import capital, count, duration, milliseconds, per_cent, visible
from bench.units import MS, show_duration, show_list

QUESTION = "When was it slow?"
#: Up to so many requests of one target are a dot each.
DOTS_MOST = 1500
#: So many targets are named; so many phases stand with their names, and so many ticks of one phase.
_NAMED_MOST, _PHASES_MOST, _TICKS_MOST = 3, 8, 60
_DRILLS = {"cut": "fault", "heal": "recovery"}


def when_section(run: Run, lanes: Sequence[LaneView]) -> Iterator[Section]:
    """The section; none without an answer."""
    views = [view for view in lanes if view.slices is not None]
    if not views:
        return
    nodes: list[Node]
    dots = _dots(run, views[0]) if len(run.lanes) == 1 else None
    if dots is not None:
        nodes = [dots]
    else:
        strips = [_strips(run, of_stage) for of_stage in by_stage(views).values()]
        nodes = [StripKey(_budgets(views)), *strips]
    yield Section("when", QUESTION, nodes, link="When", answer=answer(views))


# ---- the answer


def answer(views: Sequence[LaneView]) -> str:
    """Whose slow requests came together, and whose are scattered."""
    limited = [view for view in views if _slices(view).by == "limit"] or list(views)
    bad = [view for view in limited if view.bad]
    if not bad:
        return _never(limited)
    if len(views) == 1:
        return _of_one(views[0])
    close = [view for view in bad if view.together is not None]
    rest = [view for view in bad if view.together is None and view.bad >= ENOUGH]
    said = []
    if close and len(close) <= _NAMED_MOST - 1:
        said += [_came(view, view.name) for view in close]
    elif close:
        said.append(
            f"most bad requests of {show_list([view.name for view in close])} came together"
        )
    if rest:
        few = len(rest) <= _NAMED_MOST
        who = show_list([view.name for view in rest])
        if not few:
            who = f"the other {len(rest)} targets" if close else f"all {len(rest)} targets"
            who += f" that have {ENOUGH} or more"
        said.append(
            f"those of {who} are scattered" if close else f"bad requests of {who} are scattered"
        )
    if not said:
        most = max(bad, key=lambda view: view.bad)
        s = "s" * (most.bad != 1)
        said.append(f"hardly ever: no target had more than {most.bad} bad request{s}")
    return f"{capital('; '.join(said))}."


def _slices(view: LaneView) -> Slices:
    assert view.slices is not None
    return view.slices


def _never(views: Sequence[LaneView]) -> str:
    limits = {_slices(view).over_ms for view in views}
    limit = milliseconds(limits.pop()) if len(limits) == 1 else "its limit"
    return f"Never: no request took longer than {limit} or failed."


def _came(view: LaneView, whose: str) -> str:
    """`all 6,063 bad requests of standard came between 40 s and 1 min 20 s`."""
    found = view.together
    assert found is not None
    whole = count(view.bad)
    part = f"all {whole}" if found.share == 1 else f"{per_cent(found.share, 0)} of the {whole}"
    what = "bad requests" if view.failed else "slow requests"
    return f"{part} {what} of {whose} came {view.when(found)}"


def _of_one(view: LaneView) -> str:
    found = _slices(view)
    over = view.bad - view.failed
    n = view.requests
    said = (
        [f"{count(over)} of {count(n)} took longer than {milliseconds(found.over_ms)}"]
        if over
        else []
    )
    said += [f"{count(view.failed)} of {count(n)} failed"] if view.failed else []
    if view.together is not None:
        part = per_cent(view.together.share, 0)
        lead = "all" if view.together.share == 1 else f"{part} of them"
        return f"{' and '.join(said)}; {lead} came {view.when(view.together)}."
    scattered = "; they are scattered over the run" if view.bad >= ENOUGH else ""
    return f"{' and '.join(said)}{scattered}."


# ---- a strip a target


def _budgets(views: Sequence[LaneView]) -> str:
    """`1 %`, or between which shares the budgets lie."""
    shares = sorted({_slices(view).allowed for view in views})
    ends = dict.fromkeys(per_cent(share) for share in (shares[0], shares[-1]))
    return " – ".join(ends) if len(ends) < 2 else f"its budget, {' to '.join(ends)}"


def _strips(run: Run, views: Sequence[LaneView]) -> StageStrips:
    lane = views[0].lane
    length = lane.end_ns - lane.start_ns
    word, phases = _phases(lane)
    return StageStrips(
        stage=views[0].stage,
        length=show_duration(length),
        rows=[_row(view) for view in views],
        marks=_marks(run, lane),
        phases=phases,
        phase_word=word,
        seconds=length / 1e9,
    )


def _row(view: LaneView) -> tuple[str, str, HeatStrip]:
    found = _slices(view)
    strip = HeatStrip("", found.requests, found.bad, found.failed, found.allowed)
    over = sum((each or 0) > 1 for each in strip.levels)
    says = (
        f"{view.name}: {over} of {len(found.bad)} slices of time have more than"
        f" {per_cent(found.allowed)} of requests over {milliseconds(found.over_ms)}"
    )
    if view.failed:
        says += f", {sum(k > 0 for k in found.failed)} have failures"
    own = f"over its p99, {milliseconds(found.over_ms)}" if found.by == "p99" else ""
    return view.short, own, replace(strip, says=says)


def _at(ns: int, lane: LaneRecord) -> float:
    """A moment in per cent of the lane's time."""
    return 100 * (ns - lane.start_ns) / max(lane.end_ns - lane.start_ns, 1)


def _marks(run: Run, lane: LaneRecord) -> list[Mark]:
    """Drills that were carried out, and where the run broke off."""
    found = [
        Mark(_at(event.done_ns, lane), _DRILLS.get(event.do) or visible(event.name, 24))
        for event in run.manifest.events
        if event.stage == lane.stage and event.ok
    ]
    found += [Mark(_at(start, lane), "broke off") for start, _ in lane.gaps_ns]
    if run.manifest.stopped_ns is not None:
        found.append(Mark(_at(run.manifest.stopped_ns, lane), "ended"))
    return [mark for mark in found if 0 <= mark.at <= 100]


def _phases(lane: LaneRecord) -> tuple[str, list[Phase]]:
    """What the row of phases is called, and the phases; of many the rarest as ticks."""
    spans = lane.phase_spans
    if len(lane.phases) < 2:
        return "", []
    length = max(lane.end_ns - lane.start_ns, 1)
    if len(spans) <= _PHASES_MOST:
        return "phase", [
            Phase(
                _at(span.start_ns, lane),
                100 * (span.end_ns - span.start_ns) / length,
                visible(span.phase, 24),
            )
            for span in spans
        ]
    lengths = dict.fromkeys(lane.phases, 0)
    for span in spans:
        lengths[span.phase] += span.end_ns - span.start_ns
    rare = min(lengths, key=lambda phase: lengths[phase])
    mine = [span for span in spans if span.phase == rare][:_TICKS_MOST]
    each = show_duration(mine[0].end_ns - mine[0].start_ns)
    ticks = [Phase(_at(span.start_ns, lane), 0.1) for span in mine]
    return f"phase {visible(rare, 24)}, {each} each", ticks


# ---- a dot a request


def _dots(run: Run, view: LaneView) -> Dots | None:
    """Every measured request of a small run."""
    found, lane = _slices(view), view.lane
    length = lane.end_ns - lane.start_ns
    rows = run.columns.lane(view.index).measured()
    at, ms = _moments(rows, found)
    if not 0 < len(at) <= DOTS_MOST or length <= 0:
        return None
    known = [each for each in ms if each is not None]
    axis = Axis.around([*known, *([found.over_ms] if found.by == "limit" else [])])
    what = METRICS[found.metric].long_label
    halves = [_median(at, ms, lane, first=first) for first in (True, False)]
    median = f"; median {halves[0]} in the first half and {halves[1]} in the second"
    return Dots(
        says=(
            f"{what} of each of {count(len(at))} requests over {show_duration(length)};"
            f" {count(view.bad)} took longer than {milliseconds(found.over_ms)} or failed{median}"
        ),
        key=(
            f"A dot a request: {what} in seconds, logarithmic, by the moment it was due{median}."
            f" Dotted: the limit.{' A red dot at the top failed.' if None in ms else ''}"
        ),
        dots=[(_at(due, lane) / 100, each) for due, each in zip(at, ms, strict=True)],
        axis=axis,
        limit_ms=found.over_ms if found.by == "limit" else None,
        half=show_duration(length // 2),
        length=show_duration(length),
        seconds=length / 1e9,
    )


def _moments(rows: Columns, found: Slices) -> tuple[list[int], list[float | None]]:
    """When each answered or failed row was due, and its ms; None of one that failed."""
    took = latency_ns(rows.samples, found.metric, found.view)
    came = rows.ok & (took >= 0)
    kept = came | ~(rows.ok | undecided(rows))
    due = rows.samples["due_ns"][kept].tolist()
    values = np.where(came, took, -1)[kept].tolist()
    return due, [each / MS if each >= 0 else None for each in values]


def _median(at: Sequence[int], ms: Sequence[float | None], lane: LaneRecord, *, first: bool) -> str:
    middle = (lane.start_ns + lane.end_ns) / 2
    half = sorted(
        each
        for due, each in zip(at, ms, strict=True)
        if each is not None and (due < middle) == first
    )
    return duration(half[len(half) // 2]) if half else "–"
