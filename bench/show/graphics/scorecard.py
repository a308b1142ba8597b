"""The scorecard: each target's clauses on the axis of the error budget.

In: cells of clauses, already in words. Out: a matrix of targets by kinds of clause, or for few
targets a row a clause. Must stay true: the verdict's word stands beside its shape; a table stays a
table for who is read to, however narrow the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.show.graphics.mark import VerdictWord
from bench.show.graphics.track import Track, TrackAxis

#: A longer name may be broken anywhere.
_LONG = 20


@dataclass(frozen=True)
class Cell:
    """A clause of one target."""

    value: str
    verdict: str
    #: None where nothing was counted, or nothing is promised
    track: Track | None
    #: its limit, where that is not the column's
    own_limit: str = ""


@dataclass(frozen=True)
class Kind:
    """A column: a kind of clause and the limit that most targets have."""

    title: str
    unit: str
    #: empty where it is only reported
    limit: str


@dataclass(frozen=True)
class Line:
    """A target of a stage."""

    stage: str
    #: its public name, and what it is called within its stage
    name: str
    short: str
    requests: str
    #: nothing was sent
    computed: bool
    #: one a kind; None where it has no such clause
    cells: Sequence[Cell | None]

    @property
    def verdicts(self) -> str:
        """Of all its clauses, for the filter."""
        return " ".join(dict.fromkeys(cell.verdict for cell in self.cells if cell))


@dataclass(frozen=True)
class Matrix:
    """Targets by kinds of clause."""

    kinds: Sequence[Kind]
    lines: Sequence[Line]
    says: str
    #: with a track in each cell
    tracks: bool = True

    def markup(self) -> Markup:
        """The table."""
        body, above = Markup(""), None
        for line in self.lines:
            first = line.stage != above
            span = sum(other.stage == line.stage for other in self.lines) if first else 0
            body += self._row(line, span)
            above = line.stage
        return Markup(
            '<div class="wide" role="group" tabindex="0" aria-label="Scorecard">'
            '<table class="score card{}" role="table"><caption class="vh">{}</caption>'
            "<thead>{}</thead><tbody>{}</tbody></table></div>"
        ).format("" if self.tracks else " many", self.says, self._head(), body)

    def _head(self) -> Markup:
        titles, axes = Markup(""), Markup("")
        for kind in self.kinds:
            if not kind.limit:
                titles += Markup('<th class="num" scope="col">{}</th>').format(kind.title)
                axes += _unit("", kind.unit)
                continue
            span = 3 if self.tracks else 2
            title = Markup('<th class="g0" scope="colgroup" colspan="{}">{} {}</th>')
            titles += title.format(span, kind.title, kind.limit)
            axes += _unit("num", kind.unit) + _unit("", "")
            if self.tracks:
                axes += Markup('<td class="tk">{}</td>').format(TrackAxis().markup())
        return Markup(
            '<tr><th class="word st">stage</th><th class="word">target</th>{}<th>requests</th></tr>'
            '<tr><td class="st"></td><td></td>{}<td></td></tr>'
        ).format(titles, axes)

    def _row(self, line: Line, span: int) -> Markup:
        stage = Markup('<th class="word st{}" scope="rowgroup" rowspan="{}">{}</th>')
        computed = Markup(' <small class="soft">computed</small>') if line.computed else ""
        rest = line.name.removeprefix(line.short)
        long = " long" if len(line.short) > _LONG else ""
        name = Markup(
            '<th class="word tg{}" role="rowheader" scope="row">{}<small class="full">{}</small>{}'
            "</th>"
        ).format(long, line.short, rest, computed)
        cells = Markup("").join(
            self._cell(kind, cell) for kind, cell in zip(self.kinds, line.cells, strict=True)
        )
        return Markup(
            '<tr role="row"{} data-of="{}" data-v="{}">{}{}{}<td class="num few" role="cell"'
            ' data-h="requests">{}</td></tr>'
        ).format(
            Markup(' class="first"') if span else "",
            line.name,
            line.verdicts,
            stage.format(" long" if len(line.stage) > _LONG else "", span, line.stage)
            if span
            else "",
            name,
            cells,
            line.requests,
        )

    def _cell(self, kind: Kind, cell: Cell | None) -> Markup:
        if not kind.limit:
            said = Markup('<td class="num soft few" role="cell" data-h="{}">{}</td>')
            return said.format(kind.title, cell.value if cell else "")
        empty = Markup('<td class="tk none"></td>') if self.tracks else ""
        if cell is None:
            return Markup('<td class="num none"></td><td class="vd none"></td>{}').format(empty)
        limit = cell.own_limit or kind.limit
        own = Markup('<small class="own">{}</small>').format(cell.own_limit)
        label = f"{kind.title} {limit}"
        drawn = Markup('<td class="tk" role="cell">{}</td>')
        return Markup(
            '<td class="num" role="cell" data-h="{label}">{value}</td><td class="vd" role="cell">'
            '<span class="vh">{label}: </span>{word}{own}</td>{track}'
        ).format(
            label=label,
            value=cell.value,
            word=VerdictWord(cell.verdict).markup(),
            own=own if cell.own_limit else "",
            track=(drawn.format(cell.track.markup()) if cell.track else empty)
            if self.tracks
            else "",
        )


@dataclass(frozen=True)
class Row:
    """A clause of one of few targets."""

    #: empty where there is one target
    target: str
    title: str
    limit: str
    cell: Cell
    bound: str
    why: str
    #: the command that would decide it; empty where it is decided
    command: str
    #: the first of its target
    first: bool


@dataclass(frozen=True)
class Forest:
    """Clauses of few targets, a row each."""

    rows: Sequence[Row]
    says: str

    def markup(self) -> Markup:
        """The list, and the axis below."""
        rows = Markup("").join(map(self._row, self.rows))
        axis = Markup(
            '<div class="fr axis" aria-hidden="true"><div></div><div></div><div></div><div>{}</div>'
            "</div>"
        ).format(TrackAxis().markup())
        return Markup('<ol class="forest">{}</ol>{}').format(rows, axis)

    def _row(self, row: Row) -> Markup:
        target = Markup('<small class="tn">{}</small>').format(row.target) if row.target else ""
        command = Markup('<code class="do">{}</code>').format(row.command) if row.command else ""
        return Markup(
            '<li class="fr{first}"><div class="what">{target}{title}<small>{limit}</small></div>'
            '<div>{word}</div><div class="val">{value}<small>{bound}</small></div>'
            '<div>{track}<div class="why">{why}{command}</div></div></li>'
        ).format(
            first=" first" if row.first and row.target else "",
            target=target,
            title=row.title,
            limit=row.limit,
            word=VerdictWord(row.cell.verdict, 15).markup(),
            value=row.cell.value,
            bound=row.bound,
            track=row.cell.track.markup() if row.cell.track else "",
            why=row.why,
            command=command,
        )


@dataclass(frozen=True)
class Legend:
    """What the shapes and the axis mean."""

    says: str

    def markup(self) -> Markup:
        """Three shapes and a sentence."""
        shapes = Markup("").join(
            Markup("<span>{}</span>").format(VerdictWord(each).markup())
            for each in ("PASS", "FAIL", "INCONCLUSIVE")
        )
        return Markup('<div class="key">{}<span>{}</span></div>').format(shapes, self.says)


def _unit(cls: str, unit: str) -> Markup:
    """A unit under a heading; where there is none, no heading without words."""
    tag = "th" if unit else "td"
    return Markup('<{0} class="{1}">{2}</{0}>').format(tag, cls, unit)
