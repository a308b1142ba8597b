"""What does uptime mean here? The same log under the contract's definition and its neighbours'.

In: census.json. Out: a section of a run's report, nodes of a month's. Must stay true: a log is
exact, so a value has a line beside it only where a part of the log leaves it open; each definition
is held to the share that its clause promises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.record.records.census import (
    CensusClause,
    CensusRecord,
    ExactShare,
    NeighbourRecord,
    PeriodRecord,
)
from bench.show.census import KEPT, attained, beside, clause_table, credit_line
from bench.show.document import Column, Drawer, Heading, Node, Section, Table, Text
from bench.show.graphics.box import Box
from bench.show.graphics.track import Track, TrackAxis
from bench.show.outages import period_name, period_picture
from bench.show.verdicts import WORST_FIRST
from bench.show.wording import (
    ABSENT,
    CUT,
    clause_name,
    count,
    first_answers,
    number,
    per_cent,
    visible,
)

#: Of the section's first line.
_ANSWERS_MOST = 2
_OPEN = {True: "PASS", False: "FAIL", None: "INCONCLUSIVE"}


def uptime_section(months: Mapping[str, CensusRecord]) -> Section | None:
    """The logs of a run's suite; None without one."""
    if not months:
        return None
    nodes: list[Node] = []
    answers: list[str] = []
    for name, record in months.items():
        for period in record.periods:
            if len(months) > 1 or len(record.periods) > 1:
                nodes.append(Heading(f"{visible(name, 60)}, {period_name(period)}"))
            nodes += _period(name, record, period)
            answers.append(period_answer(period))
    said = first_answers(answers, _ANSWERS_MOST)
    return Section("uptime", "What does uptime mean here?", nodes, "uptime", said)


def _period(name: str, record: CensusRecord, period: PeriodRecord) -> Iterator[Node]:
    yield from definition_tables(period.clauses)
    picture = period_picture(period)
    if picture is not None:
        yield from (Heading("When it was down"), picture)
    if period.credit is not None:
        yield credit_box(period)
    notes = "".join(f"; {visible(note, CUT).rstrip('.')}" for note in record.log.notes)
    exact = "" if _left_open(period) else " Its arithmetic is exact, so it has no interval."
    yield Text(
        f"{visible(name, 60)}, contract {visible(record.contract, 60)}: {count(period.rows)}"
        f" requests, {per_cent(period.coverage)} of the minutes observed{notes}.{exact}",
        tone="soft",
    )


def months_drawers(months: Mapping[str, CensusRecord]) -> Iterator[Drawer]:
    """Every clause of every period of a log."""
    for name, record in months.items():
        tables = [
            clause_table(f"Census of {visible(period.period, 20)}", period.clauses)
            for period in record.periods
        ]
        if tables:
            yield Drawer(f"Every clause of the log {visible(name, 60)}", tables)


def _left_open(period: PeriodRecord) -> bool:
    return any(each.best != each.worst for each in period.clauses)


# ---- the answer


def period_answer(period: PeriodRecord) -> str:
    """`99.97 % of requests were answered. By the contract's own definition September had …`."""
    judged = [each for each in period.clauses if each.judged]
    if not judged:
        return f"{period_name(period)}: the contract promises nothing that a log can show."
    worst = min(judged, key=lambda each: WORST_FIRST.index(each.verdict))
    said = []
    rows = _definitions(judged)
    plain = [row for row in rows if row.name == "request ratio" and row.attained is not None]
    if plain and not plain[0].own_of(worst):
        said.append(f"{beside(plain[0].attained, worst.promised)} of requests were answered.")
    value = attained(worst)
    promised = f" where {per_cent(worst.promised.share)} was promised" if worst.promised else ""
    why = visible(worst.reason)
    if worst.verdict not in ("PASS", "FAIL"):
        why = f"not decided, {why}"
    said.append(
        f"By the contract's own definition {period_name(period)} had {value} uptime{promised}:"
        f" {why}."
        if worst.metric == "uptime"
        else f"{clause_name(worst.text)} was {value}{promised}: {why}."
    )
    if len(rows) > 1:
        good = sum(row.verdict == "PASS" for row in rows)
        said.append(f"{count(good)} of {count(len(rows))} definitions call it kept.")
    return " ".join(said)


# ---- definitions


