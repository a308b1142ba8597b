"""One run, from a compiled plan to a sealed folder.

In: a plan whose targets have real base URLs, prompt texts, how it is played. Out: the folder with
manifest, schedule, samples and histograms. Must stay true: everything that can be refused is
refused before the folder exists; Ctrl-C ends the run, not the record; the manifest is sealed once.
"""

from __future__ import annotations

import dataclasses
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from bench.clock import utc_text, wall_ns
from bench.errors import UserError
from bench.load.ceiling import share_of_ceiling, unreadable
from bench.load.drill import Timeline
from bench.load.endpoint import Endpoint
from bench.load.generator import STOP_DRAIN_NS
from bench.load.options import Listeners, RunOptions
from bench.load.player import Counters, Player, make_endpoints, run_secrets
from bench.load.sitting import Sitting, take_up
from bench.load.texts import Strings
from bench.load.transport.pool import SPARE_DESCRIPTORS
from bench.load.transport.sender import check_ready
from bench.load.workers import Workers, innermost
from bench.machine import raise_descriptor_limit
from bench.plan.prompts import PromptText
from bench.plan.schedule import Plan, Table
from bench.plan.target import KEY_SOURCES
from bench.record.gather import (
    gather,
    gather_attempts,
    gather_evidence,
    gather_gaps,
    gather_harness,
    gather_leg_events,
    parts_in,
)
from bench.record.histogram import Histogram, write_histograms
from bench.record.identity import plan_facts, run_id
from bench.record.parts import Part
from bench.record.pieces import Texts
from bench.record.records.harness import State
from bench.record.records.served import LaneEvidence
from bench.record.run_folder import RunWriter
from bench.units import show_duration


@dataclasses.dataclass(frozen=True)
class Simulated:
    """Rows that were computed, not sent: a table as long as the plan's, its texts, gaps a lane
    and phase.
    """

    samples: Table
    strings: dict[str, list[str]]
    gaps: list[list[Histogram]]


@dataclasses.dataclass
class _Played:
    """What the rows of all sittings came to, and the parts that were played in this one."""

    samples: Table
    texts: Texts
    attempts: Table
    parts: list[Part]
    evidence: list[LaneEvidence]

    @property
    def interrupted(self) -> bool:
        """Whether a process was stopped; one that died was not."""
        return any(part.state == "interrupted" for part in self.parts)


