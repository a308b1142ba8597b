"""Contracts of one tier on live runs: what another tier served, and answers that do not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.judge.contract.verdict import judge_run
from bench.record.records.verdicts import ClauseVerdict
from bench.record.samples import CAUSES, Outcome
from tests.support.rows_by_hand import (
    VALID,
    Row,
    answered,
    at_most,
    contract_of,
    evenly,
    failed,
    lane_of,
    run_of,
    uptime,
)

WORDS = ["priority", "default", "fast", "gold"]
ASKED, OTHER, ALIAS, STRANGE, SILENT = 0, 1, 2, 3, -1
ELSEWHERE = {"reason": "served by another tier", "kind": "served_elsewhere"}


def judged(
    folder: Path, rows: list[Row], lane: Row | None = None, **contract: Any
) -> tuple[ClauseVerdict, list[str]]:
    """The one clause of a contract of priority, and the terms that were not applied."""
    terms = {"exclusion": [ELSEWHERE], "scope": {"tier": "priority"}, **contract}
    agreed = contract_of(at_most(800), **terms)
    more = {"tier": "priority", **(lane or {})}
    run = run_of(folder, evenly(rows), lane_of(agreed, **more), strings={"served_tier": WORDS})
    verdicts = judge_run(run, VALID)
    return verdicts.clauses[0], verdicts.not_applied


def good(n: int, tier: int) -> list[Row]:
    return [answered(100, due=1000, phase=1, served_tier=tier) for _ in range(n)]


def slow(n: int, tier: int) -> list[Row]:
    return [answered(900, due=1000, phase=1, served_tier=tier) for _ in range(n)]


@pytest.mark.parametrize(
    ("rows", "verdict", "n", "says"),
    [
        # 598 rows that keep it prove a p99 (0.99^298 < 5 %): by the asked word, or its other name
        (good(598, ASKED), "PASS", 598, ""),
        (good(598, ALIAS), "PASS", 598, ""),
        # a downgraded half did not test the contract
        (good(300, ASKED) + good(300, OTHER), "INCONCLUSIVE", 300, "served by another tier"),
        # a few are set aside, however slow
        (good(598, ASKED) + slow(20, OTHER), "PASS", 598, ""),
        # nobody says who served: whatever was seen proves nothing of the tier
        (good(598, SILENT), "INCONCLUSIVE", 598, "598 of 598 answers do not say"),
        (good(598, STRANGE), "INCONCLUSIVE", 598, "do not say which tier"),
        (slow(598, SILENT), "INCONCLUSIVE", 598, "that are bad this would be no FAIL"),
        # enough say so to decide without the rest
        (good(598, ASKED) + good(200, SILENT), "PASS", 798, ""),
        (good(250, ASKED) + good(348, SILENT), "INCONCLUSIVE", 598, "348 of 598"),
        (good(500, ASKED) + slow(60, ASKED) + slow(40, SILENT), "FAIL", 600, ""),
        (good(560, ASKED) + slow(40, SILENT), "INCONCLUSIVE", 600, "40 of 600"),
    ],
)
def test_a_contract_of_a_tier_is_judged_by_its_answers(
    rows: list[Row], verdict: str, n: int, says: str, tmp_path: Path
) -> None:
    """What another tier served is set aside; what nobody knows is counted both ways."""
    clause, not_applied = judged(tmp_path / "run", rows)
    assert (clause.verdict, clause.n) == (verdict, n)
    assert says in clause.reason
    silent = all(row["served_tier"] == SILENT for row in rows)
    assert len(not_applied) == silent


@pytest.mark.parametrize(
    "lane", [{"simulated": True}, {"tier": ""}, {"tier": "provisioned"}, {"tier": "pro"}]
)
def test_where_no_answer_has_a_tier_to_name_the_rule_is_not_applied(
    lane: Row, tmp_path: Path
) -> None:
    """Rows played in virtual time, a tier that nobody asked for or that model and deployment mean:
    said so, and judged as a whole.
    """
    clause, not_applied = judged(tmp_path / "run", good(598, SILENT), lane)
    assert (clause.verdict, clause.n) == ("PASS", 598)
    assert ["tier column" in why for why in not_applied] == [True]


def test_failures_are_set_aside_by_cause(tmp_path: Path) -> None:
    """Forty of our own quota are no downtime; one of the server's is counted."""

    def fault(cause: str, outcome: Outcome) -> Row:
        return failed(outcome, due=1000, phase=1, cause=CAUSES.index(cause))

    rows = good(598, ASKED) + [fault("quota", Outcome.rate_limited)] * 40
    rows += [fault("server", Outcome.http_5xx)]
    rule = {"reason": "our own quota", "kind": "cause", "cause": ["quota", "spend"]}
    agreed = contract_of(uptime("95%"), exclusion=[rule])
    run = run_of(tmp_path / "run", evenly(rows), lane_of(agreed), strings={"served_tier": WORDS})
    (clause,) = judge_run(run, VALID).clauses
    assert (clause.verdict, clause.n, clause.k) == ("PASS", 599, 1)
    assert clause.excluded == {"our own quota": 40}
    assert clause.with_excluded is not None
    assert (clause.with_excluded.n, clause.with_excluded.k) == (639, 41)


def test_a_record_without_causes_names_the_rule_that_cannot_be_applied(tmp_path: Path) -> None:
    """Of an earlier version's rows nobody says whose fault they were."""
    rows = good(598, ASKED) + [failed(Outcome.rate_limited, due=1000, phase=1)] * 2
    rule = {"reason": "our own quota", "kind": "cause", "cause": ["quota"]}
    agreed = contract_of(uptime("95%"), exclusion=[rule])
    run = run_of(tmp_path / "run", evenly(rows), lane_of(agreed))
    found = judge_run(run, VALID)
    assert found.clauses[0].n == 600
    assert found.not_applied == ["c: our own quota: not applied, for there is no cause column"]
