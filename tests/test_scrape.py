"""A run that is watched by monitoring systems: a real run, scraped and pushed from while it
lasts.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from bench.app.conduct import embedded_gateway
from bench.app.exporter import names_loopback
from bench.cli import main
from tests.support.in_process import tailproof
from tests.support.patience import PATIENCE_S, STEP_S
from tests.support.two_tiers import two_tiers

pytestmark = pytest.mark.timeout(4 * PATIENCE_S)
ROOT = Path(__file__).resolve().parents[1]
SCENARIO = two_tiers('ttft = { fixed = "30ms" }\ngap = { fixed = "1ms" }')
LOAD = """
description = "steady"
duration = "2500ms"
prompt_tokens = [{ fixed = 50 }]
output_tokens = [{ fixed = 8 }]
[arrivals]
kind = "constant"
rate = "40/s"
"""
CONTRACT = """
title = "half of the answers within 10 s"
[[clause]]
metric = "e2e"
quantile = "50%"
limit = "10s"
"""
#: name, labels, value
Sample = tuple[str, dict[str, str], float]


def told(text: str) -> list[Sample]:
    """What a scrape says, read by Prometheus's own Python parser."""
    return [
        (each.name, dict(each.labels), each.value)
        for family in text_string_to_metric_families(text)
        for each in family.samples
    ]


def by_outcome(samples: list[Sample], target: str) -> dict[str, float]:
    """The request counter of a target, all phases together."""
    counts: Counter[str] = Counter()
    for name, labels, value in samples:
        if name == "tailproof_requests_total" and labels["target"] == target:
            counts[labels["outcome"]] += int(value)
    return dict(counts)


def about(samples: list[Sample]) -> dict[str, str]:
    """Labels of the run."""
    return next((labels for name, labels, _ in samples if name == "tailproof_run_info"), {})


