"""A comparison as a part of the report, as text for the screen, and as two figures.

In: one pair of comparisons.json. Out: a `Part` of the page, its lines, SVG text. Must stay
true: the outcome and its reason come first, then what to mistrust; what has no number shows its
reason; every name has passed through `wording.visible`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from bench.metrics import METRICS
from bench.plan.budget import show_usd
from bench.quantiles import name_of_key
from bench.record.records.comparisons import (
    AACheck,
    Comparison,
    Exceedance,
    PartComparison,
    Permutation,
    RatioRecord,
    ShiftPoint,
)
from bench.show.figures import Figure
from bench.show.page import Part, Table
from bench.show.plots.canvas import BLUE, GREY, RED, draw_svg, readings
from bench.show.tables import table_lines
from bench.show.terminal import WIDTH, wrapped
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
from bench.units import show_ratio

OUTCOMES = {
    "MATERIALLY_BETTER": "better by more than the margin",
    "EQUIVALENT": "the same within the margin",
    "WORSE": "worse",
    "BETTER": "better",
    "NOT_MATERIALLY_BETTER": "no gain as large as the margin",
    "INCONCLUSIVE": "undecided",
}
DESIGNS = {
    "random": "interleaved in one run, each request sent to an arm at random",
    "abba": "interleaved in one run, in ABBA blocks",
    "side by side": "measured side by side, each with arrivals of its own",
    "one after the other": "measured one after the other",
}
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_CLOSE_TICKS = (0.7, 0.8, 0.9, 1.1, 1.25, 1.5)
STYLES = {
    "MATERIALLY_BETTER": "bold green",
    "BETTER": "bold green",
    "WORSE": "bold red",
    "INCONCLUSIVE": "bold yellow",
}


def comparison_part(record: Comparison, number_of: int = 0) -> Part:
    """One pair for the page; `number_of` tells the files of its figures apart."""
    figures = [
        Figure(title, f"compare-{number_of:02d}-{kind}.svg", svg)
        for kind, title, svg in (
            ("shift", "shift function", shift_figure(record)),
            ("ratios", "ratios", ratio_figure(record)),
        )
        if svg is not None
    ]
    return dataclasses.replace(_words(record), figures=figures)


def _words(record: Comparison) -> Part:
    """A pair without its figures."""
    return Part(
        comparison_title(record),
        list(_about(record)),
        list(_tables(record)),
        [],
        [visible(warning) for warning in record.warnings],
    )


def comparison_text(record: Comparison, width: int = WIDTH) -> Text:
    """The same for the screen; foreign text is never read as markup."""
    part, text = _words(record), Text()
    text.append(f"{part.name}\n", "bold")
    for warning in part.notes:
        text.append(
            "".join(f"{line}\n" for line in wrapped(" warning      ", warning, width)), "yellow"
        )
    for name, value in part.about:
        label = f" {name:<12} "
        style = STYLES.get(record.headline, "") if name == "outcome" else ""
        text.append("".join(f"{line}\n" for line in wrapped(label, value, width)), style)
    for table in part.tables:
        text.append("".join(f" {line}\n" for line in table_lines(table, width - 1)))
    text.rstrip()
    return text


def _name(record: Comparison, side: str) -> str:
    """The arm's name, with its run where the two come from different ones."""
    arm, several = getattr(record, side), record.baseline.run != record.other.run
    return visible(arm.name, 60) + (f" of {visible(arm.run, 60)}" if several else "")


def comparison_title(record: Comparison) -> str:
    return f"{_name(record, 'other')} against {_name(record, 'baseline')}"


def _about(record: Comparison) -> Iterator[tuple[str, str]]:
    held = [f"{name} ({OUTCOMES[name]})" for name in record.outcomes]
    yield "outcome", ", ".join(held)
    yield "because", visible(record.reason)
    yield (
        "design",
        (
            f"{DESIGNS[record.design]}; response {METRICS[record.metric].long_label}, margin "
            f"{per_cent(record.margin)}, {count(record.superblocks)} superblocks"
        ),
    )
    yield (
        "rows",
        "; ".join(
            f"{visible(arm.name, 60)} {count(arm.n)}, {count(arm.failed)} failed"
            + (f", {count(arm.undecided)} cut off and left out" if arm.undecided else "")
            for arm in (record.baseline, record.other)
        ),
    )
    if (over := record.exceedance) is not None:
        yield f"over {over.limit_ms:,.6g} ms", _exceedance(over)
    if record.permutation is not None:
        yield "everywhere", _dominance(record, record.permutation)
    if record.aa is not None:
        yield "A/A check", _aa(record.aa)
    yield "price", _price(record)


