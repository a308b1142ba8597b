"""What is planted is found: every built-in scenario in virtual time, over 5 seeds, by exact
intervals.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bench.app.simulate import lengthened, play_virtual, playable
from bench.gateway.scenarios import Scenario, TruthLine, load_scenario
from bench.judge.stats.tail import quantile_ci_ranks
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import load_suite
from bench.record.samples import Columns, Table, latency_ns
from bench.units import MS, S

SEEDS, ENOUGH, ERROR = range(1, 6), 4, 0.05
#: Those with truth in numbers; the long tail by a fifth of its rows a seed, in whole cycles.
ROWS = {
    "vanity-average": None,
    "noisy-neighbour": None,
    "provider-outage": None,
    "free-tier-limit": None,
    "premium-placebo": None,
    "long-tail": 20_000,
    "regional-failover": None,
    "three-tier-router": None,
}
WANTED = {"p50": Fraction(1, 2), "p90": Fraction(9, 10), "p99": Fraction(99, 100)}


def rows_of(line: TruthLine, scenario: Scenario, plan: Plan, samples: Table) -> Table:
    """The answers that a line speaks of: its model's, its region's, in its window."""
    columns = Columns(plan.schedule, samples)
    lanes = [
        lane.index
        for lane in plan.lanes
        if (entry := scenario.gateway.match(lane.target.model)) is not None
        and entry.name == line.model
        and line.region in (None, lane.target.headers.get("x-region"))
    ]
    keep = np.isin(plan.schedule["lane"], lanes) & columns.ok
    if line.window_s is not None:
        since_s = (samples["due_ns"] - samples["due_ns"].min()) / S
        keep &= (since_s >= line.window_s[0]) & (since_s < line.window_s[1])
    return samples[keep]


@pytest.mark.slow("five seeds of a whole scenario in virtual time")
@pytest.mark.parametrize("name", ROWS)
def test_planted_quantiles_are_recovered(name: str) -> None:
    """p50, p90, p99 of TTFT and e2e lie in their order-statistic intervals, all at once at 95 %,
    for 4 of 5 seeds.
    """
    scenario, rows, found = load_scenario(name), ROWS[name], 0
    lines = scenario.truth.line
    wanted = sum(
        key in WANTED for line in lines for told in (line.e2e_ms, line.ttft_ms) for key in told
    )
    assert wanted >= 6
    for seed in SEEDS:
        suite = playable(load_suite(name))[0]
        suite = suite if rows is None else lengthened(compile_plan(suite, seed), rows)[0]
        plan = compile_plan(suite, seed)
        answers, _ = play_virtual(
            plan, {lane.scenario: scenario for lane in plan.lanes if lane.scenario}, {}
        )
        within = True
        for line in lines:
            chosen = rows_of(line, scenario, plan, answers.samples)
            for metric, told in (("e2e", line.e2e_ms), ("ttft", line.ttft_ms)):
                seen_ms = np.sort(latency_ns(chosen, metric)) / MS
                for key in WANTED.keys() & told.keys():
                    ranks = quantile_ci_ranks(len(seen_ms), WANTED[key], ERROR / 2 / wanted)
                    bounded = np.concatenate([[0.0], seen_ms, [np.inf]])
                    # planted figures are rounded to a tenth of a ms
                    within &= bool(
                        bounded[ranks.lower] - 0.05 <= told[key] <= bounded[ranks.upper] + 0.05
                    )
        found += within
    assert found >= ENOUGH
