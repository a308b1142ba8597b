"""The table of metrics: one entry is enough for a metric to be measured, judged and shown."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from bench.metrics import LATENCIES, METRICS, NAMES
from bench.plan.clause import parse_slo
from bench.quantiles import QUANTILES, name_of_key, quantile_key, quantile_name
from tests.test_simulate import write_suite

#: A metric that the product does not have, written as a maker would write it.
ENTRY = """    Metric(
        "ttfh",
        "TTFH",
        "time to the headers",
        "Time until the headers of the answer arrived.",
        aliases=("time_to_headers",),
        promise="latency",
        end_ns=lambda samples: samples["headers_ns"],
        until="the answer announced",
        summary=("response_ms", "service_ms"),
        hlog=("response",),
    ),
"""
#: Runs the command line, after the table of metrics was given the entry.
PROGRAM = """
import importlib.util, json, sys
import bench
found = importlib.util.find_spec("bench.metrics")
source = open(found.origin, encoding="utf-8").read()
at = source.index(")\\nMETRICS = ")
module = importlib.util.module_from_spec(found)
sys.modules["bench.metrics"] = bench.metrics = module
entry, commands = json.load(sys.stdin)
exec(compile(source[:at] + entry + source[at:], found.origin, "exec"), module.__dict__)
from bench.cli import main
for command in commands:
    print(json.dumps(command), main(command), file=sys.stderr)
"""
CONTRACT = """
title = "made"
[[clause]]
metric = "time_to_headers"
quantile = "90%"
limit = "800ms"
[[clause]]
metric = "ttfh"
view = "service"
statistic = "share_of_requests"
share = "90%"
limit = "1ms"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in virtual time by a product that has one more metric, judged, shown and exported."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "contract.toml").write_text(CONTRACT)
    suite = write_suite(folder, stage='contract = "contract.toml"')
    text = Path(suite).read_text().replace("[gateway]\n", "[gateway]\nsimulated = true\n", 1)
    Path(suite).write_text(text)
    run = str(folder / "run")
    commands = [
        ["run", suite, "--out", run],
        ["export", run, "--format", "csv", "--out", str(folder / "rows.csv")],
        ["judge", run, "--slo", "ttfh:p95<700ms", "--format", "json"],
        ["schema", "contract"],
        ["schema", "summary"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([ENTRY, commands]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    return folder


def test_a_new_metric_is_summed_up_and_exported(made: Path) -> None:
    """It stands in summary.json by both views, in the histograms by phase, in the rows' columns."""
    target = json.loads((made / "run/summary.json").read_text())["targets"]["t"]
    assert target["response_ms"]["ttfh"]["n"] == target["ok"] > 0
    assert "ttfh" in target["service_ms"]
    assert "Tag=t.response.ttfh." in (made / "run/histograms.hlog").read_text()
    head = (made / "rows.csv").read_text().splitlines()[0].split(",")
    assert {"ttfh_ms", "service_ttfh_ms"} <= set(head)


def test_a_new_metric_is_promised_and_judged(made: Path) -> None:
    """A contract may name it by its alias, a flag in one line; views and shares are judged."""
    verdicts = json.loads((made / "run/verdicts.json").read_text())["clauses"]
    assert [(clause["text"], clause["metric"], clause["verdict"]) for clause in verdicts] == [
        ("response TTFH p90 ≤ 800 ms", "ttfh", "PASS"),
        ("service TTFH ≤ 1 ms for ≥ 90 % of requests", "ttfh", "PASS"),
    ]
    said = (made / "said").read_text()
    assert '"response TTFH p95 ≤ 700 ms"' in said


def test_a_new_metric_stands_in_the_schemas_and_on_the_page(made: Path) -> None:
    """A contract's schema offers it and its alias, the page explains it and gives its numbers."""
    said = (made / "said").read_text()
    assert '"time_to_headers"' in said
    assert '"ttfh"' in said[said.index('"ResponseMs"') :]
    page = (made / "run/report.html").read_text()
    for shown in ("TTFH, response", "TTFH, service", "Time until the headers of the answer"):
        assert shown in page, shown
    assert "time to the headers" in page.lower()


def test_no_two_metrics_share_a_name() -> None:
    """Every name and alias means one metric, and `--slo` takes each latency by each of them."""
    names = [name for metric in METRICS.values() for name in (metric.name, *metric.aliases)]
    assert len(names) == len(set(names))
    for name, metric in NAMES.items():
        if metric in LATENCIES:
            assert parse_slo(f"{name}:p99<800ms").metric == metric


def test_a_quantile_has_one_name_and_one_key() -> None:
    """Readers see p99.9, keys say p999, and the one gives the other back."""
    assert (quantile_name(Fraction(999, 1000)), quantile_key(Fraction(999, 1000))) == (
        "p99.9",
        "p999",
    )
    assert [name_of_key(key) for key in QUANTILES] == ["p50", "p90", "p95", "p99", "p99.9"]
