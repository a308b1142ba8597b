"""What a suite would send and what it could decide: a screen, or the same as JSON.

In: a sizing. Out: nodes of a screen, or plain values for JSON. Must stay true: nothing is computed
here; a lane without prices shows none, never 0; what no run decides says so.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from bench.judge.contract.sizing import ClauseSize, Guess, LaneSize, Sizing, Whole
from bench.plan.quota import Excess
from bench.show.document import Code, Column, Node, Table, Text
from bench.show.result import Result
from bench.show.wording import ABSENT, count, in_usd, long_duration, per_cent, titled, usd, visible
from bench.units import show_list

#: Of more lanes than this only those clauses have a line that the plan may well leave open.
_LANES_MOST = 6
#: A smaller chance than this is no plan.
_LIKELY = 0.8


def sizing_result(sizing: Sizing, what: str, name: str, beyond: Sequence[str] = ()) -> Result:
    """The chances of each clause, what would decide it, then what decides them all; `what` is sent
    by the suite or scenario `name`, and goes `beyond` limits of its targets.
    """
    beside = len(sizing.lanes) > _LANES_MOST
    rows = [_Sized(lane, clause, beside) for lane in sizing.lanes for clause in lane.clauses]
    lead: list[Node] = [Text(what, tone="strong")]
    if meant := _meant(sizing):
        lead.append(Text(meant))
    body: list[Node] = []
    likely = 0
    if beside:
        doubtful = [row for row in rows if min(row.kept, row.broken) < _LIKELY]
        likely, rows = len(rows) - len(doubtful), sorted(doubtful, key=lambda row: row.kept)
    if rows:
        power = per_cent(float(sizing.assumed.power))
        body.append(
            Table(f"chance, and what a chance of {power} needs", SIZE_COLUMNS, rows, "promises")
        )
    if likely:
        body.append(Text(f"{count(likely)} more clauses are decided with a chance of 80 % or more"))
    body += [
        Text(f"{visible(lane.name, 60)}: no contract") for lane in sizing.lanes if not lane.contract
    ]
    body += [Text(said, "note") for said in _notes(sizing)]
    limits = [Text(visible(said, 400), "limits") for said in beyond]
    return Result(lead, body, [*limits, *_foot(sizing, name)])


@dataclasses.dataclass(frozen=True)
class _Sized:
    """A clause of a lane, and the chances that the plan decides it."""

    lane: LaneSize
    clause: ClauseSize
    #: its line names its target
    beside: bool

    @property
    def kept(self) -> float:
        """The chance of PASS under the guess that the clause is kept."""
        return self.clause.guesses[0].p_pass

    @property
    def broken(self) -> float:
        """The chance of FAIL under the guess that it is broken."""
        return self.clause.guesses[-1].p_fail

    @property
    def longest(self) -> Guess:
        """The guess that needs the larger run; one that no run decides comes first."""
        return max(
            self.clause.guesses,
            key=lambda guess: math.inf if guess.needed is None else guess.needed,
        )


def _meant(sizing: Sizing) -> str:
    """What the two chances assume."""
    shares = [
        guess.bad_share
        for lane in sizing.lanes
        for clause in lane.clauses
        for guess in clause.guesses
    ]
    if not shares:
        return ""
    if sizing.assumed.slow_share is not None or sizing.assumed.uptime is not None:
        return "The chances hold if the guessed shares are true."
    return '"kept": half of the budget is bad. "broken": twice the budget.'


def _lane_heading(row: _Sized) -> str:
    if row.beside:
        return ""
    rate = "closed loop" if row.lane.rate_rps is None else f"{row.lane.rate_rps:,.1f}/s"
    return f"{visible(row.lane.name, 60)}, {rate}{', computed' * row.lane.simulated}"


def _target_and_clause(row: _Sized) -> str:
    said = titled(visible(row.clause.text, 90))
    return f"{visible(row.lane.name, 26)}, {said}" if row.beside else said


def _needed(row: _Sized) -> str:
    guess = row.longest
    if guess.needed is None or guess.load is None:
        return "no run"
    if row.clause.unit == "time":
        return ABSENT
    return count(guess.needed) + (" win" if row.clause.unit == "windows" else "")


def _takes(row: _Sized) -> str:
    load = row.longest.load
    return ABSENT if load is None else long_duration(load.duration_ns)


def _costs(row: _Sized) -> str:
    load = row.longest.load
    return ABSENT if load is None else usd(load.usd)


SIZE_COLUMNS: list[Column[_Sized]] = [
    Column("target", _lane_heading, "group"),
    Column("", _target_and_clause, "words"),
    Column("PASS if kept", lambda row: per_cent(row.kept, 0), "count"),
    Column("FAIL if broken", lambda row: per_cent(row.broken, 0), "count"),
    Column("requests", _needed, "count"),
    Column("time", _takes, "count"),
    Column(
        "USD",
        _costs,
        "count",
        show_if=lambda rows: any(
            row.longest.load and row.longest.load.usd is not None for row in rows
        ),
    ),
]


def _notes(sizing: Sizing) -> Iterator[str]:
    """Each once, with the number of targets that it is true of."""
    found: dict[str, int] = {}
    for lane in sizing.lanes:
        notes = [f"clause {each.number}: {note}" for each in lane.clauses for note in each.notes]
        for note in (*notes, *lane.notes):
            found[note] = found.get(note, 0) + 1
    for note, lanes in found.items():
        of = f" ({lanes} targets)" if lanes > 1 else ""
        yield f"{visible(note, 400)}{of}"
    if sizing.undecidable:
        undecidable = visible("; ".join(sizing.undecidable), 400)
        yield f"no run of any size decides, if the guess is right: {undecidable}"


def _foot(sizing: Sizing, name: str) -> Iterator[Node]:
    for label, whole in (("to decide", sizing.every), ("short", sizing.short)):
        if whole is not None and (whole is sizing.every or sizing.every != sizing.short):
            yield Text(_whole_text(whole, short=label == "short"), label)
    loads = [lane.load for lane in sizing.lanes]
    prompt, output = (
        sum(load.prompt_tokens for load in loads),
        sum(load.output_tokens for load in loads),
    )
    yield Text(f"{count(prompt)} in, {count(output)} out", "tokens")
    if all(load.usd is not None for load in loads):
        yield Text(in_usd(sum(load.usd or 0.0 for load in loads)), "cost")
    else:
        lanes = [visible(lane.name, 40) for lane in sizing.lanes if lane.load.usd is None]
        named = show_list(lanes) if len(lanes) <= 2 else f"{len(lanes)} targets"
        yield Text(f"unknown: {named} without [prices]", "cost")
    yield Code(shlex.join(["tailproof", "run", name]), "next")


def _whole_text(whole: Whole, *, short: bool) -> str:
    load = whole.load
    length = long_duration(load.duration_ns) if load.duration_ns else "all computed"
    left_out = " without the clauses by time" if short else ""
    cost = "" if load.usd is None else f", {in_usd(load.usd)}"
    return (
        f"all{left_out}: {count(load.requests)} requests, {length}{cost}; the longest is"
        f" {visible(whole.lane, 60)}, {titled(visible(whole.clause, 90))}"
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


def excess_record(excess: Excess) -> dict[str, Any]:
    """A limit that the plan goes beyond, as JSON values: the amount within `stretch_ns`, what the
    busiest such stretch asks, the share of the plan's rate that fits and that rate a second.
    """
    record: dict[str, Any] = _plain(excess)
    limit = excess.limit
    record["limit"] = limit._asdict() | {"amount": float(limit.amount)}
    return record


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return float(value) if isinstance(value, (Fraction, Decimal)) else value
