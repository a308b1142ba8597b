"""One target's run by the definitions and field names of other tools: vLLM's and AIPerf's result
files.

In: a run, a lane, its record of summary.json. Out: the value of their JSON. Must stay true: as in
their files, latencies count from the send and percentiles are interpolated, so they differ from
summary.json; an empty set is None, where theirs say 0; what we do not hold is left out, never made
up.

Source: `vllm bench serve --save-result`; AIPerf's profile_export_aiperf.json, schema 1.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.api.registry import DEFAULT, api_of_record
from bench.clock import utc_text
from bench.judge.reached import came_to
from bench.metrics import METRICS, peer_names
from bench.quantiles import P90, P95, P99, P999, by_name, quantile_key
from bench.record.records.manifest import LaneRecord
from bench.record.records.summary import TargetSummary
from bench.record.run_folder import Run
from bench.record.samples import Columns, Float, Int, Outcome, end_ns
from bench.units import MS, S

_VLLM_PERCENTILES = by_name(P90, P95, P99, P999)
_VLLM_NAMES = peer_names("vllm")
_AIPERF_PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


@dataclass(frozen=True)
class _Load:
    """What both files are made from: the measured rows of a lane that the run reached, latencies
    counted from the send.
    """

    rows: Columns
    ok: Columns
    #: first send and last end, ns after the run's start
    start_ns: int
    end_ns: int
    #: values of the metrics that a file of these tools may hold, ms, by our name
    values_ms: dict[str, Float]
    input_tokens: Int
    output_tokens: Int
    #: limits a request, ms, by metric; and how many successes met all of them
    limits_ms: dict[str, float]
    good: int | None

    def per_second(self, amount: float) -> float | None:
        if self.end_ns <= self.start_ns:
            return None
        return amount / ((self.end_ns - self.start_ns) / S)


def _load(run: Run, lane: int) -> _Load:
    rows = came_to(run).lane(lane).measured()
    ok = rows.where(rows.ok)
    sent = rows.samples["sent_ns"][rows.samples["sent_ns"] >= 0]
    times_ns = {
        metric.name: metric.ns(ok.samples, "service")
        for metric in METRICS.values()
        if metric.peers and metric.promise == "latency"
    }
    prompt = ok.samples["prompt_tokens"].astype(np.int64)
    planned = ok.schedule["prompt_tokens"].astype(np.int64)
    limits = _limits_ms(run.lanes[lane])
    # As theirs do: where an answer has no such time (one token has no TPOT), the limit is met.
    met = [
        times_ns[metric] / MS <= limits[name]
        for metric, name in _VLLM_NAMES.items()
        if name in limits
    ]
    if len(sent):
        start = int(sent.min())
    else:
        start = 0
    return _Load(
        rows,
        ok,
        start,
        int(end_ns(rows.samples).max(initial=start)),
        {metric: times[times >= 0] / MS for metric, times in times_ns.items()},
        np.where(prompt >= 0, prompt, planned),
        np.maximum(ok.samples["output_tokens"].astype(np.int64), 0),
        limits,
        int(np.logical_and.reduce(met).sum()) if met else None,
    )


def _limits_ms(lane: LaneRecord) -> dict[str, float]:
    """The contract's tightest limits on all rows, under vLLM's names, for a single request."""
    found: dict[str, float] = {}
    for clause in lane.contract.clauses if lane.contract else ():
        name = _VLLM_NAMES.get(clause.metric)
        if (
            name
            and clause.limit is not None
            and not (clause.report_only or clause.phase or clause.bucket)
        ):
            found[name] = min(found.get(name, np.inf), clause.limit / MS)
    return found


def vllm_result(run: Run, lane: int, target: TargetSummary) -> dict[str, Any]:
    """The JSON of `vllm bench serve --save-result` without --save-detailed."""
    facts = run.lanes[lane]
    load = _load(run, lane)
    tokens_in = int(load.input_tokens.sum())
    tokens_out = int(load.output_tokens.sum())
    gaps = target.inter_chunk_ms
    return {
        "date": run.manifest.started_utc,
        "backend": api_of_record(facts.api or DEFAULT).vllm_backend,
        "label": facts.name,
        "model_id": facts.model,
        "tokenizer_id": run.manifest.tokenizer,
        "num_prompts": len(load.rows),
        "request_rate": "inf" if facts.closed_loop else target.offered_rps,
        "max_concurrency": facts.max_in_flight,
        "duration": (load.end_ns - load.start_ns) / S,
        "completed": len(load.ok),
        "failed": len(load.rows) - len(load.ok),
        "total_input_tokens": tokens_in,
        "total_output_tokens": tokens_out,
        "request_throughput": load.per_second(len(load.ok)),
        "request_goodput": None if load.good is None else load.per_second(load.good),
        "output_throughput": load.per_second(tokens_out),
        "total_token_throughput": load.per_second(tokens_in + tokens_out),
        **_vllm_metrics(load.values_ms),
        "mean_itl_ms": gaps and gaps.mean,
        "median_itl_ms": gaps and gaps.p50,
        **{
            f"{name}_itl_ms": getattr(gaps, quantile_key(q), None)
            for name, q in _VLLM_PERCENTILES.items()
        },
        "tailproof": {
            "run": run.manifest.run,
            "state": run.state,
            "simulated": facts.simulated,
            "goodput_limits_ms": load.limits_ms,
        },
    }


def _vllm_metrics(values_ms: Mapping[str, Float]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for metric, name in _VLLM_NAMES.items():
        found |= _vllm_metric(name, values_ms[metric])
    return found


def _vllm_metric(name: str, values_ms: Float) -> dict[str, float | None]:
    found: dict[str, Any] = dict.fromkeys(("mean", "median", "std", *_VLLM_PERCENTILES))
    if len(values_ms):
        found = {
            "mean": float(values_ms.mean()),
            "median": float(np.median(values_ms)),
            "std": float(values_ms.std()),
            **{
                key: float(np.percentile(values_ms, float(q * 100)))
                for key, q in _VLLM_PERCENTILES.items()
            },
        }
    return {f"{key}_{name}_ms": value for key, value in found.items()}


def aiperf_result(run: Run, lane: int, target: TargetSummary) -> dict[str, Any]:  # noqa: ARG001 as vllm_result
    """The JSON of AIPerf's profile_export_aiperf.json; metrics without a value are left out, as
    there.
    """
    load = _load(run, lane)
    tpot = load.values_ms["tpot"]
    started = run.manifest.started_wall_ns
    failures = load.rows.samples["outcome"][~load.rows.ok]
    single = {
        "request_throughput": ("requests/sec", load.per_second(len(load.ok))),
        "request_count": ("requests", len(load.ok)),
        "error_request_count": ("requests", len(failures)),
        "output_token_throughput": ("tokens/sec", load.per_second(int(load.output_tokens.sum()))),
        "total_isl": ("tokens", int(load.input_tokens.sum())),
        "total_osl": ("tokens", int(load.output_tokens.sum())),
        "good_request_count": ("requests", load.good),
        "goodput": ("requests/sec", None if load.good is None else load.per_second(load.good)),
        "benchmark_duration": ("sec", (load.end_ns - load.start_ns) / S),
    }
    spread = {
        **{name: ("ms", load.values_ms[metric]) for metric, name in peer_names("aiperf").items()},
        "output_token_throughput_per_user": ("tokens/sec/user", 1000 / tpot[tpot > 0]),
        "input_sequence_length": ("tokens", load.input_tokens),
        "output_sequence_length": ("tokens", load.output_tokens),
    }
    return {
        "schema_version": "1.5",
        "benchmark_id": run.manifest.run,
        **{
            name: {"unit": unit, "avg": value}
            for name, (unit, value) in single.items()
            if value is not None
        },
        **{
            name: _aiperf_metric(unit, values)
            for name, (unit, values) in spread.items()
            if len(values)
        },
        "was_cancelled": run.state != "complete",
        "error_summary": [
            {
                "error_details": {"type": Outcome(code).name, "message": Outcome(code).name},
                "count": int(count),
            }
            for code, count in zip(*np.unique(failures, return_counts=True), strict=True)
        ],
        "start_time": utc_text(started + load.start_ns),
        "end_time": utc_text(started + load.end_ns),
        "run_info": {
            "benchmark_id": run.manifest.run,
            "random_seed": run.manifest.seed,
            "run_label": run.lanes[lane].name,
            "cli_command": run.manifest.repeat_command,
        },
    }


def _aiperf_metric(unit: str, values: Any) -> dict[str, Any]:
    ranks = np.percentile(values, _AIPERF_PERCENTILES).tolist()
    return {
        "unit": unit,
        "avg": float(values.mean()),
        **{f"p{q}": rank for q, rank in zip(_AIPERF_PERCENTILES, ranks, strict=True)},
        "min": values.min().item(),
        "max": values.max().item(),
        "std": float(values.std()),
        "count": len(values),
        "sum": values.sum().item(),
    }
