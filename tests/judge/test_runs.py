"""Several runs judged with the run as the unit: the pooled weight by hand, the bound against the
verdict over drawn runs, what is refused, and what the record says.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.errors import UserError
from bench.judge.runs.counted import Counted
from bench.judge.runs.judged import judge_together
from bench.judge.runs.lost import Lost, at_the_ends
from bench.judge.runs.rule import Rule, pool
from bench.judge.runs.together import together
from bench.judge.stats.scales import Weight, lay_out
from bench.judge.stats.stretches import Stretches
from bench.judge.stats.tail import clopper_pearson
from bench.plan.clause import Clause
from bench.record.files import write_json
from bench.record.records.manifest import Manifest
from bench.record.records.runs import RunsRecord, RunStart
from bench.record.records.verdicts import Verdicts
from bench.record.run_folder import RunWriter
from bench.record.samples import Outcome
from bench.show.runs import of_whom, runs_document, sentences
from tests.support.rows_by_hand import (
    answered,
    at_most,
    columns_of,
    contract_of,
    failed,
    lane_of,
    run_of,
    uptime,
)

S, MS = 10**9, 10**6
BEGAN = 1_795_514_651 * S


def minutes_up(share: str, minutes: int) -> Clause:
    return uptime(share, method="downtime_minutes", error_rate="50%", minutes=minutes)


def windows(limit_ms: int, share: str) -> Clause:
    return Clause(
        metric="e2e",
        statistic="share_of_windows",
        limit=f"{limit_ms}ms",
        share=share,
        window="5min",
    )


def single(bad: float, rows: float) -> Weight:
    """A run whose bad rows came one by one."""
    return Weight(bad, rows, bad, 1.0, 30)


# ---- the pooled weight


def test_runs_that_are_alike_are_one_sample() -> None:
    """Ten of 500 rows with 2 bad each: nothing lies between them, and the limits are exact."""
    found = pool([single(2, 500)] * 10, 0.05)
    assert (found.weight.y, found.weight.n, found.weight.v, found.weight.w) == (20, 5000, 20, 1)
    assert found.between == 0
    assert found.weight.limits(0.05) == pytest.approx(clopper_pearson(20, 5000, 0.05))


def test_runs_that_differ_are_weighed_by_hand() -> None:
    """One of ten has all 40 bad rows: of their variance 40 is within the runs.

    Between: 10/9 · (36² + 9 · 4²) = 1,600, at t₉ / z = 1.8331 / 1.6449; the worst run has 36 above
    its share of 4, and 4.4 of them are chance. Ten runs are half of those that tell how bad a
    further one may be: three and a half times as much, not twice.
    """
    found = pool([single(40, 500), *[single(0, 500)] * 9], 0.05)
    assert found.weight.v == pytest.approx(1600 * (1.8331 / 1.6449) ** 2, rel=1e-3)
    assert found.weight.w == pytest.approx(1 + 3.5 * (36 - 2.2 * 2 - 1))
    assert found.between == pytest.approx(1 - 40 / 1600)
    assert found.worst == 0


def test_a_longer_run_has_its_share() -> None:
    """Twice the rows, twice the bad rows: no more than its share, so nothing lies between."""
    found = pool([single(4, 1000), *[single(2, 500)] * 9], 0.05)
    assert found.between == 0
    assert found.weight.w == 1


def test_with_none_bad_the_stand_in_decides() -> None:
    """(1 - p0)^(n / spell) <= alpha."""
    weights = [single(0, 300)] * 10
    assert pool(weights, 0.05).weight.passes(Fraction(1, 1000), 0.05)
    assert pool(weights, 0.05, spell=1.001).weight.passes(Fraction(1, 1000), 0.05)
    assert not pool(weights, 0.05, spell=1.1).weight.passes(Fraction(1, 1000), 0.05)


# ---- the rule


def drawn(rng: np.random.Generator, rows: int, spread: float) -> Counted:
    """Lognormal latencies of a run with a level of its own; some rows unknown or failed."""
    level = rng.lognormal(0, spread)
    values = (rng.lognormal(0, 0.5, rows) * level * 100 * MS).astype(np.int64)
    unknown = rng.random(rows) < 0.002
    values[unknown | (rng.random(rows) < 0.004)] = np.iinfo(np.int64).max
    at_ns = np.arange(rows, dtype=np.int64) * 10 * MS
    none = np.zeros(rows, bool)
    return Counted("r", at_ns, None, none, unknown, values, values, {}, lay_out(at_ns))


def at_limit(run: Counted, limit_ns: int) -> Counted:
    assert run.values_ns is not None
    bad = (run.values_ns > limit_ns) & ~run.unknown
    return Counted(
        run.run,
        run.at_ns,
        None,
        bad,
        run.unknown,
        run.took,
        run.values_ns,
        {},
        run.layout,
        limit_ns,
    )


def test_no_bound_denies_its_verdict() -> None:
    """PASS beside a bound within the limit, FAIL beside one beyond it, otherwise the limit lies
    between; and what passes at a limit passes at a larger one.
    """
    rng = np.random.default_rng(5)
    order = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2}
    seen = set()
    for number in range(6):
        runs = [drawn(rng, int(rng.integers(40, 80)), 0.3 * (number % 3)) for _ in range(10)]
        before = -1
        for limit_ms in (140, 180, 300, 600):
            rule = Rule([at_limit(run, limit_ms * MS) for run in runs], Fraction(1, 10), 0.05)
            low, high = rule.value_limits(limit_ms * MS)
            outcome = str(rule.outcome)
            seen.add(outcome)
            assert (outcome == "PASS") == (high is not None and high <= limit_ms * MS)
            assert (outcome == "FAIL") == (low is not None and low > limit_ms * MS)
            assert order[outcome] >= before
            before = order[outcome]
    assert seen == {*order}


def test_nine_runs_decide_nothing() -> None:
    rng = np.random.default_rng(1)
    runs = [at_limit(drawn(rng, 1000, 0), 10_000 * MS) for _ in range(10)]
    assert Rule(runs, Fraction(1, 10), 0.05).outcome == "PASS"
    rule = Rule(runs[:9], Fraction(1, 10), 0.05)
    assert (rule.outcome, rule.cause) == ("INCONCLUSIVE", "few_blocks")
    assert [*rule.share_limits] == [0, 1]
    assert [*rule.value_limits(100 * MS)] == [None, None]


def lost(minutes: int, *down: int, least: float = 5.0) -> Lost:
    """A run of so many minutes, these of them down; outages of five are to be allowed for."""
    table = np.zeros(minutes)
    table[list(down)] = 1
    found = Stretches(table, least, True)
    return Lost("r", found, found, 1 - len(down) / minutes, least)


def test_runs_of_minutes_must_be_long_enough_to_meet_an_outage() -> None:
    """5 ln(20) / 5 % = 299.6 minutes without one: ten runs of 30 make 300."""
    rules = [Rule([lost(each)] * 10, Fraction(1, 20), 0.05, "minutes") for each in (30, 29)]
    assert [rule.outcome for rule in rules] == ["PASS", "INCONCLUSIVE"]
    assert rules[0].share_limits == pytest.approx((0, 5 * math.log(20) / 300), rel=0.03)
    assert rules[1].cause == "few_rows"
    assert Rule([lost(30)] * 9, Fraction(1, 20), 0.05).cause == "few_blocks"


def test_runs_of_minutes_differ_as_runs_of_requests_do() -> None:
    """Two minutes down in each of twenty hours are 1 in 30: not 1 %, and within 5 %; forty in one
    of them are as many, and decide nothing.
    """
    alike = [lost(60, 7, 41, least=1.0)] * 20
    at = {p0: Rule(alike, Fraction(p0, 100), 0.05).outcome for p0 in (1, 3, 5)}
    assert at == {1: "FAIL", 3: "INCONCLUSIVE", 5: "PASS"}
    one = [lost(60, *range(10, 50), least=1.0), *[lost(60, least=1.0)] * 19]
    for p0 in (1, 5):
        rule = Rule(one, Fraction(p0, 100), 0.05)
        assert (rule.outcome, rule.cause) == ("INCONCLUSIVE", "worst_block")


def test_what_the_ends_of_a_run_cut_off_is_unknown() -> None:
    """Only minutes that reach the first or the last one may have belonged to a longer spell."""
    bad = np.array([1, 1, 0, 1, 0, 1], bool)
    assert at_the_ends(bad).tolist() == [True, True, False, False, False, True]
    assert at_the_ends(bad[2:5]).tolist() == [False] * 3


# ---- folders


def utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


CONTRACT = contract_of(at_most(500, "90%"), at_most(100, "90%", "ttft"))


def folder_of(place: Path, number: int, began_ns: int, *, slow: int = 1, **facts: Any) -> Path:
    """A run of 40 answers, `slow` of them of 900 ms, that took 4 s."""
    rows = [
        answered(900 if row < slow else 200, 20, due=row * 100, session=row) for row in range(40)
    ]
    lane = facts.pop("lane", None) or lane_of(CONTRACT, requests=40)
    begun: dict[str, Any] = {
        "run": f"r{number}",
        "started_wall_ns": began_ns,
        "started_utc": utc(began_ns),
        "ended_wall_ns": began_ns + 4 * S,
    }
    return run_of(place / f"run-{number:02}", rows, lane, **(begun | facts)).folder


def folders_of(place: Path, count: int, every_s: int = 3600, **facts: Any) -> list[Path]:
    return [
        folder_of(place, number, BEGAN + number * every_s * S, **facts)
        for number in range(1, count + 1)
    ]


def drawn_list(place: Path, count: int, over_s: int) -> None:
    """runs.json of these runs."""
    starts = [
        RunStart(
            number=number,
            folder=f"run-{number:02}",
            seed=number,
            planned_wall_ns=0,
            planned_utc="",
            draw=1,
            state="complete",
        )
        for number in range(1, count + 1)
    ]
    record = RunsRecord(
        format=1,
        suite="s",
        plan_sha256="",
        seed=1,
        over_ns=over_s * S,
        room_ns=S,
        begun_wall_ns=BEGAN,
        begun_utc=utc(BEGAN),
        repeat_command="tailproof run s --repeat 10 --over 7d",
        draws=1,
        starts=starts,
    )
    write_json(place / "runs.json", record.to_json())


def test_ten_runs_pass_and_say_of_what(tmp_path: Path) -> None:
    """40 of 400 requests may be slow and 10 are; the other clause no request broke."""
    found = judge_together(together(folders_of(tmp_path, 10)))
    assert (found.overall, found.exit_code) == ("PASS", 0)
    first, second = found.clauses
    assert (first.n, first.k, first.unknown, first.measured) == (400, 10, 0, 200)
    assert first.scope is not None
    assert first.scope.of == "runs"
    assert first.scope.start_utc == utc(BEGAN + 3600 * S)
    assert first.between is not None
    assert (first.between.share, first.between.runs_for_incidents) == (0, 29)
    assert [(each.run, each.n, each.k) for each in first.between.runs][:2] == [
        ("run-01", 40, 1),
        ("run-02", 40, 1),
    ]
    assert second.between is not None
    assert (second.k, second.between.worst, second.between.share) == (0, None, None)
    assert of_whom(found).startswith("these 10 runs from")
    assert "need ln(1/α)/p0 = 29 runs; here are 10" in " ".join(sentences(found))


@pytest.mark.parametrize(
    ("clause", "n", "k", "says"),
    [
        (minutes_up("90%", minutes=1), 30, 10, "10 of 30 minutes in 10 runs"),
        # the last minute of a run may be the first of five
        (minutes_up("90%", minutes=5), 30, 0, "0 of 30 minutes in 10 runs"),
        (windows(500, "90%"), 0, 0, "no run covered a whole window of 5 min"),
    ],
)
def test_clauses_by_time_count_the_stretches_that_runs_covered_whole(
    clause: Clause, n: int, k: int, says: str, tmp_path: Path
) -> None:
    """Ten runs of three and a half minutes, all of whose requests fail in the third."""
    span = {"phase": "calm", "start_ns": 0, "end_ns": 210 * S, "warmup": False}
    lane = lane_of(contract_of(clause), requests=21, phase_spans=[span], end_ns=210 * S)
    for number in range(1, 11):
        rows = [
            (
                failed(Outcome.http_5xx, due=due)
                if 120_000 <= due < 180_000
                else answered(9, due=due)
            )
            for due in range(0, 210_000, 10_000)
        ]
        began = BEGAN + number * 3600 * S
        facts: dict[str, Any] = {"run": f"r{number}", "ended_wall_ns": began + 211 * S}
        run_of(tmp_path / f"{number:02}", rows, lane, started_wall_ns=began, **facts)
    (found,) = judge_together(together(sorted(tmp_path.iterdir()))).clauses
    assert (found.n, found.k) == (n, k)
    assert found.reason.startswith(says)
    assert found.unknown == (10 if clause.minutes == 5 else 0)
    assert (found.verdict == "FAIL") == (k > 0)


@pytest.mark.parametrize(
    ("runs", "over_s", "every_s", "of"),
    [
        (10, 7 * 86_400, 40_000, "service"),
        (10, 7 * 86_400, 60, "runs"),  # all of one day
        (10, 86_400, 8_000, "runs"),
        (9, 7 * 86_400, 40_000, "runs"),
    ],
)
def test_only_drawn_runs_of_several_days_speak_of_the_service(
    runs: int, over_s: int, every_s: int, of: str, tmp_path: Path
) -> None:
    folders = folders_of(tmp_path, runs, every_s)
    drawn_list(tmp_path, runs, over_s)
    found = judge_together(together([tmp_path]))
    assert {clause.scope.of for clause in found.clauses if clause.scope} == {of}
    assert of_whom(found).startswith("the service, by 10") == (of == "service")
    picked = judge_together(together(folders[:-1]))
    assert {clause.scope.of for clause in picked.clauses if clause.scope} == {"runs"}
    lead = str(runs_document(found, "t", "").lead)
    assert ("not the service" in lead) == (of == "runs")


def test_runs_that_differ_are_told_apart_by_name(tmp_path: Path) -> None:
    """All 30 slow requests in one run of ten: the worst run, by name, and nothing is decided."""
    for number in range(1, 11):
        slow = 30 if number == 7 else 0
        folder_of(tmp_path, number, BEGAN + number * 3600 * S, slow=slow)
    found = judge_together(together(sorted(tmp_path.iterdir())))
    first = found.clauses[0]
    assert (first.verdict, first.open_cause) == ("INCONCLUSIVE", "worst_block")
    assert first.between is not None
    assert first.between.worst == "run-07"
    assert first.between.share == pytest.approx(1 - 30 / (10 / 9 * (27**2 + 9 * 3**2)), abs=0.2)
    assert found.exit_code == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"run": "r1"}, "is the same run as"),
        ({"started_wall_ns": BEGAN + 3602 * S}, "overlaps"),
        (
            {"lane": lane_of(CONTRACT, requests=40, name="u")},
            "another plan than {first}: targets t and u",
        ),
        (
            {"lane": lane_of(CONTRACT, requests=40, model="other")},
            "is a run of another plan than {first}: t: model m and other",
        ),
        (
            {"lane": lane_of(contract_of(at_most(400, "90%")), requests=40)},
            "another plan than {first}: t: contract.clause",
        ),
        ({"lane": lane_of(CONTRACT, requests=40, simulated=True)}, "computed by the simulator"),
        ({"early_stop": 4}, "its length depends on what it saw"),
        ({"watch": {}}, "is a part of a run, or of a watch"),
    ],
)
def test_what_is_no_run_of_the_same_plan_is_refused(
    changes: dict[str, Any],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One sentence, exit 2."""
    first = folder_of(tmp_path, 1, BEGAN + 3600 * S)
    other = folder_of(tmp_path, 2, BEGAN + 7200 * S, **changes)
    assert main(["judge", str(first), str(other)]) == 2
    said = capsys.readouterr().err
    assert says.format(first=first) in " ".join(said.split())
    assert len(said.strip().splitlines()) <= 1


