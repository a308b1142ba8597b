"""The question before money leaves this machine."""

from __future__ import annotations

import sys
from fractions import Fraction

import click

from bench.cli.adhoc import parsed
from bench.errors import UserError
from bench.plan.budget import budget_of, is_remote, question, refuse_beyond
from bench.plan.schedule import compile_plan
from bench.plan.suite import Suite
from bench.units import parse_usd


def approve(
    suite: Suite, seed: int, runs: int, *, max_cost: str | None, max_requests: int | None, yes: bool
) -> Fraction | None:
    """Hold a suite that is played `runs` times against its caps, and ask before money leaves this
    machine.

    Returns each run's part of the cap in USD. Raises UserError for what may not be sent: beyond a
    cap, not agreed to, or with nobody to ask.
    """
    cap = None if max_cost is None else Fraction(parsed("--max-cost", parse_usd, max_cost))
    live = [target for stage in suite.stages if not stage.simulated for target in stage.targets]
    if cap is None and not any(
        is_remote(endpoint) for target in live for endpoint in target.endpoints
    ):
        return None
    budget = budget_of(compile_plan(suite, seed))
    refuse_beyond(budget, cap, max_requests, runs)
    if not yes and (asked := question(budget, runs)) is not None:
        _ask(asked)
    return None if cap is None else cap / runs


def _ask(text: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(f"{text} There is no terminal to ask on", remedy="add --yes to send it")
    if not click.confirm(text, err=True):
        raise UserError("nothing was sent")
