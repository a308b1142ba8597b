"""One run, from a compiled plan to a sealed folder.

In: a plan whose targets have real base URLs, prompt texts, a folder. Out: the folder with
manifest, schedule, samples and histograms. Must stay true: everything that can be refused is
refused before the folder exists; Ctrl-C ends the run, not the record.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from bench.clock import clock_facts, utc_text, wall_ns
from bench.errors import UserError
from bench.load.generator import Generator, LaneState, current_loop_name
from bench.load.journal import Journal, secrets_of
from bench.load.probe import HarnessProbe
from bench.load.request import BodyWriter
from bench.load.transport.sender import check_ready, make_sender
from bench.load.transport.stamps import StampedReader
from bench.plan.prompts import PromptText
from bench.plan.schedule import Plan
from bench.plan.target import request_headers
from bench.record.histogram import HistogramSet, Interval, write_hlog
from bench.record.run_folder import RunWriter, State, library_versions, machine_facts
from bench.record.samples import Columns, latency_ns

#: Descriptors that are not connections: files, the loop's own, the interpreter's.
_SPARE_DESCRIPTORS = 64


def run_id(plan: Plan, started_wall_ns: int) -> str:
    """`2026-11-23T10-04-11Z-field-guide-3fa9`: time, suite, and what tells equal seconds apart."""
    digest = hashlib.sha256(plan.schedule.tobytes() + str(started_wall_ns).encode()).hexdigest()[:4]
    return f"{utc_text(started_wall_ns).replace(':', '-')}-{plan.suite.name}-{digest}"


async def play(plan: Plan, text: PromptText, folder: Path | None, manifest: dict[str, Any], *,
               results: Path = Path("results"), warn: Callable[[str], None],
               on_tick: Callable[[Generator, Journal], None]) -> Path:  # fmt: skip
    """Run the plan; returns its folder.

    Raises UserError (a variable not set, a proxy in the way), TargetUnreachable (no answer to the
    ready check) or RunFolderError before anything is sent.
    """
    reader = StampedReader()
    check_descriptors(plan, warn)
    senders = [make_sender(lane.target, reader) for lane in plan.lanes]
    for target in {lane.target.base_url: lane.target for lane in plan.lanes}.values():
        if (warning := await check_ready(target)) is not None:
            warn(warning)
    started = wall_ns()
    name = run_id(plan, started)
    bodies = [BodyWriter(lane, plan.schedule, text) for lane in plan.lanes]
    writer = RunWriter(folder or results / name, _manifest(plan, name, started) | manifest, plan.schedule)
    secrets = [value for lane in plan.lanes for value in secrets_of(request_headers(lane.target))]
    journal = Journal(writer, name, len(plan.schedule), [len(lane.phases) for lane in plan.lanes], secrets)
    probe = HarnessProbe()
    lanes = [LaneState(lane, sender, body) for lane, sender, body in zip(plan.lanes, senders, bodies, strict=True)]
    generator = Generator(plan, lanes, journal, probe)
    probe.start()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_stop_on_signals, generator)
            await generator.run(lambda playing: on_tick(playing, journal))
            group.cancel_scope.cancel()
    finally:
        probe.stop()
        await journal.flush()
        state: State = "interrupted" if generator.interrupted or generator.failed else "complete"
        harness = {**probe.facts(), "loop": current_loop_name(), "state": state,
                   "senders": {lane.name: sender.facts() for lane, sender in zip(plan.lanes, senders, strict=True)}}  # fmt: skip
        write_histograms(writer.folder, plan, journal, started)
        writer.finish(state, journal.samples, {
            "ended_wall_ns": wall_ns(), "harness": harness,
            "strings": {kind: strings.names for kind, strings in journal.strings.items()},
        })  # fmt: skip
    return writer.folder


async def _stop_on_signals(generator: Generator) -> None:
    """First Ctrl-C: send nothing more and drain; second: cut what is under way."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            generator.stop()


def check_descriptors(plan: Plan, warn: Callable[[str], None]) -> None:
    """Raise the soft descriptor limit as far as allowed; refuse a plan whose caps cannot fit.

    Raises UserError with the `ulimit` that would do.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    known = 0
    for lane in plan.lanes:
        arrivals = lane.profile.arrivals
        # A cap the lane can reach; an open loop without one has no bound to check beforehand.
        known += min(arrivals.concurrency or lane.profile.max_in_flight or 0, lane.requests)
    if known + _SPARE_DESCRIPTORS > soft:
        raise UserError(f"the plan may hold {known:,} connections open, the descriptor limit is {soft:,}",
                        remedy=f"raise it: ulimit -n {known + _SPARE_DESCRIPTORS}")  # fmt: skip
    busiest = max(span.to_rps for lane in plan.lanes for span in lane.spans)
    if busiest > soft:
        warn(f"descriptor limit {soft:,}: at {busiest:,.0f} requests/s a server that hangs for a second would exhaust it")


def _manifest(plan: Plan, name: str, started: int) -> dict[str, Any]:
    from bench.userfile import file_digest

    return {
        "run": name, "suite": {"name": plan.suite.name, "description": plan.suite.description}, "seed": plan.seed,
        "started_utc": utc_text(started), "started_wall_ns": started, "versions": library_versions(),
        "machine": machine_facts(), "clock": clock_facts(),
        "inputs": [{"name": "/".join(path.parts[-2:]), "sha256": file_digest(path)} for path in plan.suite.files],
        "lanes": [lane.record() for lane in plan.lanes],
    }  # fmt: skip


def write_histograms(folder: Path, plan: Plan, journal: Journal, started_wall_ns: int) -> None:
    """histograms.hlog: per target, metric and phase, and per context bucket; successes only."""
    whole = Columns(plan.schedule, journal.samples).measured()
    whole = whole.where(whole.ok)
    intervals: list[Interval] = []
    for lane in plan.lanes:
        columns = whole.lane(lane.index)
        histograms = HistogramSet()
        for metric, view in (("ttft", "response"), ("e2e", "response"), ("tpot", "response"), ("ttft", "service"),
                             ("e2e", "service"), ("lag", "response")):  # fmt: skip
            tag = f"{lane.name}.{metric}" if metric in ("tpot", "lag") else f"{lane.name}.{view}.{metric}"
            values = latency_ns(columns.samples, metric, view)
            for column, names in (("phase", lane.phases), ("bucket", lane.record()["buckets"])):
                for index, part in enumerate(names):
                    chosen = values[(columns.schedule[column] == index) & (values >= 0)]
                    if len(chosen):
                        histograms[f"{tag}.{part}"].record_many_ns(chosen)
        for index, phase in enumerate(lane.phases):
            gaps = journal.gap_histograms[lane.index][index]
            if gaps.n:
                histograms[f"{lane.name}.inter_chunk.{phase}"].add(gaps)
        intervals += [Interval(tag, lane.start_ns, lane.end_ns, histogram) for tag, histogram in histograms.items()]
    write_hlog(folder / "histograms.hlog", intervals, started_wall_ns)


def counts_by_lane(journal: Journal, plan: Plan) -> list[int]:
    """Rows that have ended, a lane."""
    ended = journal.samples["outcome"] != 0
    return [int(count) for count in np.bincount(plan.schedule["lane"][ended], minlength=len(plan.lanes))]
