"""A folder that was changed is found out: each kind of change by the file and key that it
touched.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import RunFolderError
from bench.judge.review import file_records
from bench.judge.verify import Verified, unequal, verify
from bench.record.digests import manifest_digest
from bench.record.files import write_json
from bench.record.histogram import write_hlog
from bench.record.pieces import STRING_KINDS, SegmentWriter
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import Outcome
from tests.support.records import manifest_of
from tests.support.rows_by_hand import (
    Row,
    answered,
    at_most,
    contract_of,
    failed,
    lane_of,
    run_of,
    uptime,
)

ROWS: list[Row] = [
    answered(50 + i % 700, due=4 * i, phase=i % 2 + 1, bucket=i % 2) for i in range(900)
]
ROWS[450] = failed(Outcome.http_5xx, due=1800, phase=2)
TEXTS: dict[str, list[str]] = {kind: [] for kind in STRING_KINDS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete run with both records, one of 900 rows failed."""
    run = run_of(tmp_path / "r", ROWS, lane_of(contract_of(at_most(800), uptime())))
    file_records(run)
    return run.folder


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """What a process that was killed leaves: three pieces of 300 rows, and no end."""
    whole = run_of(tmp_path / "whole", ROWS, lane_of(contract_of(at_most(800))), state="running")
    for piece in (whole.folder / "samples").glob("w*"):
        piece.unlink()
    writer = SegmentWriter(whole.folder)
    for rows in np.array_split(np.arange(900), 3):
        writer.append(rows, whole.columns.samples[rows], TEXTS)
    return whole.folder


def said(found: Verified) -> list[str]:
    return [difference.text for difference in found.differences]


def edit_json(path: Path, *keys: str | int, value: Any) -> None:
    """Set one key of a JSON file, as an editor would."""
    whole = here = json.loads(path.read_bytes())
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = value
    path.write_text(json.dumps(whole))


def test_a_folder_as_it_was_written_has_no_difference(folder: Path) -> None:
    """Complete, judged, judged again: nothing differs, nothing is written; schedule, samples and
    two clauses were looked at.
    """
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
    found = verify(folder)
    assert found == Verified((), (), 2, 2)
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
    file_records(Run(folder))
    assert verify(folder).differences == ()


def test_an_edited_sample_is_found_by_its_file_and_by_what_it_changes(folder: Path) -> None:
    """One failed row made to look answered: the table's digest, and the counts that the records
    took from it.
    """
    path = folder / "samples" / "rows.npy"
    table = np.load(path)
    table[450] = table[451]
    np.save(path, table)
    found = said(verify(folder))
    assert found[0].startswith("samples/rows.npy: was edited: SHA-256 ")
    assert "verdicts.json: clauses[1].k: stored 1, recomputed 0" in found
    assert "summary.json: targets.t.outcomes.http_5xx: stored 1, recomputed nothing" in found


@pytest.mark.parametrize(
    ("name", "keys", "value", "text"),
    [
        (
            "verdicts.json",
            ("clauses", 1, "verdict"),
            "FAIL",
            'verdicts.json: clauses[1].verdict: stored "FAIL", recomputed "INCONCLUSIVE"',
        ),
        (
            "verdicts.json",
            ("exit_code",),
            True,
            "verdicts.json: exit_code: stored true, recomputed 3",
        ),
        (
            "verdicts.json",
            ("clauses",),
            [],
            'verdicts.json: clauses[0]: stored nothing, recomputed {"target": "t"',
        ),
        ("verdicts.json", ("more",), 1, "verdicts.json: more: stored 1, recomputed nothing"),
        (
            "summary.json",
            ("targets", "t", "response_ms", "e2e", "p99"),
            100.0,
            "summary.json: targets.t.response_ms.e2e.p99: stored 100.0, recomputed 74",
        ),
    ],
)
def test_an_edited_record_is_found_by_its_key(
    folder: Path, name: str, keys: tuple[str | int, ...], value: object, text: str
) -> None:
    """Path of the key, what stands there, what the samples give."""
    edit_json(folder / name, *keys, value=value)
    found = said(verify(folder))
    assert found
    assert found[0].startswith(text)
    assert all(line.startswith(name) for line in found)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("seed",), 7),
        (("lanes", 0, "base_url"), "http://127.0.0.1:2/v1"),
        (("strings",), {"note": ["x"]}),
        (("segments", 0, "rows"), 901),
        (("repeat_command",), "x"),
    ],
)
def test_an_edited_field_of_the_manifest_is_found(
    folder: Path, keys: tuple[str | int, ...], value: object
) -> None:
    """Also one that no verdict depends on, and one that was not there."""
    edit_json(folder / "run.json", *keys, value=value)
    assert said(verify(folder)) == [
        "run.json: was edited: a field is not what its digest says (which one cannot be known)"
    ]


