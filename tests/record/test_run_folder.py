"""A run's folder: written whole or not at all, read at any moment, damage named, nothing
executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import ExitCode, RunFolderError
from bench.record.files import write_atomically, write_json
from bench.record.gather import gather_pieces
from bench.record.pieces import STRING_KINDS, Following, SegmentWriter
from bench.record.records.manifest import LaneRecord, Manifest
from bench.record.run_folder import LaterSitting, Run, RunWriter, read_manifest, under_way
from bench.record.samples import SCHEDULE_DTYPE, Outcome, Table, empty_samples
from tests.support.records import lane_record_of, manifest_of


def lane(**more: Any) -> LaneRecord:
    """What the reader needs of a lane."""
    return lane_record_of(**more)


def schedule_of(rows: int) -> Table:
    """Rows due a millisecond apart."""
    table = np.zeros(rows, SCHEDULE_DTYPE)
    table["due_ns"] = np.arange(rows) * 10**6
    return table


def samples_of(schedule: Table, seed: int = 1) -> Table:
    """Every row answered, every column filled with something of its own."""
    rng = np.random.default_rng(seed)
    table = empty_samples(len(schedule))
    for name in table.dtype.names or ():
        table[name] = rng.integers(0, 100, len(table))
    table["due_ns"], table["outcome"] = schedule["due_ns"], Outcome.ok
    return table


def begin(folder: Path, schedule: Table, **lane_facts: Any) -> RunWriter:
    """A writer at work."""
    return RunWriter(folder, manifest_of([lane(**lane_facts)]), schedule)


def texts(**kinds: list[str]) -> dict[str, list[str]]:
    """The texts behind the string columns; those not named are none."""
    return {kind: kinds.get(kind, []) for kind in STRING_KINDS}


def written(folder: Path, rows: int = 50) -> Path:
    """A complete run."""
    schedule = schedule_of(rows)
    writer = begin(folder, schedule)
    writer.finish(
        "complete",
        samples_of(schedule),
        {"harness": {"workers": 1}, "strings": {"note": ["a", "b"]}},
    )
    return folder


def npy(table: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=True)
    return buffer.getvalue()


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """Manifest, schedule and samples come back equal, byte for byte; digests in the manifest are
    those of the files.
    """
    schedule = schedule_of(70)
    samples = samples_of(schedule)
    writer = begin(tmp_path / "r", schedule)
    assert Run(tmp_path / "r").state == "running"
    writer.finish("complete", samples, {"harness": {"workers": 1}, "strings": {"note": ["a", "b"]}})
    run = Run(tmp_path / "r")
    assert (run.state, run.manifest.format) == ("complete", Manifest.FORMAT)
    assert run.manifest.harness.to_json() == {"workers": 1}
    assert (run.strings("note"), run.strings("finish")) == (["a", "b"], [])
    assert run.lanes == [lane()]
    assert run.columns.schedule.tobytes() == schedule.tobytes()
    assert run.columns.samples.tobytes() == samples.tobytes()
    digests = {segment.file: segment.sha256 for segment in run.manifest.segments}
    digests["schedule.npy"] = str(run.manifest.schedule_sha256)
    assert digests == {
        name: hashlib.sha256((run.folder / name).read_bytes()).hexdigest()
        for name in ("samples/rows.npy", "schedule.npy")
    }


def test_segments_alone_give_the_rows_that_ended(tmp_path: Path) -> None:
    """Without rows.npy (the writer was killed) the pieces give their rows, in any order; the rest
    never began.
    """
    schedule = schedule_of(300)
    samples = samples_of(schedule)
    for kind in STRING_KINDS:
        samples[kind] = -1
    writer, segments = begin(tmp_path / "r", schedule), SegmentWriter(tmp_path / "r")
    order = np.random.default_rng(3).permutation(250)
    for piece in np.array_split(order, 12):
        segments.append(piece, samples[piece], texts())
    run = Run(tmp_path / "r")
    assert len(list((tmp_path / "r/samples").glob("w0-0*.npy"))) == 12
    assert run.state == "running"
    assert run.columns.samples[:250].tobytes() == samples[:250].tobytes()
    assert run.columns.samples[250:].tobytes() == empty_samples(50).tobytes()
    writer.finish("interrupted", samples, {})
    assert [path.name for path in (tmp_path / "r/samples").iterdir()] == ["rows.npy"]
    again = Run(tmp_path / "r")
    assert (again.state, again.columns.samples.tobytes()) == ("interrupted", samples.tobytes())


def test_the_pieces_of_several_workers_become_one_table(tmp_path: Path) -> None:
    """Each worker numbers its texts by itself; gathered, every row still names its own text, none
    twice.
    """
    schedule = schedule_of(6)
    begin(tmp_path / "r", schedule)
    said = {0: ["slow", "late"], 1: ["late", "new"]}
    following, seen = Following(tmp_path / "r"), dict[int, str]()
    for worker, names in said.items():
        segments = SegmentWriter(tmp_path / "r", worker)
        for turn in range(2):
            part = samples_of(schedule)[:1]
            for kind in STRING_KINDS:
                part[kind] = -1
            part["note"], part["worker"] = turn, worker
            segments.append(np.array([worker * 2 + turn]), part, texts(note=names[: turn + 1]))
            # Followed meanwhile, each piece is read once, and its texts are found too.
            (row,), (sample,) = following.fresh()
            seen[int(row)] = following.strings("note")[sample["note"]]
    assert seen == {0: "slow", 1: "late", 2: "late", 3: "new"}
    samples, strings = gather_pieces(tmp_path / "r", 6)
    named = [strings["note"][number] if number >= 0 else None for number in samples["note"]]
    assert named == ["slow", "late", "late", "new", None, None]
    assert sorted(strings["note"]) == ["late", "new", "slow"]
    run = Run(tmp_path / "r")
    assert run.columns.samples.tobytes() == samples.tobytes()
    assert [run.strings(kind) for kind in STRING_KINDS] == [strings[kind] for kind in STRING_KINDS]
    for damage in (b"{", b"[]", b'{"note": 1}'):
        (tmp_path / "r/samples/w1-strings.json").write_bytes(damage)
        with pytest.raises(RunFolderError, match=r"w1-strings\.json: cannot be read"):
            Run(tmp_path / "r")


def test_a_run_can_be_read_while_its_writer_is_at_work(tmp_path: Path) -> None:
    """Read over and over during writing and sealing: never an error, each row whole, rows only ever
    added.
    """
    for attempt in range(5):
        folder, schedule = tmp_path / str(attempt), schedule_of(120)
        samples = samples_of(schedule)
        for kind in STRING_KINDS:
            samples[kind] = 0
        writer, segments = begin(folder, schedule), SegmentWriter(folder)

        def write(
            writer: RunWriter = writer, segments: SegmentWriter = segments, samples: Table = samples
        ) -> None:
            for row in range(0, 120, 4):
                segments.append(
                    np.arange(row, row + 4),
                    samples[row : row + 4],
                    texts(**{kind: ["x"] for kind in STRING_KINDS}),
                )
            writer.finish("complete", samples, {})

        thread = threading.Thread(target=write)
        thread.start()
        before = 0
        while True:
            alive = thread.is_alive()
            seen = Run(folder).columns.samples
            ended = seen["outcome"] == Outcome.ok
            assert seen[ended].tobytes() == samples[ended].tobytes()
            assert before <= ended.sum()
            before = int(ended.sum())
            if not alive:
                break
        thread.join()
        assert before == 120


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that cannot finish leaves the old file; a value JSON cannot hold is refused before
    anything is touched.
    """
    path = tmp_path / "x.json"
    write_json(path, {"a": "≤"})
    assert path.read_bytes() == '{\n  "a": "≤"\n}\n'.encode()
    for bad in (float("nan"), float("inf"), object()):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, {"a": bad})
    assert path.read_bytes() == '{\n  "a": "≤"\n}\n'.encode()
    (tmp_path / ".y.part").mkdir()
    with pytest.raises(RunFolderError, match=r"y: cannot be written .*directory"):
        write_atomically(tmp_path / "y", b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".y.part", "x.json"]


