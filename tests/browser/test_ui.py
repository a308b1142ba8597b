"""`tailproof ui` as its reader sees it: found and sorted, compared, followed while a run goes on;
with and without a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from bench.cli import main
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from bench.record.pieces import SegmentWriter
from bench.record.run_folder import RunWriter
from bench.record.samples import Outcome, empty_samples
from benchmarks.made_pages import serving
from tests.support.records import manifest_of

pytestmark = pytest.mark.figures

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Violations

STRINGS: dict[str, list[str]] = {"served_model": [], "served_region": [], "finish": [], "note": []}
COMPARED = "/compare?run=first&baseline=first/standard&other=first/pro"
PAGES = [
    "/",
    "/?words=second",
    "/report/first",
    COMPARED,
    "/compare",
    "/trend",
    "/trend?path=targets/pro/response_ms/e2e/p99",
    "/watch",
    "/watch/first",
    "/report/nobody",
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one suite and a folder that is none."""
    folder = tmp_path_factory.mktemp("results")
    for seed, name in enumerate(("first", "second"), 1):
        main(
            [
                "simulate",
                "noisy-neighbour",
                "--requests",
                "2500",
                "--seed",
                str(seed),
                "--out",
                str(folder / name),
            ]
        )
    (folder / "letters").mkdir()
    return folder


@pytest.fixture(scope="module")
def address(results: Path) -> Iterator[str]:
    """Where the ui listens."""
    with serving("ui", str(results)) as place:
        yield place


def see_nothing_wrong(page: Page, violations: Violations) -> None:
    """No element that axe objects to, and nothing that hangs over the side of the window."""
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_can_be_read_by_all(
    path: str,
    scheme: str,
    address: str,
    open_page: OpenPage,
    violations: Violations,
    faults: list[str],
) -> None:
    """Wide and narrow, light and dark: axe objects to nothing and nothing runs over the window's
    edge.
    """
    for width in (1280, 360):
        page = open_page(address + path, width=width, color_scheme=scheme)
        if path.startswith(
            "/report/first"
        ):  # the report's own tests look at it; here: that its sandbox lets it be
            expect(page.locator("h1")).to_be_visible()
        else:
            see_nothing_wrong(page, violations)
    faults[:] = [fault for fault in faults if path != "/report/nobody" or "404" not in fault]


@pytest.mark.parametrize("script", [True, False])
def test_from_the_list_to_a_comparison(script: bool, address: str, open_page: OpenPage) -> None:
    """Search, sort, mark a run, choose its two targets: the outcome and two figures, script or
    none.
    """
    page = open_page(address, java_script_enabled=script)
    expect(page.get_by_role("row", name="letters")).to_contain_text(
        "is not a run's folder (no run.json)"
    )
    page.get_by_role("columnheader").get_by_role("link", name="run", exact=True).click()
    names = page.locator("tbody th")
    expect(names).to_have_text([re.compile(f"^{name}") for name in ("first", "letters", "second")])
    page.get_by_label("search").fill("first")
    page.get_by_label("search").press("Enter")
    expect(names).to_have_text([re.compile("^first")])
    page.get_by_label("compare first").check()
    page.get_by_role("button", name="Compare the marked runs").click()
    page.get_by_label("other").select_option("first/pro")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="pro against standard")).to_be_visible()
    expect(page.locator(".ans")).to_be_visible()
    expect(page.get_by_role("row", name="p99").first).to_be_visible()
    assert page.locator("main [role=img]:visible").count() > 1


def test_a_trend_is_chosen_and_leads_to_its_runs(address: str, open_page: OpenPage) -> None:
    """A number of the summary: a figure that names it and a row a run, whose link opens that run's
    report.
    """
    page = open_page(f"{address}/trend")
    page.get_by_text("Another number of summary.json").click()
    page.get_by_label("number of summary.json").fill("targets/pro/uptime/request_ratio")
    page.get_by_role("button", name="Show the number").click()
    expect(
        page.get_by_role("img", name="from run to run? targets/pro/uptime/request_ratio")
    ).to_be_visible()
    expect(page.locator("tbody th")).to_have_text(["second", "first"])
    page.get_by_role("link", name="first").click()
    expect(page.locator(".mast")).to_contain_text("noisy-neighbour")


def test_a_mark_of_a_trend_leads_to_its_run_and_the_run_back(
    address: str, open_page: OpenPage
) -> None:
    """By keyboard: each mark says its run and verdict; above the report stands the way back."""
    page = open_page(f"{address}/trend")
    mark = page.locator(".pan a").first
    assert re.match(r"(first|second): .+ times the budget", mark.get_attribute("aria-label") or "")
    mark.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".mast")).to_contain_text("noisy-neighbour")
    page.get_by_role("link", name="all runs").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()


def test_a_report_runs_our_script_and_no_other(
    results: Path, address: str, open_page: OpenPage, faults: list[str]
) -> None:
    """The drawers of a report are opened by its own script; one that somebody wrote into a report
    does nothing.
    """
    expect(open_page(f"{address}/report/first").get_by_text("Open all")).to_be_visible()
    assert faults == []
    report = results / "second" / "report.html"
    kept = report.read_text()
    try:
        report.write_text(
            kept.replace("</body>", "<script>document.title = 'taken over'</script></body>")
        )
        assert "noisy-neighbour" in open_page(f"{address}/report/second").title()
        assert any("Content Security Policy" in fault for fault in faults)
        faults.clear()
    finally:
        report.write_text(kept)


def test_a_run_is_followed_until_it_ends(results: Path, address: str, open_page: OpenPage) -> None:
    """Numbers change in place as pieces are sealed; at the end the state says so and the report can
    be opened.
    """
    plan = compile_plan(load_suite("noisy-neighbour"), 1)
    samples = empty_samples(len(plan.schedule))
    samples["due_ns"] = samples["slot_free_ns"] = samples["sent_ns"] = plan.schedule["due_ns"]
    samples["done_ns"], samples["outcome"] = samples["due_ns"] + 80_000_000, Outcome.ok
    lanes = [lane.record() for lane in plan.lanes]
    writer = RunWriter(
        results / "live",
        manifest_of(lanes, "live", suite={"name": "by hand"}),
        plan.schedule,
    )
    try:
        page = open_page(f"{address}/watch/live")
        mine = np.flatnonzero(plan.schedule["lane"] == 0)
        expect(page.locator("#lane-0-rows")).to_have_text(f"0 of {len(mine):,}")
        expect(page.get_by_role("link", name="Open its report")).to_be_hidden()
        SegmentWriter(writer.folder).append(mine[:70], samples[mine[:70]], STRINGS)
        expect(page.locator("#lane-0-rows")).to_have_text(f"70 of {len(mine):,}", timeout=20_000)
        expect(page.locator("#lane-0-e2e-p99")).to_have_text("80.0 ms")
        writer.finish("complete", samples, {"strings": STRINGS})
        expect(page.locator("#state")).to_have_text("complete", timeout=20_000)
        expect(page.locator("#share")).to_have_attribute("value", "100")
        expect(page.get_by_role("link", name="Open its report")).to_be_visible()
    finally:
        for path in sorted(writer.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        writer.folder.rmdir()
