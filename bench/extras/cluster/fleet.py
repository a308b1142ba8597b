"""The driver's side of a run on many nodes: prepare, compare clocks, agree on an instant, listen,
end.

In: agents and what each is to play. Out: a folder a shard, as its node's was when it last answered,
and what became of the node. Must stay true: no engine is known here; the way of a request never
leads through here; a node that is lost or silent ends neither the run nor the record, and takes
nobody's place; nobody begins later than the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as NoAnswer
from pathlib import Path
from typing import Any

from bench.clock import monotonic_ns, sleep_s, wall_offset_ns
from bench.errors import TargetUnreachable, UserError
from bench.extras.cluster.agent import READY_S, Agent, part_of
from bench.extras.cluster.node import AgentLost, Job, Offset, RemoteAgent, offset_of
from bench.extras.cluster.outbox import Inbox
from bench.load.player import Counters, OnTick
from bench.record.parts import Part
from bench.units import S, show_duration

#: Questions for a clock: the quickest of them bound it.
ROUND_TRIPS = 25
#: From the moment that all are ready to the run's time zero: the word has to reach them, one after
#: the other.
LEAD_NS, LEAD_A_SEAT_NS = 1 * S, 5_000_000
#: An agent that was silent for so long is given up.
SILENCE_NS = 30 * S
_HELLO_S = 60.0
#: An agent is asked this often, so that what it seals twice a second is here within a second of its
#: end; more rarely where there are many, for a question and its answer take some of the driver's
#: core.
_ASK_EVERY_NS, _ASK_AN_AGENT_NS = S // 4, 2_000_000
_TICK_S = 0.05
#: What is asked of an agent that may be gone is waited for so long.
_LAST_WORD_S = 10.0


@dataclasses.dataclass
class RemotePart:
    """One shard, as the driver sees it."""

    agent: RemoteAgent
    job: Job
    #: where its files are put down; None where driver and nodes see one folder
    inbox: Inbox | None = None
    #: its folder, here
    folder: Path = Path()
    #: its folder, there
    node_folder: str = ""
    clock: Offset | None = None
    clock_after: Offset | None = None
    #: the question that it owes an answer to, when it was asked, when the next one is due
    pending: Future[Any] | None = None
    asked_ns: int = 0
    next_ns: int = 0
    ended: bool = False
    #: whether its process said that it came to its own end
    at_its_end: bool = False
    #: what it said when it could not go on
    refused: str | None = None
    #: why nothing more is to be had of it
    lost: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self.ended or self.lost is not None

    @property
    def node(self) -> str:
        """What its node is called."""
        return self.agent.place.node

    def part(self) -> Part:
        """What is known of it beside its folder."""
        clock = None if self.clock is None else self.clock.record(self.clock_after)
        shard = self.job.shard
        return Part.of_shard(
            "there",
            shard.number,
            shard.of,
            place=self.agent.place.record(),
            clock=clock,
            lost=self.lost,
        )


class Fleet:
    """All shards of one run. `stop` as for a generator: once to drain, twice to cut off."""

    def __init__(
        self,
        parts: Sequence[RemotePart],
        lanes: int,
        notify: Callable[[str], None],
        silence_ns: int = SILENCE_NS,
    ):
        """`notify` is called with sentences for the user; an agent that is silent for `silence_ns`
        is given up.
        """
        self.parts, self._notify, self._silence_ns = parts, notify, silence_ns
        #: what was said: several shards of a node find the same
        self._warned: set[str] = set()
        self._total = Counters.total([], lanes)
        self._t0 = 0
        self._every_ns = max(_ASK_EVERY_NS, _ASK_AN_AGENT_NS * len(parts))
        #: how often the user said stop, and how often it was passed on
        self._stops = self._passed_on = 0
        #: why a shard, and then every shard, ended before its plan
        self.early: str | None = None

    # ---- before the run

    def prepare(self, shared: Path | None, name: str) -> None:
        """Have every node make its shard ready.

        Raises UserError or TargetUnreachable naming the node; `dismiss` then.
        """
        for part, found in _answers(
            [(part, part.agent.ask("hello")) for part in self.parts], _HELLO_S
        ):
            _same_software(part.node, found)
        where = None if shared is None else str(shared)
        asked = [
            (
                part,
                part.agent.ask(
                    "prepare", *part.job.dump(), where, f"{name}-{part.job.shard.number}"
                ),
            )
            for part in self.parts
        ]
        for part, found in _answers(asked, READY_S + _HELLO_S):
            if "refused" in found:
                kind = TargetUnreachable if found.get("unreachable") else UserError
                raise kind(found["refused"], where=f"node {part.node}")
            part.node_folder = found["folder"]
            if shared is not None and not Path(part.node_folder).is_dir():
                raise UserError(
                    f"wrote to {part.node_folder}, which this machine does not see",
                    where=f"node {part.node}",
                    remedy="give --shared a folder that all see under one name, or leave it out",
                )

    def refuse_lost(self) -> None:
        """Raises UserError naming a node that was lost: before a run every one is needed."""
        for part in self.parts:
            if part.lost is not None:
                raise UserError(part.lost, where=f"node {part.node}")

    def compare_clocks(self, *, after: bool = False) -> None:
        """Ask each node's clock, one node after the other, so that no answer waits for another."""
        known: dict[str, Offset | None] = {}
        for part in self.parts:
            if part.agent.node_id not in known and part.lost is None:
                known[part.agent.node_id] = self._clock_of(part)
        for part in self.parts:
            found = known.get(part.agent.node_id)
            if after:
                part.clock_after = found
            else:
                part.clock = found

    def _clock_of(self, part: RemotePart) -> Offset | None:
        exchanges = []
        ours = wall_offset_ns()
        try:
            for _ in range(ROUND_TRIPS):
                asked = monotonic_ns()
                answered = int(part.agent.ask("wall").result(_LAST_WORD_S))
                exchanges.append((asked + ours, answered, monotonic_ns() + ours))
        except (AgentLost, NoAnswer) as error:
            self._lose(part, str(error) or "does not answer")
            return None
        return offset_of(exchanges)

    def begin(self, agreed_ns: int) -> None:
        """Tell all the instant (Unix ns by our clock) at which they begin."""
        self._t0 = agreed_ns - wall_offset_ns()
        for part in self.parts:
            if part.lost is None:
                part.agent.ask("start", agreed_ns, 0 if part.clock is None else part.clock.ahead_ns)

    # ---- while it lasts

    def play(self, on_tick: OnTick) -> None:
        """Listen until every shard has ended or is given up."""
        while not all(part.over for part in self.parts):
            while self._passed_on < self._stops:
                self._passed_on += 1
                self._say_stop(None)
            now = monotonic_ns()
            for part in self.parts:
                if not part.over:
                    self._listen(part, now)
            if (why := on_tick(now - self._t0, lambda: self._total)) is not None:
                self.end(why)
            sleep_s(_TICK_S)

    def stop(self) -> None:
        """The user's Ctrl-C, for every shard. Safe in a signal's handler: `play` passes it on."""
        self._stops += 1

    def end(self, why: str) -> None:
        """End by rule, for a reason."""
        if self.early is None:
            self.early = why
            self._say_stop(why)

    def _say_stop(self, why: str | None) -> None:
        for part in self.parts:
            if not part.over:
                part.agent.ask("stop", why)

    def _listen(self, part: RemotePart, now: int) -> None:
        """Take what has come of an agent, and ask again soon, or at once while it has more to hand
        over.
        """
        if part.pending is None:
            if now >= part.next_ns:
                part.asked_ns, part.next_ns, part.pending = (
                    now,
                    now + self._every_ns,
                    part.agent.ask("report"),
                )
        elif part.pending.done():
            answered, part.pending = part.pending, None
            try:
                self._take(part, answered.result())
            except AgentLost as error:
                self._lose(part, str(error))
        elif now - part.asked_ns > self._silence_ns:
            self._lose(part, f"was silent for {show_duration(now - part.asked_ns)}")

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            self._notify(sentence)

    def _take(self, part: RemotePart, answer: dict[str, Any]) -> None:
        for said in answer["said"]:
            if "counters" in said:
                self._total = Counters.total(
                    [self._total, Counters.from_plain(said["counters"])], len(self._total.started)
                )
            elif "early" in said:
                self.end(said["early"])
            elif "warn" in said:
                self._warn(f"{part.node}: {said['warn']}")
            elif "ended" in said:
                part.at_its_end = True
            elif "refused" in said:
                part.refused = said["refused"].strip().splitlines()[-1]
        if part.inbox is not None:
            for piece in answer["files"]:
                part.inbox.put(part_of(piece))
        if answer["more"]:
            part.next_ns = 0
        if answer["ended"]:
            # Only now: what it had sealed before is here.
            if not part.at_its_end:
                self._lose(part, part.refused or "its process died")
            part.ended = True

    def _lose(self, part: RemotePart, why: str) -> None:
        if not part.over:
            part.lost = why
            at = monotonic_ns() - self._t0
            when = f" {show_duration(at)} into the run" if self._t0 and at > 0 else ""
            self._notify(f"{part.node} was lost{when} with {part.part().name}: {why}")

    def dismiss(self) -> None:
        """Remove what lies on the nodes; one that does not answer keeps it."""
        dismiss([part.agent for part in self.parts if part.lost is None or part.ended])


