"""What a part of a run leaves on the disk: pieces, their texts and marks of how far they reach; of
a folder that is closed, whole tables.

In: rows that ended. Out: `samples/w*` and `attempts/w*`, and one numbering for the texts of all
parts. Must stay true: a piece is sealed before its rows count as kept; texts reach the disk before
the rows that point at them; a mark says that whatever ended before it is on disk.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from bench.errors import RunFolderError
from bench.record.digests import LIST, note_sealed, note_until
from bench.record.files import json_bytes, npy_bytes, read_table, unwritable, write_atomically
from bench.record.records.served import LaneEvidence
from bench.record.samples import (
    ATTEMPT_DTYPE,
    SAMPLE_DTYPE,
    Bool,
    Int,
    Outcome,
    Table,
)

#: Texts kept a kind, and the one that stands for all beyond them.
MAX_STRINGS, FURTHER_TEXTS = 1000, "(further texts)"
#: Sample columns that hold numbers of texts.
STRING_KINDS = ("served_model", "served_region", "finish", "note", "served_tier", "error_code")
_PIECES = "w*-[0-9]*.npy"
#: What a whole table is called, in `samples` or `attempts`.
SEALED = "rows.npy"
_SEGMENT_DTYPE = np.dtype([("row", "<i8"), ("sample", SAMPLE_DTYPE)])
Strings = dict[str, list[str]]
_EVIDENCE = TypeAdapter(list[LaneEvidence])


@dataclasses.dataclass(frozen=True)
class PieceFiles:
    """The files of one worker in one sitting, in the folder of its run."""

    folder: Path
    #: None: what is known when a later sitting begins
    worker: int | None = 0
    sitting: int = 1

    @property
    def writer(self) -> str:
        """What their names begin with."""
        worker = "" if self.worker is None else self.worker
        return f"w{worker}{f'.{self.sitting}' if self.sitting > 1 else ''}"

    @classmethod
    def named(cls, folder: Path, writer: str) -> PieceFiles:
        """The reverse of `writer`. Raises RunFolderError for a name that is none of ours."""
        found = re.fullmatch(r"w(\d*)(?:\.(\d+))?", writer)
        if found is None:
            raise RunFolderError("is no piece of a run", where=str(folder / f"samples/{writer}-*"))
        return cls(folder, int(found[1]) if found[1] else None, int(found[2] or 1))

    def piece(self, table: str, number: int) -> str:
        """A piece of `samples` or `attempts`."""
        return f"{table}/{self.writer}-{number:06d}.npy"

    @property
    def strings(self) -> str:
        """Its texts."""
        return f"samples/{self.writer}-strings.json"

    @property
    def evidence_file(self) -> str:
        """What it keeps for the vendors."""
        return f"samples/{self.writer}-evidence.json"

    @property
    def schedule(self) -> str:
        """What a later sitting plays."""
        return f"samples/{self.writer}-schedule.npy"

    @property
    def list(self) -> str:
        """The digests of its pieces, and its marks."""
        return f"samples/{self.writer}-{LIST}"

    def samples(
        self,
        _mine: Int,
        _before: int,
        within: int,
    ) -> Iterator[tuple[Int, Table]]:
        """(rows, samples), piece by piece: a piece numbers its rows as the run does.

        Raises RunFolderError naming one that cannot be read, or has rows beyond `within`.
        """
        for path in sorted((self.folder / "samples").glob(f"{self.writer}-[0-9]*.npy")):
            segment = read_table(path, _SEGMENT_DTYPE)
            rows = segment["row"]
            if len(rows) and not 0 <= rows.min() <= rows.max() < within:
                raise RunFolderError(
                    f"holds rows outside the {within} that are scheduled", where=str(path)
                )
            yield rows, segment["sample"]

    def attempts(self) -> Iterator[Table]:
        """What its routes tried, piece by piece. Raises RunFolderError."""
        for path in sorted((self.folder / "attempts").glob(f"{self.writer}-[0-9]*.npy")):
            yield read_table(path, ATTEMPT_DTYPE)

    @functools.cached_property
    def texts(self) -> Strings:
        """The texts that its rows number. Raises RunFolderError."""
        return _read_strings(self.folder / self.strings)

    @property
    def evidence(self) -> Sequence[LaneEvidence]:
        """What it keeps for the vendors, by lane. Raises RunFolderError."""
        path = self.folder / self.evidence_file
        try:
            return _EVIDENCE.validate_json(path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None


def sealed_name(table: str) -> str:
    """The whole `samples` or `attempts` of a folder that is closed."""
    return f"{table}/{SEALED}"


@dataclasses.dataclass(frozen=True)
class SealedFiles:
    """The whole tables of a folder that holds one part alone, in the order of that part's plan."""

    folder: Path
    table: Table
    tried: Table | None
    texts: Strings
    #: by lane, rows numbered as those of the tables
    evidence: Sequence[LaneEvidence] = ()

    @classmethod
    def mapped(cls, folder: Path, texts: Strings, evidence: Sequence[LaneEvidence]) -> SealedFiles:
        """Those on the disk; the rest is in its manifest. Raises RunFolderError."""
        tried = folder / sealed_name("attempts")
        return cls(
            folder,
            read_table(folder / sealed_name("samples"), SAMPLE_DTYPE, mapped=True),
            read_table(tried, ATTEMPT_DTYPE, mapped=True) if tried.is_file() else None,
            texts,
            evidence,
        )

    def samples(
        self,
        mine: Int,
        before: int,
        _within: int,
    ) -> Iterator[tuple[Int, Table]]:
        """(rows, samples) of those that lie at `mine`, of which `before` came earlier."""
        yield mine, self.table[before : before + len(mine)]

    def attempts(self) -> Iterator[Table]:
        """What its routes tried."""
        if self.tried is not None:
            yield self.tried


