"""A comparison as a part of the report, as text for the screen, and as two figures.

In: one record of comparisons.json. Out: a `Part` of the page, its lines, SVG text. Must stay
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

Record = Mapping[str, Any]
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
_NO_RATIO: Record = {"baseline_ms": None, "other_ms": None, "ratio": None, "interval": [None, None]}
STYLES = {
    "MATERIALLY_BETTER": "bold green",
    "BETTER": "bold green",
    "WORSE": "bold red",
    "INCONCLUSIVE": "bold yellow",
}


def comparison_part(record: Record, number_of: int = 0) -> Part:
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


def _words(record: Record) -> Part:
    """A pair without its figures."""
    return Part(
        comparison_title(record),
        list(_about(record)),
        list(_tables(record)),
        [],
        [visible(warning) for warning in record["warnings"]],
    )


def comparison_text(record: Record, width: int = WIDTH) -> Text:
    """The same for the screen; foreign text is never read as markup."""
    part, text = _words(record), Text()
    text.append(f"{part.name}\n", "bold")
    for warning in part.notes:
        text.append(
            "".join(f"{line}\n" for line in wrapped(" warning      ", warning, width)), "yellow"
        )
    for name, value in part.about:
        label = f" {name:<12} "
        style = STYLES.get(record["headline"], "") if name == "outcome" else ""
        text.append("".join(f"{line}\n" for line in wrapped(label, value, width)), style)
    for table in part.tables:
        text.append("".join(f" {line}\n" for line in table_lines(table, width - 1)))
    text.rstrip()
    return text


def _name(record: Record, side: str) -> str:
    """The arm's name, with its run where the two come from different ones."""
    arm, several = record[side], record["baseline"]["run"] != record["other"]["run"]
    return visible(arm["name"], 60) + (f" of {visible(arm['run'], 60)}" if several else "")


def comparison_title(record: Record) -> str:
    return f"{_name(record, 'other')} against {_name(record, 'baseline')}"


def _about(record: Record) -> Iterator[tuple[str, str]]:
    held = [f"{name} ({OUTCOMES[name]})" for name in record["outcomes"]]
    yield "outcome", ", ".join(held)
    yield "because", visible(record["reason"])
    yield (
        "design",
        (
            f"{DESIGNS[record['design']]}; response {METRICS[record['metric']].long_label}, margin "
            f"{per_cent(record['margin'])}, {count(record['superblocks'])} superblocks"
        ),
    )
    yield (
        "rows",
        "; ".join(
            f"{visible(arm['name'], 60)} {count(arm['n'])}, {count(arm['failed'])} failed"
            + (f", {count(arm['undecided'])} cut off and left out" if arm["undecided"] else "")
            for arm in (record["baseline"], record["other"])
        ),
    )
    if (over := record["exceedance"]) is not None:
        yield f"over {over['limit_ms']:,.6g} ms", _exceedance(over)
    if record["permutation"] is not None:
        yield "everywhere", _dominance(record)
    if record["aa"] is not None:
        yield "A/A check", _aa(record["aa"])
    yield "price", _price(record)


def _exceedance(over: Record) -> str:
    shares = " against ".join(
        f"{per_cent(over[side]['share'])} ({count(over[side]['over'])} of {count(over[side]['n'])})"
        for side in ("other", "baseline")
    )
    low, high = (_points(limit) for limit in over["interval"])
    fisher = "" if over["fisher_p"] is None else f", Fisher p {over['fisher_p']:.2g}"
    return f"{shares}; difference {_points(over['difference'])} points ({low} to {high}){fisher}"


