"""Durations, rates, shares, multipliers and money, as users write them and as we keep them.

In: text from a file or a flag. Out: integer ns, `Fraction` per second, `Fraction` of one,
`Decimal` USD. Must stay true: a number without its unit is refused where a unit could be
mistaken, and nothing is rounded on the way in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction

US, MS, S = 1_000, 1_000_000, 1_000_000_000
_DURATION_NS = {
    "ns": 1,
    "us": US,
    "µs": US,
    "ms": MS,
    "s": S,
    "min": 60 * S,
    "m": 60 * S,
    "h": 3600 * S,
    "d": 86400 * S,
}
_PER_S = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}
_NUMBER = r"(\d+(?:_\d+)*(?:\.\d+)?)"
_DURATION_PART = re.compile(_NUMBER + r"\s*(ns|us|µs|ms|s|min|m|h|d)")
_RATE = re.compile(_NUMBER + r"\s*(?:/|per)\s*(\d+)?\s*(s|sec|min|m|h)")
_PERCENT = re.compile(_NUMBER + r"\s*%")
_TIMES = re.compile(_NUMBER + r"[x×]?")
#: Times are kept as 64-bit ns, which hold 292 years: what is longer is a slip of the pen.
_LONGEST_NS = 100 * 365 * 86400 * S


def _number(text: str) -> Fraction:
    return Fraction(text.replace("_", ""))


def _finite(value: object) -> Fraction | None:
    """A bare number of a file, exact as it was written; None for text, true, nan and inf."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return Fraction(str(value))


def parse_duration_ns(text: object) -> int:
    """`"800ms"`, `"1m30s"`, `"2.5s"` -> integer ns. Raises ValueError on a bare number."""
    if isinstance(text, str):
        parts = _DURATION_PART.findall(text)
        if parts and _DURATION_PART.sub("", text).strip() == "":
            ns = round(sum(_number(n) * _DURATION_NS[unit] for n, unit in parts))
            if ns > _LONGEST_NS:
                raise ValueError(f"{text!r} is longer than a century")
            return ns
    raise ValueError(f'{text!r} is not a duration; write a number and its unit, such as "800ms"')


def parse_rate_per_s(text: object) -> Fraction:
    """`"10/s"`, `"120/min"`, `"1/30s"`, or a bare number per second -> requests per second,
    exact.
    """
    rate = _finite(text)
    if isinstance(text, str):
        match = _RATE.fullmatch(text.strip())
    else:
        match = None
    if match is not None:
        seconds = int(match[2] or 1) * _PER_S[match[3]]
        rate = _number(match[1]) / seconds if seconds else None
    if rate is None or rate <= 0:
        raise ValueError(f'{text!r} is not a rate above zero; write "10/s" or "120/min"')
    return rate


def parse_share(text: object) -> Fraction:
    """`"99.9%"` or a number from 0 to 1 -> share of one, exact (never through a float)."""
    if isinstance(text, str) and (match := _PERCENT.fullmatch(text.strip())):
        share = _number(match[1]) / 100
    elif (bare := _finite(text)) is not None:
        share = bare
        if share > 1:
            raise ValueError(
                f'{text!r} is above 1; per cent are written with their sign: "{text}%"'
            )
    else:
        raise ValueError(f'{text!r} is not a share; write "99.9%" or 0.999')
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is outside 0 % to 100 %")
    return share


def parse_times(text: object) -> Fraction:
    """A multiplier: `10` or `"10x"` -> `Fraction`."""
    if (bare := _finite(text)) is not None and bare >= 0:
        return bare
    if isinstance(text, str) and (match := _TIMES.fullmatch(text)):
        return _number(match[1])
    number = re.search(_NUMBER, str(text))
    bare_text = number[0] if number else "10"
    raise ValueError(f'"{text}" is not a multiplier; write {bare_text} or "{bare_text}x"')


