"""Where things lie in a drawing, and how that is written.

In: values and the ends of their axis. Out: shares of its length, and text for an SVG. Must stay
true: a drawing that is stretched to its width keeps the width of its lines.
"""

from __future__ import annotations

import math

from markupsafe import Markup

from bench.show.graphics.palette import PALETTE


def log_share(value: float, low: float, high: float) -> float:
    """How far along a logarithmic axis: 0 at `low`, 1 at `high`, less or more beyond them."""
    return math.log(value / low) / math.log(high / low)


def short(number: float) -> str:
    """A place in a drawing: one digit after the point is finer than a screen."""
    return f"{number:.1f}".removesuffix(".0")


def breach(wide: int, limit_at: float) -> Markup:
    """From the top down to the limit the zone that breaks it, and the limit dotted, in a drawing
    that is stretched.
    """
    return Markup(
        '<path class="zone" fill="{0}" d="M0 0H{1}V{2}H0z"/><path class="lim" stroke="{3}"'
        ' stroke-dasharray="1 2.4" vector-effect="non-scaling-stroke" d="M0 {2}H{1}"/>'
    ).format(PALETTE["zone"], wide, short(limit_at), PALETTE["ink"])
