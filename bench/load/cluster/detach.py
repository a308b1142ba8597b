"""Runs a module as a process that is nobody's child: `python -m bench.load.cluster.detach MODULE`.

In: a module's name. Out: its process. Must stay true: an engine that loses its driver kills what its workers
started, and a process that sends requests must live to write down what came of them; so it is no child of
theirs, and stops by the end of its standard input.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    os.setsid()
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])  # noqa: S606 our own module
