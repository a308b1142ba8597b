"""Planned looks at a run that is still going on: may it end early?

In: a run's folder while it grows, the planned end. Out: whether every contract is broken, at the
alpha of a single look. Must stay true: a run ends early only on FAIL, for a part of a run holds as
small a part of its spells, and passes too easily; the moments are fixed before the run (25, 50, 75
and 100 %) and spend a quarter of FAIL's alpha each; looking happens in a process of its own, never
on the loop that sends; a look that cannot be taken decides nothing.

Source: methods 3.6; methods, part two, mend 2.
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
BROKEN, OPEN = 0, 3


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
                f"every contract was broken at planned look {self._taken} of {LOOKS}"
                if code == BROKEN
                else None
            )
        if self._folder is not None and self._times and now_ns >= self._times[0] + _SEALED_NS:
            at_ns = self._times.pop(0)
            self._process = subprocess.Popen(  # noqa: S603 our own module
                [sys.executable, "-m", "bench.app.looks", str(self._folder), str(at_ns)],
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


def every_contract_broken(folder: Path, look_ns: int) -> bool:
    """Whether a growing run may end at this look."""
    run = Run(folder)
    return decided(run, fitness(run), look_ns)


def decided(run: Run, health: Health, look_ns: int) -> bool:
    """Whether each judged target of a run that goes on has a clause that is FAIL at a single look's
    alpha.
    """
    clauses = judge_run(run, health, look_ns=look_ns).clauses
    judged = {clause.target for clause in clauses if clause.judged}
    broken = {clause.target for clause in clauses if clause.verdict == "FAIL"}
    return bool(judged) and judged == broken


if __name__ == "__main__":
    sys.exit(BROKEN if every_contract_broken(Path(sys.argv[1]), int(sys.argv[2])) else OPEN)
