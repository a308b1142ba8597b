"""What one sitting of a run leaves on the disk while it lasts: pieces, their texts, and marks of
how far they reach.

In: rows that ended. Out: `samples/w*` and `attempts/w*`, and the tables that they make together.
Must stay true: a piece is sealed before its rows count as kept; texts reach the disk before the
rows that point at them; a mark says that whatever ended before it is on disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import RunFolderError
from bench.record.digests import note_sealed, note_until
from bench.record.files import json_bytes, npy_bytes, read_table, unwritable, write_atomically
from bench.record.samples import (
    ATTEMPT_DTYPE,
    ATTEMPT_STRINGS,
    SAMPLE_DTYPE,
    Bool,
    Outcome,
    Table,
    empty_attempts,
    empty_samples,
    in_order,
)

#: Texts kept a kind, and the one that stands for all beyond them.
MAX_STRINGS, FURTHER_TEXTS = 1000, "(further texts)"
#: Sample columns that hold numbers of texts.
STRING_KINDS = ("served_model", "served_region", "finish", "note", "served_tier", "error_code")
_PIECES = "w*-[0-9]*.npy"
_SEGMENT_DTYPE = np.dtype([("row", "<i8"), ("sample", SAMPLE_DTYPE)])


def writer_name(worker: int | None, sitting: int) -> str:
    """What the files of one worker's writer begin with; `worker` None: what is known when a later
    sitting begins.
    """
    return f"w{'' if worker is None else worker}{f'.{sitting}' if sitting > 1 else ''}"


class SegmentWriter:
    """Seals what one worker's rows came to, piece by piece, while the run lasts."""

    def __init__(self, folder: Path, worker: int | None = 0, sitting: int = 1):
        self._folder, self._writer = folder, writer_name(worker, sitting)
        self._count = self._attempts_count = 0
        self._known = -1

    def append(self, rows: np.ndarray, samples: Table, strings: dict[str, list[str]]) -> None:
        """Seal the samples of `rows`; `strings` are the texts their numbers stand for.

        Safe off the loop.
        """
        self._seal_strings(strings)
        segment = np.empty(len(rows), _SEGMENT_DTYPE)
        segment["row"], segment["sample"] = rows, samples
        self._seal(f"samples/{self._writer}-{self._count:06d}.npy", npy_bytes(segment))
        self._count += 1

    def append_attempts(self, attempts: Table, strings: dict[str, list[str]]) -> None:
        """Seal what routes tried. Safe off the loop."""
        self._seal_strings(strings)
        folder = self._folder / "attempts"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from None
        self._seal(f"attempts/{self._writer}-{self._attempts_count:06d}.npy", npy_bytes(attempts))
        self._attempts_count += 1

    def _seal_strings(self, strings: dict[str, list[str]]) -> None:
        """Before the rows that need them: a piece never points at a text that is not there."""
        size = sum(map(len, strings.values()))
        if size != self._known:
            self._seal(f"samples/{self._writer}-strings.json", json_bytes(strings))
            self._known = size

    def _seal(self, name: str, data: bytes) -> None:
        """Write a piece and note its digest, which outlives a killed process as the piece does."""
        write_atomically(self._folder / name, data)
        note_sealed(self._folder, self._writer, name, data)

    def append_schedule(self, schedule: Table) -> None:
        """Seal the rows of a later sitting as they are due in it."""
        self._seal(f"samples/{self._writer}-schedule.npy", npy_bytes(schedule))

    def mark(self, until_ns: int) -> None:
        """All that ended before `until_ns` (ns after the run's start) is sealed.

        Safe off the loop.
        """
        note_until(self._folder, self._writer, until_ns)


def has_pieces(folder: Path) -> bool:
    """Whether any rows were sealed piece by piece and not yet as a whole."""
    return next((folder / "samples").glob(_PIECES), None) is not None