def test_another_contract_judges_runs_of_several(tmp_path: Path) -> None:
    """Runs under different contracts are one plan where one contract is given for all."""
    other = lane_of(contract_of(at_most(400, "90%")), requests=40)
    folders = [
        folder_of(tmp_path, 1, BEGAN, lane=other),
        folder_of(tmp_path, 2, BEGAN + 3600 * S),
    ]
    with pytest.raises(UserError, match="another plan"):
        together(folders)
    override = contract_of(at_most(500, "90%"))
    found = judge_together(together(folders, override), override)
    assert [clause.n for clause in found.clauses] == [80]
    assert found.clauses[0].open_cause == "few_blocks"


RUN_NS = 3600 * S
SLOW = at_most(500, "90%")


def judged(place: Path, runs: int, *clauses: Clause, slow: int = 1, **facts: Any) -> Verdicts:
    """So many runs under these clauses."""
    lane = lane_of(contract_of(*clauses), requests=40, **facts.pop("of_lane", {}))
    folders = [
        folder_of(place, number, BEGAN + number * RUN_NS, slow=slow, lane=lane, **facts)
        for number in range(1, runs + 1)
    ]
    return judge_together(together(folders))


@pytest.mark.parametrize(
    ("clause", "of_lane", "verdict", "said"),
    [
        (at_most(500, "90%", report_only=True), {}, "REPORTED", "not judged"),
        (SLOW, {"closed_loop": True}, "INCONCLUSIVE", "a closed loop slows down with the server"),
        (
            uptime("99%", method="minute_all_fail"),
            {},
            "INCONCLUSIVE",
            "no run covered a whole minute",
        ),
        (at_most(500, "90%", bucket="1K–8K"), {}, "INCONCLUSIVE", "no rows"),
    ],
    ids=["reported", "closed loop", "by time", "no rows"],
)
def test_what_forbids_a_verdict_of_several_runs(
    clause: Clause, of_lane: dict[str, Any], verdict: str, said: str, tmp_path: Path
) -> None:
    """Each says why; with nothing else judged the overall is NONE, else it stays open."""
    found = judged(tmp_path, 2, clause, of_lane=of_lane)
    assert found.clauses[0].verdict == verdict
    assert said in found.clauses[0].reason
    assert found.overall == ("NONE" if verdict == "REPORTED" else "INCONCLUSIVE")


