"""Digests of a run's files, by which edited, lost and added files are found.

In: bytes as they are written. Out: SHA-256 digests, in a list beside the pieces while a run lasts
and in the manifest once it is closed. Must stay true: a piece is in its worker's list as soon as it
is sealed, so that a killed process leaves both; the manifest's own digest covers all the others; no
list makes us read a file outside its folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import RunFolderError
from bench.record.files import unwritable
from bench.record.records.manifest import Manifest
from bench.record.records.record import read_json

#: Key of the manifest's digest of itself.
OWN = "manifest_sha256"
#: The whole plan's table, in the folder of each shard: where its rows belong, and what a lost shard
#: would have played.
WHOLE_TABLE = "whole.npy"
#: What else a run may write before it is closed, and nothing can make again.
WITNESSES = ("histograms.hlog", "truth.json", WHOLE_TABLE)
LIST = "segments.jsonl"


def sha256(data: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def manifest_digest(manifest: dict[str, Any]) -> str:
    """Digest of a manifest's content without the digest itself: the same for any layout of the same
    JSON.
    """
    # Through JSON first: keys that are numbers become text there, and sort in another order.
    plain = json.loads(json.dumps({key: value for key, value in manifest.items() if key != OWN}))
    return sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())


def was_edited(folder: Path) -> bool | None:
    """Whether run.json is not what its own digest says; None where it has none.

    Raises RunFolderError.
    """
    content = read_json(folder / Manifest.FILE)
    if OWN not in content:
        return None
    return bool(content[OWN] != manifest_digest(content))


def note_sealed(
    folder: Path,
    writer: str,
    name: str,
    data: bytes,
) -> None:
    """Add a file that was just sealed to its writer's list.

    `name` is relative to the run's folder.
    """
    _note(folder, writer, {"file": name, "sha256": sha256(data)})


def note_until(folder: Path, writer: str, until_ns: int) -> None:
    """Mark that the writer's rows that ended before `until_ns` (ns after the run's start) are on
    disk.
    """
    _note(folder, writer, {"until_ns": until_ns})


def _note(folder: Path, writer: str, entry: dict[str, Any]) -> None:
    path = folder / "samples" / f"{writer}-{LIST}"
    line = (json.dumps(entry) + "\n").encode()
    try:
        # One write of one line: a process that is killed leaves it whole or not at all.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.write(descriptor, line) < len(line):
                # There was room for a part of it.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unwritable(path, error) from None


def sealed(folder: Path) -> dict[str, str]:
    """File -> digest of all pieces that a run's lists name; of a file sealed again, the last.

    Raises RunFolderError.
    """
    return {
        inside(str(entry["file"])): str(entry["sha256"])
        for _, entry in _entries(folder)
        if "file" in entry and "sha256" in entry
    }


def marks(folder: Path) -> dict[str, int]:
    """Writer -> its last mark (ns after the run's start), of a run that has no end."""
    return {
        writer: entry["until_ns"]
        for writer, entry in _entries(folder)
        if isinstance(entry.get("until_ns"), int)
    }


def _entries(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((folder / "samples").glob(f"w*-{LIST}")):
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue  # its file is then unlisted, which `verify` reports
            if isinstance(entry, dict):
                yield path.name.removesuffix(f"-{LIST}"), entry


def inside(name: str) -> str:
    """The name, which must be one below the run's folder. Raises RunFolderError."""
    if not name.isprintable() or name.startswith("/") or ".." in name.split("/"):
        raise RunFolderError(f"{name!r} is outside the run's folder")
    return name


def listed(manifest: Manifest) -> dict[str, str]:
    """File -> digest of all that a closed manifest names.

    Raises RunFolderError for a name that leads out of its folder.
    """
    named = {
        "schedule.npy": manifest.schedule_sha256,
        "plan.json": manifest.plan_sha256,
        **manifest.files,
    }
    for segment in manifest.segments:
        named[segment.file] = segment.sha256
    return {inside(name): digest for name, digest in named.items() if digest is not None}


def is_list(path: Path) -> bool:
    """Whether a file is a worker's list, which no digest covers while the run lasts."""
    return path.name.endswith(f"-{LIST}")
