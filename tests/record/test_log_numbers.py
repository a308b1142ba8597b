"""Columns of numbers and Unix times -> integers: the quick ways give what exact decimals give."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from bench.record import log_numbers
from bench.record.log_moments import Moments
from bench.units import MS, S

#: One log holds one unit: s or ms since 1970, of this century.
TIMES = st.tuples(st.sampled_from([S, MS]), st.sampled_from([0, 1, 3, 6, 9])).flatmap(
    lambda form: st.tuples(
        st.just(form[0]),
        st.lists(
            st.decimals(
                10**9 * S // form[0],
                (2**31 - 1) * S // form[0],
                allow_nan=False,
                places=form[1],
            ),
            min_size=1,
        ),
    )
)
NUMBERS = st.one_of(
    st.decimals(0, 10**7, allow_nan=False, places=3).map(str),
    st.decimals(0, 10**7, allow_nan=False, places=9).map(str),
    st.integers(-3, 2**33).map(str),
    st.sampled_from(["", "-", "NA", "null", "-1", " 7", "+7", "1e3", "1E-3", "1_000", "x", "inf"]),
)


@given(times=TIMES)
def test_unix_times_keep_every_digit(times: tuple[int, list[Decimal]]) -> None:
    """To the ns, as written."""
    unit, written = times
    bad: dict[int, str] = {}
    found = Moments("t", "", None, "log").read([str(time) for time in written], bad, needed=True)
    assert (found.ns.tolist(), bad) == ([int(time * unit) for time in written], {})


def by_hand(cell: str, scale: int) -> int | None:
    """What a cell holds; None where it holds no number of this kind, -1 where nothing."""
    if cell in ("", "-", "NA", "null"):
        return -1
    if cell in ("x", "inf"):
        return None
    number = Decimal(cell)
    return -1 if number == -1 else int(number * scale) if number >= 0 else None


@given(cells=st.lists(NUMBERS, min_size=1))
def test_lengths_are_exact_and_no_value_is_none(cells: list[str]) -> None:
    """Every cell is a length, nothing, or named as unreadable."""
    bad: dict[int, str] = {}
    found = log_numbers.lengths(cells, "latency_ms", "ms", bad).tolist()
    wanted = [by_hand(cell, MS) for cell in cells]
    assert [None if row in bad else ns for row, ns in enumerate(found)] == wanted


@given(cells=st.lists(NUMBERS, min_size=1))
def test_counts_are_whole(cells: list[str]) -> None:
    """Every cell is a count below 2**31, nothing, or named as unreadable."""
    bad: dict[int, str] = {}
    found = log_numbers.counts(cells, "tokens", bad).tolist()
    wanted = []
    for cell in cells:
        count = by_hand(cell, 1)
        exact = count in (None, -1) or Decimal(cell) == count
        wanted.append(count if exact and (count is None or count < 2**31) else None)
    assert [None if row in bad else count for row, count in enumerate(found)] == wanted
