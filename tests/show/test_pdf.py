"""report.pdf, read back."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any, cast

import pytest
from pypdf import PdfReader

from bench.errors import UserError
from bench.show.report import pdf_library, write_pdf, write_report
from tests.support.made_runs import Made, make_in, spoil_some

pytestmark = pytest.mark.figures


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Few rows: laying out their figures is what takes time."""
    return make_in(tmp_path_factory.mktemp("pdf"), rows=200, spoil=spoil_some)


@pytest.fixture(scope="module")
def pango() -> None:
    """Skips where the system has no Pango."""
    try:
        pdf_library()
    except UserError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def filed(pango: None, spoilt: Made) -> PdfReader:
    """The PDF of a made run."""
    write_report(spoilt.run, spoilt.records)
    return PdfReader(io.BytesIO(write_pdf(spoilt.run.folder).read_bytes()))


def words(text: str) -> str:
    """Without blanks: where a line ends is the layout's affair."""
    return "".join(text.split())


def embedded(font: Any) -> bool:
    """Whether a font's own file is in the PDF."""
    inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
    return bool(
        {"/FontFile", "/FontFile2", "/FontFile3"} & set(inner["/FontDescriptor"].get_object())
    )


def test_the_pdf_says_what_the_page_says(filed: PdfReader, spoilt: Made) -> None:
    """Title, every verdict, every clause and its numbers, the paragraph and the digests can be
    selected as text.
    """
    text = words(" ".join(page.extract_text() for page in filed.pages))
    assert filed.metadata is not None
    assert filed.metadata.title == "FAIL: chat-tiers"
    for clause in spoilt.verdicts.clauses:
        assert words(clause.text.split(" ≤ ")[0].split(" ≥ ")[0]) in text
        assert clause.verdict in text
    for said in (
        "611 of 12,000 slow or failed; 120 may be",
        "“pro” answered all its 200 requests",
        "data stay in the region",
        str(spoilt.run.manifest.manifest_sha256),
        "tailproof run chat-tiers --seed 7",
    ):
        assert words(said) in text


def test_every_page_can_be_filed_by_itself(filed: PdfReader, spoilt: Made) -> None:
    """A4, the run's id and its number on each page; an outline leads to each section; fonts are in
    the file, figures are no bitmaps.
    """
    total = len(filed.pages)
    assert total > 1
    for number, page in enumerate(filed.pages, 1):
        assert [round(float(side) * 25.4 / 72) for side in page.mediabox[2:]] == [210, 297]
        text, resources = words(page.extract_text()), cast("dict[str, Any]", page["/Resources"])
        assert words(f"run {spoilt.run.manifest.run}") in text
        assert f"{number}of{total}" in text
        assert all(embedded(font.get_object()) for font in resources.get("/Font", {}).values())
    top, below = cast("list[Any]", filed.outline)
    titles = [part.title for part in below if not isinstance(part, list)]
    assert top.title == "FAIL"
    assert [name for name in ("Was each clause kept?", "Evidence") if name not in titles] == []
    assert any("limit" in page.extract_text() for page in filed.pages)  # a graphic's own words


def test_the_same_page_gives_the_same_pdf(filed: PdfReader, spoilt: Made, tmp_path: Path) -> None:
    """What was filed can be made again and held against it byte by byte: a page as far as its first
    drawing, for laying one out takes a second.
    """
    page = (spoilt.run.folder / "report.html").read_text()
    (tmp_path / "report.html").write_text(page[: page.index("</svg>") + len("</svg>")])
    first = write_pdf(tmp_path).read_bytes()
    assert write_pdf(tmp_path).read_bytes() == first
    assert len(PdfReader(io.BytesIO(first)).pages) <= len(filed.pages)


def test_nothing_is_fetched_for_a_pdf(pango: None, tmp_path: Path) -> None:
    """A picture that a page asks for from this machine's files is not in the PDF; one that the page
    holds is.
    """
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"><text'
        ' y="50">{}</text></svg>'
    )
    (tmp_path / "kept.svg").write_text(picture.format("SECRET"))
    held = "data:image/svg+xml;base64," + base64.b64encode(picture.format("HELD").encode()).decode()
    (tmp_path / "report.html").write_text(
        f'<img src="{(tmp_path / "kept.svg").as_uri()}"><img src="{held}">'
    )
    text = PdfReader(write_pdf(tmp_path)).pages[0].extract_text()
    assert "HELD" in text
    assert "SECRET" not in text
