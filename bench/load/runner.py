"""One run, from a compiled plan to a sealed folder.

In: a plan whose targets have real base URLs, prompt texts, a folder. Out: the folder with
manifest, schedule, samples and histograms. Must stay true: everything that can be refused is
refused before the folder exists; Ctrl-C ends the run, not the record.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from bench.clock import clock_facts, utc_text, wall_ns
from bench.errors import UserError
from bench.load.ceiling import share_of_ceiling
from bench.load.drill import Timeline
from bench.load.endpoint import Endpoint
from bench.load.generator import STOP_DRAIN_NS
from bench.load.guard import UNCAPPED, Caps
from bench.load.journal import Strings
from bench.load.player import Counters, OnTick, Player, make_endpoints, run_secrets
from bench.load.shard import UNSHARDED, Shard
from bench.load.sitting import Sitting, inputs, take_up
from bench.load.transport.pool import SPARE_DESCRIPTORS
from bench.load.transport.sender import check_ready
from bench.load.workers import Crew, Together, innermost
from bench.metrics import in_hlog
from bench.plan.profile import bucket_names
from bench.plan.prompts import PromptText
from bench.plan.schedule import Plan, Table
from bench.plan.target import KEY_SOURCES
from bench.record.digests import marks
from bench.record.histogram import Histogram, HistogramSet, Interval, write_hlog
from bench.record.pieces import gather, gather_attempts, renumbered, settle, writer_name
from bench.record.run_folder import RunWriter, State, library_versions, machine_facts
from bench.record.samples import Columns, Outcome
from bench.record.sittings import due_again_ns, may_have_begun
from bench.units import show_duration

#: Characters of a suite's name in the name of its runs.
_SUITE_MOST = 60


def run_id(plan: Plan, started_wall_ns: int) -> str:
    """`2026-11-23T10-04-11Z-field-guide-3fa9`: time, suite, and what tells equal seconds apart."""
    return named(plan.suite.name, started_wall_ns, plan.schedule.tobytes())


def named(suite: str, started_wall_ns: int, content: bytes) -> str:
    """A run's id, which is a folder's name and part of a header; equal content that began at the
    same ns has the same.
    """
    suite = re.sub(r"[^A-Za-z0-9._-]+", "-", suite)[:_SUITE_MOST]
    digest = hashlib.sha256(content + str(started_wall_ns).encode()).hexdigest()[:4]
    return f"{utc_text(started_wall_ns).replace(':', '-')}-{suite}-{digest}"


@dataclasses.dataclass(frozen=True)
class Simulated:
    """Rows that were played in virtual time: a table as long as the plan's, its texts, gaps a lane
    and phase.
    """

    samples: Table
    strings: dict[str, list[str]]
    gaps: list[list[Histogram]]


class _Ending:
    """Whether and why a run ends before its time; `tell` hears of it at once, `ends_early` of a
    rule's reason alone.
    """

    def __init__(self, tell: Callable[[str], None], ends_early: Callable[[str], None]) -> None:
        self._tell, self._ends_early = tell, ends_early
        self.stop: Callable[[], None] = lambda: None
        #: our own reason; None where the run went to its end or was interrupted
        self.early: str | None = None
        self.interrupted = False
        #: the last moment (ns after the run's start) before that
        self.stopped_ns = 0

    def on_signal(self) -> None:
        """First Ctrl-C: send nothing more and drain; second: cut what is under way."""
        self._tell(
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
            self._tell(f"the run ends early: {why}")
            self._ends_early(why)
            self.stop()


async def play(
    plan: Plan,
    text: PromptText,
    folder: Path | None,
    manifest: dict[str, Any],
    *,
    workers: int = 1,
    results: Path = Path("results"),
    warn: Callable[[str], None],
    on_tick: OnTick,
    opened: Callable[[Path], None] = lambda _: None,
    caps: Caps = UNCAPPED,
    simulated: Callable[[], Simulated] | None = None,
    resume: Path | None = None,
    shard: Shard = UNSHARDED,
    ends_early: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run the plan on `workers` processes; returns its folder, of which `opened` is told before
    anything is sent.

    `ends_early` hears at once why the run ends before its plan by a rule of its own.

    `resume` is the folder of a run of this plan that broke off: what it left is played there. Of
    the plan its `shard` alone is played. Lanes that are `simulated` come last in the plan; their
    rows are asked of `simulated` once the others have ended. Raises UserError (a variable not set,
    a proxy in the way), TargetUnreachable (no answer to the ready check) or RunFolderError before
    anything is sent.
    """
    check_descriptors(plan.live(), workers * shard.of, warn)
    _check_shares(plan.live(), workers, shard.of)
    whole, plan = plan.schedule, shard.cut(plan)
    live = plan.live()
    outlets = make_endpoints(live.lanes, plan.schedule, text)
    await _check_ready(live, warn)
    sitting = (
        _first(plan, folder, results, manifest, caps, shard, workers)
        if resume is None
        else take_up(plan, resume, workers, caps)
    )
    writer, live = sitting.writer, sitting.plan.live()
    shard.keep(whole, writer)
    if shard.start_at_ns is not None:
        warn(f"begins at {utc_text(shard.start_at_ns)}")
    opened(writer.folder)
    timeline = Timeline(sitting.plan.drills, live.lanes, Strings(run_secrets(live.lanes)).clean)
    ending, started = _Ending(warn, ends_early), writer.manifest.get("start")
    facts: dict[str, Any] = {}

    def ticking(now_ns: int, counters: Callable[[], Counters]) -> None:
        timeline.tick(now_ns)
        if started is not None and now_ns >= 0 and not facts:
            facts["start"] = started | {"wall_ns": wall_ns() - started["ahead_ns"] - now_ns}
        ending.on_reason(
            on_tick(now_ns - sitting.shift_ns, lambda: counters().with_events(timeline.told()))
        )
        if ending.early is None and not ending.interrupted:
            ending.stopped_ns = max(now_ns, 0)

    async with _stopping_on_signals(ending.on_signal):
        samples, strings, attempts, together = await _played(
            sitting, text, outlets, workers, ending, ticking
        )
        gaps = together.gaps
        sitting.add_gaps(gaps)
        if simulated is not None:  # still here, so that Ctrl-C leaves a sealed folder
            gaps = gaps + _overlay(samples, strings, simulated(), plan)
    write_histograms(writer.folder, sitting.plan, samples, gaps, writer.manifest["started_wall_ns"])
    broke_off = ending.interrupted or (together.interrupted and ending.early is None)
    state: State = "interrupted" if broke_off else "complete"
    workers_facts = sitting.whole("by_worker", together.facts)
    harness = {
        **worst_facts(workers_facts),
        "state": state,
        "workers": workers,
        "dead_workers": sitting.whole("dead_workers", together.dead),
        "calibration": share_of_ceiling(live, workers),
        "by_worker": workers_facts,
    }
    events = await timeline.finish(interrupted=together.interrupted)
    leg_events = sitting.whole("leg_events", together.leg_events)
    facts |= {
        "ended_wall_ns": wall_ns(),
        "harness": harness,
        "strings": strings,
        "ended_early": ending.early,
        "stopped_ns": ending.stopped_ns if broke_off or ending.early is not None else None,
        "events": sitting.whole("events", events),
        "leg_events": sorted(leg_events, key=lambda event: int(event["at_ns"])),
    }
    writer.finish(
        state, samples, facts, attempts if any(lane.target.route for lane in live.lanes) else None
    )
    return writer.folder


