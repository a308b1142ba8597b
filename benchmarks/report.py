"""How long a report of a million rows takes, how large it is, and how soon a browser paints it.

`python -m benchmarks.report` writes a seeded run of 4 targets and 3 phases with the product's own
writer, runs `tailproof report` on it as a process, once to judge it too and once more from its
records, and opens the page in headless Chromium (with the extra `browser` and a chromium on the
path).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.clock import monotonic_ns
from bench.plan.contract import load_contract
from bench.record.run_folder import RunWriter
from bench.units import S
from benchmarks.chromium import chromium
from tests.support.made_runs import lane_of, manifest_of, samples_of, schedule_of, spoil_some

TARGETS = ["standard", "pro", "standard-eu", "pro-eu"]
#: performance.getEntriesByType sees the paints of the page it runs in.
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def make_run(folder: Path, rows: int, seconds: float) -> None:
    """`rows` in all, an hour of load by default; failures and unfinished rows in the first
    target.
    """
    schedule = schedule_of(rows // len(TARGETS), seconds, len(TARGETS))
    samples = samples_of(schedule, 7)
    spoil_some(schedule, samples)
    contract = load_contract("enterprise").model_dump(mode="json", by_alias=True)
    lanes = [
        lane_of(name, index, seconds, rows // len(TARGETS)).replace(contract_written=contract)
        for index, name in enumerate(TARGETS)
    ]
    strings = {
        "served_model": [],
        "served_region": [],
        "finish": [],
        "note": ["upstream said 503 overloaded"],
    }
    RunWriter(folder, manifest_of(lanes, strings), schedule).finish(
        "complete", samples, {"harness": {"kernel_stamps": True}}
    )


def report(folder: Path) -> str:
    """What `tailproof report` took: seconds on the clock and of the processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), monotonic_ns()
    subprocess.run(
        [sys.executable, "-m", "bench", "report", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), (monotonic_ns() - began) / S
    return (
        f"{took:.1f} s ({after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.1f} s"
        " of CPU)"
    )


def first_paints_ms(page: Path, times: int) -> list[float]:
    """First contentful paint of `times` fresh contexts, ms after the navigation began."""
    found = []
    with chromium() as browser:
        for _ in range(times):
            tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            tab.goto(page.as_uri())
            tab.wait_for_function(
                "performance.getEntriesByName('first-contentful-paint').length > 0"
            )
            found.append(float(tab.evaluate(FIRST_PAINT)))
    return found


def main() -> None:
    """Make, report, weigh, paint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3600)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "run"
        make_run(folder, asked.rows, asked.seconds)
        judged, again = report(folder), report(folder)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        page, figures = folder / "report.html", list((folder / "plots").glob("*.svg"))
        print(
            f"{asked.rows:,} rows, {len(TARGETS)} targets: judged and reported in {judged},"
            f" reported again in {again}"
        )
        print(
            f"peak memory {peak:,.0f} MB; report.html {page.stat().st_size / 1e6:.2f} MB;"
            f" {len(figures)} figures, {sum(each.stat().st_size for each in figures) / 1e6:.2f} MB"
        )
        paints = first_paints_ms(page, 5)
        print(
            f"first contentful paint {np.median(paints):.0f} ms ({min(paints):.0f} to"
            f" {max(paints):.0f})"
        )


if __name__ == "__main__":
    main()
