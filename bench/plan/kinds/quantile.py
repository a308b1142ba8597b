"""`statistic = "quantile"`: at least 99 % of the requests finish within the limit (p99).

In: the keys of a clause. Out: its words and its share. Must stay true: "p99 <= T" is "at least 99 %
are within T".
"""

from __future__ import annotations

from fractions import Fraction

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Kind
from bench.plan.kinds.of_values import WITH_VALUES, bound, check_values, measured
from bench.quantiles import quantile_name


def _promised(keys: ClauseKeys) -> Fraction:
    assert keys.quantile is not None
    return keys.quantile


def _text(keys: ClauseKeys) -> str:
    # Of a floor the slow tail lies below: 99 % above 50 tokens/s is the lowest per cent.
    kept = _promised(keys)
    return f"{measured(keys)} {quantile_name(1 - kept if keys.rising else kept)}{bound(keys)}"


QUANTILE = Kind(
    name="quantile",
    named_by="statistic",
    promises=WITH_VALUES,
    check=check_values,
    text=_text,
    promised=_promised,
    has_values=True,
)
