"""The time of a run as an axis that several figures of a lane share: windows, phases, moments.

In: a lane's record in the manifest and what happened when. Out: edges in s after the run's start,
marks on matplotlib axes, and the range that a page's script needs to zoom. Must stay true: all
figures of a lane over time begin and end at the same moment; no moment is drawn without its words.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.record.records.manifest import LaneRecord
from bench.record.samples import Float
from bench.show.plots.canvas import GREY, INK
from bench.show.wording import exact, visible
from bench.units import S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Lengths of a window that a reader can count in, s.
_STEPS_S = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1200,
    1800,
    3600,
    7200,
    14_400,
    21_600,
    43_200,
    86_400,
    172_800,
    432_000,
    864_000,
)
_WINDOWS_MOST, _TICKS_MOST, _LETTERS = 60, 9, 104


class Moment(NamedTuple):
    """Something that happened at one moment of a run (s after its start)."""

    at_s: float
    says: str


def span_s(lane: LaneRecord, last_due_s: float) -> tuple[float, float]:
    """From the lane's start to its end, or to its last due time where that is later."""
    return lane.start_ns / S, max(lane.end_ns / S, last_due_s + 0.001)


def windows_s(start_s: float, end_s: float, most: int = _WINDOWS_MOST) -> Float:
    """Edges of at most 60 windows of a round length from the start on; the last may end after
    `end_s`.
    """
    step = next(
        (step for step in _STEPS_S if (end_s - start_s) / step <= min(most, _WINDOWS_MOST)),
        (end_s - start_s) / 50,
    )
    windows = max(math.ceil((end_s - start_s) / step - 1e-9), 1)
    return np.array([start_s + step * place for place in range(windows + 1)])


def draw_time_axis(axes: Axes, more: str = "") -> None:
    """Ticks at round due times after the run's start, in s, min or h as its length asks; `more`
    ends the label.
    """
    left, right = axes.get_xlim()
    unit, name = _unit(right)
    step = next(
        (step for step in _STEPS_S if (right - left) / step <= _TICKS_MOST),
        (right - left) / _TICKS_MOST,
    )
    ticks = step * np.arange(math.ceil(left / step - 1e-9), math.floor(right / step + 1e-9) + 1)
    axes.set_xticks(ticks, [exact(tick / unit) for tick in ticks])
    axes.set_xlabel(f"due time, {name} after the start of the run{more}")


def _unit(end_s: float) -> tuple[int, str]:
    """Seconds in a unit of the axis, and its name."""
    return (1, "s") if end_s <= 900 else (60, "min") if end_s <= 6 * 3600 else (3600, "h")


def shade_phases(axes: Axes, lane: LaneRecord, *, named: bool = True) -> None:
    """Shade every other phase and the warm-up; name each where its name fits, once at least."""
    left, right = axes.get_xlim()
    names = list(dict.fromkeys(str(span.phase) for span in lane.phase_spans if not span.warmup))
    said: set[str] = set()
    for span in sorted(lane.phase_spans, key=lambda span: span.start_ns - span.end_ns):
        name, start, end = str(span.phase), span.start_ns / S, span.end_ns / S
        if span.warmup:
            axes.axvspan(start, end, color=GREY, alpha=0.25, linewidth=0)
        elif names.index(name) % 2:
            axes.axvspan(start, end, color=GREY, alpha=0.13, linewidth=0)
        fits = (min(end, right) - max(start, left)) / (right - left) > 0.0115 * len(name)
        if not named or len(lane.phase_spans) < 2 or (name in said and not fits):
            continue
        said.add(name)
        axes.text(
            (max(start, left) + min(end, right)) / 2,
            1.015 if fits else 0.98,
            visible(name, 40),
            fontsize=8,
            ha="center",
            transform=axes.get_xaxis_transform(),
            va="bottom" if fits else "top",
            rotation=0 if fits else 90,
        )


def shown(end_s: float, *moments_s: float) -> str:
    """Moments in the unit of an axis that ends at `end_s`: `12.02 s`, `5.2 to 5.213 h`."""
    unit, name = _unit(end_s)
    return f"{' to '.join(exact(round(moment / unit, 3)) for moment in moments_s)} {name}"


def numbered(moments: Sequence[Moment], end_s: float) -> list[str]:
    """The key to the numbers that `draw_moments` draws, in lines that fit below a figure."""
    said = [
        f"{number} {moment.says}, {shown(end_s, moment.at_s)}".replace(" ", "\u00a0")
        for number, moment in enumerate(moments, 1)
    ]
    return textwrap.wrap("; ".join(said), _LETTERS, break_long_words=False)


def draw_moments(axes: Axes, moments: Sequence[Moment]) -> None:
    """A dotted line at each moment, its number above the axis; numbers that would touch stand as
    one range.
    """
    left, right = axes.get_xlim()
    groups: list[list[int]] = []
    for place, moment in enumerate(moments):
        axes.axvline(min(moment.at_s, right), color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
        if groups and moment.at_s - moments[groups[-1][-1]].at_s < 0.03 * (right - left):
            groups[-1].append(place)
        else:
            groups.append([place])
    for group in groups:
        number = f"{group[0] + 1}" if len(group) == 1 else f"{group[0] + 1}–{group[-1] + 1}"
        at_s = min(moments[group[0]].at_s, right)
        side = "left" if at_s < 0.97 * right + 0.03 * left else "right"
        axes.text(
            at_s,
            0.985,
            number,
            fontsize=7.5,
            fontweight="bold",
            ha=side,
            va="top",
            transform=axes.get_xaxis_transform(),
        )
