"""The report of a run as files: report.html, report.md, junit.xml, the figures, and report.pdf.

In: a run and its records; of the PDF a folder that holds report.html. Out: files in the run's
folder. Must stay true: each file is written whole or not at all; no figure or PDF of an earlier
report stays beside a new page. The PDF fetches nothing, neither from the network nor from this
machine's files; the same page gives the same bytes with the same library and fonts.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from bench import progress
from bench.errors import UserError
from bench.judge.review import Records
from bench.record.files import write_atomically
from bench.record.run_folder import Run
from bench.show.build_server import junit_xml
from bench.show.document import Document, Figure
from bench.show.figures import run_figures
from bench.show.parts import report_document
from bench.show.render_html import figure_file, html_page
from bench.show.render_markdown import markdown_page

#: Of a page of HTML about so much stands on a sheet; pages are laid out between these parts of the
#: time that a PDF takes.
_BYTES_A_PAGE, _LAID_FROM, _LAID_TO = 20_000, 0.16, 0.84


def write_report(
    run: Run,
    records: Records,
    inconclusive: Literal["skip", "fail"] = "skip",
    *,
    plots: bool = False,
) -> list[Path]:
    """Write all of it into the run's folder; `inconclusive` is what junit.xml calls a clause that
    was not decided. `plots` draws the figures of every target too, which takes most of the time.

    Returns the paths, report.html first.
    """
    document = report_document(run, records)
    junit = junit_xml(records.summary, records.verdicts, inconclusive)
    files = page_files(document) | {"junit.xml": junit}
    if plots:
        files |= figure_files(run_figures(run, records.verdicts))
    folder = run.folder / "plots"
    folder.mkdir(mode=0o700, exist_ok=True)
    for stale in folder.glob("*.svg"):
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
    return pages | figure_files(document.figures())


def figure_files(figures: Iterable[Figure]) -> dict[str, bytes]:
    """Figures, each to be looked at by itself."""
    return {f"plots/{figure.file}": figure_file(figure.svg) for figure in figures}


# ---- the same on A4, with outline, page numbers and the run's id at the foot


def write_pdf(folder: Path, name: str = "report") -> Path:
    """Lay out report.html of a run's folder, or another page of a folder.

    Raises UserError where the library is missing, OSError without the page.
    """
    weasyprint = pdf_library()
    page = (folder / f"{name}.html").read_bytes()
    inside = weasyprint.urls.URLFetcher(allowed_protocols={"data"})
    document = weasyprint.HTML(string=page.decode(), url_fetcher=inside)
    with _laying_out(f"writing {name}.pdf", len(page)):
        made: bytes = document.write_pdf(
            pdf_identifier=hashlib.sha256(page).digest()[:16], pdf_tags=True
        )
    path = folder / f"{name}.pdf"
    write_atomically(path, made)
    return path


@contextlib.contextmanager
def _laying_out(name: str, page_bytes: int) -> Iterator[None]:
    """Says how far WeasyPrint is, by what it logs: page after page, then the file."""
    logger = logging.getLogger("weasyprint.progress")
    level, pages = logger.level, page_bytes / _BYTES_A_PAGE + 1
    with progress.step(name) as say:

        class Heard(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                number = record.args[0] if isinstance(record.args, tuple) and record.args else None
                if isinstance(number, int):
                    say(_LAID_FROM + (_LAID_TO - _LAID_FROM) * min(number / pages, 1))

        heard = Heard()
        logger.addHandler(heard)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(heard)
            logger.setLevel(level)


def pdf_missing() -> str:
    """Why no PDF can be made here; empty where one can."""
    try:
        pdf_library()
    except UserError as error:
        return str(error)
    return ""


def pdf_library() -> Any:
    """WeasyPrint, or a UserError that says what to install: asked before a run begins, not after
    it.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it says there which system library it lacks
            import weasyprint
    except ImportError:
        raise UserError(
            "needs WeasyPrint", where="report.pdf", remedy="pip install 'tailproof[pdf]'"
        ) from None
    except OSError:
        raise UserError(
            "WeasyPrint finds no Pango on this system",
            where="report.pdf",
            remedy=(
                "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
                " fonts-dejavu-core"
            ),
        ) from None
    return weasyprint