class _Ending:
    """Whether and why a run ends before its time."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        #: set once there is something to stop
        self.stop: Callable[[], None] = lambda: None
        #: our own reason; None where the run went to its end or was interrupted
        self.early: str | None = None
        self.interrupted = False
        #: the last moment (ns after the run's start) before that
        self.stopped_ns = 0

    def on_signal(self) -> None:
        """First Ctrl-C: send nothing more and drain; second: cut what is under way."""
        self._listeners.warn(
            "cutting off what is under way"
            if self.interrupted
            else (
                "interrupted: nothing more is sent, answers under way have"
                f" {show_duration(STOP_DRAIN_NS)}; again cuts them off"
            )
        )
        self.interrupted = True
        self.stop()

    def on_reason(self, why: str | None) -> None:
        """Send nothing more and drain."""
        if why is not None and self.early is None and not self.interrupted:
            self.early = why
            self._listeners.warn(f"the run ends early: {why}")
            self._listeners.ends_early(why)
            self.stop()

    def on_time(self, now_ns: int) -> None:
        """The run goes on at this moment."""
        if self.early is None and not self.interrupted:
            self.stopped_ns = max(now_ns, 0)


async def play(
    plan: Plan,
    text: PromptText,
    facts: dict[str, Any],
    options: RunOptions,
    listeners: Listeners,
    *,
    kept: bytes | None = None,
    simulated: Callable[[], Simulated] | None = None,
) -> Path:
    """Run the plan, which is this shard's alone; returns its folder.

    `facts` are lines of its manifest, `kept` is its plan.json. Lanes that are simulated come last
    in the plan; their rows are asked of `simulated` once the others have ended. Raises UserError (a
    variable not set, a proxy in the way), TargetUnreachable (no answer to the ready check) or
    RunFolderError before anything is sent.
    """
    live = plan.live()
    workers = options.workers or 1
    shard = options.shard
    check_descriptors(live, workers, listeners.warn, shards=shard.of)
    if (why := unreadable()) is not None:
        listeners.warn(why)
    _check_caps_divide(live, workers, shard.of)
    endpoints = make_endpoints(live.lanes, plan.schedule, text)
    await _check_ready(live, listeners.warn)
    if options.resume is None:
        sitting = _first_sitting(plan, facts, options, kept)
    else:
        sitting = take_up(plan, options.resume, workers, options.caps)
    shard.keep(plan, sitting.writer)
    if shard.start_at_ns is not None:
        listeners.warn(f"begins at {utc_text(shard.start_at_ns)}")
    listeners.opened(sitting.writer.folder)
    supervisor = _Supervisor(sitting, listeners)
    async with _stopping_on_signals(supervisor.ending.on_signal):
        played = await _play_sitting(sitting, text, endpoints, workers, supervisor)
        gaps = gather_gaps(played.parts, [len(lane.phases) for lane in live.lanes])
        sitting.add_gaps(gaps)
        if simulated is not None:  # still here, so that Ctrl-C leaves a sealed folder
            gaps = gaps + _overlay(played, simulated(), plan)
    writer = sitting.writer
    write_histograms(
        writer.folder, sitting.plan, played.samples, gaps, writer.manifest.started_wall_ns
    )
    state, ended = await _ended(sitting, played, supervisor)
    ended["harness"] = ended["harness"].replace(
        workers=workers,
        calibration=share_of_ceiling(live, workers),
        **listeners.closing(),
    )
    routed = any(lane.target.route for lane in live.lanes)
    writer.finish(state, played.samples, ended, played.attempts if routed else None)
    return writer.folder


class _Supervisor:
    """What goes on beside the requests of one sitting: drills, the screen, the end."""

    def __init__(self, sitting: Sitting, listeners: Listeners):
        lanes = sitting.live.lanes
        self._sitting = sitting
        self._listeners = listeners
        self.timeline = Timeline(sitting.plan.drills, lanes, Strings(run_secrets(lanes)).clean)
        self.ending = _Ending(listeners)
        #: the manifest's `start`, once the run's time zero has come
        self.start: dict[str, Any] = {}

    def tick(self, now_ns: int, counters: Callable[[], Counters]) -> None:
        """Called every few ms."""
        self.timeline.tick(now_ns)
        agreed = self._sitting.writer.manifest.start
        if agreed is not None and now_ns >= 0 and not self.start:
            began_ns = wall_ns() - agreed.ahead_ns - now_ns
            self.start = {"start": agreed.replace(wall_ns=began_ns)}
        why = self._listeners.on_tick(
            now_ns - self._sitting.shift_ns,
            lambda: counters().with_events(self.timeline.events()),
        )
        self.ending.on_reason(why)
        self.ending.on_time(now_ns)


def _first_sitting(
    plan: Plan,
    facts: dict[str, Any],
    options: RunOptions,
    kept: bytes | None,
) -> Sitting:
    """A run's first sitting, in a folder of its own."""
    shard = options.shard
    start = shard.start(options.workers or 1)
    started = wall_ns() if start is None else start.wall_ns
    name = run_id(plan, started)
    manifest = plan_facts(plan, name, started).replace(**facts, **shard.facts(start))
    folder = options.folder or options.results / name
    writer = RunWriter(folder, manifest, plan.schedule, kept)
    return Sitting(
        plan,
        writer,
        options.caps,
        t0=None if start is None else start.t0,
        share=shard.share,
    )


async def _play_sitting(
    sitting: Sitting,
    text: PromptText,
    endpoints: list[list[Endpoint]],
    workers: int,
    supervisor: _Supervisor,
) -> _Played:
    """What all sittings came to, once the workers of this one have ended."""
    schedule = sitting.plan.schedule
    folder = sitting.writer.folder
    if workers == 1:
        player = Player(sitting.work, text, endpoints, supervisor.ending.on_reason)
        supervisor.ending.stop = player.generator.stop
        await player.play(supervisor.tick, sitting.t0)
        parts = [player.part()]
        journal = player.journal
        if sitting.number == 1:
            texts = Texts(journal.texts())
            kept = gather_evidence(parts)
            return _Played(journal.samples, texts, journal.attempts(), parts, kept)
    else:
        for endpoint in itertools.chain.from_iterable(endpoints):
            await endpoint.close()
        started = Workers(
            sitting.work,
            text,
            workers,
            supervisor.ending.on_reason,
            sitting.writer.lock,
        )
        supervisor.ending.stop = started.stop
        parts = await started.play(supervisor.tick, sitting.t0)
    ours = {part.files for part in parts}
    every = [*(part for part in parts_in(folder) if part.files not in ours), *parts]
    texts = Texts()
    (samples,) = gather(every, schedule, texts)
    return _Played(samples, texts, gather_attempts(every, texts), parts, gather_evidence(every))


