"""What ends a run before its plan does: the spending cap, a host that keeps refusing, and first
answers that all say that key, model, body or URL are wrong.

In: rows about to leave one process, and what became of them. Out: the row sent or not, and once
the reason why nothing more is. Must stay true: a row that the cap does not allow never reaches a
socket; the rule about refusing hosts is for hosts beyond this machine alone; an open loop is ended,
never slowed.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from pydantic import TypeAdapter

from bench.load.endpoint import LaneSender
from bench.load.request import Attempt, Request
from bench.load.spending import Spending
from bench.plan.budget import is_remote
from bench.plan.schedule import Lane, Table
from bench.record.samples import FIRST_REFUSED, OURS_TO_MEND, Outcome
from bench.units import S, show_duration, show_share

#: A host refuses when, over this time, at least so many rows ended and this share of them with 429
#: or 5xx.
SUSTAINED_NS, FEWEST, REFUSED_SHARE = 30 * S, 20, Fraction(9, 10)
_REFUSED = {Outcome.rate_limited, Outcome.http_5xx}
#: Ends that are no answer of the host's.
_OURS = {Outcome.never_sent, Outcome.censored}


def should_stop(refused: int, ended: int, watched_ns: int) -> bool:
    """The stop rule: `refused` of `ended` rows within the last SUSTAINED_NS, watched for
    `watched_ns`.
    """
    return watched_ns >= SUSTAINED_NS and ended >= FEWEST and refused >= REFUSED_SHARE * ended


class Recent:
    """How the rows of one lane ended within the last SUSTAINED_NS."""

    def __init__(self) -> None:
        self._ends: deque[tuple[int, bool]] = deque()
        self._first_ns: int | None = None
        self.refused = 0

    def add(self, now_ns: int, outcome: Outcome) -> bool:
        """A row has ended; True when the lane should be left alone."""
        self._first_ns = now_ns if self._first_ns is None else self._first_ns
        self._ends.append((now_ns, outcome in _REFUSED))
        self.refused += outcome in _REFUSED
        while self._ends[0][0] < now_ns - SUSTAINED_NS:
            self.refused -= self._ends.popleft()[1]
        return should_stop(self.refused, len(self._ends), now_ns - self._first_ns)

    @property
    def text(self) -> str:
        """Of what the rule was broken by."""
        share = show_share(Fraction(self.refused, len(self._ends)), 0)
        return (
            f"{share} of {len(self._ends):,} requests in {show_duration(SUSTAINED_NS)} ended with"
            " HTTP 429 or 5xx"
        )


class FirstAnswers:
    """Of one lane, until something is served: how many answers in a row said the same of ours."""

    def __init__(self) -> None:
        self._status = self._alike = 0

    def add(self, request: Request, outcome: Outcome, note: str) -> bool:
        """A row has ended before anything was served; True when enough were refused alike."""
        if outcome is not Outcome.http_4xx or request.cause(outcome, note) not in OURS_TO_MEND:
            self._alike = 0
            return False
        self._alike = self._alike + 1 if request.status == self._status else 1
        self._status = request.status
        return self._alike >= FIRST_REFUSED


@dataclasses.dataclass(frozen=True)
class Caps:
    """What a run is held to while it lasts, beside its plan."""

    cost_usd: Fraction | None = None
    #: hosts that keep refusing, and first answers that all refuse what is asked, end the run
    stop_rule: bool = False
    #: such first answers alone
    first_answers: bool = False

    def part(self, workers: int) -> Caps:
        """Of one of so many workers: an equal part of the money, the rule whole."""
        if self.cost_usd is None:
            return self
        return dataclasses.replace(self, cost_usd=self.cost_usd / workers)


UNCAPPED = Caps()
#: Caps as plain JSON, and back.
CAPS = TypeAdapter(Caps)


class Guard:
    """One process's.

    `notify` is called once with why nothing more is sent, before the refused row ends as never
    sent.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        schedule: Table,
        caps: Caps,
        notify: Callable[[str], None],
    ):
        """`caps` are this process's part; `notify` must see to it that no row comes up any more."""
        self._lanes = lanes
        self._notify = notify
        if caps.cost_usd is None:
            self._spending = None
        else:
            self._spending = Spending(lanes, schedule, caps.cost_usd)
        self._recent = {
            lane.index: Recent()
            for lane in lanes
            if caps.stop_rule and any(is_remote(endpoint) for endpoint in lane.target.endpoints)
        }
        asked = lanes if caps.stop_rule or caps.first_answers else ()
        self._first = {lane.index: FirstAnswers() for lane in asked}
        self.why: str | None = None

    def begin(self, row: int) -> bool:
        """Whether the row may be sent; if so, it counts as under way."""
        if self.why is None and self._spending is not None and not self._spending.begin(row):
            self._stop(self._spending.text)
        return self.why is None

    def called(self, attempt: Attempt) -> None:
        """A call of a route has ended; called before its row ends."""
        self._bill(attempt, attempt.leg, attempt.outcome)

    def ended(self, request: Request, outcome: Outcome, note: str, lane: int) -> None:
        """A row has ended."""
        self._look_at_first(request, outcome, note, lane)
        if self._lanes[lane].target.route is None:
            self._bill(request, 0, outcome)
        if self._spending is not None:
            self._spending.ended(request.row)
        recent = self._recent.get(lane)
        if (
            recent is not None
            and outcome not in _OURS
            and recent.add(request.done_ns, outcome)
            and self.why is None
        ):
            self._stop(f"{self._lanes[lane].name}: {recent.text} (--no-stop-rule goes on)")

    def _look_at_first(self, request: Request, outcome: Outcome, note: str, lane: int) -> None:
        first = self._first.get(lane)
        if first is None:
            return
        if outcome is Outcome.ok:
            del self._first[lane]
        elif first.add(request, outcome, note) and self.why is None:
            name = self._lanes[lane].name
            self._stop(f"{name}: {FIRST_REFUSED} answers alike and nothing served: {note}")

    def facts(self) -> dict[str, Any]:
        """For the manifest: the cap and what was spent of it at most, in USD; the lanes under the
        stop rule.
        """
        spending = self._spending
        if spending is not None:
            spent = {"cap_usd": spending.cap_usd, "spent_usd": spending.spent_usd}
        else:
            spent = {}
        return {
            **{name: float(usd) for name, usd in spent.items()},
            "stop_rule": [self._lanes[lane].name for lane in self._recent],
        }

    def _bill(self, call: Request, leg: int, outcome: Outcome) -> None:
        if self._spending is not None and call.sent_ns >= 0:
            if call.answer is None:
                usage = (-1, -1)
            else:
                usage = (call.answer.prompt_tokens, call.answer.output_tokens)
            self._spending.called(call.row, leg, outcome, *usage)

    def _stop(self, why: str) -> None:
        self.why = why
        self._notify(why)


class Guarded:
    """A sender behind the guard."""

    __slots__ = ("_clock", "_guard", "_sender")

    def __init__(self, sender: LaneSender, guard: Guard, clock: Callable[[], int]):
        self._sender = sender
        self._guard = guard
        self._clock = clock

    def send(self, request: Request, request_id: str) -> None:
        """Begin; or end it as never sent, without the slot that would make that our own failure."""
        if self._guard.begin(request.row):
            self._sender.send(request, request_id)
            return
        request.slot_free_ns = -1
        request.fail(Outcome.never_sent, f"not sent: {self._guard.why}", self._clock())

    def send_again(
        self,
        request: Request,
        note: str,
        now_ns: int,
        request_id: str,
    ) -> bool:
        """As the sender behind has it: a request that was refused for an option cost nothing."""
        return self._sender.send_again(request, note, now_ns, request_id)

    async def close(self) -> None:
        """Close every connection."""
        await self._sender.close()

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""
        return self._sender.facts()
