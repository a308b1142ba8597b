"""What the live screen costs the load generator: CPU of drawing alone, then the same run in a
window and with --quiet in turns.

In: a rate, seconds a run, turns. Out: the drawing's share of a core by lanes; CPU of the process
that sends, as a share of one core while it sends, and its lateness, run by run; the medians'
difference, which on a shared machine is smaller than their spread. The server is tailproof's null
server.

    python benchmarks/screen.py --rate 500 --seconds 15 --turns 3
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import termios
import threading
from pathlib import Path

import numpy as np

from bench.cli.screen import DRAW_EVERY_NS, make_screen
from bench.clock import cpu_ns
from bench.load.player import Counters
from bench.plan.profile import load_profile
from bench.plan.schedule import compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.record.histogram import Histogram
from bench.record.samples import Outcome

BENCH = [sys.executable, "-m", "bench"]


def drawing(lanes: int, draws: int = 200) -> float:
    """Share of a core that the screen takes for so many lanes, each with 100,000 answers and some
    failures.
    """
    stage = Stage(
        name="s",
        targets=[
            Target(description="d", name=f"t{n}", base_url="http://127.0.0.1:1/v1", model="m")
            for n in range(lanes)
        ],
        profile=load_profile("chat"),
        contract=None,
        scenario=None,
        settle_ns=0,
        expect=[],
    )
    suite = Suite(name="s", description="d", seed=1, stages=[stage], files=[])
    taken = Histogram()
    taken.record_many_ns(np.random.default_rng(1).lognormal(19, 0.5, 100_000).astype(np.int64))
    ended = [
        100_000 * (outcome == Outcome.ok) + 40 * (outcome == Outcome.rate_limited)
        for outcome in Outcome
    ]
    at = Counters(
        [100_100] * lanes,
        [0] * lanes,
        [60] * lanes,
        [ended] * lanes,
        [9] * lanes,
        [9] * lanes,
        [0] * lanes,
        [taken] * lanes,
        [taken] * lanes,
        taken,
        [(1, "drill cut: begun")],
    )
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        os.environ |= {
            "TTY_COMPATIBLE": "1",
            "TTY_INTERACTIVE": "1",
            "COLUMNS": "100",
            "LINES": "30",
        }
        screen = make_screen(quiet=False)
        screen.open(compile_plan(suite))
        began_ns = cpu_ns()
        for draw in range(draws):
            screen.tick(draw * DRAW_EVERY_NS, lambda: at)
        taken_ns = cpu_ns() - began_ns
        screen.close()
    return taken_ns / (draws * DRAW_EVERY_NS)


def drained(master: int) -> None:
    """Read what a terminal would show, and forget it."""
    with contextlib.suppress(OSError):
        while os.read(master, 1 << 16):
            pass


def measured(url: str, rate: int, seconds: int, *, quiet: bool) -> tuple[float, float]:
    """(share of a core, p99 of the harness's own lag in ms) of one run."""
    master, window = pty.openpty()
    termios.tcsetwinsize(window, (30, 100))
    reader = threading.Thread(target=drained, args=(master,))
    reader.start()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [
            *BENCH,
            "run",
            "--url",
            url,
            "--model",
            "m",
            "--rate",
            str(rate),
            "--duration",
            f"{seconds}s",
            "--isl",
            "20",
            "--osl",
            "16",
            "--workers",
            "1",
            "--out",
            str(out),
            *["--quiet"] * quiet,
        ]
        subprocess.run(command, stdin=window, stdout=window, stderr=window, check=False)
        os.close(window)
        reader.join()
        os.close(master)
        (worker,) = json.loads((out / "run.json").read_text())["harness"]["by_worker"]
        summary = json.loads((out / "summary.json").read_text())
    return worker["cpu_share"], summary["targets"]["target"]["harness_lag_ms"]["p99"]


def main() -> None:
    """Print every run and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    for lanes in (1, 2, 8):
        print(f"drawing {lanes} lanes takes {drawing(lanes):.2%} of a core")
    server = subprocess.Popen(
        [*BENCH[:2], "bench.load.nullserver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    url = f"http://127.0.0.1:{json.loads(server.stdout.readline())['port']}/v1"
    shares: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(given.turns):
        for quiet in (True, False):
            share, lag_ms = measured(url, given.rate, given.seconds, quiet=quiet)
            shares[quiet].append(share)
            print(
                f"{'quiet' if quiet else 'screen':8}CPU {share:.4f} of a core   harness lag p99"
                f" {lag_ms:.2f} ms",
                flush=True,
            )
    server.communicate()
    quiet_share, screen_share = statistics.median(shares[True]), statistics.median(shares[False])
    print(
        f"the screen costs {screen_share - quiet_share:+.4f} of a core,"
        f" {screen_share / quiet_share - 1:+.1%} of the generator's CPU"
    )


if __name__ == "__main__":
    main()
