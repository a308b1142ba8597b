"""Tests that share what takes long to make go to one worker, so that it is made once.

In: the text of a test's file. Out: pytest-xdist's unit of work: the whole file where it has a
fixture of its module, or a function whose result is kept, else the single test. Must stay true: it
is decided from names of files alone, for the process that hands out the work collects no tests, and
marks that workers put into the names of tests depend on what pytest calls them inside: with pytest
9.2, pytest-xdist 3.8 loses its groups without a word.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

SHARES = re.compile(r'scope="(?:module|package|session)"|^@functools\.cache$', re.MULTILINE)


@functools.cache
def shares(path: Path) -> bool:
    """Whether tests of a file use the same made things."""
    return SHARES.search(path.read_text("utf-8")) is not None


class MadeOnce(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out the files that share first, the largest before the others."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if shares(self.config.rootpath / path) else nodeid
