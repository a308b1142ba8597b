"""How a run's files reach the disk, and how its tables come back.

In: bytes, JSON values, record arrays. Out: files. Must stay true: a file is written whole or not
at all, and private to the user; a table that is damaged is named, and nothing in it is executed; a
folder that came from elsewhere leads to no file outside itself.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import RunFolderError
from bench.record.samples import Table

#: Where a run's files lie below its folder.
_PARTS = ("samples", "attempts", "plots")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: What a file system or a desktop lays into a folder.
_ANYWHERE = {"lost+found", "Thumbs.db", "desktop.ini"}
#: Of foreign files so many are named.
_FEW = 3
_NOT_ASCII = re.compile(r"[^\x00-\x7e]")
#: Windows would write each line's end as two bytes without being told that these are bytes.
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def unwritable(path: Path, error: OSError) -> RunFolderError:
    """The error for a file or folder of a run that cannot be written, with its remedy."""
    if error.errno in _FULL:
        remedy = "free some space"
    else:
        remedy = "make it writable, or choose another folder"
    return RunFolderError(f"cannot be written ({error.strerror})", where=str(path), remedy=remedy)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, private to the user.

    Raises RunFolderError: disk full, no right to.
    """
    _write_atomically(path, [data])


def _write_atomically(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        # Left by a process that was killed, or a link laid there to be written through.
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, _NEW_FILE, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            for part in parts:
                handle.write(part)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise unwritable(path, error) from error


def refuse_ways_out(folder: Path) -> None:
    """Raises RunFolderError where a run's folder holds anything but files and folders: a link leads
    out, a pipe never ends.
    """
    for place in (folder, *(folder / name for name in _PARTS)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as found:
            for item in found:
                if not item.is_file(follow_symlinks=False) and not item.is_dir(
                    follow_symlinks=False
                ):
                    what = "a symbolic link" if item.is_symlink() else "no ordinary file"
                    raise RunFolderError(
                        f"{item.name} is {what}, which is not followed", where=str(folder)
                    )


def refuse_foreign(folder: Path, ours: Collection[str] = ()) -> None:
    """Raises RunFolderError where a folder for results holds anything but `ours`: they would stand
    among somebody's files. Hidden files, and what systems lay anywhere, do not count.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(folder, error) from None
    foreign = [
        name
        for name in names
        if name not in ours and name not in _ANYWHERE and not name.startswith(".")
    ]
    if foreign:
        few = ", ".join(foreign[:_FEW]) + (", …" if len(foreign) > _FEW else "")
        raise RunFolderError(
            f"holds files that are not of a run ({few})",
            where=str(folder),
            remedy="choose another --out: a folder that is empty, or not there yet",
        )


def write_json(path: Path, value: Any) -> None:
    """JSON, UTF-8, two spaces, newline at the end; NaN is refused."""
    write_atomically(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """As `write_json` has it."""
    return f"{json_text(value)}\n".encode()


def json_text(value: Any, indent: int | None = 2) -> str:
    """JSON to read: letters of any script as they are, characters that steer a terminal or the
    reading direction as `\\u202e`.

    The value is the same; JSON itself escapes control characters below U+0020 alone.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return _NOT_ASCII.sub(
        lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text
    )


def write_table(
    path: Path,
    parts: Iterable[Table],
    rows: int,
    dtype: np.dtype[Any],
) -> str:
    """Write a table of `rows` as `npy_bytes` has it, of which one part at a time is in memory;
    returns its SHA-256 digest.
    """
    digest = hashlib.sha256()

    def seen() -> Iterator[bytes | memoryview]:
        for piece in _npy_pieces(parts, rows, dtype):
            digest.update(piece)
            yield piece

    _write_atomically(path, seen())
    return digest.hexdigest()


def table_digest(table: Table) -> str:
    """The digest that `write_table` would return for it."""
    digest = hashlib.sha256()
    for piece in _npy_pieces([table], len(table), table.dtype):
        digest.update(piece)
    return digest.hexdigest()


def _npy_pieces(
    parts: Iterable[Table],
    rows: int,
    dtype: np.dtype[Any],
) -> Iterator[bytes | memoryview]:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header,
        {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)},
    )
    yield header.getvalue()
    for part in parts:
        yield np.ascontiguousarray(part).view(np.uint8).data


def npy_bytes(table: Table) -> bytes:
    """A table as a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, table, allow_pickle=False)
    return buffer.getvalue()


def read_table(path: Path, dtype: np.dtype[Any], *, mapped: bool = False) -> Table:
    """The table of a file, with columns that its version did not know as -1. Raises RunFolderError.

    `mapped`: left on the disk, and read-only.
    """
    try:
        with path.open("rb") as handle:
            if mapped:
                table: Table = np.lib.format.open_memmap(path, mode="r")
            else:
                table = np.lib.format.read_array(handle, allow_pickle=False)
    except FileNotFoundError:
        raise RunFolderError(
            "is missing",
            where=str(path),
            remedy="copy the run's whole folder again",
        ) from None
    except (
        Exception
    ) as error:  # a damaged header raises numpy's, tokenize's and memory errors alike
        raise RunFolderError(f"cannot be read ({error})", where=str(path)) from None
    if table.ndim == 1 and table.dtype.names and table.dtype != dtype:
        table = _with_later_columns(table, dtype)
    if table.dtype != dtype or table.ndim != 1:
        raise RunFolderError("has columns of another format", where=str(path))
    return table


def _with_later_columns(table: Table, dtype: np.dtype[Any]) -> Table:
    """A table of an earlier version, whose columns are the first of today's: what it lacks
    is -1.
    """
    names = table.dtype.names or ()
    if names != (dtype.names or ())[: len(names)]:
        return table
    whole = np.full(len(table), -1, dtype)
    for name in names:
        column = table[name]
        if column.dtype.names and column.dtype != dtype[name]:  # a sample within a piece
            column = _with_later_columns(column, dtype[name])
        if column.dtype != dtype[name]:
            return table
        whole[name] = column
    return whole
