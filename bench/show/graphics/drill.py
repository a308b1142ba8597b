"""A stage through its faults: each target's tail over time, what it lost, and who answered.

In: a track a target in equal slices, moments of the stage. Out: HTML with stretched SVG. Must stay
true: all tracks have one axis of time and one of latency; a slice without an answer has no point;
what was lost is drawn as a share of its slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from bench.show.graphics.alone import seconds
from bench.show.graphics.palette import PALETTE
from bench.show.graphics.places import breach, log_share, short

_WIDE, _HIGH = 720, 64
#: Least height of what was lost, so that it is seen.
_SEEN = 3.0
#: A letter of a moment's name, in per cent of the width; beyond this place it stands left.
_LETTER, _TURN = 0.95, 70.0
#: Colours of upstreams in their order; all beyond the last have its.
_UPSTREAMS = ("s3", "s2", "s1", "s4")
_DECADES = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)


@dataclass(frozen=True)
class Moment:
    """Something that happened, as a share of the stage."""

    at: float
    name: str
    #: how long after the fault, left out where there is no room
    after: str = ""
    #: the world's doing, or a router's answer to it
    kind: str = "fault"


@dataclass(frozen=True)
class Upstream:
    """Of each slice the share of its answers that came from one endpoint."""

    name: str
    shares: Sequence[float]


@dataclass(frozen=True)
class DrillTrack:
    """A target in equal slices of the stage."""

    name: str
    #: what is said below its name
    about: str
    #: None where nothing was answered
    p99_ms: Sequence[float | None]
    #: of each slice's requests
    lost: Sequence[float]
    limit_ms: float | None
    upstreams: Sequence[Upstream]
    #: a router's own
    moments: Sequence[Moment]
    says: str


@dataclass(frozen=True)
class DrillTracks:
    """The tracks of a stage, one below the other."""

    tracks: Sequence[DrillTrack]
    moments: Sequence[Moment]
    #: what the slices are
    slices: str

    @property
    def says(self) -> str:
        """All tracks."""
        return "; ".join(each.says for each in self.tracks)

    @cached_property
    def _ends(self) -> tuple[float, float]:
        found = [ms for each in self.tracks for ms in each.p99_ms if ms]
        found += [each.limit_ms for each in self.tracks if each.limit_ms]
        return min(found, default=100.0) / 1.5, max(found, default=1000.0) * 1.5

    def _y(self, ms: float) -> float:
        return _HIGH * (1 - log_share(ms, *self._ends))

    def markup(self) -> Markup:
        """Key, names of the moments, tracks."""
        rows = Markup("").join(self._row(each) for each in self.tracks)
        names = Markup("").join(self._named())
        rooms = max((row for row, _ in self._rooms()), default=0) + 1
        return Markup(
            '<div class="drill">{}<div class="when"><div class="nm"></div>'
            '<div class="ruler" style="height:{}rem" aria-hidden="true">{}</div>{}</div></div>'
        ).format(self._key(), rooms, names, rows)

    def _key(self) -> Markup:
        said = [Markup("<span>Line: p99 of each {}, log scale.</span>").format(self.slices)]
        limits = sorted({each.limit_ms for each in self.tracks if each.limit_ms})
        if limits:
            held = ", ".join(map(seconds, limits))
            said.append(Markup("<span>Dotted: limit, {}.</span>").format(held))
        if any(any(each.lost) for each in self.tracks):
            said.append(_swatch("fail", "share of requests lost"))
        named = dict.fromkeys(
            (_colour(place), each.name)
            for track in self.tracks
            for place, each in enumerate(track.upstreams)
        )
        said += [_swatch(colour, f"answered by {name}") for colour, name in named]
        return Markup('<div class="key">{}</div>').format(Markup("").join(said))

    # ---- moments

    def _all_moments(self) -> list[Moment]:
        """Those of the stage, and of its router where it has one alone."""
        routers = [each for each in self.tracks if each.moments]
        own = routers[0].moments if len(routers) == 1 else ()
        return [*self.moments, *own]

    def _rooms(self) -> Iterator[tuple[int, Moment]]:
        """For each moment a row in which its name lies upon no other."""
        taken: list[tuple[int, float, float]] = []
        for moment in self._all_moments():
            low, high = _span(moment)
            row = 0
            while any(at == row and low < end and high > start for at, start, end in taken):
                row += 1
            taken.append((row, low, high))
            yield row, moment

    def _named(self) -> Iterator[Markup]:
        for row, moment in self._rooms():
            after = Markup('<span class="tv"> {}</span>').format(moment.after)
            yield Markup('<span class="{}" style="left:{:.4g}%;top:{}rem">{}{}</span>').format(
                "e" if _left(moment) else "s",
                100 * moment.at,
                row,
                moment.name,
                after if moment.after else "",
            )

    def _lines(self, track: DrillTrack) -> Markup:
        return Markup("").join(
            Markup('<i class="vl {}" style="left:{:.4g}%"></i>').format(
                "" if each.kind == "fault" else "p", 100 * each.at
            )
            for each in (*self.moments, *track.moments)
        )

    # ---- tracks

    def _row(self, track: DrillTrack) -> Markup:
        ticks = Markup("").join(
            Markup('<span class="yl" style="top:{:.0f}%">{}</span>').format(
                100 * self._y(ms) / _HIGH, seconds(ms)
            )
            for ms in _DECADES
            if self._ends[0] * 1.1 < ms < self._ends[1] / 1.1
        )
        row = Markup(
            '<div class="nm">{}<br><span class="soft">{}</span></div>'
            '<div class="dt evs" role="img" aria-label="{says}" title="{says}">{}{}{}</div>'
        ).format(
            track.name,
            track.about,
            ticks,
            self._lines(track),
            self._drawing(track),
            says=track.says,
        )
        return row + self._answered(track) if track.upstreams else row

    def _drawing(self, track: DrillTrack) -> Markup:
        shapes: list[Markup] = []
        if track.limit_ms is not None:
            shapes.append(breach(_WIDE, self._y(track.limit_ms)))
        if any(track.lost):
            shapes.append(
                Markup('<path class="lost" fill="{}" d="{}"/>').format(
                    PALETTE["fail"], _bars(track.lost)
                )
            )
        shapes.append(
            Markup(
                '<path class="cur" fill="none" stroke="{}" stroke-width="1.7"'
                ' stroke-linejoin="round" vector-effect="non-scaling-stroke" d="{}"/>'
            ).format(PALETTE["ink"], self._line(track.p99_ms))
        )
        return _stretched(_WIDE, _HIGH, shapes)

    def _line(self, p99_ms: Sequence[float | None]) -> str:
        wide, d, pen = _WIDE / max(len(p99_ms), 1), "", False
        for place, ms in enumerate(p99_ms):
            if ms is None:
                pen = False
                continue
            d += f"{'L' if pen else 'M'}{short((place + 0.5) * wide)} {short(self._y(ms))}"
            pen = True
        return d

    def _answered(self, track: DrillTrack) -> Markup:
        """Who answered: parts of each slice, one path an upstream."""
        slices = len(track.p99_ms)
        below, shapes = [0.0] * slices, list[Markup]()
        for place, upstream in enumerate(track.upstreams):
            d = ""
            for at, share in enumerate(upstream.shares):
                if share > 0:
                    d += f"M{at} {short(10 * (1 - below[at]))}h1v-{10 * share:.2g}h-1z"
                below[at] += share
            colour = _colour(place)
            shapes.append(
                Markup('<path class="{0}" fill="{1}" d="{2}"/>').format(colour, PALETTE[colour], d)
            )
        names = ", ".join(each.name for each in track.upstreams)
        return Markup(
            '<div class="nm soft ind">answered by</div><div class="dt leg evs" role="img"'
            ' aria-label="who answered {}: {}">{}{}</div>'
        ).format(track.name, names, self._lines(track), _stretched(slices, 10, shapes, crisp=True))


def _stretched(wide: int, high: int, shapes: Sequence[Markup], *, crisp: bool = False) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none"{} aria-hidden="true">{}</svg>'
    ).format(
        wide,
        high,
        Markup(' shape-rendering="crispEdges"') if crisp else "",
        Markup("").join(shapes),
    )


def _bars(shares: Sequence[float]) -> str:
    wide, d = _WIDE / len(shares), ""
    for place, share in enumerate(shares):
        if share > 0:
            high = max(_HIGH * min(share, 1.0), _SEEN)
            d += f"M{short(place * wide)} {_HIGH}v-{short(high)}h{short(wide)}v{short(high)}z"
    return d


def _colour(place: int) -> str:
    return _UPSTREAMS[min(place, len(_UPSTREAMS) - 1)]


def _swatch(colour: str, name: str) -> Markup:
    return Markup('<span><i class="sw" style="background:var(--{})"></i>{}</span>').format(
        colour, name
    )


def _left(moment: Moment) -> bool:
    """Whether its name stands left of it."""
    return 100 * moment.at > _TURN


def _span(moment: Moment) -> tuple[float, float]:
    """What its name takes of the width, in per cent."""
    at, wide = 100 * moment.at, _LETTER * (len(moment.name) + len(moment.after) + 1)
    return (at - wide, at) if _left(moment) else (at, at + wide)
