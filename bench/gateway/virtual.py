"""The serving model in virtual time: millions of requests without a socket.

In: requests in order of arrival. Out: each finished job, with its moments, to a callback. Must
stay true: it is the live server's model with the same seed; a client that gives up after its
timeout is part of the model, as it is part of the live run; memory holds only what is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.gateway.jobs import REFUSALS, Event, Job
from bench.gateway.scenarios import Change, Gateway, Model
from bench.gateway.serving import World

#: Names of what became of a request, as the rest of tailproof has them.
_OF_FAULT = {"reset": "reset", "truncate": "truncated", "stream_error": "stream_error"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a request ended. Moments are ns since the scenario began; -1 where there was none."""

    outcome: str
    status: int
    #: service began: what lies before is waiting
    start_ns: int
    first_ns: int
    last_ns: int
    #: when the client knew: the last token's moment, the error's, or the timeout's
    ended_ns: int
    output_tokens: int
    cached_tokens: int
    region: str
    cold: bool


class Simulation:
    """A world, and clients that give up after `timeout_ns`."""

    def __init__(self, gateway: Gateway, seed: int, ended: Callable[[Any, Ended], None], *, timeout_ns: int):
        """`ended(owner, how)` is called once a request, in order of ending; it may call `request`."""
        self._gateway, self._ended, self._timeout_ns = gateway, ended, timeout_ns
        self._world = World(gateway, seed, self._told)
        self._models: dict[str, Model] = {}
        self._deadlines: deque[tuple[int, Job]] = deque()
        self.under_way = 0

    def request(self, at_ns: int, owner: Any, model: str, prompt_tokens: int, output_tokens: int, *,
                key: str = "anonymous", region: str | None = None, blocks: tuple[int, ...] = ()) -> None:  # fmt: skip
        """A request at `at_ns`, not before the one before it. `owner` must not be None.

        Raises UserError when no entry of the scenario answers to `model`.
        """
        self.run_until(at_ns)
        entry = self._models.get(model) or self._find(model)
        allowance = self._world.take(entry, key, at_ns)
        self.under_way += 1
        job = Job(entry, prompt_tokens, output_tokens, at_ns, owner=owner, blocks=blocks)
        if allowance is not None and not allowance.allowed:
            self._end(job, "rate_limited", 429, at_ns)
        elif prompt_tokens + output_tokens > entry.context_tokens:
            self._end(job, "http_4xx", 400, at_ns)
        else:
            self._deadlines.append((at_ns + self._timeout_ns, job))
            self._world.submit(job, region)

    def change(self, change: Change, now_ns: int) -> None:
        """Add a change whose `at` counts from `now_ns`."""
        self._world.change(change, now_ns)

    def next_ns(self) -> int | None:
        """The moment of the next thing to happen; None when nothing is due."""
        due = [moment for moment in (self._world.next_ns(), self._next_deadline_ns()) if moment is not None]
        return min(due, default=None)

    def run_until(self, now_ns: int) -> None:
        """Let everything happen that is due by `now_ns`."""
        while (deadline_ns := self._next_deadline_ns()) is not None and deadline_ns <= now_ns:
            self._world.advance(deadline_ns)
            if self._deadlines and self._deadlines[0][0] == deadline_ns:
                _, job = self._deadlines.popleft()
                if job.live:
                    self._world.cancel(job, deadline_ns)
                    self._end(
                        job, "timeout_total" if 0 <= job.first_ns <= deadline_ns else "timeout_first", 0, deadline_ns
                    )
        self._world.advance(now_ns)

    def finish(self) -> None:
        """Let all requests that are under way end."""
        while self.under_way:
            moment_ns = self.next_ns()
            assert moment_ns is not None
            self.run_until(moment_ns)

    def _next_deadline_ns(self) -> int | None:
        while self._deadlines and not self._deadlines[0][1].live:
            self._deadlines.popleft()
        return self._deadlines[0][0] if self._deadlines else None

    def _find(self, name: str) -> Model:
        entry = self._gateway.match(name)
        if entry is None:
            raise UserError(f"the scenario has no model {name!r}",
                            remedy=f"there is: {', '.join(model.name for model in self._gateway.model)}")  # fmt: skip
        return self._models.setdefault(name, entry)

    def _told(self, job: Job, event: Event, due_ns: int) -> None:
        if event is Event.LAST:
            self._end(job, "malformed" if job.fault == "garbage" else "ok", 200, due_ns)
        elif event is Event.FAULT and job.fault is not None and job.fault not in ("stall", "garbage"):
            status = REFUSALS.get(job.fault, 0 if job.fault == "reset" else 200)
            self._end(job, _OF_FAULT.get(job.fault, "http_5xx"), status, due_ns)

    def _end(self, job: Job, outcome: str, status: int, now_ns: int) -> None:
        self.under_way -= 1
        owner, job.owner, job.live = job.owner, None, False
        first_ns = job.first_ns if job.first_ns <= now_ns else -1
        region = job.pool.region if status == 200 else ""
        self._ended(owner, Ended(outcome, status, job.start_ns, first_ns, now_ns if outcome == "ok" else -1, now_ns,
                                 job.emitted, job.cached_tokens, region, job.cold))  # fmt: skip
