"""One sitting of a run: the first, or a later one that plays what a broken-off run left.

In: a plan, and the folder of the run that broke off. Out: a `Sitting`: rows and lanes in the run's
own time, and the writer of its folder. Must stay true: whatever makes the two sittings parts of
different runs is refused before anything is changed; what may have been begun is never sent again;
a later sitting adds to what is on record and takes nothing away.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.clock import monotonic_ns, wall_ns, wall_offset_ns
from bench.errors import UserError
from bench.load.guard import Caps
from bench.load.spending import Spending
from bench.load.work import Work
from bench.plan.schedule import Lane, Plan
from bench.record.digests import was_edited
from bench.record.gather import Gathered
from bench.record.histogram import Histogram, read_hlog
from bench.record.identity import inputs
from bench.record.parts import ALONE, Part, Share
from bench.record.pieces import settle
from bench.record.records.manifest import Manifest, SittingRecord, lane_record
from bench.record.run_folder import LaterSitting, Run, RunWriter
from bench.record.samples import Outcome
from bench.record.sittings import (
    LOST_TURN,
    UNSEALED_NS,
    Rest,
    cut_spans,
    in_run_time,
    lost_turns,
    rest_of,
)
from bench.units import S
from bench.userfile import file_digest

#: From taking a run up to its first row: for one process, and more for each worker that has to
#: start.
_LEAD_NS, _LEAD_A_WORKER_NS = 1 * S, 1 * S


def lead_ns(workers: int) -> int:
    """From a moment to the first row that so many processes can be ready for."""
    return _LEAD_NS + (_LEAD_A_WORKER_NS * workers if workers > 1 else 0)


@dataclasses.dataclass(frozen=True)
class Sitting:
    """What is played of a run, and where its record goes."""

    #: lanes, rows and drills in the run's time
    plan: Plan
    writer: RunWriter
    caps: Caps
    number: int = 1
    #: the run's time zero on the monotonic clock; None: soon
    t0: int | None = None
    #: how much later than planned its rows are due
    shift_ns: int = 0
    #: what of the run this process and its workers play
    share: Share = ALONE
    #: what earlier sittings put on record of themselves
    earlier: Sequence[Part] = ()

    @functools.cached_property
    def live(self) -> Plan:
        """The lanes that are played over HTTP."""
        return self.plan.live()

    @property
    def work(self) -> Work:
        """What this process, or its workers together, play of it."""
        return Work(
            self.live.lanes,
            self.plan.schedule,
            self.writer.folder,
            self.writer.manifest.run,
            self.share,
            self.number,
            self.caps,
        )

    def add_gaps(self, gaps: list[list[Histogram]]) -> None:
        """Add the gaps between chunks that earlier sittings saw and lived to write down."""
        path = self.writer.folder / "histograms.hlog"
        if self.number == 1 or not path.is_file():
            return
        of = {
            f"{lane.name}.inter_chunk.{phase}": histogram
            for lane, phases in zip(self.live.lanes, gaps, strict=True)
            for phase, histogram in zip(lane.phases, phases, strict=True)
        }
        for interval in read_hlog(path)[1]:
            if interval.tag in of:
                of[interval.tag].add(interval.histogram)


def refuse_unless_broken_off(manifest: Manifest, folder: Path) -> None:
    """Raises UserError for a run that a second sitting would not continue, whatever its plan."""
    lanes = [lane for lane in manifest.lanes if not lane.simulated]
    closed = next((lane.name for lane in lanes if lane.closed_loop), None)
    again = manifest.repeat_command
    remedy = f"run it again: {again}"
    if manifest.state == "complete":
        early = manifest.ended_early
        why = f"ended by its own rule: {early}" if early else "has come to its end"
        raise UserError(f"{why}; there is nothing to resume", where=str(folder))
    if manifest.cluster is not None:
        raise UserError(
            "was sent from a cluster, and its shards lie on the nodes",
            where=str(folder),
            remedy=f"tailproof collect {folder}",
        )
    if was_edited(folder):
        raise UserError(
            "was edited since it was written", where=str(folder / "run.json"), remedy=remedy
        )
    if not lanes:
        raise UserError(
            "was computed by the simulator, where the same seed gives the same rows",
            where=str(folder),
            remedy=remedy,
        )
    if (shard := manifest.shard) is not None:
        raise UserError(
            f"is shard {shard.number} of {shard.of}: the other shards would not send again",
            where=str(folder),
            remedy="merge it as it is, or run all shards again",
        )
    if manifest.shards:
        raise UserError(
            "was merged from shards that were sent from elsewhere",
            where=str(folder),
            remedy=remedy,
        )
    if manifest.watch is not None:
        raise UserError(
            "is a part of a watch, which goes on by itself",
            where=str(folder),
            remedy="start the watch again",
        )
    if closed is not None:
        raise UserError(
            f"lane {closed!r} is a closed loop: what its users would have sent next was never"
            " planned",
            where=str(folder),
            remedy=remedy,
        )
    if "[redacted]" in again:
        raise UserError(
            "was given a header or a body with a literal secret, which is kept nowhere",
            where=str(folder),
            remedy="run it again with ${ENV} in its place",
        )


def take_up(plan: Plan, folder: Path, workers: int, caps: Caps) -> Sitting:
    """Become the writer of a run that broke off, and settle what of it is left to play.

    Raises RunFolderError while a writer is alive, UserError where `plan` is not the run's or
    nothing is left.
    """
    writer = LaterSitting(folder)
    try:
        return _taken_up(writer, plan, workers, caps)
    except BaseException:
        writer.let_go()
        raise


def _taken_up(writer: LaterSitting, plan: Plan, workers: int, caps: Caps) -> Sitting:
    folder = writer.folder
    run = Run(folder)
    refuse_unless_broken_off(run.manifest, folder)
    _refuse_another_plan(plan, run)
    schedule, samples = run.columns.schedule, run.columns.samples
    strings = {kind: list(texts) for kind, texts in run.texts.items()}
    playable = schedule["lane"] < len(plan.live().lanes)
    sittings = run.manifest.sittings or [_first_sitting(run.manifest)]
    shift = run.manifest.shift_ns
    until = run.until_ns if run.until_ns is not None else int(samples["done_ns"].max(initial=0))
    if run.manifest.state == "running":
        Gathered(schedule, samples, strings).account_for(
            np.flatnonzero(playable), begun_until_ns=until + UNSEALED_NS, shift_ns=shift
        )
    settle(
        samples, strings, lost_turns(schedule, samples) & playable, Outcome.never_sent, LOST_TURN
    )
    # The wall clock alone is common to both sittings: their process, and perhaps their machine's
    # boot, are not.
    t0 = run.manifest.started_wall_ns - wall_offset_ns()
    begins = monotonic_ns() - t0 + lead_ns(workers)
    if begins <= until:
        raise UserError(
            "the wall clock shows a time before the run broke off",
            where=str(folder),
            remedy="correct the clock",
        )
    rest = rest_of(schedule, samples, shift, playable, begins)
    if rest is None:
        raise UserError(
            "has no request left to send",
            where=str(folder),
            remedy=f"tailproof report {folder}",
        )
    caps = _left_of(caps, plan, run)
    sittings = _with_another(run.manifest, sittings, until, begins, rest)
    plan = _in_run_time(plan, rest, sittings)
    records = [
        kept.replace(start_ns=moved.start_ns, end_ns=moved.end_ns, phase_spans=moved.phase_spans)
        for kept, moved in zip(run.manifest.lanes, map(lane_record, plan.lanes), strict=True)
    ]
    writer.begin(run, samples, strings, rest.table, sittings, records)
    return Sitting(
        plan,
        writer,
        caps,
        len(sittings),
        t0,
        rest.shift_ns,
        earlier=[Part.of_sitting(len(sittings) - 1, run.manifest)],
    )


def _first_sitting(manifest: Manifest) -> SittingRecord:
    return SittingRecord(
        began_ns=0,
        shift_ns=0,
        from_planned_ns=0,
        started_wall_ns=manifest.started_wall_ns,
    )


def _in_run_time(plan: Plan, rest: Rest, sittings: list[SittingRecord]) -> Plan:
    """What is left of a plan, in the run's time."""
    lanes = tuple(lane if lane.simulated else _moved(lane, sittings) for lane in plan.lanes)
    drills = tuple(
        dataclasses.replace(drill, at_ns=drill.at_ns + rest.shift_ns)
        for drill in plan.drills
        if drill.at_ns >= rest.from_planned_ns
    )
    return dataclasses.replace(plan, lanes=lanes, schedule=rest.table, drills=drills)


