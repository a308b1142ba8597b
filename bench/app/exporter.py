"""The metrics of a run while it lasts, for monitoring systems: scraped on the loopback, pushed by
OTLP.

In: a run's folder while it grows. Out: answers to GET /metrics, posts to a collector. Must stay
true: it happens in a process of its own, at low priority, that reads what is on disk, so that the
loop that sends knows nothing of it; names and numbers are those of `export`; counters never fall; a
monitor that fails ends no run; nothing leaves this machine but to the URL that the user gave.

Source: Prometheus text format 0.0.4; OTLP 1.x over HTTP in its JSON encoding;
OTEL_EXPORTER_OTLP_HEADERS.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import Empty, SimpleQueue
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.clock import wall_ns
from bench.errors import RunFolderError, UserError
from bench.judge.reached import came_to
from bench.judge.review import reviewed
from bench.judge.telemetry import Metric, added, row_metrics, run_info, run_metrics
from bench.record.pieces import Following
from bench.record.records.manifest import LaneRecord
from bench.record.run_folder import Run, read_manifest, read_schedule
from bench.record.samples import Columns, Outcome
from bench.show.exposition import otlp, prometheus_text

PATH = "/metrics"
#: After the end a scraper has this long to come once more: the default scrape interval of
#: Prometheus.
LAST_SCRAPE_S = 60
PUSH_EVERY_S = 5
_TIMEOUT_S = 10
_MOST_ANSWER = 65536
_NICE = 10


class Exporter:
    """The run's side: says which folder to follow, and passes warnings on.

    Without a process it does nothing.
    """

    def __init__(self, warn: Callable[[str], None], process: subprocess.Popen[str] | None = None):
        #: where it can be scraped
        self.port: int | None = None
        self._warn, self._process = warn, process
        self._answers: dict[str, Any] = {}
        self._news = threading.Condition()

    def start(self, port: int | None, endpoint: str | None) -> None:
        """Wait until it can be scraped. Raises UserError where the port cannot be had."""
        assert self._process is not None
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        self._send({"port": port, "endpoint": endpoint})
        self._wait_for("port")
        self.port = self._answers.get("port")
        if "refused" in self._answers:
            raise UserError(
                f"port {port} cannot be listened on ({self._answers['refused']})",
                where="--metrics-port",
                remedy="name another, or 0 for a free one",
            )

    def follow(self, folder: Path) -> None:
        """From now on the metrics are those of the run that is written here."""
        self._send({"follow": str(folder)})

    def judged(self, folder: Path, *, wait: bool) -> None:
        """The run has its verdicts: push them and, if `wait`, let a scraper come once more.

        Ctrl-C ends the waiting alone.
        """
        if self._process is None:
            return
        self._send({"judged": str(folder)})
        with contextlib.suppress(KeyboardInterrupt):
            self._wait_for("pushed")
            if wait and self.port is not None:
                self._warn(
                    f"the verdicts wait up to {LAST_SCRAPE_S} s for a scrape of port {self.port};"
                    " Ctrl-C to go on"
                )
                self._wait_for("scraped", LAST_SCRAPE_S)

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()

    def _wait_for(self, name: str, timeout_s: float | None = None) -> None:
        """Until the process has sent it; not beyond the end of the process."""
        with self._news:
            self._news.wait_for(lambda: name in self._answers or "gone" in self._answers, timeout_s)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as said:
            for line in said:
                self._take(json.loads(line))
        self._take({"gone": True})

    def _take(self, message: dict[str, Any]) -> None:
        if "warn" in message:
            self._warn(message["warn"])
        with self._news:
            self._answers |= message
            self._news.notify_all()


@contextmanager
def exporting(
    port: int | None, endpoint: str | None, warn: Callable[[str], None]
) -> Iterator[Exporter]:
    """Export on this port (0: a free one), to the collector at this base URL, or, without either,
    not at all.

    `warn` is called from a thread. Raises UserError where the port cannot be had.
    """
    if port is None and endpoint is None:
        yield Exporter(warn)
        return
    # A group of its own: the terminal's Ctrl-C is for the run.
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.app.exporter"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    exporter = Exporter(warn, process)
    try:
        exporter.start(port, endpoint)
        yield exporter
    finally:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # which ends it
        process.wait()


# ---- the process beside the run


class Growing:
    """A run's folder that is being written: each of its pieces is read once."""

    def __init__(self, folder: Path):
        """Raises RunFolderError."""
        self._folder, self._schedule = folder, read_schedule(folder)
        self.started_wall_ns = read_manifest(folder).started_wall_ns
        self._pieces = Following(folder)
        self._total: list[Metric] = []
        self._sealed = False

    def metrics(self) -> list[Metric]:
        """Of the rows on disk; those of a run under way that were never sent wait for its end,
        which may not count them.
        """
        manifest = read_manifest(self._folder)
        if manifest.state == "running":
            self._read_on(manifest.lanes)
        elif not self._sealed:
            run = Run(self._folder)
            rows, tiers = came_to(run), run.strings("served_tier")
            self._total, self._sealed = row_metrics(run.lanes, rows, tiers), True
        return [*self._total, run_info(manifest)]

    def _read_on(self, lanes: Sequence[LaneRecord]) -> None:
        rows, samples = self._pieces.fresh()
        if len(rows):
            ended = Columns(self._schedule[rows], samples).where(
                samples["outcome"] != Outcome.never_sent
            )
            tiers = self._pieces.strings("served_tier")
            self._total = added(self._total, row_metrics(lanes, ended, tiers))


