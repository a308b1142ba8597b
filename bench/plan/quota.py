"""What a plan asks of its targets' limits in its busiest minute, before anything is sent.

In: a compiled plan; the `limits` of its targets. Out: each limit that the plan goes beyond, by how
much, the rate that fits, and a sentence. Must stay true: what a limit counts is counted over any
stretch of its length, wherever it begins; an answer counts as long as it may become; a turn of a
session counts as early as it can be sent; a closed loop, whose rate the server makes, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from bench.plan.limits import DAY_NS, MINUTE_NS, Limit
from bench.plan.schedule import Lane, Plan, Table
from bench.plan.target import Target
from bench.units import show_duration, show_share

Counts = npt.NDArray[np.int64]
#: The rate that fits is searched to a hundredth of itself, or to 1 / 2^20 of the plan's.
_HALVINGS = 20
#: So many limits are named before a plan is sent.
_NAMED = 3


@dataclass(frozen=True)
class Excess:
    """A limit that a plan goes beyond."""

    target: str
    limit: Limit
    #: what the busiest stretch of the limit's length asks
    asked: int
    #: the share of the plan's rate at which it would fit; None where no rate does
    fitting_share: Fraction | None
    #: that share of the one rate that the whole plan has, a second
    fitting_rate: Fraction | None


@dataclass(frozen=True)
class _Asked:
    """What is asked of one key of one endpoint: moments in order, and what each asks by unit."""

    due_ns: Counts
    by_unit: dict[str, Counts]

    def busiest(self, limit: Limit, slower: Fraction = Fraction(1)) -> int:
        """The most in any stretch, with the plan drawn out to this share of its rate."""
        if not len(self.due_ns):
            return 0
        # Drawn out, a stretch holds what a shorter one held before.
        stretch_ns = max(int(limit.stretch_ns * slower), 1)
        ends = np.searchsorted(self.due_ns, self.due_ns + stretch_ns, side="left")
        sums = np.concatenate(([0], np.cumsum(self.by_unit[limit.unit])))
        return int((sums[ends] - sums[:-1]).max())


def excesses(plan: Plan) -> list[Excess]:
    """The limits that the plan goes beyond, the worst of each target first."""
    found = []
    for endpoint, parts in _by_key(plan).items():
        asked = _asked(plan.schedule, parts)
        target = parts[0][1]
        assert target.limits is not None, endpoint
        mine = list(_beyond(plan, target, asked))
        found += sorted(mine, key=lambda each: each.limit.amount / each.asked)
    return found


def quota_said(plan: Plan) -> list[str]:
    """A sentence for each limit that the plan goes beyond, the first few of them."""
    found = excesses(plan)
    said = [_sentence(each) for each in found[:_NAMED]]
    if len(found) > _NAMED:
        said.append(f"and {len(found) - _NAMED} more of its targets' limits")
    return said


def rate_within(
    limits: Mapping[str, int], prompt_tokens: int, output_tokens: int
) -> Fraction | None:
    """Requests of these sizes a second that keep within limits (keys of the table `limits`) though
    they come at random; None where no limit says how many.

    Of Poisson arrivals with a mean of m a minute, hardly a minute has more than m + 3.5 √m.
    """
    tokens = {
        "requests_per_min": 1,
        "tokens_per_min": prompt_tokens + output_tokens,
        "input_tokens_per_min": prompt_tokens,
        "output_tokens_per_min": output_tokens,
    }
    most = [limits[key] / each for key, each in tokens.items() if key in limits and each]
    if not most:
        return None
    mean = ((math.sqrt(3.5**2 + 4 * min(most)) - 3.5) / 2) ** 2
    return _floor(Fraction(mean) / 60)


def _beyond(plan: Plan, target: Target, asked: _Asked) -> Iterator[Excess]:
    assert target.limits is not None
    for limit in target.limits.each():
        most = asked.busiest(limit)
        if most <= limit.amount:
            continue
        share = None if limit.stretch_ns >= DAY_NS else _fitting_share(asked, limit)
        rate = _common_rate(plan)
        fitting = None if share is None or rate is None else _floor(rate * share)
        yield Excess(target.name, limit, most, share, fitting)


def _fitting_share(asked: _Asked, limit: Limit) -> Fraction | None:
    """The largest share of the plan's rate that keeps within the limit."""
    low, high = Fraction(0), Fraction(1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if asked.busiest(limit, middle) <= limit.amount:
            low = middle
        else:
            high = middle
        if high - low < low / 100:
            break
    return low or None


def _common_rate(plan: Plan) -> Fraction | None:
    """The rate of every lane that is sent, where they have one and the same."""
    rates = {lane.profile.arrivals.rate for lane in plan.live().lanes}
    return rates.pop() if len(rates) == 1 else None


def _floor(rate: Fraction) -> Fraction:
    """Two significant digits, rounded down: what is printed fits."""
    digits = 1 - math.floor(math.log10(rate))
    return Fraction(math.floor(rate * Fraction(10) ** digits)) / Fraction(10) ** digits


def _sentence(excess: Excess) -> str:
    limit, asked = excess.limit, excess.asked
    word = _stretch_word(limit.stretch_ns)
    over = (asked - limit.amount) / asked
    return (
        f"{excess.target}: {_amount(limit.amount)} {limit.unit} a {word} are allowed, the plan's"
        f" busiest {word} asks {asked:,}: {show_share(over, 0)} of its answers would be 429"
        f" ({_remedy(excess)})"
    )


def _remedy(excess: Excess) -> str:
    if excess.fitting_rate is not None:
        return f"--rate {float(excess.fitting_rate):g} fits"
    if excess.fitting_share is not None:
        return f"{show_share(excess.fitting_share, 1)} of its rate fits"
    if excess.limit.stretch_ns >= DAY_NS:
        return "send fewer requests"
    return "no rate fits: one request asks more"


def _amount(amount: Fraction) -> str:
    return f"{int(amount):,}" if amount.denominator == 1 else f"{float(amount):.3g}"


def _stretch_word(ns: int) -> str:
    words = {MINUTE_NS: "minute", DAY_NS: "day", MINUTE_NS // 60: "second"}
    return words.get(ns) or f"stretch of {show_duration(ns)}"


_Parts = list[tuple[Lane, Target, int]]


def _by_key(plan: Plan) -> dict[tuple[object, ...], _Parts]:
    """The endpoints with limits that are sent requests, with their lanes and the leg's number; one
    model behind one key is one, however many stages and routes lead to it.
    """
    found: dict[tuple[object, ...], _Parts] = {}
    for lane in plan.live().lanes:
        if lane.profile.closed_loop:
            continue
        for number, each in enumerate(lane.target.endpoints):
            if each.limits is not None:
                source = (each.api_key_env, each.api_key_file, each.api_key_command)
                key = (each.base_url, each.model, *source)
                leg = number if lane.target.legs else -1
                found.setdefault(key, []).append((lane, each, leg))
    return found


def _asked(schedule: Table, parts: _Parts) -> _Asked:
    """What all these lanes ask, in the order of time."""
    rows = np.concatenate([_rows(schedule, lane, leg) for lane, _, leg in parts])
    rows = np.sort(rows, order="due_ns", kind="stable")
    prompt, output = (rows[name].astype(np.int64) for name in ("prompt_tokens", "output_tokens"))
    by_unit = {
        "requests": np.ones(len(rows), np.int64),
        "tokens": prompt + output,
        "input tokens": prompt,
        "output tokens": output,
    }
    return _Asked(rows["due_ns"], by_unit)


def _rows(schedule: Table, lane: Lane, leg: int) -> Table:
    """The rows that a lane begins with this endpoint, each with the earliest moment it may have."""
    due_ns = schedule["due_ns"].copy()
    mine = schedule["lane"] == lane.index
    turns = schedule["turn"]
    for turn in range(1, int(turns[mine].max(initial=0)) + 1):
        later = np.flatnonzero(mine & (turns == turn) & (schedule["after_row"] >= 0))
        due_ns[later] = due_ns[schedule["after_row"][later]] + schedule["think_ns"][later]
    rows: Table = schedule.copy()
    rows["due_ns"] = due_ns
    chosen: Table = rows[mine & (schedule["leg"] == leg) if leg >= 0 else mine]
    return chosen
