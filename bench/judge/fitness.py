"""Was the harness fit to judge this run?

In: a run, optionally another contract to hold it against. Out: its health, and the conduct of each
node that sent it. Must stay true: the budget for our own lateness is that of the tightest limit
that anything is held against; rows that were computed say nothing of us; a node that
was left out of the verdict speaks neither for nor against it, except that the load was asked of it
too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from bench.judge.health import Conduct, Health, conduct_of, could_not_send, examine, too_few_sent
from bench.judge.mistakes import mistakes_of
from bench.judge.reached import came_to
from bench.plan.contract import Contract
from bench.record.facts import Places, places_of
from bench.record.records.harness import Harness, State
from bench.record.records.manifest import LaneRecord, Manifest, ShardRecord
from bench.record.records.record import Json
from bench.record.run_folder import Run
from bench.record.samples import Columns
from bench.units import MS, show_duration

#: What a process tells of itself and health weighs: of several the worst counts.
_OF_PROCESSES = ("loop_stall_max_ms", "clock_step_ms", "suspended_ms")


def fitness(run: Run, override: Contract | None = None) -> Health:
    """Health of the whole run, for all its lanes at once; of one with nodes left out, that of the
    others. Requests that the buyer's own mistake had refused make it invalid too.
    """
    health = _of_harness(run, override)
    mistakes = mistakes_of(run)
    if not mistakes:
        return health
    reasons = [mistake.text for mistake in mistakes] + health.reasons
    return replace(health, state="invalid", reasons=reasons, mistakes=mistakes, by_stage={})


def _of_harness(run: Run, override: Contract | None) -> Health:
    manifest = run.manifest
    limit_ns = _tightest_ns(run, override)
    rows = _real(run)
    places = places_of(manifest)
    harness, lost = _lost(manifest, manifest.harness.replace(state=_state(run)))
    more = _more_facts(run)
    if places is None:
        whole = examine(rows, harness, limit_ns, (), lost, more)
        return _stage_by_stage(
            run,
            override,
            rows,
            whole,
            lambda part, limit: examine(part, harness, limit, (), lost, more),
        )
    gone = manifest.left_out_nodes
    kept_nodes = [conduct for conduct in conducts(run, override) if conduct.node not in gone]
    if gone:
        harness = _without(run, places, gone, harness)
        more["left_out"] = gone
        ours, due = could_not_send(rows.samples)
        if too_few_sent(ours, due) and harness.state != "interrupted":
            lost.append(
                f"{ours:,} of {due:,} due requests could not be sent, with those of the nodes that"
                " were left out: the load was not the one asked for"
            )
        numbers = [index for index, name in enumerate(places.names) if name in gone]
        rows = rows.where(~np.isin(places.node_of(rows.schedule), numbers))
    return examine(rows, harness, limit_ns, kept_nodes, lost, more)


def _stage_by_stage(
    run: Run,
    override: Contract | None,
    rows: Columns,
    whole: Health,
    examined: Callable[[Columns, int | None], Health],
) -> Health:
    """An invalid run of several stages, with the health of each that was sent: one stage that came
    too late says nothing of the others.
    """
    stages: dict[str, list[int]] = {}
    for index, lane in enumerate(run.lanes):
        if not lane.simulated:
            stages.setdefault(lane.stage, []).append(index)
    if whole.state != "invalid" or len(stages) < 2:
        return whole
    by_stage = {
        stage: examined(
            rows.where(np.isin(rows.schedule["lane"], lanes)),
            _tightest_of([run.lanes[index] for index in lanes], override),
        )
        for stage, lanes in stages.items()
    }
    reasons = [
        f"in stage {stage} {health.reasons[0]}"
        for stage, health in by_stage.items()
        if health.state == "invalid"
    ]
    if not reasons or len(reasons) == len(by_stage):
        return replace(whole, by_stage=by_stage) if reasons else whole
    return replace(whole, reasons=[*reasons, *whole.reasons[1:]], by_stage=by_stage)


def _more_facts(run: Run) -> Json:
    """What the harness's record does not say of a run that is not whole."""
    found: Json = {}
    if (shard := run.manifest.shard) is not None:
        found["shard"] = f"shard {shard.number} of {shard.of}: tailproof merge judges them together"
    if run.gaps_ns or run.manifest.cluster is not None:
        found["gaps"] = list(_gaps_in_words(run))
    return found


