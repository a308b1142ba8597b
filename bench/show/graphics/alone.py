"""An SVG that is shown in a page and kept as a file of its own.

In: shapes whose colours are a class each, `f-NAME` a fill and `s-NAME` a stroke. Out: SVG. Must
stay true: it stands by itself, so that its dark colours are in it; the light ones are attributes,
for a printed page styles nothing inside an SVG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from bench.show.graphics.palette import PALETTE
from bench.show.graphics.places import short

#: In the dark, of the colours that such figures use.
_DARK: Mapping[str, str] = {
    "ink": "#e8eaed",
    "soft": "#a6aeb8",
    "faint": "#7d8791",
    "rule": "#30363d",
    "band": "#252b32",
    "zone": "#2a1a17",
    "pass": "#4fd0ae",
    "fail": "#ff8a75",
    "inc": "#b6bdfb",
    "rep": "#a6aeb8",
}
_FONT = "system-ui,'Segoe UI','DejaVu Sans Condensed',sans-serif"


def seconds(ms: float) -> str:
    """A tick of a latency axis: `0.5 s`."""
    return f"{ms / 1000:g} s"


def fill(colour: str) -> Markup:
    """A filled shape's colour."""
    return Markup('class="f-{0}" fill="{1}"').format(colour, PALETTE[colour])


def stroke(colour: str, wide: float = 1) -> Markup:
    """A line's colour and width."""
    return Markup('class="s-{0}" fill="none" stroke="{1}" stroke-width="{2:g}"').format(
        colour, PALETTE[colour], wide
    )


@dataclass(frozen=True)
class Word:
    """A text in a figure."""

    text: str
    x: float
    y: float
    anchor: str = "start"
    colour: str = "soft"
    bold: bool = False

    def markup(self) -> Markup:
        """As SVG has it."""
        return Markup('<text x="{}" y="{}" text-anchor="{}" {}{}>{}</text>').format(
            short(self.x),
            short(self.y),
            self.anchor,
            fill(self.colour),
            Markup(' font-weight="600"') if self.bold else "",
            self.text,
        )


def alone(size: tuple[int, int], says: str, shapes: list[Markup], text_px: float) -> Markup:
    """The whole figure, as wide as its place up to its natural width and a half."""
    dark = Markup("").join(
        Markup(".f-{0}{{fill:{1}}}.s-{0}{{stroke:{1}}}").format(name, colour)
        for name, colour in _DARK.items()
        if any(f'-{name}"' in shape for shape in shapes)
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="alone" viewBox="0 0 {} {}" role="img"'
        ' aria-label="{says}" font-family="{font}" font-size="{px:g}"><title>{says}</title>'
        "<style>@media screen and (prefers-color-scheme:dark){{{dark}}}</style>{shapes}</svg>"
    ).format(
        *size,
        says=says,
        font=_FONT,
        px=text_px,
        dark=dark,
        shapes=Markup("").join(shapes),
    )
