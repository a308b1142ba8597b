"""By how much one arm is faster, quantile by quantile.

In: differences in ms with limits that hold for all of them at once. Out: SVG. Must stay true: zero
is always on the axis; below it is faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.record.records.comparisons import ShiftPoint
from bench.show.graphics.alone import Word, alone, fill, stroke
from bench.show.graphics.places import short
from bench.show.wording import exact

_SIZE, _LEFT, _RIGHT, _TOP, _BOTTOM = (330, 150), 46, 322, 10, 122
#: Names below the axis, in the order in which they are given room, and how far they lie apart.
_NAMED, _APART = (0.99, 0.5, 0.9, 0.1, 0.3, 0.7), 30
_TICKS_MOST = 6


@dataclass(frozen=True)
class Shift:
    """Differences at quantiles of the baseline."""

    points: Sequence[ShiftPoint]
    says: str

    def markup(self) -> Markup:
        """Band, line of no difference, differences."""
        low = min(0.0, *(each.interval[0] for each in self.points))
        high = max(0.0, *(each.interval[1] for each in self.points))
        rim = ((high - low) or 1.0) * 0.06
        low, high = low - rim, high + rim

        def x(place: int) -> float:
            return _LEFT + (_RIGHT - _LEFT) * place / max(len(self.points) - 1, 1)

        def y(ms: float) -> float:
            return _BOTTOM - (_BOTTOM - _TOP) * (ms - low) / (high - low)

        places = list(enumerate(self.points))
        upper = [(x(place), y(each.interval[1])) for place, each in places]
        lower = [(x(place), y(each.interval[0])) for place, each in reversed(places)]
        middle = [(x(place), y(each.shift_ms)) for place, each in places]
        shapes = [
            Markup('<path {} d="{}z"/>').format(fill("band"), _line([*upper, *lower])),
            *(
                Word(_signed(tick), _LEFT - 5, y(tick) + 3.5, "end").markup()
                for tick in _ticks(low, high)
            ),
            Markup('<path {} d="M{} {}H{}"/>').format(stroke("faint"), _LEFT, short(y(0)), _RIGHT),
            Markup('<path {} d="{}"/>').format(stroke("ink", 1.7), _line(middle)),
            Markup("").join(
                Markup('<circle {} cx="{}" cy="{}" r="2.2"/>').format(
                    fill("ink"), short(across), short(down)
                )
                for across, down in middle
            ),
            *self._names(x),
        ]
        return alone(_SIZE, self.says, shapes, 10)

    def _names(self, x: Callable[[int], float]) -> list[Markup]:
        found: list[tuple[float, float]] = []
        for q in _NAMED:
            places = [at for at, each in enumerate(self.points) if math.isclose(each.q, q)]
            if places and all(abs(x(places[0]) - other) >= _APART for other, _ in found):
                found.append((x(places[0]), q))
        return [
            Word(
                f"p{exact(100 * q)}",
                across + 6 * (across == _RIGHT),
                _BOTTOM + 19,
                "end" if across == _RIGHT else "middle",
            ).markup()
            for across, q in found
        ]


def _line(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{short(across)} {short(down)}" for across, down in points)


def _ticks(low: float, high: float) -> list[float]:
    step = 10.0 ** math.floor(math.log10(high - low))
    step = step / 2 if (high - low) / step < 3 else step
    found = [place * step for place in range(math.ceil(low / step), math.floor(high / step) + 1)]
    if len(found) > _TICKS_MOST:
        found = [tick for tick in found if round(tick / step) % 2 == 0]
    return found


def _signed(ms: float) -> str:
    return f"{ms:+,.6g}".replace("-", "−") if ms else "0"
