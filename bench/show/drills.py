"""What happened when things broke? Who lost what, how soon each route noticed, moved and came back.

In: routes.json, the clauses. Out: a section. Must stay true: what a target did not do (one without
a route never fails over) is not shown as a fault; a drill that was not carried out has no numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.record.records.routes import DrillRecord, Routes, Timeline
from bench.record.records.verdicts import ClauseVerdict
from bench.show.document import Column, Heading, Node, Section, Table, Text
from bench.show.graphics.drill import DrillTrack, DrillTracks, Moment, Upstream
from bench.show.routes import added_cost, failure, longer_by
from bench.show.verdicts import judges_all
from bench.show.wording import (
    ABSENT,
    count,
    duration,
    first_answers,
    number,
    seconds_for_readers,
    short_name,
    visible,
)
from bench.units import show_duration, show_list

#: Of the section's first line.
_ANSWERS_MOST = 3


def drills_section(record: Routes | None, clauses: Sequence[ClauseVerdict]) -> Section | None:
    """All drills of a run; None where none was asked for."""
    if record is None or not record.drills:
        return None
    nodes: list[Node] = [Text(failure(event), tone="warning") for event in record.failed]
    stages = dict.fromkeys(each.stage for each in record.drills)
    limits = latency_limits(clauses)
    for stage in stages:
        nodes += _stage(stage, record, limits)
    rows = [_Borne(each, _several(each, record.drills)) for each in record.drills if each.ok]
    if rows:
        caption = (
            "From the fault until recovery. Seconds after the fault; failed back: after recovery."
            " Slow: slower than 99 of 100 before the fault."
        )
        nodes.append(Table(caption, DRILL_COLUMNS, rows))
    said = list(_answers(record))
    answer = first_answers(said, _ANSWERS_MOST)
    return Section("drills", "What happened when things broke?", nodes, "drills", answer)


def latency_limits(clauses: Sequence[ClauseVerdict]) -> Mapping[str, float]:
    """The limit of end-to-end latency that each target is held to everywhere, ms."""
    return {
        each.target: each.limit_ms
        for each in reversed(clauses)
        if each.limit_ms is not None and judges_all(each, "e2e")
    }


# ---- the answer


def _answers(record: Routes) -> Iterator[str]:
    """Routes first, those that lost most before others; then what had no route at all."""
    done = [each for each in record.drills if each.ok]
    routed = [each for each in done if each.target in record.routes]
    for drill in sorted(routed, key=lambda each: -(each.lost or 0)):
        yield f"{visible(drill.target, 40)} {_bore(drill)}{_without(drill, done, record)}."
    unrouted = {each.event for each in done} - {each.event for each in routed}
    for drill in done:
        if drill.event in unrouted:
            yield f"{visible(drill.target, 40)} {_lost(drill)}."
    undone = dict.fromkeys(each.event for each in record.drills if not each.ok)
    yield from (f"{visible(name, 40)} was not carried out." for name in undone)


def _lost(drill: DrillRecord) -> str:
    if drill.requests is None:
        return "had no requests to lose"
    return f"lost {count(drill.lost) if drill.lost else 'none'} of {count(drill.requests)} requests"


def _bore(drill: DrillRecord) -> str:
    said = []
    if drill.detect_ms is None and drill.switch_ms is None:
        return f"{_lost(drill)} and did not notice the fault"
    if drill.detect_ms is not None:
        said.append(f"noticed after {_after(drill.detect_ms)}")
    if drill.switch_ms is not None:
        said.append(f"failed over after {_after(drill.switch_ms)}")
    if drill.fail_back_ms is not None:
        said.append(f"failed back {_after(drill.fail_back_ms)} after recovery")
    return f"{_lost(drill)}: it {show_list(said)}"


def _after(ms: float) -> str:
    return seconds_for_readers(ms) if ms >= 100 else duration(round(ms))


def _without(drill: DrillRecord, done: Sequence[DrillRecord], record: Routes) -> str:
    """What the route's first upstream lost alone, where it ran beside it."""
    mine = record.timelines.get(drill.target)
    first = mine.legs[0].name if mine is not None and mine.legs else None
    for other in done:
        line = record.timelines.get(other.target)
        alone = other.event == drill.event and other.target not in record.routes
        if not alone or line is None or line.of != first or not other.requests:
            continue
        if other.lost:
            return f"; without a router {count(other.lost)} of {count(other.requests)} were lost"
        if other.delayed:
            return f"; without a router {count(other.delayed)} of {count(other.requests)} were slow"
        return "; without a router none were lost either"
    return ""


# ---- the tracks of a stage


