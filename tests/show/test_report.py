"""The filed report: what a reader finds in report.html, report.md and junit.xml."""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.judge.review import Records
from bench.metrics import METRICS
from bench.record.records.attribution import Attribution
from bench.record.records.census import (
    CensusClause,
    CensusRecord,
    ExactShare,
    LogRecord,
    Months,
    NeighbourRecord,
    PeriodRecord,
    UnreadableRows,
)
from bench.record.records.summary import Summary
from bench.record.records.verdicts import Credit, Expectation, Forecast, Verdicts
from bench.record.samples import Outcome
from bench.show.document import Table
from bench.show.parts import report_document
from bench.show.report import write_report
from bench.show.uptime import months_drawers
from tests.support.made_runs import Made, MakeRun, rank, spoil_all, spoil_some

EVIL = "<script>alert(1)</script>\u202e\x1b[31m|`x`_*\x00\ufffe&amp; " + "A" * 1_000_000


class Reader(HTMLParser):
    """Collects what a browser would see without scripts: tags, attributes, tables as rows of cells,
    text in order.
    """

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._open = self._unseen = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count a tag; tables begin, rows begin, cells begin."""
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._open = True
        self._unseen = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        """A cell ends."""
        self._unseen = False
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        """Text goes to its cell and to the page; that of scripts and styles is none."""
        if self._unseen:
            self.scripts.append(data)
            return
        self.words.append(data)
        if self._open:
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        """The page's words in order."""
        return " ".join(" ".join(self.words).split())

    def table(self, *headings: str) -> list[dict[str, str]]:
        """The first table with these headings, a dict a row."""
        for head, *rows in self.tables:
            if set(headings) <= set(head):
                return [dict(zip(head, row, strict=True)) for row in rows]
        raise AssertionError(f"no table with {headings}")


def written(made: Made) -> tuple[Reader, str, ET.Element, list[Path]]:
    """The report of a run: page, Markdown, junit root, paths."""
    paths = write_report(made.run, made.records)
    folder = made.run.folder
    junit = ET.fromstring((folder / "junit.xml").read_bytes())  # noqa: S314 made a line above
    return (
        Reader((folder / "report.html").read_text()),
        (folder / "report.md").read_text(),
        junit,
        paths,
    )


def test_the_verdict_comes_first_with_its_numbers(spoilt: Made) -> None:
    """The page's first table is the verdicts, each with measured value, bound, limit, rows and
    what decided it.
    """
    page, markdown, _, _ = written(spoilt)
    table = next(rows for rows in page.tables if "decided by" in rows[0])
    head, first, second, third, *_ = table
    assert head == [
        "target",
        "clause",
        "verdict",
        "measured",
        "bound",
        "limit",
        "n",
        "effective n",
        "decided by",
    ]
    assert first == [
        "standard",
        "response e2e p99",
        "FAIL",
        "3,870 ms",
        "at least 3,610 ms (95 %)",
        "≤ 800 ms",
        "12,000",
        "12,000",
        "611 of 12,000 slow or failed; 120 may be",
    ]
    assert "Verdicts by contract enterprise" in page.text
    assert second[2:7] == [
        "INCONCLUSIVE",
        "99.83 %",
        "between 99.74 and 99.9 % (90 %)",
        "≥ 99.9 %",
        "12,000",
    ]
    assert third[2:7] == ["REPORTED", "181 ms", "at least 178 ms (95 %)", "–", "12,000"]
    assert page.text.index("3,870 ms against 800 ms") < page.text.index("Was each clause kept?")
    assert markdown.index("3,870 ms against 800 ms") < markdown.index("| target |")


def test_the_page_keeps_its_order(spoilt: Made) -> None:
    """Verdicts, harness, paragraph, lanes, definitions, attested terms, facts, repeat command."""
    page, _, _, _ = written(spoilt)
    places = [
        page.text.index(part)
        for part in (
            "FAIL: chat-tiers",
            "3,870 ms against 800 ms",
            "valid: late p99 0.06 ms",
            "Was each clause kept?",
            "611 of 12,000 slow or failed",
            "Statement for the file",
            "On 23 November 2026 this test sent",
            "Every clause with its deciding numbers",
            "model asked for",
            "attested, not measured",
            "enterprise: data stay in the region",
            "What the words mean",
            "Repeat this run",
            "sha256 of the schedule",
        )
    ]
    assert places == sorted(places)


