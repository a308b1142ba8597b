"""One run's folder: manifest, schedule, samples, and what was made from them.

In: tables and facts. Out: files under `results/<run>/`. Must stay true: every file is written
whole or not at all; a sealed piece's digest is kept beside it, and in the manifest once the run
is closed; samples reach the disk at least once a second; a folder belongs to one writer; nothing that could hold a key is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import weakref
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench import __version__
from bench.errors import RunFolderError
from bench.record.attempts import ATTEMPT_DTYPE, ATTEMPT_STRINGS, empty_attempts, in_order
from bench.record.digests import OWN, WITNESSES, manifest_digest, note_sealed, sha256
from bench.record.samples import SAMPLE_DTYPE, SCHEDULE_DTYPE, Columns, Table, empty_samples

#: Format history: 1 = first.
FORMAT = 1
State = Literal["running", "complete", "interrupted"]
#: Sample columns that hold numbers of texts.
#: Texts kept a kind, and the one that stands for all beyond them.
MAX_STRINGS, FURTHER_TEXTS = 1000, "(further texts)"
STRING_KINDS = ("served_model", "served_region", "finish", "note")
_SEGMENT_DTYPE = np.dtype([("row", "<i8"), ("sample", SAMPLE_DTYPE)])


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, private to the user. Raises RunFolderError: disk full, no right to."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunFolderError(f"cannot be written ({error.strerror})", where=str(path)) from error


def write_json(path: Path, value: Any) -> None:
    """JSON, UTF-8, two spaces, newline at the end; NaN is refused."""
    write_atomically(path, _json_bytes(value))


def _json_bytes(value: Any) -> bytes:
    return f"{json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()


def _npy_bytes(table: Table) -> bytes:
    import io

    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, table, allow_pickle=False)
    return buffer.getvalue()


def machine_facts() -> dict[str, Any]:
    """What `compare` must find equal before two runs stand side by side. No host name, no user."""
    model = platform.processor()
    try:
        text = Path("/proc/cpuinfo").read_text()
        if match := re.search(r"model name\s*:\s*(.+)", text):
            model = match[1]
    except OSError:
        pass
    return {"system": platform.system(), "release": platform.release(), "architecture": platform.machine(),
            "cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}  # fmt: skip


def library_versions() -> dict[str, str]:
    """Versions of the libraries that touch the numbers."""
    found = {"tailproof": __version__}
    for name in ("httpx", "httpx2", "anyio", "uvloop", "httptools", "numpy", "hdrhistogram", "matplotlib"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class SegmentWriter:
    """Seals what one worker's rows came to, piece by piece, while the run lasts."""

    def __init__(self, folder: Path, worker: int = 0):
        self._folder, self._worker = folder, worker
        self._count = self._attempts_count = 0
        self._known = -1

    def append(self, rows: np.ndarray, samples: Table, strings: dict[str, list[str]]) -> None:
        """Seal the samples of `rows`; `strings` are the texts their numbers stand for. Safe off the loop."""
        self._seal_strings(strings)
        segment = np.empty(len(rows), _SEGMENT_DTYPE)
        segment["row"], segment["sample"] = rows, samples
        self._seal(f"samples/w{self._worker}-{self._count:06d}.npy", _npy_bytes(segment))
        self._count += 1

    def append_attempts(self, attempts: Table, strings: dict[str, list[str]]) -> None:
        """Seal what routes tried. Safe off the loop."""
        self._seal_strings(strings)
        (self._folder / "attempts").mkdir(mode=0o700, exist_ok=True)
        self._seal(f"attempts/w{self._worker}-{self._attempts_count:06d}.npy", _npy_bytes(attempts))
        self._attempts_count += 1

    def _seal_strings(self, strings: dict[str, list[str]]) -> None:
        """Before the rows that need them: a piece never points at a text that is not there."""
        size = sum(map(len, strings.values()))
        if size != self._known:
            self._seal(f"samples/w{self._worker}-strings.json", _json_bytes(strings))
            self._known = size

    def _seal(self, name: str, data: bytes) -> None:
        """Write a piece and note its digest, which outlives a killed process as the piece does."""
        write_atomically(self._folder / name, data)
        note_sealed(self._folder, self._worker, name, data)


def gather(folder: Path, rows: int) -> tuple[Table, dict[str, list[str]]]:
    """(samples, strings) of all workers' pieces in one table of `rows`; what has none never began.

    Raises RunFolderError naming a piece that cannot be read.
    """
    samples = empty_samples(rows)
    strings: dict[str, dict[str, int]] = {kind: {} for kind in STRING_KINDS}
    numbering: dict[str, dict[str, np.ndarray]] = {}
    for piece in sorted((folder / "samples").glob("w*.npy")):
        segment = _read_table(piece, _SEGMENT_DTYPE)
        taken = segment["sample"].copy()
        worker = piece.name.partition("-")[0]
        if worker not in numbering:
            own = _read_strings(folder / "samples" / f"{worker}-strings.json")
            numbering[worker] = {kind: _numbering(own.get(kind, []), strings[kind]) for kind in STRING_KINDS}
        if len(segment) and not 0 <= segment["row"].min() <= segment["row"].max() < rows:
            raise RunFolderError(f"holds rows outside the {rows} that are scheduled", where=str(piece))
        for kind in STRING_KINDS:
            _renumber(taken[kind], numbering[worker][kind])
        samples[segment["row"]] = taken
    return samples, {kind: list(names) for kind, names in strings.items()}


