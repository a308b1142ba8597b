"""A request on its way through the serving model, and its events.

In: what was asked for. Out: the record that pools write their moments into. Must stay true:
moments are ns since the scenario began; a job ends once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from bench.gateway.scenarios import FaultKind, Model, Pool

#: Faults that come in place of an answer, and the status of those that have one, as OpenAI has it.
REFUSALS: dict[str, int] = {
    "http_500": 500,
    "http_502": 502,
    "http_503": 503,
    "overload": 503,
    "capacity": 429,
}
INSTEAD = {*REFUSALS, "reset"}
#: How many times as long the rest of an answer takes after its first token.
SLOW_TAIL = 10


class Event(IntEnum):
    """What happens to a job, in this order; FAULT in place of any.

    All but LAST and FAULT may be missing.
    """

    START = 0
    TOKEN = 1
    LAST = 2
    FAULT = 3


class Job:
    """One request. Only pools and the world write to it."""

    __slots__ = (
        "arrived_ns",
        "blocks",
        "cached_tokens",
        "cold",
        "distance_ns",
        "emitted",
        "fault",
        "fault_at",
        "first_ns",
        "first_step",
        "gap_max_ns",
        "held",
        "last_ns",
        "live",
        "model",
        "output_tokens",
        "owner",
        "place",
        "pool",
        "prefill_left",
        "prompt_tokens",
        "queued",
        "start_ns",
        "stream",
    )

    def __init__(
        self,
        model: Model,
        prompt_tokens: int,
        output_tokens: int,
        arrived_ns: int,
        *,
        owner: Any,
        stream: bool = False,
        blocks: tuple[int, ...] = (),
    ):
        """`owner` gets the job's events (None: nobody does); with `stream` one for each token, else
        the last alone.

        `blocks` are chained hashes of the prompt's blocks, for pools with a prefix cache.
        """
        self.model = model
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.arrived_ns = arrived_ns
        self.owner = owner
        self.stream = stream
        self.blocks = blocks
        self.pool: Pool
        self.distance_ns = 0
        #: service began; the moments at which the first and the last token are due at the client;
        #: -1 not known
        self.start_ns = self.first_ns = self.last_ns = -1
        self.emitted = self.cached_tokens = self.prefill_left = self.first_step = 0
        #: the longest gap between two of its tokens, where an engine wrote them; -1: they are
        #: spread evenly
        self.gap_max_ns = -1
        #: the engine that runs it, where its pool has engines
        self.place: Any = None
        #: still wanted by its client
        self.live = True
        #: waiting for a slot
        self.queued = False
        #: occupying a slot
        self.held = False
        #: waited for a cold start
        self.cold = False
        self.fault: FaultKind | None = None
        #: the token that the fault strikes in place of; -1 where it strikes no token
        self.fault_at = -1

    @property
    def cut_short(self) -> bool:
        """True when a fault ends the answer at `fault_at`; garbage does not end it."""
        return self.fault_at >= 0 and self.fault != "garbage"

    def token_ns(self, index: int) -> int:
        """The moment of token `index`, from 0, where tokens are spread evenly from first to
        last.
        """
        if index == 0 or self.output_tokens == 1:
            return self.first_ns
        return self.first_ns + (self.last_ns - self.first_ns) * index // (self.output_tokens - 1)

    def tokens_by(self, now_ns: int) -> int:
        """How many tokens had come by then, where they are spread evenly and the last one's moment
        is known.
        """
        if not 0 <= self.first_ns <= now_ns:
            return 0
        most = self.output_tokens
        steps = most - 1
        whole_ns = self.last_ns - self.first_ns
        if steps and whole_ns > 0:
            most = min(most, 1 + ((now_ns - self.first_ns + 1) * steps - 1) // whole_ns)
        if self.cut_short:
            return min(most, self.fault_at)
        return most

    def strike(self, fault: FaultKind) -> None:
        """Give the job a fault: in place of the answer, or of the token at its middle."""
        self.fault = fault
        if fault not in INSTEAD and fault != "slow_tail":
            self.fault_at = self.output_tokens // 2
