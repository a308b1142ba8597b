"""A run as metrics: histograms, counters and facts under the names that monitoring systems know.

In: rows that a run came to, and its records once it was judged. Out: `Metric`s, named and labelled
by OpenTelemetry's conventions for generative AI where these have a name. Must stay true:
`gen_ai.client.*` counts from the send, as the convention says, `tailproof.response.*` from the
moment a request was due; warm-up is left out; each judged limit is an edge of the histograms, so
the share that broke it can be read.

Source: methods 6; github.com/open-telemetry/semantic-conventions-genai, gen-ai-metrics (status:
development).
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

import numpy as np

from bench.api.cause import Cause
from bench.columns import between_ns
from bench.judge.reached import came_to, undecided
from bench.judge.served import api_of, causes_in
from bench.metrics import METRICS, Series
from bench.metrics import Metric as Quantity
from bench.record.records.manifest import LaneRecord, Manifest
from bench.record.records.summary import Summary
from bench.record.records.verdicts import Verdicts
from bench.record.run_folder import Run
from bench.record.samples import Columns, Int, Outcome, Table
from bench.units import MS, S

#: Edges that the conventions advise: s of every duration (here in ms), tokens.
_EDGES_MS = tuple(10 * 2**step for step in range(14))
_EDGES_TOKENS = tuple(4**step for step in range(14))


#: A lane and one of its phases, an outcome, and the rows that ended so.
_Part = tuple[tuple[LaneRecord, str], int, Columns]


@dataclass(frozen=True)
class Point:
    """The value of one combination of labels."""

    labels: Mapping[str, str]
    #: of a counter or a fact; of a histogram the sum of its values, in the metric's unit
    value: float = 1
    #: of a histogram: values up to each edge and above the one before, then those above the last
    counts: tuple[int, ...] = ()

    def __add__(self, other: Point) -> Point:
        """Both together, of the same labels."""
        counts = tuple(map(operator.add, self.counts, other.counts))
        return Point(self.labels, self.value + other.value, counts)


@dataclass(frozen=True)
class Metric:
    """A metric with its points.

    `edges` are those of a histogram, whole numbers of `1 / per_unit`.
    """

    name: str
    unit: str
    kind: Literal["histogram", "counter", "gauge"]
    says: str
    points: tuple[Point, ...]
    edges: tuple[int, ...] = ()
    per_unit: int = 1


def run_metrics(run: Run, summary: Summary, verdicts: Verdicts) -> list[Metric]:
    """All metrics of a run that was judged; those without a point are left out."""
    clauses = tuple(
        Point(
            {
                "target": each.target,
                "stage": each.stage,
                "contract": each.contract,
                "clause": str(each.number),
                "says": each.text,
                "verdict": each.verdict,
            }
        )
        for each in verdicts.clauses
    )
    judged = Metric(
        "tailproof.clause.verdict",
        "1",
        "gauge",
        "1, with the verdict of each clause as a label.",
        clauses,
    )
    return [
        *row_metrics(run.lanes, came_to(run), run.strings("served_tier")),
        *([judged] if clauses else []),
        run_info(
            run.manifest,
            health=summary.health.state,
            overall=summary.overall,
            simulated=str(summary.simulated).lower(),
        ),
    ]


def run_info(manifest: Manifest, **judged: str) -> Metric:
    """What a run is, in labels; `judged` are those that its records alone know."""
    suite = "" if manifest.suite is None else manifest.suite.name
    about = {"run": manifest.run, "suite": suite, "state": manifest.state}
    return Metric(
        "tailproof.run.info",
        "1",
        "gauge",
        "1, with what the run was as labels.",
        (Point(about | judged),),
    )


def row_metrics(
    lanes: Sequence[LaneRecord], rows: Columns, tiers: Sequence[str] = ()
) -> list[Metric]:
    """The metrics of some rows that a run came to; those without a point are left out.

    `tiers` are the texts of `served_tier`; without them no answer names a tier.
    """
    parts = list(_parts(lanes, rows))
    edges = tuple(sorted({*(each * MS for each in _EDGES_MS), *_limits_ns(lanes)}))
    found = [
        Metric(
            series.name,
            "s",
            "histogram",
            series.says,
            tuple(_durations(metric, series, parts, edges)),
            edges,
            S,
        )
        for metric, series in _DURATIONS
    ]
    found += [
        Metric(
            "gen_ai.client.token.usage",
            "{token}",
            "histogram",
            "Tokens of a request, as its server reports them.",
            tuple(_tokens(parts)),
            _EDGES_TOKENS,
        ),
        Metric(
            "tailproof.requests",
            "{request}",
            "counter",
            "Requests that the run came to, by how they ended.",
            tuple(
                Point(_own(lane) | {"outcome": Outcome(outcome).name}, len(part))
                for lane, outcome, part in parts
            ),
        ),
        *_said_by_servers(parts, tiers, edges),
    ]
    return [metric for metric in found if metric.points]


def _said_by_servers(
    parts: list[_Part], tiers: Sequence[str], edges: tuple[int, ...]
) -> Iterator[Metric]:
    """What answers and errors say: tiers, causes, the servers' own time."""
    yield Metric(
        "tailproof.answers",
        "{request}",
        "counter",
        "Requests that succeeded, by the tier that their answer names.",
        tuple(_tiers(parts, tiers)),
    )
    yield Metric(
        "tailproof.failures",
        "{request}",
        "counter",
        "Requests that failed, by cause and whose it is.",
        tuple(_causes(parts)),
    )
    yield Metric(
        "tailproof.server.duration",
        "s",
        "histogram",
        "The server's own time, where it tells it.",
        tuple(_server_times(parts, edges)),
        edges,
        S,
    )


