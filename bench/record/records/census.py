"""census.json: a whole period's own log held against a contract.

In: nothing. Out: `Census` of one log, `Months` of the scenarios that a suite has as logs, and their
parts. Must stay true: a key is added, never renamed, within one format number; every share is there
exactly, as a fraction, where that is short enough to be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar, Literal

from pydantic import Field

from bench.record.records.record import FileRecord, Number, Record
from bench.record.records.verdicts import ClauseOutcome, Expectation

#: A fraction longer than this is written as a decimal number alone.
_LONGEST = 80


class ExactShare(Record):
    """A share as a number, and as a fraction."""

    share: Number
    #: None where it would be very long
    fraction: str | None

    @classmethod
    def of(cls, share: Fraction) -> ExactShare:
        """As it is written."""
        text = str(share)
        return cls(share=float(share), fraction=text if len(text) <= _LONGEST else None)

    @property
    def exact(self) -> Fraction:
        """The share; where the fraction was too long to be written, the nearest that a float is."""
        return Fraction(self.share) if self.fraction is None else Fraction(self.fraction)


class LogFile(Record):
    """A file of the log."""

    name: str
    sha256: str | None


class UnreadableRow(Record):
    """A row that may have been good or bad."""

    file: str
    line: int
    reason: str


class UnreadableRows(Record):
    """How many rows cannot be read, and the first of them."""

    count: int
    first: list[UnreadableRow]


class Accounting(Record):
    """Where every row of the files went: `rows_in` is the sum of the others."""

    rows_in: int
    judged: int
    #: set aside by a term of the contract
    excluded: int
    #: counted both ways
    unreadable: int
    #: of a period that was not judged
    outside_period: int
    #: left out, as `--duplicates drop` asks
    duplicates: int


class LogRecord(Record):
    """The log that was read."""

    files: list[LogFile]
    rows: int
    first_utc: str
    last_utc: str
    #: field -> the column it was read from
    columns: dict[str, str]
    notes: list[str]
    unreadable: UnreadableRows
    accounting: Accounting | None = None


class EpisodeRecord(Record):
    """A stretch of time that broke a clause."""

    start_utc: str
    end_utc: str
    minutes: int
    requests: int
    broke: int
    #: of those that broke it, where this is one of the worst: how many by cause, `slow` for an
    #: answer that came too late
    causes: dict[str, int] = Field(default_factory=dict)
    #: the log's own names of the first of them
    ids: list[str] = Field(default_factory=list)


class Episodes(Record):
    """How many there were, and the first of them."""

    count: int
    first: list[EpisodeRecord]
    #: those that cost most requests, the worst first
    worst: list[EpisodeRecord] = Field(default_factory=list)


class EvidenceRow(Record):
    """A row of the log: where it stands, when it began, how it ended."""

    file: str
    line: int
    at_utc: str
    outcome: str
    status: int | None
    e2e_ms: Number | None


class Evidence(Record):
    """The rows that broke a clause: how many, and the first of them."""

    rows: int
    first: list[EvidenceRow]


class NeighbourRecord(Record):
    """The same log by another definition."""

    definition: str
    #: who is known to use it
    whose: str
    attained: ExactShare | None
    #: None where what was not seen could turn it either way
    kept: bool | None
    #: the clause itself counts so
    own: bool = False


class ExclusionEffect(Record):
    """What setting rows aside for one reason changes."""

    reason: str
    rows: int
    #: by number of the clause: what it would have attained with these rows counted
    counted: dict[int, ExactShare | None]


class BreakdownRow(Record):
    """Requests that have one value of a column, and how many of them broke the clause."""

    #: what the rows are told apart by: status, cause, model, tier or region
    by: str
    value: str
    requests: int
    broke: int


class Breakdown(Record):
    """Where a period was lost: the requests of one clause by what the log says of them."""

    #: number of the clause: the first that failed, else the first that is judged
    clause: int
    rows: list[BreakdownRow]
    #: requests and those that broke the clause, in equal stretches of the period
    slices: list[tuple[int, int]]


class Document(Record):
    """A text that a term was read in, and when."""

    url: str
    retrieved: str
    #: the provider's own text, or a quotation by others
    read: str


class LadderStep(Record):
    """Below this attained share, this share of the base is credited."""

    #: number of the clause that pays it
    clause: int
    below: ExactShare
    credit: ExactShare
    #: whether the attained share lies on this step
    reached: bool


class CensusClause(Record):
    """A clause in one period. One that is only reported and has no column has no numbers."""

    number: int
    text: str
    metric: str = ""
    method: str | None = None
    promised: ExactShare | None = None
    report_only: bool = True
    verdict: ClauseOutcome
    reason: str
    #: None: nothing counted
    attained: ExactShare | None = None
    #: if all that is unknown went well, and if it went badly
    best: ExactShare | None = None
    worst: ExactShare | None = None
    #: of a quantile: ms, or tokens/s
    measured_ms: Number | None = None
    n: int | None = None
    #: rows that broke it
    k: int | None = None
    #: rows without a known end
    unknown: int | None = None
    #: requests, minutes or windows that the period has; those observed; those that broke it
    units: int | None = None
    observed_units: int | None = None
    bad_units: int | None = None
    episodes: Episodes = Episodes(count=0, first=[])
    #: not there where no row is excluded
    without_exclusions: ExactShare | None = None
    neighbours: list[NeighbourRecord] = Field(default_factory=list)
    evidence: Evidence = Evidence(rows=0, first=[])
    #: the clause as the contract's file has it
    rule: str = ""
    #: name of the document that the term was read in
    source: str | None = None

    @property
    def judged(self) -> bool:
        """Whether it counts in the period's verdict."""
        return self.verdict != "REPORTED"

    @property
    def measured(self) -> bool:
        """Whether the log has the columns for it."""
        return self.promised is not None


