"""What a run is called, what its manifest says before anything is sent, and what runs of one plan
share.

In: a plan, a moment; manifests. Out: a name, lines of the manifest; a digest of what a run sends to
whom under which contract, what differs first. Must stay true: equal content that began at the same
ns has the same name; no host name and no user is in it; what a seed draws is no part of the digest,
nor is where a gateway of our own listened.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import __version__
from bench.clock import clock_facts, utc_text
from bench.machine import cores
from bench.plan.schedule import Plan
from bench.plan.suite import Suite
from bench.plan.target import EMBEDDED, gateway_path
from bench.record.digests import sha256
from bench.record.files import json_bytes
from bench.record.records.manifest import InputFile, LaneRecord, Manifest, lane_record
from bench.record.records.record import Json
from bench.record.records.rehearsed import LessonRecord, SuiteName
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
        suite=suite_name(plan.suite),
        seed=plan.seed,
        started_utc=utc_text(started_wall_ns),
        started_wall_ns=started_wall_ns,
        versions=library_versions(),
        machine=machine_facts(),
        clock=clock_facts(),
        inputs=inputs(plan.suite),
    )


def suite_name(suite: Suite) -> SuiteName:
    """The suite as a manifest names it."""
    lessons = [
        LessonRecord(stage=each.stage, lesson=each.lesson, planted=each.planted)
        for each in suite.lessons
    ]
    return SuiteName(name=suite.name, description=suite.description, lessons=lessons)


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
    installed = {name: _installed(name) for name in _LIBRARIES}
    return {"tailproof": __version__, **{name: found for name, found in installed.items() if found}}


@functools.cache
def _installed(name: str) -> str | None:
    """Read once: a process that watches or looks for a rate plays many runs."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


#: Keys of a lane that the plan sets and the seed does not.
_KEYS = (
    *("name", "target", "tier", "region", "api", "model", "base_url", "transport", "stage"),
    *("scenario", "simulated", "profile", "timeout_ns", "max_in_flight", "closed_loop"),
    *("route", "legs", "contract"),
)


def plan_digest(lanes: Sequence[LaneRecord]) -> str:
    """The same for every run of one plan, whatever its seed."""
    return sha256(json_bytes([_of(lane) for lane in lanes]))


def first_difference(
    mine: Sequence[LaneRecord], other: Sequence[LaneRecord], *, contracts: bool = True
) -> str | None:
    """Where two runs' plans part, in words; None where they do not. `contracts`: by theirs too."""
    names = [[lane.name for lane in lanes] for lanes in (mine, other)]
    if names[0] != names[1]:
        return f"targets {', '.join(names[0])} and {', '.join(names[1])}"
    for one, two in zip(mine, other, strict=True):
        kept, found = _of(one), _of(two)
        for key in kept:
            if kept[key] != found[key] and (contracts or key != "contract"):
                return f"{one.name}: {_where(key, kept[key], found[key])}"
    return None


def _where(key: str, mine: Any, other: Any) -> str:
    """`profile.arrivals.rate 5/s and 10/s`."""
    if isinstance(mine, dict) and isinstance(other, dict):
        for step in dict.fromkeys([*mine, *other]):
            if mine.get(step) != other.get(step):
                return _where(f"{key}.{step}", mine.get(step), other.get(step))
    if isinstance(mine, (dict, list)) or isinstance(other, (dict, list)):
        return key
    return f"{key} {mine} and {other}"


def _of(lane: LaneRecord) -> Json:
    written = lane.to_json()
    kept = {key: written.get(key) for key in _KEYS}
    kept["base_url"] = [_place(url, lane.scenario) for url in lane.base_url.split(", ")]
    kept["legs"] = [
        {**leg, "base_url": _place(leg.get("base_url", ""), lane.scenario), "prices": None}
        for leg in written.get("legs", [])
    ]
    return kept


def _place(url: str, scenario: str | None) -> str:
    """A gateway of our own listens elsewhere each time."""
    if scenario is not None and url.endswith(gateway_path(scenario)):
        return EMBEDDED
    return url