def test_files_are_private(tmp_path: Path) -> None:
    """0600 for files and 0700 for folders, whatever the umask leaves open, during the run and after
    it.
    """
    folder, schedule = tmp_path / "r", schedule_of(10)
    writer = begin(folder, schedule)
    SegmentWriter(folder).append(np.arange(4), samples_of(schedule)[:4], texts(note=["a"]))

    def modes() -> Iterator[tuple[bool, int]]:
        for path in (folder, *folder.rglob("*")):
            yield path.is_dir(), path.stat().st_mode & 0o777

    assert set(modes()) == {(True, 0o700), (False, 0o600)}
    writer.finish("complete", samples_of(schedule), {})
    assert set(modes()) == {(True, 0o700), (False, 0o600)}


def test_a_folder_belongs_to_one_writer(tmp_path: Path) -> None:
    """A second writer is refused (exit 2, with a remedy), and what the first wrote stands."""
    folder = written(tmp_path / "r")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(
        RunFolderError, match=r"r: holds a run already; choose another --out"
    ) as caught:
        begin(folder, schedule_of(3))
    assert caught.value.exit_code == ExitCode.USAGE
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file where a folder should be is an error with its path, and nothing is left behind."""
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunFolderError, match="file"):
            begin(folder, schedule_of(3))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_discarded_run_leaves_nothing(tmp_path: Path) -> None:
    """Where nothing was sent there is nothing to keep."""
    begin(tmp_path / "r", schedule_of(3)).discard()
    assert not (tmp_path / "r").exists()


def test_a_folder_of_foreign_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """Results would stand among somebody's files; what systems lay into folders does not count."""
    (tmp_path / "mine/photos").mkdir(parents=True)
    with pytest.raises(RunFolderError, match=r"mine: holds files that are not of a run \(photos\)"):
        begin(tmp_path / "mine", schedule_of(3))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["photos"]
    (tmp_path / "mount/lost+found").mkdir(parents=True)
    (tmp_path / "mount/.gitignore").write_text("*")
    begin(tmp_path / "mount", schedule_of(3)).discard()
    assert {path.name for path in (tmp_path / "mount").iterdir()} == {"lost+found", ".gitignore"}


