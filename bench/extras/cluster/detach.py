"""Runs a module as nobody's child: `python -m bench.extras.cluster.detach MODULE`.

In: a module's name. Out: its process. Must stay true: an engine that loses its driver kills what
its workers started, and a process that sends requests must live to write down what came of them; so
it is no child of theirs, and stops by the end of its standard input. What an engine lays on its
workers (blocked signals, a low priority) is not ours to send requests with.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    with suppress(PermissionError):  # to take a higher priority again is root's alone
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])  # noqa: S606 our own module
