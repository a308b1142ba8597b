"""What this machine was found able to measure, and how much of that a plan asks for.

In: the record of `tailproof calibrate`, a plan. Out: the default number of workers, and the
plan's share of the ceiling for the manifest. Must stay true: a calibration counts only for the
machine it was taken on; one that cannot be read ends no run, and a note says so; a plan's load
is its busiest second, not its mean.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from bench.errors import RunFolderError
from bench.machine import cache_folder, load_per_core
from bench.machine import cores as allowed_cores
from bench.plan.schedule import Plan
from bench.record.files import unwritable, write_json
from bench.record.identity import machine_facts
from bench.record.records.calibration import Calibration, CeilingShare
from bench.record.records.record import parse_record, read_json
from bench.units import S, show_share

#: Token events and requests a second that one worker measures without visible error where nobody
#: calibrated.
ASSUMED_EVENTS_PER_S, ASSUMED_RPS = 30_000, 2_000
#: A worker is planned to be loaded to this share of its ceiling.
COMFORTABLE_SHARE = 0.6
#: So much more load a core, and a calibration's figures are out of date.
_BUSIER = 0.5


def store_path() -> Path | None:
    """Where the calibration of this user's machine is kept; None for a user without a home."""
    caches = cache_folder()
    return None if caches is None else caches / "tailproof" / Calibration.FILE


def store(record: Calibration) -> Path:
    """Keep a calibration for later runs; returns its path. Raises RunFolderError."""
    path = store_path()
    if path is None:
        raise RunFolderError(
            "this user has no home folder", where="calibration", remedy="set XDG_CACHE_HOME"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path.parent, error) from None
    write_json(path, record.to_json())
    return path


def stored() -> Calibration | None:
    """The calibration of this machine as it is now, or None: another CPU or Python is another
    machine, and a file that cannot be read is no calibration.
    """
    try:
        record = _read()
    except RunFolderError:
        return None
    if record is not None and record.machine == machine_facts():
        return record
    return None


def unreadable() -> str | None:
    """Why the calibration that is kept counts for nothing, or for less; None where it can be read
    and the machine is about as busy as it was, or there is none.
    """
    try:
        _read()
    except RunFolderError as error:
        return f"no calibration counts: {error}; or run tailproof calibrate again"
    known, load = stored(), load_per_core()
    if known is None or known.load_per_core is None or load is None:
        return None
    if load - known.load_per_core < _BUSIER:
        return None
    return (
        f"the machine is busier (load {load:g} a core) than when it was calibrated"
        f" ({known.load_per_core:g}, {known.measured_utc}): its ceiling counts as"
        f" {show_share(_left(known), 0)} of what was found; end other programs, or run tailproof"
        " calibrate again"
    )


def _read() -> Calibration | None:
    """What is kept, if anything. Raises RunFolderError for a newer format and for a broken file."""
    path = store_path()
    try:
        if path is None or not path.exists():
            return None
    except OSError:  # a home that this user may not look into
        return None
    found = read_json(path)
    return parse_record(Calibration, found, path, found.get("tailproof") or None)


def peak_events_per_s(plan: Plan) -> float:
    """Token events planned for the busiest second, as if every answer came in the second it was
    due.
    """
    due = plan.schedule["due_ns"]
    known = due >= 0
    if not known.any():
        return 0.0
    return float(np.bincount(due[known] // S, weights=plan.schedule["output_tokens"][known]).max())


def peak_requests_per_s(plan: Plan) -> float:
    """Requests planned for the busiest second."""
    due = plan.schedule["due_ns"]
    if (due >= 0).any():
        return float(np.bincount(due[due >= 0] // S).max())
    return 0.0


def _load(plan: Plan, known: Calibration | None) -> float:
    """The busiest second in workers' ceilings: by token events or by requests, whichever asks for
    more.
    """
    events = known.ceiling_events_per_s * _left(known) if known else 0
    requests = known.ceiling_rps * _left(known) if known else 0
    events, requests = events or ASSUMED_EVENTS_PER_S, requests or ASSUMED_RPS
    return max(peak_events_per_s(plan) / events, peak_requests_per_s(plan) / requests)


def _left(known: Calibration) -> float:
    """What is left of a calibration's ceiling now that other programs want the cores: where two
    want each, half of what a core to itself gave.
    """
    load = load_per_core()
    if load is None or known.load_per_core is None:
        return 1.0
    return min(1.0, max(1.0, float(known.load_per_core)) / max(1.0, load))


def needed_workers(plan: Plan) -> int:
    """As many as the busiest second needs at a comfortable load, however many cores there are."""
    return math.ceil(_load(plan, stored()) / COMFORTABLE_SHARE)


def default_workers(plan: Plan, cores: int | None = None, shards: int = 1) -> int:
    """As many as the busiest second needs at a comfortable load, one core left free for the rest.

    Of a plan that is one of so many `shards`: no more than its part of each cap allows.
    """
    free = (cores if cores is not None else allowed_cores()) - 1
    needed = needed_workers(plan)
    caps = [
        cap // shards
        for lane in plan.lanes
        if (cap := lane.profile.arrivals.concurrency or lane.profile.max_in_flight)
    ]
    return max(1, min(needed, free, *caps))


def share_of_ceiling(plan: Plan, workers: int) -> CeilingShare | None:
    """The plan's busiest second against the calibrated ceiling of `workers`; None without one."""
    known = stored()
    if known is None or not known.ceiling_events_per_s:
        return None
    return CeilingShare(
        measured_utc=known.measured_utc,
        ceiling_events_per_s=round(known.ceiling_events_per_s * _left(known)),
        ceiling_rps=round(known.ceiling_rps * _left(known)),
        peak_events_per_s=round(peak_events_per_s(plan)),
        peak_rps=round(peak_requests_per_s(plan)),
        share=round(_load(plan, known) / workers, 4),
    )
