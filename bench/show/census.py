"""A census in words: the verdict first, then why, what others would call it, and what is due.

In: census.json. Out: a `rich` Text whose lines fit the width. Must stay true: a bound
stands beside every value that has one; foreign text cannot steer a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.text import Text

from bench.record.records.census import (
    CensusClause,
    CensusRecord,
    DueCredit,
    ExactShare,
    LogRecord,
    PeriodRecord,
)
from bench.show.terminal import STYLES, WIDTH, fit, wrapped
from bench.show.wording import ABSENT, clause_name, count, exact, per_cent, visible

_ATTAINED, _PROMISED, _VERDICT = 26, 12, 13
_EPISODES = 10
_UNREADABLE = 5
#: Whether a promise holds by another definition; open where its bounds leave that.
KEPT = {True: "kept", False: "broken", None: "open"}


def census_lines(record: CensusRecord, width: int = WIDTH) -> Text:
    """Print it with `soft_wrap=True`; its lines are cut to `width` (80 at least)."""
    text, width = Text(), max(width, 80)
    for period in record.periods:
        _period(text, record, period, width)
    for sentence in record.unusable:
        _add(text, wrapped("left out  ", visible(sentence), width))
    for sentence in record.attested:
        _add(text, wrapped("attested  ", visible(sentence), width))
    _log(text, record.log, width)
    text.append("overall   ")
    text.append(record.overall, STYLES.get(record.overall, ""))
    return text


def _add(text: Text, lines: Iterator[str], style: str = "") -> None:
    for line in lines:
        text.append(f"{line}\n", style)


def _period(text: Text, record: CensusRecord, period: PeriodRecord, width: int) -> None:
    watched = f"{count(period.observed_minutes)} of {count(period.minutes)} minutes observed"
    zone = period.time_zone or "UTC"
    _add(
        text,
        wrapped(
            "CENSUS    ",
            f"{period.period} ({zone}) · {count(period.rows)} requests · {watched}",
            width,
        ),
        "bold",
    )
    promise = width - _ATTAINED - _PROMISED - _VERDICT - 1
    head = fit(f"CONTRACT {visible(record.contract, 40)}", promise + 1)
    text.append(
        f"{head}{fit('attained (bounds)', _ATTAINED)}{fit('promised', _PROMISED)}verdict\n", "bold"
    )
    for clause in period.clauses:
        _clause(text, clause, promise, width)
    if period.excluded:
        said = ", ".join(f"{count(n)} {visible(reason)}" for reason, n in period.excluded.items())
        _add(text, wrapped("excluded  ", said, width))
    told: list[Any] = []  # clauses that differ by their definition alone have the same neighbours
    for clause in period.clauses:
        if clause.verdict != "REPORTED" and clause.neighbours and clause.neighbours not in told:
            told.append(clause.neighbours)
            _neighbours(text, clause, width)
    if period.credit is not None:
        _add(text, wrapped("credit    ", credit_line(period.credit), width))
    for clause in period.clauses:
        if clause.verdict == "FAIL":
            _evidence(text, clause, zone, width)


def _clause(text: Text, clause: CensusClause, promise: int, width: int) -> None:
    label, said = " ", _named(clause)
    if len(said) >= promise:
        text.append(f"{fit(' ' + said, width).rstrip()}\n")
        said = ""
    judged = clause.verdict != "REPORTED"
    value = attained(clause)
    promised = f"≥ {per_cent(clause.promised.share)}" if judged and clause.promised else ABSENT
    text.append(f"{label}{fit(said, promise)}{fit(value, _ATTAINED)}{fit(promised, _PROMISED)}")
    text.append(f"{clause.verdict}\n", STYLES.get(clause.verdict, ""))
    _add(text, wrapped("   ", "; ".join(because(clause)), width), "dim")


def _named(clause: CensusClause) -> str:
    return clause_name({"text": clause.text})


def because(clause: CensusClause) -> Iterator[str]:
    """What decided a clause, and what was measured; one that is only reported broke no promise."""
    shown = clause.verdict == "REPORTED" and clause.measured
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
    return (
        value
        if best == worst
        else f"{value} ({per_cent(worst, 2).removesuffix(' %')} – {per_cent(best, 2)})"
    )


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


def _neighbours(text: Text, clause: CensusClause, width: int) -> None:
    text.append("elsewhere the same requests by other definitions\n")
    for each in clause.neighbours:
        share = beside(each.attained, clause.promised)
        kept = KEPT[each.kept]
        whose = f" ({each.whose})" if each.whose else ""
        _add(
            text,
            wrapped(f"          {share:>10}  {kept:<6}  ", f"{each.definition}{whose}", width),
            "dim",
        )


def credit_line(credit: DueCredit) -> str:
    """`due: 10 % of the monthly bill = 120.00 USD`, with what more there may be."""
    share, most = credit.share.share, credit.at_most.share
    if not most:
        return f"none {credit.kind}: no step of the ladder is reached"
    said = f"{credit.kind}: {per_cent(share)} of {visible(credit.base)}"
    if credit.usd is not None:
        said += f" = {credit.usd} USD"
    if most > share:
        said += f"; up to {per_cent(most)}"
        said += f" = {credit.at_most_usd} USD" if credit.usd is not None else ""
        said += " if what was not observed went the other way"
    if credit.claim_within_days:
        said += f"; claim within {credit.claim_within_days} days"
    return said


def _evidence(text: Text, clause: CensusClause, zone: str, width: int) -> None:
    episodes, rows = clause.episodes, clause.evidence
    head = f"{count(rows.rows)} requests" + (
        f" in {count(episodes.count)} episodes" if episodes.count else ""
    )
    _add(text, wrapped("evidence  ", f"{clause_name({'text': clause.text})}: {head}", width))
    for each in episodes.first[:_EPISODES]:
        start, end = (_local(moment, zone) for moment in (each.start_utc, each.end_utc))
        line = (
            f"          {start:%Y-%m-%d %H:%M} – {end:%H:%M}  {count(each.minutes)} min  "
            f"{count(each.broke)} of {count(each.requests)} requests"
        )
        text.append(f"{fit(line, width).rstrip()}\n", "dim")
    if episodes.count > _EPISODES:
        text.append(f"          and {count(episodes.count - _EPISODES)} more\n", "dim")
    if not episodes.count and rows.first:
        lines = ", ".join(
            f"{visible(each.file, 40)}:{each.line}" for each in rows.first[:_EPISODES]
        )
        _add(
            text,
            wrapped("          ", lines + (" ..." if rows.rows > _EPISODES else ""), width),
            "dim",
        )


def _local(utc: str, zone: str) -> datetime:
    return datetime.fromisoformat(utc).astimezone(UTC if zone == "UTC" else ZoneInfo(zone))


def _log(text: Text, log: LogRecord, width: int) -> None:
    names = ", ".join(visible(each.name, 80) for each in log.files)
    _add(
        text,
        wrapped(
            "log       ",
            f"{names}: {count(log.rows)} requests, {log.first_utc} to {log.last_utc}",
            width,
        ),
    )
    if log.columns:
        said = ", ".join(f"{name} = {visible(column, 40)}" for name, column in log.columns.items())
        _add(text, wrapped("columns   ", said, width))
    for note in log.notes:
        _add(text, wrapped("note      ", note, width))
    if unreadable := log.unreadable.count:
        _add(
            text,
            wrapped(
                "unread    ", f"{count(unreadable)} rows cannot be read and count nowhere", width
            ),
        )
        for each in log.unreadable.first[:_UNREADABLE]:
            _add(
                text,
                wrapped(
                    "          ",
                    f"{visible(each.file, 40)}:{each.line}: {visible(each.reason)}",
                    width,
                ),
                "dim",
            )
