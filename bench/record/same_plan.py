"""What two runs must share to be runs of one plan.

In: manifests. Out: a digest of what a run sends to whom under which contract; what differs first.
Must stay true: what a seed draws is no part of it, nor is where a gateway of our own listened; two
runs with one digest differ in nothing that a clause could feel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.plan.target import EMBEDDED
from bench.record.digests import sha256
from bench.record.files import json_bytes
from bench.record.records.manifest import LaneRecord
from bench.record.records.record import Json

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
    if scenario is not None and url.endswith(f"/{Path(scenario).stem}/v1"):
        return EMBEDDED
    return url
