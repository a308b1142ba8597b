"""What a report says beyond its targets: comparisons, where the tail comes from, routes, a census.

In: a run's records. Out: parts of the page, and lines for the last screen. Must stay true: what
the suite did not ask for has no part; a part says its outcome first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.judge.review import Records
from bench.show.attribution import attribution_line, attribution_part
from bench.show.comparison import comparison_part, comparison_title
from bench.show.page import Part, Table
from bench.show.routes import route_lines, route_parts
from bench.show.wording import ABSENT, count, per_cent, visible

Record = Mapping[str, Any]


def further_parts(records: Records) -> list[Part]:
    """Comparisons, the months of a census, then the tail of each target that has one."""
    compared = (records.comparisons or {}).get("comparisons", [])
    parts = [comparison_part(record, number) for number, record in enumerate(compared)]
    if forecasts := records.verdicts["forecasts"]:
        parts.append(_forecasts(forecasts))
    parts += [_month(name, record) for name, record in (records.census or {}).get("months", {}).items()]
    parts += route_parts(records.routes) if records.routes else []
    tails = [(name, record) for name, record in records.attribution["targets"].items() if record["causes"]]
    return [*parts, *(attribution_part(name, record, number) for number, (name, record) in enumerate(tails))]


def further_lines(records: Records) -> Iterator[str]:
    """What the last screen says of them: one line each."""
    for record in (records.comparisons or {}).get("comparisons", []):
        yield f"{comparison_title(record)}: {record['headline']}"
    for forecast in records.verdicts["forecasts"]:
        yield f"{visible(forecast['target'], 40)}, {visible(forecast['text'])}: {forecast['verdict']}"
    for name, record in (records.census or {}).get("months", {}).items():
        for period in record["periods"]:
            for clause in period["clauses"]:
                yield f"{visible(name, 40)}, {visible(period['period'], 20)}, {visible(clause['text'])}: {clause['verdict']}"
    yield from route_lines(records.routes) if records.routes else ()
    for name, record in records.attribution["targets"].items():
        if record["causes"]:
            yield attribution_line(name, record)


def _forecasts(forecasts: Sequence[Record]) -> Part:
    rows = [[visible(each["target"], 60), visible(each["text"]), each["verdict"], _usd(each["projected_usd"]),
             f"{_usd(each['interval_usd'][0])} – {_usd(each['interval_usd'][1])}", visible(each["reason"])] for each in forecasts]  # fmt: skip
    head = ["target", "promise", "verdict", "a month like this run, USD", "interval", "decided by"]
    return Part(
        "The bill as it was forecast", [], [Table("A month's bill against its forecast", head, rows, words=2)], [], []
    )


def _usd(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.2f}"


def _month(name: str, record: Record) -> Part:
    """A census for the page: a table a period, and the same log under the neighbouring definitions."""
    tables, about = [], [("contract", visible(record["contract"], 60)), ("requests", count(record["log"]["rows"]))]
    for period in record["periods"]:
        when = visible(period["period"], 20)
        rows = [[visible(clause["text"]), _share(clause["attained"]), clause["verdict"], visible(clause["reason"])]
                for clause in period["clauses"]]  # fmt: skip
        tables.append(Table(f"Census of {when}", ["clause", "attained", "verdict", "decided by"], rows))
        nearby = {each["definition"]: [visible(each["definition"]), visible(each["whose"]), _share(each["attained"]),
                                       "kept" if each["kept"] else "broken"]
                  for clause in period["clauses"] for each in clause.get("neighbours", [])}  # fmt: skip
        if nearby:
            head = ["definition", "whose", "uptime", "the promise"]
            tables.append(Table("The same log under other definitions", head, list(nearby.values()), words=2))
        if credit := period["credit"]:
            usd = f" = {credit['usd']} USD" if credit["usd"] is not None else ""
            about.append(
                (f"credit {credit['kind']}, {when}", f"{_share(credit['share'])} of {visible(credit['base'])}{usd}")
            )
    return Part(
        f"{visible(name, 60)}: a whole period", about, tables, [], [visible(note) for note in record["log"]["notes"]]
    )


def _share(found: Record | None) -> str:
    return ABSENT if found is None else per_cent(found["share"])
