"""Evidence: what the sections above rest on, in drawers that print opens.

In: a run and its records. Out: one section. Must stay true: every clause stands here with its
deciding numbers, every target with its latencies and how its requests ended; percentiles of what
succeeded never stand without the count of what failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.judge.review import Records
from bench.metrics import HEADLINES, METRICS
from bench.quantiles import QUANTILES
from bench.record.records.manifest import LaneRecord
from bench.record.records.summary import Quantiles, TargetSummary
from bench.record.run_folder import Run
from bench.show import wording
from bench.show.best_route import calls_drawer
from bench.show.clauses import FEW
from bench.show.definitions import ATTRIBUTED, CENSUSED, COMPARED, DEFINITIONS
from bench.show.document import (
    Bullets,
    Code,
    Column,
    Drawer,
    Node,
    Pair,
    Pairs,
    Section,
    Table,
    Text,
)
from bench.show.facts import run_facts
from bench.show.places import quantile_column
from bench.show.target import target_nodes
from bench.show.tiers import pair_drawer
from bench.show.trust import conduct_drawers
from bench.show.uptime import months_drawers
from bench.show.verdicts import beside_the_verdicts, remarks, verdict_table
from bench.show.wording import CUT, count, failures, number, per_cent, usd, visible

_NAME_MOST = 60


def evidence_section(run: Run, records: Records) -> Iterator[Section]:
    """All drawers: of few targets one each, of many one a subject."""
    few = len(run.lanes) <= FEW
    nodes = [
        *_clauses(run, records),
        *([] if few else _latencies(run, records)),
        *([] if few else _load(run, records)),
        *(_targets(run, records) if few else []),
        *_behind(run, records),
        *_contracts(run, records),
        *_notes(run, records),
        _words(records),
        _files(run, records),
    ]
    answer = "Everything that the sections above rest on."
    yield Section("evidence", "Evidence", nodes, "Evidence", answer, own_sheet=not few)


def _clauses(run: Run, records: Records) -> Iterator[Node]:
    verdicts = records.verdicts
    few = len(run.lanes) <= FEW
    if (table := verdict_table(verdicts)) is not None:
        levels = " or ".join(map(per_cent, wording.confidence_levels(verdicts.clauses)))
        about = f"{_so_many(len(table.rows), 'row')}, at {levels} confidence"
        looks = run.manifest.early_stop
        below = [Text(said, tone="remark") for said in remarks(verdicts, looks)]
        yield Drawer("Every clause with its deciding numbers", [table, *below], about, open=few)
    if aside := list(beside_the_verdicts(verdicts.clauses)):
        yield Drawer("Beside the verdicts", aside, "what was set aside, and was the run steady")


def _so_many(number_of: int, what: str) -> str:
    return f"{count(number_of)} {what}{'s' * (number_of != 1)}"


# ---- latencies of all targets


@dataclass(frozen=True)
class _Latency:
    target: str
    metric: str
    found: Quantiles | None


LATENCY_COLUMNS: list[Column[_Latency]] = [
    Column("target", lambda row: row.target, "group"),
    Column("metric", lambda row: row.metric, "words"),
    Column("answered", lambda row: count(row.found.n if row.found else 0)),
    *(quantile_column(key, lambda row: row.found) for key in ("mean", *QUANTILES, "max")),
]


def _latencies(run: Run, records: Records) -> Iterator[Node]:
    rows = [
        _Latency(visible(lane.name, _NAME_MOST), METRICS[metric].label, found)
        for lane in run.lanes
        for metric in HEADLINES
        if (found := records.summary.targets[lane.name].response_ms.get(metric)) is not None
    ]
    if rows:
        caption = "Latency of the answered requests, ms, from the moment each was due"
        about = "failed requests are in the clauses, not here"
        yield Drawer("Latencies", [Table(caption, LATENCY_COLUMNS, rows)], about)


# ---- load, outcomes, tokens


@dataclass(frozen=True)
class _Load:
    lane: LaneRecord
    target: TargetSummary


def _of(value: Callable[[TargetSummary], str]) -> Callable[[_Load], str]:
    return lambda row: value(row.target)


def _failed(target: TargetSummary) -> str:
    return failures(target.outcomes) or "none"


def _usd(target: TargetSummary) -> str:
    return usd(target.cost.usd if target.cost else None)


LOAD_COLUMNS: list[Column[_Load]] = [
    Column("target", lambda row: visible(row.lane.name, _NAME_MOST), "group"),
    Column("model", lambda row: visible(row.lane.model, 80), "words"),
    Column("offered", lambda row: number(row.target.offered_rps), unit="/s"),
    Column("requests", _of(lambda target: count(target.requests))),
    Column("warm-up", _of(lambda target: count(target.warmup))),
    Column("succeeded", _of(lambda target: count(target.ok))),
    Column("failed", _of(_failed), "words"),
    Column("tokens in", _of(lambda target: count(target.tokens.prompt))),
    Column("tokens out", _of(lambda target: count(target.tokens.output))),
    Column("connections", _of(lambda target: count(target.new_connections))),
    Column(
        "cost", _of(_usd), unit="USD", show_if=lambda rows: any(row.target.cost for row in rows)
    ),
]


def _load(run: Run, records: Records) -> Iterator[Node]:
    rows = [_Load(lane, records.summary.targets[lane.name]) for lane in run.lanes]
    caption = "How much was asked, and how it ended; warm-up included"
    yield Drawer("Load, outcomes and tokens", [Table(caption, LOAD_COLUMNS, rows)], "by target")


def _targets(run: Run, records: Records) -> Iterator[Node]:
    """All that is known of each."""
    for index, lane in enumerate(run.lanes):
        nodes = target_nodes(run, index, records.summary.targets[lane.name])
        about = "every metric, outcome and part of the run"
        whose = visible(lane.name, _NAME_MOST) if len(run.lanes) > 1 else "the target"
        yield Drawer(f"All of {whose}", nodes, about)


def _behind(run: Run, records: Records) -> Iterator[Node]:
    """What comparisons, routes, logs and the harness's conduct rest on."""
    if records.comparisons:
        yield from map(pair_drawer, records.comparisons.comparisons)
    if records.routes:
        yield from calls_drawer(records.routes)
    if records.census:
        yield from months_drawers(records.census.months)
    yield from conduct_drawers(records.summary, run.lanes)