def _exceedance(over: Exceedance) -> str:
    shares = " against ".join(
        f"{per_cent(arm.share)} ({count(arm.over)} of {count(arm.n)})"
        for arm in (over.other, over.baseline)
    )
    low, high = (_points(limit) for limit in over.interval)
    fisher = "" if over.fisher_p is None else f", Fisher p {over.fisher_p:.2g}"
    return f"{shares}; difference {_points(over.difference)} points ({low} to {high}){fisher}"


def _points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: `-34.4`, `+0.06`, `0`."""
    size = number(abs(100 * share))
    return size if size in ("0", "0.000") else f"{'-' if share < 0 else '+'}{size}"


def _dominance(record: Comparison, found: Permutation) -> str:
    faster = {"other": _name(record, "other"), "baseline": _name(record, "baseline")}
    said = {
        "none": "no latency at which the one is shown to be faster than the other",
        "crosses": (
            f"the distributions cross at {milliseconds(found.crosses_ms)}: each is faster on one"
            " side"
        ),
    }
    verdict = (
        said.get(found.dominance)
        or f"{faster[found.dominance]} is faster somewhere and nowhere shown to be slower"
    )
    return f"{verdict}; equal tails: permutation p {found.p_value:.2g}"


def _aa(check: AACheck) -> str:
    if check.rejects is None:
        return visible(check.reason)
    assert check.quantile is not None
    assert check.interval is not None
    what = (
        f"{name_of_key(check.quantile)} ratio of the same target {_interval(check.interval)} at"
        f" {per_cent(check.confidence)}"
    )
    return f"{what}: {'REJECTS, so nothing is proven' if check.rejects else 'does not reject'}"


def _price(record: Comparison) -> str:
    found = record.price
    said = []
    if found.yearly_usd is not None:
        said.append(f"{found.yearly_usd:,.0f} USD a year on top of the tokens")
    if (extra := found.extra_usd_per_request) is not None:
        said.append(f"{'+' * (extra > 0)}{show_usd(1000 * extra)} USD per 1,000 requests")
    if found.usd_per_1000_requests_per_ms is not None:
        said.append(
            f"{show_usd(found.usd_per_1000_requests_per_ms)} USD per 1,000 requests for each ms"
            " of p99 gained"
        )
    if found.usd_per_avoided_miss is not None:
        said.append(
            f"{show_usd(found.usd_per_avoided_miss)} USD per avoided miss: it pays where a miss"
            " costs more"
        )
    if found.requests_per_breach is not None:
        said.append(
            f"{found.requests_per_breach:,.0f} requests cost as much more as one breach of the"
            " contract"
        )
    return "; ".join([*said, *([visible(found.reason)] if found.reason else [])])


def _tables(record: Comparison) -> Iterator[Table]:
    if record.ratios:
        yield Table(
            "Ratio of the quantiles, other over baseline",
            ["quantile", "baseline, ms", "other, ms", "ratio", "95 % interval", "MDE"],
            [
                [name_of_key(name), *_numbers(each), _ratio(each.mde)]
                for name, each in record.ratios.items()
            ],
        )
    for parts, title, first in (
        (
            record.by_phase,
            "By phase: p99, and how far the shares over the limit lie apart",
            "phase",
        ),
        (record.by_bucket, "By context bucket: the same", "prompt tokens"),
    ):
        if parts:
            head = [
                *(first, "outcome", "baseline, ms", "other, ms"),
                *("p99 ratio", "95 % interval", "misses, points"),
            ]
            rows = [_part_row(name, part) for name, part in parts.items()]
            yield Table(title, head, rows, words=2)


def _part_row(name: str, part: PartComparison) -> list[str]:
    p99, over = part.ratios.get("p99"), part.exceedance
    return [
        visible(name, 20),
        part.headline,
        *([ABSENT] * 3 + [_interval((None, None))] if p99 is None else _numbers(p99)),
        ABSENT if over is None else _points(over.difference),
    ]


def _numbers(ratio: RatioRecord) -> list[str]:
    return [
        number(ratio.baseline_ms),
        number(ratio.other_ms),
        _ratio(ratio.ratio),
        _interval(ratio.interval),
    ]


def _ratio(value: float | None) -> str:
    return ABSENT if value is None else show_ratio(value)


def _interval(limits: Sequence[float | None]) -> str:
    return between(limits, _ratio, "no bound")


# ---- figures


def shift_figure(record: Comparison) -> str | None:
    """How many ms the other arm is faster or slower at each quantile of the baseline; None without
    a shift.
    """
    points = record.shift
    if not points:
        return None
    title = f"Where is it faster? {comparison_title(record)}"

    def draw(figure: Any) -> Mapping[str, str]:
        axes = figure.add_axes((0.125, 0.16, 0.83, 0.72))
        axes.set_title(title)
        places = range(len(points))
        low, high = ([point.interval[side] for point in points] for side in (0, 1))
        axes.fill_between(places, low, high, color=BLUE, alpha=0.22, linewidth=0)
        axes.plot(
            places,
            [point.shift_ms for point in points],
            "o-",
            color=BLUE,
            linewidth=1.8,
            markersize=4,
        )
        axes.axhline(0, color=RED, linewidth=1, linestyle=(0, (5, 3)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:+,.6g}" if value else "0")
        axes.set_xticks(
            places,
            [f"p{exact(100 * point.q)}\n{number(point.baseline_ms)}" for point in points],
            fontsize=8,
        )
        axes.set_ylabel("other less baseline, ms")
        axes.set_xlabel(
            "quantile, and the baseline's latency there in ms; band: 95 % for all quantiles at once"
        )
        return readings(
            figure,
            ((axes, place, point.shift_ms, _shifted(point)) for place, point in enumerate(points)),
        )

    return draw_svg(title, 3.5, draw)


def _shifted(point: ShiftPoint) -> str:
    """What a reader may ask of a quantile: `p90: -1,720 ms (-1,910 – -1,330)`."""
    low, high = point.interval
    return (
        f"p{exact(100 * point.q)}: {milliseconds(point.shift_ms)} ({number(low)} – {number(high)})"
    )


def ratio_figure(record: Comparison) -> str | None:
    """The ratio of every quantile, and of the p99 in every part, with its interval and the margin;
    None without any.
    """
    rows = _figure_rows(record)
    if not rows:
        return None
    title = f"How many times as long? {comparison_title(record)}"
    height = 1.15 + 0.24 * len(rows)
    least = 1 - record.margin

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.19, 0.5 / height, 0.62, (height - 0.85) / height))
        axes.set_title(title)
        axes.set_xscale("log")
        axes.axvspan(least, 1 / least, color=GREY, alpha=0.18, linewidth=0)
        axes.axvline(1, color=RED, linewidth=1, linestyle=(0, (5, 3)))
        for place, (_, ratio, limits) in enumerate(rows):
            axes.plot(limits, [place, place], color=BLUE, linewidth=1.8)
            axes.plot(ratio, place, "s", color=BLUE, markersize=5)
            axes.text(
                1.02,
                place,
                f"{_ratio(ratio)} ({_interval(limits)})",
                fontsize=8,
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        ends = [limit for *_, limits in rows for limit in limits]
        _ratio_axis(axes, min(*ends, least) / 1.1, max(*ends, 1 / least) * 1.1)
        axes.set_xlabel(
            "other over baseline, log scale; line: 95 % interval, shaded: within the margin of"
            f" {per_cent(record.margin)}"
        )

    return draw_svg(title, height, draw)


def _figure_rows(record: Comparison) -> list[tuple[str, float, tuple[float, float]]]:
    """(name, ratio, limits) of what has both limits."""
    named = [(name_of_key(name), ratio) for name, ratio in record.ratios.items()]
    named += [
        (f"p99, {visible(name, 16)}", part.ratios["p99"])
        for name, part in (*record.by_phase.items(), *record.by_bucket.items())
        if "p99" in part.ratios
    ]
    rows = []
    for name, ratio in named:
        low, high = ratio.interval
        if ratio.ratio and low is not None and high is not None:
            rows.append((name, ratio.ratio, (low, high)))
    return rows


def _ratio_axis(axes: Any, low: float, high: float) -> None:
    """A log axis with few round ticks, more where it is short."""
    ticks = [
        tick
        for tick in sorted(_TICKS + _CLOSE_TICKS)
        if low <= tick <= high and (high / low < 4 or tick in _TICKS)
    ]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [exact(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
