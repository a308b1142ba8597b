"""When it was slow: latency over the due time, with what failed and what happened.

In: one lane's columns, its record in the manifest, its clauses' records, the moments to mark. Out:
SVG text. Must stay true: no failed, unsent or unfinished row is left out; a lone request can be
seen among a million.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.metrics import METRICS
from bench.record.records.manifest import LaneRecord
from bench.record.records.verdicts import ClauseVerdict
from bench.record.samples import Bool, Columns, Float, Outcome, latency_ns
from bench.show.plots.canvas import (
    BLUE,
    GREY,
    LEFT,
    RED,
    WIDTH,
    draw_limits,
    draw_svg,
    latency_axis,
    limits_of,
    margin_labels,
    readings,
)
from bench.show.plots.time_axis import (
    Moment,
    draw_moments,
    draw_time_axis,
    numbered,
    shade_phases,
    shown,
    span_s,
    windows_s,
)
from bench.show.wording import count, milliseconds, visible
from bench.units import MS, S

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Above this many points a heat map is drawn in place of dots.
SCATTER_MOST = 5_000


def latency_over_time(
    columns: Columns,
    lane: LaneRecord,
    metric: str,
    clauses: Sequence[ClauseVerdict],
    moments: Sequence[Moment] = (),
) -> str | None:
    """When it was slow: latency (ms) over the due time (after the run's start), failures above,
    moments numbered.

    `columns` are all rows of the lane, warm-up included. Dots, or a heat map of the counts when
    they would be too many. Every failure class has a line of marks of its own. None when no row
    came due.
    """
    came_due = columns.where(columns.samples["due_ns"] >= 0)
    if not len(came_due):
        return None
    due = came_due.samples["due_ns"] / S
    values = latency_ns(came_due.samples, metric) / MS
    answered = came_due.ok & (values >= 0)
    outcomes = np.ascontiguousarray(came_due.samples["outcome"])
    classes = [
        outcome for outcome in Outcome if outcome != Outcome.ok and (outcomes == outcome).any()
    ]
    limits = limits_of(clauses, metric)
    label = METRICS[metric].long_label
    title = f"When was it slow? {label.capitalize()} of {visible(lane.name, 32)}"
    key = numbered(moments, span_s(lane, float(due.max()))[1])
    below, strip = 0.5 + 0.15 * len(key), 0.17 * len(classes)
    height = below + 3.0 + strip

    def draw(figure: Figure) -> Mapping[str, str]:
        main = figure.add_axes((LEFT, below / height, WIDTH, 2.45 / height))
        main.set_xlim(span_s(lane, float(due.max())))
        latency_axis(
            main,
            np.append(values[answered], [limit.ms for limit in limits]),
            METRICS[metric].long_label,
        )
        shade_phases(main, lane)
        density = _draw_latencies(main, due, values, answered, came_due.schedule["warmup"])
        margin_labels(main, draw_limits(main, limits))
        draw_moments(main, moments)
        draw_time_axis(main, density)
        bottom = (0.15 * len(key) - 0.02) / height
        figure.text(LEFT, bottom, "\n".join(key), fontsize=8, va="top", linespacing=1.3)
        above = figure.add_axes(
            (LEFT, (below + 2.62) / height, WIDTH, max(strip, 0.01) / height), sharex=main
        )
        above.set_title(title)
        above.axis("off")
        _draw_failures(above, due, outcomes, classes)
        points = _windows(main, due, np.where(answered, values, np.nan), outcomes)
        return readings(figure, ((main, *point) for point in points))

    return draw_svg(title, height, draw)


def _draw_failures(axes: Axes, due: Float, outcomes: Any, classes: Sequence[Outcome]) -> None:
    """A line of marks a class, its name and count in the margin."""
    axes.set_ylim(max(len(classes), 1), 0)
    start, length = axes.get_xlim()[0], float(np.ptp(axes.get_xlim()))
    for line, outcome in enumerate(classes):
        hit = due[outcomes == outcome]
        # a mark a pixel is as dense as the eye can part
        marks = start + np.unique(np.rint((hit - start) / length * 600)) / 600 * length
        _strokes(axes, marks, np.full(len(marks), line + 0.15), line + 0.85, color=RED, linewidth=1)
        axes.text(
            1.012,
            line + 0.5,
            f"{outcome.name} {count(len(hit))}",
            transform=axes.get_yaxis_transform(),
            fontsize=8,
            va="center",
        )


def _windows(
    axes: Axes, due: Float, values: Float, outcomes: Any
) -> Iterator[tuple[float, float, str]]:
    """What came due in each window: how many, the slowest answer, the classes of those that
    failed.
    """
    edges = windows_s(*axes.get_xlim())
    order = np.argsort(due, kind="stable")
    cuts = np.searchsorted(due[order], edges)
    for place, (start, end) in enumerate(itertools.pairwise(edges)):
        rows = order[cuts[place] : cuts[place + 1]]
        if not len(rows):
            continue
        slowest = float(np.nanmax(values[rows])) if np.isfinite(values[rows]).any() else None
        said = [f"{count(len(rows))} request{'s' * (len(rows) > 1)}"]
        said += [] if slowest is None else [f"slowest answer {milliseconds(slowest)}"]
        times = np.bincount(outcomes[rows], minlength=len(Outcome))
        said += [
            f"{count(int(times[kind]))} {kind.name}"
            for kind in Outcome
            if times[kind] and kind != Outcome.ok
        ]
        yield (
            (start + end) / 2,
            axes.get_ylim()[0] if slowest is None else slowest,
            f"{shown(edges[-1], start, end)}: {', '.join(said)}",
        )


def _draw_latencies(axes: Axes, due: Float, values: Float, answered: Bool, warmup: Bool) -> str:
    """Dots or a heat map of the successful rows. Returns what the reader must know of it."""
    if not answered.any():
        axes.text(
            0.5, 0.5, "no request succeeded", transform=axes.transAxes, ha="center", va="center"
        )
        return ""
    if np.count_nonzero(answered) <= SCATTER_MOST:
        for rows, colour in ((answered & ~warmup, BLUE), (answered & warmup, GREY)):
            _dots(
                axes,
                due[rows],
                values[rows],
                colour,
                4 if np.count_nonzero(answered) < 200 else 2.2,
            )
        return ""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    (low, high), (left, right) = axes.get_ylim(), axes.get_xlim()
    edges = (
        np.geomspace(low, high, 91) if axes.get_yscale() == "log" else np.linspace(low, high, 91)
    )
    times = np.linspace(left, right, 241)
    cells = np.histogram2d(due[answered], values[answered], [times, edges])[0].T
    most = int(cells.max())
    # a lone request must still be seen: it is the tail
    fade = LinearSegmentedColormap.from_list("fade", [f"{BLUE}66", f"{BLUE}ff"])
    axes.pcolormesh(
        times,
        edges,
        np.ma.masked_equal(cells, 0),
        norm=LogNorm(1, max(most, 2)),
        cmap=fade,
        rasterized=True,
    )
    return f"; the fuller a cell, the more requests (1 to {count(most)})"


def _dots(axes: Axes, x: Float, y: Float, colour: str, size: float) -> None:
    """Strokes without length: an eighth of the bytes of a marker each."""
    _strokes(axes, x, y, y, color=colour, linewidth=size, capstyle="round", alpha=0.75)


def _strokes(axes: Axes, x: Float, low: Float, high: Float | float, **style: Any) -> None:
    """Upright strokes, all as one path."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    ends = np.column_stack((x, low, x, np.broadcast_to(high, x.shape))).reshape(-1, 2)
    path = Path(ends, np.tile([Path.MOVETO, Path.LINETO], len(x)).astype(np.uint8))
    path.should_simplify = False
    axes.add_patch(PathPatch(path, fill=False, clip_on=False, **style))
