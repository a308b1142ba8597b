"""`statistic = "share_of_requests"`: at least a share of the requests keeps the limit.

In: the keys of a clause. Out: its words. Must stay true: it is judged as the quantile of that
share.
"""

from __future__ import annotations

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Kind
from bench.plan.kinds.of_values import (
    SLOW_OR_FAILED,
    WITH_VALUES,
    bound,
    check_values,
    measured,
    of_values,
)
from bench.units import show_exact


def _text(keys: ClauseKeys) -> str:
    assert keys.share is not None
    return f"{measured(keys)}{bound(keys)} for ≥ {show_exact(keys.share * 100)} % of requests"


SHARE_OF_REQUESTS = Kind(
    name="share_of_requests",
    named_by="statistic",
    promises=WITH_VALUES,
    keys=of_values("share"),
    check=check_values,
    text=_text,
    has_values=True,
    broke=SLOW_OR_FAILED,
)
