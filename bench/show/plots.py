"""The figures of a report, and the only door to matplotlib.

In: one lane's columns, its record in the manifest and its clauses' records. Out: SVG text.
Must stay true: the same rows give the same bytes; text stays text and takes its colour from
the page; no failed, unsent or unfinished row is left out of a figure; where a percentile has
no upper bound at this many rows a bound is drawn, not a line.
"""

from __future__ import annotations

import io
import math
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.judge.stats.tail import quantile_ci_ranks
from bench.plan.clause import quantile_name
from bench.record.samples import Bool, Columns, Float, Outcome, latency_ns
from bench.show.wording import count, exact, number, per_cent, visible
from bench.units import MS, S

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: After Okabe and Ito; each keeps 3:1 against white and against near-black.
BLUE, RED, GREY = "#2a7fb8", "#d55e00", "#808080"
#: Stands for the page's text colour while matplotlib draws.
INK = "#010203"
#: Above this many points a heat map is drawn in place of dots.
SCATTER_MOST = 5_000
METRIC_WORDS = {
    "ttft": "time to first token", "ttft_answer": "time to first token of the answer",
    "e2e": "end-to-end latency", "tpot": "time per output token", "inter_chunk_max": "longest gap between chunks",
}  # fmt: skip
_LEFT, _WIDTH = 0.095, 0.735
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "tailproof", "text.parse_math": False,
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10.5, "axes.titlelocation": "left",
    "axes.titlepad": 8, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY,
    "xtick.color": GREY, "ytick.color": GREY, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": GREY, "grid.alpha": 0.25, "grid.linewidth": 0.6,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "hatch.color": GREY, "hatch.linewidth": 0.5,
}  # fmt: skip


