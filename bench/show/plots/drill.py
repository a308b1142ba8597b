"""One route through the cuts of its stage: its tail beside that of its first leg alone, and who
answered.

In: the timelines and the drills of routes.json. Out: SVG text. Must stay true: a part of the stage
without an answer has no p99; the shares of a part add up to all of its requests.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.record.records.routes import DrillRecord, Timeline
from bench.record.samples import Float
from bench.show.plots.canvas import (
    BLUE,
    GREY,
    LEFT,
    PLACED,
    RED,
    WIDTH,
    draw_key,
    draw_svg,
    latency_axis,
    readings,
)
from bench.show.plots.time_axis import draw_time_axis, shown, zoomable
from bench.show.wording import count, milliseconds, visible
from bench.units import MS, S, show_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of the legs in their order, after Okabe and Ito; all beyond the third are grey.
_LEG_COLOURS = (BLUE, "#009e73", "#cc79a7", GREY)


def drill_timeline(
    name: str, timelines: Mapping[str, Timeline], drills: Sequence[DrillRecord]
) -> str:
    """p99 (ms) of each part of the stage, of the route and of its first leg where that ran alone;
    and who answered, %.
    """
    mine = timelines[name]
    title = f"How did it bear the drill? {visible(name, 40)}"
    alone = {
        other: line
        for other, line in timelines.items()
        if line.stage == mine.stage and line.of == mine.legs[0].name
    }
    edges = _edges(mine)

    def draw(figure: Figure) -> Mapping[str, str]:
        upper = figure.add_axes((LEFT, 0.5, WIDTH, 0.38))
        lower = figure.add_axes((LEFT, 0.11, WIDTH, 0.28), sharex=upper)
        upper.set_title(title, pad=19)
        upper.set_xlim(edges[0], edges[-1])
        _draw_tails(
            upper, [*((other, line, GREY) for other, line in alone.items()), (name, mine, BLUE)]
        )
        _draw_shares(lower, mine)
        _draw_moments(upper, lower, [drill for drill in drills if drill.target == name])
        draw_time_axis(lower, "; shaded: from the cut to its healing")
        upper.tick_params(labelbottom=False)
        middles = (edges[:-1] + edges[1:]) / 2
        places = [upper.get_ylim()[0] if value is None else value for value in mine.p99_ms]
        points = ((upper, *point) for point in zip(middles, places, _said(mine), strict=True))
        return zoomable(lower, upper) | readings(figure, points)

    return draw_svg(title, 4.4, draw)


def _edges(line: Timeline) -> Float:
    return np.array(
        [(line.start_ns + place * line.bin_ns) / S for place in range(len(line.requests) + 1)]
    )


def _draw_tails(axes: Axes, lanes: Sequence[tuple[str, Timeline, str]]) -> None:
    known = [value for _, line, _ in lanes for value in line.p99_ms if value is not None]
    latency_axis(axes, known, "p99 of each part")
    for _, line, colour in lanes:
        p99 = [float("nan") if value is None else value for value in line.p99_ms]
        axes.stairs(p99, _edges(line), baseline=None, color=colour, linewidth=1.8)
    draw_key(axes, [(colour, visible(name, 18)) for name, _, colour in lanes])


def _layers(line: Timeline) -> list[tuple[str, Sequence[int], str]]:
    """Who answered, how often in each part, and in which colour; what nobody answered last."""
    legs = [
        (visible(leg.name, 18), leg.answered, _LEG_COLOURS[min(place, len(_LEG_COLOURS) - 1)])
        for place, leg in enumerate(line.legs)
    ]
    return [*legs, ("not answered", line.lost, RED)]


def _draw_shares(axes: Axes, line: Timeline) -> None:
    below = np.zeros(len(line.requests))
    for _, times, colour in _layers(line):
        top = below + 100 * np.array(times) / np.maximum(line.requests, 1)
        axes.stairs(
            top, _edges(line), baseline=below, fill=True, color=colour, alpha=0.75, linewidth=0
        )
        below = top
    draw_key(axes, [(colour, name) for name, _, colour in _layers(line)])
    axes.set_ylim(0, 100)
    axes.set_ylabel("answered by, %")


def _draw_moments(upper: Axes, lower: Axes, drills: Sequence[DrillRecord]) -> None:
    """Shade each cut; a dotted line where the route switched and where it was back."""
    for drill in drills:
        begin = drill.at_ns / S
        end = upper.get_xlim()[1] if drill.healed_ns is None else drill.healed_ns / S
        upper.axvspan(begin, end, color=GREY, alpha=0.18, linewidth=0)
        for since, after_ms, label in (
            (begin, drill.switch_ms, "switched"),
            (end, drill.fail_back_ms, "back"),
        ):
            if after_ms is not None:
                moment = since + after_ms / 1000
                for axes in (upper, lower):
                    axes.axvline(moment, color=RED, linewidth=1, linestyle=(0, (2, 2)))
                upper.text(
                    moment,
                    1.02,
                    f"{label} +{show_duration(after_ms * MS)}",
                    transform=upper.get_xaxis_transform(),
                    fontsize=8,
                    ha="center",
                    va="bottom",
                    gid=PLACED,
                )


def _said(line: Timeline) -> Iterator[str]:
    """What a reader may ask of a part of the stage."""
    edges = _edges(line)
    for place, (start, end) in enumerate(itertools.pairwise(edges)):
        who = [f"{count(times[place])} {name}" for name, times, _ in _layers(line) if times[place]]
        p99 = "" if line.p99_ms[place] is None else f", p99 {milliseconds(line.p99_ms[place])}"
        yield (
            f"{shown(edges[-1], start, end)}: {count(line.requests[place])} requests{p99};"
            f" {', '.join(who) or 'nobody answered'}"
        )
