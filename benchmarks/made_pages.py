"""The runs whose pages are looked at: small ones with fixed seeds, sent to the simulated provider
or computed by the simulator.

In: a folder. Out: below it a run of one target, of two, of a suite, one that was interrupted, one
whose harness was stopped, a month, its claim, a ramp and a watch, each made once. Must stay true:
made by the commands that a user types.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BENCH = [sys.executable, "-m", "bench"]
_SLO = ["--slo", "ttft:p99<800ms", "--slo", "uptime>=99.9%", "--seed", "1", "--quiet"]
#: What is computed, by the name of its folder.
COMPUTED: dict[str, Sequence[str]] = {
    "two": ("simulate", "noisy-neighbour", "--requests", "12000", "--quiet", "--out"),
    "two-again": ("simulate", "noisy-neighbour", "--requests", "3000", "--quiet", "--out"),
    "suite": ("simulate", "field-guide", "--quiet", "--out"),
    "ramp": ("ramp", "vanity-average", "--simulated", "--max-probes", "4", "--quiet", "--out"),
    "month": (
        *("judge", "--census", "written-uptime", "--monthly-bill-usd", "12000"),
        *("--customer", "Example GmbH", "--report"),
    ),
}
_WATCHED = """
description = "A provider in trouble, watched"
[[stage]]
name = "watched"
targets = ["served.toml"]
profile = "steady"
contract = "enterprise"
"""
_SERVED = """
description = "the embedded gateway, over HTTP"
base_url = "{url}"
model = "m"
"""


def made(folder: Path) -> None:
    """Make what is not there yet; of what is there, the report anew."""
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with gateway() as url:
        sent = [
            _sent(folder / "single", url, "20", "15s"),
            _sent(folder / "interrupted", url, "10", "60s"),
            _sent(folder / "invalid", url, "10", "8s"),
            _watch(folder, url),
        ]
        time.sleep(6 if any(sent) else 0)
        _pulse(sent[2])
        _end(sent[1])
        for process in filter(None, sent):
            process.wait()
    for name, command in COMPUTED.items():
        if (folder / name).exists() and name not in ("ramp", "month"):
            _run(["report", folder / name])
        elif name == "month" or not (folder / name).exists():
            _run([*command, folder / name])
    for name in ("single", "interrupted", "invalid"):
        _run(["report", folder / name])
    if not (folder / "claim").exists():
        _run(["claim", folder / "month", "--out", folder / "claim"])
    print(f"runs made or reported anew in {time.monotonic() - begun:.0f} s: {folder}")


@contextmanager
def gateway() -> Iterator[str]:
    """The URL of the scenario noisy-neighbour on the simulated provider."""
    with serving("gateway") as address:
        yield f"{address}/noisy-neighbour/v1"


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """The address of a command that serves, while it does."""
    words = [*BENCH, *command, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = re.search(r"http://[\d.]+:\d+", process.stdout.readline())
            assert said, f"{command[0]} printed no address"
            yield said[0]
        finally:
            process.terminate()


def _sent(folder: Path, url: str, rate: str, duration: str) -> subprocess.Popen[bytes] | None:
    if folder.exists():
        return None
    load = ["--rate", rate, "--duration", duration]
    return started(["run", "--url", url, "--model", "m", *load, *_SLO, "--out", folder])


def _watch(folder: Path, url: str) -> subprocess.Popen[bytes] | None:
    if (folder / "watch").exists():
        return None
    (folder / "files").mkdir(exist_ok=True)
    (folder / "files" / "served.toml").write_text(_SERVED.format(url=url))
    (folder / "files" / "watched.toml").write_text(_WATCHED)
    suite = folder / "files" / "watched.toml"
    return started(["watch", suite, "--rate", "4/s", "--for", "12s", "--out", folder / "watch"])


def started(command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    """A command of tailproof, in a process group of its own, saying nothing."""
    silent = subprocess.DEVNULL
    return subprocess.Popen(
        [*BENCH, *map(str, command)], stdout=silent, stderr=silent, start_new_session=True
    )


def _run(command: Sequence[str | Path]) -> None:
    code = started(command).wait()
    if code not in (0, 1, 3, 4):  # the verdicts
        raise SystemExit(f"tailproof {' '.join(map(str, command))}: exit code {code}")


def _pulse(process: subprocess.Popen[bytes] | None) -> None:
    """Stop and continue a harness until it ends, so that it sends late and says so."""
    while process is not None and process.poll() is None:
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.4)


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """As by Ctrl-C."""
    if process is not None:
        os.killpg(process.pid, signal.SIGINT)