def _points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: `-34.4`, `+0.06`, `0`."""
    size = number(abs(100 * share))
    return size if size in ("0", "0.000") else f"{'-' if share < 0 else '+'}{size}"


def _dominance(record: Record) -> str:
    found = record["permutation"]
    faster = {"other": _name(record, "other"), "baseline": _name(record, "baseline")}
    said = {
        "none": "no latency at which the one is shown to be faster than the other",
        "crosses": (
            f"the distributions cross at {milliseconds(found['crosses_ms'])}: each is faster on one"
            " side"
        ),
    }
    verdict = (
        said.get(found["dominance"])
        or f"{faster[found['dominance']]} is faster somewhere and nowhere shown to be slower"
    )
    return f"{verdict}; equal tails: permutation p {found['p_value']:.2g}"


def _aa(check: Record) -> str:
    if check["rejects"] is None:
        return visible(check["reason"])
    quantile = name_of_key(check["quantile"])
    what = (
        f"{quantile} ratio of the same target {_interval(check['interval'])} at"
        f" {per_cent(check['confidence'])}"
    )
    return f"{what}: {'REJECTS, so nothing is proven' if check['rejects'] else 'does not reject'}"


def _price(record: Record) -> str:
    found = record["price"]
    said = []
    if found["yearly_usd"] is not None:
        said.append(f"{found['yearly_usd']:,.0f} USD a year on top of the tokens")
    if (extra := found["extra_usd_per_request"]) is not None:
        said.append(f"{'+' * (extra > 0)}{show_usd(1000 * extra)} USD per 1,000 requests")
    if found["usd_per_1000_requests_per_ms"] is not None:
        said.append(
            f"{show_usd(found['usd_per_1000_requests_per_ms'])} USD per 1,000 requests for each ms"
            " of p99 gained"
        )
    if found["usd_per_avoided_miss"] is not None:
        said.append(
            f"{show_usd(found['usd_per_avoided_miss'])} USD per avoided miss: it pays where a miss"
            " costs more"
        )
    if found["requests_per_breach"] is not None:
        said.append(
            f"{found['requests_per_breach']:,.0f} requests cost as much more as one breach of the"
            " contract"
        )
    return "; ".join([*said, *([visible(found["reason"])] if found["reason"] else [])])


def _tables(record: Record) -> Iterator[Table]:
    head = ["quantile", "baseline, ms", "other, ms", "ratio", "95 % interval", "MDE"]
    if record["ratios"]:
        yield Table(
            "Ratio of the quantiles, other over baseline",
            head,
            [
                [
                    name_of_key(name),
                    number(ratio["baseline_ms"]),
                    number(ratio["other_ms"]),
                    _ratio(ratio["ratio"]),
                    _interval(ratio["interval"]),
                    _ratio(ratio["mde"]),
                ]
                for name, ratio in record["ratios"].items()
            ],
        )
    for kind, title, first in (
        ("by_phase", "By phase: p99, and how far the shares over the limit lie apart", "phase"),
        ("by_bucket", "By context bucket: the same", "prompt tokens"),
    ):
        if record[kind]:
            rows = []
            for name, part in record[kind].items():
                p99 = part["ratios"].get("p99") or _NO_RATIO
                over = (
                    ABSENT
                    if part["exceedance"] is None
                    else _points(part["exceedance"]["difference"])
                )
                rows.append(
                    [
                        visible(name, 20),
                        part["headline"],
                        number(p99["baseline_ms"]),
                        number(p99["other_ms"]),
                        _ratio(p99["ratio"]),
                        _interval(p99["interval"]),
                        over,
                    ]
                )
            head = [
                first,
                "outcome",
                "baseline, ms",
                "other, ms",
                "p99 ratio",
                "95 % interval",
                "misses, points",
            ]
            yield Table(title, head, rows, words=2)


def _ratio(value: float | None) -> str:
    return ABSENT if value is None else show_ratio(value)


def _interval(limits: Sequence[float | None]) -> str:
    return between(limits, _ratio, "no bound")


# ---- figures


def shift_figure(record: Record) -> str | None:
    """How many ms the other arm is faster or slower at each quantile of the baseline; None without
    a shift.
    """
    points = record["shift"]
    if not points:
        return None
    title = f"Where is it faster? {comparison_title(record)}"

    def draw(figure: Any) -> Mapping[str, str]:
        axes = figure.add_axes((0.125, 0.16, 0.83, 0.72))
        axes.set_title(title)
        places = range(len(points))
        low, high = ([point["interval"][side] for point in points] for side in (0, 1))
        axes.fill_between(places, low, high, color=BLUE, alpha=0.22, linewidth=0)
        axes.plot(
            places,
            [point["shift_ms"] for point in points],
            "o-",
            color=BLUE,
            linewidth=1.8,
            markersize=4,
        )
        axes.axhline(0, color=RED, linewidth=1, linestyle=(0, (5, 3)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:+,.6g}" if value else "0")
        axes.set_xticks(
            places,
            [f"p{exact(100 * point['q'])}\n{number(point['baseline_ms'])}" for point in points],
            fontsize=8,
        )
        axes.set_ylabel("other less baseline, ms")
        axes.set_xlabel(
            "quantile, and the baseline's latency there in ms; band: 95 % for all quantiles at once"
        )
        return readings(
            figure,
            (
                (axes, place, point["shift_ms"], _shifted(point))
                for place, point in enumerate(points)
            ),
        )

    return draw_svg(title, 3.5, draw)


def _shifted(point: Record) -> str:
    """What a reader may ask of a quantile: `p90: -1,720 ms (-1,910 – -1,330)`."""
    low, high = point["interval"]
    return (
        f"p{exact(100 * point['q'])}: {milliseconds(point['shift_ms'])} ({number(low)} –"
        f" {number(high)})"
    )


def ratio_figure(record: Record) -> str | None:
    """The ratio of every quantile, and of the p99 in every part, with its interval and the margin;
    None without any.
    """
    rows = [(name_of_key(name), ratio) for name, ratio in record["ratios"].items()]
    rows += [
        (f"p99, {visible(name, 16)}", part["ratios"]["p99"])
        for kind in ("by_phase", "by_bucket")
        for name, part in record[kind].items()
        if "p99" in part["ratios"]
    ]
    rows = [
        (name, ratio) for name, ratio in rows if ratio["ratio"] and None not in ratio["interval"]
    ]
    if not rows:
        return None
    title = f"How many times as long? {comparison_title(record)}"
    height = 1.15 + 0.24 * len(rows)
    least = 1 - record["margin"]

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.19, 0.5 / height, 0.62, (height - 0.85) / height))
        axes.set_title(title)
        axes.set_xscale("log")
        axes.axvspan(least, 1 / least, color=GREY, alpha=0.18, linewidth=0)
        axes.axvline(1, color=RED, linewidth=1, linestyle=(0, (5, 3)))
        for place, (_, ratio) in enumerate(rows):
            axes.plot(ratio["interval"], [place, place], color=BLUE, linewidth=1.8)
            axes.plot(ratio["ratio"], place, "s", color=BLUE, markersize=5)
            axes.text(
                1.02,
                place,
                f"{_ratio(ratio['ratio'])} ({_interval(ratio['interval'])})",
                fontsize=8,
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        ends = [limit for _, ratio in rows for limit in ratio["interval"]]
        low, high = min(*ends, least) / 1.1, max(*ends, 1 / least) * 1.1
        ticks = [
            tick
            for tick in (
                0.01,
                0.02,
                0.05,
                0.1,
                0.2,
                0.5,
                0.7,
                0.8,
                0.9,
                1,
                1.1,
                1.25,
                1.5,
                2,
                5,
                10,
                20,
                50,
                100,
            )
            if low <= tick <= high
            and (high / low < 4 or tick not in (0.7, 0.8, 0.9, 1.1, 1.25, 1.5))
        ]
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, [exact(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(
            "other over baseline, log scale; line: 95 % interval, shaded: within the margin of"
            f" {per_cent(record['margin'])}"
        )

    return draw_svg(title, height, draw)
