"""Rows as CSV, JSON Lines and Parquet: every scheduled row, exact numbers, harmless texts, whole
files.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bench.errors import RunFolderError
from bench.record.run_folder import Run
from bench.record.samples import Outcome, Table
from bench.show.export import (
    COLUMNS,
    read_hlog_bytes,
    rows_of,
    write_csv,
    write_jsonl,
    write_parquet,
    written_whole,
)
from tests.support.made_runs import MakeRun, spoil_some

HOSTILE = [
    '=HYPERLINK("http://x",1)',
    "+1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    "\r\n=1",
    "＝1",
    'say "hi", twice',
    "\x1b[2J\x1b]0;owned\x07",
    "\u202eevil\u2066",
    "x" * 2**20,
    "line\u2028break",
    "plain",
]


def csv_rows(run: Run, lane: str | None = None) -> list[dict[str, str]]:
    out = io.BytesIO()
    write_csv(rows_of(run, lane), out)
    return list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline="")))


def json_rows(run: Run) -> list[dict[str, Any]]:
    out = io.BytesIO()
    write_jsonl(rows_of(run), out)
    return [json.loads(line) for line in out.getvalue().decode().split("\n")[:-1]]


def milliseconds(table: Table, row: int, end: str, start: str) -> float | None:
    last, first = int(table[f"{end}_ns"][row]), int(table[f"{start}_ns"][row])
    return (last - first) / 10**6 if last >= 0 and first >= 0 else None


def test_a_row_says_what_its_sample_says(make_run: MakeRun) -> None:
    """Every scheduled row once, in order; each latency reckoned here from the stored moments, empty
    where one never came.
    """
    run = make_run(spoil=spoil_some, notes=["upstream said 503"]).run
    schedule, samples, found = run.columns.schedule, run.columns.samples, json_rows(run)
    assert [row["row"] for row in found] == list(range(len(schedule)))
    for number in range(0, len(found), 7):
        row = found[number]
        assert list(row) == list(COLUMNS)
        end = "last_token" if samples["last_token_ns"][number] >= 0 else "done"
        assert row["e2e_ms"] == milliseconds(samples, number, end, "due")
        assert row["service_e2e_ms"] == milliseconds(samples, number, end, "sent")
        assert row["ttft_ms"] == milliseconds(samples, number, "first_token", "due")
        assert row["service_ttft_ms"] == milliseconds(samples, number, "first_token", "sent")
        assert row["lag_ms"] == milliseconds(samples, number, "sent", "due")
        assert row["outcome"] == Outcome(samples["outcome"][number]).name
        lane = run.lanes[schedule["lane"][number]]
        assert (row["target"], row["phase"], row["bucket"]) == (
            lane.name,
            lane.phases[schedule["phase"][number]],
            lane.buckets[schedule["bucket"][number]],
        )
        assert row["warmup"] is (lane.phases[schedule["phase"][number]] == "warmup")
        began = datetime.fromisoformat(row["at"])
        assert began.tzinfo == UTC
        wall_us = (run.manifest.started_wall_ns + int(schedule["due_ns"][number])) // 1000
        assert round(began.timestamp() * 10**6) == wall_us
    failed = next(row for row in found if row["outcome"] == "http_5xx")
    assert (failed["note"], failed["ttft_ms"], failed["tpot_ms"], failed["finish"]) == (
        "upstream said 503",
        None,
        None,
        None,
    )


def test_the_three_formats_hold_the_same(make_run: MakeRun, tmp_path: Path) -> None:
    """CSV, JSON Lines and Parquet, cell by cell; Parquet with a type for each kind."""
    run = make_run(spoil=spoil_some, notes=["503"]).run
    with written_whole(tmp_path / "rows.parquet") as out:
        write_parquet(rows_of(run), out)
    table, lines = pq.read_table(tmp_path / "rows.parquet"), json_rows(run)
    assert table.to_pylist() == lines
    assert {str(table.schema.field(name).type) for name in ("row", "e2e_ms", "warmup", "note")} == {
        "int64",
        "double",
        "bool",
        "string",
    }
    for written, line in zip(csv_rows(run), lines, strict=True):
        for name, cell in line.items():
            text = written[name]
            read = (
                None
                if text == ""
                else json.loads(text)
                if COLUMNS[name] in ("length", "count", "flag")
                else text
            )
            assert read == cell, name


def test_one_lane_keeps_its_row_numbers(make_run: MakeRun) -> None:
    """`RUN:TARGET` gives that lane's rows under the numbers they have in the run."""
    run = make_run(["a", "b"], rows=30).run
    found = csv_rows(run, "b")
    assert [int(row["row"]) for row in found] == [
        number for number in range(60) if run.columns.schedule["lane"][number] == 1
    ]
    assert {row["target"] for row in found} == {"b"}


