"""A tier as it was bought beside the tier as it was served.

In: two arms whose answers say which tier served them. Out: the comparison of what the asked tier
served alone, what the other tier served in its place, and what that costs at list prices. Must stay
true: the comparison that decides is of all requests, as bought; what was honoured was chosen by the
provider, and the record says so; money only where both prices are known.
"""

from __future__ import annotations

import numpy as np

from bench.judge.compare.arms import AS_ASKED, ELSEWHERE, FAILED, UNNAMED, Arm
from bench.judge.compare.compare import Question, part_of
from bench.record.records.comparisons import AsServed, Comparison, ServedArm

BIAS = (
    "the provider chooses which requests it honours, perhaps those that are easy to serve (short"
    " prompts, quiet minutes): this compares its choice, not what was bought"
)


def with_served(record: Comparison, baseline: Arm, other: Arm, question: Question) -> Comparison:
    """The record, and where answers came from another tier than was asked for, as served."""
    if not any(_count(arm, ELSEWHERE) for arm in (baseline, other)):
        return record
    part, _ = part_of(_honoured(baseline), _honoured(other), question, None)
    return record.replace(
        as_served=AsServed(
            comparison=part,
            baseline=_served(baseline, other),
            other=_served(other, baseline),
            bias=BIAS,
        )
    )


def _count(arm: Arm, kind: int) -> int:
    return 0 if arm.tier is None else int((arm.tier == kind).sum())


def _honoured(arm: Arm) -> Arm:
    """Answers by the tier that was asked for, and failures, which name none."""
    if arm.tier is None:
        return arm
    return arm.where(np.isin(arm.tier, (AS_ASKED, FAILED)))


def _served(arm: Arm, counterpart: Arm) -> ServedArm | None:
    """What served an arm; None where no answer of it names a tier that can be compared."""
    if arm.tier is None:
        return None
    as_asked, elsewhere = _count(arm, AS_ASKED), _count(arm, ELSEWHERE)
    found = ServedArm(
        asked=arm.facts["asked"],
        as_asked=as_asked,
        elsewhere=elsewhere,
        unknown=_count(arm, UNNAMED),
        share_elsewhere=elsewhere / (as_asked + elsewhere) if as_asked + elsewhere else None,
        extra_usd=None,
        extra_usd_per_1000_requests=None,
    )
    if not elsewhere:
        return found
    ours, theirs = (each.facts.get("usd_per_million") for each in (arm, counterpart))
    if ours is None or theirs is None:
        return found.replace(reason="no price is known of both tiers")
    dearer = [a - b for a, b in zip(ours, theirs, strict=True)]
    tokens = arm.facts["elsewhere_tokens"]
    extra = sum(n * usd for n, usd in zip(tokens, dearer, strict=True)) / 1_000_000
    if extra <= 0:
        return found.replace(reason="it costs no more than what it is compared with")
    return found.replace(extra_usd=extra, extra_usd_per_1000_requests=1000 * extra / len(arm))
