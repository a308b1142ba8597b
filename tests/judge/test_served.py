"""Tiers, causes and evidence of a run, held against a server that knows what it did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import anyio
import pytest

from bench.judge.review import Records, records_of
from bench.load.options import Listeners, RunOptions
from bench.load.runner import play
from bench.record.run_folder import Run
from bench.record.samples import CAUSES
from tests.support.downgrading import (
    ASKED,
    OTHER,
    SERVER_MS,
    DowngradingProvider,
    truth_of,
)
from tests.support.heard import on_loop
from tests.support.patience import STEP_S
from tests.support.world import plan_for, text

ROWS = 300
TRUTH = [truth_of(row) for row in range(ROWS)]


@pytest.fixture(scope="module")
def downgraded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """300 requests for priority; half of the answers are served by default."""
    server = DowngradingProvider()
    folder = tmp_path_factory.mktemp("served") / "run"
    plan = plan_for(
        {"kind": "constant", "rate": "400/s"},
        {"base_url": server.url, "tier": ASKED},
        requests=ROWS,
    )

    async def main() -> Path:
        with anyio.fail_after(4 * STEP_S):
            return await play(
                plan,
                text(),
                {"repeat_command": "again"},
                RunOptions(folder=folder),
                Listeners(lambda _: None, lambda *_: None),
            )

    try:
        run = Run(on_loop("asyncio", main))
    finally:
        server.shutdown()
        server.server_close()
    assert set(server.asked.values()) == {ASKED}
    return run


@pytest.fixture(scope="module")
def records(downgraded: Run) -> Records:
    return records_of(downgraded)


def test_every_row_has_the_tier_and_the_cause_of_its_servers_book(downgraded: Run) -> None:
    """300 rows, ten causes, a downgraded half: no row wrong."""
    samples = downgraded.columns.samples
    words, codes = downgraded.strings("served_tier"), downgraded.strings("error_code")
    wrong = []
    for row, truth in enumerate(TRUTH):
        sample = samples[row]
        tier = words[sample["served_tier"]] if sample["served_tier"] >= 0 else None
        code = codes[sample["error_code"]] if sample["error_code"] >= 0 else None
        cause = CAUSES[sample["cause"]].value if sample["cause"] >= 0 else None
        # of an answer that an error ended, what its chunks said of the tier is no answer's
        found = (None if cause else tier, cause, code)
        if found != tuple(truth):
            wrong.append((row, found, truth))
    assert wrong == []


def test_the_summary_counts_tiers_causes_and_time_as_the_server_did(records: Records) -> None:
    """Asked and got, unknown beside them; whose the failures were; what is left of the limits."""
    target = records.summary.targets["t0"]
    answers = Counter(truth.tier for truth in TRUTH if truth.cause is None)
    unknown = answers.pop(None)
    tiers = target.tiers
    assert (tiers.asked, tiers.asked_by, tiers.asked_class) == (ASKED, "request", "priority")
    assert tiers.served == dict(answers)
    assert tiers.unknown == unknown
    assert tiers.classes == {ASKED: "priority", OTHER: "standard"}
    assert tiers.honoured is not None
    assert (tiers.honoured.n, tiers.honoured.of) == (answers[ASKED], answers.total())
    assert tiers.honoured.interval[0] < tiers.honoured.share < tiers.honoured.interval[1]
    assert sum(stretch.answers for stretch in tiers.by_time) == tiers.answers
    assert target.causes == dict(Counter(truth.cause for truth in TRUTH if truth.cause))
    assert target.server_ms is not None
    assert target.server_ms.p50 == target.server_ms.p99 == SERVER_MS
    assert target.server_gap_ms is not None
    assert target.server_gap_ms.n == target.ok
    assert target.headroom is not None
    last = max(row for row, truth in enumerate(TRUTH) if truth.cause != "network")
    assert target.headroom.requests_left == 5000 - last


def test_the_evidence_is_the_servers_names_of_failed_and_slow_requests(records: Records) -> None:
    """Every failure that has a name, each under its own; fifty slow ones."""
    target = records.summary.targets["t0"]
    failed = {each.row: each for each in target.evidence if each.why == "failed"}
    named = {row for row, truth in enumerate(TRUTH) if truth.cause not in (None, "network")}
    assert failed.keys() == named
    assert all(each.request_id == f"req-{row}" for row, each in failed.items())
    assert all((each.cause, each.code) == TRUTH[row][1:] for row, each in failed.items())
    slow = [each for each in target.evidence if each.why == "slow"]
    assert len(slow) == 50
    assert all(TRUTH[each.row].cause is None for each in slow)
    took = [each.response_ms for each in slow]
    assert took == sorted(took, key=lambda ms: -(ms or 0))
