"""One number of summary.json over the runs of a suite.

In: the runs of a suite and the number's path, `targets/pro/response_ms/e2e/p99`. Out: a `Trend`
and its figure. Must stay true: a run that has no such number is in the table and not in the
line; a limit is drawn only where a clause of that run's own contract is held against this very
number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import RunFolderError
from bench.extras.ui.entry import Entry
from bench.record.records.record import read_record
from bench.record.records.summary import Summary
from bench.record.records.verdicts import ClauseVerdict, Verdicts
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
)
from bench.show.wording import ABSENT, count, exact, number, per_cent, visible

#: Looked at first where the user named no path.
DEFAULT = "response_ms/e2e/p99"
#: verdict -> mark, its edge and its face
_MARKS = {
    "PASS": ("o", BLUE, BLUE),
    "FAIL": ("X", RED, RED),
    "INCONCLUSIVE": ("D", INK, "none"),
    ABSENT: ("o", GREY, "none"),
}
_TICKS_MOST = 8


@dataclass(frozen=True)
class Point:
    """One run: its number, its contract's limit and verdict. None and ABSENT where it has none."""

    run: str
    started: str
    value: float | None
    limit: float | None = None
    verdict: str = ABSENT


@dataclass(frozen=True)
class Trend:
    """The runs in the order of their start; none where no number was asked for."""

    path: str
    points: Sequence[Point]
    #: paths of all numbers of the latest run
    paths: Sequence[str]

    @property
    def unit(self) -> str:
        """`ms`, `share`, or an empty text, by the path."""
        return unit_of(self.path)


def trend_of(results: Path, entries: Sequence[Entry], path: str) -> Trend:
    """Judged runs of one suite, in the order of their start; without a path the one that is usually
    asked for, and no run.
    """
    latest = _numbers_in(results / entries[-1].name) if entries else {}
    paths = [each for each in latest if each != "format"]
    if not path:
        return Trend(_usual_path(results, entries) or next(iter(paths), ""), (), paths)
    return Trend(path, [_point(results / entry.name, entry, path) for entry in entries], paths)


def _numbers_in(folder: Path) -> dict[str, float]:
    """The numbers of a run's summary.json; none where it cannot be read."""
    try:
        return numbers_of(read_record(Summary, folder))
    except RunFolderError:
        return {}


def _usual_path(results: Path, entries: Sequence[Entry]) -> str | None:
    """A target's p99 of the latest run that has one: a run without a success has no latency."""
    for entry in reversed(entries):
        for path in _numbers_in(results / entry.name):
            if path.endswith(DEFAULT):
                return path
    return None


def numbers_of(summary: Summary) -> dict[str, float]:
    """All numbers of a summary by the path of their keys, in its order."""
    return dict(_numbers_below(summary.to_json(), ""))


def _numbers_below(record: Mapping[str, object], above: str) -> Iterator[tuple[str, float]]:
    for key, inner in record.items():
        if isinstance(inner, Mapping):
            yield from _numbers_below(inner, f"{above}{key}/")
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield f"{above}{key}", float(inner)


def unit_of(path: str) -> str:
    """`ms`, `share`, or an empty text for counts, rates and money."""
    *above, last = ("", *path.split("/"))
    if any(part.endswith("_ms") for part in above) and last != "n":
        return "ms"
    return "share" if last == "request_ratio" or "prompt_error" in above else ""


def shown(value: float | None, unit: str) -> str:
    """A value of a trend with its unit."""
    if unit == "share":
        return per_cent(value)
    if value is None:
        return ABSENT
    return f"{number(value)} {unit}".strip()


def _point(folder: Path, entry: Entry, path: str) -> Point:
    value = _numbers_in(folder).get(path)
    try:
        clauses = read_record(Verdicts, folder).clauses
    except RunFolderError:  # of an earlier format
        clauses = []
    for clause in clauses:
        if clause.judged and _path_of(clause) == path:
            return Point(entry.name, entry.started, value, clause.promised, clause.verdict)
    return Point(entry.name, entry.started, value)


def _path_of(clause: ClauseVerdict) -> str | None:
    """The number of summary.json that a clause is held against; None for one that has none
    there.
    """
    there = clause.kind.in_summary(clause)
    return None if there is None else f"targets/{clause.target}/{there}"


def trend_figure(trend: Trend) -> str | None:
    """The number over the runs in their order, marked by verdict, beside its limit; None without a
    number.
    """
    values = [point.value for point in trend.points if point.value is not None]
    if not values:
        return None
    title = f"How did it change from run to run? {visible(trend.path, 60)}"

    def draw(figure: Any) -> None:
        axes = figure.add_axes((LEFT, 0.17, WIDTH, 0.72))
        axes.set_title(title)
        limits = [point.limit for point in trend.points if point.limit is not None]
        if trend.unit == "ms":
            latency_axis(axes, [*values, *limits], "latency")
        else:
            axes.set_ylabel("%" if trend.unit == "share" else "as in summary.json")
            scale = 100 if trend.unit == "share" else 1
            axes.yaxis.set_major_formatter(lambda value, _: exact(scale * value))
        _draw_numbers(axes, trend)
        if limits:
            _draw_limits(axes, trend, limits)
        _label_runs(axes, trend)

    return draw_svg(title, 3.5, draw)


def _draw_numbers(axes: Any, trend: Trend) -> None:
    """A line through the runs, each marked by its verdict."""
    places = np.arange(len(trend.points))
    line = np.array([np.nan if point.value is None else point.value for point in trend.points])
    axes.plot(places, line, color=GREY, linewidth=1)
    verdicts = [point.verdict if point.verdict in _MARKS else ABSENT for point in trend.points]
    for verdict, (mark, edge, face) in _MARKS.items():
        mine = np.array([each == verdict for each in verdicts])
        if np.isfinite(line[mine]).any():
            axes.plot(
                places[mine],
                line[mine],
                mark,
                color=edge,
                markerfacecolor=face,
                markersize=5,
                label="not judged" if verdict == ABSENT else verdict,
            )
    beside = {"loc": "upper left", "bbox_to_anchor": (1, 1), "borderaxespad": 0}
    axes.legend(fontsize=8, frameon=False, handletextpad=0.2, **beside)


def _draw_limits(axes: Any, trend: Trend, limits: Sequence[float]) -> None:
    places = np.flatnonzero([point.limit is not None for point in trend.points])
    style = {"color": RED, "linewidth": 1, "linestyle": (0, (5, 3))}
    axes.hlines(limits, places - 0.5, places + 0.5, **style)
    margin_labels(axes, [(limits[-1], f"limit {shown(limits[-1], trend.unit)}")])


def _label_runs(axes: Any, trend: Trend) -> None:
    runs = len(trend.points)
    axes.set_xlim(-0.5, runs - 0.5)
    ticks = np.unique(np.linspace(0, runs - 1, _TICKS_MOST).round().astype(int))
    starts = [visible(trend.points[tick].started, 20) for tick in ticks]
    axes.set_xticks(ticks, [f"{start[:10]}\n{start[11:16]}" for start in starts], fontsize=8)
    plural = "s" * (runs > 1)
    axes.set_xlabel(f"{count(runs)} run{plural} in the order of their start, UTC")
