"""One run's folder: manifest, schedule, samples, and what was made from them.

In: tables and facts. Out: files under `results/<run>/`. Must stay true: a file is written whole or
not at all; a sealed piece's digest is kept, and in the manifest once the run is closed; samples
reach the disk at least once a second; one writer a folder; nothing that could hold a key.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import RunFolderError
from bench.machine import is_unix, lock
from bench.record.digests import OWN, WITNESSES, manifest_digest, marks, sha256
from bench.record.files import (
    read_table,
    refuse_foreign,
    refuse_ways_out,
    unwritable,
    write_atomically,
    write_json,
    write_table,
)
from bench.record.gather import Gathered, gather_attempts, gather_pieces, parts_in
from bench.record.pieces import PieceFiles, SegmentWriter, Texts, has_pieces, sealed_name
from bench.record.records.harness import State
from bench.record.records.manifest import LaneRecord, Manifest, Segment, SittingRecord
from bench.record.records.record import Json, parse_record, read_json
from bench.record.samples import ATTEMPT_DTYPE, SAMPLE_DTYPE, SCHEDULE_DTYPE, Columns, Table
from bench.record.sittings import gaps_ns, untouched
from bench.userfile import file_digest

#: What a run that was killed before it had a manifest may have left.
_BEGUN = {"samples", "schedule.npy", "plan.json"}
#: What is played and how, for a later sitting; the table of its rows is schedule.npy.
PLAN_FILE = "plan.json"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write run.json under its own digest."""
    content = manifest.to_json()
    write_json(folder / Manifest.FILE, {**content, OWN: manifest_digest(content)})