def parse_usd(text: object) -> Decimal:
    """A sum in USD as text or number -> `Decimal`, not below zero."""
    try:
        usd = Decimal(str(text))
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a sum in USD; write 0.25") from None
    if not usd.is_finite() or usd < 0:
        raise ValueError(f"{text!r} is not a sum of at least 0 USD")
    return usd


def nearest_rank(n: int, q: Fraction) -> int:
    """Rank (1-based) of the q-quantile of n values, type 1: the ceiling of q·n in exact
    arithmetic.
    """
    if n < 1 or not 0 < q <= 1:
        raise ValueError(f"no rank for quantile {q} of {n} values")
    return -(-q.numerator * n // q.denominator)


def show_duration(ns: int | float) -> str:
    """Three significant digits or so, with the unit a reader expects: `402 ms`, `1.5 s`, `3
    min`.
    """
    sign = "-" if ns < 0 else ""
    size = abs(ns)
    for unit, name, top in ((1, "ns", US), (US, "µs", MS), (MS, "ms", S), (S, "s", 120 * S)):
        value = size / unit
        if unit == 1 or value >= 100:
            digits = 0
        elif value >= 10:
            digits = 1
        else:
            digits = 2
        rounded = round(value, digits)
        if rounded * unit < top:
            return f"{sign}{_without_zeros(rounded, digits)} {name}"
    minutes, seconds = divmod(round(size / S), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return sign + " ".join(f"{value} {name}" for value, name in parts if value)


def show_limit(ns: int) -> str:
    """As `show_duration`, never rounded: a limit is shown as the contract has it."""
    short = show_duration(ns)
    if parse_duration_ns(short) == ns:
        return short
    for unit, name in ((S, "s"), (MS, "ms"), (US, "µs")):
        if ns >= unit:
            return f"{Decimal(ns) / unit:f} {name}"
    return f"{ns} ns"


def show_share(share: Fraction | float, digits: int = 4) -> str:
    """A share of one as per cent, without trailing zeros: `99.95 %`."""
    return f"{_without_zeros(float(share) * 100, digits)} %"


def _without_zeros(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    if digits:
        return text.rstrip("0").rstrip(".")
    return text


def show_usd(usd: Fraction | float) -> str:
    """USD with cents, or with three significant digits below one."""
    if usd >= 1 or usd == 0:
        return f"{float(usd):,.2f}"
    return f"{Decimal(f'{float(usd):.3g}'):f}"


def show_ratio(ratio: float) -> str:
    """How many times as much, to three decimals and, from 10 on, one: `0.115`, `12.3`. What is not
    1 does not read as 1: `0.99996`.
    """
    if ratio >= 10:
        return f"{ratio:,.1f}"
    digits = 3
    while digits < 9 and ratio != 1 and float(f"{ratio:.{digits}f}") == 1:
        digits += 1
    return f"{ratio:.{digits}f}"


def show_bound(
    low: float | None,
    high: float | None,
    show: Callable[[float], str],
    confidence: float,
) -> str:
    """`at most 745 ms (95 %)`, `at least …`, `between … and … (90 %)`; None: there is no such
    end.
    """
    said = f"({show_share(confidence, 2)})"
    if low is None:
        return "no bound" if high is None else f"at most {show(high)} {said}"
    if high is None:
        return f"at least {show(low)} {said}"
    return f"between {show(low)} and {show(high)} {said}"


def show_exact(number: Fraction) -> str:
    """A decimal number without rounding or exponent: `99.95`. Beyond 28 digits it is cut."""
    return f"{(Decimal(number.numerator) / Decimal(number.denominator)).normalize():f}"


def show_list(words: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def show_rate(rate_per_s: Fraction) -> str:
    """A rate that `parse_rate_per_s` reads back exactly: `10/s`, `10/min`."""
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        per_unit = rate_per_s * seconds
        if Fraction(show_exact(per_unit)) == per_unit:
            return f"{show_exact(per_unit)}/{unit}"
    return f"{show_exact(rate_per_s)}/s"
