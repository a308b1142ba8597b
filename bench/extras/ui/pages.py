"""The pages of the ui, from what a request asked for.

In: a catalogue and the fields of a request's query. Out: HTML. Must stay true: what cannot be shown
becomes a sentence on a page; every foreign text is escaped and has passed `wording.visible`; each
page can be read and used without a script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode

from bench.errors import TailproofError, UserError
from bench.extras.ui.catalogue import SORTS, Catalogue, Entry, chosen
from bench.extras.ui.growing import SHOWN_QUANTILES, Growing, LaneStanding, Standing
from bench.extras.ui.trend import Point, Trend, shown, trend_figure, trend_of
from bench.judge.compare.compared import compare_pair, named_arm
from bench.judge.review import records_of
from bench.metrics import FROM_DUE, HEADLINES, METRICS
from bench.record.run_folder import Run, read_manifest
from bench.show.document import Section
from bench.show.parts import report_document
from bench.show.render_html import html_page, page_environment
from bench.show.tiers import pair_section
from bench.show.wording import ABSENT, count, counts, milliseconds, per_cent, visible
from bench.units import S, show_duration

Query = Mapping[str, str]
_VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE", "INVALID", "NONE")
_STATES = ("running", "complete", "interrupted")
#: What may be compared, as `tailproof compare --metric` has it.
_COMPARED = tuple(sorted(FROM_DUE))


@dataclass(frozen=True)
class _Page:
    """What a template shows."""

    template: ClassVar[str]


@dataclass(frozen=True)
class _MessagePage(_Page):
    template: ClassVar[str] = "message"
    heading: str
    sentence: str


@dataclass(frozen=True)
class _RunsPage(_Page):
    template: ClassVar[str] = "runs"
    entries: Sequence[Entry]
    #: how many there are, whatever was searched for
    total: int
    asked: Query
    #: name, query and direction of each column that the list may be sorted by
    heads: Sequence[tuple[str, str, str | None]]
    sort: str
    order: str
    folder: str
    verdicts: Sequence[str] = _VERDICTS
    states: Sequence[str] = _STATES


@dataclass(frozen=True)
class _ComparePage(_Page):
    template: ClassVar[str] = "compare"
    arms: Sequence[str]
    #: the two that are marked at first
    usual: tuple[str, str]
    runs: Sequence[str]
    query: Query
    part: Section | None
    #: why there is no comparison
    refused: str
    metrics: Sequence[str] = _COMPARED


@dataclass(frozen=True)
class _TrendPage(_Page):
    template: ClassVar[str] = "trend"
    suite: str
    suites: Sequence[str]
    trend: Trend
    #: each run, its value and its limit
    rows: Sequence[tuple[Point, str, str]]
    figure: str | None


@dataclass(frozen=True)
class _WatchPage(_Page):
    template: ClassVar[str] = "watch"
    run: str
    standing: Standing
    texts: Mapping[str, str]
    #: what each is called
    metrics: Mapping[str, str]
    quantiles: Mapping[str, Fraction]


class Pages:
    """Renders; its methods are called on threads."""

    def __init__(self, catalogue: Catalogue):
        self._catalogue = catalogue
        environment = page_environment(Path(__file__).parent)
        environment.filters["visible"] = visible
        self._templates = {
            name: environment.get_template(f"{name}.html")
            for name in ("runs", "compare", "trend", "watch", "message")
        }

    def _render(self, page: _Page) -> bytes:
        # JSON can hold half a surrogate pair, UTF-8 cannot
        return self._templates[page.template].render(vars(page)).encode("utf-8", "replace")

    def message(self, title: str, sentence: str) -> bytes:
        """A page with one sentence, in place of what was asked for."""
        return self._render(_MessagePage(title, visible(sentence, 400)))

    def runs(self, query: Query) -> bytes:
        """The list. Raises RunFolderError when there is no results folder."""
        asked = {key: query.get(key, "") for key in ("words", "verdict", "state")}
        sort, ascending = query.get("sort", "started"), query.get("order") == "up"
        entries = self._catalogue.entries()
        kept = chosen(entries, **asked, sort=sort, ascending=ascending)
        heads: list[tuple[str, str, str | None]] = []
        for name in SORTS:
            order: str = "up"
            sorted_now: str | None = None
            if name == sort and ascending:
                order, sorted_now = "down", "ascending"
            elif name == sort:
                sorted_now = "descending"
            heads.append((name, urlencode({**asked, "sort": name, "order": order}), sorted_now))
        return self._render(
            _RunsPage(
                entries=kept,
                total=len(entries),
                asked=asked,
                heads=heads,
                sort=sort,
                order=query.get("order", "down"),
                folder=visible(self._catalogue.results),
            )
        )

    def report(self, name: str) -> bytes:
        """The run's own report.html; where it has none, the same page made now and kept nowhere.

        Raises TailproofError.
        """
        folder = self._catalogue.folder(name)
        made = folder / "report.html"
        if made.is_file():
            return made.read_bytes()
        run = Run(folder)
        records = records_of(run)
        return html_page(report_document(run, records)).encode()

    def compare(self, runs: Sequence[str], query: Query) -> bytes:
        """Two targets side by side, or the choice of them until both are named.

        A refusal is shown on the page.
        """
        part, refused, arms = None, "", list[str]()
        try:
            arms = self._arms(runs)
            if len(arms) < 2:
                raise UserError(
                    "compares two targets",
                    remedy="mark one run with several or two runs in the list",
                )
            if query.get("baseline") and query.get("other"):
                part = self._compared(query)
        except TailproofError as error:
            refused = visible(error, 400)
        return self._render(
            _ComparePage(
                arms=arms,
                usual=_usual(arms),
                runs=runs,
                query=query,
                part=part,
                refused=refused,
            )
        )

    def _arms(self, runs: Sequence[str]) -> list[str]:
        arms: list[str] = []
        for name in runs:
            arms += [f"{name}/{lane}" for lane in self._lanes(name)]
        return arms

    def _lanes(self, name: str) -> list[str]:
        return [lane.name for lane in read_manifest(self._catalogue.folder(name)).lanes]

    def _compared(self, query: Query) -> Section:
        arms, runs = [], []
        for side in ("baseline", "other"):
            name, _, target = query[side].partition("/")
            if self._catalogue.entry(name).state == "running":
                raise UserError(
                    "is still going on", where=name, remedy="compare it once it has ended"
                )
            runs.append(Run(self._catalogue.folder(name)))
            metric = query.get("metric", "")
            arms.append(
                named_arm(runs[-1], target, metric if metric in _COMPARED else _COMPARED[0])
            )
        first, second = arms
        return pair_section(
            compare_pair(
                first, second, runs, margin=query.get("margin") or None, force="force" in query
            )
        )

    def trend(self, query: Query) -> bytes:
        """One number over the runs of a suite: figure and table.

        Raises RunFolderError when there is no results folder.
        """
        started = chosen([entry for entry in self._catalogue.entries() if entry.problem is None])
        suites = list(dict.fromkeys(entry.suite for entry in started))
        suite = query.get("suite") or next(iter(suites), "")
        trend = trend_of(self._catalogue, suite, query.get("path", "").strip())
        rows = [
            (point, shown(point.value, trend.unit), shown(point.limit, trend.unit))
            for point in reversed(trend.points)
        ]
        return self._render(_TrendPage(suite, suites, trend, rows, trend_figure(trend)))

    def watch(self, name: str) -> bytes:
        """A run under way, as far as it is now. Raises RunFolderError."""
        standing = Growing(self._catalogue.folder(name)).now()
        return self._render(
            _WatchPage(
                run=name,
                standing=standing,
                texts=standing_texts(standing),
                metrics={metric: METRICS[metric].label for metric in HEADLINES},
                quantiles=SHOWN_QUANTILES,
            )
        )


def _usual(arms: Sequence[str]) -> tuple[str, str]:
    """What is compared by default: the first target with the same target of another run, else with
    the last one.
    """
    first, *others = arms or ("",)
    same = (arm for arm in others if arm.partition("/")[2] == first.partition("/")[2])
    return first, next(same, arms[-1] if arms else "")


def standing_texts(standing: Standing) -> dict[str, str]:
    """Every text of the watch page that changes, by the id of its place."""
    texts = {
        "state": standing.state,
        "when": _when(standing),
        "share": f"{100 * _share(standing):.0f}",
    }
    for index, lane in enumerate(standing.lanes):
        texts |= {f"lane-{index}-{key}": text for key, text in _lane_texts(lane).items()}
    return texts


def _share(standing: Standing) -> float:
    """How much of the run is over: of its time, or of its rows where it has no length of
    its own.
    """
    if standing.state != "running":
        return 1.0
    if standing.planned_ns:
        return min(standing.elapsed_ns / standing.planned_ns, 1.0)
    planned = sum(lane.planned for lane in standing.lanes)
    ended = sum(lane.ended for lane in standing.lanes)
    return min(ended / max(planned, 1), 1.0)


def _when(standing: Standing) -> str:
    elapsed = show_duration(standing.elapsed_ns // S * S)
    return f"{elapsed} of {show_duration(standing.planned_ns)}" if standing.planned_ns else elapsed


def _lane_texts(lane: LaneStanding) -> dict[str, str]:
    failed = {outcome: times for outcome, times in lane.outcomes.items() if outcome != "ok"}
    ok = lane.outcomes.get("ok", 0)
    quantiles = {}
    for metric, found in lane.quantiles_ms.items():
        for name, value in found.items():
            quantiles[f"{metric}-{name}"] = milliseconds(value)
    return {
        "rows": f"{count(lane.ended)} of {count(lane.planned)}",
        "ok": per_cent(ok / lane.ended) if lane.ended else ABSENT,
        "failed": counts(failed) or "none",
        **quantiles,
    }
