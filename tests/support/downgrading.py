"""A provider that serves every second answer at another tier than the one asked for, and fails with
causes of its own choosing; it writes down what it did.
"""

from __future__ import annotations

import http.server
import json
import threading
from typing import Any, NamedTuple, cast

ASKED, OTHER = "priority", "default"
#: So many rows make one round of answers.
ROUND = 20


class Fault(NamedTuple):
    """An answer that is an error, and whose it is."""

    cause: str
    status: int
    code: str


#: The first rows of each round, by hand from the vendors' pages.
FAULTS = (
    Fault("quota", 429, "rate_limit_exceeded"),
    Fault("capacity", 429, "resource_unavailable"),
    Fault("overload", 503, ""),
    Fault("spend", 429, "insufficient_quota"),
    Fault("auth", 403, "permission_denied"),
    Fault("request", 400, "context_length_exceeded"),
    Fault("filter", 400, "content_filter"),
    Fault("server", 500, "internal_error"),
    Fault("overload", 200, "engine_overloaded"),
    Fault("network", 0, ""),
)
#: The row of a round whose answer names no tier.
SILENT = len(FAULTS)
#: Said to have been spent on each answer.
SERVER_MS = 2


class Truth(NamedTuple):
    """What became of a row, by its server's own book."""

    tier: str | None
    cause: str | None
    code: str | None


def truth_of(row: int) -> Truth:
    """What the server does with a row."""
    place = row % ROUND
    if place < len(FAULTS):
        fault = FAULTS[place]
        return Truth(None, fault.cause, fault.code or None)
    if place == SILENT:
        return Truth(None, None, None)
    return Truth(ASKED if row % 2 else OTHER, None, None)


class DowngradingProvider(http.server.ThreadingHTTPServer):
    """Chat completions on loopback."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        #: row -> what was asked for
        self.asked: dict[int, str | None] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(404, "application/json", b"{}")

    def do_POST(self) -> None:
        provider = cast("DowngradingProvider", self.server)
        row = int(self.headers["x-request-id"].rpartition("-")[2])
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        provider.asked[row] = body.get("service_tier")
        truth, place = truth_of(row), row % ROUND
        fault = FAULTS[place] if place < len(FAULTS) else None
        if fault is not None and not fault.status:
            self.connection.close()
            self.close_connection = True
            return
        more = {
            "x-request-id": f"req-{row}",
            "x-ratelimit-remaining-requests": str(5000 - row),
            "openai-processing-ms": str(SERVER_MS),
        }
        if fault is not None and fault.status != 200:
            error = {"message": "no", **({"code": fault.code} if fault.code else {})}
            self._answer(fault.status, "application/json", _json({"error": error}), more)
            return
        # The first chunk repeats what was asked for; the last one says what served.
        events: list[dict[str, Any]] = [
            {"service_tier": ASKED, "choices": [{"delta": {"content": "a"}}]}
        ]
        if truth.tier is None:
            del events[0]["service_tier"]
        if fault is not None:
            events.append({"error": {"message": "busy", "code": fault.code}})
        else:
            last: dict[str, Any] = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
            if truth.tier is not None:
                last["service_tier"] = truth.tier
            events.append(last)
            events.append({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 1}})
        stream = b"".join(b"data: " + _json(event) + b"\n\n" for event in events)
        self._answer(200, "text/event-stream", stream + b"data: [DONE]\n\n", more)

    def _answer(
        self, status: int, kind: str, body: bytes, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The log is in memory."""


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
