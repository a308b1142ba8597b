"""One process's share of a run: its rows, its senders, its journal.

In: lanes, the whole schedule, which share of it is ours. Out: samples on disk and in memory,
gap histograms, facts. Must stay true: a share is whole sessions, caps are divided so that the
shares add up to the plan's, and nothing is asked of another process while requests are sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.load.generator import Generator, LaneState, current_loop_name
from bench.load.journal import Journal, secrets_of
from bench.load.probe import HarnessProbe
from bench.load.request import BodyWriter
from bench.load.transport.sender import Sender, make_sender
from bench.load.transport.stamps import StampedReader
from bench.plan.prompts import PromptText
from bench.plan.schedule import Lane, Table
from bench.plan.target import env_values, request_headers
from bench.record.histogram import Histogram
from bench.record.run_folder import SegmentWriter
from bench.record.samples import Bool


@dataclasses.dataclass(frozen=True)
class Share:
    """Worker `worker` of `workers`, counted from 0."""

    worker: int = 0
    workers: int = 1

    def rows(self, schedule: Table) -> Bool:
        """Mask of the rows that are ours: every n-th session of each lane."""
        mask: Bool = schedule["session"] % self.workers == self.worker
        return mask

    def cap(self, whole: int | None) -> int | None:
        """Our part of an in-flight cap; the parts add up to the whole."""
        return None if whole is None else whole // self.workers + (self.worker < whole % self.workers)


@dataclasses.dataclass(frozen=True)
class Counters:
    """Where a run stands, lane by lane; those of several workers add up."""

    started: list[int]
    waiting: list[int]
    in_flight: list[int]
    done: list[int]
    failed: list[int]
    #: end-to-end response of successes
    response: list[Histogram]
    harness_lag: Histogram

    def plain(self) -> dict[str, Any]:
        """As JSON; histograms by their cells in use."""
        lists = {name: getattr(self, name) for name in ("started", "waiting", "in_flight", "done", "failed")}
        return {**lists, "response": [h.cells() for h in self.response], "harness_lag": self.harness_lag.cells()}

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Counters:
        """The reverse of `plain`."""
        return cls(**{**data, "response": [Histogram.from_cells(cells) for cells in data["response"]],
                      "harness_lag": Histogram.from_cells(data["harness_lag"])})  # fmt: skip

    @classmethod
    def total(cls, parts: Sequence[Counters], lanes: int) -> Counters:
        """The sum; zeros without parts."""
        sums = {name: [sum(getattr(part, name)[lane] for part in parts) for lane in range(lanes)]
                for name in ("started", "waiting", "in_flight", "done", "failed")}  # fmt: skip
        response = [_added(part.response[lane] for part in parts) for lane in range(lanes)]
        return cls(**sums, response=response, harness_lag=_added(part.harness_lag for part in parts))


def _added(histograms: Iterable[Histogram]) -> Histogram:
    total = Histogram()
    for histogram in histograms:
        total.add(histogram)
    return total


#: Called every few ms with the time since the run's start and a way to ask where it stands.
OnTick = Callable[[int, Callable[[], Counters]], None]


class Player:
    """Made on a running loop; plays once."""

    def __init__(self, lanes: Sequence[Lane], schedule: Table, text: PromptText, folder: Path, run_id: str,
                 share: Share = Share(), senders: list[Sender] | None = None):  # fmt: skip
        """Raises UserError for headers, bodies or transports that cannot be."""
        self._lanes = lanes
        if senders is None:
            reader = StampedReader()
            senders = [make_sender(lane.target, reader) for lane in lanes]
        self._senders = senders
        secrets = [value for lane in lanes for value in secrets_of(request_headers(lane.target))]
        secrets += [value for lane in lanes for value in env_values(lane.target)]
        self.journal = Journal(SegmentWriter(folder, share.worker), run_id, len(schedule),
                               [len(lane.phases) for lane in lanes], secrets, share.worker)  # fmt: skip
        self._probe = HarnessProbe()
        states = [LaneState(lane, sender, BodyWriter(lane, schedule, text), share.cap(lane.profile.max_in_flight))
                  for lane, sender in zip(lanes, senders, strict=True)]  # fmt: skip
        self.generator = Generator(lanes, schedule, states, self.journal, self._probe, mine=share.rows(schedule))

    async def play(self, on_tick: OnTick, t0: int | None = None) -> None:
        """Play our rows from `t0` (monotonic ns; soon, by default) to their end, and flush."""
        self._probe.start()
        try:
            await self.generator.run(lambda playing: on_tick(playing.now(), self.counters), t0)
        finally:
            self._probe.stop()
            await self.journal.flush()

    def counters(self) -> Counters:
        """Where we stand."""
        states, journal = self.generator.lanes, self.journal
        return Counters(
            [state.started for state in states], [len(state.waiting) for state in states],
            [state.in_flight for state in states], list(journal.done), list(journal.failed), journal.live, journal.lag,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """What our process did, for the manifest."""
        return {**self._probe.facts(), "loop": current_loop_name(),
                "senders": {lane.name: sender.facts() for lane, sender in zip(self._lanes, self._senders, strict=True)}}  # fmt: skip
