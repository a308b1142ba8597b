"""One plain figure in place of each drawing, in tests that are not about figures.

Nine tenths of the time in which a report is written go into drawing. A test that reads a figure
says so by the marker `figures`; for every other one, in the tests' own process as in those it
starts, `canvas.drawn` gives the same small SVG, to which the title and what stands about it are
added as ever.

In: `DRAW` in the environment, set by tests/conftest.py before the fixtures of a test. Must stay
true: nothing of bench is imported until bench imports it.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

#: The variable by which a test's processes know that figures are to be drawn.
DRAW = "TESTS_DRAW_FIGURES"
CANVAS = "bench.show.plots.canvas"
PLAIN = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="533" height="252" viewBox="0 0 533 252">'
    b'<g id="figure_1"><path d="M 20 20 L 500 220" stroke="#010203"/></g></svg>'
)


class _Finder:
    """Finds the canvas as Python would, and has its `drawn` ask first whether to draw."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Of the canvas; of any other module None."""
        if name != CANVAS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_replace(module: Any) -> None:
            execute(module)
            draws = module.drawn

            def drawn(height_in: float, draw: Any) -> Any:
                return draws(height_in, draw) if os.environ.get(DRAW) else (PLAIN, {})

            module.drawn = drawn

        loader.exec_module = execute_and_replace
        return spec


def install() -> None:
    """For the rest of this process."""
    assert CANVAS not in sys.modules
    sys.meta_path.insert(0, _Finder())
