"""Running spend of one process's rows, held under a cap.

In: rows that begin, calls that end and what their servers said of tokens. Out: whether one more row
may be sent. Must stay true: what is spent, what is under way and what is next stay together under
the cap, each call that did not end well and state its usage counted at the most that it may be
billed; a row costs a few additions of whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from bench.plan.budget import PER_USD, call_bound, row_bound, token_prices
from bench.plan.schedule import Lane, Table
from bench.record.samples import Outcome
from bench.units import show_usd

#: Calls that ended so are not billed: nothing was read, or a status said that nothing was done.
_UNBILLED = {
    Outcome.never_sent,
    Outcome.http_4xx,
    Outcome.rate_limited,
    Outcome.http_5xx,
    Outcome.refused,
    Outcome.dns,
    Outcome.tls,
    Outcome.timeout_connect,
}


def may_send(
    spent: int,
    in_flight_worst: int,
    next_worst: int,
    cap: int,
) -> bool:
    """Whether the next row may be sent: the cap holds even if all that is under way costs
    its most.
    """
    return spent + in_flight_worst + next_worst <= cap


class Spending:
    """One process's spend, in 1/PER_USD. Of several workers each holds its own part of the cap."""

    def __init__(self, lanes: Sequence[Lane], schedule: Table, cap_usd: Fraction):
        self._rows = [row_bound(lane.target) for lane in lanes]
        self._calls = [
            [call_bound(endpoint) for endpoint in lane.target.endpoints] for lane in lanes
        ]
        self._prices = [
            [token_prices(endpoint) for endpoint in lane.target.endpoints] for lane in lanes
        ]
        self._schedule = schedule
        self.cap = math.floor(cap_usd * PER_USD)
        self.spent = self.in_flight = 0
        #: rows under way: the most they may cost, and what their ended calls did
        self._open: dict[int, list[int]] = {}
        # A server may bill more than it was asked for: the worst ratio seen is feared of all that
        # follows.
        self._feared = (1, 1)

    def begin(self, row: int) -> bool:
        """Set the most that the row may cost aside; False where the cap does not allow it."""
        lane, prompt, output = self._planned(row)
        bound = self._rows[lane]
        most = bound.prompt(prompt) + bound.answer(output)
        over, under = self._feared
        if not may_send(
            self.spent,
            -(-self.in_flight * over // under),
            -(-most * over // under),
            self.cap,
        ):
            return False
        self.in_flight += most
        self._open[row] = [most, 0]
        return True

    def called(
        self,
        row: int,
        leg: int,
        outcome: Outcome,
        prompt_tokens: int,
        output_tokens: int,
    ) -> None:
        """A call of the row that was sent has ended; tokens as the server's usage has them, -1
        where it said nothing.
        """
        if row not in self._open or outcome in _UNBILLED:
            return
        if outcome not in (Outcome.ok, Outcome.wrong_answer):
            # Usage that came before the end is not what will be billed.
            prompt_tokens = output_tokens = -1
        lane, prompt, output = self._planned(row)
        per_prompt, per_output = self._prices[lane][leg]
        bound = self._calls[lane][leg]
        if prompt_tokens >= 0:
            usd = per_prompt * prompt_tokens
        else:
            usd = bound.prompt(prompt)
        usd += per_output * output_tokens if output_tokens >= 0 else bound.answer(output)
        self._open[row][1] += usd

    def ended(self, row: int) -> None:
        """The row is over: what it cost is spent, what was set aside is free."""
        most, usd = self._open.pop(row, (0, 0))
        self.in_flight -= most
        self.spent += usd
        over, under = self._feared
        if usd * under > over * most:
            self._feared = (usd, most)

    @property
    def cap_usd(self) -> Fraction:
        """This process's part of the cap."""
        return Fraction(self.cap, PER_USD)

    @property
    def spent_usd(self) -> Fraction:
        """What was spent at most: calls without usage stand at their bound."""
        return Fraction(self.spent, PER_USD)

    @property
    def text(self) -> str:
        """Why no more is sent."""
        reserved = Fraction(self.in_flight, PER_USD)
        return (
            f"the spending cap: {show_usd(self.spent_usd)} USD are spent and {show_usd(reserved)}"
            f" USD may still be billed for requests under way, of {show_usd(self.cap_usd)} USD"
        )

    def _planned(self, row: int) -> tuple[int, int, int]:
        planned = self._schedule[row]
        return int(planned["lane"]), int(planned["prompt_tokens"]), int(planned["output_tokens"])
