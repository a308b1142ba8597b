"""What a watch probes: lone probes of one stage, what a day of them costs, what they cannot see.

In: a suite of one stage, a rate, a contract. Out: the suite that is watched, sentences. Must stay
true: what cannot go on for days is refused before anything is sent; a cost is an upper bound.
"""

from __future__ import annotations

from fractions import Fraction

from bench.errors import UserError
from bench.plan.arrival_laws import Arrivals
from bench.plan.budget import usd_of
from bench.plan.contract import Contract
from bench.plan.schedule import Plan
from bench.plan.suite import Suite
from bench.units import show_duration


def probing(suite: Suite, rate_per_s: Fraction | None, contract: Contract | None) -> Suite:
    """The suite as it is watched: lone probes evenly apart at this rate (None: as its profile has
    it).

    Raises UserError for what cannot be watched.
    """
    if len(suite.stages) > 1:
        raise UserError(
            "has several stages, and a watch has one",
            where=f"suite {suite.name}",
            remedy="write a suite of one stage with the targets side by side",
        )
    stage = suite.stages[0]
    if any(target.embedded for target in stage.targets):
        raise UserError(
            "an embedded target ends with its run, and a watch is many runs",
            where=f"suite {suite.name}",
            remedy="give the target a base_url; `tailproof gateway` serves the simulator at one",
        )
    if stage.drills:
        raise UserError(
            "has drills, which a watch does not carry out",
            where=f"suite {suite.name}",
            remedy="leave them out",
        )
    profile = stage.profile
    if rate_per_s is not None:
        profile = profile.model_copy(
            update={
                "arrivals": Arrivals(kind="constant", rate=rate_per_s),
                "phases": [],
                "rate_curve": None,
            }
        )
    if profile.arrivals.kind in ("closed", "trace", "recorded"):
        raise UserError(
            f'arrivals of kind "{profile.arrivals.kind}" cannot go on for days',
            where=f"suite {suite.name}",
            remedy="give a --rate",
        )
    profile = profile.model_copy(update={"requests": None, "warmup": 0, "sessions": None})
    held = contract or stage.contract
    stage = stage.model_copy(
        update={"profile": profile, "contract": held, "expect": [], "compare": []}
    )
    return suite.model_copy(update={"stages": [stage]})


def lasting(suite: Suite, duration_ns: int) -> Suite:
    """The suite for one run of this length."""
    stage = suite.stages[0]
    profile = stage.profile.model_copy(update={"duration": duration_ns})
    return suite.model_copy(update={"stages": [stage.model_copy(update={"profile": profile})]})


def most_usd(plan: Plan) -> Fraction:
    """What a plan costs at most by its own token counts.

    Raises UserError for a target without prices.
    """
    total = Fraction(0)
    for lane in plan.lanes:
        rows = plan.schedule[plan.schedule["lane"] == lane.index]
        tokens = [int(rows[name].sum(dtype="int64")) for name in ("prompt_tokens", "output_tokens")]
        dearest = []
        for target in lane.target.endpoints:
            if (prices := target.prices) is None:
                raise UserError(
                    f"{target.title} has no prices",
                    where="--max-cost-per-day",
                    remedy="add [prices] to it, or leave the flag out",
                )
            dearest.append(usd_of(prices, *tokens))
        total += max(dearest)
    return total


def resolution(suite: Suite) -> list[str]:
    """Sentences on what probes this far apart cannot see (methods 3.4)."""
    stage = suite.stages[0]
    per_min = float(stage.profile.arrivals.rate or 0) * 60
    said = [f"an outage shorter than {show_duration(60e9 / per_min)} may go unseen"]
    if per_min < 1:
        said.append(
            "minutes without a probe count as unobserved; a month decided by minutes needs one"
            " probe a minute"
        )
    rated = [
        (clause.text, float(clause.error_rate))
        for clause in (stage.contract.clauses if stage.contract else ())
        if clause.error_rate
    ]
    return said + [
        f"{text}: at {per_min:g} probes a minute a single failure is above its error rate;"
        f" {1 / rate:g} a minute would do"
        for text, rate in rated
        if per_min * rate < 1
    ]
