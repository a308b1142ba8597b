"""When requests failed, and how: a strip of windows and a bar a window.

In: one lane's judged columns and its record in the manifest. Out: SVG text. Must stay true: a
window without a request is not shown as up; rows that ended without the target's doing (cut off,
never sent) are counted neither way, as in every verdict.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.judge.reached import undecided
from bench.record.records.manifest import LaneRecord
from bench.record.samples import Columns, Float, Int, Outcome
from bench.show.plots.canvas import (
    BLUE,
    GREY,
    LEFT,
    RED,
    WIDTH,
    draw_key,
    draw_svg,
    readings,
)
from bench.show.plots.time_axis import (
    draw_time_axis,
    shade_phases,
    shown,
    span_s,
    windows_s,
)
from bench.show.wording import count, per_cent, visible
from bench.units import S, show_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of the most frequent classes in their order, after Okabe and Ito; all further ones share the
#: last.
_COLOURS = (RED, "#cc79a7", "#e69f00", "#009e73", GREY)
#: Rows that a window should hold on average: of a sparse run most short ones would hold none.
_ROWS_LEAST = 10
#: Shares of failed rows up to which a window keeps each strength of the colour.
_STRENGTHS = ((0.01, 0.3), (0.1, 0.55), (0.5, 0.8), (1.0, 1.0))


class _Windows(NamedTuple):
    """Rows of each window: `edges` (s), `requests` that were decided, `failed[place]` of each of
    `names`.
    """

    edges: Float
    requests: Int
    names: list[str]
    failed: list[Int]
    #: what is said of a window without any
    absent: str

    @property
    def lost(self) -> Int:
        """Failed rows of each window."""
        return np.asarray(np.sum(self.failed, axis=0), np.int64)


def failures_over_time(columns: Columns, lane: LaneRecord) -> str | None:
    """Share of failed rows in each window of the due time, and how many of each class; None where
    none failed.

    `columns` are the lane's measured rows.
    """
    decided = columns.where(~undecided(columns) & (columns.samples["due_ns"] >= 0))
    if decided.ok.all():
        return None
    found = _count(decided, lane)
    title = f"When did requests fail, and how? {visible(lane.name, 40)}"
    height = 3.0

    def draw(figure: Figure) -> Mapping[str, str]:
        bars = figure.add_axes((LEFT, 0.5 / height, WIDTH, 1.45 / height))
        bars.set_xlim(span_s(lane, float(decided.samples["due_ns"].max()) / S))
        strip = figure.add_axes((LEFT, 2.03 / height, WIDTH, 0.2 / height), sharex=bars)
        strip.set_title(title, pad=26)
        shade_phases(bars, lane, named=False)
        _draw_strip(strip, found)
        _draw_bars(bars, found)
        draw_time_axis(
            bars, f"; windows of {show_duration(round((found.edges[1] - found.edges[0]) * S))}"
        )
        points = zip(
            (found.edges[:-1] + found.edges[1:]) / 2, found.lost, _said(found), strict=True
        )
        return readings(figure, ((bars, *point) for point in points))

    return draw_svg(title, height, draw)


def _count(decided: Columns, lane: LaneRecord) -> _Windows:
    due = decided.samples["due_ns"] / S
    edges = windows_s(*span_s(lane, float(due.max())), most=max(len(due) // _ROWS_LEAST, 6))
    kinds = np.bincount(decided.samples["outcome"][~decided.ok], minlength=len(Outcome))
    often = [int(kind) for kind in np.argsort(-kinds, kind="stable") if kinds[kind]]
    groups = (
        [[kind] for kind in often]
        if len(often) <= len(_COLOURS)
        else [*([kind] for kind in often[:4]), often[4:]]
    )
    names = [
        f"{Outcome(group[0]).name if len(group) == 1 else f'{len(group)} other classes'} "
        f"{count(int(kinds[group].sum()))}"
        for group in groups
    ]
    failed = [
        np.histogram(due[np.isin(decided.samples["outcome"], group)], edges)[0] for group in groups
    ]
    absent = "none judged" if any(span.warmup for span in lane.phase_spans) else "no requests"
    return _Windows(edges, np.histogram(due, edges)[0], names, failed, absent)


def _draw_strip(axes: Axes, found: _Windows) -> None:
    """A cell a window: blue where none failed, the stronger red the more did, hatched where nothing
    was asked.
    """
    axes.set_ylim(0, 1)
    axes.axis("off")
    for (start, end), requests, lost in zip(
        itertools.pairwise(found.edges), found.requests, found.lost, strict=True
    ):
        place, width = start + 0.04 * (end - start), 0.92 * (end - start)
        if not requests:
            axes.bar(
                place,
                1,
                width,
                align="edge",
                facecolor="none",
                edgecolor=GREY,
                hatch="////",
                linewidth=0,
                alpha=0.6,
            )
        elif not lost:
            axes.bar(place, 1, width, align="edge", color=BLUE, alpha=0.45)
        else:
            strength = next(strength for most, strength in _STRENGTHS if lost / requests <= most)
            axes.bar(place, 1, width, align="edge", color=RED, alpha=strength)
            axes.text(
                (start + end) / 2,
                1.15,
                per_cent(lost / requests, 0),
                fontsize=6.5,
                ha="center",
                va="bottom",
                rotation=90,
                clip_on=False,
            )
    key = [
        (BLUE, "none failed"),
        (RED, "share that failed"),
        *([] if found.requests.all() else [(GREY, found.absent)]),
    ]
    draw_key(axes, key, -0.05)


def _draw_bars(axes: Axes, found: _Windows) -> None:
    """How many of each class, one upon the other."""
    below = np.zeros(len(found.requests))
    widths = np.diff(found.edges)
    for times, colour in zip(found.failed, _COLOURS, strict=False):
        axes.bar(
            found.edges[:-1] + 0.04 * widths,
            times,
            0.92 * widths,
            bottom=below,
            align="edge",
            color=colour,
        )
        below = below + times
    draw_key(axes, list(zip(_COLOURS, found.names, strict=False)), 0.3)
    axes.locator_params(axis="y", integer=True, nbins=5)
    axes.set_ylabel("failed requests")


def _said(found: _Windows) -> Iterator[str]:
    """What a reader may ask of a window."""
    for place, (start, end) in enumerate(itertools.pairwise(found.edges)):
        when, requests = shown(found.edges[-1], start, end), int(found.requests[place])
        lost = int(found.lost[place])
        kinds = [
            f"{count(int(times[place]))} {name.rsplit(' ', 1)[0]}"
            for name, times in zip(found.names, found.failed, strict=True)
            if times[place]
        ]
        failed = (
            f"{count(lost)} failed ({per_cent(lost / requests)}): {', '.join(kinds)}"
            if lost
            else "none failed"
        )
        yield f"{when}: {f'{count(requests)} requests, {failed}' if requests else found.absent}"
