"""What the script adds to panels, strips and dots: values on hover and by keys, one stretch of time
for the strips of a stage, large panels.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Locator, Page, expect

from bench.cli import main
from bench.record.records.record import read_json

pytestmark = pytest.mark.figures

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Violations


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lane that failed now and then and others that never did, in virtual time."""
    folder = tmp_path_factory.mktemp("lively") / "run"
    main(["simulate", "three-tier-router", "--requests", "3000", "--out", str(folder)])
    return folder / "report.html"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One target, whose every request is a dot."""
    folder = tmp_path_factory.mktemp("small") / "run"
    main(["simulate", "vanity-average", "--requests", "200", "--out", str(folder)])
    return folder / "report.html"


def target_of(report: Path) -> dict[str, Any]:
    """The first target of summary.json."""
    found: dict[str, Any] = next(
        iter(read_json(report.parent / "summary.json")["targets"].values())
    )
    return found


def strip(page: Page) -> Locator:
    """That of the first target, in view."""
    found = page.locator("svg.strip").first
    found.scroll_into_view_if_needed()
    return found


def point(page: Page, shown: Locator, share: float) -> None:
    """Move the pointer to this share of a graphic's width, at half its height."""
    box = shown.bounding_box()
    assert box
    page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


def said(page: Page) -> str:
    """The value that is shown."""
    return page.locator("#value").inner_text()


def test_the_slice_under_the_pointer_is_shown_and_goes_with_it(
    report: Path, open_page: OpenPage
) -> None:
    """In the middle of the strip lies the 31st slice of sixty; off the strip is nothing."""
    page = open_page(report)
    slices = target_of(report)["slices"]
    point(page, strip(page), 0.508)
    assert f": {slices['bad'][30]} of {slices['requests'][30]} slow or failed" in said(page)
    page.mouse.move(1270, 5)
    expect(page.locator("#value")).to_have_text("")


def test_keys_step_through_every_slice(report: Path, open_page: OpenPage) -> None:
    """The counts that are shown one after the other are those of summary.json."""
    page = open_page(report)
    strip(page).focus()
    counts = []
    for _ in range(60):
        page.keyboard.press("ArrowRight")
        counts.append(int(said(page).split(": ")[1].split(" of ")[0]))
    assert counts == target_of(report)["slices"]["bad"]


def test_a_chosen_stretch_is_shown_by_all_strips_of_the_stage(
    report: Path, open_page: OpenPage
) -> None:
    """Dragging over a third of the time shows that third, its ends in the ruler; a double click
    undoes it. Plus halves it, Escape shows all.
    """
    page = open_page(report)
    first, last = strip(page), page.locator("svg.strip").last
    ends = page.locator(".rlr .e").first
    written = ends.inner_text()
    point(page, first, 1 / 3)
    page.mouse.down()
    point(page, first, 2 / 3)
    page.mouse.up()
    for shown in (first, last):
        start, _, wide, _ = map(float, (shown.get_attribute("viewBox") or "").split())
        assert start == pytest.approx(20, abs=0.2)
        assert wide == pytest.approx(20, abs=0.2)
    assert ends.inner_text() != written
    first.dblclick()
    expect(first).to_have_attribute("viewBox", "0 0 60 10")
    expect(ends).to_have_text(written)
    first.focus()
    page.keyboard.press("+")
    expect(last).to_have_attribute("viewBox", "15 0 30 10")
    page.keyboard.press("Escape")
    expect(last).to_have_attribute("viewBox", "0 0 60 10")


def test_a_panel_tells_its_percentiles_and_grows(report: Path, open_page: OpenPage) -> None:
    """At p90 it says what summary.json has, as near as a line of pixels tells; Enter makes it
    large and small again.
    """
    page = open_page(report)
    panel = page.locator("svg.pan").nth(1)
    panel.scroll_into_view_if_needed()
    found = read_json(report.parent / "summary.json")["targets"]["fallback"]["response_ms"]["e2e"]
    point(page, panel, (22 + 246 * (1 - 0.30103) / (3 - 0.30103)) / 272)
    said_ms = re.fullmatch(r"p90: about ([\d,]+) ms", said(page))
    assert said_ms, said(page)
    assert float(said_ms[1].replace(",", "")) == pytest.approx(found["p90"], rel=0.03)
    panel.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".pans .large")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator(".pans .large")).to_have_count(0)


def test_every_dot_tells_its_latency(small: Path, open_page: OpenPage) -> None:
    """As many as there were requests, in the order of time; the slowest are those of the tail."""
    page = open_page(small)
    page.locator(".dots svg").focus()
    seen = []
    n = target_of(small)["requests"]
    for _ in range(n):
        page.keyboard.press("ArrowRight")
        seen.append(said(page))
    values = sorted(
        float(each.split(": ")[1].removesuffix(" ms").replace(",", "")) for each in seen
    )
    found = target_of(small)["response_ms"]["e2e"]
    assert values[-1] == pytest.approx(found["max"], rel=0.03)
    assert values[(n - 1) // 2] == pytest.approx(found["p50"], rel=0.03)


def test_what_the_script_adds_can_be_used_by_all(
    report: Path, open_page: OpenPage, violations: Violations
) -> None:
    """No violation of the accessibility rules with a value shown."""
    page = open_page(report)
    page.locator("svg.strip").first.focus()
    page.keyboard.press("ArrowRight")
    assert violations(page) == []


def test_the_figure_of_a_ramp_is_read_by_keys_and_pointer(
    tmp_path: Path, open_page: OpenPage
) -> None:
    """Each probe that it draws is said, once by the keys and once where the pointer is; Escape ends
    it.
    """
    command = ["ramp", "vanity-average", "--simulated", "--max-probes", "3", "--quiet"]
    main([*command, "--out", str(tmp_path / "ramp")])
    page = open_page(tmp_path / "ramp" / "report.html")
    figure = page.locator("figure:has(> svg[data-readings])").first
    lines = (figure.locator("svg").get_attribute("data-readings") or "").split("\n")
    dot = figure.locator(".asked")
    figure.focus()
    for line in lines:
        page.keyboard.press("ArrowRight")
        x, y, words = line.split(" ", 2)
        assert said(page) == words
        assert (dot.get_attribute("cx"), dot.get_attribute("cy")) == (
            f"{float(x):g}",
            f"{float(y):g}",
        )
    page.keyboard.press("Escape")
    expect(page.locator("#value")).to_have_text("")
    expect(dot).to_have_attribute("r", "0")
    dot.evaluate("dot => dot.setAttribute('r', 4)")  # gives it a box to point at
    box = dot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert said(page) == lines[-1].split(" ", 2)[2]
