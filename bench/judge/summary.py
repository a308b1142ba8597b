"""A run in numbers: summary.json; and how far apart several runs lie.

In: a run and its health. Out: the stable, versioned record of design's `summary.json`. Must
stay true: quantiles are exact nearest ranks over rows that succeeded, warm-up left out; empty
sets are None, never 0; `requests` counts every scheduled row and `outcomes` sums to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from bench.judge.health import Health
from bench.judge.reached import came_to
from bench.judge.served import (
    causes_in,
    evidence_of,
    headroom_of,
    server_gap_ns,
    tier_words,
    tiers_of,
)
from bench.judge.shape import curves_of, ordered_ns, ordered_response, slices_of
from bench.metrics import HEADLINES, METRICS, VIEW_KEYS, in_summary
from bench.progress import each
from bench.quantiles import P50, P95, P99, QUANTILES, by_key, quantile_name
from bench.record.facts import Places, kept_evidence, places_of
from bench.record.histogram import Histogram, read_hlog
from bench.record.records.manifest import LaneRecord
from bench.record.records.summary import (
    Cost,
    HealthRecord,
    Overall,
    PartSummary,
    PromptError,
    Quantiles,
    Summary,
    TargetSummary,
    Tokens,
    Uptime,
    VantageSummary,
)
from bench.record.run_folder import Run
from bench.record.samples import Columns, Flag, Int, Outcome, latency_ns, outcome_counts
from bench.units import MS, S, nearest_rank


def quantiles_ms(values_ns: Int) -> Quantiles | None:
    """Of the values >= 0, in ms."""
    return _ranks_ms(ordered_ns(values_ns))


def _ranks_ms(values: Int) -> Quantiles | None:
    n = len(values)
    if n == 0:
        return None
    ranks = {name: int(values[nearest_rank(n, q) - 1]) / MS for name, q in QUANTILES.items()}
    return Quantiles(n=n, mean=float(values.mean()) / MS, **ranks, max=int(values[-1]) / MS)


def view_ms(
    rows: Columns,
    metrics: Iterable[str],
    view: str = "response",
) -> dict[str, Quantiles | None]:
    """The quantiles of some metrics over these rows, by name."""
    return {name: quantiles_ms(latency_ns(rows.samples, name, view)) for name in metrics}


def _by_themselves(measured: Columns, ok: Columns) -> dict[str, Quantiles | None]:
    """The metrics that summary.json holds under a key of their own, of what each request had."""
    return {
        key: quantiles_ms(metric.ns((ok if metric.of_answers else measured).samples))
        for metric in METRICS.values()
        if metric.length_ns is not None
        for key in metric.summary
        if key not in VIEW_KEYS
    }


def _histogram_ms(histogram: Histogram) -> Quantiles | None:
    """The same from a histogram: within 0.1 %, its maximum exact."""
    mean = histogram.mean_ns()
    if mean is None:
        return None
    ranks = {name: (histogram.percentile_ns(q) or 0) / MS for name, q in QUANTILES.items()}
    return Quantiles(n=histogram.n, mean=mean / MS, **ranks, max=histogram.max_ns / MS)


def summarise(run: Run, health: Health, overall: Overall) -> Summary:
    """The numbers of a run."""
    gaps = _gap_histograms(run)
    came = came_to(run)
    places = places_of(run.manifest)
    kept = kept_evidence(run)
    targets = {}
    for index, lane in each("summing up", list(enumerate(run.lanes))):
        found = lane_summary(
            run.columns.lane(index),
            lane,
            came.lane(index),
            gaps.get(lane.name),
            places,
            tier_words(run, lane),
        )
        of_lane = kept[index] if index < len(kept) else None
        targets[lane.name] = found.replace(
            headroom=headroom_of(of_lane), evidence=evidence_of(run, index, of_lane)
        )
    return Summary(
        format=Summary.FORMAT,
        run=run.manifest.run,
        state=run.state,
        simulated=bool(run.manifest.simulated_lanes),
        targets=targets,
        health=_health_record(run, health),
        overall=overall,
    )


def _health_record(run: Run, health: Health) -> HealthRecord:
    """What was found nothing of is left out of the file."""
    record = HealthRecord(state=health.state, reasons=health.reasons, facts=health.facts)
    if health.mistakes:
        record = record.replace(mistakes=[each.text for each in health.mistakes])
    unfit = {
        lane.stage: found.reasons[0]
        for lane in run.lanes
        if not lane.simulated
        and (found := health.of_lane(lane.stage, simulated=False)).state == "invalid"
    }
    return record.replace(unfit=unfit) if unfit else record


def _gap_histograms(run: Run) -> dict[str, Histogram]:
    path = run.folder / "histograms.hlog"
    gaps: dict[str, Histogram] = {}
    if not path.is_file():
        return gaps
    wanted = {
        f"{lane.name}.inter_chunk.{span.phase}": lane.name
        for lane in run.lanes
        for span in lane.measured_spans
    }
    for interval in read_hlog(path)[1]:
        name = wanted.get(interval.tag)
        if name is not None:
            gaps.setdefault(name, Histogram()).add(interval.histogram)
    return gaps


def lane_summary(
    columns: Columns,
    lane: LaneRecord,
    came: Columns,
    gaps: Histogram | None,
    places: Places | None = None,
    words: Sequence[str] | None = None,
) -> TargetSummary:
    """One target of summary.json; `came` are those of its rows that the run came to, `places` where
    they were sent from, `words` those of `tier_words`.
    """
    measured = columns.measured()
    ok = measured.where(measured.ok)
    counts = outcome_counts(columns.samples)
    judged = int((came.measured().samples["outcome"] != Outcome.censored).sum())
    response = ordered_response(ok)
    return TargetSummary(
        simulated=lane.simulated,
        requests=len(columns),
        reached=len(came),
        ok=counts.get("ok", 0),
        warmup=len(columns) - len(measured),
        outcomes=counts,
        offered_rps=_offered_rps(columns, lane),
        sent_rps=_sent_rps(columns, lane, whole=len(came) == len(columns)),
        response_ms={name: _ranks_ms(values) for name, values in response.items()},
        service_ms=view_ms(ok, in_summary("service_ms"), "service"),
        inter_chunk_ms=_histogram_ms(gaps) if gaps is not None else None,
        **_by_themselves(measured, ok),
        connect_ms=quantiles_ms(measured.samples["connect_ns"]),
        tls_ms=quantiles_ms(measured.samples["tls_ns"]),
        new_connections=int(((columns.samples["flags"] & Flag.NEW_CONNECTION) != 0).sum()),
        uptime=Uptime(request_ratio=len(ok) / judged if judged else None),
        tokens=_tokens(ok),
        cost=token_cost(columns, lane),
        by_phase=_parts(measured, lane.phases, measured.schedule["phase"], _part),
        by_bucket=_parts(measured, lane.buckets, measured.schedule["bucket"], _part),
        tiers=tiers_of(ok, lane, words),
        causes=causes_in(columns),
        server_ms=quantiles_ms(ok.samples["server_ns"]),
        server_gap_ms=quantiles_ms(server_gap_ns(ok.samples, lane)),
        **(_by_place(measured, places) if places is not None else {}),
        curve=curves_of(response, came, lane),
        slices=slices_of(came, lane),
    )


def _offered_rps(columns: Columns, lane: LaneRecord) -> float | None:
    """Planned rows per second of the lane's span; None for a closed loop, which plans no rate."""
    span_ns = lane.end_ns - lane.start_ns - _broken_off_ns(lane, lane.end_ns)
    if lane.closed_loop or span_ns <= 0:
        return None
    return float(len(columns) / (span_ns / S))


