"""The outages of a period: when it was lost, those that cost most, all by date.

In: a period of census.json. Out: nodes. Must stay true: what cost most stands first, not what came
first; moments are of the contract's time zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bench.record.records.census import EpisodeRecord, PeriodRecord
from bench.show.document import Column, Drawer, Node, Strip, Table
from bench.show.graphics.outages import Outages, Spell
from bench.show.wording import clause_name, count, counts, local_time, visible

#: From these shares of bad requests on a slice of the strip is of the next level.
_LEVELS = (0.01, 0.1, 0.5)
_IDS = 3
#: Outages of a picture that have their name below it.
_NAMED = 3


def period_name(period: PeriodRecord) -> str:
    """`September 2026`, or the period's own name where it is no month."""
    try:
        return f"{datetime.strptime(period.period, '%Y-%m').replace(tzinfo=UTC):%B %Y}"
    except ValueError:
        return period.period


def period_picture(period: PeriodRecord) -> Outages | None:
    """The outages of the first broken clause that has any, else of the first judged one; None where
    none has.
    """
    judged = [each for each in period.clauses if each.judged]
    with_any = [each for each in judged if each.episodes.worst or each.episodes.first]
    with_any.sort(key=lambda each: each.verdict != "FAIL")
    if not with_any:
        return None
    clause, zone = with_any[0], period.time_zone or "UTC"
    start, end = (local_time(moment, zone) for moment in (period.start_utc, period.end_utc))
    episodes = {each.start_utc: each for each in (*clause.episodes.worst, *clause.episodes.first)}
    spells = []
    for place, each in enumerate(episodes.values()):
        first, last = (local_time(moment, zone) for moment in (each.start_utc, each.end_utc))
        name = f"{first:%-d %b %H:%M}, {count(each.minutes)} min" if place < _NAMED else ""
        spells.append(Spell((first - start) / (end - start), (last - start) / (end - start), name))
    worst = next(iter(episodes.values()))
    said = (
        f"{period_name(period)}: {count(clause.episodes.count)} outages by"
        f" {clause_name(clause.text)}; the worst {_when((worst, zone))}, {count(worst.minutes)}"
        f" minutes, {count(worst.broke)} of {count(worst.requests)} requests lost"
    )
    ends = f"{start:%-d %b}", f"{end - timedelta(seconds=1):%-d %b}"
    return Outages(spells, ends, said)


def lost_when(period: PeriodRecord) -> str:
    """The picture's sentence, or that no outage stands out."""
    picture = period_picture(period)
    return "In no outage: what was lost is scattered." if picture is None else f"{picture.says}."


def worst_outages(period: PeriodRecord) -> Iterator[Node]:
    zone = period.time_zone or "UTC"
    found, picture = period.breakdown, period_picture(period)
    if picture is not None:
        yield picture
    elif found is not None and any(bad for _, bad in found.slices):
        levels = [
            0 if not n else 1 + sum(k / n > each for each in _LEVELS) for n, k in found.slices
        ]
        worst = max(range(len(levels)), key=lambda at: found.slices[at][1])
        n, k = found.slices[worst]
        yield Strip(
            period_name(period),
            levels,
            f"{len(levels)} equal stretches; the worst lost {count(k)} of {count(n)} requests",
        )
    listed = [each for each in period.clauses if each.judged and each.episodes.worst]
    if broken := [each for each in listed if each.verdict == "FAIL"]:
        listed = broken  # the outages of a clause that was kept are the same moments
    for clause in listed:
        rows = [(each, zone) for each in clause.episodes.worst]
        most = len(rows)
        more = f", the {most} that cost most" if clause.episodes.count > most else ""
        yield Table(f"{clause_name(clause.text)}{more}", OUTAGE_COLUMNS, rows)


_Outage = tuple[EpisodeRecord, str]


def _when(row: _Outage) -> str:
    start, end = (local_time(moment, row[1]) for moment in (row[0].start_utc, row[0].end_utc))
    last = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%-d %b %H:%M}"
    return f"{start:%-d %b %H:%M} – {last}"


OUTAGE_COLUMNS: list[Column[_Outage]] = [
    Column("when", _when, "words"),
    Column("minutes", lambda row: count(row[0].minutes)),
    Column("lost", lambda row: count(row[0].broke)),
    Column("of requests", lambda row: count(row[0].requests)),
    Column(
        "causes",
        lambda row: counts(row[0].causes, name_first=True),
        "words",
        show_if=lambda rows: any(row[0].causes for row in rows),
    ),
    Column(
        "first of them",
        lambda row: ", ".join(visible(each, 40) for each in row[0].ids[:_IDS]),
        "words",
        show_if=lambda rows: any(row[0].ids for row in rows),
    ),
]


def all_outages(period: PeriodRecord) -> Iterator[Node]:
    zone = period.time_zone or "UTC"
    for clause in period.clauses:
        found = clause.episodes
        if not clause.judged or found.count <= len(found.worst):
            continue
        rest = found.count - len(found.first)
        more = f", the first {count(len(found.first))}" if rest else ""
        caption = f"{clause_name(clause.text)}, by date{more}"
        rows = [(each, zone) for each in found.first]
        title = f"All {count(found.count)} outages of {period_name(period)}"
        yield Drawer(title, [Table(caption, OUTAGE_COLUMNS, rows)])
