"""Why a clause over several runs came out as it did, in a sentence.

In: the rule. Out: words. Must stay true: the counts stand first; what is open says how many such
runs would decide, if the share stays.
"""

from __future__ import annotations

from bench.judge.runs.rule import Rule
from bench.judge.stats.pooled import LEAST_RUNS
from bench.judge.stats.scales import Weight
from bench.units import show_share

#: Beyond so many times the runs there are, nothing is foretold.
_MOST_TIMES = 100


def reason_of(rule: Rule) -> str:
    """`12 of 4,210 requests in 12 runs broke it; at most 0.61 % may, 95 % sure`."""
    weight = rule.at_best.weight
    n, bad = int(weight.n), int(weight.y)
    unknown = int(rule.at_worst.weight.y) - bad
    seen = f"{bad:,} of {n:,} requests in {len(rule.runs)} runs broke it"
    if unknown:
        seen += f", {unknown:,} more were cut off"
    low, high = rule.share_limits
    allowed = show_share(rule.p0)
    if rule.outcome == "PASS":
        return f"{seen}; that is at most {show_share(high)} of all, and {allowed} may"
    if rule.outcome == "FAIL":
        return f"{seen}; that is at least {show_share(low)} of all, and {allowed} may"
    return f"{seen}; {_open(rule)}"


def _open(rule: Rule) -> str:
    if len(rule.runs) < LEAST_RUNS:
        return f"a verdict over runs needs {LEAST_RUNS} of them"
    low, high = rule.share_limits
    between = f"that is {show_share(low)} to {show_share(high)} of all, and {show_share(rule.p0)}"
    why = {
        "few_rows": "too few requests to prove it even if none had broken it",
        "worst_block": "one more run like the worst would break it",
        "unknown_rows": "what became of those cut off would decide it",
    }.get(rule.cause)
    said = f"{between} may" + (f"; {why}" if why else "")
    needed = needed_runs(rule)
    if needed is None:
        return f"{said}; no number of such runs decides, if the share stays"
    return f"{said}; about {needed:,} such runs would decide, if the share stays"


def needed_runs(rule: Rule) -> int | None:
    """So many runs of this kind would decide if share and spread stay as they were."""
    runs = len(rule.runs)
    undecided, number = runs, max(2 * runs, LEAST_RUNS)
    while not _would_decide(rule, number):
        undecided, number = number, 2 * number
        if number > _MOST_TIMES * runs:
            return None
    while number - undecided > 1:
        middle = (undecided + number) // 2
        if _would_decide(rule, middle):
            number = middle
        else:
            undecided = middle
    return number


def _would_decide(rule: Rule, runs: int) -> bool:
    at_worst, at_best = (
        _of_so_many(pooled.weight, len(rule.runs), runs) for pooled in (rule.at_worst, rule.at_best)
    )
    return at_worst.passes(rule.p0, rule.alpha) or at_best.fails(rule.p0, rule.alpha)


def _of_so_many(weight: Weight, seen: int, runs: int) -> Weight:
    times = runs / seen
    y, n, v = (value * times for value in (weight.y, weight.n, weight.v))
    return Weight(y, n, v, weight.w, runs)
