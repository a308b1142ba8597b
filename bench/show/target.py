"""One target's part of the report: what was asked of it, how it answered, what that cost.

In: a run, a lane, its records in summary and verdicts. Out: one section. Must stay true: every
scheduled row is in the table of outcomes; percentiles of what succeeded never stand without the
count of what failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.judge.served import api_of
from bench.metrics import HEADLINES, METRICS, VIEW_KEYS, Metric
from bench.quantiles import P50, P99, QUANTILES, by_key
from bench.record.records.harness import Harness
from bench.record.records.manifest import LaneRecord
from bench.record.records.record import Json
from bench.record.records.summary import PartSummary, Quantiles, TargetSummary
from bench.record.run_folder import Run
from bench.record.samples import Columns, Outcome
from bench.show.document import Column, Node, Pair, Pairs, Table
from bench.show.places import places_tables, quantile_column
from bench.show.served import served_pairs, served_tables
from bench.show.wording import ABSENT, count, number, per_cent, visible
from bench.units import show_duration, show_usd

#: What the server said beside an outcome, and model names: this many kinds are written out.
_NOTES_MOST, _MODELS_MOST = 3, 5
_TOKENS_FROM = {
    "usage": "as the server's usage says",
    "counted": "output counted from chunks",
    "none": "unknown",
    "mixed": "partly from the server's usage, partly counted from chunks",
}


def target_nodes(run: Run, index: int, target: TargetSummary) -> list[Node]:
    """Everything about one lane."""
    lane, rows = run.lanes[index], run.columns.lane(index)
    about = [*_asked(run, lane), *_served(run, rows), *_answered(target)]
    about += [*served_pairs(target), *_billed(lane, target)]
    nodes: list[Node] = [
        Pairs(about),
        _key_numbers(lane, target),
        _outcomes(run, rows, target),
        *served_tables(target),
    ]
    if len(target.by_phase) > 1:
        nodes.append(_slices("By phase, ms", "phase", target.by_phase))
    if len(target.by_bucket) > 1:
        nodes.append(_slices("By context bucket, ms", "prompt tokens", target.by_bucket))
    return [*nodes, *places_tables(run.manifest, target)]


def _asked(run: Run, lane: LaneRecord) -> Iterator[Pair]:
    """What was asked of whom, and how."""
    yield "endpoint", visible(lane.base_url)
    yield "API", visible(lane.api, 80)
    for title, place in (("tier", lane.tier), ("region", lane.region)):
        if place:
            yield title, visible(place, 40)
    yield "model asked for", visible(lane.model, 120)
    profile = lane.profile
    rate = profile.get("arrivals", {}).get("rate")
    asked = f" at {visible(rate, 20)}" if rate else ""
    yield (
        "load",
        f"{visible(profile.get('name', ''), 60)}{asked}: {visible(profile.get('description', ''))}",
    )
    timeout = ABSENT if lane.timeout_ns is None else show_duration(lane.timeout_ns)
    cap = count(lane.max_in_flight) if lane.max_in_flight else "none"
    yield "request timeout, in-flight cap", f"{timeout}, {cap}"
    harness = run.manifest.harness
    if senders := _senders(harness, lane.name):
        yield "transport", f"{visible(lane.transport, 40)}, {_sent_by(senders)}"
    if lane.scenario:
        gateway = harness.gateway.get(lane.scenario)
        behind = "" if gateway is None or gateway.kept_up else ", which fell behind its own plan"
        yield "scenario of the simulated gateway", f"{visible(lane.scenario, 80)}{behind}"


def _senders(harness: Harness, lane: str) -> list[Json]:
    """What sent this lane's requests, of every worker; of a route, its legs."""
    found = [process.senders.get(lane) for process in harness.processes]
    return [leg for sender in found if sender for leg in sender.get("legs", [sender])]


def _sent_by(senders: Sequence[Json]) -> str:
    """Who stamped what arrived, and where that is known the connections opened, and those not
    trusted: by all senders together.
    """
    kernel = all(sender.get("stamps") == "kernel" for sender in senders)
    opened = [
        sender["connections_opened"]
        for sender in senders
        if sender.get("connections_opened") is not None
    ]
    said = f"arrivals stamped by the {'kernel' if kernel else 'process'}"
    if opened:
        said += f", {count(sum(opened))} connection{'s' * (sum(opened) != 1)} opened"
    if held_back := sum(sender.get("connections_held_back") or 0 for sender in senders):
        said += (
            f"; the server hangs up behind answers: {count(held_back)} times a connection was not"
            " used again at once"
        )
    return said


def _served(run: Run, rows: Columns) -> Iterator[Pair]:
    """Models that the server named."""
    named = run.strings("served_model")
    served = [
        visible(named[which], 120)
        for which in np.unique(rows.samples["served_model"])
        if 0 <= which < len(named)
    ]
    more = f" and {count(len(served) - _MODELS_MOST)} more" if len(served) > _MODELS_MOST else ""
    if served:
        yield "model named by the server", ", ".join(served[:_MODELS_MOST]) + more


def _answered(target: TargetSummary) -> Iterator[Pair]:
    """How many requests, how many answers."""
    warmup = f" ({count(target.warmup)} of them warm-up, not judged)" if target.warmup else ""
    yield "requests", f"{count(target.requests)}{warmup}"
    came = target.reached
    yield "succeeded", f"{count(target.ok)} ({per_cent(target.ok / came if came else None)})"
    yield "uptime, request ratio", per_cent(target.uptime.request_ratio)
    rates = (target.offered_rps, target.sent_rps)
    yield (
        "offered and sent",
        " and ".join(ABSENT if rate is None else f"{number(rate)}/s" for rate in rates),
    )


