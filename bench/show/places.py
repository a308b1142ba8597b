"""Where a run was sent from, as tables.

In: a run's manifest, a target of summary.json. Out: tables. Must stay true: a node that was left out of the
verdict stays in its table and says so; a column that nothing fills is no column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.record.places import Clock, Node, places_of
from bench.show.page import Table
from bench.show.wording import ABSENT, count, milliseconds, number, visible

Record = Mapping[str, Any]
_HEAD = ["requests", "ok", "TTFT p50", "TTFT p99", "e2e p50", "e2e p99", "service e2e p50", "service e2e p99", "connect p50",
         "own lag p99"]  # fmt: skip
_CAPTION = "Where it was sent from, ms (response, unless service is said)"


def places_tables(manifest: Record, target: Record, name: str = "") -> Iterator[Table]:
    """By node with its clock, then by region where there is more than one; nothing of a run without places."""
    places, by_node = places_of(manifest), target.get("by_node")
    if places is None or not by_node:
        return
    gone = {entry["node"] for entry in manifest.get("left_out", [])}
    nodes = [node for node in places.nodes if node.name in by_node]
    rows = [[visible(node.name, 60) + (" (left out)" if node.name in gone else ""), visible(node.region or ABSENT, 40),
             *_seen(by_node[node.name]), _clock(node.clock)] for node in nodes]  # fmt: skip
    of = f"{visible(name, 60)}: " if name else ""
    yield _table(f"{of}{_CAPTION}", ["node", "region", *_HEAD, "clock offset"], rows, nodes)
    if by_region := target.get("by_region"):
        rows = [[visible(region, 40), *_seen(vantage)] for region, vantage in by_region.items()]
        yield Table(f"{of}The same by region, ms", ["region", *_HEAD], rows)


def _table(caption: str, head: list[str], rows: list[list[str]], nodes: Sequence[Node]) -> Table:
    """Without the columns that nothing fills: regions, clocks."""
    empty = [title for title, known in (("region", any(node.region for node in nodes)),
                                        ("clock offset", any(node.clock for node in nodes))) if not known]  # fmt: skip
    kept = [place for place, title in enumerate(head) if title not in empty]
    return Table(caption, [head[place] for place in kept], [[row[place] for place in kept] for row in rows],
                 words=1 + ("region" not in empty))  # fmt: skip


def _seen(vantage: Record) -> list[str]:
    response, service = vantage["response_ms"], vantage["service_ms"]
    shown = ((response["ttft"], "p50"), (response["ttft"], "p99"), (response["e2e"], "p50"), (response["e2e"], "p99"),
             (service["e2e"], "p50"), (service["e2e"], "p99"), (vantage["connect_ms"], "p50"), (vantage["harness_lag_ms"], "p99"))  # fmt: skip
    return [count(vantage["requests"]), count(vantage["ok"]), *(number((found or {}).get(key)) for found, key in shown)]


def _clock(clock: Clock | None) -> str:
    """`-3.1 ± 0.4 ms`."""
    return ABSENT if clock is None else f"{number(clock.offset_ms)} ± {milliseconds(clock.bound_ms)}"
