"""Tables on a screen: whatever they hold, they fit, and nothing in them is cut."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bench.show.document import Table
from tests.support.screens import table_lines, text_table

WORDS = st.lists(st.text("abcxyz漢", min_size=1, max_size=30), min_size=1, max_size=4).map(" ".join)
NUMBERS = st.one_of(
    st.integers(0, 10**6).map("{:,} ms".format),
    st.tuples(st.integers(0, 9999), st.integers(0, 9999)).map("{0[0]:,} – {0[1]:,} %".format),
    st.just("–"),
)


@st.composite
def tables(draw: st.DrawFn) -> Table[Sequence[str]]:
    """Up to four columns of words, then up to twelve of numbers."""
    words, numbers, rows = (
        draw(st.integers(1, 4)),
        draw(st.integers(0, 12)),
        draw(st.integers(0, 4)),
    )
    head = [draw(WORDS) for _ in range(words + numbers)]
    cells = [
        [draw(WORDS if place < words else NUMBERS) for place in range(words + numbers)]
        for _ in range(rows)
    ]
    return text_table(draw(WORDS), head, cells, words)


@given(tables(), st.integers(80, 120))
def test_any_table_fits_and_loses_nothing(table: Table[Sequence[str]], width: int) -> None:
    """No line is wider than the screen; every number stands whole on one line; every letter of the
    words is there.
    """
    lines = list(table_lines(table, width))
    assert max(map(cell_len, lines)) <= width
    drawn = "\n".join(lines)
    grid = table.grid("terminal")
    for row in grid.rows:
        numbers = [cell for cell, words in zip(row, grid.words, strict=True) if not words]
        assert all(cell in drawn for cell in numbers)
    letters = "".join(drawn.split())
    told = "".join(
        "".join(cell.split()) for row in ([table.caption], grid.head, *grid.rows) for cell in row
    )
    assert all(letters.count(letter) >= told.count(letter) for letter in set(told))


def test_a_table_that_fits_is_drawn_as_it_is() -> None:
    """Words left, numbers right, three blanks between."""
    table = text_table(
        "sums",
        ["stage", "USD", "95 % interval"],
        [["MVP", "1.25", "1 – 2"], ["Growth", "1,250.00", "–"]],
    )
    assert list(table_lines(table, 80)) == [
        "sums",
        "  stage         USD   95 % interval",
        "  MVP          1.25           1 – 2",
        "  Growth   1,250.00               –",
    ]


def test_headings_are_folded_before_words_and_never_between_number_and_unit() -> None:
    """In the ten cells that the name leaves, the heading takes four lines; `95 %` stays
    together.
    """
    table = text_table(
        "",
        ["level", "share of all in per cent 95 % interval"],
        [["a name of thirty characters ..", "1 – 2"]],
    )
    assert list(table_lines(table, 44)) == [
        "                                    share of",
        "                                  all in per",
        "                                   cent 95 %",
        "  level                             interval",
        "  a name of thirty characters ..       1 – 2",
    ]


def test_columns_that_do_not_fit_stand_below_under_the_same_names() -> None:
    """Six intervals of 20 cells need two blocks of 80; each begins with the name of its row."""
    interval = "1,234.56 – 98,765.43"
    table = text_table("c", ["lane", *"abcdef"], [["pro", *[interval] * 6]])
    lines = list(table_lines(table, 80))
    assert [line.split() for line in lines if "lane" in line] == [
        ["lane", "a", "b", "c"],
        ["lane", "d", "e", "f"],
    ]
    assert [line.count(interval) for line in lines if line.startswith("  pro")] == [3, 3]
