"""What a suite would send and what it could decide: a table, or the same as JSON.

In: a sizing. Out: a table within the width of the screen, or plain values for JSON. Must stay true:
nothing is computed here; a lane without prices shows none, never 0; what no run decides says so.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.judge.contract.sizing import DAY_NS, ClauseSize, Guess, LaneSize, Sizing, Whole
from bench.plan.budget import show_usd
from bench.show.render_terminal import STYLES, WIDTH, wrapped
from bench.show.wording import ABSENT, count, per_cent, visible
from bench.units import show_duration

#: true share, needs, takes, costs, chances of PASS, FAIL and neither; the clause has the rest
_WIDTHS = (10, 12, 11, 8, 6, 6, 6)
_INDENT = 2


def sizing_table(sizing: Sizing, width: int = WIDTH) -> RenderableType:
    """Each lane with its clauses, then what decides them all."""
    power = per_cent(float(sizing.assumed.power))
    parts: list[RenderableType] = []
    for lane in sizing.lanes:
        parts.append(_lane_line(lane, width))
        if lane.clauses:
            parts.append(Padding(_clauses(lane, power, width), (0, 0, 0, _INDENT)))
        parts += [_wrapped("  note: ", visible(note, 400), width) for note in _notes(lane)]
    for label, whole in (
        ("all clauses", sizing.every),
        ("without the clauses by time", sizing.short),
    ):
        if whole is not None and (whole is sizing.every or sizing.every != sizing.short):
            parts.append(_wrapped("", f"{label}: {_whole_text(whole)}", width))
    if sizing.undecidable:
        parts.append(
            _wrapped(
                "no run of any size decides, if the guess is right: ",
                visible("; ".join(sizing.undecidable), 400),
                width,
            )
        )
    return Group(*parts)


def _wrapped(label: str, said: str, width: int) -> Text:
    return Text("\n".join(wrapped(label, said, width)))


def _lane_line(lane: LaneSize, width: int) -> Text:
    rate = "closed loop" if lane.rate_rps is None else f"{lane.rate_rps:,.1f}/s"
    warmup = f" + {count(lane.warmup)} warm-up" if lane.warmup else ""
    load = lane.load
    said = (
        f"{count(load.requests)}{warmup} requests, {rate},"
        f" {span(load.duration_ns)}{' of virtual time' * lane.simulated}; tokens"
        f" {count(load.prompt_tokens)} prompt, {count(load.output_tokens)} output; "
        + ("no prices" if load.usd is None else f"{show_usd(load.usd)} USD")
        + ("" if lane.contract else "; no contract")
    )
    return Text.assemble((visible(lane.name, 60), "bold"), "\n", _wrapped("  ", said, width))


def _clauses(lane: LaneSize, power: str, width: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    titles = (
        visible(lane.contract or "", 30),
        "if truly",
        f"needs ({power})",
        "takes",
        "USD",
        "PASS",
        "FAIL",
        "open",
    )
    table.add_column(
        titles[0], width=width - _INDENT - sum(_WIDTHS) - len(_WIDTHS) - 1, overflow="fold"
    )
    for title, cells in zip(titles[1:], _WIDTHS, strict=True):
        table.add_column(title, width=cells, justify="right", overflow="fold")
    for clause in lane.clauses:
        for guess in clause.guesses:
            name = Text(clause.text if guess is clause.guesses[0] else "")
            table.add_row(name, _truth(clause, guess), *_needs(clause, guess), *_chances(guess))
    return table


def _truth(clause: ClauseSize, guess: Guess) -> str:
    if clause.unit == "time":
        return "no outage"
    return f"{per_cent(float(guess.bad_share))} bad"


def _needs(clause: ClauseSize, guess: Guess) -> tuple[str, str, str]:
    if guess.needed is None or guess.load is None:
        return "no run", ABSENT, ABSENT
    needed = count(guess.needed) if clause.unit != "time" else span(guess.load.duration_ns)
    unit = " win" if clause.unit == "windows" else ""
    return (
        needed + unit,
        span(guess.load.duration_ns),
        ABSENT if guess.load.usd is None else show_usd(guess.load.usd),
    )


def _chances(guess: Guess) -> tuple[Text, ...]:
    """In whole per cent, the likeliest in the colour of its verdict."""
    shown = (("PASS", guess.p_pass), ("FAIL", guess.p_fail), ("INCONCLUSIVE", guess.p_inconclusive))
    return tuple(
        Text(per_cent(chance, 0), STYLES[verdict] if verdict == guess.expected else "")
        for verdict, chance in shown
    )


def _notes(lane: LaneSize) -> list[str]:
    return [
        f"clause {clause.number}: {note}" for clause in lane.clauses for note in clause.notes
    ] + list(lane.notes)


def _whole_text(whole: Whole) -> str:
    load = whole.load
    cost = (
        "cost unknown: a target has no prices" if load.usd is None else f"{show_usd(load.usd)} USD"
    )
    return (
        f"{count(load.requests)} requests,"
        f" {span(load.duration_ns) if load.duration_ns else 'in virtual time alone'},"
        f" {count(load.prompt_tokens + load.output_tokens)} tokens, {cost}; the length is set by"
        f" {visible(whole.lane, 60)}, {visible(whole.clause)}"
    )


def span(ns: int) -> str:
    """A length of time; from two days on in days."""
    return f"{ns / DAY_NS:,.1f} days" if ns >= 2 * DAY_NS else show_duration(ns)


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
