"""Routes side by side, drills on a timeline, and where the answers came from.

In: the value of routes.json. Out: parts of the page, lines for the last screen, SVG text. Must stay
true: a figure that could not be told is shown as absent; what a lane did not do (a target without
a route never switches) is not shown as a fault; every name has passed through `wording.visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.show.page import Figure, Part, Table
from bench.show.plots import BLUE, GREY, RED, draw_svg
from bench.show.wording import ABSENT, count, exact, milliseconds, number, per_cent, visible
from bench.units import MS, S, show_duration

Record = Mapping[str, Any]
#: Of the legs in their order; all beyond the third are grey.
_LEG_COLOURS = (BLUE, "#e69f00", "#56b4e9", GREY)
_NOTE = ("p99 of the requests that were answered, from their due time; failed ones are in the share answered. Added cost: over the "
         "answers' own tokens at the price of the leg that each request was planned for.")  # fmt: skip


def route_parts(record: Record) -> list[Part]:
    """A part a stage with routes, one a stage with a cut, and one for data residency where regions are allowed."""
    parts = [_policies(stage, record, number_of) for number_of, stage in enumerate(record["stages"])]
    for number_of, stage in enumerate(dict.fromkeys(drill["stage"] for drill in record["drills"])):
        drills = [drill for drill in record["drills"] if drill["stage"] == stage]
        parts.append(_drill(stage, drills, record, number_of))
    return [*parts, *([_residency(record["residency"])] if record["residency"] else [])]


def route_lines(record: Record) -> Iterator[str]:
    """One line a finding: the longest tail, drills that failed, how each route bore each cut, answers from elsewhere."""
    for stage in record["stages"]:
        yield from (visible(said, 400) for said in stage["says"])
    yield from map(_failure, record.get("failed", []))
    for drill in record["drills"]:
        if drill["target"] in record["routes"] and drill["ok"]:
            yield f"{visible(drill['event'], 40)}, {visible(drill['target'], 40)}: {_bore(drill)}"
    for name, found in record["residency"].items():
        if found["elsewhere"] or found["unnamed"]:
            yield f"data residency of {visible(name, 40)}: {_home(found)}"
    if record["residency"] and not any(
        found["elsewhere"] or found["unnamed"] for found in record["residency"].values()
    ):
        yield f"data residency: all {count(sum(found['checked'] for found in record['residency'].values()))} answers from allowed regions"


def _failure(event: Record) -> str:
    return f"drill {visible(event['name'], 40)} of stage {visible(event['stage'], 40)} FAILED: {visible(event['detail'], 200)}"


def _bore(drill: Record) -> str:
    said = [f"noticed after {_time(drill['detect_ms'])}" if drill["detect_ms"] is not None else "noticed nothing new"]
    if drill["switch_ms"] is not None:
        said.append(f"switched after {_time(drill['switch_ms'])}")
    if drill["fail_back_ms"] is not None:
        said.append(f"back {_time(drill['fail_back_ms'])} after the healing")
    said.append(f"{count(drill['lost'])} of {count(drill['requests'])} requests lost")
    if drill["delayed"] is not None:
        said.append(f"{count(drill['delayed'])} delayed")
    if (added := _added(drill["cost"])) != ABSENT:
        said.append(f"added cost {added}")
    return ", ".join(said)


def _time(value_ms: float | None) -> str:
    return ABSENT if value_ms is None else show_duration(value_ms * MS)


def _added(cost: Record | None) -> str:
    """`+3.1 %` of what the planned legs' answers alone would have cost."""
    share = None if cost is None else cost.get("added_share")
    return ABSENT if share is None else "none" if share == 0 else f"{100 * share:+.1f} %"


# ---- parts


def _policies(stage: Record, record: Record, number_of: int) -> Part:
    rows = [[visible(lane["target"], 60), per_cent(lane["success"]), number(lane["p50_ms"]), number(lane["p99_ms"]), _interval(lane),
             number(lane["p999_ms"]), lane["against_first_leg"] or ABSENT] for lane in stage["lanes"]]  # fmt: skip
    head = ["lane", "answered", "p50", "p99", "95 % interval", "p99.9", "p99 against its first leg alone"]
    tables = [
        Table("Lanes of this stage by their p99, response end-to-end latency, ms", head, rows),
        _paid(stage, record["routes"]),
    ]
    svg = policies_figure(stage)
    figures = [Figure("p99 by route", f"routes-{number_of:02d}-p99.svg", svg)] if svg else []
    about = [("the tail", visible(said, 400)) for said in stage["says"]]
    return Part(f"Routes side by side: {visible(stage['stage'], 60)}", about, tables, figures, [_NOTE])


def _interval(lane: Record) -> str:
    low, high = lane["interval"]
    return ABSENT if low is None else f"≥ {number(low)}" if high is None else f"{number(low)} – {number(high)}"


