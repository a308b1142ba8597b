"""Shares of several causes: the stored example, every order by hand, borrowed cells against a
general optimiser.
"""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from bench.judge.attribution.shapley import additive_logit, shapley
from bench.record.samples import Float

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference tables lie beside the checkout")
def test_the_example_of_the_reference() -> None:
    """Two causes: 48.7 %, 31.3 % and a baseline of 20 % of a 1 % tail."""
    stored = json.loads(REFERENCE.read_text())["attribution"]["shapley"]
    cells = [stored["cells"][name] for name in ("(0, 0)", "(1, 0)", "(0, 1)", "(1, 1)")]
    found = shapley(
        np.array([cell["n"] for cell in cells]), np.array([cell["tail"] for cell in cells])
    )
    assert found.parts == pytest.approx((stored["phi_A"], stored["phi_B"]), rel=1e-9)
    assert (found.baseline, found.rate) == pytest.approx(
        (stored["baseline_rate"], stored["tail_rate"]), rel=1e-9
    )


@settings(max_examples=60, deadline=None)
@given(causes=st.integers(1, 4), data=st.data())
def test_every_order_of_taking_causes_away(causes: int, data: st.DataObject) -> None:
    """A part is the mean gain over all orders, and parts and baseline sum to the tail rate."""
    rows = np.array(
        data.draw(st.lists(st.integers(1, 500), min_size=1 << causes, max_size=1 << causes))
    )
    tail = np.array([data.draw(st.integers(0, int(n))) for n in rows])

    def left(taken: int) -> float:
        return float(
            sum(n * tail[cell & ~taken] / rows[cell & ~taken] for cell, n in enumerate(rows))
            / rows.sum()
        )

    gains: list[list[float]] = [[] for _ in range(causes)]
    for order in permutations(range(causes)):
        taken = 0
        for cause in order:
            gains[cause].append(left(taken) - left(taken | 1 << cause))
            taken |= 1 << cause
    found = shapley(rows, tail)
    assert found.parts == pytest.approx([np.mean(gain) for gain in gains], abs=1e-12)
    assert sum(found.parts) + found.baseline == pytest.approx(tail.sum() / rows.sum(), abs=1e-12)
    assert found.borrowed == 0


def test_an_empty_cell_borrows_the_additive_logit() -> None:
    """No row had cause A alone: its rate is that of the likeliest additive logit, found by another
    optimiser, and decides the parts.
    """
    rows, tail = np.array([5000, 0, 900, 100]), np.array([20, 0, 45, 30])
    design = np.array([[1, 0, 0], [1, 0, 1], [1, 1, 1]])

    def unlikely(beta: Float) -> float:
        eta = design @ beta
        return float(np.sum(rows[[0, 2, 3]] * np.logaddexp(0, eta) - tail[[0, 2, 3]] * eta))

    likeliest = optimize.minimize(
        unlikely,
        [-3.0, 0.0, 0.0],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000},
    )
    best = likeliest.x
    alone = 1 / (1 + np.exp(-(best[0] + best[1])))
    assert additive_logit(rows, tail)[1] == pytest.approx(alone, rel=1e-4)
    found = shapley(rows, tail)
    # 100 rows have both causes; 900 have B alone
    none, only_b, both = 20 / 5000, 45 / 900, 30 / 100
    part_a = 100 * ((both - only_b) + (alone - none)) / 2 / 6000
    part_b = (900 * (only_b - none) + 100 * ((both - alone) + (only_b - none)) / 2) / 6000
    assert found.parts == pytest.approx((part_a, part_b), rel=1e-4)
    assert found.borrowed == 1
    assert sum(found.parts) + found.baseline == pytest.approx(95 / 6000)


def test_a_cause_of_every_tail_row_has_finite_shares() -> None:
    """All tail rows have cause A, and no row has A and B: A gets the whole tail, B nothing."""
    found = shapley(np.array([5000, 100, 300, 0]), np.array([0, 60, 0, 0]))
    assert found.parts == pytest.approx((60 / 5400, 0), abs=1e-6)


@pytest.mark.parametrize("cells", [1, 3, 128, 0])
def test_other_numbers_of_cells_are_refused(cells: int) -> None:
    """Neither no cause, nor more than six, nor a number of cells that is no power of two."""
    with pytest.raises(ValueError, match="are not those of 1 to 6 causes"):
        shapley(np.ones(cells, np.int64), np.zeros(cells, np.int64))