def _with_another(
    manifest: Manifest,
    sittings: list[SittingRecord],
    until_ns: int,
    begins_ns: int,
    rest: Rest,
) -> list[SittingRecord]:
    """The manifest's sittings: how the latest ended, and the one that begins now."""
    ended: Literal["interrupted", "killed"] = (
        "interrupted" if manifest.state == "interrupted" else "killed"
    )
    another = SittingRecord(
        began_ns=begins_ns,
        shift_ns=rest.shift_ns,
        from_planned_ns=rest.from_planned_ns,
        started_wall_ns=wall_ns(),
    )
    return [*sittings[:-1], sittings[-1].replace(until_ns=until_ns, ended=ended), another]


def _refuse_another_plan(plan: Plan, run: Run) -> None:
    """Raises UserError naming what is not as it was when the run began."""
    for path in plan.suite.files:
        if not path.is_file():
            raise UserError(
                "is not there any more, so nobody can tell whether it has changed",
                where=str(path),
                remedy="put it back, or resume from the folder that the run was begun in",
            )
    for was, now in zip(run.manifest.inputs, inputs(plan.suite), strict=False):
        if was != now:
            raise UserError(
                "has changed since the run began, so the rest would be of another run (it began"
                f" with SHA-256 {was.sha256[:12]}…)",
                where=was.name,
                remedy="put it back as it was",
            )
    if file_digest(run.folder / "schedule.npy") != run.manifest.schedule_sha256:
        raise UserError(
            "was edited: it is not what the manifest says", where=str(run.folder / "schedule.npy")
        )
    if plan.schedule.tobytes() != run.columns.schedule.tobytes():
        began = run.manifest.versions.get("tailproof", "another version")
        raise UserError(
            "its schedule cannot be planned again from its command (it was planned by tailproof"
            f" {began})",
            where=str(run.folder),
            remedy="resume it with that version, from the folder it was begun in",
        )


