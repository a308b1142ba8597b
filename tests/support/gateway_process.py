"""A gateway in its own process, and the plainest clients that can talk to it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.patience import STEP_S

ROOT = Path(__file__).resolve().parents[2]

#: Every kind of answer by model name; all times short and fixed.
MENAGERIE = (
    """
description = "every kind of answer"
seed = 3
[[gateway.model]]
name = "plain"
pool = "plain"
context_tokens = 50
[[gateway.model]]
name = "Pro/plain"
pool = "plain"
served = "plain-v2"
[[gateway.model]]
name = "slow"
pool = "slow"
[[gateway.model]]
name = "limited"
pool = "plain"
rate_limit = { requests_per_min = 1, burst = 2 }
[[gateway.model]]
name = "cold"
pool = "cold"
[[gateway.model]]
name = "falls"
pool = "plain"
[[gateway.downgrade]]
model = "falls"
asked = "priority"
prompt_above = 3
[[gateway.downgrade]]
model = "spills"
told = "spillover"
[[gateway.downgrade]]
model = "keeps-quiet"
told = "nothing"
[[gateway.model]]
name = "spills"
pool = "plain"
[[gateway.model]]
name = "keeps-quiet"
pool = "plain"
[[gateway.pool]]
name = "cold"
ttft = { fixed = "1ms" }
cold_share = 1
cold_start = { fixed = "30ms" }
[[gateway.pool]]
name = "plain"
region = "eu-1"
ttft = { fixed = "30ms" }
gap = { fixed = "5ms" }
[[gateway.pool]]
name = "slow"
ttft = { fixed = "20s" }
"""
    + "".join(
        f"""
[[gateway.model]]
name = "{kind}"
pool = "{kind}"
[[gateway.pool]]
name = "{kind}"
ttft = {{ fixed = "20ms" }}
gap = {{ fixed = "2ms" }}
[[gateway.timeline]]
pool = "{kind}"
fault = "{kind}"
"""
        for kind in (
            "http_500",
            "http_503",
            "overload",
            "capacity",
            "reset",
            "stall",
            "truncate",
            "slow_tail",
            "garbage",
            "stream_error",
            "stream_overload",
        )
    )
    + """
[truth]
says = "as its names say"
"""
)


#: Keys that last for two requests.
EXPIRING = """
description = "keys that expire"
[gateway]
key_lifetime = { requests = 2 }
[[gateway.model]]
name = "*"
pool = "p"
[[gateway.pool]]
name = "p"
ttft = { fixed = "1ms" }
[truth]
says = "the third request with a key is refused"
"""


class GatewayProcess:
    """A running gateway and its address."""

    def __init__(self, arguments: list[str], *, stdin: int = subprocess.DEVNULL):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.gateway", *arguments],
            cwd=ROOT,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read() if self.process.stderr else ""
        self.ready: dict[str, Any] = json.loads(line)
        url = urlsplit(self.ready["url"])
        assert url.hostname
        assert url.port
        self.host, self.port = url.hostname, url.port

    def connect(self) -> socket.socket:
        """A bare socket to it."""
        return socket.create_connection((self.host, self.port), timeout=STEP_S)

    def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers (lower case), body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=STEP_S)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def chat(
        self,
        model: str,
        *,
        tokens: int = 4,
        prompt: str = "one two three",
        path: str = "",
        headers: dict[str, str] | None = None,
        **more: object,
    ) -> tuple[int, dict[str, str], bytes]:
        """One chat request."""
        body = chat_body(model, tokens=tokens, prompt=prompt, **more)
        return self.call("POST", f"{path}/v1/chat/completions", body, headers)

    def truth(self, path: str = "") -> dict[str, Any]:
        """What it says of itself."""
        status, _, body = self.call("GET", f"{path}/truth")
        assert status == 200
        facts: dict[str, Any] = json.loads(body)
        return facts

    def stop(self) -> tuple[int, str]:
        """SIGTERM; its exit code and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=STEP_S)
        return self.process.returncode, errors


def chat_body(
    model: str, *, tokens: int = 4, prompt: str = "one two three", **more: object
) -> dict[str, object]:
    """The body of a chat request."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        **more,
    }


def raw_request(
    body: dict[str, object], path: str = "/v1/chat/completions", *headers: str
) -> bytes:
    """A chat request as bytes."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(data)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + data


def events(body: bytes) -> list[Any]:
    """The events of a complete SSE body, JSON decoded, `[DONE]` as it is."""
    lines = body.decode().split("\n\n")
    assert lines[-1] == ""
    texts = [line.removeprefix("data: ") for line in lines[:-1]]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]
