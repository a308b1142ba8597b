"""report.html -> report.pdf: the same content on A4, with outline, page numbers and the run's id at
the foot.

In: a run's folder that holds report.html. Out: report.pdf beside it. Must stay true: nothing is
fetched, neither from the network nor from this machine's files; the same page gives the same bytes
with the same library and fonts.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.record.files import write_atomically


def write_pdf(folder: Path) -> Path:
    """Lay out report.html of a run's folder.

    Raises UserError where the library is missing, OSError without the page.
    """
    weasyprint = pdf_library()
    page = (folder / "report.html").read_bytes()
    inside = weasyprint.urls.URLFetcher(allowed_protocols={"data"})
    document = weasyprint.HTML(string=page.decode(), url_fetcher=inside)
    made: bytes = document.write_pdf(
        pdf_identifier=hashlib.sha256(page).digest()[:16], pdf_tags=True
    )
    path = folder / "report.pdf"
    write_atomically(path, made)
    return path


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