def test_an_edited_contract_shows_in_the_verdicts_too(folder: Path) -> None:
    """A limit lowered afterwards: the manifest's digest, and each number that follows from the
    limit.
    """
    edit_json(folder / "run.json", "lanes", 0, "contract", "clause", 0, "limit", value="10ms")
    found = said(verify(folder))
    assert found[0].startswith("run.json: was edited")
    assert 'verdicts.json: clauses[0].verdict: stored "INCONCLUSIVE", recomputed "FAIL"' in found


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("lanes", 0, "contract"), "none"),
        (("lanes",), 3),
        (("lanes", 0, "phases"), None),
        (("segments",), [{}]),
        (("segments",), 1),
        (("versions",), []),
        (("inputs",), [1]),
        (("files",), ["x"]),
        (("harness",), None),
    ],
)
def test_a_manifest_that_makes_no_sense_is_told_and_not_stumbled_over(
    folder: Path, keys: tuple[str | int, ...], value: object
) -> None:
    """Whatever a field was edited to, the answer is a list of differences."""
    edit_json(folder / "run.json", *keys, value=value)
    assert said(verify(folder))[0].startswith("run.json: was edited")


def test_a_manifest_without_its_digest_is_told(folder: Path) -> None:
    """Taking the digest away does not make an edit pass."""
    manifest = json.loads((folder / "run.json").read_bytes())
    del manifest["manifest_sha256"]
    write_json(folder / "run.json", manifest)
    assert said(verify(folder)) == [
        "run.json: has no digest of its own, so an edited field would not be found"
    ]


def test_the_layout_of_the_manifest_does_not_matter(folder: Path) -> None:
    """Another indent and another order of keys are the same manifest."""
    manifest = json.loads((folder / "run.json").read_bytes())
    (folder / "run.json").write_text(json.dumps(dict(reversed(manifest.items())), indent=7))
    assert verify(folder).differences == ()


@pytest.mark.parametrize(
    "name", ["samples/rows.npy", "schedule.npy", "verdicts.json", "summary.json"]
)
def test_a_file_that_is_gone_is_found(folder: Path, name: str) -> None:
    """By its name; what cannot be recomputed without it is said."""
    (folder / name).unlink()
    found = said(verify(folder))
    assert found[0].startswith(f"{name}: is missing")
    assert ("verdicts.json: cannot be recomputed" in " ".join(found)) == name.endswith(".npy")


@pytest.mark.parametrize(
    "name", ["samples/w0-000007.npy", "attempts/rows.npy", "samples/other.npy"]
)
def test_a_file_that_was_added_is_found(folder: Path, name: str) -> None:
    """A table that no list names is a difference, whether or not anything reads it."""
    (folder / "attempts").mkdir(exist_ok=True)
    (folder / name).write_bytes((folder / "schedule.npy").read_bytes())
    assert said(verify(folder))[0].startswith(f"{name}: was added")


def test_the_histograms_are_covered_by_the_manifest(tmp_path: Path) -> None:
    """What was there when the run was closed is known by its digest."""
    run = run_of(tmp_path / "r", ROWS, lane_of())
    writer = RunWriter(tmp_path / "h", manifest_of([lane_of()]), run.columns.schedule)
    write_hlog(writer.folder / "histograms.hlog", [], 0)
    writer.finish("complete", run.columns.samples, {"harness": {}})
    file_records(Run(writer.folder))
    assert verify(writer.folder).differences == ()
    with (writer.folder / "histograms.hlog").open("a") as handle:
        handle.write("#\n")
    assert said(verify(writer.folder))[0].startswith("histograms.hlog: was edited")


