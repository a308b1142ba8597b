"""Suites: names resolved before anything is sent, and every number in its place."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.plan.profile import override_profile
from bench.plan.schedule import compile_plan
from bench.plan.suite import Suite, load_suite, match_clause
from bench.userfile import builtin_root
from tests.support.planned import STEADY, S, profile

PROFILE = 'description = "d"\nduration = "9s"\n[arrivals]\nkind = "constant"\nrate = "10/s"\n'
TARGET = 'description = "d"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
CONTRACT = (
    'title = "t"\n[[clause]]\nmetric = "e2e"\nquantile = "99%"\nlimit = "1s"\n[[clause]]\nmetric ='
    ' "ttft"\nquantile = "99%"\nreport_only = true\n'
)
STAGE = '[[stage]]\nname = "one"\ntargets = ["t.toml"]\nprofile = "p.toml"\n'
GATEWAY = (
    '[[gateway.model]]\nname = "*"\npool = "a"\n[[gateway.pool]]\nname = "a"\ne2e = [{ fixed ='
    ' "50ms" }]\n[truth]\nsays = "flat"\n'
)
EMBEDDED = 'description = "d"\nbase_url = "embedded"\nmodel = "m"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a profile, two targets and a contract."""
    for name, text in (("p", PROFILE), ("t", TARGET), ("e", EMBEDDED), ("c", CONTRACT)):
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def load(folder: Path, text: str, name: str = "s.toml") -> Suite:
    (folder / name).write_text('description = "d"\n' + text)
    return load_suite(str(folder / name))


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, text)
    return str(caught.value)


