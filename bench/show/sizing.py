"""What a suite would send and what it could decide: a screen, or the same as JSON.

In: a sizing. Out: nodes of a screen, or plain values for JSON. Must stay true: nothing is computed
here; a lane without prices shows none, never 0; what no run decides says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from bench.judge.contract.sizing import ClauseSize, Guess, LaneSize, Sizing, Whole
from bench.show.document import Column, Heading, Node, Table, Text
from bench.show.wording import ABSENT, count, in_usd, long_duration, per_cent, usd, visible


def sizing_screen(sizing: Sizing) -> list[Node]:
    """Each lane with its clauses, then what decides them all."""
    nodes: list[Node] = []
    for lane in sizing.lanes:
        nodes += _lane(lane, sizing)
    for label, whole in (
        ("all clauses", sizing.every),
        ("without the clauses by time", sizing.short),
    ):
        if whole is not None and (whole is sizing.every or sizing.every != sizing.short):
            nodes.append(Text(f"{label}: {_whole_text(whole)}"))
    if sizing.undecidable:
        undecidable = visible("; ".join(sizing.undecidable), 400)
        said = f"no run of any size decides, if the guess is right: {undecidable}"
        nodes.append(Text(said))
    return nodes


def _lane(lane: LaneSize, sizing: Sizing) -> list[Node]:
    nodes: list[Node] = [Heading(visible(lane.name, 60)), Text(_sent(lane), " ")]
    if lane.clauses:
        rows = [
            _Guessed(lane, clause, guess, sizing.assumed.power)
            for clause in lane.clauses
            for guess in clause.guesses
        ]
        nodes.append(Table("", GUESS_COLUMNS, rows))
    notes = [f"clause {clause.number}: {note}" for clause in lane.clauses for note in clause.notes]
    return [*nodes, *(Text(visible(note, 400), "note") for note in (*notes, *lane.notes))]


def _sent(lane: LaneSize) -> str:
    rate = "closed loop" if lane.rate_rps is None else f"{lane.rate_rps:,.1f}/s"
    warmup = f" + {count(lane.warmup)} warm-up" if lane.warmup else ""
    load = lane.load
    return (
        f"{count(load.requests)}{warmup} requests, {rate},"
        f" {long_duration(load.duration_ns)}{', computed' * lane.simulated}; tokens"
        f" {count(load.prompt_tokens)} prompt, {count(load.output_tokens)} output; "
        + ("no prices" if load.usd is None else in_usd(load.usd))
        + ("" if lane.contract else "; no contract")
    )


@dataclasses.dataclass(frozen=True)
class _Guessed:
    """A clause of a lane, if the guess is right."""

    lane: LaneSize
    clause: ClauseSize
    guess: Guess
    power: Fraction


def _contract(rows: Sequence[_Guessed]) -> str:
    return visible(rows[0].lane.contract or "", 30)


def _needs(rows: Sequence[_Guessed]) -> str:
    return f"needs ({per_cent(float(rows[0].power))})"


def _name(row: _Guessed) -> str:
    """The clause stands beside the first of its guesses."""
    return row.clause.text if row.guess is row.clause.guesses[0] else ""


def _truth(row: _Guessed) -> str:
    if row.clause.unit == "time":
        return "no outage"
    return f"{per_cent(float(row.guess.bad_share))} bad"


def _needed(row: _Guessed) -> str:
    if row.guess.needed is None or row.guess.load is None:
        return "no run"
    if row.clause.unit == "time":
        return long_duration(row.guess.load.duration_ns)
    return count(row.guess.needed) + (" win" if row.clause.unit == "windows" else "")


def _takes(row: _Guessed) -> str:
    load = row.guess.load
    return ABSENT if load is None else long_duration(load.duration_ns)


def _costs(row: _Guessed) -> str:
    load = row.guess.load
    return ABSENT if load is None else usd(load.usd)


def _expects(verdict: str) -> Callable[[_Guessed], str]:
    """Of the three chances the likeliest has the colour of its verdict."""
    return lambda row: verdict if row.guess.expected == verdict else ""


GUESS_COLUMNS: list[Column[_Guessed]] = [
    Column(_contract, _name, "words"),
    Column("if truly", _truth),
    Column(_needs, _needed),
    Column("takes", _takes),
    Column("USD", _costs),
    Column("PASS", lambda row: per_cent(row.guess.p_pass, 0), coloured_by=_expects("PASS")),
    Column("FAIL", lambda row: per_cent(row.guess.p_fail, 0), coloured_by=_expects("FAIL")),
    Column(
        "open",
        lambda row: per_cent(row.guess.p_inconclusive, 0),
        coloured_by=_expects("INCONCLUSIVE"),
    ),
]


def _whole_text(whole: Whole) -> str:
    load = whole.load
    cost = "cost unknown: a target has no prices" if load.usd is None else in_usd(load.usd)
    length = long_duration(load.duration_ns) if load.duration_ns else "all computed"
    return (
        f"{count(load.requests)} requests, {length},"
        f" {count(load.prompt_tokens + load.output_tokens)} tokens, {cost}; the length is set by"
        f" {visible(whole.lane, 60)}, {visible(whole.clause)}"
    )


def sizing_record(sizing: Sizing) -> dict[str, Any]:
    """The sizing as JSON values: shares of one as numbers, times in ns, chances and the expected
    verdict a guess.
    """
    record: dict[str, Any] = _plain(sizing)
    for lane, lane_record in zip(sizing.lanes, record["lanes"], strict=True):
        for clause, clause_record in zip(lane.clauses, lane_record["clauses"], strict=True):
            for guess, guess_record in zip(clause.guesses, clause_record["guesses"], strict=True):
                guess_record |= {"p_inconclusive": guess.p_inconclusive, "expected": guess.expected}
    return record


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return float(value) if isinstance(value, (Fraction, Decimal)) else value