def test_a_run_that_was_killed_before_it_had_a_manifest_leaves_its_folder_free(
    tmp_path: Path,
) -> None:
    """Nothing was sent, so another may have the folder; one whose samples/ holds something is left
    alone.
    """
    (tmp_path / "r/samples").mkdir(parents=True)
    (tmp_path / "r/.schedule.npy.part").write_bytes(b"half")
    begin(tmp_path / "r", schedule_of(3))
    (tmp_path / "mine/samples").mkdir(parents=True)
    (tmp_path / "mine/samples/song.wav").write_bytes(b"la")
    with pytest.raises(RunFolderError, match="holds a run already"):
        begin(tmp_path / "mine", schedule_of(3))
    assert [path.name for path in (tmp_path / "mine").rglob("*")] == ["samples", "song.wav"]


def test_a_living_writer_keeps_its_folder_and_a_dead_one_leaves_a_broken_off_run(
    tmp_path: Path,
) -> None:
    """Two writers at once: the second is refused even where nothing is written yet; without its
    writer a run is interrupted.
    """
    writer = begin(tmp_path / "r", schedule_of(3))
    (tmp_path / "r/run.json").rename(tmp_path / "kept")
    with pytest.raises(RunFolderError, match="holds a run already"):
        begin(tmp_path / "r", schedule_of(3))
    (tmp_path / "kept").rename(tmp_path / "r/run.json")
    assert (Run(tmp_path / "r").state, under_way(tmp_path / "r")) == ("running", True)
    with pytest.raises(RunFolderError, match="is still going on"):
        LaterSitting(tmp_path / "r")
    writer.let_go()
    assert (Run(tmp_path / "r").state, under_way(tmp_path / "r")) == ("interrupted", False)
    LaterSitting(tmp_path / "r").let_go()


