"""A growing folder, handed over piece by piece: what is at the other end is a run at any moment."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import RunFolderError
from bench.extras.cluster.outbox import FilePart, Inbox, Outbox
from bench.record.digests import marks
from bench.record.gather import gather_attempts, gather_pieces, parts_in
from bench.record.pieces import STRING_KINDS, SegmentWriter, Texts
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import SCHEDULE_DTYPE, Outcome, empty_attempts, empty_samples
from bench.units import MS
from tests.support.records import manifest_of

ROWS = 40
MANIFEST = manifest_of([{"end_ns": ROWS * MS}], started_wall_ns=0)
#: A step of the node's, or how much of what is there is handed over next.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("seal"), st.integers(1, 4)),
        st.tuples(st.just("mark"), st.just(0)),
        st.tuples(st.just("try"), st.integers(1, 3)),
        st.tuples(st.just("take"), st.integers(1, 3000)),
    ),
    max_size=25,
)


class Node:
    """Where the folder grows."""

    def __init__(self, folder: Path):
        schedule = np.zeros(ROWS, SCHEDULE_DTYPE)
        schedule["due_ns"], schedule["after_row"] = np.arange(ROWS) * MS, -1
        self.folder = folder
        self.writer = RunWriter(folder, MANIFEST, schedule)
        self.pieces = SegmentWriter(folder)
        self.strings: dict[str, list[str]] = {kind: [] for kind in STRING_KINDS}
        self.sealed = self.tried = 0
        #: how many rows were sealed after each piece
        self.reached = [0]

    def seal(self, count: int) -> None:
        """Seal the next rows, each with a text of its own that grows the list."""
        rows = np.arange(self.sealed, min(self.sealed + count, ROWS))
        samples = empty_samples(len(rows))
        for place, row in enumerate(rows.tolist()):
            self.strings["note"].append(f"note of row {row}")
            samples["outcome"][place], samples["due_ns"][place], samples["done_ns"][place] = (
                Outcome.ok,
                row * MS,
                row * MS,
            )
            samples["note"][place] = len(self.strings["note"]) - 1
        self.pieces.append(rows, samples, self.strings)
        self.sealed += len(rows)
        self.reached.append(self.sealed)

    def tries(self, count: int) -> None:
        """Seal what a route tried."""
        attempts = np.repeat(empty_attempts(), 0)
        attempts = np.zeros(count, attempts.dtype)
        attempts["row"] = np.arange(self.tried, self.tried + count)
        self.pieces.append_attempts(attempts, self.strings)
        self.tried += count

    def close(self) -> None:
        """Seal the whole, as a run does at its end."""
        samples, strings = gather_pieces(self.folder, ROWS)
        attempts = gather_attempts(parts_in(self.folder), Texts(strings))
        self.writer.finish(
            "complete", samples, {"strings": strings}, attempts if self.tried else None
        )


def check(node: Node, mirror: Path) -> int:
    """The mirror is a run whose rows are a prefix of what was sealed, each with its text;
    how many.
    """
    if not (mirror / "run.json").is_file():
        return 0
    run = Run(mirror)
    ok = np.flatnonzero(run.columns.samples["outcome"] == Outcome.ok)
    assert ok.tolist() == list(range(len(ok)))
    assert len(ok) in node.reached
    assert [run.strings("note")[run.columns.samples["note"][row]] for row in ok] == [
        f"note of row {row}" for row in ok
    ]
    assert len(run.attempts) <= node.tried
    # A mark vouches for what ended before it.
    assert all(len(ok) > until_ns // MS for until_ns in marks(mirror).values())
    return len(ok)


def mirrored(place: Path) -> Path:
    """The other end as a driver makes it: with the slice, which both have."""
    (place / "mirror" / "samples").mkdir(parents=True)
    shutil.copy(place / "node" / "schedule.npy", place / "mirror" / "schedule.npy")
    return place / "mirror"


def same_files(node: Path, mirror: Path) -> bool:
    """Whether every file of the node's folder is there, byte by byte."""
    files = [path.relative_to(node) for path in node.rglob("*") if path.is_file()]
    return all((mirror / name).read_bytes() == (node / name).read_bytes() for name in files)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, closed=st.booleans(), budget=st.integers(100, 20_000))
