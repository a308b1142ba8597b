"""Planned looks at a run that is still going on: may it end early?

In: a run's folder while it grows, the planned end. Out: whether every judged clause is decided at
the alpha of a single look. Must stay true: the moments are fixed before the run (25, 50, 75 and
100 %) and spend a quarter of alpha each; looking happens in a process of its own, never on the
loop that sends; a look that cannot be taken decides nothing.

Source: methods 3.6.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.judge.contract.verdict import judge_run
from bench.judge.fitness import fitness
from bench.judge.health import Health
from bench.judge.stats.sequential import LOOKS, look_times
from bench.record.run_folder import Run
from bench.units import S

#: Answers under way at a look have this long to reach the disk before it is taken: a second in
#: memory, and to write.
_SEALED_NS = 2 * S
DECIDED, UNDECIDED = 0, 3


class Looks:
    """Takes the looks of one run as its time passes."""

    def __init__(self, end_ns: int):
        self._times = list(look_times(0, end_ns)[:-1])
        self._taken = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, folder: Path) -> None:
        """The run's folder is there."""
        self._folder = folder

    def ends(self, now_ns: int) -> str | None:
        """Ask every few ms: starts a look when its moment has come; why the run may end, once one
        decided.
        """
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return None
            self._process = None
            self._taken += 1
            return (
                f"every clause was decided at planned look {self._taken} of {LOOKS}"
                if code == DECIDED
                else None
            )
        if self._folder is not None and self._times and now_ns >= self._times[0] + _SEALED_NS:
            self._times.pop(0)
            self._process = subprocess.Popen(  # noqa: S603 our own module
                [sys.executable, "-m", "bench.app.looks", str(self._folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        return None

    def close(self) -> None:
        """End a look that nobody waits for any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def everything_decided(folder: Path) -> bool:
    """Whether each judged clause of a growing run is PASS or FAIL at a single look's alpha."""
    run = Run(folder)
    return decided(run, fitness(run))


def decided(run: Run, health: Health) -> bool:
    """Whether a run that goes on may end."""
    verdicts = {clause.verdict for clause in judge_run(run, health).clauses} - {"REPORTED"}
    return bool(verdicts) and verdicts <= {"PASS", "FAIL"}


if __name__ == "__main__":
    sys.exit(DECIDED if everything_decided(Path(sys.argv[1])) else UNDECIDED)
