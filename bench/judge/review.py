"""A run's folder -> summary.json and verdicts.json, now or a year later.

In: a run's folder, optionally another contract to hold it against. Out: both records, and
their files. Must stay true: they come from manifest, schedule, samples and histograms alone, so
the same folder gives the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.judge.clauses import reached
from bench.judge.summary import summarise
from bench.judge.verdict import judge_run
from bench.load.health import examine
from bench.plan.contract import Contract
from bench.record.run_folder import FORMAT, Run, write_json


def review(run: Run, override: Contract | None = None, *, write: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """(summary, verdicts) of a run. Raises UserError for a clause that the run cannot have."""
    contracts = [Contract.model_validate(lane["contract"]) for lane in run.lanes if lane["contract"]]
    limits = [c.tightest_limit_ns for c in ([override] if override else contracts) if c.tightest_limit_ns is not None]
    health = examine(
        reached(run.columns, run.state),
        {**run.manifest.get("harness", {}), "state": run.state},
        min(limits, default=None),
    )
    verdicts = judge_run(run, health, override)
    summary = summarise(run, health, verdicts["overall"])
    if write:
        write_json(run.folder / "summary.json", summary)
        write_json(run.folder / "verdicts.json", verdicts)
    return summary, verdicts


def reviewed(folder: Path) -> tuple[Run, dict[str, Any], dict[str, Any]]:
    """A run with its records, made first where they are missing, stale or of another format.

    Those of a run that still says `running` are always stale: it may have grown since.
    """
    run = Run(folder)
    try:
        summary = json.loads((folder / "summary.json").read_bytes())
        verdicts = json.loads((folder / "verdicts.json").read_bytes())
        fresh = (
            all(record["format"] == FORMAT and record["run"] == run.manifest["run"] for record in (summary, verdicts))
            and summary["state"] == run.state != "running"
        )
    except (OSError, ValueError, KeyError, TypeError):
        fresh = False
    if not fresh:
        summary, verdicts = review(run)
    return run, summary, verdicts
