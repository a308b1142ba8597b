"""`python -m bench.gateway`: the gateway as a process of its own.

In: names of scenarios and an address. Out: one JSON line on stdout when it is ready, then HTTP
until SIGTERM. Must stay true: stdout holds that line alone; with `--exit-with-parent` the
process cannot outlive the one that holds its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import ipaddress
import json
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TextIO

from bench.errors import TailproofError, UserError
from bench.gateway.scenarios import Scenario, load_scenario
from bench.gateway.server import serve
from bench.machine import raise_descriptor_limit
from bench.units import parse_duration_ns


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway", description="A simulated LLM provider."
    )
    parser.add_argument("--scenarios", required=True, help="names or paths, separated by commas")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: loopback only)",
    )
    parser.add_argument("--port", type=int, default=0, help="0 means any free port")
    parser.add_argument("--seed", type=int, help="in place of the scenarios' own seeds")
    parser.add_argument(
        "--truth-log",
        type=Path,
        help="append one JSON line a request to this file",
    )
    parser.add_argument(
        "--exit-with-parent",
        action="store_true",
        help="stop when stdin reaches its end",
    )
    parser.add_argument(
        "--request-timeout",
        default="10s",
        help="how long a request may take to arrive (default: 10s)",
    )
    return parser.parse_args(argv)


def _load(arguments: argparse.Namespace) -> list[Scenario]:
    scenarios = [
        load_scenario(name.strip()) for name in arguments.scenarios.split(",") if name.strip()
    ]
    if arguments.seed is not None:
        scenarios = [scenario.model_copy(update={"seed": arguments.seed}) for scenario in scenarios]
    names = [scenario.name for scenario in scenarios]
    if not names or len(set(names)) < len(names):
        raise UserError("--scenarios needs one or more different names")
    return scenarios


def _duration_ns(text: str) -> int:
    try:
        return parse_duration_ns(text)
    except ValueError as error:
        raise UserError(str(error), where="--request-timeout") from None


def _log(path: Path) -> TextIO:
    try:
        return path.open("a")
    except OSError as error:
        raise UserError(
            f"cannot be written ({error.strerror})", where=f"--truth-log {path}"
        ) from None


def _warn_if_public(host: str) -> None:
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        sys.stderr.write(
            f"WARNING: the simulated gateway listens on {host}, which is NOT loopback: anyone who "
            "reaches this address can use it, and it asks nobody for a password\n"
        )


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where there is one; only the gateway's own process is changed by it."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


async def _serve(
    arguments: argparse.Namespace,
    scenarios: list[Scenario],
    log: TextIO | None,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if arguments.exit_with_parent:
        stdin = sys.stdin.fileno()
        loop.add_reader(stdin, lambda: stop.set() if not os.read(stdin, 4096) else None)

    def ready(url: str) -> None:
        names = [scenario.name for scenario in scenarios]
        sys.stdout.write(
            json.dumps({"ready": True, "url": url, "pid": os.getpid(), "scenarios": names}) + "\n"
        )
        sys.stdout.flush()
        # what exists now lives as long as the process: a collector that walks it would stall writes
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 1000)

    await serve(
        scenarios,
        host=arguments.host,
        port=arguments.port,
        log=log,
        request_ns=_duration_ns(arguments.request_timeout),
        ready=ready,
        stop=stop,
    )


def main(argv: list[str] | None = None) -> int:
    """The process's exit code: 0 after a stop, 2 for a bad file or address."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        scenarios = _load(arguments)
        _warn_if_public(arguments.host)
        raise_descriptor_limit()
        with contextlib.ExitStack() as stack:
            if arguments.truth_log:
                log = stack.enter_context(_log(arguments.truth_log))
            else:
                log = None
            _run(_serve(arguments, scenarios, log))
    except TailproofError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
