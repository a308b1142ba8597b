"""Was the harness fit to judge this run?

In: a run, optionally another contract to hold it against. Out: its health. Must stay true: the
budget for our own lateness is that of the tightest limit that anything is held against; rows
that were played in virtual time say nothing of us.
"""

from __future__ import annotations

import numpy as np

from bench.judge.reached import came_to
from bench.load.health import Health, examine
from bench.plan.contract import Contract
from bench.record.run_folder import Run


def fitness(run: Run, override: Contract | None = None) -> Health:
    """Health of the whole run, for all its lanes at once."""
    contracts = [override] if override else [Contract.model_validate(lane["contract"]) for lane in run.lanes
                                             if lane["contract"] and not lane.get("simulated")]  # fmt: skip
    limits = [contract.tightest_limit_ns for contract in contracts if contract.tightest_limit_ns is not None]
    state = "interrupted" if run.manifest.get("ended_early") else run.state
    harness = {**run.manifest.get("harness", {}), "state": state}
    rows = came_to(run)
    if virtual := [index for index, lane in enumerate(run.lanes) if lane.get("simulated")]:
        rows = rows.where(~np.isin(rows.schedule["lane"], virtual))
    return examine(rows, harness, min(limits, default=None))
