"""One recorded call after the other, played through a router's live decisions.

In: a lane of a finished run, a route of two legs. Out: the lane's calls, and what the route would
have done with each of them. Must stay true: what happens next is decided by
`load/route_decisions` alone; no row is drawn, moved or left out but for warm-up and rows whose end
is not known; a call that is cut short is billed for its prompt and for the tokens that had come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bench.judge.compare.arms import Arm, arm_of
from bench.judge.reached import undecided
from bench.judge.spend import spend_of
from bench.load.route_decisions import Begin, Expire, Finish, LegState, RouteDecisions
from bench.plan.prices import Prices
from bench.plan.route import Route
from bench.record.records.manifest import LaneRecord, LegRecord
from bench.record.run_folder import Run
from bench.record.samples import Bool, Columns, Float, Int, Outcome, end_ns

#: Later than anything that happens (ns).
NEVER = 1 << 60


@dataclasses.dataclass(frozen=True)
class Calls:
    """A lane's judged rows as calls. Arrays are twins; moments in ns after the call began."""

    arm: Arm
    #: from due to the call's beginning: behind the in-flight cap
    wait_ns: Int
    took_ns: Int
    outcome: Int
    #: first and last token; both 0 where none came in time
    first_ns: Int
    last_ns: Int
    #: what the whole call cost, and its prompt and all its output apart; None without a price
    paid_usd: Float | None
    prompt_usd: Float
    output_usd: Float
    #: why there is no price
    unpriced: str | None
    #: place among the rows of the lane, and planned (prompt, output) tokens
    place: Int
    sizes: Int
    #: run folder and stage: rows of one stage may be paired
    where: tuple[str, str]
    timeout_ns: int
    routed: bool
    #: calls that were made for each row: more than one on a route
    attempts: Int

    def __len__(self) -> int:
        return len(self.took_ns)

    @property
    def ok(self) -> Bool:
        """Mask of the calls that were answered."""
        mask: Bool = self.outcome == Outcome.ok
        return mask

    def usd(self, rows: Int, until_ns: Int) -> Float:
        """What calls cost that are cancelled `until_ns` after they began; whole where they had
        ended by then.

        A cancelled call is billed for its prompt and for the tokens that had come; tokens are taken
        to come evenly between the first and the last.
        """
        assert self.paid_usd is not None
        first = self.first_ns[rows]
        last = self.last_ns[rows]
        come = np.clip((until_ns - first) / np.maximum(last - first, 1), 0, 1) * (last > 0)
        cut: Float = self.prompt_usd[rows] + come * self.output_usd[rows]
        return np.where(until_ns >= self.took_ns[rows], self.paid_usd[rows], cut)


def calls_of(run: Run, index: int) -> Calls:
    """The calls of one lane: measured rows whose end is known."""
    lane = run.lanes[index]
    mine = run.columns.lane(index)
    keep = ~mine.schedule["warmup"] & ~undecided(mine)
    rows = mine.where(keep)
    samples = rows.samples
    schedule = rows.schedule
    connecting = np.maximum(samples["connect_ns"], 0) + np.maximum(samples["tls_ns"], 0)
    begun = np.maximum(samples["due_ns"], samples["slot_free_ns"] - connecting)
    ended = np.where(rows.ok, end_ns(samples), samples["done_ns"])
    streamed = samples["last_token_ns"] >= 0
    paid, unpriced = _paid(run, index)
    prompt_usd, output_usd = _token_usd(rows, lane.prices)
    return Calls(
        arm=arm_of(run, index, "e2e"),
        wait_ns=begun - samples["due_ns"],
        took_ns=np.maximum(ended - begun, 0),
        outcome=samples["outcome"].astype(np.int64),
        first_ns=np.where(streamed, np.maximum(samples["first_token_ns"] - begun, 0), 0),
        last_ns=np.where(streamed, np.maximum(samples["last_token_ns"] - begun, 0), 0),
        paid_usd=None if paid is None else paid[keep],
        prompt_usd=prompt_usd,
        output_usd=output_usd,
        unpriced=unpriced,
        place=np.flatnonzero(keep),
        sizes=np.column_stack([schedule["prompt_tokens"], schedule["output_tokens"]]),
        where=(str(run.folder.resolve()), lane.stage),
        timeout_ns=lane.timeout_ns or 0,
        routed=bool(lane.route),
        attempts=samples["attempts"].astype(np.int64),
    )


