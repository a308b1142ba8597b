"""Folders of runs -> runs of one plan, in the order in which they began.

In: folders of runs, or one that `run --repeat M --over` made. Out: the runs, and whether they began
at random times. Must stay true: runs of different plans, the same run twice, runs that overlap, and
runs that the simulator computed are refused in one sentence; times are called random only where
every run of a drawn list is there.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError
from bench.plan.contract import Contract
from bench.record.identity import first_difference
from bench.record.records.manifest import Manifest
from bench.record.records.record import read_record
from bench.record.records.runs import RunsRecord
from bench.record.run_folder import Run, read_manifest, under_way
from bench.units import S, show_duration


@dataclasses.dataclass(frozen=True)
class Sent:
    """A run that came to its end, or broke off."""

    name: str
    folder: Path
    manifest: Manifest
    began_wall_ns: int
    ended_wall_ns: int


@dataclasses.dataclass(frozen=True)
class Together:
    """Runs of one plan, in the order of time."""

    runs: tuple[Sent, ...]
    #: the list that their starts were drawn in, where it is whole
    drawn: RunsRecord | None

    @property
    def days(self) -> int:
        """Days of UTC on which a run began."""
        return len({run.manifest.started_utc[:10] for run in self.runs})


def is_folder_of_runs(folder: Path) -> bool:
    """Whether `run --repeat M --over` made it."""
    return (folder / RunsRecord.FILE).is_file()


def together(folders: Sequence[Path], override: Contract | None = None) -> Together:
    """The runs in these folders; one of runs stands for those in it. Raises UserError."""
    lists = [read_record(RunsRecord, each) for each in folders if is_folder_of_runs(each)]
    single = [folder for given in folders for folder in _runs_in(given)]
    if not single:
        raise UserError("holds no run that has begun", where=str(folders[0]))
    sent = sorted(map(_sent, single), key=lambda run: run.began_wall_ns)
    sent = _named(sent)
    first = sent[0]
    for other in sent[1:]:
        _refuse_another_plan(first, other, contracts=override is None)
    for one, next_ in itertools.pairwise(sent):
        _refuse_overlap(one, next_)
    return Together(tuple(sent), lists[0] if len(lists) == len(folders) == 1 else None)


def _runs_in(given: Path) -> list[Path]:
    if not is_folder_of_runs(given):
        return [given]
    record = read_record(RunsRecord, given)
    return [given / each.folder for each in record.starts if _has_begun(given / each.folder)]


def _has_begun(folder: Path) -> bool:
    return (folder / Manifest.FILE).is_file()


def _sent(folder: Path) -> Sent:
    """Raises UserError for a run that several cannot be judged with."""
    manifest = read_manifest(folder)
    if manifest.state == "running" and under_way(folder):
        raise UserError("is still going on", where=str(folder), remedy="wait for its end")
    if manifest.simulated_lanes:
        raise UserError(
            "was computed by the simulator, whose time is no real time",
            where=str(folder),
            remedy="leave it out: runs of a service are sent to it",
        )
    if manifest.shard is not None or manifest.watch is not None:
        raise UserError(
            "is a part of a run, or of a watch",
            where=str(folder),
            remedy="give whole runs of `tailproof run`",
        )
    if manifest.early_stop is not None:
        raise UserError(
            "ended when its clauses were decided, so its length depends on what it saw",
            where=str(folder),
            remedy="give runs without --early-stop",
        )
    began = manifest.started_wall_ns
    lasted = Run(folder).until_ns if manifest.ended_wall_ns is None else None
    ended = manifest.ended_wall_ns or began + (lasted or 0)
    return Sent(folder.name, folder, manifest, began, ended)


def _named(sent: Sequence[Sent]) -> list[Sent]:
    """By folder, or by their own names where two folders are called the same."""
    names = [run.name for run in sent]
    if len(set(names)) == len(names):
        return list(sent)
    return [dataclasses.replace(run, name=run.manifest.run) for run in sent]


def _refuse_another_plan(first: Sent, other: Sent, *, contracts: bool) -> None:
    if first.manifest.run == other.manifest.run:
        raise UserError(
            f"is the same run as {first.folder}", where=str(other.folder), remedy="give it once"
        )
    parts = first_difference(first.manifest.lanes, other.manifest.lanes, contracts=contracts)
    if parts is not None:
        raise UserError(
            f"is a run of another plan than {first.folder}: {parts}",
            where=str(other.folder),
            remedy="judge runs of one plan together",
        )


def _refuse_overlap(one: Sent, other: Sent) -> None:
    if one.manifest.run == other.manifest.run:
        raise UserError(
            f"is the same run as {one.folder}", where=str(other.folder), remedy="give it once"
        )
    if other.began_wall_ns < one.ended_wall_ns:
        both = show_duration(one.ended_wall_ns - other.began_wall_ns)
        raise UserError(
            f"overlaps {one.folder} by {both}: what befell one befell the other",
            where=str(other.folder),
            remedy="leave one of them out",
        )


def length_s(run: Sent) -> float:
    """From its first row to its end."""
    return (run.ended_wall_ns - run.began_wall_ns) / S
