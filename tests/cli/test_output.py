"""What every command prints: lines that fit the screen, and one JSON document where one is asked
for.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path

import click
import pytest
from rich.cells import cell_len

from bench.cli import main, tailproof
from bench.show.result import MOST_LINES
from tests.support.two_models import model, poisson, two_models

#: Commands whose output is a file or a page of its own.
OTHERS = {"export", "import-openslo", "schema", "ui", "help", "completion"}
M0 = "m0-of-a-provider-with-a-long-name"
#: A comparison, prices, a contract and virtual time in one.
SCENARIO = two_models(
    '[{ weight = 80, fixed = "300ms" }, { weight = 20, lognormal = { median = "2s", p99 = "4s"'
    " } }]",
    '{ lognormal = { median = "400ms", p99 = "700ms" } }',
    f'targets = ["{M0}.toml", "m1.toml"]\ncontract = "enterprise"',
    "[gateway]\nsimulated = true",
)
COMMANDS = [
    "run s.toml --quiet --out again",
    "run written-uptime",
    "simulate s.toml --requests 500 --quiet --out once-more",
    "plan s.toml",
    "plan field-guide",
    "judge r",
    "judge r --slo e2e:p50<1s",
    "judge --census written-uptime",
    "judge --census r:m1 --contract startup",
    "report r",
    "verify r",
    f"compare r:{M0} r:m1",
    "compare r:m1 --save-baseline base.json",
    "compare r:m1 --baseline base.json",
    "attribute r",
    f"what-if r --default {M0} --fallback m1",
    "cost",
    "cost r",
    "profiles",
    "profiles --path",
    "gateway --list",
    "calibrate --seconds 1 --max-rate 100",
]
#: Those that need more than a folder are tried where they are tested.
ELSEWHERE = {
    "claim": "tests/test_compliance.py",
    "doctor": "tests/test_doctor.py",
    "init": "tests/test_init.py",
    "sign": "tests/cli/test_verify_command.py",
    "watch": "tests/test_watch.py",
    "resume": "tests/test_crash.py",
    "merge": "tests/test_shards.py",
    "collect": "tests/cluster/test_ray_cluster.py",
    "ramp": "tests/test_ramp_command.py",
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run `r` of some 2,400 requests in virtual time, its suite, and a baseline."""
    folder = tmp_path_factory.mktemp("played")
    files = {
        "s": SCENARIO,
        "p": poisson("20/s", "60s"),
        **{name: model(name[:2], 0.02, 0.04) for name in (M0, "m1")},
    }
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    assert main(["simulate", str(folder / "s.toml"), "--quiet", "--out", str(folder / "r")]) == 1
    assert (
        main(["compare", f"{folder / 'r'}:m1", "--save-baseline", str(folder / "base.json")]) == 0
    )
    return folder


@pytest.fixture
def here(played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder is the run's, with runs of its own below; a calibration goes elsewhere."""
    for each in played.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.slow("some of the commands play a run or calibrate")
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", COMMANDS)
def test_json_is_one_document_and_nothing_else(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output parses as strict JSON, whatever the verdict."""
    assert main([*shlex.split(words), "--format", "json"]) in (0, 1, 3)
    out = capsys.readouterr().out
    assert isinstance(json.loads(out, parse_constant=pytest.fail), dict)


@pytest.mark.slow("some of the commands play a run or calibrate")
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("width", [80, 100])
def test_text_fits_the_screen_and_parts_no_number(
    words: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is one window long; no line is wider but a path or a command, which are copied whole; none
    ends between a number and its unit.
    """
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(shlex.split(words)) in (0, 1, 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert len(lines) <= MOST_LINES
    for line in lines:
        assert (
            cell_len(line) <= width
            or ("/" in line and len(line.split()) <= 3)
            or line.startswith(("again  ", "next  ", "why  "))
        ), line
        assert not {"nan", "-0"} & set(line.split()), line
    for above, below in itertools.pairwise(lines):
        assert not (re.search(r"\d$", above) and re.match(r"\s*(%|ms|s|USD)( |$)", below)), (
            f"{above}\n{below}"
        )


def test_no_command_is_left_out() -> None:
    """Each command that prints a result takes --format and is in the tables above or tested where
    it says.
    """
    commands = {
        name: tailproof.get_command(click.Context(tailproof), name)
        for name in tailproof.list_commands(click.Context(tailproof))
    }
    told = {
        name
        for name, command in commands.items()
        if command and any("--format" in each.opts for each in command.params)
    }
    assert (
        told - OTHERS
        == set(commands) - OTHERS
        == {words.split()[0] for words in COMMANDS} | set(ELSEWHERE)
    )
