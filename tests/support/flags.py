"""The flags of a command line, as `run` gets them."""

from __future__ import annotations

from bench.cli.flags import flags_of
from bench.cli.run import RunFlags, run


def run_flags(*words: str) -> RunFlags:
    return flags_of(RunFlags, run.make_context("run", list(words)).params)
