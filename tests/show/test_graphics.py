"""Graphics: the shape of a verdict, the axis of the error budget, and where each format shows
them.
"""

from __future__ import annotations

import re

import pytest
from markupsafe import Markup

from bench.show.document import Column, Document, Graphic, Section, Table
from bench.show.graphics.mark import Mark, VerdictWord, shape
from bench.show.graphics.palette import PALETTE
from bench.show.graphics.track import Track, TrackAxis, place
from bench.show.render_html import STYLE, html_page
from bench.show.render_markdown import markdown_page
from tests.support.screens import screen_lines

TRACK = Track(0.5, 2.0, 8.0, "FAIL", "2 × <the budget>")
#: A column whose cell a page draws.
COLUMNS: list[Column[Track]] = [
    Column("target", lambda _: "pro", "words"),
    Column("× budget", lambda row: f"{row.measured:g}", graphic=lambda row: row),
]


@pytest.mark.parametrize("graphic", [Mark("FAIL"), VerdictWord("PASS"), TRACK, TrackAxis()])
def test_a_graphic_has_a_sentence_and_markup(graphic: Graphic) -> None:
    """What it says is never empty, and what it draws is markup with text escaped."""
    assert graphic.says
    assert isinstance(graphic.markup(), Markup)


def test_every_format_has_a_place_for_a_graphic() -> None:
    """The page draws it, labelled by its sentence; the others say the sentence, or in a table the
    cell's text.
    """
    table = Table("caption", COLUMNS, [TRACK])
    document = Document(
        "r", "t", "FAIL", sections=[Section("s", "Was it?", [TRACK, table], answer="No.")]
    )
    page, markdown = html_page(document), markdown_page(document)
    assert page.count('role="img" aria-label="2 × &lt;the budget&gt;"') == 2
    assert '<p class="ans">No.</p>' in page
    assert "### Was it?\n\nNo.\n\n2 × \\<the budget\\>\n" in markdown
    assert "| pro | 2 |" in markdown
    assert screen_lines([TRACK, table], 80) == [
        "2 × <the budget>",
        "caption",
        "  target   × budget",
        "  pro             2",
    ]


def test_the_axis_is_logarithmic_with_the_limit_where_the_zone_begins() -> None:
    """0.02 to 1,000 times the budget over the width but its gutter: a decade is as long as any
    other.
    """
    assert place(0) == 2.5
    assert place(1000) == place(5000) == 100
    assert place(10) - place(1) == pytest.approx(place(100) - place(10), abs=0.02)
    assert place(0.02 * 50000**0.5) == pytest.approx((5 + 100) / 2)
    zone = re.search(r"\.trk \.z \{ left: ([\d.]+)%", STYLE.read_text("utf-8"))
    assert zone
    assert float(zone[1]) == pytest.approx(place(1), abs=0.01)


def test_each_verdict_has_a_shape_of_its_own() -> None:
    """Without its colour too; a word of a rehearsal has that of its verdict."""
    verdicts = ("PASS", "FAIL", "INCONCLUSIVE", "INVALID", "EQUIVALENT", "REPORTED")
    forms = {re.sub(r' (class|fill|stroke)="[^"]*"', "", shape(each, 6, 6, 5)) for each in verdicts}
    assert len(forms) == len(verdicts)
    assert shape("AS EXPECTED", 6, 6, 5) == shape("PASS", 6, 6, 5)


def test_the_graphics_have_the_light_colours_of_the_page() -> None:
    """One set: that of report.css."""
    css = STYLE.read_text("utf-8").partition("@media")[0]
    light = dict(re.findall(r"--(\w+): (#\w+);", css))
    assert {name: light[name] for name in PALETTE} == dict(PALETTE)
