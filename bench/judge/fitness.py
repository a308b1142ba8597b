"""Was the harness fit to judge this run?

In: a run, optionally another contract to hold it against. Out: its health, and the conduct of each
node that sent it. Must stay true: the budget for our own lateness is that of the tightest limit
that anything is held against; rows that were played in virtual time say nothing of us; a node that
was left out of the verdict speaks neither for nor against it, except that the load was asked of it
too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.judge.health import Conduct, Health, conduct_of, could_not_send, examine, too_few_sent
from bench.judge.reached import came_to
from bench.plan.contract import Contract
from bench.record.facts import Places, places_of
from bench.record.run_folder import Run
from bench.record.samples import Columns
from bench.units import MS, show_duration

Record = dict[str, Any]
#: What a process tells of itself and health weighs: of several the worst counts.
_OF_PROCESSES = ("loop_stall_max_ms", "clock_step_ms", "suspended_ms")


def fitness(run: Run, override: Contract | None = None) -> Health:
    """Health of the whole run, for all its lanes at once; of one with nodes left out, that of the
    others.
    """
    limit_ns, rows, places = _tightest_ns(run, override), _real(run), places_of(run.manifest)
    harness = {**run.manifest.get("harness", {}), "state": _state(run)}
    if shard := run.manifest.get("shard"):
        harness["shard"] = (
            f"shard {shard['number']} of {shard['of']}: tailproof merge judges them together"
        )
    if run.gaps_ns or "cluster" in run.manifest:
        harness["gaps"] = list(_gaps_told(run))
    lost = _lost(run.manifest, harness)
    if places is None:
        return examine(rows, harness, limit_ns, (), lost)
    gone = [entry["node"] for entry in run.manifest.get("left_out", [])]
    told = [conduct for conduct in conducts(run, override) if conduct.node not in gone]
    if gone:
        harness |= _without(run, places, gone, harness) | {"left_out": gone}
        ours, due = could_not_send(rows.samples)
        if too_few_sent(ours, due) and harness["state"] != "interrupted":
            lost.append(
                f"{ours:,} of {due:,} due requests could not be sent, with those of the nodes that"
                " were left out: the load was not the one asked for"
            )
        rows = rows.where(
            ~np.isin(
                places.node_of(rows.schedule),
                [index for index, name in enumerate(places.names) if name in gone],
            )
        )
    return examine(rows, harness, limit_ns, told, lost)


def conducts(run: Run, override: Contract | None = None) -> list[Conduct]:
    """What each node of a run did itself, those left out included; none of a run without places."""
    places = places_of(run.manifest)
    if places is None:
        return []
    rows, limit_ns, interrupted = (
        _real(run),
        _tightest_ns(run, override),
        _state(run) == "interrupted",
    )
    of_row, shortest_ns = places.node_of(rows.schedule), _shortest_phase_ns(run.manifest)
    return [
        conduct_of(
            rows.where(of_row == index), node, shortest_ns, limit_ns, interrupted=interrupted
        )
        for index, node in enumerate(places.nodes)
    ]


def _tightest_ns(run: Run, override: Contract | None) -> int | None:
    contracts = (
        [override]
        if override
        else [
            Contract.model_validate(lane["contract"])
            for lane in run.lanes
            if lane["contract"] and not lane.get("simulated")
        ]
    )
    limits = [
        contract.tightest_limit_ns
        for contract in contracts
        if contract.tightest_limit_ns is not None
    ]
    return min(limits, default=None)


def _real(run: Run) -> Columns:
    """The rows that a run came to and that were sent, or to be sent, over a network."""
    rows = came_to(run)
    virtual = [index for index, lane in enumerate(run.lanes) if lane.get("simulated")]
    return rows.where(~np.isin(rows.schedule["lane"], virtual)) if virtual else rows


def _state(run: Run) -> str:
    return "interrupted" if run.manifest.get("ended_early") else run.state


def _shortest_phase_ns(manifest: Record) -> int:
    return min(
        (
            int(span["end_ns"]) - int(span["start_ns"])
            for lane in manifest["lanes"]
            for span in lane["phase_spans"]
        ),
        default=0,
    )


def _gaps_told(run: Run) -> Iterator[str]:
    """A sentence for each stretch that was planned and is on no record."""
    planned, came, breaks = (
        len(run.columns),
        len(came_to(run)),
        len(run.manifest.get("sittings", [])[1:]),
    )
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
    if "cluster" in run.manifest:
        yield "what its shards sent lies on the nodes of its cluster: " + (
            "it comes here when they end"
            if run.state == "running"
            else "tailproof collect RUN brings it here and ends the run"
        )


def _lost(manifest: Record, harness: Record) -> list[str]:
    """A sentence for the shards that went with each node; `harness` then no longer says of them
    that they were not given.
    """
    together: dict[tuple[str, str], list[Record]] = {}
    for shard in manifest.get("shards", []):
        if shard.get("lost"):
            node = f" with {shard['place']['node']}" if shard.get("place") else ""
            together.setdefault((node, str(shard["lost"])), []).append(shard)
    numbers = [shard["number"] for shards in together.values() for shard in shards]
    if numbers:
        facts = harness.get("shards") or {}
        harness["shards"] = {
            **facts,
            **{
                key: [number for number in facts.get(key, ()) if number not in numbers]
                for key in ("missing", "ended_early")
            },
        }
    return [
        f"shard{'s' * (len(shards) > 1)} {', '.join(str(shard['number']) for shard in shards)} of"
        f" {shards[0]['of']} {'were' if len(shards) > 1 else 'was'} lost{node} ({why}): the load"
        " was not the one asked for"
        for (node, why), shards in together.items()
    ]


def _without(run: Run, places: Places, gone: list[str], harness: Record) -> Record:
    """What the harness's record says of the processes and starts of the other nodes alone.

    That a shard or a worker was lost stays: the load was asked of it too.
    """
    left = [node for node in places.nodes if node.name in gone]
    found: Record = {}
    by_worker = harness.get("by_worker") or []
    if len(by_worker) == harness.get("workers"):  # else nobody knows whose record is whose
        theirs = {number for node in left for number in node.workers}
        kept = [facts for number, facts in enumerate(by_worker) if number not in theirs]
        found = {
            name: max((facts[name] for facts in kept if name in facts), key=abs, default=0.0)
            for name in _OF_PROCESSES
        }
    if facts := harness.get("shards"):
        shards = [
            shard
            for shard in run.manifest["shards"]
            if (shard.get("place") or {}).get("node") not in gone
        ]
        began_ns = int(run.manifest["started_wall_ns"])
        skew_ns = max(
            (
                abs(int(shard["start"]["wall_ns"]) - began_ns)
                for shard in shards
                if shard.get("start")
            ),
            default=0,
        )
        share = skew_ns / max(_shortest_phase_ns(run.manifest), 1)
        found["shards"] = {
            **facts,
            "start_skew_ms": round(skew_ns / MS, 3),
            "start_skew_share": round(share, 6),
        }
    return found
