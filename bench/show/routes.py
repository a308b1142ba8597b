"""Routes side by side, drills on a timeline, and where the answers came from.

In: routes.json. Out: sections of the page, lines for the last screen, SVG text. Must stay
true: a figure that is not known is shown as absent; what a lane did not do (a target without
a route never switches) is not shown as a fault; every name has passed through `wording.visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.record.records.routes import (
    DrillRecord,
    FailedEvent,
    LaneTail,
    LegCalls,
    ResidencyRecord,
    RouteCost,
    RouteRecord,
    Routes,
    Standing,
)
from bench.show.document import Column, Figure, Node, Pairs, Section, Table, Text
from bench.show.plots.canvas import BLUE, GREY, draw_svg
from bench.show.plots.drill import drill_timeline
from bench.show.served import cause_sentence
from bench.show.wording import (
    ABSENT,
    change,
    count,
    counts,
    duration,
    exact,
    milliseconds,
    number,
    per_cent,
    usd,
    visible,
)
from bench.units import S, show_bound, show_ratio

_NOTE = (
    "p99 of the requests that were answered, from their due time; failed ones are in the share"
    " answered. Added cost: over the answers' own tokens at the price of the leg that each request"
    " was planned for. Two lanes are told apart as `compare` does it: their superblocks of time are"
    " resampled together, and the bound is the one that says longer or shorter."
)


def route_sections(record: Routes) -> list[Section]:
    """One a stage with routes, one a stage with a cut, and one for data residency where regions are
    allowed.
    """
    parts = [_policies(stage, record, number_of) for number_of, stage in enumerate(record.stages)]
    for number_of, stage in enumerate(dict.fromkeys(drill.stage for drill in record.drills)):
        drills = [drill for drill in record.drills if drill.stage == stage]
        parts.append(_drill(stage, drills, record, number_of))
    return [*parts, *([_residency(record.residency)] if record.residency else [])]


def route_lines(record: Routes) -> Iterator[str]:
    """One line a finding: the longest tail, drills that failed, how each route bore each cut,
    answers from elsewhere.
    """
    for stage in record.stages:
        yield from (visible(said, 400) for said in stage.says)
    yield from map(_failure, record.failed)
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


def _failure(event: FailedEvent) -> str:
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
    if (added := _added(drill.cost)) != ABSENT:
        said.append(f"added cost {added}")
    return ", ".join(said)


def _longer(drill: DrillRecord) -> str:
    """By how much the p99 was: `+741 ms`, `-14.2 ms`."""
    value_ms = None if drill.added_ms is None else drill.added_ms.p99
    return ("+" if (value_ms or 0) > 0 else "") + milliseconds(value_ms)


def _added(cost: RouteCost | None) -> str:
    """`+3.1 %` of what the planned legs' answers alone would have cost."""
    share = None if cost is None else cost.added_share
    return "none" if share == 0 else change(share, 1, plus=True)


# ---- parts


def _against_first_leg(lane: LaneTail) -> str:
    """`longer: at least 1.320 times (97.5 %)`."""
    if lane.against_first_leg is None:
        return ABSENT
    if lane.bound_confidence is None:
        return lane.against_first_leg
    bound = show_bound(*lane.bound, lambda end: f"{show_ratio(end)} times", lane.bound_confidence)
    return f"{lane.against_first_leg}: {bound}"


LANE_COLUMNS: list[Column[LaneTail]] = [
    Column("lane", lambda lane: visible(lane.target, 60), "words"),
    Column("answered", lambda lane: per_cent(lane.success)),
    Column("p50", lambda lane: number(lane.p50_ms)),
    Column("p99", lambda lane: number(lane.p99_ms)),
    Column("p99.9", lambda lane: number(lane.p999_ms)),
    Column("p99 against its first leg alone", _against_first_leg),
]


@dataclass(frozen=True)
class _Upstream:
    """One upstream of a route, and what its calls came to."""

    route: str
    calls: LegCalls


def _failures(row: _Upstream) -> str:
    total = sum(row.calls.causes.values())
    return cause_sentence(row.calls.causes) if total else "none"


