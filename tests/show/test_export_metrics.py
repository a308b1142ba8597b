"""A run as metrics: counts by hand, names that alerts and the dashboard use, both formats alike."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.app.exporter import Growing
from bench.judge.reached import came_to
from bench.judge.review import review
from bench.judge.telemetry import Metric, added, row_metrics, run_metrics
from bench.plan.contract import Contract
from bench.record.pieces import STRING_KINDS, SegmentWriter
from bench.record.run_folder import Run
from bench.record.samples import Outcome, Table
from bench.show.exposition import otlp, prometheus_text
from tests.support.made_runs import Made, MakeRun, fail, spoil_some

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(
    r'([a-z_:][a-z0-9_:]*)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\}'
    r" (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
)
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
CONTRACT = Contract.model_validate(
    {
        "title": "made",
        "name": "made",
        "clause": [
            {"metric": "e2e", "quantile": "99%", "limit": "730ms"},
            {"metric": "uptime", "share": "99%"},
        ],
    }
)
Samples = dict[str, list[tuple[dict[str, str], float]]]


def metrics_of(made: Made) -> tuple[Run, list[Metric]]:
    """The metrics of a made run that was held against CONTRACT."""
    path = made.run.folder / "run.json"
    manifest = json.loads(path.read_text())
    for lane in manifest["lanes"]:
        lane["contract"] = CONTRACT.model_dump(mode="json", by_alias=True)
    path.write_text(json.dumps(manifest))
    run = Run(made.run.folder)
    return run, run_metrics(run, *review(run))


def scraped(metrics: list[Metric]) -> Samples:
    """What a scrape reads, by a grammar of the text format written here."""
    found: Samples = {}
    for line in "".join(prometheus_text(metrics)).splitlines():
        if not line.startswith("# "):
            match = LINE.fullmatch(line)
            assert match, line
            found.setdefault(match[1], []).append((dict(LABEL.findall(match[2])), float(match[3])))
    return found


def counted(read: Samples) -> Counter[str]:
    """Requests by outcome, all lanes and phases together."""
    counts: Counter[str] = Counter()
    for labels, value in read["tailproof_requests_total"]:
        counts[labels["outcome"]] += int(value)
    return counts


def flat(metrics: list[Metric]) -> dict[tuple[str, ...], float]:
    """Each series and its value."""
    return {
        (name, *map(str, sorted(labels.items()))): value
        for name, samples in scraped(metrics).items()
        for labels, value in samples
    }


@pytest.fixture
def spoilt_metrics(make_run: MakeRun) -> tuple[Run, list[Metric]]:
    """Two lanes, failures and unfinished rows in the first."""
    return metrics_of(make_run(spoil=spoil_some, notes=["503"]))


def test_buckets_hold_what_counting_the_rows_holds(
    spoilt_metrics: tuple[Run, list[Metric]],
) -> None:
    """For each lane, phase and edge: successes up to it, counted row by row; sum and count too;
    warm-up nowhere.
    """
    run, metrics = spoilt_metrics
    read = scraped(metrics)
    name = "tailproof_response_duration_seconds"
    took: dict[tuple[str, str], list[int]] = {}
    for plan, sample in zip(run.columns.schedule, run.columns.samples, strict=True):
        if sample["outcome"] == Outcome.ok and not plan["warmup"]:
            lane = run.lanes[plan["lane"]]
            took.setdefault((lane.name, lane.phases[plan["phase"]]), []).append(
                int(sample["last_token_ns"] - sample["due_ns"])
            )
    checked = 0
    for labels, value in read[f"{name}_bucket"]:
        if "error_type" not in labels:
            edge_ns = np.inf if labels["le"] == "+Inf" else float(labels["le"]) * 1e9
            assert value == sum(ns <= edge_ns for ns in took[labels["target"], labels["phase"]])
            checked += 1
    assert (
        checked == 4 * 16
    )  # two lanes, two phases; 14 advised edges, the contract's, and the last
    for labels, value in read[f"{name}_sum"]:
        if "error_type" not in labels:
            assert value == pytest.approx(
                sum(took[labels["target"], labels["phase"]]) / 1e9, rel=1e-12
            )
    assert {
        labels["phase"] for samples in read.values() for labels, _ in samples if "phase" in labels
    } == {
        "steady",
        "burst",
    }


def test_requests_by_outcome_are_all_measured_rows(
    spoilt_metrics: tuple[Run, list[Metric]],
) -> None:
    """The counter's sum is the number of measured rows; what was cut off is in it and in no
    histogram.
    """
    run, metrics = spoilt_metrics
    read = scraped(metrics)
    measured = run.columns.measured().samples["outcome"]
    assert counted(read) == Counter(Outcome(code).name for code in measured.tolist())
    assert counted(read)["censored"] == 3
    kinds = {
        labels.get("error_type")
        for name, samples in read.items()
        if name.endswith("_count")
        for labels, _ in samples
    }
    assert "censored" not in kinds
    assert None in kinds


def test_a_refused_request_is_a_failed_operation_of_the_time_it_took(make_run: MakeRun) -> None:
    """Never sent on the wire, refused 2 ms after it was due: one failed operation of 2 ms, none
    that had a first token.
    """

    def spoil(schedule: Table, samples: Table) -> None:
        for name in ("sent", "first_token", "first_answer_token", "last_token"):
            samples[f"{name}_ns"][8] = -1
        samples["outcome"][8], samples["done_ns"][8] = (
            Outcome.refused,
            samples["due_ns"][8] + 2_000_000,
        )

    read = scraped(metrics_of(make_run(["a"], rows=9, spoil=spoil))[1])
    failed = [
        (labels["error_type"], value)
        for labels, value in read["gen_ai_client_operation_duration_seconds_sum"]
        if "error_type" in labels
    ]
    assert failed == [("refused", 0.002)]
    assert all(
        "error_type" not in labels
        for labels, _ in read["gen_ai_client_operation_time_to_first_chunk_seconds_count"]
    )


def test_every_series_of_the_dashboard_is_exported(
    spoilt_metrics: tuple[Run, list[Metric]],
) -> None:
    """Names and labels in the expressions of its panels and variables are those of a run's
    export.
    """
    read = scraped(spoilt_metrics[1])
    board = (ROOT / "docs/examples/grafana-dashboard.json").read_text("utf-8")
    expressions = [
        target["expr"] for panel in json.loads(board)["panels"] for target in panel["targets"]
    ]
    named = set(
        re.findall(r"\b(?:tailproof|gen_ai)_[a-z_]+(?=[\s{,)]|$)", " ".join(expressions))
    ) - {"gen_ai_token_type"}
    assert named <= set(read)
    assert {"tailproof_run_info", "tailproof_clause_verdict", "tailproof_requests_total"} <= named
    labels = {label for samples in read.values() for found, _ in samples for label in found} | {
        "error_type"
    }
    for expression in expressions:
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)) <= labels
        assert {
            label
            for group in re.findall(r"by \(([^)]*)\)", expression)
            for label in group.split(", ")
        } <= labels
    # A file replaces the one before: a quantile is that of a whole run, and of a run so far while
    # it lasts.
    assert not [
        expression
        for expression in expressions
        if "quantile" in expression and "rate(" in expression
    ]


def test_metrics_of_rows_apart_add_up(spoilt_metrics: tuple[Run, list[Metric]]) -> None:
    """Those of every third row and of the others, added, are those of all: each series, whoever had
    it first.
    """
    run, metrics = spoilt_metrics
    rows = came_to(run)
    third = np.arange(len(rows)) % 3 == 0
    apart = [row_metrics(run.lanes, rows.where(mask)) for mask in (third, ~third)]
    assert flat(added(*apart)) == pytest.approx(
        {
            series: value
            for series, value in flat(metrics).items()
            if not series[0].startswith(("tailproof_run", "tailproof_clause"))
        }
    )


def test_a_run_that_grows_is_read_piece_by_piece(make_run: MakeRun) -> None:
    """After each sealed piece: its rows more, those never sent not yet; sealed whole, all that the
    run came to.
    """

    def spoil(schedule: Table, samples: Table) -> None:
        spoil_some(schedule, samples)
        fail(samples, slice(-12, -8), Outcome.never_sent)

    made = make_run(spoil=spoil, notes=["503"])
    folder, columns = made.run.folder, made.run.columns
    whole, manifest = folder / "samples" / "rows.npy", json.loads((folder / "run.json").read_text())
    aside = whole.rename(folder / "rows.npy")
    (folder / "run.json").write_text(json.dumps(manifest | {"state": "running"}))
    writer, growing = SegmentWriter(folder), Growing(folder)
    sealed: list[int] = []
    for part in np.array_split(np.random.default_rng(1).permutation(len(columns)), 3):
        writer.append(part, columns.samples[part], {kind: [] for kind in STRING_KINDS})
        sealed += part.tolist()
        read = scraped(growing.metrics())
        ended = columns.samples["outcome"][
            [row for row in sealed if not columns.schedule["warmup"][row]]
        ]
        assert counted(read) == Counter(
            Outcome(code).name for code in ended.tolist() if code != Outcome.never_sent
        )
        assert [labels["state"] for labels, _ in read["tailproof_run_info"]] == ["running"]
    aside.rename(whole)
    (folder / "run.json").write_text(json.dumps(manifest))
    assert counted(scraped(growing.metrics())) == Counter(
        Outcome(code).name for code in columns.measured().samples["outcome"].tolist()
    )


def test_otlp_says_the_same(spoilt_metrics: tuple[Run, list[Metric]]) -> None:
    """Each bucket is the difference of two of Prometheus's; 64-bit numbers are text; bounds are one
    fewer than buckets.
    """
    metrics = spoilt_metrics[1]
    read = scraped(metrics)
    (resource,) = otlp(metrics, 10, 20)["resourceMetrics"]
    (scope,) = resource["scopeMetrics"]
    by_name = {metric["name"]: metric for metric in scope["metrics"]}
    assert set(by_name) == {metric.name for metric in metrics}
    points = by_name["gen_ai.client.operation.duration"]["histogram"]["dataPoints"]
    flat = [value for _, value in read["gen_ai_client_operation_duration_seconds_bucket"]]
    for number, point in enumerate(points):
        counts = [int(count) for count in point["bucketCounts"]]
        assert np.cumsum(counts).tolist() == flat[number * len(counts) : (number + 1) * len(counts)]
        assert (point["count"], len(point["explicitBounds"])) == (str(sum(counts)), len(counts) - 1)
        assert (point["startTimeUnixNano"], point["timeUnixNano"]) == ("10", "20")
        assert {"gen_ai.operation.name", "gen_ai.request.model", "server.address"} <= {
            each["key"] for each in point["attributes"]
        }
    requests = by_name["tailproof.requests"]["sum"]
    assert requests["isMonotonic"]
    assert sum(point["asDouble"] for point in requests["dataPoints"]) == sum(
        value for _, value in read["tailproof_requests_total"]
    )
    assert "aggregationTemporality" not in by_name["tailproof.run.info"]["gauge"]


def test_labels_cannot_be_broken_out_of(make_run: MakeRun) -> None:
    """A target's name with quotes, backslashes and line breaks stays one label of one line."""
    name = 'a"} 1\nevil{x="\\'
    read = scraped(metrics_of(make_run([name], rows=9))[1])
    assert "evil" not in read
    told: set[Any] = {labels["target"] for labels, _ in read["tailproof_requests_total"]}
    assert {text.replace('\\"', '"').replace("\\\\", "\\") for text in told} == {
        'a"} 1\\x0aevil{x="\\'
    }
