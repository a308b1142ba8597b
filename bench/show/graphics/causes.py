"""Why requests were slow: a card a target, its causes as bars, its time as two stacked bars.

In: sentences, shares with their bounds, mean times by kind. Out: HTML. Must stay true: the bars of
a card share one scale; a share stands in words beside its bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Share:
    """A cause, its share of the slow requests and the bounds that decide."""

    name: str
    share: float
    bounds: tuple[float, float] | None
    says: str

    def markup(self) -> Markup:
        """Name, bar with its line, share."""
        line = Markup("")
        if self.bounds is not None:
            low, high = (min(max(each, 0.0), 1.0) for each in self.bounds)
            line = Markup('<i class="w" style="left:{:.4g}%;width:{:.4g}%"></i>').format(
                100 * low, 100 * (high - low)
            )
        return Markup(
            '<span>{0}</span><div class="bar1" role="img" aria-label="{0}: {1}">'
            '<i class="b" style="width:{2:.4g}%"></i>{3}</div><span class="r">{1}</span>'
        ).format(self.name, self.says, 100 * min(max(self.share, 0.0), 1.0), line)


@dataclass(frozen=True)
class Spent:
    """Where the time of a group of requests went: kinds of time and their mean ms."""

    name: str
    #: class of the colour, ms
    parts: Sequence[tuple[str, float]]
    whole: str
    says: str

    def markup(self, scale_ms: float) -> Markup:
        """The parts end to end, so long as `scale_ms` fills the width."""
        bars, at = list[Markup](), 0.0
        for kind, ms in self.parts:
            wide = 100 * ms / scale_ms
            if wide > 0.15:
                bars.append(
                    Markup('<i class="{}" style="left:{:.4g}%;width:{:.4g}%"></i>').format(
                        kind, at, wide
                    )
                )
            at += wide
        return Markup(
            '<span>{}, mean</span><div class="stk" role="img" aria-label="{}">{}</div>'
            '<span class="r">{}</span>'
        ).format(self.name, self.says, Markup("").join(bars), self.whole)


@dataclass(frozen=True)
class Card:
    """What is known of one target's slow requests."""

    name: str
    about: str
    sentences: Sequence[str]
    shares: Sequence[Share]
    #: slow and other; empty where no answer has both
    spent: Sequence[Spent]
    #: what most of the excess is
    mostly: str

    @property
    def says(self) -> str:
        """Its words, then its bars."""
        bars = [f"{share.name}: {share.says}." for share in self.shares]
        bars += [f"{group.name}: {group.says}." for group in self.spent]
        return f"{self.name}, {self.about}. {' '.join((*self.sentences, *bars))}"

    def markup(self) -> Markup:
        """Name, sentences, bars."""
        shares, spent = Markup(""), Markup("")
        if self.shares:
            shares = Markup(
                '<p class="lab4">share of the slow requests that goes with it</p>'
                '<div class="bars">{}</div>'
            ).format(Markup("").join(each.markup() for each in self.shares))
        if self.spent:
            scale = max(sum(ms for _, ms in each.parts) for each in self.spent)
            spent = Markup(
                '<p class="lab4">where their time went: mostly {}</p><div class="bars">{}</div>'
            ).format(self.mostly, Markup("").join(each.markup(scale or 1.0) for each in self.spent))
        return Markup(
            '<div class="cause"><h3 class="hd4">{} <small>{}</small></h3><p>{}</p>{}{}</div>'
        ).format(self.name, self.about, " ".join(self.sentences), shares, spent)


#: Kinds of time: class of the colour, words; in the order in which they are spent.
KINDS = (
    ("pa-up", "an earlier attempt"),
    ("pa-other", "connection, queue, our lateness"),
    ("pa-first", "server, to first token"),
    ("pa-stall", "longest stall"),
    ("pa-stream", "streaming"),
)


@dataclass(frozen=True)
class Cards:
    """A card a target."""

    cards: Sequence[Card]

    @property
    def says(self) -> str:
        """The words of all."""
        return " ".join(card.says for card in self.cards)

    def markup(self) -> Markup:
        """What the colours mean, then the cards in columns."""
        key = Markup("").join(
            Markup('<span><i class="sw {}"></i>{}</span>').format(kind, words)
            for kind, words in KINDS
        )
        return Markup(
            '<p class="key"><span>Time of a request:</span>{}</p><div class="causes">{}</div>'
        ).format(key, Markup("").join(card.markup() for card in self.cards))