def _first(
    plan: Plan,
    folder: Path | None,
    results: Path,
    manifest: dict[str, Any],
    caps: Caps,
    shard: Shard,
    workers: int,
) -> Sitting:
    """A run's first sitting, in a folder of its own."""
    start = shard.start(workers)
    started = wall_ns() if start is None else start.wall_ns
    name = run_id(plan, started)
    facts = plan_facts(plan, name, started) | manifest | shard.facts(start)
    writer = RunWriter(folder or results / name, facts, plan.schedule)
    return Sitting(plan, writer, caps, t0=None if start is None else start.t0, share=shard.share)


async def _played(
    sitting: Sitting,
    text: PromptText,
    outlets: list[list[Endpoint]],
    workers: int,
    ending: _Ending,
    ticking: OnTick,
) -> tuple[Table, dict[str, list[str]], Table, Together]:
    """(samples, strings, attempts) of all sittings, and what the workers of this one came to."""
    live, schedule = sitting.plan.live(), sitting.plan.schedule
    folder, name = sitting.writer.folder, sitting.writer.manifest["run"]
    if workers == 1:
        player = Player(
            live.lanes,
            schedule,
            text,
            folder,
            name,
            sitting.share,
            sitting.number,
            outlets,
            sitting.caps,
            tell=ending.on_reason,
        )
        ending.stop = player.generator.stop
        await player.play(ticking, sitting.t0)
        journal = player.journal
        together = Together(
            [player.facts()],
            journal.gap_histograms,
            journal.leg_events,
            player.generator.interrupted,
            [],
        )
        if sitting.number == 1:
            return journal.samples, journal.texts(), journal.attempts(), together
    else:
        for outlet in outlets:
            for endpoint in outlet:
                await endpoint.close()
        crew = Crew(
            live,
            folder,
            name,
            workers,
            sitting.plan.seed,
            text.tokenizer.name if text.tokenizer else None,
            sitting.caps,
            ending.on_reason,
            sitting.number,
            sitting.writer.lock,
            sitting.share,
        )
        ending.stop = crew.stop
        together = await crew.play(ticking, sitting.t0)
    samples, strings = gather(folder, len(schedule))
    attempts = gather_attempts(folder, strings)
    _own_up(samples, strings, sitting, together)
    return samples, strings, attempts, together


