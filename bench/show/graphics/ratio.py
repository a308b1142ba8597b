"""How many times as long: ratios on one logarithmic axis, with the band that does not count.

In: a ratio, the ends of its line, the axis. Out: HTML. Must stay true: all rows of a table have one
axis; an end that is not known runs to the edge; the band is that of the margin on either side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from bench.show.graphics.places import log_share

#: Places that have a name; those within the axis are shown.
_NAMED = (
    (0.01, "÷100"),
    (0.02, "÷50"),
    (0.05, "÷20"),
    (0.1, "÷10"),
    (0.2, "÷5"),
    (0.5, "÷2"),
    (0.8, "÷1.25"),
    (1 / 1.1, "÷1.1"),
    (1.0, "same"),
    (1.1, "×1.1"),
    (1.25, "×1.25"),
    (2.0, "×2"),
    (5.0, "×5"),
    (10.0, "×10"),
    (20.0, "×20"),
    (50.0, "×50"),
    (100.0, "×100"),
)
#: Between names, in per cent of the width; and of a line, so that it is seen.
_APART, _SEEN = 12.0, 0.8


@dataclass(frozen=True)
class RatioScale:
    """The ends of an axis, and the margin within which a difference does not count."""

    first: float
    last: float
    margin: float

    @classmethod
    def around(cls, ratios: Iterable[float], margin: float) -> RatioScale:
        """An axis that holds these ratios and the band."""
        found = [*(ratio for ratio in ratios if 0 < ratio < math.inf), 1 - margin, 1 / (1 - margin)]
        return cls(min(found) / 1.15, max(found) * 1.15, margin)

    def place(self, ratio: float) -> float:
        """Where a ratio lies, in per cent of the width."""
        if ratio <= self.first:
            return 0.0
        return round(100 * min(log_share(ratio, self.first, self.last), 1.0), 2)

    def markup(self) -> Markup:
        """The names of places, each at its own; those too close to a name before are left out."""
        shown = [(1.0, "same")]
        for ratio, name in sorted(_NAMED, key=lambda each: abs(math.log(each[0]))):
            at = self.place(ratio)
            near = any(abs(at - self.place(other)) < _APART for other, _ in shown)
            if self.first < ratio < self.last and not near:
                shown.append((ratio, name))
        names = Markup("").join(
            Markup('<span style="left:{}%">{}</span>').format(self.place(ratio), name)
            for ratio, name in shown
        )
        return Markup('<div class="trk ax rat" aria-hidden="true">{}</div>').format(names)

    @property
    def says(self) -> str:
        """What the axis is of."""
        return "ratio, logarithmic; left of “same” is faster"


@dataclass(frozen=True)
class RatioRow:
    """A ratio on the axis: a dot, and the line to its bounds."""

    ratio: float | None
    #: None: no such end is known
    low: float | None
    high: float | None
    scale: RatioScale
    #: class of its colour: pass is better, fail worse, rep the same, inc undecided
    tone: str
    says: str

    def markup(self) -> Markup:
        """Band, the line of no difference, bounds and dot."""
        at = self.scale.place
        band = at(1 - self.scale.margin), at(1 / (1 - self.scale.margin))
        first = 0.0 if self.low is None else at(self.low)
        last = 100.0 if self.high is None else at(self.high)
        dot = Markup("")
        if self.ratio is not None:
            dot = Markup('<i class="d {}" style="left:{}%"></i>').format(self.tone, at(self.ratio))
        return Markup(
            '<div class="trk rat" role="img" aria-label="{says}" title="{says}">'
            '<i class="eq" style="left:{band}%;width:{band_wide:.4g}%"></i>'
            '<i class="l" style="left:{same}%"></i>'
            '<i class="w {tone}" style="left:{first}%;width:{wide:.4g}%"></i>{dot}</div>'
        ).format(
            says=self.says,
            band=band[0],
            band_wide=band[1] - band[0],
            same=at(1),
            tone=self.tone,
            first=first,
            wide=max(last - first, _SEEN),
            dot=dot,
        )