def test_the_other_end_is_a_run_after_each_part(
    steps: list[tuple[str, int]], closed: bool, budget: int
) -> None:
    """Pieces, growing texts and lists, taken in any portions at any moments, then sealed or not:
    never less, never ahead, at last the same.
    """
    with tempfile.TemporaryDirectory() as made:
        node = Node(Path(made, "node"))
        mirror = mirrored(Path(made))
        outbox, inbox, known = Outbox(node.folder), Inbox(mirror), 0

        def take(most: int, *, ended: bool = False) -> bool:
            nonlocal known
            parts, more = outbox.take(most, ended=ended)
            for part in parts:
                inbox.put(part)
                now = check(node, mirror)
                assert now >= known
                known = now
            return bool(parts) or more

        for step, size in steps:
            if step == "seal" and node.sealed < ROWS:
                node.seal(size)
            elif step == "try":
                node.tries(size)
            elif step == "mark":
                node.pieces.mark(max(node.sealed * MS - 1, 0)) if node.sealed else None
            elif step == "take":
                take(size)
        if closed:
            node.close()
        else:
            node.writer.let_go()
        while take(budget, ended=True):
            pass
        assert known == node.sealed
        assert same_files(node.folder, mirror)
        assert outbox.take(budget, ended=True) == ([], False)
        run = Run(mirror)
        assert len(run.attempts) == node.tried
        assert run.state == ("complete" if closed else "interrupted")


def test_a_folder_that_was_closed_before_anybody_looked_is_handed_over_whole(
    tmp_path: Path,
) -> None:
    """Its manifest comes last: until then what is there calls itself no complete run."""
    node = Node(tmp_path / "node")
    node.seal(3)
    node.close()
    mirror = mirrored(tmp_path)
    outbox, inbox = Outbox(node.folder), Inbox(mirror)
    names = []
    while parts := outbox.take(500, ended=True)[0]:
        for part in parts:
            names.append(part.name)
            assert not (mirror / "run.json").exists()
            inbox.put(part)
    assert names[-1] == "run.json"
    assert same_files(node.folder, mirror)
    assert check(node, mirror) == 3


def test_a_run_that_is_closed_while_it_is_handed_over_keeps_what_had_come(tmp_path: Path) -> None:
    """Pieces vanish into the sealed table: the lines that name them stay back, and the other end is
    a run as it was.
    """
    node = Node(tmp_path / "node")
    node.seal(2)
    node.pieces.mark(2 * MS - 1)
    mirror = mirrored(tmp_path)
    outbox, inbox = Outbox(node.folder), Inbox(mirror)
    for part in outbox.take(100_000, ended=False)[0]:
        inbox.put(part)
    node.seal(4)
    node.seal(4)
    node.pieces.mark(10 * MS - 1)
    for part in outbox.take(1, ended=False)[0]:  # it knows of both
        inbox.put(part)
    node.close()
    for part in outbox.take(100_000, ended=False)[0]:
        inbox.put(part)
    assert check(node, mirror) in (2, 6)
    while parts := outbox.take(100_000, ended=True)[0]:
        for part in parts:
            inbox.put(part)
    assert check(node, mirror) == 10
    assert same_files(node.folder, mirror)


def test_a_second_copy_into_the_same_folder_begins_anew(tmp_path: Path) -> None:
    """What a driver had half of, a collector brings whole: no line twice, no part of a file left of
    the first.
    """
    node = Node(tmp_path / "node")
    node.seal(5)
    mirror = mirrored(tmp_path)
    for part in Outbox(node.folder).take(300, ended=False)[0]:
        Inbox(mirror).put(part)
    node.seal(5)
    node.writer.let_go()
    outbox = Outbox(node.folder)
    while parts := outbox.take(700, ended=True)[0]:
        for part in parts:
            Inbox(mirror).put(part)
    assert same_files(node.folder, mirror)
    assert list(mirror.rglob(".*")) == []
    lines = (mirror / "samples" / "w0-segments.jsonl").read_text().splitlines()
    assert len({json.dumps(json.loads(line)) for line in lines}) == len(lines)


@pytest.mark.parametrize(
    "name", ["../x", "samples/../../x", "/etc/x", "a\0b", "", ".", "samples/.."]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    """From a node that is not to be trusted: nothing is written anywhere."""
    (tmp_path / "here").mkdir()
    with pytest.raises(RunFolderError):
        Inbox(tmp_path / "here").put(FilePart(name, 0, b"x", last=True))
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]
