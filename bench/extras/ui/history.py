"""What runs came to, a mark each: a row of them, and a panel over the error budget.

In: verdicts, and clauses on the budget's axis. Out: inline SVG. Must stay true: the axis is that of
the report's tracks, upright; each mark of a panel leads to its run.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.extras.ui.entry import OnBudget
from bench.show.graphics.mark import shape, tone
from bench.show.graphics.palette import PALETTE
from bench.show.graphics.track import TICKS, place

_STEP = 11
_WIDE, _HIGH = 320, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 6, 6


@dataclass(frozen=True)
class History:
    """Earlier runs of the same, the latest last."""

    verdicts: Sequence[str]

    @property
    def says(self) -> str:
        """Each verdict."""
        return f"last {len(self.verdicts)}, the latest last: {', '.join(self.verdicts)}"

    def markup(self) -> Markup:
        """A mark each."""
        return Markup(
            '<svg class="mk hist" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img"'
            ' aria-label="{2}"><title>{2}</title>{3}</svg>'
        ).format(_STEP * len(self.verdicts), _STEP, self.says, _marks(tuple(self.verdicts)))


@functools.lru_cache(4096)  # many runs of a list came to the same
def _marks(verdicts: tuple[str, ...]) -> Markup:
    return Markup("").join(
        shape(verdict, (place_ + 0.5) * _STEP, _STEP / 2, 3.6)
        for place_, verdict in enumerate(verdicts)
    )


@dataclass(frozen=True)
class PanelPoint:
    """A run in a panel."""

    run: str
    link: str
    clause: OnBudget


@dataclass(frozen=True)
class ClausePanel:
    """One clause of one target over the runs, in their order."""

    name: str
    target: str
    points: Sequence[PanelPoint]

    @property
    def says(self) -> str:
        """How many of each verdict, and the latest."""
        last = self.points[-1].clause
        runs = f"{len(self.points)} run{'s' * (len(self.points) != 1)}"
        return f"{self.name} of {self.target} over {runs}; the latest: {last.says}"

    def markup(self) -> Markup:
        """Zone, decades, limit; a line through the runs; of each its bounds and its mark."""
        line = "".join(
            f"{'L' if number else 'M'}{_x(number, len(self.points))} {_y(point.clause.measured)}"
            for number, point in enumerate(self.points)
        )
        return Markup(
            '<svg class="pan" viewBox="0 0 {} {}" role="group" aria-label="{}">{}'
            '<path class="peer" d="{}" fill="none" stroke="{}"/>{}</svg>'
        ).format(
            _WIDE,
            _HIGH,
            self.says,
            _axis(),
            line,
            PALETTE["peer"],
            Markup("").join(self._marks()),
        )

    def _marks(self) -> list[Markup]:
        marks = []
        for number, point in enumerate(self.points):
            x, clause = _x(number, len(self.points)), point.clause
            colour = tone(clause.verdict)
            marks.append(
                Markup(
                    '<a href="{}" aria-label="{}"><title>{}</title>'
                    '<path class="wh {}" d="M{} {}V{}" stroke="{}" stroke-width="1.5"/>{}</a>'
                ).format(
                    point.link,
                    f"{point.run}: {clause.says}",
                    f"{point.run}: {clause.says}",
                    colour,
                    x,
                    _y(clause.lower),
                    _y(clause.upper),
                    PALETTE[colour],
                    shape(clause.verdict, x, _y(clause.measured), 4.2),
                )
            )
        return marks


def _axis() -> Markup:
    parts = [
        Markup('<rect class="zone" x="{}" y="{}" width="{}" height="{}" fill="{}"/>').format(
            _LEFT,
            _TOP,
            _WIDE - _LEFT - _RIGHT,
            round(_y(1) - _TOP, 1),
            PALETTE["zone"],
        )
    ]
    for times, name in TICKS:
        y, limit = _y(times), times == 1
        parts.append(
            Markup(
                '<path class="{}" d="M{} {}H{}" stroke="{}"/><text class="tk" x="{}" y="{}"'
                ' text-anchor="end" font-size="9.5" fill="{}">{}</text>'
            ).format(
                "lim" if limit else "grid",
                _LEFT,
                y,
                _WIDE - _RIGHT,
                PALETTE["ink" if limit else "rule"],
                _LEFT - 4,
                round(y + 3.2, 1),
                PALETTE["soft"],
                name,
            )
        )
    return Markup("").join(parts)


def _x(number: int, runs: int) -> float:
    return round(_LEFT + (_WIDE - _LEFT - _RIGHT) * (number + 0.5) / runs, 1)


def _y(times: float) -> float:
    return round(_HIGH - _BOTTOM - (_HIGH - _TOP - _BOTTOM) * place(times) / 100, 1)