class Source:
    """The metrics of the run that is followed, for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._growing: Growing | None = None
        self._judged: list[Metric] | None = None

    def follow(self, folder: Path) -> None:
        """Another run is under way."""
        with self._lock:
            self._growing, self._judged = Growing(folder), None

    def judged(self, folder: Path) -> None:
        """This run has its verdicts: from now on what `export` says of it."""
        run, records = reviewed(folder)
        with self._lock:
            self._growing = self._growing or Growing(folder)
            self._judged = run_metrics(run, records.summary, records.verdicts)

    def metrics(self) -> tuple[list[Metric], int, bool]:
        """The metrics, when their run began (Unix ns), and whether it was judged; none before a
        run. Raises RunFolderError.
        """
        with self._lock:
            if self._growing is None:
                return [], 0, False
            judged = self._judged is not None
            return (self._judged or self._growing.metrics()), self._growing.started_wall_ns, judged


def names_loopback(host_header: str) -> bool:
    """Whether a Host header names this machine by its loopback; a page of another site that has
    its own name resolve to it (DNS rebinding) does not.
    """
    try:
        name = urlsplit(f"//{host_header}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _Server(ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True

    def __init__(self, port: int, source: Source):
        self.source = source
        super().__init__(("127.0.0.1", port), _Answer)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that goes away is no fault of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Answer(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        if not names_loopback(self.headers.get("Host", "")):
            self.send_error(421, explain="This name is not the server's.")
            return
        if urlsplit(self.path).path != PATH:
            self.send_error(404, explain=f"The metrics are at {PATH}.")
            return
        try:
            metrics, _, judged = self.server.source.metrics()
        except RunFolderError as error:
            self.send_error(503, explain=str(error))
            return
        body = "".join(prometheus_text(metrics)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if judged:
            _report({"scraped": True})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 http.server's name
        """Nothing: the terminal is the run's."""


def push_regularly(endpoint: str, source: Source, calls: SimpleQueue[bool]) -> None:
    """Post the metrics every few seconds, and at each call; a true one is the last.

    The first failure is reported.
    """
    warned = last = False
    while not last:
        with contextlib.suppress(Empty):
            last = calls.get(timeout=PUSH_EVERY_S)
        try:
            metrics, started, _ = source.metrics()
            why = _post(endpoint, otlp(metrics, started, wall_ns())) if metrics else None
        except RunFolderError as error:
            why = str(error)
        if why is not None and not warned:
            warned = True
            _report({"warn": f"metrics could not be pushed to {endpoint}: {why}; the run goes on"})


def _post(endpoint: str, request: dict[str, Any]) -> str | None:
    """Why the collector did not take it all; None where it did.

    No header's value is in the reason.
    """
    url = urlsplit(endpoint)
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    path = f"{url.path.rstrip('/').removesuffix('/v1/metrics')}/v1/metrics"
    try:
        with closing(kind(url.netloc, timeout=_TIMEOUT_S)) as connection:
            connection.request("POST", path, json.dumps(request).encode(), _headers())
            answer = connection.getresponse()
            said = answer.read(_MOST_ANSWER)
    except OSError as error:
        return error.strerror or type(error).__name__
    except (HTTPException, ValueError) as error:
        return type(error).__name__
    if not 200 <= answer.status < 300:
        return f"HTTP {answer.status}"
    return f"{rejected} points rejected" if (rejected := _rejected(said)) else None


def _headers() -> dict[str, str]:
    """Those of OTEL_EXPORTER_OTLP_HEADERS (`key=value,key2=value%202`), for the wire alone."""
    pairs = (
        item.partition("=") for item in os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",")
    )
    named = {name.strip(): unquote(value.strip()) for name, equals, value in pairs if equals}
    return named | {"Content-Type": "application/json"}


def _rejected(said: bytes) -> int:
    """How many points a collector refused of a request that it took."""
    try:
        return int(json.loads(said)["partialSuccess"]["rejectedDataPoints"])
    except (ValueError, KeyError, TypeError):
        return 0


def _report(message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def main() -> int:
    """The process: what to do on the first line of standard input, then what becomes of the run,
    until its end.
    """
    os.nice(_NICE)
    job, source = json.loads(sys.stdin.readline()), Source()
    port = None
    try:
        if job["port"] is not None:
            server = _Server(job["port"], source)
            port = server.server_address[1]
            threading.Thread(target=server.serve_forever, daemon=True).start()
    except OSError as error:
        _report({"port": None, "refused": error.strerror})
        return 0
    calls: SimpleQueue[bool] = SimpleQueue()
    pusher = threading.Thread(
        target=push_regularly, args=(job["endpoint"], source, calls), daemon=True
    )
    if job["endpoint"] is not None:
        pusher.start()
    _report({"port": port})
    for line in sys.stdin:
        message = json.loads(line)
        if "follow" in message:
            source.follow(Path(message["follow"]))
            calls.put(False)
        else:
            source.judged(Path(message["judged"]))
            _finish(pusher, calls)
            _report({"pushed": True})
    _finish(pusher, calls)
    return 0


def _finish(pusher: threading.Thread, calls: SimpleQueue[bool]) -> None:
    calls.put(True)
    if pusher.is_alive():
        pusher.join()


if __name__ == "__main__":
    sys.exit(main())
