"""Attained shares -> what is credited: the ladder's step, several clauses joined, money.

In: credit steps, attained shares with their bounds, the bill. Out: per cent of the base and USD.
Must stay true: steps are half-open and compared exactly, before any rounding; only a census
speaks of a credit as due, anything else projects; what is certain and what is possible stay two
numbers wherever bounds leave a choice.

Source: methods 1.1-1.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Literal

from bench.judge.stats.dependence import Judged
from bench.plan.clause import Clause
from bench.plan.terms import Credits, CreditStep
from bench.record.records.census import DueCredit, ExactShare
from bench.record.records.verdicts import Credit as ProjectedCredit

_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Credit:
    """Shares of the base, and USD where the base is known."""

    #: "due" from a census of the period, "projected" from anything less
    kind: Literal["due", "projected"]
    #: for certain
    share: Fraction
    #: if all that is unknown went the other way
    at_most: Fraction
    usd: Decimal | None
    at_most_usd: Decimal | None

    def record(self, rule: Credits) -> DueCredit:
        """As it is kept, with the terms on which it is claimed."""
        return DueCredit(
            kind=self.kind,
            share=ExactShare.of(self.share),
            at_most=ExactShare.of(self.at_most),
            usd=None if self.usd is None else str(self.usd),
            at_most_usd=None if self.at_most_usd is None else str(self.at_most_usd),
            base=rule.base,
            claim_within_days=rule.claim_within_days,
            evidence_wanted=rule.evidence,
        )


def step(ladder: Sequence[CreditStep], attained: Fraction) -> Fraction:
    """The share that one clause credits: that of the lowest step whose bound the value is below,
    else 0.
    """
    return max((each.credit for each in ladder if attained < each.below), default=Fraction(0))


def combine(shares: Sequence[Fraction], rule: Credits) -> Fraction:
    """The credits of several clauses as one share of the base; a cap holds whatever the rule."""
    if rule.combine == "max":
        joined = max(shares, default=Fraction(0))
    else:
        joined = sum(shares, Fraction(0))
    if rule.cap is None:
        return joined
    return min(joined, rule.cap)


def payout(share: Fraction, base_usd: Decimal, minimum_usd: Decimal) -> Decimal:
    """`share` of the base, rounded half up to the cent; 0 where that is less than the least that is
    paid.
    """
    exact = base_usd * share.numerator / share.denominator
    cents = exact.quantize(_CENT, ROUND_HALF_UP)
    return cents if exact >= minimum_usd else 0 * _CENT


def credit(
    bounds: Sequence[tuple[Sequence[CreditStep], Fraction, Fraction]],
    rule: Credits,
    kind: Literal["due", "projected"],
    base_usd: Decimal | None = None,
) -> Credit:
    """The credit of a period from (ladder, best, worst) of each clause that pays."""
    share = combine([step(ladder, best) for ladder, best, _ in bounds], rule)
    at_most = combine([step(ladder, worst) for ladder, _, worst in bounds], rule)
    if base_usd is None:
        return Credit(kind, share, at_most, None, None)
    return Credit(
        kind,
        share,
        at_most,
        payout(share, base_usd, rule.minimum_usd),
        payout(at_most, base_usd, rule.minimum_usd),
    )


def projected(clause: Clause, judged: Judged, measured: float | None) -> ProjectedCredit | None:
    """What the ladder would credit if the whole period were like a run, and at the limits of the
    share that its verdict rests on; None where nothing is known.
    """
    if clause.credit is None or judged.n <= judged.unknown:
        return None
    kept = Fraction(judged.n - judged.bad, judged.n)
    if clause.kind.partial and measured is not None:
        # an interval loses a part of itself
        kept = Fraction(measured).limit_denominator(10**9)
    attained = (kept, 1 - Fraction(judged.lower), 1 - Fraction(judged.upper))
    point, least, most = (float(step(clause.credit, share)) for share in attained)
    return ProjectedCredit(share=point, at_least=least, at_most=most)
