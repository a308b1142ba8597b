"""Where a run was sent from, as tables.

In: a run's manifest, a target of summary.json. Out: tables. Must stay true: a node that was left
out of the verdict stays in its table and says so; a column that nothing fills is no column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.record.places import Clock, Node, places_of
from bench.show.page import Table
from bench.show.wording import ABSENT, count, milliseconds, number, visible

Record = Mapping[str, Any]
_HEAD = [
    "requests",
    "ok",
    "response p50",
    "response p99",
    "service p50",
    "service p99",
    "connect p50",
    "own lag p99",
]
_CAPTION = "Where it was sent from: e2e, connecting and own lag, ms"
#: What of it a screen has room for.
_ON_SCREEN = (
    "node",
    "region",
    "requests",
    "ok",
    "response p50",
    "response p99",
    "own lag p99",
    "clock offset",
)


def places_tables(manifest: Record, target: Record) -> Iterator[Table]:
    """By node with its clock, then by region where there is more than one; nothing of a run without
    places.
    """
    places, by_node = places_of(manifest), target.get("by_node")
    if places is None or not by_node:
        return
    gone = {entry["node"] for entry in manifest.get("left_out", [])}
    nodes = [node for node in places.nodes if node.name in by_node]
    rows = [
        [
            visible(node.name, 60) + (" (left out)" if node.name in gone else ""),
            visible(node.region or ABSENT, 40),
            *_seen(by_node[node.name]),
            _clock(node.clock),
        ]
        for node in nodes
    ]
    yield _table(_CAPTION, ["node", "region", *_HEAD, "clock offset"], rows, nodes)
    if by_region := target.get("by_region"):
        rows = [[visible(region, 40), *_seen(vantage)] for region, vantage in by_region.items()]
        yield Table("The same by region", ["region", *_HEAD], rows)


def on_screen(table: Table, name: str = "") -> Table:
    """A table by node with fewer columns; `name` is the target's where there are several."""
    kept = [place for place, title in enumerate(table.head) if title in _ON_SCREEN]
    caption = f"sent from: e2e and own lag, ms{f' ({visible(name, 60)})' if name else ''}"
    return Table(caption, *_columns(table.head, table.rows, kept), words=table.words)


def _columns(
    head: list[str], rows: list[list[str]], kept: list[int]
) -> tuple[list[str], list[list[str]]]:
    return [head[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _table(caption: str, head: list[str], rows: list[list[str]], nodes: Sequence[Node]) -> Table:
    """Without the columns that nothing fills: regions, clocks."""
    empty = [
        title
        for title, known in (
            ("region", any(node.region for node in nodes)),
            ("clock offset", any(node.clock for node in nodes)),
        )
        if not known
    ]
    kept = [place for place, title in enumerate(head) if title not in empty]
    return Table(caption, *_columns(head, rows, kept), words=1 + ("region" not in empty))


def _seen(vantage: Record) -> list[str]:
    response, service = vantage["response_ms"]["e2e"], vantage["service_ms"]["e2e"]
    shown = (
        (response, "p50"),
        (response, "p99"),
        (service, "p50"),
        (service, "p99"),
        (vantage["connect_ms"], "p50"),
        (vantage["harness_lag_ms"], "p99"),
    )
    return [
        count(vantage["requests"]),
        count(vantage["ok"]),
        *(number((found or {}).get(key)) for found, key in shown),
    ]


def _clock(clock: Clock | None) -> str:
    """`-3.1 ± 0.4 ms`."""
    return (
        ABSENT if clock is None else f"{number(clock.offset_ms)} ± {milliseconds(clock.bound_ms)}"
    )
