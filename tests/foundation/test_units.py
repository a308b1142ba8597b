"""Durations, rates, shares, multipliers and money: what is read, what is refused, what is shown."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.units import (
    parse_duration_ns,
    parse_rate_per_s,
    parse_share,
    parse_times,
    parse_usd,
    show_duration,
    show_exact,
    show_limit,
    show_rate,
    show_ratio,
    show_share,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("800ms", 800_000_000),
        ("800 ms", 800_000_000),
        ("1m30s", 90_000_000_000),
        ("2.5s", 2_500_000_000),
        ("1h", 3_600_000_000_000),
        ("58min", 3_480_000_000_000),
        ("3us", 3000),
        ("3µs", 3000),
        ("7ns", 7),
        ("1d", 86_400_000_000_000),
        ("1_000ms", 1_000_000_000),
        ("0s", 0),
        ("0.1s", 100_000_000),
        ("1h 2m 3s", 3_723_000_000_000),
    ],
)
def test_durations_are_read_exactly(text: str, ns: int) -> None:
    """A number with its unit, or several, is whole ns without a float on the way."""
    assert parse_duration_ns(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "800",
        800,
        0.8,
        "-1s",
        "s",
        "1x",
        "1s2",
        "1.2.3s",
        "800 mss",
        None,
        True,
        ["1s"],
        "1 month",
        "nan s",
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    """A bare number has no unit: it is refused, and the sentence shows how to write one."""
    with pytest.raises(ValueError, match='"800ms"'):
        parse_duration_ns(text)


def test_a_duration_beyond_a_century_is_refused() -> None:
    """Times are 64-bit ns: what would overflow them is a slip and is said to be one."""
    assert parse_duration_ns("36500d") == 36500 * 86400 * 10**9
    with pytest.raises(ValueError, match="longer than a century"):
        parse_duration_ns("99999999d")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Fraction(10)),
        ("120/min", Fraction(2)),
        ("10 / min", Fraction(1, 6)),
        ("1/h", Fraction(1, 3600)),
        (10, Fraction(10)),
        (0.1, Fraction(1, 10)),
        (1e-5, Fraction(1, 100_000)),
        ("10 per s", Fraction(10)),
        ("5.53/s", Fraction(553, 100)),
        ("1/30s", Fraction(1, 30)),
        ("3 per 10 min", Fraction(3, 600)),
    ],
)
def test_rates_are_read_exactly(text: object, rate: Fraction) -> None:
    """A rate is an exact fraction per second, small bare numbers included."""
    assert parse_rate_per_s(text) == rate


@pytest.mark.parametrize(
    "text",
    [0, -5, "-5/s", "0/s", "abc", "10", "10/day", float("nan"), float("inf"), True, None, "10 rps"],
)
def test_what_is_no_rate_is_refused_with_an_example(text: object) -> None:
    """Zero, below zero, infinite or without its unit: refused with two ways to write a rate."""
    with pytest.raises(ValueError, match='"10/s" or "120/min"'):
        parse_rate_per_s(text)


def test_shares_are_exact_and_never_guess_per_cent() -> None:
    """`99.9%` and 0.999 are the same exact fraction; 99.9 without its sign is refused and
    corrected.
    """
    assert parse_share("99.9%") == parse_share(0.999) == Fraction(999, 1000)
    assert parse_share("100 %") == 1
    assert parse_share(0) == 0
    with pytest.raises(ValueError, match=r'"99.9%"'):
        parse_share(99.9)
    for text in ("101%", -0.1):
        with pytest.raises(ValueError, match="outside 0 % to 100 %"):
            parse_share(text)
    for other in ("99.9", "nan%", float("nan"), None, False):
        with pytest.raises(ValueError, match=r'write "99.9%" or 0.999'):
            parse_share(other)


def test_a_wrong_multiplier_is_answered_with_the_right_one() -> None:
    """`10 x` is answered by 10 or "10x", with the user's own number."""
    assert parse_times("10x") == parse_times("10") == parse_times(10) == 10
    assert parse_times(1.5) == parse_times("1.5×") == Fraction(3, 2)
    assert parse_times(1e-5) == Fraction(1, 100_000)
    with pytest.raises(
        ValueError, match=re.escape('"10 x" is not a multiplier; write 10 or "10x"')
    ):
        parse_times("10 x")
    with pytest.raises(ValueError, match=re.escape('write 1.2 or "1.2x"')):
        parse_times("1.2.3")
    for other in ("x", "-3x", None, True, float("inf")):
        with pytest.raises(ValueError, match="is not a multiplier"):
            parse_times(other)


