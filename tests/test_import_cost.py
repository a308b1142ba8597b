"""What `tailproof --help` costs: by what it imports, and by the CPU time of a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import unmeasured

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "numpy",
    "httpx",
    "pydantic",
    "rich",
    "matplotlib",
    "anyio",
    "jinja2",
    "scipy",
    "hdrh",
    "uvloop",
    "asyncio",
    "ssl",
}
#: Prints the top names of all modules that are loaded once the command line has answered.
PROGRAM = """
import contextlib, io, json, sys
from bench.cli import main
with contextlib.redirect_stdout(io.StringIO()) as said:
    code = main(sys.argv[1:])
modules = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps({"code": code, "text": said.getvalue(), "modules": modules}))
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["run", "--help"], ["judge", "--help"], ["profiles", "--help"]],
)
def test_help_imports_click_and_nothing_heavier(arguments: list[str]) -> None:
    """A question about the command line loads no numerics, no network, no models and no drawing."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    assert found["code"] == 0
    assert "tailproof" in found["text"] or "Usage" in found["text"]
    assert set(found["modules"]) & HEAVY == set()


def cpu_s(*arguments: str) -> float:
    """User and system time of a fresh interpreter with these arguments, which ends well."""
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, env=unmeasured()
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_help_takes_less_than_three_times_the_cpu_of_importing_click() -> None:
    """A fifth of a second where click's import takes 65 ms, on a slower machine as much more.

    Each is the best of up to ten in turn, for a busy machine's caches are cold.
    """
    if not hasattr(os, "wait4"):
        pytest.skip("no wait4 here")
    ours: list[float] = []
    clicks: list[float] = []
    while len(ours) < 10 and (not ours or min(ours) >= 3 * min(clicks)):
        clicks.append(cpu_s("-c", "import click"))
        ours.append(cpu_s("-m", "bench", "--help"))
    assert min(ours) < 3 * min(clicks)
