"""The compliance report of a period: what was promised, what was kept, what is due, and the proof.

In: census.json. Out: a document of two pages and an appendix. Must stay true: a clause's bounds
stand beside its value wherever it is named; what was not observed is said beside what would settle
it; foreign text has passed through `wording.visible`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby

from bench.record.records.census import (
    BreakdownRow,
    CensusClause,
    CensusRecord,
    ExclusionEffect,
    LadderStep,
    PeriodRecord,
)
from bench.show.census import (
    accounted,
    attained,
    beside,
    clause_table,
    credit_line,
    neighbour_tables,
)
from bench.show.document import (
    Bullets,
    Code,
    Column,
    Document,
    Drawer,
    Fact,
    Heading,
    Node,
    Pairs,
    Section,
    Table,
    Text,
)
from bench.show.outages import all_outages, lost_when, period_name, worst_outages
from bench.show.wording import (
    CUT,
    capital,
    clause_name,
    count,
    counts,
    local_time,
    per_cent,
    visible,
)
from bench.units import show_list

_COMPLETE = "--complete-log"
#: Periods that have a line beside the verdict.
_PERIODS_MOST = 3
_BY = {
    "status": "status",
    "cause": "cause",
    "model": "model that answered",
    "tier": "tier that answered",
    "region": "region",
}


def month_document(record: CensusRecord) -> Document:
    """The report of every period that the log has."""
    sections: list[Section] = []
    for period in record.periods:
        sections += _sections(record, period)
    sections.append(_appendix(record))
    return Document(
        run=_digest(record),
        title=visible(_title(record), 160),
        overall=record.overall,
        lead=[node for each in record.periods for node in _answer(record, each)],
        facts=list(_parties(record)),
        commands=_next(record),
        sections=sections,
        foot=f"{visible(record.contract, 60)} · log {_digest(record)}",
    )


def _title(record: CensusRecord) -> str:
    named = " to ".join(dict.fromkeys(period_name(each) for each in _ends(record.periods)))
    return f"{record.provider or record.contract}, {named}" if named else record.title


def _ends(periods: Sequence[PeriodRecord]) -> list[PeriodRecord]:
    return [periods[0], periods[-1]] if periods else []


def _digest(record: CensusRecord) -> str:
    return next((each.sha256[:12] for each in record.log.files if each.sha256), "no digest")


# ---- the answer


def _answer(record: CensusRecord, period: PeriodRecord) -> Iterator[Text]:
    """What was broken first, or that all was kept; then what is due."""
    judged = [each for each in period.clauses if each.judged]
    broken = [each for each in judged if each.verdict == "FAIL"]
    undecided = [each for each in judged if each.verdict == "INCONCLUSIVE"]
    if broken:
        said = f"{_broken(broken[0])}."
        if len(broken) > 1:
            said += f" {len(broken) - 1} more of {len(judged)} clauses were broken."
    elif undecided:
        said = f"Not decided: {came_to(undecided[0])}; {visible(undecided[0].reason)}."
    elif judged:
        said = f"All {len(judged)} clauses were kept: {came_to(judged[0])}."
    else:
        said = "The contract promises nothing that a log can show."
    if len(record.periods) > 1:
        said = f"{period_name(period)}: {said}"
    yield Text(said)
    if period.credit is not None and period.credit.at_most.share:
        yield Text(f"Credit {credit_line(period.credit)}.")
    elif period.credit is not None:
        yield Text("No credit is due.")


def _broken(clause: CensusClause) -> str:
    return f"Broken: {came_to(clause)}; {visible(clause.reason)}"


def came_to(clause: CensusClause) -> str:
    """`uptime was 99.85 %, 99.9 % was promised`."""
    promised = clause.promised
    said = f"{clause_name(clause.text)} was {attained(clause)}"
    return said if promised is None else f"{said}, {per_cent(promised.share)} was promised"


def _parties(record: CensusRecord) -> Iterator[Fact]:
    """Whose contract, of which time, by which log."""
    if record.provider:
        tier = f", tier {visible(record.tier, 40)}" if record.tier else ""
        yield Fact("Provider", visible(record.provider, 80) + tier)
    else:
        yield Fact("Provider", "the contract names none")
    if record.customer:
        yield Fact("Customer", visible(record.customer, 80))
    yield Fact("Contract", visible(record.title or record.contract, 160))
    for period in record.periods[:_PERIODS_MOST]:
        zone = period.time_zone or "UTC"
        start, end = (local_time(moment, zone) for moment in (period.start_utc, period.end_utc))
        when = f"{start:%-d %B %Y %H:%M} to {end:%-d %B %Y %H:%M} ({visible(zone, 40)})"
        yield Fact("Period", f"{when}, {count(period.rows)} requests")
    if (more := len(record.periods) - _PERIODS_MOST) > 0:
        yield Fact("Periods", f"{count(more)} more below")
    if record.log.accounting is not None:
        yield Fact("Log", accounted(record.log.accounting))


def _next(record: CensusRecord) -> list[Code]:
    """What settles what is open, or claims what is due; this page's folder is the place."""
    if record.overall == "FAIL":
        said = "In this folder: make the claim that is sent to the provider"
        return [Code("tailproof claim . --out ../claim", said)]
    hidden = any(each.minutes > each.observed_minutes for each in record.periods)
    if record.overall == "INCONCLUSIVE" and hidden:
        said = "If the log is complete: settle the minutes that had no request"
        contract = shlex.quote(visible(record.contract, 80))
        return [Code(f"tailproof judge --census LOG --contract {contract} {_COMPLETE}", said)]
    return []


