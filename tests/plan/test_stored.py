"""A plan as JSON: the same plan comes back, and no literal that may be a secret is in a file."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from bench.plan.drill import Drill, PlannedDrill
from bench.plan.schedule import Plan, compile_plan
from bench.plan.stored import dump_plan, lacks_literals, load_plan, plan_record, with_literals
from bench.plan.suite import Stage, Suite, load_suite
from bench.userfile import builtin_names
from tests.support.world import plan_for

PLAYED = [
    name
    for kind in ("suites", "scenarios")
    for name in builtin_names(kind)
    if load_suite(name).stages
]


def there_and_back(record: dict[str, Any], plan: Plan) -> Plan:
    return load_plan(json.loads(json.dumps(record)), plan.schedule)


@pytest.mark.parametrize("name", PLAYED)
def test_a_plan_is_the_same_after_its_way_through_a_file(name: str) -> None:
    """Lanes, drills, the suite's files and months; what was left out comes from the suite."""
    suite = load_suite(name)
    plan = compile_plan(suite, 7)
    kept = there_and_back(plan_record(plan), plan)
    if lacks_literals(kept):
        kept = with_literals(kept, suite)
    for one in (there_and_back(dump_plan(plan), plan), kept):
        assert (one.lanes, one.drills, one.seed) == (plan.lanes, plan.drills, 7)
        assert [lane.record() for lane in one.lanes] == [lane.record() for lane in plan.lanes]
    assert [path.resolve() for path in kept.suite.files] == [path.resolve() for path in suite.files]
    assert [month for month, _ in kept.suite.months] == [month for month, _ in suite.months]


def test_a_file_holds_no_literal_that_may_be_a_secret() -> None:
    """Of headers, the body's telling keys, the key's command and a drill's command only `${ENV}`
    stays; the rest is told to be missing, and comes back from the suite.
    """
    target = {
        "headers": {"X-Team": "literal-1", "X-Proof": "Bearer ${KEY}"},
        "extra_body": {"session_token": "literal-2", "temperature": 0},
        "api_key_command": ["pass", "literal-3"],
    }
    plan = plan_for({"kind": "constant", "rate": "10/s"}, target, requests=3)
    drill = Drill.model_validate({"at": "1s", "do": "cut", "command": ["stop", "literal-4"]})
    plan = dataclasses.replace(plan, drills=(PlannedDrill(10**9, "s", drill),))
    (lane,) = plan.lanes
    text = json.dumps(plan_record(plan))
    assert "literal" not in text
    assert "Bearer ${KEY}" in text
    kept = there_and_back(plan_record(plan), plan)
    assert lacks_literals(kept)
    assert not lacks_literals(plan)
    stage = Stage(
        name=lane.stage,
        targets=[lane.target],
        profile=lane.profile,
        contract=None,
        scenario=None,
        settle_ns=0,
        expect=[],
        drills=[drill],
    )
    suite = Suite(name="s", description="d", seed=1, stages=[stage], files=[])
    kept = dataclasses.replace(
        kept, drills=(dataclasses.replace(kept.drills[0], stage=stage.name),)
    )
    whole = with_literals(kept, suite)
    assert whole.lanes == plan.lanes
    assert whole.drills[0].drill == drill
