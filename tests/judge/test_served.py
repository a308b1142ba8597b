"""Tiers, causes and evidence of a run, held against a server that knows what it did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import anyio
import numpy as np
import pytest
from scipy import stats

from bench.judge.attribution.factors import factors_of
from bench.judge.review import Records, records_of
from bench.judge.telemetry import run_metrics
from bench.load.options import Listeners, RunOptions
from bench.load.runner import play
from bench.record.records.served import Honoured, TierCounts, Tiers
from bench.record.request_log import Reading, read_log
from bench.record.run_folder import Run
from bench.record.samples import CAUSES, Flag
from bench.show.export import rows_of
from bench.show.served import served_screen, tier_sentence
from tests.support.downgrading import (
    ASKED,
    OTHER,
    SERVER_MS,
    DowngradingProvider,
    truth_of,
)
from tests.support.heard import on_loop
from tests.support.patience import STEP_S
from tests.support.screens import whole_markdown
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
        on_loop("asyncio", main)
    finally:
        server.shutdown()
        server.server_close()
    forget_standstills(folder)
    run = Run(folder)
    assert set(server.asked.values()) == {ASKED}
    return run


def forget_standstills(folder: Path) -> None:
    """A busy machine stands still for moments, and nobody judges what was under way: here every row
    counts.
    """
    path = folder / "samples" / "rows.npy"
    rows = np.load(path)
    rows["flags"] &= ~np.array(Flag.HELD_UP, rows["flags"].dtype)
    np.save(path, rows)


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


def test_monitoring_systems_get_tiers_causes_and_server_time(
    downgraded: Run, records: Records
) -> None:
    """The same counts as the server's book, over all phases."""
    metrics = {
        metric.name: metric.points
        for metric in run_metrics(downgraded, records.summary, records.verdicts)
    }
    tiers = Counter[str]()
    for point in metrics["tailproof.answers"]:
        tiers[f"{point.labels['served_tier']} {point.labels['tier_class']}"] += int(point.value)
    answers = Counter(truth.tier for truth in TRUTH if truth.tier)
    assert tiers == {
        f"{ASKED} priority": answers[ASKED],
        f"{OTHER} standard": answers[OTHER],
    }
    causes = Counter[str]()
    for point in metrics["tailproof.failures"]:
        causes[point.labels["cause"]] += int(point.value)
    assert causes == Counter(truth.cause for truth in TRUTH if truth.cause)
    timed = sum(sum(point.counts) for point in metrics["tailproof.server.duration"])
    assert timed == records.summary.targets["t0"].ok


def test_the_served_tier_is_a_factor_of_the_tail(downgraded: Run) -> None:
    """Answers that name none take no part."""
    columns = downgraded.columns
    factors = factors_of(columns, downgraded.lanes[0], downgraded.strings)
    (found,) = (factor for factor in factors if factor.name == "served tier")
    assert set(found.levels) >= {ASKED, OTHER}
    named = [found.levels[code] if code >= 0 else None for code in found.codes]
    wrong = [
        row for row, truth in enumerate(TRUTH) if truth.cause is None and named[row] != truth.tier
    ]
    assert wrong == []


def test_the_rows_of_a_run_say_it_too(downgraded: Run) -> None:
    """In columns of their own, in words."""
    (cells,) = rows_of(downgraded)
    for row, truth in enumerate(TRUTH):
        if truth.cause is None:
            assert cells["served_tier"][row] == truth.tier
            assert cells["server_ms"][row] == SERVER_MS
        assert cells["cause"][row] == truth.cause
        assert cells["error_code"][row] == truth.code


def test_page_and_screen_say_what_was_asked_and_what_came(
    downgraded: Run, records: Records
) -> None:
    """One line for the tiers, one for the causes; whose they are; the ids to ask about."""
    answers = Counter(truth.tier for truth in TRUTH if truth.tier)
    lines = {node.label: node.text for node in served_screen(records.summary)}
    asked = f"{ASKED} asked for, {answers[ASKED]} of {answers.total()} answers by it ("
    assert lines["tier"].startswith(asked)
    assert f"{answers[OTHER]} {OTHER}" in lines["tier"]
    causes = Counter(truth.cause for truth in TRUTH if truth.cause)
    assert f"yours {causes['quota']} quota" in lines["causes"]
    assert f"theirs {causes['capacity']} capacity, {causes['overload']} overload" in lines["causes"]
    page = whole_markdown(downgraded, records)
    for said in ("When which tier answered", "Why requests failed", "req-0", "least left of your"):
        assert said in page


def test_a_log_has_causes_by_status_and_code(tmp_path: Path) -> None:
    """Without a word of the vendor the status decides; with one it goes first."""
    lines = ["at,status,latency_ms,code"]
    cells = [("200", ""), ("429", ""), ("429", "insufficient_quota"), ("503", ""), ("400", "")]
    for second, (status, code) in enumerate(cells):
        lines.append(f"2026-11-01T00:00:0{second}Z,{status},100,{code}")
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    found = read_log([path], Reading()).columns.samples["cause"]
    named = [CAUSES[number].value if number >= 0 else None for number in found]
    assert named == [None, "quota", "spend", "overload", "request"]


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        # 95 % limits of 5 of 100 end below those of 105 of 200
        ({"calm": (100, 0), "burst": (5, 95)}, "least in phase burst (5 %)"),
        ({"calm": (52, 48), "burst": (50, 50)}, ""),
        ({"calm": (100, 0)}, ""),
    ],
)
def test_the_screen_names_the_part_that_was_surely_served_less(
    phases: dict[str, tuple[int, int]], said: str
) -> None:
    """Only where the interval of the part ends below that of the whole."""

    def counts(pairs: list[tuple[int, int]]) -> dict[str, object]:
        ours, others = (sum(column) for column in zip(*pairs, strict=True))
        limits = stats.binomtest(ours, ours + others).proportion_ci(0.95)
        share = {"words": [ASKED], "n": ours, "of": ours + others, "share": ours / (ours + others)}
        honoured = Honoured.model_validate({**share, "interval": (limits.low, limits.high)})
        return {"served": {ASKED: ours, OTHER: others}, "honoured": honoured}

    tiers = Tiers(
        asked=ASKED,
        asked_by="request",
        by_phase={name: TierCounts.model_validate(counts([n])) for name, n in phases.items()},
        **counts(list(phases.values())),
    )
    sentence = tier_sentence(tiers)
    assert ("least" in sentence) is bool(said)
    assert said in sentence
