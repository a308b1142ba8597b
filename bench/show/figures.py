"""Which figures a lane gets, in what order, what their files are called, and which moments of the
run those over time mark.

In: a lane's rows, its record in the manifest, its clauses' records. Out: `Figure`s. Must stay
true: a figure that would say nothing is left out; the files of two lanes never share a name; a
drill that was not carried out is not shown as if it had been.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.metrics import HEADLINES, LATENCIES
from bench.record.records.manifest import LaneRecord
from bench.record.records.verdicts import ClauseVerdict, Verdicts
from bench.record.run_folder import Run
from bench.record.samples import Columns, Outcome
from bench.show.document import Figure
from bench.show.plots.by_bucket import latency_by_bucket
from bench.show.plots.failures import failures_over_time
from bench.show.plots.over_time import latency_over_time
from bench.show.plots.spectrum import percentile_spectrum
from bench.show.plots.time_axis import Moment
from bench.show.wording import confidence_levels, count, visible
from bench.units import S


@dataclass(frozen=True)
class LaneData:
    """What the figures of one lane are drawn from."""

    lane: LaneRecord
    rows: Columns
    #: without the warm-up
    measured: Columns
    clauses: Sequence[ClauseVerdict]
    confidence: float
    moments: Sequence[Moment]

    @property
    def limited(self) -> set[str]:
        """Metrics that a clause has a limit for."""
        return {clause.metric for clause in self.clauses if clause.limit_ms is not None}


#: A name and an SVG, or None where the figure would say nothing.
Drawn = Iterator[tuple[str, str | None]]


def _latencies(data: LaneData) -> Drawn:
    """A percentile spectrum a metric, and latency over time for e2e and every metric with a
    limit.
    """
    for metric in LATENCIES:
        if metric in data.limited.union(HEADLINES):
            spectrum = percentile_spectrum(
                data.measured, data.lane, metric, data.clauses, data.confidence
            )
            yield f"{metric} percentiles", spectrum
        if metric in {"e2e"} | data.limited:
            over_time = latency_over_time(data.rows, data.lane, metric, data.clauses, data.moments)
            yield f"{metric} over-time", over_time


#: The figures of a lane, in the order of the page.
FIGURES: list[Callable[[LaneData], Drawn]] = [
    _latencies,
    lambda data: iter([("failures over-time", failures_over_time(data.measured, data.lane))]),
    lambda data: iter(
        [("latency by-bucket", latency_by_bucket(data.measured, data.lane, data.confidence))]
    ),
]


def run_figures(run: Run, verdicts: Verdicts) -> Iterator[Figure]:
    """The figures of all lanes, large: some tenths of a second each."""
    for index, lane in enumerate(run.lanes):
        clauses = verdicts.of_target(lane.name)
        # the level of this lane's own contract, else the highest of the run
        levels = confidence_levels(clauses or verdicts.clauses)
        yield from lane_figures(run, index, run.columns.lane(index), clauses, levels[-1])


def lane_figures(
    run: Run, index: int, rows: Columns, clauses: Sequence[ClauseVerdict], confidence: float
) -> Iterator[Figure]:
    """All figures of one lane that say something."""
    lane = run.lanes[index]
    moments = lane_moments(run, index, rows)
    data = LaneData(lane, rows, rows.measured(), clauses, confidence, moments)
    slug = re.sub(r"[^a-z0-9]+", "-", lane.name.lower())[:40].strip("-") or "lane"
    for draw in FIGURES:
        for name, svg in draw(data):
            if svg is not None:
                file = f"{index:02d}-{slug}-{name.replace(' ', '-')}.svg"
                yield Figure(name.replace("-", " "), file, svg)


# ---- what happened at a moment of the run

#: A breaker that flutters would fill the figure: of its changes as many are marked.
_CHANGES_MOST = 8


def lane_moments(run: Run, index: int, rows: Columns) -> list[Moment]:
    """Drills of its stage, changes of its route's legs, the first failure of each class, and where
    the run broke off.
    """
    lane = run.lanes[index]
    found = [*_drills(run, lane), *_changes(run, lane), *_first_failures(rows), *_end(run)]
    return sorted(moment for moment in found if moment.at_s >= lane.start_ns / S)


def _drills(run: Run, lane: LaneRecord) -> Iterator[Moment]:
    for event in run.manifest.events:
        if event.stage == lane.stage and event.ok:
            yield Moment(event.begun_ns / S, f"drill: {visible(event.name, 40)}")


def _changes(run: Run, lane: LaneRecord) -> Iterator[Moment]:
    mine = [change for change in run.manifest.leg_events if change.lane == lane.name]
    for change in mine[:_CHANGES_MOST]:
        leg = visible(lane.legs[change.leg].name, 24)
        yield Moment(change.at_ns / S, f"breaker of {leg} {visible(change.state, 20)}")
    if len(mine) > _CHANGES_MOST:
        more = mine[_CHANGES_MOST]
        yield Moment(
            more.at_ns / S,
            f"first of {count(len(mine) - _CHANGES_MOST)} further changes of breakers",
        )


def _first_failures(rows: Columns) -> Iterator[Moment]:
    """By due time; what was never sent or cut off is nobody's failure."""
    for outcome in Outcome:
        if outcome not in (Outcome.ok, Outcome.never_sent, Outcome.censored):
            due = rows.samples["due_ns"][rows.samples["outcome"] == outcome]
            if len(due):
                yield Moment(int(due.min()) / S, f"first {outcome.name}")


def _end(run: Run) -> Iterator[Moment]:
    early = run.manifest.ended_early
    if early or run.state == "interrupted":
        samples = run.columns.samples
        last = max(int(samples[name].max(initial=0)) for name in ("sent_ns", "done_ns"))
        yield Moment(
            last / S, f"ended before its plan ({visible(early, 60)})" if early else "interrupted"
        )
