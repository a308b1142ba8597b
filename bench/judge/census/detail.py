"""What a compliance report says beyond a verdict: where a period was lost, what was set aside.

In: the rows of one period, its clauses as judged. Out: records: the outages that cost most, the
rows by status, cause, model, tier and region, what each exclusion changes, the steps of the ladder.
Must stay true: they explain a verdict and change none; the rows of a breakdown add up to those of
its clause.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.clock import utc_text
from bench.judge.census.rows import ClauseRows, Part, attained_in, clause_rows, exact_share
from bench.judge.contract.credits import step
from bench.judge.contract.exclusions import Classes
from bench.judge.contract.uptime import Episode
from bench.plan.clause import Clause
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.contract import Contract
from bench.plan.kinds.downtime_minutes import runs
from bench.record.facts import Facts
from bench.record.records.census import (
    Breakdown,
    BreakdownRow,
    CensusClause,
    EpisodeRecord,
    ExactShare,
    ExclusionEffect,
    LadderStep,
)
from bench.record.samples import CAUSES, Bool, Int, Outcome, Table
from bench.units import show_duration

#: The worst outages are listed with their causes.
_WORST = 10
_SLICES = 60
#: Minutes with failures that are closer than so many belong to one outage.
_APART = 5
#: Values of one column that are told apart; the others are joined.
_VALUES = 8
_OTHERS = "others"
_UNKNOWN = "not said"
#: An answer that came, and too late.
SLOW = "slow"
#: A clause that is judged, and its rows.
Judged = tuple[Clause, ClauseRows]


def episode_record(each: Episode) -> EpisodeRecord:
    """As it is kept."""
    return EpisodeRecord(
        start_utc=utc_text(each.start_ns),
        end_utc=utc_text(each.end_ns),
        minutes=(each.end_ns - each.start_ns) // MINUTE_NS,
        requests=each.n,
        broke=each.failed,
    )


def worst_episodes(
    part: Part, clause: Clause, rows: ClauseRows, down: Sequence[Episode]
) -> list[EpisodeRecord]:
    """The outages that cost most requests, each with the causes of what it lost.

    A clause that counts single requests has no units of time: its outages are stretches of minutes
    in which one of them broke it, less than five minutes apart.
    """
    bad = np.flatnonzero(rows.bad)
    wall = part.wall_ns[bad]
    outages = down if clause.by_time else _minutes_of(part, rows)
    found = []
    for each in sorted(outages, key=lambda one: -one.failed)[:_WORST]:
        first, last = np.searchsorted(wall, [each.start_ns, each.end_ns]).tolist()
        inside = bad[first:last]
        found.append(episode_record(each).replace(causes=_causes(part.columns.samples[inside])))
    return found


def _minutes_of(part: Part, rows: ClauseRows) -> Iterator[Episode]:
    start = part.span.start_ns
    minute = (part.wall_ns - start) // MINUTE_NS
    n = np.bincount(minute[rows.counted], minlength=part.span.minutes)
    k = np.bincount(minute[rows.bad], minlength=part.span.minutes)
    bad = k > 0
    near = np.convolve(bad, np.ones(_APART, np.int64))[: len(bad)] > 0
    for first, end in runs(near):
        last = first + int(np.flatnonzero(bad[first:end])[-1]) + 1
        yield Episode(
            start + first * MINUTE_NS,
            start + last * MINUTE_NS,
            int(n[first:last].sum()),
            int(k[first:last].sum()),
        )


def _causes(samples: Table) -> dict[str, int]:
    """How many by cause, the most frequent first."""
    number = np.where(samples["outcome"] == Outcome.ok, -1, samples["cause"])
    kinds, times = np.unique(number, return_counts=True)
    by_times = sorted(zip(times.tolist(), kinds.tolist(), strict=True), reverse=True)
    return {CAUSES[kind].value if kind >= 0 else SLOW: n for n, kind in by_times}


# ---- what each exclusion changes


def exclusion_effects(
    part: Part, judged: Mapping[int, Judged], classes: Classes
) -> list[ExclusionEffect]:
    """For each reason: the rows that it set aside, and each judged clause with them counted."""
    found = []
    for index, reason in enumerate(classes.reasons):
        aside: Bool = classes.excluded == index
        if not aside.any():
            continue
        counted = replace(classes, excluded=np.where(aside, -1, classes.excluded))
        found.append(
            ExclusionEffect(
                reason=reason,
                rows=int(aside.sum()),
                counted={
                    number: exact_share(
                        attained_in(part, clause, clause_rows(part.columns, clause, counted))
                    )
                    for number, (clause, _) in judged.items()
                },
            )
        )
    return found


# ---- where it was lost


def breakdown(
    part: Part,
    facts: Facts,
    clauses: Sequence[CensusClause],
    judged: Mapping[int, Judged],
) -> Breakdown | None:
    """The rows that one clause counts, by what the log says of them and by time: the first clause
    that failed, else the first that is judged; None without one.
    """
    failed = [each.number for each in clauses if each.verdict == "FAIL"]
    number = next(iter([*failed, *judged]), None)
    if number is None:
        return None
    rows = judged[number][1]
    samples = part.columns.samples
    keep = rows.counted
    columns: dict[str, tuple[Int, Callable[[int], str]]] = {
        "status": (samples["status"], lambda value: str(value) if value > 0 else _UNKNOWN),
        "cause": (
            np.where(samples["outcome"] == Outcome.ok, -1, samples["cause"]),
            lambda value: CAUSES[value].value if value >= 0 else "answered",
        ),
    }
    for name, kind, index in (
        ("model", "served_model", samples["served_model"]),
        ("tier", "tier", facts.labels.get("tier")),
        ("region", "served_region", samples["served_region"]),
    ):
        if index is not None and (index[keep] >= 0).any():
            columns[name] = (index, _text_of(facts.texts.get(kind, ())))
    listed: list[BreakdownRow] = []
    for name, (values, written) in columns.items():
        listed += _by_value(name, values[keep], rows.bad[keep], written)
    length = part.span.end_ns - part.span.start_ns
    place = (part.wall_ns[keep] - part.span.start_ns) * _SLICES // length
    n = np.bincount(place, minlength=_SLICES)
    k = np.bincount(place[rows.bad[keep]], minlength=_SLICES)
    return Breakdown(
        clause=number, rows=listed, slices=list(zip(n.tolist(), k.tolist(), strict=True))
    )


def _text_of(texts: Sequence[str]) -> Callable[[int], str]:
    return lambda index: texts[index] if 0 <= index < len(texts) else _UNKNOWN


def _by_value(
    name: str, values: Int, bad: Bool, written: Callable[[int], str]
) -> list[BreakdownRow]:
    """A row a value, those first that lost most; what is beyond the first few is joined."""
    kinds, which = np.unique(values, return_inverse=True)
    n = np.bincount(which, minlength=len(kinds)).tolist()
    k = np.bincount(which[bad], minlength=len(kinds)).tolist()
    order = sorted(range(len(kinds)), key=lambda place: (-k[place], -n[place]))
    found = [
        BreakdownRow(by=name, value=written(int(kinds[at])), requests=n[at], broke=k[at])
        for at in order[:_VALUES]
    ]
    if rest := order[_VALUES:]:
        found.append(
            BreakdownRow(
                by=name,
                value=_OTHERS,
                requests=sum(n[at] for at in rest),
                broke=sum(k[at] for at in rest),
            )
        )
    return found


# ---- what is due


def ladder_steps(contract: Contract, clauses: Sequence[CensusClause]) -> list[LadderStep]:
    """Every step of every clause that pays; the one that its attained share lies on is marked.

    What is sure counts: the best that the share can have been.
    """
    found = []
    for clause, judged in zip(contract.clauses, clauses, strict=True):
        if not clause.credit or clause.report_only or judged.best is None:
            continue
        due = step(clause.credit, judged.best.exact)
        found += [
            LadderStep(
                clause=judged.number,
                below=ExactShare.of(each.below),
                credit=ExactShare.of(each.credit),
                reached=each.credit == due,
            )
            for each in clause.credit
        ]
    return found


def clause_rule(clause: Clause) -> str:
    """The clause by its keys: `metric = uptime, method = downtime_minutes, minutes = 5`."""
    keys = clause.model_dump(
        mode="json", by_alias=True, exclude_unset=True, exclude={"credit", "source"}
    )
    return ", ".join(f"{key} = {_written(value)}" for key, value in keys.items() if value)


def _written(value: object) -> str:
    text = str(value)
    if re.fullmatch(r"\d+ns", text):
        return show_duration(int(text.removesuffix("ns")))
    return text