def _paid(stage: Record, routes: Mapping[str, Record]) -> Table:
    rows = []
    for lane in stage["lanes"]:
        if (found := routes.get(lane["target"])) is not None:
            tokens = found["tokens"]
            legs = ", ".join(
                f"{visible(leg['name'], 30)} {per_cent(leg['share_answered'], 1)}" for leg in found["legs"]
            )
            wasted = count(tokens["wasted_prompt"] + tokens["wasted_output"])
            usd = found["cost"]["usd"]
            rows.append([visible(lane["target"], 60), legs, _calls(found["by_reason"]), number(found["attempts_per_request"]),
                         ABSENT if usd is None else f"{usd:,.4f}", _added(found["cost"]), wasted, count(found["double_billed"])])  # fmt: skip
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
    return Table("Who answered, and what it cost", head, rows, words=3)


def _calls(by_reason: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count(times)}" for reason, times in by_reason.items()) or "none"


def _drill(stage: str, drills: Sequence[Record], record: Record, number_of: int) -> Part:
    about = [(visible(name, 80), _span(next(drill for drill in drills if drill["event"] == name)))
             for name in dict.fromkeys(drill["event"] for drill in drills)]  # fmt: skip
    several, done = len(about) > 1, [drill for drill in drills if drill["ok"]]
    rows = [[visible(drill["target"], 60) + (f", {visible(drill['event'], 40)}" if several else ""), drill["detected_by"] or ABSENT,
             _time(drill["detect_ms"]), _time(drill["switch_ms"]), _time(drill["fail_back_ms"]), count(drill["requests"]),
             count(drill["lost"]), count(drill["delayed"]), milliseconds((drill["added_ms"] or {}).get("p99")), _added(drill["cost"]),
             count(drill["double_billed"])] for drill in done]  # fmt: skip
    head = [
        "lane",
        "noticed by",
        "noticed",
        "switched",
        "back",
        "requests",
        "lost",
        "delayed",
        "p99 up by",
        "added cost",
        "billed twice",
    ]
    svgs = [timeline_figure(name, record["timelines"], done) for name in record["timelines"]
            if name in record["routes"] and record["timelines"][name]["stage"] == stage]  # fmt: skip
    figures = [
        Figure("timeline of the drill", f"drill-{number_of:02d}-{place:02d}.svg", svg) for place, svg in enumerate(svgs)
    ]
    notes = [("Noticed and switched count from the cut, back from the healing. Lost, delayed and added are of the requests due between "
             "the two; delayed: slower than 99 of 100 before the cut. A target without a route notices nothing.")]  # fmt: skip
    tables = [Table("How each lane bore it", head, rows, words=2)] if rows else []
    failures = [_failure(event) for event in record.get("failed", []) if event["stage"] == stage]
    return Part(f"Drill: {visible(stage, 60)}", about, tables, figures, [*failures, *notes])


def _span(drill: Record) -> str:
    if not drill["ok"]:
        return "was not carried out, so nothing was measured"
    began = f"cut at {drill['at_ns'] / S:.2f} s after the run's start"
    healed = "never healed" if drill["healed_ns"] is None else f"healed at {drill['healed_ns'] / S:.2f} s"
    return f"{began}, {healed}"


def _residency(found: Mapping[str, Record]) -> Part:
    rows = [[visible(name, 60), ", ".join(visible(region, 40) for region in one["allowed"]), one["by"],
             ", ".join(f"{visible(region, 40)} {count(times)}" for region, times in one["by_region"].items()) or ABSENT,
             count(one["checked"]), count(one["elsewhere"]), count(one["unnamed"])] for name, one in found.items()]  # fmt: skip
    head = ["lane", "allowed", "by its", "answered from", "checked", "from elsewhere", "named no region"]
    return Part("Data residency", [(visible(name, 60), _home(one)) for name, one in found.items()],
                [Table("Region that each answer named, calls of routes that lost included", head, rows, words=4)], [], [])  # fmt: skip


def _home(found: Record) -> str:
    unnamed = f", {count(found['unnamed'])} named no region" if found["unnamed"] else ""
    if not found["elsewhere"]:
        return f"none of {count(found['checked'])} answers from elsewhere{unnamed}"
    return f"{count(found['elsewhere'])} of {count(found['checked'])} answers from ELSEWHERE than allowed{unnamed}"


# ---- figures


