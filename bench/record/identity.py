"""What a run is called, and what its manifest says of it before anything is sent.

In: a plan, a moment. Out: a name, lines of the manifest. Must stay true: equal content that began
at the same ns has the same name; no host name and no user is in it.
"""

from __future__ import annotations

import hashlib
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import __version__
from bench.clock import clock_facts, utc_text
from bench.machine import cores
from bench.plan.schedule import Plan
from bench.plan.suite import Suite
from bench.record.records.manifest import InputFile, Manifest, SuiteName, lane_record
from bench.userfile import file_digest

#: Characters of a suite's name in the name of its runs.
_SUITE_MOST = 60
#: The libraries that touch the numbers.
_LIBRARIES = (
    "httpx",
    "httpx2",
    "anyio",
    "uvloop",
    "httptools",
    "numpy",
    "hdrhistogram",
    "matplotlib",
)


def run_id(plan: Plan, started_wall_ns: int) -> str:
    """`2026-11-23T10-04-11Z-field-guide-3fa9`: time, suite, and what tells equal seconds apart."""
    return named(plan.suite.name, started_wall_ns, plan.schedule.tobytes())


def named(suite: str, started_wall_ns: int, content: bytes) -> str:
    """A run's id, which is a folder's name and part of a header."""
    suite = re.sub(r"[^A-Za-z0-9._-]+", "-", suite)[:_SUITE_MOST]
    digest = hashlib.sha256(content + str(started_wall_ns).encode()).hexdigest()[:4]
    return f"{utc_text(started_wall_ns).replace(':', '-')}-{suite}-{digest}"


def plan_facts(plan: Plan, name: str, started_wall_ns: int) -> Manifest:
    """The manifest of a run of this plan that begins here."""
    lanes = [lane_record(lane) for lane in plan.lanes]
    return Manifest.begun(name, lanes).replace(
        suite=SuiteName(name=plan.suite.name, description=plan.suite.description),
        seed=plan.seed,
        started_utc=utc_text(started_wall_ns),
        started_wall_ns=started_wall_ns,
        versions=library_versions(),
        machine=machine_facts(),
        clock=clock_facts(),
        inputs=inputs(plan.suite),
    )


def inputs(suite: Suite) -> list[InputFile]:
    """Name and SHA-256 of each file that a suite was read from."""
    return [
        InputFile(name="/".join(path.parts[-2:]), sha256=file_digest(path)) for path in suite.files
    ]


def machine_facts() -> dict[str, Any]:
    """What `compare` must find equal before two runs stand side by side."""
    model = platform.processor()
    try:
        text = Path("/proc/cpuinfo").read_text()
        if match := re.search(r"model name\s*:\s*(.+)", text):
            model = match[1]
    except OSError:
        pass
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "cpu": model,
        "cores": cores(),
        "python": platform.python_version(),
    }


def library_versions() -> dict[str, str]:
    """Versions of the libraries that touch the numbers."""
    found = {"tailproof": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
