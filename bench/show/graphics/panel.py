"""Percentile curves: how slow the slowest are, a panel a target, all on the same axes.

In: curves of summary.json, limits, verdicts. Out: inline SVG, and panels side by side. Must stay
true: axes are the same in every panel of a page; a curve leaves through the top where requests
failed; only what a browser and a printer both know stands in the SVG.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.quantiles import P50, P90, P99, P999, by_name
from bench.show.graphics.mark import Mark, shape
from bench.show.graphics.palette import PALETTE
from bench.show.graphics.places import log_share, short

#: A share of the requests and the ms that so many did not exceed; None: so many did not succeed.
Point = tuple[float, float | None]
_TOP_MARGIN, _BOTTOM_MARGIN, _LEFT_MARGIN, _RIGHT_MARGIN = 7, 18, 22, 4
_HALF = math.log10(2)
_TICKS = tuple(by_name(P50, P90, P99, P999).items())
_ENDS = _TICKS[0][0], _TICKS[-1][0]


@dataclass(frozen=True)
class Axis:
    """Latencies in ms from bottom to top, logarithmic, and the ticks in seconds."""

    low_ms: float
    high_ms: float

    @classmethod
    def around(cls, values_ms: Iterable[float]) -> Axis:
        """Holds all values, and a factor of ten at least."""
        values = [value for value in values_ms if value > 0] or [100.0]
        low, high = 0.7 * min(values), 1.3 * max(values)
        if high < 10 * low:
            middle = math.sqrt(low * high)
            low, high = middle / math.sqrt(10), middle * math.sqrt(10)
        return cls(low, high)

    def height(self, ms: float) -> float:
        """Where a latency lies, from 0 at the bottom to 1 at the top."""
        share = log_share(max(ms, 1e-9), self.low_ms, self.high_ms)
        return min(max(share, 0.0), 1.0)

    def ticks(self, least: int = 2) -> list[tuple[float, str]]:
        """Powers of ten; where fewer than `least` lie inside also 2 and 5 times them."""
        first, last = math.log10(self.low_ms), math.log10(self.high_ms)
        inside = math.floor(last) - math.ceil(first) + 1
        every = [
            step * 10.0**power
            for power in range(math.floor(first), math.ceil(last))
            for step in ((1,) if inside >= least else (1, 2, 5))
        ]
        return [(ms, f"{ms / 1000:g}") for ms in every if self.low_ms <= ms <= self.high_ms]


@dataclass(frozen=True)
class Panel:
    """The percentile curve of a target, others in grey behind it."""

    says: str
    curve: Sequence[Point]
    axis: Axis
    limit_ms: float | None = None
    #: the promised percentile, what was measured there (None: no answer), and the verdict
    held: tuple[float, float | None, str] | None = None
    peers: Sequence[Sequence[Point]] = ()
    wide: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """In the units of the SVG, which are pixels where it is not stretched."""
        return (272, 150) if self.wide else (184, 116)

    def markup(self) -> Markup:
        """Zone of the breach, ticks, peers, limit, curve and the verdict's shape."""
        wide, high = self.size
        return Markup(
            '<svg class="pan" viewBox="0 0 {} {}" role="img" aria-label="{}" data-y="{} {}">{}'
            "</svg>"
        ).format(
            wide,
            high,
            self.says,
            short(self.axis.low_ms),
            short(self.axis.high_ms),
            Markup("").join(self._parts()),
        )

    def _x(self, share: float) -> float:
        right = self.size[0] - _RIGHT_MARGIN
        z = min(-math.log10(1 - min(share, 0.999)), 3.0)
        return _LEFT_MARGIN + (right - _LEFT_MARGIN) * (z - _HALF) / (3 - _HALF)

    def _y(self, ms: float) -> float:
        bottom = self.size[1] - _BOTTOM_MARGIN
        return bottom - (bottom - _TOP_MARGIN) * self.axis.height(ms)

    def _parts(self) -> Iterable[Markup]:
        left, right = _LEFT_MARGIN, self.size[0] - _RIGHT_MARGIN
        limit = None if self.limit_ms is None else short(self._y(self.limit_ms))
        if self.limit_ms is not None:
            yield Markup(
                '<rect class="zone" x="{}" y="{}" width="{}" height="{}" fill="{}"/>'
            ).format(
                left,
                _TOP_MARGIN,
                right - left,
                short(self._y(self.limit_ms) - _TOP_MARGIN),
                PALETTE["zone"],
            )
        yield from self._ticks()
        for peer in self.peers:
            yield Markup('<path class="peer" d="{}" fill="none" stroke="{}"/>').format(
                self._path(peer), PALETTE["peer"]
            )
        if limit is not None:
            yield Markup(
                '<path class="lim" d="M{} {}H{}" stroke="{}" stroke-dasharray="1 2.4"/>'
            ).format(left, limit, right, PALETTE["ink"])
        yield Markup(
            '<path class="cur" d="{}" fill="none" stroke="{}" stroke-width="1.9"'
            ' stroke-linejoin="round"/>'
        ).format(self._path(self.curve), PALETTE["ink"])
        if self.curve and self.curve[0][1] is None:
            middle = (left + right) / 2, (self.size[1] - _BOTTOM_MARGIN + _TOP_MARGIN) / 2 + 14
            yield Markup('<g class="tk" font-size="9.5" fill="{}">{}</g>').format(
                PALETTE["soft"], _text(*middle, "middle", "more than half failed")
            )
        if self.held is not None:
            share, ms, verdict = self.held
            y = _TOP_MARGIN + 1 if ms is None else max(self._y(ms), _TOP_MARGIN + 1)
            yield shape(verdict, self._x(share), y, 4.4)

    def _ticks(self) -> Iterable[Markup]:
        left, right, high = _LEFT_MARGIN, self.size[0] - _RIGHT_MARGIN, self.size[1]
        lines, texts = "", list[Markup]()
        for ms, name in self.axis.ticks(3 if self.wide else 2):
            y = self._y(ms)
            lines += f"M{left} {short(y)}H{right}"
            texts.append(_text(left - 4, y + 3.2, "end", name))
        for name, quantile in _TICKS:
            x = self._x(float(quantile))
            anchor = "start" if name == _ENDS[0] else "end" if name == _ENDS[1] else "middle"
            lines += f"M{short(x)} {high - _BOTTOM_MARGIN}v3"
            texts.append(_text(x, high - 5.5, anchor, name))
        yield Markup(
            '<path class="grid" d="{}" stroke="{}"/><g class="tk" font-size="9.5" fill="{}">{}</g>'
        ).format(lines, PALETTE["rule"], PALETTE["soft"], Markup("").join(texts))

    def _path(self, points: Sequence[Point]) -> str:
        drawn = ""
        for share, ms in points:
            if ms is None:
                drawn += f"V{_TOP_MARGIN}" if drawn else ""
                break
            drawn += f"{'L' if drawn else 'M'}{short(self._x(share))} {short(self._y(ms))}"
        return drawn


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        short(x), short(y), anchor, text
    )


