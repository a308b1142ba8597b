"""report.html as its readers see it: on a screen, on a telephone, in the dark, on paper, without
scripts.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page

from bench.cli import main

pytestmark = pytest.mark.figures

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Violations

PHONE = {"width": 390, "height": 844}


def record(folder: Path, name: str) -> Any:
    """One of the run's JSON records."""
    return json.loads((folder / f"{name}.json").read_text())


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    found: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return found


def light_of(page: Page, selector: str, property_: str) -> float:
    """How light a colour of the first such element is, 0 to 255."""
    colour = page.locator(selector).first.evaluate("(e, p) => getComputedStyle(e)[p]", property_)
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


def words_of(folder: Path) -> list[str]:
    """The verdicts of the judged clauses, in their order."""
    clauses = record(folder, "verdicts")["clauses"]
    return [each["verdict"] for each in clauses if each["verdict"] != "REPORTED"]


def test_the_first_screen_holds_the_verdict(
    judged: Path, report: Path, open_page: OpenPage
) -> None:
    """Without scrolling: the verdict in the place of the title, its cause, how many clauses have
    which verdict, what the page rests on.
    """
    page, verdicts = open_page(report), record(judged, "verdicts")
    met = all(item["met"] for item in verdicts["expects"])
    word = "AS EXPECTED" if met else "NOT AS EXPECTED"
    heading, tally = page.get_by_role("heading", level=1), page.locator(".tally li")
    assert heading.inner_text() == word
    said = Counter(
        re.findall(r"(FAIL|INCONCLUSIVE|PASS)\s+(\d+)", " ".join(tally.all_inner_texts()))
    )
    assert said == Counter(
        (verdict, str(times)) for verdict, times in Counter(words_of(judged)).items()
    )
    for part in (heading, page.locator(".lead p").first, *tally.all(), page.locator(".facts")):
        box = part.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 800


def test_a_telephone_shows_every_verdict_at_once(
    judged: Path, report: Path, open_page: OpenPage
) -> None:
    """Of each clause its verdict needs no scrolling sideways."""
    words = open_page(report, **PHONE).locator("#clauses .v:visible")
    said = Counter(word.split()[-1] for word in words.all_inner_texts())
    assert Counter(words_of(judged)) <= said
    boxes = [word.bounding_box() for word in words.all()]
    assert all(box and box["x"] + box["width"] <= PHONE["width"] for box in boxes)


def test_the_statement_names_every_target(report: Path, open_page: OpenPage) -> None:
    """What a buyer may file stands whole in one box, in words that name both targets."""
    statement = open_page(report).locator(".quote")
    assert {"standard", "pro"} <= set(re.findall(r"\w+", statement.inner_text()))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280}, PHONE], ids=["screen", "phone"])
def test_axe_finds_nothing(
    report: Path, open_page: OpenPage, violations: Violations, scheme: str, size: dict[str, int]
) -> None:
    """Contrast, names, roles, order of headings, what can be reached by keyboard: in both schemes,
    at both widths.
    """
    assert violations(open_page(report, color_scheme=scheme, **size)) == []


def test_the_page_follows_the_readers_scheme(report: Path, open_page: OpenPage) -> None:
    """Dark on light, or light on dark: the paper and the words."""
    bright, dim = (open_page(report, color_scheme=scheme) for scheme in ("light", "dark"))
    for selector in ("body", ".facts dd"):
        assert light_of(bright, selector, "color") < 100
        assert light_of(dim, selector, "color") > 150
    assert light_of(bright, "body", "backgroundColor") > 230
    assert light_of(dim, "body", "backgroundColor") < 40


def test_paper_is_white_whatever_the_screen(report: Path, open_page: OpenPage) -> None:
    """Printed from a dark screen: dark words on white, no links to jump by, nothing beyond the
    paper's edge.
    """
    page = open_page(
        report, width=688, color_scheme="dark"
    )  # A4 within its margins, at 96 pixels an inch
    page.emulate_media(media="print")
    assert light_of(page, "body", "color") < 100
    assert light_of(page, "body", "backgroundColor") > 230
    assert not page.get_by_role("navigation").is_visible()
    assert sideways(page) == 0
    cut = page.evaluate(
        "[...document.querySelectorAll('table, figure')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.innerText.slice(0, 80))"
    )
    assert cut == []


