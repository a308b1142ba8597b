"""The runs of a results folder: the list, and the folder of one of them.

In: the folder. Out: an `Entry` a subfolder, sound or not; a run's folder by its name. Must stay
true: nothing is written; a file is read again only when it changed; neither a name nor a symbolic
link leads out of the folder; what cannot be read is listed with the reason, not left out.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.app.watch_desk import LOG
from bench.errors import RunFolderError
from bench.record.files import refuse_ways_out
from bench.record.records.manifest import Manifest
from bench.record.records.ramp import RampRecord
from bench.record.records.record import read_record
from bench.record.records.summary import Summary
from bench.record.run_folder import read_manifest, under_way
from bench.show.wording import ABSENT, visible

#: Lanes whose targets and models the list names.
_NAMED_MOST = 4
#: Runs of one suite repeat the same texts.
_shown = functools.lru_cache(4096)(visible)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One subfolder as the list shows it.

    Texts from files have passed `wording.visible`; the name has not.
    """

    name: str
    suite: str = ABSENT
    targets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    #: running, complete or interrupted (by Ctrl-C, or because its writer died); ABSENT where it
    #: is not known
    state: str = ABSENT
    #: of the judge for the whole run; ABSENT while there is none
    verdict: str = ABSENT
    started: str = ABSENT
    simulated: bool = False
    #: why it cannot be opened; None for a run that can
    problem: str | None = None


#: By which an entry may be sorted: what the list's headings link to.
SORTS: Mapping[str, Callable[[Entry], Any]] = {
    "started": lambda entry: entry.started if entry.started != ABSENT else "",
    "name": lambda entry: entry.name,
    "verdict": lambda entry: entry.verdict,
    "state": lambda entry: entry.state,
    "suite": lambda entry: entry.suite,
    "targets": lambda entry: entry.targets,
    "models": lambda entry: entry.models,
}


class Catalogue:
    """The runs of a results folder, for any thread."""

    def __init__(self, results: Path):
        self.results = results
        self._read: dict[str, tuple[Any, Entry]] = {}
        self._lock = threading.Lock()

    def entries(self) -> list[Entry]:
        """Every subfolder, in no order. Raises RunFolderError when there is no results folder."""
        try:
            with os.scandir(self.results) as found:
                folders = [
                    item
                    for item in found
                    if not item.name.startswith(".")
                    and (item.is_symlink() or item.is_dir(follow_symlinks=False))
                ]
        except OSError as error:
            raise RunFolderError(
                f"cannot be read ({error.strerror})", where=str(self.results)
            ) from None
        with self._lock:
            self._read = {item.name: self._read_anew(item) for item in folders}
            return [_with_state_now(self.results, entry) for _, entry in self._read.values()]

    def _read_anew(self, item: os.DirEntry[str]) -> tuple[Any, Entry]:
        signs, before = _signs(item.path), self._read.get(item.name)
        if before is not None and before[0] == signs:
            return before
        return signs, _entry(Path(item.path), signs)

    def entry(self, name: str) -> Entry:
        """The entry of this name. Raises RunFolderError where there is none."""
        entry = next((entry for entry in self.entries() if entry.name == name), None)
        if entry is None:
            raise RunFolderError("is not there", where=name)
        return entry

    def folder(self, name: str) -> Path:
        """The folder of a run that can be opened. Raises RunFolderError saying why one cannot."""
        entry, folder = self.entry(name), self.results / name
        if entry.problem is not None:
            raise RunFolderError(entry.problem, where=name)
        refuse_ways_out(folder)
        return folder


def chosen(
    entries: Sequence[Entry],
    *,
    words: str = "",
    verdict: str = "",
    state: str = "",
    sort: str = "started",
    ascending: bool = False,
) -> list[Entry]:
    """Entries that hold every word in name, suite, target or model, sorted; equal ones by name."""
    asked = words.casefold().split()
    kept = []
    for entry in entries:
        if verdict in ("", entry.verdict) and state in ("", entry.state):
            text = "\n".join((entry.name, entry.suite, *entry.targets, *entry.models)).casefold()
            if all(word in text for word in asked):
                kept.append(entry)
    key = SORTS.get(sort, SORTS["started"])
    return sorted(kept, key=lambda entry: (key(entry), entry.name), reverse=not ascending)


