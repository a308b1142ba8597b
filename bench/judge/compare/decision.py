"""What the limits of a ratio prove: better, worse, the same within a margin, or nothing.

In: the p99 ratio of two arms with its draws on every scale and without its most telling
superblocks, and counts over a limit. Out: a `Decision` with the bound that decides. Must stay true:
BETTER and WORSE look both ways and share the error between them, a claim about the margin has the
error on its own side; an outcome holds on every scale and without the superblock that speaks most
for it; the bound is the limit that the outcome was read from, so none denies its outcome; where
there is no number there is a reason.

Source: methods 4 (five-way outcome with a margin, power); part two (three scales, mends 5 to 7).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from bench.judge.compare.arms import Arm
from bench.judge.compare.difference import SMALL
from bench.judge.stats.superblocks import LEAST, Series, widest_limits
from bench.record.records.comparisons import Decision, Exceedance, RatioRecord
from bench.record.records.verdicts import Interval
from bench.units import MS, show_bound, show_ratio, show_share

ALPHA = 0.05
_POWER_Z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)


class Limits(NamedTuple):
    """Lower and upper limit of a ratio."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Other over baseline at one quantile, and the draws behind it."""

    baseline: float
    other: float
    #: of each layout of superblocks, a series a scale
    draws: Sequence[Sequence[Series]]
    #: the same without the superblock that speaks most for a larger and for a smaller ratio
    without_larger: Sequence[Sequence[Series]] = ()
    without_smaller: Sequence[Sequence[Series]] = ()

    @property
    def value(self) -> float:
        """The ratio itself: 0 or infinite where one of the two is a failure."""
        if self.baseline:
            return self.other / self.baseline
        return math.inf

    def limits(self, alpha_each_side: float) -> Limits:
        """The limits that decide. The lower one bears that the superblock goes which speaks most
        for a larger ratio, the upper one that which speaks most for a smaller.
        """
        whole = _widest(self.draws, alpha_each_side)
        less = _widest(self.without_larger, alpha_each_side)
        more = _widest(self.without_smaller, alpha_each_side)
        return Limits(min(whole.low, less.low), max(whole.high, more.high))

    def limits_of_all(self, alpha_each_side: float) -> Limits:
        """The limits with every superblock."""
        return _widest(self.draws, alpha_each_side)

    @property
    def mde(self) -> float | None:
        """Smallest ratio that 8 of 10 such comparisons would call a difference; None where a draw
        is among failures.
        """
        errors = []
        for layout in self.draws:
            for series in layout:
                with np.errstate(divide="ignore", invalid="ignore"):
                    logs = np.log(series.draws)
                if not np.isfinite(logs).all():
                    return None
                errors.append(float(logs.std(ddof=1)))
        return math.exp(_POWER_Z * max(errors))

    def record(self) -> RatioRecord:
        """As it is kept; None for what lies among failures."""
        return RatioRecord(
            baseline_ms=finite(self.baseline / MS),
            other_ms=finite(self.other / MS),
            ratio=finite(self.value) if math.isfinite(self.baseline) else None,
            interval=_kept(self.limits(ALPHA / 2)),
            bound=_kept(self.limits(ALPHA)),
            mde=self.mde,
        )


def _widest(layouts: Sequence[Sequence[Series]], alpha_each_side: float) -> Limits:
    found = [widest_limits(layout, alpha_each_side) for layout in layouts]
    low = min((low for low, _ in found), default=math.inf)
    return Limits(low, max((high for _, high in found), default=-math.inf))


def _kept(limits: tuple[float, float]) -> Interval:
    low, high = (finite(limit) if limit > 0 else None for limit in limits)
    return low, high


def finite(value: float) -> float | None:
    """The number, or None where there is no such bound."""
    return value if math.isfinite(value) else None


def undecided(reason: str) -> Decision:
    """INCONCLUSIVE and why."""
    return Decision(outcomes=["INCONCLUSIVE"], headline="INCONCLUSIVE", reason=reason)


def outcomes(
    two_sided: tuple[float, float],
    one_sided: tuple[float, float],
    margin: Fraction,
) -> list[str]:
    """Every outcome that the limits of the ratio prove, the one to say first in front.

    `two_sided` limits serve the question "is there a difference", `one_sided` ones the claims
    about the margin. A real but small difference is both EQUIVALENT and BETTER (or WORSE).
    """
    (low, high), (low_claim, high_claim) = two_sided, one_sided
    least = float(1 - margin)
    held = {
        "MATERIALLY_BETTER": high < 1 and high_claim <= least,
        "EQUIVALENT": low_claim > least and high_claim < 1 / least,
        "WORSE": low > 1,
        "BETTER": high < 1,
        "NOT_MATERIALLY_BETTER": low_claim > least,
    }
    return [name for name, holds in held.items() if holds] or ["INCONCLUSIVE"]


def bound_of(
    headline: str,
    two_sided: tuple[float, float],
    one_sided: tuple[float, float],
) -> tuple[Interval, float]:
    """The ends of the ratio that decide an outcome, and the confidence with which they hold."""
    (low, high), (low_claim, high_claim) = _kept(two_sided), _kept(one_sided)
    ends: dict[str, tuple[Interval, float]] = {
        "MATERIALLY_BETTER": ((None, high_claim), 1 - ALPHA),
        "EQUIVALENT": ((low_claim, high_claim), 1 - 2 * ALPHA),
        "WORSE": ((low, None), 1 - ALPHA / 2),
        "BETTER": ((None, high), 1 - ALPHA / 2),
        "NOT_MATERIALLY_BETTER": ((low_claim, None), 1 - ALPHA),
    }
    return ends.get(headline, ((low, high), 1 - ALPHA))