def _sent_rps(columns: Columns, lane: LaneRecord, *, whole: bool) -> float | None:
    """Sent rows over the planned span, or over the time it took where that is longer or the run was
    cut short.
    """
    sent = columns.samples["sent_ns"]
    sent = sent[sent >= 0]
    if not len(sent):
        return None
    last_ns = max(int(sent.max()), lane.end_ns if whole else 0)
    return len(sent) / (max(last_ns - lane.start_ns - _broken_off_ns(lane, last_ns), 1) / S)


def _broken_off_ns(lane: LaneRecord, until_ns: int) -> int:
    """How long the lane stood still between sittings that came before `until_ns`."""
    return sum(
        max(0, min(end, lane.end_ns) - max(start, lane.start_ns))
        for start, end in lane.gaps_ns
        if end < until_ns
    )


def _tokens(ok: Columns) -> Tokens:
    """Totals of the successes, where they come from, and how far prompts were from their plan."""
    samples = ok.samples
    prompt = samples["prompt_tokens"]
    output = samples["output_tokens"]
    counted = int(((samples["flags"] & Flag.COUNTED_TOKENS) != 0).sum())
    known = int((output >= 0).sum())
    source: Literal["usage", "counted", "mixed", "none"]
    if not known:
        source = "none"
    elif counted == known:
        source = "counted"
    elif counted:
        source = "mixed"
    else:
        source = "usage"
    has_usage = prompt >= 0
    error = None
    if has_usage.any():
        planned = ok.schedule["prompt_tokens"][has_usage].astype(np.float64)
        relative = (prompt[has_usage] - planned) / np.maximum(planned, 1)
        ordered = np.sort(np.abs(relative))
        error = PromptError(
            median=float(np.median(relative)),
            p95=float(ordered[nearest_rank(len(ordered), P95) - 1]),
        )
    return Tokens(
        prompt=int(prompt[has_usage].sum()),
        output=int(output[output >= 0].sum()),
        source=source,
        prompt_error=error,
    )


