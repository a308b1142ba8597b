"""The lanes of a run as the sections of a report look at them.

In: a run and its records. Out: `LaneView`s. Must stay true: names are fit to be shown; curves and
slices of a summary that has none are made from the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.judge.reached import came_to
from bench.judge.review import Records
from bench.judge.shape import SLICES, Together, shape_of, together
from bench.record.records.manifest import LaneRecord
from bench.record.records.shape import Curve, Slices
from bench.record.records.summary import TargetSummary
from bench.record.records.verdicts import ClauseVerdict
from bench.record.run_folder import Run
from bench.show.verdicts import judges_all
from bench.show.wording import short_name, visible
from bench.units import show_duration, show_list


@dataclass(frozen=True)
class LaneView:
    """A lane, what it came to, and how that is called."""

    index: int
    lane: LaneRecord
    target: TargetSummary
    clauses: Sequence[ClauseVerdict]
    curves: Mapping[str, Curve]
    slices: Slices | None

    @property
    def name(self) -> str:
        """Its public name."""
        return visible(self.lane.name, 60)

    @property
    def short(self) -> str:
        """Its name within its stage."""
        return short_name(self.lane.name, self.lane.stage)

    @property
    def stage(self) -> str:
        """Where it was tested."""
        return visible(self.lane.stage, 40)

    @property
    def requests(self) -> int:
        """Measured requests of which it is known how they ended."""
        return sum(self.slices.requests) if self.slices else 0

    @property
    def failed(self) -> int:
        """Measured requests that failed."""
        return sum(self.slices.failed) if self.slices else 0

    @property
    def bad(self) -> int:
        """Measured requests that were slow or failed."""
        return sum(self.slices.bad) if self.slices else 0

    def held(self, metric: str) -> ClauseVerdict | None:
        """The judged clause that limits this metric's response time for all requests."""
        for clause in self.clauses:
            limited = clause.limit_ms is not None and not clause.kind.by_time
            if limited and judges_all(clause, metric):
                return clause
        return None

    @cached_property
    def together(self) -> Together | None:
        """Where most of what was bad came together."""
        return together(self.slices.requests, self.slices.bad) if self.slices else None

    @property
    def length_ns(self) -> int:
        """How long it was planned to last."""
        return self.lane.end_ns - self.lane.start_ns

    def when(self, found: Together) -> str:
        """`between 4 s and 9 s`, in the stage's own time."""
        if len(found.stretches) > _STRETCHES_MOST:
            return f"in {len(found.stretches)} stretches"
        spans = [
            f"{_moment(first * self.length_ns)} and {_moment(end * self.length_ns)}"
            for first, end in found.stretches
        ]
        return f"between {show_list([f'{span},' for span in spans]).removesuffix(',')}"


_STRETCHES_MOST = 3


def _moment(slices_ns: int) -> str:
    return show_duration(slices_ns // SLICES) if slices_ns else "0 s"


def lane_views(run: Run, records: Records) -> list[LaneView]:
    """All lanes in their order."""
    found, came = list[LaneView](), None
    for index, lane in enumerate(run.lanes):
        target = records.summary.targets[lane.name]
        curves, slices = target.curve, target.slices
        if slices is None and target.requests:
            came = came or came_to(run)
            curves, slices = shape_of(came.lane(index), lane)
        clauses = records.verdicts.of_target(lane.name)
        found.append(LaneView(index, lane, target, clauses, curves, slices))
    return found


def by_stage(views: Sequence[LaneView]) -> dict[str, list[LaneView]]:
    """The lanes of each stage, in their order."""
    stages: dict[str, list[LaneView]] = {}
    for view in views:
        stages.setdefault(view.lane.stage, []).append(view)
    return stages
