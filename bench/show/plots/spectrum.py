"""How slow the slowest are: the percentile spectrum.

In: one lane's measured columns, its record in the manifest, its clauses' records. Out: SVG text.
Must stay true: no failed or unfinished row is left out; where a percentile has no upper bound at
this many rows a bound is drawn, not a line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.judge.stats.tail import quantile_ci_ranks
from bench.metrics import METRICS
from bench.record.records.manifest import LaneRecord
from bench.record.records.verdicts import ClauseVerdict
from bench.record.samples import Bool, Columns, Float, latency_ns
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
from bench.show.wording import NO_ANSWER, count, exact, milliseconds, number, per_cent, visible
from bench.units import MS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def percentile_spectrum(
    columns: Columns,
    lane: LaneRecord,
    metric: str,
    clauses: Sequence[ClauseVerdict],
    confidence: float = 0.95,
) -> str | None:
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
    limits = limits_of(clauses, metric)
    title = (
        f"How slow are the slowest? {METRICS[metric].long_label.capitalize()} of"
        f" {visible(lane.name, 32)}"
    )

    def draw(figure: Figure) -> Mapping[str, str]:
        axes = figure.add_axes((LEFT, 0.15, WIDTH, 0.69))
        axes.set_title(title, pad=19)
        latency_axis(
            axes,
            [ordered[0], ordered[-1], *(limit.ms for limit in limits)],
            METRICS[metric].long_label,
        )
        right = max(1.0, math.ceil(math.log10(n) * 4) / 4)
        axes.set_xlim(0, right)
        band = _band(ordered, n, confidence)
        key = [*_draw_spectrum(axes, band, n), *_draw_failed_share(axes, len(ordered), n)]
        axes.text(
            1, 1.02, "; ".join(key), transform=axes.transAxes, ha="right", va="bottom", fontsize=8
        )
        axes.plot(right, ordered[-1], "_", color=BLUE, markersize=9, clip_on=False)
        slowest = f"slowest answer\n{number(float(ordered[-1]))} ms"
        margin_labels(axes, [(float(ordered[-1]), slowest), *draw_limits(axes, limits)])
        for limit in (limit for limit in limits if -math.log10(limit.share_over) <= right):
            axes.plot(
                -math.log10(limit.share_over), limit.ms, "D", color=RED, markersize=5, clip_on=False
            )
        ticks = [0.0, math.log10(2), *range(1, int(right) + 1)]
        axes.set_xticks(ticks, [_percentile_name(tick) for tick in ticks])
        axes.set_xlabel(
            f"percentile of {count(n)} request{'s' * (n > 1)}, log scale in 1 − q; band:"
            f" {per_cent(confidence)} interval"
        )
        bottom, top = axes.get_ylim()
        places = zip(
            -np.log10(1 - band.q), np.clip(band.line, bottom, top), _said(band), strict=True
        )
        return readings(figure, ((axes, *place) for place in places))

    return draw_svg(title, 3.5, draw)


class _Band(NamedTuple):
    """Nearest-rank quantiles with their interval; inf where that lies among rows without a latency,
    or nowhere.
    """

    q: Float
    line: Float
    low: Float
    high: Float
    bounded: Bool


def _band(ordered: Float, n: int, confidence: float) -> _Band:
    """The quantiles worth drawing of n rows, those with a latency sorted in `ordered`."""
    ranks = np.rint(n * (1 - 10.0 ** -np.linspace(0, math.log10(n), 100)))
    # the last ranks one by one: there the interval loses its upper limit
    ranks = np.unique(np.clip([*ranks, *range(n - 15, n)], 1, max(n - 1, 1)).astype(int))
    whole = max(n, 2)  # a single row is the quantile of every q; it is drawn at p50
    alpha = float((1 - Fraction(str(confidence))) / 2)
    interval = np.array([quantile_ci_ranks(n, Fraction(int(rank), whole), alpha) for rank in ranks])
    # rows beyond the successful ones have no latency: their rank's value lies above every limit
    values = np.array([0.0, *ordered, *[math.inf] * (n + 1 - len(ordered))])
    low, high = values[np.maximum(interval[:, 0], 0)], values[interval[:, 1]]
    return _Band(ranks / whole, values[ranks], low, high, interval[:, 1] <= n)


def _draw_spectrum(axes: Axes, band: _Band, n: int) -> list[str]:
    """The line with its band, a hatched bound where it has no upper limit.

    Returns the key to what is hatched.
    """
    bottom, top = axes.get_ylim()
    top *= 10
    x, bounded = -np.log10(1 - band.q), band.bounded
    low, high, line = (np.clip(values, bottom, top) for values in (band.low, band.high, band.line))
    axes.fill_between(x, low, high, where=bounded.tolist(), color=BLUE, alpha=0.22, linewidth=0)
    axes.plot(x[bounded], line[bounded], color=BLUE, linewidth=1.8)
    if n <= 30:
        axes.plot(x, line, "o", color=BLUE, markerfacecolor="none", markersize=4)
    tail = ~bounded & (band.q > band.q[bounded].max(initial=0)) & (low < top)
    if not tail.any():
        return []
    first = max(int(np.flatnonzero(tail)[0]) - 1, 0)  # the hatching begins where the line ends
    edge, floor = np.append(x[first:], axes.get_xlim()[1]), np.append(low[first:], low[tail][-1])
    axes.fill_between(
        edge, floor, top, facecolor="none", hatch="////", edgecolor=GREY, linewidth=0, alpha=0.45
    )
    axes.plot(edge, floor, color=BLUE, linewidth=1.2, linestyle=(0, (3, 2)))
    axes.annotate(
        "",
        (edge[-2], floor[-2]),
        (0, 20),
        textcoords="offset points",
        arrowprops={"arrowstyle": "<|-", "color": BLUE, "fill": False},
    )
    return ["hatched: too few rows, at least the dashed line"]


def _said(band: _Band) -> Iterator[str]:
    """Percentile, value and interval of each point: `p99: 402 ms (391 – 418)`."""
    for q, line, low, high, bounded in zip(*band, strict=True):
        value = milliseconds(line) if math.isfinite(line) else NO_ANSWER
        above = number(high) if math.isfinite(high) else NO_ANSWER
        limits = (
            f"{number(low)} – {above}"
            if bounded
            else f"at least {number(low)}: too few rows for an upper limit"
        )
        yield f"p{per_cent(q).removesuffix(' %')}: {value}" + (
            f" ({limits})" if math.isfinite(low) else ""
        )


def _draw_failed_share(axes: Axes, succeeded: int, n: int) -> list[str]:
    """Shade the ranks of rows that never gave a latency. Returns the key to the shade."""
    if succeeded == n:
        return []
    axes.axvspan(
        -math.log10(1 - succeeded / n), axes.get_xlim()[1], color=RED, alpha=0.14, linewidth=0
    )
    return [f"shaded: {per_cent((n - succeeded) / n)} failed or unfinished, over every limit"]


def _percentile_name(place: float) -> str:
    """The percentile at `place` = -log10(1 - q): `p0`, `p50`, `p99.9`."""
    return f"p{exact(100 * (1 - 10**-place))}"
