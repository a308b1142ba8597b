"""The folder of a claim: statement, evidence, computation and digests, to be sent to the provider.

In: a folder with census.json and evidence.csv, or a run and the contract that it was held to. Out:
a new folder. Must stay true: it names broken clauses alone, and of them no request that the
contract sets aside; money is claimed from a full log, never from a test.
"""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.app.compliance import EVIDENCE, write_census
from bench.errors import UserError
from bench.judge.census.census import census
from bench.judge.census.source import log_of_run
from bench.record.digests import sha256
from bench.record.facts import kept_evidence
from bench.record.files import write_atomically
from bench.record.records.census import CensusRecord
from bench.record.records.record import read_record
from bench.record.request_log import RequestLog
from bench.record.run_folder import Run
from bench.record.signature import SIGNATURE
from bench.show.claim import claim_document
from bench.show.report import page_files, pdf_missing, write_pdf

DIGESTS = "SHA256SUMS"
#: What is copied from the folder that a claim rests on, where it lies there.
_PROOFS = (CensusRecord.FILE, "run.json", SIGNATURE)


@dataclass(frozen=True)
class Claimed:
    """What was written, and what is claimed."""

    record: CensusRecord
    files: list[Path]


def claim(source: Path, lane: str, out: Path) -> Claimed:
    """Write the claim that `source` supports into `out`.

    Raises UserError: nothing was broken, the folder is not empty, a run without a contract.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            "is not empty", where=str(out), remedy="choose a folder of its own with --out"
        )
    of_run = (source / "run.json").is_file()
    if of_run:
        record = _of_run(Run(source), lane, out)
    else:
        record = read_record(CensusRecord, source)
        _refuse_without_breach(record, source)
        out.mkdir(parents=True, exist_ok=True)
        _copy_evidence(source, record, out)
    for name in _PROOFS:
        if (source / name).is_file() and not (out / name).exists():
            shutil.copyfile(source / name, out / name)
    pages = page_files(claim_document(record, run=source.name if of_run else ""))
    for name, data in pages.items():
        write_atomically(out / name.replace("report", "statement"), data)
    if not pdf_missing():
        write_pdf(out, "statement")
    names = sorted(path.name for path in out.iterdir() if path.is_file())
    sums = "".join(f"{sha256((out / name).read_bytes())}  {name}\n" for name in names)
    write_atomically(out / DIGESTS, sums.encode())
    return Claimed(record, [out / name for name in [*names, DIGESTS]])


def _refuse_without_breach(record: CensusRecord, source: Path) -> None:
    if record.overall != "FAIL":
        verdict = {"PASS": "every clause was kept", "INCONCLUSIVE": "no clause is shown broken"}
        raise UserError(
            f"there is nothing to claim: {verdict.get(record.overall, 'nothing was judged')}",
            where=str(source),
            remedy="`tailproof judge` says what each clause came to",
        )


def _copy_evidence(source: Path, record: CensusRecord, out: Path) -> None:
    """The rows of broken clauses. Raises UserError without the file."""
    try:
        text = (source / EVIDENCE).read_text()
    except OSError as error:
        raise UserError(
            f"cannot be read ({error.strerror})",
            where=str(source / EVIDENCE),
            remedy="make it again: tailproof judge --census LOG --report DIR",
        ) from None
    broken = {
        (period.period, str(clause.number))
        for period in record.periods
        for clause in period.clauses
        if clause.verdict == "FAIL"
    }
    head, *rows = csv.reader(io.StringIO(text))
    kept = io.StringIO()
    writer = csv.writer(kept, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(row for row in rows if (row[0], row[1]) in broken)
    write_atomically(out / EVIDENCE, kept.getvalue().encode())


def _of_run(run: Run, lane: str, out: Path) -> CensusRecord:
    """A run's own samples as the log, judged by the contract that the target was run under."""
    log = log_of_run(run, lane)
    index = next((at for at, each in enumerate(run.lanes) if each.name == lane), 0)
    contract = run.lanes[index].contract
    if contract is None:
        raise UserError(
            "was held to no contract, so nothing was broken",
            where=str(run.folder),
            remedy="run it under one, or judge its samples: tailproof judge --census RUN",
        )
    found = census(log, contract.model_copy(update={"period": None, "credits": None}))
    _refuse_without_breach(found.record, run.folder)
    written = write_census(out, found, log, _names(run, index, log))
    _copy_evidence(out, written, out)
    return written


def _names(run: Run, index: int, log: RequestLog) -> dict[int, str]:
    """By row of the log: the provider's own name of a request that the run kept.

    Rows of a run and of its log are matched by the moment at which they were due.
    """
    evidence = kept_evidence(run)
    if index >= len(evidence):
        return {}
    kept = evidence[index]
    named = [each for rows in kept.failed.values() for each in rows]
    named += [(row, name) for _, row, name in kept.slow]
    due = log.columns.samples["due_ns"]
    found: dict[int, str] = {}
    for row, name in named:
        moment = int(run.planned.samples["due_ns"][row])
        at = int(np.searchsorted(due, moment))
        if at < len(due) and due[at] == moment:
            found[at] = name
    return found
