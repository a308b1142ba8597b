"""Clauses on what no row of a plan can have.

In: a stage, one of its targets, the rows planned for it. Out: nothing, or UserError with a remedy.
Must stay true: nothing is sent for a promise that the plan cannot judge.
"""

from __future__ import annotations

import numpy as np

from bench.errors import UserError
from bench.metrics import METRICS
from bench.plan.expectation import UNCHECKED
from bench.plan.own_requests import own_requests
from bench.plan.profile import WARMUP, bucket_names
from bench.plan.rows import Table
from bench.plan.suite import Stage
from bench.plan.target import Target


def makes_tokens(target: Target) -> bool:
    """Whether any of its endpoints answers in tokens."""
    return any(endpoint.spoken.makes_tokens for endpoint in target.endpoints)


def _checks_answers(stage: Stage, target: Target) -> bool:
    own = own_requests(stage.profile.prompts, [each.api for each in target.endpoints])
    return stage.profile.expect_answer is not None or (own is not None and bool(own.expected))


def refuse_clauses_beyond_reach(
    stage: Stage,
    target: Target,
    phases: tuple[str, ...],
    table: Table,
) -> None:
    """Raises UserError for a judged clause on what no row of this lane can have."""
    measured = table[~table["warmup"]]
    contract = stage.contract_of(target)
    for number, clause in enumerate(contract.clauses if contract else (), 1):
        if clause.report_only:
            continue
        metric = METRICS[clause.metric]
        if (metric.streamed or metric.min_tokens) and not makes_tokens(target):
            why = f"answers of {target.endpoints[0].api} have no tokens"
            remedy = "judge e2e or uptime"
        elif metric.streamed and not target.stream:
            why = f"target {target.name!r} answers without streaming"
            remedy = "judge e2e, or let the target stream"
        elif metric.min_tokens > 1 and measured["output_tokens"].max(initial=0) < metric.min_tokens:
            why = "no answer is planned to have a second token"
            remedy = "ask for 2 output tokens or more"
        elif clause.kind.of_answers and not _checks_answers(stage, target):
            why, remedy = UNCHECKED
        elif clause.phase is not None and clause.phase not in set(phases) - {WARMUP}:
            known = ", ".join(name for name in phases if name != WARMUP)
            why = f"profile {stage.profile.name!r} has no judged phase {clause.phase!r}"
            remedy = f"its phases: {known}"
        elif clause.bucket is not None and not np.any(
            measured["bucket"] == bucket_names().index(clause.bucket)
        ):
            why = "no planned prompt falls into that context bucket"
            remedy = "change the profile's prompt_tokens or the clause"
        else:
            continue
        name = contract.name if contract else ""
        raise UserError(
            f"cannot be judged in stage {stage.name!r}: {why}",
            where=f"contract {name}: clause {number} ({clause.text})",
            remedy=remedy,
        )
