"""A run's folder while it grows: how far it is and how its answers look so far.

In: the folder of a run. Out: a `Standing` each time it is asked. Must stay true: each sealed piece
is read once; a row counts once; nothing is written, so the run is not disturbed;
quantiles are those of summary.json (successes, warm-up left out) within a histogram's 0.1 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import RunFolderError
from bench.judge.attribution.tail import promised
from bench.judge.shape import SLICES
from bench.metrics import HEADLINES
from bench.plan.clause import Clause
from bench.quantiles import P50, P99, P999, by_name
from bench.record.files import read_table
from bench.record.histogram import Histogram
from bench.record.pieces import Following, sealed_name
from bench.record.records.manifest import LaneRecord
from bench.record.run_folder import read_manifest, read_schedule, under_way
from bench.record.samples import SAMPLE_DTYPE, Int, Outcome, Table, latency_ns
from bench.show.graphics.panel import Point
from bench.units import MS

SHOWN_QUANTILES = by_name(P50, P99, P999)


@dataclass(frozen=True)
class SlicesSoFar:
    """Equal parts of a lane's time: measured requests that ended, those that were slow or failed,
    and those that failed.
    """

    requests: Sequence[int]
    bad: Sequence[int]
    failed: Sequence[int]


@dataclass(frozen=True)
class LaneStanding:
    """One lane so far: counts are rows, quantiles response latencies in ms."""

    name: str
    stage: str
    planned: int
    #: 0 where it plans no end
    length_ns: int
    #: what its contract calls slow: a latency, its limit, and the share that may be; None without
    metric: str
    limit_ms: float | None
    allowed: float | None
    slices: SlicesSoFar
    #: shares of the requests, and the ms that so many did not exceed; None from where they failed
    curve: Sequence[Point]
    #: by the name of the outcome, what never occurred left out
    outcomes: Mapping[str, int]
    quantiles_ms: Mapping[str, Mapping[str, float | None]]

    @property
    def ended(self) -> int:
        """Rows that came to an outcome on disk."""
        return sum(self.outcomes.values())


@dataclass(frozen=True)
class Standing:
    """The run so far."""

    #: running, complete or interrupted (by Ctrl-C, or because its writer died)
    state: str
    #: how far the last row on disk is into the run, and how long the plan is (0 = as long as its
    #: requests take); ns
    elapsed_ns: int
    planned_ns: int
    lanes: tuple[LaneStanding, ...]


#: Points of a curve.
_POINTS = 40


@dataclass
class _Lane:
    #: requests, bad and failed ones by slice
    slices: Any = field(default_factory=lambda: np.zeros((3, SLICES), np.int64))
    outcomes: Any = field(default_factory=lambda: np.zeros(len(Outcome), np.int64))
    latencies: dict[str, Histogram] = field(
        default_factory=lambda: {metric: Histogram() for metric in HEADLINES}
    )


class Growing:
    """Reads what a run seals, piece by piece. One thread at a time."""

    def __init__(self, folder: Path):
        """Raises RunFolderError where manifest or schedule cannot be read."""
        self._folder = folder
        self._manifest = read_manifest(folder)
        schedule = read_schedule(folder)
        self._lane_of, self._warmup = schedule["lane"].copy(), schedule["warmup"].copy()
        self._seen = np.zeros(len(schedule), np.bool_)
        self._pieces = Following(folder)
        self._lanes = [_Lane() for _ in self._manifest.lanes]
        self._elapsed_ns = 0

    def now(self) -> Standing:
        """Read what was sealed since the last call.

        Raises RunFolderError naming a piece that cannot be read.
        """
        at_work = under_way(self._folder)  # before the manifest: it is closed first and left then
        self._take(*self._pieces.fresh())
        state = read_manifest(self._folder).state
        if state != "running":
            whole = read_table(self._folder / sealed_name("samples"), SAMPLE_DTYPE)
            self._take(np.arange(len(whole)), whole)
        lanes = self._manifest.lanes
        return Standing(
            "interrupted" if state == "running" and not at_work else state,
            self._elapsed_ns,
            max((lane.end_ns for lane in lanes if not lane.simulated), default=0),
            tuple(
                _standing(lane, own, int((self._lane_of == index).sum()))
                for index, (lane, own) in enumerate(zip(lanes, self._lanes, strict=True))
            ),
        )

    def _take(self, rows: Int, samples: Table) -> None:
        """Count rows that were not counted yet.

        A row that never came due (in a closed loop, after a lost turn) has no outcome.
        """
        try:
            fresh = ~self._seen[rows] & (samples["due_ns"] >= 0)
        except IndexError:
            raise RunFolderError(
                "holds rows that are not scheduled", where=str(self._folder)
            ) from None
        rows, samples = rows[fresh], samples[fresh]
        self._seen[rows] = True
        self._elapsed_ns = max(self._elapsed_ns, int(samples["done_ns"].max(initial=0)))
        for index, lane in enumerate(self._lanes):
            mine = self._lane_of[rows] == index
            lane.outcomes += np.bincount(samples["outcome"][mine], minlength=len(Outcome))
            judged = mine & ~self._warmup[rows]
            self._slice(index, samples[judged])
            measured = judged & (samples["outcome"] == Outcome.ok)
            for metric, histogram in lane.latencies.items():
                values = latency_ns(samples[measured], metric)
                histogram.record_many_ns(values[values >= 0])

    def _slice(self, index: int, samples: Table) -> None:
        """Count measured rows by the part of the lane's time in which they were due."""
        lane = self._manifest.lanes[index]
        length_ns = lane.end_ns - lane.start_ns
        ended = ~np.isin(samples["outcome"], (Outcome.censored, Outcome.never_sent))
        samples = samples[ended]
        if length_ns <= 0 or not len(samples):
            return
        failed = samples["outcome"] != Outcome.ok
        metric, view, limit_ns = promised(_clause(lane))
        slow = latency_ns(samples, metric, view) > limit_ns if limit_ns is not None else failed
        place = np.clip((samples["due_ns"] - lane.start_ns) * SLICES // length_ns, 0, SLICES - 1)
        for row, mask in enumerate((failed | True, failed | slow, failed)):
            self._lanes[index].slices[row] += np.bincount(place[mask], minlength=SLICES)


def _clause(lane: LaneRecord) -> Clause | None:
    return lane.contract.first_latency if lane.contract else None


def _curve(histogram: Histogram, failed: int) -> list[Point]:
    """Percentiles of all that ended; from the share on that failed there is no number."""
    total = histogram.n + failed
    if not histogram.n:
        return []
    found: list[Point] = []
    for z in np.linspace(-np.log10(0.5), min(max(np.log10(total), 0.31), 3.0), _POINTS).tolist():
        share = Fraction(1 - 10**-z).limit_denominator(10**6)
        of_answers = share * total / histogram.n
        if of_answers > 1:
            found.append((float(share), None))
            break
        found.append((float(share), histogram.percentile_ms(of_answers)))
    return found


def _standing(lane: LaneRecord, own: _Lane, planned: int) -> LaneStanding:
    outcomes = {
        Outcome(index).name: int(times) for index, times in enumerate(own.outcomes) if times
    }
    found = {
        metric: {name: histogram.percentile_ms(q) for name, q in SHOWN_QUANTILES.items()}
        for metric, histogram in own.latencies.items()
    }
    clause = _clause(lane)
    metric, _, limit_ns = promised(clause)
    metric = metric if metric in own.latencies else HEADLINES[-1]
    requests, bad, failed = own.slices.tolist()
    return LaneStanding(
        name=lane.name,
        stage=lane.stage,
        planned=planned,
        length_ns=max(lane.end_ns - lane.start_ns, 0),
        metric=metric,
        limit_ms=None if limit_ns is None else limit_ns / MS,
        allowed=float(clause.allowed_share) if clause and not clause.by_time else None,
        slices=SlicesSoFar(requests, bad, failed),
        curve=_curve(own.latencies[metric], sum(failed)),
        outcomes=outcomes,
        quantiles_ms=found,
    )