def gather(folder: Path, rows: int) -> tuple[Table, dict[str, list[str]]]:
    """(samples, strings) of all workers' pieces in one table of `rows`; what has none never began.

    Raises RunFolderError naming a piece that cannot be read.
    """
    samples = empty_samples(rows)
    strings: dict[str, dict[str, int]] = {kind: {} for kind in STRING_KINDS}
    numbering: dict[str, dict[str, np.ndarray]] = {}
    for piece in sorted((folder / "samples").glob(_PIECES)):
        segment = read_table(piece, _SEGMENT_DTYPE)
        taken = segment["sample"].copy()
        worker = piece.name.partition("-")[0]
        if worker not in numbering:
            own = _read_strings(folder / "samples" / f"{worker}-strings.json")
            numbering[worker] = {
                kind: _numbering(own.get(kind, []), strings[kind]) for kind in STRING_KINDS
            }
        if len(segment) and not 0 <= segment["row"].min() <= segment["row"].max() < rows:
            raise RunFolderError(
                f"holds rows outside the {rows} that are scheduled", where=str(piece)
            )
        for kind in STRING_KINDS:
            _renumber(taken[kind], numbering[worker][kind])
        samples[segment["row"]] = taken
    return samples, {kind: list(names) for kind, names in strings.items()}


class Following:
    """The rows of a run that goes on, as they are sealed: each piece is read once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._read: set[str] = set()

    def fresh(self) -> tuple[np.ndarray, Table]:
        """(rows, samples) sealed since the last call, texts numbered by each worker's own list.

        A piece that went into the whole table meanwhile is left to who reads that. Raises
        RunFolderError naming a damaged one.
        """
        segments = [np.empty(0, _SEGMENT_DTYPE)]
        for piece in sorted((self._folder / "samples").glob(_PIECES)):
            if piece.name not in self._read:
                try:
                    segments.append(read_table(piece, _SEGMENT_DTYPE))
                except RunFolderError:
                    if piece.exists():
                        raise
                self._read.add(piece.name)
        segment = np.concatenate(segments)
        return segment["row"], segment["sample"]


def gather_attempts(folder: Path, strings: dict[str, list[str]]) -> Table:
    """All workers' pieces of the attempts in one table, numbered by `strings`.

    `strings` are those of `gather`; texts that attempts alone hold are added to them.
    """
    parts = [empty_attempts()]
    for piece in sorted((folder / "attempts").glob("w*.npy")):
        taken = read_table(piece, ATTEMPT_DTYPE)
        own = _read_strings(folder / "samples" / f"{piece.name.partition('-')[0]}-strings.json")
        parts.append(renumbered(taken, own, strings, ATTEMPT_STRINGS))
    return in_order(np.concatenate(parts))


def _read_strings(path: Path) -> dict[str, list[str]]:
    try:
        names = json.loads(path.read_bytes())
        return {kind: [str(name) for name in names.get(kind, ())] for kind in STRING_KINDS}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RunFolderError(f"cannot be read ({type(error).__name__})", where=str(path)) from None


def _numbering(own: list[str], shared: dict[str, int]) -> np.ndarray:
    """A worker's numbers for texts -> those of the merged list, which grows to MAX_STRINGS; last
    entry for none.
    """
    table = np.full(len(own) + 1, -1, np.int64)
    for number, text in enumerate(own):
        if text not in shared and len(shared) >= MAX_STRINGS:
            text = FURTHER_TEXTS  # noqa: PLW2901 the one text that stands for the rest
        table[number] = shared.setdefault(text, len(shared))
    return table


def _renumber(column: np.ndarray, table: np.ndarray) -> None:
    known = (column >= 0) & (column < len(table) - 1)
    column[:] = table[np.where(known, column, -1)]


def settle(
    samples: Table, strings: dict[str, list[str]], rows: Bool, outcome: Outcome, note: str
) -> None:
    """Give rows that nobody ended their outcome, and say why."""
    if rows.any():
        if note not in strings.setdefault("note", []):
            strings["note"].append(note)
        samples["outcome"][rows] = outcome
        samples["note"][rows] = strings["note"].index(note)


def renumbered(
    table: Table,
    own: dict[str, list[str]],
    strings: dict[str, list[str]],
    kinds: Sequence[str] = STRING_KINDS,
) -> Table:
    """Samples (or attempts, by their `kinds`) that are numbered by `own` texts, numbered by
    `strings`, to which the texts are added.
    """
    taken = table.copy()
    for kind in kinds:
        shared = {text: number for number, text in enumerate(strings[kind])}
        _renumber(taken[kind], _numbering(own.get(kind, []), shared))
        strings[kind] = list(shared)
    return taken
