"""`statistic = "quantile"`: at least 99 % of the requests finish within the limit (p99).

In: the keys of a clause. Out: its words and its share. Must stay true: "p99 <= T" is "at least 99 %
are within T".
"""

from __future__ import annotations

from fractions import Fraction

from bench.metrics import METRICS
from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Kind, Recorded
from bench.plan.kinds.of_values import (
    SLOW_OR_FAILED,
    WITH_VALUES,
    bound,
    check_values,
    measured,
    of_values,
)
from bench.quantiles import QUANTILES, quantile_key, quantile_name


def _promised(keys: ClauseKeys) -> Fraction:
    assert keys.quantile is not None
    return keys.quantile


def _text(keys: ClauseKeys) -> str:
    # Of a floor the slow tail lies below: 99 % above 50 tokens/s is the lowest per cent.
    kept = _promised(keys)
    return f"{measured(keys)} {quantile_name(1 - kept if keys.rising else kept)}{bound(keys)}"


def _plain(metric: str) -> str | None:
    until = METRICS[metric].until
    return f"{until} within {{limit}} for {{share}} of requests" if until else None


def _in_summary(clause: Recorded) -> str | None:
    """One of a phase and a bucket has no place there, nor has a quantile that is not kept."""
    if clause.quantile is None or METRICS[clause.metric].unit != "ms":
        return None
    quantile = Fraction(str(clause.quantile))
    if quantile not in QUANTILES.values() or (clause.phase and clause.bucket):
        return None
    part = ""
    if clause.phase:
        part = f"by_phase/{clause.phase}/"
    elif clause.bucket:
        part = f"by_bucket/{clause.bucket}/"
    return f"{part}{clause.view}_ms/{clause.metric}/{quantile_key(quantile)}"


QUANTILE = Kind(
    name="quantile",
    named_by="statistic",
    promises=WITH_VALUES,
    keys=of_values("quantile"),
    check=check_values,
    text=_text,
    promised=_promised,
    has_values=True,
    broke=SLOW_OR_FAILED,
    plain=_plain,
    in_summary=_in_summary,
)
