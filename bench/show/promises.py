"""The verdicts of a run as one table, and what belongs beside them.

In: verdicts.json. Out: tables and remarks. Must stay true: a value stands beside its interval, its
limit and how many requests it rests on; a reason that many clauses share is given once, whole; what
a contract set aside is counted beside what would have been without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from bench.plan.budget import show_usd
from bench.show import wording
from bench.show.page import Table
from bench.show.wording import ABSENT, count, per_cent, visible

Record = Mapping[str, Any]
#: A reason longer than this stands below the table where several clauses have it.
_SHARED_FROM = 40


def verdict_table(verdicts: Record) -> Table | None:
    """One row a clause, then one a forecast; None without a contract."""
    clauses, forecasts = verdicts["clauses"], verdicts.get("forecasts", [])
    if not clauses and not forecasts:
        return None
    contracts = list(
        dict.fromkeys(visible(each["contract"], 40) for each in (*clauses, *forecasts))
    )
    levels, letters = wording.confidence_levels(verdicts), _shared_reasons(clauses)
    several, credited = len(contracts) > 1, any(clause["projected_credit"] for clause in clauses)

    def row(each: Record, name: str, *numbers: str, credit: str, why: str) -> list[str]:
        level = f" ({per_cent(each['confidence'])})" if len(levels) > 1 else ""
        measured, interval, *rest = numbers
        return [
            visible(each["target"], 60),
            *([visible(each["contract"], 40)] if several else []),
            name,
            each["verdict"],
            measured,
            interval + level,
            *rest,
            *([credit] if credited else []),
            f"see ({letters[why]}) below" if why in letters else why,
        ]

    rows = [
        row(
            clause,
            wording.clause_name(clause),
            wording.measured(clause),
            wording.interval(clause),
            wording.limit(clause),
            count(clause["n"]),
            wording.worth(clause),
            credit=_credit(clause),
            why=wording.decider(clause),
        )
        for clause in clauses
    ]
    rows += [
        row(
            bill,
            visible(bill["text"]),
            _usd(bill["projected_usd"]),
            " – ".join(map(_usd, bill["interval_usd"])),
            _usd(bill["forecast_usd"]),
            ABSENT,
            ABSENT,
            credit=ABSENT,
            why=visible(bill["reason"], 2 * wording.CUT),
        )
        for bill in forecasts
    ]
    interval = f"{per_cent(levels[0])} interval" if len(levels) == 1 else "interval (confidence)"
    head = [
        "target",
        *(["contract"] if several else []),
        "clause",
        "verdict",
        "measured",
        interval,
        "limit",
        "n",
        "effective n",
        *(["credit, projected"] if credited else []),
        "decided by",
    ]
    return Table(
        "Verdicts" if several else f"Verdicts by contract {contracts[0]}",
        head,
        rows,
        words=2 + several,
    )


def _shared_reasons(clauses: Sequence[Record]) -> dict[str, str]:
    """Long reasons that more than one clause has -> a letter each."""
    told = Counter(wording.decider(clause) for clause in clauses)
    shared = [said for said, times in told.items() if times > 1 and len(said) > _SHARED_FROM]
    return dict(zip(shared, ascii_lowercase, strict=False))


def _usd(value: float | None) -> str:
    return ABSENT if value is None else f"{show_usd(value)} USD"


def _credit(clause: Record) -> str:
    """`10 % (0 – 25 %)`: what a whole period like this run would bring, and by the limits of the
    share.
    """
    found = clause["projected_credit"]
    if found is None:
        return ABSENT
    least, most = per_cent(found["at_least"]), per_cent(found["at_most"])
    return per_cent(found["share"]) + (
        f" ({least.removesuffix(' %')} – {most})" if least != most else ""
    )


def remarks(verdicts: Record, looks: int | None = None) -> list[str]:
    """Reasons that several clauses share, and why intervals differ where they do.

    `looks`: those of an early stop.
    """
    clauses = verdicts["clauses"]
    said = [f"({letter}) {why}" for why, letter in _shared_reasons(clauses).items()]
    intervals: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    for clause in clauses:
        value = [
            clause[key]
            for key in (
                "target",
                "metric",
                "view",
                "statistic",
                "quantile",
                "phase",
                "bucket",
                "measured",
            )
        ]
        intervals.setdefault(tuple(value), set()).add(tuple(clause["interval"] or ()))
    if any(len(found) > 1 for found in intervals.values()):
        said.append(
            "One measured value, several intervals: each clause weighs the spells of the requests"
            " that broke its own limit, and each contract has its own confidence."
        )
    if looks and clauses:
        levels = " or ".join(
            per_cent(1 - (1 - level) / looks) for level in wording.confidence_levels(verdicts)
        )
        said.append(
            f"The run was looked at {looks} times, its end included, to end it once all was"
            f" decided: each look is judged at {levels}, and so are the intervals shown, so that"
            " all of them together keep the confidence of the contract."
        )
    return said


def beside_the_verdicts(clauses: Sequence[Record]) -> Iterator[Table]:
    """Of one target: what its contract set aside, and whether the run was steady."""
    aside = [
        [
            wording.clause_name(clause),
            visible(reason),
            count(rows),
            f"{count(clause['k'])} of {count(clause['n'])}",
            f"{count(clause['with_excluded']['k'])} of {count(clause['with_excluded']['n'])}",
        ]
        for clause in clauses
        for reason, rows in clause["excluded"].items()
    ]
    if aside:
        head = ["clause", "reason", "rows", "broke it", "broke it, nothing set aside"]
        yield Table("Set aside, and why", head, aside, words=2)
    steady = [
        [
            wording.clause_name(clause),
            wording.measured(clause),
            wording.measured({**clause, "measured": found["measured_without"]}),
            count(found["mser5_drops"]),
            "yes" if found["steady"] else "NO",
            wording.trend(found),
        ]
        for clause in clauses
        if (found := clause.get("steadiness"))
    ]
    if steady:
        head = [
            "clause",
            "all rows",
            "without MSER-5's warm-up",
            "rows that would drop",
            "settled by MSER-5",
            "trend of breaches",
        ]
        yield Table("Was the run one thing? (diagnostics: no row was dropped)", head, steady)


def expect_table(verdicts: Record) -> Table | None:
    """Known answers that a suite rehearses, and what came; None without any."""
    rows = [
        [
            visible(item["target"], 60),
            visible(item["clause"]),
            visible(item["expected"], 30),
            visible(item["got"], 30),
            "met" if item["met"] else "NOT MET",
        ]
        for item in verdicts.get("expects", [])
    ]
    head = ["target", "clause", "expected", "got", "as expected"]
    return Table("Known answers rehearsed by this suite", head, rows, words=5) if rows else None
