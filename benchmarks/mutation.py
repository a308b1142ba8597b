"""Would a test notice?

The statistics and the verdicts, one change of their source at a time (`make mutation`).

In: bench/judge/stats and bench/judge/contract, cosmic-ray's operators, tests/judge. Out: the share
of a sample of changes that make a test fail, and the changes that none notices. Must stay true:
every place that can be changed is as likely as any other, however many ways there are to change it;
annotations are no places, for nothing evaluates them; a change meets the tests that ran its line
and pass as they stand, without those marked slow or above SLOW_S, in a process of its own that
takes the changed source from memory; a change that hangs is noticed.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import math
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from importlib.machinery import ModuleSpec
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import ModuleType

import coverage
import pytest
import scipy.stats  # noqa: F401 - as bench.plan and bench.record: no change touches it, and each fork would load it again
from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_item import MutationSpec

import bench.plan.suite
import bench.record.request_log  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    path
    for room in ("stats", "contract")
    for path in sorted((ROOT / "bench/judge" / room).glob("[!_]*.py"))
]
#: A test that takes more of a processor is not asked.
SLOW_S = 3.0
#: A change is given this many times what its tests take, and this much more: the machine has other
#: work.
PATIENCE, GRACE_S = 20, 60
#: Bytes that a change may fill.
MEMORY = 8 << 30
FORK = multiprocessing.get_context("fork")
_PYTEST = [
    "-q",
    "--no-header",
    "--tb=line",
    "-p",
    "no:randomly",
    "-p",
    "no:cacheprovider",
    "--hypothesis-seed=0",
]

#: test -> seconds of a processor that it took
Seconds = dict[str, float]


@dataclass(frozen=True)
class Change:
    """A module with one place changed."""

    path: Path
    line: int
    source: str

    def shown(self) -> str:
        """Where, and the lines before and after."""
        lines = unified_diff(
            self.path.read_text().splitlines(), self.source.splitlines(), n=0, lineterm=""
        )
        return "\n".join([f"{self.path.relative_to(ROOT)}:{self.line}", *list(lines)[3:]])


class Changed(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the changed module from memory."""

    def __init__(self, change: Change):
        self._name = ".".join(change.path.relative_to(ROOT).with_suffix("").parts)
        self._source = change.source

    def find_spec(
        self, name: str, path: object, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """That module's, no other's."""
        return importlib.util.spec_from_loader(name, self) if name == self._name else None

    def get_source(self, fullname: str) -> str:
        """The changed source."""
        return self._source


class _Clock:
    """Notes what each test took, whatever else the machine does; those that were skipped or slow
    are left out.
    """

    def __init__(self) -> None:
        self.took: Seconds = {}
        self.failed: list[str] = []
        self._spent_s = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """pytest's hook around a test."""
        begun = time.process_time()
        try:
            return (yield)
        finally:
            self._spent_s = time.process_time() - begun

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """pytest's hook after it."""
        if report.failed:
            self.failed.append(report.nodeid)
        if report.when == "call" and report.passed and self._spent_s <= SLOW_S:
            self.took[report.nodeid] = self._spent_s


def tests_of_lines() -> dict[tuple[Path, int], Seconds]:
    """(file, line) -> the tests that ran it; line 0 holds those that ran any line of the file."""
    with tempfile.TemporaryDirectory() as folder:
        clock, measure = (
            _Clock(),
            coverage.Coverage(
                f"{folder}/data", source=[str(ROOT / "bench/judge")], config_file=False
            ),
        )
        measure.set_option("run:dynamic_context", "test_function")
        measure.start()
        pytest.main([*_PYTEST, "-o", "timeout=0", "-m", "not slow", "tests/judge"], [clock])
        measure.stop()
        for test in clock.failed:
            print(f"not asked, for it fails as it stands: {test}", flush=True)
        named = defaultdict(list)
        for test in clock.took:
            file, _, name = test.partition("::")
            named[f"{Path(file).stem}.{name.partition('[')[0]}"].append(
                test
            )  # as coverage names its contexts
        found: dict[tuple[Path, int], Seconds] = defaultdict(dict)
        for path in MODULES:
            for line, contexts in measure.get_data().contexts_by_lineno(str(path)).items():
                found[path, line] = {
                    test: clock.took[test] for context in contexts for test in named[context]
                }
                found[path, 0] |= found[path, line]
                if "" in contexts:  # ran at import
                    found[path, line] = found[path, 0]
    return dict(found)


def changes(sample: int, seed: int) -> tuple[int, list[Change]]:
    """How many places there are, and a change at each of a sample of them."""
    unread = {path: list(_annotations(path.read_text())) for path in MODULES}
    places: dict[tuple[Path, tuple[int, int], str], list[MutationSpec]] = defaultdict(list)
    for item in _all_work_items(MODULES, {}):
        (found,) = item.mutations
        path, start = Path(found.module_path), found.start_pos
        if not any(begin <= start < end for begin, end in unread[path]):
            places[path, start, found.operator_name.split("_")[0]].append(found)
    drawn = random.Random(seed)
    chosen = [
        drawn.choice(places[place])
        for place in drawn.sample(sorted(places), min(sample, len(places)))
    ]
    return len(places), [_changed(found) for found in chosen]


def _changed(found: MutationSpec) -> Change:
    operator = get_operator(found.operator_name)(**(found.operator_args or {}))
    source = mutate_code(found.module_path.read_text(), operator, found.occurrence)
    return Change(Path(found.module_path), found.start_pos[0], source)


def _annotations(source: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """(line, column) where each annotation begins and ends."""
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            note = getattr(node, name, None)
            if isinstance(note, ast.expr):
                yield (
                    (note.lineno, note.col_offset),
                    (note.end_lineno or 0, note.end_col_offset or 0),
                )


def tests_for(change: Change, ran: Mapping[tuple[Path, int], Seconds]) -> Seconds:
    """Those that ran the changed line: of an expression over several lines, the nearest line above
    that is known.
    """
    line = next(line for line in range(change.line, -1, -1) if (change.path, line) in ran)
    return ran[change.path, line]


def attempt(change: Change, tests: Seconds) -> None:
    """Run the tests on the changed module, the quick ones first, and leave with pytest's code."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives
    sys.meta_path.insert(0, Changed(change))
    sys.exit(pytest.main([*_PYTEST, "-x", *sorted(tests, key=tests.__getitem__)]))


def trials(
    wanted: Sequence[Change], ran: Mapping[tuple[Path, int], Seconds], jobs: int, until_s: float
) -> Iterator[tuple[Change, bool]]:
    """Each change and whether a test noticed it, as they end; none is begun after `until_s`."""
    waiting = [(change, tests_for(change, ran)) for change in reversed(wanted)]
    running: dict[int, tuple[Change, ForkProcess, float]] = {}
    while running or (waiting and time.monotonic() < until_s):
        while waiting and len(running) < jobs and time.monotonic() < until_s:
            change, tests = waiting.pop()
            process = FORK.Process(target=attempt, args=(change, tests))
            process.start()
            running[process.sentinel] = (
                change,
                process,
                time.monotonic() + PATIENCE * sum(tests.values()) + GRACE_S,
            )
        ended = wait(list(running), timeout=1)
        for sentinel, (change, process, until) in list(running.items()):
            if sentinel in ended:
                process.join()
                del running[sentinel]
                passed = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
                yield change, process.exitcode not in passed
            elif time.monotonic() > until:
                process.kill()


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--sample", type=int, default=400, help="changes to try")
    arguments.add_argument(
        "--minutes", type=float, default=math.inf, help="begin none after that; the order is random"
    )
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    wish = arguments.parse_args()
    os.chdir(ROOT)
    begun = time.monotonic()
    with FORK.Pool(1) as child:  # bench.judge must not be loaded where the changes fork off
        ran = child.apply(tests_of_lines)
    places, wanted = changes(wish.sample, wish.seed)
    print(
        f"{len(wanted)} of {places} places; tests by line known after"
        f" {time.monotonic() - begun:.0f} s",
        flush=True,
    )
    tried, missed = Counter[Path](), Counter[Path]()
    for change, noticed in trials(wanted, ran, wish.jobs, begun + 60 * wish.minutes):
        tried[change.path] += 1
        if not noticed:
            missed[change.path] += 1
            print(change.shown(), flush=True)
        if tried.total() % 25 == 0:
            print(f"{missed.total()} of {tried.total()} not noticed so far", flush=True)
    from bench.judge.stats.tail import clopper_pearson

    for path in MODULES:
        print(
            f"{path.relative_to(ROOT / 'bench/judge')!s:28}{tried[path] - missed[path]:5} of"
            f" {tried[path]:4} noticed"
        )
    count, seen = tried.total(), tried.total() - missed.total()
    low, high = (float(end) for end in clopper_pearson(seen, count, 0.025)[:2])
    print(
        f"{seen} of {count} noticed: {seen / count:.1%} (95 % interval {low:.1%}"
        f" to {high:.1%}) in {(time.monotonic() - begun) / 60:.0f} min"
    )


if __name__ == "__main__":
    main()
