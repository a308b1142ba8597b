"""A run shared among places that do not know of each other: which part is played here, and from
which instant.

In: "3/10", an instant of the wall clock, a whole plan. Out: the plan of that part, its time zero,
its lines of the manifest. Must stay true: the shards of a plan hold each session once; what no row
stands for, a drill, is done by the first alone; whatever the parts would not share is refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from bench.clock import monotonic_ns, utc_text, wall_offset_ns
from bench.errors import UserError
from bench.load.sitting import lead_ns
from bench.plan.schedule import Plan, Table
from bench.record.digests import WHOLE_TABLE
from bench.record.files import write_table
from bench.record.parts import Share, rows_of_shards
from bench.record.records.manifest import PlaceRecord, ShardRecord, StartRecord
from bench.record.run_folder import RunWriter
from bench.record.samples import Int
from bench.units import S, show_duration

#: A run that comes to its agreed instant later than this is refused; until then its first rows
#: leave late, and health sees it.
LATE_NS = 1 * S
#: An instant further ahead is taken for one in another unit.
AHEAD_NS = 24 * 3600 * S


@dataclasses.dataclass(frozen=True)
class Start:
    """A run's time zero, on this machine's monotonic clock and by the wall clock that its places go
    by (Unix ns).
    """

    t0: int
    wall_ns: int
    #: the instant that was agreed on; None: it begins when it is ready
    agreed_ns: int | None = None
    #: how far this machine's wall clock is ahead of the one that its places go by
    ahead_ns: int = 0

    @classmethod
    def at(cls, agreed_ns: int, ahead_ns: int = 0) -> Start:
        """The agreed instant.

        Raises UserError for one gone by, or so far ahead that it is taken for a slip.
        """
        t0 = agreed_ns + ahead_ns - wall_offset_ns()
        ahead = t0 - monotonic_ns()
        if ahead < -LATE_NS:
            raise UserError(
                f"{utc_text(agreed_ns)} was {show_duration(-ahead)} ago, and a shard never joins"
                " late",
                where="--start-at",
                remedy="agree on a later instant",
            )
        if ahead > AHEAD_NS:
            # No date: an instant in ms, taken for seconds, lies beyond the calendar.
            raise UserError(
                f"is more than {show_duration(AHEAD_NS)} ahead",
                where="--start-at",
                remedy="give Unix seconds or RFC 3339",
            )
        return cls(t0, agreed_ns, agreed_ns, ahead_ns)

    def record(self) -> StartRecord:
        """As the manifest keeps it."""
        return StartRecord(
            agreed_wall_ns=self.agreed_ns,
            wall_ns=self.wall_ns,
            wall_offset_ns=self.wall_ns - self.t0,
            ahead_ns=self.ahead_ns,
        )


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a shard is sent from."""

    node: str
    region: str | None = None

    def record(self) -> PlaceRecord:
        """As the manifest keeps it."""
        return PlaceRecord(node=self.node, region=self.region)


