"""What a plan will cost and whom it will reach, before anything is sent.

In: a compiled plan and the prices of its targets. Out: its planned cost, exact; the most that one
row may be billed; a refusal, a question to be answered first, or neither. Must stay true: a target
without prices gives a reason and no sum; whether requests leave this machine follows from
the address as it is written, no name is looked up.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
from collections.abc import Callable
from fractions import Fraction
from urllib.parse import urlsplit

import numpy as np

from bench.api.interface import AnswerLimit
from bench.errors import UserError
from bench.plan.prices import Prices
from bench.plan.schedule import Lane, Plan, Table
from bench.plan.target import Target
from bench.units import show_usd

MILLION = 1_000_000
#: Bounds of rows are whole numbers of this part of a USD: one token at 0.000001 USD a million.
PER_USD = 10**12
#: A prompt may be billed so many tokens beyond its plan: the server's chat template, another
#: vocabulary.
PROMPT_MARGIN = 64
#: Requests that may leave this machine without --max-requests.
REMOTE_REQUESTS = 10_000
#: What may be spent beyond this machine without asking.
ASK_ABOVE_USD = Fraction(1)


def usd_of(prices: Prices, prompt_tokens: int, output_tokens: int) -> Fraction:
    """What so many tokens cost."""
    return (
        prompt_tokens * Fraction(prices.input_usd_per_million)
        + output_tokens * Fraction(prices.output_usd_per_million)
    ) / MILLION


def is_remote(endpoint: Target) -> bool:
    """Whether requests leave this machine: a name other than localhost is taken to lead
    elsewhere.
    """
    if endpoint.embedded or endpoint.unix_socket is not None:
        return False
    return leads_elsewhere(endpoint.address)


def leads_elsewhere(address: str) -> bool:
    """Whether a URL leads to another machine, as `is_remote` says it."""
    host = urlsplit(address).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


# ---- the whole plan


@dataclasses.dataclass(frozen=True)
class LaneBudget:
    """What a lane is planned to send and to cost."""

    name: str
    requests: int
    #: each row once, at the prices of the leg that it begins with; None where `unpriced`
    usd: Fraction | None
    #: the first of its targets that has no prices
    unpriced: str | None
    #: the first whose extra body asks for answers of no stated length
    unbounded: str | None
    #: a closed loop by duration: as many rows as the quickest answers would allow, maybe far fewer
    at_most: bool
    #: hosts beyond this machine that its requests go to
    hosts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Budget:
    """The lanes that are played over HTTP."""

    lanes: tuple[LaneBudget, ...]

    @property
    def usd(self) -> Fraction | None:
        """Planned cost of what leaves this machine; None where a price is not known."""
        sums = [lane.usd for lane in self.remote]
        if None in sums:
            return None
        return sum((usd for usd in sums if usd is not None), Fraction(0))

    @property
    def remote(self) -> tuple[LaneBudget, ...]:
        """Lanes whose requests leave this machine."""
        return tuple(lane for lane in self.lanes if lane.hosts)


def budget_of(plan: Plan) -> Budget:
    """The budget of a plan."""
    live = plan.live()
    return Budget(
        tuple(
            _lane_budget(lane, plan.schedule[plan.schedule["lane"] == lane.index])
            for lane in live.lanes
        )
    )


def _lane_budget(lane: Lane, rows: Table) -> LaneBudget:
    endpoints = lane.target.endpoints
    # Our own gateway is for nothing, unless its target rehearses a price.
    unpriced = next(
        (each.name for each in endpoints if each.prices is None and not each.embedded), None
    )
    hosts = tuple(
        dict.fromkeys(
            urlsplit(each.address).hostname or "" for each in endpoints if is_remote(each)
        )
    )
    closed_by_duration = lane.profile.closed_loop and lane.profile.duration is not None
    unbounded = next((each.name for each in endpoints if _answer_limit(each).unbounded), None)
    if unpriced is not None:
        usd = None
    else:
        usd = planned_usd(lane.target, rows)
    return LaneBudget(lane.name, len(rows), usd, unpriced, unbounded, closed_by_duration, hosts)


def planned_usd(target: Target, rows: Table) -> Fraction:
    """Planned tokens of schedule rows at the prices of the target, or of the legs that a route
    begins with.

    An endpoint without prices adds nothing.
    """
    total = Fraction(0)
    for number, endpoint in enumerate(target.endpoints):
        mine = rows[rows["leg"] == number] if target.legs else rows
        if endpoint.prices is not None:
            sums = (
                int(mine[column].sum(dtype=np.int64))
                for column in ("prompt_tokens", "output_tokens")
            )
            total += usd_of(endpoint.prices, *sums)
    return total


def refuse_beyond(
    budget: Budget,
    max_cost: Fraction | None,
    max_requests: int | None,
    runs: int = 1,
) -> None:
    """Hold a plan that is played `runs` times against --max-cost (USD) and --max-requests.

    Raises UserError where it costs more than the one, or could not be held to it, or sends more to
    other machines than the other (REMOTE_REQUESTS without it).
    """
    remote = budget.remote
    requests = runs * sum(lane.requests for lane in remote)
    limit = REMOTE_REQUESTS if max_requests is None else max_requests
    if requests > limit:
        why = "that go to other machines unasked" if max_requests is None else "of --max-requests"
        if any(lane.at_most for lane in remote):
            sends = "may send up to"
        else:
            sends = "sends"
        raise UserError(
            f"the plan {sends} {requests:,} requests to {_hosts(remote)}, above the {limit:,}"
            f" {why}",
            remedy=f"shorten it, or allow it with --max-requests {requests}",
        )
    if max_cost is None:
        return
    for lane in budget.lanes:
        if lane.unpriced is not None:
            raise UserError(
                f"cannot be held: target {lane.unpriced} has no prices",
                where="--max-cost",
                remedy=(
                    "add [prices] to its file (with --url: name a target file in a suite), or leave"
                    " it out"
                ),
            )
        if lane.unbounded is not None:
            raise UserError(
                f"cannot be held: the extra body of target {lane.unbounded} does not bound its"
                " answers",
                where="--max-cost",
                remedy="give their length as a number",
            )
    sure = runs * sum(
        (lane.usd for lane in budget.lanes if lane.usd is not None and not lane.at_most),
        Fraction(0),
    )
    if sure > max_cost:
        raise UserError(
            f"the plan costs {show_usd(sure)} USD by its planned tokens, above --max-cost"
            f" {show_usd(max_cost)}",
            remedy="shorten it or raise the cap",
        )


def question(budget: Budget, runs: int = 1) -> str | None:
    """What to ask before a plan is sent `runs` times; None where nothing leaves this machine, or
    for little money.
    """
    remote = budget.remote
    if not remote:
        return None
    if budget.usd is None:
        unpriced = next(lane.unpriced for lane in remote if lane.unpriced is not None)
        cost = f"at a cost that is not known (target {unpriced} has no prices)"
    elif runs * budget.usd > ASK_ABOVE_USD:
        cost = (
            f"{'at most' if any(lane.at_most for lane in remote) else 'about'}"
            f" {show_usd(runs * budget.usd)} USD"
        )
    else:
        return None
    if any(lane.at_most for lane in remote):
        most = "up to "
    else:
        most = ""
    requests = runs * sum(lane.requests for lane in remote)
    return f"Send {most}{requests:,} requests, {cost}, to {_hosts(remote)}?"


def _hosts(lanes: tuple[LaneBudget, ...]) -> str:
    names: dict[str, None] = {}
    for lane in lanes:
        names.update(dict.fromkeys(lane.hosts))
    hosts = list(names)
    text = ", ".join(hosts[:3])
    return f"{text} and {len(hosts) - 3} more" if len(hosts) > 3 else text


# ---- one row


@dataclasses.dataclass(frozen=True)
class Bound:
    """The most that a request may be billed by its planned tokens, in 1/PER_USD."""

    per_prompt: int
    per_output: int
    #: for answers whose length the extra body sets
    fixed: int = 0

    def prompt(self, planned_tokens: int) -> int:
        """The most that its prompt may cost."""
        return self.per_prompt * (planned_tokens + PROMPT_MARGIN)

    def answer(self, planned_tokens: int) -> int:
        """The most that its answer may cost."""
        return self.per_output * planned_tokens + self.fixed


def token_prices(endpoint: Target) -> tuple[int, int]:
    """What a prompt's and an answer's token cost, in 1/PER_USD, rounded up; 0 without prices."""
    prices = endpoint.prices
    if prices is None:
        return 0, 0
    return (
        math.ceil(Fraction(prices.input_usd_per_million) * PER_USD / MILLION),
        math.ceil(Fraction(prices.output_usd_per_million) * PER_USD / MILLION),
    )


def call_bound(endpoint: Target) -> Bound:
    """The bound of one call: read whole and answered to the length asked for."""
    per_prompt, per_output = token_prices(endpoint)
    limit = _answer_limit(endpoint)
    per_output *= limit.choices
    return Bound(per_prompt, per_output * limit.planned, per_output * sum(limit.lengths))


def row_bound(target: Target) -> Bound:
    """The bound of a row: every call that its route may make; where it stays on one leg, the
    dearest of them.
    """
    calls = [call_bound(endpoint) for endpoint in target.endpoints]
    route = target.route
    if route is None:
        return calls[0]
    repeats = route.retry.attempts if route.retry is not None else 1
    if route.fallback:
        gather: Callable[[list[int]], int] = sum
    else:
        gather = max
    return Bound(
        per_prompt=repeats * gather([call.per_prompt for call in calls]),
        per_output=repeats * gather([call.per_output for call in calls]),
        fixed=repeats * gather([call.fixed for call in calls]),
    )


def _answer_limit(endpoint: Target) -> AnswerLimit:
    return endpoint.spoken.answer_limit(endpoint.extra_body, endpoint.max_tokens_field)