UPSTREAM_COLUMNS: list[Column[_Upstream]] = [
    Column("route", lambda row: visible(row.route, 60), "group"),
    Column("upstream", lambda row: visible(row.calls.name, 60), "words"),
    Column("calls", lambda row: count(row.calls.calls)),
    Column("answered", lambda row: count(row.calls.answered)),
    Column(
        "answers by tier",
        lambda row: counts(row.calls.tiers, name_first=True) or ABSENT,
        "words",
        show_if=lambda rows: any(row.calls.tiers for row in rows),
    ),
    Column("calls that failed", _failures, "words"),
]


def _policies(stage: Standing, record: Routes, number_of: int) -> Section:
    paid = [
        _Paid(lane.target, found)
        for lane in stage.lanes
        if (found := record.routes.get(lane.target)) is not None
    ]
    tables: list[Node] = [
        Table(
            "Lanes of this stage by their p99, response end-to-end latency, ms",
            LANE_COLUMNS,
            stage.lanes,
        ),
        Table("Who answered, and what it cost", PAID_COLUMNS, paid),
    ]
    upstreams = [_Upstream(row.target, leg) for row in paid for leg in row.found.legs]
    if any(row.calls.tiers or row.calls.causes for row in upstreams):
        tables.append(Table("Calls of each upstream", UPSTREAM_COLUMNS, upstreams))
    svg = policies_figure(stage)
    figures = [Figure("p99 by route", f"routes-{number_of:02d}-p99.svg", svg)] if svg else []
    about = [("the tail", visible(said, 400)) for said in stage.says]
    title = f"Routes side by side: {visible(stage.stage, 60)}"
    return Section("", title, [Pairs(about), Text(_NOTE), *tables, *figures])


@dataclass(frozen=True)
class _Paid:
    """A route, and what its calls came to."""

    target: str
    found: RouteRecord


def _legs(row: _Paid) -> str:
    return ", ".join(
        f"{visible(leg.name, 30)} {per_cent(leg.share_answered, 1)}" for leg in row.found.legs
    )


def _wasted(row: _Paid) -> str:
    tokens = row.found.tokens
    return count(tokens.wasted_prompt + tokens.wasted_output)


PAID_COLUMNS: list[Column[_Paid]] = [
    Column("route", lambda row: visible(row.target, 60), "words"),
    Column("answered by", _legs, "words"),
    Column(
        "calls by reason",
        lambda row: counts(row.found.by_reason, name_first=True) or "none",
        "words",
    ),
    Column("calls a request", lambda row: number(row.found.attempts_per_request)),
    Column("USD", lambda row: usd(row.found.cost.usd)),
    Column("added cost", lambda row: _added(row.found.cost)),
    Column("wasted tokens", _wasted),
    Column("billed twice", lambda row: count(row.found.double_billed)),
]


@dataclass(frozen=True)
class _Borne:
    """How a lane bore a drill."""

    drill: DrillRecord
    #: the stage had other drills too
    one_of_several: bool

    @property
    def lane(self) -> str:
        """The lane, and which drill where there were several."""
        drill = f", {visible(self.drill.event, 40)}" if self.one_of_several else ""
        return visible(self.drill.target, 60) + drill


DRILL_COLUMNS: list[Column[_Borne]] = [
    Column("lane", lambda row: row.lane, "words"),
    Column("noticed by", lambda row: row.drill.detected_by or ABSENT, "words"),
    Column("noticed", lambda row: duration(row.drill.detect_ms)),
    Column("switched", lambda row: duration(row.drill.switch_ms)),
    Column("back", lambda row: duration(row.drill.fail_back_ms)),
    Column("requests", lambda row: count(row.drill.requests)),
    Column("lost", lambda row: count(row.drill.lost)),
    Column("delayed", lambda row: count(row.drill.delayed)),
    Column("p99, change", lambda row: _longer(row.drill)),
    Column("added cost", lambda row: _added(row.drill.cost)),
    Column("billed twice", lambda row: count(row.drill.double_billed)),
]