def test_a_suite_finds_its_files_beside_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative names are taken from the suite's folder, wherever the command runs; every file is
    kept for its digest.
    """
    monkeypatch.chdir("/")
    suite = load(
        folder,
        "seed = 5\n"
        + STAGE
        + 'contract = "c.toml"\nrate = "120/min"\nduration = "3s"\nmax_in_flight = 7\n',
    )
    only = suite.stages[0]
    assert (suite.name, suite.seed, only.profile.arrivals.rate, only.profile.duration) == (
        "s",
        5,
        Fraction(2),
        3 * S,
    )
    assert (only.profile.max_in_flight, only.targets[0].name, only.settle_ns) == (7, "t", S)
    assert {path.name for path in suite.files} == {"s.toml", "p.toml", "t.toml", "c.toml"}
    assert len(compile_plan(suite).schedule) == 6


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is not a suite: it needs [[stage]] tables or a list of scenarios"),
        ('scenarios = ["vanity-average"]\n' + STAGE, "one of the two"),
        (
            STAGE.replace("targets", "target"),
            "stage[0].target: unknown key; did you mean 'targets'?",
        ),
        (STAGE + STAGE, "two stages are named 'one'; rename one"),
        (STAGE.replace('["t.toml"]', '["t.toml", "t.toml"]'), "stage 'one': names a target twice"),
        (
            STAGE.replace("t.toml", "standardd"),
            "no target named 'standardd'; did you mean standard?",
        ),
        (STAGE.replace("p.toml", "q.toml"), "q.toml: no such file"),
        (STAGE.replace("t.toml", "e.toml"), "an embedded target needs a scenario to play"),
        (STAGE + 'scenario = "calmm"\n', "no scenario named 'calmm'"),
        (STAGE + 'rate = "-1/s"\n', "stage[0].rate: '-1/s' is not a rate above zero"),
        (STAGE + 'duration = "0s"\n', "stage 'one': duration must be above zero"),
        ("seed = -1\n" + STAGE, "seed: -1 does not fit"),
        (
            STAGE
            + 'contract = "c.toml"\nexpect = [{ target = "x", clause = "e2e", verdict = "PASS"'
            " }]\n",
            "'x', which is no target",
        ),
        (
            STAGE
            + 'contract = "c.toml"\nexpect = [{ target = "t", clause = "p99", verdict = "PASS"'
            " }]\n",
            "matches none or several",
        ),
        (
            STAGE
            + 'contract = "c.toml"\nexpect = [{ target = "t", clause = "TTFT", verdict = "PASS"'
            " }]\n",
            "which is report_only",
        ),
        (
            STAGE
            + 'contract = "c.toml"\nexpect = [{ target = "t", clause = "e2e", verdict = "MAYBE"'
            " }]\n",
            "write 'PASS', 'FAIL'",
        ),
    ],
)
def test_a_suite_that_cannot_run_is_refused(folder: Path, text: str, part: str) -> None:
    """Names that lead nowhere, numbers that mean nothing and expectations that cannot be met: one
    sentence each.
    """
    assert part in refusal(folder, text)


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("load", "chat", "is not a suite but a load profile; name it with --profile instead"),
        (
            "contracts",
            "enterprise",
            "is not a suite but a contract; name it with --contract instead",
        ),
        (
            "targets",
            "standard",
            "is not a suite but a target; name it with the targets of a suite instead",
        ),
    ],
)
def test_another_kind_of_file_is_called_what_it_is(kind: str, name: str, text: str) -> None:
    """By name or by path, a profile, contract or target in a suite's place is told where it
    belongs.
    """
    for given in (name, str(builtin_root() / kind / f"{name}.toml")):
        with pytest.raises(UserError) as caught:
            load_suite(given)
        assert text in str(caught.value)


def test_a_copied_scenario_is_a_suite_of_one_wherever_it_lies(folder: Path) -> None:
    """A scenario file in the user's own folder runs as a suite, and the gateway is told its
    path.
    """
    suite = load(folder, GATEWAY + STAGE.replace("t.toml", "e.toml"), "storm.toml")
    assert (suite.name, suite.stages[0].scenario) == ("storm", str(folder / "storm.toml"))
    assert {path.name for path in suite.files} == {"storm.toml", "p.toml", "e.toml"}


def test_a_scenario_with_two_stages_of_one_name_is_refused(folder: Path) -> None:
    """A scenario on its own is held to the rules of a suite."""
    assert "two stages are named 'one'" in refusal(
        folder, GATEWAY + STAGE.replace("t.toml", "e.toml") * 2
    )


def test_scenarios_are_named_built_in_or_by_path(folder: Path) -> None:
    """A stage's scenario, and a suite's list, are found beside the suite; built-in ones keep their
    short names.
    """
    load(folder, GATEWAY + STAGE.replace("t.toml", "e.toml"), "storm.toml")
    suite = load(folder, STAGE.replace("t.toml", "e.toml") + 'scenario = "storm.toml"\n')
    assert suite.stages[0].scenario == str(folder / "storm.toml")
    assert "storm.toml" in {path.name for path in suite.files}
    # those that are sent stand before those that are computed
    listed = load(folder, 'scenarios = ["noisy-neighbour", "storm.toml"]\n')
    assert [stage.scenario for stage in listed.stages] == [
        str(folder / "storm.toml"),
        "noisy-neighbour",
    ]
    by_path = load_suite(str(builtin_root() / "scenarios" / "noisy-neighbour.toml"))
    assert by_path.stages == load_suite("noisy-neighbour").stages


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("1", 0), ("2", 1), ("3", None), ("0", None), ("e2e", 0), ("p99", None), ("x", None)],
)
def test_a_clause_is_meant_by_number_or_part(wanted: str, index: int | None) -> None:
    """A number counts from 1; a part of the text must fit exactly one clause."""
    assert match_clause(wanted, ["response e2e p99 ≤ 1 s", "response TTFT p99 ≤ 1 s"]) == index


def test_a_new_bound_takes_the_place_of_the_old_one() -> None:
    """A duration given replaces a profile's count and the other way round; both given hold
    together.
    """
    by_count = profile(arrivals=STEADY["arrivals"], requests=50)
    assert [
        (p.duration, p.requests)
        for p in (
            override_profile(by_count, "x", duration_ns=S),
            override_profile(profile(**STEADY), "x", requests=9),
            override_profile(by_count, "x", duration_ns=S, requests=9),
            override_profile(by_count, "x"),
        )
    ] == [(S, None), (None, 9), (S, 9), (None, 50)]


def test_a_cap_over_a_closed_loop_is_its_users() -> None:
    """Concurrency is the number of users where answers drive the loop, an in-flight cap where the
    clock does.
    """
    closed = profile(arrivals={"kind": "closed", "concurrency": 4}, duration="5s")
    assert override_profile(closed, "x", max_in_flight=9).arrivals.concurrency == 9
    assert override_profile(profile(**STEADY), "x", max_in_flight=9).max_in_flight == 9


def test_a_rate_over_arrivals_without_one_is_refused() -> None:
    """A trace and a closed loop have no rate to set."""
    closed = profile(arrivals={"kind": "closed", "concurrency": 4}, duration="5s")
    with pytest.raises(UserError, match='stage one: arrivals of kind "closed" have no rate to set'):
        override_profile(closed, "stage one", rate=Fraction(1))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('scenarios = ["vanity-averages"]', "scenarios"),
        ('[[stage]]\nname = "s"\ntargets = ["nobody"]\nprofile = "steady"', "stage 's'"),
        ('[[stage]]\nname = "s"\ntargets = ["pro"]\nprofile = "nothing"', "stage 's'"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_its_file_and_key(
    tmp_path: Path, text: str, key: str
) -> None:
    """Whoever reads the message knows which line to correct."""
    path = tmp_path / "mine.toml"
    path.write_text(f'description = "d"\n{text}\n')
    with pytest.raises(UserError) as refused:
        load_suite(str(path))
    assert str(refused.value).startswith(f"{path}: {key}: no ")