def test_a_killed_run_is_verified_by_its_pieces(killed: Path) -> None:
    """No end, no records: its pieces are as they were sealed, and a note says that it has
    no end.
    """
    found = verify(killed)
    assert found.differences == ()
    assert found.files == 3 + 1 + 1  # pieces, texts, schedule
    assert "still running" in found.notes[0]


def test_changes_to_a_killed_run_are_found_by_piece(killed: Path) -> None:
    """The piece that was edited, the one that is gone and the one that was added are named, and no
    other.
    """
    pieces = sorted((killed / "samples").glob("w0-0*.npy"))
    table = np.load(pieces[0])
    table["sample"]["last_token_ns"][5] += 1
    np.save(pieces[0], table)
    (killed / "samples/w0-000009.npy").write_bytes(pieces[1].read_bytes())
    pieces[2].unlink()
    assert [line.split(" (")[0].split(": SHA")[0] for line in said(verify(killed))] == [
        "samples/w0-000000.npy: was edited",
        "samples/w0-000002.npy: is missing",
        "samples/w0-000009.npy: was added: it is in no list",
    ]


def test_a_list_that_is_gone_leaves_its_pieces_unknown(killed: Path) -> None:
    """Removing the digests does not make pieces pass."""
    (killed / "samples/w0-segments.jsonl").unlink()
    assert sum(": was added" in line for line in said(verify(killed))) == 4


def test_digests_outlive_a_killed_process(tmp_path: Path) -> None:
    """A real process, killed while it seals piece after piece: every piece is listed with the
    digest it has.
    """
    whole = run_of(tmp_path / "r", ROWS, lane_of(), state="running")
    for piece in (whole.folder / "samples").glob("w*"):
        piece.unlink()
    program = """
import os, signal, sys
from pathlib import Path
import numpy as np
from bench.record.pieces import STRING_KINDS, SegmentWriter
from bench.record.samples import empty_samples
writer = SegmentWriter(Path(sys.argv[1]))
for row in range(20):
    writer.append(np.arange(row, row + 1), empty_samples(1), {kind: [] for kind in STRING_KINDS})
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program, str(whole.folder)], cwd=root, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    found = verify(whole.folder)
    assert (found.differences, found.files) == ((), 20 + 1 + 1)


def test_a_torn_line_leaves_its_piece_unlisted(killed: Path) -> None:
    """Half a last line is no digest: the piece it spoke of is told, the others stand."""
    path = killed / "samples/w0-segments.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert [line.split(": ")[0] for line in said(verify(killed))] == ["samples/w0-000002.npy"]


def test_an_input_that_changed_since_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run keeps its own copy, so this is no difference; a file that is not there says
    nothing.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text("now")
    run = run_of(tmp_path / "r", ROWS, lane_of())
    file_records(run)
    manifest = json.loads((run.folder / "run.json").read_bytes())
    manifest["inputs"] = [
        {"name": "s.toml", "sha256": "0" * 64},
        {"name": "gone.toml", "sha256": "0" * 64},
    ]
    manifest["manifest_sha256"] = manifest_digest(manifest)
    write_json(run.folder / "run.json", manifest)
    found = verify(run.folder)
    assert found.differences == ()
    assert [note.split(" since")[0] for note in found.notes] == ["s.toml has changed"]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """No manifest: an error, not a difference."""
    with pytest.raises(RunFolderError, match="is not a run's folder"):
        verify(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-1, 1) | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
)


@given(JSON, JSON)
def test_two_values_differ_exactly_where_their_texts_do(stored: object, fresh: object) -> None:
    """No difference if and only if both are the same JSON, whatever the order of their keys."""
    same = json.dumps(stored, sort_keys=True) == json.dumps(fresh, sort_keys=True)
    assert (list(unequal(stored, fresh)) == []) == same


def test_numbers_are_not_taken_for_truth_values() -> None:
    """1, 1.0 and true are three things, and so is a number that is none."""
    assert [
        len(list(unequal(a, b))) for a, b in ((1, True), (1, 1.0), (0.1, 0.1), (math.inf, 1))
    ] == [1, 1, 0, 1]
