"""`plan` as a command: one table within 100 columns, the same as JSON, nothing sent, nothing
written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.cli.sizes import over_quota
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from bench.userfile import find_file

FILES = {
    "p": (
        'description = "d"\nduration = "30s"\nprompt_tokens = [{fixed = 100}]\noutput_tokens ='
        ' [{fixed = 50}]\n[arrivals]\nkind = "constant"\nrate = "10/s"\n'
    ),
    "t": (
        'description = "d"\nbase_url = "http://127.0.0.1:9/v1"\nmodel ='
        ' "m"\n[prices]\ninput_usd_per_million = "1"\noutput_usd_per_million = "2"\nas_of ='
        ' 2026-11-23\nsource = "made"\n'
    ),
    "c": (
        'title = "t"\n[[clause]]\nmetric = "e2e"\nquantile = "99%"\nlimit ='
        ' "1s"\n[[clause]]\nmetric = "uptime"\nshare = "99.9%"\nmethod ='
        ' "downtime_minutes"\nerror_rate = "5%"\nminutes = 5\n'
    ),
    "d": 'title = "t"\n[[clause]]\nmetric = "ttft"\nquantile = "95%"\nlimit = "1s"\n',
    "s": (
        'description = "what it is"\n[[stage]]\nname = "one"\ntargets = ["t.toml"]\nprofile ='
        ' "p.toml"\ncontract = "c.toml"\n'
    ),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a suite of 300 requests in 30 s."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["plan", "s.toml", "--format", "json", *words]) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    return record


def test_the_table_says_what_is_sent_needed_and_expected(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests, rate, tokens, cost; needed rows, time and money; chances; what takes days.

    The target never answers.
    """
    before = sorted(folder.rglob("*"))
    assert main(["plan", "s.toml"]) == 0
    out = capsys.readouterr().out
    text = " ".join(out.split())
    assert text.startswith(
        's 300 requests in 30 s, seed 1 "kept": half of the budget is bad. "broken": twice the'
        " budget."
    )
    assert "t, 10.0/s End-to-end p99 ≤ 1 s 22 % " in text
    assert " 1,941 3 min 14 s" in text
    assert "10.4 days" in text
    assert "tokens 30,000 in, 15,000 out cost 0.06 USD" in text
    assert "no short run can decide it" in text
    assert "without the clauses by time: 1,941 requests, 3 min 14 s, 0.388 USD" in text
    assert max(map(len, out.splitlines())) <= 100
    assert sorted(folder.rglob("*")) == before


def test_virtual_time_is_nobodys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scenario that is played in virtual time adds its requests to the plan, and no time."""
    world = """[gateway]
simulated = true
[[gateway.model]]
name = "*"
pool = "p"
[[gateway.pool]]
name = "p"
e2e = { fixed = "1ms" }
[truth]
says = "it answers"
"""
    stage = FILES["s"].split("\n", 1)[1].replace("t.toml", "e.toml")
    (folder / "v.toml").write_text(f'description = "d"\nseed = 1\n{world}{stage}')
    live = world.replace("simulated = true", "") + stage.replace('"one"', '"two"')
    (folder / "live.toml").write_text(f'description = "d"\nseed = 1\n{live}')
    (folder / "e.toml").write_text(FILES["t"].replace("http://127.0.0.1:9/v1", "embedded"))
    (folder / "both.toml").write_text('description = "d"\nscenarios = ["v.toml", "live.toml"]\n')
    assert main(["plan", "v.toml"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "300 requests computed by the simulator, within seconds, seed 1" in text
    assert "10.0/s, computed" in text
    assert "1,941 requests, all computed" in text
    assert main(["plan", "both.toml"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "300 requests in 30 s and 300 requests computed by the simulator, within" in text
    assert "without the clauses by time: 3,882 requests, 3 min 14 s" in text
    assert main(["plan", "both.toml", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["duration_ns"] == 30 * 10**9


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Shares as numbers, times in ns, chances that add up to one, the likeliest verdict beside
    them.
    """
    record = as_json(capsys)
    assert (record["format"], record["requests"], record["duration_ns"]) == (1, 300, 30 * 10**9)
    clause = record["lanes"][0]["clauses"][0]
    assert (clause["allowed_share"], clause["planned"], clause["least"], clause["unit"]) == (
        0.01,
        300,
        299,
        "requests",
    )
    guess = clause["guesses"][0]
    assert (guess["needed"], guess["load"]["requests"], guess["expected"]) == (
        1941,
        1941,
        "INCONCLUSIVE",
    )
    assert guess["p_pass"] + guess["p_fail"] + guess["p_inconclusive"] == pytest.approx(1)
    assert record["every"]["clause"].startswith("uptime, minutes")
    assert record["short"]["clause"] == "response e2e p99 ≤ 1 s"


