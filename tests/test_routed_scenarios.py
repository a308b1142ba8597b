"""Scenarios with routes: what is built in can be decided, and a short one is played, judged and
shown as a user would.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.app.simulate import plan_virtual, simulate
from bench.judge.routing.routes import route_run
from bench.load.options import RunOptions
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from bench.record.run_folder import Run
from bench.units import MS, S

pytestmark = pytest.mark.figures

ROOT = Path(__file__).resolve().parents[1]
SCENARIO = """
description = "The near place refuses everything for a second and a half"
[[gateway.model]]
name = "*"
pool = ["near", "far"]
[[gateway.pool]]
name = "near"
region = "eu-1"
e2e = { fixed = "40ms" }
[[gateway.pool]]
name = "far"
region = "eu-2"
e2e = { fixed = "60ms" }
[truth]
says = "see the drill"
[[stage]]
name = "refusals"
targets = ["../near.toml", "../routed.toml"]
profile = "poisson"
rate = "60/s"
duration = "5s"
settle = "0s"
[[stage.expect_route]]
target = "routed"
detect_within = "1s"
switch_within = "1s"
fail_back_within = "2s"
lost_at_most = 0
[[stage.drill]]
at = "1500ms"
do = "cut"
name = "eu-1 refuses"
change = { fault = "http_503", region = "eu-1", for = "1500ms" }
[[stage.drill]]
at = "3s"
do = "heal"
"""
TARGET = """
description = "one place"
base_url = "embedded"
model = "deepseek-ai/DeepSeek-V4-Flash"
region = "{region}"
headers = {{ x-region = "{region}" }}
[prices]
input_usd_per_million = 0.25
output_usd_per_million = 0.25
as_of = 2026-11-23
source = "made"
"""
ROUTE = """
description = "near first"
[route]
legs = ["near.toml", "far.toml"]
breaker = { failures = 3, open_for = "300ms", probes = 2 }
"""


@pytest.mark.parametrize(
    ("name", "routed"),
    [
        (
            "three-tier-router",
            ["router-weighted", "router-published", "router-deadline", "router-hedge"],
        ),
        ("provider-outage", ["router-guarded"]),
        ("regional-failover", ["router-failover"]),
    ],
)
def test_each_scenario_has_its_routes_beside_their_first_leg(name: str, routed: list[str]) -> None:
    """Routes and the target that they begin with stand in one stage of at most 40 s, each route
    with prices and an expectation.
    """
    (stage,) = load_suite(name).stages
    lanes = {lane.name: lane for lane in compile_plan(load_suite(name), 1).lanes}
    assert [lane for lane in lanes if lanes[lane].target.route is not None] == routed
    assert all(lanes[route].target.legs[0].name in lanes for route in routed)
    assert max(lane.end_ns for lane in lanes.values()) <= 40 * S
    assert all(leg.prices is not None for route in routed for leg in lanes[route].target.legs)
    named = {each for expect in stage.expect_route for each in (expect.target, *expect.p99_above)}
    assert set(routed) <= named


def p99_interval(times: np.ndarray) -> tuple[float, float]:
    ranks = np.asarray(stats.binom.ppf([0.025, 0.975], len(times), 0.99)).astype(int)
    ordered = np.sort(times)
    return float(ordered[ranks[0] - 1]), float(ordered[ranks[1]])


def test_the_published_routers_tail_is_told_apart_at_this_many_rows() -> None:
    """The planted laws drawn 300 times at the lanes' own size: published above default above
    deadline above hedge in 97 % or more.
    """
    lanes = {lane.name: lane for lane in compile_plan(load_suite("three-tier-router"), 1).lanes}
    n, rng, apart = min(lane.requests for lane in lanes.values()), np.random.default_rng(1), 0
    scale = np.log(2) / stats.norm.ppf(0.99)
    for _ in range(300):
        body, other = (300 * rng.lognormal(0, scale, (4, n)) for _ in range(2))
        slow, failed = rng.random((4, n)) < 0.03, rng.random((4, n)) < 0.01
        first = np.where(slow, 4000 * rng.lognormal(0, 0.02, (4, n)), body)
        fallen = [
            other[0],
            first[0] + other[0],
            3000 + other[1],
            np.minimum(first[2], 1000 + other[2]),
        ]
        alone = first[3][~failed[3]]
        published = np.where(failed[0], fallen[0], np.where(first[0] > 3000, fallen[1], first[0]))
        deadline = np.where(failed[1], other[1], np.where(first[1] > 3000, fallen[2], first[1]))
        hedge = np.where(failed[2], other[2], np.where(first[2] > 1000, fallen[3], first[2]))
        found = [p99_interval(times) for times in (published, alone, deadline, hedge)]
        apart += all(above[0] > below[1] for above, below in itertools.pairwise(found))
    assert apart >= 291


def test_virtual_time_leaves_routes_out_and_says_so(tmp_path: Path) -> None:
    """The three models alone are played and judged, their expected answers met; the run's notes
    name the four routes.
    """
    done = simulate(
        plan_virtual(load_suite("three-tier-router"), 1),
        RunOptions(repeat_command="again", folder=tmp_path / "run"),
    )
    run = Run(done.folder)
    assert done.exit_code == 0
    assert [lane.name for lane in run.lanes] == ["default", "fallback", "premium"]
    (note,) = run.manifest.notes
    assert note.endswith(
        "computes no routes: router-weighted, router-published, router-deadline, router-hedge"
    )


@pytest.fixture(scope="module")
def played(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The short scenario, played once: (folder of the run, what the command said)."""
    place = tmp_path_factory.mktemp("routed")
    (place / "scenarios").mkdir()
    (place / "scenarios" / "refusals.toml").write_text(SCENARIO)
    (place / "near.toml").write_text(TARGET.format(region="eu-1"))
    (place / "far.toml").write_text(TARGET.format(region="eu-2"))
    (place / "routed.toml").write_text(ROUTE)
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench",
            "run",
            "scenarios/refusals.toml",
            "--out",
            "run",
            "--quiet",
        ],
        cwd=place,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return place / "run", ran


