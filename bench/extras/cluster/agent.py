"""What an engine runs on a node, once for each shard: it starts the process that sends, and answers
for it.

In: calls, one at a time. Out: plain values. Must stay true: no engine is known here; nothing is
sent before `start`; when the agent is gone its process stops by itself and its folder stays; each
call answers soon and does little, for it runs beside what is being timed.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import __version__
from bench.clock import wall_ns
from bench.errors import TailproofError
from bench.extras.cluster.outbox import FilePart, Outbox
from bench.record.run_folder import under_way

#: A node says within this (s) whether its shard is ready: its target is asked, its keys are looked
#: up.
READY_S = 90.0
#: Bytes of files in one answer.
BUDGET = 8 << 20
_COMMAND = [sys.executable, "-m", "bench.extras.cluster.detach", "bench.extras.cluster.slice"]


class Agent:
    """One shard's, or the keeper of a folder that one left."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        """`command` starts what sends: it reads a job, and then orders, line by line."""
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._outbox: Outbox | None = None
        self._lock = threading.Lock()
        #: what the process said and nobody has fetched
        self._said: list[dict[str, Any]] = []
        #: of the process, once it has said so
        self.pid: int | None = None
        self._ready = threading.Event()
        self._gone = threading.Event()

    def hello(self) -> dict[str, str]:
        """What must be the same everywhere."""
        return {"tailproof": __version__, "Python": platform.python_version()}

    def wall(self) -> int:
        """Unix ns by this node's clock."""
        return wall_ns()

    def prepare(self, head: bytes, rows: bytes, shared: str | None, name: str) -> dict[str, Any]:
        """Start the process for a job of `Job.dump`; `{"folder"}` once it is ready, or `{"refused",
        "unreachable"}`.

        Its folder, a new one, lies in `shared`, or where this node keeps what is temporary.
        """
        try:
            if shared is not None:
                Path(shared).mkdir(parents=True, exist_ok=True)
            # A name that was never given before: what an earlier run left there is not this one's.
            self._folder = Path(tempfile.mkdtemp(prefix=f"tailproof-{name}-", dir=shared))
        except OSError as error:
            return {"refused": f"{error.filename}: cannot be made ({error.strerror})"}
        self._outbox = None if shared else Outbox(self._folder)
        self._process = subprocess.Popen(  # noqa: S603 our own module
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._write(
            json.dumps({"head": len(head), "rows": len(rows), "folder": str(self._folder)}).encode()
            + b"\n"
            + head
            + rows
        )
        self._ready.wait(READY_S)
        with self._lock:
            refused = next((said for said in self._said if "refused" in said), None)
        if refused is None and not self._ready.is_set():
            refused = {"refused": f"was not ready within {READY_S:.0f} s"}
        if refused is None and self._gone.is_set():
            refused = {"refused": "its process ended before it was ready"}
        if refused is not None:
            self.remove()
        return {"folder": str(self._folder)} if refused is None else refused

    def start(self, agreed_ns: int, ahead_ns: int) -> None:
        """The instant at which all begin, and how far this node's clock is ahead of the one that it
        is given by.
        """
        self._write(json.dumps({"agreed_ns": agreed_ns, "ahead_ns": ahead_ns}).encode() + b"\n")

    def stop(self, why: str | None) -> None:
        """End before the plan's end: by rule, for a reason; without one as Ctrl-C does, twice to
        cut off.
        """
        self._write(json.dumps({"stop": why}).encode() + b"\n")

    def report(self) -> dict[str, Any]:
        """What was said and sealed since the last call: `{"said", "files", "more", "ended"}`, ended
        once there is no more to come.
        """
        gone = (
            self._gone.is_set()
        )  # before what was said: of a process that is gone nothing is missed
        with self._lock:
            said, self._said = self._said, []
        files, more = list[FilePart](), False
        if self._outbox is not None:
            try:
                files, more = self._outbox.take(BUDGET, ended=gone)
            except TailproofError as error:
                said.append({"refused": str(error)})
        return {
            "said": said,
            "files": [tuple(part) for part in files],
            "more": more or (gone and bool(files)),
            "ended": gone and not files,
        }

    def keep(self, folder: str) -> str:
        """Take over a folder that a shard left, for `report` to hand over: `there`, `under way` or
        `missing`.
        """
        self._folder = Path(folder)
        if not (self._folder / "run.json").is_file():
            return "missing"
        if under_way(self._folder):
            return "under way"
        self._outbox = Outbox(self._folder)
        self._gone.set()
        return "there"

    def remove(self) -> None:
        """Remove the folder: the driver has what was in it.

        A process that was never started with is let go.
        """
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                try:
                    message = json.loads(line)
                except ValueError:  # the process was killed amid a line
                    continue
                self.pid = message.get("pid", self.pid)
                with self._lock:
                    self._said.append(message)
                if "ready" in message:
                    self._ready.set()
        self._process.wait()
        self._gone.set()
        self._ready.set()

    def _write(self, data: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except (OSError, ValueError):  # it is gone, which its output's end says, or was let go
            return


def part_of(plain: tuple[str, int, bytes, bool]) -> FilePart:
    """A part as `report` gave it."""
    return FilePart(*plain)
