"""What the limits of a ratio prove: better, worse, the same within a margin, or nothing.

In: the p99 ratio of two arms with its draws, without its most telling superblock too, and counts
over a limit. Out: a `Decision`. Must stay true: BETTER and WORSE look both ways and share the error
between them, a claim about the margin has the error on its own side; a difference must hold without
the superblock that speaks most for it; where there is no number there is a reason.

Source: methods 4 (five-way outcome with a margin, power).
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np

from bench.judge.compare.arms import Arm
from bench.judge.compare.difference import SMALL
from bench.judge.stats.resample import LEAST, percentile_limits
from bench.record.records.comparisons import Decision, Exceedance, RatioRecord
from bench.record.samples import Float
from bench.units import MS, show_ratio, show_share

#: Outcomes that say "there is a difference": they must hold without the superblock that speaks most
#: for them.
DIFFERENCES = ("BETTER", "MATERIALLY_BETTER", "WORSE")
ALPHA = 0.05
_POWER_Z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Other over baseline at one quantile, and the draws behind it."""

    baseline: float
    other: float
    draws: Float
    number: int

    @property
    def value(self) -> float:
        """The ratio itself: 0 or infinite where one of the two is a failure."""
        if self.baseline:
            return self.other / self.baseline
        return math.inf

    def limits(self, alpha_each_side: float) -> tuple[float, float]:
        """Percentile limits; the ratio orders its draws as its logarithm does."""
        return percentile_limits(self.draws, alpha_each_side, self.number)

    @property
    def mde(self) -> float | None:
        """Smallest ratio that 8 of 10 such comparisons would call a difference; None where a draw
        is among failures.
        """
        with np.errstate(divide="ignore"):
            logs = np.log(self.draws)
        if np.isfinite(logs).all():
            return math.exp(_POWER_Z * float(logs.std(ddof=1)))
        return None

    def record(self) -> RatioRecord:
        """As it is kept; None for what lies among failures."""
        low, high = (finite(limit) if limit > 0 else None for limit in self.limits(ALPHA / 2))
        return RatioRecord(
            baseline_ms=finite(self.baseline / MS),
            other_ms=finite(self.other / MS),
            ratio=finite(self.value) if math.isfinite(self.baseline) else None,
            interval=(low, high),
            mde=self.mde,
        )


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


def decide(
    baseline: Arm,
    other: Arm,
    p99: Ratio | None,
    less: Ratio | None,
    over: Exceedance | None,
    margin: Fraction,
    *,
    resampled: bool,
) -> Decision:
    """Outcomes, the one to say first and one sentence of reason.

    `less` is the ratio without the most telling superblock.
    """
    if min(len(baseline), len(other)) < SMALL and over is not None:
        return _by_fisher(over)
    if not resampled:
        return undecided(
            f"the arms share fewer than {LEAST} superblocks: make the run longer or the blocks"
            " shorter"
        )
    if p99 is None:
        failed = " and ".join(
            f"{show_share(float(np.isinf(arm.values).mean()), 2)} of {arm.name}"
            for arm in (baseline, other)
        )
        return undecided(f"the p99 of both arms lies among their failures: {failed} failed")
    whole = outcomes(p99.limits(ALPHA / 2), p99.limits(ALPHA), margin)
    if less is not None:
        again = outcomes(less.limits(ALPHA / 2), less.limits(ALPHA), margin)
    else:
        again = []
    held = [name for name in whole if name not in DIFFERENCES or name in again] or ["INCONCLUSIVE"]
    said = _said(p99, baseline.name, other.name)
    low, high = p99.limits(ALPHA)  # "at least" is a claim with one side
    if "BETTER" in held and high > 0:
        said += f": at least {show_share(1 - high, 1)} lower"
    elif "WORSE" in held and math.isfinite(low):
        said += f": at least {show_share(low - 1, 1)} higher"
    elif whole != held:
        said += "; without the one superblock that speaks most for it there is no difference"
    elif held == ["INCONCLUSIVE"] and p99.mde is not None and p99.mde > 1:
        needed = min(len(baseline), len(other)) * (math.log(p99.mde) / -math.log(1 - margin)) ** 2
        said += (
            f"; a difference of {show_share(margin)} takes about {math.ceil(needed / 100) * 100:,}"
            " requests an arm"
        )
    return Decision(outcomes=held, headline=held[0], reason=said)


def _said(p99: Ratio, baseline: str, other: str) -> str:
    """The ratio with its limits, or which arm has none."""
    for name, value in ((baseline, p99.baseline), (other, p99.other)):
        if math.isinf(value):
            return f"the p99 of {name} lies among its failures, so there is no ratio"
    low, high = p99.limits(ALPHA / 2)
    return f"p99 ratio {_number(p99.value)} ({_number(low)} to {_number(high)})"


def _number(ratio: float) -> str:
    if not 0 < ratio < math.inf:
        return "no bound"
    return show_ratio(ratio)


def _by_fisher(over: Exceedance) -> Decision:
    """Below 1,000 rows an arm the tail is a count: more misses or fewer, nothing about a margin."""
    assert over.fisher_p is not None
    baseline = over.baseline
    other = over.other
    said = (
        f"{other.over:,} of {other.n:,} against {baseline.over:,} of {baseline.n:,}"
        f" over {over.limit_ms:g} ms, Fisher p {over.fisher_p:.2g}; a p99 ratio takes"
        f" {SMALL:,} requests an arm"
    )
    held = "BETTER" if over.difference < 0 else "WORSE"
    if over.fisher_p > ALPHA:
        held = "INCONCLUSIVE"
    return Decision(outcomes=[held], headline=held, reason=said)


def regression(p99: Ratio | None, less: Ratio | None, margin: Fraction) -> Decision:
    """The gate: WORSE beyond the margin fails, also without the most telling superblock; shown to
    be within it passes.
    """
    if p99 is None:
        return undecided("without a p99 ratio a regression can be neither shown nor excluded")
    low, high = p99.limits(ALPHA)
    most = 1 / float(1 - margin)
    fails = low > most and less is not None and less.limits(ALPHA)[0] > most
    verdict = "FAIL" if fails else "PASS" if high < most else "INCONCLUSIVE"
    return Decision(
        outcomes=[verdict],
        headline=verdict,
        reason=(
            f"p99 ratio {_number(low)} to {_number(high)}, one-sided; up to {_number(most)} is"
            " within the margin"
        ),
    )
