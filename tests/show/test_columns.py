"""The columns of every table are one list of its module, and one more is one more entry."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from rich.cells import cell_len

from bench.record.records.verdicts import ClauseVerdict
from bench.show.document import Column, Document, Section, Table, always, unpictured
from bench.show.render_html import html_page
from bench.show.render_markdown import markdown_page
from bench.show.render_terminal import screen
from bench.show.terminal_cells import STYLES
from bench.show.terminal_tables import RowByRow
from bench.show.verdicts import verdict_table
from tests.support.made_runs import clause_of, verdicts_of
from tests.support.screens import screen_lines

ROOT = Path(__file__).resolve().parents[2]
#: Modules that know the document.
TREES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): ast.parse(text)
    for path in sorted((ROOT / "bench").rglob("*.py"))
    if "from bench.show.document import" in (text := path.read_text("utf-8"))
}
#: (module, list) of the columns of every table.
LISTS = [
    (module, node.target.id)
    for module, tree in TREES.items()
    for node in tree.body
    if isinstance(node, ast.AnnAssign)
    and isinstance(node.target, ast.Name)
    and node.target.id.endswith("_COLUMNS")
]
#: Their rows are drawn before the others are known.
ROW_BY_ROW = ["LIVE_COLUMNS", "NARROW_COLUMNS"]
#: Their screens draw a line a row, the verdict first.
PROMISES = ["CENSUS_COLUMNS", "COMPARED_COLUMNS", "SIZE_COLUMNS", "VERDICT_COLUMNS"]
MOON: Column[Any] = Column("moon", lambda _: "waning", unit="phase", width=14)


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    """Calls of a function or class by its plain name."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def test_the_columns_of_a_table_are_declared_once() -> None:
    """Each table names a list of its module; a list has one place, and a column no other place than
    a list or what makes columns for several.
    """
    names = [name for _, name in LISTS]
    assert len(names) > 20
    assert sorted(set(names)) == sorted(names)
    drawn = set[str]()
    for module, tree in TREES.items():
        within = [each for each in tree.body if isinstance(each, ast.AnnAssign)]
        makers = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and "Column[" in ast.unparse(node.returns or node)
        ]
        held = [call for node in (*within, *makers) for call in calls(node, "Column")]
        assert len(held) == len(calls(tree, "Column")), module
        for call in (*calls(tree, "Table"), *calls(tree, "RowByRow")):
            columns = ast.unparse(call.args[call.func.id == "Table"])  # type: ignore[attr-defined]
            if module != "bench.show.terminal_tables":
                assert (module, columns) in LISTS
                drawn.add(columns)
    assert set(names) - drawn == {"SEEN_COLUMNS"}, "a list of columns that no table has"


def valued(place: int) -> Callable[[Any], str]:
    """A value that no other column has."""
    return lambda _: f"v{place}v"


def columns_of(module: str, name: str) -> list[Column[Any]]:
    """The list with stand-ins for what depends on rows: which columns there are, of what kind and
    where, stays.
    """
    found: list[Column[Any]] = getattr(importlib.import_module(module), name)
    return [
        replace(
            column,
            heading=column.heading if isinstance(column.heading, str) else f"heading {place}",
            value=valued(place),
            coloured_by=lambda _: "PASS",
            show_if=always,
            graphic=unpictured,
            axis=unpictured,
        )
        for place, column in enumerate(found)
    ]


@pytest.mark.parametrize(
    ("module", "name"), [each for each in LISTS if each[1] not in ROW_BY_ROW], ids=lambda each: each
)
def test_a_column_more_is_drawn_by_every_renderer(module: str, name: str) -> None:
    """Added to a copy of the list, it stands with heading, unit and cell on page, in Markdown and
    on screens of 80 and 100 cells, beside the others of that format.
    """
    columns = [*columns_of(module, name), MOON]
    layout: Literal["grid", "promises"] = "promises" if name in PROMISES else "grid"
    table = Table("caption", columns, [object()], layout)
    document = Document("r", "t", "PASS", sections=[Section("s", "S", [table])])
    page, markdown = html_page(document), markdown_page(document)
    assert "moon, phase</th>" in page
    assert ">waning</td>" in page
    assert "| moon, phase |" in markdown
    assert "| waning |" in markdown
    for width in (80, 100):
        lines = screen_lines([table], width)
        assert max(map(cell_len, lines)) <= width
        drawn = " ".join(" ".join(lines).split())
        assert {"moon,", "phase", "waning"} <= set(drawn.split())
    for place, column in enumerate(columns[:-1]):
        assert (f">v{place}v<" in page) == ("html" in column.formats)
        assert (f"| v{place}v |" in markdown) == ("markdown" in column.formats)
        assert (f"v{place}v" in drawn) == ("terminal" in column.formats)


@pytest.mark.parametrize(
    ("module", "name"), [each for each in LISTS if each[1] in ROW_BY_ROW], ids=lambda each: each
)
def test_a_table_drawn_row_by_row_has_it_too(module: str, name: str) -> None:
    """Head and row are as wide as the widths of the columns say, within the window without it."""
    columns = columns_of(module, name)
    assert sum(column.width for column in columns) <= (80 if name == "NARROW_COLUMNS" else 100) - 2
    drawn = RowByRow([*columns, MOON])
    assert [line for line in drawn.head() if line.endswith("   moon, phase")] == drawn.head()[-1:]
    row = drawn.row(object())
    assert row.endswith(f"v{len(columns) - 1}v        waning")
    assert cell_len(row) == sum(column.width for column in columns) + MOON.width


def test_a_cell_stands_in_the_colour_of_its_verdict() -> None:
    """Whatever it says; on a screen the blanks around it and the other cells have none."""
    columns: list[Column[str]] = [
        Column("chance", lambda row: f"{row} %", coloured_by=lambda row: "FAIL" if row else ""),
        Column("said", lambda _: "open", "verdict"),
        Column("verdict", lambda _: "PASS", "verdict"),
    ]
    table = Table("", columns, ["99"])
    text = screen([table], 80)
    assert text.plain.split("\n")[1] == "    99 %   open   PASS"
    coloured = {text.plain[span.start : span.end]: span.style for span in text.spans}
    assert coloured == {"99 %": STYLES["FAIL"], "PASS": STYLES["PASS"]}
    page = html_page(Document("r", "t", "PASS", sections=[Section("s", "S", [table])]))
    assert '<span class="v pass">' in page


def test_a_number_of_a_verdict_says_itself_that_it_is_a_column() -> None:
    """Each field that is `Shown` is one column of the verdicts, written in its own form."""
    (name, said), *_ = ClauseVerdict.shown()
    assert (name, said.form) == ("n", "count")
    clause = clause_of("a", 1, "e2e p99 <= 1s", "e2e", n=12_000)
    table = verdict_table(verdicts_of(["a"]).replace(clauses=[clause]))
    assert table is not None
    grid = table.grid("markdown")
    assert [cell for head, cell in zip(grid.head, grid.rows[0], strict=True) if head == "n"] == [
        "12,000"
    ]
