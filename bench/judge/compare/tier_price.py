"""What a dearer tier costs, and what is got for it: fee and tokens, a gain in ms, an avoided miss.

In: what a request of each arm cost, the fee and the volume that it is spread over, how the arms
compare. Out: a `PriceRecord`. Must stay true: a fee without a volume has no price a request, only a
curve over volumes; what is not known is said and never taken for nothing; an interval stands beside
what a difference is divided by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.judge.compare.arms import Arm
from bench.record.records.comparisons import Exceedance, PartComparison, PriceAt, PriceRecord

#: Requests a month of the curve that stands in place of a volume.
_VOLUMES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
#: Outcomes that leave nothing to pay for.
_NO_GAIN = ("EQUIVALENT", "NOT_MATERIALLY_BETTER", "WORSE")


@dataclass(frozen=True)
class Fee:
    """What a tier costs on top of its tokens, and the requests that bear it."""

    yearly_usd: float | None = None
    requests_per_month: int | None = None

    @property
    def monthly_usd(self) -> float | None:
        """A twelfth of a year."""
        return None if self.yearly_usd is None else self.yearly_usd / 12


#: Nothing but the tokens.
NO_FEE = Fee()


def price(baseline: Arm, other: Arm, part: PartComparison, fee: Fee) -> PriceRecord:
    """What the other arm costs more, a millisecond of p99 gained and an avoided miss; a reason
    where there is no number.
    """
    tokens, unknown = _tokens(baseline, other)
    found = PriceRecord(
        yearly_usd=fee.yearly_usd,
        extra_usd_per_request=tokens,
        usd_per_1000_requests_per_ms=None,
        usd_per_avoided_miss=None,
        requests_per_breach=None,
        requests_per_month=fee.requests_per_month,
    )
    monthly = fee.monthly_usd
    if monthly is None and tokens is None:
        return found.replace(reason=unknown)
    gained = part.exceedance if part.exceedance and part.exceedance.interval[1] < 0 else None
    if monthly is not None and fee.requests_per_month is None:
        curve = [_at(volume, monthly, tokens, gained) for volume in _VOLUMES]
        return found.replace(
            curve=curve,
            advice=_advice(part),
            reason="the fee has no price a request without the requests that it is spread over",
        )
    share = 0.0
    if monthly is not None and fee.requests_per_month is not None:
        share = monthly / fee.requests_per_month
        found = found.replace(fee_usd_per_request=share)
    total = share + (tokens or 0.0)
    found = found.replace(total_usd_per_request=total, reason=unknown)
    if total <= 0:
        return found.replace(reason=f"{other.name} costs no more than {baseline.name}")
    return _worth(found.replace(advice=_advice(part)), baseline, part, gained, total)


def _worth(
    found: PriceRecord,
    baseline: Arm,
    part: PartComparison,
    gained: Exceedance | None,
    total: float,
) -> PriceRecord:
    """What is got for `total` USD a request."""
    if baseline.facts.breach_usd is not None:
        found = found.replace(requests_per_breach=baseline.facts.breach_usd / total)
    if gained is not None:
        found = found.replace(
            usd_per_avoided_miss=total / -gained.difference,
            usd_per_avoided_miss_interval=_per_miss(total, gained),
        )
    p99 = part.ratios.get("p99")
    if "BETTER" not in part.outcomes:
        return found.replace(reason="no gain is shown, so a millisecond has no price")
    if p99 is None or p99.ratio is None or p99.baseline_ms is None or p99.other_ms is None:
        return found.replace(reason="the gain has no size in ms")
    per_ms = 1000 * total / (p99.baseline_ms - p99.other_ms)
    return found.replace(usd_per_1000_requests_per_ms=per_ms)


def _tokens(baseline: Arm, other: Arm) -> tuple[float | None, str | None]:
    """(USD that a request's tokens cost more, or None; why they are not known)."""
    costs = []
    for arm in (baseline, other):
        cost = arm.facts.usd_per_request
        if not cost:
            lacks = (
                "a price of zero" if cost == 0 else "no [prices] in its file, or no token counts"
            )
            return None, f"{arm.name} has {lacks}"
        costs.append(cost)
    return costs[1] - costs[0], None


def _per_miss(total: float, gained: Exceedance) -> tuple[float, float]:
    """Limits of the price of an avoided miss, from those of the share that is avoided."""
    least, most = -gained.interval[1], -gained.interval[0]
    return total / most, total / least


def _at(volume: int, monthly: float, tokens: float | None, gained: Exceedance | None) -> PriceAt:
    total = monthly / volume + (tokens or 0.0)
    return PriceAt(
        requests_per_month=volume,
        usd_per_request=total,
        usd_per_avoided_miss=None if gained is None else total / -gained.difference,
        usd_per_avoided_miss_interval=None if gained is None else _per_miss(total, gained),
    )


def _advice(part: PartComparison) -> Literal["do not buy"] | None:
    """Of an arm that costs more."""
    return "do not buy" if part.headline in _NO_GAIN else None
