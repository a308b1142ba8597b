"""Was the harness fit to judge this run?

In: a run, optionally another contract to hold it against. Out: its health. Must stay true: the
budget for our own lateness is that of the tightest limit that anything is held against; rows
that were played in virtual time say nothing of us.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.judge.reached import came_to
from bench.load.health import Health, examine
from bench.plan.contract import Contract
from bench.record.run_folder import Run
from bench.units import show_duration


def _gaps_told(run: Run) -> Iterator[str]:
    """A sentence for each stretch that was planned and is on no record."""
    planned, came, breaks = len(run.columns), len(came_to(run)), len(run.manifest.get("sittings", [])[1:])
    for start, end in run.gaps_ns[:breaks]:
        yield (f"broken off after {show_duration(start)} and resumed {show_duration(end - start)} later: between the "
               f"two sittings nothing was sent and nothing seen")  # fmt: skip
    for start, end in run.gaps_ns[breaks:]:
        yield (f"the record ends {show_duration(start)} into a run of {show_duration(end)}: "
               f"{planned - came:,} of {planned:,} requests were never reached")  # fmt: skip


def fitness(run: Run, override: Contract | None = None) -> Health:
    """Health of the whole run, for all its lanes at once."""
    contracts = [override] if override else [Contract.model_validate(lane["contract"]) for lane in run.lanes
                                             if lane["contract"] and not lane.get("simulated")]  # fmt: skip
    limits = [contract.tightest_limit_ns for contract in contracts if contract.tightest_limit_ns is not None]
    state = "interrupted" if run.manifest.get("ended_early") else run.state
    harness = {**run.manifest.get("harness", {}), "state": state}
    if shard := run.manifest.get("shard"):
        harness["shard"] = f"shard {shard['number']} of {shard['of']}: tailproof merge judges them together"
    if run.gaps_ns:
        harness["gaps"] = list(_gaps_told(run))
    rows = came_to(run)
    if virtual := [index for index, lane in enumerate(run.lanes) if lane.get("simulated")]:
        rows = rows.where(~np.isin(rows.schedule["lane"], virtual))
    return examine(rows, harness, min(limits, default=None))