def policies_figure(stage: Record) -> str | None:
    """p50 and p99 of every lane with the p99's interval, routes in blue (SVG); None where nothing was answered."""
    lanes = [lane for lane in stage["lanes"] if lane["p99_ms"] is not None]
    if not lanes:
        return None
    title = f"Which route has the shortest tail? {visible(stage['stage'], 40)}"
    height = 1.15 + 0.28 * len(lanes)
    right = max(lane["interval"][1] or lane["p99_ms"] for lane in lanes) * 1.05

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.19, 0.5 / height, 0.6, (height - 0.85) / height))
        axes.set_title(title)
        for place, lane in enumerate(lanes):
            colour = BLUE if lane["routed"] else GREY
            axes.plot([lane["p50_ms"], lane["p99_ms"]], [place, place], color=colour, linewidth=1, alpha=0.6)
            axes.plot(
                [lane["interval"][0] or lane["p99_ms"], lane["interval"][1] or right],
                [place, place],
                color=colour,
                linewidth=4,
            )
            axes.plot(lane["p50_ms"], place, "|", color=colour, markersize=9)
            axes.plot(lane["p99_ms"], place, "s", color=colour, markersize=5)
            axes.text(1.02, place, f"{number(lane['p99_ms'])} ({_interval(lane)})", fontsize=8, va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
        axes.set_yticks(range(len(lanes)), [visible(lane["target"], 20) for lane in lanes])
        axes.set_ylim(len(lanes) - 0.5, -0.5)
        axes.set_xlim(0, right)
        axes.xaxis.set_major_formatter(lambda value, _: exact(value))
        axes.set_xlabel("ms: stroke p50, square p99 with its 95 % interval; blue: routes, grey: without a route")

    return draw_svg(title, height, draw)


def timeline_figure(name: str, timelines: Mapping[str, Record], drills: Sequence[Record]) -> str:
    """One route through its stage's cuts: its p99 beside that of its first leg alone, and who answered (SVG)."""
    mine = timelines[name]
    title = f"How did it bear the drill? {visible(name, 40)}"
    alone = {other: line for other, line in timelines.items()
             if line["stage"] == mine["stage"] and line["of"] == mine["legs"][0]["name"]}  # fmt: skip

    def draw(figure: Any) -> None:
        upper = figure.add_axes((0.095, 0.5, 0.735, 0.38))
        lower = figure.add_axes((0.095, 0.11, 0.735, 0.28), sharex=upper)
        upper.set_title(title, pad=19)
        _draw_tails(upper, [*((other, line, GREY) for other, line in alone.items()), (name, mine, BLUE)])
        _draw_shares(lower, mine)
        _draw_moments(upper, lower, [drill for drill in drills if drill["target"] == name])
        upper.tick_params(labelbottom=False)

    return draw_svg(title, 4.4, draw)


def _edges(line: Record) -> list[float]:
    return [(line["start_ns"] + number_of * line["bin_ns"]) / S for number_of in range(len(line["requests"]) + 1)]


def _draw_tails(axes: Any, lanes: Sequence[tuple[str, Record, str]]) -> None:
    for place, (name, line, colour) in enumerate(lanes):
        p99_s = [float("nan") if value is None else value / 1000 for value in line["p99_ms"]]
        axes.stairs(p99_s, _edges(line), baseline=None, color=colour, linewidth=1.8)
        axes.text(
            1.015,
            0.94 - 0.13 * place,
            visible(name, 18),
            color=colour,
            transform=axes.transAxes,
            fontsize=8,
            va="center",
        )
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [tick for decade in range(-3, 4) for step in (1, 2, 5) if low <= (tick := step * 10.0**decade) <= high]
    axes.set_yticks(ticks, [exact(tick) for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylabel("p99 of each part, s")


def _draw_shares(axes: Any, line: Record) -> None:
    edges, below = _edges(line), [0.0] * len(line["requests"])
    layers = [(leg["name"], leg["answered"], _LEG_COLOURS[min(place, 3)]) for place, leg in enumerate(line["legs"])]
    for place, (label, counts, colour) in enumerate([*layers, ("not answered", line["lost"], RED)]):
        top = [base + 100 * times / max(of, 1) for base, times, of in zip(below, counts, line["requests"], strict=True)]
        axes.stairs(top, edges, baseline=below, fill=True, color=colour, alpha=0.75, linewidth=0)
        axes.text(
            1.015,
            0.9 - 0.2 * place,
            visible(label, 18),
            color=colour,
            transform=axes.transAxes,
            fontsize=8,
            va="center",
        )
        below = top
    axes.set_ylim(0, 100)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylabel("answered by, %")
    axes.set_xlabel("due time, s after the start of the run; shaded: from the cut to its healing")


def _draw_moments(upper: Any, lower: Any, drills: Sequence[Record]) -> None:
    """Shade each cut; a dotted line where the route switched and where it was back."""
    for drill in drills:
        begin = drill["at_ns"] / S
        end = upper.get_xlim()[1] if drill["healed_ns"] is None else drill["healed_ns"] / S
        moments = [(begin, drill["switch_ms"], "switched"), (end, drill["fail_back_ms"], "back")]
        for axes in (upper, lower):
            axes.axvspan(begin, end, color=GREY, alpha=0.18, linewidth=0)
            for since, after_ms, _ in moments:
                if after_ms is not None:
                    axes.axvline(since + after_ms / 1000, color=RED, linewidth=1, linestyle=(0, (2, 2)))
        for since, after_ms, label in moments:
            if after_ms is not None:
                upper.text(since + after_ms / 1000, 1.02, f"{label} +{_time(after_ms)}", transform=upper.get_xaxis_transform(),
                           fontsize=8, ha="center", va="bottom")  # fmt: skip
