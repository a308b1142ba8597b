"""Routes side by side, drills on a timeline, and where the answers came from.

In: routes.json. Out: sections of the page, lines for the last screen, SVG text. Must stay
true: a figure that could not be told is shown as absent; what a lane did not do (a target without
a route never switches) is not shown as a fault; every name has passed through `wording.visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.plan.budget import show_usd
from bench.record.records.routes import (
    DrillRecord,
    FailedEvent,
    ResidencyRecord,
    RouteCost,
    RouteRecord,
    Routes,
    Standing,
)
from bench.show.document import Figure, Node, Pairs, Section, Table, Text, text_table
from bench.show.plots.canvas import BLUE, GREY, draw_svg
from bench.show.plots.drill import drill_timeline
from bench.show.wording import (
    ABSENT,
    between,
    count,
    exact,
    milliseconds,
    number,
    per_cent,
    visible,
)
from bench.units import MS, S, show_duration

_NOTE = (
    "p99 of the requests that were answered, from their due time; failed ones are in the share"
    " answered. Added cost: over the answers' own tokens at the price of the leg that each request"
    " was planned for. Intervals here take each request for a piece of evidence of its own; those"
    " of the verdicts weigh spells, and are wider where there are some."
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
            f"noticed after {_time(drill.detect_ms)}"
            if drill.detect_ms is not None
            else "noticed nothing new"
        )
    ]
    if drill.switch_ms is not None:
        said.append(f"switched after {_time(drill.switch_ms)}")
    if drill.fail_back_ms is not None:
        said.append(f"back {_time(drill.fail_back_ms)} after the healing")
    said.append(f"{count(drill.lost)} of {count(drill.requests)} requests lost")
    if drill.delayed is not None:
        said.append(f"{count(drill.delayed)} delayed")
    if (added := _added(drill.cost)) != ABSENT:
        said.append(f"added cost {added}")
    return ", ".join(said)


def _time(value_ms: float | None) -> str:
    return ABSENT if value_ms is None else show_duration(value_ms * MS)


def _change(value_ms: float | None) -> str:
    """`+741 ms`, `-14.2 ms`."""
    return ("+" if (value_ms or 0) > 0 else "") + milliseconds(value_ms)


def _added(cost: RouteCost | None) -> str:
    """`+3.1 %` of what the planned legs' answers alone would have cost."""
    share = None if cost is None else cost.added_share
    return ABSENT if share is None else "none" if share == 0 else f"{100 * share:+z.1f} %"


# ---- parts


def _policies(stage: Standing, record: Routes, number_of: int) -> Section:
    rows = [
        [
            visible(lane.target, 60),
            per_cent(lane.success),
            number(lane.p50_ms),
            number(lane.p99_ms),
            between(lane.interval),
            number(lane.p999_ms),
            lane.against_first_leg or ABSENT,
        ]
        for lane in stage.lanes
    ]
    head = [
        "lane",
        "answered",
        "p50",
        "p99",
        "95 % interval",
        "p99.9",
        "p99 against its first leg alone",
    ]
    tables: list[Node] = [
        text_table("Lanes of this stage by their p99, response end-to-end latency, ms", head, rows),
        _paid(stage, record.routes),
    ]
    svg = policies_figure(stage)
    figures = [Figure("p99 by route", f"routes-{number_of:02d}-p99.svg", svg)] if svg else []
    about = [("the tail", visible(said, 400)) for said in stage.says]
    title = f"Routes side by side: {visible(stage.stage, 60)}"
    return Section("", title, [Pairs(about), Text(_NOTE), *tables, *figures])


def _paid(stage: Standing, routes: Mapping[str, RouteRecord]) -> Table[Any]:
    rows = []
    for lane in stage.lanes:
        if (found := routes.get(lane.target)) is not None:
            tokens = found.tokens
            legs = ", ".join(
                f"{visible(leg.name, 30)} {per_cent(leg.share_answered, 1)}" for leg in found.legs
            )
            wasted = count(tokens.wasted_prompt + tokens.wasted_output)
            usd = found.cost.usd
            rows.append(
                [
                    visible(lane.target, 60),
                    legs,
                    _calls(found.by_reason),
                    number(found.attempts_per_request),
                    ABSENT if usd is None else show_usd(usd),
                    _added(found.cost),
                    wasted,
                    count(found.double_billed),
                ]
            )
    head = [
        "route",
        "answered by",
        "calls by reason",
        "calls a request",
        "USD",
        "added cost",
        "wasted tokens",
        "billed twice",
    ]
    return text_table("Who answered, and what it cost", head, rows, words=3)


