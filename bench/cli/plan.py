"""`tailproof plan`: what a suite would send, without sending it."""

from __future__ import annotations

import click


@click.command(short_help="Show what a suite would send and whether that can decide.")
@click.argument("suite")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the schedule.  [default: the suite's]")
def plan(suite: str, seed: int | None) -> int:
    """Compile SUITE and print, for each target, requests, rate, tokens and what they can decide.

    Nothing is sent.
    """
    from bench.cli.screen import show_plan
    from bench.plan.schedule import compile_plan
    from bench.plan.suite import load_suite

    show_plan(compile_plan(load_suite(suite), seed))
    return 0