def _signs(folder: str) -> Any:
    """Time, size and kind of each file behind an entry, by which a change is noticed; None for a
    missing file.
    """
    signs: list[tuple[int, int, bool] | None] = []
    for name in ("run.json", "summary.json", RampRecord.FILE, LOG):
        try:
            found = os.lstat(os.path.join(folder, name))  # noqa: PTH118 a Path a run costs as much as the stat
            signs.append((found.st_mtime_ns, found.st_size, stat.S_ISREG(found.st_mode)))
        except OSError:
            signs.append(None)
    return signs


def _entry(folder: Path, signs: Sequence[tuple[int, int, bool] | None]) -> Entry:
    if folder.is_symlink():
        return Entry(folder.name, problem="is a symbolic link, which is not followed")
    if not folder.name.isprintable():
        return Entry(folder.name, problem="has characters in its name that cannot be shown")
    if signs[0] is None:
        return Entry(folder.name, problem=_what_else(folder, ramp=signs[2], watch=signs[3]))
    if not all(sign[2] for sign in signs[:2] if sign is not None):
        return Entry(folder.name, problem="run.json or summary.json is no ordinary file")
    try:
        manifest = read_manifest(folder)
        if manifest.suite is not None:
            suite = manifest.suite.name
            return _of_manifest(folder, manifest, suite, judged=signs[1] is not None)
    except RunFolderError as error:
        return Entry(
            folder.name,
            problem=visible(f"{error.message}; {error.remedy}" if error.remedy else error.message),
        )
    return Entry(folder.name, problem="run.json does not say what a run's says")


def _what_else(folder: Path, *, ramp: object, watch: object) -> str:
    """What a folder without run.json is, and how what it holds is seen."""
    shown = visible(folder)
    if ramp is not None:
        return f"is a ramp; its runs: tailproof ui {shown}"
    if watch is not None:
        return f"is a watch; where it stands: tailproof watch --status {shown}"
    return "is not a run's folder (no run.json)"


def _of_manifest(folder: Path, manifest: Manifest, suite: str, *, judged: bool) -> Entry:
    lanes = manifest.lanes[:_NAMED_MOST]
    summary = _summary_of(folder, manifest) if judged else None
    return Entry(
        folder.name,
        suite=_shown(suite, 80),
        state=_shown(manifest.state, 20),
        targets=tuple(dict.fromkeys(_shown(lane.target, 60) for lane in lanes)),
        models=tuple(dict.fromkeys(_shown(lane.model, 60) for lane in lanes)),
        started=_shown(manifest.started_utc or ABSENT, 20),
        verdict=ABSENT if summary is None else summary.overall,
        simulated=summary is not None and summary.simulated,
    )


def _summary_of(folder: Path, manifest: Manifest) -> Summary | None:
    """The run's summary; None where it cannot be read, or is of another run or from before the
    last rows.
    """
    try:
        summary = read_record(Summary, folder)
    except RunFolderError:
        return None
    # A run marked `running` is judged once its writer is dead.
    ended = "interrupted" if manifest.state == "running" else manifest.state
    return summary if (summary.run, summary.state) == (manifest.run, ended) else None


def _with_state_now(results: Path, entry: Entry) -> Entry:
    """The entry with its state now: no file holds whether a `running` run still has its writer."""
    if entry.state != "running":
        return entry
    folder = results / entry.name
    try:
        # its writer may have closed it since we read that it runs
        dead = not under_way(folder) and read_manifest(folder).state == "running"
        if dead:
            return dataclasses.replace(entry, state="interrupted")
        return dataclasses.replace(entry, verdict=ABSENT)
    except (OSError, RunFolderError):
        return dataclasses.replace(entry, problem="cannot be read")
