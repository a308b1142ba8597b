"""Was it a damaged folder that a command stumbled over?

In: the words of a command that failed. Out: a sentence, or None where its folders are what was
written, so that the fault is ours. Must stay true: a folder is called damaged only where a digest
says so, or where it has none that could vouch for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import TailproofError


def damaged(words: Sequence[str], error: Exception) -> str | None:
    """A sentence on the first damaged run folder among them."""
    for folder in _folders(words):
        if (what := _differs(folder)) is not None:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return (
                f"{folder}: cannot be read: {what} ({said[:200]}); `tailproof verify {folder}` says"
                " what differs"
            )
    return None


def _folders(words: Sequence[str]) -> Iterator[Path]:
    for word in words:
        for name in (word, word.rpartition(":")[0]):
            try:
                if name and (Path(name) / "run.json").is_file():
                    yield Path(name)
            except (OSError, ValueError):
                continue


def _differs(folder: Path) -> str | None:
    from bench.record.digests import listed, sealed
    from bench.record.run_folder import read_manifest, was_edited
    from bench.userfile import file_digest

    try:
        edited = was_edited(folder)
        if edited or edited is None:
            return "run.json was edited" if edited else "run.json has no digest that vouches for it"
        manifest = read_manifest(folder)
        expected = sealed(folder) if manifest.state == "running" else listed(manifest)
        expected |= {"schedule.npy": str(manifest.schedule_sha256)}
        for name, digest in expected.items():
            if file_digest(folder / name) != digest:
                return f"{name} was edited"
    except (TailproofError, OSError) as error:
        return str(error)
    except Exception as error:  # whatever stands in what should list the files
        return f"what it lists cannot be read ({type(error).__name__})"
    return None
