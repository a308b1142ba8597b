"""Is a run's folder still what was written, and do its verdicts follow from its samples?

In: a run's folder, optionally the public key that vouches for it. Out: everything that differs,
by file and key. Must stay true: nothing is written; verdicts and summary are computed again from
manifest and tables alone; a file that is in no list differs as much as one that is gone; a folder
without a manifest that can be read, or with links in it, is refused, anything else is listed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import __version__
from bench.errors import RunFolderError, TailproofError
from bench.judge.review import review
from bench.record.digests import is_list, listed, sealed, was_edited
from bench.record.files import refuse_ways_out
from bench.record.records.manifest import Manifest
from bench.record.records.record import Json
from bench.record.run_folder import Run, read_manifest
from bench.record.signature import SIGNATURE, is_signed_by
from bench.userfile import builtin_root, file_digest

#: What a manifest that was edited by hand may make the judge stumble over.
_STUMBLES = (TailproofError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError)
_NOTHING = object()


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was written: in which file, and what."""

    file: str
    said: str

    @property
    def text(self) -> str:
        """`verdicts.json: clauses[0].verdict: stored "PASS", recomputed "FAIL"`."""
        return f"{self.file}: {self.said}"


@dataclass(frozen=True)
class Verified:
    """What was looked at, what differs, and what a reader should know besides."""

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    #: files whose digest was checked
    files: int
    #: clauses that were judged anew
    clauses: int


def verify(folder: Path, public_key: Path | None = None) -> Verified:
    """Check digests, recompute the records, check the signature where a public key is given.

    Raises RunFolderError for a folder without a readable manifest or with a link in it, UserError
    for an unusable key.
    """
    refuse_ways_out(folder)
    try:
        manifest = read_manifest(folder)
    except RunFolderError as error:
        if not _was_edited(folder):
            raise
        why = Difference("verdicts.json", f"cannot be recomputed: {error}")
        return Verified((*_manifest_itself(folder), why), (), 0, 0)
    differences = [*_manifest_itself(folder)]
    open_ended = manifest.state == "running"
    notes: list[str] = []
    expected = dict[str, str]()
    clauses = 0
    try:
        if open_ended:
            expected = sealed(folder) | {"schedule.npy": str(manifest.schedule_sha256)}
        else:
            expected = listed(manifest)
        notes += _notes(folder, manifest, public_key)
    except _STUMBLES as error:
        differences.append(
            Difference(
                "run.json", f"what it lists cannot be read ({type(error).__name__}: {error})"
            )
        )
    differences += _files(folder, expected)
    try:
        summary, verdicts = review(Run(folder))
    except _STUMBLES as error:
        if isinstance(error, TailproofError):
            said = str(error)
        else:
            said = f"{type(error).__name__}: {error}"
        differences.append(Difference("verdicts.json", f"cannot be recomputed: {said}"))
    else:
        clauses = len(verdicts.clauses)
        for fresh in (summary, verdicts):
            differences += _record(folder, fresh.FILE, fresh.to_json(), open_ended)
    if public_key is not None and not is_signed_by(folder, public_key):
        there = (folder / SIGNATURE).exists()
        differences.append(
            Difference(
                SIGNATURE, "is not this key's signature of run.json" if there else "is missing"
            )
        )
    return Verified(tuple(differences), tuple(notes), len(expected), clauses)


def _was_edited(folder: Path) -> bool:
    try:
        return bool(was_edited(folder))
    except RunFolderError:
        return False


def _manifest_itself(folder: Path) -> Iterator[Difference]:
    edited = was_edited(folder)
    if edited is None:
        yield Difference(
            "run.json", "has no digest of its own, so an edited field would not be found"
        )
    elif edited:
        yield Difference(
            "run.json",
            "was edited: a field is not what its digest says (which one cannot be known)",
        )


def _files(folder: Path, expected: dict[str, str]) -> Iterator[Difference]:
    for name, digest in sorted(expected.items()):
        try:
            found = file_digest(folder / name)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            yield Difference(name, "is missing" if gone else f"cannot be read ({error.strerror})")
            continue
        if found != digest:
            yield Difference(name, f"was edited: SHA-256 {found[:12]}…, sealed as {digest[:12]}…")
    there = [
        folder / "schedule.npy",
        *(path for part in ("samples", "attempts") for path in (folder / part).glob("*")),
    ]
    for path in sorted(there):
        name = path.relative_to(folder).as_posix()
        if (
            path.is_file()
            and name not in expected
            and not is_list(path)
            and not path.name.endswith(".part")
        ):
            yield Difference(
                name, "was added: it is in no list (or its writer was killed as it sealed it)"
            )


def _record(
    folder: Path,
    name: str,
    fresh: Json,
    open_ended: bool,
) -> Iterator[Difference]:
    """Where a stored record is not the one that its folder gives; a run without an end may have
    none yet.
    """
    try:
        stored = json.loads((folder / name).read_bytes())
    except FileNotFoundError:
        if not open_ended:
            yield Difference(name, "is missing (`tailproof report` makes it again)")
        return
    except ValueError:
        yield Difference(name, "is not JSON")
        return
    for path, was, now in unequal(stored, json.loads(json.dumps(fresh))):
        yield Difference(name, f"{path or 'the whole'}: stored {was}, recomputed {now}")


def unequal(stored: Any, fresh: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """(key path, stored, recomputed) of every place where two JSON values part; "nothing" where one
    has no such key.
    """
    was = _parts(stored)
    now = _parts(fresh)
    if was is not None and now is not None and type(stored) is type(fresh):
        for step in dict.fromkeys([*now, *was]):
            yield from unequal(was.get(step, _NOTHING), now.get(step, _NOTHING), path + step)
    elif _written(stored) != _written(fresh):  # as text, so that 1 is neither true nor 1.0
        yield path.lstrip("."), _cut(_written(stored)), _cut(_written(fresh))


def _parts(value: Any) -> Json | None:
    """What lies below a value by its step of the key path; None for a leaf."""
    if isinstance(value, dict):
        return {f".{key}": each for key, each in value.items()}
    if isinstance(value, list):
        return {f"[{index}]": each for index, each in enumerate(value)}
    return None


def _written(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str, length: int = 80) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _notes(folder: Path, manifest: Manifest, public_key: Path | None) -> Iterator[str]:
    if manifest.state == "running":
        yield (
            "the run says it is still running: its writer is at work or was killed, so the last"
            " second may be missing"
        )
    writer = manifest.versions.get("tailproof", __version__)
    if writer != __version__:
        yield (
            f"judged by tailproof {writer}, recomputed by {__version__}: rules may have changed"
            " between the two"
        )
    for entry in manifest.inputs:
        found = [path for path in (Path(entry.name), builtin_root() / entry.name) if path.is_file()]
        if found and all(file_digest(path) != entry.sha256 for path in found):
            yield (
                f"{entry.name} has changed since the run; the run keeps its own copy, a repeat"
                " would differ"
            )
    if public_key is None and (folder / SIGNATURE).exists():
        yield f"{SIGNATURE} is there and was not checked; give --public-key"
