"""`metric = "error_share"`: at most a share of the requests fails.

In: the keys of a clause. Out: its words and its share. Must stay true: the share says what may
fail.
"""

from __future__ import annotations

from fractions import Fraction

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Kind
from bench.plan.kinds.of_failures import checked_with
from bench.units import show_exact


def _promised(keys: ClauseKeys) -> Fraction:
    assert keys.share is not None
    return 1 - keys.share


def _text(keys: ClauseKeys) -> str:
    assert keys.share is not None
    return f"error share {'<' if keys.strict else '≤'} {show_exact(keys.share * 100)} %"


ERROR_SHARE = Kind(
    name="error_share",
    named_by="metric",
    promises=("errors",),
    keys=frozenset({"share"}),
    check=checked_with(),
    text=_text,
    promised=_promised,
)