def test_shares_and_rates_rise(tmp_path: Path) -> None:
    """Uptime has no values and its promise is kept from below, an error share's from above; tokens
    a second are values that rise.
    """
    rate = Clause(metric="output_tps", quantile="90%", at_least="1/s")
    errors = Clause(metric="error_share", share="50%")
    up, down, rising = judged(tmp_path, 10, uptime("50%"), errors, rate).clauses
    assert (up.verdict, up.measured, up.bound[1]) == ("PASS", 1.0, 1.0)
    assert up.bound[0] is not None
    assert 0.9 < up.bound[0] < 1
    assert (down.verdict, down.measured, down.bound[0]) == ("PASS", 0.0, 0.0)
    # two tokens in 900 ms, of which the first came after 20
    assert (rising.verdict, rising.k) == ("PASS", 0)
    assert rising.measured is not None
    assert rising.measured > 1


def test_a_broken_promise_is_a_fail_of_all(tmp_path: Path) -> None:
    """30 of 40 answers are slow in each of ten runs."""
    found = judged(tmp_path, 10, SLOW, slow=30)
    assert (found.overall, found.exit_code, found.clauses[0].verdict) == ("FAIL", 1, "FAIL")


def test_what_fails_alone_may_be_chance_among_many(tmp_path: Path) -> None:
    """The same rows under one clause and beside nineteen that are kept: Holm asks for a twentieth
    of the error.
    """
    kept = [at_most(1000 + more, "90%") for more in range(19)]
    seen = set()
    for slow in range(6, 10):
        (alone,) = judged(tmp_path / f"one-{slow}", 10, SLOW, slow=slow).clauses
        among = judged(tmp_path / f"many-{slow}", 10, SLOW, *kept, slow=slow).clauses[0]
        assert alone.p_fail == among.p_fail
        assert (among.verdict == "FAIL") <= (alone.verdict == "FAIL")
        if (alone.verdict, among.verdict) == ("FAIL", "INCONCLUSIVE"):
            assert "among 20 clauses it may be chance" in among.reason
        seen.add((alone.verdict, among.verdict))
    assert ("FAIL", "INCONCLUSIVE") in seen


