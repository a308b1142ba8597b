"""A period of a log with two outages, written by hand: 65 of its minutes down where 43 may be."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from bench.record.records.census import (
    CensusClause,
    CensusRecord,
    DueCredit,
    EpisodeRecord,
    Episodes,
    ExactShare,
    LogRecord,
    NeighbourRecord,
    PeriodRecord,
    UnreadableRows,
)


def share(text: str) -> ExactShare:
    return ExactShare.of(Fraction(text))


def near(definition: str, attained: str | None, kept: bool | None, **more: Any) -> NeighbourRecord:
    value = None if attained is None else share(attained)
    return NeighbourRecord(
        **{"definition": definition, "whose": "", "attained": value, "kept": kept, **more}
    )


def episode(day: int, minutes: int, broke: int) -> EpisodeRecord:
    start = f"2026-09-{day:02d}T02:00:00Z"
    return EpisodeRecord(
        start_utc=start,
        end_utc=f"2026-09-{day:02d}T02:{minutes:02d}:00Z",
        minutes=minutes,
        requests=100,
        broke=broke,
    )


NEARBY = [
    near("request ratio", "0.9997", True, whose="Azure transactions"),
    near("by <b>minutes", "0.9985", False, own=True),
    near("never known", None, None),
]
BROKEN = CensusClause(
    number=2,
    text="uptime, minutes ≥ 99.9 %",
    metric="uptime",
    promised=share("0.999"),
    report_only=False,
    verdict="FAIL",
    reason="65 of 43,200 minutes were bad, 43 may be",
    attained=share("0.9985"),
    best=share("0.9985"),
    worst=share("0.998"),
    k=162,
    episodes=Episodes(
        count=2,
        first=[episode(1, 20, 10), episode(16, 30, 90)],
        worst=[episode(16, 30, 90), episode(1, 20, 10)],
    ),
    neighbours=NEARBY,
)
PERIOD = PeriodRecord(
    period="2026-09",
    start_utc="2026-09-01T00:00:00Z",
    end_utc="2026-10-01T00:00:00Z",
    time_zone="UTC",
    minutes=43_200,
    observed_minutes=43_200,
    coverage=1.0,
    rows=540_000,
    excluded={},
    clauses=[BROKEN],
    overall="FAIL",
    credit=DueCredit(
        kind="due",
        share=share("1/10"),
        at_most=share("1/10"),
        usd="120.00",
        at_most_usd="120.00",
        base="the monthly bill",
        claim_within_days=30,
        evidence_wanted=["the <log>"],
    ),
)


def log_of(*periods: PeriodRecord) -> CensusRecord:
    return CensusRecord(
        format=CensusRecord.FORMAT,
        contract="c",
        title="c",
        log=LogRecord(
            files=[],
            rows=1,
            first_utc="2026-09-01T00:00:00Z",
            last_utc="2026-09-30T00:00:00Z",
            columns={},
            notes=["made up, not recorded"],
            unreadable=UnreadableRows(count=0, first=[]),
        ),
        overall="FAIL",
        exit_code=1,
        unusable=[],
        periods=list(periods),
        attested=[],
        not_stated=[],
    )
