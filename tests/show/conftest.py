"""Fixtures of the runs that are shown; the law behind their rows stands in made_runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.record.records.summary import Summary
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import Table
from tests.support.made_runs import (
    Made,
    MakeRun,
    lane_of,
    manifest_of,
    samples_of,
    schedule_of,
    spoil_nothing,
    spoil_some,
    target_of,
    verdicts_of,
)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A maker of runs: `rows` a lane over `seconds`, `spoil` edits the samples before they are
    sealed.
    """

    def make(
        names: list[str] | None = None,
        rows: int = 1200,
        seconds: float = 30,
        seed: int = 7,
        *,
        spoil: Callable[[Table, Table], None] = spoil_nothing,
        notes: list[str] | None = None,
        state: Any = "complete",
        models: list[str] | None = None,
    ) -> Made:
        names = ["standard", "pro"] if names is None else names
        schedule = schedule_of(rows, seconds, len(names))
        samples = samples_of(schedule, seed)
        spoil(schedule, samples)
        lanes = [lane_of(name, index, seconds, rows) for index, name in enumerate(names)]
        strings = {
            "served_model": models or [],
            "served_region": [],
            "finish": [],
            "note": notes or [],
        }
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        writer = RunWriter(folder, manifest_of(lanes, strings), schedule)
        writer.finish(state, samples, {"harness": {"kernel_stamps": True}})
        targets = {}
        for index, lane in enumerate(lanes):
            mine = schedule["lane"] == index
            targets[lane.name] = target_of(schedule[mine], samples[mine], lane, seconds)
        verdicts = verdicts_of(names)
        summary = {
            "format": 1,
            "run": "2026-11-23T10-04-11Z-chat-3fa9",
            "state": state,
            "simulated": False,
            "targets": targets,
            "overall": verdicts.overall,
            "health": {
                "state": "valid",
                "reasons": ["late p99 0.06 ms, sent 100.0 % of schedule"],
                "facts": {"harness_lag_p99_ms": 0.06},
            },
        }
        return Made(Run(folder), Summary.model_validate(summary), verdicts)

    return make


@pytest.fixture
def spoilt(make_run: MakeRun) -> Made:
    """Two lanes, two phases and a warm-up, some failures and unfinished rows in the first lane."""
    return make_run(spoil=spoil_some, notes=["upstream said 503 overloaded"])
