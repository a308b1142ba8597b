"""One folder below the results as the list shows it.

In: a folder, the signs of its files. Out: an `Entry`: a run, a ramp, a watch, a month, a claim,
runs held together, or a folder of further ones. Must stay true: nothing is written; what cannot be
read is an entry with the reason.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from bench.app.watch_records import LOCK, LOG
from bench.errors import RunFolderError
from bench.record.records.census import CensusRecord
from bench.record.records.manifest import LaneRecord, Manifest
from bench.record.records.ramp import RampRecord
from bench.record.records.record import read_record
from bench.record.records.summary import Summary
from bench.record.records.verdicts import ClauseVerdict, Verdicts
from bench.record.run_folder import read_manifest
from bench.show.graphics.track import Track
from bench.show.masthead import rehearsal
from bench.show.verdicts import WORST_FIRST, times_budget
from bench.show.wording import ABSENT, clause_title, visible

Kind = Literal["run", "ramp", "watch", "month", "claim", "runs", "folder", "none"]
#: The page of each kind, a file of its folder; of a run it can be made.
PAGE_FILES: Mapping[str, str] = {
    "run": "report.html",
    "ramp": "report.html",
    "month": "report.html",
    "runs": "report.html",
    "claim": "statement.html",
}
#: Files by which a folder without run.json is known, the first that is there.
_KNOWN_BY: Mapping[str, Kind] = {
    RampRecord.FILE: "ramp",
    LOCK: "watch",
    LOG: "watch",
    "statement.html": "claim",
    CensusRecord.FILE: "month",
    "report.html": "runs",
}
_SIGNED = ("run.json", Summary.FILE, Verdicts.FILE, *_KNOWN_BY)
#: Lanes whose targets and models the list names.
_NAMED_MOST = 4
#: Runs of one suite repeat the same texts.
_shown = functools.lru_cache(4096)(visible)
Signs = Mapping[str, tuple[int, int, bool] | None]


@dataclasses.dataclass(frozen=True)
class OnBudget(Track):
    """The track of a clause, and whose it is."""

    name: str
    target: str


def on_budget(clause: ClauseVerdict) -> OnBudget | None:
    """Where a judged clause lies; None where it was not judged, or lies nowhere."""
    times = times_budget(clause) if clause.judged else None
    if times is None:
        return None
    lower, measured, upper = times
    name, target = clause_title(clause), _shown(clause.target, 60)
    came = f"{measured:.3g} times the budget ({lower:.3g} to {upper:.3g})"
    says = f"{name} of {target}: {clause.verdict}, {came}"
    return OnBudget(lower, measured, upper, clause.verdict, says, name, target)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One subfolder as the list shows it.

    Texts from files have passed `wording.visible`; the name has not.
    """

    #: below the results, parts of a nested one parted by slashes
    name: str
    kind: Kind = "none"
    suite: str = ABSENT
    targets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    #: host and port of the first target, or that nothing was sent
    endpoint: str = ABSENT
    #: running, complete or interrupted (by Ctrl-C, or because its writer died); ABSENT where it
    #: is not known
    state: str = ABSENT
    #: of the judge for the whole; ABSENT while there is none
    verdict: str = ABSENT
    #: AS EXPECTED and its opposite in place of the verdict of a rehearsal
    word: str = ""
    #: of a rehearsal, `33 of 33`
    expected: str = ""
    worst: OnBudget | None = None
    started: str = ABSENT
    simulated: bool = False
    #: why it cannot be opened; None for what can
    problem: str | None = None

    @property
    def said(self) -> str:
        """What the list writes as the verdict."""
        return "no contract" if self.verdict == "NONE" else self.word or self.verdict

    @property
    def link(self) -> str:
        """Where it is seen."""
        if self.kind == "folder":
            return f"/?in={quote(self.name, safe='')}"
        live = self.kind == "watch" or self.state == "running"
        return f"/{'watch' if live else 'report'}/{quote(self.name)}"

    @property
    def holds_runs(self) -> bool:
        """Whether further runs lie in it."""
        return self.kind in ("ramp", "watch", "folder", "runs")

    @property
    def series(self) -> tuple[str, ...]:
        """Runs of which this is the same are earlier and later ones of one thing."""
        return (self.suite, self.endpoint, *self.targets, *self.models)


def signs_of(folder: str) -> Signs:
    """Time, size and kind of each file behind an entry, by which a change is noticed; None for a
    missing file.
    """
    signs = {name: _sign(folder, name) for name in _SIGNED[:3]}
    if signs["run.json"] is None:
        signs |= {name: _sign(folder, name) for name in _SIGNED[3:]}
        # subfolders that came or went change the time of the folder itself
        signs["."] = _sign(folder, ".")
    return signs


def _sign(folder: str, name: str) -> tuple[int, int, bool] | None:
    try:
        found = os.lstat(os.path.join(folder, name))  # noqa: PTH118 a Path a run costs as much as the stat
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, stat.S_ISREG(found.st_mode)


