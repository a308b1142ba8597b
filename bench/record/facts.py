"""What the rows of a table do not hold: time 0, what was asked for, texts, which node sent them.

In: a run's manifest or lane, or what a log's reader found. Out: `Facts` beside the rows; `Places`,
which gives the node of each row. Must stay true: a column that was not recorded is absent, never
filled with a guess; a row's node follows from its session and the manifest's shards alone, so it is
known of rows that were never sent and stored nowhere twice; a shard that names no place has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.record.gather import gather_evidence, parts_in
from bench.record.pieces import STRING_KINDS, has_pieces
from bench.record.records.manifest import LaneRecord, Manifest, ShardRecord
from bench.record.records.served import LaneEvidence
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
    #: of a run: whether an answer by the second tier is one by the first, None where nobody knows
    honours: Callable[[str, str], bool | None] | None = None
    #: each request asked for `tier`, so its answer has one to name
    tier_by_request: bool = False
    #: rows that are set aside whatever the contract says: why, and a mask
    aside: Sequence[tuple[str, Bool]] = ()

    def where(self, keep: Bool | Any) -> Facts:
        """The facts beside the rows that `keep` (a mask, indices or a slice) selects."""
        return replace(
            self,
            labels={name: values[keep] for name, values in self.labels.items()},
            aside=[(reason, rows[keep]) for reason, rows in self.aside],
        )


def run_facts(run: Run, lane: LaneRecord) -> Facts:
    """The facts beside the rows of one lane of a run."""
    return Facts(
        start_wall_ns=run.manifest.started_wall_ns,
        texts={kind: run.strings(kind) for kind in STRING_KINDS},
        model=lane.models[0] or None if len(lane.models) == 1 else None,
        region=lane.region or None,
        tier=lane.tier or None,
        timeout_ns=lane.timeout_ns,
    )


def kept_evidence(run: Run) -> Sequence[LaneEvidence]:
    """What a run keeps for its vendors, by lane. Raises RunFolderError."""
    if run.manifest.state == "running" and has_pieces(run.folder):
        return gather_evidence(parts_in(run.folder))
    return run.manifest.evidence


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


def places_of(manifest: Manifest) -> Places | None:
    """The places of a merged run, or of one shard of it; None where none of them is named."""
    if manifest.shard is None:
        own = []
    else:
        own = [manifest.shard.replace(start=manifest.start)]
    return places_among(manifest.shards or own)


def places_among(shards: Sequence[ShardRecord]) -> Places | None:
    """The same from the records of shards."""
    by_name: dict[str, list[ShardRecord]] = {}
    for shard in shards:
        if shard.place is not None:
            by_name.setdefault(shard.place.node, []).append(shard)
    if not by_name:  # none are given, or none says where it was
        return None
    meant_ns = _meant_start_ns(shards)
    nodes = tuple(_node(name, mine, meant_ns) for name, mine in by_name.items())
    return Places(nodes, shards[0].of)


def _node(name: str, shards: list[ShardRecord], meant_ns: int) -> Node:
    clocks = [
        Clock(
            float(shard.clock.offset_ms),
            float(shard.clock.bound_ms),
            float(shard.clock.drift_ms),
        )
        for shard in shards
        if shard.clock is not None
    ]
    regions = [shard.place.region for shard in shards if shard.place and shard.place.region]
    began = [shard.start.wall_ns - meant_ns for shard in shards if shard.start is not None]
    workers: list[int] = []
    for shard in shards:
        first, count = shard.workers or (0, 0)
        workers += range(first, first + count)
    return Node(
        name,
        regions[0] if regions else None,
        tuple(shard.number for shard in shards),
        clock=max(clocks, key=lambda clock: clock.unsure_ms, default=None),
        start_skew_ns=max(began, key=abs, default=None),
        workers=tuple(workers),
        lost=next((shard.lost for shard in shards if shard.lost), None),
    )


def _meant_start_ns(shards: Sequence[ShardRecord]) -> int:
    """When all should have begun (Unix ns): the agreed instant, else when the middle one did, so
    that no single one sets it.
    """
    starts = [shard.start for shard in shards if shard.start is not None]
    agreed = [start.agreed_wall_ns for start in starts if start.agreed_wall_ns is not None]
    if agreed:
        return agreed[0]
    began = sorted(start.wall_ns for start in starts)
    if began:
        return began[(len(began) - 1) // 2]
    return 0