async def _check_ready(plan: Plan, warn: Callable[[str], None]) -> None:
    targets = [target for lane in plan.lanes for target in lane.target.endpoints]
    asked = {
        (t.base_url, t.unix_socket, t.transport, *(getattr(t, name) for name in KEY_SOURCES)): t
        for t in targets
    }
    for target in asked.values():
        if (warning := await check_ready(target)) is not None:
            warn(warning)


def _overlay(
    samples: Table, strings: dict[str, list[str]], simulated: Simulated, plan: Plan
) -> list[list[Histogram]]:
    """Put the simulated rows where they belong; returns the gaps of their lanes."""
    first = len(plan.live().lanes)
    rows = plan.schedule["lane"] >= first
    samples[rows] = renumbered(simulated.samples[rows], simulated.strings, strings)
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


def _check_shares(plan: Plan, workers: int, shards: int) -> None:
    for lane in plan.lanes:
        cap = lane.profile.arrivals.concurrency or lane.profile.max_in_flight
        if cap is not None and cap < workers * shards:
            of = f" in each of {shards} shards" if shards > 1 else ""
            raise UserError(
                f"cannot divide {cap} requests in flight among {workers} workers{of}",
                where="--workers",
                remedy=f"use at most {cap}{' in all' if shards > 1 else ''}",
            )


def _own_up(
    samples: Table, strings: dict[str, list[str]], sitting: Sitting, together: Together
) -> None:
    """Rows that a dead worker took with it: cut off where they were due while it lived, else never
    sent, and why.
    """
    schedule, known = sitting.plan.schedule, marks(sitting.writer.folder)
    due_ns = due_again_ns(schedule, samples, 0)
    for worker in together.dead:
        share = dataclasses.replace(
            sitting.share, worker=worker, workers=len(together.facts) + len(together.dead)
        )
        lost = share.rows(schedule) & (samples["due_ns"] < 0)
        begun = lost & may_have_begun(
            schedule, samples, 0, known.get(writer_name(worker, sitting.number), -1)
        )
        samples["due_ns"][lost] = np.where(begun, due_ns, schedule["due_ns"])[lost]
        settle(samples, strings, begun, Outcome.censored, f"under way when worker {worker} died")
        settle(
            samples,
            strings,
            lost & ~begun,
            Outcome.never_sent,
            f"worker {worker} died before this row was sealed",
        )


