"""What holds for every test: no other machine, no figure that nobody reads, no haste.

No test speaks to another machine: the interpreter tells an audit hook of each connection before it
is made. It sees Python's sockets, which includes the stamped transport on either loop, and not
those that uvloop opens by itself, nor other processes.

No test fails because a machine was slow to draw an example.

Processes that tests start find this checkout before any other, and draw figures only for tests
marked `figures` (tests/support/plain_figures.py).

What tests of a file share is made once: with `-n` they go to one worker
(tests/support/made_once.py). A test that takes more than two seconds says why (marker `slow`); the
last lines name those that do not.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The products of small matrices that the statistics take cost several times the time on threads.
# Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

pytest.register_assert_rewrite("tests.support")
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# Without bytecode on the disk each process that a test starts would compile the package again, and
# each worker would rewrite every test module.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
#: Longer than this on a quiet machine, and a test says why.
LONG_S = 2
HERE = Path(__file__).resolve().parent
STARTED = str(HERE / "support" / "started")
#: readline sets these in the process that hands tests to workers, which would inherit them.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
#: Not set in the process that hands tests to workers: it starts no processes but those.
PATH_OF_STARTED = os.pathsep.join(
    [STARTED, str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)


def pytest_configure() -> None:
    """Imported here, where its assertions are rewritten."""
    from tests.support import plain_figures

    plain_figures.install()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """What is collected, a million objects, is walked by no collection: each run in this process
    begins with one (bench/load/probe.py), which would take 0.3 s.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture of a test: what its processes import, and whether they draw."""
    from tests.support.plain_figures import DRAW

    os.environ["PYTHONPATH"] = PATH_OF_STARTED
    if item.get_closest_marker("figures"):
        os.environ[DRAW] = "1"
    else:
        os.environ.pop(DRAW, None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, how tests are handed to workers."""
    from tests.support.made_once import MadeOnce

    return MadeOnce(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests that took long and do not say why; the machine may have been busy, so none fails."""
    unsaid = sorted(
        (report.duration, report.nodeid)
        for report in terminalreporter.stats.get("passed", [])
        if report.when == "call" and report.duration > LONG_S and "slow" not in report.keywords
    )
    if unsaid:
        terminalreporter.section(f"above {LONG_S} s without a reason (marker `slow`)")
    for duration, nodeid in reversed(unsaid):
        terminalreporter.line(f"{duration:5.1f} s  {nodeid}")


class LeavesTheMachine(BaseException):
    """No Exception, so that nothing takes it for an outcome of the network's."""


def _refuse_other_machines(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return
    address = arguments[1]
    if (
        isinstance(address, tuple)
        and address[0] != "localhost"
        and not ip_address(address[0]).is_loopback
    ):
        raise LeavesTheMachine(f"a test connects to {address}")


sys.addaudithook(_refuse_other_machines)
