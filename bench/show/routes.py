"""Routes, drills and regions on the last screen, a line a finding.

In: routes.json. Out: lines. Must stay true: a number that is not known is shown as absent; what a
target did not do (one without a route never fails over) is not shown as a fault; every name has
passed through `wording.visible`.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.record.records.routes import (
    DrillRecord,
    FailedEvent,
    ResidencyRecord,
    RouteCost,
    Routes,
)
from bench.show.wording import ABSENT, change, count, duration, milliseconds, visible


def route_lines(record: Routes) -> Iterator[str]:
    """One line a finding: the longest tail, drills that failed, how each route bore each cut,
    answers from elsewhere.
    """
    for stage in record.stages:
        yield from (visible(said, 400) for said in stage.says)
    yield from map(failure, record.failed)
    for drill in record.drills:
        if drill.target in record.routes and drill.ok:
            yield f"{visible(drill.event, 40)}, {visible(drill.target, 40)}: {_bore(drill)}"
    for name, found in record.residency.items():
        if found.elsewhere or found.unnamed:
            yield f"data residency of {visible(name, 40)}: {_home(found)}"
    if record.residency and not any(
        found.elsewhere or found.unnamed for found in record.residency.values()
    ):
        yield (
            "data residency: all"
            f" {count(sum(found.checked for found in record.residency.values()))} answers"
            " from allowed regions"
        )


def failure(event: FailedEvent) -> str:
    """A step of a drill that did not go well."""
    return (
        f"drill {visible(event.name, 40)} of stage {visible(event.stage, 40)} FAILED:"
        f" {visible(event.detail, 200)}"
    )


def _bore(drill: DrillRecord) -> str:
    said = [
        (
            f"noticed after {duration(drill.detect_ms)}"
            if drill.detect_ms is not None
            else "the fault was not noticed"
        )
    ]
    if drill.switch_ms is not None:
        said.append(f"failed over after {duration(drill.switch_ms)}")
    if drill.fail_back_ms is not None:
        said.append(f"failed back {duration(drill.fail_back_ms)} after recovery")
    said.append(f"{count(drill.lost)} of {count(drill.requests)} requests lost")
    if drill.delayed is not None:
        said.append(f"{count(drill.delayed)} delayed")
    if (added := added_cost(drill.cost)) != ABSENT:
        said.append(f"added cost {added}")
    return ", ".join(said)


def longer_by(drill: DrillRecord) -> str:
    """By how much the p99 was: `+741 ms`, `-14.2 ms`."""
    value_ms = None if drill.added_ms is None else drill.added_ms.p99
    return ("+" if (value_ms or 0) > 0 else "") + milliseconds(value_ms)


def added_cost(cost: RouteCost | None) -> str:
    """`+3.1 %` of what the planned legs' answers alone would have cost."""
    share = None if cost is None else cost.added_share
    return "none" if share == 0 else change(share, 1, plus=True)


def _home(found: ResidencyRecord) -> str:
    """Whether answers came from where they may."""
    unnamed = f", {count(found.unnamed)} named no region" if found.unnamed else ""
    if not found.elsewhere:
        return f"none of {count(found.checked)} answers from elsewhere{unnamed}"
    return (
        f"{count(found.elsewhere)} of {count(found.checked)} answers from ELSEWHERE than"
        f" allowed{unnamed}"
    )