def test_rows_are_made_a_chunk_at_a_time(make_run: MakeRun) -> None:
    """However long the run, at most 10,000 rows stand in memory as text; no row is lost at
    a seam.
    """
    run = make_run(["a"], rows=25_000).run
    lengths, numbers = [], []
    for cells in rows_of(run):
        lengths.append(len(cells["row"]))
        numbers += cells["row"]
    assert lengths == [10_000, 10_000, 5_000]
    assert numbers == list(range(25_000))


def test_hostile_texts_are_harmless_in_every_format(make_run: MakeRun, tmp_path: Path) -> None:
    """No cell begins a formula, holds a control or direction character, breaks a row, or is longer
    than 201 characters.
    """

    def spoil(schedule: Table, samples: Table) -> None:
        for number in range(len(HOSTILE)):
            samples["note"][number] = samples["served_model"][number] = number

    run = make_run(["=cmd()"], rows=40, spoil=spoil, notes=HOSTILE, models=HOSTILE).run
    written = csv_rows(run)
    assert len(written) == 40
    for row in written:
        for name, cell in row.items():
            if COLUMNS[name] == "text":
                assert not cell.startswith(tuple("=+-@\t\r＝＋－＠")), cell
                assert len(cell) <= 201
                assert cell.isprintable()
    assert written[0]["target"] == "'=cmd()"
    assert written[HOSTILE.index("plain")]["note"] == "plain"
    assert written[HOSTILE.index('say "hi", twice')]["note"] == 'say "hi", twice'
    with written_whole(tmp_path / "rows.parquet") as out:
        write_parquet(rows_of(run), out)
    for row in [*json_rows(run), *pq.read_table(tmp_path / "rows.parquet").to_pylist()]:
        assert all(
            len(row[name]) <= 200 and row[name].isprintable()
            for name in ("note", "served_model")
            if row[name]
        )
    assert json_rows(run)[0]["note"] == HOSTILE[0]


@pytest.mark.parametrize("sign", [",", ";", "|"])
@pytest.mark.parametrize("begin", "=+-@")
def test_no_cell_is_a_formula_to_a_spreadsheet_that_parts_at_another_sign(
    make_run: MakeRun, sign: str, begin: str
) -> None:
    """Excel parts at `;` where a comma is for decimals: quotes that do not begin its cell are text
    to it, so what stands behind the sign is a cell of its own.
    """
    hostile = [f'a{sign}{begin}HYPERLINK("x")', f"a{sign} {begin}1", f'"{sign}"{begin}1']

    def spoil(schedule: Table, samples: Table) -> None:
        samples["note"][:3] = samples["served_model"][:3] = range(3)

    out = io.BytesIO()
    write_csv(rows_of(make_run(["a"], rows=3, spoil=spoil, notes=hostile, models=hostile).run), out)
    for row in csv.reader(io.StringIO(out.getvalue().decode(), newline=""), delimiter=sign):
        assert not [cell for cell in row if cell.lstrip(' "').startswith(("=", "+", "-", "@"))]


def test_a_run_that_was_cut_off_keeps_its_rows(make_run: MakeRun) -> None:
    """What was never sent and never due has a row with empty cells, not zeros and no row."""

    def spoil(schedule: Table, samples: Table) -> None:
        for name in samples.dtype.names or ():
            if name.endswith("_ns"):
                samples[name][5:] = -1
        samples["outcome"][5:], samples["status"][5:] = Outcome.never_sent, 0

    found = csv_rows(make_run(["a"], rows=9, spoil=spoil, state="interrupted").run)
    assert [row["outcome"] for row in found] == ["ok"] * 5 + ["never_sent"] * 4
    for name in ("at", "due_ms", "e2e_ms", "ttft_ms", "lag_ms", "harness_lag_ms", "status"):
        assert {row[name] for row in found[5:]} == {""}


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A writer that fails leaves the file of before and nothing beside it; a folder that is not
    there is one sentence.
    """
    path = tmp_path / "rows.csv"
    path.write_text("before")
    with pytest.raises(TypeError, match="bytes"), written_whole(path) as out:
        out.writelines([b"half", "not bytes"])  # type: ignore[list-item]
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.csv"]
    assert path.read_text() == "before"
    with written_whole(path) as out:
        out.write(b"after")
    assert path.read_text() == "after"
    with (
        pytest.raises(RunFolderError, match="cannot be written"),
        written_whole(tmp_path / "none" / "rows.csv"),
    ):
        pass


def test_a_run_without_histograms_says_so(make_run: MakeRun) -> None:
    """The log is handed on byte for byte; a run that died before it was written is one sentence."""
    run = make_run(["a"], rows=9).run
    with pytest.raises(RunFolderError, match="cut off before its histograms"):
        read_hlog_bytes(run)
    (run.folder / "histograms.hlog").write_bytes(b"log\n")
    assert read_hlog_bytes(run) == b"log\n"
