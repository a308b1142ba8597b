"""verdicts.json: each clause of each contract with its verdict, its reason and its numbers.

In: nothing. Out: `Verdicts` and its parts. Must stay true: a key is added, never renamed, within
one format number; only `judge` makes a verdict.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bench.plan.kinds.kind import Kind
from bench.plan.kinds.registry import kind_named
from bench.record.records.record import FileRecord, Number, Record, Shown
from bench.record.records.runs import BetweenRuns, JudgedRun
from bench.record.records.summary import Overall

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
#: REPORTED: shown beside the contract, not judged.
ClauseOutcome = Literal["PASS", "FAIL", "INCONCLUSIVE", "REPORTED"]
#: Lower and upper limit; None where no such bound exists.
Interval = tuple[Number | None, Number | None]
#: Why nothing could be said: too few rows; too few stretches or sessions; one spell decides; what
#: became of unknown rows decides; the share is too near the limit; the harness or the run itself.
OpenCause = Literal[
    "few_rows", "few_blocks", "worst_block", "unknown_rows", "near_limit", "harness"
]


class Counts(Record):
    """How many counted, and how many of them broke it."""

    n: int
    k: int


class BlockRecord(Record):
    """A block of time, how many rows came in it, and how many of them broke it."""

    start_s: Number
    end_s: Number
    k: int
    n: int


class Credit(Record):
    """What the ladder of credits would give, were the whole period like the run."""

    #: at the measured share, and at the limits of it
    share: Number
    at_least: Number
    at_most: Number


class Steadiness(Record):
    """Was the run one thing from beginning to end? Diagnostics: they drop no row."""

    trend_rho: Number | None
    trend_p: Number | None
    #: rows that MSER-5 would take for warm-up, and what is measured without them
    mser5_drops: int
    measured_without: Number | None
    steady: bool


class Decide(Record):
    """A run that would probably decide an open clause, if the share that breaks it stays at
    `share`.
    """

    share: Number
    #: rows of the clause that such a run has, in all
    requests: int
    #: of measured load, at the run's own rate
    duration_s: Number | None
    #: runnable as it stands
    command: str | None = None


class Scope(Record):
    """Of which stretch of time a verdict speaks."""

    #: None in a simulated run, whose time is no real time
    start_utc: str | None
    end_utc: str | None
    #: of measured load
    duration_s: Number
    #: rows of the clause per second
    rate_per_s: Number | None
    #: what lasts longer may come so seldom that the run would have missed it
    blind_spot_s: Number | None
    #: the length of outage that the clause allows for
    assumed_outage_s: Number
    of: Literal["run", "runs", "service"]


class ClauseVerdict(Record):
    """One clause of one lane."""

    #: the lane's public name
    target: str
    stage: str
    contract: str
    #: counted from 1 in the contract
    number: int
    text: str
    metric: str
    view: str
    quantile: Number | None
    limit_ms: Number | None
    at_least_tps: Number | None
    share: Number | None
    operator: str
    statistic: str
    #: of uptime alone
    method: str | None
    phase: str | None
    bucket: str | None
    report_only: bool
    unit: Literal["ms", "tokens/s", "share"]
    #: in `unit`; None where it lies among failures, or nothing was measured
    measured: Number | None
    #: limits of `measured`, each end one-sided at `confidence`: the verdict's own rule inverted
    bound: Interval = (None, None)
    #: the same as `bound`; before it there was one, two-sided limits
    interval: Interval
    #: the same as `p_limits`; before `bound` there was one, two-sided limits
    p_interval: tuple[Number, Number]
    steadiness: Steadiness | None = None
    #: beside a share of windows: the share of requests
    share_of_requests: Number | None = None
    confidence: Number
    #: requests, or windows or minutes of a clause by time
    n: Annotated[int, Shown("n", "count")]
    #: those that broke it
    k: int
    #: those that were cut off
    unknown: int
    #: by reason
    excluded: dict[str, int]
    #: the same with nothing set aside; None where nothing is
    with_excluded: Counts | None
    #: counts that decide at this size: at most so many pass, from so many on fail
    allowed_k: int | None
    fail_k: int | None
    #: the share that may break it
    p0: Number
    #: one-sided limits of the share that broke it
    p_limits: tuple[Number, Number]
    #: for Holm's rule among the clauses of a lane
    p_fail: Number
    n_effective: Number
    design_effect: Number
    decided_by: Literal["exact", "blocks"]
    blocks: int
    block_s: Number
    worst_block: BlockRecord | None
    projected_credit: Credit | None
    verdict: ClauseOutcome
    reason: str
    #: what would probably decide
    needed_n: int | None
    #: of INCONCLUSIVE alone
    open_cause: OpenCause | None = None
    #: of INCONCLUSIVE alone; None where no run would
    decide: Decide | None = None
    scope: Scope | None = None
    #: of a verdict over several runs alone
    between: BetweenRuns | None = None

    @model_validator(mode="after")
    def _of_a_kind(self) -> Self:
        assert self.kind
        return self

    @cached_property
    def kind(self) -> Kind:
        """What sort of promise it is."""
        return kind_named(self.metric, self.statistic, self.method or "request_ratio")

    @property
    def promised(self) -> float | None:
        """What `measured` is held to, in `unit`; None where nothing is promised."""
        if self.kind.of_shares:
            return self.share
        return self.limit_ms if self.at_least_tps is None else self.at_least_tps

    @property
    def held_by(self) -> str:
        """The operator between `measured` and `promised`. The one of a clause on windows is of the
        limit within them; what is measured is the share of windows that keep it.
        """
        return ">=" if self.kind.by_time and self.kind.has_values else self.operator

    @property
    def limited_quantile(self) -> float | None:
        """The quantile of the requests that the limit applies to; None where it is one of
        stretches of time.
        """
        if self.kind.of_shares:
            return None
        return self.share if self.quantile is None else self.quantile

    @property
    def judged(self) -> bool:
        """Whether it counts in the run's overall verdict."""
        return self.verdict != "REPORTED"


