"""A compiled plan as JSON, and back: for another process, another machine, and a later sitting.

In: a `Plan`; its table travels beside it, as the array that it is. Out: plain JSON. Must stay true:
nothing in it is executed; what was never set stays unset, for some keys exclude others; the form
for a file holds no literal that may be a secret, and says where it left one out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.plan.credentials import REDACTED, body_without_literals, header_without_literal
from bench.plan.drill import PlannedDrill
from bench.plan.schedule import Lane, Plan, Table
from bench.plan.suite import Suite
from bench.plan.target import Target
from bench.userfile import builtin_root

LANES = TypeAdapter(list[Lane])
_DRILLS = TypeAdapter(list[PlannedDrill])
#: What a file that came with tailproof is called, wherever it is installed.
_BUILT_IN = "built-in:"
#: Keys of a target that may hold a secret that is written out.
_MAY_HOLD = ("headers", "extra_body", "api_key_command")


def dump_lanes(lanes: Sequence[Lane]) -> list[dict[str, Any]]:
    """Lanes as plain JSON for `LANES` to read."""
    dumped: list[dict[str, Any]] = json.loads(
        LANES.dump_json(list(lanes), by_alias=True, exclude_unset=True)
    )
    return dumped


def dump_plan(plan: Plan) -> dict[str, Any]:
    """The plan without its table, literal secrets included: for the wire, never for a file."""
    return {
        "suite": {
            "name": plan.suite.name,
            "description": plan.suite.description,
            "lessons": [each.model_dump() for each in plan.suite.lessons],
        },
        "seed": plan.seed,
        "lanes": dump_lanes(plan.lanes),
        "drills": _DRILLS.dump_python(
            list(plan.drills),
            mode="json",
            by_alias=True,
            exclude_unset=True,
        ),
    }


def load_plan(found: dict[str, Any], table: Table) -> Plan:
    """The reverse of `dump_plan`, and of `plan_record`."""
    named = {"files": [], "months": []} | found["suite"]
    suite = Suite.model_validate(
        named
        | {
            "seed": found["seed"],
            "stages": [],
            "files": [_placed(name) for name in named["files"]],
            "months": [(month, _placed(name)) for month, name in named["months"]],
        }
    )
    return Plan(
        suite,
        found["seed"],
        tuple(LANES.validate_python(found["lanes"])),
        table,
        tuple(_DRILLS.validate_python(found["drills"])),
    )


# ---- in a file


def plan_record(plan: Plan) -> dict[str, Any]:
    """The plan without its table, as a run's folder keeps it."""
    suite = plan.suite
    lanes = [dataclasses.replace(lane, target=_redacted(lane.target)) for lane in plan.lanes]
    record = dump_plan(dataclasses.replace(plan, lanes=tuple(lanes)))
    record["suite"]["files"] = [_named(path) for path in suite.files]
    record["suite"]["months"] = [
        (month.model_dump(mode="json", by_alias=True, exclude_unset=True), _named(path))
        for month, path in suite.months
    ]
    for drill in record["drills"]:
        if drill["drill"].get("command"):
            drill["drill"]["command"] = [REDACTED]
    return record


def lacks_literals(plan: Plan) -> bool:
    """Whether the file that a plan was read from left something out."""
    return any(drill.drill.command == [REDACTED] for drill in plan.drills) or any(
        _lacking(target) for lane in plan.lanes for target in lane.target.endpoints
    )


def with_literals(plan: Plan, suite: Suite) -> Plan:
    """The plan with what its file left out, as the suite that it was compiled from has it."""
    stages = {stage.name: stage for stage in suite.stages}
    lanes = []
    for lane in plan.lanes:
        known = {target.name: target for target in stages[lane.stage].targets}
        lanes.append(
            dataclasses.replace(lane, target=_restored(lane.target, known[lane.target.name]))
        )
    commands = {
        (stage.name, drill.at, drill.title): drill.command
        for stage in suite.stages
        for drill in stage.drills
    }
    drills = []
    for planned in plan.drills:
        drill = planned.drill
        if drill.command == [REDACTED]:
            command = commands[planned.stage, drill.at, drill.title]
            drill = drill.model_copy(update={"command": command})
        drills.append(dataclasses.replace(planned, drill=drill))
    return dataclasses.replace(plan, lanes=tuple(lanes), drills=tuple(drills))


def _redacted(target: Target) -> Target:
    changed: dict[str, Any] = {}
    if target.headers:
        changed["headers"] = {
            name: header_without_literal(value) for name, value in target.headers.items()
        }
    if target.extra_body:
        changed["extra_body"] = body_without_literals(target.extra_body)
    if target.api_key_command:
        changed["api_key_command"] = (REDACTED,)
    if target.legs:
        changed["legs"] = tuple(_redacted(leg) for leg in target.legs)
    return target.model_copy(update=changed)


def _lacking(target: Target) -> bool:
    return any(REDACTED in json.dumps(getattr(target, name)) for name in _MAY_HOLD)


def _restored(target: Target, original: Target) -> Target:
    if target.legs:
        legs = {leg.name: leg for leg in original.legs}
        whole = tuple(_restored(leg, legs[leg.name]) for leg in target.legs)
        return target.model_copy(update={"legs": whole})
    missing = [name for name in _MAY_HOLD if REDACTED in json.dumps(getattr(target, name))]
    return target.model_copy(update={name: getattr(original, name) for name in missing})


def _named(path: Path) -> str:
    root = builtin_root().resolve()
    whole = path.resolve()
    if whole.is_relative_to(root):
        return f"{_BUILT_IN}{whole.relative_to(root)}"
    return str(path)


def _placed(name: str) -> Path:
    if name.startswith(_BUILT_IN):
        return builtin_root() / name.removeprefix(_BUILT_IN)
    return Path(name)
