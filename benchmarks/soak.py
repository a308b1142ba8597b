"""A long night in a quarter of an hour: does a run of millions of requests stay flat?

In: how many requests at what rate. Out: resident memory, descriptors and harness lag of the real
command, tenth by tenth of its requests, against the null server on this machine.

    python benchmarks/soak.py --requests 2000000 --rate 2000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.record.run_folder import Run
from bench.record.samples import latency_ns

_EVERY_S = 1.0
_PARTS = 10


@dataclass(frozen=True)
class Look:
    """The process at one moment; `sent` is what its schedule says was due by then."""

    at_s: float
    resident_mb: float
    descriptors: int


def watch(process: subprocess.Popen[bytes]) -> list[Look]:
    """A look a second until the process ends."""
    looks, began = [], time.monotonic()
    while process.poll() is None:
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            descriptors = len(os.listdir(f"/proc/{process.pid}/fd"))  # noqa: PTH208 no Path a descriptor
        except (FileNotFoundError, IndexError, ProcessLookupError):
            break
        looks.append(
            Look(time.monotonic() - began, pages * os.sysconf("SC_PAGESIZE") / 1e6, descriptors)
        )
        time.sleep(_EVERY_S)
    return looks


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2_000_000)
    parser.add_argument("--rate", type=float, default=2_000)
    parser.add_argument("--tokens", type=int, default=4)
    given = parser.parse_args()
    null = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bench.load.nullserver",
            "--ttft-ms",
            "5",
            "--gap-ms",
            "1",
            "--tokens",
            str(given.tokens),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert null.stdout is not None
        ready = json.loads(null.stdout.readline())
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "run"
            command = [
                sys.executable,
                "-m",
                "bench",
                "run",
                "--url",
                f"http://127.0.0.1:{ready['port']}/v1",
                "--model",
                "null",
                "--rate",
                str(given.rate),
                "--request-count",
                str(given.requests),
                "--isl",
                "20",
                "--osl",
                str(given.tokens),
                "--concurrency",
                "500",
                "--workers",
                "1",
                "--quiet",
                "--out",
                str(folder),
            ]
            looks = watch(subprocess.Popen(command))
            tell(Run(folder), looks, given.rate)
    finally:
        null.kill()
        null.wait()
    return 0


def tell(run: Run, looks: list[Look], rate: float) -> None:
    """Tenth by tenth; growth is from the end of the first tenth to the end of the last."""
    samples = run.columns.samples
    length_s = len(samples) / rate
    lag, seen = latency_ns(samples, "harness_lag"), []
    start = next(look.at_s for look in looks if look.descriptors > looks[0].descriptors + 5)
    print("part   resident MB   descriptors   harness lag p50 / p99 ms   not ok")
    for part in range(_PARTS):
        until = start + (part + 1) * length_s / _PARTS
        mine = [look for look in looks if until - length_s / _PARTS <= look.at_s < until]
        rows = slice(part * len(samples) // _PARTS, (part + 1) * len(samples) // _PARTS)
        p50, p99 = np.percentile(lag[rows], [50, 99]) / 1e6
        bad = int(np.count_nonzero(~run.columns.ok[rows]))
        seen.append(max(look.resident_mb for look in mine))
        print(
            f"{part + 1:>4}   {seen[-1]:>11.1f}   {max(look.descriptors for look in mine):>11}   "
            f"{p50:>12.3f} / {p99:.3f}        {bad:>6}"
        )
    tables = (run.columns.schedule.nbytes + samples.nbytes) / 1e6
    print(
        f"growth after the first tenth: {seen[-1] - seen[0]:.1f} MB; tables {tables:.0f} MB,"
        " allocated before the first request; peak with judging and reporting"
        f" {max(look.resident_mb for look in looks):.0f} MB"
    )
    print(f"health: {json.loads((run.folder / 'summary.json').read_bytes())['health']['state']}")


if __name__ == "__main__":
    sys.exit(main())
