"""`tailproof ramp` as a user runs it: against queues whose boundary theory knows, and over real
sockets.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from scipy import optimize

from bench.app.ramp import Remaining
from bench.app.ramp_plan import Terms, at_rate, begun_plan, plan_probe, ramping
from bench.app.simulate import lengthened
from bench.cli import main
from bench.cli.export import schema_of
from bench.cli.run import suite_of
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from bench.record.run_folder import Run
from tests.support.flags import run_flags
from tests.support.patience import PATIENCE_S
from tests.support.planned import STEADY, profile, stage, suite, target

ROOT = Path(__file__).resolve().parents[1]
FOUR_SLOTS = str(ROOT / "docs/examples/four-slots.toml")
#: Fixed service of 100 ms on one slot.
ONE_SLOT = """
description = "made"
[gateway]
simulated = true
[[gateway.model]]
name = "*"
pool = "p"
[[gateway.pool]]
name = "p"
e2e = { fixed = "100ms" }
slots = SLOTS
[truth]
says = "made"
[[stage]]
name = "made"
targets = ["default"]
profile = "PROFILE"
"""


def made(folder: Path, slots: int = 1, profile: str = "poisson") -> str:
    path = folder / "made.toml"
    path.write_text(ONE_SLOT.replace("SLOTS", str(slots)).replace("PROFILE", profile))
    return str(path)


def ramped(out: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and ramp.json, which follows its schema."""
    code = main(["ramp", *arguments, "--out", str(out), "--quiet", "--cool-down", "0s"])
    record = json.loads((out / "ramp.json").read_text("utf-8"))
    assert [
        error.message for error in Draft202012Validator(schema_of("ramp")).iter_errors(record)
    ] == []
    assert record["exit_code"] == code
    return code, record


def slower_mmc(limit_s: float, rate: float, servers: int = 4, mean_s: float = 0.1) -> float:
    """P(wait + service > limit) in M/M/c (Erlang 1917)."""
    load, blocked = rate * mean_s, 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    waits = blocked / (1 - load / servers * (1 - blocked))
    drain, serve = servers / mean_s - rate, 1 / mean_s
    both = (drain * math.exp(-serve * limit_s) - serve * math.exp(-drain * limit_s)) / (
        drain - serve
    )
    return (1 - waits) * math.exp(-serve * limit_s) + waits * both


def slower_md1(limit_s: float, rate: float, service_s: float = 0.1) -> float:
    """P(wait + service > limit) in M/D/1 (Crommelin 1932)."""
    wait = limit_s - service_s
    return 1 - (1 - rate * service_s) * sum(
        (-rate * (wait - k * service_s)) ** k
        / math.factorial(k)
        * math.exp(rate * (wait - k * service_s))
        for k in range(int(wait / service_s) + 1)
    )


@pytest.mark.timeout(6 * PATIENCE_S)
@pytest.mark.parametrize("law", ["M/M/4", "M/D/1"])
def test_the_rate_found_is_the_one_that_theory_knows(law: str, tmp_path: Path) -> None:
    """e2e p90 ≤ 400 ms: the bracket holds the rate at which 10 % take longer, and a run of verdict
    grade passes at the rate named.
    """
    suite = FOUR_SLOTS if law == "M/M/4" else made(tmp_path)
    # so no probe lies within 15 % of the boundary, where deciding takes 50,000 requests
    slower, most, first = (slower_mmc, 39.9, "7/s") if law == "M/M/4" else (slower_md1, 9.99, "4/s")
    boundary = float(optimize.brentq(lambda rate: slower(0.4, rate) - 0.1, 1, most))
    out = tmp_path / "out"
    code, record = ramped(
        out, suite, "--slo", "e2e:p90<400ms", "--resolution", "50%", "--request-rate", first
    )
    assert (code, record["outcome"], record["state"], record["simulated"]) == (
        0,
        "found",
        "complete",
        True,
    )
    bracket = record["bracket"]
    assert bracket["passes_rps"] <= boundary < bracket["fails_rps"] <= 1.5 * bracket["passes_rps"]
    assert record["rate_rps"] == bracket["passes_rps"] == record["final"][-1]["rate_rps"]
    # 24 probes and the run that confirms: each at most spends a 25th of the 5 %, on draws of its
    # own
    runs = [*record["probes"], *record["final"]]
    assert {clause["confidence"] for run in runs for clause in run["clauses"]} == {1 - 0.05 / 25}
    assert len({run["seed"] for run in runs}) == len(runs)
    assert record["final"][-1]["requests"] >= max(
        run["requests"] for run in runs if run["rate_rps"] <= record["rate_rps"]
    )
    # a run folder each, like any other; the page and its figure
    for run in runs:
        summary = json.loads((out / run["folder"] / "summary.json").read_text("utf-8"))
        assert summary["targets"]["default"]["requests"] == run["requests"]
    assert main(["verify", str(out / record["final"][-1]["folder"])]) == 0
    page = (out / "report.html").read_text("utf-8")
    assert f"{bracket['passes_rps']:g}/s keeps contract slo" in page
    assert all(
        f"{clause['k']:,} of {clause['n']:,}" in page for run in runs for clause in run["clauses"]
    )
    assert "plots/tail-against-load.svg" in (out / "report.md").read_text("utf-8")
    assert (out / "plots/tail-against-load.svg").is_file()