@pytest.mark.figures
def test_key_numbers_are_those_of_the_rows(spoilt: Made) -> None:
    """p99 and max of response and service e2e, sorted out of the samples here, stand in the lane's
    table.
    """
    page, _, _, _ = written(spoilt)
    rows = spoilt.run.columns.lane(0).measured()
    good = [row for row in rows.samples if row["outcome"] == Outcome.ok]
    table = {row["metric"]: row for row in page.table("metric", "p99.9", "n")}
    for name, start in (("e2e, response", "due_ns"), ("e2e, service", "sent_ns")):
        values = [int(row["last_token_ns"] - row[start]) / 1e6 for row in good]
        assert float(table[name]["p99"].replace(",", "")) == pytest.approx(
            rank(values, 0.99), abs=0.5
        )
        assert float(table[name]["max"].replace(",", "")) == pytest.approx(max(values), abs=0.5)
        assert table[name]["n"] == f"{len(good):,}"
    assert table["connect, network's share"]["p50"] == "–"


def test_no_failure_is_hidden(spoilt: Made) -> None:
    """The outcomes of a lane add up to every scheduled row, and what the server said stands beside
    its class.
    """
    page, _, _, _ = written(spoilt)
    table = {row["outcome"]: row for row in page.table("outcome", "what was said")}
    counts = {name: int(row["requests"].replace(",", "")) for name, row in table.items()}
    assert sum(counts.values()) == 1200
    assert counts["http_5xx"] == int(
        (spoilt.run.columns.lane(0).samples["outcome"] == Outcome.http_5xx).sum()
    )
    assert (
        table["http_5xx"]["what was said"] == f"upstream said 503 overloaded ({counts['http_5xx']})"
    )


def test_phases_and_context_buckets_have_their_rows(spoilt: Made) -> None:
    """A table per phase and one per bucket, whose requests add up to the measured rows."""
    page, _, _, _ = written(spoilt)
    for heading, names in (
        ("phase", {"steady", "burst"}),
        ("prompt tokens", {"≤1K", "1K–8K", "8K–32K", ">32K"}),
    ):
        table = page.table(heading, "e2e p99")
        assert {row[heading] for row in table} == names
        assert sum(int(row["requests"].replace(",", "")) for row in table) == 1080


@pytest.mark.figures
def test_the_page_needs_nobody_else(spoilt: Made) -> None:
    """No frame, no link out, no image but inline ones, no script but its own; ids are unique and
    every anchor has its place.
    """
    page, _, _, _ = written(spoilt)
    assert not {tag for tag, _ in page.tags} & {
        "link",
        "iframe",
        "img",
        "object",
        "embed",
        "base",
        "form",
    }
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    references = [
        str(found[key])
        for _, found in page.tags
        for key in ("href", "xlink:href", "src")
        if key in found
    ]
    assert references
    assert all(
        place.startswith("data:image/png;base64,") or place.removeprefix("#") in ids
        for place in references
    )
    policy = next(
        str(found["content"]) for tag, found in page.tags if tag == "meta" and "http-equiv" in found
    )
    assert policy.startswith("default-src 'none'")
    assert not any(
        name.startswith("on") or (tag, name) == ("script", "src")
        for tag, found in page.tags
        for name in found
    )


@pytest.mark.figures
def test_hostile_text_is_harmless_everywhere(make_run: MakeRun) -> None:
    """Markup, terminal escapes, a right-to-left mark, NUL and a megabyte: words on the page, cut,
    in all formats.
    """
    calm, _, _, _ = written(make_run(["a", "b"], rows=200))
    made = make_run([EVIL, "b"], rows=200, spoil=spoil_some, notes=[EVIL], models=[EVIL])
    made.run.columns.samples["served_model"] = 0
    made.run.manifest = made.run.manifest.replace(suite={"name": EVIL, "description": EVIL})
    made.run.lanes[0] = made.run.lanes[0].replace(model=EVIL, notes=[EVIL])
    made.say(reasons=[EVIL])
    made.judge(0, text=EVIL, contract=EVIL, reason=EVIL)
    missed = Expectation(target=EVIL, clause=EVIL, expected="FAIL", got="PASS", met=False)
    made.verdicts = made.verdicts.replace(expects=[missed])
    page, markdown, junit, paths = written(made)
    assert "alert(1)" not in "".join(page.scripts)
    assert sum(tag == "script" for tag, _ in page.tags) == sum(
        tag == "script" for tag, _ in calm.tags
    )
    assert "<script>alert(1)</script>\\u202e\\x1b[31m" in page.text
    for path in paths:
        text = path.read_text()
        assert {
            char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn")
        } <= {"\n"}
        assert "A" * 401 not in text
    assert not re.search(r"(?<!\\)<script", markdown)
    assert any("\\u202e" in str(case.get("classname")) for case in junit.iter("testcase"))