def test_runs_without_a_contract_are_not_judged(tmp_path: Path) -> None:
    """Nor is a folder that holds none, nor a run given beside itself by the same name."""
    with pytest.raises(UserError, match="held against no contract"):
        judge_together(together([folder_of(tmp_path, 1, BEGAN, lane=lane_of(requests=40))]))
    (tmp_path / "none").mkdir()
    drawn_list(tmp_path / "none", 2, 86_400)
    with pytest.raises(UserError, match="holds no run that has begun"):
        together([tmp_path / "none"])
    of_one_name = [
        folder_of(tmp_path / place, 1, BEGAN + at * RUN_NS, run=place)
        for at, place in enumerate(("a", "b"))
    ]
    assert [run.name for run in together(of_one_name).runs] == ["a", "b"]


def test_a_run_that_goes_on_is_waited_for(tmp_path: Path) -> None:
    """Its writer lives in this process."""
    lane = lane_of(CONTRACT, requests=40)
    writer = RunWriter(tmp_path / "r", Manifest.begun("r", [lane]), columns_of([]).schedule)
    with pytest.raises(UserError, match="is still going on"):
        together([writer.folder])


def test_of_no_run_the_harness_was_valid(tmp_path: Path) -> None:
    """None of its requests was sent in time to say anything: INVALID, and no run counts."""
    rows = [failed(Outcome.never_sent, due=row * 100, sent=-1, done=-1) for row in range(40)]
    folders = [
        run_of(
            tmp_path / f"{number}",
            rows,
            lane_of(contract_of(SLOW), requests=40),
            run=f"r{number}",
            started_wall_ns=BEGAN + number * RUN_NS,
            started_utc=utc(BEGAN + number * RUN_NS),
            ended_wall_ns=BEGAN + number * RUN_NS + 4 * S,
        ).folder
        for number in (1, 2)
    ]
    found = judge_together(together(folders))
    assert (found.overall, found.exit_code) == ("INVALID", 4)
    assert found.clauses[0].reason == "of no run the harness was valid"
    assert (found.clauses[0].measured, found.clauses[0].scope) == (None, None)


