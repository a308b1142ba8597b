"""Credits: ladders as published, joined clauses, money to the cent."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bench.judge.contract.credits import combine, credit, payout, step
from bench.plan.terms import Credits, CreditStep

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"
VECTORS: dict[str, Any] = (
    json.loads(REFERENCE.read_text())["credit_vectors"]
    if REFERENCE.is_file()
    else {"rows": [], "ladders": {}}
)
LADDER = [CreditStep(below="99.9%", credit="10%"), CreditStep(below="99%", credit="25%")]


def rule(**terms: Any) -> Credits:
    return Credits.model_validate({"base": "the bill", **terms})


@pytest.mark.parametrize(
    ("row", "name"), [(row, name) for row in VECTORS["rows"] for name in VECTORS["ladders"]]
)
def test_published_ladders_pay_what_the_reference_says(row: dict[str, Any], name: str) -> None:
    """Every value of the reference falls on its step: bounds are half-open and nothing is rounded
    first.
    """
    steps = VECTORS["ladders"][name]
    ladder = [
        CreditStep(below=f"{above['uptime_at_least']}%", credit=f"{lower['credit_percent']}%")
        for above, lower in itertools.pairwise(steps)
    ]
    assert step(ladder, Fraction(row["uptime"]) / 100) * 100 == row[name]


def test_clauses_join_by_the_greater_the_sum_or_the_capped_sum() -> None:
    """10 % and 25 %: 25, 35, or 30 where that is the cap; a cap also holds for the greater."""
    both = [Fraction(10, 100), Fraction(25, 100)]
    assert combine(both, rule()) == Fraction(25, 100)
    assert combine(both, rule(combine="sum")) == Fraction(35, 100)
    assert combine(both, rule(combine="sum_capped", cap="30%")) == Fraction(30, 100)
    assert combine(both, rule(cap="20%")) == Fraction(20, 100)
    assert combine([], rule()) == 0


def test_money_is_exact_and_small_sums_are_not_paid() -> None:
    """A third of a bill is rounded half up to the cent; below the minimum nothing is paid, at it
    all.
    """
    assert payout(Fraction(1, 3), Decimal(100), Decimal(0)) == Decimal("33.33")
    assert payout(Fraction(1, 10), Decimal("0.45"), Decimal(0)) == Decimal("0.05")
    assert payout(Fraction(1, 10), Decimal("9.99"), Decimal(1)) == 0
    assert payout(Fraction(1, 10), Decimal(10), Decimal(1)) == 1


def test_bounds_give_what_is_certain_and_what_is_possible() -> None:
    """Between 98 % and 99.5 % attained, 10 % are certain and 25 % possible; the kind is the
    caller's word.
    """
    found = credit(
        [(LADDER, Fraction(995, 1000), Fraction(98, 100))], rule(), "projected", Decimal(1200)
    )
    assert (found.share, found.at_most, found.kind) == (
        Fraction(1, 10),
        Fraction(1, 4),
        "projected",
    )
    assert (found.usd, found.at_most_usd) == (Decimal(120), Decimal(300))
    assert credit([(LADDER, Fraction(1), Fraction(1))], rule(), "due").usd is None