def test_hostile_text_adds_no_column_to_a_markdown_table(make_run: MakeRun) -> None:
    """Every row of a Markdown table has as many unescaped bars as its heading."""
    made = make_run(["a|b", "c"], rows=60, spoil=spoil_some, notes=["x | y\\| z\n| new row |"])
    _, markdown, _, _ = written(made)
    bars: list[int] = []
    for line in markdown.splitlines():
        bars = [*bars, len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))] if line.startswith("|") else []
        assert len(set(bars)) <= 1, line


def test_junit_has_a_case_a_clause(spoilt: Made) -> None:
    """FAIL is a failure, INCONCLUSIVE skipped with its reason, PASS bare; the counts are those of
    the cases.
    """
    _, _, junit, _ = written(spoilt)
    clauses = next(suite for suite in junit if suite.get("name") == "clauses")
    by_verdict = {
        clause.verdict: case for clause, case in zip(spoilt.verdicts.clauses, clauses, strict=True)
    }
    failure, skipped = (
        by_verdict["FAIL"].find("failure"),
        by_verdict["INCONCLUSIVE"].find("skipped"),
    )
    assert failure is not None
    assert failure.get("message") == "611 of 12,000 requests took longer, 100 may"
    assert skipped is not None
    assert skipped.get("message") == "INCONCLUSIVE: 20 failed, between 5 and 22"
    assert len(by_verdict["PASS"]) == 0
    assert (clauses.get("tests"), clauses.get("failures"), clauses.get("skipped")) == (
        "5",
        "1",
        "2",
    )
    assert junit.get("tests") == str(len(list(junit.iter("testcase"))))


@pytest.mark.parametrize(
    ("state", "tag"), [("valid", None), ("degraded", "skipped"), ("invalid", "error")]
)
def test_junit_says_whether_the_harness_was_fit(spoilt: Made, state: str, tag: str | None) -> None:
    """A harness that was the bottleneck is an error of its own, not a failure of the target."""
    spoilt.say(state=state, reasons=["late by 30 ms"])
    _, _, junit, _ = written(spoilt)
    case = next(case for case in junit.iter("testcase") if case.get("name") == "fit to judge")
    assert [child.tag for child in case] == ([tag] if tag else [])


def test_rehearsed_answers_are_cases_and_rows(spoilt: Made) -> None:
    """An expectation that was not met fails in junit and stands on the page; one that was met
    passes.
    """
    met = {
        "target": "standard",
        "clause": "response e2e p99 ≤ 800 ms",
        "expected": "FAIL",
        "got": "FAIL",
        "met": True,
    }
    missed = {**met, "target": "pro", "got": "PASS", "met": False}
    spoilt.verdicts = spoilt.verdicts.replace(expects=[met, missed])
    page, _, junit, _ = written(spoilt)
    cases = list(next(suite for suite in junit if suite.get("name") == "expected answers"))
    assert [len(case) for case in cases] == [0, 1]
    (lesson,) = page.table("lesson", "what was planted")
    assert lesson["expected answers"] == "1 of 2"
    assert lesson["what the test found"].endswith(
        "Expected FAIL, got PASS: pro, response e2e p99 ≤ 800 ms"
    )
    assert "NOT AS EXPECTED" in page.text


@pytest.mark.figures
def test_a_run_without_success_shows_dashes_not_zeros(make_run: MakeRun) -> None:
    """No latency is invented where none was measured, and the paragraph says that nothing was
    answered.
    """
    page, _, _, _ = written(make_run(["only"], rows=60, spoil=spoil_all))
    table = {row["metric"]: row for row in page.table("metric", "p99")}
    assert {table["e2e, response"][key] for key in ("p50", "p99", "max", "mean")} == {"–"}
    assert "“only” answered none of its 60 requests." in page.text


@pytest.mark.figures
@pytest.mark.parametrize(
    ("rows", "state"), [(1, "complete"), (300, "interrupted"), (300, "running")]
)
def test_small_and_broken_off_runs_have_a_report(make_run: MakeRun, rows: int, state: str) -> None:
    """One request, an interrupted run and one whose process died: a whole page, which says what it
    rests on.
    """
    page, _, _, paths = written(make_run(["only"], rows=rows, state=state))
    assert all(path.stat().st_size for path in paths)
    assert ("The run was interrupted" in page.text) == (state != "complete")


def test_an_invalid_run_says_so_before_any_number_and_praises_nobody(spoilt: Made) -> None:
    """The warning stands above the table; the paragraph names no target."""
    spoilt.summary = spoilt.summary.replace(overall="INVALID")
    page, _, _, _ = written(spoilt)
    assert page.text.index("The harness itself was the limit") < page.text.index("3,870 ms")
    assert "nothing is judged" in page.text
    assert "pro answered" not in page.text


@pytest.mark.figures
def test_simulated_and_closed_loop_runs_are_marked(spoilt: Made) -> None:
    """Neither can be taken for a measured, open-loop run."""
    spoilt.run.lanes[1] = spoilt.run.lanes[1].replace(closed_loop=True, simulated=True)
    page, _, _, _ = written(spoilt)
    assert "SIMULATED" in page.text
    assert "not valid for an SLA verdict: pro." in page.text


def test_without_a_contract_nothing_is_judged(spoilt: Made) -> None:
    """No verdict table, no word of a kept promise."""
    spoilt.verdicts = spoilt.verdicts.replace(clauses=[], attested=[])
    spoilt.summary = spoilt.summary.replace(overall="NONE")
    page, markdown, _, _ = written(spoilt)
    assert "No contract was given, so nothing was judged." in page.text
    assert "shown to keep" not in page.text + markdown


@pytest.mark.slow("draws every figure twice")
@pytest.mark.figures
def test_a_report_can_be_made_again(spoilt: Made) -> None:
    """The same run gives the same bytes, and figures of an earlier report do not linger."""
    first = {path: path.read_bytes() for path in write_report(spoilt.run, spoilt.records)}
    stale = spoilt.run.folder / "plots" / "99-gone.svg"
    stale.write_text("<svg/>")
    again = {path: path.read_bytes() for path in write_report(spoilt.run, spoilt.records)}
    assert first == again
    assert not stale.exists()
    assert str(next(iter(first))).endswith("report.html")


@pytest.mark.figures
def test_figures_of_every_target_are_drawn_where_asked(spoilt: Made) -> None:
    """Without that there are those of the page alone, of which this one has none."""
    plots = spoilt.run.folder / "plots"
    write_report(spoilt.run, spoilt.records)
    assert not [*plots.iterdir()]
    asked = write_report(spoilt.run, spoilt.records, plots=True)
    drawn = {path.name for path in plots.iterdir()}
    assert {"00-standard-e2e-percentiles.svg", "01-pro-e2e-percentiles.svg"} <= drawn
    assert drawn == {path.name for path in asked if path.parent == plots}


@pytest.mark.figures
def test_dark_and_print_are_provided_for(spoilt: Made) -> None:
    """The page follows the reader's colour scheme on screen and is laid out for A4 on paper."""
    write_report(spoilt.run, spoilt.records)
    html = (spoilt.run.folder / "report.html").read_text()
    assert "@media screen and (prefers-color-scheme: dark)" in html
    assert "size: A4" in html


def test_optional_parts_of_the_records_may_be_missing(spoilt: Made) -> None:
    """A summary without cost, connect times and rates still makes a page."""
    spoilt.measure(
        "standard",
        cost=None,
        connect_ms=None,
        by_phase={},
        by_bucket={},
        inter_chunk_ms=None,
        offered_rps=None,
        sent_rps=None,
    )
    page, _, _, _ = written(spoilt)
    assert "offered and sent – and –" in page.text


def test_credits_stand_in_the_table_of_verdicts(spoilt: Made) -> None:
    """Where a clause has a ladder there is a column, and no credit is called due."""
    assert "credit, projected" not in written(spoilt)[0].tables[0][0]
    spoilt.judge(1, projected_credit=Credit(share=0.1, at_least=0.0, at_most=0.25))
    page, _, _, _ = written(spoilt)
    cells = [row["credit, projected"] for row in page.table("verdict", "credit, projected")]
    assert cells == ["–", "10 % (0 – 25 %)", "–", "–", "–"]


def test_a_long_reason_that_clauses_share_is_given_once(spoilt: Made) -> None:
    """Its rows refer to it, and below the table it stands whole."""
    reason = "the harness was not valid: it sent late, 30 ms at the p99"
    spoilt.judge(slice(3, None), verdict="INCONCLUSIVE", reason=reason)
    page, _, _, _ = written(spoilt)
    assert [row["decided by"] for row in page.table("verdict", "n")][3:] == ["see (a) below"] * 2
    assert page.text.count(f"(a) {reason}") == 1