def _stage(stage: str, record: Routes, limits: Mapping[str, float]) -> Iterator[Node]:
    drills = [each for each in record.drills if each.stage == stage and each.ok]
    if not drills:
        return
    events = {each.event: each for each in drills}
    said = ", ".join(f"{visible(name, 60)}, {_length(each)}" for name, each in events.items())
    yield Heading(f"{visible(stage, 60)}: {said}")
    lines = {name: line for name, line in record.timelines.items() if line.stage == stage}
    if not lines:
        return
    first = next(iter(lines.values()))
    tracks = [
        _track(name, line, [each for each in drills if each.target == name], limits.get(name))
        for name, line in lines.items()
    ]
    moments = [moment for each in events.values() for moment in _moments(each, first)]
    yield DrillTracks(tracks, moments, show_duration(first.bin_ns))


def _length(drill: DrillRecord) -> str:
    if drill.healed_ns is None:
        return "never healed"
    return f"{show_duration(drill.healed_ns - drill.at_ns)} long"


def _at(ns: float, line: Timeline) -> float:
    length = max(len(line.requests) * line.bin_ns, 1)
    return min(max((ns - line.start_ns) / length, 0.0), 1.0)


def _moments(drill: DrillRecord, line: Timeline) -> Iterator[Moment]:
    """The world's doing: fault and recovery."""
    yield Moment(_at(drill.at_ns, line), "fault")
    if drill.healed_ns is not None:
        after = f"+{show_duration(drill.healed_ns - drill.at_ns)}"
        yield Moment(_at(drill.healed_ns, line), "recovery", after)


def _answers_of(drill: DrillRecord, line: Timeline) -> Iterator[Moment]:
    """What a router did about it."""
    steps = (
        ("failed over", drill.at_ns, drill.switch_ms),
        ("failed back", drill.healed_ns, drill.fail_back_ms),
    )
    for name, since, ms in steps:
        if since is not None and ms is not None:
            moment = since + ms * 1e6
            after = f"+{show_duration(moment - drill.at_ns)}"
            yield Moment(_at(moment, line), name, after, "router")


def _track(
    name: str, line: Timeline, drills: Sequence[DrillRecord], limit_ms: float | None
) -> DrillTrack:
    short = short_name(name, line.stage)
    worst = max((ms for ms in line.p99_ms if ms is not None), default=None)
    lost = sum(line.lost)
    about = f"lost {count(lost)}" if lost else "none lost"
    about += f", worst {ABSENT if worst is None else seconds_for_readers(worst)}"
    asked = [max(each, 1) for each in line.requests]
    return DrillTrack(
        name=short,
        about=about,
        p99_ms=line.p99_ms,
        lost=[k / n for k, n in zip(line.lost, asked, strict=True)],
        limit_ms=limit_ms,
        upstreams=[
            Upstream(
                visible(leg.name, 30), [k / n for k, n in zip(leg.answered, asked, strict=True)]
            )
            for leg in line.legs
        ],
        moments=[moment for each in drills for moment in _answers_of(each, line)],
        says=f"{short}: {about}, of {count(sum(line.requests))} requests",
    )


# ---- the table


@dataclass(frozen=True)
class _Borne:
    """How a target bore a drill."""

    drill: DrillRecord
    #: the stage had other drills too
    one_of_several: bool

    @property
    def target(self) -> str:
        """Its name, and which drill where there were several."""
        drill = f", {visible(self.drill.event, 40)}" if self.one_of_several else ""
        return visible(self.drill.target, 60) + drill


def _several(drill: DrillRecord, drills: Sequence[DrillRecord]) -> bool:
    return len({each.event for each in drills if each.stage == drill.stage}) > 1


def _seconds(ms: float | None) -> str:
    return ABSENT if ms is None else number(ms / 1000)


DRILL_COLUMNS: list[Column[_Borne]] = [
    Column("target", lambda row: row.target, "words"),
    Column("noticed", lambda row: _seconds(row.drill.detect_ms), unit="s"),
    Column("by", lambda row: row.drill.detected_by or ABSENT, "words"),
    Column("failed over", lambda row: _seconds(row.drill.switch_ms), unit="s"),
    Column("failed back", lambda row: _seconds(row.drill.fail_back_ms), unit="s"),
    Column("lost", lambda row: count(row.drill.lost)),
    Column("slow", lambda row: count(row.drill.delayed)),
    Column("requests", lambda row: count(row.drill.requests)),
    Column("p99, change", lambda row: longer_by(row.drill)),
    Column("added cost", lambda row: added_cost(row.drill.cost)),
    Column("billed twice", lambda row: count(row.drill.double_billed)),
]
