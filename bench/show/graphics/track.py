"""The error budget: one axis for every clause, whatever it is about.

In: the share of bad requests and the bounds that decide, each over the share that may be bad. Out:
HTML. Must stay true: the limit lies at 1, so that picture and verdict agree; the axis is the same
in every track.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from bench.show.graphics.mark import shape, tone
from bench.show.graphics.places import log_share

#: Times the budget at the ends of the logarithmic part; left of it a gutter holds 0.
_LOW, _HIGH, _GUTTER = 0.02, 1000.0, 5.0
TICKS = ((0.0, "0"), (0.1, "0.1×"), (1.0, "limit"), (10.0, "10×"), (100.0, "100×"))
#: The least width of a whisker, so that it is seen.
_SEEN = 0.6


def place(times: float) -> float:
    """Where so many times the budget lie, in per cent of the width."""
    if times >= _HIGH:
        return 100.0
    if times <= 0:
        return _GUTTER / 2
    share = log_share(times, _LOW, _HIGH)
    return round(min(max(_GUTTER + (100 - _GUTTER) * share, _GUTTER * 0.6), 100), 2)


@dataclass(frozen=True)
class Track:
    """A clause on the axis: what was measured, the bounds that decide, the verdict's shape."""

    lower: float
    measured: float
    upper: float
    verdict: str
    says: str

    def markup(self) -> Markup:
        """Zone of the breach, decades, limit, whisker and shape."""
        first, last = place(self.lower), place(self.upper)
        grid = Markup("").join(
            Markup('<i class="g" style="left:{}%"></i>').format(place(times))
            for times in (0.1, 10, 100)
        )
        return Markup(
            '<div class="trk" role="img" aria-label="{says}" title="{says}"><i class="z"></i>{grid}'
            '<i class="l" style="left:{limit}%"></i>'
            '<i class="w {tone}" style="left:{first}%;width:{wide:.4g}%"></i>'
            '<svg class="mk" style="left:{at}%" width="11" height="11" viewBox="0 0 11 11"'
            ' aria-hidden="true">{shape}</svg></div>'
        ).format(
            says=self.says,
            grid=grid,
            limit=place(1),
            tone=tone(self.verdict),
            first=first,
            wide=max(last - first, _SEEN),
            at=place(self.measured),
            shape=shape(self.verdict, 5.5, 5.5, 4.6),
        )


@dataclass(frozen=True)
class TrackAxis:
    """The names of the axis's places, to stand above or below tracks."""

    says: str = "0, 0.1, 1 (the limit), 10 and 100 times the budget"

    def markup(self) -> Markup:
        """The names, each at its place."""
        names = Markup("").join(
            Markup('<span style="left:{}%">{}</span>').format(place(times), name)
            for times, name in TICKS
        )
        return Markup('<div class="trk ax" aria-hidden="true">{}</div>').format(names)
