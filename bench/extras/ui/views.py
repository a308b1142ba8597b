"""What each template of the ui shows.

In: nothing. Out: a frozen record a page, named after its template. Must stay true: every foreign
text in it has passed `wording.visible`, or is shown through the filter of that name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from markupsafe import Markup

from bench.extras.ui.entry import Entry
from bench.extras.ui.growing import Standing
from bench.extras.ui.history import ClausePanel, History
from bench.extras.ui.trend import Point, Trend
from bench.metrics import FROM_DUE
from bench.show.document import Node, Section

Query = Mapping[str, str]
_VERDICTS = (
    "PASS",
    "FAIL",
    "INCONCLUSIVE",
    "INVALID",
    "NONE",
    "AS EXPECTED",
    "NOT AS EXPECTED",
)
_STATES = ("running", "complete", "interrupted")
#: What may be compared, as `tailproof compare --metric` has it.
COMPARED = tuple(sorted(FROM_DUE))


@dataclass(frozen=True)
class Page:
    """What a template shows."""

    template: ClassVar[str]
    #: the page that the bar marks
    place: ClassVar[str] = ""


@dataclass(frozen=True)
class MessagePage(Page):
    template: ClassVar[str] = "message"
    heading: str
    sentence: str


@dataclass(frozen=True)
class RunsPage(Page):
    template: ClassVar[str] = "runs"
    place: ClassVar[str] = "runs"
    #: each with what it and those before it came to
    entries: Sequence[tuple[Entry, History | None]]
    #: how many fit what was asked, and how many there are
    fitting: int
    total: int
    #: place of the first that is shown
    first: int
    asked: Query
    #: name, label, query and direction of each column that the list may be sorted by
    heads: Sequence[tuple[str, str, str, str | None]]
    #: where further ones are
    turns: Sequence[tuple[str, str]]
    sort: str
    order: str
    folder: str
    #: the folder of the results that is looked into, and what it is itself
    below: str
    own: Entry
    verdicts: Sequence[str] = _VERDICTS
    states: Sequence[str] = _STATES


@dataclass(frozen=True)
class ComparePage(Page):
    template: ClassVar[str] = "compare"
    place: ClassVar[str] = "compare"
    arms: Sequence[str]
    #: the two that are marked at first
    usual: tuple[str, str]
    runs: Sequence[str]
    #: runs to choose from where none was named
    choices: Sequence[Entry]
    query: Query
    part: Section | None
    #: why there is no comparison
    refused: str
    metrics: Sequence[str] = COMPARED


@dataclass(frozen=True)
class TrendPage(Page):
    template: ClassVar[str] = "trend"
    place: ClassVar[str] = "trend"
    suite: str
    suites: Sequence[str]
    panels: Sequence[ClausePanel]
    answer: str
    #: the number that was asked for
    query_path: str
    trend: Trend
    #: each run, its value and its limit
    rows: Sequence[tuple[Point, str, str]]
    figure: str | None


@dataclass(frozen=True)
class WatchesPage(Page):
    template: ClassVar[str] = "watches"
    place: ClassVar[str] = "watch"
    entries: Sequence[Entry]


@dataclass(frozen=True)
class StandingPage(Page):
    template: ClassVar[str] = "standing"
    place: ClassVar[str] = "watch"
    name: str
    said: Sequence[Node]


@dataclass(frozen=True)
class WatchPage(Page):
    template: ClassVar[str] = "watch"
    place: ClassVar[str] = "watch"
    run: str
    standing: Standing
    texts: Mapping[str, str]
    #: percentile curves and strips of time
    figures: Markup
    #: what each is called
    metrics: Mapping[str, str]
    quantiles: Mapping[str, Fraction]