def _drill(stage: str, drills: Sequence[DrillRecord], record: Routes, number_of: int) -> Section:
    about = [
        (visible(name, 80), _span(next(drill for drill in drills if drill.event == name)))
        for name in dict.fromkeys(drill.event for drill in drills)
    ]
    done = [drill for drill in drills if drill.ok]
    svgs = [
        drill_timeline(name, record.timelines, done)
        for name in record.timelines
        if name in record.routes and record.timelines[name].stage == stage
    ]
    figures = [
        Figure("timeline of the drill", f"drill-{number_of:02d}-{place:02d}.svg", svg)
        for place, svg in enumerate(svgs)
    ]
    note = (
        "Noticed and switched count from the cut, back from the healing. Lost, delayed and"
        " added are of the requests due between the two; delayed: slower than 99 of 100 before"
        " the cut. A target without a route notices nothing."
    )
    failures = [_failure(event) for event in record.failed if event.stage == stage]
    nodes: list[Node] = [Pairs(about), *map(Text, [*failures, note])]
    if done:
        rows = [_Borne(drill, len(about) > 1) for drill in done]
        nodes.append(Table("How each lane bore it", DRILL_COLUMNS, rows))
    return Section("", f"Drill: {visible(stage, 60)}", [*nodes, *figures])


def _span(drill: DrillRecord) -> str:
    if not drill.ok:
        return "was not carried out, so nothing was measured"
    began = f"fault at {drill.at_ns / S:.2f} s after the run's start"
    if drill.healed_ns is None:
        return f"{began}, no recovery"
    return f"{began}, recovery at {drill.healed_ns / S:.2f} s"


@dataclass(frozen=True)
class _Resident:
    """A lane, and the regions that its answers named."""

    name: str
    found: ResidencyRecord


RESIDENCY_COLUMNS: list[Column[_Resident]] = [
    Column("lane", lambda row: visible(row.name, 60), "words"),
    Column(
        "allowed",
        lambda row: ", ".join(visible(region, 40) for region in row.found.allowed),
        "words",
    ),
    Column("by its", lambda row: row.found.by, "words"),
    Column(
        "answered from",
        lambda row: counts(row.found.by_region, name_first=True) or ABSENT,
        "words",
    ),
    Column("checked", lambda row: count(row.found.checked)),
    Column("from elsewhere", lambda row: count(row.found.elsewhere)),
    Column("named no region", lambda row: count(row.found.unnamed)),
]


def _residency(found: Mapping[str, ResidencyRecord]) -> Section:
    homes = Pairs([(visible(name, 60), _home(one)) for name, one in found.items()])
    rows = [_Resident(name, one) for name, one in found.items()]
    caption = "Region that each answer named, calls of routes that lost included"
    return Section("", "Data residency", [homes, Table(caption, RESIDENCY_COLUMNS, rows)])


def _home(found: ResidencyRecord) -> str:
    unnamed = f", {count(found.unnamed)} named no region" if found.unnamed else ""
    if not found.elsewhere:
        return f"none of {count(found.checked)} answers from elsewhere{unnamed}"
    return (
        f"{count(found.elsewhere)} of {count(found.checked)} answers from ELSEWHERE than"
        f" allowed{unnamed}"
    )


# ---- figures


def policies_figure(stage: Standing) -> str | None:
    """p50 and p99 of every lane, routes in blue (SVG); None where nothing was answered."""
    lanes = [lane for lane in stage.lanes if lane.p99_ms is not None]
    if not lanes:
        return None
    title = f"Which route has the shortest tail? {visible(stage.stage, 40)}"
    height = 1.15 + 0.28 * len(lanes)
    right = max(lane.p99_ms or 0 for lane in lanes) * 1.05

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.19, 0.5 / height, 0.6, (height - 0.85) / height))
        axes.set_title(title)
        for place, lane in enumerate(lanes):
            colour = BLUE if lane.routed else GREY
            axes.plot(
                [lane.p50_ms, lane.p99_ms],
                [place, place],
                color=colour,
                linewidth=1,
                alpha=0.6,
            )
            axes.plot(lane.p50_ms, place, "|", color=colour, markersize=9)
            axes.plot(lane.p99_ms, place, "s", color=colour, markersize=5)
            axes.text(
                1.02,
                place,
                number(lane.p99_ms),
                fontsize=8,
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        axes.set_yticks(range(len(lanes)), [visible(lane.target, 20) for lane in lanes])
        axes.set_ylim(len(lanes) - 0.5, -0.5)
        axes.set_xlim(0, right)
        axes.xaxis.set_major_formatter(lambda value, _: exact(value))
        axes.set_xlabel("ms: stroke p50, square p99; blue: routes, grey: without a route")

    return draw_svg(title, height, draw)
