"""What the report's script adds: rows to find, drawers to open at once, the section in view; and
that no other script may run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from bench.cli import main

pytestmark = pytest.mark.figures

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Violations


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of more targets than are seen at once, in virtual time."""
    folder = tmp_path_factory.mktemp("lively") / "run"
    main(["simulate", "field-guide", "--requests", "20000", "--out", str(folder)])
    return folder / "report.html"


def test_rows_are_found_by_name_and_by_verdict_and_printed_all(
    report: Path, open_page: OpenPage, violations: Violations
) -> None:
    """What does not fit leaves the screen and comes back; on paper it never left."""
    page = open_page(report)
    rows = page.locator(".score tbody tr")
    whole = rows.count()
    assert whole > 6
    page.get_by_role("searchbox").fill("vanity")
    expect(page.locator(".score tbody tr:visible")).to_have_count(1)
    expect(page.get_by_text(f"1 of {whole} targets", exact=True)).to_be_visible()
    assert violations(page) == []
    page.get_by_role("searchbox").fill("")
    page.get_by_role("combobox").select_option("PASS")
    found = page.locator(".score tbody tr:visible")
    assert 0 < found.count() < whole
    assert all("PASS" in text for text in found.all_inner_texts())
    page.emulate_media(media="print")
    expect(page.locator(".score tbody tr:visible")).to_have_count(whole)
    page.emulate_media(media="screen")
    page.get_by_role("combobox").select_option("any verdict")
    expect(page.locator(".score tbody tr:visible")).to_have_count(whole)


def test_all_drawers_open_and_close_at_once(report: Path, open_page: OpenPage) -> None:
    """The evidence by one button, by keyboard too."""
    page = open_page(report)
    drawers = page.locator("#evidence > details").count()
    button = page.get_by_role("button", name="Open all")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#evidence > details[open]")).to_have_count(drawers)
    page.get_by_role("button", name="Close all").click()
    expect(page.locator("#evidence > details[open]")).to_have_count(0)


def test_the_bar_marks_the_section_in_view(report: Path, open_page: OpenPage) -> None:
    """The last link's section, once it was gone to."""
    page = open_page(report)
    link = page.locator(".bar li a").last
    link.click()
    expect(link).to_have_attribute("aria-current", "true")


def test_the_script_is_the_only_one_that_may_run(
    report: Path, open_page: OpenPage, faults: list[str]
) -> None:
    """The page's policy names its script by digest: one that somebody adds is refused."""
    page = open_page(report)
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent:"
        " 'window.x = 1'}))"
    )
    assert page.evaluate("window.x") is None
    assert [fault for fault in faults if "Content Security Policy" in fault] == faults
    faults.clear()
