"""How numbers, clauses and foreign text are written, the same on page, in files and on screen.

In: values of summary.json and verdicts.json, and text that a server or a user's file supplied.
Out: short strings with their units. Must stay true: an absent number is shown as absent, never
as 0; no rounding turns a share below 100 % into 100 %; foreign text is cut and cannot steer a
terminal, a page or the reading direction.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from bench.record.records.verdicts import ClauseVerdict, Steadiness
from bench.units import MS, S, show_duration, show_list, show_usd

ABSENT = "–"
#: In place of a percentile that lies among requests without an answer.
NO_ANSWER = "no answer"
#: In place of a bound that so few requests do not have.
TOO_FEW = "too few for a bound"
#: Foreign text is cut to this many characters.
CUT = 200
_DAY_NS = 86_400 * S
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_LIMIT_IN_TEXT = re.compile(r" [≤≥<>] [\d.,]+ (?:%|ns|µs|ms|s|min(?: \d+ s)?|tokens/s)(?= \(|$)")


def visible(text: object, cut: int = CUT) -> str:
    """Text with control, format and bidirectional characters written out (`\\u202e`), cut
    to size.
    """
    whole = str(text)
    shown = "".join(
        _written_out(char) if unicodedata.category(char) in _UNSEEN else char
        for char in whole[:cut]
    )
    return shown if len(shown) <= cut and len(whole) <= cut else f"{shown[: cut - 1]}…"


def _written_out(char: str) -> str:
    code = ord(char)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def count(value: int | None) -> str:
    """Thousands parted by commas."""
    return ABSENT if value is None else f"{value:,}"


def counts(times: Mapping[str, int], *, name_first: bool = False) -> str:
    """`12 rate_limited, 2 reset`, or `rate_limited 12, reset 2`; empty without any."""
    said = [(count(number_of), visible(name, 40)) for name, number_of in times.items()]
    return ", ".join(f"{name} {n}" if name_first else f"{n} {name}" for n, name in said)


def failures(outcomes: Mapping[str, int]) -> str:
    """Of requests by outcome those that failed: `12 rate_limited, 2 reset`; empty without any."""
    return counts({name: times for name, times in outcomes.items() if name != "ok"})


def short_name(target: str, stage: str) -> str:
    """A target's name within its stage."""
    return visible(target.removesuffix(f"/{stage}"), 40)


def capital(text: str) -> str:
    """With a capital at its head, as a sentence begins."""
    return text[:1].upper() + text[1:]


def few(names: Sequence[str], most: int) -> str:
    """`a, b and 3 more`: of many names only the first."""
    more = len(names) - most
    return show_list([*names[:most], f"{count(more)} more"] if more > 0 else names)


def first_answers(said: Sequence[str], most: int) -> str:
    """Of what answers a question, one sentence after the other, the first; how many more stand
    below.
    """
    more = len(said) - most
    return " ".join(said[:most]) + (f" {count(more)} more below." if more > 0 else "")


def number(value: float | None) -> str:
    """About three significant digits: `0.06`, `12.3`, `3,870`; the unit stands in the heading."""
    if value is None:
        return ABSENT
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 3
    text = f"{value:z,.{digits}f}"  # z: what rounds to zero has no sign
    return text.rstrip("0").rstrip(".") if digits > 1 else text


def exact(value: float) -> str:
    """A number that a file states: all its digits, no more."""
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def milliseconds(value: float | None) -> str:
    """A latency with its unit: `402 ms`."""
    return ABSENT if value is None else f"{number(value)} ms"


def duration(value_ms: float | None) -> str:
    """A length of time that was measured in ms, with the unit a reader expects: `1.5 s`."""
    return ABSENT if value_ms is None else show_duration(round(value_ms * MS))


def local_time(utc: str, zone: str) -> datetime:
    """An instant that a record holds, by the clock of a time zone."""
    return datetime.fromisoformat(utc).astimezone(UTC if zone == "UTC" else ZoneInfo(zone))


