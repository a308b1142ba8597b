"""One number of summary.json over the runs of a suite.

In: a catalogue, a suite and the number's path, `targets/pro/response_ms/e2e/p99`. Out: a `Trend`
and its figure. Must stay true: a run that has no such number is in the table and not in the
line; a limit is drawn only where a clause of that run's own contract is held against this very
number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bench.extras.ui.catalogue import Catalogue, Entry, chosen, record_at
from bench.quantiles import QUANTILES
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

Record = Mapping[str, Any]
#: Looked at first where the user named no path.
DEFAULT = "response_ms/e2e/p99"
_KEYS = {q: key for key, q in QUANTILES.items()}
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
    """The runs in the order of their start."""

    path: str
    points: Sequence[Point]
    #: paths of all numbers of the latest run
    paths: Sequence[str]

    @property
    def unit(self) -> str:
        """`ms`, `share`, or an empty text, by the path."""
        return unit_of(self.path)


def trend_of(catalogue: Catalogue, suite: str, path: str) -> Trend:
    """Runs of the suite that are judged; an empty path takes a target's p99, of the latest run that
    has one. Raises RunFolderError.
    """
    entries = [
        entry
        for entry in chosen(catalogue.entries(), ascending=True)
        if entry.suite == suite and entry.problem is None and entry.verdict != ABSENT
    ]
    summaries = [record_at(catalogue.results / entry.name / "summary.json") for entry in entries]
    paths: list[str] = []
    if summaries:
        paths = [each for each in leaves(summaries[-1]) if each != "format"]
    path = path or _usual_path(summaries, paths)
    points = [
        _point(catalogue.results / entry.name, entry, value_at(summary, path), path)
        for entry, summary in zip(entries, summaries, strict=True)
    ]
    return Trend(path, points, paths)


def _usual_path(summaries: Sequence[Record], paths: Sequence[str]) -> str:
    """A target's p99 of the latest run that has one: a run without a success has no latency."""
    for summary in reversed(summaries):
        for path in leaves(summary):
            if path.endswith(DEFAULT):
                return path
    return paths[0] if paths else ""


def value_at(record: Any, path: str) -> float | None:
    """The number at a path of keys joined by `/`, which keys may hold too; None where there is
    none.
    """
    if not isinstance(record, Mapping):
        return None
    if path in record:
        return _number(record[path])
    for key, inner in record.items():
        if path.startswith(f"{key}/"):
            value = value_at(inner, path[len(key) + 1 :])
            if value is not None:
                return value
    return None


def leaves(record: Any, above: str = "") -> Iterator[str]:
    """Paths of all numbers of a record, in its order."""
    if not isinstance(record, Mapping):
        return
    for key, inner in record.items():
        if isinstance(inner, Mapping):
            yield from leaves(inner, f"{above}{key}/")
        elif _number(inner) is not None:
            yield f"{above}{key}"


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


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _point(folder: Path, entry: Entry, value: float | None, path: str) -> Point:
    clauses = record_at(folder / "verdicts.json").get("clauses", [])
    try:
        held = next(
            (each for each in clauses if each["verdict"] != "REPORTED" and _path_of(each) == path),
            None,
        )
        if held is None:
            return Point(entry.name, entry.started, value)
        limit = _number(held["share" if held["unit"] == "share" else "limit_ms"])
        return Point(entry.name, entry.started, value, limit, str(held["verdict"]))
    except (KeyError, TypeError, ValueError):  # verdicts of an earlier format
        return Point(entry.name, entry.started, value)


def _path_of(clause: Record) -> str | None:
    """The number of summary.json that a clause is held against; None for one that has none
    there.
    """
    where = f"targets/{clause['target']}"
    if clause["metric"] == "uptime":
        whole = clause["method"] == "request_ratio" and not (clause["phase"] or clause["bucket"])
        return f"{where}/uptime/request_ratio" if whole else None
    if (
        clause["limit_ms"] is None
        or clause["statistic"] != "quantile"
        or (clause["phase"] and clause["bucket"])
    ):
        return None
    for kind in ("phase", "bucket"):
        if clause[kind]:
            where += f"/by_{kind}/{clause[kind]}"
    name = _KEYS.get(Fraction(str(clause["quantile"])))
    return f"{where}/{clause['view']}_ms/{clause['metric']}/{name}" if name else None


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