def _paid(run: Run, index: int) -> tuple[Float | None, str | None]:
    """USD of every row of a lane, or why there are none."""
    found = spend_of(run, index)
    if isinstance(found, str):
        return None, found
    lane = run.lanes[index]
    legs: Sequence[LaneRecord | LegRecord] = lane.legs or [lane]
    for leg in legs:
        prices = leg.prices
        if prices and not (prices.input_usd_per_million or prices.output_usd_per_million):
            return None, f"target {leg.name} has a price of zero"
    return found.paid, None


def _token_usd(rows: Columns, prices: Prices | None) -> tuple[Float, Float]:
    """USD of each row's prompt (the server's usage, else as planned) and of its output; 0 without a
    price.
    """
    prompt = np.where(
        rows.samples["prompt_tokens"] >= 0,
        rows.samples["prompt_tokens"],
        rows.schedule["prompt_tokens"],
    )
    output = np.maximum(rows.samples["output_tokens"], 0)
    if prices is None:
        return prompt * 0.0, output * 0.0
    prompt_usd = prices.input_usd_per_million
    output_usd = prices.output_usd_per_million
    return prompt * (float(prompt_usd) / 1e6), output * (float(output_usd) / 1e6)


@dataclasses.dataclass(frozen=True)
class Fates:
    """Of each row of the default, ns after it was due, NEVER where it does not happen: as if the
    fallback never ended.

    The row's answer is then the earlier of `answer_ns` and the fallback's own, begun at
    `second_ns`.
    """

    #: the fallback is called
    second_ns: Int
    #: the default's own answer ends the row
    answer_ns: Int
    #: the default's call is given up
    cut_ns: Int


def fates(route: Route, calls: Calls) -> Fates:
    """Play every row's call through the live decisions."""
    legs = [LegState(None, lambda *_: None) for _ in route.legs]
    slower_than = route.sequential.slower_than if route.sequential else None
    moments = (route.step_ns, slower_than, route.hedge.after if route.hedge else None)
    # What is answered before the first of the route's moments ends its row: nothing is left to
    # decide.
    calm = calls.ok & (
        calls.took_ns < min((moment for moment in moments if moment is not None), default=NEVER)
    )
    begun = calls.wait_ns
    ended = calls.wait_ns + calls.took_ns
    found = np.full((3, len(calls)), NEVER)
    found[1, calm] = ended[calm]
    for row in np.flatnonzero(~calm):
        found[:, row] = fate(
            route,
            legs,
            int(begun[row]),
            int(ended[row]),
            Outcome(calls.outcome[row]),
        )
    return Fates(*found)


def fate(
    route: Route,
    legs: Sequence[LegState],
    begun_ns: int,
    ended_ns: int,
    outcome: Outcome,
) -> tuple[int, int, int]:
    """(fallback called, answered by the default, default given up) of one row whose fallback never
    ends.
    """
    decisions = RouteDecisions(route, legs, (NEVER, NEVER), 0, NEVER)
    second = answer = cut = NEVER
    own: int | None = ended_ns
    now = begun_ns
    actions = decisions.begin(begun_ns)
    while True:
        for action in actions:
            if isinstance(action, Begin) and action.number > 1:
                second = action.at_ns
            elif isinstance(action, Finish) and action.number == 1:
                answer = now  # not a failure: after one the second leg is called
        wake = decisions.wake_ns()
        if any(isinstance(action, Expire) for action in actions):
            cut = now
            own = None
            actions = decisions.ended(1, Outcome.timeout_first, now)
        elif own is not None and not decisions.done and (wake is None or own <= wake):
            now, own = own, None
            actions = decisions.ended(1, outcome, now)
        elif wake is not None and wake < NEVER:
            now = wake
            actions = decisions.wake(wake)
        else:
            return second, answer, cut
