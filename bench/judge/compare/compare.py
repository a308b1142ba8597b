"""Two arms held against each other: is the other better than the baseline, and is it worth its
price?

In: two arms and the question put to them. Out: one JSON record. Must stay true: the ratio of the
p99 decides, other over baseline, failures counted as slower than anything; both arms of a
superblock are resampled together; BETTER and WORSE look both ways and share the error between
them, a claim about the margin has the error on its own side; where rows, superblocks or successes
are too few there is a reason in place of a number.

Source: methods 4 (estimand, superblock bootstrap, five-way outcome with a margin, power).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np

from bench.judge.compare.arms import Arm, differences, one_after_the_other
from bench.judge.compare.exceedance import SMALL, exceedance
from bench.judge.compare.shift import permutation, shift_function
from bench.judge.stats.resample import LEAST, RESAMPLES, Sampled, percentile_limits, sample, slot_ns
from bench.judge.stats.tail import quantile_nearest_rank
from bench.quantiles import P50, P95, P99, P999, by_key
from bench.record.samples import Float, Int
from bench.units import MS, show_ratio, show_share

#: Outcomes that say "there is a difference": they must hold without the superblock that speaks most
#: for them.
DIFFERENCES = ("BETTER", "MATERIALLY_BETTER", "WORSE")
CONFIDENCE, ALPHA = 0.95, 0.05
COMPARED = by_key(P50, P95, P99, P999)
SHIFT = (*(Fraction(tenth, 10) for tenth in range(1, 10)), P95, P99)
#: So many rows an arm must lie beyond a quantile before it is compared: p99 from 1,000 rows, p99.9
#: from 10,000.
BEYOND = 10
#: Rows without a known end that a comparison bears, as a share of the rows beyond the p99.
OPEN_ENDED_MOST = 0.1
_POWER_Z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of two arms."""

    margin: Fraction = Fraction(1, 10)
    seed: int = 1
    #: "random", "abba", "side by side" or "one after the other"
    design: str = "side by side"
    #: length of an ABBA unit; None for slots
    unit_ns: int | None = None
    limit_ns: int | None = None
    yearly_usd: float | None = None


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
        return self.other / self.baseline if self.baseline else math.inf

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
        return math.exp(_POWER_Z * float(logs.std(ddof=1))) if np.isfinite(logs).all() else None

    def record(self) -> dict[str, Any]:
        """JSON; None for what lies among failures."""
        return {
            "baseline_ms": finite(self.baseline / MS),
            "other_ms": finite(self.other / MS),
            "ratio": finite(self.value) if math.isfinite(self.baseline) else None,
            "interval": [finite(limit) if limit > 0 else None for limit in self.limits(ALPHA / 2)],
            "mde": self.mde,
        }


def finite(value: float) -> float | None:
    """The number, or None where there is no such bound."""
    return value if math.isfinite(value) else None


def compare_arms(baseline: Arm, other: Arm, question: Question) -> dict[str, Any]:
    """The whole comparison: the run, each of its phases and each context bucket."""
    record, sampled = part_of(baseline, other, question, None)
    if sampled is not None:
        allowed = [q for q in SHIFT if enough(baseline, other, q)]
        record["shift"] = shift_function(sampled, allowed, ALPHA)
        record["permutation"] = permutation(sampled, P99, question.seed)
    else:
        record["shift"], record["permutation"] = [], None
    record["price"] = price(baseline, other, record, question)
    for kind in ("phase", "bucket"):
        record[f"by_{kind}"] = _parts(baseline, other, question, kind)
    return {
        "baseline": _about(baseline),
        "other": _about(other),
        "metric": baseline.metric,
        "margin": float(question.margin),
        "confidence": CONFIDENCE,
        "design": question.design,
        "resamples": RESAMPLES,
        "seed": question.seed,
        "warnings": _warnings(baseline, other),
        "aa": None,
        **record,
    }


def _about(arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "run": arm.facts["run"],
        "n": len(arm),
        "failed": int(np.isinf(arm.values).sum()),
        "undecided": arm.undecided,
        "usd_per_request": arm.facts["usd_per_request"],
    }


def _warnings(baseline: Arm, other: Arm) -> list[str]:
    """What a reader must know before the first number."""
    said = [f"compared by force: {reason}" for reason in differences(baseline, other)]
    if one_after_the_other(baseline, other):
        said.append(
            "measured one after the other: a drift between the two looks like a difference; "
            "interleave the arms in one run to tell them apart"
        )
    if baseline.facts["closed_loop"] or other.facts["closed_loop"]:
        said.append(
            "a closed loop asks a slower server less often: the arms did not meet the same load"
        )
    said += [
        f"{arm.name}: without the requests that {' and '.join(gone)} sent"
        for arm in (baseline, other)
        if (gone := arm.facts.get("left_out"))
    ]
    return said


def enough(baseline: Arm, other: Arm, q: Fraction) -> bool:
    """Whether both arms have rows enough beyond the q-quantile to compare it."""
    return min(len(baseline), len(other)) * (1 - q) >= BEYOND


