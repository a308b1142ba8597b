"""What a report says beyond its targets: comparisons, where the tail comes from, routes, a census.

In: a run's records. Out: parts of the page, and lines for the last screen. Must stay true: what
the suite did not ask for has no part; a part says its outcome first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from bench.judge.review import Records
from bench.record.records.census import CensusRecord
from bench.show.attribution import attribution_line, attribution_part
from bench.show.census import KEPT, attained, because, beside, credit_line
from bench.show.comparison import comparison_part, comparison_title
from bench.show.definitions import ATTRIBUTED, CENSUSED, COMPARED, Terms
from bench.show.page import Part, Table
from bench.show.routes import route_lines, route_parts
from bench.show.wording import CUT, count, visible

Record = Mapping[str, Any]


def further_parts(records: Records) -> list[Part]:
    """Comparisons, the months of a census, then the tail of each target that has one."""
    compared = records.comparisons.comparisons if records.comparisons else []
    parts = [_with(COMPARED, comparison_part(pair, number)) for number, pair in enumerate(compared)]
    parts += [_month(name, record) for name, record in _months(records)]
    parts += route_parts(records.routes) if records.routes else []
    tails = [
        (name, record) for name, record in records.attribution.targets.items() if record.causes
    ]
    return [
        *parts,
        *(
            _with(ATTRIBUTED, attribution_part(name, record, number))
            for number, (name, record) in enumerate(tails)
        ),
    ]


def _with(terms: Terms, part: Part) -> Part:
    return dataclasses.replace(part, terms=terms)


def further_lines(records: Records) -> Iterator[str]:
    """What the last screen says of them: one line each."""
    for pair in records.comparisons.comparisons if records.comparisons else ():
        yield f"{comparison_title(pair)}: {pair.headline}"
    for forecast in records.verdicts["forecasts"]:
        yield (
            f"{visible(forecast['target'], 40)}, {visible(forecast['text'])}: {forecast['verdict']}"
        )
    for name, record in _months(records):
        for period in record.periods:
            for clause in period.clauses:
                yield (
                    f"{visible(name, 40)}, {visible(period.period, 20)},"
                    f" {visible(clause.text)}: {clause.verdict}"
                )
    yield from route_lines(records.routes) if records.routes else ()
    for name, tail in records.attribution.targets.items():
        if tail.causes:
            yield attribution_line(name, tail)


def _months(records: Records) -> list[tuple[str, CensusRecord]]:
    return list(records.census.months.items()) if records.census else []


def _month(name: str, record: CensusRecord) -> Part:
    """A census for the page: a table a period, and the same log under the neighbouring
    definitions.
    """
    tables, about = (
        [],
        [("contract", visible(record.contract, 60)), ("requests", count(record.log.rows))],
    )
    for period in record.periods:
        when = visible(period.period, 20)
        rows = [
            [
                visible(clause.text),
                attained(clause),
                clause.verdict,
                "; ".join(because(clause)),
            ]
            for clause in period.clauses
        ]
        tables.append(
            Table(
                f"Census of {when}", ["clause", "attained (bounds)", "verdict", "decided by"], rows
            )
        )
        nearby = {
            each.definition: [
                visible(each.definition),
                visible(each.whose),
                beside(each.attained, clause.promised),
                KEPT[each.kept],
            ]
            for clause in period.clauses
            if clause.verdict != "REPORTED"
            for each in clause.neighbours
        }
        if nearby:
            head = ["definition", "whose", "uptime", "the promise"]
            tables.append(
                Table("The same log under other definitions", head, list(nearby.values()), words=2)
            )
        if period.credit:
            about.append((f"credit, {when}", credit_line(period.credit)))
    notes = [visible(note, 2 * CUT) for note in record.log.notes]
    return Part(f"{visible(name, 60)}: a whole period", about, tables, [], notes, CENSUSED)
