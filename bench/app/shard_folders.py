"""Folders of shards, read and checked before they are put together.

In: folders that `run --shard` wrote, or a cluster's nodes. Out: `Part`s in their order. Must stay
true: parts of different runs are refused, and what was edited, damaged or still goes on; rows are
mapped, not read.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import RunFolderError, UserError
from bench.load.shard import WHOLE_TABLE
from bench.record.digests import listed
from bench.record.files import read_table, refuse_ways_out
from bench.record.parts import Share
from bench.record.pieces import STRING_KINDS, renumbered
from bench.record.records.manifest import Manifest, ShardRecord, StartRecord, State
from bench.record.run_folder import Run, read_manifest, under_way, was_edited
from bench.record.samples import ATTEMPT_DTYPE, ATTEMPT_STRINGS, LENGTHS, SAMPLE_DTYPE, Table
from bench.userfile import file_digest

#: Columns in ns that are no moments after the run's start.
#: What a merged manifest takes over from its shards, which have it in common.
COMMON = ("suite", "seed", "inputs", "tokenizer")


@dataclasses.dataclass
class Part:
    """One shard's folder, checked."""

    folder: Path
    manifest: Manifest
    #: its rows, as the machine that played them numbered workers and texts
    samples: Table
    attempts: Table | None
    strings: dict[str, list[str]]
    #: complete, or interrupted: by Ctrl-C, or by its death
    state: State
    #: how far its record reaches (ns after its time zero); None: to its plan's end
    until_ns: int | None
    #: its time zero after that of the merged run
    shift_ns: int = 0
    #: the number of its first worker among all
    first_worker: int = 0

    @property
    def shard(self) -> ShardRecord:
        """Which part of which run it is."""
        assert self.manifest.shard is not None
        return self.manifest.shard

    @property
    def start(self) -> StartRecord:
        """Its time zero."""
        assert self.manifest.start is not None
        return self.manifest.start

    @property
    def number(self) -> int:
        """Counted from 1."""
        return self.shard.number

    @property
    def of(self) -> int:
        """How many shards the run has."""
        return self.shard.of

    @property
    def whole_sha256(self) -> str | None:
        """Digest of the whole plan's table."""
        return self.shard.whole_sha256

    @property
    def share(self) -> Share:
        """Its part of the whole plan."""
        return Share(shard=self.number - 1, shards=self.of)

    @property
    def whole(self) -> bool:
        """Whether it came to its plan's end."""
        return self.state == "complete" and not self.manifest.ended_early

    @property
    def workers(self) -> int:
        """How many processes it had; of one that was killed, as many as its rows tell of."""
        known = self.manifest.harness.workers
        return int(known if known is not None else self.samples["worker"].max(initial=0) + 1)

    def rows(self, start: int, stop: int, strings: dict[str, list[str]]) -> Table:
        """Samples as the merged run has them."""
        return self._moved(self.samples[start:stop], strings, STRING_KINDS)

    def tried(self, whole: Table, strings: dict[str, list[str]]) -> Table:
        """Attempts as the merged run has them."""
        assert self.attempts is not None
        moved = self._moved(self.attempts, strings, ATTEMPT_STRINGS)
        moved["row"] = np.flatnonzero(self.share.rows(whole))[moved["row"]]
        return moved

    def _moved(self, table: Table, strings: dict[str, list[str]], kinds: Sequence[str]) -> Table:
        moved = renumbered(table, self.strings, strings, kinds)
        moved["worker"][moved["worker"] >= 0] += self.first_worker
        for name in (
            name for name in moved.dtype.names or () if name.endswith("_ns") and name not in LENGTHS
        ):
            moved[name][moved[name] >= 0] += self.shift_ns
        return moved


def read_parts(folders: Sequence[Path]) -> list[Part]:
    """The shards in their order.

    Raises UserError for strangers, RunFolderError for one going on, damaged or edited.
    """
    parts = sorted((_part(folder) for folder in folders), key=lambda part: part.number)
    _refuse_strangers(parts)
    return parts


def _part(folder: Path) -> Part:
    """Read and check one folder."""
    refuse_ways_out(folder)
    manifest = read_manifest(folder)
    if manifest.shard is None:
        raise UserError(
            "is no shard of a run",
            where=str(folder),
            remedy="give folders of `tailproof run --shard I/N`",
        )
    if was_edited(folder) is not False:
        raise RunFolderError("was edited since it was written", where=str(folder / "run.json"))
    for name, digest in listed(manifest).items():
        if name != WHOLE_TABLE:  # the same in all, and read of one
            check_sealed(folder / name, digest)
    if manifest.state == "running":
        if under_way(folder):
            raise RunFolderError("is still going on", where=str(folder), remedy="wait for its end")
        run = Run(folder)
        attempts = run.attempts
        return Part(
            folder,
            manifest,
            run.planned.samples,
            attempts if len(attempts) else None,
            run.texts,
            run.state,
            run.until_ns,
        )
    tried = folder / "attempts" / "rows.npy"
    return Part(
        folder,
        manifest,
        read_table(folder / "samples" / "rows.npy", SAMPLE_DTYPE, mapped=True),
        read_table(tried, ATTEMPT_DTYPE, mapped=True) if tried.is_file() else None,
        manifest.strings,
        manifest.state,
        manifest.stopped_ns,
    )


def check_sealed(path: Path, digest: str | None) -> None:
    """Raises RunFolderError for a file that is not what was sealed."""
    if not path.is_file() or file_digest(path) != digest:
        raise RunFolderError(
            "is missing or not what was sealed",
            where=str(path),
            remedy="copy the shard's whole folder again",
        )


def _refuse_strangers(parts: list[Part]) -> None:
    """Raises UserError naming two folders that are not parts of one run, and why."""
    for one, two in itertools.pairwise(parts):
        if one.of == two.of and one.number == two.number:
            raise UserError(
                f"is shard {one.number} of {one.of}, as {one.folder} is",
                where=str(two.folder),
                remedy="give each shard once",
            )
    first = parts[0]
    for part in parts[1:]:
        for what, ours, theirs in _in_common(first, part):
            if ours != theirs:
                raise UserError(
                    f"is of another run than {first.folder}: {what} differs",
                    where=str(part.folder),
                    remedy="merge shards of one command alone",
                )


def _in_common(one: Part, two: Part) -> Iterator[tuple[str, Any, Any]]:
    yield "the number of shards", one.of, two.of
    for key in COMMON:
        yield key, getattr(one.manifest, key), getattr(two.manifest, key)
    yield "the schedule", one.whole_sha256, two.whole_sha256
    yield "--start-at", one.start.agreed_wall_ns, two.start.agreed_wall_ns
    for ours, theirs in zip(one.manifest.lanes, two.manifest.lanes, strict=True):
        our_json, their_json = ours.to_json(), theirs.to_json()
        for key in our_json.keys() | their_json.keys():
            if key != "requests":
                yield f"{key} of {ours.name}", our_json.get(key), their_json.get(key)
