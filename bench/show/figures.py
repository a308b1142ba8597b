"""Which figures a lane gets, in what order, and what their files are called.

In: a lane's rows, its record in the manifest, its clauses' records. Out: `Figure`s. Must stay
true: a figure that would say nothing is left out; the files of two lanes never share a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.metrics import HEADLINES, LATENCIES
from bench.record.run_folder import Run
from bench.record.samples import Columns
from bench.show.moments import lane_moments
from bench.show.plots.by_bucket import latency_by_bucket
from bench.show.plots.failures import failures_over_time
from bench.show.plots.over_time import latency_over_time
from bench.show.plots.spectrum import percentile_spectrum
from bench.show.plots.time_axis import Moment

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """An SVG, its title, and the name of its file below plots/."""

    title: str
    file: str
    svg: str


def lane_figures(
    run: Run, index: int, rows: Columns, clauses: Sequence[Record], confidence: float
) -> Iterator[Figure]:
    """A percentile spectrum a metric, latency over time for e2e and every metric with a limit, by
    bucket, and failures.
    """
    lane = run.lanes[index]
    for name, svg in _drawn(rows, lane, clauses, confidence, lane_moments(run, index, rows)):
        if svg is not None:
            slug = re.sub(r"[^a-z0-9]+", "-", lane["name"].lower())[:40].strip("-") or "lane"
            yield Figure(
                name.replace("-", " "), f"{index:02d}-{slug}-{name.replace(' ', '-')}.svg", svg
            )


def _drawn(
    rows: Columns,
    lane: Record,
    clauses: Sequence[Record],
    confidence: float,
    moments: Sequence[Moment],
) -> Iterator[tuple[str, str | None]]:
    limited = {clause["metric"] for clause in clauses if clause["limit_ms"] is not None}
    measured = rows.measured()
    for metric in (metric for metric in LATENCIES if metric in limited.union(HEADLINES)):
        yield (
            f"{metric} percentiles",
            percentile_spectrum(measured, lane, metric, clauses, confidence),
        )
        if metric in {"e2e"} | limited:
            yield f"{metric} over-time", latency_over_time(rows, lane, metric, clauses, moments)
    yield "failures over-time", failures_over_time(measured, lane)
    yield "latency by-bucket", latency_by_bucket(measured, lane, confidence)