def test_not_even_the_lowest_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer takes 100 ms and 50 are promised: exit 1, no run of verdict grade, and the screen
    says which rate failed.
    """
    code, record = ramped(
        tmp_path / "out",
        made(tmp_path),
        "--slo",
        "e2e:p90<50ms",
        "--min-rate",
        "5/s",
        "--request-rate",
        "8/s",
    )
    assert (code, record["outcome"], record["rate_rps"], record["final"]) == (1, "none", None, [])
    assert [run["rate_rps"] for run in record["probes"]] == [8, 5]
    assert "not even 5/s keeps contract slo" in capsys.readouterr().out


def test_the_highest_rate_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Never more than --max-rate; where that is kept too, the exit is 0 and the boundary is said to
    lie beyond. One document.
    """
    out = tmp_path / "out"
    code = main(
        [
            "ramp",
            FOUR_SLOTS,
            "--slo",
            "e2e:p90<400ms",
            "--max-rate",
            "15/s",
            "--out",
            str(out),
            "--format",
            "json",
            "--quiet",
        ]
    )
    told = json.loads(capsys.readouterr().out)
    record = told["ramp"]
    assert (code, record["outcome"], record["rate_rps"], record["bracket"]["fails_rps"]) == (
        0,
        "beyond",
        15,
        None,
    )
    assert [run["rate_rps"] for run in record["probes"]] == [10, 15]
    assert told["report"] == str(out / "report.html")
    assert record == json.loads((out / "ramp.json").read_text("utf-8"))


