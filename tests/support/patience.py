"""How long a test waits for a process or a thread before it says that it hangs; processes that
nothing measures.

Out: seconds. Must stay true: shorter than what pytest gives a test (`timeout` in pyproject.toml, or
PYTEST_TIMEOUT), so that the wait itself is told; longer where a test is given more, as `make
coverage` does: no test fails for want of speed. They end what hangs; a machine that is busy with
other work may well take a minute for what takes a second on a quiet one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from bench.clock import monotonic_ns, sleep_s
from bench.units import S


def unmeasured() -> dict[str, str]:
    """The environment of a process whose own processor time, or last words, the test is about: no
    coverage is taken of it.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


#: What a test is given.
_TEST_S = float(os.environ.get("PYTEST_TIMEOUT", "240"))
#: For a whole command.
PATIENCE_S = _TEST_S * 5 / 6
#: For one step of a conversation, of which a test waits for several.
STEP_S = _TEST_S / 3


def until(true: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait for a state."""
    deadline = monotonic_ns() + int(within_s * S)
    while not true():
        assert monotonic_ns() < deadline
        sleep_s(0.01)
