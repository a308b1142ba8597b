"""What a report or a screen says, before it has a format: a tree of frozen nodes.

In: nothing; the parts of a report and the screens fill it. Out: nodes, which `render_html`,
`render_markdown`, `render_terminal` and `junit` draw. Must stay true: every text can be shown as it
is, for each string that a server or a user's file supplied has passed through `wording.visible`;
a column of a table is one `Column`, whatever the format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from markupsafe import Markup

Row = TypeVar("Row")
AnyNode = TypeVar("AnyNode")
Format = Literal["html", "markdown", "terminal", "junit"]
PAGE: tuple[Format, ...] = ("html", "markdown")
SCREEN: tuple[Format, ...] = ("terminal", "junit")
EVERYWHERE: tuple[Format, ...] = (*PAGE, *SCREEN)
#: A name and what is said of it.
Pair = tuple[str, str]
#: Numbers stand right, words left. `count` has no unit and stands right on every screen, a `number`
#: among promises stands left. `group` is a name that several rows share, `reason` a sentence that
#: a screen writes below its row.
Kind = Literal["number", "count", "words", "group", "verdict", "reason"]


@runtime_checkable
class Graphic(Protocol):
    """A picture that a page draws itself: one module of `graphics` each, a frozen dataclass. Where
    there are no pictures, its sentence stands.
    """

    @property
    def says(self) -> str:
        """The picture in a sentence with its numbers, for who cannot see it."""

    def markup(self) -> Markup:
        """HTML or inline SVG, whose `role="img"` is labelled by the sentence."""


def always(_rows: Sequence[Any]) -> bool:
    """The column is shown whatever the rows are."""
    return True


def plain(_row: Any) -> str:
    """The cell has no colour of a verdict."""
    return ""


def unpictured(_row: Any) -> Graphic | None:
    """The cell is text."""
    return None


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: its heading, the text of its cell in a row, where it is shown."""

    #: a heading that depends on the rows is made from them
    heading: str | Callable[[Sequence[Row]], str]
    value: Callable[[Row], str]
    kind: Kind = "number"
    #: of all its cells, where the caption does not name it; stands behind the heading
    unit: str = ""
    show_if: Callable[[Sequence[Row]], bool] = always
    formats: tuple[Format, ...] = EVERYWHERE
    #: cells that it has on a terminal, in a table of promises (0 is as many as the widest text has)
    #: and in one that is drawn row by row
    width: int = 0
    #: the verdict in whose colour a cell stands; empty for none
    coloured_by: Callable[[Row], str] = plain
    #: what a page draws in a row's cell instead of the text; None for the text
    graphic: Callable[[Row], Graphic | None] = unpictured
    #: the axis of those pictures, which a page draws in place of the heading
    axis: Callable[[Sequence[Row]], Graphic | None] = unpictured

    def title(self, rows: Sequence[Row]) -> str:
        """The heading of these rows."""
        heading = self.heading if isinstance(self.heading, str) else self.heading(rows)
        return f"{heading}, {self.unit}" if self.unit else heading

    def colour(self, row: Row) -> str:
        """The verdict that colours the row's cell: a verdict itself, or what the column says."""
        return self.value(row) if self.kind == "verdict" else self.coloured_by(row)


