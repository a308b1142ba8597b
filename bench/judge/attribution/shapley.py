"""Several causes at once: each one's share of the tail, so that the shares add up.

In: for every combination of present causes (a cell), its rows and its tail rows. Out: a part of
the tail rate for each cause, and the rate that is left without any. Must stay true: parts and
remainder sum to the tail rate exactly; a combination that no request had borrows its rate from
an additive logit fitted to those that were seen.

Source: methods 5. v(S) = p - p_S, p_S the tail rate with the causes of S taken away from every
cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np

from bench.record.samples import Float, Int

#: More causes make more cells than a tail of some hundred rows can fill.
CAUSES_MOST = 6
#: Keeps a coefficient finite where a cause was present in every tail row or in none.
_RIDGE = 1e-4
_STEPS = 200


@dataclass(frozen=True)
class Shares:
    """Parts of the tail rate, in rows of the tail per row."""

    rate: float
    #: one for each cause, in the order of the bits
    parts: tuple[float, ...]
    #: what is left when no cause is present
    baseline: float
    #: cells whose rate was borrowed from the logit fit
    borrowed: int


def shapley(rows: Int, tail: Int) -> Shares:
    """Shapley values of up to six causes. `rows` and `tail` are counts by cell; bit i of a cell's
    number says whether cause i is present, so both hold 2**causes counts.

    Raises ValueError for another length or without rows.
    """
    causes = len(rows).bit_length() - 1
    whole = 0 < causes <= CAUSES_MOST and len(rows) == 1 << causes and len(tail) == len(rows)
    if not whole or rows.sum() == 0:
        raise ValueError(f"{len(rows)} cells are not those of 1 to {CAUSES_MOST} causes")
    rates = np.zeros(len(rows))
    np.divide(tail, rows, out=rates, where=rows > 0)
    borrowed = rows == 0
    if borrowed.any():
        rates[borrowed] = additive_logit(rows, tail)[borrowed]
    total = float(rows.sum())
    rate = float(rows @ rates / total)
    cells = np.arange(len(rows))

    def gain(taken: int) -> float:
        """How much the tail rate falls where these causes are taken away."""
        without = rates[cells & ~taken]
        return rate - float(rows @ without / total)

    gained = [gain(taken) for taken in range(len(rows))]
    parts = tuple(_part(cause, causes, gained) for cause in range(causes))
    return Shares(rate, parts, rate - gained[-1], int(np.count_nonzero(borrowed)))


def _part(cause: int, causes: int, gained: list[float]) -> float:
    """What the cause adds to every set of the others, weighted as Shapley does."""
    others = [1 << other for other in range(causes) if other != cause]
    part = 0.0
    for size in range(causes):
        orders = factorial(size) * factorial(causes - size - 1)
        weight = orders / factorial(causes)
        for chosen in combinations(others, size):
            before = sum(chosen)
            with_it = before | 1 << cause
            part += weight * (gained[with_it] - gained[before])
    return part


def additive_logit(rows: Int, tail: Int) -> Float:
    """Rate of every cell by ln(rate / (1 - rate)) = b0 + sum of b_i over the causes present.

    Newton's method on the binomial likelihood with a slight ridge on the b_i, halving a step that
    does not help: the penalised likelihood is concave, so this ends at its maximum.
    """
    causes = len(rows).bit_length() - 1
    cells = np.arange(len(rows))
    present = [(cells >> cause & 1).astype(float) for cause in range(causes)]
    design = np.column_stack([np.ones(len(rows)), *present])
    ridge = np.array([1e-9, *[_RIDGE] * causes])

    def merit(beta: Float) -> float:
        eta = design @ beta
        return float(tail @ eta - rows @ np.logaddexp(0, eta) - ridge @ beta**2 / 2)

    share = (tail.sum() + 0.5) / (rows.sum() + 1)
    beta = np.zeros(causes + 1)
    beta[0] = np.log(share / (1 - share))
    best = merit(beta)
    for _ in range(_STEPS):
        fitted = 1 / (1 + np.exp(-(design @ beta)))
        slope = design.T @ (tail - rows * fitted) - ridge * beta
        weight = rows * fitted * (1 - fitted)
        curve = (design * weight[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        if float(np.abs(step).max()) < 1e-10:
            break
        while (found := merit(beta + step)) < best and float(np.abs(step).max()) > 1e-12:
            step /= 2
        beta = beta + step
        best = max(best, found)
    return np.asarray(1 / (1 + np.exp(-(design @ beta))))
