"""A run that goes on, in pictures: percentile curves and strips of time that fill.

In: a `Standing`. Out: the sections of the watch page. Must stay true: no verdict and no shape of
one, for the run is not over; the graphics are those of the report, so that nothing looks another
way at the end; a stage that has not begun has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from bench.extras.ui.growing import LaneStanding, Standing
from bench.metrics import METRICS
from bench.show.graphics.panel import Axis, Panel, PanelOf, Panels
from bench.show.graphics.strip import HeatStrip, StageStrips, StripKey
from bench.show.wording import capital, count, milliseconds, number, per_cent, visible
from bench.units import show_duration, show_list

#: Up to so many targets have large panels; so many panels on the page, and grey curves behind one.
_FEW, _PANELS_MOST, _PEERS_MOST = 3, 60, 6


def figures(standing: Standing) -> Markup:
    """Both sections; nothing before the first answer."""
    begun = [lane for lane in standing.lanes if lane.curve or sum(lane.slices.requests)]
    if not begun:
        return Markup("")
    by_stage = _by_stage(begun)
    parts = [_section("slow", "How slow so far?", _slow(begun), [_panels(by_stage)])]
    if timed := [lane for lane in begun if sum(lane.slices.requests)]:
        strips = _strips(_by_stage(timed))
        parts.append(_section("when", "When was it slow?", _when(timed), strips))
    return Markup("\n").join(parts)


def _by_stage(lanes: Sequence[LaneStanding]) -> dict[str, list[LaneStanding]]:
    found: dict[str, list[LaneStanding]] = {}
    for lane in lanes:
        found.setdefault(lane.stage, []).append(lane)
    return found


def _section(key: str, question: str, answer: str, graphics: Sequence[Markup]) -> Markup:
    return Markup(
        '<section aria-labelledby="{0}"><h2 id="{0}">{1}</h2><p class="ans">{2}</p>{3}'
    ).format(key, question, answer, Markup("").join(graphics)) + Markup("</section>")


def _slow(lanes: Sequence[LaneStanding]) -> str:
    """Whose p99 is the longest so far."""
    found = [
        (p99, lane)
        for lane in lanes
        if (p99 := lane.quantiles_ms[lane.metric].get("p99")) is not None
    ]
    if not found:
        return "No answer so far."
    p99, lane = max(found, key=lambda each: each[0])
    whose = f" is that of {visible(lane.name, 60)}" if len(lanes) > 1 else ""
    limit = f", against a limit of {milliseconds(lane.limit_ms)}" if lane.limit_ms else ""
    longest = "The longest p99" if len(lanes) > 1 else "The p99"
    return f"{longest} so far{whose}: {milliseconds(p99)}{limit}."


def _when(lanes: Sequence[LaneStanding]) -> str:
    """How many were slow or failed so far."""
    bad, of = (
        sum(sum(part) for part in each)
        for each in zip(*((lane.slices.bad, lane.slices.requests) for lane in lanes), strict=True)
    )
    said = f"{count(bad) if bad else 'None'} of {count(of)} requests were slow or failed so far."
    return f"{said} Beside each target: times its budget." if bad else said


def _panels(by_stage: dict[str, list[LaneStanding]]) -> Markup:
    lanes = [lane for each in by_stage.values() for lane in each]
    axis = Axis.around(
        value
        for lane in lanes
        for value in (*(ms for _, ms in lane.curve), lane.limit_ms)
        if value is not None
    )
    wide = len(lanes) <= _FEW
    shown = list[PanelOf]()
    for stage, of_stage in by_stage.items():
        for place, lane in enumerate(of_stage):
            others = [other.curve for other in of_stage if other is not lane]
            panel = Panel(
                says=f"{visible(lane.name, 60)}, percentiles so far: {_note(lane)}",
                curve=lane.curve,
                axis=axis,
                limit_ms=lane.limit_ms,
                peers=others if len(others) <= _PEERS_MOST else [],
                wide=wide,
            )
            group = "" if place or len(lanes) == 1 else visible(stage, 40)
            shown.append(PanelOf(visible(lane.name, 60), panel, "", _note(lane), group))
    metrics = show_list(list(dict.fromkeys(METRICS[lane.metric].long_label for lane in lanes)))
    key = f"{capital(metrics)} in seconds, logarithmic, the same axes everywhere."
    if any(lane.limit_ms for lane in lanes):
        key += " Dotted: the limit; shaded: over it."
    return Panels(key, shown[:_PANELS_MOST]).markup()


def _note(lane: LaneStanding) -> str:
    found = lane.quantiles_ms[lane.metric]
    return ", ".join(
        f"{name} {milliseconds(found[name])}" for name in ("p50", "p99") if found[name] is not None
    )


def _strips(by_stage: dict[str, list[LaneStanding]]) -> list[Markup]:
    lanes = [lane for each in by_stage.values() for lane in each]
    budgets = " – ".join(dict.fromkeys(per_cent(x) for x in sorted({_allowed(y) for y in lanes})))
    return [StripKey(budgets).markup(), *(strip.markup() for strip in _of_stages(by_stage))]


def _of_stages(by_stage: dict[str, list[LaneStanding]]) -> Iterator[StageStrips]:
    for stage, lanes in by_stage.items():
        length_ns = lanes[0].length_ns
        yield StageStrips(
            stage=visible(stage, 40),
            length=show_duration(length_ns),
            rows=[(visible(lane.name, 60), _times(lane), _strip(lane)) for lane in lanes],
            seconds=length_ns / 1e9,
        )


def _allowed(lane: LaneStanding) -> float:
    return lane.allowed if lane.allowed is not None else 0.01


def _strip(lane: LaneStanding) -> HeatStrip:
    found = lane.slices
    bad, of = sum(found.bad), sum(found.requests)
    says = f"{visible(lane.name, 60)} so far: {count(bad)} of {count(of)} slow or failed"
    return HeatStrip(says, found.requests, found.bad, found.failed, _allowed(lane))


def _times(lane: LaneStanding) -> str:
    """`4.5 ×`, of a lane whose clause has a budget."""
    of = sum(lane.slices.requests)
    if not lane.allowed or not of:
        return ""
    return f"{number(round(sum(lane.slices.bad) / of / lane.allowed, 1))} ×"
