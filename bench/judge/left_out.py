"""Nodes that are left out of the verdict: which may be, what is said of them, whose rows they sent.

In: a run that was sent from several nodes, names. Out: records for its manifest, and the rows that
they set aside. Must stay true: a node is called unfit for its own conduct alone, never for how long
its answers took; no row is dropped from the record, and what is set aside is counted with its
reason; of a run something is left to judge; the same manifest gives the same verdict anywhere.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import UserError
from bench.judge.fitness import conducts
from bench.judge.mistakes import key_refused
from bench.judge.reached import came_to
from bench.judge.served import api_of, asks_by_request, tier_words
from bench.plan.contract import Contract
from bench.record.facts import Facts, Places, places_of, run_facts
from bench.record.records.manifest import LaneRecord, LeftOut
from bench.record.records.record import Json
from bench.record.records.verdicts import LeftOutVerdict
from bench.record.run_folder import Run, read_manifest, write_manifest
from bench.record.samples import Bool, Columns, Flag

#: In place of a name: every node whose own conduct speaks against it.
UNFIT = "unfit"
ASKED_FOR = "asked for"


def refuse_unknown(names: Sequence[str], places: Places | None, where: str) -> None:
    """Raises UserError for a name that no node has, and where no node would be left."""
    known = places.names if places is not None else []
    asked = [name for name in names if name != UNFIT]
    there = ", ".join(known) or "none: the run does not say where it was sent from"
    for name in [name for name in asked if name not in known] or (list(names) if not known else []):
        raise UserError(
            f"{name!r} is no node of {where} (they are: {there})",
            where="--leave-out",
            remedy=f"name one of them, or write {UNFIT}"
            if known
            else "give the shards a --vantage",
        )
    if asked and {*known} <= {*asked}:
        raise UserError(
            f"nothing would be left of {where} (its nodes: {there})",
            where="--leave-out",
            remedy="leave one in",
        )


def decide(
    run: Run,
    names: Sequence[str],
    override: Contract | None = None,
) -> list[LeftOut]:
    """`left_out` of a run's manifest once these nodes are left out too, in the order of nodes.

    `unfit` stands for every node that its own conduct speaks against under the contracts in force;
    where that is every node there is, it leaves none out, and health says why the run cannot be
    trusted. Raises UserError.
    """
    places = places_of(run.manifest)
    before = {entry.node: entry.why for entry in run.manifest.left_out}
    refuse_unknown([*before, *names], places, str(run.folder))
    assert places is not None
    why = {name: ASKED_FOR for name in names if name != UNFIT}
    if UNFIT in names:
        unfit = {
            each.node: "; ".join([*each.invalid, *each.degraded])
            for each in conducts(run, override)
            if each.unfit
        }
        if not {*places.names} <= {*why, *before, *unfit}:
            why = unfit | {name: said for name, said in why.items() if name not in unfit}
    why |= before
    return [LeftOut(node=name, why=why[name]) for name in places.names if name in why]


def leave_out(folder: Path, names: Sequence[str]) -> None:
    """Write what `decide` says into a sealed run's manifest, before the run is judged.

    Raises UserError.
    """
    manifest = read_manifest(folder)
    run = Run(folder)
    if left_out := decide(run, names):
        changed: Json = {"left_out": left_out}
    else:
        changed = {}
    if UNFIT in names and all(each.unfit for each in conducts(run)):
        changed["notes"] = [
            *manifest.notes,
            "Every node was late or skewed by its own doing, so none was left out for it.",
        ]
    if changed:
        write_manifest(folder, manifest.replace(**changed))


def without(run: Run, left_out: list[LeftOut]) -> Run:
    """The run as it would be judged if its manifest said so; nothing is written."""
    changed = copy.copy(run)
    changed.manifest = run.manifest.replace(left_out=left_out)
    return changed


def left_out_of(run: Run) -> list[LeftOutVerdict]:
    """`left_out` of verdicts.json: of each node also how many of the run's requests it had, and how
    many it sent.
    """
    rows = came_to(run)
    found = []
    for entry in run.manifest.left_out:
        mine = _of_node(run, rows, entry.node)
        found.append(
            LeftOutVerdict(
                node=entry.node,
                why=entry.why,
                requests=int(mine.sum()),
                sent=int((rows.samples["sent_ns"][mine] >= 0).sum()),
                of=len(rows),
            )
        )
    return found


def facts_of(run: Run, lane: LaneRecord, columns: Columns) -> Facts:
    """The facts beside these rows of a lane; among what is set aside the rows of nodes that were
    left out, and those that a key of ours was refused for.
    """
    aside = [
        (f"sent by {name}, which was left out", _of_node(run, columns, name))
        for name in run.manifest.left_out_nodes
    ]
    held_up = held_up_rows(columns)
    if held_up.any():
        aside.append(("under way while the harness stood still", held_up))
    refused = key_refused(columns)
    if refused.any():
        aside.append(("refused for our key, which had been valid before", refused))
    facts = _said_by_answers(run_facts(run, lane), run, lane, columns)
    return dataclasses.replace(facts, aside=tuple(aside))


def _said_by_answers(facts: Facts, run: Run, lane: LaneRecord, columns: Columns) -> Facts:
    """With what the answers say of tiers and errors, as logs have it in columns of their own; a
    column that no row has is absent.
    """
    if lane.simulated:
        return facts
    found = {
        name: (run.strings(kind), columns.samples[kind])
        for name, kind in (("tier", "served_tier"), ("code", "error_code"))
        if (columns.samples[kind] >= 0).any()
    }
    return dataclasses.replace(
        facts,
        texts={**facts.texts, **{name: words for name, (words, _) in found.items()}},
        labels={name: numbers for name, (_, numbers) in found.items()},
        honours=api_of(lane).honours,
        tier_by_request=tier_words(run, lane) is not None and asks_by_request(lane),
    )


def held_up_rows(columns: Columns) -> Bool:
    """Rows that were under way, or due, while the harness stood still."""
    mask: Bool = (columns.samples["flags"] & Flag.HELD_UP) != 0
    return mask


def kept(run: Run, columns: Columns) -> Columns:
    """These rows without those of nodes that were left out."""
    for name in run.manifest.left_out_nodes:
        columns = columns.where(~_of_node(run, columns, name))
    return columns


def _of_node(run: Run, columns: Columns, name: str) -> Bool:
    places = places_of(run.manifest)
    mine: Bool = np.zeros(len(columns), bool)
    if places is not None and name in places.names:
        mine = places.node_of(columns.schedule) == places.names.index(name)
    return mine