def gather_attempts(folder: Path, strings: dict[str, list[str]]) -> Table:
    """All workers' pieces of the attempts in one table, numbered by `strings`.

    `strings` are those of `gather`; texts that attempts alone hold are added to them.
    """
    parts = [empty_attempts()]
    for piece in sorted((folder / "attempts").glob("w*.npy")):
        taken = _read_table(piece, ATTEMPT_DTYPE)
        own = _read_strings(folder / "samples" / f"{piece.name.partition('-')[0]}-strings.json")
        for kind in ATTEMPT_STRINGS:
            shared = {text: number for number, text in enumerate(strings[kind])}
            table = _numbering(own.get(kind, []), shared)
            _renumber(taken[kind], table)
            strings[kind] = list(shared)
        parts.append(taken)
    return in_order(np.concatenate(parts))


def _read_strings(path: Path) -> dict[str, list[str]]:
    try:
        names = json.loads(path.read_bytes())
        return {kind: [str(name) for name in names[kind]] for kind in STRING_KINDS}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"cannot be read ({type(error).__name__})", where=str(path)) from None


def _numbering(own: list[str], shared: dict[str, int]) -> np.ndarray:
    """A worker's numbers for texts -> those of the merged list, which grows to MAX_STRINGS; last entry for none."""
    table = np.full(len(own) + 1, -1, np.int64)
    for number, text in enumerate(own):
        if text not in shared and len(shared) >= MAX_STRINGS:
            text = FURTHER_TEXTS  # noqa: PLW2901 the one text that stands for the rest
        table[number] = shared.setdefault(text, len(shared))
    return table


def _renumber(column: np.ndarray, table: np.ndarray) -> None:
    known = (column >= 0) & (column < len(table) - 1)
    column[:] = table[np.where(known, column, -1)]


def renumbered(samples: Table, own: dict[str, list[str]], strings: dict[str, list[str]]) -> Table:
    """Samples that are numbered by `own` texts, numbered by `strings`, to which the texts are added."""
    taken = samples.copy()
    for kind in STRING_KINDS:
        shared = {text: number for number, text in enumerate(strings[kind])}
        _renumber(taken[kind], _numbering(own.get(kind, []), shared))
        strings[kind] = list(shared)
    return taken


class RunWriter:
    """The one writer of a run's folder while the run lasts."""

    def __init__(self, folder: Path, manifest: dict[str, Any], schedule: Table):
        """Create the folder. Raises RunFolderError when it holds a run already or cannot be made."""
        self.folder = folder
        self.samples_folder = folder / "samples"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.samples_folder.mkdir(mode=0o700)
        except FileExistsError:
            raise RunFolderError("holds a run already", where=str(folder), remedy="choose another --out") from None
        except OSError as error:
            raise RunFolderError(f"cannot be written ({error.strerror})", where=str(folder)) from None
        # Held for as long as we live; the system lets go of it when we die.
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._let_go = weakref.finalize(self, os.close, descriptor)
        self.manifest: dict[str, Any] = {"format": FORMAT, "state": "running", **manifest, "segments": []}
        schedule_bytes = _npy_bytes(schedule)
        write_atomically(folder / "schedule.npy", schedule_bytes)
        self.manifest["schedule_sha256"] = sha256(schedule_bytes)
        self.save_manifest()

    def save_manifest(self) -> None:
        """Write run.json as it stands, under its own digest."""
        write_json(self.folder / "run.json", {**self.manifest, OWN: manifest_digest(self.manifest)})

    def finish(self, state: State, samples: Table, facts: dict[str, Any], attempts: Table | None = None) -> None:
        """Seal each whole table as one segment in place of its pieces, and close the manifest.

        `attempts` is None for a run without a route.
        """
        pieces: list[Path] = []
        for name, table in (("samples", samples), ("attempts", attempts)):
            if table is None:
                continue
            data = _npy_bytes(table)
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
            write_atomically(self.folder / name / "rows.npy", data)
            pieces += (self.folder / name).glob("w*")
            self.manifest["segments"].append({"file": f"{name}/rows.npy", "rows": len(table), "sha256": sha256(data)})
        self.manifest["files"] = {name: sha256((self.folder / name).read_bytes())
                                  for name in WITNESSES if (self.folder / name).is_file()}  # fmt: skip
        self.manifest.update(facts, state=state)
        self.save_manifest()
        for piece in pieces:
            piece.unlink(missing_ok=True)
        self._let_go()

    def discard(self) -> None:
        """Remove the folder: nothing was sent, so there is nothing to keep."""
        shutil.rmtree(self.folder, ignore_errors=True)