def _moved(lane: Lane, sittings: list[SittingRecord]) -> Lane:
    """The lane in the run's time."""
    spans = cut_spans([(span.start_ns, span.end_ns) for span in lane.spans], sittings)
    return dataclasses.replace(
        lane,
        start_ns=in_run_time(lane.start_ns, sittings),
        end_ns=in_run_time(lane.end_ns - 1, sittings) + 1,
        spans=tuple(
            dataclasses.replace(lane.spans[number], start_ns=start, end_ns=end)
            for number, start, end in spans
        ),
    )


def _left_of(caps: Caps, plan: Plan, run: Run) -> Caps:
    """The caps less what earlier sittings may have been billed."""
    if caps.cost_usd is None:
        return caps
    schedule, samples, attempts = run.columns.schedule, run.columns.samples, run.attempts
    spending = Spending(plan.live().lanes, schedule, caps.cost_usd)
    calls: dict[int, list[Any]] = {}
    for attempt in attempts:
        calls.setdefault(int(attempt["row"]), []).append((int(attempt["leg"]), attempt))
    # Of a call that is on no record the most is feared.
    for row in np.flatnonzero(
        (samples["sent_ns"] >= 0) | (samples["outcome"] == Outcome.censored)
    ).tolist():
        made = calls.get(row) or [(0, samples[row])]
        if not spending.begin(row):
            return dataclasses.replace(caps, cost_usd=Fraction(0))
        for leg, call in made:
            spending.called(
                row,
                leg,
                Outcome(call["outcome"]),
                int(call["prompt_tokens"]),
                int(call["output_tokens"]),
            )
        spending.ended(row)
    return dataclasses.replace(caps, cost_usd=caps.cost_usd - spending.spent_usd)
