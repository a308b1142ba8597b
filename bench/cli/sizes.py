"""How long a run is: `--stretch`, `--size-for` and `--quick`, and the length of one that was given
none.

In: the flags of `run`, its suite. Out: the flags with a length of their own, and sentences for the
screen. Must stay true: a length that somebody gave stays; one that was chosen is said before
anything is sent, and stands in the command that repeats the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from bench.cli.flags import SuiteFlags, parsed
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.app.simulate import VirtualPlan
    from bench.plan.schedule import Plan
    from bench.plan.suite import Suite

#: Beyond this a stretch is a slip of the hand.
_MOST_TIMES = 100_000
#: How long a run without a clause, or a quick look, is: the ad hoc default.
_QUICK = "30 s"

#: How long, where no number says so.
CHOSEN_LENGTH = (
    click.option(
        "--size-for",
        metavar="CLAUSE",
        help="Send so many requests that this clause is decided with a chance of 80 %: its number,"
        " or a part of its text, such as 'p99'.",
    ),
    click.option(
        "--quick",
        is_flag=True,
        help=f"A quick look of {_QUICK}, which may decide nothing.  [default: with --url and"
        " clauses, as long as decides them]",
    ),
    click.option(
        "--stretch",
        metavar="X",
        help="Every stage goes on for X times its length: duration, requests or both.",
    ),
)


def stretch_of(text: str | None) -> Fraction | None:
    """What `--stretch` asks for. Raises UserError."""
    from bench.units import parse_times

    times = parsed("--stretch", parse_times, text)
    if times is not None and not 0 < times <= _MOST_TIMES:
        raise UserError(
            f"must lie above 0 and at most {_MOST_TIMES:,}", where="--stretch", remedy="write 3"
        )
    return times


def with_size(flags: SuiteFlags, suite: Suite) -> tuple[dict[str, Any], list[str]]:
    """Flags that give the run the length that it was given none of, and what is said of it.

    Raises UserError for several lengths, and for a clause that no run decides.
    """
    from bench.judge.contract.chosen_size import size_for, unasked_size
    from bench.judge.contract.sizing import Assumed, size_plan
    from bench.plan.budget import is_remote
    from bench.plan.schedule import compile_plan

    _refuse_several(flags)
    by_flags = flags.suite is None and flags.url is not None and flags.profile is None
    if flags.quick or not suite.stages:
        return {}, [f"a quick look of {_QUICK}: it may decide nothing"] if flags.quick else []
    if flags.size_for is None and (not by_flags or _has_length(flags)):
        return {}, []
    plan = compile_plan(suite, flags.seed)
    sizing = size_plan(plan, Assumed())
    if flags.size_for is not None:
        chosen = size_for(sizing, flags.size_for)
    else:
        remote = any(is_remote(each) for each in suite.stages[0].targets[0].endpoints)
        found = unasked_size(sizing, remote=remote)
        if found is None:
            return {}, []
        chosen = found
    if by_flags:
        measured = sizing.lanes[0].load.requests
        return {"request_count": math.ceil(measured * chosen.times)}, list(chosen.said)
    tenths = Fraction(max(math.ceil(chosen.times * 10), 10), 10)
    return {"stretch": f"{float(tenths):g}"}, list(chosen.said)


def words_of(size: Mapping[str, Any]) -> list[str]:
    """The flags of a chosen size as they are typed."""
    words = []
    for name, value in size.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def undecidable(plan: Plan | VirtualPlan) -> list[str]:
    """What the plan as it is cannot decide; of a rehearsal, whose answers are known, nothing."""
    from bench.judge.contract.chosen_size import cannot_decide
    from bench.judge.contract.sizing import Assumed, size_plan
    from bench.plan.schedule import Plan

    if not isinstance(plan, Plan) or any(lane.expect for lane in plan.lanes):
        return []
    return cannot_decide(size_plan(plan, Assumed()))


def over_quota(plan: Plan | VirtualPlan) -> list[str]:
    """What the plan asks beyond the limits of its targets; of what is computed, nothing."""
    from bench.plan.quota import quota_said
    from bench.plan.schedule import Plan

    return quota_said(plan) if isinstance(plan, Plan) else []


def _has_length(flags: SuiteFlags) -> bool:
    return flags.duration is not None or flags.request_count is not None


def _refuse_several(flags: SuiteFlags) -> None:
    given = {
        "--size-for": flags.size_for is not None,
        "--quick": flags.quick,
        "--stretch": flags.stretch is not None,
        "--duration": flags.duration is not None,
        "--request-count": flags.request_count is not None,
    }
    named = [flag for flag, is_given in given.items() if is_given]
    chosen = [flag for flag in named if flag in ("--size-for", "--quick", "--stretch")]
    if chosen and len(named) > 1:
        other = next(flag for flag in named if flag != chosen[0])
        raise UserError(
            f"does not go with {other}: each says how long the run is",
            where=chosen[0],
            remedy="leave one of them out",
        )
    if flags.quick and (flags.suite is not None or flags.profile is not None or not flags.url):
        raise UserError(
            "is for --url without a profile: a suite has a length of its own",
            where="--quick",
            remedy="use --stretch 0.1 for a tenth of it",
        )
