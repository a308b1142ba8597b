"""The quantiles that are shown, stored and compared, and what each is called.

In: nothing. Out: `QUANTILES`, by the key that records use. Must stay true: a quantile has one name
for readers (`p99.9`) and one for keys (`p999`), made here.
"""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType

from bench.units import show_exact


def quantile_name(quantile: Fraction) -> str:
    """As readers write it: `p99`, `p99.9`."""
    return f"p{show_exact(quantile * 100)}"


def quantile_key(quantile: Fraction) -> str:
    """As the keys of records have it: `p99`, `p999`."""
    return quantile_name(quantile).replace(".", "")


P50, P90, P95, P99, P999 = (
    Fraction(50, 100),
    Fraction(90, 100),
    Fraction(95, 100),
    Fraction(99, 100),
    Fraction(999, 1000),
)
#: key -> quantile, of all that records hold.
QUANTILES = MappingProxyType({quantile_key(q): q for q in (P50, P90, P95, P99, P999)})


def name_of_key(key: str) -> str:
    """`p99.9` of `p999`."""
    return quantile_name(QUANTILES[key])


def by_key(*quantiles: Fraction) -> dict[str, Fraction]:
    """Some of the quantiles by the key that records use."""
    return {quantile_key(q): q for q in quantiles}


def by_name(*quantiles: Fraction) -> dict[str, Fraction]:
    """Some of the quantiles by the name that readers know."""
    return {quantile_name(q): q for q in quantiles}
