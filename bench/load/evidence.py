"""What a vendor can be asked about afterwards: its own names of requests that failed or were slow,
and the least that it left of the buyer's limits.

In: requests that ended. Out: a `LaneEvidence` a lane. Must stay true: bounded, whatever the run's
length; a name is kept without secrets and of bounded length.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from bench.api.cause import Cause
from bench.load.request import Request
from bench.record.parts import FAILED_MOST, SLOW_MOST
from bench.record.records.served import LaneEvidence
from bench.record.samples import Outcome

#: As much of a name as is looked at.
_NAME_MOST = 400


def end_of(request: Request) -> int:
    """The moment of a request's last token, else of its last byte."""
    answer = request.answer
    if answer is not None and answer.last_token_ns >= 0:
        return answer.last_token_ns
    return request.done_ns


class _Lane:
    """One lane's; names are still as they came."""

    __slots__ = ("failed", "requests_left", "slow", "tokens_left")

    def __init__(self) -> None:
        self.requests_left = self.tokens_left = -1
        #: cause -> (row, name), the first ones
        self.failed: dict[Cause, list[tuple[int, bytes]]] = {}
        #: (response ns, row, name), a heap with the least slow on top
        self.slow: list[tuple[int, int, bytes]] = []


class Evidence:
    """What is kept while the run lasts."""

    def __init__(self, lanes: int):
        self._lanes = [_Lane() for _ in range(lanes)]
        #: whether something came since it was last asked for
        self.changed = False

    def note(self, request: Request, outcome: Outcome, note: str, t0: int, lane_index: int) -> None:
        """A request ended whose vendor said its name or what is left."""
        lane = self._lanes[lane_index]
        if request.requests_left >= 0 and not 0 <= lane.requests_left <= request.requests_left:
            lane.requests_left = request.requests_left
            self.changed = True
        if request.tokens_left >= 0 and not 0 <= lane.tokens_left <= request.tokens_left:
            lane.tokens_left = request.tokens_left
            self.changed = True
        name = request.request_id
        if not name:
            return
        if outcome is Outcome.ok:
            took_ns = end_of(request) - t0 - request.due_ns
            found = (took_ns, request.row, name[:_NAME_MOST])
            if len(lane.slow) < SLOW_MOST:
                heapq.heappush(lane.slow, found)
                self.changed = True
            elif took_ns > lane.slow[0][0]:
                heapq.heapreplace(lane.slow, found)
                self.changed = True
        elif outcome is not Outcome.censored:
            failed = lane.failed.setdefault(request.cause(outcome, note), [])
            if len(failed) < FAILED_MOST:
                failed.append((request.row, name[:_NAME_MOST]))
                self.changed = True

    def copy(self) -> Evidence:
        """As it is now, for another thread."""
        other = Evidence(0)
        for lane in self._lanes:
            kept = _Lane()
            kept.requests_left, kept.tokens_left = lane.requests_left, lane.tokens_left
            kept.failed = {cause: list(pairs) for cause, pairs in lane.failed.items()}
            kept.slow = list(lane.slow)
            other._lanes.append(kept)
        self.changed = False
        return other

    def records(self, clean: Callable[[str], str]) -> list[LaneEvidence]:
        """As it is kept; `clean` removes secrets and what is too long."""

        def text(name: bytes) -> str:
            return clean(name.decode("latin-1"))

        return [
            LaneEvidence(
                requests_left=lane.requests_left if lane.requests_left >= 0 else None,
                tokens_left=lane.tokens_left if lane.tokens_left >= 0 else None,
                failed={
                    cause: [(row, text(name)) for row, name in pairs]
                    for cause, pairs in lane.failed.items()
                },
                slow=[(took, row, text(name)) for took, row, name in sorted(lane.slow)[::-1]],
            )
            for lane in self._lanes
        ]
