"""How long a run should be that nobody gave a length, and what a given one cannot decide.

In: what each clause needs (`sizing`), what may be sent unasked. Out: how many times the plan's
length, and sentences. Must stay true: a length is never chosen above what may be sent unasked; a
clause that is left undecided by it is named, with what would decide it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from bench.errors import UserError
from bench.judge.contract.sizing import ClauseSize, LaneSize, Load, Sizing
from bench.plan.budget import ASK_ABOVE_USD, REMOTE_REQUESTS
from bench.units import S, show_duration, show_share

#: A run that nobody gave a length is no longer than this.
UNASKED_NS = 300 * S
#: Of the clauses that a plan cannot decide so many are named before it is sent.
_NAMED = 3


@dataclass(frozen=True)
class _Sized:
    lane: LaneSize
    clause: ClauseSize

    @property
    def times(self) -> Fraction | None:
        """How many times the lane's length decides the clause; None where no run does."""
        load = self.clause.load
        return None if load is None else Fraction(load.requests, max(self.lane.load.requests, 1))

    @property
    def load(self) -> Load:
        """The traffic that decides it."""
        assert self.clause.load is not None
        return self.clause.load

    @property
    def needs(self) -> str:
        """`1,941 requests, 3min14s`."""
        return f"{self.load.requests:,} requests, {_about(self.load.duration_ns)}"

    @property
    def named(self) -> str:
        """`clause 2 (uptime ≥ 99.9 %)`."""
        return f"clause {self.clause.number} ({self.clause.text})"


@dataclass(frozen=True)
class Chosen:
    """A length, as a multiple of the plan's own, and what is said of it before anything is sent."""

    times: Fraction
    said: tuple[str, ...]


def unasked_size(sizing: Sizing, *, remote: bool) -> Chosen | None:
    """The length that decides what can be decided within what is sent unasked, of a plan of one
    lane; None where it can decide nothing.
    """
    known = [each for each in _all(sizing) if each.times is not None]
    fits = [each for each in known if _fits(each.load, remote=remote)]
    beyond = [each for each in known if each not in fits]
    said = [_beyond(each) for each in beyond]
    said += [f"no run of any size decides {each.named}" for each in _all(sizing) if not each.times]
    if not fits:
        return None
    return _chosen(fits, said, sizing.assumed.power)


def size_for(sizing: Sizing, wanted: str) -> Chosen:
    """The length that decides the clauses that `wanted` (a number from 1, or a part of the text)
    names, whatever it takes. Raises UserError.
    """
    named = [each for each in _all(sizing) if _is_named(each, wanted)]
    if not named:
        texts = dict.fromkeys(each.clause.text for each in _all(sizing))
        raise UserError(
            f"{wanted!r} names no judged clause",
            where="--size-for",
            remedy=f"the clauses: {'; '.join(texts) or 'none'}",
        )
    for each in named:
        if each.clause.unit == "time":
            raise UserError(
                f"{each.clause.notes[0]}",
                where=f"--size-for: {each.named}",
                remedy="probe for as long: tailproof watch",
            )
        if each.times is None:
            raise UserError("no run of any size decides it", where=f"--size-for: {each.named}")
    return _chosen(named, [], sizing.assumed.power)


def cannot_decide(sizing: Sizing) -> list[str]:
    """A sentence for each clause that the plan as it is cannot PASS, the first few of them."""
    short = [each for each in _all(sizing) if _is_short(each.clause)]
    said = [_cannot(each, several=len(sizing.lanes) > 1) for each in short[:_NAMED]]
    if len(short) > _NAMED:
        said.append(f"and {len(short) - _NAMED} more; `tailproof plan` lists them")
    return said


def _all(sizing: Sizing) -> Iterator[_Sized]:
    for lane in sizing.lanes:
        yield from (_Sized(lane, clause) for clause in lane.clauses)


def _is_named(each: _Sized, wanted: str) -> bool:
    if wanted.isdigit():
        return each.clause.number == int(wanted)
    return wanted in each.clause.text


def _is_short(clause: ClauseSize) -> bool:
    return clause.least is None or clause.planned < clause.least


def _fits(load: Load, *, remote: bool) -> bool:
    if remote and load.requests > REMOTE_REQUESTS:
        return False
    return load.duration_ns <= UNASKED_NS and (load.usd or 0) <= ASK_ABOVE_USD


def _chosen(decides: Sequence[_Sized], said: Sequence[str], power: Fraction) -> Chosen:
    longest = max(decides, key=lambda each: each.times or 0)
    assert longest.times is not None
    clauses = dict.fromkeys(_decided(each.clause) for each in decides)
    first = (
        f"size: {longest.needs}, decides with {show_share(power)} {'; '.join(clauses)}"
        " (more, where slow ones come in clusters)"
    )
    return Chosen(longest.times, (first, *said))


def _decided(clause: ClauseSize) -> str:
    """`response e2e p95 ≤ 800 ms if 2.5 % break it, or 10 %`."""
    shares = [show_share(guess.bad_share) for guess in clause.guesses]
    return f"{clause.text} if {shares[0]} break it{''.join(f', or {more}' for more in shares[1:])}"


def _beyond(each: _Sized) -> str:
    if each.clause.unit == "time":
        return f"{each.named} counts time: {each.clause.notes[0]}"
    return (
        f"{each.named} needs {each.needs}, above what is sent unasked"
        f" ({_about(UNASKED_NS)}): add --size-for {each.clause.number}"
    )


def _cannot(each: _Sized, *, several: bool) -> str:
    clause = each.clause
    of = f" of {each.lane.name}" if several else ""
    if clause.unit == "time":
        why = clause.notes[0]
    elif clause.least is None:
        why = "it would take more than any run holds"
    else:
        why = f"at least {clause.least:,} {clause.unit} are needed, it has {clause.planned:,}"
    return f"this plan cannot PASS {each.named}{of}: {why}"


def _about(ns: int) -> str:
    return show_duration(-(-ns // S) * S)
