"""The serving model on a clock of its own: millions of requests without a socket.

In: requests in order of arrival. Out: each finished job, with its moments, to a callback. Must
stay true: it is the live server's model with the same seed; a client that gives up after its
timeout is part of the model, as it is part of the live run; memory holds only what is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.errors import UserError
from bench.gateway.jobs import REFUSALS, Event, Job
from bench.gateway.keys import KeyBook
from bench.gateway.pools import NEVER_NS, Action
from bench.gateway.scenarios import Change, Gateway, Model
from bench.gateway.serving import World
from bench.gateway.wire import RequestError

#: Names of what became of a request, as the rest of tailproof has them.
_OF_FAULT = {
    "capacity": "rate_limited",
    "reset": "reset",
    "truncate": "truncated",
    "stream_error": "stream_error",
    "stream_overload": "stream_error",
}


class Ended(NamedTuple):
    """How a request ended. Moments are ns since the scenario began; -1 where there was none."""

    outcome: str
    status: int
    sent_ns: int
    #: service began: what lies before is waiting
    start_ns: int
    #: the answer's head reached a client that streams
    head_ns: int
    first_ns: int
    #: the last token of an answer, or of what came of it
    last_ns: int
    #: when the client knew: the last token's moment, the error's, or the timeout's
    ended_ns: int
    #: tokens that came
    output_tokens: int
    #: -1 where the pool has no prefix cache
    cached_tokens: int
    #: the longest gap between two tokens; -1: spread evenly, or none
    gap_max_ns: int
    #: until one more request may pass, of one that was turned away for its rate; else -1
    retry_after_ns: int
    region: str
    cold: bool


class Caller(NamedTuple):
    """Who sends a request; None: the simulation's own timeout, no region asked for."""

    key: str = "anonymous"
    timeout_ns: int | None = None
    region: str | None = None


ANONYMOUS = Caller()