def whole_seconds(ns: int) -> str:
    """What is left of a time, rounded up: `41 s`, `3 min`."""
    return show_duration(-(-ns // S) * S)


def long_duration(ns: int) -> str:
    """A length of time; from two days on in days."""
    return f"{ns / _DAY_NS:,.1f} days" if ns >= 2 * _DAY_NS else show_duration(ns)


def usd(value: float | None) -> str:
    """A sum, for a column or a sentence that names the currency."""
    return ABSENT if value is None else show_usd(value)


def in_usd(value: float | None) -> str:
    """A sum with its currency: `1.25 USD`."""
    return ABSENT if value is None else f"{show_usd(value)} USD"


def seconds_for_readers(value_ms: float) -> str:
    """A latency for a reader who is no engineer: `0.42 s`, `3.9 s`; below 10 ms in ms."""
    if value_ms < 10:
        return milliseconds(value_ms)
    seconds = value_ms / 1000
    return (
        f"{seconds:.2f} s"
        if seconds < 1
        else f"{seconds:.1f} s"
        if seconds < 100
        else f"{seconds:,.0f} s"
    )


def per_cent(share: float | None, digits: int | None = None) -> str:
    """A share of one as per cent without trailing zeros; 0 % and 100 % only where exactly so.

    `digits` after the point; by default as many, up to four, as show three digits of the share
    or of what it lacks to 100 %, whichever is less: 98.75 %, 99.898 %, 0.542 %.
    """
    if share is None:
        return ABSENT
    if digits is None:
        rest = min(share, 1 - share) * 100
        digits = min(max(2 - math.floor(math.log10(rest)), 1), 4) if rest > 0 else 4
    text = f"{share * 100:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    least = f"{10**-digits:.{digits}f}"
    if text == "100" and share < 1:
        return f"> {100 - float(least):.{digits}f} %"
    if text == "0" and share > 0:
        return f"< {least} %"
    return f"{text} %"


def change(share: float | None, digits: int, *, plus: bool = False) -> str:
    """A share that may lie below zero or above one, as per cent: `-14 %`; `plus`: `+14 %`."""
    if share is None:
        return ABSENT
    return f"{100 * share:{'+' if plus else ''}z.{digits}f} %"


def _write(value: float, clause: ClauseVerdict, *, exactly: bool = False) -> str:
    """A value of a clause with its unit: ms, tokens/s or per cent."""
    if clause.unit == "share":
        return f"{exact(value * 100)} %" if exactly else per_cent(value)
    return f"{exact(value) if exactly else number(value)} {clause.unit}"


def clause_name(text: str) -> str:
    """A clause's text without its limit, which has a column of its own."""
    return visible(_LIMIT_IN_TEXT.sub("", text))


def clause_title(clause: ClauseVerdict) -> str:
    """A clause's text as a heading: `End-to-end p99`, `Uptime (phase burst)`."""
    return titled(clause_name(clause.text))


def titled(text: str) -> str:
    """What a contract says of a clause, as a heading: `End-to-end p99 ≤ 800 ms`."""
    said = text.removeprefix("response ")
    for short, long in (("e2e ", "end-to-end "), ("uptime, request ratio", "uptime")):
        if said.startswith(short):
            said = long + said.removeprefix(short)
    return capital(said)


def title_in_sentence(clause: ClauseVerdict) -> str:
    """The same for the middle of a sentence; TTFT and TPOT stay as they are."""
    title = clause_title(clause)
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def measured(clause: ClauseVerdict) -> str:
    """The measured value with its unit, or why there is none."""
    value = clause.measured
    if value is None:
        if not clause.n:
            return "no requests"
        return ABSENT if clause.unit == "share" else NO_ANSWER
    return _beside_limit(value, clause)


def bound_words(clause: ClauseVerdict) -> str:
    """`at most 745 ms (95 %)` beside PASS, `at least 812 ms (95 %)` beside FAIL, and beside what is
    open `between 690 and 812 ms (90 %)`: each end is one-sided, so that both together hold less.
    """
    if not clause.n:
        return TOO_FEW
    low, high = clause.bound
    rising = clause.held_by in (">=", ">")
    if clause.verdict == ("PASS" if rising else "FAIL"):
        high = None
        if low is None and not rising:
            return "beyond any limit"
    elif clause.verdict == ("FAIL" if rising else "PASS"):
        low = None
    level = clause.confidence
    if low is None and high is None:
        return TOO_FEW
    if low is not None and high is not None:
        first, last = (_beside_limit(end, clause) for end in (low, high))
        unit = last[last.rindex(" ") :]
        return f"between {first.removesuffix(unit)} and {last} ({per_cent(2 * level - 1)})"
    one = low if high is None else high
    side = "at least" if high is None else "at most"
    return f"{side} {_beside_limit(one or 0.0, clause)} ({per_cent(level)})"


def between(
    limits: Sequence[float | None], write: Callable[[float], str] | None = None, none: str = ABSENT
) -> str:
    """`391 – 418`, `≥ 391` or `≤ 418` where there is one bound, `none` without any; `write` puts a
    bound in words. Per cent are said once: `76 – 89 %`.
    """
    low, high = (None if bound is None else (write or number)(bound) for bound in limits)
    if low is None:
        return none if high is None else f"≤ {high}"
    return f"≥ {low}" if high is None else f"{low.removesuffix(' %')} – {high}"


def _beside_limit(value: float, clause: ClauseVerdict) -> str:
    """A value that rounding must not lay upon a limit it does not equal: `800.2 ms` beside `≤ 800
    ms`.
    """
    bound = clause.promised
    unequal = (
        bound is not None and value != bound and _write(value, clause) == _write(bound, clause)
    )
    return _write(value, clause, exactly=unequal)


def limit(clause: ClauseVerdict) -> str:
    """`≤ 800 ms`, `≥ 99.9 %`, or absent for a clause that is only reported."""
    bound = clause.promised
    if bound is None or not clause.judged:
        return ABSENT
    sign = {">=": "≥", "<=": "≤"}.get(clause.operator, clause.operator)
    return (
        f"{sign}"
        f" {per_cent(bound) if clause.unit == 'share' else _write(bound, clause, exactly=True)}"
    )


def limit_alone(clause: ClauseVerdict) -> str:
    """The same without its sign: `800 ms`."""
    return limit(clause).partition(" ")[2]


def against_limit(clause: ClauseVerdict) -> str:
    """`3,720 ms against 800 ms`: what was measured, and the limit without its sign."""
    return f"{measured(clause)} against {limit_alone(clause)}"


def decider(clause: ClauseVerdict) -> str:
    """The counts that decided a clause; for an undecided one the judge's reason and what would
    decide it.
    """
    if not clause.judged:
        return "no limit, reported only" if clause.promised is None else "reported only"
    if clause.verdict == "INCONCLUSIVE" or clause.kind.partial:  # no count decides a partial one
        return sentences(clause.reason)
    unknown = f", {count(clause.unknown)} unknown" if clause.unknown else ""
    what = f" {clause.kind.broke}"
    if clause.kind.by_time:
        what = " windows were over the limit" if clause.kind.beside else " were bad"
    broke = f"{count(clause.k)} of {count(clause.n)}{what}{unknown}"
    if clause.kind.beside:
        return broke + _other_reading(clause)
    if clause.verdict == "PASS":
        return f"{broke}; up to {count(clause.allowed_k)} would still prove it"
    allowed = math.floor(clause.p0 * clause.n)
    return f"{broke}; {count(allowed) if allowed else 'none'} may be"


def sentences(reason: str) -> str:
    """A judge's reason as it is shown: what is more than one sentence ends as one."""
    said = visible(reason, 2 * CUT)
    return f"{said}." if ". " in said and not said.endswith((".", "…")) else said


def _other_reading(clause: ClauseVerdict) -> str:
    """A window's median says nothing of its slower half."""
    share = clause.share_of_requests
    if share is None:
        return ""
    return f". (The clause counts windows; {per_cent(share)} of single requests were within it.)"


def worth(clause: ClauseVerdict) -> str:
    """How many independent rows the rows are worth: fewer, where slow ones come in clusters."""
    return count(round(clause.n_effective)) if clause.decided_by == "blocks" else count(clause.n)


def trend(steadiness: Steadiness) -> str:
    """Rank correlation of breaches with time: `0.42 (p = 0.02)`."""
    if steadiness.trend_rho is None:
        return ABSENT
    return f"{steadiness.trend_rho:.2f} (p = {steadiness.trend_p:.2g})"


def confidence_levels(clauses: Iterable[ClauseVerdict]) -> list[float]:
    """The levels that the clauses were judged at, ascending; 95 % where nothing was judged."""
    return sorted({clause.confidence for clause in clauses}) or [0.95]
