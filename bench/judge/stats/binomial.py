"""Tails of the beta, binomial and Student t laws, and their quantiles.

In: counts, shares, tail probabilities. Out: probabilities and limits as floats. Must stay true:
a small tail is computed as itself, never as one minus a number near one; a share comes with its
complement, each rounded once, so that 1 - 0.999 costs no digits; no table, no iteration limit
that a count below 10**8 could reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

Share = Fraction | float

_HALF_LOG_2PI = math.log(2 * math.pi) / 2
_EPSILON = 2.0**-53


def both(share: Share) -> tuple[float, float]:
    """A share of one and its complement, each the float nearest to the exact value."""
    exact = Fraction(share)
    if not 0 <= exact <= 1:
        raise ValueError(f"{share} is not a share of one")
    return float(exact), float(1 - exact)


def _stirling_error(z: float) -> float:
    """ln Γ(z+1) minus Stirling's formula; the series is short of 2e-14 at z = 10 and better
    above.
    """
    if z < 10:
        return math.lgamma(z + 1) - (z + 0.5) * math.log(z) + z - _HALF_LOG_2PI
    w = 1 / (z * z)
    series = 1 / 1680 - w / 1188
    series = 1 / 1260 - w * series
    series = 1 / 360 - w * series
    series = 1 / 12 - w * series
    return series / z


def _deviance(observed: float, expected: float) -> float:
    """observed · ln(observed/expected) + expected - observed without its cancellation near
    equality.

    With v = (observed - expected)/(observed + expected), the logarithm is 2 artanh v.
    """
    v = (observed - expected) / (observed + expected)
    if abs(v) > 0.1:
        return observed * math.log(observed / expected) + expected - observed
    total = (observed - expected) * v
    power = 2 * observed * v
    order = 1
    while True:
        power *= v * v
        order += 2
        step = power / order
        if abs(step) <= _EPSILON * abs(total):
            return total + step
        total += step


def _log_front(
    a: float,
    b: float,
    x: float,
    y: float,
) -> float:
    """ln of x^a y^b / B(a, b), for y = 1 - x, by Loader's saddle-point form.

    Log-gammas of 1e7 are near 1.5e8, so their difference would keep eight digits of the tail;
    the deviances keep all.
    """
    n = a + b
    return (
        (math.log(a) + math.log(b) - math.log(n)) / 2
        - _HALF_LOG_2PI
        + _stirling_error(n)
        - _stirling_error(a)
        - _stirling_error(b)
        - _deviance(a, n * x)
        - _deviance(b, n * y)
    )


def _log_fraction(
    a: float,
    b: float,
    x: float,
    y: float,
) -> float:
    """ln of the continued fraction F with I_x(a, b) = x^a y^b / B(a, b) · F, for x at most a/(a+b).

    DiDonato and Morris (1992), evaluated by the modified Lentz method.
    """
    tilt = a * y - b * x
    value = a * (tilt + 1) / (a + 1)
    partial = value
    inverse = 0.0
    m = 0
    while True:
        m += 1
        wide = a + 2 * m - 1
        alpha = (a + m - 1) * (a + b + m - 1) * m * (b - m) * x * x / (wide * wide)
        step = m * (b - m) * x / wide
        next_step = (a + m) * (tilt + 1 + m * (1 + y)) / (wide + 2)
        beta = m + step + next_step
        inverse = 1 / (beta + alpha * inverse)
        partial = beta + alpha / partial
        factor = partial * inverse
        value *= factor
        if abs(factor - 1) < 8 * _EPSILON:
            return -math.log(value)


def _log_tails(
    a: float,
    b: float,
    x: float,
    y: float,
) -> tuple[float, float, float]:
    """ln I_x(a, b), ln (1 - I_x(a, b)) and ln of x^a y^b / B(a, b), for 0 < x < 1."""
    front = _log_front(a, b, x, y)
    if x * b <= a * y:
        lower = min(front + _log_fraction(a, b, x, y), -_EPSILON)
        return lower, math.log(-math.expm1(lower)), front
    upper = min(front + _log_fraction(b, a, y, x), -_EPSILON)
    return math.log(-math.expm1(upper)), upper, front


def beta_tails(a: float, b: float, x: Share) -> tuple[float, float]:
    """(P(B <= x), P(B > x)) for B ~ Beta(a, b): the regularised incomplete beta and its
    complement.
    """
    x, y = both(x)
    if x == 0:
        return 0.0, 1.0
    if y == 0:
        return 1.0, 0.0
    lower, upper, _ = _log_tails(a, b, x, y)
    return math.exp(lower), math.exp(upper)


def _log_odds_of_quantile(
    a: float,
    b: float,
    tail: float,
    upper: bool,
) -> float:
    """ln(x/(1-x)) where the lower (or upper) tail of Beta(a, b) holds `tail`.

    The density of the log-odds is log-concave, hence so is each tail: Newton's method on the
    log of the tail converges from any start, after one step from one side only. Log-odds stop
    at -700 and 700: beyond them x, or 1-x, is zero to a float.
    """
    if not 0 < tail < 1:
        raise ValueError(f"{tail} is not a tail probability")
    if upper:
        return -_log_odds_of_quantile(b, a, tail, upper=False)
    target = math.log(tail)
    odds = math.log(a / b)
    for _ in range(200):
        x = 1 / (1 + math.exp(-odds))
        y = 1 / (1 + math.exp(odds))
        lower, _upper, front = _log_tails(a, b, x, y)
        before = odds
        odds += (target - lower) * math.exp(min(lower - front, 700))
        odds = min(max(odds, -700.0), 700.0)
        if abs(odds - before) <= 1e-13 * max(1.0, abs(odds)):
            break
    return odds


def beta_quantile(
    a: float,
    b: float,
    tail: float,
    *,
    upper: bool = False,
) -> float:
    """x with P(Beta(a, b) <= x) = tail, or with P(Beta(a, b) > x) = tail when `upper`."""
    odds = _log_odds_of_quantile(a, b, tail, upper)
    return 1 / (1 + math.exp(-odds))


def student_t_quantile(tail: float, freedom: float) -> float:
    """t > 0 with P(T > t) = tail, for tail < 1/2: T² = ν(1-B)/B with B ~ Beta(ν/2, 1/2)."""
    if not 0 < tail < 0.5:
        raise ValueError(f"{tail} is not a tail below one half")
    odds = _log_odds_of_quantile(freedom / 2, 0.5, 2 * tail, upper=False)
    return math.sqrt(freedom * math.exp(-odds))


def binomial_tails(k: int, n: int, share: Share) -> tuple[float, float]:
    """(P(X <= k), P(X > k)) for X ~ Bin(n, share)."""
    if k < 0:
        return 0.0, 1.0
    if k >= n:
        return 1.0, 0.0
    upper, lower = beta_tails(k + 1, n - k, share)
    return lower, upper


def count_tails(k: float, n: float, share: Share) -> tuple[float, float]:
    """(P(X <= k), P(X >= k)) for X ~ Bin(n, share), continued to real k and n by the beta law.

    Real numbers serve effective sizes: k of n requests that are worth fewer independent ones.
    """
    at_most = 1.0
    at_least = 1.0
    if k < n:
        at_most = beta_tails(k + 1, n - k, share)[1]
    if k > 0:
        at_least = beta_tails(k, n - k + 1, share)[0]
    return at_most, at_least


def first(
    holds: Callable[[int], bool],
    low: int,
    high: int,
    guess: float,
) -> int:
    """Smallest integer of low..high-1 for which `holds`, else high; once true it must stay true.

    Gallops away from the guess before it bisects, so a good guess costs a few calls.
    """
    at = min(max(int(guess), low), high)
    if at == high or holds(at):
        low, high = _gallop_down(holds, low, at)
    else:
        low, high = _gallop_up(holds, at + 1, high)
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _gallop_down(holds: Callable[[int], bool], low: int, high: int) -> tuple[int, int]:
    """Bounds of the answer, which is at most `high`; steps double."""
    step = 1
    while low < high:
        at = max(low, high - step)
        if not holds(at):
            return at + 1, high
        high = at
        step *= 2
    return low, high


def _gallop_up(holds: Callable[[int], bool], low: int, high: int) -> tuple[int, int]:
    """Bounds of the answer, which is at least `low`; steps double."""
    step = 1
    while low < high:
        at = min(high - 1, low + step)
        if holds(at):
            return low, at
        low = at + 1
        step *= 2
    return low, high
