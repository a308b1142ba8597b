"""Fixtures of the runs that are shown; the law behind their rows stands in made_runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support.made_runs import Made, MakeRun, make_in, spoil_some


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A maker of runs in the test's own folder."""
    return partial(make_in, tmp_path)


@pytest.fixture
def spoilt(make_run: MakeRun) -> Made:
    """Two lanes, two phases and a warm-up, some failures and unfinished rows in the first lane."""
    return make_run(spoil=spoil_some, notes=["upstream said 503 overloaded"])
