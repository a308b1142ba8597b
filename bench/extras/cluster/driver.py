"""One suite on the nodes of a cluster: cut, sent out, brought back and put together.

In: a suite, an engine. Out: a run's folder like any other, judged. Must stay true: this is wiring;
while the run lasts its folder holds what came back so far and where the rest lies, so that another
process can collect it; what a lost node did not send is there as never sent, with its reason, and
the verdict counts it as a shard's.
"""

from __future__ import annotations

import dataclasses
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from bench.app.conclude import PLAIN, Filing, Finished, conclude
from bench.app.conduct import Screen, census, command_facts, refuse_above
from bench.app.merge import fill, shard_record
from bench.app.shard_folders import read_parts
from bench.clock import monotonic_ns, sleep_s, wall_ns
from bench.errors import RunFolderError, UserError
from bench.extras.cluster.fleet import (
    LEAD_A_SEAT_NS,
    LEAD_NS,
    SILENCE_NS,
    Fleet,
    RemotePart,
    dismiss,
    fetch,
)
from bench.extras.cluster.node import Engine, Job, RemoteAgent
from bench.extras.cluster.outbox import Inbox
from bench.extras.cluster.ray_engine import RayEngine
from bench.judge.left_out import leave_out as leave_nodes_out
from bench.judge.left_out import refuse_unknown
from bench.load.ceiling import needed_workers
from bench.load.generator import STOP_DRAIN_NS
from bench.load.options import RunOptions, kept_plan, plan_file
from bench.load.shard import Place, Shard, Start
from bench.plan.prompts import PromptText
from bench.plan.schedule import Plan
from bench.record.digests import was_edited
from bench.record.facts import places_among
from bench.record.files import npy_bytes, table_digest, write_atomically, write_json
from bench.record.identity import inputs, plan_facts, run_id
from bench.record.parts import Part
from bench.record.records.manifest import ClusterRecord, ClusterShard
from bench.record.run_folder import LaterSitting, RunWriter, read_schedule, under_way
from bench.units import S, show_duration

