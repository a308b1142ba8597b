"""The house style of every figure: colours, axes, labels, and SVG fit to stand in a page.

In: a title, a height and a function that draws on a matplotlib figure. Out: SVG text, with what a
page's script needs as `data-` attributes. Must stay true: the same drawing gives the same bytes
whatever the user's matplotlib settings; text stays text and takes its colour from the page.
"""

from __future__ import annotations

import io
import logging
import math
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.quantiles import quantile_name
from bench.record.records.verdicts import ClauseVerdict
from bench.record.samples import Float
from bench.show.wording import exact, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: After Okabe and Ito; each keeps 3:1 against white and against near-black.
BLUE, RED, GREY = "#2a7fb8", "#d55e00", "#808080"
#: Stands for the page's text colour while matplotlib draws.
INK = "#010203"
WIDTH_IN = 7.4
_POINTS = 72
#: Where the axes of a lane's figures begin and how wide they are, as shares of the figure's width.
LEFT, WIDTH = 0.095, 0.735
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tailproof",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "hatch.color": GREY,
    "hatch.linewidth": 0.5,
}


Draw = Callable[["Figure"], Mapping[str, str] | None]


def draw_svg(title: str, height_in: float, draw: Draw) -> str:
    """Draw one figure in the house style; what `draw` returns become attributes of the svg
    element.
    """
    return _tidy(*drawn(height_in, draw), title)


def drawn(height_in: float, draw: Draw) -> tuple[bytes, Mapping[str, str]]:
    """The SVG as matplotlib writes it, and what `draw` returned."""
    # What it says of homes and fonts is not for whoever reads a run's result: where it may not keep
    # its list of fonts, it makes the list again.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(WIDTH_IN, height_in))
        FigureCanvasSVG(figure)
        attributes = draw(figure) or {}
        buffer = io.BytesIO()
        figure.savefig(
            buffer,
            format="svg",
            dpi=144,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return buffer.getvalue(), attributes


def readings(
    figure: Figure, points: Iterable[tuple[Axes, float, float, str]], along: str = "x"
) -> dict[str, str]:
    """What a reader may ask of a figure: a line a point with its place in the SVG (x, y) and what
    it says.

    `points` are axes, x and y in their units, and words, in the order in which keys step through
    them. A pointer finds the one that is nearest `along` x, or along both ("xy").
    """
    height, lines = figure.get_figheight() * _POINTS, []
    for axes, x, y, said in points:
        right, up = (axes.transData + figure.transFigure.inverted()).transform((x, y))
        lines.append(f"{right * WIDTH_IN * _POINTS:.1f} {(1 - up) * height:.1f} {said}")
    return {"data-readings": "\n".join(lines), "data-along": along}


def _tidy(svg: bytes, attributes: Mapping[str, str], title: str) -> str:
    """Make the SVG fit to stand beside others in a page: own ids, a title, the page's colour and
    font.
    """
    space = "http://www.w3.org/2000/svg"
    link = "{http://www.w3.org/1999/xlink}href"
    ET.register_namespace("", space)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(svg)  # noqa: S314 matplotlib wrote it, from labels without control characters
    # a page holds many figures: their ids are told apart by the title, which names metric and lane
    mark = f"f{zlib.crc32(title.encode()):08x}-"
    used = {
        value.removeprefix("#") for node in root.iter() for value in [node.get(link, "")] if value
    }
    for node in root.iter():
        for key, value in list(node.attrib.items()):
            if key == link:
                node.set(key, value.replace("#", f"#{mark}", 1) if value.startswith("#") else value)
            elif "url(#" in value:
                node.set(key, value.replace("url(#", f"url(#{mark}"))
            elif key == "id":
                needed = value in used or node.tag in (
                    f"{{{space}}}clipPath",
                    f"{{{space}}}pattern",
                )
                node.set(key, mark + value) if needed else node.attrib.pop(key)
    for child in root.findall(f"{{{space}}}metadata"):
        root.remove(child)
    heading = ET.Element(f"{{{space}}}title")
    heading.text = title
    root.insert(0, heading)
    root.set("role", "img")
    root.set("aria-label", title)
    root.attrib.update(attributes)
    text = ET.tostring(root, encoding="unicode")
    return text.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif").replace(
        INK, "currentColor"
    )


