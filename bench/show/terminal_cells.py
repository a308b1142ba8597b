"""Cells of a terminal: widths, styles, and lines that are broken between words.

In: texts, the width of the screen. Out: texts of that width. Must stay true: no number is parted
from its unit; what is cut ends in an ellipsis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len as cell_len  # noqa: PLC0414  # for all that draws on a terminal
from rich.cells import set_cell_size

WIDTH = 100
STYLES = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "INVALID": "bold red",
    "MATERIALLY_BETTER": "bold green",
    "BETTER": "bold green",
    "WORSE": "bold red",
    "MATERIALLY BETTER": "bold green",
    "EQUIVALENT": "bold",
    "AS EXPECTED": "bold green",
    "NOT AS EXPECTED": "bold red",
    "●": "bold green",
    "▲": "bold red",
}
_NUMBER_AND_UNIT = re.compile(r"(?<=\d) (?=(?:%|ns|µs|ms|s|min|h|K|M|B|T|USD)(?:\W|$))")
#: Holds two words of a text together, and is shown as a blank.
HELD = "\N{NO-BREAK SPACE}"
#: A line in stretches, each with its style.
Line = list[tuple[str, str]]


def fit(text: str, width: int) -> str:
    """Exactly `width` terminal cells: padded, or cut with an ellipsis and a blank."""
    if cell_len(text) < width:
        return text + " " * (width - cell_len(text))
    return set_cell_size(text, width - 2) + "… "


def labels(names: Sequence[str]) -> list[str]:
    """Names as labels of one width, with room before what is said of each."""
    widest = max(map(cell_len, names), default=0)
    return [fit(f" {name}", 1 + widest + 2) for name in names]


def pieces(text: str) -> list[str]:
    """Where a line may be broken: between words, never between a number and its unit."""
    return [piece.replace(HELD, " ") for piece in _NUMBER_AND_UNIT.sub(HELD, text).split(" ")]


def wrapped(label: str, said: str, width: int) -> Iterator[str]:
    """Lines of at most `width` cells, continued under the text; words longer than a line
    are cut.
    """
    line = label
    for word in pieces(said):
        if line.strip() and cell_len(line) + cell_len(word) >= width and line != " " * len(label):
            yield line.rstrip()
            line = " " * len(label)
        line += fit(word, width - len(label)).rstrip() + " "
    yield line.rstrip()