def _parts(baseline: Arm, other: Arm, question: Question, kind: str) -> dict[str, Any]:
    """The comparison within each phase or bucket, by name, that both arms have rows in; none where
    there is only one.
    """
    listed = "phases" if kind == "phase" else "buckets"
    parts = {}
    for name in baseline.facts[listed]:
        if name not in other.facts[listed]:
            continue  # two load profiles, compared by force
        first, second = (
            arm.where(getattr(arm, kind) == arm.facts[listed].index(name))
            for arm in (baseline, other)
        )
        if len(first) and len(second):
            parts[name] = part_of(first, second, question, name if kind == "phase" else None)[0]
    return parts if len(parts) > 1 else {}


def part_of(
    baseline: Arm, other: Arm, question: Question, phase: str | None
) -> tuple[dict[str, Any], Sampled | None]:
    """Ratios, exceedance and outcomes of two arms, and the resamples they rest on."""
    reason = _unfit(baseline, other)
    if reason is not None:
        nothing = {"superblocks": 0, "ratios": {}, "exceedance": None}
        return {**nothing, **undecided(reason), "regression": undecided(reason)}, None
    unit, places = places_of(baseline, other, question, phase)
    sampled = sample((baseline.values, other.values), places, unit, question.seed)
    kept = {name: q for name, q in COMPARED.items() if enough(baseline, other, q)}
    ratios = {} if sampled is None else _ratios(sampled, kept)
    less = (
        None
        if sampled is None or "p99" not in ratios
        else _without_most_telling(sampled, ratios["p99"], question.seed)
    )
    limit: float | None = question.limit_ns
    if limit is None and (
        min(len(baseline), len(other)) < SMALL or (sampled is not None and "p99" not in ratios)
    ):
        pooled = np.sort(np.concatenate([baseline.values, other.values]))
        limit = float(min(quantile_nearest_rank(pooled, P99), pooled[np.isfinite(pooled)].max()))
    over = (
        None
        if limit is None
        else exceedance(baseline.values, other.values, limit, sampled, ALPHA / 2)
    )
    unfit = next((arm.facts["unfit"] for arm in (baseline, other) if arm.facts["unfit"]), None)
    blamed = None if unfit is None else undecided(f"the harness was not fit to judge: {unfit}")
    return {
        "superblocks": 0 if sampled is None else sampled.number,
        "ratios": {name: ratio.record() for name, ratio in ratios.items()},
        "exceedance": over,
        **(
            blamed
            or _outcome(baseline, other, ratios.get("p99"), less, over, question.margin, sampled)
        ),
        "regression": blamed or _regression(ratios.get("p99"), less, question.margin),
    }, sampled


def _ratios(sampled: Sampled, wanted: Mapping[str, Fraction]) -> dict[str, Ratio]:
    """The ratio of each quantile that does not lie among the failures of both arms."""
    drawn = sampled.ratios(list(wanted.values()))
    found = {}
    for column, (name, q) in enumerate(wanted.items()):
        seen = [float(quantile_nearest_rank(arm.values, q)) for arm in sampled.arms]
        if any(map(math.isfinite, seen)):
            found[name] = Ratio(seen[0], seen[1], drawn[:, column], sampled.number)
    return found


def _without_most_telling(sampled: Sampled, p99: Ratio, seed: int) -> Ratio | None:
    """The p99 ratio without the superblock that speaks most for the difference seen: one spell
    proves no tier slower.
    """
    q = P99
    return _ratios(sampled.without_most_telling(q, seed, slower=p99.value > 1), {"p99": q}).get(
        "p99"
    )


def places_of(
    baseline: Arm, other: Arm, question: Question, phase: str | None
) -> tuple[int, tuple[Int, Int]]:
    """Length of a superblock, and where on the shared clock each row lies.

    Slots are of the time that the phase takes, its spells put together; ABBA units are of the
    run's clock, for they mean something only there.
    """
    spans = np.array(baseline.spans(None if question.unit_ns else phase) or [(0, 1)], np.int64)
    before = np.concatenate([[0], np.cumsum(spans[:, 1] - spans[:, 0])])

    def place(at_ns: Int) -> Int:
        span = np.maximum(np.searchsorted(spans[:, 0], at_ns, side="right") - 1, 0)
        inside = np.clip(at_ns - spans[span, 0], 0, spans[span, 1] - spans[span, 0] - 1)
        placed: Int = before[span] + inside
        return placed

    return question.unit_ns or slot_ns(int(before[-1])), (place(baseline.at_ns), place(other.at_ns))


def _unfit(baseline: Arm, other: Arm) -> str | None:
    """Why the rows allow no comparison at all."""
    for arm in (baseline, other):
        if not len(arm):
            return f"{arm.name} has no rows"
        if not np.isfinite(arm.values).any():
            return f"no request of {arm.name} succeeded: it has no latency to compare"
        most = OPEN_ENDED_MOST * float(1 - P99)
        if arm.undecided > most * (len(arm) + arm.undecided):
            return f"{arm.undecided:,} rows of {arm.name} were cut off before their end was known"
    return None


