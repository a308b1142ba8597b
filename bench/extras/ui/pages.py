"""The pages of the ui, from what a request asked for.

In: a catalogue and the fields of a request's query. Out: HTML. Must stay true: what cannot be shown
becomes a sentence on a page; every foreign text is escaped and has passed `wording.visible`; each
page can be read and used without a script.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from bench.app.watch_records import status
from bench.errors import RunFolderError, TailproofError, UserError
from bench.extras.ui.catalogue import SORTS, Catalogue, chosen, histories
from bench.extras.ui.clause_panels import clause_panels
from bench.extras.ui.entry import PAGE_FILES, Entry
from bench.extras.ui.growing import SHOWN_QUANTILES, Growing
from bench.extras.ui.history import ClausePanel, History
from bench.extras.ui.so_far import standing_texts
from bench.extras.ui.so_far_figures import figures
from bench.extras.ui.trend import shown, trend_figure, trend_of
from bench.extras.ui.views import (
    COMPARED,
    ComparePage,
    MessagePage,
    Page,
    Query,
    RunsPage,
    StandingPage,
    TrendPage,
    WatchesPage,
    WatchPage,
)
from bench.judge.compare.compared import compare_pair, named_arm
from bench.judge.review import records_of
from bench.metrics import HEADLINES, METRICS
from bench.record.files import refuse_ways_out
from bench.record.run_folder import Run, read_manifest
from bench.show.document import Section
from bench.show.parts import report_document
from bench.show.render_html import html_page, page_environment
from bench.show.tiers import pair_section
from bench.show.watch import watch_result
from bench.show.wording import ABSENT, count, visible

#: What the list's headings are called, where not as what they sort by.
_HEADS = {"started": "when", "name": "run", "worst": "worst clause"}
#: Rows that the list shows at once.
_AT_ONCE = 200
_BODY = re.compile(rb"<body[^>]*>", re.IGNORECASE)


class Pages:
    """Renders; its methods are called on threads."""

    def __init__(self, catalogue: Catalogue):
        self._catalogue = catalogue
        environment = page_environment(Path(__file__).parent)
        environment.filters["visible"] = visible
        self._environment = environment

    def _render(self, page: Page) -> bytes:
        # JSON can hold half a surrogate pair, UTF-8 cannot
        template = self._environment.get_template(f"{page.template}.html")
        return template.render(vars(page), place=page.place).encode("utf-8", "replace")

    def message(self, title: str, sentence: str) -> bytes:
        """A page with one sentence, in place of what was asked for."""
        return self._render(MessagePage(title, visible(sentence, 400)))

    def runs(self, query: Query) -> bytes:
        """The list. Raises RunFolderError when there is no results folder."""
        asked = {key: query.get(key, "") for key in ("words", "verdict", "state")}
        sort, order, below = query.get("sort", "started"), query.get("order"), query.get("in", "")
        entries = self._catalogue.entries(below)
        kept = chosen(entries, **asked, sort=sort, ascending=order == "up")
        history, first = histories(entries), _whole(query.get("from", ""))
        link = {**asked, "in": below, "sort": sort, "order": order or "down"}
        turns = []
        if first > 0:
            turns.append(("before", urlencode({**link, "from": max(first - _AT_ONCE, 0)})))
        if first + _AT_ONCE < len(kept):
            turns.append(("further ones", urlencode({**link, "from": first + _AT_ONCE})))
        return self._render(
            RunsPage(
                entries=[
                    (entry, _history(history.get(entry.name)))
                    for entry in kept[first : first + _AT_ONCE]
                ],
                fitting=len(kept),
                total=len(entries),
                first=first,
                asked=asked,
                heads=_heads(link),
                turns=turns,
                sort=sort,
                order=order or "down",
                folder=visible(self._catalogue.results / below),
                below=below,
                own=self._catalogue.entry(below),
            )
        )

    def report(self, name: str) -> bytes:
        """The page of a run or of another folder, and above it the way back; of a run that has
        none the same page made now and kept nowhere.

        Raises TailproofError.
        """
        folder, entry = self._catalogue.folder(name), self._catalogue.entry(name)
        made = folder / PAGE_FILES.get(entry.kind, "report.html")
        if made.is_file():
            return self._with_way_back(made.read_bytes(), entry)
        if entry.kind != "run":
            raise UserError("has no page", where=name)
        run = Run(folder)
        return self._with_way_back(html_page(report_document(run, records_of(run))).encode(), entry)

    def _with_way_back(self, page: bytes, entry: Entry) -> bytes:
        links = [("tailproof: all runs", "/")]
        if entry.kind == "run":
            links.append(("compare it", f"/compare?run={quote(entry.name, safe='')}"))
            links.append(("trend of its suite", f"/trend?suite={quote(entry.suite, safe='')}"))
        if entry.holds_runs:
            links.append(("its runs", f"/?in={quote(entry.name, safe='')}"))
        body = _BODY.search(page)
        at = body.end() if body else 0
        back = self._environment.get_template("back.html").render(links=links).encode()
        return page[:at] + back + page[at:]

    def compare(self, runs: Sequence[str], query: Query) -> bytes:
        """Two targets side by side, or the choice of them until both are named.

        A refusal is shown on the page.
        """
        part, refused, arms = None, "", list[str]()
        choices = [
            entry
            for entry in chosen(self._catalogue.entries())
            if entry.kind == "run" and entry.problem is None and entry.state != "running"
        ]
        try:
            arms = self._arms(runs)
            if len(arms) < 2 and (runs or len(choices) < 2):
                raise UserError(
                    "compares two targets",
                    remedy="mark one run with several or two runs in the list",
                )
            if query.get("baseline") and query.get("other"):
                part = self._compared(query)
        except TailproofError as error:
            refused = visible(error, 400)
        return self._render(
            ComparePage(
                arms=arms,
                usual=_usual(arms),
                runs=runs,
                choices=choices,
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

    def _named(self, arm: str) -> tuple[str, str]:
        """Run and target of an arm; both names may hold slashes."""
        parts = arm.split("/")
        for end in range(1, len(parts)):
            name, target = "/".join(parts[:end]), "/".join(parts[end:])
            with contextlib.suppress(TailproofError):
                if self._catalogue.entry(name).kind == "run":
                    return name, target
        raise RunFolderError("is not there", where=arm)

    def _lanes(self, name: str) -> list[str]:
        return [lane.name for lane in read_manifest(self._catalogue.folder(name)).lanes]

    def _compared(self, query: Query) -> Section:
        arms, runs = [], []
        for side in ("baseline", "other"):
            name, target = self._named(query[side])
            if self._catalogue.entry(name).state == "running":
                raise UserError(
                    "is still going on", where=name, remedy="compare it once it has ended"
                )
            runs.append(Run(self._catalogue.folder(name)))
            metric = query.get("metric", "")
            arms.append(named_arm(runs[-1], target, metric if metric in COMPARED else COMPARED[0]))
        first, second = arms
        return pair_section(
            compare_pair(
                first, second, runs, margin=query.get("margin") or None, force="force" in query
            )
        )

    def trend(self, query: Query) -> bytes:
        """A suite's clauses over its runs, a panel each; or one number: figure and table.

        Raises RunFolderError when there is no results folder.
        """
        started = chosen([entry for entry in self._catalogue.entries() if entry.kind == "run"])
        suites = list(dict.fromkeys(entry.suite for entry in started if entry.problem is None))
        suite = query.get("suite") or next(iter(suites), "")
        path = query.get("path", "").strip()
        latest_first = [
            entry for entry in started if entry.suite == suite and entry.verdict != ABSENT
        ]
        entries, results = latest_first[::-1], self._catalogue.results
        trend = trend_of(results, entries, path)
        rows = [
            (point, shown(point.value, trend.unit), shown(point.limit, trend.unit))
            for point in reversed(trend.points)
        ]
        panels = [] if path else clause_panels(results, entries)
        return self._render(
            TrendPage(
                suite=suite,
                suites=suites,
                panels=panels,
                answer=_changes(panels),
                query_path=path,
                trend=trend,
                rows=rows,
                figure=trend_figure(trend),
            )
        )

    def watches(self) -> bytes:
        """Runs that go on, and folders of watches. Raises RunFolderError."""
        found = [
            entry
            for entry in chosen([*self._catalogue.entries(), self._catalogue.own()])
            if entry.problem is None and (entry.kind == "watch" or entry.state == "running")
        ]
        return self._render(WatchesPage(found))

    def watch(self, name: str) -> bytes:
        """A run under way or a watch, as far as it is now. Raises TailproofError."""
        folder = self._catalogue.folder(name)
        if self._catalogue.entry(name).kind == "watch":
            for day in filter(Path.is_dir, folder.iterdir()):
                refuse_ways_out(day)
            return self._render(StandingPage(name, watch_result(status(folder)).nodes))
        standing = Growing(folder).now()
        return self._render(
            WatchPage(
                run=name,
                standing=standing,
                texts=standing_texts(standing),
                figures=figures(standing),
                metrics={metric: METRICS[metric].label for metric in HEADLINES},
                quantiles=SHOWN_QUANTILES,
            )
        )


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 7 else 0


def _history(verdicts: Sequence[str] | None) -> History | None:
    return History(verdicts) if verdicts and len(verdicts) > 1 else None


def _heads(link: Mapping[str, str]) -> list[tuple[str, str, str, str | None]]:
    """The list's headings: a click sorts by one, another turns it round."""
    heads: list[tuple[str, str, str, str | None]] = []
    for name in SORTS:
        order, sorted_now = "up", None
        if name == link["sort"]:
            ascending = link["order"] == "up"
            order = "down" if ascending else "up"
            sorted_now = "ascending" if ascending else "descending"
        query = urlencode({**link, "sort": name, "order": order})
        heads.append((name, _HEADS.get(name, name), query, sorted_now))
    return heads


def _changes(panels: Sequence[ClausePanel]) -> str:
    """Which clauses the latest run broke, and which verdicts are other than in the run before."""
    broken = [panel for panel in panels if panel.points[-1].clause.verdict == "FAIL"]
    changed = [
        f"{panel.name} of {panel.target} went from {panel.points[-2].clause.verdict}"
        f" to {panel.points[-1].clause.verdict}"
        for panel in panels
        if len(panel.points) > 1
        and panel.points[-1].clause.verdict != panel.points[-2].clause.verdict
    ]
    clauses = f"{count(len(broken)) if broken else 'none'} of {count(len(panels))}"
    said = f"The latest run breaks {clauses} clause{'s' * (len(panels) != 1)}."
    return f"{said} {'; '.join(changed[:3])}." if changed else said


def _usual(arms: Sequence[str]) -> tuple[str, str]:
    """What is compared by default: the first target with the same target of another run, else with
    the last one.
    """
    first, *others = arms or ("",)
    same = (arm for arm in others if arm.partition("/")[2] == first.partition("/")[2])
    return first, next(same, arms[-1] if arms else "")