@dataclass(frozen=True)
class PanelOf:
    """A panel, whose it is and its numbers in words."""

    name: str
    panel: Panel
    #: the verdict whose shape stands before the name; empty for none
    verdict: str = ""
    note: str = ""
    #: what the panels from here on belong to
    group: str = ""


@dataclass(frozen=True)
class Panels:
    """Panels side by side, those of a group behind its name."""

    key: str
    panels: Sequence[PanelOf]

    @property
    def says(self) -> str:
        """The sentences of all."""
        return " ".join(f"{each.panel.says}." for each in self.panels)

    def markup(self) -> Markup:
        """A grid that has as many columns as fit."""
        big = " big1" if any(each.panel.wide for each in self.panels) else ""
        grouped = any(each.group for each in self.panels)
        cells = Markup("").join(self._cell(each, grouped=grouped) for each in self.panels)
        return Markup('<p class="key">{}</p><div class="pans{}">{}</div>').format(
            self.key, big, cells
        )

    @staticmethod
    def _cell(each: PanelOf, *, grouped: bool) -> Markup:
        group = Markup('<p class="sub st">{}</p>').format(each.group or "\u00a0")
        mark = Markup("")
        if each.verdict:
            mark = Markup('{}<span class="vh">{} </span>').format(
                Mark(each.verdict, 10).markup(), each.verdict
            )
        return Markup(
            '<div>{}<h3 class="hd4">{}<span class="nm">{}</span></h3>{}<p class="sub">{}</p></div>'
        ).format(group if grouped else Markup(""), mark, each.name, each.panel.markup(), each.note)
