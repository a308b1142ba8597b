"""Which policies are tried, and at which thresholds and delays.

In: texts of flags, the answers of the default. Out: settings. Must stay true: the router as
published is always among them; without a sweep the values lie between the default's own p50 and
p99.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from bench.extras.what_if.replay import Calls
from bench.judge.stats.tail import quantile_nearest_rank
from bench.plan.route import Route, Sequential
from bench.plan.target import load_target
from bench.quantiles import P50, P99
from bench.units import MS, parse_duration_ns

POLICIES = ("sequential", "deadline", "hedge")
SWEEP_MOST = 100
_SWEEP_TEXT = re.compile(r"(.+?)\.\.(.+)/(\d{1,6})")
#: Thresholds and delays that are tried when none are given, in equal ratios from the median of the
#: default's answers to their p99.
STEPS = 9


@dataclasses.dataclass(frozen=True)
class Setting:
    """One policy with its threshold or delay."""

    policy: str
    at_ns: int
    published: bool = False

    @property
    def route(self) -> Route:
        """The same as a route over two legs."""
        at = f"{self.at_ns}ns"
        if self.policy == "sequential":
            rule = {"slower_than": at, "timeout": f"{published().timeout}ns"}
        else:
            rule = {"after": at}
        return Route.model_validate({"legs": ["default", "fallback"], self.policy: rule})


def parse_sweep(text: str) -> list[int]:
    """`"1s..5s/9"` -> nine ns from 1 s to 5 s, evenly; `"800ms"` -> that one. Raises ValueError."""
    match = _SWEEP_TEXT.fullmatch(text)
    if match is None:
        found = [parse_duration_ns(text)]
    else:
        low = parse_duration_ns(match[1])
        high = parse_duration_ns(match[2])
        steps = int(match[3])
        if not low < high or not 2 <= steps <= SWEEP_MOST:
            raise ValueError(f'{text!r} does not rise in 2 to {SWEEP_MOST} steps; write "1s..5s/9"')
        found = [low + (high - low) * step // (steps - 1) for step in range(steps)]
    if found[0] <= 0:
        raise ValueError(f"{text!r} begins at zero; begin above it")
    return found


def published() -> Sequential:
    """The rule of the router as published, from its target file."""
    route = load_target("router-published").route
    assert route is not None
    assert route.sequential is not None
    return route.sequential


# ---- which rows meet


def settings_for(
    default: Calls,
    policies: Sequence[str],
    thresholds: Sequence[int] | None,
    delays: Sequence[int] | None,
) -> list[Setting]:
    """The published router, then each policy at each threshold (or delay) in ns; None = `STEPS` of
    them.

    A sequential router's threshold lies below its published timeout: beyond, it says nothing.
    """
    rule = published()
    answers = np.sort(default.took_ns[default.ok])
    low, high = (max(quantile_nearest_rank(answers, q) or 0, MS) for q in (P50, P99))
    own = list(dict.fromkeys(round(at / MS) * MS for at in np.geomspace(low, high, STEPS)))
    if rule.slower_than:
        found = [Setting("sequential", rule.slower_than, published=True)]
    else:
        found = []
    for policy in policies:
        given = delays if policy == "hedge" else thresholds
        found += [
            Setting(policy, at)
            for at in (own if given is None else given)
            if policy != "sequential" or (at < rule.timeout and at != rule.slower_than)
        ]
    return found
