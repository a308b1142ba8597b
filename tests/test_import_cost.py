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


def test_help_takes_less_than_a_fifth_of_a_second_of_cpu() -> None:
    """User and system time of the whole process, interpreter included; the best of up to ten, for a
    busy machine's caches are cold.
    """
    if not hasattr(os, "wait4"):
        pytest.skip("no wait4 here")
    spent: list[float] = []
    while len(spent) < 10 and min(spent, default=1) >= 0.2:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", "--help"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            env=unmeasured(),
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        spent.append(usage.ru_utime + usage.ru_stime)
    assert min(spent) < 0.2
