"""Every kind of clause.

In: the keys of a clause. Out: its kind. Must stay true: the keys of a clause name exactly one kind.
"""

from __future__ import annotations

from bench.metrics import METRICS
from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.downtime_minutes import DOWNTIME_MINUTES
from bench.plan.kinds.error_share import ERROR_SHARE
from bench.plan.kinds.kind import Kind
from bench.plan.kinds.mean_of_intervals import MEAN_OF_INTERVALS
from bench.plan.kinds.minute_all_fail import MINUTE_ALL_FAIL
from bench.plan.kinds.quantile import QUANTILE
from bench.plan.kinds.request_ratio import REQUEST_RATIO
from bench.plan.kinds.share_of_requests import SHARE_OF_REQUESTS
from bench.plan.kinds.share_of_windows import SHARE_OF_WINDOWS
from bench.plan.kinds.slice_ok import SLICE_OK

KINDS: tuple[Kind, ...] = (
    QUANTILE,
    SHARE_OF_REQUESTS,
    SHARE_OF_WINDOWS,
    REQUEST_RATIO,
    MEAN_OF_INTERVALS,
    DOWNTIME_MINUTES,
    MINUTE_ALL_FAIL,
    SLICE_OK,
    ERROR_SHARE,
)


def kind_of(keys: ClauseKeys) -> Kind:
    """The kind that the metric, its statistic or its method names."""
    return kind_named(keys.metric, keys.statistic, keys.method)


def kind_named(metric: str, statistic: str, method: str) -> Kind:
    """The kind of a clause with these keys. Raises ValueError where none is named so."""
    names = {"metric": metric, "statistic": statistic, "method": method}
    promise = METRICS[metric].promise if metric in METRICS else None
    for kind in KINDS:
        if promise in kind.promises and names[kind.named_by] == kind.name:
            return kind
    raise ValueError(f"no kind of clause has {names}")


def named_by(key: str) -> tuple[str, ...]:
    """The values of a key that name a kind."""
    return tuple(kind.name for kind in KINDS if kind.named_by == key)