def under_way(folder: Path) -> bool:
    """Whether the folder's writer is at work."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Run:
    """A run's folder, read."""

    def __init__(self, folder: Path):
        """Read manifest and tables. Raises RunFolderError naming what is missing or unreadable."""
        self.folder = folder
        self.manifest = read_manifest(folder)
        schedule = read_schedule(folder)
        samples, self._strings = _read_samples(folder, self.manifest, len(schedule))
        if len(samples) != len(schedule):
            raise RunFolderError(f"has {len(samples)} samples for {len(schedule)} scheduled rows", where=str(folder))
        self.columns = _without_unreached(Columns(schedule, samples), self.manifest)

    @property
    def state(self) -> str:
        """running (its writer died or is at work), complete or interrupted."""
        return str(self.manifest["state"])

    @property
    def lanes(self) -> list[dict[str, Any]]:
        """One record a lane (a target under a profile in a stage), in the order of the schedule."""
        lanes: list[dict[str, Any]] = self.manifest["lanes"]
        return lanes

    @property
    def attempts(self) -> Table:
        """What routes tried (see `bench/record/attempts.py`); empty without one. Raises RunFolderError."""
        whole = self.folder / "attempts" / "rows.npy"
        return _read_table(whole, ATTEMPT_DTYPE) if whole.is_file() else gather_attempts(self.folder, self._strings)

    def strings(self, kind: str) -> list[str]:
        """Names behind the sample columns served_model, served_region, finish or note."""
        return self._strings.get(kind, [])


def read_manifest(folder: Path) -> dict[str, Any]:
    """run.json of a folder. Raises RunFolderError when it is none of ours or of a newer format."""
    path = folder / "run.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        number = int(manifest["format"])
        missing = [key for key in ("run", "state", "lanes") if key not in manifest]
    except FileNotFoundError:
        raise RunFolderError("is not a run's folder (no run.json)", where=str(folder),
                             remedy="give a folder below results/") from None  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"cannot be read ({type(error).__name__})", where=str(path)) from None
    if number > FORMAT:
        writer = manifest.get("versions", {}).get("tailproof", "a newer version")
        raise RunFolderError(f"has format {number}; this tailproof reads up to {FORMAT}", where=str(path),
                             remedy=f"open it with tailproof {writer} or newer")  # fmt: skip
    if missing:
        raise RunFolderError(f"lacks {', '.join(missing)}", where=str(path))
    return manifest


def _read_samples(folder: Path, manifest: dict[str, Any], rows: int) -> tuple[Table, dict[str, list[str]]]:
    """The sealed table and its strings, or what the pieces hold of them while there is none."""
    whole = folder / "samples" / "rows.npy"
    if not whole.is_file() and manifest["state"] == "running":
        try:
            pieces = gather(folder, rows)
        except RunFolderError:
            if not whole.is_file():
                raise
        else:
            if not whole.is_file():
                return pieces
    # Where it was sealed while we read, the pieces are gone and the manifest is not yet read.
    strings: dict[str, list[str]] = manifest.get("strings", {})
    return _read_table(whole, SAMPLE_DTYPE), strings


def read_schedule(folder: Path) -> Table:
    """The schedule of a run's folder. Raises RunFolderError."""
    return _read_table(folder / "schedule.npy", SCHEDULE_DTYPE)


def _read_table(path: Path, dtype: np.dtype[Any]) -> Table:
    try:
        with path.open("rb") as handle:
            table: Table = np.lib.format.read_array(handle, allow_pickle=False)
    except FileNotFoundError:
        raise RunFolderError("is missing", where=str(path)) from None
    except Exception as error:  # a damaged header raises numpy's, tokenize's and memory errors alike
        raise RunFolderError(f"cannot be read ({error})", where=str(path)) from None
    if table.ndim == 1 and table.dtype.names and table.dtype != dtype:
        table = _with_later_columns(table, dtype)
    if table.dtype != dtype or table.ndim != 1:
        raise RunFolderError("has columns of another format", where=str(path))
    return table


def _with_later_columns(table: Table, dtype: np.dtype[Any]) -> Table:
    """A table of an earlier version, whose columns are the first of today's: what it lacks is -1."""
    older = [name for name in dtype.names or () if name in (table.dtype.names or ())]
    if (
        table.dtype != np.dtype([(name, dtype[name]) for name in older])
        or older != list(dtype.names or ())[: len(older)]
    ):
        return table
    whole = np.full(len(table), -1, dtype)
    for name in older:
        whole[name] = table[name]
    return whole


def _without_unreached(columns: Columns, manifest: dict[str, Any]) -> Columns:
    """Drop the rows that a closed loop never came to before its time was up.

    A closed loop sends as fast as the server answers, so its table is an upper bound; rows
    beyond the reach of its users were never due. Open-loop rows are never dropped.
    """
    endless = [index for index, lane in enumerate(manifest["lanes"]) if lane.get("closed_by_duration")]
    if not endless:
        return columns
    unreached = np.isin(columns.schedule["lane"], endless) & (columns.samples["due_ns"] < 0)
    return columns.where(~unreached)