async def _ended(
    sitting: Sitting,
    played: _Played,
    supervisor: _Supervisor,
) -> tuple[State, dict[str, Any]]:
    """How the run ended, and what the manifest says of it."""
    ending = supervisor.ending
    interrupted = played.interrupted
    broke_off = ending.interrupted or (interrupted and ending.early is None)
    state: State = "interrupted" if broke_off else "complete"
    parts = [*sitting.earlier, *played.parts]
    events = await supervisor.timeline.finish(interrupted=interrupted)
    return state, supervisor.start | {
        "ended_wall_ns": wall_ns(),
        "harness": gather_harness(parts, state=state),
        "strings": played.texts.lists,
        "evidence": played.evidence,
        "ended_early": ending.early,
        "stopped_ns": ending.stopped_ns if broke_off or ending.early is not None else None,
        "events": [*(event for part in sitting.earlier for event in part.events), *events],
        "leg_events": gather_leg_events(parts),
    }


async def _check_ready(plan: Plan, warn: Callable[[str], None]) -> None:
    targets = [target for lane in plan.lanes for target in lane.target.endpoints]
    asked = {
        (
            t.base_url,
            t.unix_socket,
            t.transport,
            t.model,
            *(getattr(t, name) for name in KEY_SOURCES),
        ): t
        for t in targets
    }
    for target in asked.values():
        if (warning := await check_ready(target)) is not None:
            warn(warning)


def _overlay(
    played: _Played,
    simulated: Simulated,
    plan: Plan,
) -> list[list[Histogram]]:
    """Put the simulated rows where they belong; returns the gaps of their lanes."""
    first = len(plan.live().lanes)
    rows = plan.schedule["lane"] >= first
    played.samples[rows] = played.texts.renumbered(simulated.samples[rows], simulated.strings)
    return simulated.gaps[first:]


@asynccontextmanager
async def _stopping_on_signals(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Tell `stop` of each Ctrl-C and SIGTERM."""

    async def listen() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                stop()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            yield
            group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise innermost(errors) from None


def _check_caps_divide(plan: Plan, workers: int, shards: int) -> None:
    for lane in plan.lanes:
        cap = lane.profile.arrivals.concurrency or lane.profile.max_in_flight
        if cap is not None and cap < workers * shards:
            of = f" in each of {shards} shards" if shards > 1 else ""
            raise UserError(
                f"cannot divide {cap} requests in flight among {workers} workers{of}",
                where="--workers",
                remedy=f"use at most {cap}{' in all' if shards > 1 else ''}",
            )


def check_descriptors(
    plan: Plan,
    workers: int,
    warn: Callable[[str], None],
    *,
    shards: int = 1,
) -> None:
    """Raise the soft descriptor limit as far as allowed; refuse a plan whose caps cannot fit.

    `plan` is one of so many `shards`, each of which has as many workers.

    Raises UserError with the `ulimit` that would do.
    """
    known, soft = 0, raise_descriptor_limit() * workers * shards
    for lane in plan.lanes:
        arrivals = lane.profile.arrivals
        # A cap the lane can reach; an open loop without one has no bound to check beforehand.
        # A hedged row may call all its legs at once.
        if lane.target.route is not None and lane.target.route.hedge is not None:
            calls = len(lane.target.legs)
        else:
            calls = 1
        cap = arrivals.concurrency or lane.profile.max_in_flight or 0
        known += min(cap, lane.requests * shards) * calls
    if known + SPARE_DESCRIPTORS > soft:
        raise UserError(
            f"the plan may hold {known:,} connections open, the descriptor limit is {soft:,}",
            remedy=f"raise it: ulimit -n {known // (workers * shards) + SPARE_DESCRIPTORS}",
        )
    busiest = max(span.to_rps for lane in plan.lanes for span in lane.spans)
    if busiest > soft:
        warn(
            f"descriptor limit {soft:,}: at {busiest:,.0f} requests/s a server that hangs for a"
            " second would exhaust it"
        )
