"""Where a run was sent from, and what its verdict leaves out, as a reader meets it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import numpy as np
import pytest
from rich.cells import cell_len

from bench.judge.left_out import leave_out
from bench.judge.review import Records, file_records
from bench.plan.contract import load_contract
from bench.record.records.verdicts import LeftOutVerdict
from bench.record.request_log import Reading, read_log
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import latency_ns
from bench.show.build_server import github_lines, junit_xml
from bench.show.export import rows_of, write_csv
from bench.show.facts import left_out_sentences
from bench.show.last_screen import Ended, run_result
from bench.show.parts import report_document
from bench.show.places import on_screen, places_tables
from bench.show.render_markdown import markdown_page
from bench.show.report import write_report
from tests.support.made_runs import lane_of, manifest_of, samples_of, schedule_of, verdicts_of
from tests.support.screens import result_lines, table_lines, whole_markdown

S, MS = 10**9, 10**6
START_NS = 1_800_000_000 * S
ROWS = 900
HOSTILE = "n<b>\x1b[2J\u202e"


def made(
    folder: Path,
    names: tuple[str, ...] = ("node-1", "node-2", "node-3"),
    *,
    late_ms: int = 200,
    out: tuple[str, ...] = (),
    regions: tuple[str | None, ...] = ("eu", "eu", "us"),
    clocks: bool = True,
) -> tuple[Run, Records]:
    """A judged run of one target sent from three nodes, the second late by its own doing."""
    schedule = schedule_of(ROWS, 30, 1)
    schedule["session"] = np.arange(ROWS)
    samples = samples_of(schedule, 7)
    for column in (
        "sent_ns",
        "first_token_ns",
        "first_answer_token_ns",
        "last_token_ns",
        "done_ns",
    ):
        samples[column][1::3] += late_ms * MS
    clock = {"offset_ms": -3.12, "bound_ms": 0.4, "drift_ms": 0.1, "round_trips": 64}
    shards = [
        {
            "number": number,
            "of": 3,
            "start": {"agreed_wall_ns": START_NS, "wall_ns": START_NS},
            "workers": [number - 1, 1],
            "place": {"node": name, "region": region},
            **({"clock": clock} if clocks else {}),
        }
        for number, (name, region) in enumerate(zip(names, regions, strict=True), 1)
    ]
    contract = load_contract("enterprise").model_dump(mode="json", by_alias=True)
    lane = lane_of("standard", 0, 30, ROWS).replace(contract_written=contract)
    manifest = manifest_of(
        [lane], {"served_model": [], "served_region": [], "finish": [], "note": []}
    )
    manifest = manifest.replace(shards=shards, started_wall_ns=START_NS)
    RunWriter(folder, manifest, schedule).finish("complete", samples, {"harness": {}})
    if out:
        leave_out(folder, out)
    run = Run(folder)
    return run, file_records(run)


def case_tree(records: Records) -> ET.Element:
    """junit.xml, parsed."""
    return ET.fromstring(junit_xml(records.summary, records.verdicts))  # noqa: S314 our own


def test_the_table_holds_each_nodes_own_numbers(tmp_path: Path) -> None:
    """p50 of response and service and the own lag's p99 of node-2's measured rows, reckoned here;
    its region and clock beside.
    """
    run, records = made(tmp_path / "r")
    tables = places_tables(run.manifest, records.summary.targets["standard"])
    by_node, by_region = (table.grid("html") for table in tables)
    assert by_node.words[:3] == [True, True, False]
    assert [row[:2] for row in by_node.rows] == [
        ["node-1", "eu"],
        ["node-2", "eu"],
        ["node-3", "us"],
    ]
    said = dict(zip(by_node.head, by_node.rows[1], strict=True))
    mine = run.columns.where((np.arange(ROWS) % 3 == 1) & ~run.columns.schedule["warmup"])
    response, service = (
        sorted(latency_ns(mine.samples, "e2e", view)) for view in ("response", "service")
    )
    lag = sorted(latency_ns(mine.samples, "harness_lag"))
    middle, last = -(-len(mine) // 2) - 1, -(-99 * len(mine) // 100) - 1
    for title, ns in (
        ("response p50", response[middle]),
        ("service p50", service[middle]),
        ("response p99", response[last]),
        ("own lag p99", lag[last]),
    ):
        assert float(said[title].replace(",", "")) == pytest.approx(ns / MS, rel=0.005), title
    assert (said["requests"], said["connect p50"], said["clock offset"]) == (
        str(len(mine)),
        "–",
        "-3.12 ± 0.4 ms",
    )
    assert [row[0] for row in by_region.rows] == ["eu", "us"]


def test_what_nothing_fills_is_no_column_and_no_table(tmp_path: Path) -> None:
    """Without regions and clocks neither has a column nor a table; without places there is
    nothing.
    """
    run, records = made(tmp_path / "r", regions=(None, None, None), clocks=False)
    target = records.summary.targets["standard"]
    (table,) = places_tables(run.manifest, target)
    assert table.grid("html").words[:2] == [True, False]
    assert not {"region", "clock offset"} & {*table.grid("html").head}
    grid = table.grid("html")
    assert all(len(row) == len(grid.head) for row in grid.rows)
    assert list(places_tables(run.manifest.without("shards"), target)) == []


def test_every_reader_is_told_what_was_left_out_and_why(tmp_path: Path) -> None:
    """Page, Markdown, screen, junit, annotations and the buyer's paragraph: how many of whose rows,
    why, and what of their load.
    """
    run, records = made(tmp_path / "r", out=("unfit",))
    paths = write_report(run, records)
    page = paths[0].read_text()
    markdown = whole_markdown(run, records)
    for text in (page, markdown.replace("\\", "")):
        assert (
            "node-2 is left out of the verdict: the 300 of 900 requests that were its part are set"
            " aside, and their load was there all the same" in text
        )
        assert "the reason: node-2 itself sent late: p99 200 ms" in text
        assert "sent by node-2, which was left out" in text
        assert "node-2 (left out)" in text
        assert (
            "The terms are judged without the 300 of 900 requests sent from “node-2”, because it"
            " was not valid." in text
        )
    ended = Ended(summary=records.summary, verdicts=records.verdicts)
    lines = result_lines(run_result(ended), whole=True)
    screen = " ".join(" ".join(lines).split())
    assert "left out node-2 is left out of the verdict: the 300 of 900 requests" in screen
    cases = {case.get("name"): case for case in case_tree(records).iter("testcase")}
    skipped = cases["node-2 in the verdict"].find("skipped")
    assert skipped is not None
    assert "300 of 900" in str(skipped.get("message"))
    assert [
        line
        for line in github_lines(records.summary, records.verdicts)
        if line.startswith("::warning title=node-2 left out::node-2 is left out")
    ]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (300, "their load was there all the same"),
        (0, "none of them was sent"),
        (12, "the load of the 12 that were sent was there all the same"),
    ],
)
def test_the_load_of_a_node_is_not_passed_over(sent: int, said: str) -> None:
    """Whole, in part or not at all."""
    entry = LeftOutVerdict(node="b", why="asked for", requests=300, of=900, sent=sent)
    verdicts = verdicts_of(["a"])
    assert left_out_sentences(verdicts.replace(left_out=[entry])) == [
        (
            "b is left out of the verdict, as was asked for: the 300 of 900 requests that were its"
            f" part are set aside, and {said}"
        )
    ]
    assert left_out_sentences(verdicts) == []


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_a_screen(tmp_path: Path, width: int) -> None:
    """No line is wider, whatever a node is called, and each has its line."""
    run, records = made(tmp_path / "r", ("node-1", HOSTILE, "漢字" * 20), out=("node-1",))
    table = on_screen(
        next(places_tables(run.manifest, records.summary.targets["standard"])), "standard"
    )
    lines = [*table_lines(table, width)]
    assert max(map(cell_len, lines)) <= width
    assert "\x1b" not in "".join(lines)
    summary = records.summary.replace(overall="FAIL")
    ended = Ended(summary=summary, verdicts=records.verdicts, below=[table])
    whole = result_lines(run_result(ended), width, whole=True)
    assert "\n".join(lines) in "\n".join(whole)
    assert max(map(cell_len, whole)) <= width


def test_a_nodes_name_is_data(tmp_path: Path) -> None:
    """Markup and control characters of a name are shown, never obeyed, in page, Markdown
    and junit.
    """
    run, records = made(tmp_path / "r", ("node-1", HOSTILE, "node-3"), out=(HOSTILE,))
    page = write_report(run, records)[0].read_text()
    assert "n<b>" not in page
    assert "n&lt;b&gt;\\x1b[2J\\u202e (left out)" in page
    markdown = markdown_page(report_document(run, records))
    assert "\x1b" not in markdown
    assert "\u202e" not in markdown
    assert case_tree(records).tag == "testsuites"


def test_exported_rows_say_where_they_were_sent_from(tmp_path: Path) -> None:
    """Each row its node and region; a reader of logs does not take the sender's region for the
    place of the answer.
    """
    run, _ = made(tmp_path / "r")
    out = io.BytesIO()
    write_csv(rows_of(run), out)
    (tmp_path / "rows.csv").write_bytes(out.getvalue())
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline="")))
    assert [row["sending_node"] for row in rows[:4]] == ["node-1", "node-2", "node-3", "node-1"]
    assert [row["sending_region"] for row in rows[:4]] == ["eu", "eu", "us", "eu"]
    assert (
        read_log([tmp_path / "rows.csv"], replace(Reading(), sort=True))
        .mapping["served_region"]
        .name
        == "served_region"
    )
    run.manifest = run.manifest.without("shards")
    assert {(cells["sending_node"][0], cells["sending_region"][0]) for cells in rows_of(run)} == {
        (None, None)
    }


def test_the_records_on_disk_say_it_in_their_published_shape(tmp_path: Path) -> None:
    """verdicts.json lists the node with its counts, and only where one was left out; summary.json
    follows its schema.
    """
    run, _ = made(tmp_path / "r", out=("node-2",))
    filed: dict[str, Any] = json.loads((run.folder / "verdicts.json").read_text())
    assert filed["left_out"] == [
        {"node": "node-2", "why": "asked for", "requests": 300, "sent": 300, "of": 900}
    ]
    assert "left_out" not in made(tmp_path / "whole")[1].verdicts.to_json()
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["targets"]["standard"]["by_node"]["node-2"]["requests"] == 270
    schema = json.loads(
        (Path(__file__).parents[2] / "docs/schemas/summary.schema.json").read_text()
    )
    schema["$defs"]["VantageSummary"]["additionalProperties"] = schema["$defs"]["TargetSummary"][
        "additionalProperties"
    ] = False
    jsonschema.validate(summary, schema)
