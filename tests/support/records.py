"""Records of a run, by the product's own constructors, where a test says only what it is about.

In: what the test is about. Out: records. Must stay true: no number is made up here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.judge.review import review
from bench.plan.contract import Contract
from bench.record.records.manifest import LaneRecord, Manifest
from bench.record.run_folder import Run

_LANE: dict[str, Any] = {
    "name": "t",
    "target": "t",
    "stage": "s",
    "phases": [],
    "phase_spans": [],
    "buckets": [],
    "start_ns": 0,
    "end_ns": 0,
    "requests": 0,
    "contract": None,
    "expect": [],
}


def lane_record_of(**facts: Any) -> LaneRecord:
    """A lane of which only these facts matter."""
    return LaneRecord.model_validate({**_LANE, **facts})


def manifest_of(
    lanes: Sequence[LaneRecord | Mapping[str, Any]] = (), run: str = "r", **facts: Any
) -> Manifest:
    """The manifest of a run that begins."""
    made = [lane if isinstance(lane, LaneRecord) else lane_record_of(**lane) for lane in lanes]
    return Manifest.begun(run, made).replace(**facts)


def review_json(
    run: Run, override: Contract | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """summary.json and verdicts.json of a run as a reader of the files has them."""
    summary, verdicts = review(run, override)
    return summary.to_json(), verdicts.to_json()
