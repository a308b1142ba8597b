"""Strips of time: how bad each slice was, a row a target, aligned by stage.

In: counts by slice, a budget; phases and moments of a stage. Out: inline SVG and HTML around it.
Must stay true: within the budget a slice is grey, for that is allowed; a slice without requests is
empty; a failure is a black foot, in whatever colour the slice is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from bench.show.graphics.palette import PALETTE

V = TypeVar("V")

#: Shares of bad requests up to which a slice has the next level, above the clause's budget.
_UP_TO = (0.1, 0.5)
LEVELS = 5


def level(requests: int, bad: int, allowed: float) -> int | None:
    """0 (none bad), 1 (within the budget), up to 4; None without requests."""
    if not requests:
        return None
    share = bad / requests
    if not bad:
        return 0
    return 1 + sum(share > most for most in (allowed, *(max(most, allowed) for most in _UP_TO)))


@dataclass(frozen=True)
class HeatStrip:
    """One target over time."""

    says: str
    requests: Sequence[int]
    bad: Sequence[int]
    failed: Sequence[int]
    #: the share that may be bad
    allowed: float

    @property
    def levels(self) -> list[int | None]:
        """Of each slice."""
        return [level(n, k, self.allowed) for n, k in zip(self.requests, self.bad, strict=True)]

    def markup(self) -> Markup:
        """A path a level, and one for the feet."""
        levels, paths = self.levels, list[Markup]()
        for each in range(LEVELS):
            found = "".join(
                f"M{first} 0h{end - first}v10h-{end - first}z"
                for first, end, here in equal_runs(levels)
                if here == each
            )
            if found:
                paths.append(
                    Markup('<path class="h{0}" fill="{1}" d="{2}"/>').format(
                        each, PALETTE[f"h{each}"], found
                    )
                )
        feet = "".join(
            f"M{first} 8.2h{end - first}v1.8h-{end - first}z"
            for first, end, failed in equal_runs([count > 0 for count in self.failed])
            if failed
        )
        if feet:
            paths.append(
                Markup('<path class="ink" fill="{}" d="{}"/>').format(PALETTE["ink"], feet)
            )
        return Markup(
            '<svg class="strip" viewBox="0 0 {} 10" preserveAspectRatio="none"'
            ' shape-rendering="crispEdges" role="img" aria-label="{}" data-n="{}">{}</svg>'
        ).format(len(levels), self.says, self._counts(), Markup("").join(paths))

    def _counts(self) -> str:
        """What a script says of a slice: requests, bad and failed, zeros at the end left out."""
        return ",".join(
            "/".join(map(str, (n, k, f) if f else (n, k) if k else (n,)))
            for n, k, f in zip(self.requests, self.bad, self.failed, strict=True)
        )


def equal_runs(values: Sequence[V]) -> list[tuple[int, int, V]]:
    """Neighbours of one value: the first, the place behind the last, the value."""
    found = list[tuple[int, int, V]]()
    for place, value in enumerate(values):
        if found and found[-1][2] == value:
            found[-1] = found[-1][0], place + 1, value
        else:
            found.append((place, place + 1, value))
    return found


@dataclass(frozen=True)
class StripKey:
    """What the colours mean, above the strips of all stages."""

    #: the budgets of the clauses, in words
    budget: str
    says: str = "Darker slices have a larger share of bad requests; a black foot is a failure."

    def markup(self) -> Markup:
        """A swatch a level."""
        words = ("none", f"up to {self.budget}", "up to 10 %", "up to 50 %", "more")
        swatches = Markup("").join(
            Markup('<span><i class="sw k{}"></i>{}</span>').format(each, word)
            for each, word in enumerate(words)
        )
        return Markup(
            '<p class="key"><span>Requests over the limit in each sixtieth of the stage:</span>{}'
            '<span><i class="sw ft"></i>a request failed</span></p>'
        ).format(swatches)


@dataclass(frozen=True)
class Mark:
    """A moment, in per cent of the stage."""

    at: float
    word: str


@dataclass(frozen=True)
class Phase:
    """A stretch, in per cent of the stage; without a name it is a tick."""

    at: float
    wide: float
    name: str = ""


@dataclass(frozen=True)
class StageStrips:
    """The strips of a stage below its ruler."""

    stage: str
    length: str
    #: name, what is said beside it, strip
    rows: Sequence[tuple[str, str, HeatStrip]]
    marks: Sequence[Mark] = ()
    phases: Sequence[Phase] = ()
    #: what the row of phases is called
    phase_word: str = "phase"
    #: its length in seconds, for a script
    seconds: float = 0.0

    @property
    def says(self) -> str:
        """The sentences of all."""
        return " ".join(f"{strip.says}." for _, _, strip in self.rows)

    def markup(self) -> Markup:
        """A row each for ruler, phases and targets."""
        words = Markup("").join(
            Markup(
                '<i style="left:{0:.4g}%"></i><span class="s{2}" style="left:{0:.4g}%">{1}</span>'
            ).format(mark.at, mark.word, " b" if mark.at > 80 else "")
            for mark in self.marks
        )
        lines = Markup("").join(
            Markup('<i class="vl" style="left:{:.4g}%"></i>').format(mark.at) for mark in self.marks
        )
        rows = Markup("").join(
            Markup('<div class="nm" title="{0}">{0}{1}</div><div class="evs">{2}{3}</div>').format(
                name,
                Markup(' <span class="soft">{}</span>').format(note) if note else "",
                lines,
                strip.markup(),
            )
            for name, note, strip in self.rows
        )
        return Markup(
            '<div class="tm grp" data-s="{:.6g}"><h3 class="nm hd">{}</h3><div class="rlr">'
            '<span class="s0">0</span>{}<span class="e">{}</span></div>{}{}</div>'
        ).format(self.seconds, self.stage, words, self.length, self._phases(), rows)

    def _phases(self) -> Markup:
        if not self.phases:
            return Markup("")
        spans = Markup("").join(
            Markup('<span style="left:{:.4g}%;width:{:.4g}%">{}</span>').format(
                phase.at, phase.wide, phase.name
            )
            for phase in self.phases
        )
        return Markup('<div class="nm soft">{}</div><div class="phz">{}</div>').format(
            self.phase_word, spans
        )