def test_what_the_caps_do_not_cover_is_not_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests for the first probe and no more: exit 3, no rate, and what was left is said; another
    ramp is not laid over it.
    """
    out, slo = tmp_path / "out", ["--slo", "e2e:p90<400ms"]
    _, whole = ramped(tmp_path / "whole", FOUR_SLOTS, *slo, "--max-rate", "10/s")
    first = whole["probes"][0]["requests"]
    code, record = ramped(out, FOUR_SLOTS, *slo, "--max-requests", str(first + 1))
    assert (code, record["outcome"], record["rate_rps"], len(record["probes"])) == (
        3,
        "undecided",
        None,
        1,
    )
    assert "1 of --max-requests are left" in record["reason"]
    assert main(["ramp", FOUR_SLOTS, *slo, "--out", str(out), "--quiet"]) == 2
    assert "holds a ramp already" in capsys.readouterr().err


def test_too_few_probes_draw_no_boundary(tmp_path: Path) -> None:
    """Three probes pass and the fourth is not made: not decided, though 40/s is known to pass at
    none.
    """
    code, record = ramped(
        tmp_path / "out",
        FOUR_SLOTS,
        "--slo",
        "e2e:p90<400ms",
        "--request-rate",
        "2/s",
        "--max-probes",
        "3",
    )
    assert (code, record["rate_rps"], record["final"]) == (3, None, [])
    assert record["bracket"]["passes_rps"] == 8


def test_a_limit_by_model_is_that_of_the_target_of_the_ramp() -> None:
    """Bounds and curve of a search need one number: it is chosen before the first probe."""
    by_model = Clause(metric="e2e", quantile="90%", limit_by_model={"m": "80ms", "n": "1s"})
    held = Contract.model_validate({"title": "c", "clause": [by_model]})
    found = ramping(suite(stage(profile(**STEADY), target(), contract=held)), None)
    contract = found.stages[0].contract
    assert contract is not None
    assert [clause.text for clause in contract.clauses] == ["response e2e p90 ≤ 80 ms"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs a suite"),
        (["field-guide"], "choose one with --target"),
        (["vanity-average", "--target", "nobody"], "0 of this suite have that name"),
        (["PLAIN"], "no contract"),
        (["TRACE", "--slo", "e2e:p90<1s"], "no rate to search"),
        (["PLAIN", "--contract", "BY-TIME"], "cannot be decided by probes"),
        (["PLAIN", "--slo", "e2e:p90<1s", "--min-rate", "20/s"], "at which the search begins"),
        (["PLAIN", "--slo", "e2e:p90<1s", "--resolution", "0%"], "between 1 % and 100 %"),
        (["PLAIN", "--slo", "e2e:p90<1s", "--max-requests", "9"], "9 of --max-requests are left"),
        (["PLAIN", "--over-http", "--slo", "e2e:p90<1s", "--max-cost", "0"], "above --max-cost 0"),
    ],
)
def test_what_has_no_rate_to_find_is_said(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence and exit 2, before anything is written."""
    by_time = tmp_path / "by-time.toml"
    by_time.write_text(
        'title = "t"\n[[clause]]\nmetric = "uptime"\nmethod = "minute_all_fail"\nshare = "99.9%"\n'
    )
    files = {
        "PLAIN": made(tmp_path, profile="trace" if "TRACE" in arguments else "poisson"),
        "BY-TIME": str(by_time),
    }
    files["TRACE"] = files["PLAIN"]
    out = tmp_path / "out"
    assert (
        main(["ramp", *(files.get(word, word) for word in arguments), "--out", str(out), "--quiet"])
        == 2
    )
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_nothing_leaves_this_machine_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that the caps allow is asked for at once, and with nobody to ask nothing is sent."""
    flags = [
        "--url",
        "http://api.example.test/v1",
        "--model",
        "m",
        "--slo",
        "e2e:p90<1s",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(["ramp", *flags]) == 2
    assert "Send 10,000 requests, at a cost that is not known" in capsys.readouterr().err
    assert main(["ramp", *flags, "--max-requests", "321"]) == 2
    assert "Send 321 requests" in capsys.readouterr().err


def test_each_cap_refuses_what_it_does_not_cover() -> None:
    """By its flag's name; what is covered is taken off, and what has no cap is not counted."""
    left = Remaining(100, Fraction(1), 60 * 10**9)
    assert left.refuses(60, Fraction(1, 2), 30 * 10**9) is None
    for asked, flag in (
        ((41, Fraction(0), 0), "--max-requests"),
        ((1, Fraction(3, 4), 0), "--max-cost"),
        ((1, Fraction(0), 31 * 10**9), "--max-time"),
    ):
        assert flag in str(left.refuses(*asked))
    assert left == Remaining(40, Fraction(1, 2), 30 * 10**9)
    assert Remaining(None, None, None).refuses(10**9, Fraction(10**9), 10**18) is None


def test_the_target_chosen_is_ramped_alone() -> None:
    """Of the two tiers of a stage one is left, with nothing rehearsed and no draws fixed."""
    (stage,) = ramping(load_suite("noisy-neighbour"), "pro").stages
    assert [target.name for target in stage.targets] == ["pro"]
    assert (stage.expect, stage.compare, stage.profile.seed) == ([], [], None)


@pytest.mark.parametrize("profile", ["steady", "square", "long-tail"])
@pytest.mark.parametrize(("factor", "requests"), [("1/8", 90), ("5/2", 4000)])
def test_a_probe_that_is_compiled_once_is_the_plan_that_was_lengthened(
    profile: str, factor: str, requests: int
) -> None:
    """With phases and without: the same rows and stretches as by a first plan that says how long
    the second must be.
    """
    flags = ("--url", "http://127.0.0.1:1/v1", "--model", "m", "--slo", "e2e:p99<800ms")
    suite = ramping(suite_of(run_flags(*flags, "--profile", profile)), None)
    (stage,) = suite.stages
    assert stage.contract is not None
    assert stage.profile.arrivals.rate is not None
    faster = at_rate(suite, stage.profile.arrivals.rate * Fraction(factor), stage.contract)
    probe = plan_probe(begun_plan(suite, Terms(seed=3)), faster, 7, requests)
    twice = compile_plan(lengthened(compile_plan(faster, 7), requests)[0], 7)
    assert probe.schedule.tobytes() == twice.schedule.tobytes()
    assert probe.lanes[0].spans == twice.lanes[0].spans


@pytest.mark.clock
@pytest.mark.timeout(6 * PATIENCE_S)
def test_over_real_sockets(tmp_path: Path) -> None:
    """Twelve slots of 100 ms serve 120/s: 110 evenly apart a second never wait, at 220 a queue
    grows; the answer is 110.
    """
    code, record = ramped(
        tmp_path / "out",
        made(tmp_path, 12, "steady"),
        "--over-http",
        "--slo",
        "e2e:p80<500ms",
        "--request-rate",
        "110/s",
        "--resolution",
        "100%",
        "--max-probes",
        "3",
    )
    assert (code, record["outcome"], record["simulated"]) == (0, "found", False)
    assert (
        record["bracket"]["passes_rps"],
        record["bracket"]["fails_rps"],
        record["rate_rps"],
    ) == (110, 220, 110)
    assert Run(tmp_path / "out/final-1").lanes[0].simulated is False


def test_a_harness_that_is_itself_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No machine sends within a tenth of 20 µs: both probes are INVALID, exit 4, and the server is
    not blamed.
    """
    code, record = ramped(
        tmp_path / "out",
        made(tmp_path, 40, "steady"),
        "--over-http",
        "--slo",
        "e2e:p90<20us",
        "--request-rate",
        "200/s",
        "--min-rate",
        "200/s",
        "--max-probes",
        "2",
    )
    assert (code, record["outcome"], record["rate_rps"]) == (4, "harness", None)
    assert [run["verdict"] for run in record["probes"]] == ["INVALID"] * 2
    assert "the harness was the limit before the server" in capsys.readouterr().out


def test_ctrl_c_keeps_what_was_found(tmp_path: Path) -> None:
    """Interrupted in its second run: exit 130, the first probe and a page are there, and no rate is
    named. A probe lasts twice the limit, which leaves a busy machine 300 ms of lateness.
    """
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "bench",
        "ramp",
        made(tmp_path, 4, "steady"),
        "--over-http",
        "--slo",
        "e2e:p90<3s",
        "--request-rate",
        "20/s",
        "--resolution",
        "100%",
        "--max-probes",
        "3",
        "--cool-down",
        "0s",
        "--out",
        str(out),
        "--quiet",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not any((out / "02/samples").glob("*")):
            threading.Event().wait(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE_S)
    record = json.loads((out / "ramp.json").read_text("utf-8"))
    assert (process.returncode, record["exit_code"], record["state"], record["rate_rps"]) == (
        130,
        130,
        "interrupted",
        None,
    )
    assert [run["verdict"] for run in record["probes"]] == ["PASS"]
    assert "broken off" in said
    assert "broken off" in (out / "report.html").read_text("utf-8")


def test_a_target_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Described by flags alone, nobody listens there: exit 5."""
    flags = ["--url", "http://127.0.0.1:9/v1", "--model", "m", "--slo", "e2e:p90<1s"]
    assert main(["ramp", *flags, "--out", str(tmp_path / "out"), "--quiet"]) == 5
    assert "127.0.0.1:9" in capsys.readouterr().err
