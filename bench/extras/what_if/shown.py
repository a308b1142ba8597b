"""Router policies tried on recorded rows: a table, a figure, lines of a screen.

In: a `WhatIf`. Out: nodes of a screen, SVG text. Must stay true: what
rests on an assumption says which; measured and estimated rows are kept apart; foreign text has
passed through `wording.visible`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from bench.extras.what_if.record import TriedRow, WhatIf
from bench.extras.what_if.trade_off import Point, latency_against_cost
from bench.show.document import Column, Table, Text
from bench.show.result import Result
from bench.show.wording import (
    between,
    count,
    duration,
    milliseconds,
    number,
    per_cent,
    usd,
    visible,
)

_AT = {"sequential": "slower than", "deadline": "after", "hedge": "after"}
_ASSUMPTION = {
    "paired": (
        "paired: each request of the one with the same request of the other, so what slows both"
        " stays in"
    ),
    "independent": "independent: every request of the one with every request of the other",
}
_NOT_IN = (
    "Not in these figures: what the calls of the router itself would have done to the load of the"
    " two, and breakers, retries and sessions."
)


def row_name(row: TriedRow) -> str:
    """`hedge after 1 s`, `sequential slower than 3 s, as published`, or the measured lane's
    name.
    """
    if row.policy is None:
        return visible(row.name, 40)
    return f"{row.policy} {_AT[row.policy]} {_at(row)}" + (
        ", as published" if row.published else ""
    )


def _at(row: TriedRow) -> str:
    return duration(row.at_ms or 0)


@dataclasses.dataclass(frozen=True)
class _Tried:
    """A row of the record, and the record."""

    record: WhatIf
    row: TriedRow


def _interval_heading(rows: Sequence[_Tried]) -> str:
    return f"its {per_cent(rows[0].record.confidence)} interval"


def _priced(rows: Sequence[_Tried]) -> bool:
    return not rows[0].record.unpriced


WHAT_IF_COLUMNS: list[Column[_Tried]] = [
    Column("policy", lambda tried: _label(tried.row), "words"),
    Column("", lambda tried: "*" if tried.row.on_front else "", "words"),
    Column("p50", lambda tried: number(tried.row.p50_ms)),
    Column("p99", lambda tried: number(tried.row.p99_ms)),
    Column(_interval_heading, lambda tried: between(tried.row.p99_95)),
    Column("p99.9", lambda tried: number(tried.row.p999_ms)),
    Column("success", lambda tried: per_cent(tried.row.success)),
    Column("calls", lambda tried: f"{tried.row.calls:.3f}"),
    Column("USD", lambda tried: usd(tried.row.usd_per_1000), show_if=_priced),
    Column(_interval_heading, lambda tried: between(tried.row.usd_95, usd), show_if=_priced),
]


def what_if_table(record: WhatIf) -> Table[_Tried]:
    """One row a measured lane and a setting; what nobody priced has no columns of cost."""
    per_thousand = "" if record.unpriced else ", USD per 1,000 requests"
    return Table(
        f"{visible(record.default, 60)} first, then {visible(record.fallback, 60)}: latency in ms,"
        f" calls a request{per_thousand}",
        WHAT_IF_COLUMNS,
        [_Tried(record, row) for row in record.settings],
    )


def _label(row: TriedRow) -> str:
    """`hedge 1 s`, short beside its numbers; a measured lane says that it is one."""
    if row.policy is None:
        return f"{row_name(row)}, measured"
    return f"{row.policy} {_at(row)}" + (", as published" if row.published else "")


def what_if_result(record: WhatIf) -> Result:
    """What the published router would have done, what to mistrust, the table."""
    said = _published(record) or "No policy has a p99 to compare."
    head = [Text(said, tone="strong"), *map(Text, _before(record))]
    return Result(head, [what_if_table(record), *map(Text, _after(record))])


def _before(record: WhatIf) -> Iterator[str]:
    if record.simulated:
        yield "SIMULATED: these rows were computed from a model. No request was sent."
    yield from (f"warning: {visible(warning, 400)}" for warning in record.warnings)
    if record.unpriced:
        yield f"No cost: {visible(record.unpriced)}."


def _after(record: WhatIf) -> Iterator[str]:
    cost = "fewer calls" if record.unpriced else "a lower cost"
    yield (
        f"*: no other row has both a lower p99 and {cost}. Rows that are not measured are"
        " estimated: sequential calls the fallback after an answer slower than that, deadline and"
        " hedge once that long has passed."
    )
    rows = record.rows
    yield (
        f"Rows are {_ASSUMPTION[record.assumption]} ({record.because})."
        f" {count(rows.default)} and {count(rows.fallback)} rows, {count(record.blocks)}"
        " time blocks."
    )
    yield _NOT_IN


def _published(record: WhatIf) -> str | None:
    """What the published router does to the default's tail, and what does better for no more cost;
    None where it has no p99.
    """
    default = record.settings[0]
    router = next(row for row in record.settings if row.published)
    if router.p99_ms is None:
        return None
    was, then = default.p99_ms, router.p99_ms
    name = visible(record.default, 60)
    verdict = (
        f"{name} alone had its p99 among its failures"
        if was is None
        else (
            f"{name} alone had {milliseconds(was)}: the router makes the tail"
            f" {'worse' if then > was else 'no worse'}"
        )
    )
    p99_ms, best = _best_rival(record, router) or (then, router)
    better = f" {row_name(best)}: {milliseconds(p99_ms)} for no more cost."
    return (
        f"The published router's p99 would have been {milliseconds(then)};"
        f" {verdict}.{'' if best is router else better}"
    )


def _best_rival(record: WhatIf, router: TriedRow) -> tuple[float, TriedRow] | None:
    """The policy with the lowest p99 among those that cost no more than the router, and its p99."""
    most = record.cost_of(router)
    rivals = []
    for row in record.settings:
        cost = record.cost_of(row)
        priced = cost is not None and most is not None and cost <= most
        if row.policy is not None and row.p99_ms is not None and priced:
            rivals.append((row.p99_ms, row))
    return min(rivals, key=lambda rival: rival[0], default=None)


def what_if_figure(record: WhatIf) -> str | None:
    """p99 against cost; without prices against calls a request (SVG)."""
    lines: dict[str, list[Point]] = {}
    singles = []
    for row in sorted(record.settings, key=lambda row: row.at_ms or 0):
        if (point := _point(record, row)) is None:
            continue
        if row.policy is None:
            singles.append(point)
        else:
            lines.setdefault(row.policy, []).append(point)
    named = {
        f"{policy}, {points[0].label} to {points[-1].label}": _labelled_once(points)
        for policy, points in lines.items()
    }
    unit = "USD per 1,000 requests" if record.cost == "usd_per_1000" else "calls a request"
    words = (
        f"{unit}; star: the published router; bars: {per_cent(record.confidence)} intervals;"
        f" rows {record.assumption}"
    )
    title = (
        f"What does the tail cost? {visible(record.default, 24)} first, then"
        f" {visible(record.fallback, 24)}"
    )
    return latency_against_cost(title, words, named, singles)


def _labelled_once(points: Sequence[Point]) -> list[Point]:
    """Moments crowd where they are long: only the shortest stands at its point, the line's name
    says the rest.
    """
    return [points[0], *(dataclasses.replace(point, label="") for point in points[1:])]


def _point(record: WhatIf, row: TriedRow) -> Point | None:
    """None where its p99 lies among failures, or nobody priced it."""
    cost = record.cost_of(row)
    if cost is None or row.p99_ms is None:
        return None
    label = row.name if row.policy is None else _at(row)
    return Point(cost, row.p99_ms, row.p99_95, label, row.published, row.on_front)