def test_the_pdf_is_a4(report: Path, open_page: OpenPage) -> None:
    """What the browser prints has the size that the page asks for, 210 × 297 mm, on every sheet."""
    pdf = open_page(report).pdf(prefer_css_page_size=True)
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert len(boxes) > 1
    assert {
        (round(float(wide) / 72 * 25.4), round(float(high) / 72 * 25.4)) for wide, high in boxes
    } == {(210, 297)}


@pytest.mark.parametrize("size", [{"width": 1280}, PHONE], ids=["screen", "phone"])
def test_nothing_scrolls_sideways_but_wide_tables(
    report: Path, open_page: OpenPage, size: dict[str, int]
) -> None:
    """The page is as wide as its window; a table wider than that scrolls by itself, and by keyboard
    too.
    """
    page = open_page(report, **size)
    assert sideways(page) == 0
    wide = page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1 &&"
        " getComputedStyle(e).overflowX === 'auto' && !e.querySelector('a'))"
        ".map(e => [e.tabIndex, e.ariaLabel])"
    )
    assert all(place == 0 and name for place, name in wide)


def test_every_graphic_says_what_it_shows(report: Path, open_page: OpenPage) -> None:
    """To one who hears the page, each graphic is an image with a sentence of its own."""
    page = open_page(report)
    names = page.locator("main [role=img]").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert len(names) > 3
    assert all(name and len(name.split()) > 3 for name in names)
    assert page.locator("main figure").count() <= len(names)


def test_every_link_leads_to_its_section(report: Path, open_page: OpenPage) -> None:
    """A click on each entry of the contents brings a heading of that name into the window."""
    page = open_page(report)
    links = page.get_by_role("navigation").get_by_role("link")
    assert links.count() > 3
    for link in links.all():
        page.evaluate("scrollTo(0, 0)")
        link.click()
        section = page.locator(str(link.get_attribute("href")))
        heading = section.get_by_role("heading").first
        assert page.evaluate("location.hash") == link.get_attribute("href")
        box = heading.bounding_box()
        assert box is not None
        assert -1 < box["y"] < 800


def test_it_reads_the_same_without_scripts(report: Path, open_page: OpenPage) -> None:
    """A browser that runs no scripts shows every word and every graphic of the page."""
    plain, lively = open_page(report, java_script_enabled=False), open_page(report)
    told, with_scripts = (
        Counter(page.locator("main").inner_text().split()) for page in (plain, lively)
    )
    assert told.total() > 500
    assert told <= with_scripts
    drawn = [page.locator("main [role=img]:visible").count() for page in (plain, lively)]
    assert drawn[0] == drawn[1] > 3


def test_hostile_names_are_words_on_the_page(
    judged: Path, tmp_path: Path, open_page: OpenPage
) -> None:
    """Markup and scripts in every text of a manifest can be read, and nothing else: nothing runs,
    nothing is fetched, nothing moves.
    """
    folder = tmp_path / "run"
    shutil.copytree(judged, folder)
    manifest = record(folder, "run")
    evil = (
        "</style></script><script>alert(1)</script><img src=http://192.0.2.1/"
        " onerror=alert(2)>\u202e{{ 7*7 }}"
    )
    manifest["suite"] = {"name": evil, "description": evil}
    manifest["repeat_command"] = evil
    manifest["strings"] = {kind: [evil] * len(names) for kind, names in manifest["strings"].items()}
    for lane in manifest["lanes"]:
        lane.update(model=evil, tier=evil, region=evil, base_url=evil, notes=[evil])
    (folder / "run.json").write_text(json.dumps(manifest))
    main(["report", str(folder)])
    page = open_page(folder / "report.html")
    assert (page.locator("main").text_content() or "").count("<script>alert(1)</script>") > 8
    assert page.locator("script, img").count() == 1
    assert "</style>" in page.title()
    assert sideways(page) == 0