def undecided(reason: str) -> dict[str, Any]:
    """INCONCLUSIVE and why."""
    return {"outcomes": ["INCONCLUSIVE"], "headline": "INCONCLUSIVE", "reason": reason}


def outcomes(
    two_sided: tuple[float, float], one_sided: tuple[float, float], margin: Fraction
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


def _outcome(
    baseline: Arm,
    other: Arm,
    p99: Ratio | None,
    less: Ratio | None,
    over: Mapping[str, Any] | None,
    margin: Fraction,
    sampled: Sampled | None,
) -> dict[str, Any]:
    """Outcomes, the headline and one sentence of reason.

    `less` is the ratio without the most telling superblock.
    """
    if min(len(baseline), len(other)) < SMALL and over is not None:
        return _by_fisher(over)
    if sampled is None:
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
    again = outcomes(less.limits(ALPHA / 2), less.limits(ALPHA), margin) if less is not None else []
    held = [name for name in whole if name not in DIFFERENCES or name in again] or ["INCONCLUSIVE"]
    low, high = p99.limits(ALPHA / 2)
    said = f"p99 ratio {_number(p99.value)} ({_number(low)} to {_number(high)})"
    failing = next(
        (
            arm.name
            for arm, value in ((baseline, p99.baseline), (other, p99.other))
            if math.isinf(value)
        ),
        None,
    )
    if failing is not None:
        said = f"the p99 of {failing} lies among its failures, so there is no ratio"
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
    return {"outcomes": held, "headline": held[0], "reason": said}


def _number(ratio: float) -> str:
    if not 0 < ratio < math.inf:
        return "no bound"
    return show_ratio(ratio)


def _by_fisher(over: Mapping[str, Any]) -> dict[str, Any]:
    """Below 1,000 rows an arm the tail is a count: more misses or fewer, nothing about a margin."""
    baseline, other = over["baseline"], over["other"]
    said = (
        f"{other['over']:,} of {other['n']:,} against {baseline['over']:,} of {baseline['n']:,}"
        f" over {over['limit_ms']:g} ms, Fisher p {over['fisher_p']:.2g}; a p99 ratio takes"
        f" {SMALL:,} requests an arm"
    )
    held = (
        "INCONCLUSIVE"
        if over["fisher_p"] > ALPHA
        else "BETTER"
        if over["difference"] < 0
        else "WORSE"
    )
    return {"outcomes": [held], "headline": held, "reason": said}


def _regression(p99: Ratio | None, less: Ratio | None, margin: Fraction) -> dict[str, Any]:
    """The gate: WORSE beyond the margin fails, also without the most telling superblock; shown to
    be within it passes.
    """
    if p99 is None:
        return undecided("without a p99 ratio a regression can be neither shown nor excluded")
    low, high = p99.limits(ALPHA)
    most = 1 / float(1 - margin)
    fails = low > most and less is not None and less.limits(ALPHA)[0] > most
    verdict = "FAIL" if fails else "PASS" if high < most else "INCONCLUSIVE"
    return {
        "headline": verdict,
        "outcomes": [verdict],
        "reason": (
            f"p99 ratio {_number(low)} to {_number(high)}, one-sided; up to {_number(most)} is"
            " within the margin"
        ),
    }


def price(
    baseline: Arm, other: Arm, record: Mapping[str, Any], question: Question
) -> dict[str, Any]:
    """What the other arm costs more, a millisecond of p99 gained and an avoided miss; a reason
    where there is no number.
    """
    costs = [arm.facts["usd_per_request"] for arm in (baseline, other)]
    priced: dict[str, Any] = {
        "yearly_usd": question.yearly_usd,
        "extra_usd_per_request": None,
        "usd_per_1000_requests_per_ms": None,
        "usd_per_avoided_miss": None,
        "requests_per_breach": None,
    }
    for arm, cost in zip((baseline, other), costs, strict=True):
        if not cost:
            return priced | {
                "reason": (
                    f"{arm.name} has"
                    f" {'a price of zero' if cost == 0 else 'no price or no token counts'}"
                )
            }
    extra = costs[1] - costs[0]
    priced["extra_usd_per_request"] = extra
    if extra <= 0:
        return priced | {"reason": f"{other.name} costs no more than {baseline.name}"}
    if baseline.facts["breach_usd"] is not None:
        priced["requests_per_breach"] = baseline.facts["breach_usd"] / extra
    over, p99 = record["exceedance"], record["ratios"].get("p99")
    if over is not None and over["interval"][1] < 0:
        priced["usd_per_avoided_miss"] = extra / -over["difference"]
    if "BETTER" not in record["outcomes"]:
        return priced | {"reason": "no gain is shown, so a millisecond has no price"}
    if p99 is None or p99["ratio"] is None:
        return priced | {"reason": "the gain has no size in ms"}
    priced["usd_per_1000_requests_per_ms"] = 1000 * extra / (p99["baseline_ms"] - p99["other_ms"])
    return priced | {"reason": None}
