"""What the report's script adds: values on hover and by keys, one zoom for a target's figures,
targets to leave out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from bench.cli import main

pytestmark = pytest.mark.figures

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Violations


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lane that failed now and then and two that never did, in virtual time."""
    folder = tmp_path_factory.mktemp("lively") / "run"
    main(["simulate", "three-tier-router", "--requests", "3000", "--out", str(folder)])
    return folder / "report.html"


def figure(page: Page, kind: str) -> Locator:
    """The first figure of a kind, in view."""
    found = page.locator(f"figure[id$='{kind}']").first
    found.scroll_into_view_if_needed()
    return found


def point(page: Page, shown: Locator, share: float) -> None:
    """Move the pointer to this share of a figure's width, at half its height."""
    box = shown.locator("svg").bounding_box()
    assert box
    page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


def drag(page: Page, shown: Locator, start: float, end: float) -> None:
    """Choose a part of a figure's width."""
    point(page, shown, start)
    page.mouse.down()
    point(page, shown, end)
    page.mouse.up()


def ticks(shown: Locator) -> list[float]:
    """The labels of the time axis that are in sight."""
    texts = shown.locator(".tick text").all()
    return sorted(
        float((text.text_content() or "").replace(",", "")) for text in texts if text.is_visible()
    )


def window(page: Page) -> tuple[float, float]:
    """The moments (s) that the shown value is of."""
    expect(page.get_by_role("status")).to_contain_text(" s: ")
    found = re.findall(r"[\d.]+", page.get_by_role("status").inner_text().split(" s:")[0])
    return float(found[0]), float(found[1])


def test_the_value_under_the_pointer_is_shown_and_goes_with_it(
    report: Path, open_page: OpenPage
) -> None:
    """Half way along the time axis is the middle of the run; further right is later; off the figure
    is nothing.
    """
    page = open_page(report)
    shown = figure(page, "over-time")
    first, last = map(float, (shown.locator("svg").get_attribute("data-span") or "").split())
    point(page, shown, 0.095 + 0.735 / 2)
    start, end = window(page)
    assert start <= first + (last - first) / 2 <= end
    point(page, shown, 0.095 + 0.735 * 0.8)
    assert window(page)[0] > start
    page.mouse.move(1270, 5)
    expect(page.get_by_role("status")).to_have_text("")


def test_keys_step_through_every_value(report: Path, open_page: OpenPage) -> None:
    """The right arrow goes from one percentile to the next, ever slower, and stays at the last; the
    left one goes back.
    """
    page = open_page(report)
    shown = figure(page, "e2e-percentiles")
    shown.focus()
    count = len((shown.locator("svg").get_attribute("data-readings") or "").split("\n"))
    said = []
    for _ in range(count + 2):
        page.keyboard.press("ArrowRight")
        said.append(page.get_by_role("status").inner_text())
    assert len(set(said)) == count
    percentiles = [float(text[1:].split(":")[0]) for text in said]
    assert percentiles == sorted(percentiles)
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("status").inner_text() == said[count - 2]


def test_a_chosen_range_is_shown_by_all_figures_of_the_target(
    report: Path, open_page: OpenPage
) -> None:
    """Dragging over a third of the time shows that third in this target's figures and in no
    other's; a double click undoes it.
    """
    page = open_page(report)
    shown, failures = (
        figure(page, "00-default-e2e-over-time"),
        figure(page, "00-default-failures-over-time"),
    )
    other = figure(page, "01-fallback-e2e-over-time")
    whole = [ticks(each) for each in (shown, failures, other)]
    last = float((shown.locator("svg").get_attribute("data-span") or "").split()[1])
    shown.scroll_into_view_if_needed()
    drag(page, shown, 0.095 + 0.735 / 3, 0.095 + 0.735 * 2 / 3)
    assert last / 3 - 0.5 < ticks(shown)[0] < ticks(shown)[-1] < last * 2 / 3 + 0.5
    assert ticks(failures) == ticks(shown)
    assert ticks(other) == whole[2]
    point(page, shown, 0.095 + 0.735 / 2)
    start, end = window(page)
    assert start <= last / 2 <= end
    point(page, shown, 0.1)
    assert window(page)[1] > last / 3 - 1  # what lies to the left is out of sight
    shown.locator("svg").dblclick()
    assert [ticks(each) for each in (shown, failures, other)] == whole


def test_keys_zoom_too(report: Path, open_page: OpenPage) -> None:
    """Plus halves the range, minus doubles it, Escape shows all of it again."""
    page = open_page(report)
    shown = figure(page, "over-time")
    whole = ticks(shown)
    shown.focus()
    page.keyboard.press("+")
    assert whole[0] < ticks(shown)[0] < ticks(shown)[-1] < whole[-1]
    page.keyboard.press("-")
    assert ticks(shown) == whole
    for _ in range(3):
        page.keyboard.press("+")
    page.keyboard.press("Escape")
    assert ticks(shown) == whole


def test_a_target_can_be_left_out_on_the_screen_but_not_on_paper(
    report: Path, open_page: OpenPage
) -> None:
    """Its parts, its link and its verdicts go and come back with its box; printed they are all
    there.
    """
    page = open_page(report)
    box = page.get_by_role("group", name="targets on screen").get_by_label("default", exact=True)
    part, link = (
        page.get_by_role("heading", name="default", exact=True),
        page.locator("nav a", has_text="default").first,
    )
    rows = page.locator(
        "#verdicts tbody tr", has=page.locator("th", has_text=re.compile("^default$"))
    )
    others = page.locator("#verdicts tbody tr", has=page.locator("th", has_text="fallback"))
    assert rows.count()
    box.uncheck()
    for gone in (part, link, *rows.all()):
        expect(gone).to_be_hidden()
    for kept in others.all():
        expect(kept).to_be_visible()
    page.emulate_media(media="print")
    for printed in (part, *rows.all()):
        expect(printed).to_be_visible()
    page.emulate_media(media="screen")
    box.check()
    for back in (part, link, *rows.all()):
        expect(back).to_be_visible()


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


def test_what_the_script_adds_can_be_used_by_all(
    report: Path, open_page: OpenPage, violations: Violations
) -> None:
    """No violation of the accessibility rules with a value shown."""
    page = open_page(report)
    figure(page, "percentiles").focus()
    page.keyboard.press("ArrowRight")
    assert violations(page) == []
