"""A provider that says in turn what a script says: an answer, or an error in OpenAI's words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: The status of the n-th request, from 0 on.
Script = Callable[[int], int]
SAID = {
    400: {"error": {"message": "Unsupported parameter: 'max_tokens'", "type": "invalid_request"}},
    401: {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}},
    402: {"error": {"message": "no credit is left", "code": "insufficient_quota"}},
    403: {"error": {"message": "You may not use this model", "type": "permission_error"}},
    404: {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}},
    429: {"error": {"message": "slow down", "code": "rate_limit_exceeded"}},
    500: {"error": {"message": "oops"}},
}
GOOD = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)

_NOBODY_COUNTS: list[str] = []


@contextmanager
def provider(
    script: Script,
    models: bytes = b"{}",
    asked: list[str] = _NOBODY_COUNTS,
    keys: list[str] = _NOBODY_COUNTS,
) -> Iterator[tuple[str, list[int]]]:
    """(URL, statuses that it has answered with); `asked` gets the paths of each GET, `keys` the
    proof that comes with each POST, before the script is asked.
    """
    answered: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """The list of models."""
            asked.append(self.path)
            self._answer(200, "application/json", models)

        def do_POST(self) -> None:
            """What the script says."""
            self.rfile.read(int(self.headers["content-length"]))
            keys.append(self.headers["authorization"] or "")
            status = script(len(answered))
            answered.append(status)
            if status == 200:
                self._answer(200, "text/event-stream", GOOD)
            else:
                self._answer(status, "application/json", json.dumps(SAID[status]).encode())

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", answered
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