def test_confidence_levels_are_told_apart(spoilt: Made) -> None:
    """With contracts of several levels each bound carries its own: of both ends, each one-sided,
    twice as much is missing.
    """
    spoilt.judge(slice(3, None), confidence=0.99, contract="strict")
    rows = written(spoilt)[0].table("verdict", "bound")
    said = [row["bound"].rsplit(" (", 1)[1] for row in rows]
    assert said == ["95 %)", "90 %)", "95 %)", "99 %)", "99 %)"]


def test_an_early_stop_names_the_level_of_its_looks(spoilt: Made) -> None:
    """Four looks at 5 % of error in all: FAIL is judged at 98.75 %, and PASS once, at the end."""
    spoilt.run.manifest = spoilt.run.manifest.replace(early_stop=4)
    assert "looked at 4 times, its end included" in written(spoilt)[0].text
    assert "each look judges FAIL, and the bound that it rests on, at 98.75 %" in (
        written(spoilt)[0].text
    )


def test_a_bill_against_its_forecast_is_a_row_and_a_case(spoilt: Made) -> None:
    """A forecast that was missed makes the run FAIL: it stands among the verdicts, in junit and in
    the paragraph.
    """
    missed = Forecast(
        target="pro",
        stage="chat",
        contract="enterprise",
        text="a month's bill within 5 % of 1,000 USD",
        forecast_usd=1000.0,
        tokens_per_month=10**9,
        within=0.05,
        confidence=0.95,
        projected_usd=1200.0,
        interval_usd=(1100.0, 1300.0),
        run_usd=1.0,
        verdict="FAIL",
        reason="10 % to 30 % off",
    )
    spoilt.verdicts = spoilt.verdicts.replace(forecasts=[missed])
    page, _, junit, _ = written(spoilt)
    row = page.table("verdict", "measured")[-1]
    assert (row["verdict"], row["measured"], row["bound"]) == (
        "FAIL",
        "1,200.00 USD",
        "between 1,100.00 USD and 1,300.00 USD (90 %)",
    )
    case = next(case for case in junit.iter("testcase") if case.get("name") == row["clause"])
    assert [child.tag for child in case] == ["failure"]
    assert "1 was broken (promised: a month's bill within 5 % of 1,000 USD)" in page.text


def test_run_facts_are_words_with_units_each_given_once(spoilt: Made) -> None:
    """No JSON on the page: names, values with their unit, and what the harness said of a target
    stands with it.
    """
    spoilt.run.manifest = spoilt.run.manifest.replace(
        harness={
            "gc_pause_max_ms": 12.34,
            "clock_step_ms": -0.0,
            "cpu_share": 0.163,
            "loop": "uvloop",
            "dead_workers": [],
            "by_worker": [
                {
                    "senders": {
                        "pro": {
                            "transport": "tailproof",
                            "connections_opened": opened,
                            "stamps": "kernel",
                        }
                    }
                }
                for opened in (100, 34)
            ],
            "calibration": {"ceiling_rps": 2000, "ceiling_events_per_s": 48000},
        }
    )
    spoilt.say(facts={**spoilt.summary.health.facts, "gc_pause_max_ms": 12.34})
    page, _, _, _ = written(spoilt)
    said = (
        "gc pause max 12.3 ms, cpu 16.3 %, clock step 0 ms, loop uvloop, calibration: ceiling 2,000"
        " requests/s, ceiling 48,000 chunks/s"
    )
    assert page.text.count(said) == page.text.count("gc pause") == 1
    assert "tailproof, arrivals stamped by the kernel, 134 connections opened" in page.text
    facts = page.text[page.text.index("sha256 of the schedule") :]
    assert not set('{}[]"') & set(facts)
    assert str(spoilt.run.manifest.manifest_sha256) in facts


