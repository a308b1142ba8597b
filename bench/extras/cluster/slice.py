"""The process that sends one slice: started by a node's `Agent`, in its own session and nobody's
child.

In: a job on standard input, then the agreed instant, then at most the word to stop. Out: the
shard's folder, and lines on standard output: ready, what went on in each second, the end. Must stay
true: nothing is sent before the instant is known; the end of standard input, which is the end of
whoever watches, means stop, drain and seal; what is told of a second are differences, so that
whoever listens adds them up.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bench.errors import TailproofError, TargetUnreachable
from bench.extras.cluster.job import Job, Slice
from bench.load.generator import run_loop
from bench.load.options import Listeners, RunOptions
from bench.load.player import Counters
from bench.load.runner import play
from bench.load.shard import Start
from bench.load.workers import innermost
from bench.plan.credentials import fault_text
from bench.plan.prompts import PromptText, load_tokenizer
from bench.units import S

REPORT_EVERY_NS = 1 * S
#: An agent that has not read for so long (s) when all is over is not waited for.
_LAST_WORD_S = 10.0


class ToAgent:
    """Lines to the agent, written on a thread of its own, so that an agent that is gone or stands
    still delays nothing.
    """

    def __init__(self) -> None:
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        #: lines that were sent, and those that were written
        self._sent = self._written = 0

    @property
    def all_written(self) -> bool:
        """Whether every line that was sent has been written."""
        return self._sent == self._written

    def send(self, **message: Any) -> None:
        """One line, soon."""
        self._sent += 1
        self._lines.put(json.dumps(message) + "\n")

    def finish(self) -> None:
        """Write what is left, if anybody still reads."""
        self._lines.put(None)
        self._thread.join(_LAST_WORD_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with suppress(BrokenPipeError):
                sys.stdout.write(line)
                sys.stdout.flush()
            self._written += 1


class FromAgent:
    """What the agent says once requests are being sent."""

    def __init__(self) -> None:
        #: why the driver ends the run before its plan
        self.why: str | None = None

    def listen(self) -> None:
        """On a thread of its own.

        A reason ends the run by rule; without one it is the user's Ctrl-C, as the end of the input
        is.
        """
        stopped = False
        for line in sys.stdin.buffer:
            self.why = json.loads(line)["stop"]
            if self.why is None:
                stopped = True
                os.kill(os.getpid(), signal.SIGINT)
        if not stopped:
            os.kill(os.getpid(), signal.SIGINT)


class CounterReports:
    """Counts since the last report; while the agent does not read, they add up for the next one."""

    def __init__(self, to_agent: ToAgent, lanes: int):
        self._to_agent = to_agent
        self._reported = Counters.total([], lanes)
        self._reported_ns = -REPORT_EVERY_NS
        self._ask: Callable[[], Counters] | None = None

    def tick(self, now_ns: int, counters: Callable[[], Counters]) -> None:
        """Report when it is time to."""
        self._ask = counters
        if now_ns - self._reported_ns >= REPORT_EVERY_NS and self._to_agent.all_written:
            self._reported_ns = now_ns
            self.finish()

    def finish(self) -> None:
        """Report what is left."""
        if self._ask is not None:
            now = self._ask().copy()
            self._to_agent.send(counters=now.since(self._reported).plain())
            self._reported = now


async def _play(to_agent: ToAgent, head: bytes, rows: bytes, folder: Path) -> None:
    job, from_agent = Job.load(head, rows), FromAgent()
    tokenizer = load_tokenizer(job.tokenizer) if job.tokenizer else None
    reports = CounterReports(to_agent, len(job.plan.lanes))

    def agree() -> Start:
        to_agent.send(ready=True)
        line = sys.stdin.buffer.readline()
        if not line:  # nobody is there any more to say when
            os._exit(0)
        start = Start.at(**json.loads(line))
        threading.Thread(target=from_agent.listen, daemon=True).start()
        return start

    def on_tick(now_ns: int, counters: Callable[[], Counters]) -> str | None:
        reports.tick(now_ns, counters)
        return from_agent.why

    shard = Slice(
        number=job.shard.number,
        of=job.shard.of,
        place=job.shard.place,
        whole_sha256=job.whole_sha256,
        agree=agree,
    )
    listeners = Listeners(
        warn=lambda text: to_agent.send(warn=text),
        on_tick=on_tick,
        ends_early=lambda why: to_agent.send(early=why),
    )
    options = RunOptions(folder=folder, tokenizer=tokenizer, caps=job.caps, shard=shard)
    text = PromptText(job.plan.seed, tokenizer)
    await play(job.plan, text, job.manifest, options, listeners)
    reports.finish()


def main() -> int:
    """The job's two parts on standard input, their lengths before them: `{"head": n, "rows": n,
    "folder": ...}`.
    """
    to_agent = ToAgent()
    to_agent.send(pid=os.getpid())
    first = json.loads(sys.stdin.buffer.readline())
    head, rows = (sys.stdin.buffer.read(first[name]) for name in ("head", "rows"))
    try:
        run_loop(lambda: _play(to_agent, head, rows, Path(first["folder"])))
        to_agent.send(ended=True)
    except BaseException as group:
        error = innermost(group)
        ours = isinstance(error, TailproofError)
        to_agent.send(
            refused=str(error) if ours else fault_text(),
            unreachable=isinstance(error, TargetUnreachable),
        )
    to_agent.finish()
    # A thread may still wait for the agent's word; nothing is left to be saved.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
