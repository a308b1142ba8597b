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
from bench.judge.census.detail import (
    breakdown,
    clause_rule,
    episode_record,
    exclusion_effects,
    ladder_steps,
    worst_episodes,
)
from bench.judge.census.log import LISTED, lacking_of, log_record, refuse_missing, row_record
from bench.judge.census.neighbours import neighbours_of
from bench.judge.census.periods import Span, spans
from bench.judge.census.rows import (
    ClauseRows,
    Part,
    attained_in,
    clause_rows,
    exact_share,
    kept,
)
from bench.judge.contract.credits import credit
from bench.judge.contract.exclusions import Classes, classify
from bench.judge.contract.uptime import Attained
from bench.plan.clause import Clause
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.contract import Contract
from bench.progress import each
from bench.record.records.census import (
    Accounting,
    CensusClause,
    CensusRecord,
    Document,
    Episodes,
    Evidence,
    ExactShare,
    PeriodRecord,
)
from bench.record.records.verdicts import ClauseOutcome
from bench.record.request_log import RequestLog
from bench.record.samples import Int
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


def census(
    log: RequestLog,
    contract: Contract,
    *,
    period: str | None = None,
    coverage: Coverage = Coverage(),
    bill_usd: Decimal | None = None,
    explained: bool = True,
) -> Census:
    """Hold the log against every clause of the contract, period by period.

    `bill_usd` is the base that credits are per cent of, of each period; `explained`: also by what
    the losses are broken down, and what each exclusion changes. Raises UserError: a
    clause or a class of requests for which the log has no column, no such period.
    """
    wall = log.columns.samples["due_ns"] + log.facts.start_wall_ns
    if period is None and (apart := int(wall[-1] - wall[0]) // (86400 * S)) > _MOST_DAYS:
        first = row_record(log, 0)
        last = row_record(log, len(wall) - 1)
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
            f"requests.failed cannot be evaluated: {classes.missing[0]}",
            where=f"contract {contract.name}",
            remedy="map the column with --column",
        )
    found = []
    evidence = dict[tuple[str, int], Int]()
    ends = np.concatenate([wall[[0, -1]], log.unread_ns[:1], log.unread_ns[-1:]])
    for span in spans(contract.period, int(ends.min()), int(ends.max()), period):
        first, last = np.searchsorted(wall, [span.start_ns, span.end_ns]).tolist()
        part = _part(log, contract, span, slice(first, last), wall, coverage)
        record, rows = _period(
            part,
            contract,
            _sliced(classes, slice(first, last)),
            log,
            first,
            bill_usd,
            explained=explained,
        )
        found.append(record)
        evidence |= {(span.name, number): each + first for number, each in rows.items()}
    return Census(_record(log, contract, found, classes.unusable, wall), evidence)


def _record(
    log: RequestLog,
    contract: Contract,
    periods: list[PeriodRecord],
    unusable: list[str],
    wall: Int,
) -> CensusRecord:
    overall = _overall([each.overall for each in periods])
    return CensusRecord(
        format=CensusRecord.FORMAT,
        contract=contract.name,
        title=contract.title,
        log=log_record(log, wall).replace(accounting=_accounting(log, periods)),
        overall=overall,
        exit_code=int(_EXIT.get(overall, ExitCode.PASS)),
        unusable=unusable,
        periods=periods,
        attested=[term.term for term in contract.attested],
        not_stated=list(contract.not_stated),
        provider=contract.scope.provider,
        tier=contract.scope.tier,
        customer=contract.customer,
        source=contract.source,
        documents={
            name: Document(url=each.url, retrieved=each.retrieved.isoformat(), read=each.read)
            for name, each in contract.sources.items()
        },
        claim_within_days=contract.credits.claim_within_days if contract.credits else None,
    )