@dataclass(frozen=True)
class _Definition:
    """A way to count, and what the log comes to by it."""

    name: str
    whose: str
    #: number of the contract's clause that counts so; None for others' definitions
    own: int | None
    verdict: str
    attained: ExactShare | None
    promised: ExactShare
    #: if all that is unknown went well, and if it went badly
    best: ExactShare | None
    worst: ExactShare | None

    def own_of(self, clause: CensusClause) -> bool:
        """Whether it is what a clause counts by."""
        return self.own == clause.number

    def times(self, share: ExactShare | None) -> float | None:
        """Loss over the loss that is allowed."""
        if share is None:
            return None
        allowed, lost = 1 - self.promised.exact, 1 - share.exact
        if not allowed:
            return math.inf if lost else 0.0
        return float(lost / allowed)


def _definitions(clauses: Sequence[CensusClause]) -> list[_Definition]:
    """The contract's own and the others', each once, by what is lost."""
    found: list[_Definition] = []
    nearby: dict[tuple[str, float], tuple[NeighbourRecord, ExactShare]] = {}
    for clause in clauses:
        if not clause.judged or clause.promised is None or not clause.neighbours:
            continue
        named = next((each for each in clause.neighbours if each.own), None)
        name = named.definition if named else clause_name(clause.text)
        found.append(
            _Definition(
                visible(name),
                visible(named.whose) if named else "",
                clause.number,
                clause.verdict,
                clause.attained,
                clause.promised,
                clause.best,
                clause.worst,
            )
        )
        for each in clause.neighbours:
            nearby.setdefault((each.definition, clause.promised.share), (each, clause.promised))
    mine = {(row.name, row.promised.share) for row in found}
    found += [
        _Definition(
            visible(each.definition),
            visible(each.whose),
            None,
            _OPEN[each.kept],
            each.attained,
            promised,
            None,
            None,
        )
        for (name, share), (each, promised) in nearby.items()
        if (visible(name), share) not in mine
    ]
    return sorted(found, key=lambda row: (row.promised.share, row.times(row.attained) or 0))


def definition_tables(clauses: Sequence[CensusClause]) -> list[Table[_Definition]]:
    """One a promised share; none where no clause has neighbours."""
    rows = _definitions(clauses)
    shares = dict.fromkeys(row.promised.share for row in rows)
    return [
        Table(
            f"The same log under each definition; promised {per_cent(share)}. Axis: what was lost"
            " over what may be",
            DEFINITION_COLUMNS,
            [row for row in rows if row.promised.share == share],
        )
        for share in shares
    ]


def _track(row: _Definition) -> Track | None:
    at = row.times(row.attained)
    if at is None:
        return None
    low, high = row.times(row.best), row.times(row.worst)
    ends = (at if low is None else low, at if high is None else high)
    said = f"{row.name}: {_lost(row)} times the loss that is allowed, {row.verdict}"
    if ends[0] != ends[1]:
        said += f", {number(ends[0])} to {number(ends[1])} by what is unknown"
    return Track(ends[0], at, ends[1], row.verdict, said)


def _lost(row: _Definition) -> str:
    at = row.times(row.attained)
    return ABSENT if at is None else "∞" if math.isinf(at) else number(at)


def _used_by(row: _Definition) -> str:
    own = "this contract" if row.own is not None else ""
    return ", ".join(each for each in (own, row.whose) if each)


DEFINITION_COLUMNS: list[Column[_Definition]] = [
    Column("definition", lambda row: row.name, "words"),
    Column("used by", _used_by, "words"),
    Column("verdict", lambda row: row.verdict, "verdict", formats=("html",)),
    Column(
        "the promise",
        lambda row: KEPT[{"PASS": True, "FAIL": False}.get(row.verdict)],
        "words",
        formats=("markdown", "terminal", "junit"),
    ),
    Column(
        "loss",
        _lost,
        "words",
        formats=("html",),
        graphic=_track,
        axis=lambda _: TrackAxis(),
    ),
    Column("attained", lambda row: beside(row.attained, row.promised)),
    Column("loss, × allowed", _lost),
]


# ---- what is due


def credit_box(period: PeriodRecord) -> Box:
    """What is due, until when, and with what."""
    assert period.credit is not None
    credit = period.credit
    said = credit_line(credit)
    then = []
    if wanted := credit.evidence_wanted:
        then.append(f"Evidence wanted: {', '.join(visible(each, 80) for each in wanted)}.")
    broken = [each for each in period.clauses if each.verdict == "FAIL" and each.k]
    if broken and credit.at_most.share:
        then.append(f"{count(broken[0].k)} requests show it; census.json lists them.")
    return Box(f"Credit {said}.", then)