def _billed(lane: LaneRecord, target: TargetSummary) -> Iterator[Pair]:
    """Tokens, their price and what they came to."""
    if tokens := target.tokens:
        yield (
            "tokens in and out",
            (
                f"{count(tokens.prompt)} and {count(tokens.output)},"
                f" {_TOKENS_FROM.get(tokens.source, '')}"
            ),
        )
        if error := tokens.prompt_error:
            yield (
                "planned against billed prompt size",
                f"median error {per_cent(error.median)}, p95 {per_cent(error.p95)}",
            )
    if prices := lane.prices_written:
        ask = [
            visible(prices.get(f"{kind}_usd_per_million", ABSENT), 20)
            for kind in ("input", "output")
        ]
        dated = f", as of {visible(prices['as_of'], 20)}" if prices.get("as_of") else ""
        yield "list price, USD per million tokens", f"{ask[0]} in, {ask[1]} out{dated}"
    if cost := target.cost:
        usd = float(cost.usd)
        each = f", {show_usd(1000 * usd / target.ok)} USD per 1,000 answers" if target.ok else ""
        yield "cost at list price", f"{show_usd(usd)} USD{each}"


#: A name, and its quantiles in ms.
_KeyNumber = tuple[str, Quantiles | None]
KEY_NUMBER_COLUMNS: list[Column[_KeyNumber]] = [
    Column("metric", lambda row: row[0], "words"),
    Column("n", lambda row: count(row[1].n if row[1] else 0)),
    *(quantile_column(key, lambda row: row[1]) for key in (*QUANTILES, "max", "mean")),
]


def _key_numbers(lane: LaneRecord, target: TargetSummary) -> Table[_KeyNumber]:
    """Response beside service, the network's share beside the first tokens; without warm-up."""
    first = [metric for metric in METRICS.values() if metric.views and metric.streamed]
    rows = [
        *_metric_rows(target, first),
        ("connect, network's share", target.connect_ms),
    ]
    if (tls := target.tls_ms) is not None:
        rows.append(("TLS, network's share", tls))
    if target.server_ms is not None:
        at_end = api_of(lane).server_time_at_end
        said, until = ("answer says", "the end") if at_end else ("headers say", "the headers")
        rows.append((f"server's own time, as its {said}", target.server_ms))
        gap = f"from the send to {until}, beside it: network, queues before its clock"
        rows.append((gap, target.server_gap_ms))
    rows += _metric_rows(target, (metric for metric in METRICS.values() if metric not in first))
    caption = (
        "Key numbers, ms: latencies of the requests that succeeded; connecting and lag of all that"
        " have them"
    )
    return Table(caption, KEY_NUMBER_COLUMNS, rows)


def _metric_rows(target: TargetSummary, metrics: Iterable[Metric]) -> Iterator[_KeyNumber]:
    """A row for each view of these metrics that summary.json holds."""
    for metric in metrics:
        for key in metric.summary:
            found = _in_summary(target, key, metric.name)
            refined = _in_summary(target, key, metric.refines) if key in VIEW_KEYS else None
            if metric.refines and found in (None, refined):
                continue
            label = metric.label if metric.of_answers else metric.long_label
            view = f", {key.removesuffix('_ms')}" if metric.views else ""
            yield f"{label}{view}", found


def _in_summary(target: TargetSummary, key: str, metric: str) -> Quantiles | None:
    held = getattr(target, key, None)
    found: Quantiles | None = held.get(metric) if key in VIEW_KEYS and held else held
    return found


#: How requests ended, how many, of how many, and what was said of them.
_Ending = tuple[str, int, int, str]
ENDING_COLUMNS: list[Column[_Ending]] = [
    Column("outcome", lambda row: visible(row[0], 40), "words"),
    Column("requests", lambda row: count(row[1])),
    Column("share", lambda row: per_cent(row[1] / max(row[2], 1))),
    Column("what was said", lambda row: row[3], "words"),
]


def _outcomes(run: Run, rows: Columns, target: TargetSummary) -> Table[_Ending]:
    """Every outcome with its share and what the server most often said."""
    texts = run.strings("note")
    endings = []
    for name, times in target.outcomes.items():
        notes = rows.samples["note"][rows.samples["outcome"] == Outcome[name]]
        kinds, counts = np.unique(notes[(notes >= 0) & (notes < len(texts))], return_counts=True)
        often = sorted(
            zip(counts.tolist(), kinds.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1])
        )
        often_said = [f"{visible(texts[kind])} ({count(n)})" for n, kind in often[:_NOTES_MOST]]
        endings.append((name, times, target.requests, "; ".join(often_said)))
    return Table("How every request ended, warm-up included", ENDING_COLUMNS, endings)


@dataclass(frozen=True)
class _Slice:
    """A phase or bucket."""

    #: what it is one of: heads the column of names
    kind: str
    name: str
    found: PartSummary


def _of(metric: str) -> Callable[[_Slice], Quantiles | None]:
    return lambda row: row.found.response_ms.get(metric)


SLICE_COLUMNS: list[Column[_Slice]] = [
    Column(lambda rows: rows[0].kind, lambda row: visible(row.name, 40), "words"),
    Column("requests", lambda row: count(row.found.requests)),
    Column("ok", lambda row: count(row.found.ok)),
    *(
        quantile_column(key, _of(metric), f"{METRICS[metric].label} ")
        for metric in HEADLINES
        for key in (*by_key(P50, P99), "max")
    ),
]


def _slices(title: str, kind: str, parts: Mapping[str, PartSummary]) -> Table[_Slice]:
    rows = [_Slice(kind, name, found) for name, found in parts.items()]
    return Table(title, SLICE_COLUMNS, rows)
