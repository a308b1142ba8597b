"""Cost against tail: which targets no other beats in both.

In: targets with what an answer costs and the p99 of what they answered. Out: SVG. Must stay true:
a target that loses requests is no part of the front, for its p99 is that of the answered ones;
every point has its name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from bench.show.graphics.alone import Word, alone, fill, seconds, stroke
from bench.show.graphics.mark import shape
from bench.show.graphics.places import log_share, short
from bench.show.wording import number, per_cent
from bench.units import show_usd

_SIZE, _LEFT, _RIGHT, _TOP, _BOTTOM = (460, 280), 44, 452, 10, 244
_STEPS = (1, 2, 5)
#: Between two names, up and down; of a name, across.
_LINE, _LETTER = 15.0, 6.1
#: From this place on a name stands left of its point.
_TURN = 0.62
#: As many as a row of names at the foot holds.
_TICKS_MOST = 6


@dataclass(frozen=True)
class Offer:
    """A target, what 1,000 of its answers cost, and its p99 with an interval."""

    name: str
    usd: float
    p99_ms: float
    interval_ms: tuple[float | None, float | None]
    #: share of requests without an answer
    lost: float
    #: of its latency clause
    verdict: str


def unbeaten(offers: Sequence[Offer]) -> list[Offer]:
    """Those that answer all and that no other such is both cheaper and faster than, cheapest
    first.
    """
    whole = sorted(
        (each for each in offers if each.lost < 0.001), key=lambda each: (each.usd, each.p99_ms)
    )
    found: list[Offer] = []
    for each in whole:
        if not found or each.p99_ms < found[-1].p99_ms:
            found.append(each)
    return found


@dataclass(frozen=True)
class Front:
    """The targets of a stage on two logarithmic axes."""

    offers: Sequence[Offer]
    #: None where the stage's targets have no one limit
    limit_ms: float | None
    says: str

    @cached_property
    def _usd(self) -> tuple[float, float]:
        costs = [each.usd for each in self.offers]
        return min(costs) / 1.15, max(costs) * 1.15

    @cached_property
    def _ms(self) -> tuple[float, float]:
        found = [self.limit_ms] if self.limit_ms else []
        found += [ms for each in self.offers for ms in (each.p99_ms, *each.interval_ms) if ms]
        return min(found) / 1.3, max(found) * 1.3

    def _x(self, usd: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * log_share(usd, *self._usd)

    def _y(self, ms: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * log_share(ms, *self._ms)

    def markup(self) -> Markup:
        """Zone of the breach, axes, the front, intervals, shapes and names."""
        front = unbeaten(self.offers)
        shapes = [*self._breach(), *self._axes()]
        if front:
            first, *rest = front
            line = f"M{short(self._x(first.usd))} {_TOP}V{short(self._y(first.p99_ms))}"
            for each in rest:
                line += f"H{short(self._x(each.usd))}V{short(self._y(each.p99_ms))}"
            shapes.append(Markup('<path {} d="{}H{}"/>').format(stroke("faint"), line, _RIGHT))
        for each in self.offers:
            low, high = each.interval_ms
            ends = (short(self._y(ms or each.p99_ms)) for ms in (low, high))
            shapes.append(
                Markup('<path {} d="M{} {}V{}"/>').format(
                    stroke("soft", 1.6), short(self._x(each.usd)), *ends
                )
            )
        shapes += self._names(front)
        shapes += [
            shape(each.verdict, round(self._x(each.usd), 1), round(self._y(each.p99_ms), 1), 5)
            for each in self.offers
        ]
        return alone(_SIZE, self.says, shapes, 12)

    def _breach(self) -> list[Markup]:
        if self.limit_ms is None:
            return []
        at, wide = short(self._y(self.limit_ms)), _RIGHT - _LEFT
        return [
            Markup('<path {} d="M{} {}h{}V{}h-{}z"/>').format(
                fill("zone"), _LEFT, _TOP, wide, at, wide
            ),
            Markup('<path {} stroke-dasharray="1 2.4" d="M{} {}h{}"/>').format(
                stroke("ink"), _LEFT, at, wide
            ),
        ]

    def _axes(self) -> list[Markup]:
        frame = f"M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}"
        shapes = [Markup('<path {} d="{}"/>').format(stroke("faint"), frame)]
        shapes += [
            Word(show_usd(usd), self._x(usd), _BOTTOM + 16, "middle").markup()
            for usd in _round(*self._usd)
        ]
        shapes += [
            Word(seconds(ms), _LEFT - 5, self._y(ms) + 4, "end").markup()
            for ms in _round(*self._ms)
        ]
        said = "USD per 1,000 answers"
        return [*shapes, Word(said, _RIGHT, _BOTTOM + 32, "end").markup()]

    def _names(self, front: Sequence[Offer]) -> list[Markup]:
        """Beside their points, kept apart up and down, with a line to the point where it is not
        near.
        """
        shapes: list[Markup] = []
        for right in (True, False):
            beside = [
                each for each in self.offers if (log_share(each.usd, *self._usd) < _TURN) == right
            ]
            beside.sort(key=lambda each: self._y(each.p99_ms))
            places = _apart([self._y(each.p99_ms) - 5 for each in beside])
            for each, at in zip(beside, places, strict=True):
                x, y = self._x(each.usd), self._y(each.p99_ms)
                text_x = x + 20 if right else x - 20
                ends = x + (6 if right else -6), text_x - (3 if right else -3)
                shapes.append(
                    Markup('<path {} d="M{} {}L{} {}"/>').format(
                        stroke("faint"), short(ends[0]), short(y), short(ends[1]), short(at)
                    )
                )
                lost = f", {per_cent(each.lost, 1)} lost" if each.lost else ""
                shapes.append(
                    Word(
                        f"{each.name} {number(each.p99_ms)} ms{lost}",
                        text_x,
                        at + 4,
                        "start" if right else "end",
                        "ink",
                        each in front,
                    ).markup()
                )
        return shapes


def _round(low: float, high: float) -> list[float]:
    """Round numbers between, few enough to be read."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**decade for decade in decades for step in _STEPS]
    within = [each for each in found if low <= each <= high]
    if len(within) > _TICKS_MOST:
        within = [each for each in within if math.isclose(math.log10(each) % 1, 0, abs_tol=1e-9)]
    return within


def _apart(places: Sequence[float]) -> list[float]:
    """Places in their order, each a line below the one before, and none below the foot."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + _LINE if found else _TOP + 8))
    foot = _BOTTOM - 6.0
    for at in range(len(found) - 1, -1, -1):
        found[at] = min(found[at], foot)
        foot = found[at] - _LINE
    return found
