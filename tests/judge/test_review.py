"""The same folder gives the same bytes; what is missing or stale is made again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.errors import RunFolderError, UserError
from bench.judge.review import file_records, reviewed
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from tests.support.records import review_json
from tests.support.rows_by_hand import (
    Row,
    answered,
    at_most,
    contract_of,
    evenly,
    failed,
    lane_of,
    run_of,
    uptime,
)

ROWS: list[Row] = [
    answered(50 + i % 700, lag=i % 3, phase=i % 2 + 1, bucket=i % 2) for i in range(900)
]
ROWS[::90] = [failed(Outcome.http_5xx, phase=2)] * 10
NAMES = ("summary.json", "verdicts.json")


def bytes_of(folder: Path) -> list[bytes]:
    """Both records as they lie on disk."""
    return [(folder / name).read_bytes() for name in NAMES]


def folder_of(tmp_path: Path, **more: Any) -> Path:
    """A run under a contract of a latency and an uptime clause, not yet judged."""
    return run_of(
        tmp_path / "r", evenly(ROWS), lane_of(contract_of(at_most(700), uptime())), **more
    ).folder


def test_two_reviews_give_the_same_bytes(tmp_path: Path) -> None:
    """Judged here, judged again, judged by another process with another hash seed: no byte
    differs.
    """
    folder = folder_of(tmp_path)
    file_records(Run(folder))
    first = bytes_of(folder)
    file_records(Run(folder))
    assert bytes_of(folder) == first
    program = (
        "import sys; from pathlib import Path; from bench.judge.review import file_records; from"
        " bench.record.run_folder import Run; file_records(Run(Path(sys.argv[1])))"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        check=True,
        cwd=root,
        env={"PYTHONHASHSEED": "7"},
    )
    assert bytes_of(folder) == first


def test_records_name_run_overall_and_state(tmp_path: Path) -> None:
    """Both records carry format and run, agree on the overall verdict, and hold no NaN or
    infinity.
    """
    records = file_records(Run(folder_of(tmp_path)))
    summary, verdicts = records.summary, records.verdicts
    assert (summary.format, verdicts.format) == (1, 2)
    assert summary.run == verdicts.run == "r"
    assert summary.overall == verdicts.overall == "FAIL"
    assert summary.state == "complete"
    assert [json.loads(data) for data in bytes_of(tmp_path / "r")] == [
        summary.to_json(),
        verdicts.to_json(),
    ]


def test_another_contract_leaves_the_folder_as_it_is(tmp_path: Path) -> None:
    """Judged by an override without writing, the records on disk keep their bytes."""
    folder = folder_of(tmp_path)
    file_records(Run(folder))
    before = bytes_of(folder)
    _, verdicts = review_json(Run(folder), contract_of(uptime("50%")))
    assert verdicts["overall"] == "PASS"
    assert bytes_of(folder) == before


def test_lag_is_held_against_the_limit_that_is_judged(tmp_path: Path) -> None:
    """2 ms of lag are within 1 % of 700 ms and beyond 1 % of 100 ms: the override's limit decides
    the health.
    """
    run = Run(folder_of(tmp_path))
    own, _ = review_json(run)
    tight, _ = review_json(run, contract_of(at_most(100)))
    assert (own["health"]["state"], tight["health"]["state"]) == ("valid", "degraded")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change", ["missing", "garbage", "list", "another run", "another format", "another state"]
)
def test_a_record_that_is_missing_or_stale_is_made_again(
    tmp_path: Path, name: str, change: str
) -> None:
    """Whatever is wrong with one of the two, both are made anew; a good pair is taken as it
    lies.
    """
    folder = folder_of(tmp_path)
    file_records(Run(folder))
    good, path = bytes_of(folder), folder / name
    record = json.loads(path.read_bytes())
    if change == "missing":
        path.unlink()
    elif change in ("garbage", "list"):
        path.write_text("[]" if change == "list" else "{")
    else:
        key = change.split()[1]
        (folder / NAMES[0 if key == "state" else NAMES.index(name)]).write_text(
            json.dumps(
                (record if key != "state" else json.loads(good[0]))
                | {key: 0 if key == "format" else "other"}
            )
        )
    reviewed(folder)
    assert bytes_of(folder) == good


@pytest.mark.parametrize("name", NAMES)
def test_a_record_of_a_newer_version_is_not_overwritten(tmp_path: Path, name: str) -> None:
    """Its format is refused; nothing is made again in its place."""
    folder = folder_of(tmp_path)
    file_records(Run(folder))
    path = folder / name
    newer = json.dumps(json.loads(path.read_bytes()) | {"format": 99})
    path.write_text(newer)
    with pytest.raises(RunFolderError, match=r"has format 99; .* open it with a newer tailproof"):
        reviewed(folder)
    assert path.read_text() == newer


def test_a_fresh_record_is_taken_as_it_lies(tmp_path: Path) -> None:
    """reviewed reads what review wrote; it does not compute it again."""
    folder = folder_of(tmp_path)
    file_records(Run(folder))
    summary = json.loads((folder / "summary.json").read_bytes()) | {"note": "kept"}
    (folder / "summary.json").write_text(json.dumps(summary))
    assert reviewed(folder)[1].summary.to_json()["note"] == "kept"


def test_records_of_a_running_run_are_always_stale(tmp_path: Path) -> None:
    """A run that was looked at while its writer was at work is judged anew the next time."""
    run = run_of(tmp_path / "r", ROWS, lane_of(contract_of(uptime())), state="running")
    file_records(run)
    before = bytes_of(run.folder)
    (run.folder / "samples" / "w0-000000.npy").unlink()
    _, records = reviewed(run.folder)
    assert records.summary.targets["t"].ok == 0
    assert bytes_of(run.folder) != before


def test_a_killed_run_is_judged_on_what_reached_the_disk(tmp_path: Path) -> None:
    """Rows planned after the last moment on disk are no failures and no fault of the harness."""
    rows = [answered(5, due=second) for second in range(400)]
    rows += [
        failed(Outcome.never_sent, due=-1, sent=-1, done=-1, planned=10_000 + second)
        for second in range(600)
    ]
    summary, verdicts = review_json(
        run_of(tmp_path / "r", rows, lane_of(contract_of(uptime())), state="running")
    )
    assert (verdicts["clauses"][0]["n"], verdicts["clauses"][0]["verdict"]) == (400, "PASS")
    assert (summary["health"]["state"], verdicts["exit_code"]) == ("valid", 130)
    assert summary["targets"]["t"]["requests"] == 1000


def test_rows_that_were_due_when_a_run_broke_off_show_in_its_health(tmp_path: Path) -> None:
    """A row due before the last moment on disk and not there was under way: reported, and unknown
    to every clause.
    """
    rows = [answered(5, due=second) for second in range(400)]
    rows.append(failed(Outcome.never_sent, due=-1, sent=-1, done=-1, planned=300))
    summary, verdicts = review_json(
        run_of(tmp_path / "r", rows, lane_of(contract_of(uptime())), state="running")
    )
    assert (verdicts["clauses"][0]["n"], verdicts["clauses"][0]["unknown"]) == (401, 1)
    assert summary["health"]["state"] == "degraded"
    assert "1 requests were still under way" in summary["health"]["reasons"][0]


def test_a_clause_that_an_override_cannot_have_writes_nothing(tmp_path: Path) -> None:
    """The refusal names the contract and the clause, and no record is left behind."""
    folder = folder_of(tmp_path)
    with pytest.raises(
        UserError, match=r"contract c: clause 1 \(.*\): the run has no phase 'flood'"
    ):
        review_json(Run(folder), contract_of(at_most(800, phase="flood")))
    assert not any((folder / name).exists() for name in NAMES)