class Simulation:
    """A world, and clients that give up after their timeout."""

    def __init__(
        self,
        gateway: Gateway,
        seed: int,
        ended: Callable[[Any, Ended], None],
        *,
        timeout_ns: int,
    ):
        """`ended(owner, how)` is called once a request, in order of ending; it may call `later`.

        `timeout_ns` is that of requests which name none.
        """
        self._gateway = gateway
        self._ended = ended
        self._timeout_ns = timeout_ns
        self._world = World(gateway, seed, self._on_event)
        self._keys = KeyBook(gateway.key_lifetime)
        self._keyed = gateway.require_key or gateway.key_lifetime is not None
        self._models: dict[str, Model] = {}
        #: by timeout, so that each queue is in order; a job that has ended leaves at its head
        self._deadlines: dict[int, deque[tuple[int, Job]]] = {}
        self.under_way = 0

    def request(
        self,
        at_ns: int,
        owner: Any,
        model: str,
        prompt_tokens: int,
        output_tokens: int,
        *,
        caller: Caller = ANONYMOUS,
        blocks: tuple[int, ...] = (),
    ) -> None:
        """A request at `at_ns`, not before the one before it. `owner` must not be None.

        Raises UserError when no entry of the scenario answers to `model`.
        """
        world = self._world
        if not world.advancing:
            self.run_until(at_ns)
        entry = self._models.get(model) or self._find(model)
        self.under_way += 1
        job = Job(entry, prompt_tokens, output_tokens, at_ns, owner=owner, blocks=blocks)
        if self._keyed and self._refused_key(caller.key, at_ns):
            self._end(job, "http_4xx", 401, at_ns)
            return
        allowance = world.take(entry, caller.key, at_ns)
        if allowance is not None and not allowance.allowed:
            self._end(job, "rate_limited", 429, at_ns, allowance.retry_after_ns)
        elif prompt_tokens + output_tokens > entry.context_tokens:
            self._end(job, "http_4xx", 400, at_ns)
        else:
            wait_ns = self._timeout_ns if caller.timeout_ns is None else caller.timeout_ns
            deadlines = self._deadlines.get(wait_ns)
            if deadlines is None:
                deadlines = self._deadlines[wait_ns] = deque()
            deadline_ns = at_ns + wait_ns
            deadlines.append((deadline_ns, job))
            world.until_ns = min(world.until_ns, deadline_ns)
            world.submit(job, caller.region)

    def _refused_key(self, key: str, at_ns: int) -> bool:
        if self._gateway.require_key and key == ANONYMOUS.key:
            return True
        try:
            self._keys.take(key, at_ns)
        except RequestError:
            return True
        return False

    def later(self, at_ns: int, action: Action, subject: Any) -> None:
        """Call `action(at_ns, subject)` when time has come to `at_ns`; it counts as under way until
        then.
        """
        self.under_way += 1
        self._world.push(at_ns, self._wake, (action, subject))

    def _wake(self, due_ns: int, what: tuple[Action, Any]) -> None:
        self.under_way -= 1
        action, subject = what
        action(due_ns, subject)

    @property
    def now_ns(self) -> int:
        """How far time has come."""
        return self._world.until_ns

    def change(self, change: Change, now_ns: int) -> None:
        """Add a change whose `at` counts from `now_ns`."""
        self._world.change(change, now_ns)

    def next_ns(self) -> int | None:
        """The moment of the next thing to happen; None when nothing is due."""
        moment_ns = self._next_deadline()[0]
        due_ns = self._world.next_ns()
        if due_ns is not None:
            moment_ns = min(moment_ns, due_ns)
        return moment_ns if moment_ns < NEVER_NS else None

    def run_until(self, now_ns: int) -> None:
        """Let everything happen that is due by `now_ns`."""
        while True:
            deadline_ns, wait_ns = self._next_deadline()
            if deadline_ns <= now_ns:
                self._world.advance(deadline_ns)
                # what happened meanwhile may have ended this job, or begun one that gives up sooner
                if self._next_deadline() == (deadline_ns, wait_ns):
                    self._give_up(self._deadlines[wait_ns].popleft()[1], deadline_ns)
                continue
            self._world.advance(now_ns)
            if self._world.until_ns == now_ns:
                return

    def finish(self, until_ns: int | None = None) -> None:
        """Let all requests that are under way end; with `until_ns`, censor those that have not
        ended by then.
        """
        while self.under_way:
            moment_ns = self.next_ns()
            assert moment_ns is not None
            if until_ns is not None and moment_ns > until_ns:
                self.run_until(until_ns)
                self.cut_off(until_ns)
                return
            self.run_until(moment_ns)

    def cut_off(self, now_ns: int) -> None:
        """End every request under way as censored; nothing may happen after this."""
        for deadlines in self._deadlines.values():
            for _, job in deadlines:
                if job.live:
                    self._end(job, "censored", 0, now_ns)

    def _next_deadline(self) -> tuple[int, int]:
        """When the next client gives up, and its timeout; NEVER_NS where none waits."""
        nearest = (NEVER_NS, 0)
        for wait_ns, deadlines in self._deadlines.items():
            while deadlines and not deadlines[0][1].live:
                deadlines.popleft()
            if deadlines and deadlines[0][0] < nearest[0]:
                nearest = (deadlines[0][0], wait_ns)
        return nearest

    def _give_up(self, job: Job, now_ns: int) -> None:
        self._world.cancel(job, now_ns)
        self._end(
            job,
            "timeout_total" if 0 <= job.first_ns <= now_ns else "timeout_first",
            0,
            now_ns,
        )

    def _find(self, name: str) -> Model:
        entry = self._gateway.match(name)
        if entry is None:
            raise UserError(
                f"the scenario has no model {name!r}",
                remedy=f"there is: {', '.join(model.name for model in self._gateway.model)}",
            )
        return self._models.setdefault(name, entry)

    def _on_event(self, job: Job, event: Event, due_ns: int) -> None:
        if event is Event.LAST:
            self._end(job, "malformed" if job.fault == "garbage" else "ok", 200, due_ns)
        elif (
            event is Event.FAULT and job.fault is not None and job.fault not in ("stall", "garbage")
        ):
            status = REFUSALS.get(job.fault, 0 if job.fault == "reset" else 200)
            self._end(job, _OF_FAULT.get(job.fault, "http_5xx"), status, due_ns)

    def _end(
        self,
        job: Job,
        outcome: str,
        status: int,
        now_ns: int,
        retry_after_ns: int = -1,
    ) -> None:
        self.under_way -= 1
        owner = job.owner
        job.owner = None
        job.live = False
        first_ns = job.first_ns
        last_ns = job.last_ns
        tokens = job.emitted
        cached = -1
        head_ns = job.start_ns + job.distance_ns
        region = ""
        if job.start_ns < 0 or head_ns > now_ns:
            head_ns = first_ns = last_ns = -1
            tokens = 0
        else:
            region = job.pool.region
            if job.pool.batch is not None:
                cached = job.cached_tokens
            if first_ns > now_ns:
                first_ns = last_ns = -1
                tokens = 0
            elif outcome != "ok" and job.pool.batch is None:
                tokens = job.tokens_by(now_ns)
                if tokens:
                    last_ns = job.token_ns(tokens - 1)
                else:
                    last_ns = -1
        self._ended(
            owner,
            Ended(
                outcome,
                status,
                job.arrived_ns,
                job.start_ns,
                head_ns,
                first_ns,
                last_ns,
                now_ns,
                tokens,
                cached,
                job.gap_max_ns,
                retry_after_ns,
                region,
                job.cold,
            ),
        )
