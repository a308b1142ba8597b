"""What a shorter tail costs: router policies in the plane of cost and latency.

In: points of the record of `what_if`. Out: SVG text. Must stay true: every point has
its interval where one exists; a point too dear for the axis stands at its edge with its cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.show.plots.canvas import BLUE, GREY, INK, LEFT, RED, WIDTH, draw_svg, latency_axis
from bench.show.wording import exact, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The lines' colours and marks, in their order.
_DRAWN = ((RED, "s"), (INK, "^"), (BLUE, "o"))


@dataclasses.dataclass(frozen=True)
class Point:
    """A policy at one threshold or delay, or a lane as it was measured."""

    cost: float
    p99_ms: float
    p99_95: tuple[float | None, float | None]
    #: empty for none
    label: str
    #: drawn as a star
    marked: bool
    on_front: bool


def latency_against_cost(
    title: str,
    cost_words: str,
    lines: Mapping[str, Sequence[Point]],
    singles: Sequence[Point],
) -> str | None:
    """What a tail costs: p99 (ms) over cost, a line a policy and single points; None without a
    line.

    A single point much dearer than every line stands at the right edge with its
    cost.
    """
    every = [*(point for points in lines.values() for point in points), *singles]
    if not lines:
        return None
    dearest = 1.12 * max(point.cost for points in lines.values() for point in points)

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((LEFT, 0.13, WIDTH, 0.76))
        axes.set_title(title)
        bounds = [limit for point in every for limit in point.p99_95 if limit is not None]
        latencies = [*(point.p99_ms for point in every), *bounds]
        latency_axis(axes, latencies, "p99 of the end-to-end latency")
        _draw_front(axes, every)
        for (name, points), (colour, mark) in zip(lines.items(), _DRAWN, strict=False):
            _draw_policy(axes, visible(name, 40), points, colour, mark)
        for point in singles:
            _draw_single(axes, point, dearest)
        axes.set_xlim(0.97 * min(point.cost for point in every), dearest)
        axes.legend(fontsize=8, frameon=False)
        axes.set_xlabel(cost_words)

    return draw_svg(title, 4.2, draw)


def _draw_front(axes: Axes, points: Sequence[Point]) -> None:
    """Stairs below which no point lies."""
    front = [(point.cost, point.p99_ms) for point in points if point.on_front]
    stairs = np.array(sorted(front))
    axes.step(
        stairs[:, 0],
        stairs[:, 1],
        where="post",
        color=GREY,
        linewidth=4,
        alpha=0.35,
        label="Pareto front",
    )


def _draw_policy(
    axes: Axes,
    name: str,
    points: Sequence[Point],
    colour: str,
    mark: str,
) -> None:
    places = [(point.cost, point.p99_ms) for point in points]
    axes.plot(
        *zip(*places, strict=True),
        f"{mark}-",
        color=colour,
        linewidth=1,
        markersize=4.5,
        markerfacecolor="none",
        label=name,
    )
    for point, place in zip(points, places, strict=True):
        low, high = point.p99_95
        if low is not None and high is not None:
            axes.plot([point.cost] * 2, [low, high], color=colour, linewidth=1, alpha=0.4)
        axes.annotate(point.label, place, (6, 4), textcoords="offset points", fontsize=7.5)
        if point.marked:
            axes.plot(*place, "*", color=colour, markersize=13, zorder=5)


def _draw_single(axes: Axes, point: Point, dearest: float) -> None:
    far = point.cost > dearest
    label = visible(point.label, 24) + (f"\n{exact(point.cost)} →" if far else "")
    place = min(point.cost, dearest), point.p99_ms
    axes.plot(*place, "D", color=GREY, markersize=4.5, clip_on=False)
    axes.annotate(
        label,
        place,
        (6, 0),
        textcoords="offset points",
        fontsize=7.5,
        va="center",
        annotation_clip=False,
    )
