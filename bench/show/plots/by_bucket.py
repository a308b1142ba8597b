"""How latency grows with the context: p50, p90 and p99 a bucket, with their intervals.

In: one lane's judged columns, its record in the manifest, the level of its intervals. Out: SVG
text. Must stay true: failed rows take the highest ranks; a quantile that so few rows cannot bound
from above is drawn as a bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.judge.stats.tail import quantile_ci_ranks
from bench.metrics import HEADLINES, METRICS
from bench.quantiles import P50, P90, P99, quantile_name
from bench.record.records.manifest import LaneRecord
from bench.record.samples import Columns, Float, latency_ns
from bench.show.plots.canvas import BLUE, draw_svg, latency_axis, readings
from bench.show.wording import NO_ANSWER, count, milliseconds, number, per_cent, visible
from bench.units import MS, nearest_rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_QUANTILES = ((P50, "|", 11.0), (P90, "o", 4.5), (P99, "s", 5.5))


class _Quantile(NamedTuple):
    """A quantile and its limits in ms."""

    value: float
    low: float
    high: float


def latency_by_bucket(columns: Columns, lane: LaneRecord, confidence: float = 0.95) -> str | None:
    """Time to first token and end-to-end latency of each context bucket; None with fewer than two
    that have answers.

    `columns` are the lane's measured rows.
    """
    found = {metric: _buckets(columns, metric, confidence) for metric in HEADLINES}
    shown = [metric for metric in HEADLINES if len(found[metric]) > 1]
    if not shown:
        return None
    buckets = sorted({bucket for metric in shown for bucket in found[metric]})
    title = f"Does a longer prompt take longer? {visible(lane.name, 40)}"
    height = 1.3 + 0.4 * len(buckets)

    def draw(figure: Figure) -> Mapping[str, str]:
        width = (0.86 - 0.05 * (len(shown) - 1)) / len(shown)
        points: list[tuple[Axes, float, float, str]] = []
        for place, metric in enumerate(shown):
            axes = figure.add_axes(
                (0.125 + place * (width + 0.05), 0.68 / height, width, (height - 1.05) / height)
            )
            latency_axis(axes, _values(found[metric]), METRICS[metric].long_label, along="x")
            axes.set_ylim(len(buckets) - 0.5, -0.5)
            for row, bucket in enumerate(buckets):
                quantiles = found[metric].get(bucket, [])
                points += [
                    (axes, *point)
                    for point in _draw_bucket(axes, row, quantiles, str(lane.buckets[bucket]))
                ]
            rows = np.bincount(columns.schedule["bucket"], minlength=len(lane.buckets))
            names = [
                f"{visible(lane.buckets[bucket], 14)}\n{count(int(rows[bucket]))} rows"
                for bucket in buckets
            ]
            axes.set_yticks(
                range(len(buckets)), [""] * len(buckets) if place else names, fontsize=8
            )
        figure.axes[0].set_title(title)
        said = (
            f"prompt tokens; stroke p50, circle p90, square p99; bars: {per_cent(confidence)}"
            " intervals, arrow: no upper limit"
        )
        figure.text(0.5, 0.1 / height, said, fontsize=8, ha="center")
        return readings(figure, points, along="xy")

    return draw_svg(title, height, draw)


def _buckets(columns: Columns, metric: str, confidence: float) -> dict[int, list[_Quantile]]:
    """The quantiles of each bucket that has an answer with this metric."""
    values, found = latency_ns(columns.samples, metric), {}
    ok, where = columns.ok, np.ascontiguousarray(columns.schedule["bucket"])
    answered = ok & (values >= 0)
    alpha = float((1 - Fraction(str(confidence))) / 2)
    for bucket in np.unique(where).tolist():
        mine = where == bucket
        ordered = np.sort(values[mine & answered]) / MS
        if len(ordered):
            n = len(ordered) + int(np.count_nonzero(mine & ~ok))
            found[bucket] = [_quantile(ordered, n, q, alpha) for q, _, _ in _QUANTILES]
    return found


def _quantile(ordered: Float, n: int, q: Fraction, alpha: float) -> _Quantile:
    """Of n rows, the fastest of which have the latencies `ordered`; inf where it lies among the
    others, or nowhere.
    """
    ranks = quantile_ci_ranks(n, q, alpha)

    def at(rank: int) -> float:
        return float(ordered[rank - 1]) if rank <= len(ordered) else math.inf

    return _Quantile(
        at(nearest_rank(n, q)), at(ranks.lower) if ranks.lower > 0 else 0.0, at(ranks.upper)
    )


def _values(found: Mapping[int, Sequence[_Quantile]]) -> list[float]:
    """All that an axis must hold."""
    every = [value for quantiles in found.values() for quantile in quantiles for value in quantile]
    return [value for value in every if 0 < value < math.inf]


def _draw_bucket(
    axes: Axes, row: int, quantiles: Sequence[_Quantile], name: str
) -> Iterator[tuple[float, float, str]]:
    """Marks and intervals of one bucket. Gives what a reader may ask of each."""
    left, right = axes.get_xlim()
    failed = []
    for (q, mark, size), (value, low, high) in zip(_QUANTILES, quantiles, strict=False):
        label = quantile_name(q)
        axes.plot(
            [max(low, left), min(high, right)],
            [row] * 2,
            color=BLUE,
            linewidth=4,
            alpha=0.4,
            solid_capstyle="butt",
        )
        if value < math.inf:
            axes.plot(
                value,
                row,
                mark,
                color=BLUE,
                markersize=size,
                markeredgewidth=1.6,
                markerfacecolor="none",
            )
        else:
            failed.append(label)
        if high == math.inf:
            axes.plot(right, row, ">", color=BLUE, markersize=5, clip_on=False)
        said = milliseconds(value) if value < math.inf else NO_ANSWER
        limits = f"{number(low)} – {number(high)}" if high < math.inf else f"at least {number(low)}"
        yield min(value, right), row, f"{name} tokens, {label}: {said} ({limits})"
    if failed:
        axes.text(
            right,
            row - 0.18,
            f"{', '.join(failed)} among the failed",
            fontsize=8,
            ha="right",
            va="bottom",
        )
