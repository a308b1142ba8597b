"""The process that sends one slice: started by a node's `Agent`, in its own session and nobody's
child.

In: a job on standard input, then the agreed instant, then at most the word to stop. Out: the
shard's folder, and what `part_process` says. Must stay true: nothing is sent before the instant is
known; the end of standard input, which is the end of whoever watches, means stop, drain and seal.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bench.errors import TailproofError, TargetUnreachable
from bench.extras.cluster.node import Job
from bench.load.generator import run_loop
from bench.load.options import Listeners, RunOptions
from bench.load.part_process import CounterReports, FromStarter, ToStarter, leave
from bench.load.player import Counters
from bench.load.runner import play
from bench.load.shard import Start
from bench.load.workers import innermost
from bench.plan.credentials import fault_text
from bench.plan.prompts import PromptText, load_tokenizer
from bench.units import S

REPORT_EVERY_NS = 1 * S


def _ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


async def _play(to_agent: ToStarter, head: bytes, rows: bytes, folder: Path) -> None:
    job, from_agent = Job.load(head, rows), FromStarter(_ctrl_c)
    tokenizer = load_tokenizer(job.tokenizer) if job.tokenizer else None
    reports = CounterReports(to_agent, len(job.plan.lanes), REPORT_EVERY_NS)

    def agree() -> Start:
        to_agent.send({"ready": True})
        started = from_agent.start()
        if started is None:  # nobody is there any more to say when
            os._exit(0)
        return Start.at(**started)

    def on_tick(now_ns: int, counters: Callable[[], Counters]) -> str | None:
        reports.tick(now_ns, counters)
        return from_agent.why

    listeners = Listeners(
        warn=lambda text: to_agent.send({"warn": text}),
        on_tick=on_tick,
        ends_early=lambda why: to_agent.send({"early": why}),
    )
    shard = dataclasses.replace(job.shard, agree=agree)
    options = RunOptions(folder=folder, tokenizer=tokenizer, caps=job.caps, shard=shard)
    text = PromptText(job.plan.seed, tokenizer)
    await play(job.plan, text, job.manifest, options, listeners)
    reports.finish()


def main() -> int:
    """The job's two parts on standard input, their lengths before them: `{"head": n, "rows": n,
    "folder": ...}`.
    """
    to_agent = ToStarter()
    to_agent.send({"pid": os.getpid()})
    first = json.loads(sys.stdin.buffer.readline())
    head, rows = (sys.stdin.buffer.read(first[name]) for name in ("head", "rows"))
    try:
        run_loop(lambda: _play(to_agent, head, rows, Path(first["folder"])))
        to_agent.send({"ended": True})
    except BaseException as group:
        error = innermost(group)
        ours = isinstance(error, TailproofError)
        to_agent.send(
            {
                "refused": str(error) if ours else fault_text(),
                "unreachable": isinstance(error, TargetUnreachable),
            }
        )
    to_agent.finish()
    leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
