"""What happened at a moment of a run, as a figure over time marks it.

In: a run and the rows of one lane. Out: `Moment`s in their order. Must stay true: a drill that was
not carried out is not shown as if it had been; names have passed through `wording.visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.record.run_folder import Run
from bench.record.samples import Columns, Outcome
from bench.show.plots.time_axis import Moment
from bench.show.wording import count, visible
from bench.units import S

#: A breaker that flutters would fill the figure: of its changes as many are marked.
_CHANGES_MOST = 8


def lane_moments(run: Run, index: int, rows: Columns) -> list[Moment]:
    """Drills of its stage, changes of its route's legs, the first failure of each class, and where
    the run broke off.
    """
    lane = run.lanes[index]
    found = [*_drills(run, lane), *_changes(run, lane), *_first_failures(rows), *_end(run)]
    return sorted(moment for moment in found if moment.at_s >= lane["start_ns"] / S)


def _drills(run: Run, lane: Mapping[str, Any]) -> Iterator[Moment]:
    for event in run.manifest.get("events") or []:
        if event["stage"] == lane["stage"] and event["ok"]:
            yield Moment(event["begun_ns"] / S, f"drill: {visible(event['name'], 40)}")


def _changes(run: Run, lane: Mapping[str, Any]) -> Iterator[Moment]:
    mine = [
        change for change in run.manifest.get("leg_events") or [] if change["lane"] == lane["name"]
    ]
    for change in mine[:_CHANGES_MOST]:
        leg = visible(lane["legs"][change["leg"]]["name"], 24)
        yield Moment(change["at_ns"] / S, f"breaker of {leg} {visible(change['state'], 20)}")
    if len(mine) > _CHANGES_MOST:
        more = mine[_CHANGES_MOST]
        yield Moment(
            more["at_ns"] / S,
            f"first of {count(len(mine) - _CHANGES_MOST)} further changes of breakers",
        )


def _first_failures(rows: Columns) -> Iterator[Moment]:
    """By due time; what was never sent or cut off is nobody's failure."""
    for outcome in Outcome:
        if outcome not in (Outcome.ok, Outcome.never_sent, Outcome.censored):
            due = rows.samples["due_ns"][rows.samples["outcome"] == outcome]
            if len(due):
                yield Moment(int(due.min()) / S, f"first {outcome.name}")


def _end(run: Run) -> Iterator[Moment]:
    early = run.manifest.get("ended_early")
    if early or run.state == "interrupted":
        samples = run.columns.samples
        last = max(int(samples[name].max(initial=0)) for name in ("sent_ns", "done_ns"))
        yield Moment(
            last / S, f"ended before its plan ({visible(early, 60)})" if early else "interrupted"
        )
