"""The tail against the load: a point a probe with its interval, the limit, and where the rate was
found.

In: the record of a ramp. Out: SVG text. Must stay true: every probe is drawn, one whose quantile
lies among failures at the upper edge; points are not joined to a curve that nobody measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.record.records.ramp import ProbeRecord, RampRecord
from bench.show.plots.canvas import (
    BLUE,
    GREY,
    INK,
    LEFT,
    RED,
    WIDTH,
    draw_svg,
    latency_axis,
    margin_labels,
    readings,
)
from bench.show.wording import NO_ANSWER, exact, milliseconds, number, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How a verdict is drawn: mark, colour, words of the key. A colour is never the only sign.
_MARKS = {
    "PASS": ("o", BLUE, "PASS"),
    "FAIL": ("X", RED, "FAIL"),
    "INCONCLUSIVE": ("D", GREY, "not decided"),
    "INVALID": ("|", GREY, "harness not valid"),
}


def tail_against_load(record: RampRecord) -> str | None:
    """The curve of a ramp (its probes, its runs of verdict grade as stars); None where no clause
    limits a latency.
    """
    curve, runs = record.curve, record.runs
    bounds = [
        value for run in runs for value in (run.tail_ms, *run.tail_interval_ms) if value is not None
    ]
    if curve is None or not bounds:
        return None
    title = f"What does the load do to the tail? {visible(record.target, 40)}"

    def draw(figure: Figure) -> Mapping[str, str]:
        axes = figure.add_axes((LEFT, 0.13, WIDTH, 0.76))
        axes.set_title(title)
        latency_axis(axes, [*bounds, curve.limit_ms], visible(curve.clause.split(" ≤")[0], 40))
        axes.set_xlim(0, 1.05 * max(run.rate_rps for run in runs))
        axes.set_xlabel("requests per second")
        axes.axhline(curve.limit_ms, color=RED, linewidth=1, linestyle=(0, (5, 3)))
        margin_labels(axes, [(curve.limit_ms, f"limit {exact(curve.limit_ms)} ms")])
        _shade(axes, record)
        points = [(axes, *_draw_run(axes, run, last=run in record.final)) for run in runs]
        axes.legend(fontsize=8, frameon=False, loc="upper left")
        return readings(figure, points, along="xy")

    return draw_svg(title, 4.2, draw)


def _shade(axes: Axes, record: RampRecord) -> None:
    """Where the boundary lies, and where the knee."""
    bracket, knee = record.bracket, record.knee
    broken = bracket.fails_rps or bracket.harness_rps
    if bracket.passes_rps is not None and broken is not None:
        axes.axvspan(
            bracket.passes_rps,
            broken,
            color=RED,
            alpha=0.15,
            linewidth=0,
            label="the boundary lies here",
        )
    if knee is not None and knee.left_rps is not None:
        axes.axvspan(
            knee.flat_rps,
            knee.left_rps,
            color=GREY,
            alpha=0.15,
            linewidth=0,
            label="the knee lies here",
        )


def _draw_run(axes: Axes, run: ProbeRecord, *, last: bool) -> tuple[float, float, str]:
    """Mark and interval of one run. Gives its place and what a reader may ask of it."""
    bottom, top = axes.get_ylim()
    mark, colour, words = _MARKS[run.verdict]
    low, high = run.tail_interval_ms
    rate, value = run.rate_rps, run.tail_ms
    axes.plot(
        [rate] * 2,
        [bottom if low is None else low, top if high is None else high],
        color=colour,
        linewidth=2,
        alpha=0.4,
    )
    label = "run of verdict grade" if last else words
    known = axes.get_legend_handles_labels()[1]
    axes.plot(
        rate,
        top if value is None else value,
        "*" if last else mark,
        color=INK if last else colour,
        markersize=12 if last else 6,
        clip_on=False,
        linestyle="none",
        label=None if label in known else label,
    )
    said = NO_ANSWER if value is None else milliseconds(value)
    limits = f"{number(low)} – {number(high)}"
    return rate, top if value is None else value, f"{exact(rate)}/s, {words}: {said} ({limits})"
