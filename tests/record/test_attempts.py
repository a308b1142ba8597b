"""The table of attempts on disk, and tables that are older than a column."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.errors import RunFolderError
from bench.record.gather import gather_attempts, gather_pieces, parts_in
from bench.record.pieces import SegmentWriter, Texts
from bench.record.run_folder import Run, RunWriter, read_schedule
from bench.record.samples import (
    ATTEMPT_DTYPE,
    SCHEDULE_DTYPE,
    Table,
    empty_attempts,
    empty_samples,
    in_order,
)
from tests.support.records import manifest_of

MANIFEST = manifest_of([{"name": "a"}])


def attempts(*keys: tuple[int, int], note: int = -1, model: int = -1) -> Table:
    table = np.zeros(len(keys), ATTEMPT_DTYPE)
    for number, (row, attempt) in enumerate(keys):
        table["row"][number], table["attempt"][number] = row, attempt
    table["note"], table["served_model"], table["served_region"] = note, model, -1
    return table


def strings(notes: list[str], models: list[str]) -> dict[str, list[str]]:
    return {"served_model": models, "served_region": [], "finish": [], "note": notes}


def test_pieces_of_two_workers_become_one_table_with_one_numbering(tmp_path: Path) -> None:
    """Sorted by row and attempt; each text keeps its meaning, also one that attempts alone hold."""
    RunWriter(tmp_path / "r", MANIFEST, np.zeros(4, SCHEDULE_DTYPE))
    first, second = SegmentWriter(tmp_path / "r", 0), SegmentWriter(tmp_path / "r", 1)
    first.append(np.array([2]), empty_samples(1), strings(["x"], ["m"]))
    first.append_attempts(attempts((2, 2), note=0, model=0), strings(["x"], ["m"]))
    first.append_attempts(attempts((2, 1), note=-1, model=1), strings(["x"], ["m", "n"]))
    second.append_attempts(attempts((1, 1), note=0, model=0), strings(["y"], ["n"]))
    _, names = gather_pieces(tmp_path / "r", 4)
    table = gather_attempts(parts_in(tmp_path / "r"), Texts(names))
    assert [(int(a["row"]), int(a["attempt"])) for a in table] == [(1, 1), (2, 1), (2, 2)]
    assert [names["note"][a["note"]] if a["note"] >= 0 else None for a in table] == ["y", None, "x"]
    assert [names["served_model"][a["served_model"]] for a in table] == ["n", "n", "m"]
    assert len(Run(tmp_path / "r").attempts) == 3, (
        "an interrupted run's pieces are read as they lie"
    )


def test_a_sealed_run_holds_the_attempts_and_their_digest(tmp_path: Path) -> None:
    """The pieces go, the table stays, the manifest names both tables; a run without a route has
    none.
    """
    writer = RunWriter(tmp_path / "r", MANIFEST, np.zeros(4, SCHEDULE_DTYPE))
    SegmentWriter(tmp_path / "r").append_attempts(attempts((0, 1)), strings([], []))
    kept = in_order(attempts((1, 1), (0, 2), (0, 1)))
    writer.finish("complete", empty_samples(4), {}, kept)
    run = Run(tmp_path / "r")
    assert np.array_equal(run.attempts, kept)
    assert [path.name for path in (tmp_path / "r" / "attempts").iterdir()] == ["rows.npy"]
    assert [segment.file for segment in run.manifest.segments] == [
        "samples/rows.npy",
        "attempts/rows.npy",
    ]
    plain = RunWriter(tmp_path / "p", MANIFEST, np.zeros(1, SCHEDULE_DTYPE))
    plain.finish("complete", empty_samples(1), {})
    assert not (tmp_path / "p" / "attempts").exists()
    assert np.array_equal(Run(tmp_path / "p").attempts, empty_attempts())


def test_a_schedule_from_before_a_column_is_read_with_minus_one(tmp_path: Path) -> None:
    """The first columns of today's are enough; others, or the same in another order, are another
    format.
    """
    older = np.dtype([(name, SCHEDULE_DTYPE[name]) for name in (SCHEDULE_DTYPE.names or ())[:-1]])
    table = np.zeros(3, older)
    table["body"] = [4, 5, 6]
    np.save(tmp_path / "schedule.npy", table)
    read = read_schedule(tmp_path)
    assert (read.dtype, read["body"].tolist(), read["leg"].tolist()) == (
        SCHEDULE_DTYPE,
        [4, 5, 6],
        [-1, -1, -1],
    )
    shuffled = np.dtype(
        [(name, SCHEDULE_DTYPE[name]) for name in reversed(SCHEDULE_DTYPE.names or ())]
    )
    for wrong in (shuffled, np.dtype([("due_ns", "<i4")]), np.dtype([("other", "<i8")])):
        np.save(tmp_path / "schedule.npy", np.zeros(3, wrong))
        with pytest.raises(RunFolderError, match="columns of another format"):
            read_schedule(tmp_path)


def test_the_manifest_of_a_sealed_run_is_json_with_its_digests(tmp_path: Path) -> None:
    """Each segment's digest is that of the file beside it."""
    import hashlib

    RunWriter(tmp_path / "r", MANIFEST, np.zeros(1, SCHEDULE_DTYPE)).finish(
        "complete", empty_samples(1), {}, attempts((0, 1))
    )
    for segment in json.loads((tmp_path / "r" / "run.json").read_text())["segments"]:
        assert (
            hashlib.sha256((tmp_path / "r" / segment["file"]).read_bytes()).hexdigest()
            == segment["sha256"]
        )
