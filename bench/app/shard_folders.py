"""Folders of shards, read and checked before they are put together.

In: folders that `run --shard` wrote, or a cluster's nodes. Out: parts in their order. Must stay
true: parts of different runs are refused, and what was edited, damaged or still goes on; rows are
mapped, not read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import RunFolderError, UserError
from bench.record.digests import WHOLE_TABLE, listed, was_edited
from bench.record.facts import kept_evidence
from bench.record.files import refuse_ways_out
from bench.record.parts import Kind, Part
from bench.record.pieces import SealedFiles
from bench.record.run_folder import Run, read_manifest, under_way
from bench.userfile import file_digest

#: What a merged manifest takes over from its shards, which have it in common.
COMMON = ("suite", "seed", "inputs", "tokenizer")


def read_parts(folders: Sequence[Path], kind: Kind = "elsewhere") -> list[Part]:
    """The shards in their order, sent by `run --shard` elsewhere, or there, on a cluster.

    Raises UserError for strangers, RunFolderError for one going on, damaged or edited.
    """
    parts = sorted((_part(folder, kind) for folder in folders), key=lambda part: part.number)
    _refuse_strangers(parts)
    return parts


def _part(folder: Path, kind: Kind) -> Part:
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
        tried_rows = attempts if len(attempts) else None
        files = SealedFiles(folder, run.planned.samples, tried_rows, run.texts, kept_evidence(run))
        state, until_ns = run.state, run.until_ns
    else:
        files = SealedFiles.mapped(folder, manifest.strings, manifest.evidence)
        state, until_ns = manifest.state, manifest.stopped_ns
    shard = manifest.shard
    return Part.of_shard(
        kind,
        shard.number,
        shard.of,
        manifest,
        files=files,
        state=state,
        until_ns=until_ns,
        place=shard.place,
        clock=shard.clock,
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
                f"is {one.name}, as {one.folder} is",
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
        yield key, getattr(one.own, key), getattr(two.own, key)
    yield "the schedule", one.whole_sha256, two.whole_sha256
    yield "--start-at", one.start.agreed_wall_ns, two.start.agreed_wall_ns
    for ours, theirs in zip(one.own.lanes, two.own.lanes, strict=True):
        our_json, their_json = ours.to_json(), theirs.to_json()
        for key in our_json.keys() | their_json.keys():
            if key != "requests":
                yield f"{key} of {ours.name}", our_json.get(key), their_json.get(key)
