"""Lines that hold nobody up: a reader that goes away, and one that does not read."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.patience import STEP_S

#: Says many lines, ends as it should, and says so by its exit code.
SAYS = """
import sys
from contextlib import closing
from bench.cli.streams import Lines
with closing(Lines()) as lines:
    for number in range(3_000):
        lines.say(f"line {number} " + "x" * 200)
sys.exit(7)
"""


def test_lines_come_in_order() -> None:
    """Whoever reads has them all, up to what may wait."""
    done = subprocess.run(
        [sys.executable, "-c", SAYS.replace("3_000", "500")],
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=False,
    )
    assert done.returncode == 7
    assert [int(line.split()[1]) for line in done.stderr.splitlines()] == list(range(500))


def test_a_terminal_that_does_not_read_or_is_gone_holds_no_end() -> None:
    """A pipe that is full, and one without a reader."""
    for reads in (True, False):
        reader, writer = os.pipe()
        process = subprocess.Popen([sys.executable, "-c", SAYS], stderr=writer)
        os.close(writer)
        if not reads:
            os.close(reader)
        assert process.wait(STEP_S) == 7
        if reads:
            os.close(reader)