def test_what_was_rehearsed_joins_the_exit_code(
    played: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """All four answers met: exit 0 without a contract, and they stand in routes.json and
    verdicts.json alike.
    """
    folder, ran = played
    assert ran.returncode == 0, ran.stdout + ran.stderr
    routes, verdicts = (
        json.loads((folder / name).read_text()) for name in ("routes.json", "verdicts.json")
    )
    assert [(each["clause"], each["met"]) for each in routes["expects"]] == [
        ("time to detect", True),
        ("time to switch", True),
        ("time to fail back", True),
        ("requests lost", True),
    ]
    assert [each for each in verdicts["expects"] if each in routes["expects"]] == routes["expects"]
    assert "all 4 expected answers came" in ran.stdout


def test_the_record_is_what_the_rows_say(
    played: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Lost, calls and regions counted again from the tables: the target alone loses the window's
    rows, the route none.
    """
    folder, _ = played
    routes = json.loads((folder / "routes.json").read_text())
    schedule, samples, attempts = (
        np.load(folder / name) for name in ("schedule.npy", "samples/rows.npy", "attempts/rows.npy")
    )
    alone, routed = (
        {drill["target"]: drill for drill in routes["drills"]}[name] for name in ("near", "routed")
    )
    inside = (samples["due_ns"] >= alone["at_ns"]) & (samples["due_ns"] < alone["healed_ns"])
    assert (
        alone["lost"]
        == int((inside & (schedule["lane"] == 0) & (samples["status"] == 503)).sum())
        > 30
    )
    assert (alone["detect_ms"], routed["lost"]) == (None, 0)
    assert sum(routes["routes"]["routed"]["by_reason"].values()) == len(attempts)
    regions = json.loads((folder / "run.json").read_text())["strings"]["served_region"]
    by_region = routes["residency"]["routed"]["by_region"]
    answered = attempts[attempts["served_region"] >= 0]
    assert by_region == {
        region: int((answered["served_region"] == number).sum())
        for number, region in enumerate(regions)
    }
    assert set(by_region) == {"eu-1", "eu-2"}
    assert (
        routes["residency"]["routed"]["elsewhere"] == routes["residency"]["near"]["elsewhere"] == 0
    )
    assert set(routes["residency"]["near"]["by_region"]) == {"eu-1"}


def test_page_and_screen_tell_of_the_drill(
    played: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """The report has the three parts and the timeline's figure; the last screen the line of the
    routed lane.
    """
    folder, ran = played
    assert "What happened when things broke?" in (folder / "report.html").read_text()
    said = " ".join(ran.stdout.split())
    assert "eu-1 refuses, routed: noticed after" in said
    assert "0 of" in said.partition("eu-1 refuses, routed:")[2]
    assert "answers from allowed regions" in said


def test_an_answer_that_did_not_come_is_not_met(
    played: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """The same run held to a millisecond, and to a route that loses nothing where there is none:
    both not met.
    """
    run = Run(played[0])
    wanted: dict[str, Any] = {"target": "routed", "switch_within": "1ms"}
    first, second, *others = run.lanes
    run.lanes = [
        first.replace(expect_route_written=[{"target": "near", "lost_at_most": 0}]),
        second.replace(expect_route_written=[wanted]),
        *others,
    ]
    made = route_run(run)
    assert made is not None
    assert [(each.target, each.met) for each in made.expects] == [
        ("near", False),
        ("routed", False),
    ]
    drill = next(drill for drill in made.drills if drill.target == "routed")
    assert drill.switch_ms is not None
    assert drill.switch_ms * MS > MS
