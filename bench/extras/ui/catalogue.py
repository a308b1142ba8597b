"""The runs of a results folder: the list, and the folder of one of them.

In: the folder. Out: an `Entry` a subfolder, sound or not; a run's folder by its name. Must stay
true: nothing is written; a file is read again only when it changed; neither a name nor a symbolic
link leads out of the folder; what cannot be read is listed with the reason, not left out.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import RunFolderError
from bench.extras.ui.entry import PAGE_FILES, Entry, Signs, entry_of, signs_of
from bench.record.files import refuse_ways_out
from bench.record.run_folder import read_manifest, under_way
from bench.show.wording import ABSENT

#: A watch's runs lie a day deep; nothing of ours lies deeper than that and one.
_DEEPEST = 3
#: Runs of which the list shows what became.
HISTORY = 10
_Files = list[os.DirEntry[str]]

#: By which an entry may be sorted: what the list's headings link to.
SORTS: Mapping[str, Callable[[Entry], Any]] = {
    "started": lambda entry: entry.started if entry.started != ABSENT else "",
    "name": lambda entry: entry.name,
    "verdict": lambda entry: entry.said,
    "worst": lambda entry: (
        (-1.0, -1.0) if entry.worst is None else (entry.worst.measured, entry.worst.upper)
    ),
    "targets": lambda entry: entry.targets,
}


class Catalogue:
    """The runs of a results folder, for any thread."""

    def __init__(self, results: Path):
        self.results = results
        self._read: dict[str, dict[str, tuple[Signs, Entry]]] = {}
        self._lock = threading.Lock()

    def entries(self, below: str = "") -> list[Entry]:
        """Every subfolder of the results, or of one of its folders, in no order.

        Raises RunFolderError when there is no such folder.
        """
        folders = self._folders(below)
        with self._lock:
            known = self._read.get(below, {})
            read = {name: _read_anew(item, name, known.get(name)) for name, item in folders.items()}
            self._read[below] = read
            return [_with_state_now(self.results, entry) for _, entry in read.values()]

    def _folders(self, below: str) -> dict[str, os.DirEntry[str]]:
        """What is listed of a folder of the results, by the name of its entry."""
        return {
            f"{below}/{item.name}" if below else item.name: item
            for item in _inside(self._place(below))
            if item.is_symlink() or _is_folder(item)
        }

    def _place(self, below: str) -> Path:
        """A folder of the results, whose name is looked for at each step."""
        place, parts = self.results, below.split("/") if below else []
        if len(parts) > _DEEPEST:
            raise RunFolderError("is not there", where=below)
        for part in parts:
            step = next((item for item in _inside(place) if item.name == part), None)
            if step is None or not _is_folder(step):
                raise RunFolderError("is not there", where=below)
            place = place / part
        return place

    def own(self) -> Entry:
        """What the folder of results is by itself: the ui may be opened on a ramp or a watch."""
        return entry_of(self.results, "", signs_of(str(self.results)))

    def entry(self, name: str) -> Entry:
        """The entry of this name; of none, the results' own. Raises RunFolderError."""
        if not name:
            return self.own()
        above, _, _ = name.rpartition("/")
        item = self._folders(above).get(name)
        if item is None:
            raise RunFolderError("is not there", where=name)
        with self._lock:
            known = self._read.setdefault(above, {})
            known[name] = _read_anew(item, name, known.get(name))
            return _with_state_now(self.results, known[name][1])

    def folder(self, name: str) -> Path:
        """The folder of what can be opened. Raises RunFolderError saying why it cannot."""
        entry, folder = self.entry(name), self.results / name
        if entry.problem is not None:
            raise RunFolderError(entry.problem, where=name)
        if entry.kind not in PAGE_FILES and entry.kind != "watch":
            raise RunFolderError("has no page", where=name)
        refuse_ways_out(folder)
        return folder


def _inside(place: Path) -> _Files:
    """What lies in a folder, hidden things left out."""
    try:
        with os.scandir(place) as found:
            return [item for item in found if not item.name.startswith(".")]
    except OSError as error:
        raise RunFolderError(f"cannot be read ({error.strerror})", where=str(place)) from None


def _is_folder(item: os.DirEntry[str]) -> bool:
    return item.is_dir(follow_symlinks=False)


def _read_anew(
    item: os.DirEntry[str], name: str, before: tuple[Signs, Entry] | None
) -> tuple[Signs, Entry]:
    signs = signs_of(item.path)
    if before is not None and before[0] == signs:
        return before
    try:
        return signs, entry_of(Path(item.path), name, signs)
    except OSError as error:  # it went meanwhile, or is not ours to read
        return signs, Entry(name, problem=f"cannot be read ({error.strerror})")


def _with_state_now(results: Path, entry: Entry) -> Entry:
    """The entry with its state now: no file holds whether a `running` run still has its writer."""
    if entry.state != "running" or entry.kind != "run":
        return entry
    folder = results / entry.name
    try:
        # its writer may have closed it since we read that it runs
        dead = not under_way(folder) and read_manifest(folder).state == "running"
        if dead:
            return dataclasses.replace(entry, state="interrupted")
        return dataclasses.replace(entry, verdict=ABSENT, word="", worst=None, expected="")
    except (OSError, RunFolderError):
        return dataclasses.replace(entry, problem="cannot be read")


def chosen(
    entries: Sequence[Entry],
    *,
    words: str = "",
    verdict: str = "",
    state: str = "",
    sort: str = "started",
    ascending: bool = False,
) -> list[Entry]:
    """Entries that hold every word in name, suite, endpoint, target or model, sorted; equal ones by
    name.
    """
    asked = words.casefold().split()
    kept = []
    for entry in entries:
        if verdict in ("", entry.word or entry.verdict) and state in ("", entry.state):
            texts = (entry.name, entry.kind, *entry.series)
            text = "\n".join(texts).casefold()
            if all(word in text for word in asked):
                kept.append(entry)
    key = SORTS.get(sort, SORTS["started"])
    return sorted(kept, key=lambda entry: (key(entry), entry.name), reverse=not ascending)


def histories(entries: Iterable[Entry]) -> dict[str, list[str]]:
    """Of each judged run what it and the runs before it of the same suite, endpoint and targets
    came to, the latest last.
    """
    series = defaultdict[tuple[str, ...], list[str]](list)
    found: dict[str, list[str]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.started, entry.name)):
        if entry.kind == "run" and entry.problem is None and entry.verdict != ABSENT:
            earlier = series[entry.series]
            earlier.append(entry.word or entry.verdict)
            found[entry.name] = earlier[-HISTORY:]
    return found
