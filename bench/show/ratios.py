"""Ratios of two arms in words: how many times as long, and the bound that decides.

In: a comparison, whole or of a part. Out: text. Must stay true: a bound stands beside every ratio,
and beside an outcome the one that decided it.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.record.records.comparisons import PartComparison, RatioRecord
from bench.record.records.verdicts import Interval
from bench.show.wording import ABSENT, between, number
from bench.units import show_bound, show_ratio


def ratio_words(value: float | None) -> str:
    """`0.403`; absent without one."""
    return ABSENT if value is None else show_ratio(value)


def outcome_words(headline: str) -> str:
    """The outcome of a comparison as words: `MATERIALLY BETTER`."""
    return headline.replace("_", " ")


def p99_words(part: PartComparison) -> str:
    """`p99 ratio 0.403 (0.389 – 0.415)`; empty without a ratio."""
    p99 = part.ratios.get("p99")
    if p99 is None or p99.ratio is None:
        return ""
    return f"p99 ratio {ratio_words(p99.ratio)} ({interval_words(p99.interval)})"


def interval_words(limits: Sequence[float | None]) -> str:
    """`0.389 – 0.415`, or which bound there is."""
    return between(limits, ratio_words, "no bound")


def bound_of_ratio(part: PartComparison, name: str) -> str:
    """`at most 0.925 (97.5 %)`: of the p99 what its outcome was read from, of another quantile its
    95 % interval.
    """
    ratio = part.ratios.get(name)
    if ratio is None:
        return "no bound"
    limits, confidence = ratio_ends(part, name, ratio)
    return show_bound(*limits, show_ratio, confidence)


def ratio_ends(part: PartComparison, name: str, ratio: RatioRecord) -> tuple[Interval, float]:
    """The ends to show beside a ratio, and with which confidence they hold."""
    if name == "p99" and part.bound_of == "p99_ratio" and any(part.bound):
        return part.bound, part.bound_confidence
    return ratio.interval, 0.95


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: `-34.4`, `+0.06`, `0`."""
    size = number(abs(100 * share))
    return size if size in ("0", "0.000") else f"{'-' if share < 0 else '+'}{size}"
