"""plan.json of a run's folder: what another sitting reads, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import RunFolderError, TailproofError, UserError
from bench.load.options import RunOptions, kept_plan, plan_file, read_plan
from bench.record.digests import sha256
from bench.record.run_folder import PLAN_FILE, RunWriter
from bench.record.samples import empty_samples
from tests.support.records import manifest_of
from tests.support.world import plan_for

STEADY = {"kind": "constant", "rate": "10/s"}


def folder_of(place: Path, change: Any = None, digest: bool = True) -> Path:
    """A sealed run that keeps its plan, changed before its digest was taken."""
    plan = plan_for(STEADY, {"base_url": "http://127.0.0.1:9/v1"}, requests=5)
    found = json.loads(plan_file(plan, RunOptions(folder=place))) | (change or {})
    data = json.dumps(found).encode()
    manifest = manifest_of([], plan_sha256=sha256(data) if digest else None)
    writer = RunWriter(place, manifest, plan.schedule)
    writer.finish("interrupted", empty_samples(len(plan.schedule)), {"harness": {}, "strings": {}})
    (place / PLAN_FILE).write_bytes(data)
    return place


def test_a_plan_is_read_back(tmp_path: Path) -> None:
    """The same rows to the same target; how it is played comes with it."""
    plan, options = read_plan(folder_of(tmp_path / "r"))
    assert [lane.target.base_url for lane in plan.lanes] == ["http://127.0.0.1:9/v1"]
    assert len(plan.schedule) == 5
    assert (options.early_stop, options.alone) == (False, True)
    assert kept_plan(tmp_path / "r").schedule.tobytes() == plan.schedule.tobytes()


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        ({"digest": False}, UserError, "holds no plan to go on with"),
        ({"change": {"format": 99}}, RunFolderError, "has format 99; this tailproof reads up to"),
    ],
)
def test_a_plan_that_cannot_be_gone_on_with(
    made: dict[str, Any], error: type[TailproofError], said: str, tmp_path: Path
) -> None:
    """Of a version that kept none, or of a newer one."""
    with pytest.raises(error, match=said):
        read_plan(folder_of(tmp_path / "r", **made))


def test_a_plan_that_was_edited_or_lost_is_named(tmp_path: Path) -> None:
    """By its file."""
    folder = folder_of(tmp_path / "r")
    (folder / PLAN_FILE).write_bytes((folder / PLAN_FILE).read_bytes() + b" ")
    with pytest.raises(RunFolderError, match=r"plan.json: was edited"):
        kept_plan(folder)
    (folder / PLAN_FILE).unlink()
    with pytest.raises(RunFolderError, match=r"plan.json: cannot be read \(FileNotFoundError\)"):
        kept_plan(folder)