class SegmentWriter:
    """Seals what one worker's rows came to, piece by piece, while the run lasts."""

    def __init__(self, folder: Path, worker: int | None = 0, sitting: int = 1):
        self._files = PieceFiles(folder, worker, sitting)
        self._count = self._attempts_count = 0
        self._known = -1

    def append(self, rows: np.ndarray, samples: Table, strings: Strings) -> None:
        """Seal the samples of `rows`; `strings` are the texts their numbers stand for.

        Safe off the loop.
        """
        self._seal_strings(strings)
        segment = np.empty(len(rows), _SEGMENT_DTYPE)
        segment["row"], segment["sample"] = rows, samples
        self._seal(self._files.piece("samples", self._count), npy_bytes(segment))
        self._count += 1

    def append_attempts(self, attempts: Table, strings: Strings) -> None:
        """Seal what routes tried. Safe off the loop."""
        self._seal_strings(strings)
        folder = self._files.folder / "attempts"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from None
        self._seal(self._files.piece("attempts", self._attempts_count), npy_bytes(attempts))
        self._attempts_count += 1

    def append_evidence(self, lanes: Sequence[LaneEvidence]) -> None:
        """Seal all that is kept for the vendors so far. Safe off the loop."""
        self._seal(self._files.evidence_file, _EVIDENCE.dump_json(list(lanes), exclude_unset=True))

    def _seal_strings(self, strings: Strings) -> None:
        """Before the rows that need them: a piece never points at a text that is not there."""
        size = sum(map(len, strings.values()))
        if size != self._known:
            self._seal(self._files.strings, json_bytes(strings))
            self._known = size

    def _seal(self, name: str, data: bytes) -> None:
        """Write a piece and note its digest, which outlives a killed process as the piece does."""
        write_atomically(self._files.folder / name, data)
        note_sealed(self._files.folder, self._files.writer, name, data)

    def append_schedule(self, schedule: Table) -> None:
        """Seal the rows of a later sitting as they are due in it."""
        self._seal(self._files.schedule, npy_bytes(schedule))

    def mark(self, until_ns: int) -> None:
        """All that ended before `until_ns` (ns after the run's start) is sealed.

        Safe off the loop.
        """
        note_until(self._files.folder, self._files.writer, until_ns)


def has_pieces(folder: Path) -> bool:
    """Whether any rows were sealed piece by piece and not yet as a whole."""
    return next((folder / "samples").glob(_PIECES), None) is not None


def writers_in(folder: Path) -> list[PieceFiles]:
    """All writers that sealed pieces of samples or attempts there."""
    pieces = [*(folder / "samples").glob(_PIECES), *(folder / "attempts").glob(_PIECES)]
    return [
        PieceFiles.named(folder, writer)
        for writer in sorted({path.name.partition("-")[0] for path in pieces})
    ]


