"""Which rate to probe next: growth by halves and doubles, then bisection between what passed and
what failed.

In: the bounds of a search, the verdicts of the probes so far. Out: the next probe, or the bracket
that the search ends with. Must stay true: a rate counts as kept or broken only by a PASS or a FAIL
of the judge; a probe that was not decided is made longer, never guessed at; no rate is tried above
one that the harness could not measure; with every probe, and the run that confirms the end, judged
at `1 / (max_probes + 1)` of the error allowed, all verdicts of a search are right together with the
contract's confidence (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from bench.record.records.ramp import Outcome, ProbeVerdict
from bench.units import S, show_rate, show_share

GROWTH = 2
#: A probe that was not decided is repeated with so many times its requests at least, and at most:
#: what it says of the requests needed is a guess from few.
LONGER, MUCH_LONGER = 2, 8
#: INVALID probes of one rate that make it the harness's limit: one may be a hiccup of the machine.
CEILING_AFTER = 2
#: Rates nearer to each other than this part of the resolution count as one.
_FINEST = Fraction(1, 4)


@dataclass(frozen=True)
class Probe:
    """One run at a rate, as the judge saw it.

    `needed`: requests that would probably have decided it.
    """

    rate: Fraction
    requests: int
    verdict: ProbeVerdict
    needed: int | None = None


@dataclass(frozen=True)
class Step:
    """The next probe."""

    rate: Fraction
    requests: int


@dataclass(frozen=True)
class Search:
    """The bounds of a search; rates in requests per second."""

    start: Fraction
    lowest: Fraction
    highest: Fraction | None
    #: how far above the rate that passed the one that failed may be, as a share of it
    resolution: Fraction
    max_probes: int
    #: requests of a rate's first probe far from the boundary, of its first near it, and of its
    #: longest
    first: int
    close: int
    most: int
    #: a probe lasts at least so long: see `least_ns`
    least_ns: int = 0

    def lasting(self, rate: Fraction, requests: int) -> int:
        """So many requests, or as many more as a probe at this rate must last."""
        return max(requests, math.ceil(rate * self.least_ns / S))

    def longer(self, probe: Probe) -> Step | None:
        """A probe that was not decided once more with more requests; None where it was the
        longest.
        """
        most = self.lasting(probe.rate, self.most)
        if probe.requests >= most:
            return None
        wanted = min(probe.needed or most, MUCH_LONGER * probe.requests)
        return Step(probe.rate, min(most, max(LONGER * probe.requests, wanted)))


@dataclass(frozen=True)
class Bracket:
    """What is known of the boundary: the highest rate that passed, the lowest that failed, the
    harness's own limit.

    `open` are the longest probes of rates between them that were not decided, ascending.
    """

    passes: Fraction | None = None
    fails: Fraction | None = None
    harness: Fraction | None = None
    open: tuple[Probe, ...] = ()

    @property
    def top(self) -> Fraction | None:
        """The lowest rate that is known not to pass, for either reason."""
        return min((rate for rate in (self.fails, self.harness) if rate is not None), default=None)


@dataclass(frozen=True)
class End:
    """The search is over, and why."""

    outcome: Outcome
    bracket: Bracket
    reason: str


def least_ns(limit_ns: int | None, resolution: Fraction) -> int:
    """How long a probe must last for an overload by the resolution to show.

    At a rate above capacity by a share r the queue grows by r seconds a second. After limit/r every
    request breaks the limit; after twice that, half of the probe's have.
    """
    if limit_ns is None:
        return 0
    return math.ceil(2 * limit_ns / resolution)


def bracket_of(probes: Sequence[Probe]) -> Bracket:
    """What probes in the order in which they were made say together: of a rate the last, which is
    the longest.
    """
    last = {probe.rate: probe for probe in probes}
    fails = min((rate for rate, probe in last.items() if probe.verdict == "FAIL"), default=None)
    kept = [
        rate
        for rate, probe in last.items()
        if probe.verdict == "PASS" and (fails is None or rate < fails)
    ]
    passes = max(kept, default=None)
    invalid = [probe.rate for probe in probes if probe.verdict == "INVALID"]
    harness = min((rate for rate in invalid if invalid.count(rate) >= CEILING_AFTER), default=None)
    bracket = Bracket(passes, fails, harness)
    low = passes or Fraction(0)
    high = bracket.top
    undecided = (last[rate] for rate in sorted(last) if last[rate].verdict == "INCONCLUSIVE")
    between = tuple(
        probe for probe in undecided if probe.rate > low and (high is None or probe.rate < high)
    )
    return Bracket(passes, fails, harness, between)


def next_step(search: Search, probes: Sequence[Probe]) -> Step | End:
    """What comes after these probes."""
    if not probes:
        return Step(search.start, search.lasting(search.start, search.first))
    found = bracket_of(probes)
    step = (
        _settled(search, probes, found)
        or _again(search, probes)
        or _elsewhere(search, probes, found)
    )
    if isinstance(step, Step) and len(probes) >= search.max_probes:
        return End("undecided", found, f"all {search.max_probes} probes are spent")
    return step


def _settled(search: Search, probes: Sequence[Probe], found: Bracket) -> End | None:
    """The end that needs no further probe."""
    passes = found.passes
    top = found.top
    if passes is None:
        if (
            top is None
            or min(probe.rate for probe in probes) > search.lowest
            or top > search.lowest
        ):
            return None
        if top == found.fails:
            return End("none", found, "the contract is broken at the lowest rate allowed")
        return End("harness", found, "the harness could not measure even the lowest rate allowed")
    if top is None:
        reached = passes == search.highest
        if reached:
            return End("beyond", found, "the contract is kept at the highest rate allowed")
        return None
    if top > passes * (1 + search.resolution):
        return None
    if top == found.fails:
        return End("found", found, f"no further apart than {show_share(search.resolution)}")
    return End("harness", found, "above it the harness, not the server, was the limit")


def _again(search: Search, probes: Sequence[Probe]) -> Step | None:
    """The last rate once more: longer where it was not decided, unchanged where the harness failed
    for the first time.
    """
    last = probes[-1]
    if last.verdict == "INVALID":
        known = sum(probe.rate == last.rate and probe.verdict == "INVALID" for probe in probes)
        if known < CEILING_AFTER:
            return Step(last.rate, last.requests)
        return None
    if last.verdict == "INCONCLUSIVE":
        return search.longer(last)
    return None


def _elsewhere(search: Search, probes: Sequence[Probe], found: Bracket) -> Step | End:
    """Another rate: down while nothing passes, up while nothing fails, else into the widest gap."""
    rates = [probe.rate for probe in probes]
    if found.passes is None:
        if min(rates) <= search.lowest:
            return End("undecided", found, "the lowest rate allowed was not decided")
        rate = max(search.lowest, min(rates) / GROWTH)
        return Step(rate, search.lasting(rate, search.first))
    if found.top is None and (search.highest is None or max(rates) < search.highest):
        if search.highest is None:
            rate = GROWTH * max(rates)
        else:
            rate = min(search.highest, GROWTH * max(rates))
        return Step(rate, search.lasting(rate, search.first))
    above = [*(probe.rate for probe in found.open), *([] if found.top is None else [found.top])]
    gaps = [(found.passes, above[0])]
    if found.open and found.top is not None:
        gaps.append((found.open[-1].rate, found.top))
    low, high = max(gaps, key=lambda gap: gap[1] / gap[0])
    if high <= low * (1 + search.resolution * _FINEST):
        rates_open = " to ".join(
            dict.fromkeys(show_rate(probe.rate) for probe in (found.open[0], found.open[-1]))
        )
        return End(
            "undecided",
            found,
            f"{rates_open} was not decided by up to {search.most:,} requests a probe",
        )
    rate = Fraction(f"{math.sqrt(low * high):.4g}")
    # Where a lower rate was not decided by so many requests, fewer would decide a higher one by
    # luck alone.
    known = [probe.requests for probe in found.open if probe.rate < rate]
    # And where a longer run overturned a PASS, what is near it needs as many.
    known += [
        probe.requests
        for place, probe in enumerate(probes)
        if probe.verdict != "PASS"
        and any(before.rate == probe.rate and before.verdict == "PASS" for before in probes[:place])
    ]
    return Step(rate, search.lasting(rate, max([search.close, *known])))