# ---- a period, question by question


def _sections(record: CensusRecord, period: PeriodRecord) -> Iterator[Section]:
    several = len(record.periods) > 1
    asked = f"{period_name(period)}: " if several else ""
    place = f"-{visible(period.period, 20)}" if several else ""

    def section(anchor: str, question: str, answer: str, nodes: Sequence[Node]) -> Section:
        title = asked + question[0].lower() + question[1:] if several else question
        link = anchor if not several else ""
        return Section(anchor + place, title, nodes, link=link, answer=answer)

    kept = _kept(period)
    yield section("clauses", "Was each clause kept?", kept, list(_clauses(record, period)))
    if outages := list(worst_outages(period)):
        yield section("outages", "When was it lost?", lost_when(period), outages)
    if period.breakdown and (rows := _telling(period.breakdown.rows)):
        clause = clause_of(period, period.breakdown.clause)
        of = f"Requests that {clause_name(clause.text)} counts" if clause else "Requests"
        table = Table(f"{of}, by what the log says of them", BY_COLUMNS, rows)
        yield section("where", "Where was it lost?", _most_of(rows), [table])
    if period.exclusions:
        question = "What was set aside, and what does it change?"
        aside = counts({each.reason: each.rows for each in period.exclusions})
        yield section("excluded", question, f"{aside}.", _aside(period))
    seen, *more = _observed(record, period)
    yield section("observed", "What was not observed?", seen.text, more)
    if period.credit is not None:
        due = f"{capital(credit_line(period.credit))}."
        yield section("due", "What is due?", due, list(_due(record, period)))


def _kept(period: PeriodRecord) -> str:
    """`Of 2 clauses 1 was broken and 1 kept.`"""
    judged = [each.verdict for each in period.clauses if each.judged]
    words = {"FAIL": "broken", "INCONCLUSIVE": "undecided", "PASS": "kept"}
    parts = [f"{judged.count(each)} {word}" for each, word in words.items() if each in judged]
    if not parts:
        return "The contract promises nothing that a log can show."
    return f"Of {len(judged)} clause{'s' * (len(judged) != 1)}: {show_list(parts)}."


def _most_of(rows: Sequence[BreakdownRow]) -> str:
    """`Most of it: region eu-1, 41 of 65.`: the value with the largest share of what was bad."""
    by = {row.by: sum(each.broke for each in rows if each.by == row.by) for row in rows}
    found = [row for row in rows if row.broke and row.by not in ("status", "cause")]
    worst = max(
        found or [row for row in rows if row.broke], key=lambda row: row.broke, default=None
    )
    if worst is None:
        return "Nothing was."
    where = f"{_BY.get(worst.by, worst.by)} {visible(worst.value, 60)}"
    return f"Most of it with {where}: {count(worst.broke)} of {count(by[worst.by])} bad requests."


def _clauses(record: CensusRecord, period: PeriodRecord) -> Iterator[Node]:
    yield clause_table("What was promised", period.clauses)
    judged = [each for each in period.clauses if each.judged]
    if judged:
        yield Heading("As the contract counts")
        yield Pairs([(clause_name(each.text), _rule(record, each)) for each in judged])
    if tables := neighbour_tables("By their definitions", period.clauses):
        yield Heading("The same log as others count")
        yield from tables


def _rule(record: CensusRecord, clause: CensusClause) -> str:
    document = record.documents.get(clause.source or "")
    said = visible(clause.rule, 2 * CUT)
    if document is None:
        return said
    return f"{said}; read at {visible(document.url)} on {document.retrieved}"


def _telling(rows: Sequence[BreakdownRow]) -> list[BreakdownRow]:
    """Those of a column that tells anything: more than one value, or all that was lost."""
    found: list[BreakdownRow] = []
    for _, group in groupby(rows, key=lambda row: row.by):
        listed = list(group)
        if len(listed) > 1:
            found += listed
    return found


BY_COLUMNS: list[Column[BreakdownRow]] = [
    Column("by", lambda row: _BY.get(row.by, row.by), "group"),
    Column("value", lambda row: visible(row.value, 60), "words"),
    Column("requests", lambda row: count(row.requests)),
    Column("bad", lambda row: count(row.broke)),
    Column("share", lambda row: per_cent(row.broke / row.requests if row.requests else None)),
]


def clause_of(period: PeriodRecord, number: int) -> CensusClause | None:
    return next((each for each in period.clauses if each.number == number), None)


