"""A provider that knows what it was asked and what it answered, whatever the run says of it."""

from __future__ import annotations

import http.server
import threading
from typing import Any, cast

from bench.clock import monotonic_ns, sleep_s

_TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
_END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Provider(http.server.ThreadingHTTPServer):
    """Answers each request after 5 ms and writes down which, and when."""

    daemon_threads = True
    #: socketserver's five overflow when a machine that stood still sends what was due meanwhile:
    #: the kernel then drops handshakes, and each is tried again after 1, 3, 7, 15 s and longer
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        #: row -> moments (monotonic ns) at which it was asked for, and wholly answered
        self.asked: dict[Any, list[int]] = {}
        self.answered: dict[Any, int] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def row_of(self, request_id: str) -> Any:
        """What a request is written down by: its row."""
        return int(request_id.rpartition("-")[2])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed leaves broken pipes."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        provider = cast("Provider", self.server)
        row = provider.row_of(self.headers["x-request-id"])
        provider.asked.setdefault(row, []).append(monotonic_ns())
        self.rfile.read(int(self.headers["content-length"]))
        sleep_s(0.005)
        body = _TOKEN * 3 + _END
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        provider.answered[row] = monotonic_ns()

    def log_message(self, *_: Any) -> None:
        """The log is in memory."""