def test_rows_that_were_due_before_the_record_ends_are_cut_off(tmp_path: Path) -> None:
    """The last mark of any worker divides what was under way from what was never reached; virtual
    lanes are left alone.
    """
    schedule = schedule_of(10)
    schedule["lane"][7] = 1
    schedule["due_ns"][8:], schedule["after_row"][8:], schedule["think_ns"][8:] = -1, [0, 3], 10**6
    writer = RunWriter(
        tmp_path / "r", manifest_of([lane(end_ns=10**7), lane(simulated=True)]), schedule
    )
    samples = samples_of(schedule)
    samples["done_ns"], samples["note"] = 4 * 10**6, -1
    for worker, until_ms in ((0, 5), (1, 3)):
        pieces = SegmentWriter(tmp_path / "r", worker)
        pieces.append(np.array([worker]), samples[worker : worker + 1], texts())
        pieces.mark(until_ms * 10**6)
    writer.let_go()
    run = Run(tmp_path / "r")
    # Row 8 waits for row 0, which ended after 4 ms; row 9 for one that never did.
    assert np.flatnonzero(run.columns.samples["outcome"] == Outcome.censored).tolist() == [
        2,
        3,
        4,
        5,
        8,
    ]
    assert run.columns.samples["due_ns"][[2, 5, 8]].tolist() == [2 * 10**6, 5 * 10**6, 5 * 10**6]
    assert {run.strings("note")[number] for number in run.columns.samples["note"][2:6]} == {
        "under way when the record ends"
    }
    assert (run.until_ns, run.gaps_ns) == (5 * 10**6, [(5 * 10**6, 10**7)])
    assert [lane.gaps_ns for lane in run.lanes] == [run.gaps_ns, []]


def test_a_run_that_was_killed_while_it_was_sealed_is_whole(tmp_path: Path) -> None:
    """Between rows.npy and the manifest the pieces count, with their texts; after the manifest what
    is left of them does not.
    """
    schedule = schedule_of(4)
    samples = samples_of(schedule)
    for kind in STRING_KINDS:
        samples[kind] = -1
    samples["note"] = [1, 0, 1, 0]
    writer = begin(tmp_path / "r", schedule)
    SegmentWriter(tmp_path / "r").append(np.arange(4), samples, texts(note=["a", "b"]))
    other = samples.copy()
    other["note"] = 3  # as its own manifest, which was never written, would number it
    (tmp_path / "r/samples/rows.npy").write_bytes(npy(other))

    def notes() -> list[str]:
        run = Run(tmp_path / "r")
        return [run.strings("note")[number] for number in run.columns.samples["note"]]

    assert notes() == ["b", "a", "b", "a"]
    piece = (tmp_path / "r/samples/w0-000000.npy").read_bytes()
    samples["note"] = 0
    writer.finish("complete", samples, {"strings": {"note": ["sealed"]}})
    (tmp_path / "r/samples/w0-000000.npy").write_bytes(piece)
    assert notes() == ["sealed"] * 4


def test_a_newer_format_is_refused_with_the_version_that_reads_it(tmp_path: Path) -> None:
    """The sentence names both formats and the version that wrote the run, even when all else has
    changed.
    """
    folder = written(tmp_path / "r")
    write_json(
        folder / "run.json", {"format": Manifest.FORMAT + 1, "versions": {"tailproof": "9.9.1"}}
    )
    with pytest.raises(
        RunFolderError,
        match=r"format 2; .* up to 1; open it with tailproof 9\.9\.1 or newer",
    ):
        Run(folder)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "lacks format"),
        ('{"format": "new"}', "cannot be read"),
        ('{"format": null}', "cannot be read"),
        ('{"format":1e9991}', "cannot be read"),
        ("\0", "cannot be read"),
        ("\xff", "cannot be read"),
        ('{"format": 1, "run": "r"}', "lacks state, lanes"),
    ],
)
def test_a_manifest_that_is_none_of_ours_is_named(tmp_path: Path, manifest: str, said: str) -> None:
    """Whatever run.json holds, the answer is one sentence with its path."""
    folder = written(tmp_path / "r")
    (folder / "run.json").write_bytes(manifest.encode("latin-1"))
    with pytest.raises(RunFolderError, match=rf"run\.json: {said}"):
        read_manifest(folder)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    """No run.json: not a run's folder, and where to look for one."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            RunFolderError,
            match=r"is not a run's folder \(no run.json\); give a folder below results/",
        ):
            Run(folder)


OBJECTS = np.array([{"a": 1}], dtype=object)


@pytest.mark.parametrize("name", ["schedule.npy", "samples/rows.npy"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-1], "cannot be read"),
        (lambda data: data[:20], "cannot be read"),
        (lambda _: b"", "cannot be read"),
        (lambda _: b"PK\x03\x04 not a zip", "cannot be read"),
        (lambda _: b"\x80\x04N.", "cannot be read"),
        (lambda _: npy(OBJECTS), "cannot be read.*allow_pickle"),
        (lambda _: npy(np.zeros(50)), "columns of another format"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, name: str, damage: Any, said: str) -> None:
    """Cut short, emptied, of another kind or holding objects: one sentence that names the file;
    nothing is unpickled.
    """
    folder = written(tmp_path / "r")
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunFolderError, match=said) as caught:
        Run(folder)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["schedule.npy", "samples/rows.npy"])
def test_a_table_that_is_gone_is_named(tmp_path: Path, name: str) -> None:
    """A complete run without its schedule or its samples is damaged, not empty."""
    folder = written(tmp_path / "r")
    (folder / name).unlink()
    with pytest.raises(RunFolderError, match=rf"{name}: is missing"):
        Run(folder)


def test_tables_of_unequal_length_or_shape_are_refused(tmp_path: Path) -> None:
    """Samples are the schedule's twin: another count of rows, or another shape, is damage."""
    folder = written(tmp_path / "r")
    path = folder / "samples" / "rows.npy"
    whole = np.load(path)
    path.write_bytes(npy(whole[:-1]))
    with pytest.raises(RunFolderError, match="has 49 samples for 50 scheduled rows"):
        Run(folder)
    path.write_bytes(npy(whole.reshape(5, 10)))
    with pytest.raises(RunFolderError, match=r"rows\.npy: has columns of another format"):
        Run(folder)


