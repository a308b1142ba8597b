"""The flags of a command line, as `run` gets them."""

from __future__ import annotations

from bench.cli.flags import flags_of
from bench.cli.run import RunFlags, run


def run_flags(*words: str) -> RunFlags:
    return flags_of(RunFlags, run.make_context("run", list(words)).params)


def small_requests(port: int, *more: str, host: str = "127.0.0.1") -> list[str]:
    """Flags of requests of 20 and 3 tokens to a server of ours, then `more`, which win."""
    sizes = ["--isl", "20", "--osl", "3"]
    return ["--url", f"http://{host}:{port}/v1", "--model", "m", *sizes, *more]