def _part(
    log: RequestLog,
    contract: Contract,
    span: Span,
    rows: slice,
    wall: Int,
    coverage: Coverage,
) -> Part:
    observed = np.full(span.minutes, coverage.complete)
    unread = log.unread_ns[(log.unread_ns >= span.start_ns) & (log.unread_ns < span.end_ns)]
    for moments in (wall[rows], unread):
        observed[(moments - span.start_ns) // MINUTE_NS] = True
    for start, end in coverage.stretches:
        whole = [
            min(max((moment - span.start_ns) // MINUTE_NS, 0), span.minutes)
            for moment in (start + MINUTE_NS - 1, end)
        ]
        observed[whole[0] : whole[1]] = True
    watched = Fraction(int(observed.sum()), span.minutes)
    enough = contract.minimum_coverage is not None and watched >= contract.minimum_coverage
    resource = log.facts.labels.get("resource")
    return Part(
        span,
        log.columns.where(rows),
        wall[rows],
        None if resource is None else resource[rows],
        observed,
        enough,
        unread,
    )


def _accounting(log: RequestLog, periods: Sequence[PeriodRecord]) -> Accounting:
    """Where every row of the files went. Raises RuntimeError where one is missing."""
    rows = sum(each.rows for each in periods)
    unread = sum(each.unreadable for each in periods)
    excluded = sum(sum(each.excluded.values()) for each in periods)
    rows_in = log.rows_in
    if rows_in is None:
        rows_in = len(log.columns)
    outside = len(log.columns) + len(log.unread_ns) - rows - unread
    found = Accounting(
        rows_in=rows_in,
        judged=rows - excluded,
        excluded=excluded,
        unreadable=unread,
        outside_period=outside,
        duplicates=log.duplicates,
    )
    if outside < 0 or rows_in != found.judged + excluded + unread + outside + log.duplicates:
        raise RuntimeError(f"rows of the log are missing: {found}")
    return found


def _sliced(classes: Classes, rows: slice) -> Classes:
    return replace(
        classes,
        failed=classes.failed[rows],
        unknown=classes.unknown[rows],
        excluded=classes.excluded[rows],
    )


def _period(
    part: Part,
    contract: Contract,
    classes: Classes,
    log: RequestLog,
    offset: int,
    bill_usd: Decimal | None,
    *,
    explained: bool,
) -> tuple[PeriodRecord, dict[int, Int]]:
    """(record of one period, rows that broke each clause)."""
    span = part.span
    here = slice(offset, offset + len(part.columns))
    paying = []
    records: list[CensusClause] = []
    evidence: dict[int, Int] = {}
    judged: dict[int, tuple[Clause, ClauseRows]] = {}
    for number, clause in each("judging the log", list(enumerate(contract.clauses, 1))):
        if lacking := lacking_of(log, clause):  # of a clause that is only reported
            records.append(_only_reported(number, clause, lacking))
            continue
        rows = clause_rows(part.columns, clause, classes)
        reached = attained_in(part, clause, rows)
        evidence[number] = np.flatnonzero(rows.bad)
        first = evidence[number][:_ROWS_LISTED].tolist()
        record = _clause_record(part, clause, rows, reached).replace(
            number=number,
            neighbours=neighbours_of(part, clause, rows, classes),
            source=clause.source,
            rule=clause_rule(clause),
            evidence=Evidence(
                rows=len(evidence[number]), first=[row_record(log, row + offset) for row in first]
            ),
        )
        if (classes.excluded >= 0).any():
            record = record.replace(without_exclusions=_with_all(part, clause, classes))
        if not clause.report_only:
            judged[number] = (clause, rows)
            paying.append((clause.credit or (), reached.best, reached.worst))
        records.append(record)
    observed = int(part.observed.sum())
    rule = contract.credits
    return PeriodRecord(
        period=span.name,
        start_utc=utc_text(span.start_ns),
        end_utc=utc_text(span.end_ns),
        time_zone=contract.period.time_zone if contract.period else None,
        minutes=span.minutes,
        observed_minutes=observed,
        coverage=observed / span.minutes,
        rows=len(part.columns),
        unreadable=len(part.unread_ns),
        excluded=classes.counts(),
        clauses=records,
        overall=_overall([each.verdict for each in records]),
        credit=credit(paying, rule, "due", bill_usd).record(rule) if rule else None,
        exclusions=exclusion_effects(part, judged, classes) if explained else [],
        breakdown=breakdown(part, log.facts.where(here), records, judged) if explained else None,
        ladder=ladder_steps(contract, records),
    ), evidence


def _only_reported(number: int, clause: Clause, lacking: str) -> CensusClause:
    reason = f"no column: {lacking}"
    return CensusClause(number=number, text=clause.text, verdict="REPORTED", reason=reason)


def _with_all(part: Part, clause: Clause, classes: Classes) -> ExactShare | None:
    """What the clause attained with nothing set aside."""
    counted = replace(classes, excluded=np.full_like(classes.excluded, -1))
    return exact_share(attained_in(part, clause, clause_rows(part.columns, clause, counted)))


def _clause_record(
    part: Part,
    clause: Clause,
    rows: ClauseRows,
    reached: Attained,
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
    _, bad, unread = part.counted(rows)
    n = len(bad)
    k = int(bad.sum())
    unknown = int(unread.sum())
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
        attained=exact_share(reached),
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
            first=[episode_record(each) for each in reached.down[:LISTED]],
            worst=worst_episodes(part, clause, rows, reached.down) if k else [],
        ),
    )


def _reason(
    part: Part,
    clause: Clause,
    reached: Attained,
    broken: int,
    of: int,
    unknown: int,
) -> str:
    """`65 of 43,200 minutes were bad, 43 may be`, and what leaves a choice."""
    if not reached.units:
        return "no request of the log counts for this clause"
    if clause.by_time:
        units = "minutes" if clause.unit_ns == MINUTE_NS else "windows"
    else:
        units = "requests"
    if clause.kind.partial:
        said = f"{reached.bad_units:,} of {reached.observed_units:,} intervals lost requests"
    else:
        most = of * clause.allowed_share
        allowed = most.numerator // most.denominator
        allowed -= bool(allowed and not kept(clause, 1 - Fraction(allowed, max(of, 1))))
        said = f"{broken:,} of {of:,} {units} were bad, {allowed:,} may be"
    open_ = []
    if hidden := int((~part.observed).sum()):
        aside = ", left aside as agreed" if part.observed_only else ""
        open_.append(f"{hidden:,} of {part.span.minutes:,} minutes were not observed{aside}")
    unread = len(part.unread_ns)
    if unknown > unread:
        open_.append(f"{unknown - unread:,} requests have no known end")
    if unread:
        open_.append(f"{unread:,} rows cannot be read")
    return "; ".join([said, *open_])


def _overall(verdicts: Sequence[str]) -> CensusVerdict:
    verdict: CensusVerdict
    for verdict in ("FAIL", "INCONCLUSIVE", "PASS"):
        if verdict in verdicts:
            return verdict
    return "NONE"