@pytest.mark.parametrize("row", [-1, 10, 10**12])
def test_a_segment_of_rows_that_were_never_scheduled_is_named(tmp_path: Path, row: int) -> None:
    """A piece cannot write past the schedule, nor from its end backwards."""
    schedule = schedule_of(10)
    begin(tmp_path / "r", schedule)
    SegmentWriter(tmp_path / "r").append(np.array([3, row]), samples_of(schedule)[:2], texts())
    with pytest.raises(RunFolderError, match=r"w0-000000\.npy: holds rows outside the 10"):
        Run(tmp_path / "r")


@given(
    at=st.integers(0, 10**6),
    byte=st.integers(0, 255),
    name=st.sampled_from(["schedule.npy", "samples/rows.npy"]),
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_one_wrong_byte_in_a_header_never_ends_in_a_traceback(
    tmp_path: Path, at: int, byte: int, name: str
) -> None:
    """A byte changed in the first 200 of a table: it is read, or refused as damaged; nothing else
    is raised.
    """
    folder = tmp_path / "r" if (tmp_path / "r").exists() else written(tmp_path / "r")
    path = folder / name
    good = path.read_bytes()
    damaged = bytearray(good)
    damaged[at % 200] = byte
    path.write_bytes(damaged)
    try:
        Run(folder)
    except RunFolderError:
        pass
    finally:
        path.write_bytes(good)


def test_a_closed_loop_by_duration_drops_the_rows_it_never_reached(tmp_path: Path) -> None:
    """Its table is an upper bound: rows that no user came to are gone, those of an open loop beside
    it stay.
    """
    schedule = schedule_of(8)
    schedule["lane"] = [0, 1] * 4
    samples = empty_samples(8)
    samples["due_ns"][[0, 2, 1]] = 5
    samples["outcome"][[0, 1]] = Outcome.ok
    for by_duration, kept in ((True, [0, 1, 2, 3, 5, 7]), (False, list(range(8)))):
        folder = tmp_path / str(by_duration)
        facts = manifest_of([lane(closed_by_duration=by_duration), lane()])
        RunWriter(folder, facts, schedule).finish("complete", samples, {})
        columns = Run(folder).columns
        assert columns.schedule.tobytes() == schedule[kept].tobytes()
        assert columns.samples.tobytes() == samples[kept].tobytes()


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    """run.json is UTF-8 JSON that any tool reads."""
    manifest = json.loads((written(tmp_path / "r") / "run.json").read_text("utf-8"))
    assert (manifest["format"], manifest["state"], manifest["run"]) == (1, "complete", "r")
