"""`statistic = "share_of_windows"`: in at least a share of the windows of time the median keeps the
limit, or the p90, p95, p99 or mean.

In: the keys of a clause, requests and misses of the limit a window. Out: what each window lost.
Must stay true: a window's quantile keeps the limit where so many of its requests do (nearest rank).
"""

from __future__ import annotations

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Int, Kind, Loss, below, lost_whole, whole_windows
from bench.plan.kinds.of_values import WITH_VALUES, bound, check_values, measured, of_values
from bench.quantiles import P50, P90, P95, P99, by_key
from bench.units import show_duration, show_exact

#: A window's statistic as the share of its requests that must keep the limit.
_RANK = by_key(P50, P90, P95, P99)


def _text(keys: ClauseKeys) -> str:
    assert keys.share is not None
    share, window = show_exact(keys.share * 100), show_duration(keys.unit_ns)
    return f"{measured(keys)} {keys.of_window}{bound(keys)} in ≥ {share} % of {window} windows"


def _losses(keys: ClauseKeys, n: Int, k: Int) -> Loss:
    return lost_whole(below(_RANK[keys.of_window], n, k), n >= keys.min_requests, n > 0)


SHARE_OF_WINDOWS = Kind(
    name="share_of_windows",
    named_by="statistic",
    promises=WITH_VALUES,
    keys=of_values("share", "window", "of_window", "min_requests"),
    check=check_values,
    text=_text,
    has_values=True,
    by_time=True,
    losses=_losses,
    unit_minutes=whole_windows,
    least_requests=lambda keys: keys.min_requests,
    by_means=lambda keys: keys.of_window == "mean",
    beside="of the requests kept the limit, which is no part of this promise",
)
