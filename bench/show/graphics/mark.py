"""The shape of a verdict: it is told by its form first, then by its word, then by its colour.

In: a verdict and a size. Out: inline SVG. Must stay true: the word stands beside the shape, so the
shape itself is hidden from who is read to.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from bench.show.graphics.palette import PALETTE

#: Verdict -> the class and variable of its colour. What is not here is reported, judged by nobody.
TONES = {
    "PASS": "pass",
    "FAIL": "fail",
    "INCONCLUSIVE": "inc",
    "INVALID": "inv",
    "EQUIVALENT": "rep",
}
#: Words that are no verdict of a clause -> the verdict whose shape and colour they have.
LIKE = {
    "AS EXPECTED": "PASS",
    "NOT AS EXPECTED": "FAIL",
    "met": "PASS",
    "NOT MET": "FAIL",
    "MATERIALLY BETTER": "PASS",
    "BETTER": "PASS",
    "MATERIALLY WORSE": "FAIL",
    "WORSE": "FAIL",
}


#: The shape as a character, where there is no picture. What is not here has none.
SHAPES = {"PASS": "●", "FAIL": "▲", "INCONCLUSIVE": "◇", "INVALID": "⊠", "EQUIVALENT": "="}


def shape_of(word: str) -> str:
    """The character of a verdict, or of a word that stands for one."""
    return SHAPES.get(LIKE.get(word, word), "")


def tone(verdict: str) -> str:
    """The class of a verdict's colour."""
    return TONES.get(LIKE.get(verdict, verdict), "rep")


def shape(verdict: str, x: float, y: float, r: float) -> Markup:
    """The verdict's shape around a point of an SVG."""
    colour = tone(verdict)
    match LIKE.get(verdict, verdict):
        case "PASS":
            form = Markup('<circle cx="{}" cy="{}" r="{}"').format(x, y, _short(r * 0.86))
        case "FAIL":
            form = _path(f"M{_short(x)} {_short(y - r)}l{_short(r)} {_short(1.8 * r)}h{-2 * r:g}z")
        case "INCONCLUSIVE":
            q = _short(r * 0.86)
            form = _path(f"M{_short(x)} {_short(y - r * 0.86)}l{q} {q}l-{q} {q}l-{q} -{q}z")
        case "INVALID":
            q, d = _short(r * 0.8), _short(r * 1.6)
            form = _path(
                f"M{_short(x - r * 0.8)} {_short(y - r * 0.8)}h{d}v{d}h-{d}z"
                f"l{d} {d}m0 -{d}l-{d} {d}"
            )
        case "EQUIVALENT":
            at, low, high = _short(x - r), _short(y - r * 0.38), _short(y + r * 0.38)
            form = _path(f"M{at} {low}h{2 * r:g}M{at} {high}h{2 * r:g}")
        case _:
            form = _path(f"M{_short(x)} {_short(y - r)}v{2 * r:g}")
    return Markup('{} class="m {}"{}/>').format(form, colour, _paint(colour, r, verdict))


def _paint(colour: str, r: float, verdict: str) -> Markup:
    """Full where it is settled, hollow or a line where it is not."""
    ink = PALETTE[colour]
    if colour in ("pass", "fail"):
        return Markup(' fill="{}"').format(ink)
    hollow = PALETTE["paper"] if colour in ("inc", "inv") else "none"
    wide = _short(max(r * (0.34 if verdict != "INVALID" else 0.13), 1.4))
    return Markup(' fill="{}" stroke="{}" stroke-width="{}"').format(hollow, ink, wide)


def _path(d: str) -> Markup:
    return Markup('<path d="{}"').format(d)


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Mark:
    """A verdict's shape alone."""

    verdict: str
    size: float = 12

    @property
    def says(self) -> str:
        """Its word."""
        return self.verdict

    def markup(self) -> Markup:
        """The shape, which is no text."""
        half = self.size / 2
        return Markup(
            '<svg class="mk" width="{0:g}" height="{0:g}" viewBox="0 0 {0:g} {0:g}"'
            ' aria-hidden="true">{1}</svg>'
        ).format(self.size, shape(self.verdict, half, half, half - 0.8))


@dataclass(frozen=True)
class VerdictWord:
    """A verdict's shape and its word, in its colour."""

    verdict: str
    size: float = 12
    #: what stands in the word's place
    word: str = ""

    @property
    def says(self) -> str:
        """Its word."""
        return self.word or self.verdict

    def markup(self) -> Markup:
        """Shape and word."""
        return Markup('<span class="v {}">{}<b>{}</b></span>').format(
            tone(self.verdict), Mark(self.verdict, self.size).markup(), self.says
        )
