"""What the driver knows of a node: its agent, its clock and its job.

In: a number of agents; (asked, answered, arrived) of a call: ours, theirs, ours; a plan, cut. Out:
agents, through which the `Agent` there is called; how far its clock is ahead of ours; a `Job` as
bytes, and from them the same plan elsewhere. Must stay true: a call is sent once and never again; a
agent that is lost says so in each answer that it owes; an answer was given between its question and
its arrival, and nothing else is assumed of the way; a job is JSON and a plain array, nothing that
is executed, and keys travel as the names of what holds them.

Source: Marzullo and Owicki 1983, the intersection of intervals; the midpoint is NTP's (RFC 5905,
section 8).
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bench.load.guard import CAPS, Caps
from bench.load.shard import Place, Shard
from bench.plan.schedule import SCHEDULE_DTYPE, Plan
from bench.plan.stored import dump_plan, load_plan
from bench.record.files import npy_bytes
from bench.record.records.manifest import ClockRecord
from bench.units import MS


class AgentLost(Exception):
    """The node, the agent or the way to it is gone; says how it was noticed."""


class RemoteAgent(Protocol):
    """A place for one shard."""

    @property
    def place(self) -> Place:
        """What the node is called in this run, and its region where it is labelled with one."""

    @property
    def node_id(self) -> str:
        """What the engine knows the node by."""

    def ask(self, method: str, *args: Any) -> Future[Any]:
        """Call a method of the `Agent`; the future raises AgentLost."""


class Engine(Protocol):
    """A cluster that somebody has started."""

    @property
    def nodes(self) -> int:
        """How many machines it has now."""

    def agents(self, count: int) -> Sequence[RemoteAgent]:
        """So many agents, a core each, spread over the nodes.

        Raises UserError where there are not so many.
        """

    def agent_on(self, node_id: str, place: Place) -> RemoteAgent:
        """One more agent on a node, without a core of its own.

        Its answers raise AgentLost where the node is gone.
        """

    def close(self) -> None:
        """Give the agents back."""


@dataclass(frozen=True)
class Offset:
    """Their clock minus ours (ns), which is within `bound_ns` of `ahead_ns`."""

    ahead_ns: int
    bound_ns: int
    round_trips: int

    def record(self, later: Offset | None) -> ClockRecord:
        """As the manifest keeps it; `later` is what it was when the run had ended."""
        drift_ns = 0 if later is None else later.ahead_ns - self.ahead_ns
        return ClockRecord(
            offset_ms=self.ahead_ns / MS,
            bound_ms=self.bound_ns / MS,
            drift_ms=drift_ns / MS,
            round_trips=self.round_trips,
        )


def offset_of(exchanges: Sequence[tuple[int, int, int]]) -> Offset:
    """The offset that all exchanges allow.

    Where none is (a clock was set meanwhile) the bound covers every one of them.

    Raises ValueError without an exchange.
    """
    least = [answered - arrived for _, answered, arrived in exchanges]
    most = [answered - asked for asked, answered, _ in exchanges]
    low, high = max(least), min(most)
    if low > high:
        low, high = min(least), max(most)
    middle = (low + high) // 2
    return Offset(middle, max(high - middle, middle - low), len(exchanges))


@dataclasses.dataclass(frozen=True)
class Job:
    """One shard as it crosses the network."""

    plan: Plan
    shard: Shard
    caps: Caps
    tokenizer: str | None
    #: lines of the shard's manifest that the driver knows
    manifest: dict[str, Any]

    def dump(self) -> tuple[bytes, bytes]:
        """(JSON, the slice as a .npy file)."""
        place = self.shard.place
        head = {
            "plan": dump_plan(self.plan),
            "shard": {
                "number": self.shard.number,
                "of": self.shard.of,
                "whole_sha256": self.shard.whole_sha256,
            },
            "place": None if place is None else dataclasses.asdict(place),
            "caps": CAPS.dump_python(self.caps, mode="json"),
            "tokenizer": self.tokenizer,
            "manifest": self.manifest,
        }
        return json.dumps(head).encode(), npy_bytes(self.plan.schedule)

    @classmethod
    def load(cls, head: bytes, rows: bytes) -> Job:
        """The reverse of `dump`."""
        found = json.loads(head)
        table = np.lib.format.read_array(io.BytesIO(rows), allow_pickle=False)
        if table.dtype != SCHEDULE_DTYPE:
            raise ValueError("the slice has columns of another version")
        plan = load_plan(found["plan"], table)
        place = Place(**found["place"]) if found["place"] else None
        return cls(
            plan,
            Shard(**found["shard"], place=place),
            CAPS.validate_python(found["caps"]),
            found["tokenizer"],
            found["manifest"],
        )
