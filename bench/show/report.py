"""The report of a run: report.html, report.md, junit.xml and the figures as files.

In: a run, its summary and its verdicts. Out: files in the run's folder. Must stay true: the page
stands alone (no network) and is whole without its script; foreign text is data in every format;
each file is written whole or not at all.
"""

from __future__ import annotations

import dataclasses
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.record.files import write_atomically
from bench.record.run_folder import Run
from bench.show.contents import build_page
from bench.show.junit import junit_xml
from bench.show.page import Page, Part, Table

_HERE = Path(__file__).parent
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$!@&])")
#: Headings whose columns hold words wherever they stand.
_WORDY = ("verdict", "decided by", "what was said")
_JUDGED = ("PASS", "FAIL", "INCONCLUSIVE", "REPORTED", "met", "NOT MET")
#: A longer word may be broken anywhere, lest it push a column off the page.
_UNBROKEN_MOST = 24
#: For a figure shown by itself or in a page of others: its own paper, so that its text can be read
#: on any.
_ALONE = (
    "<style>svg{background:#fff;color:#1b1d20}"
    "@media(prefers-color-scheme:dark){svg{background:#14171a;color:#e7e9ec}}</style>"
)


def write_report(
    run: Run,
    summary: Mapping[str, Any],
    verdicts: Mapping[str, Any],
    further: Sequence[Part] = (),
    inconclusive: Literal["skip", "fail"] = "skip",
) -> list[Path]:
    """Write all of it into the run's folder, `further` parts after the targets; `inconclusive` is
    what junit.xml calls a clause that was not decided.

    Returns the paths, report.html first.
    """
    page = report_page(run, summary, verdicts, further)
    files = page_files(page) | {"junit.xml": junit_xml(summary, verdicts, inconclusive)}
    plots = run.folder / "plots"
    plots.mkdir(mode=0o700, exist_ok=True)
    for stale in plots.glob("*.svg"):
        stale.unlink()
    (run.folder / "report.pdf").unlink(missing_ok=True)
    for name, data in files.items():
        write_atomically(run.folder / name, data)
    return [run.folder / name for name in files]


def page_files(page: Page) -> dict[str, bytes]:
    """A page as HTML and Markdown, and its figures, by the paths below the folder that it is
    written to.
    """
    files = {"report.html": html_page(page).encode(), "report.md": markdown_page(page).encode()}
    for part in page.parts:
        for figure in part.figures:
            files[f"plots/{figure.file}"] = figure.svg.replace(
                "</title>", f"</title>{_ALONE}", 1
            ).encode()
    return files


def report_page(
    run: Run, summary: Mapping[str, Any], verdicts: Mapping[str, Any], further: Sequence[Part] = ()
) -> Page:
    """The whole page, `further` parts and their terms after the targets'."""
    page = build_page(run, summary, verdicts)
    terms = dict(pair for part in further for pair in part.terms)
    return dataclasses.replace(
        page, parts=[*page.parts, *further], definitions=[*page.definitions, *terms.items()]
    )


def page_environment(*folders: Path) -> Environment:
    """Where pages come from: these folders and our own, escaping on, with what the tables of
    tables.html ask for.
    """
    environment = Environment(
        loader=FileSystemLoader([*folders, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["long"] = lambda cell: (
        " long" if max(map(len, cell.split()), default=0) > _UNBROKEN_MOST else ""
    )
    environment.globals.update(wordy=_WORDY, judged=_JUDGED)
    return environment


def html_page(page: Page) -> str:
    """The page as one self-contained HTML document."""
    css = "".join(
        (_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "print.css")
    ) + _footer(page.run)
    script, digest = page_script()
    return (
        page_environment()
        .get_template("report.html")
        .render(page=page, css=css, script=script, script_digest=digest)
    )


def page_script() -> tuple[str, str]:
    """The script that a page embeds, and the SHA-256 by which a Content-Security-Policy
    knows it.
    """
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    return script, b64encode(sha256(script.encode()).digest()).decode()


def _footer(run: str) -> str:
    """The run's id at the foot of every printed page, each character written so that CSS cannot
    misread it.
    """
    said = "".join(f"\\{ord(char):06x}" for char in f"run {run}")
    return f'@page {{ @bottom-left {{ content: "{said}" }} }}\n'


def markdown_page(page: Page) -> str:
    """The page for a pull request: the same order, the figures as links."""
    return "\n".join(_markdown_lines(page)) + "\n"


def _markdown_lines(page: Page) -> Iterator[str]:
    yield f"# {_md(page.title)}: {_md(page.overall)}" + (
        f" ({_md(page.rehearsal)})" if page.rehearsal else ""
    )
    yield from ("", _md(page.description), "")
    for alert in page.alerts:
        yield from (f"> **{_md(alert)}**", "")
    yield from _md_table(page.verdicts) if page.verdicts else (_md(page.unjudged), "")
    for remark in page.remarks:
        yield from (_md(remark), "")
    yield from (f"**harness** {_md(page.health)}", "", _md(page.paragraph), "")
    if page.expects:
        yield from _md_table(page.expects)
    for part in page.parts:
        yield from (f"## {_md(part.name)}", "")
        yield from _md_pairs(part.about)
        for note in part.notes:
            yield from (_md(note), "")
        for table in part.tables:
            yield from (f"{_md(table.caption)}:", "")
            yield from _md_table(table)
        for figure in part.figures:
            yield from (f"![{_md(figure.title)}](plots/{figure.file})", "")
    yield from ("## What the words mean", "")
    yield from _md_pairs(page.definitions)
    for title, items in (("Attested, not measured", page.attested), ("Notes", page.notes)):
        if items:
            yield from (f"## {title}", "", *(f"- {_md(item)}" for item in items), "")
    yield from ("## Run facts", "")
    yield from _md_pairs(page.facts)
    fence = "`" * max(
        3, 1 + max((len(ticks) for ticks in re.findall("`+", page.repeat)), default=0)
    )
    yield from ("Repeat this run:", "", fence, page.repeat, fence)


def _md_pairs(items: Any) -> Iterator[str]:
    for name, value in items:
        yield f"- **{_md(name)}**: {_md(value)}"
    yield ""


def _md_table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(_md(name) or ' ' for name in table.head)} |"
    words = [index < table.words or name in _WORDY for index, name in enumerate(table.head)]
    yield f"|{'|'.join('---' if word else '---:' for word in words)}|"
    for row in table.rows:
        yield f"| {' | '.join(_md(cell) for cell in row)} |"
    yield ""


def _md(text: str) -> str:
    """Text that Markdown shows as it is: every mark of its syntax behind a backslash."""
    return _MARKDOWN.sub(r"\\\1", text)