def _tiers(parts: list[_Part], tiers: Sequence[str]) -> Iterator[Point]:
    for lane, outcome, rows in parts:
        served = rows.samples["served_tier"]
        known = served[(served >= 0) & (served < len(tiers))]
        if outcome == Outcome.ok and len(known):
            numbers, counts = np.unique(known, return_counts=True)
            for number, n in zip(numbers.tolist(), counts.tolist(), strict=True):
                kind = api_of(lane[0]).tier_class(tiers[number])
                said = {"served_tier": tiers[number], "tier_class": kind.value}
                yield Point(_own(lane) | said, n)


def _causes(parts: list[_Part]) -> Iterator[Point]:
    """All outcomes of a part together: a label's point stands once."""
    for lane in dict.fromkeys((lane.name, phase) for (lane, phase), *_ in parts):
        mine = [part for part in parts if (part[0][0].name, part[0][1]) == lane]
        counts = Counter[str]()
        for _, _, rows in mine:
            counts.update(causes_in(rows))
        for cause, n in counts.items():
            said = {"cause": Cause(cause).value, "whose": Cause(cause).whose}
            yield Point(_own(mine[0][0]) | said, n)


def _server_times(parts: list[_Part], edges: tuple[int, ...]) -> Iterator[Point]:
    for lane, outcome, rows in parts:
        values = rows.samples["server_ns"].astype(np.int64)
        values = values[values >= 0]
        if outcome == Outcome.ok and len(values):
            yield _histogram(_own(lane), values, edges, S)


def added(one: list[Metric], other: list[Metric]) -> list[Metric]:
    """The metrics of two sets of rows of one run as those of both together."""
    together = {metric.name: metric for metric in one}
    for metric in other:
        points = {
            tuple(point.labels.items()): point
            for point in getattr(together.get(metric.name), "points", ())
        }
        for point in metric.points:
            key = tuple(point.labels.items())
            points[key] = point if key not in points else point + points[key]
        together[metric.name] = replace(metric, points=tuple(points.values()))
    return list(together.values())


def _parts(lanes: Sequence[LaneRecord], rows: Columns) -> Iterator[_Part]:
    """The measured ones of the rows."""
    measured = rows.measured()
    for index, lane in enumerate(lanes):
        own = measured.lane(index)
        for number, phase in enumerate(lane.phases):
            here = own.schedule["phase"] == number
            for outcome in np.unique(own.samples["outcome"][here]).tolist():
                yield (
                    (lane, phase),
                    outcome,
                    own.where(here & (own.samples["outcome"] == outcome)),
                )


def _limits_ns(lanes: Sequence[LaneRecord]) -> Iterator[int]:
    for lane in lanes:
        for clause in lane.contract.clauses if lane.contract else ():
            if clause.limit:
                yield clause.limit


def _own(part: tuple[LaneRecord, str]) -> dict[str, str]:
    lane, phase = part
    return {"target": lane.name, "stage": lane.stage, "phase": phase}


def _gen_ai(lane: LaneRecord) -> dict[str, str]:
    """The convention's attributes.

    The provider is the flavour of the API, as it asks; a route has no one server.
    """
    api = api_of(lane)
    if "," not in lane.base_url:
        server = urlsplit(lane.base_url)
    else:
        server = None
    port = server and (server.port or {"http": 80, "https": 443}.get(server.scheme))
    if server and server.hostname:
        place = {"server.address": server.hostname, "server.port": str(port)}
    else:
        place = {}
    return {
        "gen_ai.operation.name": api.operation,
        "gen_ai.provider.name": api.provider,
        "gen_ai.request.model": lane.model,
        **place,
    }


def _series_ns(metric: Quantity, series: Series, samples: Table) -> Int:
    """Its values, -1 where a request has none. What never got so far as to be sent (refused) counts
    from when it could have been.
    """
    if series.view != "service" or metric.end_ns is None:
        return metric.ns(samples, series.view)
    ready = np.maximum(samples["due_ns"], samples["slot_free_ns"])
    begun = np.where(samples["sent_ns"] >= 0, samples["sent_ns"], ready)
    return between_ns(begun, metric.end_ns(samples))


#: Every metric that monitoring systems are given, by the name of its series.
_DURATIONS = sorted(
    ((metric, series) for metric in METRICS.values() for series in metric.series),
    key=lambda pair: pair[1].name,
)


def _durations(
    metric: Quantity,
    series: Series,
    parts: list[_Part],
    edges: tuple[int, ...],
) -> Iterator[Point]:
    """One point a lane, phase and way to fail.

    What ended without the target's doing is no operation.
    """
    for lane, outcome, rows in parts:
        values = _series_ns(metric, series, rows.samples)
        values = values[(values >= 0) & ~undecided(rows)]
        labels = _own(lane) | (_gen_ai(lane[0]) if series.name.startswith("gen_ai.") else {})
        if outcome != Outcome.ok:
            labels["error.type"] = Outcome(outcome).name
        if len(values):
            yield _histogram(labels, values, edges, S)


def _tokens(parts: list[_Part]) -> Iterator[Point]:
    for lane, outcome, rows in parts:
        for kind, column in (("input", "prompt_tokens"), ("output", "output_tokens")):
            values = rows.samples[column].astype(np.int64)
            values = values[values >= 0]
            if outcome == Outcome.ok and len(values):
                yield _histogram(
                    _own(lane) | _gen_ai(lane[0]) | {"gen_ai.token.type": kind},
                    values,
                    _EDGES_TOKENS,
                    1,
                )


def _histogram(
    labels: dict[str, str],
    values: Int,
    edges: tuple[int, ...],
    per_unit: int,
) -> Point:
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return Point(labels, int(values.sum()) / per_unit, tuple(counts.tolist()))