class Collector:
    """A tiny OTLP receiver that keeps what is posted to it."""

    def __init__(self, status: int, body: bytes, location: str):
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        posts = self.posts

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted = self.rfile.read(int(self.headers["Content-Length"]))
                posts.append(
                    (
                        self.path,
                        {name.lower(): value for name, value in self.headers.items()},
                        posted,
                    )
                )
                self.send_response(status)
                self.send_header("Location", location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """No more posts."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def collecting(status: int = 200, body: bytes = b"{}", location: str = "") -> Iterator[Collector]:
    """A collector that answers so."""
    collector = Collector(status, body, location)
    try:
        yield collector
    finally:
        collector.close()


class Command:
    """A `tailproof` command that serves metrics; what it says on standard error is read on."""

    def __init__(self, *words: str, **environment: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.errors = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The next line of standard error with this in it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"never said {pattern!r}:\n{self.errors}")

    def end(self) -> int:
        """Its exit code; the rest of standard error is kept."""
        self.errors += self.process.communicate(timeout=2 * PATIENCE_S)[1]
        return self.process.returncode


@contextmanager
def command(*words: str, **environment: str) -> Iterator[Command]:
    """It does not outlive the test."""
    running = Command(*words, **environment)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def scrape(port: int) -> tuple[str, str]:
    """(content type, text) of GET /metrics."""
    connection = HTTPConnection("127.0.0.1", port, timeout=STEP_S)
    connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200, text
    connection.close()
    return answer.headers["Content-Type"], text


def scrape_until(port: int, enough: Callable[[list[Sample]], bool]) -> list[str]:
    """Scrapes, one a tenth of a second, up to the first that is enough."""
    texts = [scrape(port)[1]]
    while not enough(told(texts[-1])):
        threading.Event().wait(0.1)
        texts.append(scrape(port)[1])
    return texts


@dataclass
class Watched:
    """A run that was scraped to its end, and what it pushed."""

    folder: Path
    exit_code: int
    errors: str
    kind: str
    texts: list[str]
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def record(self, name: str) -> Any:
        """A file of the run's folder."""
        return json.loads((self.folder / name).read_bytes())

    @property
    def during(self) -> list[list[Sample]]:
        """The scrapes that found the run under way, with requests."""
        scrapes = [told(text) for text in self.texts]
        return [
            samples
            for samples in scrapes
            if about(samples).get("state") == "running" and by_outcome(samples, "pro")
        ]


def files(folder: Path) -> Path:
    """The scenario with its profile and contract."""
    for name, text in (("scenario", SCENARIO), ("load", LOAD), ("contract", CONTRACT)):
        (folder / f"{name}.toml").write_text(text)
    return folder / "scenario.toml"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """One short run, scraped ten times a second, pushed to a collector below a path of its own."""
    folder = tmp_path_factory.mktemp("watched")
    words = [
        "run",
        str(files(folder)),
        "--out",
        str(folder / "run"),
        "--metrics-port",
        "0",
        "--workers",
        "2",
    ]
    with (
        collecting() as collector,
        command(
            *words,
            "--otlp-endpoint",
            f"{collector.url}/in",
            OTEL_EXPORTER_OTLP_HEADERS="x-key=a%20zq9x,y=2",
        ) as running,
    ):
        port = int(running.wait_for(r"http://127\.0\.0\.1:(\d+)/metrics")[1])
        kind, _ = scrape(port)
        with pytest.raises(OSError):  # noqa: PT011 refused, or no such address here
            socket.create_connection(("127.0.0.2", port), 5)
        texts = scrape_until(port, lambda samples: "overall" in about(samples))
        code = running.end()
        return Watched(folder / "run", code, running.errors, kind, texts, collector.posts)


def test_counts_grow_while_the_run_lasts_and_end_as_its_summary(watched: Watched) -> None:
    """Seen under way with fewer requests than planned; no counter or bucket falls; the last says
    what summary.json says.
    """
    assert watched.kind == "text/plain; version=0.0.4; charset=utf-8"
    planned = 100
    assert any(0 < sum(by_outcome(samples, "pro").values()) < planned for samples in watched.during)
    highest: dict[tuple[str, ...], float] = {}
    for text in watched.texts:
        for name, labels, value in told(text):
            if name.endswith(("_total", "_bucket", "_count")):
                key = (name, *(f"{label}={labels[label]}" for label in sorted(labels)))
                assert value >= highest.get(key, 0), key
                highest[key] = value
    during = {name for samples in watched.during for name, *_ in samples}
    assert {"tailproof_failures_total", "tailproof_answers_total"} <= during
    summary = watched.record("summary.json")
    last = told(watched.texts[-1])
    for target in ("pro", "standard"):
        assert by_outcome(last, target) == summary["targets"][target]["outcomes"]
    assert by_outcome(last, "standard")["http_5xx"] > 0
    assert about(last)["overall"] == summary["overall"]
    assert watched.exit_code == watched.record("verdicts.json")["exit_code"]


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:9100", True),
        ("localhost", True),
        ("[::1]:9100", True),
        ("127.8.9.1", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:80", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_metrics_are_for_who_names_this_machine(host: str, ours: bool) -> None:
    """A web page whose name was made to resolve to the loopback reads nothing."""
    assert names_loopback(host) is ours


def test_the_last_scrape_is_the_export(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once the run is judged, the endpoint says what `export` writes of its folder, byte
    for byte.
    """
    assert main(["export", str(watched.folder), "--format", "prometheus"]) == 0
    assert capsys.readouterr().out == watched.texts[-1]


def test_the_dashboard_works_while_the_run_lasts(watched: Watched) -> None:
    """Each series that a panel or a variable reads is served under way; the verdicts' alone come at
    the end.
    """
    board = json.loads((ROOT / "docs/examples/grafana-dashboard.json").read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [each["definition"] for each in board["templating"]["list"] if "definition" in each]
    named = {
        name
        for query in queries
        for name in re.findall(r"\b(?:tailproof|gen_ai)_\w+(?=[{,]|$)", query)
    }
    served = {name for name, _, _ in watched.during[-1]}
    assert len(named) >= 7
    assert named - served == {"tailproof_clause_verdict"}
    assert "tailproof_clause_verdict" in {name for name, _, _ in told(watched.texts[-1])}


def points(body: bytes) -> dict[str, list[Any]]:
    """The data points of a push by metric, read by OpenTelemetry's own message classes."""
    request = json_format.Parse(body, ExportMetricsServiceRequest())
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    return {
        metric.name: list(getattr(metric, metric.WhichOneof("data")).data_points)
        for metric in scope.metrics
    }


def test_pushes_are_otlp_and_the_last_holds_the_verdicts(watched: Watched) -> None:
    """Posted from the start to the end, under the conventions' names, to the path that OTLP gives
    metrics; the last adds up to the summary.
    """
    assert len(watched.posts) >= 2
    assert {path for path, _, _ in watched.posts} == {"/in/v1/metrics"}
    assert {(head["content-type"], head["x-key"], head["y"]) for _, head, _ in watched.posts} == {
        ("application/json", "a zq9x", "2")
    }
    first, last = (points(body) for _, _, body in (watched.posts[0], watched.posts[-1]))
    assert "tailproof.clause.verdict" not in first
    summary = watched.record("summary.json")["targets"]
    assert sum(point.as_double for point in last["tailproof.requests"]) == sum(
        sum(target["outcomes"].values()) for target in summary.values()
    )
    durations = last["gen_ai.client.operation.duration"]
    assert sum(point.count for point in durations) == sum(
        point.as_double for point in last["tailproof.requests"]
    )
    assert all(point.count == sum(point.bucket_counts) for point in durations)
    (verdict,) = {
        attribute.value.string_value
        for point in last["tailproof.clause.verdict"]
        for attribute in point.attributes
        if attribute.key == "verdict"
    }
    assert verdict == watched.record("verdicts.json")["clauses"][0]["verdict"]
    began = watched.record("run.json")["started_wall_ns"]
    assert {point.start_time_unix_nano for point in durations} == {began}
    assert (
        began
        < first["tailproof.run.info"][0].time_unix_nano
        < last["tailproof.run.info"][0].time_unix_nano
    )


def test_nothing_of_the_monitors_is_kept(watched: Watched) -> None:
    """Neither the collector's address nor a header's value is in a file of the run, nor in what it
    said.
    """
    for path in (path for path in watched.folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert b"zq9x" not in data, path
        assert b"otlp-endpoint" not in data, path
    assert "zq9x" not in watched.errors
    assert "--metrics-port" not in watched.record("run.json")["repeat_command"]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (307, b"", "HTTP 307"),
        (200, b'{"partialSuccess": {"rejectedDataPoints": "7"}}', "7 points rejected"),
    ],
)
def test_a_collector_that_fails_is_one_note(
    status: int, body: bytes, why: str, tmp_path: Path
) -> None:
    """A redirect is not followed, so that headers go where the user said alone; the run ends as
    without it.
    """
    with (
        collecting() as elsewhere,
        collecting(status, body, f"{elsewhere.url}/v1/metrics") as collector,
    ):
        ran = tailproof(
            "run",
            files(tmp_path),
            "--duration",
            "1s",
            "--out",
            tmp_path / "run",
            "--otlp-endpoint",
            collector.url,
            cwd=tmp_path,
            environment={"OTEL_EXPORTER_OTLP_HEADERS": "x-key=zq9x"},
        )
        assert len(collector.posts) >= 2
        assert not elsewhere.posts
    verdicts = json.loads((tmp_path / "run" / "verdicts.json").read_bytes())
    assert ran.returncode == verdicts["exit_code"] != 2
    assert len(re.findall(f"could not be pushed to {collector.url}: {why}", ran.stderr)) == 1
    assert "zq9x" not in ran.stderr


def test_ctrl_c_ends_the_wait_for_the_last_scrape_and_not_the_verdict(tmp_path: Path) -> None:
    """The exit code is that of the verdict; the address is said, and until when it answers."""
    with command(
        "run",
        str(files(tmp_path)),
        "--duration",
        "1s",
        "--out",
        str(tmp_path / "run"),
        "--metrics-port",
        "0",
    ) as running:
        running.wait_for("verdicts wait up to 60 s for a scrape")
        running.process.send_signal(signal.SIGINT)
        code = running.end()
    assert code == json.loads((tmp_path / "run" / "verdicts.json").read_bytes())["exit_code"] != 130


def test_a_port_that_is_taken_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 with the flag's name, and no folder."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert (
            main(
                [
                    "run",
                    str(files(tmp_path)),
                    "--out",
                    str(tmp_path / "run"),
                    "--metrics-port",
                    port,
                ]
            )
            == 2
        )
    assert f"--metrics-port: port {port} cannot be listened on" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "url", ["localhost:4318", "http://user:word@localhost:4318", "file:///etc"]
)
def test_a_collector_is_named_by_its_url(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anything else is refused before anything is sent, and a password in it is not repeated."""
    assert (
        main(["run", str(files(tmp_path)), "--out", str(tmp_path / "run"), "--otlp-endpoint", url])
        == 2
    )
    said = capsys.readouterr().err
    assert "--otlp-endpoint" in said
    assert "word" not in said
    assert not (tmp_path / "run").exists()


def test_a_watch_is_scraped_too(tmp_path: Path) -> None:
    """Its probes are counted while it goes on."""
    with embedded_gateway([str(files(tmp_path))]) as url:
        (tmp_path / "t.toml").write_text(
            f'description = "d"\nbase_url = "{url}/scenario/v1"\nmodel = "Pro/m"\n'
        )
        (tmp_path / "s.toml").write_text(
            'description = "d"\n[[stage]]\nname = "one"\ntargets = ["t.toml"]\nprofile ='
            ' "load.toml"\n'
        )
        with command(
            "watch",
            str(tmp_path / "s.toml"),
            "--rate",
            "20/s",
            "--out",
            str(tmp_path / "w"),
            "--metrics-port",
            "0",
        ) as running:
            port = int(running.wait_for(r"http://127\.0\.0\.1:(\d+)/metrics")[1])
            texts = scrape_until(port, lambda samples: by_outcome(samples, "t").get("ok", 0) >= 20)
            running.process.send_signal(signal.SIGTERM)
            assert running.end() == 130
    assert about(told(texts[-1]))["state"] == "running"