class RunWriter:
    """The one writer of a run's folder while the run lasts."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        schedule: Table,
        plan: bytes | None = None,
    ):
        """Create the folder; `plan` is its plan.json. Raises RunFolderError where it cannot be."""
        taken = RunFolderError(
            "holds a run already",
            where=str(folder),
            remedy="choose another --out",
        )
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._hold(folder, taken)
            #: what was there before us; samples/ is ours, or refused below
            self._theirs = {path.name for path in folder.iterdir()} - {"samples"}
            if (folder / "run.json").exists():
                raise taken
            refuse_foreign(folder, _BEGUN)
            (folder / "samples").mkdir(mode=0o700, exist_ok=True)
            # A run that was killed before it had a manifest has sent nothing: its folder is free.
            if any((folder / "samples").iterdir()):
                raise taken
        except FileExistsError:
            raise taken from None
        except OSError as error:
            raise unwritable(folder, error) from None
        try:
            digest = write_table(
                folder / "schedule.npy",
                [schedule],
                len(schedule),
                schedule.dtype,
            )
            manifest = manifest.replace(schedule_sha256=digest)
            if plan is not None:
                write_atomically(folder / PLAN_FILE, plan)
                manifest = manifest.replace(plan_sha256=sha256(plan))
            self.change(manifest)
        except RunFolderError:
            self.discard()
            raise

    def _hold(self, folder: Path, taken: RunFolderError) -> None:
        """Become the folder's one writer, while we or processes that inherited `lock` live;
        raises `taken` where another is.
        """
        self.folder = folder
        #: a descriptor; the system lets go of the folder when no process has it any more
        self.lock = os.open(folder, os.O_RDONLY)
        self._let_go = weakref.finalize(self, os.close, self.lock)
        if not lock(self.lock):
            self.let_go()
            raise taken

    def let_go(self) -> None:
        """Leave the folder to others."""
        self._let_go()

    def change(self, manifest: Manifest) -> None:
        """Write run.json anew, under its own digest."""
        self.manifest = manifest
        write_manifest(self.folder, manifest)

    def finish(
        self,
        state: State,
        samples: Table,
        facts: Json,
        attempts: Table | None = None,
    ) -> None:
        """Seal each whole table as one segment in place of its pieces, and close the manifest.

        `facts` are fields of the manifest; `attempts` is None for a run without a route.
        """
        for name, table in (("samples", samples), ("attempts", attempts)):
            if table is not None:
                self.seal(name, [table], len(table), table.dtype)
        self.close(state, facts)

    def seal(
        self,
        name: str,
        parts: Iterable[Table],
        rows: int,
        dtype: np.dtype[Any],
    ) -> None:
        """Seal `samples` or `attempts` as one segment of `rows`, of which one part at a time is in
        memory.
        """
        file = sealed_name(name)
        (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        digest = write_table(self.folder / file, parts, rows, dtype)
        segment = Segment(file=file, rows=rows, sha256=digest)
        self.manifest = self.manifest.replace(segments=[*self.manifest.segments, segment])

    def close(self, state: State, facts: Json) -> None:
        """Close the manifest, and remove the pieces of what is sealed."""
        files = {
            name: file_digest(self.folder / name)
            for name in WITNESSES
            if (self.folder / name).is_file()
        }
        self.change(self.manifest.replace(**{**facts, "files": files, "state": state}))
        for segment in self.manifest.segments:
            for piece in (self.folder / segment.file).parent.glob("w*"):
                piece.unlink(missing_ok=True)
        self.let_go()

    def discard(self) -> None:
        """Remove what we wrote: nothing was sent, so there is nothing to keep but what was there
        before us.
        """
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.name not in self._theirs:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.folder.rmdir()


class LaterSitting(RunWriter):
    """The writer of a run that broke off and is taken up again."""

    def __init__(self, folder: Path):
        """Raises RunFolderError while its writer, or a worker of it, is alive; nothing is changed
        yet.
        """
        read_manifest(folder)
        self._hold(
            folder,
            RunFolderError(
                "is still going on",
                where=str(folder),
                remedy="wait for its end, or stop it",
            ),
        )
        self.manifest = read_manifest(folder)

    def begin(
        self,
        run: Run,
        samples: Table,
        strings: dict[str, list[str]],
        rest: Table,
        sittings: list[SittingRecord],
        lanes: list[LaneRecord],
    ) -> None:
        """Open the folder again: all that is settled becomes a piece, `rest` is what will be
        played.

        Killed at any moment, it leaves a run that broke off, with all its rows.
        """
        attempts = run.attempts
        pieces = SegmentWriter(self.folder, None, len(sittings))
        settled = np.flatnonzero(~untouched(samples))
        pieces.append(settled, samples[settled], strings)
        if self.manifest.state != "running" and len(attempts):
            pieces.append_attempts(attempts, strings)
        if self.manifest.state != "running" and self.manifest.evidence:
            pieces.append_evidence(self.manifest.evidence)
        pieces.append_schedule(rest)
        self.change(
            self.manifest.replace(
                sittings=sittings,
                lanes=lanes,
                state="running",
                segments=[],
                files={},
                stopped_ns=None,
            )
        )
        tables = map(sealed_name, ("samples", "attempts"))
        for name in (*tables, "summary.json", "run.json.sig"):
            (self.folder / name).unlink(missing_ok=True)


def under_way(folder: Path) -> bool:
    """Whether the folder's writer, or a worker of it, is alive."""
    if not is_unix():
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return not lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


class Run:
    """A run's folder, read."""

    def __init__(self, folder: Path):
        """Read manifest and tables. Raises RunFolderError naming what is missing or unreadable."""
        refuse_ways_out(folder)
        self.folder = folder
        self.manifest, schedule, samples, self.texts = _read(folder)
        if len(samples) != len(schedule):
            raise RunFolderError(
                f"has {len(samples)} samples for {len(schedule)} scheduled rows", where=str(folder)
            )
        state = self.manifest.state
        killed = state == "running" and not under_way(folder)
        #: running (its writer is at work), complete or interrupted (by Ctrl-C, or by the writer's
        #: death)
        self.state: State = "interrupted" if killed else state
        #: how far the record reaches (ns after the run's start); None: to the plan's end
        self.until_ns = self.manifest.stopped_ns
        if state == "running":
            self.until_ns = _known_until(folder, samples, self.manifest)
            _mark_under_way(schedule, samples, self.texts, self.manifest, self.until_ns)
        #: stretches of the run's time that were planned and are on no record
        self.gaps_ns = gaps_ns(self.manifest, self.until_ns)
        #: one record a lane (a target under a profile in a stage), in the order of the schedule
        self.lanes = self.manifest.lanes
        if self.gaps_ns:
            self.lanes = [
                lane if lane.simulated else lane.replace(gaps_ns=self.gaps_ns)
                for lane in self.lanes
            ]
        #: all rows that were planned; `columns` are without those that a closed loop never came to
        self.planned = Columns(schedule, samples)
        self.columns = _without_unreached(self.planned, self.manifest)

    @property
    def attempts(self) -> Table:
        """What routes tried; empty without one. Raises RunFolderError."""
        whole = self.folder / sealed_name("attempts")
        listed = any(segment.file == sealed_name("attempts") for segment in self.manifest.segments)
        closed = self.manifest.state != "running" or not has_pieces(self.folder)
        taken = closed and (listed or whole.is_file())
        if taken:
            return read_table(whole, ATTEMPT_DTYPE)
        return gather_attempts(parts_in(self.folder), Texts(self.texts))

    def strings(self, kind: str) -> list[str]:
        """Names behind one of the sample columns that hold numbers of texts (`STRING_KINDS`)."""
        return self.texts.get(kind, [])