def dismiss(agents: Sequence[RemoteAgent]) -> None:
    """Have each remove its folder."""
    wait([agent.ask("remove") for agent in agents], timeout=_LAST_WORD_S)


def fetch(agent: RemoteAgent, node_folder: str, inbox: Inbox) -> str | None:
    """Bring a folder that a shard left on a node here; why it cannot be had, or None.

    A process that still drains is waited for as long as an answer may take.
    """
    deadline = monotonic_ns() + SILENCE_NS * 4
    try:
        while (found := agent.ask("keep", node_folder).result(_HELLO_S)) == "under way":
            if monotonic_ns() > deadline:
                return f"{node_folder} is still being written to"
            sleep_s(1.0)
        if found == "missing":
            return f"{node_folder} is not there any more"
        while True:
            answer = agent.ask("report").result(_HELLO_S)
            for piece in answer["files"]:
                inbox.put(part_of(piece))
            if answer["ended"]:
                return None
    except AgentLost as error:
        return str(error)
    except NoAnswer:
        return f"did not answer within {_HELLO_S:.0f} s"


def _answers(
    asked: Sequence[tuple[RemotePart, Future[Any]]], timeout_s: float
) -> Iterator[tuple[RemotePart, Any]]:
    """Each with its answer.

    Raises UserError for a node that has none: before a run every one is needed.
    """
    wait([future for _, future in asked], timeout=timeout_s)
    for part, future in asked:
        try:
            yield part, future.result(0)
        except NoAnswer:
            raise UserError(
                f"did not answer within {timeout_s:.0f} s", where=f"node {part.node}"
            ) from None
        except AgentLost as error:
            raise UserError(str(error), where=f"node {part.node}") from None


def _same_software(node: str, theirs: dict[str, str]) -> None:
    for what, ours in Agent().hello().items():
        if theirs[what] != ours:
            raise UserError(
                f"has {what} {theirs[what]}, this machine {ours}",
                where=f"node {node}",
                remedy="install the same on every node",
            )