@dataclasses.dataclass(frozen=True)
class Shard:
    """Shard `number` of `of`, counted from 1."""

    number: int = 1
    of: int = 1
    #: when it begins (Unix ns); None: at once
    start_at_ns: int | None = None
    place: Place | None = None
    #: of one that was cut elsewhere: the digest of the whole plan's table
    whole_sha256: str | None = None
    #: of one whose beginning is agreed on once all are ready: says that it is, and waits for the
    #: instant
    agree: Callable[[], Start] | None = None

    @property
    def share(self) -> Share:
        """Its part of sessions and caps."""
        return Share(shard=self.number - 1, shards=self.of)

    def refuse(self, plan: Plan) -> None:
        """Raises UserError for a suite's plan whose parts would not meet the same servers."""
        for lane in plan.lanes if self.of > 1 else ():
            if lane.target.embedded or lane.simulated:
                raise UserError(
                    f"target {lane.target.name!r} is embedded: each shard would have a gateway of"
                    " its own",
                    where="--shard",
                    remedy="start one with `tailproof gateway` and give its --url",
                )

    def cut(self, plan: Plan) -> Plan:
        """The plan of this shard alone. Raises UserError for one with too little to share."""
        return (
            plan
            if self.of == 1
            else self.of_rows(plan, np.flatnonzero(self.share.rows(plan.schedule)))
        )

    def of_rows(self, plan: Plan, mine: Int) -> Plan:
        """The plan of these rows, which are this shard's. Raises UserError as `cut` does."""
        table = cut_table(plan.schedule, mine)
        rows = np.bincount(table["lane"], minlength=len(plan.lanes)).tolist()
        for lane, count in zip(plan.lanes, rows, strict=True):
            if not count:
                raise UserError(
                    f"lane {lane.name!r} has no request for shard {self.number} of {self.of}",
                    where="--shard",
                    remedy="use fewer shards",
                )
        lanes = tuple(
            dataclasses.replace(lane, requests=count)
            for lane, count in zip(plan.lanes, rows, strict=True)
        )
        return dataclasses.replace(
            plan,
            lanes=lanes,
            schedule=table,
            drills=plan.drills if self.number == 1 else (),
            whole=plan.schedule,
        )

    @classmethod
    def all_of(cls, plan: Plan, of: int) -> list[Plan]:
        """The plans of all `of` shards, in one pass over the whole.

        Raises UserError as `cut` does.
        """
        return [
            cls(number, of).of_rows(plan, mine)
            for number, mine in enumerate(rows_of_shards(plan.schedule, of), 1)
        ]

    def start(self, workers: int) -> Start | None:
        """Its time zero; None for a run that is not sharded and begins at once.

        Raises UserError for an instant gone by.
        """
        if self.agree is not None:
            return self.agree()
        if self.start_at_ns is not None:
            return Start.at(self.start_at_ns)
        t0 = monotonic_ns() + lead_ns(workers)
        return Start(t0, t0 + wall_offset_ns()) if self.of > 1 else None

    def facts(self, start: Start | None) -> dict[str, Any]:
        """Fields of the manifest; none for a run that is not sharded and has no agreed instant.

        One that was cut elsewhere is a shard, were it the only one.
        """
        found: dict[str, Any] = {} if start is None else {"start": start.record()}
        if self.of > 1 or self.whole_sha256 is not None:
            place = None if self.place is None else self.place.record()
            given = {"whole_sha256": self.whole_sha256, "place": place}
            known = {key: value for key, value in given.items() if value is not None}
            found["shard"] = ShardRecord(number=self.number, of=self.of, **known)
        return found

    def keep(self, plan: Plan, writer: RunWriter) -> None:
        """Put the whole plan's table into a shard's folder."""
        if (whole := plan.whole) is not None:
            digest = write_table(writer.folder / WHOLE_TABLE, [whole], len(whole), whole.dtype)
            assert writer.manifest.shard is not None
            shard = writer.manifest.shard.replace(whole_sha256=digest)
            writer.change(writer.manifest.replace(shard=shard))


UNSHARDED = Shard()


def cut_table(whole: Table, mine: Int) -> Table:
    """These rows, in their order; a row that waits for another names it by its place among them."""
    table: Table = whole[mine]
    waits = table["after_row"] >= 0
    table["after_row"][waits] = np.searchsorted(mine, table["after_row"][waits])
    return table


def parse_shard(text: str) -> tuple[int, int]:
    """`3/10` -> (3, 10). Raises ValueError."""
    found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f'{text!r} is not a shard; write "3/10", counted from 1')
    return int(found[1]), int(found[2])


def parse_vantage(text: str) -> Place:
    """`runner-3` or `runner-3@eu-west`. Raises ValueError."""
    found = re.fullmatch(r"([\w.:-]{1,60})(?:@([\w.:-]{1,60}))?", text.strip())
    if found is None:
        raise ValueError(f'{text!r} is not a place; write "runner-3" or "runner-3@eu-west"')
    return Place(found[1], found[2])


def parse_instant(text: str) -> int:
    """Unix seconds, or RFC 3339 with its offset -> Unix ns. Raises ValueError."""
    remedy = (
        f"{text!r} is not an instant; write Unix seconds or RFC 3339, such as"
        ' "2026-11-23T10:00:00Z"'
    )
    try:
        return int(Decimal(text) * S)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(remedy) from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC; add Z or +01:00")
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * S + moment.microsecond * 1000
