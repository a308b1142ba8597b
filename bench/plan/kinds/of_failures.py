"""What the kinds have in common that count failures: uptime by its methods, and the error share.

In: the keys of a clause that has a share. Out: checks and words. Must stay true: a share of 0 % or
100 % is refused, for no finite run can prove it.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.plan.clause_keys import MINUTE_NS, ClauseKeys
from bench.plan.kinds.kind import Bool, Int
from bench.units import show_exact


def check_failures(keys: ClauseKeys, needs: set[str]) -> None:
    """Raises ValueError: a share and what its method needs belong together."""
    name = f'metric "{keys.metric}"'
    if keys.share is None:
        raise ValueError(f"{name} needs share")
    if keys.share in (0, 1):
        raise ValueError("no finite run can prove a share of 0 % or 100 %; state what is allowed")
    if keys.given(*needs) != needs:
        raise ValueError(f'method "{keys.method}" needs {" and ".join(sorted(needs))}')
    if keys.window is not None and keys.window % MINUTE_NS:
        raise ValueError("window must be whole minutes")
    if keys.error_rate == 1 or keys.slice_share == 0:
        raise ValueError(
            "no minute has more than 100 % errors, and none serves less than 0 %; nothing could"
            " break it"
        )


def of_uptime(*own: str) -> frozenset[str]:
    """The keys of a method: these, and those of every method."""
    return frozenset({"method", "share", "weight", *own})


def checked_with(*needs: str) -> Callable[[ClauseKeys], None]:
    """The check of a method that needs these keys."""
    return lambda keys: check_failures(keys, set(needs))


def at_least(keys: ClauseKeys, what: str) -> str:
    """`right answers ≥ 99 %`."""
    assert keys.share is not None
    return f"{what} {'>' if keys.strict else '≥'} {show_exact(keys.share * 100)} %"


def uptime_text(keys: ClauseKeys, of_what: str) -> str:
    """`uptime, request ratio ≥ 99.9 %`."""
    return at_least(keys, f"uptime, {of_what}")


def counted(keys: ClauseKeys, n: Int) -> Bool:
    """Which stretches count: without requests only where an empty one is up."""
    return (n > 0) | (keys.empty == "up")
