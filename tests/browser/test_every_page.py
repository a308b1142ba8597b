"""Every kind of page that is written to a folder: what a program can see of it.

In: small runs, a month, its claim, a ramp. Out: nothing that axe objects to, and no page wider than
its window, in both colour schemes, on a telephone of 360 pixels as on a screen. Must stay true: the
checks ask for no particular text or part, so that a page may be written anew.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from bench.cli import main
from bench.record.records.census import Episodes
from bench.show.month import month_document
from bench.show.render_html import html_page
from bench.show.report import write_report
from bench.userfile import builtin_root
from tests.support.made_months import BROKEN, PERIOD, episode, log_of
from tests.support.made_runs import Made, make_in, spoil_all, spoil_some

pytestmark = pytest.mark.figures

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Violations

VERDICTS = (0, 1, 3, 4)
#: The longest that a name of ours may have, and that of a model or customer, which is any.
LONG, LONGER = (
    "a-name-of-sixty-characters-" * 2 + "abcdef",
    "two-hundred-characters-" * 8 + "abc" * 5,
)
CONTRACT = f"""
title = "{LONGER}"
[[clause]]
metric = "e2e"
quantile = "99%"
limit = "800ms"
"""
SUITE = """
description = "{name}"
[[stage]]
name = "{name}"
scenario = "noisy-neighbour"
targets = ["{name}.toml"]
profile = "steady"
contract = "titled.toml"
"""


def made_two(folder: Path) -> None:
    """Two targets, one of which fails."""
    command = ["simulate", "noisy-neighbour", "--requests", "12000", "--quiet"]
    assert main([*command, "--out", str(folder)]) in VERDICTS


def made_suite(folder: Path) -> None:
    """Nineteen targets."""
    command = ["simulate", "field-guide", "--requests", "20000", "--quiet"]
    assert main([*command, "--out", str(folder)]) in VERDICTS


def made_named(folder: Path) -> None:
    """A target and a stage with long names, a model and a contract with ones of 200
    characters.
    """
    files = folder.parent / "files"
    files.mkdir()
    (files / "titled.toml").write_text(CONTRACT)
    target = (builtin_root() / "targets/pro.toml").read_text()
    target = re.sub(r"(?m)^model = .*$", f'model = "{LONGER}"', target)
    (files / f"{LONG}.toml").write_text(target)
    (files / "named.toml").write_text(SUITE.format(name=LONG))
    command = ["simulate", str(files / "named.toml"), "--requests", "600", "--quiet"]
    assert main([*command, "--out", str(folder)]) in VERDICTS


def made_interrupted(folder: Path) -> None:
    """Ctrl-C after its first requests."""
    command = [sys.executable, "-m", "bench", "run", "vanity-average", "--over-http", "--quiet"]
    with subprocess.Popen([*command, "--out", str(folder)]) as process:
        while not list(folder.glob("samples/*.npy")) and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    assert (folder / "report.html").is_file()


def made_ramp(folder: Path) -> None:
    """Three probes."""
    command = ["ramp", "vanity-average", "--simulated", "--max-probes", "3", "--quiet"]
    assert main([*command, "--out", str(folder)]) in VERDICTS


def made_month(folder: Path) -> None:
    """The month of the scenario that breaks its contract by minutes."""
    command = ["judge", "--census", "written-uptime", "--monthly-bill-usd", "12000"]
    assert main([*command, "--customer", LONGER, "--report", str(folder)]) in VERDICTS


def made_claim(folder: Path) -> None:
    """What is sent to the provider about it."""
    made_month(folder.parent / "claimed")
    assert main(["claim", str(folder.parent / "claimed"), "--out", str(folder)]) == 0


def written_from(made: Made, folder: Path) -> None:
    """The page of a made run."""
    write_report(made.run, made.records)
    folder.mkdir()
    (folder / "report.html").write_bytes((made.run.folder / "report.html").read_bytes())


def made_many(folder: Path) -> None:
    """200 targets with names of 200 characters."""
    names = [f"{n:03}-{'n' * 196}" for n in range(200)]
    written_from(make_in(folder.parent, names, rows=6, spoil=spoil_some), folder)


def made_silent(folder: Path) -> None:
    """Nothing was answered."""
    written_from(make_in(folder.parent, ["standard"], rows=40, spoil=spoil_all), folder)


def made_of_one(folder: Path) -> None:
    """One request."""
    written_from(make_in(folder.parent, ["standard"], rows=1), folder)


def made_outages(folder: Path) -> None:
    """A month of 2,000 outages, 200 of which are listed, by a contract without a title."""
    listed = [episode(1 + n % 28, 1 + n % 59, n) for n in range(200)]
    episodes = Episodes(count=2000, first=listed, worst=listed[-10:])
    period = PERIOD.replace(clauses=[BROKEN.replace(episodes=episodes)])
    folder.mkdir()
    page = html_page(month_document(log_of(period).replace(title="")))
    (folder / "report.html").write_text(page)


KINDS = {
    "many": made_many,
    "silent": made_silent,
    "one": made_of_one,
    "outages": made_outages,
    "two": made_two,
    "suite": made_suite,
    "named": made_named,
    "interrupted": made_interrupted,
    "ramp": made_ramp,
    "month": made_month,
    "claim": made_claim,
}


@pytest.fixture(scope="module", params=KINDS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of each kind."""
    kind = str(request.param)
    folder = tmp_path_factory.mktemp(kind) / kind
    KINDS[kind](folder)
    return folder / ("statement.html" if kind == "claim" else "report.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_can_be_read_by_all(
    written: Path, scheme: str, width: int, open_page: OpenPage, violations: Violations
) -> None:
    """Contrast, names, roles, order of headings; nothing runs over the window's edge."""
    page = open_page(written, width=width, color_scheme=scheme)
    assert violations(page) == []
    assert (
        page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        == 0
    )


def test_it_answers_without_scrolling(written: Path, open_page: OpenPage) -> None:
    """The one heading of the first level, which has the verdict or the finding, stands in the first
    window; on paper too nothing is wider than the sheet.
    """
    page = open_page(written, width=390, height=844)
    expect(page.locator("h1")).to_have_count(1)
    box = page.locator("h1").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 844
    paper = open_page(written, width=688)  # A4 within its margins, at 96 pixels an inch
    paper.emulate_media(media="print")
    assert (
        paper.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        == 0
    )
