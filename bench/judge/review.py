"""A run's folder -> its records: summary, verdicts, comparisons, routes, attribution; now or a year
later.

In: a run's folder, optionally another contract to hold it against. Out: the records, and their
files. Must stay true: they come from manifest, schedule, samples and histograms alone, so the
same folder gives the same bytes; another contract changes no file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.judge.attribution.attribute import attribute_run
from bench.judge.compare.compared import compare_run
from bench.judge.contract.verdict import VERDICTS_FORMAT, judge_run
from bench.judge.fitness import fitness
from bench.judge.routing.routes import route_run
from bench.judge.summary import summarise
from bench.plan.contract import Contract
from bench.record.files import write_json
from bench.record.records.attribution import Attribution
from bench.record.records.census import Months
from bench.record.records.comparisons import Comparisons
from bench.record.records.record import FileRecord
from bench.record.records.routes import Routes
from bench.record.run_folder import FORMAT, Run

Record = dict[str, Any]
F = TypeVar("F", bound=FileRecord)


@dataclass(frozen=True)
class Records:
    """What a run came to. None: the suite asked for no such thing."""

    summary: Record
    verdicts: Record
    attribution: Attribution
    comparisons: Comparisons | None
    routes: Routes | None
    #: made when the suite was run, from scenarios that are a log of their own
    census: Months | None

    def files(self) -> dict[str, Record]:
        """The records by the name of their file."""
        named: dict[str, Record | FileRecord | None] = {
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


def review(run: Run, override: Contract | None = None) -> tuple[Record, Record]:
    """(summary, verdicts) of a run; nothing is written.

    Raises UserError for a clause that the run cannot have.
    """
    health = fitness(run, override)
    further = [] if override else _expects(compare_run(run), route_run(run), census_of(run.folder))
    verdicts = judge_run(run, health, override, further)
    return summarise(run, health, verdicts["overall"]), verdicts


def _expects(
    comparisons: Comparisons | None, routes: Routes | None, census: Months | None
) -> list[Record]:
    """Rehearsed answers of records beside the verdicts."""
    found: list[Record] = []
    for record in (comparisons, routes, census):
        found += [expect.to_json() for expect in (record.expects if record else ())]
    return found


def census_of(folder: Path) -> Months | None:
    """census.json as it was made when the suite was run, or None."""
    path = folder / Months.FILE
    return Months.model_validate_json(path.read_bytes()) if path.is_file() else None


def records_of(run: Run) -> Records:
    """Make all records of a run; nothing is written."""
    health = fitness(run)
    comparisons, routes, census = compare_run(run), route_run(run), census_of(run.folder)
    verdicts = judge_run(run, health, None, _expects(comparisons, routes, census))
    summary = summarise(run, health, verdicts["overall"])
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

    def read(name: str) -> Record | None:
        path = folder / name
        return json.loads(path.read_bytes()) if path.is_file() else None

    try:
        records = _as_filed(read)
        stale = (
            run.manifest["state"] == "running"
            or any(
                record["format"] != (VERDICTS_FORMAT if name == "verdicts.json" else FORMAT)
                or record["run"] != run.manifest["run"]
                for name, record in records.files().items()
            )
            or records.summary["state"] != run.state
        )
    except (OSError, ValueError, KeyError, TypeError):
        stale = True
    return run, file_records(run) if stale else records


def _parsed(kind: type[F], read: Callable[[str], Record | None]) -> F | None:
    """Raises ValueError where the file holds something else."""
    found = read(kind.FILE)
    return None if found is None else kind.model_validate(found)


def _as_filed(read: Callable[[str], Record | None]) -> Records:
    summary, verdicts = read("summary.json"), read("verdicts.json")
    attribution = _parsed(Attribution, read)
    if summary is None or verdicts is None or attribution is None:
        raise KeyError("a record is missing")
    return Records(
        summary,
        verdicts,
        attribution,
        _parsed(Comparisons, read),
        _parsed(Routes, read),
        _parsed(Months, read),
    )