def read_manifest(folder: Path) -> Manifest:
    """run.json of a folder. Raises RunFolderError when it is none of ours or of a newer format."""
    path = folder / Manifest.FILE
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise RunFolderError("is no ordinary file", where=str(path))
    except FileNotFoundError:
        raise RunFolderError(
            "is not a run's folder (no run.json)",
            where=str(folder),
            remedy="give a folder below results/",
        ) from None
    except OSError as error:
        raise RunFolderError(f"cannot be read ({error.strerror})", where=str(path)) from None
    content = read_json(path)
    versions = content.get("versions")
    writer = versions.get("tailproof") if isinstance(versions, dict) else None
    return parse_record(Manifest, content, path, writer)


def _read(folder: Path) -> tuple[Manifest, Table, Table, dict[str, list[str]]]:
    """(manifest, schedule, samples, strings), all of one moment: a writer at work may seal or take
    up the run meanwhile.
    """
    while True:
        manifest = read_manifest(folder)
        schedule = read_schedule(folder)
        try:
            samples, strings = _read_samples(folder, manifest, len(schedule))
        except RunFolderError:
            if read_manifest(folder).state == manifest.state:
                raise
            continue
        # Pieces go only after the manifest says that they are sealed elsewhere.
        if manifest.state != "running" or read_manifest(folder).state == "running":
            return manifest, schedule, samples, strings


def _read_samples(
    folder: Path,
    manifest: Manifest,
    rows: int,
) -> tuple[Table, dict[str, list[str]]]:
    """The sealed table and its strings; of a run without an end, what its pieces hold."""
    whole = folder / sealed_name("samples")
    if manifest.state == "running" and (has_pieces(folder) or not whole.is_file()):
        return gather_pieces(folder, rows)
    return read_table(whole, SAMPLE_DTYPE), manifest.strings


def _known_until(folder: Path, samples: Table, manifest: Manifest) -> int:
    """Up to when (ns after the run's start) all that ended is on disk, in a run without an end."""
    begun = [sitting.began_ns - 1 for sitting in manifest.sittings]
    return max([*begun, *marks(folder).values()], default=int(samples["done_ns"].max(initial=0)))


def _mark_under_way(
    schedule: Table,
    samples: Table,
    strings: dict[str, list[str]],
    manifest: Manifest,
    until_ns: int,
) -> None:
    """Rows that were due before the record ends and are not on it: cut off, by the writer's death
    or by our looking now.
    """
    sent = np.flatnonzero(~np.isin(schedule["lane"], manifest.simulated_lanes))
    Gathered(schedule, samples, strings).account_for(
        sent,
        begun_until_ns=until_ns,
        shift_ns=manifest.shift_ns,
    )


def read_schedule(folder: Path, sitting: int = 1) -> Table:
    """The schedule of a run's folder, or what a later sitting plays of it while it lasts.

    Raises RunFolderError.
    """
    later = PieceFiles(folder, None, sitting).schedule
    return read_table(folder / ("schedule.npy" if sitting == 1 else later), SCHEDULE_DTYPE)


def _without_unreached(columns: Columns, manifest: Manifest) -> Columns:
    """Drop the rows that a closed loop never came to before its time was up.

    A closed loop sends as fast as the server answers, so its table is an upper bound; rows
    beyond the reach of its users were never due. Open-loop rows are never dropped.
    """
    endless = [index for index, lane in enumerate(manifest.lanes) if lane.closed_by_duration]
    if not endless:
        return columns
    unreached = np.isin(columns.schedule["lane"], endless) & (columns.samples["due_ns"] < 0)
    return columns.where(~unreached)