def test_a_route_is_sent_by_its_legs_and_an_unknown_count_is_left_out(spoilt: Made) -> None:
    """The legs' connections together, one is one; those not trusted where there are any; stamped by
    the kernel only where all are; stock httpx counts none.
    """
    kernel, stock = (
        {"connections_opened": 33, "stamps": "kernel"},
        {"transport": "httpx", "stamps": "user"},
    )
    spoilt.run.manifest = spoilt.run.manifest.replace(
        harness={
            "senders": {
                "pro": {
                    "legs": [
                        kernel,
                        {**kernel, "connections_opened": 3, "connections_held_back": 2},
                    ]
                },
                "standard": {**kernel, "connections_opened": 1, "connections_held_back": 0},
            }
        }
    )
    page, _, _, _ = written(spoilt)
    assert (
        page.text.count(
            "opened; the server hangs up behind answers: 2 times a connection was not used again at"
            " once"
        )
        == 1
    )
    assert "arrivals stamped by the kernel, 36 connections opened" in page.text
    assert "arrivals stamped by the kernel, 1 connection opened" in page.text
    spoilt.run.manifest = spoilt.run.manifest.replace(
        harness={"senders": {"pro": {"legs": [kernel, stock]}, "standard": stock}}
    )
    page, _, _, _ = written(spoilt)
    assert "hangs up" not in page.text
    assert "arrivals stamped by the process, 33 connections opened" in page.text
    assert page.text.count("arrivals stamped by the process") == 2
    assert page.text.count("connections opened") == 1


def test_every_metric_a_contract_can_name_is_defined(spoilt: Made) -> None:
    """The words that clauses are written with stand among the definitions, by the name that clauses
    give them.
    """
    text = written(spoilt)[0].text
    defined = text[text.index("What the words mean") : text.index("Files, digests")]
    assert [
        metric.label
        for metric in METRICS.values()
        if metric.promise and metric.name != "inter_chunk_max" and metric.label not in defined
    ] == []
    assert "inter-chunk gap" in defined


def test_a_census_leaves_open_what_its_bounds_leave_open(spoilt: Made) -> None:
    """A promise that holds at one bound and not at the other is neither kept nor broken; bounds
    stand beside the value.
    """

    def share(value: float) -> ExactShare:
        return ExactShare(share=value, fraction=None)

    clause = CensusClause(
        number=1,
        text="uptime, request ratio ≥ 99.9 %",
        verdict="INCONCLUSIVE",
        reason="its bounds lie on both sides",
        attained=share(0.9985),
        best=share(0.9995),
        worst=share(0.998),
        promised=share(0.999),
        neighbours=[
            NeighbourRecord(definition=name, whose="", attained=share(0.9987), kept=kept)
            for name, kept in (("a", True), ("b", False), ("c", None))
        ],
    )
    period = PeriodRecord(
        period="2026-10",
        start_utc="2026-10-01T00:00:00Z",
        end_utc="2026-11-01T00:00:00Z",
        time_zone="UTC",
        minutes=44_640,
        observed_minutes=44_640,
        coverage=1.0,
        rows=1234,
        excluded={},
        clauses=[clause],
        overall="INCONCLUSIVE",
        credit=None,
    )
    log = LogRecord(
        files=[],
        rows=1234,
        first_utc="2026-10-01T00:00:00Z",
        last_utc="2026-10-31T23:59:00Z",
        columns={},
        notes=[],
        unreadable=UnreadableRows(count=0, first=[]),
    )
    ours = CensusRecord(
        format=CensusRecord.FORMAT,
        contract="c",
        title="c",
        log=log,
        overall="INCONCLUSIVE",
        exit_code=3,
        unusable=[],
        periods=[period],
        attested=[],
        not_stated=[],
    )
    census = Months(format=Months.FORMAT, months={"ours": ours})
    nothing = Attribution(format=1, run="r", state="complete", simulated=False, targets={})
    records = Records(
        Summary.model_validate(spoilt.summary),
        Verdicts.model_validate(spoilt.verdicts),
        nothing,
        None,
        None,
        census,
    )
    document = report_document(spoilt.run, records)
    (section,) = [each for each in document.sections if each.anchor == "uptime"]
    (nearby,) = (table.grid("markdown") for table in section.of(Table))
    assert [row[2] for row in nearby.rows if len(row[0]) == 1] == ["kept", "broken", "open"]
    (drawer,) = months_drawers({"ours": ours})
    (attained,) = drawer.nodes
    assert isinstance(attained, Table)
    assert attained.grid("html").rows[0][1] == "99.85 % (99.8 – 99.95 %)"
    write_report(spoilt.run, records)
    assert (
        "exact arithmetic instead of an interval" in (spoilt.run.folder / "report.html").read_text()
    )


def test_an_older_pdf_does_not_outlive_its_page(spoilt: Made) -> None:
    """A report written again is not filed beside the PDF of the one before."""
    (spoilt.run.folder / "report.pdf").write_bytes(b"of yesterday")
    written(spoilt)
    assert not (spoilt.run.folder / "report.pdf").exists()