def token_cost(columns: Columns, lane: LaneRecord) -> Cost | None:
    """USD of the tokens that the server reported, at the lane's prices, exact to the token."""
    prices = lane.prices
    if prices is None:
        return None
    prompt = columns.samples["prompt_tokens"].astype(np.int64)
    output = columns.samples["output_tokens"].astype(np.int64)
    usd = (
        int(prompt[prompt >= 0].sum()) * prices.input_usd_per_million
        + int(output[output >= 0].sum()) * prices.output_usd_per_million
    ) / 1_000_000
    return Cost(usd=float(usd), as_of=str(prices.as_of))


P = TypeVar("P", bound=PartSummary)


def _parts(
    measured: Columns,
    names: list[str],
    codes: Int,
    of: Callable[[Columns], P],
) -> dict[str, P]:
    """`of` the rows of each phase, context bucket or place by name; parts without rows left out."""
    found = ((name, measured.where(codes == index)) for index, name in enumerate(names))
    return {name: of(rows) for name, rows in found if len(rows)}


def _part(rows: Columns) -> PartSummary:
    """Requests and response quantiles."""
    ok = rows.where(rows.ok)
    return PartSummary(requests=len(rows), ok=len(ok), response_ms=view_ms(ok, HEADLINES))


def _vantage(rows: Columns) -> VantageSummary:
    """What a node or region saw of the target, and of itself."""
    ok = rows.where(rows.ok)
    return VantageSummary(
        requests=len(rows),
        ok=len(ok),
        response_ms=view_ms(ok, HEADLINES),
        service_ms=view_ms(ok, HEADLINES, "service"),
        connect_ms=quantiles_ms(rows.samples["connect_ns"]),
        harness_lag_ms=quantiles_ms(latency_ns(rows.samples, "harness_lag")),
    )


def _by_place(measured: Columns, places: Places) -> dict[str, dict[str, VantageSummary]]:
    """`by_node`, and `by_region` where there is more than one."""
    nodes = places.node_of(measured.schedule)
    found = {"by_node": _parts(measured, places.names, nodes, _vantage)}
    if len(places.regions) > 1:
        regions = places.region_of(measured.schedule)
        found["by_region"] = _parts(measured, places.regions, regions, _vantage)
    return found


# ---- several runs of one command


@dataclass(frozen=True)
class Spread:
    """One quantile of one target, in each of the repeated runs that has it, ascending."""

    target: str
    metric: str
    quantile: str
    values_ms: Sequence[float]

    @property
    def median_ms(self) -> float:
        """The lower of the two middle ones, where there are two."""
        return self.values_ms[(len(self.values_ms) - 1) // 2]

    @property
    def share(self) -> float:
        """How far apart the ends lie, over the median."""
        width = self.values_ms[-1] - self.values_ms[0]
        return width / self.median_ms if self.median_ms else 0.0


def spreads(summaries: Sequence[Summary]) -> Iterator[Spread]:
    """p50 and p99 of each target's headline metrics, where two runs or more have them."""
    for target in summaries[0].targets:
        for metric in HEADLINES:
            cells = [summary.targets[target].response_ms.get(metric) for summary in summaries]
            present = [cell for cell in cells if cell is not None]
            for key, quantile in by_key(P50, P99).items():
                values = sorted(getattr(cell, key) for cell in present)
                if len(values) > 1:
                    yield Spread(target, metric, quantile_name(quantile), values)
