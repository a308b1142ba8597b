"""Where a run was sent from, as tables.

In: a run's manifest, a target of summary.json. Out: tables. Must stay true: a node that was left
out of the verdict stays in its table and says so; a column that nothing fills is no column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bench.quantiles import QUANTILES, name_of_key
from bench.record.facts import Clock, places_of
from bench.record.records.manifest import Manifest
from bench.record.records.summary import Quantiles, TargetSummary, VantageSummary
from bench.show.document import EVERYWHERE, PAGE, Column, Format, Row, Table
from bench.show.wording import ABSENT, count, milliseconds, number, visible


@dataclass(frozen=True)
class Place:
    """A node or a region, and what was measured from there."""

    node: str
    region: str | None
    seen: VantageSummary
    clock: Clock | None = None


def quantile_column(
    key: str,
    of: Callable[[Row], Quantiles | None],
    before: str = "",
    formats: tuple[Format, ...] = EVERYWHERE,
) -> Column[Row]:
    """A column of one quantile, the largest or the mean, of what `of` finds in a row."""
    return Column(
        before + (name_of_key(key) if key in QUANTILES else key),
        lambda row: number(getattr(of(row), key, None)),
        formats=formats,
    )


def _response(place: Place) -> Quantiles | None:
    return place.seen.response_ms.e2e


def _service(place: Place) -> Quantiles | None:
    return place.seen.service_ms.e2e


#: What was measured from there: columns of both tables.
SEEN_COLUMNS: list[Column[Place]] = [
    Column("requests", lambda place: count(place.seen.requests)),
    Column("ok", lambda place: count(place.seen.ok)),
    quantile_column("p50", _response, "response "),
    quantile_column("p99", _response, "response "),
    quantile_column("p50", _service, "service ", PAGE),
    quantile_column("p99", _service, "service ", PAGE),
    quantile_column("p50", lambda place: place.seen.connect_ms, "connect ", PAGE),
    quantile_column("p99", lambda place: place.seen.harness_lag_ms, "own lag "),
]


def _region(place: Place) -> str:
    return visible(place.region or ABSENT, 40)


def _some_region(places: Sequence[Place]) -> bool:
    return any(place.region for place in places)


def _some_clock(places: Sequence[Place]) -> bool:
    return any(place.clock for place in places)


#: The columns of the table by node.
NODE_COLUMNS: list[Column[Place]] = [
    Column("node", lambda place: place.node, "words"),
    Column("region", _region, "words", show_if=_some_region),
    *SEEN_COLUMNS,
    Column("clock offset", lambda place: _clock(place.clock), show_if=_some_clock),
]
#: Those of the table by region.
REGION_COLUMNS: list[Column[Place]] = [Column("region", _region, "words"), *SEEN_COLUMNS]


def places_tables(manifest: Manifest, target: TargetSummary) -> Iterator[Table[Place]]:
    """By node with its clock, then by region where there is more than one; nothing of a run without
    places.
    """
    places, by_node = places_of(manifest), target.by_node
    if places is None or not by_node:
        return
    gone = manifest.left_out_nodes
    nodes = [
        Place(
            visible(node.name, 60) + (" (left out)" if node.name in gone else ""),
            node.region,
            by_node[node.name],
            node.clock,
        )
        for node in places.nodes
        if node.name in by_node
    ]
    yield Table("Where it was sent from: e2e, connecting and own lag, ms", NODE_COLUMNS, nodes)
    if by_region := target.by_region:
        regions = [Place("", region, seen) for region, seen in by_region.items()]
        yield Table("The same by region", REGION_COLUMNS, regions)


def on_screen(table: Table[Place], name: str = "") -> Table[Place]:
    """The table by node under a caption of its own; `name` is the target's where there are
    several.
    """
    whose = f" ({visible(name, 60)})" if name else ""
    return replace(table, caption=f"sent from: e2e and own lag, ms{whose}")


def _clock(clock: Clock | None) -> str:
    """`-3.1 ± 0.4 ms`."""
    return (
        ABSENT if clock is None else f"{number(clock.offset_ms)} ± {milliseconds(clock.bound_ms)}"
    )
