"""A document as one self-contained HTML page, from which the PDF is made too.

In: a document. Out: HTML. Must stay true: the page stands alone (no network) and is whole without
its script; foreign text is data, for all of it is escaped.
"""

from __future__ import annotations

import functools
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.show.document import Document
from bench.show.graphics.mark import Mark, VerdictWord, tone
from bench.show.graphics.strip import equal_runs

_HERE = Path(__file__).parent
#: The style of every page, also of those that are served.
STYLE = _HERE / "report.css"
#: Cells with these words are coloured in whatever column they stand.
_JUDGED = ("PASS", "FAIL", "INCONCLUSIVE", "REPORTED", "met", "NOT MET")
#: A longer word may be broken anywhere, lest it push a column off the page.
_UNBROKEN_MOST = 24
#: For a figure shown by itself or in a page of others: its own paper, so that its text can be read
#: on any.
_ALONE = (
    "<style>svg{background:#fff;color:#1b1d20}"
    "@media(prefers-color-scheme:dark){svg{background:#14171a;color:#e7e9ec}}</style>"
)


@functools.cache
def page_environment(*folders: Path) -> Environment:
    """Where pages come from: these folders and our own, escaping on, with what the macros of
    nodes.html ask for. Made once a process: to compile the templates takes longer than to fill
    them.
    """
    environment = Environment(
        loader=FileSystemLoader([*folders, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        kind=lambda node: type(node).__name__,
        long=_long,
        runs=equal_runs,
        mark=_mark,
        verdict=_verdict,
        tone=tone,
    )
    environment.globals.update(judged=_JUDGED)
    return environment


def _long(cell: str) -> str:
    return " long" if max(map(len, cell.split()), default=0) > _UNBROKEN_MOST else ""


def _mark(verdict: str, size: float = 12) -> Markup:
    return Mark(verdict, size).markup()


def _verdict(verdict: str, size: float = 12) -> Markup:
    return VerdictWord(verdict, size).markup()


def html_page(document: Document) -> str:
    """The page."""
    css = _page_style() + _footer(document.foot or f"run {document.run}")
    script, digest = page_script()
    template = page_environment().get_template("report.html")
    return template.render(document=document, css=css, script=script, script_digest=digest)


@functools.cache
def _page_style() -> str:
    styles = [(_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "print.css")]
    return _lean_style("".join(styles))


@functools.cache
def page_script() -> tuple[str, str]:
    """The script that a page embeds, and the SHA-256 by which a Content-Security-Policy
    knows it.
    """
    parts = ("report.js", "graphics.js")
    script = _lean_script("".join((_HERE / name).read_text(encoding="utf-8") for name in parts))
    return script, b64encode(sha256(script.encode()).digest()).decode()


def _lean_script(text: str) -> str:
    """Without indentation and lines of comment."""
    return re.sub(r"(?m)^\s+", "", re.sub(r"(?m)^\s*//.*\n", "", text))


def _lean_style(text: str) -> str:
    """Without comments and the blanks between rules and values."""
    bare = re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
    return re.sub(r" ?([{};,]) ?", r"\1", bare)


def figure_file(svg: str) -> bytes:
    """A figure as a file that is looked at by itself."""
    return svg.replace("</title>", f"</title>{_ALONE}", 1).encode()


def _footer(text: str) -> str:
    """What stands at the foot of every printed page, each character written so that CSS cannot
    misread it.
    """
    said = "".join(f"\\{ord(char):06x}" for char in text)
    return f'@page {{ @bottom-left {{ content: "{said}" }} }}\n'
