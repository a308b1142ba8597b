"""How long `tailproof ui` takes to list many runs, at first sight and again.

`python benchmarks/ui.py RUN` copies the manifest and the summary of a run 1,000 times under other
names, starts the ui over them as users do, and prints what a request takes: the first look at every
file, asked as soon as the address is printed, then files that are known, a search, and a trend.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from http.client import HTTPConnection
from pathlib import Path

from bench.clock import monotonic_ns

PAGES = {
    "list, again": "/",
    "search and filter": "/?words=0042&verdict=PASS&sort=name",
    "trend": "/trend",
    "trend of a number": "/trend?path=targets/pro/response_ms/e2e/p99",
}


def made(run: Path, number: int, results: Path) -> None:
    """`number` folders with the records of `run`; each has its own id, start and verdict."""
    manifest, *records = (
        json.loads((run / name).read_bytes())
        for name in ("run.json", "summary.json", "verdicts.json")
    )
    for index in range(number):
        day, hour, minute = 1 + index // 60 % 28, index % 24, index % 60
        folder = results / f"2026-11-{day:02d}T{hour:02d}-{minute:02d}-00Z-made-{index:04d}"
        folder.mkdir()
        started = f"2026-11-{day:02d}T{hour:02d}:{minute:02d}:00Z"
        own = {"run": folder.name, "overall": ("PASS", "FAIL", "INCONCLUSIVE")[index % 3]}
        (folder / "run.json").write_text(
            json.dumps(manifest | {"run": folder.name, "started_utc": started}, indent=2)
        )
        for name, record in zip(("summary.json", "verdicts.json"), records, strict=True):
            (folder / name).write_text(json.dumps(record | own, indent=2))


def asked_ms(port: int, path: str) -> tuple[float, int]:
    """Milliseconds until the whole page is here, and its bytes."""
    began = monotonic_ns()
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    answer = connection.getresponse()
    size = len(answer.read())
    assert answer.status == 200, answer.status
    return (monotonic_ns() - began) / 1e6, size


def cpu_ms(process: int) -> float:
    """User and system time of a process so far; Linux."""
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return 1e3 * (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def show(name: str, port: int, process: int, path: str, times: int) -> None:
    """A line: what a request takes, the server's own share, and the page's size."""
    before = cpu_ms(process)
    walls, sizes = zip(*(asked_ms(port, path) for _ in range(times)), strict=True)
    cpu = (cpu_ms(process) - before) / times
    print(
        f"{name:<20}{statistics.median(walls):8.0f} ms{cpu:12.0f} ms CPU{sizes[0] / 1e3:10.0f} kB"
    )


def main() -> None:
    """Print a line a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run's folder")
    parser.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        made(arguments.run, arguments.runs, Path(place))
        command = [sys.executable, "-m", "bench", "ui", place, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                said = re.search(r":(\d+)/", process.stdout.readline())
                assert said
                show("list, first time", int(said[1]), process.pid, "/", 1)
                for name, path in PAGES.items():
                    show(name, int(said[1]), process.pid, path, 10)
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
