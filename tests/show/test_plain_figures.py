"""Figures are drawn for tests that say they read them, and for no other, in started processes as
well.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.show.plots.canvas import draw_svg
from tests.support.patience import STEP_S

WORDS = "words that only a drawing has"
STARTED = f"""
from bench.show.plots.canvas import draw_svg
print(draw_svg("a title", 2, lambda figure: figure.text(0, 0, "{WORDS}") and None))
"""


def figures() -> list[str]:
    """The same figure by this process and by one that it starts."""
    started = subprocess.run(
        [sys.executable, "-c", STARTED],
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=True,
    )

    def draw(figure: object) -> None:
        figure.text(0, 0, WORDS)  # type: ignore[attr-defined]

    return [draw_svg("a title", 2, draw), started.stdout]


def test_without_the_marker_nothing_is_drawn() -> None:
    """The title is there, what would have been drawn is not."""
    assert [(WORDS in svg, 'aria-label="a title"' in svg) for svg in figures()] == [
        (False, True)
    ] * 2


@pytest.mark.figures
def test_with_it_all_is() -> None:
    """Both."""
    assert [(WORDS in svg, 'aria-label="a title"' in svg) for svg in figures()] == [
        (True, True)
    ] * 2
