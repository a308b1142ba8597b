"""`method = "minute_all_fail"`: a minute is down where each of its requests failed.

In: the keys of a clause, requests and failures a minute. Out: what each minute lost. Must stay
true: a minute without requests is not down.
"""

from __future__ import annotations

from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Definition, Int, Kind, Loss, lost_whole
from bench.plan.kinds.of_failures import checked_with, counted, of_uptime, uptime_text


def _losses(keys: ClauseKeys, n: Int, k: Int) -> Loss:
    return lost_whole((n > 0) & (k == n), counted(keys, n), n > 0)


MINUTE_ALL_FAIL = Kind(
    name="minute_all_fail",
    named_by="method",
    promises=("uptime",),
    keys=of_uptime("empty"),
    check=checked_with(),
    text=lambda keys: uptime_text(keys, "minutes not failing whole"),
    by_time=True,
    outages=True,
    losses=_losses,
    definitions=(Definition("minutes not failing whole", "Azure minute form", {}, place=6),),
)
