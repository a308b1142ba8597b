"""Parts of a run put together, whichever way they were started, against rows by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bench.errors import RunFolderError
from bench.record.gather import (
    Gathered,
    gather,
    gather_attempts,
    gather_leg_events,
    gather_pieces,
    parts_in,
)
from bench.record.parts import Kind, Part, Share
from bench.record.pieces import PieceFiles, SealedFiles, SegmentWriter, Strings, Texts
from bench.record.records.events import LegChange
from bench.record.samples import (
    ATTEMPT_DTYPE,
    SAMPLE_DTYPE,
    SCHEDULE_DTYPE,
    Outcome,
    Table,
    empty_attempts,
    empty_samples,
)
from bench.record.sittings import due_again_ns

ROWS, PARTS, SHIFT_NS = 24, 3, 1000


def planned() -> Table:
    """Sessions of two rows, due one after the other."""
    schedule = np.zeros(ROWS, SCHEDULE_DTYPE)
    schedule["session"], schedule["due_ns"] = np.arange(ROWS) // 2, np.arange(ROWS) * 10
    schedule["after_row"] = -1
    return schedule


def played(rows: list[int]) -> tuple[Table, Strings]:
    """What came of them, their model named after them; texts are numbered from the last."""
    samples = empty_samples(len(rows))
    samples["outcome"] = Outcome.ok
    samples["due_ns"] = samples["sent_ns"] = np.array(rows) * 10
    samples["connect_ns"], samples["worker"] = 7, 0
    samples["served_model"] = np.arange(len(rows))[::-1]
    texts: Strings = {"served_model": [f"m{row}" for row in reversed(rows)]}
    return samples, {"served_region": [], "finish": [], "note": []} | texts


def parts_of(kind: Kind, place: Path) -> list[Part]:
    """Three parts, every third session each, as their kind leaves them: pieces in one folder, or
    whole tables that number rows from 0, a second worker of a later start.
    """
    found = []
    for number in range(PARTS):
        share = Share(number, PARTS)
        rows = np.flatnonzero(share.rows(planned())).tolist()
        samples, texts = played(rows)
        tried = np.zeros(1, ATTEMPT_DTYPE)
        tried["row"], tried["note"] = 1, -1
        if kind in ("here", "later"):
            writer = SegmentWriter(place, number, 2 if kind == "later" else 1)
            for first in (4, 0):
                writer.append(np.array(rows[first : first + 4]), samples[first : first + 4], texts)
            tried["row"] = rows[1]
            writer.append_attempts(tried, texts)
            continue
        part = Part.of_shard(
            kind,
            number + 1,
            PARTS,
            files=SealedFiles(place, samples, tried, texts),
            first_worker=number,
            shift_ns=SHIFT_NS * number,
        )
        found.append(part)
    return found or parts_in(place)


@pytest.mark.parametrize("at_once", [None, 7, 1])
@pytest.mark.parametrize("kind", ["here", "later", "elsewhere", "there"])
def test_parts_of_any_kind_are_one_run(kind: Kind, at_once: int | None, tmp_path: Path) -> None:
    """Each row is its own part's, with its own text, at its place in the run's time and among its
    workers; attempts too.
    """
    (tmp_path / "samples").mkdir()
    schedule, texts = planned(), Texts()
    parts = parts_of(kind, tmp_path)
    apart = kind in ("elsewhere", "there")
    assert len(parts) == PARTS
    blocks = list(gather(parts, schedule, texts, at_once if apart else None))
    samples = np.concatenate(blocks)
    assert [len(block) for block in blocks[:-1]] == [at_once] * (len(blocks) - 1) or not apart
    part_of = [row // 2 % PARTS if apart else 0 for row in range(ROWS)]
    assert [texts.lists["served_model"][n] for n in samples["served_model"]] == [
        f"m{row}" for row in range(ROWS)
    ]
    assert samples["worker"].tolist() == part_of
    assert samples["sent_ns"].tolist() == [
        10 * row + SHIFT_NS * part_of[row] for row in range(ROWS)
    ]
    assert set(samples["connect_ns"].tolist()) == {7}
    assert set(samples["done_ns"].tolist()) == {-1}
    attempts = gather_attempts(parts, texts, schedule)
    assert attempts["row"].tolist() == [1, 3, 5]


@pytest.mark.parametrize("kind", ["elsewhere", "there"])
def test_a_part_that_is_lost_is_never_sent_and_says_why(kind: Kind, tmp_path: Path) -> None:
    """One that nothing is here of, and one that ended before its plan: due when they were planned,
    or when they came up.
    """
    schedule, texts = planned(), Texts()
    first, second, third = parts_of(kind, tmp_path)
    assert isinstance(third.files, SealedFiles)
    left = third.files.table
    left["outcome"][4:], left["due_ns"][5:] = Outcome.never_sent, -1
    parts = [
        first,
        dataclasses.replace(second, files=None, unsent_note=f"{second.name} is gone"),
        dataclasses.replace(third, shift_ns=0, unsent_note=f"{third.name} ended"),
    ]
    (samples,) = gather(parts, schedule, texts)
    said = [texts.lists["note"][n] if n >= 0 else "" for n in samples["note"]]
    rows = np.flatnonzero(Share(2, PARTS).rows(schedule)).tolist()
    expected = dict.fromkeys(rows[4:], "shard 3 of 3 ended") | {
        row: "shard 2 of 3 is gone" for row in range(ROWS) if row // 2 % PARTS == 1
    }
    assert said == [expected.get(row, "") for row in range(ROWS)]
    assert samples["due_ns"].tolist() == schedule["due_ns"].tolist()
    assert (samples["outcome"] == Outcome.never_sent).tolist() == [bool(text) for text in said]


def test_a_worker_that_died_loses_what_it_had_not_sealed(tmp_path: Path) -> None:
    """Due by its last mark: cut off; later: never sent; of another worker nothing is said."""
    (tmp_path / "samples").mkdir()
    schedule, texts = planned(), Texts()
    rows = np.arange(2)
    SegmentWriter(tmp_path, 0).append(rows, played([0, 1])[0], played([0, 1])[1])
    (alive,) = parts_in(tmp_path)
    dead = Part.of_pieces(
        PieceFiles(tmp_path, 1),
        Share(1, 2),
        begun_until_ns=60,
        begun_note="under way",
        unsent_note="not begun",
    )
    (samples,) = gather([alive, dead], schedule, texts)
    notes = [texts.lists["note"][n] if n >= 0 else "" for n in samples["note"]]
    theirs = [row for row in range(ROWS) if row // 2 % 2 == 1]
    assert [row for row in range(ROWS) if notes[row]] == theirs
    assert [row for row in range(ROWS) if notes[row] == "under way"] == [2, 3, 6]
    assert samples["outcome"][[2, 3, 6]].tolist() == [Outcome.censored] * 3
    assert samples["due_ns"][theirs].tolist() == [10 * row for row in theirs]


@pytest.mark.parametrize(
    ("shift_ns", "until_ns", "begun"), [(0, 25, [1, 2]), (0, 24, [2]), (100, 190, [1, 2, 4])]
)
def test_a_row_that_was_due_before_the_record_ends_may_have_begun(
    shift_ns: int, until_ns: int, begun: list[int]
) -> None:
    """By its planned time or a thinking time after its predecessor's end; not where that has no
    end, nor where it never came up.
    """
    schedule, samples = np.zeros(6, SCHEDULE_DTYPE), empty_samples(6)
    schedule["due_ns"], schedule["after_row"], schedule["think_ns"] = (
        [10, -1, 10, -1, 90, 30],
        [-1, 0, -1, 2, -1, -1],
        5,
    )
    samples["outcome"][0], samples["done_ns"][0] = Outcome.ok, 20
    samples["due_ns"][5] = 30
    assert due_again_ns(schedule, samples, 100)[[0, 1, 2, 4]].tolist() == [110, 25, 110, 190]
    Gathered(schedule, samples, {}).account_for(
        np.arange(6), begun_until_ns=until_ns, shift_ns=shift_ns
    )
    assert np.flatnonzero(samples["outcome"] == Outcome.censored).tolist() == begun


def test_events_of_all_parts_are_in_the_runs_order() -> None:
    """Each at its part's place in the run's time and among its workers."""
    event = LegChange(lane="r", leg=0, at_ns=5, state="open", worker=0)
    parts = [
        Part.of_shard("there", 1, 2, leg_events=[event], shift_ns=10),
        Part.of_shard("there", 2, 2, leg_events=[event], first_worker=3),
    ]
    assert gather_leg_events(parts) == [event.replace(worker=3), event.replace(at_ns=15)]
    assert len(gather_attempts(parts, Texts())) == len(empty_attempts())


def test_pieces_of_an_earlier_version_are_gathered(tmp_path: Path) -> None:
    """Their samples lack the last columns: what they never knew is -1, all else is as it was."""
    (tmp_path / "samples").mkdir()
    columns = list(SAMPLE_DTYPE.names or ())
    older = np.dtype([(name, SAMPLE_DTYPE[name]) for name in columns[:-4]])
    piece = np.zeros(3, [("row", "<i8"), ("sample", older)])
    piece["row"], piece["sample"]["done_ns"] = [5, 1, 3], [50, 10, 30]
    np.save(tmp_path / PieceFiles(tmp_path).piece("samples", 0), piece)
    samples, _ = gather_pieces(tmp_path, 6)
    assert samples["done_ns"].tolist() == [-1, 10, -1, 30, -1, 50]
    assert samples["output_tokens"].tolist() == [-1, 0, -1, 0, -1, 0]
    assert {int(value) for name in columns[-4:] for value in samples[name]} == {-1}


def test_names_of_pieces_lead_back_to_who_wrote_them() -> None:
    """Worker and sitting; another name is no piece of a run."""
    for worker, sitting in ((0, 1), (3, 1), (0, 2), (None, 1), (None, 3)):
        files = PieceFiles(Path("r"), worker, sitting)
        assert PieceFiles.named(Path("r"), files.writer) == files
    for name in ("x0", "w0.", "w1.2.3", "0"):
        with pytest.raises(RunFolderError, match="is no piece of a run"):
            PieceFiles.named(Path("r"), name)
