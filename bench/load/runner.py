"""One run, from a compiled plan to a sealed folder.

In: a plan whose targets have real base URLs, prompt texts, a folder. Out: the folder with
manifest, schedule, samples and histograms. Must stay true: everything that can be refused is
refused before the folder exists; Ctrl-C ends the run, not the record.
"""

from __future__ import annotations

import dataclasses
import hashlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from bench.clock import clock_facts, utc_text, wall_ns
from bench.errors import UserError
from bench.load.ceiling import share_of_ceiling
from bench.load.drill import Timeline
from bench.load.guard import UNCAPPED, Caps
from bench.load.journal import Strings
from bench.load.player import Counters, OnTick, Player, Share, make_endpoints, run_secrets
from bench.load.transport.sender import check_ready
from bench.load.workers import Crew, Together
from bench.plan.profile import bucket_names
from bench.plan.prompts import PromptText
from bench.plan.schedule import Plan, Table
from bench.record.histogram import Histogram, HistogramSet, Interval, write_hlog
from bench.record.run_folder import (
    RunWriter,
    State,
    gather,
    gather_attempts,
    library_versions,
    machine_facts,
    renumbered,
)
from bench.record.samples import Columns, latency_ns

#: Descriptors that are not connections: files, the loop's own, the interpreter's.
_SPARE_DESCRIPTORS = 64


def run_id(plan: Plan, started_wall_ns: int) -> str:
    """`2026-11-23T10-04-11Z-field-guide-3fa9`: time, suite, and what tells equal seconds apart."""
    digest = hashlib.sha256(plan.schedule.tobytes() + str(started_wall_ns).encode()).hexdigest()[:4]
    return f"{utc_text(started_wall_ns).replace(':', '-')}-{plan.suite.name}-{digest}"


@dataclasses.dataclass(frozen=True)
class Simulated:
    """Rows that were played in virtual time: a table as long as the plan's, its texts, gaps a lane and phase."""

    samples: Table
    strings: dict[str, list[str]]
    gaps: list[list[Histogram]]


class _Ending:
    """Whether and why a run ends before its time."""

    def __init__(self) -> None:
        self.stop: Callable[[], None] = lambda: None
        #: our own reason; None where the run went to its end or was interrupted
        self.early: str | None = None
        self.interrupted = False

    def on_signal(self) -> None:
        """First Ctrl-C: send nothing more and drain; second: cut what is under way."""
        self.interrupted = True
        self.stop()

    def on_reason(self, why: str | None) -> None:
        """Send nothing more and drain."""
        if why is not None and self.early is None and not self.interrupted:
            self.early = why
            self.stop()


async def play(plan: Plan, text: PromptText, folder: Path | None, manifest: dict[str, Any], *, workers: int = 1,
               results: Path = Path("results"), warn: Callable[[str], None], on_tick: OnTick,
               opened: Callable[[Path], None] | None = None, caps: Caps = UNCAPPED,
               simulated: Callable[[], Simulated] | None = None) -> Path:  # fmt: skip
    """Run the plan on `workers` processes; returns its folder, of which `opened` is told before anything is sent.

    Lanes that are `simulated` come last in the plan; their rows are asked of `simulated` once the
    others have ended. Raises UserError (a variable not set, a proxy in the way), TargetUnreachable
    (no answer to the ready check) or RunFolderError before anything is sent.
    """
    live = plan.live()
    check_descriptors(live, workers, warn)
    _check_shares(live, workers)
    outlets = make_endpoints(live.lanes, plan.schedule, text)
    await _check_ready(live, warn)
    started = wall_ns()
    name = run_id(plan, started)
    writer = RunWriter(folder or results / name, plan_facts(plan, name, started) | manifest, plan.schedule)
    if opened is not None:
        opened(writer.folder)
    timeline = Timeline(plan.drills, live.lanes, Strings(run_secrets(live.lanes)).clean)
    ending = _Ending()

    def ticking(now_ns: int, counters: Callable[[], Counters]) -> None:
        timeline.tick(now_ns)
        ending.on_reason(on_tick(now_ns, counters))

    async with _stopping_on_signals(ending.on_signal):
        if workers == 1:
            player = Player(live.lanes, plan.schedule, text, writer.folder, name, outlets=outlets, caps=caps, tell=ending.on_reason)  # fmt: skip
            ending.stop = player.generator.stop
            await player.play(ticking)
            journal = player.journal
            together = Together([player.facts()], journal.gap_histograms, journal.leg_events, player.generator.interrupted, [])  # fmt: skip
            samples, strings, attempts = journal.samples, journal.texts(), journal.attempts()
        else:
            for outlet in outlets:
                for endpoint in outlet:
                    await endpoint.close()
            crew = Crew(live, writer.folder, name, workers, plan.seed, text.tokenizer.name if text.tokenizer else None,
                        caps, ending.on_reason)  # fmt: skip
            ending.stop = crew.stop
            together = await crew.play(ticking)
            samples, strings = gather(writer.folder, len(plan.schedule))
            attempts = gather_attempts(writer.folder, strings)
            _own_up(samples, strings, live, together)
        gaps = together.gaps
        if simulated is not None:  # still here, so that Ctrl-C leaves a sealed folder
            gaps = gaps + _overlay(samples, strings, simulated(), plan)
    write_histograms(writer.folder, plan, samples, gaps, started)
    broke_off = ending.interrupted or (together.interrupted and ending.early is None)
    state: State = "interrupted" if broke_off else "complete"
    harness = {**worst_facts(together.facts), "state": state, "workers": workers, "dead_workers": together.dead,
               "calibration": share_of_ceiling(live, workers),
               "by_worker": together.facts}  # fmt: skip
    facts = {"ended_wall_ns": wall_ns(), "harness": harness, "strings": strings, "ended_early": ending.early,
             "events": await timeline.finish(interrupted=together.interrupted),
             "leg_events": sorted(together.leg_events, key=lambda event: int(event["at_ns"]))}  # fmt: skip
    writer.finish(state, samples, facts, attempts if any(lane.target.route for lane in live.lanes) else None)
    return writer.folder


