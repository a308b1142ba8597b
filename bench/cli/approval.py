"""The question before money leaves this machine."""

from __future__ import annotations

import sys
from fractions import Fraction

import click

from bench.errors import UserError
from bench.plan.budget import budget_of, is_remote, question, refuse_beyond
from bench.plan.schedule import Plan


def approve(
    plan: Plan, runs: int, *, max_cost: Fraction | None, max_requests: int | None, yes: bool
) -> Fraction | None:
    """Hold a plan that is played `runs` times against its caps, and ask before money leaves this
    machine.

    Returns each run's part of the cap in USD. Raises UserError for what may not be sent: beyond a
    cap, not agreed to, or with nobody to ask.
    """
    targets = [target for lane in plan.live().lanes for target in lane.target.endpoints]
    if max_cost is None and not any(is_remote(target) for target in targets):
        return None
    budget = budget_of(plan)
    refuse_beyond(budget, max_cost, max_requests, runs)
    if not yes and (asked := question(budget, runs)) is not None:
        _ask(asked)
    return None if max_cost is None else max_cost / runs


def _ask(text: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(f"{text} There is no terminal to ask on", remedy="add --yes to send it")
    if not click.confirm(text, err=True):
        raise UserError("nothing was sent")
