"""A run that goes on, in words.

In: a `Standing`. Out: each text of the watch page that changes, by the id of its place. Must stay
true: no verdict before the end.
"""

from __future__ import annotations

from bench.extras.ui.growing import LaneStanding, Standing
from bench.show.wording import ABSENT, count, failures, milliseconds, per_cent
from bench.units import S, show_duration


def standing_texts(standing: Standing) -> dict[str, str]:
    """Every text of the watch page that changes, by the id of its place."""
    texts = {
        "state": standing.state,
        "when": _when(standing),
        "so_far": _so_far(standing),
        "lead": _lead(standing),
        "share": f"{100 * _share(standing):.0f}",
    }
    for index, lane in enumerate(standing.lanes):
        texts |= {f"lane-{index}-{key}": text for key, text in _lane_texts(lane).items()}
    return texts


def _so_far(standing: Standing) -> str:
    if standing.state != "running":
        return f"The run is {standing.state}"
    return f"So far: {100 * _share(standing):.0f} % of the run"


def _lead(standing: Standing) -> str:
    """What stands in the verdict's place."""
    ended = sum(lane.ended for lane in standing.lanes)
    failed = ended - sum(lane.outcomes.get("ok", 0) for lane in standing.lanes)
    answers = (
        f"{count(ended)} requests ended, {count(failed) if failed else 'none'} of them failed."
    )
    return f"{answers} The verdict comes at the end." if standing.state == "running" else answers


def _share(standing: Standing) -> float:
    """How much of the run is over: of its time, or of its rows where it has no length of
    its own.
    """
    if standing.state != "running":
        return 1.0
    if standing.planned_ns:
        return min(standing.elapsed_ns / standing.planned_ns, 1.0)
    planned = sum(lane.planned for lane in standing.lanes)
    ended = sum(lane.ended for lane in standing.lanes)
    return min(ended / max(planned, 1), 1.0)


def _when(standing: Standing) -> str:
    elapsed = show_duration(standing.elapsed_ns // S * S)
    return f"{elapsed} of {show_duration(standing.planned_ns)}" if standing.planned_ns else elapsed


def _lane_texts(lane: LaneStanding) -> dict[str, str]:
    ok = lane.outcomes.get("ok", 0)
    quantiles = {}
    for metric, found in lane.quantiles_ms.items():
        for name, value in found.items():
            quantiles[f"{metric}-{name}"] = milliseconds(value)
    return {
        "rows": f"{count(lane.ended)} of {count(lane.planned)}",
        "ok": per_cent(ok / lane.ended) if lane.ended else ABSENT,
        "failed": failures(lane.outcomes) or "none",
        **quantiles,
    }