class Following:
    """The rows of a run that goes on, as they are sealed: each piece is read once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._read: set[str] = set()
        self._texts = Texts()
        #: what was last read of each writer's texts, and how long that file was
        self._own: dict[str, tuple[int, Strings]] = {}

    def strings(self, kind: str) -> list[str]:
        """The texts of a column of `fresh`, whose numbers stay."""
        return self._texts.lists.get(kind, [])

    def fresh(self) -> tuple[np.ndarray, Table]:
        """(rows, samples) sealed since the last call.

        A piece that went into the whole table meanwhile is left to who reads that. Raises
        RunFolderError naming a damaged one.
        """
        segments = [np.empty(0, _SEGMENT_DTYPE)]
        for piece in sorted((self._folder / "samples").glob(_PIECES)):
            if piece.name not in self._read:
                try:
                    segments.append(self._segment(piece))
                except RunFolderError:
                    if piece.exists():
                        raise
                self._read.add(piece.name)
        segment = np.concatenate(segments)
        return segment["row"], segment["sample"]

    def _segment(self, piece: Path) -> Table:
        segment = read_table(piece, _SEGMENT_DTYPE)
        own = self._strings_of(piece.name.partition("-")[0])
        samples = np.ascontiguousarray(segment["sample"])
        segment["sample"] = self._texts.renumbered(samples, own)
        return segment

    def _strings_of(self, writer: str) -> Strings:
        """Texts are only ever added, so that a file of the same length says the same."""
        path = self._folder / PieceFiles.named(self._folder, writer).strings
        length = path.stat().st_size if path.is_file() else 0
        known = self._own.get(writer)
        if known is None or known[0] != length:
            self._own[writer] = known = length, _read_strings(path)
        return known[1]


def _read_strings(path: Path) -> Strings:
    try:
        names = json.loads(path.read_bytes())
        return {kind: [str(name) for name in names.get(kind, ())] for kind in STRING_KINDS}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> RunFolderError:
    return RunFolderError(f"cannot be read ({type(error).__name__})", where=str(path))


def by_row(table: Table) -> np.ndarray:
    """The table with each row as one value: numpy would copy a record field by field."""
    return table.view(f"V{table.dtype.itemsize}")


class Texts:
    """The texts of all parts under one numbering, which is that of `lists`."""

    def __init__(self, lists: Strings | None = None):
        if lists is None:
            self.lists: Strings = {kind: [] for kind in STRING_KINDS}
        else:
            self.lists = lists
        #: text -> number, and how many of the list are in it: notes are added there too
        self._numbers: dict[str, dict[str, int]] = {}
        self._seen: dict[str, int] = {}
        #: (whose texts, kind) -> their numbers -> ours; the texts are held, so that no other list
        #: comes to lie where they are
        self._tables: dict[tuple[int, str], tuple[Strings, Int]] = {}

    def renumbered(
        self,
        table: Table,
        own: Strings,
        kinds: Sequence[str] = STRING_KINDS,
    ) -> Table:
        """Samples (or attempts, by their `kinds`) that are numbered by `own` texts, numbered by
        ours, to which the texts are added.
        """
        taken: Table = by_row(table).copy().view(table.dtype)
        for kind in kinds:
            key = id(own), kind
            if key not in self._tables:
                self._tables[key] = own, self._table(kind, own.get(kind, []))
            numbers = self._tables[key][1]
            known = (taken[kind] >= 0) & (taken[kind] < len(numbers) - 1)
            taken[kind] = numbers[np.where(known, taken[kind], -1)]
        return taken

    def _table(self, kind: str, own: list[str]) -> Int:
        """Their numbers -> ours, which grow to MAX_STRINGS; last entry for none."""
        texts = self.lists.setdefault(kind, [])
        numbers = self._numbers.setdefault(kind, {})
        for number in range(self._seen.get(kind, 0), len(texts)):
            numbers.setdefault(texts[number], number)
        table = np.full(len(own) + 1, -1, np.int64)
        for place, text in enumerate(own):
            if text in numbers or len(numbers) < MAX_STRINGS:
                kept = text
            else:
                kept = FURTHER_TEXTS
            if kept not in numbers:
                numbers[kept] = len(texts)
                texts.append(kept)
            table[place] = numbers[kept]
        self._seen[kind] = len(texts)
        return table


def settle(
    samples: Table,
    strings: Strings,
    rows: Bool | Int,
    outcome: Outcome,
    note: str,
) -> None:
    """Give rows that nobody ended their outcome, and say why."""
    which = np.flatnonzero(rows) if rows.dtype == bool else rows
    if len(which):
        if note not in strings.setdefault("note", []):
            strings["note"].append(note)
        samples["outcome"][which] = outcome
        samples["note"][which] = strings["note"].index(note)
