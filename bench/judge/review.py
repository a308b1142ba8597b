"""A run's folder -> its records: summary, verdicts, comparisons, routes, attribution; now or a year
later.

In: a run's folder, optionally another contract to hold it against. Out: the records, and their
files. Must stay true: they come from manifest, schedule, samples and histograms alone, so the
same folder gives the same bytes; another contract changes no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.errors import RunFolderError
from bench.judge.attribution.attribute import attribute_run
from bench.judge.compare.compared import compare_run
from bench.judge.contract.verdict import judge_run
from bench.judge.fitness import fitness
from bench.judge.routing.routes import route_run
from bench.judge.summary import summarise
from bench.plan.contract import Contract
from bench.record.files import write_json
from bench.record.records.attribution import Attribution
from bench.record.records.census import Months
from bench.record.records.comparisons import Comparisons
from bench.record.records.record import FileRecord, Json, read_json, read_record, refuse_newer
from bench.record.records.routes import Routes
from bench.record.records.summary import Summary
from bench.record.records.verdicts import Expectation, Verdicts
from bench.record.run_folder import Run

F = TypeVar("F", bound=FileRecord)


@dataclass(frozen=True)
class Records:
    """What a run came to. None: the suite asked for no such thing."""

    summary: Summary
    verdicts: Verdicts
    attribution: Attribution
    comparisons: Comparisons | None
    routes: Routes | None
    #: made when the suite was run, from scenarios that are a log of their own
    census: Months | None

    def files(self) -> dict[str, Json]:
        """The JSON of the records by the name of their file."""
        named: dict[str, Json | FileRecord | None] = {
            "summary.json": self.summary,
            "verdicts.json": self.verdicts,
            "attribution.json": self.attribution,
            "comparisons.json": self.comparisons,
            "routes.json": self.routes,
            "census.json": self.census,
        }
        return {
            name: record.to_json() if isinstance(record, FileRecord) else record
            for name, record in named.items()
            if record is not None
        }


def review(run: Run, override: Contract | None = None) -> tuple[Summary, Verdicts]:
    """(summary, verdicts) of a run; nothing is written.

    Raises UserError for a clause that the run cannot have.
    """
    health = fitness(run, override)
    if override:
        further = []
    else:
        further = _expects(compare_run(run), route_run(run), census_of(run.folder))
    verdicts = judge_run(run, health, override, further)
    return summarise(run, health, verdicts.overall), verdicts


def _expects(
    comparisons: Comparisons | None,
    routes: Routes | None,
    census: Months | None,
) -> list[Expectation]:
    """Rehearsed answers of records beside the verdicts."""
    found: list[Expectation] = []
    for record in (comparisons, routes, census):
        found += record.expects if record else ()
    return found


def census_of(folder: Path) -> Months | None:
    """census.json as it was made when the suite was run, or None. Raises RunFolderError."""
    return _if_there(Months, folder)


def records_of(run: Run) -> Records:
    """Make all records of a run; nothing is written."""
    health = fitness(run)
    comparisons = compare_run(run)
    routes = route_run(run)
    census = census_of(run.folder)
    verdicts = judge_run(run, health, None, _expects(comparisons, routes, census))
    summary = summarise(run, health, verdicts.overall)
    return Records(summary, verdicts, attribute_run(run), comparisons, routes, census)


def file_records(run: Run) -> Records:
    """Make all records of a run and write them into its folder."""
    records = records_of(run)
    for name, record in records.files().items():
        write_json(run.folder / name, record)
    return records


def reviewed(folder: Path) -> tuple[Run, Records]:
    """A run with its records, made first where they are missing, stale or of another format.

    Those of a run that still says `running` are always stale: it may have grown since.
    """
    run = Run(folder)
    writer = run.manifest.versions.get("tailproof")
    # Refused before anything is made again: a newer version's records are not ours to overwrite.
    for kind in (Summary, Verdicts, Attribution, Comparisons, Routes):
        number = _json_of(folder / kind.FILE).get("format")
        refuse_newer(kind, number, folder / kind.FILE, writer)
    if run.manifest.state == "running":
        records = None
    else:
        records = _as_filed(run)
    return run, file_records(run) if records is None else records


def _as_filed(run: Run) -> Records | None:
    """The records in the run's folder; None where they are missing, stale or of another format."""
    try:
        summary = read_record(Summary, run.folder)
        verdicts = read_record(Verdicts, run.folder)
        attribution = read_record(Attribution, run.folder)
        comparisons = _if_there(Comparisons, run.folder)
        routes = _if_there(Routes, run.folder)
        census = census_of(run.folder)
    except RunFolderError:
        return None
    records = Records(
        summary,
        verdicts,
        attribution,
        comparisons,
        routes,
        census,
    )
    dated = [summary, verdicts, attribution, comparisons, routes]
    fresh = summary.state == run.state and all(
        record.format == record.FORMAT and record.run == run.manifest.run
        for record in dated
        if record is not None
    )
    return records if fresh else None


def _if_there(kind: type[F], folder: Path) -> F | None:
    if (folder / kind.FILE).is_file():
        return read_record(kind, folder)
    return None


def _json_of(path: Path) -> Json:
    """The JSON of a record's file; empty where there is none or it cannot be read."""
    try:
        return read_json(path)
    except RunFolderError:
        return {}
