"""Short ways to write profiles, stages and suites, and to compile them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.plan.contract import Contract
from bench.plan.profile import Profile
from bench.plan.schedule import Plan, Table, compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target

S = 1_000_000_000
STEADY: dict[str, Any] = {"arrivals": {"kind": "constant", "rate": "10/s"}, "duration": "10s"}


def profile(**keys: Any) -> Profile:
    return Profile.model_validate({"description": "made for a test", "name": "made", **keys})


def target(name: str = "t", **keys: Any) -> Target:
    fields = {
        "description": "made",
        "name": name,
        "base_url": "http://127.0.0.1:9/v1",
        "model": "m",
    }
    return Target.model_validate({**fields, **keys})


def stage(
    used: Profile,
    *targets: Target,
    name: str = "only",
    settle_ns: int = 0,
    contract: Contract | None = None,
) -> Stage:
    return Stage(
        name=name,
        targets=list(targets or [target()]),
        profile=used,
        contract=contract,
        scenario=None,
        settle_ns=settle_ns,
        expect=[],
    )


def suite(*stages: Stage) -> Suite:
    return Suite(name="made", description="made", seed=1, stages=list(stages), files=[])


def plan(seed: int = 1, **keys: Any) -> Plan:
    """One target under one profile."""
    return compile_plan(suite(stage(profile(**keys))), seed)


def rows(seed: int = 1, **keys: Any) -> Table:
    return plan(seed, **keys).schedule


def due_s(table: Table) -> npt.NDArray[np.float64]:
    seconds: npt.NDArray[np.float64] = table["due_ns"] / S
    return seconds


def lane_rows(compiled: Plan, lane: int) -> Table:
    chosen: Table = compiled.schedule[compiled.schedule["lane"] == lane]
    return chosen
