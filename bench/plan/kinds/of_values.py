"""What the kinds have in common that hold a value of each request to a limit.

In: the keys of a clause on a latency or on tokens per second. Out: checks and words. Must stay
true: a failure is over any limit.
"""

from __future__ import annotations

from bench.metrics import METRICS, Promise
from bench.plan.clause_keys import ClauseKeys
from bench.units import show_exact, show_limit

#: The metrics that have a value a request.
WITH_VALUES: tuple[Promise, ...] = ("latency", "rate")
_KEYS = frozenset(
    {
        "statistic",
        "view",
        "limit",
        "limits",
        "limit_by_model",
        "at_least",
        "at_least_by_model",
        "with_ttft",
        "failed",
        "min_output_tokens",
    }
)
#: What a request did that broke a limit.
SLOW_OR_FAILED = "slow or failed"


def of_values(*own: str) -> frozenset[str]:
    """The keys of a statistic: these, and those of every statistic."""
    return _KEYS | {*own}


def check_values(keys: ClauseKeys) -> None:
    """Raises ValueError: of limit, floor, quantile, share and window what belongs together."""
    name = f'metric "{keys.metric}"'
    by_quantile = keys.statistic == "quantile"
    if (keys.quantile if by_quantile else keys.share) is None:
        needs = (
            f"{'quantile' if by_quantile else 'share'} and {'at_least' if keys.rising else 'limit'}"
        )
        raise ValueError(
            f"{name} needs {needs}"
            + ("" if by_quantile else f' with statistic = "{keys.statistic}"')
        )
    if keys.statistic == "share_of_windows" and keys.window is None:
        raise ValueError('statistic = "share_of_windows" needs window')
    _check_bound(keys, name)
    promised = keys.quantile if by_quantile else keys.share
    if promised is None or not 0 < promised < 1:
        raise ValueError(
            f"{'quantile' if by_quantile else 'share'} must lie between 0 and 1; no finite run"
            " can prove 100 %"
        )
    if keys.limits and (
        keys.limit is not None or keys.bucket is not None or keys.rising or keys.models
    ):
        raise ValueError(
            "limits by context bucket replace limit and bucket; write one or the other"
        )


def _check_bound(keys: ClauseKeys, name: str) -> None:
    has_floor = keys.at_least is not None or bool(keys.at_least_by_model)
    if keys.rising != has_floor and not (keys.rising and keys.report_only):
        raise ValueError('metric "output_tps" needs at_least = "50/s", and no other metric has it')
    for one, by_model in (("limit", keys.limit_by_model), ("at_least", keys.at_least_by_model)):
        if by_model and keys.given(one):
            raise ValueError(f"{one}_by_model replaces {one}; write one or the other")
    limits = [*keys.limit_by_model.values(), *([] if keys.limit is None else [keys.limit])]
    if not (has_floor or limits or keys.report_only or keys.limits):
        raise ValueError(f'{name} needs a limit such as "800ms"')
    if limits and keys.rising:
        raise ValueError(f"{name} has a floor, at_least, and no limit")
    if min(limits, default=1) <= 0:
        raise ValueError("limit must be above zero")


def measured(keys: ClauseKeys) -> str:
    """`response TTFT`; of a speed no view, for it has one."""
    label = METRICS[keys.metric].label
    return label if keys.rising else f"{keys.view} {label}"


def bound(keys: ClauseKeys) -> str:
    """` ≤ 800 ms`, ` ≥ 50 tokens/s`, ` ≥ 50 to 100 tokens/s by model`; empty where there is no
    limit.
    """
    if keys.at_least is not None:
        return f" {'>' if keys.strict else '≥'} {show_exact(keys.at_least)} tokens/s"
    if keys.limit is not None:
        return f" {'<' if keys.strict else '≤'} {show_limit(keys.limit)}"
    if floors := keys.at_least_by_model.values():
        ends = " to ".join(dict.fromkeys(map(show_exact, (min(floors), max(floors)))))
        return f" {'>' if keys.strict else '≥'} {ends} tokens/s by model"
    if limits := keys.limit_by_model.values():
        ends = " to ".join(dict.fromkeys(map(show_limit, (min(limits), max(limits)))))
        return f" {'<' if keys.strict else '≤'} {ends} by model"
    return ""