Record = dict[str, Any]
#: Where the shards' folders lie while the run lasts, and the key of the manifest that says where
#: they are on the nodes.
_SHARDS = "shards"
#: A plan's table is written between the agreement and the start.
_LEAD_A_ROW_NS = 200
#: A shard whose driver is gone drains for so long at the most.
_DRAIN_NS = STOP_DRAIN_NS + 30 * S


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The cluster that a run is played on, and how."""

    address: str
    #: a folder that this machine and all nodes see under this name
    shared: Path | None = None
    #: nodes whose rows no verdict rests on
    leave_out: Sequence[str] = ()
    #: a node silent for so long is given up
    silence_ns: int = SILENCE_NS
    join: Callable[[str], Engine] = RayEngine


def conduct_on(
    cluster: Cluster, plan: Plan, options: RunOptions, screen: Screen, filing: Filing = PLAIN
) -> Finished:
    """Play a plan on the nodes of a cluster. Raises TailproofError before anything was sent."""
    refuse_above(plan, options.max_requests)
    Shard(1, 2).refuse(plan)
    folder, start_at_ns = options.folder, options.shard.start_at_ns
    if folder is not None and (folder / "run.json").exists():
        raise RunFolderError(
            "holds a run already", where=str(folder), remedy="choose another --out"
        )
    if start_at_ns is not None:
        Start.at(start_at_ns)
    text = PromptText(plan.seed, options.tokenizer)
    facts = command_facts(plan, text, options) | {
        "inputs": [file.to_json() for file in inputs(plan.suite)]
    }
    engine = cluster.join(cluster.address)
    try:
        fleet = Fleet(
            _remote_parts(engine, plan, options, facts),
            len(plan.lanes),
            screen.warn,
            cluster.silence_ns,
        )
        _refuse_unknown_nodes(cluster.leave_out, fleet.parts, cluster.address)
        screen.open(plan)
        try:
            writer, instant = _ready(fleet, plan, facts, cluster, options)
            fleet.begin(instant)
            with _ctrl_c(fleet.stop, screen.warn):
                fleet.play(screen.tick)
            fleet.compare_clocks(after=True)
        finally:
            screen.close()
        _refuse_going_on(writer, fleet.parts)
        finished = _together(writer, [(part.folder, part.part()) for part in fleet.parts])
        fleet.dismiss()
    finally:
        engine.close()
    if plan.suite.months:
        write_json(finished / "census.json", census(plan.suite))
    if cluster.leave_out:
        leave_nodes_out(finished, cluster.leave_out)
    return conclude(finished, filing)


def _refuse_unknown_nodes(names: Sequence[str], parts: Sequence[RemotePart], address: str) -> None:
    """Raises UserError for a name that no node of the cluster has."""
    if names:
        shards = [shard_record(part.part()) for part in parts]
        refuse_unknown(names, places_among(shards), address)


def _remote_parts(
    engine: Engine, plan: Plan, options: RunOptions, manifest: Record
) -> list[RemotePart]:
    """Cut the plan, and give each shard its agent.

    Raises UserError for a plan that cannot be cut so, or has no room.
    """
    of = options.workers or max(engine.nodes, needed_workers(plan))
    try:
        plans = Shard.all_of(plan, of)
    except UserError as error:
        raise UserError(error.message, where="--workers", remedy="use fewer") from None
    digest = table_digest(plan.schedule)
    return [
        RemotePart(
            agent,
            Job(
                cut,
                Shard(number, of, place=agent.place, whole_sha256=digest),
                options.caps,
                manifest["tokenizer"],
                manifest,
            ),
        )
        for number, (cut, agent) in enumerate(zip(plans, engine.agents(of), strict=True), 1)
    ]


def _ready(
    fleet: Fleet, plan: Plan, manifest: Record, cluster: Cluster, options: RunOptions
) -> tuple[RunWriter, int]:
    """(the run's folder, the instant to begin at) once every node is ready.

    Raises TailproofError, and then leaves nothing on them.
    """
    try:
        fleet.prepare(cluster.shared, plan.suite.name)
        fleet.compare_clocks()
        fleet.refuse_lost()
        lead_ns = LEAD_NS + LEAD_A_SEAT_NS * len(fleet.parts) + _LEAD_A_ROW_NS * len(plan.schedule)
        start_at_ns = options.shard.start_at_ns
        instant = wall_ns() + lead_ns if start_at_ns is None else Start.at(start_at_ns).wall_ns
        name = run_id(plan, instant)
        facts = plan_facts(plan, name, instant).replace(
            **manifest, cluster=_afar(fleet.parts, cluster)
        )
        writer = RunWriter(
            options.folder or options.results / name,
            facts,
            plan.schedule,
            plan_file(plan, options),
        )
        try:
            _make_room(writer.folder, fleet.parts, cluster.shared)
        except BaseException:
            writer.discard()
            raise
    except BaseException:
        fleet.dismiss()
        raise
    return writer, instant


def _afar(parts: Sequence[RemotePart], cluster: Cluster) -> ClusterRecord:
    """Where the shards lie while the run lasts, for `collect`."""
    shards = []
    for part in parts:
        known = shard_record(part.part()).to_json()
        shard = {**known, "node_id": part.agent.node_id, "folder": part.node_folder}
        shards.append(ClusterShard.model_validate(shard))
    return ClusterRecord(
        address=cluster.address,
        shared=cluster.shared is not None,
        leave_out=list(cluster.leave_out),
        shards=shards,
    )


def _make_room(folder: Path, parts: Sequence[RemotePart], shared: Path | None) -> None:
    """A folder here for each shard, with its slice, unless its node's is seen from here."""
    for part in parts:
        if shared is not None:
            part.folder = Path(part.node_folder)
            continue
        part.folder = folder / _SHARDS / str(part.job.shard.number)
        (part.folder / "samples").mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(part.folder / "schedule.npy", npy_bytes(part.job.plan.schedule))
        part.inbox = Inbox(part.folder)


def _refuse_going_on(writer: RunWriter, parts: Sequence[RemotePart]) -> None:
    """Raises RunFolderError where a node that was given up still writes to the shared folder; the
    run is there to be collected.
    """
    for part in parts:
        if part.lost is not None and part.folder.is_dir() and under_way(part.folder):
            writer.let_go()
            raise RunFolderError(
                f"is still written to by {part.node}, which {part.lost}",
                where=str(part.folder),
                remedy=f"tailproof collect {writer.folder} waits for its end",
            )


def _together(writer: RunWriter, shards: Sequence[tuple[Path, Part]]) -> Path:
    """Put the shards' rows into the run that `writer` holds, and clear away what is in it now; of
    each: its folder, and what is known beside it.
    """
    there = [folder for folder, _ in shards if (folder / "run.json").is_file()]
    read = {part.number: part for part in (read_parts(there, "there") if there else [])}
    for part in read.values():
        of_it = part.whole_sha256 == writer.manifest.schedule_sha256 and part.of == len(shards)
        if not of_it:
            raise UserError(
                "is of another run",
                where=str(part.folder),
                remedy=f"see what became of that of {writer.folder}",
            )
    parts = [
        dataclasses.replace(
            read.get(known.number, known), place=known.place, clock=known.clock, lost=known.lost
        )
        for _, known in shards
    ]
    writer.manifest = writer.manifest.without("cluster")
    fill(writer, parts, read_schedule(writer.folder))
    for folder in there:  # nothing else that a manifest may name
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(writer.folder / _SHARDS, ignore_errors=True)
    return writer.folder


def collect(
    folder: Path,
    join: Callable[[str], Engine] | None,
    leave_out: Sequence[str] = (),
    filing: Filing = PLAIN,
) -> Finished:
    """End a run whose driver is gone: what its shards left is brought here, put together and
    judged.

    `join` is given the address of the cluster; None: what is here already is all there is. Raises
    RunFolderError while the driver lives, UserError for a run that has nothing to collect.
    """
    writer = LaterSitting(folder)
    try:
        afar = writer.manifest.cluster
        if afar is None:
            raise UserError(
                "has no shards that lie elsewhere",
                where=str(folder),
                remedy=f"tailproof report {folder}",
            )
        if was_edited(folder) is not False:
            raise RunFolderError("was edited since it was written", where=str(folder / "run.json"))
        leave_out = leave_out or afar.leave_out
        if leave_out:
            refuse_unknown(
                leave_out,
                places_among(afar.shards),
                str(folder),
            )
        months = _census_of(writer)
        engine = join(afar.address) if join is not None and not afar.shared else None
        try:
            _bring(writer, afar, engine)
        finally:
            if engine is not None:
                engine.close()
    finally:
        writer.let_go()
    if months is not None:
        write_json(folder / "census.json", months)
    if leave_out:
        leave_nodes_out(folder, leave_out)
    return conclude(folder, filing)


def _census_of(writer: RunWriter) -> Record | None:
    """census.json of the suite's own logs, by the plan that the folder keeps; None where it keeps
    none, has no log, or one of them is not on this machine.
    """
    if writer.manifest.plan_sha256 is None:
        return None
    suite = kept_plan(writer.folder).suite
    there = suite.months and all(file.is_file() for _, file in suite.months)
    return census(suite) if there else None


def _bring(writer: RunWriter, afar: ClusterRecord, engine: Engine | None) -> None:
    """Bring here what the shards left, put it together, and then remove it there."""
    shards, keepers = [], list[RemoteAgent]()
    for shard in afar.shards:
        place, lost = shard.place, None
        own = writer.folder / _SHARDS / str(shard.number)
        here = Path(shard.folder) if afar.shared else own
        if afar.shared:
            _wait_for_its_end(here)
        elif engine is not None and place is not None:
            keeper = engine.agent_on(shard.node_id, Place(place.node, place.region))
            lost = fetch(keeper, shard.folder, Inbox(here))
            keepers += [keeper] if lost is None else []
        part = Part.of_shard(
            "there", shard.number, shard.of, place=place, clock=shard.clock, lost=lost
        )
        shards.append((here, part))
    _together(writer, shards)
    dismiss(keepers)


def _wait_for_its_end(folder: Path) -> None:
    """A shard without a driver drains and seals.

    Raises RunFolderError where it goes on all the same.
    """
    deadline = monotonic_ns() + _DRAIN_NS
    while folder.is_dir() and under_way(folder):
        if monotonic_ns() > deadline:
            raise RunFolderError(
                f"is still being written to after {show_duration(_DRAIN_NS)}", where=str(folder)
            )
        sleep_s(0.5)


@contextmanager
def _ctrl_c(stop: Callable[[], None], warn: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the shards; a second one cuts off what is under way."""
    times = 0

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal times
        times += 1
        warn(
            "cutting off what is under way"
            if times > 1
            else (
                "interrupted: nothing more is sent, answers under way have"
                f" {show_duration(STOP_DRAIN_NS)}; again cuts them off"
            )
        )
        stop()

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
