"""A dot a request over time, of a run that is small enough.

In: moments and latencies. Out: inline SVG with its axes in HTML. Must stay true: a failure is a
dot of its own colour at the top; the dots are round at any width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.show.graphics.palette import PALETTE
from bench.show.graphics.panel import Axis
from bench.show.graphics.places import breach

_WIDE, _HIGH, _FAILED_AT = 1000, 176, 3


@dataclass(frozen=True)
class Dots:
    """Every request of a target by the moment it was due."""

    says: str
    key: str
    #: share of the run, and ms; None: it failed
    dots: Sequence[tuple[float, float | None]]
    axis: Axis
    limit_ms: float | None
    #: length of the run, and half of it, in words
    half: str
    length: str
    seconds: float

    def markup(self) -> Markup:
        """Zone of the breach, dots and axes."""
        return Markup(
            '<p class="key">{}</p><div class="tmd" data-s="{:.6g}" data-y="{:.5g} {:.5g}">'
            '<div class="dots"><svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
            ' aria-label="{}">{}{}{}</svg>{}</div><div class="rlr dr"><span class="s0">0</span>'
            '<span class="m">{}</span><span class="e">{}</span></div></div>'
        ).format(
            self.key,
            self.seconds,
            self.axis.low_ms,
            self.axis.high_ms,
            _WIDE,
            _HIGH,
            self.says,
            self._limit(),
            self._drawn("rd", "ink", 3.4, [dot for dot in self.dots if dot[1] is not None]),
            self._drawn("fd", "fail", 4.5, [dot for dot in self.dots if dot[1] is None]),
            self._ticks(),
            self.half,
            self.length,
        )

    def _y(self, ms: float | None) -> float:
        return _FAILED_AT if ms is None else _HIGH * (1 - self.axis.height(ms))

    def _limit(self) -> Markup:
        if self.limit_ms is None:
            return Markup("")
        return breach(_WIDE, self._y(self.limit_ms))

    def _drawn(
        self, kind: str, colour: str, size: float, dots: Sequence[tuple[float, float | None]]
    ) -> Markup:
        if not dots:
            return Markup("")
        path = "".join(f"M{_WIDE * at:.0f} {self._y(ms):.0f}h0" for at, ms in dots)
        return Markup(
            '<path class="{}" stroke="{}" stroke-opacity=".6" stroke-width="{}"'
            ' stroke-linecap="round"'
            ' vector-effect="non-scaling-stroke" d="{}"/>'
        ).format(kind, PALETTE[colour], size, path)

    def _ticks(self) -> Markup:
        return Markup("").join(
            Markup('<span class="yt" style="top:{:.3g}%">{}</span>').format(
                100 * self._y(ms) / _HIGH, f"{name} s"
            )
            for ms, name in self.axis.ticks(3)
        )
