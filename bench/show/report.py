"""The report of a run: report.html, report.md, junit.xml and the figures as files.

In: a run and its records. Out: files in the run's folder. Must stay true: each file is written
whole or not at all; no figure or PDF of an earlier report stays beside a new page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bench.judge.review import Records
from bench.record.files import write_atomically
from bench.record.run_folder import Run
from bench.show.build_server import junit_xml
from bench.show.document import Document
from bench.show.parts import report_document
from bench.show.render_html import figure_file, html_page
from bench.show.render_markdown import markdown_page


def write_report(
    run: Run, records: Records, inconclusive: Literal["skip", "fail"] = "skip"
) -> list[Path]:
    """Write all of it into the run's folder; `inconclusive` is what junit.xml calls a clause that
    was not decided.

    Returns the paths, report.html first.
    """
    document = report_document(run, records)
    junit = junit_xml(records.summary, records.verdicts, inconclusive)
    files = page_files(document) | {"junit.xml": junit}
    plots = run.folder / "plots"
    plots.mkdir(mode=0o700, exist_ok=True)
    for stale in plots.glob("*.svg"):
        stale.unlink()
    (run.folder / "report.pdf").unlink(missing_ok=True)
    for name, data in files.items():
        write_atomically(run.folder / name, data)
    return [run.folder / name for name in files]


def page_files(document: Document) -> dict[str, bytes]:
    """A document as HTML and Markdown, and its figures, by the paths below the folder that it is
    written to.
    """
    pages = {
        "report.html": html_page(document).encode(),
        "report.md": markdown_page(document).encode(),
    }
    figures = {f"plots/{figure.file}": figure_file(figure.svg) for figure in document.figures()}
    return pages | figures
