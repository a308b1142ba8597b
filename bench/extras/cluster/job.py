"""What a node is given to play: one shard's slice of a plan, and what its folder will say of
itself.

In: a plan, cut. Out: bytes, and from them the same plan elsewhere. Must stay true: JSON and a plain
array, nothing that is executed; keys travel as the names of what holds them, and are looked up
where the requests are sent.
"""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import numpy as np

from bench.load.guard import CAPS, Caps
from bench.load.shard import Place, Shard
from bench.plan.schedule import SCHEDULE_DTYPE, Plan
from bench.plan.stored import dump_plan, load_plan
from bench.record.files import npy_bytes


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
