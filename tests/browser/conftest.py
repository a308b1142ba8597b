"""A headless Chromium for tests that look at pages as their readers do.

In: the address of a page, file:// or loopback. Out: Playwright pages. Must stay true: a test fails
where its page logs an error, throws one, opens a dialog or asks for anything beyond this machine; a
failed test leaves a picture of each of its pages in `shots/`, a passed one none; these tests are a
session of their own (`make test-browser`), for Playwright keeps an event loop running in the tests'
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page

from bench.cli import main
from bench.userfile import builtin_root
from benchmarks.chromium import chromium

SHOTS = Path(__file__).parent / "shots"
FAILED = pytest.StashKey[bool]()

OpenPage = Callable[..., Page]
Violations = Callable[[Page], list[str]]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with chromium() as started:
        yield started


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """What the test's pages complained of or asked of others; a test removes what it provoked
    itself.
    """
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def open_page(
    browser: Browser, faults: list[str], request: pytest.FixtureRequest
) -> Iterator[OpenPage]:
    """`open_page(address or path, width=1280, height=800, **context)`: a page, loaded; `context` as
    Playwright's.
    """
    opened: list[Page] = []

    def complained(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(f"console: {message.text}")

    def asked(dialog: Dialog) -> None:
        faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open_(address: str | Path, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.on(
            "request",
            lambda asked: None if stays_here(asked.url) else faults.append(f"asked {asked.url}"),
        )
        context.on("weberror", lambda error: faults.append(f"thrown: {error.error}"))
        context.on("console", complained)
        context.on("dialog", asked)
        opened.append(context.new_page())
        opened[-1].goto(address.as_uri() if isinstance(address, Path) else address)
        return opened[-1]

    yield open_
    for number, page in enumerate(opened):
        if faults or request.node.stash.get(FAILED, False):
            SHOTS.mkdir(exist_ok=True)
            page.screenshot(
                path=SHOTS / f"{request.node.name.replace('/', '-')}-{number}.png", full_page=True
            )
        page.context.close()


def stays_here(address: str) -> bool:
    """Whether a request for this address leaves neither the page nor the machine."""
    place = urlsplit(address)
    return place.scheme in ("file", "data", "blob", "about") or place.hostname in (
        "127.0.0.1",
        "::1",
        "localhost",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell fixtures whether the test that they clear up after has failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture
def violations() -> Violations:
    """What axe finds against WCAG and its own best practices, a line an element."""

    def found(page: Page) -> list[str]:
        rules = Axe().run(page).response["violations"]
        return [
            f"{rule['impact']} {rule['id']}: {node['html'][:160]}"
            for rule in rules
            for node in rule["nodes"]
        ]

    return found


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two targets in virtual time, with a kept, a broken, an undecided and a merely
    reported clause.
    """
    folder = tmp_path_factory.mktemp("judged")
    profiles = builtin_root()
    scenario = (profiles / "scenarios/noisy-neighbour.toml").read_text()
    contract = (profiles / "contracts/enterprise.toml").read_text()
    (folder / "noisy-neighbour.toml").write_text(
        scenario.replace('contract = "enterprise"', 'contract = "stricter.toml"')
    )
    # ten thousand requests a target without a failure cannot prove it
    stricter = contract.replace('share = "99.9%"', 'share = "99.99%"')
    (folder / "stricter.toml").write_text(stricter)
    suite, run = str(folder / "noisy-neighbour.toml"), folder / "run"
    assert main(["simulate", suite, "--requests", "20000", "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="session")
def report(judged: Path) -> Path:
    """Its page."""
    return judged / "report.html"
