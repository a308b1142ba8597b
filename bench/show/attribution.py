"""Where the slow requests come from: one line, a report's section, a screen.

In: records of attribution.json. Out: strings, tables, a figure and one section a lane. Must
stay true: it says "associated with" and never "caused by"; what was not tested or did not stand is
not named; foreign text has passed through `wording.visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.record.records.attribution import Confounded, LaneAttribution, When
from bench.show.document import Figure, Node, Pairs, Section, Table, Text, text_table
from bench.show.plots.canvas import BLUE, GREY, draw_svg
from bench.show.wording import ABSENT, count, milliseconds, number, per_cent, visible

#: Levels that one line names, and that a table lists.
_NAMED_MOST, _LISTED_MOST = 4, 20
_ODDS_MOST = 1000
_SAY = {("connection", "new"): "new connection", ("cold start", "yes"): "cold start"}
_CAVEAT = (
    "Share of the tail that would vanish if the level behaved like the rest (population"
    " attributable fraction): what it is associated with, not what caused it. Shares of single"
    " levels overlap and need not sum to 100 %."
)


def level_name(factor: str, level: str) -> str:
    """`context >32K`, `phase burst`, `new connection`."""
    return _SAY.get((factor, level), f"{factor} {visible(level, 60)}")


def attribution_line(name: str, record: LaneAttribution) -> str:
    """`the slow 1 % of standard is associated with: phase burst 83 % (76 – 89), context
    >32K 9 %`.
    """
    share = per_cent(record.tail / record.n, 1) if record.tail else "requests"
    head = (
        f"the slow {share} of {visible(name, 60)} {'is' if record.tail else 'are'} associated"
        " with: "
    )
    if record.reason:
        return head + visible(record.reason)
    causes = [
        _with_limits(level_name(cause.factor, cause.level), cause.paf, cause.paf_95)
        for cause in record.causes[:_NAMED_MOST]
    ]
    if not causes:
        causes = ["nothing that was recorded stands out"]
        if record.when:
            causes.append(_when(record.when))
    return head + ", ".join(causes)


def _with_limits(name: str, share: float, limits: Sequence[float | None]) -> str:
    low, high = limits
    inside = (
        ""
        if low is None or high is None
        else (
            f" ({per_cent(max(low, 0), 0).removesuffix(' %')} –"
            f" {per_cent(high, 0).removesuffix(' %')})"
        )
    )
    return f"{name} {per_cent(share, 0)}{inside}"


def _when(when: When) -> str:
    return f"{per_cent(when.share_of_tail, 0)} of it fell into {', '.join(when.slices)}"


def attribution_section(name: str, record: LaneAttribution, number_of: int = 0) -> Section:
    """Everything about the tail of one lane, for the report; `number_of` keeps the figures' files
    apart.
    """
    tables, figures = _tables(record), list[Figure]()
    if (svg := causes_figure(name, record)) is not None:
        file = f"attribution-{number_of:02d}-causes.svg"
        figures.append(Figure("what the tail is associated with", file, svg))
    nodes = [*_before(record), *tables[:2], *figures, *tables[2:]]
    target = visible(name, 60)
    return Section("", f"Slow requests of {target}", nodes, target=target)


def attribution_screen(name: str, record: LaneAttribution) -> list[Node]:
    """One lane on a screen, verdict first."""
    return [Text(attribution_line(name, record)), *_before(record), *_tables(record)]


def _before(record: LaneAttribution) -> list[Node]:
    notes = [_CAVEAT] if record.levels else []
    notes += [_confounding(level) for level in record.confounded]
    return [Pairs(list(_about(record))), *map(Text, notes)]


def _tables(record: LaneAttribution) -> list[Table[Any]]:
    found = (_levels(record), _shares(record), _time(record))
    return [table for table in found if table is not None]


def _about(record: LaneAttribution) -> Iterator[tuple[str, str]]:
    metric = f"{record.view} {record.metric}"
    where = "the limit" if record.by == "limit" else "the run's own p99"
    yield (
        "the tail",
        (
            f"{count(record.tail)} of {count(record.n)} requests: {metric} above"
            f" {milliseconds(record.above_ms)}, {where}"
        ),
    )
    if record.failed:
        failed = ", ".join(f"{name} {count(times)}" for name, times in record.failed.items())
        yield "failed, in the tail", failed
    if record.set_apart:
        yield "set apart", f"{count(record.set_apart)} cut off or never sent: nobody knows"
    if record.reason:
        yield "not looked into", visible(record.reason)
        return
    causes = [level_name(cause.factor, cause.level) for cause in record.causes]
    yield "associated with", ", ".join(causes) or "nothing that was recorded"
    if record.when:
        yield "when", _when(record.when)


def _confounding(level: Confounded) -> str:
    crude, within = level.odds_ratio_crude, level.mh_odds_ratio
    part = (
        "part of it goes with the context size"
        if within < crude
        else "the context size hides part of it"
    )
    return (
        f"{level_name(level.factor, level.level)}: odds ratio {_odds(crude)}, within like"
        f" contexts {_odds(within)}: {part}."
    )


def _levels(record: LaneAttribution) -> Table[Any] | None:
    """Levels that stood the test; where a level is named, its factor's others are but its
    mirror.
    """
    named = {level.factor for level in record.levels if level.effect == "associated"}
    shown = [
        level
        for level in record.levels
        if level.effect == "associated"
        or (level.effect == "protective" and level.factor not in named)
    ]
    rows = [
        [
            level_name(level.factor, level.level),
            level.effect,
            per_cent(level.paf, 0),
            _interval(level.paf_95),
            per_cent(level.share_of_tail, 0),
            per_cent(level.share_overall, 0),
            _odds(level.odds_ratio),
            _odds(level.mh_odds_ratio),
            number(level.p99_ms),
            number(level.p99_without_ms),
        ]
        for level in shown[:_LISTED_MOST]
    ]
    head = [
        "level",
        "effect",
        "of the tail",
        "95 % interval",
        "share in tail",
        "share of all",
        "odds ratio",
        "within like contexts",
        "its p99 ms",
        "p99 without it ms",
    ]
    return text_table("What the tail is associated with", head, rows, words=2) if rows else None


def _odds(ratio: float | None) -> str:
    """Beyond a thousand the rows no longer tell how many times."""
    return number(ratio) if ratio is None or ratio <= _ODDS_MOST else f"> {_ODDS_MOST:,}"


def _interval(limits: Sequence[float | None]) -> str:
    low, high = limits
    return ABSENT if low is None or high is None else f"{100 * low:z.0f} – {100 * high:z.0f} %"


def _shares(record: LaneAttribution) -> Table[Any] | None:
    found = record.shapley
    if found is None:
        return None
    rows = [
        [
            ", ".join(level_name(one.factor, level) for level in one.levels),
            per_cent(one.share, 0),
        ]
        for one in found.factors
    ]
    rows.append(["none of them", per_cent(found.baseline, 0)])
    return text_table("Shared out so that it adds up (Shapley)", ["factor", "of the tail"], rows)


def _time(record: LaneAttribution) -> Table[Any] | None:
    found = record.decomposition
    if found is None:
        return None
    parts = [part for part in found.parts if part.tail_ms or part.body_ms]
    rows = [
        [
            part.about,
            number(part.tail_ms),
            number(part.body_ms),
            number(part.excess_ms),
            (ABSENT if part.share_of_excess is None else f"{100 * part.share_of_excess:z.0f} %"),
        ]
        for part in parts
    ]
    rows.append(
        [
            "whole",
            *map(number, (found.tail_ms, found.body_ms, found.tail_ms - found.body_ms)),
            "",
        ]
    )
    caption = (
        f"Where the time goes: mean of {count(found.tail_rows)} slow against"
        f" {count(found.body_rows)} other answers, ms"
    )
    return text_table(caption, ["part", "slow", "others", "more", "of the excess"], rows)


def causes_figure(name: str, record: LaneAttribution) -> str | None:
    """The share of the tail that each named level is associated with, with its interval (SVG); None
    without any.
    """
    causes = record.causes[:_LISTED_MOST]
    if not causes:
        return None
    title = f"Where do the slow requests come from? {visible(name, 32)}"
    height = 1.15 + 0.28 * len(causes)

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.24, 0.5 / height, 0.58, (height - 0.85) / height))
        axes.set_title(title)
        axes.set_xlim(0, 100)
        for place, cause in enumerate(causes):
            axes.barh(place, 100 * cause.paf, height=0.5, color=BLUE, alpha=0.75)
            low, high = cause.paf_95
            if low is not None and high is not None:
                axes.plot(
                    [min(max(100 * limit, 0), 100) for limit in (low, high)],
                    [place, place],
                    color=GREY,
                    linewidth=2,
                )
            axes.text(
                1.02,
                place,
                _with_limits("", cause.paf, cause.paf_95).strip(),
                fontsize=8,
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        axes.set_yticks(
            range(len(causes)),
            [level_name(cause.factor, visible(cause.level, 16)) for cause in causes],
        )
        axes.set_ylim(len(causes) - 0.5, -0.5)
        axes.set_xlabel("% of the slow requests associated with it; line: 95 % interval")

    return draw_svg(title, height, draw)