@dataclass(frozen=True)
class Grid:
    """A table in one format: the columns shown there, their headings, and text."""

    columns: Sequence[Column[Any]]
    head: list[str]
    rows: list[list[str]]
    #: of each cell the verdict in whose colour it stands, or an empty text
    colours: list[list[str]]
    #: of each cell what a page draws instead of its text
    graphics: list[list[Graphic | None]]
    #: of each column the axis of its pictures
    axes: list[Graphic | None]

    @property
    def words(self) -> list[bool]:
        """Which columns stand left."""
        return [column.kind not in ("number", "count") for column in self.columns]


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Rows of any record, and the columns that say what is shown of each.

    The columns are a list of their module, `..._COLUMNS`: one more column is one more entry.
    """

    caption: str
    columns: Sequence[Column[Row]]
    rows: Sequence[Row]
    #: `promises`: on a screen a line a row, the verdict last and its reason below; the caption
    #: heads the first column
    layout: Literal["grid", "promises"] = "grid"

    def grid(self, form: Format) -> Grid:
        """The table as text, with the columns of one format."""
        shown = [
            column
            for column in self.columns
            if form in column.formats and column.show_if(self.rows)
        ]
        return Grid(
            shown,
            [column.title(self.rows) for column in shown],
            [[column.value(row) for column in shown] for row in self.rows],
            [[column.colour(row) for column in shown] for row in self.rows],
            [[column.graphic(row) for column in shown] for row in self.rows],
            [column.axis(self.rows) if self.rows else None for column in shown],
        )


@dataclass(frozen=True)
class Heading:
    """A heading inside a section; 3 is the highest level there."""

    text: str
    level: int = 3


#: How a text is meant. A page has a class of style for each, a screen a colour or none.
Tone = Literal["", "alert", "warning", "strong", "soft", "fail", "remark", "quote"]


@dataclass(frozen=True)
class Text:
    """A paragraph, or behind its label one fact: `harness  valid: late p99 0.06 ms`."""

    text: str
    label: str = ""
    tone: Tone = ""
    #: what the page's own links call it
    anchor: str = ""


@dataclass(frozen=True)
class Verdict:
    """The verdict over everything, alone on its line."""

    verdict: str
    label: str = "overall"
    says: str = ""
    #: what it is of; at the end of its line, or on the next
    aside: str = ""


@dataclass(frozen=True)
class Pairs:
    """Names, each with what is said of it."""

    items: Sequence[Pair]


@dataclass(frozen=True)
class Bullets:
    """Sentences of equal rank."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """A command or a path, to be copied whole: the one thing that may be wider than a screen."""

    text: str
    label: str = ""


@dataclass(frozen=True)
class Figure:
    """An SVG, its title, and the name of its file below plots/."""

    title: str
    file: str
    svg: str
    #: what a page says below or beside it, the title before; empty: the SVG says it all
    about: str = ""


#: Of a strip, by level.
_SLICES = "·▁▃▅█"


@dataclass(frozen=True)
class Strip:
    """One thing over time in equal slices: how bad each was, from 0 (nothing) to 4 (worst)."""

    title: str
    levels: Sequence[int]
    #: the picture in a sentence with its numbers, for who cannot see it
    says: str

    @property
    def marks(self) -> str:
        """A character a slice, the higher the worse."""
        return "".join(_SLICES[level] for level in self.levels)


@dataclass(frozen=True)
class Drawer:
    """Nodes that a page shows when asked, and print always; a screen names it and leaves it out."""

    title: str
    nodes: Sequence[Node]
    #: how many, of what: beside the title
    about: str = ""
    #: a page shows it at once
    open: bool = False


Node: TypeAlias = (
    Heading
    | Text
    | Verdict
    | Pairs
    | Bullets
    | Code
    | Table[Any]
    | Figure
    | Strip
    | Drawer
    | Graphic
)


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading."""

    #: what links call it; empty: it is numbered
    anchor: str
    #: a question; empty: the section has no heading
    title: str
    nodes: Sequence[Node]
    #: what the navigation calls it; empty: it is not listed there
    link: str = ""
    #: its first line, which answers the title's question
    answer: str = ""
    #: the target that all of it is about; empty for what is about several or none
    target: str = ""
    #: begins a sheet of paper
    own_sheet: bool = False

    def of(self, kind: type[AnyNode]) -> list[AnyNode]:
        """Its nodes of one kind, in their order."""
        return [node for node in self.nodes if isinstance(node, kind)]


@dataclass(frozen=True)
class Fact:
    """A line of what a report rests on, beside its verdict."""

    name: str
    value: str
    #: the verdict whose shape stands before it
    mark: str = ""
    #: a word in a frame before it: SIMULATED
    tag: str = ""


@dataclass(frozen=True)
class Document:
    """A whole report."""

    run: str
    title: str
    #: the verdict over everything; NONE where nothing was judged
    overall: str
    #: what stands in the verdict's place: AS EXPECTED; empty for the verdict
    word: str = ""
    #: what the title does not say of what was tested
    about: str = ""
    #: the verdict's cause, and what must be known before the first number is read
    lead: Sequence[Node] = ()
    #: clauses by verdict
    tally: Sequence[tuple[str, int]] = ()
    #: what it rests on
    facts: Sequence[Fact] = ()
    #: what to do next, at most three
    commands: Sequence[Code] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    #: what stands at the foot of every printed page; empty: the run's name
    foot: str = ""
    #: what a pull request's comment shows below the lead; empty: all sections
    brief: Sequence[Node] = ()

    def figures(self) -> Iterable[Figure]:
        """Every figure, in the order of the page."""
        return figures_in(chain.from_iterable(section.nodes for section in self.sections))


def figures_in(nodes: Iterable[Node]) -> Iterable[Figure]:
    """Figures among nodes, those in drawers too."""
    for node in nodes:
        if isinstance(node, Figure):
            yield node
        elif isinstance(node, Drawer):
            yield from figures_in(node.nodes)


def numbered(sections: Iterable[Section]) -> list[Section]:
    """Sections without an anchor get `lane-0`, `lane-1` and so on, and a link by their title."""
    found = list[Section]()
    for section in sections:
        if section.anchor:
            found.append(section)
            continue
        number = sum(bool(each.anchor.startswith("lane-")) for each in found)
        found.append(replace(section, anchor=f"lane-{number}", link=section.title))
    return found
