"""A few lines that a reader files: framed, with a rule at the left.

In: a first line and what follows it. Out: HTML. Must stay true: it is text, so it is read as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Box:
    """A first line in bold, and sentences."""

    first: str
    then: Sequence[str] = ()

    @property
    def says(self) -> str:
        """All of it."""
        return " ".join([self.first, *self.then])

    def markup(self) -> Markup:
        """The first line, then a line each."""
        lines = Markup("").join(Markup("<br>{}").format(line) for line in self.then)
        return Markup('<div class="credit"><strong>{}</strong>{}</div>').format(self.first, lines)
