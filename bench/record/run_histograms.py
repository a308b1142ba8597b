"""histograms.hlog: the latencies of a run's answers, as HdrHistogram's own log.

In: the rows of a run, and the gaps between chunks that were counted while it lasted. Out: the file.
Must stay true: successes of the measured part alone; a tag a target, metric, phase and context
bucket.
"""

from __future__ import annotations

from pathlib import Path

from bench.metrics import in_hlog
from bench.plan.profile import bucket_names
from bench.plan.schedule import Plan, Table
from bench.record.histogram import Histogram, HistogramSet, Interval, write_hlog
from bench.record.samples import Columns


def write_histograms(
    folder: Path, plan: Plan, samples: Table, gaps: list[list[Histogram]], started_wall_ns: int
) -> None:
    """histograms.hlog: per target, metric and phase, and per context bucket; successes only."""
    whole = Columns(plan.schedule, samples).measured()
    whole = whole.where(whole.ok)
    intervals: list[Interval] = []
    for lane in plan.lanes:
        columns = whole.lane(lane.index)
        histograms = HistogramSet()
        for metric, view in in_hlog():
            view_of = f"{view}." if metric.views else ""
            tag = f"{lane.name}.{view_of}{metric.name}"
            values = metric.ns(columns.samples, view)
            for column, names in (("phase", lane.phases), ("bucket", bucket_names())):
                for index, part in enumerate(names):
                    chosen = values[(columns.schedule[column] == index) & (values >= 0)]
                    if len(chosen):
                        histograms[f"{tag}.{part}"].record_many_ns(chosen)
        for index, phase in enumerate(lane.phases):
            if gaps[lane.index][index].n:
                histograms[f"{lane.name}.inter_chunk.{phase}"].add(gaps[lane.index][index])
        intervals += [
            Interval(tag, lane.start_ns, lane.end_ns, histogram)
            for tag, histogram in histograms.items()
        ]
    write_hlog(folder / "histograms.hlog", intervals, started_wall_ns)
