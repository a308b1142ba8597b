"""Ten faults, each planted in a copy of the source: does the test that should notice it fail?

In: this checkout. Out: a line a fault, caught or missed; exit 1 where one was missed. Must stay
true: the checkout itself is not changed; a text that stands not exactly once below bench/ is an
error, so that a fault does not silently become none; with `--sound` the tests have to pass
without the fault first.

    python -m benchmarks.planted_faults
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
#: What a copy needs to run its tests.
NEEDED = ("bench", "benchmarks", "tests", "profiles", "docs", "pyproject.toml")


class Fault(NamedTuple):
    """A text of the source, what stands in its place, and the tests that are to fail."""

    says: str
    text: str
    instead: str
    tests: str


FAULTS = (
    Fault(
        "rows of the warm-up are judged",
        'keep: Bool = ~columns.schedule["warmup"]',
        'keep: Bool = columns.schedule["due_ns"] < 2**62',
        "tests/judge/test_clauses.py",
    ),
    Fault(
        "waiting for a slot counts as the harness's own lag",
        'ready = samples["due_ns"].clip(min=samples["slot_free_ns"])',
        'ready = samples["due_ns"]',
        "tests/record/test_samples.py",
    ),
    Fault(
        "an interval of a quantile ends one row too early",
        "Ranks(n - k_fail + 1, n - k_pass)",
        "Ranks(n - k_fail + 1, n - k_pass - 1)",
        "tests/judge/test_stats.py",
    ),
    Fault(
        "several claims are each held to the whole alpha",
        "alpha / (claims - rank)",
        "alpha",
        "tests/judge/test_sequential.py",
    ),
    Fault(
        "a changed file of a run passes verification",
        "if found != digest:",
        "if found != digest and not found:",
        "tests/judge/test_verify.py",
    ),
    Fault(
        "a timeout is counted twice",
        "request.deadline_ns = self._clock() + lane.timeout_ns",
        "request.deadline_ns = self._clock() + 2 * lane.timeout_ns",
        "tests/load/test_generator.py",
    ),
    Fault(
        "a stream is not known to be over",
        'payload.lstrip(b\'"\')[:6].upper() == b"[DONE]"',
        'payload.lstrip(b\'"\')[:6].upper() == b"[done]"',
        "tests/api/test_chat_stream.py",
    ),
    Fault(
        "bursts come while the source is to be silent",
        "is_off = switched % 2 == 1",
        "is_off = switched % 2 == 0",
        "tests/plan/test_schedule_arrivals.py",
    ),
    Fault(
        "words of a figure cannot be seen on a dark page",
        'INK, "currentColor"',
        'INK, "black"',
        "tests/show/test_plots.py",
    ),
    Fault(
        "every run ends with exit code 0, whatever the verdict",
        "    if any(not mistake.expired for mistake in health.mistakes):",
        "    if run.state:\n        return ExitCode.PASS\n"
        "    if any(not mistake.expired for mistake in health.mistakes):",
        "tests/judge/test_verdict.py",
    ),
)


def place_of(root: Path, fault: Fault) -> Path:
    """The one file below `root` in which the fault's text stands, once."""
    counts = {
        path: count
        for path in (root / "bench").rglob("*.py")
        if (count := path.read_text("utf-8").count(fault.text))
    }
    if sum(counts.values()) != 1:
        names = ", ".join(str(path.relative_to(root)) for path in counts) or "no file"
        raise SystemExit(f"{fault.says}: {fault.text!r} stands in {names}, not exactly once")
    return next(iter(counts))


def planted(copy: Path, fault: Fault) -> tuple[Path, str]:
    """Plant the fault; (the file, what stood there before)."""
    place = place_of(copy, fault)
    before = place.read_text("utf-8")
    place.write_text(before.replace(fault.text, fault.instead), "utf-8")
    return place, before


def passes(copy: Path, tests: str) -> bool:
    """Whether the tests pass in the copy; the first failure ends them."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:randomly"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", tests],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout)
    return done.returncode == 0


def main() -> int:
    """Plant each fault and say what became of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sound", action="store_true", help="first run the tests without a fault")
    sound = parser.parse_args().sound
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "checkout"
        copy.mkdir()
        for name in NEEDED:
            source = ROOT / name
            shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy)
        for fault in FAULTS:
            if sound and not passes(copy, fault.tests):
                raise SystemExit(f"{fault.tests} fails without a fault")
            path, before = planted(copy, fault)
            caught = not passes(copy, fault.tests)
            path.write_text(before, "utf-8")
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'}  {fault.says}  ({fault.tests})", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
