"""Real servers for the tests of this folder, and a run against one of them.

In: what `make test-real` installed. Out: processes on free ports of the loopback, and a run's rows
as a user would export them. Must stay true: each process ends with the test that started it, by its
own number; waiting is for a state, with an end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

from bench.cli import main
from bench.errors import ExitCode

HERE = Path(__file__).resolve().parent
ENGINE, GATEWAY = (
    HERE.parents[1] / ".real" / name / "bin" / "python" for name in ("engine", "gateway")
)
#: What engines and gateways here want to hear, and the variable that the runs read it from.
KEY, KEY_ENV = "loopback-key", "TAILPROOF_REAL_KEY"
PATIENCE_S = 60
#: A run that went through, whatever its verdict: the tests look at the rows.
JUDGED = {
    ExitCode.PASS,
    ExitCode.FAIL,
    ExitCode.INCONCLUSIVE,
    ExitCode.INVALID,
    # all requests refused for what the client sent
    ExitCode.UNREACHABLE,
}
MODEL = "smollm2"
_EVALUATED = re.compile(
    r"prompt eval time = +([\d.]+) ms / +(\d+) tokens.*\n.*\| +eval time = +([\d.]+) ms / +(\d+)"
    r" tokens"
)

Row = dict[str, Any]
#: As long as was asked for: the model must not end a test's answer early.
_WHOLE = {"ignore_eos": True}


@dataclass
class Server:
    """A process that serves, and the file it logs to."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it as the kernel's OOM killer would; again does no harm."""
        self.process.kill()
        self.process.communicate()

    def begun(self) -> int:
        """Of an engine: how many requests it has put to work."""
        return self.log.read_text().count("launch_slot_:")

    def idle(self) -> bool:
        """Of an engine: is it through with all it was asked for?"""
        return self.log.read_text().count("stop processing:") == self.begun()

    def decoded(self) -> int:
        """Of an engine: tokens of the answers that it is writing now."""
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE_S)) as asking:
            asking.request("GET", "/slots", headers={"Authorization": f"Bearer {KEY}"})
            slots = json.load(asking.getresponse())
        return sum(slot["next_token"][0]["n_decoded"] for slot in slots if slot["is_processing"])

    def timings(self) -> list[tuple[float, int, float, int]]:
        """Of an engine: (ms for the prompt, its tokens, ms for the answer, its tokens), in the
        order of their ends.
        """
        found = _EVALUATED.findall(self.log.read_text())
        return [(float(a), int(n), float(b), int(m)) for a, n, b, m in found]


def wait_for(state: Callable[[], bool], server: Server) -> None:
    """Until `state()` holds. Fails with the log when the server ends first."""
    end = time.monotonic() + PATIENCE_S
    while not state():
        assert server.process.poll() is None, server.log.read_text()[-4000:]
        assert time.monotonic() < end, server.log.read_text()[-4000:]
        time.sleep(0.02)


def up(server: Server, *ports: int) -> Server:
    """The server, once it listens on all `ports`; ended where it does not."""
    try:
        wait_for(lambda: all(answers(port) for port in ports), server)
    except BaseException:
        server.kill()
        raise
    return server


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def answers(port: int) -> bool:
    """Does anything listen there?"""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def missing(server: str) -> NoReturn:
    """Skip the test; fail it where `make` has installed all that is needed, for then nobody looks
    at skips.
    """
    (pytest.fail if os.environ.get("REAL_SERVERS") == "required" else pytest.skip)(
        f"no {server} here: run `make test-real`"
    )


def start_engine(
    log: Path, alias: str = MODEL, port: int = 0, pooling: str | None = None
) -> Server:
    """llama.cpp with two slots of 1,024 tokens; `pooling` as engine.py has it. `missing` where it
    is not installed.
    """
    if not ENGINE.exists():
        missing("llama.cpp")
    command: list[str | Path] = [
        ENGINE,
        HERE / "engine.py",
        "--alias",
        alias,
        "--key",
        KEY,
        "--port",
        str(port),
        *(["--pooling", pooling] if pooling else []),
    ]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
    assert process.stdout is not None
    url = process.stdout.readline().decode().strip()
    assert url, log.read_text()[-4000:]
    return Server(url, process, log)


def start_gateway(
    folder: Path, models: Mapping[str, tuple[str, Mapping[str, int]]], fallbacks: Mapping[str, str]
) -> Server:
    """LiteLLM over `models` (name → upstream, further parameters).

    `missing` where it is not installed.
    """
    if not GATEWAY.exists():
        missing("LiteLLM")
    port, config, log = free_port(), folder / "litellm.json", folder / "litellm.log"
    listed = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{MODEL}",
                "api_base": url,
                "api_key": KEY,
                "max_retries": 0,
                **more,
            },
        }
        for name, (url, more) in models.items()
    ]
    routing = {
        "fallbacks": [{name: [other]} for name, other in fallbacks.items()],
        "num_retries": 0,
        "disable_cooldowns": True,
        "optional_pre_call_checks": ["enforce_model_rate_limits"],
    }
    # JSON is YAML.
    config.write_text(
        json.dumps(
            {
                "model_list": listed,
                "router_settings": routing,
                "litellm_settings": {"telemetry": False},
                "general_settings": {"master_key": KEY, "disable_spend_logs": True},
            }
        )
    )
    command: list[str | Path] = [
        GATEWAY.with_name("litellm"),
        "--config",
        config,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    # Without these it asks others for prices and for its own documentation.
    offline = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_DOCS": "True",
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
    }
    with log.open("wb") as both:
        process = subprocess.Popen(
            command, env=offline, stdin=subprocess.DEVNULL, stdout=both, stderr=both
        )
    return up(Server(f"http://127.0.0.1:{port}/v1", process, log), port)


def start_nginx(folder: Path, config: str, ports: list[int]) -> Server:
    """nginx with `config`, once it listens on all `ports`. `missing` where it is not installed."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        missing("nginx")
    (folder / "nginx.conf").write_text(config)
    log = folder / "error.log"
    process = subprocess.Popen(
        [program, "-p", folder, "-c", folder / "nginx.conf", "-e", log], stdin=subprocess.DEVNULL
    )
    return up(Server(f"https://localhost:{ports[0]}/v1", process, log), *ports)


def run(
    folder: Path, *flags: str, kept: bool = False, body: Mapping[str, Any] = _WHOLE
) -> tuple[list[Row], Path]:
    """(rows, folder of the run) of `tailproof run` with `flags`: with --url, short prompts one at a
    time.

    `kept`: connections may be used again. The engine here hangs up behind each streamed answer
    without a word (docs/dev/real-servers.md), so all but the tests of that ask for it to be said.
    """
    out, rows = folder / "run", folder / "rows.jsonl"
    asked = [
        "run",
        *flags,
        "--extra-body",
        json.dumps(body),
        "--api-key-env",
        KEY_ENV,
        "--quiet",
        "--out",
        str(out),
    ]
    if flags[0] == "--url":
        asked = ["run", "--model", MODEL, "--concurrency", "1", *asked[1:]]
    if not kept:
        asked += ["--header", "Connection: close"]
    assert main(asked) in JUDGED
    assert main(["export", str(out), "--format", "jsonl", "--out", str(rows)]) == 0
    return [json.loads(line) for line in rows.read_text().splitlines()], out


def kill_when(server: Server, state: Callable[[], bool]) -> threading.Thread:
    """Kill it once `state()` holds; the thread is over then."""

    def watch() -> None:
        wait_for(state, server)
        server.kill()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread
