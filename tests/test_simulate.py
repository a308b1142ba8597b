"""`tailproof simulate`: the rows of virtual time, by hand; what is judged is what was planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.app.simulate import lengthened, plan_virtual, play_virtual, simulate
from bench.app.virtual_client import Answers
from bench.cli import main
from bench.gateway.scenarios import load_scenario
from bench.load.options import RunOptions
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import load_suite
from bench.progress import reported_to
from bench.record.run_folder import Run
from bench.record.samples import Columns, Flag, Outcome, Table, latency_ns
from bench.units import MS, S

PROFILE = 'description = "p"\nduration = "1s"\n[arrivals]\nkind = "constant"\nrate = "50/s"\n'
SIZES = "[[prompt_tokens]]\nfixed = 10\n[[output_tokens]]\nfixed = 3\n"
TARGET = 'description = "t"\nbase_url = "embedded"\nmodel = "m"\n'
#: 100 ms an answer, the first token half way
FIXED = 'e2e = { fixed = "100ms" }'


def write_suite(
    folder: Path,
    *,
    pool: str = FIXED,
    profile: str = PROFILE + SIZES,
    target: str = TARGET,
    gateway: str = "",
    model: str = "",
    stage: str = "",
) -> str:
    """The path of a scenario of one pool, one target and one profile."""
    (folder / "load.toml").write_text(profile)
    (folder / "t.toml").write_text(target)
    path = folder / "made.toml"
    path.write_text(f"""
description = "made"
[gateway]
{gateway if gateway.startswith(("rate", "require")) else ""}
[[gateway.model]]
name = "m"
pool = "p"
{model}
[[gateway.pool]]
name = "p"
region = "here"
{pool}
{gateway if gateway.startswith("[[") else ""}
[truth]
says = "made"
[[stage]]
name = "made"
targets = ["t.toml"]
profile = "load.toml"
{stage}
""")
    return str(path)


def play(path: str, seed: int = 1) -> tuple[Plan, Answers]:
    """A suite's rows, without a folder."""
    plan = compile_plan(load_suite(path), seed)
    scenarios = {
        lane.scenario: load_scenario(lane.scenario) for lane in plan.lanes if lane.scenario
    }
    answers, interrupted = play_virtual(plan, scenarios, {})
    assert not interrupted
    return plan, answers


def rows_of(path: str) -> Table:
    """Its samples alone."""
    return play(path)[1].samples


def record(row: np.void, answers: Answers) -> dict[str, Any]:
    """A row in words: moments in ms after it was due, texts for their numbers, what is absent left
    out.
    """
    texts = answers.texts()
    found: dict[str, Any] = {}
    for name in row.dtype.names or ():
        value = int(row[name])
        if name in texts:
            found[name] = texts[name][value] if value >= 0 else None
        elif name.endswith("_ns") and name not in (
            "due_ns",
            "gap_max_ns",
            "gap_sum_ns",
            "connect_ns",
            "tls_ns",
        ):
            found[name[:-3]] = (value - int(row["due_ns"])) / MS if value >= 0 else None
        elif name != "due_ns":
            found[name.removesuffix("_ns")] = value
    return {name: value for name, value in found.items() if value not in (None, -1, 0)}


def test_a_row_holds_what_a_client_would_have_seen(tmp_path: Path) -> None:
    """Every field of a streamed answer of three tokens in 100 ms, and of a plain one."""
    plan, answers = play(write_suite(tmp_path))
    assert record(answers.samples[7], answers) == {
        "first_token": 50,
        "first_answer_token": 50,
        "last_token": 100,
        "done": 100,
        "gap_max": 25 * MS,
        "gap_sum": 50 * MS,
        "outcome": Outcome.ok,
        "flags": Flag.STREAMED,
        "status": 200,
        "attempts": 1,
        "chunks": 3,
        "prompt_tokens": 10,
        "output_tokens": 3,
        "served_model": "m",
        "served_region": "here",
        "finish": "length",
    }
    for name in ("slot_free_ns", "sent_ns", "headers_ns", "first_byte_ns"):
        assert (answers.samples[name] == plan.schedule["due_ns"]).all()
    _, plain = play(write_suite(tmp_path, target=TARGET + "stream = false\n"))
    assert record(plain.samples[7], plain) == {
        "headers": 100,
        "first_byte": 100,
        "done": 100,
        "outcome": Outcome.ok,
        "status": 200,
        "attempts": 1,
        "chunks": 1,
        "prompt_tokens": 10,
        "output_tokens": 3,
        "served_model": "m",
        "served_region": "here",
        "finish": "length",
    }


def test_without_usage_tokens_are_counted(tmp_path: Path) -> None:
    """A target that sends no usage: prompt unknown, output counted from chunks and marked so."""
    rows = rows_of(write_suite(tmp_path, target=TARGET + "include_usage = false\n"))
    assert set(rows["prompt_tokens"]) == {-1}
    assert set(rows["output_tokens"]) == {3}
    assert set(rows["flags"]) == {Flag.STREAMED | Flag.COUNTED_TOKENS}


def test_the_in_flight_cap_queues_and_keeps_due_times(tmp_path: Path) -> None:
    """Two slots of 100 ms at 50/s: rows leave in pairs, 20 ms apart within and 100 ms between,
    however late.
    """
    rows = rows_of(write_suite(tmp_path, profile="max_in_flight = 2\n" + PROFILE + SIZES))
    assert (rows["due_ns"] / MS).tolist() == [20 * k for k in range(50)]
    assert (rows["sent_ns"] / MS).tolist() == [100 * (k // 2) + 20 * (k % 2) for k in range(50)]
    assert (rows["slot_free_ns"] == rows["sent_ns"]).all()
    assert set(latency_ns(rows, "harness_lag").tolist()) == {0}


def test_who_still_waits_when_the_run_is_over_was_never_sent(tmp_path: Path) -> None:
    """One slot that stalls: each row takes its timeout, until the drain (a timeout and 1 s) after
    the run's 1 s is over.
    """
    path = write_suite(
        tmp_path,
        profile="max_in_flight = 1\n" + PROFILE + SIZES,
        target=TARGET + 'timeout = "1200ms"\n',
        gateway='[[gateway.timeline]]\nfault = "stall"',
    )
    rows = rows_of(path)
    # begun at 0, 1.2 and 2.4 s; all is over at 3.2 s
    assert (
        rows["outcome"].tolist()
        == [Outcome.timeout_total] * 2 + [Outcome.censored] + [Outcome.never_sent] * 47
    )
    assert set(rows["done_ns"][2:].tolist()) == {3200 * MS}
    assert (rows["due_ns"] / MS).tolist() == [20 * k for k in range(50)]


@pytest.mark.parametrize(
    ("timeout", "outcome", "done", "tokens", "last"),
    [
        ("80ms", Outcome.timeout_total, 80, 2, 75),
        ("40ms", Outcome.timeout_first, 40, -1, None),
        ("100ms", Outcome.ok, 100, 3, 100),
    ],
)
def test_timeouts(
    tmp_path: Path, timeout: str, outcome: Outcome, done: float, tokens: int, last: float | None
) -> None:
    """Tokens at 50, 75 and 100 ms: what had come by the timeout is in the row; an answer on the dot
    is one.
    """
    _, answers = play(write_suite(tmp_path, target=TARGET + f'timeout = "{timeout}"\n'))
    seen = record(answers.samples[3], answers)
    assert (
        seen["outcome"],
        seen["done"],
        seen.get("output_tokens", -1),
        seen.get("last_token"),
    ) == (outcome, done, tokens, last)
    assert seen["status"] == 200


@pytest.mark.parametrize(
    ("fault", "outcome", "status", "tokens"),
    [
        ("http_503", Outcome.http_5xx, 503, -1),
        ("reset", Outcome.reset, 0, -1),
        ("truncate", Outcome.truncated, 200, 1),
        ("stream_error", Outcome.stream_error, 200, 1),
        ("slow_tail", Outcome.ok, 200, 3),
    ],
)
def test_faults_are_outcomes(
    tmp_path: Path, fault: str, outcome: Outcome, status: int, tokens: int
) -> None:
    """Each fault becomes its outcome, with its status and the tokens that came before it."""
    rows = rows_of(write_suite(tmp_path, gateway=f'[[gateway.timeline]]\nfault = "{fault}"'))
    assert {(row["outcome"], row["status"], row["output_tokens"]) for row in rows} == {
        (outcome, status, tokens)
    }


def test_rate_limit_and_retry_after(tmp_path: Path) -> None:
    """At 50/s against 60 a minute with a burst of 2: the first two pass, the third is told to wait
    a second.
    """
    rows = rows_of(write_suite(tmp_path, model="rate_limit = { requests_per_min = 60, burst = 2 }"))
    assert rows["outcome"][:3].tolist() == [Outcome.ok, Outcome.ok, Outcome.rate_limited]
    assert (
        int(rows["status"][2]),
        int(rows["retry_after_ms"][2]),
        int(rows["served_model"][2]),
    ) == (429, 1000, -1)


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    """A provider that asks for a key refuses a target without one, and serves one that names a
    variable for it.
    """
    without = rows_of(write_suite(tmp_path, gateway="require_key = true"))
    assert {(row["outcome"], row["status"]) for row in without} == {(Outcome.http_4xx, 401)}
    named = rows_of(
        write_suite(
            tmp_path, gateway="require_key = true", target=TARGET + 'api_key_env = "SOME_KEY"\n'
        )
    )
    assert set(named["outcome"]) == {Outcome.ok}


def test_a_cold_start_can_be_seen(tmp_path: Path) -> None:
    """By plan three in ten answers begin 400 ms late, and those say so."""
    pool = FIXED + '\ncold_share = "30%"\ncold_start = { fixed = "400ms" }'
    profile = (PROFILE + SIZES).replace('"1s"', '"40s"')
    _, answers = play(write_suite(tmp_path, pool=pool, profile=profile))
    cold = (answers.samples["flags"] & Flag.COLD_START) != 0
    assert (latency_ns(answers.samples, "e2e") == np.where(cold, 500 * MS, 100 * MS)).all()
    assert stats.binomtest(int(cold.sum()), len(cold), 0.3).pvalue > 0.001


def test_turns_of_a_session_follow_each_other(tmp_path: Path) -> None:
    """A turn is due a thinking time after the answer before it."""
    profile = PROFILE + '[sessions]\nthink = "30ms"\n[sessions.turns]\nfixed = 4\n' + SIZES
    plan, answers = play(write_suite(tmp_path, profile=profile))
    later = plan.schedule["after_row"] >= 0
    before = plan.schedule["after_row"][later]
    assert later.sum() == 150
    assert (answers.samples["due_ns"][later] == answers.samples["done_ns"][before] + 30 * MS).all()
    assert (answers.samples["outcome"] == Outcome.ok).all()


def test_a_closed_loop_ends_with_its_time(tmp_path: Path) -> None:
    """Five users, 100 ms an answer, 1 s: ten requests each, the rest of the table was never due."""
    profile = (
        'description = "p"\nduration = "1s"\n[arrivals]\nkind = "closed"\nconcurrency = 5\n' + SIZES
    )
    plan, answers = play(write_suite(tmp_path, profile=profile))
    reached = answers.samples["due_ns"] >= 0
    assert np.bincount(plan.schedule["session"][reached]).tolist() == [10] * 5
    assert sorted(set((answers.samples["due_ns"][reached] / MS).tolist())) == [
        100 * k for k in range(10)
    ]


def test_a_shared_prefix_is_read_once(tmp_path: Path) -> None:
    """On an engine that remembers blocks of 8 tokens, all but the first request find the 32 of the
    prefix.
    """
    pool = (
        '[gateway.pool.batch]\nsequences = 4\nstep = "1ms"\nprefill_per_token ='
        ' "10us"\nprefix_blocks = 100\nprefix_block = 8'
    )
    profile = PROFILE + "[shared_prefix]\ntokens = 32\ngroups = 1\n" + SIZES
    plan, answers = play(write_suite(tmp_path, pool=pool, profile=profile))
    assert set(plan.schedule["prompt_tokens"]) == {42}
    assert answers.samples["cached_tokens"].tolist() == [0] + [32] * 49
    # one step reads 42 tokens, later ones the 10 that are new
    assert latency_ns(answers.samples, "ttft")[:2].tolist() == [1_420_000, 1_100_000]
    assert (
        answers.gap_histograms()[0][0].n == 0
    )  # an engine's gaps are known by their longest and their sum
    assert set(answers.samples["gap_max_ns"].tolist()) == {1 * MS}


def test_gaps_are_counted_as_if_spelled_out(tmp_path: Path) -> None:
    """The gap histogram equals the one of every single gap."""
    profile = (
        PROFILE
        + "[[prompt_tokens]]\nfixed = 1\n[[output_tokens]]\nlognormal = { mu = 2.5, sigma = 1.0 }\n"
    )
    pool = 'ttft = { fixed = "10ms" }\ngap = { lognormal = { median = "5ms", sigma = 0.5 } }'
    plan, answers = play(write_suite(tmp_path, pool=pool, profile=profile))
    rows = answers.samples
    steps = plan.schedule["output_tokens"].astype(np.int64) - 1
    spelled = np.repeat((rows["gap_sum_ns"] // np.maximum(steps, 1))[steps > 0], steps[steps > 0])
    histogram = answers.gap_histograms()[0][0]
    assert (histogram.n, histogram.max_ns) == (len(spelled), spelled.max())
    assert sum(histogram.cells()["counts"]) == steps.sum()


@pytest.mark.slow("the same scenario played and written twice")
def test_same_seed_same_bytes(tmp_path: Path) -> None:
    """Samples and truth of the same seed are equal byte for byte; another seed's are not."""
    kept = []
    for number, seed in enumerate((5, 5, 6)):
        folder = tmp_path / str(number)
        done = simulate(
            plan_virtual(load_suite("three-tier-router"), seed),
            RunOptions(repeat_command="again", folder=folder),
        )
        assert done.exit_code == 0
        kept.append(
            [
                (folder / name).read_bytes()
                for name in ("samples/rows.npy", "truth.json", "histograms.hlog")
            ][:2]
        )
    assert kept[0] == kept[1]
    assert kept[0][0] != kept[2][0]
    assert kept[0][1] != kept[2][1]


def test_the_folder_is_a_runs_and_says_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes a folder that is sealed, judged and reported; every lane is simulated; the
    truth agrees.
    """
    folder = tmp_path / "run"
    assert (
        main(["simulate", "vanity-average", "--requests", "3000", "--out", str(folder), "--quiet"])
        == 0
    )
    assert capsys.readouterr().out.startswith("AS EXPECTED  the one expected answer came")
    run = Run(folder)
    again = "tailproof simulate vanity-average --requests 3000 --seed 1"
    assert run.manifest.repeat_command == again
    assert run.state == "complete"
    assert [lane.simulated for lane in run.lanes] == [True]
    assert (folder / "report.html").is_file()
    assert main(["verify", str(folder)]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    played = json.loads((folder / "truth.json").read_text())["scenarios"]["vanity-average"][
        "played"
    ]["default"]
    assert summary["simulated"] is True
    assert summary["health"]["state"] == "valid"
    assert summary["targets"]["default"]["requests"] == played["outcomes"]["ok"] == 3000
    assert summary["targets"]["default"]["response_ms"]["e2e"] == played["e2e_ms"]
    assert (
        main(["simulate", "vanity-average", "--requests", "3000", "--out", str(folder), "--quiet"])
        == 2
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate", "field-guide", "--requests", "3"], "fewer than one for each target"),
        (["simulate", "vanity-average", "--requests", "20000001"], "above the 20,000,000"),
        (["simulate", "steady"], "not a suite but a load profile"),
        (["simulate", "written-uptime"], "holds a full log to judge"),
    ],
)
def test_what_cannot_be_simulated_is_said(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence and exit code 2."""
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_real_target_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not the embedded gateway has no serving model."""
    path = write_suite(tmp_path, target=TARGET.replace("embedded", "http://127.0.0.1:9/v1"))
    assert main(["simulate", path]) == 2
    assert "real endpoint" in capsys.readouterr().err


def test_downgraded_tiers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Their latencies would be those of the tier that was asked for."""
    assert main(["simulate", "silent-downgrade"]) == 2
    assert "downgraded tiers, which the simulator does not compute" in capsys.readouterr().err


def test_a_longer_plan_keeps_the_scenarios_shares() -> None:
    """Twice the noisy neighbour's 160 s: about as many requests as asked for, and 48 % over 800 ms
    as in one.
    """
    suite, periods = lengthened(compile_plan(load_suite("noisy-neighbour"), 1), 51_200)
    plan = compile_plan(suite, 1)
    assert len(plan.schedule) == pytest.approx(51_200, rel=0.01)
    assert periods == {"noisy-neighbour": 160 * S}
    answers, _ = play_virtual(plan, {"noisy-neighbour": load_scenario("noisy-neighbour")}, periods)
    shared = Columns(plan.schedule, answers.samples).lane(0).samples
    slow = int((latency_ns(shared, "e2e") > 800 * MS).sum())
    assert stats.binomtest(slow, len(shared), 0.48).pvalue > 0.001


def test_a_plan_with_phases_is_made_as_long_as_asked() -> None:
    """The long tail's ten cycles become two and a half: phases keep their shares, a twentieth is
    burst.
    """
    suite, periods = lengthened(compile_plan(load_suite("long-tail"), 1), 25_000)
    plan = compile_plan(suite, 1)
    assert (len(plan.schedule), periods) == (25_000, {})
    longer, periods = lengthened(compile_plan(load_suite("long-tail"), 1), 250_000)
    assert len(compile_plan(longer, 1).schedule) == 250_000
    assert periods == {"long-tail": 960 * S}


def test_ctrl_c_keeps_what_was_played(tmp_path: Path) -> None:
    """Interrupted after the first part: what had ended is kept and reported, the rest was never
    sent; exit 130.
    """

    def interrupt(name: str, part: float | None) -> None:
        if name == "computing" and part:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with reported_to(interrupt):
        done = simulate(
            plan_virtual(load_suite("vanity-average"), 1, 70_000),
            RunOptions(repeat_command="again", folder=folder),
        )
    assert done.exit_code == 130
    run = Run(folder)
    outcomes = run.columns.samples["outcome"]
    assert run.state == "interrupted"
    assert (outcomes[:60_000] == Outcome.ok).mean() > 0.99
    assert (outcomes[1 << 16 :] == Outcome.never_sent).all()
    assert set(outcomes.tolist()) == {Outcome.ok, Outcome.censored, Outcome.never_sent}
