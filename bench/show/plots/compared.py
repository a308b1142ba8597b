"""Two arms of a comparison: how far apart at each quantile, and how many times as long.

In: one pair of comparisons.json, its name. Out: SVG text, or None where there is nothing to draw.
Must stay true: a bound stands beside every ratio, in the words of the tables, and beside an outcome
the one that decided it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.quantiles import name_of_key
from bench.record.records.comparisons import (
    Comparison,
    PartComparison,
    RatioRecord,
    ShiftPoint,
)
from bench.record.records.verdicts import Interval
from bench.show.plots.canvas import BLUE, GREY, RED, draw_svg, readings
from bench.show.wording import ABSENT, between, exact, milliseconds, number, per_cent, visible
from bench.units import show_bound, show_ratio

#: Where the axis of ratios may have a tick, and where else if it is short.
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_CLOSE_TICKS = (0.7, 0.8, 0.9, 1.1, 1.25, 1.5)


def ratio_words(value: float | None) -> str:
    """`0.403`; absent without one."""
    return ABSENT if value is None else show_ratio(value)


def interval_words(limits: Sequence[float | None]) -> str:
    """`0.389 – 0.415`, or which bound there is."""
    return between(limits, ratio_words, "no bound")


def bound_of_ratio(part: PartComparison, name: str) -> str:
    """`at most 0.925 (97.5 %)`: of the p99 what its outcome was read from, of another quantile its
    95 % interval.
    """
    ratio = part.ratios.get(name)
    if ratio is None:
        return "no bound"
    limits, confidence = ratio_ends(part, name, ratio)
    return show_bound(*limits, show_ratio, confidence)


def ratio_ends(part: PartComparison, name: str, ratio: RatioRecord) -> tuple[Interval, float]:
    """The ends to show beside a ratio, and with which confidence they hold."""
    if name == "p99" and part.bound_of == "p99_ratio" and any(part.bound):
        return part.bound, part.bound_confidence
    return ratio.interval, 0.95


def shift_figure(record: Comparison, pair: str) -> str | None:
    """How many ms the other arm is faster or slower at each quantile of the baseline; None without
    a shift.
    """
    points = record.shift
    if not points:
        return None
    title = f"Where is it faster? {pair}"

    def draw(figure: Any) -> Mapping[str, str]:
        axes = figure.add_axes((0.125, 0.16, 0.83, 0.72))
        axes.set_title(title)
        places = range(len(points))
        low, high = ([point.interval[side] for point in points] for side in (0, 1))
        axes.fill_between(places, low, high, color=BLUE, alpha=0.22, linewidth=0)
        axes.plot(
            places,
            [point.shift_ms for point in points],
            "o-",
            color=BLUE,
            linewidth=1.8,
            markersize=4,
        )
        axes.axhline(0, color=RED, linewidth=1, linestyle=(0, (5, 3)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:+,.6g}" if value else "0")
        axes.set_xticks(
            places,
            [f"p{exact(100 * point.q)}\n{number(point.baseline_ms)}" for point in points],
            fontsize=8,
        )
        axes.set_ylabel("other less baseline, ms")
        axes.set_xlabel(
            "quantile, and the baseline's latency there in ms; band: 95 % for all quantiles at once"
        )
        return readings(
            figure,
            ((axes, place, point.shift_ms, _shifted(point)) for place, point in enumerate(points)),
        )

    return draw_svg(title, 3.5, draw)


def _shifted(point: ShiftPoint) -> str:
    """What a reader may ask of a quantile: `p90: -1,720 ms (-1,910 – -1,330)`."""
    return f"p{exact(100 * point.q)}: {milliseconds(point.shift_ms)} ({between(point.interval)})"


def ratio_figure(record: Comparison, pair: str) -> str | None:
    """The ratio of every quantile, and of the p99 in every part, with its bound and the margin;
    None without any.
    """
    rows = _figure_rows(record)
    if not rows:
        return None
    title = f"How many times as long? {pair}"
    height = 1.15 + 0.24 * len(rows)
    least = 1 - record.margin

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.19, 0.5 / height, 0.5, (height - 0.85) / height))
        axes.set_title(title)
        axes.set_xscale("log")
        axes.axvspan(least, 1 / least, color=GREY, alpha=0.18, linewidth=0)
        axes.axvline(1, color=RED, linewidth=1, linestyle=(0, (5, 3)))
        for place, (_, ratio, limits, said) in enumerate(rows):
            axes.plot(limits, [place, place], color=BLUE, linewidth=1.8)
            axes.plot(ratio, place, "s", color=BLUE, markersize=5)
            axes.text(
                1.02,
                place,
                f"{ratio_words(ratio)}, {said}",
                fontsize=8,
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        ends = [limit for _, _, limits, _ in rows for limit in limits]
        _ratio_axis(axes, min(*ends, least) / 1.1, max(*ends, 1 / least) * 1.1)
        axes.set_xlabel(
            "other over baseline, log scale; line: to its bound, shaded: within the margin of"
            f" {per_cent(record.margin)}"
        )

    return draw_svg(title, height, draw)


def _figure_rows(record: Comparison) -> list[tuple[str, float, tuple[float, float], str]]:
    """(name, ratio, ends of its line, its bound in words) of what has a ratio and a bound."""
    named: list[tuple[str, PartComparison, str]] = [
        (name_of_key(name), record, name) for name in record.ratios
    ]
    named += [
        (f"p99, {visible(name, 16)}", part, "p99")
        for name, part in (*record.by_phase.items(), *record.by_bucket.items())
        if "p99" in part.ratios
    ]
    rows = []
    for label, part, name in named:
        found = part.ratios[name]
        low, high = ratio_ends(part, name, found)[0]
        if found.ratio and (low is not None or high is not None):
            line = low or found.ratio, high or found.ratio
            rows.append((label, found.ratio, line, bound_of_ratio(part, name)))
    return rows


def _ratio_axis(axes: Any, low: float, high: float) -> None:
    """A log axis with few round ticks, more where it is short."""
    ticks = [
        tick
        for tick in sorted(_TICKS + _CLOSE_TICKS)
        if low <= tick <= high and (high / low < 4 or tick in _TICKS)
    ]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [exact(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
