"""A bar that fills its track.

In: a share of one, and whether it is too much. Out: HTML. Must stay true: what is more than the
whole fills it.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Gauge:
    """How much of the whole."""

    share: float
    says: str
    #: class of its colour; empty for that of plain bars
    tone: str = ""

    def markup(self) -> Markup:
        """The track and the bar."""
        return Markup(
            '<div class="gauge" role="img" aria-label="{}"><i class="{}" style="width:{:.4g}%"></i>'
            "</div>"
        ).format(self.says, self.tone, 100 * min(max(self.share, 0.0), 1.0))