def entry_of(folder: Path, name: str, signs: Signs) -> Entry:
    """What a folder is."""
    if folder.is_symlink():
        return Entry(name, problem="is a symbolic link, which is not followed")
    if not folder.name.isprintable():
        return Entry(name, problem="has characters in its name that cannot be shown")
    named = {file: sign for file, sign in signs.items() if sign is not None and file != "."}
    if not all(regular for _, _, regular in named.values()):
        unfit = next(file for file, (_, _, regular) in named.items() if not regular)
        return Entry(name, problem=f"{unfit} is no ordinary file")
    try:
        if "run.json" in named:
            return _of_run(folder, name, judged=Summary.FILE in named)
        return _of_others(folder, name, named)
    except RunFolderError as error:
        said = f"{error.message}; {error.remedy}" if error.remedy else error.message
        return Entry(name, problem=visible(said))


def _of_run(folder: Path, name: str, *, judged: bool) -> Entry:
    manifest = read_manifest(folder)
    if manifest.suite is None:
        return Entry(name, problem="run.json does not say what a run's says")
    lanes = manifest.lanes[:_NAMED_MOST]
    entry = Entry(
        name,
        "run",
        suite=_shown(manifest.suite.name, 80),
        targets=tuple(dict.fromkeys(_shown(lane.target, 60) for lane in lanes)),
        models=tuple(dict.fromkeys(_shown(lane.model, 60) for lane in lanes)),
        endpoint=_endpoint(lanes[0]) if lanes else ABSENT,
        state=_shown(manifest.state, 20),
        started=_shown(manifest.started_utc or ABSENT, 20),
    )
    summary = _summary_of(folder, manifest) if judged else None
    if summary is None:
        return entry
    entry = dataclasses.replace(entry, verdict=summary.overall, simulated=summary.simulated)
    verdicts = _verdicts_of(folder, summary)
    return entry if verdicts is None else dataclasses.replace(entry, **_said_by(verdicts))


def _endpoint(lane: LaneRecord) -> str:
    if lane.simulated or lane.scenario or not lane.base_url:  # its port is another each time
        return "simulator"
    return _shown(lane.host or lane.base_url, 60)


def _said_by(verdicts: Verdicts) -> dict[str, Any]:
    """The worst clause, and what a rehearsal came to."""
    worst = _worst(verdicts.clauses)
    word = rehearsal(verdicts)
    if not word:
        return {"worst": worst}
    met = sum(item.met for item in verdicts.expects)
    return {"worst": worst, "word": word, "expected": f"{met} of {len(verdicts.expects)}"}


def _worst(clauses: Sequence[ClauseVerdict]) -> OnBudget | None:
    """The track of the worst; only that one's words are made, for the list has a thousand runs."""
    places = [
        (WORST_FIRST.index(clause.verdict), -times[1], -times[2], number)
        for number, clause in enumerate(clauses)
        if clause.judged and (times := times_budget(clause)) is not None
    ]
    return on_budget(clauses[min(places)[-1]]) if places else None


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


def _verdicts_of(folder: Path, summary: Summary) -> Verdicts | None:
    """The clauses behind a summary; None where they cannot be read, or are of another run."""
    try:
        verdicts = read_record(Verdicts, folder)
    except RunFolderError:
        return None
    return verdicts if (verdicts.run, verdicts.overall) == (summary.run, summary.overall) else None


def _of_others(folder: Path, name: str, named: Mapping[str, object]) -> Entry:
    """A folder without run.json, by the files that are there."""
    kind = next((kind for file, kind in _KNOWN_BY.items() if file in named), None)
    if kind is None:
        with os.scandir(folder) as found:
            inner = any(
                item.is_dir(follow_symlinks=False) and not item.name.startswith(".")
                for item in found
            )
        if inner:
            return Entry(name, "folder")
        return Entry(name, problem="is not a run's folder (no run.json)")
    if kind in PAGE_FILES and PAGE_FILES[kind] not in named:
        return Entry(name, problem=f"is a {kind} without its page ({PAGE_FILES[kind]})")
    entry = Entry(name, kind)
    if kind == "ramp":
        return _of_ramp(entry, read_record(RampRecord, folder))
    if kind == "month":
        return _of_month(entry, read_record(CensusRecord, folder))
    if kind == "runs" and Verdicts.FILE in named:
        verdicts = read_record(Verdicts, folder)
        return dataclasses.replace(entry, verdict=verdicts.overall, **_said_by(verdicts))
    return entry


def _of_ramp(entry: Entry, ramp: RampRecord) -> Entry:
    return dataclasses.replace(
        entry,
        suite=_shown(ramp.suite, 80),
        targets=(_shown(ramp.target, 60),),
        endpoint="simulator" if ramp.simulated else ABSENT,
        started=_shown(ramp.started_utc, 20),
        state=_shown(ramp.state, 20),
        verdict=ramp.verdict,
        simulated=ramp.simulated,
    )


def _of_month(entry: Entry, census: CensusRecord) -> Entry:
    periods = ", ".join(period.period for period in census.periods[:3])
    return dataclasses.replace(
        entry,
        suite=_shown(census.title or census.contract, 80),
        endpoint=_shown(census.provider or ABSENT, 60),
        targets=(_shown(periods, 60),) if periods else (),
        verdict=census.overall,
    )