def percentile_spectrum(columns: Columns, lane: Mapping[str, Any], metric: str, clauses: Sequence[Mapping[str, Any]],
                        confidence: float = 0.95) -> str | None:  # fmt: skip
    """How slow the slowest are: latency (ms) over the percentile on a log(1 - q) axis.

    `columns` are the lane's measured rows. Rows that did not succeed take the highest ranks, as
    the contract counts them. The band is the order-statistic interval at `confidence`; from the
    percentile on at which it has no upper limit, only the lower one is drawn. None when no row
    has a value of `metric`.
    """
    values = latency_ns(columns.samples, metric)
    ordered = np.sort(values[columns.ok & (values >= 0)]) / MS
    if not len(ordered):
        return None
    n = len(ordered) + int(np.count_nonzero(~columns.ok))
    limits = _limits(clauses, metric)
    title = f"How slow are the slowest? {METRIC_WORDS[metric].capitalize()} of {visible(lane['name'], 32)}"

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((_LEFT, 0.15, _WIDTH, 0.69))
        axes.set_title(title, pad=19)
        _latency_axis(axes, [ordered[0], ordered[-1], *(limit.ms for limit in limits)], METRIC_WORDS[metric])
        right = max(1.0, math.ceil(math.log10(n) * 4) / 4)
        axes.set_xlim(0, right)
        key = [*_draw_spectrum(axes, ordered, n, confidence), *_draw_failed_share(axes, len(ordered), n)]
        axes.text(1, 1.02, "; ".join(key), transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
        axes.plot(right, ordered[-1], "_", color=BLUE, markersize=9, clip_on=False)
        slowest = f"slowest answer\n{number(float(ordered[-1]))} ms"
        _margin_labels(axes, [(float(ordered[-1]), slowest), *_draw_limits(axes, limits)])
        for limit in (limit for limit in limits if -math.log10(limit.share_over) <= right):
            axes.plot(-math.log10(limit.share_over), limit.ms, "D", color=RED, markersize=5, clip_on=False)
        ticks = [0.0, math.log10(2), *range(1, int(right) + 1)]
        axes.set_xticks(ticks, [_percentile_name(tick) for tick in ticks])
        axes.set_xlabel(
            f"percentile of {count(n)} request{'s' * (n > 1)}, log scale in 1 − q; band: {per_cent(confidence)} interval"
        )

    return draw_svg(title, 3.5, draw)


def latency_against_cost(title: str, cost_words: str, lines: Mapping[str, Sequence[Mapping[str, Any]]],
                         singles: Sequence[Mapping[str, Any]]) -> str | None:  # fmt: skip
    """What a tail costs: p99 (ms) over cost, a line a policy and single points; None without a line.

    Each point has "cost", "p99_ms", "p99_95", "label" (empty for none), "marked" (drawn as a star)
    and "on_front". A single point much dearer than every line stands at the right edge with its cost.
    """
    every = [*(point for points in lines.values() for point in points), *singles]
    if not lines:
        return None
    dearest = 1.12 * max(point["cost"] for points in lines.values() for point in points)

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((_LEFT, 0.13, _WIDTH, 0.76))
        axes.set_title(title)
        bounds = [limit for point in every for limit in point["p99_95"] if limit is not None]
        _latency_axis(axes, [*(point["p99_ms"] for point in every), *bounds], "p99 of the end-to-end latency")
        stairs = np.array(sorted((point["cost"], point["p99_ms"]) for point in every if point["on_front"]))
        axes.step(stairs[:, 0], stairs[:, 1], where="post", color=GREY, linewidth=4, alpha=0.35, label="Pareto front")
        for (name, points), colour, mark in zip(lines.items(), (RED, INK, BLUE), "s^o", strict=False):
            places = [(point["cost"], point["p99_ms"]) for point in points]
            axes.plot(*zip(*places, strict=True), f"{mark}-", color=colour, linewidth=1, markersize=4.5,
                      markerfacecolor="none", label=visible(name, 40))  # fmt: skip
            for point, place in zip(points, places, strict=True):
                if None not in point["p99_95"]:
                    axes.plot([point["cost"]] * 2, point["p99_95"], color=colour, linewidth=1, alpha=0.4)
                axes.annotate(point["label"], place, (6, 4), textcoords="offset points", fontsize=7.5)
                if point["marked"]:
                    axes.plot(*place, "*", color=colour, markersize=13, zorder=5)
        for point in singles:
            far = point["cost"] > dearest
            label = visible(point["label"], 24) + (f"\n{exact(point['cost'])} →" if far else "")
            place = min(point["cost"], dearest), point["p99_ms"]
            axes.plot(*place, "D", color=GREY, markersize=4.5, clip_on=False)
            axes.annotate(label, place, (6, 0), textcoords="offset points", fontsize=7.5, va="center",
                          annotation_clip=False)  # fmt: skip
        axes.set_xlim(0.97 * min(point["cost"] for point in every), dearest)
        axes.legend(fontsize=8, frameon=False)
        axes.set_xlabel(cost_words)

    return draw_svg(title, 4.2, draw)


def _draw_spectrum(axes: Axes, ordered: Float, n: int, confidence: float) -> list[str]:
    """Nearest-rank quantiles with their band. Returns the key to what is hatched."""
    top = axes.get_ylim()[1] * 10
    ranks = np.rint(n * (1 - 10.0 ** -np.linspace(0, math.log10(n), 100)))
    # the last ranks one by one: there the interval loses its upper limit
    ranks = np.unique(np.clip([*ranks, *range(n - 15, n)], 1, max(n - 1, 1)).astype(int))
    whole = max(n, 2)  # a single row is the quantile of every q; it is drawn at p50
    alpha = float((1 - Fraction(str(confidence))) / 2)
    interval = [quantile_ci_ranks(n, Fraction(int(rank), whole), alpha) for rank in ranks]
    # rows beyond the successful ones have no latency: their rank's value lies above the axis
    values = np.append(ordered, np.full(n + 1 - len(ordered), top))
    x, line = -np.log10(1 - ranks / whole), values[ranks - 1]
    low = np.array([values[below - 1] if below else axes.get_ylim()[0] for below, _ in interval])
    high = np.array([values[above - 1] for _, above in interval])
    bounded = np.array([above <= n for _, above in interval])
    axes.fill_between(x, low, high, where=bounded.tolist(), color=BLUE, alpha=0.22, linewidth=0)
    axes.plot(x[bounded], line[bounded], color=BLUE, linewidth=1.8)
    if n <= 30:
        axes.plot(x, line, "o", color=BLUE, markerfacecolor="none", markersize=4)
    tail = ~bounded & (ranks > ranks[bounded].max(initial=0)) & (low < top)
    if not tail.any():
        return []
    first = max(int(np.flatnonzero(tail)[0]) - 1, 0)  # the hatching begins where the line ends
    edge, floor = np.append(x[first:], axes.get_xlim()[1]), np.append(low[first:], low[tail][-1])
    axes.fill_between(edge, floor, top, facecolor="none", hatch="////", edgecolor=GREY, linewidth=0, alpha=0.45)
    axes.plot(edge, floor, color=BLUE, linewidth=1.2, linestyle=(0, (3, 2)))
    axes.annotate("", (edge[-2], floor[-2]), (0, 20), textcoords="offset points",
                  arrowprops={"arrowstyle": "<|-", "color": BLUE, "fill": False})  # fmt: skip
    return ["hatched: too few rows, at least the dashed line"]


def _draw_failed_share(axes: Axes, succeeded: int, n: int) -> list[str]:
    """Shade the ranks of rows that never gave a latency. Returns the key to the shade."""
    if succeeded == n:
        return []
    axes.axvspan(-math.log10(1 - succeeded / n), axes.get_xlim()[1], color=RED, alpha=0.14, linewidth=0)
    return [f"shaded: {per_cent((n - succeeded) / n)} failed or unfinished, over every limit"]


def latency_over_time(columns: Columns, lane: Mapping[str, Any], metric: str,
                      clauses: Sequence[Mapping[str, Any]]) -> str | None:  # fmt: skip
    """When it was slow: latency (ms) over the due time (s after the run's start), failures above.

    `columns` are all rows of the lane, warm-up included. Dots, or a heat map of the counts when
    they would be too many. Every failure class has a line of marks of its own. None when no row
    came due.
    """
    came_due = columns.where(columns.samples["due_ns"] >= 0)
    if not len(came_due):
        return None
    due = came_due.samples["due_ns"] / S
    values = latency_ns(came_due.samples, metric) / MS
    shown = came_due.ok & (values >= 0)
    classes = [
        outcome for outcome in Outcome if outcome != Outcome.ok and (came_due.samples["outcome"] == outcome).any()
    ]
    limits = _limits(clauses, metric)
    title = f"When was it slow? {METRIC_WORDS[metric].capitalize()} of {visible(lane['name'], 32)}"
    height = 3.5 + 0.17 * len(classes)

    def draw(figure: Figure) -> None:
        strip = 0.17 * len(classes) / height
        main = figure.add_axes((_LEFT, 0.5 / height, _WIDTH, 2.45 / height))
        main.set_xlim(lane["start_ns"] / S, max(lane["end_ns"] / S, float(due.max()) + 0.001))
        _latency_axis(main, [*values[shown], *(limit.ms for limit in limits)], METRIC_WORDS[metric])
        _shade_phases(main, lane)
        density = _draw_latencies(main, due, values, shown, came_due.schedule["warmup"])
        _margin_labels(main, _draw_limits(main, limits))
        main.set_xlabel(f"due time, s after the start of the run{density}")
        above = figure.add_axes((_LEFT, 3.12 / height, _WIDTH, max(strip, 0.01)), sharex=main)
        above.set_title(title)
        above.axis("off")
        above.set_ylim(max(len(classes), 1), 0)
        for line, outcome in enumerate(classes):
            hit = due[came_due.samples["outcome"] == outcome]
            # a mark a pixel is as dense as the eye can part
            marks = np.unique(np.rint((hit - main.get_xlim()[0]) / np.ptp(main.get_xlim()) * 600))
            above.plot(main.get_xlim()[0] + marks / 600 * np.ptp(main.get_xlim()), np.full(len(marks), line + 0.5),
                       "|", color=RED, markersize=7, clip_on=False)  # fmt: skip
            above.text(1.012, line + 0.5, f"{outcome.name} {count(len(hit))}", transform=above.get_yaxis_transform(),
                       fontsize=8, va="center")  # fmt: skip

    return draw_svg(title, height, draw)


def _draw_latencies(axes: Axes, due: Float, values: Float, shown: Bool, warmup: Bool) -> str:
    """Dots or a heat map of the successful rows. Returns what the reader must know of it."""
    if not shown.any():
        axes.text(0.5, 0.5, "no request succeeded", transform=axes.transAxes, ha="center", va="center")
        return ""
    if np.count_nonzero(shown) <= SCATTER_MOST:
        for rows, colour in ((shown & ~warmup, BLUE), (shown & warmup, GREY)):
            _dots(axes, due[rows], values[rows], colour, 4 if np.count_nonzero(shown) < 200 else 2.2)
        return ""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    (low, high), (left, right) = axes.get_ylim(), axes.get_xlim()
    edges = np.geomspace(low, high, 91) if axes.get_yscale() == "log" else np.linspace(low, high, 91)
    times = np.linspace(left, right, 241)
    cells = np.histogram2d(due[shown], values[shown], [times, edges])[0].T
    most = int(cells.max())
    # a lone request must still be seen: it is the tail
    fade = LinearSegmentedColormap.from_list("fade", [f"{BLUE}66", f"{BLUE}ff"])
    axes.pcolormesh(
        times, edges, np.ma.masked_equal(cells, 0), norm=LogNorm(1, max(most, 2)), cmap=fade, rasterized=True
    )
    return f"; the fuller a cell, the more requests (1 to {count(most)})"


def _dots(axes: Axes, x: Float, y: Float, colour: str, size: float) -> None:
    """All dots as one path of strokes without length: an eighth of the bytes of a marker each."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    points = np.repeat(np.column_stack((x, y)), 2, axis=0)
    path = Path(points, np.tile([Path.MOVETO, Path.LINETO], len(x)).astype(np.uint8))
    path.should_simplify = False
    axes.add_patch(PathPatch(path, edgecolor=colour, facecolor="none", linewidth=size, capstyle="round", alpha=0.75))


def _shade_phases(axes: Axes, lane: Mapping[str, Any]) -> None:
    """Shade the phases and name each where its name fits, once at least."""
    left, right = axes.get_xlim()
    names = list(dict.fromkeys(str(span["phase"]) for span in lane["phase_spans"] if not span["warmup"]))
    named: set[str] = set()
    wide = sorted(lane["phase_spans"], key=lambda span: span["start_ns"] - span["end_ns"])
    for span in wide:
        name, start, end = str(span["phase"]), span["start_ns"] / S, span["end_ns"] / S
        if span["warmup"]:
            axes.axvspan(start, end, color=GREY, alpha=0.25, linewidth=0)
        elif names.index(name) % 2:
            axes.axvspan(start, end, color=GREY, alpha=0.13, linewidth=0)
        fits = (end - start) / (right - left) > 0.0115 * len(name)
        if len(lane["phase_spans"]) < 2 or (name in named and not fits):
            continue
        named.add(name)
        axes.text((max(start, left) + min(end, right)) / 2, 1.015 if fits else 0.98, visible(name, 40), fontsize=8, ha="center",
                  transform=axes.get_xaxis_transform(), va="bottom" if fits else "top", rotation=0 if fits else 90)  # fmt: skip


class _Limit(NamedTuple):
    ms: float
    share_over: float
    label: str


def _limits(clauses: Sequence[Mapping[str, Any]], metric: str) -> list[_Limit]:
    """The limits on this metric counted from the due time, each once."""
    found: dict[tuple[float, float, str], _Limit] = {}
    for clause in clauses:
        if clause["metric"] == metric and clause["view"] == "response" and clause["limit_ms"] is not None:
            quantile = Fraction(str(clause["quantile"]))
            where = " ".join(visible(clause[key], 12) for key in ("phase", "bucket") if clause[key])
            label = f"limit {exact(clause['limit_ms'])} ms\n{quantile_name(quantile)} {where}".rstrip()
            limit = _Limit(clause["limit_ms"], float(1 - quantile), label)
            found.setdefault(limit, limit)
    return sorted(found.values())


def _draw_limits(axes: Axes, limits: Sequence[_Limit]) -> list[tuple[float, str]]:
    """A line a limit. Returns what the margin says of each."""
    for limit in limits:
        axes.axhline(limit.ms, color=RED, linewidth=1, linestyle=(0, (5, 3)))
    return [(limit.ms, limit.label) for limit in limits]


def _margin_labels(axes: Axes, labels: Sequence[tuple[float, str]]) -> None:
    """Text in the right margin at its value's height, kept apart from its neighbours."""
    low, high = axes.get_ylim()
    lowest = -1.0
    for value, label in sorted(labels):
        place = math.log(value / low, high / low) if axes.get_yscale() == "log" else (value - low) / (high - low)
        lowest = max(place, lowest + 0.14)
        axes.text(1.015, lowest, label, transform=axes.transAxes, fontsize=8, va="center", linespacing=1.1)


def _latency_axis(axes: Axes, values_ms: Sequence[float], words: str) -> None:
    """Log where the values span more than a factor 20, else linear from 0; the unit on every tick."""
    positive = [value for value in values_ms if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    unit, name = (1000.0, "s") if high >= 10_000 else (1.0, "ms")
    axes.set_ylabel(f"{words}, {name}")
    if high / low <= 20:
        axes.set_ylim(0, high * 1.12)
        axes.yaxis.set_major_formatter(lambda value, _: exact(value / unit))
        return
    axes.set_yscale("log")
    axes.set_ylim(low / 1.25, high * 1.5)
    steps = (1, 2, 5) if high / low < 2_000 else (1,)
    decades = range(math.floor(math.log10(low / 1.25)), math.ceil(math.log10(high * 1.5)) + 1)
    ticks = [
        step * 10.0**decade for decade in decades for step in steps if low / 1.25 <= step * 10.0**decade <= high * 1.5
    ]
    axes.set_yticks(ticks, [exact(tick / unit) for tick in ticks])
    axes.set_yticks([], minor=True)


def _percentile_name(place: float) -> str:
    """The percentile at `place` = -log10(1 - q): `p0`, `p50`, `p99.9`."""
    return "p" + f"{100 * (1 - 10**-place):.6f}".rstrip("0").rstrip(".")


def draw_svg(title: str, height_in: float, draw: Callable[[Figure], None]) -> str:
    """Draw one figure in the house style, whatever matplotlib settings the user has."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(7.4, height_in))
        FigureCanvasSVG(figure)
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format="svg", dpi=144, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _tidy(buffer.getvalue(), title)


def _tidy(svg: bytes, title: str) -> str:
    """Make the SVG fit to stand beside others in a page: own ids, a title, the page's colour and font."""
    space = "http://www.w3.org/2000/svg"
    link = "{http://www.w3.org/1999/xlink}href"
    ET.register_namespace("", space)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(svg)  # noqa: S314 matplotlib wrote it, from labels without control characters
    # a page holds many figures: their ids are told apart by the title, which names metric and lane
    mark = f"f{zlib.crc32(title.encode()):08x}-"
    used = {value.removeprefix("#") for node in root.iter() for value in [node.get(link, "")] if value}
    for node in root.iter():
        for key, value in list(node.attrib.items()):
            if key == link:
                node.set(key, value.replace("#", f"#{mark}", 1) if value.startswith("#") else value)
            elif "url(#" in value:
                node.set(key, value.replace("url(#", f"url(#{mark}"))
            elif key == "id":
                needed = value in used or node.tag in (f"{{{space}}}clipPath", f"{{{space}}}pattern")
                node.set(key, mark + value) if needed else node.attrib.pop(key)
    for child in root.findall(f"{{{space}}}metadata"):
        root.remove(child)
    heading = ET.Element(f"{{{space}}}title")
    heading.text = title
    root.insert(0, heading)
    root.set("role", "img")
    root.set("aria-label", title)
    text = ET.tostring(root, encoding="unicode")
    return text.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif").replace(INK, "currentColor")
