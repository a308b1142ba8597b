"""The document model: a column is one entry, a node has a rendering in every format."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from bench.show import parts, verdicts
from bench.show.build_server import junit_xml
from bench.show.document import (
    Bullets,
    Code,
    Column,
    Document,
    Drawer,
    Figure,
    Heading,
    Node,
    Pairs,
    Section,
    Strip,
    Text,
    Verdict,
)
from bench.show.last_screen import clause_table
from bench.show.parts import report_document
from bench.show.render_html import html_page
from bench.show.render_markdown import markdown_page
from bench.show.verdicts import Judged
from tests.support.made_runs import Made
from tests.support.screens import screen_lines, text_table

MOON = "phase of the moon"
STRIP = Strip("pro over time", [0, 0, 4, 1], "pro: 1 of 4 slices is worst")
NODES: list[Node] = [
    Heading("a heading"),
    Text("it is 0.06 ms late", "harness"),
    Verdict("PASS"),
    Pairs([("model", "m<b>")]),
    Bullets(["first", "second"]),
    Code("tailproof run x", "again"),
    text_table("sums", ["name", "USD"], [["pro", "1.25"]]),
    Figure("p99", "p99.svg", "<svg><title>p99</title></svg>"),
    STRIP,
    Drawer("more", [Text("folded away")]),
]
DOCUMENT = Document("r-1", "title", "PASS", sections=[Section("s", "Section", NODES)])


def of_the_moon(row: Judged) -> str:
    """A cell that no other column has: of each verdict another."""
    return f"moon {row.record.verdict.lower()}"


def test_a_new_column_is_one_entry(spoilt: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added to the list, it stands in page, Markdown, on the screen and in junit.xml."""
    column: Column[Judged] = Column(MOON, of_the_moon)
    monkeypatch.setattr(verdicts, "VERDICT_COLUMNS", [*verdicts.VERDICT_COLUMNS, column])
    document = replace(report_document(spoilt.run, spoilt.records), brief=())
    page, markdown = html_page(document), markdown_page(document)
    assert page.count(f'<th scope="col">{MOON}</th>') == 1
    for verdict in ("fail", "inconclusive", "reported", "pass"):
        assert f">moon {verdict}</td>" in page
        assert f"| moon {verdict} |" in markdown
    for width in (80, 100):
        lines = screen_lines([clause_table(spoilt.verdicts.clauses, spoilt.verdicts)], width + 60)
        assert max(map(cell_len, lines)) <= width + 60
        assert sum(line.startswith("▲ FAIL") and "moon fail" in line for line in lines) == 1
        assert sum(MOON in line for line in lines) == 1
    assert f"{MOON} moon fail" in junit_xml(spoilt.summary, spoilt.verdicts).decode()


def test_a_new_part_is_one_entry(spoilt: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in its place on the page, numbered and listed like the others."""
    moon = Section("", "The moon", [Text("It was full.")])
    monkeypatch.setattr(parts, "PARTS", [*parts.PARTS[:2], lambda *_: [moon], *parts.PARTS[2:]])
    document = replace(report_document(spoilt.run, spoilt.records), brief=())
    page = html_page(document)
    assert '<a href="#lane-0">The moon</a>' in page
    assert page.index("It was full.") < page.index("What the words mean")
    assert "### The moon\n\nIt was full.\n" in markdown_page(document)


def test_every_node_has_a_place_in_every_format() -> None:
    """Text of each node stands on the page and in Markdown; a screen leaves out what is a picture
    or folded away.
    """
    page, markdown = html_page(DOCUMENT), markdown_page(DOCUMENT)
    lines = screen_lines(NODES, 80)
    assert re.search(r"<details><summary>more</summary>\s*<p>folded away</p>\s*</details>", page)
    assert "<dt>model</dt><dd>m&lt;b&gt;</dd>" in page
    assert "<details><summary>more</summary>\n\nfolded away\n\n</details>" in markdown
    assert "![p99](plots/p99.svg)" in markdown
    assert [figure.file for figure in DOCUMENT.figures()] == ["p99.svg"]
    assert lines == [
        "a heading",
        "harness   it is 0.06 ms late",
        "overall   PASS",
        " model        m<b>",
        "- first",
        "- second",
        "again     tailproof run x",
        "sums",
        "  name    USD",
        "  pro    1.25",
        "pro over time",
        "··█▁",
    ]


def test_a_strip_is_a_mark_a_level() -> None:
    """Neighbours of one level are one mark; who cannot see it is told its numbers."""
    page = html_page(DOCUMENT)
    assert 'aria-label="pro: 1 of 4 slices is worst"' in page
    assert re.findall(r'<rect class="(h\d)" x="(\d)" width="(\d)"', page) == [
        ("h0", "0", "2"),
        ("h4", "2", "1"),
        ("h1", "3", "1"),
    ]
    assert "pro over time: `··█▁` pro: 1 of 4 slices is worst" in markdown_page(DOCUMENT)
