"""A period and when it was down.

In: outages as shares of the period, a name for each of some. Out: HTML. Must stay true: an outage
is seen however short; names do not lie upon one another; thousands of outages stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

#: Of the width, in per cent: places that are told apart, and what a letter of a name takes.
_GRAIN, _LETTER = 0.2, 0.62


@dataclass(frozen=True)
class Spell:
    """Where an outage begins and ends, as shares of the period."""

    start: float
    end: float
    #: shown below where there is room; those that come first have it first
    name: str = ""


@dataclass(frozen=True)
class Outages:
    """The period as a band, its outages as marks."""

    spells: Sequence[Spell]
    #: what the ends of the period are called
    ends: tuple[str, str]
    says: str

    def markup(self) -> Markup:
        """The band, and below it the names for which there is room."""
        marks = Markup("").join(
            Markup('<i style="left:{:.4g}%;width:{:.4g}%"></i>').format(start, wide)
            for start, wide in self._merged()
        )
        return Markup(
            '<div class="mon" role="img" aria-label="{}">{}</div>'
            '<div class="ruler" aria-hidden="true">{}</div>'
        ).format(self.says, marks, Markup("").join(self._names()))

    def _merged(self) -> list[tuple[float, float]]:
        """Start and width in per cent; those too close to be told apart are one."""
        found: list[tuple[float, float]] = []
        for each in sorted(self.spells, key=lambda spell: spell.start):
            start, end = 100 * each.start, 100 * min(each.end, 1.0)
            if found and start <= sum(found[-1]) + _GRAIN:
                begun, wide = found.pop()
                found.append((begun, max(wide, end - begun)))
            else:
                found.append((start, end - start))
        return found

    def _names(self) -> list[Markup]:
        first, last = self.ends
        taken = [(0.0, _LETTER * len(first)), (100 - _LETTER * len(last), 100.0)]
        shown = [
            Markup('<span class="s" style="left:0">{}</span>').format(first),
            Markup('<span class="e" style="left:100%">{}</span>').format(last),
        ]
        for each in self.spells:
            middle, half = 50 * (each.start + each.end), _LETTER * len(each.name) / 2
            free = all(middle + half < low or middle - half > high for low, high in taken)
            if each.name and free:
                taken.append((middle - half, middle + half))
                shown.append(
                    Markup('<span class="tv" style="left:{:.4g}%">{}</span>').format(
                        middle, each.name
                    )
                )
        return shown