def worst_facts(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """One record for all workers: the worst of each number, the first of what must be equal."""
    if not facts:
        return {}
    merged = dict(facts[0])
    for other in facts[1:]:
        for name, value in other.items():
            if (
                isinstance(value, (int, float))
                and not isinstance(value, bool)
                and abs(value) > abs(merged.get(name, 0))
            ):
                merged[name] = value
    return merged


def check_descriptors(plan: Plan, workers: int, warn: Callable[[str], None]) -> None:
    """Raise the soft descriptor limit as far as allowed; refuse a plan whose caps cannot fit.

    Raises UserError with the `ulimit` that would do.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    known = 0
    soft *= workers
    for lane in plan.lanes:
        arrivals = lane.profile.arrivals
        # A cap the lane can reach; an open loop without one has no bound to check beforehand.
        # A hedged row may call all its legs at once.
        calls = (
            len(lane.target.legs)
            if lane.target.route is not None and lane.target.route.hedge is not None
            else 1
        )
        known += min(arrivals.concurrency or lane.profile.max_in_flight or 0, lane.requests) * calls
    if known + SPARE_DESCRIPTORS > soft:
        raise UserError(
            f"the plan may hold {known:,} connections open, the descriptor limit is {soft:,}",
            remedy=f"raise it: ulimit -n {known // workers + SPARE_DESCRIPTORS}",
        )
    busiest = max(span.to_rps for lane in plan.lanes for span in lane.spans)
    if busiest > soft:
        warn(
            f"descriptor limit {soft:,}: at {busiest:,.0f} requests/s a server that hangs for a"
            " second would exhaust it"
        )


def plan_facts(plan: Plan, name: str, started: int) -> dict[str, Any]:
    """What the manifest says of a plan, its machine and its inputs."""
    return {
        "run": name,
        "suite": {"name": plan.suite.name, "description": plan.suite.description},
        "seed": plan.seed,
        "started_utc": utc_text(started),
        "started_wall_ns": started,
        "versions": library_versions(),
        "machine": machine_facts(),
        "clock": clock_facts(),
        "inputs": inputs(plan.suite),
        "lanes": [lane.record() for lane in plan.lanes],
    }


def write_histograms(
    folder: Path, plan: Plan, samples: Table, gaps: list[list[Histogram]], started_wall_ns: int
) -> None:
    """histograms.hlog: per target, metric and phase, and per context bucket; successes only."""
    whole = Columns(plan.schedule, samples).measured()
    whole = whole.where(whole.ok)
    intervals: list[Interval] = []
    for lane in plan.lanes:
        columns = whole.lane(lane.index)
        histograms = HistogramSet()
        for metric, view in in_hlog():
            view_of = f"{view}." if metric.views else ""
            tag = f"{lane.name}.{view_of}{metric.name}"
            values = metric.ns(columns.samples, view)
            for column, names in (("phase", lane.phases), ("bucket", bucket_names())):
                for index, part in enumerate(names):
                    chosen = values[(columns.schedule[column] == index) & (values >= 0)]
                    if len(chosen):
                        histograms[f"{tag}.{part}"].record_many_ns(chosen)
        for index, phase in enumerate(lane.phases):
            if gaps[lane.index][index].n:
                histograms[f"{lane.name}.inter_chunk.{phase}"].add(gaps[lane.index][index])
        intervals += [
            Interval(tag, lane.start_ns, lane.end_ns, histogram)
            for tag, histogram in histograms.items()
        ]
    write_hlog(folder / "histograms.hlog", intervals, started_wall_ns)
