"""run.json: what a run was, who sent it and what its files are.

In: the plan's lanes. Out: `Manifest` and its parts. Must stay true: a key is added, never renamed,
within one format number; no header value and no key of a provider stands in it. All `_wall_ns` are
Unix ns; other `_ns` are lengths, or moments after the run's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field

from bench.api.registry import DEFAULT
from bench.plan.clause import RECORDED
from bench.plan.contract import Contract
from bench.plan.interleave import Compare
from bench.plan.prices import Prices
from bench.plan.route import RouteExpect
from bench.plan.schedule import Lane
from bench.record.records.events import DrillEvent, LegChange
from bench.record.records.harness import Harness, State
from bench.record.records.record import FileRecord, Json, Number, Record
from bench.record.records.rehearsed import SuiteName
from bench.record.records.served import LaneEvidence


class InputFile(Record):
    """A file that the suite was read from."""

    name: str
    sha256: str


class Segment(Record):
    """A sealed table of the run."""

    file: str
    rows: int
    sha256: str


class PhaseSpan(Record):
    """When a phase of a lane begins and ends."""

    phase: str
    start_ns: int
    end_ns: int
    #: declared warm-up: sent, kept, judged by no clause
    warmup: bool


class _Priced(Record):
    """Something that is paid for by the token."""

    #: as the target's file has them; see `prices`
    prices_written: Json | None = Field(default=None, alias="prices")

    @cached_property
    def prices(self) -> Prices | None:
        """USD per million tokens; None where nobody said."""
        return Prices.model_validate(self.prices_written) if self.prices_written else None


class LegRecord(_Priced):
    """One endpoint of a routed lane."""

    name: str
    model: str = ""
    tier: str = ""
    region: str = ""
    base_url: str = ""


class LaneRecord(_Priced):
    """A lane of a run: a target under a load profile in a stage, the unit that is judged."""

    #: its public name
    name: str
    target: str
    tier: str = ""
    region: str = ""
    #: what its endpoints speak
    api: str = DEFAULT
    model: str = ""
    base_url: str = ""
    transport: str = ""
    #: nobody verifies the TLS certificate of one of its endpoints at least
    insecure: bool = False
    stage: str
    scenario: str | None = None
    #: computed by the simulator: nothing was sent
    simulated: bool = False
    #: as its file has it
    profile: Json = Field(default_factory=dict)
    #: as its file has it; see `contract`
    contract_written: Json | None = Field(default=None, alias="contract")
    phases: list[str]
    phase_spans: list[PhaseSpan]
    buckets: list[str]
    start_ns: int
    end_ns: int
    #: rows of the schedule
    requests: int
    timeout_ns: int | None = None
    max_in_flight: int | None = None
    closed_loop: bool = False
    #: a closed loop that ends after a time, not after a count: its schedule is an upper bound
    closed_by_duration: bool = False
    #: what the suite expects of its clauses: `clause`, `verdict`
    expect: list[dict[str, str]] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    #: comparisons that it is an arm of
    compare_written: list[Json] = Field(default_factory=list, alias="compare")
    #: what the suite expects of it as a lane of a stage with routes
    expect_route_written: list[Json] = Field(default_factory=list, alias="expect_route")
    #: the policy of a routed lane
    route: Json | None = None
    legs: list[LegRecord] = Field(default_factory=list)
    #: stretches of its time that were planned and are on no record; in no file
    gaps_ns: list[tuple[int, int]] = Field(default_factory=list)

    @cached_property
    def contract(self) -> Contract | None:
        """What it is judged by."""
        written = self.contract_written
        return Contract.model_validate(written, context=RECORDED) if written else None

    @property
    def compare(self) -> list[Compare]:
        """The comparisons whose baseline it is."""
        return [Compare.model_validate(table) for table in self.compare_written]

    @property
    def expect_route(self) -> list[RouteExpect]:
        """What the suite expects of it as a lane of a stage with routes."""
        return [RouteExpect.model_validate(table) for table in self.expect_route_written]

    @property
    def host(self) -> str:
        """Host and port of its first endpoint; empty where it has none."""
        try:
            return urlsplit(self.base_url).netloc.rpartition("@")[2]
        except ValueError:  # a manifest may say anything
            return ""

    @property
    def models(self) -> list[str]:
        """The models that it asks for, each once."""
        return list(dict.fromkeys(leg.model for leg in self.legs)) or [self.model]

    @property
    def measured_spans(self) -> list[PhaseSpan]:
        """Its phases without the warm-up."""
        return [span for span in self.phase_spans if not span.warmup]


class SittingRecord(Record):
    """A part of a run that was broken off and resumed."""

    #: when its first row was due
    began_ns: int
    started_wall_ns: int
    #: how much later than planned its rows are due
    shift_ns: int
    #: the planned moment at which it takes up
    from_planned_ns: int
    #: where its record ends; not there in the last
    until_ns: int | None = None
    ended: Literal["interrupted", "killed"] | None = None


class StartRecord(Record):
    """A run's time zero, of one with an agreed instant or of a shard."""

    #: None: it began when it was ready
    agreed_wall_ns: int | None
    wall_ns: int
    wall_offset_ns: int = 0
    #: how far the node's wall clock was ahead of the one that the others count by
    ahead_ns: int = 0