def test_flags_change_contract_rate_guess_power_and_dependence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each is what the sizing then rests on."""
    plain = as_json(capsys)["lanes"][0]
    assert as_json(capsys, "--rate", "20/s")["lanes"][0]["load"]["requests"] == 600
    assert [
        clause["text"] for clause in as_json(capsys, "--contract", "d.toml")["lanes"][0]["clauses"]
    ] == ["response TTFT p95 ≤ 1 s"]
    (guess,) = as_json(capsys, "--slow-share", "0.1%")["lanes"][0]["clauses"][0]["guesses"]
    assert guess["bad_share"] == 0.001
    needed = plain["clauses"][0]["guesses"][0]["needed"]
    assert (
        as_json(capsys, "--design-effect", "4")["lanes"][0]["clauses"][0]["guesses"][0]["needed"]
        == 10 * needed
    )
    assert (
        as_json(capsys, "--power", "95%")["lanes"][0]["clauses"][0]["guesses"][0]["needed"] > needed
    )
    assert as_json(capsys, "--uptime-guess", "99.97%")["assumed"]["uptime"] == 0.9997


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--rate", "fast"], "--rate: 'fast' is not a rate above zero"),
        (["--power", "100%"], "--power: must lie between 0 % and 100 %"),
        (["--slow-share", "101%"], "--slow-share: '101%' is outside 0 % to 100 %"),
        (["--uptime-guess", "much"], "--uptime-guess: 'much' is not a share"),
        (["--contract", "enterprize"], "did you mean enterprise"),
    ],
)
def test_a_bad_flag_is_named(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and one sentence."""
    assert main(["plan", "s.toml", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err


def test_a_design_effect_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Dependent requests are never worth more than independent ones."""
    assert main(["plan", "s.toml", "--design-effect", "0.5"]) == 2
    assert "--design-effect" in capsys.readouterr().err


def test_a_target_without_prices_has_no_cost(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No sum in USD, and the reason."""
    (folder / "t.toml").write_text(FILES["t"][: FILES["t"].index("[prices]")])
    assert main(["plan", "s.toml"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "cost unknown: t without [prices]" in text


def test_a_scenario_that_cannot_be_planned_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A month of a log sends nothing; a switch that is none is named with its file."""
    assert main(["plan", "written-uptime"]) == 2
    assert "holds a full log to judge, and no requests to plan" in capsys.readouterr().err
    scenario = tmp_path / "odd.toml"
    builtin = find_file("scenarios", "noisy-neighbour").read_text()
    scenario.write_text(builtin.replace("simulated = true", 'simulated = "yes"'))
    assert main(["plan", str(scenario)]) == 2
    assert "'yes' is neither true nor false" in capsys.readouterr().err


def test_limits_that_the_plan_goes_beyond_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """300 requests within 30 s, where the key may 100 a minute: 1.67 a second fit."""
    with (folder / "t.toml").open("a") as file:
        file.write("[limits]\nrequests_per_min = 100\n")
    (beyond,) = as_json(capsys)["beyond_limits"]
    assert (beyond["target"], beyond["asked"], beyond["limit"]["amount"]) == ("t", 300, 100)
    assert 0.16 < beyond["fitting_share"] <= 1 / 6
    assert 1.6 <= beyond["fitting_rate"] <= 100 / 60
    assert main(["plan", "s.toml"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "limits t: 100 requests a minute are allowed, the plan's busiest minute asks 300" in text
    assert over_quota(compile_plan(load_suite("s.toml")))[0].startswith("t: 100 requests")