class DueCredit(Record):
    """What the ladder of credits gives for a period."""

    kind: str
    share: ExactShare
    #: if all that is unknown went the other way
    at_most: ExactShare
    usd: str | None
    at_most_usd: str | None
    base: str
    claim_within_days: int | None
    evidence_wanted: list[str]


class PeriodRecord(Record):
    """One period of the contract."""

    period: str
    start_utc: str
    end_utc: str
    time_zone: str | None
    minutes: int
    observed_minutes: int
    coverage: Number
    rows: int
    #: rows of this period that cannot be read
    unreadable: int = 0
    #: by reason
    excluded: dict[str, int]
    clauses: Sequence[CensusClause]
    overall: Literal["PASS", "FAIL", "INCONCLUSIVE", "NONE"]
    credit: DueCredit | None
    exclusions: list[ExclusionEffect] = Field(default_factory=list)
    breakdown: Breakdown | None = None
    #: of every clause that pays
    ladder: list[LadderStep] = Field(default_factory=list)


class CensusRecord(FileRecord):
    """census.json of a log."""

    FILE: ClassVar[str] = "census.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    contract: str
    title: str
    log: LogRecord
    overall: Literal["PASS", "FAIL", "INCONCLUSIVE", "NONE"]
    exit_code: int
    #: requests that could not be told apart
    unusable: list[str]
    periods: list[PeriodRecord]
    attested: list[str]
    not_stated: list[str]
    #: who provides, and which tier was bought, as the contract says
    provider: str = ""
    tier: str = ""
    #: who buys
    customer: str = ""
    #: where the contract was taken from, in words
    source: str = ""
    documents: dict[str, Document] = Field(default_factory=dict)
    #: until the longest claim is made
    claim_within_days: int | None = None


class Months(FileRecord):
    """census.json of a run: its suite's scenarios that are logs of their own."""

    FILE: ClassVar[str] = "census.json"
    #: Format history: 1 = first.
    FORMAT: ClassVar[int] = 1

    #: by scenario
    months: dict[str, CensusRecord]
    expects: list[Expectation] = Field(default_factory=list)
