"""What `tailproof watch` prints and tells its hook: where each target stands, and what changed.

In: nothing. Out: `WatchStatus`, `WatchEvent` and their parts. Must stay true: a key is added, never
renamed, within one format number; times are of the probes' due moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from bench.record.records.census import CensusClause, ExactShare, PeriodRecord
from bench.record.records.record import FileRecord, Number, Record
from bench.record.records.verdicts import ClauseOutcome


class ProbeRow(Record):
    """Where a probe is recorded."""

    #: run folder below the watch's
    run: str
    #: counted from 1
    line: int
    #: of an outage's probes
    at_utc: str = ""


class OutageRecord(Record):
    """Failed probes in a row."""

    start_utc: str
    #: None while it lasts
    end_utc: str | None
    failed_probes: int
    unobserved_minutes: int
    #: its first probes and its last
    evidence: list[ProbeRow]


class Outages(Record):
    """How many there were, and the last of them."""

    count: int
    last: list[OutageRecord]


class Today(Record):
    """The day so far."""

    day: str
    probes: int
    failed: int
    #: of unknown end, or refused by a limit of our own
    unknown: int
    observed_minutes: int
    minutes: int
    outages: int


class BurnRecord(Record):
    """One alert over the present moment; rates are multiples of what the budget allows."""

    severity: str
    long_min: int
    short_min: int
    threshold: Number
    #: None where the window holds nothing that counts
    long_rate: Number | None
    short_rate: Number | None
    #: a single failure is enough
    coarse: bool
    firing: bool


class WatchedClause(CensusClause):
    """A clause in the period so far. The rows that broke it stand in the period's `evidence`."""

    #: what is certainly lost over what may be lost in the whole period
    budget_used: Number | None = None
    #: at the rate of the last hour; None: to the period's end
    budget_lasts_s: Number | None = None
    burn: list[BurnRecord] = Field(default_factory=list)
    #: start of the episode that is under way
    down_since_utc: str | None = None


class WatchedPeriod(PeriodRecord):
    """The period of the contract that holds the last probe."""

    clauses: Sequence[WatchedClause]
    contract: str
    #: by the number of the clause: the last rows that broke it
    evidence: dict[str, list[ProbeRow]]


class TargetStanding(Record):
    """Where one target stands."""

    probes: int
    first_utc: str
    last_utc: str
    today: Today
    outages: Outages
    open_outage: OutageRecord | None
    #: of a target that is held to a contract
    period: WatchedPeriod | None
    #: why there is no period yet
    note: str | None


class WatchStatus(FileRecord):
    """What `tailproof watch --status DIR --format json` prints."""

    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    folder: str
    now_utc: str
    #: a watch is probing into the folder
    watched_now: bool
    next_roll_utc: str
    #: by lane
    targets: dict[str, TargetStanding]
    #: sentences on runs whose time counts as unobserved
    unreadable: list[str]


EventName = Literal[
    "breach",
    "recovery",
    "outage",
    "outage_end",
    "budget",
    "clock",
    "unreadable",
    "fault",
    "hook_failed",
]


class WatchEvent(Record):
    """A line of watch.jsonl, and what a hook reads."""

    event: EventName
    at_utc: str = ""
    target: str = ""
    #: of an outage: by failed probes in a row, where no clause defines it
    definition: str = ""
    contract: str = ""
    period: str = ""
    #: counted from 1 in the contract
    clause: int = 0
    #: of the clause, or a sentence on what happened
    text: str = ""
    verdict: ClauseOutcome | None = None
    attained: ExactShare | None = None
    best: ExactShare | None = None
    worst: ExactShare | None = None
    budget_used: Number | None = None
    reason: str | None = None
    start_utc: str = ""
    end_utc: str | None = None
    failed_probes: int = 0
    unobserved_minutes: int = 0
    evidence: list[ProbeRow] = Field(default_factory=list)
    burn: BurnRecord | None = None
    budget_lasts_s: Number | None = None
    #: run folder below the watch's
    run: str = ""