async def _check_ready(plan: Plan, warn: Callable[[str], None]) -> None:
    targets = [target for lane in plan.lanes for target in lane.target.endpoints]
    asked = {(t.base_url, t.unix_socket, t.transport, t.api_key_env): t for t in targets}
    for target in asked.values():
        if (warning := await check_ready(target)) is not None:
            warn(warning)


def _overlay(samples: Table, strings: dict[str, list[str]], simulated: Simulated, plan: Plan) -> list[list[Histogram]]:
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
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        # Whoever called knows an error by its class, not by the tasks it came through.
        raise first from None


def _check_shares(plan: Plan, workers: int) -> None:
    for lane in plan.lanes:
        cap = lane.profile.arrivals.concurrency or lane.profile.max_in_flight
        if cap is not None and cap < workers:
            raise UserError(f"cannot divide {cap} requests in flight among {workers} workers", where="--workers",
                            remedy=f"use at most {cap}")  # fmt: skip


def _own_up(samples: Table, strings: dict[str, list[str]], plan: Plan, together: Together) -> None:
    """Rows that a dead worker took with it were due and are unaccounted for: never sent, and why."""
    for worker in together.dead:
        lost = Share(worker, len(together.facts) + len(together.dead)).rows(plan.schedule) & (samples["due_ns"] < 0)
        strings["note"].append(f"worker {worker} died before this row was sealed")
        samples["due_ns"][lost] = plan.schedule["due_ns"][lost]
        samples["note"][lost] = len(strings["note"]) - 1


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
        calls = len(lane.target.legs) if lane.target.route is not None and lane.target.route.hedge is not None else 1
        known += min(arrivals.concurrency or lane.profile.max_in_flight or 0, lane.requests) * calls
    if known + _SPARE_DESCRIPTORS > soft:
        raise UserError(f"the plan may hold {known:,} connections open, the descriptor limit is {soft:,}",
                        remedy=f"raise it: ulimit -n {known // workers + _SPARE_DESCRIPTORS}")  # fmt: skip
    busiest = max(span.to_rps for lane in plan.lanes for span in lane.spans)
    if busiest > soft:
        warn(
            f"descriptor limit {soft:,}: at {busiest:,.0f} requests/s a server that hangs for a second would exhaust it"
        )


def plan_facts(plan: Plan, name: str, started: int) -> dict[str, Any]:
    """What the manifest says of a plan, its machine and its inputs."""
    from bench.userfile import file_digest

    return {
        "run": name, "suite": {"name": plan.suite.name, "description": plan.suite.description}, "seed": plan.seed,
        "started_utc": utc_text(started), "started_wall_ns": started, "versions": library_versions(),
        "machine": machine_facts(), "clock": clock_facts(),
        "inputs": [{"name": "/".join(path.parts[-2:]), "sha256": file_digest(path)} for path in plan.suite.files],
        "lanes": [lane.record() for lane in plan.lanes],
    }  # fmt: skip


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
        for metric, view in (("ttft", "response"), ("e2e", "response"), ("tpot", "response"), ("ttft", "service"),
                             ("e2e", "service"), ("lag", "response")):  # fmt: skip
            tag = f"{lane.name}.{metric}" if metric in ("tpot", "lag") else f"{lane.name}.{view}.{metric}"
            values = latency_ns(columns.samples, metric, view)
            for column, names in (("phase", lane.phases), ("bucket", bucket_names())):
                for index, part in enumerate(names):
                    chosen = values[(columns.schedule[column] == index) & (values >= 0)]
                    if len(chosen):
                        histograms[f"{tag}.{part}"].record_many_ns(chosen)
        for index, phase in enumerate(lane.phases):
            if gaps[lane.index][index].n:
                histograms[f"{lane.name}.inter_chunk.{phase}"].add(gaps[lane.index][index])
        intervals += [Interval(tag, lane.start_ns, lane.end_ns, histogram) for tag, histogram in histograms.items()]
    write_hlog(folder / "histograms.hlog", intervals, started_wall_ns)
