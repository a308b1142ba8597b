"""A shard's folder, handed over piece by piece while it grows.

In: the folder of a run in one process. Out: parts of its files. Must stay true: whoever puts the
parts down in their order has, after each of them, a folder that is a run which broke off there;
each sealed byte is handed over once; of a folder that is closed the sealed tables follow, and its
manifest last.
"""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

from bench.errors import RunFolderError
from bench.record.digests import inside, listed
from bench.record.pieces import SEALED, PieceFiles
from bench.record.run_folder import read_manifest

_MANIFEST = "run.json"
#: A worker's list of its pieces, which grows; all other files are written whole.
_LIST = PieceFiles(Path()).list
#: Driver and node have it both before the run.
_COMMON = "schedule.npy"
#: A table is sealed once under its name; any other file may be another one between two of its
#: parts, and is read at once.
_TABLE = ".npy"
#: Bytes of a part at the most.
_PART_BYTES = 4 << 20


class FilePart(NamedTuple):
    """Bytes of a file from `offset`; `last`: the file is whole with them."""

    name: str
    offset: int
    data: bytes
    last: bool


class _Waiting(NamedTuple):
    """A file to be handed over, or what is to stand in one from `start` on."""

    name: str
    start: int = 0
    data: bytes | None = None


class Outbox:
    """What of a folder has not been handed over yet."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._waiting: deque[_Waiting] = deque()
        #: how much of the first of them is gone
        self._gone = 0
        #: how much of the list was read
        self._read = 0
        self._begun = self._closing = False

    def take(self, budget: int, *, ended: bool) -> tuple[list[FilePart], bool]:
        """(about `budget` bytes of what is next, whether more is known of); `ended`: no process
        writes to the folder any more.
        """
        parts: list[FilePart] = []
        if not self._begun:
            self._begin()
        while budget > 0 and (self._waiting or self._more(ended=ended)):
            part = self._next(min(budget, _PART_BYTES))
            if part is not None:
                parts.append(part)
                budget -= len(part.data)
        return parts, bool(self._waiting)

    def _begin(self) -> None:
        """The manifest as it is while the run goes on; one that is closed follows the tables that
        it names.
        """
        try:
            data = (self._folder / _MANIFEST).read_bytes()
        except FileNotFoundError:
            return
        self._begun = True
        if json.loads(data)["state"] == "running":
            self._waiting.append(_Waiting(_MANIFEST, data=data))

    def _more(self, *, ended: bool) -> bool:
        """Take in what was sealed meanwhile."""
        if self._closing:
            return False
        if ended and self._begun and (manifest := read_manifest(self._folder)).state != "running":
            self._closing = True
            self._waiting += [_Waiting(name) for name in listed(manifest) if name != _COMMON]
            self._waiting.append(_Waiting(_MANIFEST))
            return True
        return self._grown()

    def _grown(self) -> bool:
        """Lines of the list are handed over behind the files that they name."""
        try:
            with (self._folder / _LIST).open("rb") as handle:
                handle.seek(self._read)
                fresh = handle.read()
        except FileNotFoundError:
            return False
        fresh = fresh[: fresh.rfind(b"\n") + 1]
        names = [entry["file"] for entry in map(json.loads, fresh.splitlines()) if "file" in entry]
        self._waiting += [_Waiting(name) for name in dict.fromkeys(names)]
        if fresh:
            self._waiting.append(_Waiting(_LIST, self._read, fresh))
            self._read += len(fresh)
        return bool(fresh)

    def _next(self, most: int) -> FilePart | None:
        """The next part of the first waiting file; None where it went into a sealed table
        meanwhile.

        Then the lines that name it stay here too: they would vouch for what is not there.
        """
        name, start, data = self._waiting[0]
        try:
            if data is None and not name.endswith(_TABLE):
                data = (self._folder / name).read_bytes()
                self._waiting[0] = _Waiting(name, start, data)
            if data is None:
                with (self._folder / name).open("rb") as handle:
                    handle.seek(self._gone)
                    found, last = handle.read(most), not handle.read(1)
            else:
                found = data[self._gone : self._gone + most]
                last = self._gone + len(found) == len(data)
        except FileNotFoundError:
            self._waiting.clear()
            self._gone = 0
            return None
        part = FilePart(name, start + self._gone, found, last)
        self._gone += len(found)
        if last:
            self._waiting.popleft()
            self._gone = 0
        return part


class Inbox:
    """The other end: a folder that becomes what the node's is."""

    def __init__(self, folder: Path):
        self._folder = folder
        #: sealed tables that are whole and wait for their manifest, which has the texts that they
        #: number
        self._held: list[tuple[Path, Path]] = []

    def put(self, part: FilePart) -> None:
        """Put a part down; a file appears when it is whole, a sealed table together with its
        manifest. Raises RunFolderError.
        """
        path = self._folder / inside(part.name)
        if path == self._folder:
            raise RunFolderError(f"{part.name!r} is no file of a run's folder")
        # The list's lines are whole by themselves.
        taken = path if part.name == _LIST else path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(
                taken,
                os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if part.offset else os.O_TRUNC),
                0o600,
            )
            with os.fdopen(descriptor, "ab") as handle:
                handle.write(part.data)
            if not part.last or taken == path:
                return
            if path.name == SEALED:
                self._held.append((taken, path))
                return
            if part.name == _MANIFEST:
                for table, name in self._held:
                    table.replace(name)
                self._held = []
            taken.replace(path)
        except OSError as error:
            raise RunFolderError(
                f"cannot be written ({error.strerror})", where=str(path)
            ) from error