class PlaceRecord(Record):
    """Where a shard was sent from."""

    node: str
    region: str | None = None


class ClockRecord(Record):
    """A node's wall clock against the driver's; `offset_ms` is corrected for, ± `bound_ms`."""

    offset_ms: Number
    bound_ms: Number
    #: from the start to the end
    drift_ms: Number
    round_trips: int = 0


class ShardRecord(Record):
    """A part of a run that was played in several places."""

    #: counted from 1
    number: int
    of: int
    #: digest of the whole plan's table
    whole_sha256: str | None = None
    run: str | None = None
    state: State | None = None
    ended_early: str | None = None
    start: StartRecord | None = None
    #: the number of its first worker among all, and how many it had
    workers: tuple[int, int] | None = None
    machine: Json | None = None
    manifest_sha256: str | None = None
    place: PlaceRecord | None = None
    clock: ClockRecord | None = None
    #: why its node was lost
    lost: str | None = None


class ClusterShard(ShardRecord):
    """A shard of a cluster's run while the run lasts: its node, and its folder there."""

    node_id: str
    folder: str


class ClusterRecord(Record):
    """Where the shards of a cluster's run lie until they are merged."""

    address: str
    #: this machine and the nodes see the folders under one name
    shared: bool
    #: nodes whose rows no verdict rests on
    leave_out: list[str] = Field(default_factory=list)
    shards: list[ClusterShard] = Field(alias="seats")


class LeftOut(Record):
    """A node that no verdict counts."""

    node: str
    why: str


class Manifest(FileRecord):
    """run.json."""

    FILE: ClassVar[str] = "run.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    state: State
    run: str
    suite: SuiteName | None = None
    seed: int | None = None
    started_utc: str = ""
    started_wall_ns: int = 0
    #: versions of the libraries that touch the numbers
    versions: dict[str, str] = Field(default_factory=dict)
    machine: Json = Field(default_factory=dict)
    #: the clock that every stored time comes from
    clock: Json = Field(default_factory=dict)
    inputs: list[InputFile] = Field(default_factory=list)
    lanes: list[LaneRecord]
    repeat_command: str = ""
    tokenizer: str | None = None
    #: how many looks were planned
    early_stop: int | None = None
    notes: list[str] = Field(default_factory=list)
    #: of a run of a watch
    watch: Json | None = None
    start: StartRecord | None = None
    #: of a shard alone
    shard: ShardRecord | None = None
    cluster: ClusterRecord | None = None
    sittings: list[SittingRecord] = Field(default_factory=list)
    segments: list[Segment] = Field(default_factory=list)
    schedule_sha256: str | None = None
    #: of plan.json; None where no plan was kept
    plan_sha256: str | None = None
    #: SHA-256 of the files beside the tables
    files: dict[str, str] = Field(default_factory=dict)
    ended_wall_ns: int | None = None
    harness: Harness = Harness()
    #: texts behind the sample columns of the same name
    strings: dict[str, list[str]] = Field(default_factory=dict)
    #: by lane, of those whose vendor names requests or says what is left of the buyer's limits
    evidence: list[LaneEvidence] = Field(default_factory=list)
    #: why a run ended before its plan by a rule of its own
    ended_early: str | None = None
    #: when it stopped sending, of a run that ended before its plan
    stopped_ns: int | None = None
    #: drills that were carried out
    events: list[DrillEvent] = Field(default_factory=list)
    #: changes of routes' breakers
    leg_events: list[LegChange] = Field(default_factory=list)
    #: of a merged run
    shards: list[ShardRecord] = Field(default_factory=list)
    left_out: list[LeftOut] = Field(default_factory=list)
    #: of everything else in it
    manifest_sha256: str | None = None

    @classmethod
    def begun(cls, run: str, lanes: Sequence[LaneRecord]) -> Self:
        """The manifest of a run that begins."""
        return cls(format=cls.FORMAT, state="running", run=run, lanes=list(lanes), segments=[])

    @property
    def shift_ns(self) -> int:
        """How much later than planned the rows of the latest sitting are due."""
        return self.sittings[-1].shift_ns if self.sittings else 0

    @property
    def later_sittings(self) -> list[SittingRecord]:
        """Those after the first."""
        return self.sittings[1:]

    @property
    def simulated_lanes(self) -> list[int]:
        """Indices of the lanes that were computed by the simulator."""
        return [index for index, lane in enumerate(self.lanes) if lane.simulated]

    @property
    def left_out_nodes(self) -> list[str]:
        """Names of the nodes that no verdict counts."""
        return [entry.node for entry in self.left_out]

    @property
    def shortest_phase_ns(self) -> int:
        """The length of the shortest phase of any lane."""
        spans = [span for lane in self.lanes for span in lane.phase_spans]
        return min((span.end_ns - span.start_ns for span in spans), default=0)


def lane_record(lane: Lane) -> LaneRecord:
    """A planned lane as the manifest keeps it. Holds no header value and no key."""
    return LaneRecord.model_validate(lane.record())