def _calls(by_reason: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count(times)}" for reason, times in by_reason.items()) or "none"


def _drill(stage: str, drills: Sequence[DrillRecord], record: Routes, number_of: int) -> Section:
    about = [
        (visible(name, 80), _span(next(drill for drill in drills if drill.event == name)))
        for name in dict.fromkeys(drill.event for drill in drills)
    ]
    several, done = len(about) > 1, [drill for drill in drills if drill.ok]
    rows = [
        [
            visible(drill.target, 60) + (f", {visible(drill.event, 40)}" if several else ""),
            drill.detected_by or ABSENT,
            _time(drill.detect_ms),
            _time(drill.switch_ms),
            _time(drill.fail_back_ms),
            count(drill.requests),
            count(drill.lost),
            count(drill.delayed),
            _change(None if drill.added_ms is None else drill.added_ms.p99),
            _added(drill.cost),
            count(drill.double_billed),
        ]
        for drill in done
    ]
    head = [
        "lane",
        "noticed by",
        "noticed",
        "switched",
        "back",
        "requests",
        "lost",
        "delayed",
        "p99, change",
        "added cost",
        "billed twice",
    ]
    svgs = [
        drill_timeline(name, record.timelines, done)
        for name in record.timelines
        if name in record.routes and record.timelines[name].stage == stage
    ]
    figures = [
        Figure("timeline of the drill", f"drill-{number_of:02d}-{place:02d}.svg", svg)
        for place, svg in enumerate(svgs)
    ]
    notes = [
        (
            "Noticed and switched count from the cut, back from the healing. Lost, delayed and"
            " added are of the requests due between the two; delayed: slower than 99 of 100 before"
            " the cut. A target without a route notices nothing."
        )
    ]
    tables = [text_table("How each lane bore it", head, rows, words=2)] if rows else []
    failures = [_failure(event) for event in record.failed if event.stage == stage]
    said = [Text(sentence) for sentence in (*failures, *notes)]
    title = f"Drill: {visible(stage, 60)}"
    return Section("", title, [Pairs(about), *said, *tables, *figures])


def _span(drill: DrillRecord) -> str:
    if not drill.ok:
        return "was not carried out, so nothing was measured"
    began = f"cut at {drill.at_ns / S:.2f} s after the run's start"
    healed = "never healed" if drill.healed_ns is None else f"healed at {drill.healed_ns / S:.2f} s"
    return f"{began}, {healed}"


def _residency(found: Mapping[str, ResidencyRecord]) -> Section:
    rows = [
        [
            visible(name, 60),
            ", ".join(visible(region, 40) for region in one.allowed),
            one.by,
            ", ".join(
                f"{visible(region, 40)} {count(times)}" for region, times in one.by_region.items()
            )
            or ABSENT,
            count(one.checked),
            count(one.elsewhere),
            count(one.unnamed),
        ]
        for name, one in found.items()
    ]
    head = [
        "lane",
        "allowed",
        "by its",
        "answered from",
        "checked",
        "from elsewhere",
        "named no region",
    ]
    homes = Pairs([(visible(name, 60), _home(one)) for name, one in found.items()])
    caption = "Region that each answer named, calls of routes that lost included"
    return Section("", "Data residency", [homes, text_table(caption, head, rows, words=4)])


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
    """p50 and p99 of every lane with the p99's interval, routes in blue (SVG); None where nothing
    was answered.
    """
    lanes = [lane for lane in stage.lanes if lane.p99_ms is not None]
    if not lanes:
        return None
    title = f"Which route has the shortest tail? {visible(stage.stage, 40)}"
    height = 1.15 + 0.28 * len(lanes)
    right = max(lane.interval[1] or lane.p99_ms or 0 for lane in lanes) * 1.05

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
            axes.plot(
                [lane.interval[0] or lane.p99_ms, lane.interval[1] or right],
                [place, place],
                color=colour,
                linewidth=4,
            )
            axes.plot(lane.p50_ms, place, "|", color=colour, markersize=9)
            axes.plot(lane.p99_ms, place, "s", color=colour, markersize=5)
            axes.text(
                1.02,
                place,
                f"{number(lane.p99_ms)} ({between(lane.interval)})",
                fontsize=8,
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        axes.set_yticks(range(len(lanes)), [visible(lane.target, 20) for lane in lanes])
        axes.set_ylim(len(lanes) - 0.5, -0.5)
        axes.set_xlim(0, right)
        axes.xaxis.set_major_formatter(lambda value, _: exact(value))
        axes.set_xlabel(
            "ms: stroke p50, square p99 with its 95 % interval; blue: routes, grey: without a route"
        )

    return draw_svg(title, height, draw)
