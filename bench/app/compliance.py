"""The files of a period that was judged: census.json, evidence.csv, and the report.

In: a census and its log. Out: files in a folder of the user's. Must stay true: every row that broke
a clause stands in evidence.csv, with its line in the log and the log's own name of it; the report
says nothing that census.json does not hold.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from bench.clock import utc_ns
from bench.errors import UserError
from bench.judge.census.census import Census
from bench.judge.census.log import row_record
from bench.record.files import write_atomically, write_json
from bench.record.records.census import CensusRecord, EpisodeRecord
from bench.record.request_log import RequestLog, row_ids
from bench.record.samples import Int
from bench.show.month import month_document
from bench.show.report import page_files, pdf_missing, write_pdf

#: The file of what broke a clause, and its columns.
EVIDENCE = "evidence.csv"
_EVIDENCE_COLUMNS = (
    "period",
    "clause",
    "file",
    "line",
    "at_utc",
    "outcome",
    "status",
    "e2e_ms",
    "id",
)
#: Of an outage so many requests are named.
_NAMED = 5


def write_census(
    folder: Path, found: Census, log: RequestLog, names: Mapping[int, str] | None = None
) -> CensusRecord:
    """census.json and evidence.csv. Returns the record as it was written.

    `names` are the requests' own, by row, of a log that has no column of them. Raises UserError
    where the folder cannot be made or a log cannot be read again.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", where=str(folder)) from None
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *found.evidence.values()]))
    ids = row_ids(log, rows) if names is None else names
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_EVIDENCE_COLUMNS)
    for (period, clause), broke in found.evidence.items():
        writer.writerows(
            [period, clause, *row_record(log, row).to_json().values(), ids.get(row, "")]
            for row in broke.tolist()
        )
    record = _with_names(found, log, ids)
    write_json(folder / CensusRecord.FILE, record.to_json())
    write_atomically(folder / EVIDENCE, text.getvalue().encode())
    return record


def _with_names(found: Census, log: RequestLog, ids: Mapping[int, str]) -> CensusRecord:
    """The record with the first requests of its worst outages by their names."""
    if not ids:
        return found.record
    wall = log.columns.samples["due_ns"] + log.facts.start_wall_ns

    def named(episode: EpisodeRecord, rows: Int) -> EpisodeRecord:
        moments = [utc_ns(episode.start_utc), utc_ns(episode.end_utc)]
        first, last = np.searchsorted(wall[rows], moments).tolist()
        inside = (ids[row] for row in rows[first:last].tolist() if row in ids)
        return episode.replace(ids=list(islice(inside, _NAMED)))

    periods = []
    for period in found.record.periods:
        clauses = []
        for clause in period.clauses:
            rows = found.evidence.get((period.period, clause.number), np.zeros(0, np.int64))
            worst = [named(each, rows) for each in clause.episodes.worst]
            clauses.append(clause.replace(episodes=clause.episodes.replace(worst=worst)))
        periods.append(period.replace(clauses=clauses))
    return found.record.replace(periods=periods)


def write_month(folder: Path, record: CensusRecord) -> list[Path]:
    """report.html, report.md and, where the library is there, report.pdf.

    Returns the paths.
    """
    files = page_files(month_document(record))
    for name, data in files.items():
        write_atomically(folder / name, data)
    written = [folder / name for name in files]
    return written if pdf_missing() else [*written, write_pdf(folder)]
