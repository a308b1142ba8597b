"""The verdicts of a run -> one over all of them, and the exit code.

In: the verdicts of clauses and forecasts, the health of the harness, rehearsed answers. Out: a word
and a code. Must stay true: INVALID beats all; PASS needs every judged clause; of several codes the
worst wins.

Source: methods 8.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import ExitCode
from bench.judge.health import Health
from bench.record.records.summary import Overall
from bench.record.records.verdicts import ClauseOutcome, Expectation
from bench.record.run_folder import Run


def overall_verdict(verdicts: Sequence[ClauseOutcome], health: Health) -> Overall:
    """INVALID beats all; FAIL if any; PASS only if all judged clauses pass; NONE without any."""
    judged = [verdict for verdict in verdicts if verdict != "REPORTED"]
    if not judged:
        return "NONE"
    if health.state == "invalid":
        return "INVALID"
    if "FAIL" in judged:
        return "FAIL"
    if all(verdict == "PASS" for verdict in judged):
        return "PASS"
    return "INCONCLUSIVE"


def exit_code(
    run: Run, health: Health, overall: Overall, expects: Sequence[Expectation]
) -> ExitCode:
    """The first of 130, 5, 4, 1, 3, 0 that holds; a suite with `expect` is judged by that alone."""
    if run.state != "complete":
        return ExitCode.INTERRUPTED
    if any(not mistake.expired for mistake in health.mistakes):
        return ExitCode.UNREACHABLE
    if overall == "INVALID":
        return ExitCode.INVALID
    if expects:
        if all(expect.met for expect in expects):
            return ExitCode.PASS
        return ExitCode.FAIL
    return {"FAIL": ExitCode.FAIL, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}.get(
        overall, ExitCode.PASS
    )
