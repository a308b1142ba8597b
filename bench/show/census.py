"""A census in words: the verdict first, then why, what others would call it, and what is due.

In: census.json. Out: nodes of a screen, tables of a page. Must stay true: a bound stands
beside every value that has one; foreign text has passed through `wording.visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from bench.record.records.census import (
    Accounting,
    CensusClause,
    CensusRecord,
    DueCredit,
    ExactShare,
    LogRecord,
    NeighbourRecord,
    PeriodRecord,
)
from bench.show.document import Code, Column, Node, Table, Text, Verdict
from bench.show.result import Result
from bench.show.wording import (
    ABSENT,
    between,
    clause_name,
    count,
    counts,
    exact,
    local_time,
    per_cent,
    visible,
)

_EPISODES = 3
#: Periods, files and notes that have a line.
_PERIODS = 3
#: Whether a promise holds by another definition; open where its bounds leave that.
KEPT = {True: "kept", False: "broken", None: "open"}


# ---- the clauses of a period


def because(clause: CensusClause) -> Iterator[str]:
    """What decided a clause, and what was measured; one that is only reported broke no promise."""
    shown = not clause.judged and clause.measured
    yield "reported, not judged" if shown else visible(clause.reason)
    if clause.measured_ms is not None:
        unit = "tokens/s" if clause.metric == "output_tps" else "ms"
        yield f"measured {exact(round(clause.measured_ms, 1))} {unit}"
    if clause.without_exclusions:
        yield f"without exclusions {per_cent(clause.without_exclusions.share)}"


def attained(clause: CensusClause) -> str:
    """`99.97 %`, with its bounds where the log leaves some; absent where the clause has no such
    share.
    """
    if clause.promised is None or clause.best is None or clause.worst is None:
        return ABSENT
    best, worst = clause.best.share, clause.worst.share
    value = beside(clause.attained, clause.promised)
    if best == worst:
        return value
    return f"{value} ({between((worst, best), lambda share: per_cent(share, 2))})"


def beside(attained: ExactShare | None, promised: ExactShare | None) -> str:
    """A share that rounding must not lay upon the promised one: 99.8995 % beside 99.9 %."""
    if attained is None or promised is None:
        return ABSENT
    value, limit = attained.share, promised.share
    return (
        per_cent(value)
        if value == limit or per_cent(value) != per_cent(limit)
        else f"{exact(value * 100)} %"
    )


def _promised(clause: CensusClause) -> str:
    judged = clause.judged
    return f"≥ {per_cent(clause.promised.share)}" if clause.promised and judged else ABSENT


#: The columns of a census; a screen draws the verdict last.
CENSUS_COLUMNS: list[Column[CensusClause]] = [
    Column("clause", lambda clause: clause_name(clause.text), "words"),
    Column("attained (bounds)", attained),
    Column("promised", _promised),
    Column("verdict", lambda clause: clause.verdict, "verdict"),
    Column("decided by", lambda clause: "; ".join(because(clause)), "reason"),
]
#: A neighbouring definition, and the share that the clause promises.
_Nearby = tuple[NeighbourRecord, ExactShare | None]
NEIGHBOUR_COLUMNS: list[Column[_Nearby]] = [
    Column("definition", lambda row: visible(row[0].definition), "words"),
    Column("whose", lambda row: visible(row[0].whose), "words"),
    Column("uptime", lambda row: beside(row[0].attained, row[1])),
    Column("the promise", lambda row: KEPT[row[0].kept]),
]


def clause_table(caption: str, clauses: Sequence[CensusClause]) -> Table[CensusClause]:
    """What each clause came to."""
    return Table(caption, CENSUS_COLUMNS, clauses)


def neighbour_tables(caption: str, clauses: Sequence[CensusClause]) -> list[Table[Any]]:
    """The neighbouring definitions of what is judged, each once; no table without one."""
    nearby: dict[str, _Nearby] = {}
    for clause in clauses:
        if clause.judged:
            for each in clause.neighbours:
                nearby[each.definition] = (each, clause.promised)
    return [Table(caption, NEIGHBOUR_COLUMNS, list(nearby.values()))] if nearby else []


def _tables(when: str, clauses: Sequence[CensusClause]) -> list[Table[Any]]:
    """What each clause came to, and the same log under the neighbouring definitions."""
    others = neighbour_tables("The same log under other definitions", clauses)
    return [clause_table(f"Census of {when}", clauses), *others]


def credit_line(credit: DueCredit) -> str:
    """`due: 10 % of the monthly bill = 120.00 USD`, with what more there may be."""
    share, most = credit.share.share, credit.at_most.share
    if not most:
        return f"none {credit.kind}: no step of the ladder is reached"
    said = f"{credit.kind}: {per_cent(share)} of {visible(credit.base)}"
    if credit.usd is not None:
        said += f" = {_money(credit.usd)} USD"
    if most > share:
        said += f"; up to {per_cent(most)}"
        said += f" = {_money(credit.at_most_usd)} USD" if credit.usd is not None else ""
        said += " if what was not observed went the other way"
    if credit.claim_within_days:
        said += f"; claim within {credit.claim_within_days} days"
    return said


def _money(usd: str | None) -> str:
    """`4,200.00`: to the cent, as it is paid."""
    return ABSENT if usd is None else f"{Decimal(usd):,.2f}"


# ---- a screen


def census_result(record: CensusRecord, written: Sequence[str] = (), again: str = "") -> Result:
    """The verdict of each period, its clauses, what is due, the log; `written` are files, `again`
    the command that goes on with them.
    """
    lead: list[Node] = []
    body: list[Node] = []
    for period in record.periods:
        lead.append(_came_to(record, period))
        body += _period(period)
    lead = lead or [Verdict(record.overall, "", "  no period of the log can be judged")]
    body += [Text(visible(sentence), "left out") for sentence in record.unusable]
    body += [Text(visible(sentence), "attested") for sentence in record.attested]
    due = [each for each in record.periods if each.credit is not None]
    foot: list[Node] = [
        Text(_credit(each, several=len(due) > 1), "credit") for each in due[:_PERIODS]
    ]
    foot += [Text(said, label) for label, said in _log(record.log)]
    foot += [Code(visible(path, 4096), "written") for path in written]
    foot += [Code(visible(command, 4096), "next") for command in (again,) if command]
    return Result([*lead[:_PERIODS], *_more_periods(lead)], body, foot)


def _more_periods(lead: Sequence[Node]) -> Iterator[Node]:
    if len(lead) > _PERIODS:
        yield Text(f"and {count(len(lead) - _PERIODS)} more periods: add --full")


def _credit(period: PeriodRecord, *, several: bool) -> str:
    assert period.credit is not None
    return f"{visible(period.period, 20)}, " * several + credit_line(period.credit)


def _came_to(record: CensusRecord, period: PeriodRecord) -> Verdict:
    """`FAIL  2026-10: 3 of 200 requests were …, under contract azure`."""
    when = f"  {visible(period.period, 20)}"
    minutes = f"{count(period.observed_minutes)} of {count(period.minutes)} minutes observed"
    aside = f"{visible(record.contract, 40)}, {count(period.rows)} requests, {minutes}"
    judged = [clause for clause in period.clauses if clause.judged]
    of_it = [clause for clause in judged if clause.verdict == period.overall]
    if period.overall in ("FAIL", "INCONCLUSIVE") and of_it:
        first = of_it[0]
        said = f"{clause_name(first.text)} {attained(first)} against {_promised(first)}"
        more = f", {len(of_it)} of {len(judged)} clauses" if len(of_it) > 1 else ""
        return Verdict(period.overall, "", f"{when}: {said}{more}", aside)
    all_of = "the clause is" if len(judged) == 1 else f"all {len(judged)} clauses are"
    kept = f": {all_of} kept" if period.overall == "PASS" else ""
    return Verdict(period.overall, "", f"{when}{kept}", aside)


def _period(period: PeriodRecord) -> Iterator[Node]:
    clauses, *nearby = _tables(period.period, period.clauses)
    yield replace(clauses, caption="", layout="promises")
    if period.excluded:
        yield Text(counts(period.excluded), "excluded")
    for clause in period.clauses:
        if clause.verdict == "FAIL":
            yield from _evidence(clause, period.time_zone or "UTC")
    yield from nearby


def _evidence(clause: CensusClause, zone: str) -> Iterator[Node]:
    """What broke the clause: episodes, else the lines of the log."""
    episodes, rows = clause.episodes, clause.evidence
    spells = f" in {count(episodes.count)} episodes" if episodes.count else ""
    yield Text(f"{clause_name(clause.text)}: {count(rows.rows)} requests{spells}", "evidence")
    for each in episodes.first[:_EPISODES]:
        start, end = (local_time(moment, zone) for moment in (each.start_utc, each.end_utc))
        when = f"{start:%Y-%m-%d %H:%M} – {end:%H:%M}  {count(each.minutes)} min"
        broke = f"{count(each.broke)} of {count(each.requests)} requests"
        yield Text(f"{when}  {broke}", " ", "soft")
    if episodes.count > _EPISODES:
        yield Text(f"and {count(episodes.count - _EPISODES)} more", " ", "soft")
    if not episodes.count and rows.first:
        lines = [f"{visible(each.file, 40)}:{each.line}" for each in rows.first]
        more = " ..." if rows.rows > _EPISODES else ""
        yield Text(", ".join(lines[:_EPISODES]) + more, " ", "soft")


def accounted(rows: Accounting) -> str:
    """`1,000 in the files = 990 judged + 10 unreadable`."""
    parts = [f"{count(rows.judged)} judged"]
    for n, name in (
        (rows.excluded, "excluded"),
        (rows.unreadable, "unreadable"),
        (rows.outside_period, "outside the period"),
        (rows.duplicates, "duplicates"),
    ):
        if n:
            parts.append(f"{count(n)} {name}")
    return f"{count(rows.rows_in)} in the log = {' + '.join(parts)}"


def _log(log: LogRecord) -> Iterator[tuple[str, str]]:
    names = ", ".join(visible(each.name, 80) for each in log.files[:_PERIODS])
    yield "log", f"{names}: {count(log.rows)} requests, {log.first_utc} to {log.last_utc}"
    if log.columns:
        named = (f"{name} = {visible(column, 40)}" for name, column in log.columns.items())
        yield "columns", ", ".join(named)
    yield from (("note", visible(note, 200)) for note in log.notes[:_PERIODS])
    if log.accounting is not None:
        yield "rows", accounted(log.accounting)
    if unreadable := log.unreadable.count:
        first = log.unreadable.first[:1]
        where = "".join(
            f"; {visible(each.file, 40)}:{each.line}: {visible(each.reason, 90)}" for each in first
        )
        yield "unread", f"{count(unreadable)} rows cannot be read and count both ways{where}"