class Forecast(Record):
    """A month's bill as it was forecast, held against what a run was billed."""

    target: str
    stage: str
    contract: str
    text: str
    forecast_usd: Number
    tokens_per_month: int
    #: how far off it may be, as a share
    within: Number
    confidence: Number
    #: the bill of such a month at the run's prices, failures and retries included
    projected_usd: Number | None
    interval_usd: Interval
    run_usd: Number | None
    verdict: Verdict
    reason: str

    @property
    def judged(self) -> bool:
        """Whether it counts in the run's overall verdict: always."""
        return True


class Expectation(Record):
    """What a suite expects of a verdict, a comparison, a route or a census, and what it got."""

    target: str
    clause: str
    #: of a comparison: its arms, and the part of the run that they are compared in
    baseline: str | None = None
    other: str | None = None
    phase: str | None = None
    bucket: str | None = None
    expected: str
    #: None where there is no such clause
    got: str | None
    met: bool


class AttestedTerm(Record):
    """A term of a contract that nobody can measure."""

    contract: str
    term: str


class LeftOutVerdict(Record):
    """A node that no verdict counts, and how many of the run's `of` requests were its."""

    node: str
    why: str
    requests: int
    sent: int
    of: int


class Verdicts(FileRecord):
    """verdicts.json."""

    FILE: ClassVar[str] = "verdicts.json"
    #: Format history: 2 = units, blocks, exclusions, credits.
    FORMAT: ClassVar[int] = 2

    run: str
    overall: Overall
    exit_code: int
    #: the least of its clauses'
    confidence: Number
    simulated: bool
    clauses: list[ClauseVerdict]
    forecasts: list[Forecast] = Field(default_factory=list)
    expects: list[Expectation] = Field(default_factory=list)
    attested: list[AttestedTerm] = Field(default_factory=list)
    #: terms whose columns were not recorded
    not_applied: list[str] = Field(default_factory=list)
    projected_breach_usd: Number | None = None
    left_out: list[LeftOutVerdict] = Field(default_factory=list)
    #: of a verdict over several runs alone
    runs: list[JudgedRun] = Field(default_factory=list)

    @property
    def next_command(self) -> str | None:
        """The command that would probably decide all that a command can decide: the longest."""
        known = [
            (clause.decide.requests / max(clause.n, 1), clause.decide.command)
            for clause in self.clauses
            if clause.decide is not None and clause.decide.command is not None
        ]
        return max(known)[1] if known else None

    def of_target(self, name: str) -> list[ClauseVerdict]:
        """The clauses of one lane."""
        return [clause for clause in self.clauses if clause.target == name]