_Effect = tuple[ExclusionEffect, CensusClause]


def _aside(period: PeriodRecord) -> list[Node]:
    rows: list[_Effect] = [
        (effect, clause)
        for effect in period.exclusions
        for number in effect.counted
        if (clause := clause_of(period, number)) is not None
    ]
    return [Table("Each clause with and without them", EFFECT_COLUMNS, rows)]


EFFECT_COLUMNS: list[Column[_Effect]] = [
    Column("reason", lambda row: visible(row[0].reason, 80), "group"),
    Column("requests", lambda row: count(row[0].rows)),
    Column("clause", lambda row: clause_name(row[1].text), "words"),
    Column("as judged", lambda row: attained(row[1])),
    Column("if they counted", lambda row: beside(row[0].counted[row[1].number], row[1].promised)),
]


def _observed(record: CensusRecord, period: PeriodRecord) -> Iterator[Text]:
    hidden = period.minutes - period.observed_minutes
    if hidden:
        said = (
            f"{count(hidden)} of {count(period.minutes)} minutes had no request"
            f" ({per_cent(hidden / period.minutes)}). A log with a gap looks like a log without"
            f" traffic, so each may have been up or down. If the log is complete, {_COMPLETE} says"
            " so and settles them."
        )
    else:
        said = f"Nothing: every one of {count(period.minutes)} minutes was observed."
    yield Text(said)
    if period.unreadable:
        yield Text(
            f"{count(period.unreadable)} rows cannot be read. Each counts both ways; the appendix"
            " lists them."
        )
    unknown = max((each.unknown or 0 for each in period.clauses), default=0)
    if unknown > period.unreadable:
        yield Text(f"{count(unknown - period.unreadable)} requests have no known end.")
    yield from (Text(f"{visible(each)}", label="left out") for each in record.unusable)


def _due(record: CensusRecord, period: PeriodRecord) -> Iterator[Node]:
    assert period.credit is not None
    if period.ladder:
        rows = [
            (each, clause)
            for each in period.ladder
            if (clause := clause_of(period, each.clause)) is not None
        ]
        yield Table("Steps of the contract", LADDER_COLUMNS, rows)
    if last := claim_deadline(record, period):
        yield Text(
            f"The contract wants a claim within {record.claim_within_days} days. Counted from the"
            f" end of the period that is {last}; read there from when it counts."
        )
    if wanted := period.credit.evidence_wanted:
        yield Text(", ".join(visible(each, 80) for each in wanted), label="evidence wanted")


def claim_deadline(record: CensusRecord, period: PeriodRecord) -> str:
    """`30 November 2026`, counted from the end of the period; empty where no term sets one."""
    if record.claim_within_days is None:
        return ""
    end = local_time(period.end_utc, period.time_zone or "UTC")
    return f"{end + timedelta(days=record.claim_within_days):%-d %B %Y}"


_Step = tuple[LadderStep, CensusClause]
LADDER_COLUMNS: list[Column[_Step]] = [
    Column("clause", lambda row: clause_name(row[1].text), "group"),
    Column("below", lambda row: per_cent(row[0].below.share)),
    Column("credit", lambda row: per_cent(row[0].credit.share)),
    Column("step", lambda row: f"reached: {attained(row[1])}" if row[0].reached else "", "words"),
]


# ---- appendix


def _appendix(record: CensusRecord) -> Section:
    nodes: list[Node] = []
    files = [
        (visible(each.name, 120), f"SHA-256 {each.sha256}" if each.sha256 else "made up, no file")
        for each in record.log.files
    ]
    read = [(name, visible(column, 60)) for name, column in record.log.columns.items()]
    nodes += [Heading("The log"), Pairs(files)]
    if read:
        nodes += [Heading("Columns that were read"), Pairs(read)]
    if record.log.notes:
        nodes.append(Bullets([visible(note, 2 * CUT) for note in record.log.notes]))
    if unreadable := record.log.unreadable.first:
        lines = [
            f"{visible(each.file, 60)}:{each.line}: {visible(each.reason)}" for each in unreadable
        ]
        nodes.append(
            Drawer(
                f"Rows that cannot be read: {count(record.log.unreadable.count)}", [Bullets(lines)]
            )
        )
    for period in record.periods:
        nodes += all_outages(period)
    nodes += _documents(record)
    return Section("appendix", "Appendix", nodes, link="appendix")


def _documents(record: CensusRecord) -> Iterator[Node]:
    yield Heading("The contract's sources")
    if record.source:
        yield Text(visible(record.source, 2 * CUT))
    if record.documents:
        yield Pairs(
            [
                (visible(name, 40), f"{visible(each.url)}, read {each.retrieved} ({each.read})")
                for name, each in record.documents.items()
            ]
        )
    if record.attested:
        yield Heading("Stated, and measured by nobody")
        yield Bullets([visible(each, 2 * CUT) for each in record.attested])
    if record.not_stated:
        yield Heading("What the sources leave open")
        yield Bullets([visible(each, 2 * CUT) for each in record.not_stated])