class Limit(NamedTuple):
    ms: float
    share_over: float
    label: str


def limits_of(clauses: Sequence[ClauseVerdict], metric: str) -> list[Limit]:
    """The limits on a quantile of this metric counted from the due time, each once."""
    found: dict[tuple[float, float, str], Limit] = {}
    for clause in clauses:
        here = clause.metric == metric and clause.view == "response"
        if here and clause.limit_ms is not None and clause.limited_quantile is not None:
            quantile = Fraction(str(clause.limited_quantile))
            where = " ".join(visible(part, 12) for part in (clause.phase, clause.bucket) if part)
            label = f"limit {exact(clause.limit_ms)} ms\n{quantile_name(quantile)} {where}".rstrip()
            limit = Limit(clause.limit_ms, float(1 - quantile), label)
            found.setdefault(limit, limit)
    return sorted(found.values())


def draw_limits(axes: Axes, limits: Sequence[Limit]) -> list[tuple[float, str]]:
    """A line a limit. Returns what the margin says of each."""
    for limit in limits:
        axes.axhline(limit.ms, color=RED, linewidth=1, linestyle=(0, (5, 3)))
    return [(limit.ms, limit.label) for limit in limits]


def margin_labels(axes: Axes, labels: Sequence[tuple[float, str]]) -> None:
    """Text in the right margin at its value's height, kept apart from its neighbours."""
    low, high = axes.get_ylim()
    lowest = -1.0
    for value, label in sorted(labels):
        place = (
            math.log(value / low, high / low)
            if axes.get_yscale() == "log"
            else (value - low) / (high - low)
        )
        lowest = max(place, lowest + 0.14)
        axes.text(
            1.015, lowest, label, transform=axes.transAxes, fontsize=8, va="center", linespacing=1.1
        )


def draw_key(axes: Axes, entries: Sequence[tuple[str, str]], top_in: float = 0.1) -> None:
    """In the right margin a square of each colour with its words, from `top_in` below the axes'
    upper edge on.
    """
    height = axes.get_position().height * axes.get_figure().get_figheight()  # type: ignore[union-attr]
    for place, (colour, words) in enumerate(entries):
        y = 1 - (top_in + 0.15 * place) / height
        axes.text(1.015, y, "■", color=colour, fontsize=9, va="center", transform=axes.transAxes)
        axes.text(1.04, y, words, fontsize=8, va="center", transform=axes.transAxes)


def latency_axis(
    axes: Axes, values_ms: Sequence[float] | Float, words: str, along: str = "y"
) -> None:
    """Log where the values span more than a factor 20, else linear from 0; the unit on
    every tick.
    """
    given = np.asarray(values_ms, float)
    positive = given[given > 0] if (given > 0).any() else np.ones(1)
    low, high = float(positive.min()), float(positive.max())
    unit, name = (1000.0, "s") if high >= 10_000 else (1.0, "ms")
    axis, limits = (axes.yaxis, axes.set_ylim) if along == "y" else (axes.xaxis, axes.set_xlim)
    axis.set_label_text(f"{words}, {name}")
    if high / low <= 20:
        limits(0, high * 1.12)
        axis.set_major_formatter(lambda value, _: exact(value / unit))
        return
    low, high = low / 1.25, high * 1.5
    (axes.set_yscale if along == "y" else axes.set_xscale)("log")
    limits(low, high)
    steps = (1, 2, 5) if high / low < (4_000 if along == "y" else 400) else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [
        step * 10.0**decade
        for decade in decades
        for step in steps
        if low <= step * 10.0**decade <= high
    ]
    axis.set_ticks(ticks, [exact(tick / unit) for tick in ticks])
    axis.set_ticks([], minor=True)