def test_money_is_decimal_and_not_below_zero() -> None:
    """A sum in USD stays the decimal that was written."""
    assert parse_usd("0.25") == parse_usd(0.25) == Decimal("0.25")
    assert parse_usd("1000000") == 10**6
    for other in (-1, "nan", "inf", "1 USD", None, True):
        with pytest.raises(ValueError, match="sum"):
            parse_usd(other)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (402_000_000, "402 ms"),
        (1_500_000_000, "1.5 s"),
        (180_000_000_000, "3 min"),
        (3_600_000_000_000, "1 h"),
        (999, "999 ns"),
        (999_600_000, "1 s"),
        (119_960_000_000, "2 min"),
        (3_725_000_000_000, "1 h 2 min 5 s"),
        (12_340, "12.3 µs"),
        (1_234_000, "1.23 ms"),
        (9_996_000, "10 ms"),
        (99_960_000, "100 ms"),
        (-2_500_000, "-2.5 ms"),
        (-180_000_000_000, "-3 min"),
    ],
)
def test_durations_are_shown_as_a_reader_expects(ns: int, text: str) -> None:
    """Three digits or so and the unit that fits, also where rounding reaches the next unit."""
    assert show_duration(ns) == text


@given(st.integers(1, 10**15))
def test_a_limit_is_shown_without_rounding(ns: int) -> None:
    """What a contract shows as a limit reads back as exactly that limit."""
    assert parse_duration_ns(show_limit(ns)) == ns


def test_limits_read_well() -> None:
    """Round limits are short, odd ones keep their digits."""
    assert [
        show_limit(ns) for ns in (800_000_000, 1_500_000_000, 1_234_000_000, 1_234_500_000)
    ] == [
        "800 ms",
        "1.5 s",
        "1.234 s",
        "1.2345 s",
    ]


@given(st.integers(1, 10**7), st.integers(0, 4), st.sampled_from([1, 60, 3600]))
def test_a_shown_rate_reads_back(number: int, decimals: int, seconds: int) -> None:
    """Every rate a file can hold is shown so that reading it gives the same fraction."""
    rate = Fraction(number, 10**decimals) / seconds
    assert parse_rate_per_s(show_rate(rate)) == rate


def test_shares_are_shown_without_idle_zeros() -> None:
    """Per cent with as many digits as they need, and whole hundreds keep their zeros."""
    assert [show_share(share) for share in (Fraction(9995, 10_000), 1, 0, 0.5)] == [
        "99.95 %",
        "100 %",
        "0 %",
        "50 %",
    ]
    assert show_share(1.0, 0) == "100 %"
    assert show_exact(Fraction("99.999999")) == "99.999999"
    assert show_exact(Fraction(100)) == "100"


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (show_ratio(12.34), "12.3"),
        (show_ratio(0.1154), "0.115"),
        (show_ratio(0.99996), "0.99996"),
        (show_ratio(1), "1.000"),
        (show_limit(1_234_500_001), "1.234500001 s"),
        (show_limit(1_234_567), "1.234567 ms"),
        (show_limit(1_001), "1.001 µs"),
        (show_limit(17), "17 ns"),
        (show_rate(Fraction(1, 7)), None),
    ],
)
def test_what_does_not_fit_a_short_form(shown: str, text: str | None) -> None:
    """What is not 1 does not read as 1; a limit keeps its last ns; a rate that no unit of time
    makes exact is by the second.
    """
    assert shown == text if text is not None else shown.endswith("/s")