def decide(
    baseline: Arm,
    other: Arm,
    p99: Ratio | None,
    over: Exceedance | None,
    margin: Fraction,
    *,
    resampled: bool,
) -> Decision:
    """Outcomes, the one to say first and one sentence of reason."""
    if not resampled:
        return undecided(
            f"the arms share fewer than {LEAST} superblocks: make the run longer or the blocks"
            " shorter"
        )
    if min(len(baseline), len(other)) < SMALL and over is not None:
        return _by_counts(over)
    if p99 is None:
        failed = " and ".join(
            f"{show_share(float(np.isinf(arm.values).mean()), 2)} of {arm.name}"
            for arm in (baseline, other)
        )
        return undecided(f"the p99 of both arms lies among their failures: {failed} failed")
    two_sided, one_sided = p99.limits(ALPHA / 2), p99.limits(ALPHA)
    held = outcomes(two_sided, one_sided, margin)
    ends, confidence = bound_of(held[0], two_sided, one_sided)
    said = _said(p99, ends, confidence, baseline.name, other.name)
    if held == ["INCONCLUSIVE"]:
        said += _why_open(p99, margin, min(len(baseline), len(other)))
    return Decision(
        outcomes=held, headline=held[0], reason=said, bound=ends, bound_confidence=confidence
    )


def _why_open(p99: Ratio, margin: Fraction, rows: int) -> str:
    """What stood in the way of an outcome: one spell, or rows."""
    of_all = p99.limits_of_all(ALPHA / 2), p99.limits_of_all(ALPHA)
    without_guard = outcomes(*of_all, margin)[0]
    if without_guard != "INCONCLUSIVE":
        return f"; {without_guard} does not hold without the one superblock that speaks most for it"
    if p99.mde is not None and p99.mde > 1:
        needed = rows * (math.log(p99.mde) / -math.log(1 - margin)) ** 2
        return (
            f"; a difference of {show_share(margin)} takes about {math.ceil(needed / 100) * 100:,}"
            " requests an arm"
        )
    return ""


def _said(p99: Ratio, ends: Interval, confidence: float, baseline: str, other: str) -> str:
    """The ratio with the bound that decides, or which arm has none."""
    for name, value in ((baseline, p99.baseline), (other, p99.other)):
        if math.isinf(value):
            return f"the p99 of {name} lies among its failures, so there is no ratio"
    return f"p99 ratio {show_ratio(p99.value)}, {ratio_bound(ends, confidence)}"


def ratio_bound(ends: Interval, confidence: float) -> str:
    """`at most 0.925 (97.5 %)`."""
    return show_bound(*ends, show_ratio, confidence)


def _by_counts(over: Exceedance) -> Decision:
    """Below 1,000 rows an arm the tail is a count: more misses or fewer, nothing about a margin.

    Fisher's test takes requests as independent. It decides only where the exchange of whole
    superblocks and the interval of the difference agree.
    """
    assert over.fisher_p is not None
    assert over.permutation_p is not None
    baseline = over.baseline
    other = over.other
    low, high = over.interval
    held = "INCONCLUSIVE"
    ends: Interval = (low, high)
    differs = max(over.fisher_p, over.permutation_p) <= ALPHA
    if differs and low > 0:
        held, ends = "WORSE", (low, None)
    elif differs and high < 0:
        held, ends = "BETTER", (None, high)
    confidence = 1 - ALPHA if held == "INCONCLUSIVE" else 1 - ALPHA / 2
    said = (
        f"{other.over:,} of {other.n:,} against {baseline.over:,} of {baseline.n:,}"
        f" over {over.limit_ms:g} ms, a difference of {show_points(over.difference)} points,"
        f" {show_bound(*ends, show_points, confidence)}; Fisher p {over.fisher_p:.2g},"
        f" superblocks exchanged p {over.permutation_p:.2g}"
    )
    if held == "INCONCLUSIVE" and over.fisher_p <= ALPHA:
        said += ": so far apart only if each request were an event of its own"
    return Decision(
        outcomes=[held],
        headline=held,
        reason=f"{said}; a p99 ratio takes {SMALL:,} requests an arm",
        bound=ends,
        bound_of="share_over_limit",
        bound_confidence=confidence,
    )


def show_points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: `-34.4`, `+0.06`, `0`."""
    return f"{100 * share:+.3g}" if share else "0"


def regression(p99: Ratio | None, margin: Fraction) -> Decision:
    """The gate: WORSE beyond the margin fails, shown to be within it passes; either holds also
    without the superblock that speaks most for it.
    """
    if p99 is None:
        return undecided("without a p99 ratio a regression can be neither shown nor excluded")
    low, high = p99.limits(ALPHA)
    most = 1 / float(1 - margin)
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"] = "INCONCLUSIVE"
    ends, confidence = _kept((low, high)), 1 - 2 * ALPHA
    if low > most:
        verdict, ends, confidence = "FAIL", _kept((low, -1)), 1 - ALPHA
    elif high < most:
        verdict, ends, confidence = "PASS", _kept((-1, high)), 1 - ALPHA
    return Decision(
        outcomes=[verdict],
        headline=verdict,
        reason=(
            f"p99 ratio {ratio_bound(ends, confidence)}; up to {show_ratio(most)} is within"
            " the margin"
        ),
        bound=ends,
        bound_confidence=confidence,
    )