def conducts(run: Run, override: Contract | None = None) -> list[Conduct]:
    """What each node of a run did itself, those left out included; none of a run without places."""
    places = places_of(run.manifest)
    if places is None:
        return []
    rows = _real(run)
    limit_ns = _tightest_ns(run, override)
    interrupted = _state(run) == "interrupted"
    of_row = places.node_of(rows.schedule)
    shortest_ns = run.manifest.shortest_phase_ns
    return [
        conduct_of(
            rows.where(of_row == index),
            node,
            shortest_ns,
            limit_ns,
            interrupted=interrupted,
        )
        for index, node in enumerate(places.nodes)
    ]


def _tightest_ns(run: Run, override: Contract | None) -> int | None:
    return _tightest_of([lane for lane in run.lanes if not lane.simulated], override)


def _tightest_of(lanes: Sequence[LaneRecord], override: Contract | None) -> int | None:
    own = [lane.contract for lane in lanes if lane.contract]
    limits = [contract.tightest_limit_ns for contract in ([override] if override else own)]
    return min((limit for limit in limits if limit is not None), default=None)


def _real(run: Run) -> Columns:
    """The rows that a run came to and that were sent, or to be sent, over a network."""
    rows = came_to(run)
    virtual = run.manifest.simulated_lanes
    if virtual:
        return rows.where(~np.isin(rows.schedule["lane"], virtual))
    return rows


def _state(run: Run) -> State:
    if run.manifest.ended_early:
        return "interrupted"
    return run.state


def _gaps_in_words(run: Run) -> Iterator[str]:
    """A sentence for each stretch that was planned and is on no record."""
    planned = len(run.columns)
    came = len(came_to(run))
    breaks = len(run.manifest.later_sittings)
    for start, end in run.gaps_ns[:breaks]:
        yield (
            f"broken off after {show_duration(start)} and resumed {show_duration(end - start)}"
            " later: between the two sittings nothing was sent and nothing seen"
        )
    for start, end in run.gaps_ns[breaks:]:
        yield (
            f"the record ends {show_duration(start)} into a run of {show_duration(end)}: "
            f"{planned - came:,} of {planned:,} requests were never reached"
        )
    if run.manifest.cluster is not None:
        yield "what its shards sent lies on the nodes of its cluster: " + (
            "it comes here when they end"
            if run.state == "running"
            else "tailproof collect RUN brings it here and ends the run"
        )


def _lost(manifest: Manifest, harness: Harness) -> tuple[Harness, list[str]]:
    """(the harness's record, a sentence for the shards that went with each node): what is said of
    a lost shard there is not said again as one that was not given.
    """
    together: dict[tuple[str, str], list[ShardRecord]] = {}
    for shard in manifest.shards:
        if shard.lost:
            node = f" with {shard.place.node}" if shard.place else ""
            together.setdefault((node, shard.lost), []).append(shard)
    numbers = {shard.number for shards in together.values() for shard in shards}
    if numbers and (facts := harness.shards) is not None:
        facts = facts.replace(
            missing=[number for number in facts.missing if number not in numbers],
            ended_early=[number for number in facts.ended_early if number not in numbers],
        )
        harness = harness.replace(shards=facts)
    return harness, [_lost_in_words(shards, node, why) for (node, why), shards in together.items()]


def _lost_in_words(shards: list[ShardRecord], node: str, why: str) -> str:
    several = len(shards) > 1
    named = ", ".join(str(shard.number) for shard in shards)
    return (
        f"shard{'s' * several} {named} of {shards[0].of} {'were' if several else 'was'}"
        f" lost{node} ({why}): the load was not the one asked for"
    )


def _without(
    run: Run,
    places: Places,
    gone: list[str],
    harness: Harness,
) -> Harness:
    """What the harness's record says of the processes and starts of the other nodes alone.

    That a shard or a worker was lost stays: the load was asked of it too.
    """
    if len(harness.by_worker) == harness.workers:  # else nobody knows whose record is whose
        theirs = {number for node in places.nodes if node.name in gone for number in node.workers}
        kept = [process for number, process in enumerate(harness.by_worker) if number not in theirs]
        harness = harness.replace(
            **{
                name: max((getattr(process, name) for process in kept), key=abs, default=0.0)
                for name in _OF_PROCESSES
            }
        )
    if (facts := harness.shards) is None:
        return harness
    began_ns = run.manifest.started_wall_ns
    starts = [
        shard.start
        for shard in run.manifest.shards
        if shard.start is not None and (shard.place is None or shard.place.node not in gone)
    ]
    skew_ns = max((abs(start.wall_ns - began_ns) for start in starts), default=0)
    share = skew_ns / max(run.manifest.shortest_phase_ns, 1)
    return harness.replace(
        shards=facts.replace(start_skew_ms=round(skew_ns / MS, 3), start_skew_share=round(share, 6))
    )
