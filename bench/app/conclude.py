"""The end of a run, however it was played: judged, recorded, reported.

In: a sealed folder. Out: its records, its report, an exit code. Must stay true: this is wiring;
a run over HTTP and one that is computed end alike.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from bench.errors import ExitCode
from bench.judge.review import Records, file_records
from bench.machine import temporary_files_in
from bench.record.run_folder import Run


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that was played, judged and reported."""

    folder: Path
    records: Records
    report: Path

    @property
    def exit_code(self) -> ExitCode:
        """What the process should return."""
        return ExitCode(self.records.verdicts.exit_code)


@dataclasses.dataclass(frozen=True)
class Filing:
    """What is wanted beside the report's pages."""

    #: report.pdf too
    pdf: bool = False
    #: what junit.xml calls a clause that was not decided
    inconclusive: Literal["skip", "fail"] = "skip"
    #: the figures of every target, at full size
    plots: bool = False


PLAIN = Filing()


def conclude(folder: Path, filing: Filing = PLAIN) -> Finished:
    """Judge and report a run's folder."""
    run = Run(folder)
    records = file_records(run)
    written = report(run, records, filing)
    return Finished(folder, records, next(path for path in written if path.name == "report.html"))


def report(run: Run, records: Records, filing: Filing) -> list[Path]:
    """Write a run's report into its folder; returns the paths."""
    from bench.show.report import write_pdf, write_report

    temporary_files_in(run.folder)
    written = write_report(run, records, filing.inconclusive, plots=filing.plots)
    return [*written, write_pdf(run.folder)] if filing.pdf else written


def worst_exit(codes: list[ExitCode]) -> ExitCode:
    """Where several hold: 130, 5, 4, 1, 3, 0."""
    order = [
        ExitCode.INTERRUPTED,
        ExitCode.UNREACHABLE,
        ExitCode.INVALID,
        ExitCode.FAIL,
        ExitCode.INCONCLUSIVE,
    ]
    return next((code for code in order if code in codes), ExitCode.PASS)
