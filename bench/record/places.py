"""Where the requests of a run were sent from: its nodes, their regions and clocks, and whose each
row is.

In: a manifest. Out: `Places`, and an index a row. Must stay true: a row's node follows from its
session and the manifest's shards alone, so it is known of rows that were never sent and stored
nowhere twice; a shard that names no place has none, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.record.samples import Int, Table

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Clock:
    """A node's wall clock against the driver's, in ms: `offset_ms` is corrected for, ± `bound_ms`;
    drift from start to end.
    """

    offset_ms: float
    bound_ms: float
    drift_ms: float

    @property
    def unsure_ms(self) -> float:
        """How far its times may be off: what was not known of it, or what changed."""
        return max(self.bound_ms, abs(self.drift_ms))


@dataclass(frozen=True)
class Node:
    """One machine that sent a part of a run: one shard or several."""

    name: str
    region: str | None
    #: numbers of its shards, from 1
    shards: tuple[int, ...]
    #: the least known of its shards' clocks; None where nobody compared them
    clock: Clock | None = None
    #: how far from the others, or from the agreed instant, its shards began; None where it never
    #: did
    start_skew_ns: int | None = None
    #: numbers of its worker processes among all of the run
    workers: tuple[int, ...] = ()
    #: why it was lost before its end
    lost: str | None = None


@dataclass(frozen=True)
class Places:
    """All nodes of a run, in the order of their first shards."""

    nodes: tuple[Node, ...]
    #: how many shards the run has
    of: int

    @property
    def names(self) -> list[str]:
        """Names of the nodes."""
        return [node.name for node in self.nodes]

    @property
    def regions(self) -> list[str]:
        """Names of the regions, each once; empty where no node says its own."""
        return list(dict.fromkeys(node.region for node in self.nodes if node.region is not None))

    def node_of(self, schedule: Table) -> Int:
        """Index into `nodes` a row, -1 where nobody knows."""
        by_shard = np.full(self.of, -1)
        for index, node in enumerate(self.nodes):
            by_shard[[number - 1 for number in node.shards]] = index
        nodes: Int = by_shard[schedule["session"] % self.of]
        return nodes

    def region_of(self, schedule: Table) -> Int:
        """Index into `regions` a row, -1 where nobody knows."""
        numbers = {name: index for index, name in enumerate(self.regions)}
        by_node = np.array(
            [*(-1 if node.region is None else numbers[node.region] for node in self.nodes), -1]
        )
        regions: Int = by_node[self.node_of(schedule)]
        return regions


def places_of(manifest: Record) -> Places | None:
    """The places of a merged run, or of one shard of it; None where none of them is named."""
    own = [manifest["shard"] | {"start": manifest.get("start")}] if manifest.get("shard") else []
    return places_among(manifest.get("shards") or own)


def places_among(shards: Sequence[Record]) -> Places | None:
    """The same from the records of shards."""
    by_name: dict[str, list[Record]] = {}
    for shard in shards:
        if shard.get("place"):
            by_name.setdefault(str(shard["place"]["node"]), []).append(shard)
    if not by_name:  # none are given, or none says where it was
        return None
    meant_ns = _meant_start_ns(shards)
    nodes = tuple(_node(name, mine, meant_ns) for name, mine in by_name.items())
    return Places(nodes, int(shards[0]["of"]))


def _node(name: str, shards: list[Record], meant_ns: int) -> Node:
    clocks = [
        Clock(*(float(shard["clock"][key]) for key in ("offset_ms", "bound_ms", "drift_ms")))
        for shard in shards
        if shard.get("clock")
    ]
    regions = [
        str(region) for shard in shards if (region := shard["place"].get("region")) is not None
    ]
    began = [int(shard["start"]["wall_ns"]) - meant_ns for shard in shards if shard.get("start")]
    workers = [
        first + number
        for shard in shards
        for first, count in [shard.get("workers") or (0, 0)]
        for number in range(count)
    ]
    return Node(
        name,
        regions[0] if regions else None,
        tuple(int(shard["number"]) for shard in shards),
        clock=max(clocks, key=lambda clock: clock.unsure_ms, default=None),
        start_skew_ns=max(began, key=abs, default=None),
        workers=tuple(workers),
        lost=next((str(shard["lost"]) for shard in shards if shard.get("lost")), None),
    )


def _meant_start_ns(shards: Sequence[Record]) -> int:
    """When all should have begun (Unix ns): the agreed instant, else when the middle one did, so
    that no single one sets it.
    """
    starts = [shard["start"] for shard in shards if shard.get("start")]
    agreed = next(
        (start["agreed_wall_ns"] for start in starts if start.get("agreed_wall_ns") is not None),
        None,
    )
    began = sorted(int(start["wall_ns"]) for start in starts)
    return int(agreed) if agreed is not None else began[(len(began) - 1) // 2] if began else 0
