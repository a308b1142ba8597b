"""`kill -9` at random moments of a run: is all that ended more than a second before still there?

In: a seed and how many kills. Out: a line a kill that went wrong, and how many were recovered. Must
stay true: what was answered is known from the server's own log, not from the run; the moments cover
the run from its first import to its last file; every process of the run is killed.

    python -m benchmarks.kills --kills 200
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.cli import main as tailproof
from bench.clock import monotonic_ns, sleep_s
from bench.errors import RunFolderError
from bench.record.run_folder import Run, under_way
from bench.record.samples import Outcome
from bench.units import S
from tests.support.provider import Provider

RATE, LENGTH_S = 60, 2
#: What ended longer before the kill than this must be on disk.
LOSS_NS = 1 * S
#: Every so many kills the run is resumed, and its requests counted.
RESUMED = 4


def start(provider: Provider, folder: Path, workers: int) -> subprocess.Popen[bytes]:
    """A run against the provider."""
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "--url",
        f"http://127.0.0.1:{provider.server_port}/v1",
        "--model",
        "m",
        "--rate",
        str(RATE),
        "--duration",
        f"{LENGTH_S}s",
        "--isl",
        "20",
        "--osl",
        "3",
        "--slo",
        "e2e:p90<500ms",
        "--workers",
        str(workers),
        "--out",
        str(folder),
        "--quiet",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def tree_of(pid: int) -> list[int]:
    """A process and all its descendants, parents first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


def kill(process: subprocess.Popen[Any], folder: Path) -> int:
    """SIGKILL to every process of a run; the moment (monotonic ns) at which the first died."""
    tree = tree_of(process.pid)
    moment = monotonic_ns()
    for pid in tree:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    while folder.is_dir() and under_way(folder):
        sleep_s(0.01)  # the system is still taking its workers down
    return moment


def said(*words: str) -> tuple[int, str]:
    """(exit code, output) of a command of ours, in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        return tailproof(list(words)), out.getvalue()


def faults(folder: Path, provider: Provider, killed_ns: int) -> list[str]:
    """What is wrong with what a killed run left."""
    try:
        run = Run(folder)
    except RunFolderError as error:
        return [f"{error}, and {len(provider.asked)} requests were sent"] if provider.asked else []
    ok = {*np.flatnonzero(run.columns.samples["outcome"] == Outcome.ok).tolist()}
    found = [
        f"row {row} was answered {(killed_ns - moment) / S:.2f} s before the kill and is lost"
        for row, moment in provider.answered.items()
        if moment < killed_ns - LOSS_NS and row not in ok
    ]
    found += [f"row {row} was answered by nobody" for row in ok - set(provider.answered)]
    code, output = said("report", str(folder))
    if code:
        return [*found, f"report: {output}"]
    code, output = said("judge", str(folder))
    found += (
        [f"judge: exit {code}, {output}"]
        if (code == 130) != (run.state != "complete") or code in (2, 70)
        else []
    )
    code, output = said("verify", str(folder))
    found += [f"verify: {output}"] if code and "killed as it sealed it" not in output else []
    summary = json.loads((folder / "summary.json").read_text())
    target = summary["targets"]["target"]
    found += (
        ["rows without an outcome"]
        if sum(target["outcomes"].values()) != target["requests"]
        else []
    )
    told = summary["health"]["facts"].get("gaps")
    found += ["the gap is not told"] if target["reached"] < target["requests"] and not told else []
    return found


def faults_of_resuming(folder: Path, provider: Provider) -> list[str]:
    """What is wrong with the second sitting of a killed run."""
    code, output = said("resume", str(folder), "--quiet")
    if code in (2, 5, 70):
        fine = (
            "has come to its end" in output
            or "no request left" in output
            or "is not a run's folder" in output
        )
        return [] if fine else [f"resume: {output}"]
    run = Run(folder)
    found = [
        f"row {row} was sent {len(moments)} times"
        for row, moments in provider.asked.items()
        if len(moments) > 1
    ]
    found += [f"a resumed run is {run.state}"] if run.state != "complete" else []
    unknown = np.isin(
        run.columns.samples["outcome"], (Outcome.censored, Outcome.ok), invert=True
    ).sum()
    return found + (
        [f"{unknown} rows of a resumed run are neither answered nor cut off"] if unknown else []
    )


def main() -> int:
    """Kill, look, count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first kill, to do them in parts"
    )
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    recovered = resumed = 0
    with tempfile.TemporaryDirectory() as place:
        began = monotonic_ns()
        start(Provider(), Path(place, "whole"), 1).wait()
        whole_s = (monotonic_ns() - began) / S
        for number in range(wanted.first, wanted.first + wanted.kills):
            draw = random.Random(f"{wanted.seed}-{number}")
            provider, folder = Provider(), Path(place, str(number))
            process = start(provider, folder, 1 + number % 2)
            moment_s = draw.random() * whole_s
            sleep_s(moment_s)
            wrong = faults(folder, provider, kill(process, folder))
            if number % RESUMED == 0 and not wrong:
                resumed += 1
                wrong = faults_of_resuming(folder, provider)
            recovered += not wrong
            for line in wrong:
                print(f"kill {number} at {moment_s:.2f} s: {line}", flush=True)
            provider.shutdown()
            provider.server_close()
    print(
        f"recovered {recovered}/{wanted.kills} (a whole run takes {whole_s:.1f} s; {resumed} were"
        " resumed)"
    )
    return int(recovered != wanted.kills)


if __name__ == "__main__":
    sys.exit(main())
