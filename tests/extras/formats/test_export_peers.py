"""vLLM's and AIPerf's result files: their fields, by their definitions, reckoned here with
`statistics`.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest

from bench.extras.formats.peers import aiperf_result, vllm_result
from bench.judge.review import review
from bench.plan.contract import Contract
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from tests.support.made_runs import Made, MakeRun, spoil_all, spoil_some

MS = 10**6


def results(
    made: Made, contract: dict[str, Any] | None = None
) -> tuple[Run, dict[str, Any], dict[str, Any]]:
    """The run, and both files of its first lane."""
    path = made.run.folder / "run.json"
    manifest = json.loads(path.read_text())
    if contract:
        manifest["lanes"][0]["contract"] = Contract.model_validate(contract).model_dump(
            mode="json", by_alias=True
        )
        path.write_text(json.dumps(manifest))
    run = Run(made.run.folder)
    target = review(run)[0].targets[run.lanes[0].name]
    return run, vllm_result(run, 0, target), aiperf_result(run, 0, target)


def linear(values: list[float], percentile: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percentile - 1]


def first_lane(run: Run) -> list[Any]:
    """Measured samples of the first lane."""
    return [
        sample
        for plan, sample in zip(run.columns.schedule, run.columns.samples, strict=True)
        if plan["lane"] == 0 and not plan["warmup"]
    ]


def test_latencies_count_from_the_send_and_percentiles_are_interpolated(make_run: MakeRun) -> None:
    """Mean, median, deviation and p99 of TTFT, TPOT and e2e of the successes; both files say the
    same numbers.
    """
    run, vllm, aiperf = results(make_run(spoil=spoil_some, notes=["503"]))
    ok = [row for row in first_lane(run) if row["outcome"] == Outcome.ok]
    times = {
        ("ttft", "time_to_first_token"): [
            (int(row["first_token_ns"]) - int(row["sent_ns"])) / MS for row in ok
        ],
        ("e2el", "request_latency"): [
            (int(row["last_token_ns"]) - int(row["sent_ns"])) / MS for row in ok
        ],
        ("tpot", "inter_token_latency"): [
            (int(row["last_token_ns"]) - int(row["first_token_ns"])) // 63 / MS for row in ok
        ],
    }
    for (name, theirs), values in times.items():
        assert (
            vllm[f"mean_{name}_ms"]
            == aiperf[theirs]["avg"]
            == pytest.approx(statistics.fmean(values))
        )
        assert (
            vllm[f"median_{name}_ms"]
            == aiperf[theirs]["p50"]
            == pytest.approx(statistics.median(values))
        )
        assert (
            vllm[f"std_{name}_ms"]
            == aiperf[theirs]["std"]
            == pytest.approx(statistics.pstdev(values))
        )
        assert vllm[f"p99_{name}_ms"] == aiperf[theirs]["p99"] == pytest.approx(linear(values, 99))
        assert (aiperf[theirs]["min"], aiperf[theirs]["max"], aiperf[theirs]["count"]) == (
            min(values),
            max(values),
            len(values),
        )
        assert aiperf[theirs]["unit"] == "ms"
    assert aiperf["output_token_throughput_per_user"]["p50"] == pytest.approx(
        statistics.median(1000 / value for value in times["tpot", "inter_token_latency"])
    )


def test_totals_and_rates_are_of_the_measured_rows(make_run: MakeRun) -> None:
    """Requests, tokens and their rates over the time from the first send to the last end; failures
    by class.
    """
    run, vllm, aiperf = results(make_run(spoil=spoil_some, notes=["503"]))
    rows = first_lane(run)
    ok = [row for row in rows if row["outcome"] == Outcome.ok]
    seconds = (
        max(int(row["last_token_ns"]) for row in ok) - min(int(row["sent_ns"]) for row in rows)
    ) / 1e9
    assert (vllm["num_prompts"], vllm["completed"], vllm["failed"]) == (
        len(rows),
        len(ok),
        len(rows) - len(ok),
    )
    assert vllm["duration"] == aiperf["benchmark_duration"]["avg"] == pytest.approx(seconds)
    assert (
        vllm["request_throughput"]
        == aiperf["request_throughput"]["avg"]
        == pytest.approx(len(ok) / seconds)
    )
    assert (vllm["total_input_tokens"], vllm["total_output_tokens"]) == (
        500 * len(ok),
        64 * len(ok),
    )
    assert vllm["total_token_throughput"] == pytest.approx(564 * len(ok) / seconds)
    assert (
        aiperf["output_token_throughput"]["avg"]
        == vllm["output_throughput"]
        == pytest.approx(64 * len(ok) / seconds)
    )
    counted = {error["error_details"]["type"]: error["count"] for error in aiperf["error_summary"]}
    assert counted == {
        kind: sum(row["outcome"] == Outcome[kind] for row in rows)
        for kind in ("http_5xx", "rate_limited", "timeout_total", "censored")
    }
    assert aiperf["error_request_count"]["avg"] == sum(counted.values()) == vllm["failed"]


def test_goodput_is_of_requests_within_every_limit_at_once(make_run: MakeRun) -> None:
    """The tightest TTFT and e2e limits of the contract; clauses of a phase or only reported set
    none; none without limits.
    """
    clauses = [
        {"metric": "e2e", "quantile": "99%", "limit": "900ms"},
        {"metric": "e2e", "quantile": "50%", "limit": "220ms"},
        {"metric": "ttft", "quantile": "99%", "limit": "85ms"},
        {"metric": "ttft", "quantile": "99%", "limit": "1ms", "phase": "burst"},
        {"metric": "tpot", "quantile": "99%", "limit": "1ms", "report_only": True},
    ]
    made = make_run(["a"], rows=400)
    _, without, neither = results(made)
    assert without["request_goodput"] is None
    assert "goodput" not in neither
    run, vllm, aiperf = results(made, {"title": "t", "clause": clauses})
    assert vllm["tailproof"]["goodput_limits_ms"] == {"e2el": 220, "ttft": 85}
    good = sum(
        row["last_token_ns"] - row["sent_ns"] <= 220 * MS
        and row["first_token_ns"] - row["sent_ns"] <= 85 * MS
        for row in first_lane(run)
    )
    assert 0 < good < len(first_lane(run))
    assert aiperf["good_request_count"]["avg"] == good
    assert (
        vllm["request_goodput"]
        == aiperf["goodput"]["avg"]
        == pytest.approx(good / vllm["duration"])
    )


def test_a_run_without_success_has_no_numbers_made_up(make_run: MakeRun) -> None:
    """Null or left out, never 0 ms; the failures are counted."""
    _, vllm, aiperf = results(make_run(["a"], rows=30, spoil=spoil_all))
    assert (vllm["completed"], vllm["failed"], vllm["p99_ttft_ms"], vllm["mean_e2el_ms"]) == (
        0,
        27,
        None,
        None,
    )
    assert vllm["mean_itl_ms"] is None
    assert "request_latency" not in aiperf
    assert aiperf["error_summary"] == [
        {"error_details": {"type": "refused", "message": "refused"}, "count": 27}
    ]
