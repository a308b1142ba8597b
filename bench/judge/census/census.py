"""A whole period of a request log against a contract: exact arithmetic, no inference.

In: a log, a contract, what the log covers. Out: the value of census.json, and the rows that each
clause rests on. Must stay true: a clause passes only if it would whatever happened in unobserved
time and to unknown rows, and fails only if it would in the best case; a log that lacks what a
judged clause speaks of is refused; only here is a credit due.

Source: methods 1.3-1.5, 3.4 and 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import numpy as np

from bench.clock import utc_text
from bench.errors import ExitCode, UserError
from bench.judge.census.log import LISTED, lacking_of, log_record, refuse_missing, row_record
from bench.judge.census.neighbours import Neighbour, uptime_neighbours, window_neighbours
from bench.judge.census.periods import Span, spans
from bench.judge.census.rows import ClauseRows, clause_rows
from bench.judge.contract.credits import credit
from bench.judge.contract.exclusions import Classes, classify
from bench.judge.contract.uptime import (
    Attained,
    attained,
    attained_means,
    attained_requests,
    minute_table,
)
from bench.plan.clause import Clause
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.contract import Contract
from bench.record.records.census import (
    CensusClause,
    CensusRecord,
    EpisodeRecord,
    Episodes,
    Evidence,
    ExactShare,
    NeighbourRecord,
    PeriodRecord,
)
from bench.record.records.verdicts import ClauseOutcome
from bench.record.request_log import RequestLog
from bench.record.samples import Bool, Columns, Int
from bench.units import S

_EXIT = {"FAIL": ExitCode.FAIL, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}
CensusVerdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "NONE"]
_ROWS_LISTED = 20
#: A log longer than this is more likely to hold a wrong time.
_MOST_DAYS = 1_100


@dataclass(frozen=True)
class Coverage:
    """Time in which the log is known to hold every request, so that an empty minute was empty."""

    #: [start, end) in Unix ns
    stretches: Sequence[tuple[int, int]] = ()
    complete: bool = False


@dataclass(frozen=True)
class Census:
    """census.json, and behind it the rows (indices into the log) that broke each clause of each
    period.
    """

    record: CensusRecord
    evidence: dict[tuple[str, int], Int]


@dataclass(frozen=True)
class _Part:
    """The log within one period."""

    span: Span
    columns: Columns
    wall_ns: Int
    resource: Int | None
    observed: Bool
    #: the parties agreed that this much watched is enough: the rest does not count
    observed_only: bool


def census(
    log: RequestLog,
    contract: Contract,
    *,
    period: str | None = None,
    coverage: Coverage = Coverage(),
    bill_usd: Decimal | None = None,
) -> Census:
    """Hold the log against every clause of the contract, period by period.

    `bill_usd` is the base that credits are per cent of, of each period. Raises UserError: a
    clause or a class of requests for which the log has no column, no such period.
    """
    wall = log.columns.samples["due_ns"] + log.facts.start_wall_ns
    if period is None and (apart := int(wall[-1] - wall[0]) // (86400 * S)) > _MOST_DAYS:
        first, last = row_record(log, 0), row_record(log, len(wall) - 1)
        raise UserError(
            f"its rows lie {apart:,} days apart: line {first.line} ({first.at_utc}) and "
            f"line {last.line} ({last.at_utc})",
            where=first.file,
            remedy="correct these times, or choose one --period",
        )
    refuse_missing(log, contract)
    classes = classify(log.columns, contract, log.facts)
    if classes.missing:
        raise UserError(
            f"requests.failed cannot be told: {classes.missing[0]}",
            where=f"contract {contract.name}",
            remedy="map the column with --column",
        )
    found, evidence = [], dict[tuple[str, int], Int]()
    for span in spans(contract.period, int(wall[0]), int(wall[-1]), period):
        first, last = np.searchsorted(wall, [span.start_ns, span.end_ns]).tolist()
        part = _part(log, contract, span, slice(first, last), wall, coverage)
        record, rows = _period(
            part, contract, _sliced(classes, slice(first, last)), log, first, bill_usd
        )
        found.append(record)
        evidence |= {(span.name, number): each + first for number, each in rows.items()}
    overall = _overall([each.overall for each in found])
    return Census(
        CensusRecord(
            format=CensusRecord.FORMAT,
            contract=contract.name,
            title=contract.title,
            log=log_record(log, wall),
            overall=overall,
            exit_code=int(_EXIT.get(overall, ExitCode.PASS)),
            unusable=classes.unusable,
            periods=found,
            attested=[term.term for term in contract.attested],
            not_stated=list(contract.not_stated),
        ),
        evidence,
    )


def _part(
    log: RequestLog, contract: Contract, span: Span, rows: slice, wall: Int, coverage: Coverage
) -> _Part:
    observed = np.full(span.minutes, coverage.complete)
    observed[(wall[rows] - span.start_ns) // MINUTE_NS] = True
    for start, end in coverage.stretches:
        whole = [
            min(max((moment - span.start_ns) // MINUTE_NS, 0), span.minutes)
            for moment in (start + MINUTE_NS - 1, end)
        ]
        observed[whole[0] : whole[1]] = True
    watched = Fraction(int(observed.sum()), span.minutes)
    enough = contract.minimum_coverage is not None and watched >= contract.minimum_coverage
    resource = log.facts.labels.get("resource")
    return _Part(
        span,
        log.columns.where(rows),
        wall[rows],
        None if resource is None else resource[rows],
        observed,
        enough,
    )


def _sliced(classes: Classes, rows: slice) -> Classes:
    return replace(
        classes,
        failed=classes.failed[rows],
        unknown=classes.unknown[rows],
        excluded=classes.excluded[rows],
    )


def _period(
    part: _Part,
    contract: Contract,
    classes: Classes,
    log: RequestLog,
    offset: int,
    bill_usd: Decimal | None,
) -> tuple[PeriodRecord, dict[int, Int]]:
    """(record of one period, rows that broke each clause)."""
    span, paying = part.span, []
    records: list[CensusClause] = []
    evidence: dict[int, Int] = {}
    for number, clause in enumerate(contract.clauses, 1):
        if lacking := lacking_of(log, clause):  # of a clause that is only reported
            reason = f"no column: {lacking}"
            records.append(
                CensusClause(number=number, text=clause.text, verdict="REPORTED", reason=reason)
            )
            continue
        rows = clause_rows(part.columns, clause, classes)
        reached = _attained(part, clause, rows)
        evidence[number] = np.flatnonzero(rows.bad)
        first = evidence[number][:_ROWS_LISTED].tolist()
        record = _clause_record(part, clause, rows, reached).replace(
            number=number,
            neighbours=_neighbours(part, clause, rows, classes),
            evidence=Evidence(
                rows=len(evidence[number]), first=[row_record(log, row + offset) for row in first]
            ),
        )
        if (classes.excluded >= 0).any():
            counted = replace(classes, excluded=np.full_like(classes.excluded, -1))
            with_all = _attained(part, clause, clause_rows(part.columns, clause, counted))
            record = record.replace(without_exclusions=_share(with_all))
        if clause.credit is not None and not clause.report_only:
            paying.append((clause.credit, reached.best, reached.worst))
        records.append(record)
    observed = int(part.observed.sum())
    due = credit(paying, contract.credits, "due", bill_usd) if contract.credits else None
    return PeriodRecord(
        period=span.name,
        start_utc=utc_text(span.start_ns),
        end_utc=utc_text(span.end_ns),
        time_zone=contract.period.time_zone if contract.period else None,
        minutes=span.minutes,
        observed_minutes=observed,
        coverage=observed / span.minutes,
        rows=len(part.columns),
        excluded=classes.counts(),
        clauses=records,
        overall=_overall([each.verdict for each in records]),
        credit=due.record(contract.credits) if due and contract.credits else None,
    ), evidence


def _attained(part: _Part, clause: Clause, rows: ClauseRows) -> Attained:
    """The share that keeps the promise, of whatever unit the clause counts, with its bounds."""
    keep = rows.counted
    if not keep.any():  # empty minutes may be up, but no clause passes on no data
        return Attained(None, Fraction(1), Fraction(0), 0, 0, 0, [])
    wall, bad, unknown = part.wall_ns[keep], rows.bad[keep], rows.unknown[keep]
    resource = (
        part.resource[keep] if part.resource is not None and clause.weight != "together" else None
    )
    bounds = (part.span.start_ns, part.span.end_ns)
    table = minute_table(wall, bad, unknown, bounds, part.observed, resource)
    if clause.kind.by_means(clause):
        assert rows.values is not None
        if part.observed_only:
            table = replace(table, observed=np.ones_like(part.observed))
        return attained_means(wall, rows.values[keep], ~unknown, table, clause)
    if clause.kind.in_minutes:
        return attained(table, clause, observed_only=part.observed_only)
    unseen = 0 if part.observed_only else int((~part.observed).sum()) * max(int(table.n.max()), 1)
    return attained_requests(int(keep.sum()), int(bad.sum()), int(unknown.sum()), unseen)


def _share(reached: Attained) -> ExactShare | None:
    return None if reached.value is None else ExactShare.of(reached.value)


def kept(clause: Clause, share: Fraction) -> bool:
    """Whether this attained share keeps the promise; `>` and `<` of a share do not count the share
    itself.
    """
    promised = 1 - clause.allowed_share
    return share > promised if clause.kind.excludes_promised(clause) else share >= promised


def _clause_record(
    part: _Part, clause: Clause, rows: ClauseRows, reached: Attained
) -> CensusClause:
    """A judged clause; its number, neighbours and evidence are added by who knows them."""
    verdict: ClauseOutcome = "FAIL"
    if clause.report_only:
        verdict = "REPORTED"
    elif kept(clause, reached.worst):
        verdict = "PASS"
    elif kept(clause, reached.best):
        verdict = "INCONCLUSIVE"
    by_unit = clause.by_time and not clause.kind.partial
    n, k, unknown = int(rows.counted.sum()), int(rows.bad.sum()), int(rows.unknown.sum())
    broken, of = (reached.bad_units, reached.observed_units) if by_unit else (k, n)
    return CensusClause(
        number=0,
        text=clause.text,
        metric=clause.metric,
        method=clause.method if clause.kind.named_by == "method" else None,
        promised=ExactShare.of(1 - clause.allowed_share),
        report_only=clause.report_only,
        verdict=verdict,
        reason=_reason(part, clause, reached, broken, of, unknown),
        attained=_share(reached),
        best=ExactShare.of(reached.best),
        worst=ExactShare.of(reached.worst),
        measured_ms=rows.quantile_ms(clause),
        n=n,
        k=k,
        unknown=unknown,
        units=reached.units,
        observed_units=reached.observed_units,
        bad_units=reached.bad_units,
        episodes=Episodes(
            count=len(reached.down),
            first=[
                EpisodeRecord(
                    start_utc=utc_text(each.start_ns),
                    end_utc=utc_text(each.end_ns),
                    minutes=(each.end_ns - each.start_ns) // MINUTE_NS,
                    requests=each.n,
                    broke=each.failed,
                )
                for each in reached.down[:LISTED]
            ],
        ),
    )


def _reason(
    part: _Part, clause: Clause, reached: Attained, broken: int, of: int, unknown: int
) -> str:
    """`65 of 43,200 minutes broke it, 43 may`, and what leaves a choice."""
    if not reached.units:
        return "no request of the log counts for this clause"
    units = (
        ("minutes" if clause.unit_ns == MINUTE_NS else "windows") if clause.by_time else "requests"
    )
    if clause.kind.partial:
        said = f"{reached.bad_units:,} of {reached.observed_units:,} intervals lost requests"
    else:
        most = of * clause.allowed_share
        allowed = most.numerator // most.denominator
        allowed -= bool(allowed and not kept(clause, 1 - Fraction(allowed, max(of, 1))))
        said = f"{broken:,} of {of:,} {units} broke it, {allowed:,} may"
    open_ = []
    if hidden := int((~part.observed).sum()):
        aside = ", left aside as agreed" if part.observed_only else ""
        open_.append(f"{hidden:,} of {part.span.minutes:,} minutes were not observed{aside}")
    if unknown:
        open_.append(f"{unknown:,} requests have no known end")
    return "; ".join([said, *open_])


def _neighbours(
    part: _Part, clause: Clause, rows: ClauseRows, classes: Classes
) -> list[NeighbourRecord]:
    """The same period under other definitions. They speak of all resources together."""
    found: list[tuple[Neighbour, Attained]] = []
    if not rows.counted.any():
        return []
    if clause.kind.definitions:
        keep = rows.counted
        table = minute_table(
            part.wall_ns[keep],
            rows.bad[keep],
            rows.unknown[keep],
            (part.span.start_ns, part.span.end_ns),
            part.observed,
        )
        found = [(each, attained(table, each.clause)) for each in uptime_neighbours(clause.share)]
    elif clause.by_time:
        for each in window_neighbours(clause):
            found.append(
                (
                    each,
                    _attained(part, each.clause, clause_rows(part.columns, each.clause, classes)),
                )
            )
    return [
        NeighbourRecord(
            definition=each.name,
            whose=each.whose,
            attained=_share(reached),
            kept=_settled(clause, reached),
        )
        for each, reached in found
    ]


def _settled(clause: Clause, reached: Attained) -> bool | None:
    """Whether the promise is kept; None where what was not seen could turn it either way, or
    nothing was seen.
    """
    at_worst, at_best = kept(clause, reached.worst), kept(clause, reached.best)
    return at_worst if reached.value is not None and at_worst == at_best else None


def _overall(verdicts: Sequence[str]) -> CensusVerdict:
    verdict: CensusVerdict
    for verdict in ("FAIL", "INCONCLUSIVE", "PASS"):
        if verdict in verdicts:
            return verdict
    return "NONE"