# ---- contract, notes, words, files


def _contracts(run: Run, records: Records) -> Iterator[Node]:
    found = {lane.contract.name: lane.contract for lane in run.lanes if lane.contract}
    items = list[Pair]()
    for name, contract in found.items():
        said = visible(contract.title, CUT)
        if contract.source:
            said += f". Source: {visible(contract.source, 2 * CUT)}"
        if contract.not_stated:
            left = "; ".join(visible(each) for each in contract.not_stated)
            said += f". Not stated in it: {left}"
        items.append((visible(name, 60), said))
    for term in records.verdicts.attested:
        said = f"{visible(term.contract, 60)}: {visible(term.term)}"
        items.append(("attested, not measured", said))
    if items:
        yield Drawer("Contract", [Pairs(items)], "as it was read")


def _notes(run: Run, records: Records) -> Iterator[Node]:
    manifest = run.manifest
    notes = [*manifest.notes, *records.verdicts.not_applied]
    for lane in run.lanes:
        notes += [f"{lane.name}: {note}" for note in lane.notes]
    if notes:
        shown = Bullets([visible(note, 2 * CUT) for note in dict.fromkeys(notes)])
        yield Drawer("Notes", [shown], _so_many(len(shown.items), "note"))


def _words(records: Records) -> Drawer:
    """What the words mean, those of parts that only some reports have among them."""
    terms = [*DEFINITIONS]
    terms += COMPARED if records.comparisons else ()
    terms += CENSUSED if records.census else ()
    terms += ATTRIBUTED if any(each.causes for each in records.attribution.targets.values()) else ()
    return Drawer("What the words mean", [Pairs(terms)])


def _files(run: Run, records: Records) -> Drawer:
    nodes: list[Node] = []
    if repeat := run.manifest.repeat_command:
        nodes.append(Code(visible(repeat, 2000), "Repeat this run"))
    nodes.append(Pairs(list(run_facts(run, records.summary))))
    return Drawer("Files, digests and how to repeat it", nodes)