def test_judge_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """verdicts.json, the page and its Markdown; of one run nothing has changed."""
    folders = [str(folder) for folder in folders_of(tmp_path / "in", 10)]
    assert main(["judge", *folders, "--out", str(tmp_path / "out")]) == 0
    screen = capsys.readouterr().out
    assert "these 10 runs from" in screen
    assert "run-01" in screen
    written = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    assert (written["overall"], len(written["runs"])) == ("PASS", 10)
    page = (tmp_path / "out" / "report.md").read_text()
    assert "incidents longer than a run need" in page
    assert (tmp_path / "out" / "report.html").is_file()
    for more, said in (
        (["--format", "github"], "is not made of several runs"),
        (["--leave-out", "s1"], "goes with one run"),
        (["--customer", "c"], "goes with --census alone"),
    ):
        capsys.readouterr()
        assert main(["judge", *folders, *more]) == 2
        assert said in capsys.readouterr().err
    for words, said in (
        (["--census", folders[0], "--leave-out", "s1"], "does not go with --census"),
        (["--census", folders[0], folders[1]], "does not go with RUN"),
        (["--census", folders[0], "--format", "github"], "is not made of a full log"),
        ([], "nothing to judge"),
    ):
        capsys.readouterr()
        assert main(["judge", *words]) == 2
        assert said in capsys.readouterr().err
    assert main(["judge", folders[0], "--out", "x"]) == 2
    assert "goes with --census alone" in capsys.readouterr().err
