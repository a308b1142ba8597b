"""What the rows of a table do not hold: time 0, what was asked for, texts, which node sent them.

In: a run's manifest or lane, or what a log's reader found. Out: `Facts` beside the rows; `Places`,
which gives the node of each row. Must stay true: a column that was not recorded is absent, never
filled with a guess; a row's node follows from its session and the manifest's shards alone, so it is
known of rows that were never sent and stored nowhere twice; a shard that names no place has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.record.pieces import STRING_KINDS
from bench.record.run_folder import Run
from bench.record.samples import Bool, Int, Table

Record = Mapping[str, Any]

#: Texts a row that logs may hold beside the columns of the samples; `deadline_ns` is a number.
LABELS = ("tier", "key", "label", "resource", "endpoint", "operation", "code")


@dataclass(frozen=True)
class Facts:
    """Beside one table of rows."""

    #: Unix ns of time 0 of the table
    start_wall_ns: int
    #: texts behind the sample columns served_model, served_region, finish, note, and behind
    #: `labels`
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: what all rows asked for; None where it differs from row to row (then served_model and
    #: served_region hold it)
    model: str | None = None
    region: str | None = None
    tier: str | None = None
    #: the client's own timeout, of all rows
    timeout_ns: int | None = None
    #: one entry a row: an index into `texts` of the same name, -1 for none; `deadline_ns` holds ns,
    #: -1 for none
    labels: Mapping[str, Int] = field(default_factory=dict)
    #: rows that are set aside whatever the contract says: why, and a mask
    aside: Sequence[tuple[str, Bool]] = ()

    def where(self, keep: Bool | Any) -> Facts:
        """The facts beside the rows that `keep` (a mask, indices or a slice) selects."""
        return replace(
            self,
            labels={name: values[keep] for name, values in self.labels.items()},
            aside=[(reason, rows[keep]) for reason, rows in self.aside],
        )


def run_facts(run: Run, lane: Mapping[str, Any]) -> Facts:
    """The facts beside the rows of one lane of a run."""
    return Facts(
        start_wall_ns=int(run.manifest.get("started_wall_ns", 0)),
        texts={kind: run.strings(kind) for kind in STRING_KINDS},
        model=lane.get("model") or None,
        region=lane.get("region") or None,
        tier=lane.get("tier") or None,
        timeout_ns=lane.get("timeout_ns"),
    )


@dataclass(frozen=True)
class Clock:
    """A node's wall clock compared with the driver's."""

    #: times of the node are corrected by this
    offset_ms: float
    #: the offset is known to within ± this
    bound_ms: float
    #: change of the offset from start to end
    drift_ms: float

    @property
    def unsure_ms(self) -> float:
        """How far its times may be off: the offset's bound or its drift, whichever is greater."""
        return max(self.bound_ms, abs(self.drift_ms))


@dataclass(frozen=True)
class Node:
    """One machine that sent a part of a run: one shard or several."""

    name: str
    region: str | None
    #: numbers of its shards, from 1
    shards: tuple[int, ...]
    #: the most uncertain of its shards' clocks; None where none was compared
    clock: Clock | None = None
    #: how far from the agreed instant, or else from the other nodes, its shards began; None where
    #: they never began
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
        return [node.name for node in self.nodes]

    @property
    def regions(self) -> list[str]:
        """Names of the regions, each once; empty where no node names one."""
        return list(dict.fromkeys(node.region for node in self.nodes if node.region is not None))

    def node_of(self, schedule: Table) -> Int:
        """Index into `nodes` a row, -1 where it is not known."""
        by_shard = np.full(self.of, -1)
        for index, node in enumerate(self.nodes):
            by_shard[[number - 1 for number in node.shards]] = index
        nodes: Int = by_shard[schedule["session"] % self.of]
        return nodes

    def region_of(self, schedule: Table) -> Int:
        """Index into `regions` a row, -1 where it is not known."""
        names = self.regions
        # The last entry is what the index -1 finds.
        by_node = np.full(len(self.nodes) + 1, -1)
        for index, node in enumerate(self.nodes):
            if node.region is not None:
                by_node[index] = names.index(node.region)
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
    if not by_name:  # no shards, or none that names its place
        return None
    meant_ns = _meant_start_ns(shards)
    nodes = tuple(_node(name, mine, meant_ns) for name, mine in by_name.items())
    return Places(nodes, int(shards[0]["of"]))


def _node(name: str, shards: list[Record], meant_ns: int) -> Node:
    clocks: list[Clock] = []
    skews_ns: list[int] = []
    workers: list[int] = []
    region = lost = None
    for shard in shards:
        if shard.get("clock"):
            clocks.append(_clock(shard["clock"]))
        if shard.get("start"):
            skews_ns.append(int(shard["start"]["wall_ns"]) - meant_ns)
        first, count = shard.get("workers") or (0, 0)
        workers.extend(range(first, first + count))
        if region is None and shard["place"].get("region") is not None:
            region = str(shard["place"]["region"])
        if lost is None and shard.get("lost"):
            lost = str(shard["lost"])
    return Node(
        name,
        region,
        tuple(int(shard["number"]) for shard in shards),
        clock=max(clocks, key=lambda clock: clock.unsure_ms, default=None),
        start_skew_ns=max(skews_ns, key=abs, default=None),
        workers=tuple(workers),
        lost=lost,
    )


def _clock(clock: Record) -> Clock:
    return Clock(float(clock["offset_ms"]), float(clock["bound_ms"]), float(clock["drift_ms"]))


def _meant_start_ns(shards: Sequence[Record]) -> int:
    """When all should have begun (Unix ns): the agreed instant, else the median start, which no
    single shard sets.
    """
    began = []
    for shard in shards:
        start = shard.get("start")
        if start and start.get("agreed_wall_ns") is not None:
            return int(start["agreed_wall_ns"])
        if start:
            began.append(int(start["wall_ns"]))
    began.sort()
    return began[(len(began) - 1) // 2] if began else 0
